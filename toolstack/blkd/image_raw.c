// SPDX-License-Identifier: BSD-2-Clause
// Raw images: regular files and block devices. Files go through the page cache unless asked
// otherwise, as through a loop device: a copy to or from it costs the CPU much less than a
// transfer of its own, and what was written is safe when a flush has ended, as with any disk that
// has a cache. Block devices, and files on request, go around it where the alignment allows, the
// rest through it; the kernel keeps the two coherent.
//
// The descriptor that carries the transfers is locked (flock), exclusively for a writable disk. The
// lock ends when the open file does, and the kernel keeps that open for requests in flight: who
// gets the lock after a process was killed knows that no write of the old one can come any more.
// (Copies to and from the page cache are made by threads of the process, which end before it does.)
// An image that is shared for writing is locked so only against the disk's own processes, by a
// range behind every possible end of the file.
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { RAW_SECTOR = 512, RAW_PAGE = 4096 };

struct raw {
    struct image img;
    int direct_fd;   // -1: not wanted, or the file system does not do it
    int buffered_fd; // through the page cache
    uint32_t align;  // of offset, length and memory for direct_fd, bytes
};

static struct raw *raw_of(struct image *img)
{
    return (struct raw *)img;
}

static int raw_refuse(char why[IMAGE_WHY], const char *path, const char *what, int err)
{
    if (err)
        snprintf(why, IMAGE_WHY, "%.200s: %s: %s", path, what, strerror(err));
    else
        snprintf(why, IMAGE_WHY, "%.200s: %s", path, what);
    return err ? -err : -EINVAL;
}

// Direct I/O in units of 512 bytes, or only of 4096? The kernel says by refusing. 0: not at all.
static uint32_t raw_probe(int fd)
{
    uint8_t *memory = aligned_alloc(RAW_PAGE, (size_t)RAW_PAGE * 2);
    uint32_t align = 0;
    if (!memory)
        return 0;
    if (pread(fd, memory + RAW_SECTOR, RAW_SECTOR, 0) == RAW_SECTOR)
        align = RAW_SECTOR;
    else if (pread(fd, memory, RAW_PAGE, 0) >= RAW_SECTOR)
        align = RAW_PAGE;
    free(memory);
    return align;
}

static uint64_t raw_sysfs(dev_t dev, const char *name)
{
    static const char *const where[] = {"queue", "../queue", "."};
    char path[128];
    for (size_t i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/%s", major(dev), minor(dev), where[i],
                 name);
        FILE *f = fopen(path, "re");
        if (!f)
            continue;
        char line[32] = "";
        bool got = fgets(line, sizeof(line), f) != NULL;
        fclose(f);
        return got ? strtoull(line, NULL, 10) : 0;
    }
    return 0;
}

static int raw_size_device(struct raw *r, const struct stat *st, const char *path,
                           char why[IMAGE_WHY])
{
    int read_only = 0;
    if (ioctl(r->buffered_fd, BLKGETSIZE64, &r->img.bytes))
        return raw_refuse(why, path, "cannot ask its size", errno);
    if (!r->img.read_only && !ioctl(r->buffered_fd, BLKROGET, &read_only) && read_only)
        return raw_refuse(why, path, "cannot be written", EROFS);
    r->img.block = (uint32_t)raw_sysfs(st->st_rdev, "physical_block_size");
    if (raw_sysfs(st->st_rdev, "discard_max_bytes")) {
        r->img.discard_unit = (uint32_t)raw_sysfs(st->st_rdev, "discard_granularity");
        r->img.discard_offset = (uint32_t)raw_sysfs(st->st_rdev, "discard_alignment");
    }
    return 0;
}

static void raw_size_file(struct raw *r, const struct stat *st)
{
    r->img.bytes = (uint64_t)st->st_size;
    // Behind the end there is nothing to lose: this only asks whether the file system can.
    if (!r->img.read_only && !fallocate(r->buffered_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                        (st->st_size | (RAW_PAGE - 1)) + 1, RAW_PAGE))
        r->img.discard_unit = (uint32_t)st->st_blksize;
}

