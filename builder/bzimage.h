// SPDX-License-Identifier: BSD-2-Clause
/*
 * Linux/x86 boot images ("bzImage", boot protocol 2.08 and later): where the compressed kernel
 * lies in one and how it is packed. Follows Documentation/x86/boot.rst of Linux.
 */
#pragma once

#include "builder.h"
#include "elf.h"
#include "unpack.h"

struct bzimage {
    uint16_t protocol;           /* 0x0208 and up */
    struct builder_blob payload; /* inside the image, without the trailing size word */
    enum unpack_format format;   /* UNPACK_NONE: the payload is an ELF image as it is */
    uint32_t unpacked_bytes;     /* exact size of the unpacked kernel as the image states it */
};

/* Has the boot sector and header magic of a bzImage of any version. */
bool bzimage_detect(struct builder_blob blob);

/* Finds and identifies the payload. -ENOEXEC: not a bzImage; -EINVAL: too old or damaged;
 * -EOPNOTSUPP: unknown packing. */
int bzimage_open(struct bzimage *bz, struct builder_blob blob, struct builder_error *err);

/*
 * What every caller wants: given a kernel file, either bzImage or ELF (plain or packed alone),
 * says how many bytes the ELF image has (*bytes; 0 when `blob` itself is the ELF image and nothing
 * is to be unpacked) and how much scratch memory unpacking takes.
 */
int bzimage_measure(struct builder_blob blob, size_t *bytes, size_t *scratch_bytes,
                    struct builder_error *err);

/*
 * Unpacks the kernel file into out (as many bytes as bzimage_measure() said) and opens it.
 * When nothing was to be unpacked, out may be NULL and *elf points into blob.
 */
int bzimage_unpack(struct builder_blob blob, void *out, size_t out_bytes, void *scratch,
                   size_t scratch_bytes, struct elf_image *elf, struct builder_error *err);
