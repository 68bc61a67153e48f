// SPDX-License-Identifier: BSD-2-Clause
// The conditions under which the decompression libraries (zlib, libzstd, liblz4, as Debian builds
// them for programs) may run in the hypervisor: they use SSE, a red zone below the stack pointer
// and a stack canary at %fs:0x28. So interrupts are off (NMI and #MC have stacks of their own),
// CR0 and CR4 allow SSE, the stack is aligned to 16 bytes, and FS points at memory. Allocation is
// refused: builder/ hands them memory. About 2 KiB of stack is used.
#pragma once

#include "builder/bzimage.h"
#include "lib/types.h"

// bzimage_unpack() under these conditions. Boot only; what the libraries leave in the FPU's
// registers belongs to nobody.
int __must_check unpack_glue_kernel(struct builder_blob blob, void *out, size_t out_bytes,
                                    void *scratch, size_t scratch_bytes, struct elf_image *elf,
                                    struct builder_error *err);
