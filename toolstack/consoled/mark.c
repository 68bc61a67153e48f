// SPDX-License-Identifier: BSD-2-Clause
#include "mark.h"

#include "file.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// Changes whenever the layout does.
#define MARK_MAGIC 0x31306b72616d7363ull

static void mark_path(const char *dir, uint32_t id, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%u", dir, id);
}

struct mark *mark_open(const char *dir, uint32_t id, const uint8_t uuid[16])
{
    char path[PATH_MAX];
    mark_path(dir, id, path);
    if (file_make_dirs(dir, 0700))
        return NULL;
    FD_AUTO fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    // Allocated now: a full file system must not show itself at a store into memory.
    if (fd < 0 || posix_fallocate(fd, 0, sizeof(struct mark)))
        return NULL;
    struct mark *m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (m == MAP_FAILED)
        return NULL;
    if (m->magic != MARK_MAGIC || memcmp(m->uuid, uuid, sizeof(m->uuid)) != 0) {
        m->left = 0;
        memcpy(m->uuid, uuid, sizeof(m->uuid));
        __atomic_store_n(&m->magic, MARK_MAGIC, __ATOMIC_RELEASE);
    }
    return m;
}

void mark_close(struct mark *m)
{
    if (m)
        munmap(m, sizeof(*m));
}

void mark_forget(const char *dir, uint32_t id)
{
    char path[PATH_MAX];
    mark_path(dir, id, path);
    unlink(path);
}

void mark_sweep(const char *dir, bool (*used)(void *arg, uint32_t id), void *arg)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char *end;
        unsigned long id = strtoul(e->d_name, &end, 10);
        if (end != e->d_name && !*end && id <= UINT32_MAX && !used(arg, (uint32_t)id))
            unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d)
        closedir(d);
}

void mark_begin(struct mark *m, const struct logfile *f, uint32_t cons, uint32_t bytes)
{
    if (!m)
        return;
    m->size = f->size;
    m->cons = cons;
    __atomic_store_n(&m->left, bytes, __ATOMIC_RELEASE);
}

void mark_end(struct mark *m)
{
    if (m)
        __atomic_store_n(&m->left, 0, __ATOMIC_RELEASE);
}

uint32_t mark_written(const struct mark *m, const struct logfile *f, uint32_t cons)
{
    if (!m || !m->left || m->cons != cons || f->fd < 0)
        return 0;
    // A file that is shorter than it was is a new one, begun with this piece.
    uint64_t done = f->size >= m->size ? f->size - m->size : f->size;
    return done < m->left ? (uint32_t)done : m->left;
}
