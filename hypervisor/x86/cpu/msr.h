// SPDX-License-Identifier: BSD-2-Clause
// Numbers and bits of model-specific and control registers (Intel SDM volumes 3 and 4, AMD APM 2).
// Plain numbers: assembly includes this too.
#pragma once

#define MSR_TSC            0x00000010
#define MSR_PLATFORM_ID    0x00000017
#define MSR_APIC_BASE      0x0000001b
#define MSR_SPEC_CTRL      0x00000048
#define MSR_PRED_CMD       0x00000049
#define MSR_UCODE_WRITE    0x00000079
#define MSR_UCODE_REVISION 0x0000008b
#define MSR_MTRRCAP        0x000000fe
#define MSR_SYSENTER_CS    0x00000174
#define MSR_SYSENTER_ESP   0x00000175
#define MSR_SYSENTER_EIP   0x00000176
#define MSR_MCG_CAP        0x00000179
#define MSR_MCG_STATUS     0x0000017a
#define MSR_MISC_ENABLE    0x000001a0
#define MSR_DEBUGCTL       0x000001d9
#define MSR_PAT            0x00000277
#define MSR_TSC_DEADLINE   0x000006e0
#define MSR_X2APIC_FIRST   0x00000800
#define MSR_XSS            0x00000da0
#define MSR_EFER           0xc0000080
#define MSR_STAR           0xc0000081
#define MSR_LSTAR          0xc0000082
#define MSR_CSTAR          0xc0000083
#define MSR_SYSCALL_MASK   0xc0000084
#define MSR_FS_BASE        0xc0000100
#define MSR_GS_BASE        0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_TSC_AUX        0xc0000103
#define MSR_AMD_UCODE_LOAD 0xc0010020

#define APIC_BASE_BSP    (1 << 8)
#define APIC_BASE_X2APIC (1 << 10)
#define APIC_BASE_ENABLE (1 << 11)

#define EFER_SCE (1 << 0)
#define EFER_LME (1 << 8)
#define EFER_LMA (1 << 10)
#define EFER_NXE (1 << 11)

#define CR0_PE (1 << 0)
#define CR0_MP (1 << 1)
#define CR0_EM (1 << 2)
#define CR0_TS (1 << 3)
#define CR0_ET (1 << 4)
#define CR0_NE (1 << 5)
#define CR0_WP (1 << 16)
#define CR0_AM (1 << 18)
#define CR0_PG 0x80000000

#define CR4_VME        (1 << 0)
#define CR4_PVI        (1 << 1)
#define CR4_TSD        (1 << 2)
#define CR4_DE         (1 << 3)
#define CR4_PSE        (1 << 4)
#define CR4_PAE        (1 << 5)
#define CR4_MCE        (1 << 6)
#define CR4_PGE        (1 << 7)
#define CR4_PCE        (1 << 8)
#define CR4_OSFXSR     (1 << 9)
#define CR4_OSXMMEXCPT (1 << 10)
#define CR4_UMIP       (1 << 11)
#define CR4_FSGSBASE   (1 << 16)
#define CR4_PCIDE      (1 << 17)
#define CR4_OSXSAVE    (1 << 18)
#define CR4_SMEP       (1 << 20)
#define CR4_SMAP       (1 << 21)

// Memory types by PAT index, as the ABI gives them to PV guests:
// WB, WT, UC-, UC, WC, WP, UC, UC.
#define PAT_VALUE 0x0000050100070406ull
