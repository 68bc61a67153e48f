// SPDX-License-Identifier: BSD-2-Clause
/* The smallest program: exit(0). */
void _start(void)
{
    asm volatile("xor %edi,%edi; mov $60,%eax; syscall");
}
