// SPDX-License-Identifier: BSD-2-Clause
/* Which dumps are kept. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lifed.h"
#include "log.h"

static char dir[64], last[4096];
static int result;

/* What dump.c wants of the library: a file, or none. */
int serai_domain_dump(struct serai *s, uint32_t id, const char *path, serai_progress_fn *progress,
                      void *progress_ctx, struct serai_error *err)
{
    snprintf(last, sizeof(last), "%s", path);
    snprintf(err->text, sizeof(err->text), "no room");
    return result ? result : close(creat(path, 0600));
}

static void put(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(close(creat(path, 0600)), 0);
}

static bool there(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return !access(path, F_OK);
}

static void test_kept(void **unused)
{
    struct lifed l = {.dump_dir = dir, .dumps_kept = 3};
    struct serai_domain d = {.id = 5, .name = "a"};
    static const char *const files[] = {"a-20260101-000000.core",   "a-20260102-000000.core",
                                        "a-20260103-000000.core",   "a-20260104-000000.core",
                                        "a-b-20260101-000000.core", "a-20260101-00000x.core",
                                        "a-20260101-000000.txt",    "aa-20260101-000000.core"};
    char command[96];

    log_setup("test", LOG_LEVEL_ERROR, false);
    strcpy(dir, "/tmp/serai-unit-XXXXXX");
    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        put(files[i]);
    }
    dump_domain(&l, &d);
    assert_int_equal(strncmp(last + strlen(dir), "/a-20", 5), 0);
    assert_true(there(last + strlen(dir) + 1));
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        assert_true(there(files[i]) == (i >= 2)); /* the new one and the two newest */
    }

    result = -ENOSPC;
    dump_domain(&l, &d); /* it is told, and that is all */
    l.dumps_kept = 0;
    dump_domain(&l, &d);
    assert_true(there(files[3]));
    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
