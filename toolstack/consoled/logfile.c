// SPDX-License-Identifier: BSD-2-Clause
#include "logfile.h"

#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int logfile_reopen(struct logfile *f)
{
    struct stat st;
    f->fd = open(f->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (f->fd < 0)
        return -errno;
    f->size = fstat(f->fd, &st) ? 0 : (uint64_t)st.st_size;
    return 0;
}

int logfile_open(struct logfile *f, const char *dir, const char *name, uint64_t limit,
                 unsigned keep)
{
    *f = (struct logfile){.fd = -1, .limit = limit, .keep = keep};
    int ret = file_make_dirs(dir, 0755);
    if (ret)
        return ret;
    if (asprintf(&f->path, "%s/%s.log", dir, name) < 0) {
        f->path = NULL;
        return -ENOMEM;
    }
    return logfile_reopen(f);
}

void logfile_close(struct logfile *f)
{
    if (f->fd >= 0)
        close(f->fd);
    free(f->path);
    *f = (struct logfile){.fd = -1};
}

static int logfile_rotate(struct logfile *f)
{
    char from[PATH_MAX], to[PATH_MAX];
    for (unsigned i = f->keep; i > 0; i--) {
        if (i == 1)
            snprintf(from, sizeof(from), "%s", f->path);
        else
            snprintf(from, sizeof(from), "%s.%u", f->path, i - 1);
        snprintf(to, sizeof(to), "%s.%u", f->path, i);
        if (rename(from, to) && errno != ENOENT)
            return -errno;
    }
    if (!f->keep && unlink(f->path))
        return -errno;
    close(f->fd);
    return logfile_reopen(f);
}

int logfile_write(struct logfile *f, const char *data, size_t len)
{
    int ret = 0;
    if (!f->path) // it never had a place
        return 0;
    if (f->fd < 0) // what failed last time, on a full disk, may work now
        ret = logfile_reopen(f);
    else if (f->size >= f->limit)
        ret = logfile_rotate(f);
    if (ret)
        return ret;
    ret = file_write_all(f->fd, data, len);
    struct stat st;
    if (!ret)
        f->size += len;
    else if (!fstat(f->fd, &st)) // a part of it may be there
        f->size = (uint64_t)st.st_size;
    return ret;
}

void logfile_tail(const struct logfile *f, size_t max, struct buf *out)
{
    if (f->fd < 0)
        return;
    size_t want = f->size < max ? (size_t)f->size : max;
    if (buf_reserve(out, want))
        return;
    ssize_t n = pread(f->fd, out->data + out->len, want, (off_t)(f->size - want));
    if (n > 0)
        out->len += (size_t)n;
    out->data[out->len] = '\0';
}
