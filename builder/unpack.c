// SPDX-License-Identifier: BSD-2-Clause
#include "unpack.h"

#include "elf.h"
#include "unpack_method.h"

static const struct unpack_method *const unpack_methods[] = {
    [UNPACK_GZIP] = &unpack_gzip,
    [UNPACK_XZ] = &unpack_xz,
    [UNPACK_ZSTD] = &unpack_zstd,
    [UNPACK_LZ4] = &unpack_lz4,
};

static const struct unpack_method *unpack_method(enum unpack_format format)
{
    return format > UNPACK_NONE && format < UNPACK_UNKNOWN ? unpack_methods[format] : NULL;
}

enum unpack_format unpack_detect(struct builder_blob blob)
{
    if (elf_detect(blob)) {
        return UNPACK_NONE;
    }
    if (blob.len < 6) {
        return UNPACK_UNKNOWN;
    }
    if (builder_get16(blob.data) == 0x8b1f) {
        return UNPACK_GZIP;
    }
    if (__builtin_memcmp(blob.data,
                         "\xfd"
                         "7zXZ",
                         6) == 0) {
        return UNPACK_XZ;
    }
    if (builder_get32(blob.data) == 0xfd2fb528) {
        return UNPACK_ZSTD;
    }
    if (builder_get32(blob.data) == 0x184c2102) {
        return UNPACK_LZ4;
    }
    return UNPACK_UNKNOWN;
}

const char *unpack_name(enum unpack_format format)
{
    const struct unpack_method *m = unpack_method(format);

    return m ? m->name : format == UNPACK_NONE ? "none" : "unknown";
}

size_t unpack_scratch_bytes(enum unpack_format format)
{
    const struct unpack_method *m = unpack_method(format);

    return m ? m->scratch_bytes : 0;
}

int unpack(enum unpack_format format, struct builder_blob in, void *out, size_t out_bytes,
           void *scratch, size_t scratch_bytes, struct builder_error *err)
{
    const struct unpack_method *m = unpack_method(format);
    const struct unpack_job job = {in, out, out_bytes, scratch, scratch_bytes};

    if (!m) {
        return builder_fail(err, XEN_EOPNOTSUPP, "compression of the kernel is not known", 0);
    }
    if (in.len == 0) {
        return builder_fail(err, XEN_EINVAL, "compressed kernel is empty", 0);
    }
    if (scratch_bytes < m->scratch_bytes || ((uintptr_t)scratch & 15)) {
        return builder_fail(err, XEN_ENOMEM, "too little scratch memory to unpack the kernel",
                            m->scratch_bytes);
    }
    return m->run(&job, err);
}
