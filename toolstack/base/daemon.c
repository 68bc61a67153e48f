// SPDX-License-Identifier: BSD-2-Clause
#include "daemon.h"

#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

int daemon_lock(const char *dir, const char *name)
{
    char path[PATH_MAX];
    int ret = file_make_dirs(dir, 0755);
    if (ret)
        return ret;
    snprintf(path, sizeof(path), "%s/%s.lock", dir, name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        ret = -errno;
        close(fd);
        return ret;
    }
    // For people and scripts; the lock itself is what counts.
    if (!ftruncate(fd, 0))
        dprintf(fd, "%d\n", (int)getpid());
    return fd;
}