static bool raw_unit_ok(uint32_t unit)
{
    return unit >= RAW_SECTOR && !(unit & (unit - 1));
}

static int raw_measure(struct raw *r, const char *path, char why[IMAGE_WHY])
{
    struct stat st;
    if (fstat(r->buffered_fd, &st))
        return raw_refuse(why, path, "cannot be examined", errno);
    if (S_ISBLK(st.st_mode)) {
        int ret = raw_size_device(r, &st, path, why);
        if (ret)
            return ret;
    } else if (S_ISREG(st.st_mode)) {
        raw_size_file(r, &st);
    } else {
        return raw_refuse(why, path, "is neither a file nor a block device", 0);
    }
    r->img.bytes &= ~(uint64_t)(RAW_SECTOR - 1);
    if (!r->img.bytes)
        return raw_refuse(why, path, "is empty: not even one sector of 512 bytes", 0);
    if (!raw_unit_ok(r->img.discard_unit))
        r->img.discard_unit = 0;
    // A disk's size is a multiple of its physical sector.
    if (!raw_unit_ok(r->img.block) || r->img.bytes % r->img.block)
        r->img.block = RAW_SECTOR;
    return 0;
}

static int raw_lock(const struct raw *r, const struct image_request *req, char why[IMAGE_WHY])
{
    const char *path = req->path;
    int fd = r->direct_fd >= 0 ? r->direct_fd : r->buffered_fd;
    struct flock own = {.l_type = F_WRLCK,
                        .l_whence = SEEK_SET,
                        .l_start = (off_t)(1ull << 62 | req->identity),
                        .l_len = 1};
    bool shared = req->shared && !r->img.read_only;
    if (!flock(fd, (r->img.read_only || shared ? LOCK_SH : LOCK_EX) | LOCK_NB) &&
        (!shared || !fcntl(fd, F_OFD_SETLK, &own)))
        return 0;
    if (errno == EWOULDBLOCK || errno == EACCES) {
        raw_refuse(why, path, "is in use by another disk or program", 0);
        return -EAGAIN;
    }
    return raw_refuse(why, path, "cannot be locked", errno);
}

static void raw_close(struct image *img)
{
    struct raw *r = raw_of(img);
    if (r->direct_fd >= 0)
        close(r->direct_fd);
    if (r->buffered_fd >= 0)
        close(r->buffered_fd);
    free(r);
}

