// SPDX-License-Identifier: BSD-2-Clause
// Copies between the hypervisor and the current vCPU's guest memory. A guest pointer is never
// dereferenced otherwise. Each returns 0 or -EFAULT (bad address, hypervisor hole, fault, wrap);
// a failed copy may be partial. May not be called with interrupts off or a spinlock held that a
// guest page fault handler could need.
#pragma once

#include "lib/types.h"

int __must_check guest_copy_from(void *dst, const void *gva, size_t size);
int __must_check guest_copy_to(void *gva, const void *src, size_t size);
// The same for one aligned or unaligned 32-bit word; *dst is undefined after a failure.
int __must_check guest_read32(uint32_t *dst, const void *gva);
// The same for 64 bytes: an entry of a multicall.
int __must_check guest_copy_from64(void *dst, const void *gva);
int __must_check guest_clear(void *gva, size_t size);
// NUL-terminated; -ENAMETOOLONG when it does not end within size bytes.
int __must_check guest_copy_string_from(char *dst, const char *gva, size_t size);
// True when [gva, gva+size) lies outside the hypervisor hole and does not wrap.
bool guest_range_ok(const void *gva, size_t size);

// Array forms for public handles: element index i of handle h (h.p is a typed guest pointer).
#define guest_handle_from(dst, h, i, n) guest_copy_from(dst, (h).p + (i), sizeof(*(h).p) * (n))
#define guest_handle_to(h, i, src, n)   guest_copy_to((h).p + (i), src, sizeof(*(h).p) * (n))
