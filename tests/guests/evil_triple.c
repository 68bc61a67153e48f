// SPDX-License-Identifier: BSD-2-Clause
// Faults without trap handlers and with a broken stack: the hypervisor can only end it.
#include "lib/guest.h"

void guest_main(void)
{
    print("# about to fault for good\n");
    hc_set_trap_table(NULL);
    __asm__ volatile("xor %rsp, %rsp; ud2");
}