static int raw_open_files(struct raw *r, const struct image_request *req, char why[IMAGE_WHY])
{
    const char *path = req->path;
    // Without O_NONBLOCK, which would make io_uring give up where it should wait; so look first
    // that this is not a pipe.
    struct stat st;
    int flags = (r->img.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY;
    if (!stat(path, &st) && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return raw_refuse(why, path, "is neither a file nor a block device", 0);
    r->buffered_fd = open(path, flags);
    if (r->buffered_fd < 0)
        return raw_refuse(why, path,
                          r->img.read_only || errno == ENOENT ? "cannot be opened"
                                                              : "cannot be opened for writing",
                          errno);
    if (!fstat(r->buffered_fd, &st) && (req->direct || S_ISBLK(st.st_mode)))
        r->direct_fd = open(path, flags | O_DIRECT);
    r->align = r->direct_fd >= 0 ? raw_probe(r->direct_fd) : 0;
    if (r->direct_fd >= 0 && !r->align) {
        close(r->direct_fd);
        r->direct_fd = -1;
    }
    r->img.direct = r->direct_fd >= 0;
    return 0;
}

static int raw_open(const struct image_request *req, struct image **out, char why[IMAGE_WHY])
{
    struct raw *r = calloc(1, sizeof(*r));
    if (!r)
        return raw_refuse(why, req->path, "cannot be opened", ENOMEM);
    *r = (struct raw){.img = {.ops = &image_raw,
                              .ring = req->ring,
                              .block = RAW_SECTOR,
                              .read_only = req->read_only},
                      .direct_fd = -1,
                      .buffered_fd = -1};
    int ret = raw_open_files(r, req, why);
    if (!ret)
        ret = raw_measure(r, req->path, why);
    if (!ret)
        ret = raw_lock(r, req, why);
    if (ret) {
        raw_close(&r->img);
        return ret;
    }
    *out = &r->img;
    return 0;
}

static bool raw_aligned(const struct raw *r, const struct image_io *io)
{
    if (r->direct_fd < 0)
        return false;
    uint64_t bits = io->offset | io->left;
    for (unsigned i = 0; i < io->iovcnt; i++)
        bits |= (uintptr_t)io->iov[i].iov_base | io->iov[i].iov_len;
    return !(bits & (r->align - 1));
}

static void raw_transfer(struct image_io *io)
{
    const struct raw *r = raw_of(io->image);
    io->op.fd = raw_aligned(r, io) ? r->direct_fd : r->buffered_fd;
    io->op.iov = io->iov;
    io->op.iovcnt = io->iovcnt;
    io->op.offset = io->offset;
    uring_start(io->image->ring, &io->op);
}

// Drops `done` bytes from the front of what is still to be transferred.
static void raw_advance(struct image_io *io, size_t done)
{
    io->offset += done;
    io->left -= done;
    while (done && io->iovcnt) {
        size_t part = io->iov->iov_len < done ? io->iov->iov_len : done;
        io->iov->iov_base = (uint8_t *)io->iov->iov_base + part;
        io->iov->iov_len -= part;
        done -= part;
        if (!io->iov->iov_len) {
            io->iov++;
            io->iovcnt--;
        }
    }
}

static void raw_on_transfer(struct uring_op *op, int result)
{
    struct image_io *io = (struct image_io *)((char *)op - offsetof(struct image_io, op));
    if (result == -EINTR || result == -EAGAIN) {
        raw_transfer(io);
    } else if (result < 0) {
        io->done(io, result);
    } else if (!result) {
        io->done(io, op->kind == URING_READV ? -ENODATA : -ENOSPC);
    } else if ((uint64_t)result >= io->left) {
        io->done(io, 0);
    } else {
        raw_advance(io, (size_t)result);
        raw_transfer(io);
    }
}

static void raw_start_transfer(struct image_io *io, enum uring_kind kind)
{
    io->left = io->length;
    io->op = (struct uring_op){.done = raw_on_transfer, .kind = kind};
    raw_transfer(io);
}

static void raw_read(struct image_io *io)
{
    raw_start_transfer(io, URING_READV);
}

static void raw_write(struct image_io *io)
{
    raw_start_transfer(io, URING_WRITEV);
}

static void raw_on_simple(struct uring_op *op, int result)
{
    struct image_io *io = (struct image_io *)((char *)op - offsetof(struct image_io, op));
    // A range that the device cannot discard, being no multiple of its blocks, simply stays.
    if (result == -EINVAL && op->kind == URING_PUNCH)
        result = 0;
    if (result == -EINTR || result == -EAGAIN)
        uring_start(io->image->ring, op);
    else
        io->done(io, result < 0 ? result : 0);
}

static void raw_flush(struct image_io *io)
{
    io->op = (struct uring_op){
        .done = raw_on_simple, .kind = URING_FDATASYNC, .fd = raw_of(io->image)->buffered_fd};
    uring_start(io->image->ring, &io->op);
}

static void raw_discard(struct image_io *io)
{
    io->op = (struct uring_op){.done = raw_on_simple,
                               .kind = URING_PUNCH,
                               .fd = raw_of(io->image)->buffered_fd,
                               .offset = io->offset,
                               .length = io->length};
    uring_start(io->image->ring, &io->op);
}

const struct image_ops image_raw = {.format = "raw",
                                    .open = raw_open,
                                    .read = raw_read,
                                    .write = raw_write,
                                    .flush = raw_flush,
                                    .discard = raw_discard,
                                    .close = raw_close};
