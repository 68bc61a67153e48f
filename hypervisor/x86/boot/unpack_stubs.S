/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Parts of libzstd that stay out of the hypervisor. Frames of versions before 0.8 never reach it
 * (unpack_detect() knows the current magic number alone), so their decoders are not linked; tracing
 * is off.
 */
    .section .text.unpack_stubs, "ax", @progbits
.macro stubs names:vararg
    .irp name, \names
    .globl \name
\name:
    .endr
.endm

    stubs ZBUFFv05_createDCtx, ZBUFFv05_freeDCtx, ZBUFFv05_decompressInitDictionary
    stubs ZBUFFv05_decompressContinue, ZSTDv05_createDCtx, ZSTDv05_freeDCtx
    stubs ZSTDv05_decompress_usingDict, ZSTDv05_findFrameSizeInfoLegacy, ZSTDv05_getFrameParams
    stubs ZBUFFv06_createDCtx, ZBUFFv06_freeDCtx, ZBUFFv06_decompressInitDictionary
    stubs ZBUFFv06_decompressContinue, ZSTDv06_createDCtx, ZSTDv06_freeDCtx
    stubs ZSTDv06_decompress_usingDict, ZSTDv06_findFrameSizeInfoLegacy, ZSTDv06_getFrameParams
    stubs ZBUFFv07_createDCtx, ZBUFFv07_freeDCtx, ZBUFFv07_decompressInitDictionary
    stubs ZBUFFv07_decompressContinue, ZSTDv07_createDCtx, ZSTDv07_freeDCtx
    stubs ZSTDv07_decompress_usingDict, ZSTDv07_findFrameSizeInfoLegacy, ZSTDv07_getFrameParams
    ud2

    stubs ZSTD_trace_decompress_begin, ZSTD_trace_decompress_end
    xorl %eax, %eax
    ret
    .section .note.GNU-stack, "", @progbits
