// SPDX-License-Identifier: BSD-2-Clause
// Disk images. A format is a table of operations; raw files and block devices are the first.
// Operations are asynchronous: they end with a call of the request's `done` from the event
// loop. One thread.
#pragma once

#include "uring.h"

#include <stdbool.h>

struct image;
struct image_io;

// `result` is 0 or -errno; -ENODATA: the image is shorter than it says.
typedef void image_fn(struct image_io *io, int result);

// One transfer, flush or discard; the caller's until `done`.
struct image_io {
    image_fn *done;
    uint64_t offset, length; // bytes, multiples of 512, inside the image
    struct iovec *iov;       // `length` bytes in all; changed by the image
    unsigned iovcnt;
    // The image's own.
    struct image *image;
    struct uring_op op;
    uint64_t left; // bytes still to transfer
};

enum { IMAGE_WHY = 320 };

struct image_request {
    struct uring *ring;
    const char *path;
    bool read_only;
    bool shared;       // others may write it at the same time, on the administrator's word
    bool direct;       // around the page cache; a block device always is
    uint64_t identity; // of the disk, below 2^62: for a lock between its processes alone
};

struct image_ops {
    const char *format;
    // 0 and `*out`; or -errno and why, for people. -EAGAIN: somebody else has the image open, or
    // the I/O of a process that was killed has not ended yet; it may be tried again.
    int (*open)(const struct image_request *req, struct image **out, char why[IMAGE_WHY]);
    void (*read)(struct image_io *io);
    void (*write)(struct image_io *io);
    // What was written and has ended is on stable storage when it ends.
    void (*flush)(struct image_io *io);
    // The range's contents are lost. Ends with -EOPNOTSUPP where the storage cannot.
    void (*discard)(struct image_io *io);
    // Nothing may be in flight.
    void (*close)(struct image *img);
};

// The part that all formats share; a format's own structure begins with it.
struct image {
    const struct image_ops *ops;
    struct uring *ring;
    uint64_t bytes;          // size of the disk, a multiple of 512
    uint32_t block;          // physical sector size, bytes
    uint32_t discard_unit;   // bytes; 0: cannot discard
    uint32_t discard_offset; // bytes before the first unit
    bool read_only;          // then others may read it too
    bool direct;             // for the log
};

// NULL `format` means raw. See image_ops.open; an unknown format gives -EINVAL.
int image_open(const char *format, const struct image_request *req, struct image **out,
               char why[IMAGE_WHY]);
void image_close(struct image *img); // NULL is allowed

void image_read(struct image *img, struct image_io *io);
void image_write(struct image *img, struct image_io *io);
void image_flush(struct image *img, struct image_io *io);
void image_discard(struct image *img, struct image_io *io);

extern const struct image_ops image_raw;
