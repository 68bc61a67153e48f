// SPDX-License-Identifier: BSD-2-Clause
#include "bzimage.h"

/* Offsets in the setup header, boot.rst. */
enum {
    BZIMAGE_SETUP_SECTS = 0x1f1,
    BZIMAGE_BOOT_FLAG = 0x1fe,
    BZIMAGE_MAGIC = 0x202,
    BZIMAGE_VERSION = 0x206,
    BZIMAGE_PAYLOAD_OFFSET = 0x248,
    BZIMAGE_PAYLOAD_LENGTH = 0x24c,
    BZIMAGE_HEADER_END = 0x250,
    BZIMAGE_VERSION_MIN = 0x208,
};

#define BZIMAGE_UNPACKED_MAX (1u << 30)

bool bzimage_detect(struct builder_blob blob)
{
    return blob.len >= BZIMAGE_HEADER_END &&
           builder_get16(blob.data + BZIMAGE_BOOT_FLAG) == 0xaa55 &&
           builder_get32(blob.data + BZIMAGE_MAGIC) == 0x53726448;
}

/* The size of the unpacked kernel stands in the last four bytes: in gzip's own trailer, or in a
 * word that the kernel's build appends to the other formats. */
static int bzimage_unpacked_size(struct bzimage *bz, struct builder_error *err)
{
    struct builder_blob *p = &bz->payload;

    if (bz->format == UNPACK_NONE) {
        bz->unpacked_bytes = (uint32_t)p->len;
        return 0;
    }
    if (p->len < 8) {
        return builder_fail(err, XEN_EINVAL, "bzImage payload is too short", p->len);
    }
    bz->unpacked_bytes = builder_get32(p->data + p->len - 4);
    if (bz->format != UNPACK_GZIP) {
        p->len -= 4;
    }
    if (bz->unpacked_bytes == 0 || bz->unpacked_bytes > BZIMAGE_UNPACKED_MAX) {
        return builder_fail(err, XEN_EINVAL, "bzImage states an implausible unpacked size",
                            bz->unpacked_bytes);
    }
    return 0;
}

int bzimage_open(struct bzimage *bz, struct builder_blob blob, struct builder_error *err)
{
    uint64_t sects, offset, length;

    if (!bzimage_detect(blob)) {
        return builder_fail(err, XEN_ENOEXEC, "kernel is not a bzImage", 0);
    }
    bz->protocol = builder_get16(blob.data + BZIMAGE_VERSION);
    if (bz->protocol < BZIMAGE_VERSION_MIN) {
        return builder_fail(err, XEN_EINVAL, "bzImage is older than boot protocol 2.08",
                            bz->protocol);
    }
    sects = blob.data[BZIMAGE_SETUP_SECTS];
    offset = ((sects ? sects : 4) + 1) * 512 + builder_get32(blob.data + BZIMAGE_PAYLOAD_OFFSET);
    length = builder_get32(blob.data + BZIMAGE_PAYLOAD_LENGTH);
    if (length == 0 || !builder_blob_has(blob, offset, length)) {
        return builder_fail(err, XEN_EINVAL, "bzImage payload lies outside the file (truncated?)",
                            offset);
    }
    bz->payload = (struct builder_blob){blob.data + offset, length};
    bz->format = unpack_detect(bz->payload);
    if (bz->format == UNPACK_UNKNOWN) {
        return builder_fail(err, XEN_EOPNOTSUPP, "bzImage payload has an unknown packing", offset);
    }
    return bzimage_unpacked_size(bz, err);
}

/* A bzImage, or a kernel compressed alone with gzip, as one description. */
static int bzimage_find(struct bzimage *bz, struct builder_blob blob, struct builder_error *err)
{
    enum unpack_format format = unpack_detect(blob);

    if (format == UNPACK_NONE || format == UNPACK_GZIP) {
        *bz = (struct bzimage){.payload = blob, .format = format};
        return bzimage_unpacked_size(bz, err);
    }
    if (!bzimage_detect(blob)) {
        return builder_fail(err, XEN_ENOEXEC, "kernel is neither a bzImage nor an ELF image", 0);
    }
    return bzimage_open(bz, blob, err);
}

int bzimage_measure(struct builder_blob blob, size_t *bytes, size_t *scratch_bytes,
                    struct builder_error *err)
{
    struct bzimage bz;
    int rc = bzimage_find(&bz, blob, err);

    if (rc) {
        return rc;
    }
    *bytes = bz.format == UNPACK_NONE ? 0 : bz.unpacked_bytes;
    *scratch_bytes = unpack_scratch_bytes(bz.format);
    return 0;
}

int bzimage_unpack(struct builder_blob blob, void *out, size_t out_bytes, void *scratch,
                   size_t scratch_bytes, struct elf_image *elf, struct builder_error *err)
{
    struct bzimage bz;
    int rc = bzimage_find(&bz, blob, err);

    if (rc) {
        return rc;
    }
    if (bz.format == UNPACK_NONE) {
        return elf_open(elf, bz.payload, err);
    }
    if (out_bytes < bz.unpacked_bytes) {
        return builder_fail(err, XEN_ENOSPC, "no room for the unpacked kernel", bz.unpacked_bytes);
    }
    rc = unpack(bz.format, bz.payload, out, bz.unpacked_bytes, scratch, scratch_bytes, err);
    if (rc) {
        return rc;
    }
    return elf_open(elf, (struct builder_blob){out, bz.unpacked_bytes}, err);
}
