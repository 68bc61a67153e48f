// SPDX-License-Identifier: BSD-2-Clause
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void file_close_auto(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

int file_read(const char *path, size_t limit, struct buf *out)
{
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (;;) {
        if (buf_reserve(out, 4096))
            return -ENOMEM;
        ssize_t n = read(fd, out->data + out->len, out->cap - out->len - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        out->len += (size_t)n;
        out->data[out->len] = '\0';
        if (out->len > limit)
            return -EFBIG;
        if (n == 0)
            return 0;
    }
}

int file_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode)
{
    char temp[PATH_MAX];
    int n = snprintf(temp, sizeof(temp), "%s.%d.tmp", path, (int)gettid());
    if (n < 0 || (size_t)n >= sizeof(temp))
        return -ENAMETOOLONG;

    FD_AUTO fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        return -errno;
    int ret = file_write_all(fd, data, len);
    if (!ret && rename(temp, path))
        ret = -errno;
    if (ret)
        unlink(temp);
    return ret;
}

int file_make_dirs(const char *path, mode_t mode)
{
    char copy[PATH_MAX];
    size_t len = strlen(path);
    if (len >= sizeof(copy))
        return -ENAMETOOLONG;
    memcpy(copy, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (copy[i] != '/' && copy[i] != '\0')
            continue;
        char keep = copy[i];
        copy[i] = '\0';
        if (mkdir(copy, mode) && errno != EEXIST)
            return -errno;
        copy[i] = keep;
    }
    return 0;
}
