// SPDX-License-Identifier: BSD-2-Clause
// Exception table: instructions of the hypervisor that may fault on a guest's account, each with
// the place where execution goes on instead. An entry is two 32-bit offsets relative to themselves.
#pragma once

#ifdef __ASSEMBLY__
// clang-format off
.macro EXTABLE from, to
    .pushsection .ex_table, "a"
    .balign 4
    .long \from - .
    .long \to - .
    .popsection
.endm
// clang-format on
#else
#include "lib/types.h"

#define ASM_EXTABLE(from, to)                                                      \
    ".pushsection .ex_table, \"a\"\n .balign 4\n .long " #from " - .\n .long " #to \
    " - .\n .popsection\n"

struct cpu_user_regs;
// If regs->rip is an instruction of the table, moves RIP to its fix-up. Any context.
bool extable_fixup(struct cpu_user_regs *regs);
#endif
