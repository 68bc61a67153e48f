// SPDX-License-Identifier: BSD-2-Clause
// The linked image inside a 32-bit ELF file, which is what Multiboot loaders take.
// BIN and BSS_BYTES come from the Makefile.
    .section .image, "awx", @progbits
    .incbin BIN
    .section .bss, "aw", @nobits
    .balign 64
    .skip BSS_BYTES
    .section .note.GNU-stack, "", @progbits
