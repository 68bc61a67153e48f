// SPDX-License-Identifier: BSD-2-Clause
// Multiboot kernel that prints the TSC at its entry on COM1 and powers off:
// what the firmware and qemu's loader cost before any hypervisor starts.
.code32
.section .text
	.align 4
	.long 0x1badb002, 0x3, -(0x1badb002 + 0x3)
.globl _start
_start:
	rdtsc
	mov $0x80000, %esp
	mov %eax, %esi
	mov %edx, %edi
	mov $'T', %al; call putc
	mov $'S', %al; call putc
	mov $'C', %al; call putc
	mov $'=', %al; call putc
	mov %edi, %ebx; call hex
	mov %esi, %ebx; call hex
	mov $10, %al; call putc
	mov $0x604, %dx; mov $0x2000, %ax; outw %ax, %dx   // q35 ACPI power off
	mov $0xfe, %al; outb %al, $0x64                    // or reset
1:	hlt
	jmp 1b
hex:	mov $8, %ecx
2:	rol $4, %ebx
	mov %bl, %al
	and $15, %al
	add $'0', %al
	cmp $'9', %al
	jbe 3f
	add $39, %al
3:	call putc
	loop 2b
	ret
putc:	mov $0x3f8, %dx
	outb %al, %dx
	ret
