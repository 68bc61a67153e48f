// SPDX-License-Identifier: BSD-2-Clause
// Loads from the hypervisor's own tables where nothing may be mapped: a part of the frame table
// whose section is not online, the direct map of what is no RAM. Cheaper than looking first.
#pragma once

#include "memory/frame.h"
#include "x86/cpu/extable.h"

// Is the frame the domain's of this number? False as well when it has no frame-table entry.
// mfn < max_mfn.
static __always_inline bool frame_owner_probe(const struct frame *f, domid_t id)
{
    // clang-format off
    asm goto("1: cmpw %1, %0\n jne %l[no]\n" ASM_EXTABLE(1b, %l[no])
             :
             : "m"(f->owner), "r"(id)
             : "cc"
             : no);
    // clang-format on
    return true;
no:
    return false;
}

// A word of the direct map; 0 when there is no RAM.
static inline uint64_t word_probe(const uint64_t *p)
{
    uint64_t v = 0;

    asm volatile("1: mov %1, %0\n2:\n" ASM_EXTABLE(1b, 2b) : "+r"(v) : "m"(*p));
    return v;
}
