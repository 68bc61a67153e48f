// SPDX-License-Identifier: BSD-2-Clause
#include "loopdev.h"

#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { LOOP_TRIES = 64 };

// One attempt; -EBUSY when somebody else took the device meanwhile.
static int loop_try(int control, int file_fd, const char *file, bool readonly, struct loopdev *l)
{
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0)
        return -errno;
    snprintf(l->path, sizeof(l->path), "/dev/loop%d", number);
    l->fd = open(l->path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (l->fd < 0)
        return errno == ENXIO || errno == ENOENT ? -EBUSY : -errno;
    struct loop_config config = {.fd = (uint32_t)file_fd,
                                 .info.lo_flags =
                                     LO_FLAGS_DIRECT_IO | (readonly ? LO_FLAGS_READ_ONLY : 0)};
    snprintf((char *)config.info.lo_file_name, LO_NAME_SIZE, "%s", file);
    struct stat st = {0};
    int ret = ioctl(l->fd, LOOP_CONFIGURE, &config) || fstat(l->fd, &st) ? -errno : 0;
    if (ret) {
        close(l->fd);
        l->fd = -1;
        return ret;
    }
    l->major = major(st.st_rdev);
    l->minor = minor(st.st_rdev);
    return 0;
}

int loopdev_attach(const char *file, bool readonly, struct loopdev *out, struct serai_error *err)
{
    *out = (struct loopdev){.fd = -1};
    FD_AUTO control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0)
        return err_sys(err, -errno, "cannot open /dev/loop-control (is module loop loaded?)");
    FD_AUTO file_fd = open(file, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (file_fd < 0)
        return err_sys(err, -errno, "cannot open %s", file);
    int ret = -EBUSY;
    for (unsigned i = 0; i < LOOP_TRIES && ret == -EBUSY; i++)
        ret = loop_try(control, file_fd, file, readonly, out);
    return ret ? err_sys(err, ret, "cannot attach %s to a loop device", file) : 0;
}

void loopdev_release(struct loopdev *l)
{
    if (l->fd < 0)
        return;
    ioctl(l->fd, LOOP_CLR_FD, 0);
    close(l->fd);
    l->fd = -1;
}
