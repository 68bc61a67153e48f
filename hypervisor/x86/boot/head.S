// SPDX-License-Identifier: BSD-2-Clause
// First instructions: from the boot loader's 32-bit protected mode to boot_main() in long mode.
// Also the Multiboot 1 and 2 headers, which must be within the first 8 KiB of the file.

#include "x86/boot/multiboot.h"
#include "x86/cpu/msr.h"
#include "asm_offsets.h"

#define IMAGE_PHYS 0x200000
#define PHYS(sym)  ((sym) - IMAGE_VIRT + IMAGE_PHYS)

#define SLOT_IMAGE     ((IMAGE_VIRT >> 39) & 511)
#define SLOT_IMAGE_L3  ((IMAGE_VIRT >> 30) & 511)
#define SLOT_DIRECTMAP ((DIRECTMAP_VIRT >> 39) & 511)
#define TABLE          3    // present, writable
#define SUPERPAGE      0x83 // present, writable, 2 MiB

    .section .text.head, "ax"
    .code32
    .globl start32
start32:
    cld
    cli
    jmp enter

    .balign 8
multiboot1_header:
    .long MB1_HEADER_MAGIC
    .long MB1_FLAG_ALIGN | MB1_FLAG_MEMINFO
    .long -(MB1_HEADER_MAGIC + (MB1_FLAG_ALIGN | MB1_FLAG_MEMINFO))

    .balign 8
multiboot2_header:
    .long MB2_HEADER_MAGIC
    .long 0 // i386 protected mode
    .long multiboot2_header_end - multiboot2_header
    .long -(MB2_HEADER_MAGIC + (multiboot2_header_end - multiboot2_header))
    // What we read; optional, so that loaders which lack some still start us.
    .short MB2_HTAG_INFO_REQUEST, MB2_HTAG_OPTIONAL
    .long 8 + 4 * 6
    .long MB2_TAG_CMDLINE, MB2_TAG_MODULE, MB2_TAG_MMAP, MB2_TAG_FRAMEBUFFER
    .long MB2_TAG_ACPI_OLD, MB2_TAG_ACPI_NEW
    // Any framebuffer will do; text mode stays where the firmware has it.
    .balign 8
    .short MB2_HTAG_FRAMEBUFFER, MB2_HTAG_OPTIONAL
    .long 20
    .long 0, 0, 32
    .balign 8
    .short MB2_HTAG_MODULE_ALIGN, 0
    .long 8
    .balign 8
    .short 0, 0
    .long 8
multiboot2_header_end:

enter:
    movl %eax, %ebp // the loader's magic; %ebx: its information

    // The CPU must have long mode. NX is asked for in cpuid_init(), with a better message.
    movl $0x80000000, %eax
    movl %ebx, %esi
    cpuid
    cmpl $0x80000001, %eax
    jb no_long_mode
    movl $0x80000001, %eax
    cpuid
    bt $29, %edx
    jnc no_long_mode
    movl %edx, %edi // bit 20: NX

    // Boot page tables. 4 GiB of 2 MiB pages, seen at 0 and in the direct map, and the image.
    movl $PHYS(boot_l2_low), %edx
    movl $SUPERPAGE, %eax
    xorl %ecx, %ecx
1:  movl %eax, (%edx,%ecx,8)
    addl $0x200000, %eax
    incl %ecx
    cmpl $2048, %ecx
    jne 1b

    movl $PHYS(boot_l2_image), %edx
    movl $IMAGE_PHYS + SUPERPAGE, %eax
    xorl %ecx, %ecx
1:  movl %eax, (%edx,%ecx,8)
    addl $0x200000, %eax
    incl %ecx
    cmpl $8, %ecx
    jne 1b

    movl $PHYS(boot_l3_low), %edx
    movl $PHYS(boot_l2_low) + TABLE, %eax
    xorl %ecx, %ecx
1:  movl %eax, (%edx,%ecx,8)
    addl $4096, %eax
    incl %ecx
    cmpl $4, %ecx
    jne 1b
    movl $PHYS(boot_l2_image) + TABLE, PHYS(boot_l3_image) + SLOT_IMAGE_L3 * 8

    movl $PHYS(boot_l3_low) + TABLE, PHYS(boot_l4)
    movl $PHYS(boot_l3_low) + TABLE, PHYS(boot_l4) + SLOT_DIRECTMAP * 8
    movl $PHYS(boot_l3_image) + TABLE, PHYS(boot_l4) + SLOT_IMAGE * 8

    movl %cr4, %eax
    orl $CR4_PAE, %eax
    movl %eax, %cr4
    movl $PHYS(boot_l4), %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME, %eax
    bt $20, %edi
    jnc 1f
    orl $EFER_NXE, %eax
1:  wrmsr
    movl $CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE, %eax
    movl %eax, %cr0
    lgdt PHYS(boot_gdt_pointer)
    ljmp $8, $PHYS(enter64)

no_long_mode:
    movl $PHYS(no_long_mode_text), %esi
1:  lodsb
    testb %al, %al
    jz 3f
    movb %al, %ah
    movw $0x3fd, %dx
2:  inb %dx, %al
    testb $0x20, %al
    jz 2b
    movb %ah, %al
    movw $0x3f8, %dx
    outb %al, %dx
    jmp 1b
3:  hlt
    jmp 3b
no_long_mode_text:
    .asciz "Serai: this CPU has no 64-bit mode\r\n"

    .code64
enter64:
    movabsq $1f, %rax
    jmp *%rax
1:  movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    lea boot_stack + STACK_SIZE_BYTES - STACK_INFO_SIZE(%rip), %rsp
    // The descriptor table by its address in the image: the low mapping goes away.
    lgdt boot_gdt_pointer_high(%rip)
    movl %ebp, %edi
    // %esi: the loader's information
    xorl %ebp, %ebp
    pushq $0 // end of back traces
    call boot_main
    ud2

    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff // 0x08: 64-bit code
    .quad 0x00cf93000000ffff // 0x10: data
boot_gdt_end:
boot_gdt_pointer:
    .short boot_gdt_end - boot_gdt - 1
    .long PHYS(boot_gdt)
    .balign 8
boot_gdt_pointer_high:
    .short boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

    .section .bss.page_aligned, "aw", @nobits
    .balign STACK_SIZE_BYTES
    .skip STACK_SIZE_BYTES // its last page becomes the guard below the stack
    .globl boot_stack
boot_stack:
    .skip STACK_SIZE_BYTES
boot_l4:
    .skip 4096
boot_l3_low:
    .skip 4096
boot_l3_image:
    .skip 4096
boot_l2_image:
    .skip 4096
boot_l2_low:
    .skip 4 * 4096

    .section .note.GNU-stack, "", @progbits
