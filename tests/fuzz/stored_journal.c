// SPDX-License-Identifier: BSD-2-Clause
/* The store's journal: records with sound checksums and any contents (a disk's damage is caught by
 * those), then the file as it is. What is read must be sound, and a snapshot of it reads the same.
 */
#include "fuzz.h"
#include "fuzz_store.h"

#include "journal.h"
#include "mem.h"
#include "store.h"

#include <fcntl.h>
#include <unistd.h>

static const struct store_host hooks = {.connect = fuzz_connect, .disconnect = fuzz_disconnect};

static void end(struct store *s)
{
    while (s->conns) {
        fuzz_disconnect(s, s->conns);
    }
    store_free(s);
}

static int count_record(void *arg, const struct record *r)
{
    (void)r;
    ++*(unsigned *)arg;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store s;
    struct journal j;
    char path[64];
    unsigned records = 0;
    snprintf(path, sizeof(path), "/dev/shm/serai-fuzz-%d", (int)getpid());
    unlink(path);
    store_init(&s, &hooks, &s);
    if (journal_open(&j, path, &s)) {
        end(&s);
        return 0;
    }
    /* records: type, length, body; what is left over is raw */
    while (size > 3 && data[0] < 32) {
        size_t len = data[1] | (size_t)(data[2] & 3) << 8;
        len = len < size - 3 ? len : size - 3;
        struct record r = {.type = data[0], .body = (const char *)data + 3, .len = len};
        r.origin.domid = data[2] >> 4;
        FUZZ_ASSERT(!journal_append(&j, &r));
        data += 3 + len;
        size -= 3 + len;
    }
    FUZZ_ASSERT(write(j.fd, data, size) == (ssize_t)size);
    journal_close(&j);
    end(&s);
    store_init(&s, &hooks, &s);
    if (!journal_open(&j, path, &s)) {
        FUZZ_ASSERT(!store_check(&s));
        FUZZ_ASSERT(!record_snapshot(&s, count_record, &records) && records > 0);
    }
    journal_close(&j);
    end(&s);
    unlink(path);
    return 0;
}
