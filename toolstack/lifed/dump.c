// SPDX-License-Identifier: BSD-2-Clause
// Dumps of guests that crashed: NAME-YYYYMMDD-hhmmss.core.
#include "lifed.h"

#include "file.h"
#include "log.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Is it a dump of this guest? What stands behind the name has a fixed form.
static bool dump_is_of(const char *file, const char *name)
{
    static const char form[] = "-dddddddd-dddddd.core";
    size_t len = strlen(name);
    if (strncmp(file, name, len) != 0 || strlen(file) != len + strlen(form))
        return false;
    for (size_t i = 0; form[i] && form[i] != '.'; i++) {
        char ch = file[len + i];
        if (form[i] == 'd' ? !isdigit((unsigned char)ch) : ch != form[i])
            return false;
    }
    return !strcmp(file + len + strlen(form) - strlen(".core"), ".core");
}

// So that a guest that crashes again and again does not fill the disk.
static void dump_expire(const struct lifed *l, const char *name)
{
    struct dirent **list;
    char path[PATH_MAX];
    int n = scandir(l->dump_dir, &list, NULL, alphasort);
    unsigned have = 0;
    for (int i = n - 1; i >= 0; i--) { // the newest first
        if (l->dumps_kept && dump_is_of(list[i]->d_name, name) && ++have >= l->dumps_kept) {
            snprintf(path, sizeof(path), "%s/%s", l->dump_dir, list[i]->d_name);
            unlink(path);
        }
        free(list[i]);
    }
    if (n >= 0)
        free(list);
}

void dump_domain(struct lifed *l, const struct serai_domain *d)
{
    char path[PATH_MAX], stamp[32];
    struct serai_error err;
    struct tm tm;
    time_t now = time(NULL);
    int ret = file_make_dirs(l->dump_dir, 0700);
    if (ret) {
        log_error("%s: no dump: cannot make %s: %s", d->name, l->dump_dir, strerror(-ret));
        return;
    }
    dump_expire(l, d->name);
    strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", gmtime_r(&now, &tm));
    snprintf(path, sizeof(path), "%s/%s-%s.core", l->dump_dir, d->name, stamp);
    if (serai_domain_dump(l->s, d->id, path, NULL, NULL, &err))
        log_error("%s: no dump: %s", d->name, err.text);
    else
        log_info("%s (domain %u): dumped to %s", d->name, d->id, path);
}
