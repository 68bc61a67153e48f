// SPDX-License-Identifier: BSD-2-Clause
#include "journal.h"

#include "file.h"
#include "log.h"
#include "mem.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>

enum { JOURNAL_THRESHOLD = 4 << 20, JOURNAL_BODY_MAX = 256 << 20 };

static const char journal_magic[8] = "SERAIXS1";

struct journal_head {
    uint32_t len; // of the body
    uint32_t crc; // of what follows, body included
    uint8_t type;
    uint8_t zero;
    uint16_t domid;
    uint32_t pos;
};
_Static_assert(sizeof(struct journal_head) == 16, "no padding in the file");

static uint32_t journal_crc(const struct journal_head *h, const char *body)
{
    size_t skip = offsetof(struct journal_head, type);
    uint32_t crc = (uint32_t)crc32(0, (const Bytef *)h + skip, (uInt)(sizeof(*h) - skip));
    return (uint32_t)crc32(crc, (const Bytef *)body, h->len);
}

static struct journal_head journal_head_of(const struct record *r)
{
    struct journal_head h = {
        .len = (uint32_t)r->len, .type = r->type, .domid = r->origin.domid, .pos = r->origin.pos};
    h.crc = journal_crc(&h, r->body);
    return h;
}

// ---- reading ------------------------------------------------------------------------------

// The record at `at`; its whole length, 0 when there is none that is sound.
static size_t journal_record(const char *at, size_t left, struct record *r)
{
    struct journal_head h;
    if (left < sizeof(h))
        return 0;
    memcpy(&h, at, sizeof(h));
    if (h.len > left - sizeof(h) || !h.type || h.zero || h.crc != journal_crc(&h, at + sizeof(h)))
        return 0;
    *r = (struct record){.type = h.type,
                         .origin = {.domid = h.domid, .pos = h.pos},
                         .body = at + sizeof(h),
                         .len = h.len};
    return sizeof(h) + h.len;
}

static size_t journal_replay(const char *data, size_t len, struct store *s)
{
    size_t at = sizeof(journal_magic), size;
    unsigned count = 0, odd = 0;
    struct record r;
    while ((size = journal_record(data + at, len - at, &r))) {
        int ret = record_apply(s, &r);
        if (ret && !odd++)
            log_warn("journal: record %u (type %u) has no effect: %s", count, r.type,
                     strerror(-ret));
        at += size;
        count++;
    }
    if (odd > 1)
        log_warn("journal: %u records had no effect", odd);
    log_info("journal: %u records read", count);
    return at;
}

static int journal_load(struct journal *j, struct store *s)
{
    BUF_AUTO text = {0};
    int ret = file_read(j->path, (size_t)1 << 32, &text);
    if (ret)
        return ret;
    size_t sound = 0;
    if (text.len >= sizeof(journal_magic) && !memcmp(text.data, journal_magic, 8)) {
        s->loading = true;
        sound = journal_replay(text.data, text.len, s);
        s->loading = false;
        store_loaded(s);
    }
    if (sound < text.len) {
        log_warn("journal: cut off %zu damaged bytes at %zu", text.len - sound, sound);
        if (ftruncate(j->fd, (off_t)sound))
            return -errno;
    }
    j->size = sound;
    return 0;
}

int journal_open(struct journal *j, const char *path, struct store *s)
{
    *j = (struct journal){.threshold = JOURNAL_THRESHOLD};
    j->path = mem_copy_string(path);
    j->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (j->fd < 0)
        return -errno;
    int ret = journal_load(j, s);
    if (ret || j->size)
        return ret;
    if (file_write_all(j->fd, journal_magic, sizeof(journal_magic)))
        return -EIO;
    j->size = sizeof(journal_magic);
    return 0;
}

void journal_close(struct journal *j)
{
    if (j->fd >= 0)
        close(j->fd);
    free(j->path);
    j->fd = -1;
    j->path = NULL;
}

// ---- writing ------------------------------------------------------------------------------

int journal_append(struct journal *j, const struct record *r)
{
    struct journal_head h = journal_head_of(r);
    size_t size = sizeof(h) + r->len;
    struct iovec part[2] = {{.iov_base = &h, .iov_len = sizeof(h)},
                            {.iov_base = (char *)(uintptr_t)r->body, .iov_len = r->len}};
    ssize_t n;
    do
        n = writev(j->fd, part, 2);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)size) {
        j->size += size;
        j->failed = false;
        return 0;
    }
    int ret = n < 0 ? -errno : -ENOSPC;
    if (!j->failed)
        log_error("journal: cannot write: %s; changes are refused", strerror(-ret));
    j->failed = true;
    if (n > 0 && ftruncate(j->fd, (off_t)j->size))
        log_error("journal: cannot take back half a record: %s", strerror(errno));
    return ret == -ENOSPC ? -ENOSPC : -EIO;
}

struct compaction {
    FILE *to;
    uint64_t size;
};

static int compaction_put(void *arg, const struct record *r)
{
    struct compaction *c = arg;
    struct journal_head h = journal_head_of(r);
    if (fwrite(&h, sizeof(h), 1, c->to) != 1 || (r->len && fwrite(r->body, r->len, 1, c->to) != 1))
        return -EIO;
    c->size += sizeof(h) + r->len;
    return 0;
}

static int compaction_write(struct compaction *c, const char *path, struct store *s)
{
    c->to = fopen(path, "we");
    if (!c->to)
        return -errno;
    c->size = sizeof(journal_magic);
    int ret = fwrite(journal_magic, sizeof(journal_magic), 1, c->to) == 1 ? 0 : -EIO;
    if (!ret)
        ret = record_snapshot(s, compaction_put, c);
    if (fclose(c->to) && !ret)
        ret = -EIO;
    return ret;
}

static int journal_replace(struct journal *j, const char *path, struct store *s)
{
    struct compaction c = {0};
    int ret = compaction_write(&c, path, s);
    if (ret)
        return ret;
    int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (rename(path, j->path)) {
        ret = -errno;
        close(fd);
        return ret;
    }
    close(j->fd);
    j->fd = fd;
    j->size = j->snapshot = c.size;
    return 0;
}

bool journal_is_large(const struct journal *j)
{
    return j->size >= j->threshold && j->size >= 2 * j->snapshot && j->size >= j->retry_at;
}

void journal_compact(struct journal *j, struct store *s)
{
    if (!journal_is_large(j))
        return;
    char path[4096];
    snprintf(path, sizeof(path), "%s.new", j->path);
    uint64_t before = j->size;
    int ret = journal_replace(j, path, s);
    if (ret) {
        log_error("journal: cannot make a snapshot: %s", strerror(-ret));
        unlink(path);
        j->retry_at = j->size + j->threshold;
        return;
    }
    j->retry_at = 0;
    log_debug("journal: %llu bytes became %llu", (unsigned long long)before,
              (unsigned long long)j->size);
}
