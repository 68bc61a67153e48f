// SPDX-License-Identifier: BSD-2-Clause
// The files a guest starts from, checked before a domain exists: kernel (mapped, unpacked,
// its notes read) and ramdisk (open, structure checked).
#pragma once

#include "internal.h"

#include "builder.h"
#include "elf.h"
#include "notes.h"

struct image {
    int kernel_fd;
    void *kernel_file; // mapping of the file
    size_t kernel_file_size;
    void *kernel_unpacked; // anonymous mapping, or NULL when the file is the ELF image itself
    size_t kernel_unpacked_size;
    struct elf_image elf; // points into one of the two
    struct notes notes;
    int ramdisk_fd; // -1: none
    uint64_t ramdisk_size;
};

// Opens and checks what the configuration names. Release with image_close.
int image_open(struct image *im, const struct serai_config *c, struct serai_error *err);
// `exiting`: the process ends soon, so memory is left to its end, which under a hypervisor
// costs a tenth of unmapping it now.
void image_close(struct image *im, bool exiting);
// Copies a piece of the ELF image (`src` points into im->elf.blob) to `to`. A plain file is
// read, not copied from its mapping, whose pages then need never be mapped. 0 or -errno.
int image_copy(const struct image *im, const void *src, size_t len, void *to);

// Reads exactly `len` bytes at an offset. -ENODATA when the file ends before.
int image_read(int fd, uint64_t at, size_t len, void *to);

// What the builder says about a kernel becomes an error about its file. Returns `code`.
int image_fail(struct serai_error *err, int code, const char *path,
               const struct builder_error *why);

// ramdisk.c: is this ramdisk (whole file in memory) complete? Formats that are not recognised
// pass: a guest may take anything. -EINVAL with what is missing and where.
int ramdisk_check(const uint8_t *data, size_t size, const char *path, struct serai_error *err);
