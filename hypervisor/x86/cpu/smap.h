// SPDX-License-Identifier: BSD-2-Clause
// Supervisor-mode access prevention. The hypervisor touches guest memory only between STAC and
// CLAC; both are three-byte no-ops until smap_init() finds that the CPU has SMAP.
#pragma once

#ifdef __ASSEMBLY__
// clang-format off
.macro SMAP_SITE last
990:
    .byte 0x0f, 0x1f, 0x00
    .pushsection .alternatives, "a"
    .balign 8
    .long 990b - .
    .long \last
    .popsection
.endm
#define STAC SMAP_SITE 0xcb
#define CLAC SMAP_SITE 0xca
// clang-format on
#else
#include "lib/types.h"

#define ASM_SMAP_SITE(last)                                                         \
    "990: .byte 0x0f, 0x1f, 0x00\n"                                                 \
    ".pushsection .alternatives, \"a\"\n .balign 8\n .long 990b - .\n .long " #last \
    "\n .popsection\n"
#define ASM_STAC ASM_SMAP_SITE(0xcb)
#define ASM_CLAC ASM_SMAP_SITE(0xca)

static __always_inline void stac(void)
{
    asm volatile(ASM_STAC ::: "memory", "cc");
}
static __always_inline void clac(void)
{
    asm volatile(ASM_CLAC ::: "memory", "cc");
}

// Boot CPU, once, before CR4.SMAP is set: puts the instructions in place if wanted and available.
void smap_init(void);
#endif
