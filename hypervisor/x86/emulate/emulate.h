// SPDX-License-Identifier: BSD-2-Clause
/*
 * The instruction emulator: emulate_decode() turns bytes into a struct insn, emulate_execute()
 * carries it out on a register block through a table of callbacks. It follows the Intel SDM
 * (volume 2) and the AMD APM (volume 3) and favours no vendor.
 *
 * It covers what a hypervisor meets: privileged instructions, port I/O with its string forms, and
 * the integer instructions that read, write or update memory (page-table writes, MMIO). It keeps
 * no state, takes no lock, allocates nothing and depends on nothing but the public register
 * layout, so it also runs in host programs (unit tests, fuzzers).
 *
 * Privilege is the callers' business: the executor runs any instruction it can decode. Check
 * insn.privileged and the guest's mode first; port permissions belong into the port callbacks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpu_user_regs; /* xen/arch-x86/xen-x86_64.h, with __XEN_TOOLS__ */

#define EMULATE_MAX_INSN_BYTES 15

enum emulate_mode { EMULATE_MODE_16 = 2, EMULATE_MODE_32 = 4, EMULATE_MODE_64 = 8 };

enum emulate_result {
    EMULATE_OK,         /* done, registers updated; RIP is moved past the instruction */
    EMULATE_MORE_BYTES, /* decode only: the instruction continues after the given bytes */
    EMULATE_UNHANDLED,  /* not an instruction of ours, or its callback is missing; no effect */
    EMULATE_EXCEPTION,  /* ctx->exception says which one the guest shall see; RIP unmoved */
    EMULATE_RETRY,      /* progress may have been made (string forms); run the guest again at RIP */
};

enum emulate_segment {
    EMULATE_ES,
    EMULATE_CS,
    EMULATE_SS,
    EMULATE_DS,
    EMULATE_FS,
    EMULATE_GS,
};

enum emulate_op {
    INSN_INVALID,
    /* Data movement and arithmetic; the operands are in dst and src. */
    INSN_MOV,
    INSN_MOVZX,
    INSN_MOVSX,
    INSN_XCHG,
    INSN_XADD,
    INSN_CMPXCHG,
    INSN_CMPXCHG_PAIR, /* CMPXCHG8B, CMPXCHG16B: bytes 8 or 16 */
    INSN_ADD,
    INSN_OR,
    INSN_ADC,
    INSN_SBB,
    INSN_AND,
    INSN_SUB,
    INSN_XOR,
    INSN_CMP,
    INSN_TEST,
    INSN_INC,
    INSN_DEC,
    INSN_NOT,
    INSN_NEG,
    INSN_BT,
    INSN_BTS,
    INSN_BTR,
    INSN_BTC,
    INSN_STOS,
    INSN_LODS,
    INSN_MOVS,
    INSN_NOP, /* hints and prefetches with a memory operand */
    /* Port I/O: the port is in src (IN) or dst (OUT), immediate or DX. */
    INSN_IN,
    INSN_OUT,
    INSN_INS,
    INSN_OUTS,
    /* System instructions. */
    INSN_CPUID,
    INSN_RDMSR,
    INSN_WRMSR,
    INSN_RDTSC,
    INSN_RDTSCP,
    INSN_RDPMC,
    INSN_XGETBV,
    INSN_XSETBV,
    INSN_MOV_FROM_CR, /* number in src.reg */
    INSN_MOV_TO_CR,   /* number in dst.reg */
    INSN_MOV_FROM_DR,
    INSN_MOV_TO_DR,
    INSN_CLTS,
    INSN_LMSW,
    INSN_SMSW,
    INSN_HLT,
    INSN_INVLPG,
    INSN_INVD,
    INSN_WBINVD,
    INSN_CLI,
    INSN_STI,
    INSN_CLAC,
    INSN_STAC,
    INSN_MONITOR, /* these three are decoded so that they can be named; never executed */
    INSN_MWAIT,
    INSN_SWAPGS,
};

enum emulate_operand_kind {
    OPERAND_NONE,
    OPERAND_REG, /* reg: 0..15, or 16..19 for AH CH DH BH */
    OPERAND_MEM, /* the insn's memory operand */
    OPERAND_IMM, /* value */
};

struct emulate_operand {
    uint8_t kind; /* enum emulate_operand_kind */
    uint8_t reg;
    uint8_t bytes; /* 1, 2, 4, 8 or 16 */
    uint64_t value;
};

struct insn {
    uint8_t op;     /* enum emulate_op */
    uint8_t length; /* bytes, 1..15 */
    uint8_t mode;   /* enum emulate_mode */
    uint8_t op_bytes;
    uint8_t addr_bytes;
    uint8_t opcode; /* last opcode byte */
    uint8_t map;    /* 0: one byte, 1: 0F */
    uint8_t modrm;
    uint8_t rex;
    bool lock;
    bool rep;        /* F3 */
    bool repne;      /* F2 */
    bool privileged; /* needs CPL 0 (port I/O and CLI/STI, which obey IOPL, do not count) */
    bool has_mem;
    bool rip_relative;
    uint8_t segment; /* of the memory operand, or of the source of OUTS/MOVS/LODS */
    int8_t base;     /* register number or -1 */
    int8_t index;
    uint8_t scale; /* 1, 2, 4, 8 */
    int64_t disp;
    struct emulate_operand dst, src;
};

struct emulate_exception {
    uint8_t vector;
    bool has_error_code;
    uint32_t error_code;
    uint64_t cr2; /* for #PF */
};

struct emulate_ctx;

/*
 * Callbacks. Each returns EMULATE_OK, EMULATE_RETRY, EMULATE_UNHANDLED, or EMULATE_EXCEPTION after
 * filling ctx->exception; anything but EMULATE_OK ends the instruction with that result. A NULL
 * callback means EMULATE_UNHANDLED. Addresses are linear. `bytes` is 1, 2, 4, 8 (memory also 16);
 * an access may cross a page boundary.
 */
struct emulate_ops {
    enum emulate_result (*read)(struct emulate_ctx *ctx, uint64_t addr, void *data, unsigned bytes);
    enum emulate_result (*write)(struct emulate_ctx *ctx, uint64_t addr, const void *data,
                                 unsigned bytes);
    /* If *addr equals old, stores new, atomically; otherwise puts what it saw into old. The
     * instruction's own comparison goes on from old, so a difference is no failure here. */
    enum emulate_result (*cmpxchg)(struct emulate_ctx *ctx, uint64_t addr, void *old,
                                   const void *new, unsigned bytes, bool *swapped);
    /* Base of a segment; asked for FS and GS in 64-bit mode, for all in others. */
    enum emulate_result (*segment_base)(struct emulate_ctx *ctx, enum emulate_segment segment,
                                        uint64_t *base);
    enum emulate_result (*read_port)(struct emulate_ctx *ctx, uint16_t port, unsigned bytes,
                                     uint32_t *value);
    enum emulate_result (*write_port)(struct emulate_ctx *ctx, uint16_t port, unsigned bytes,
                                      uint32_t value);
    enum emulate_result (*read_cr)(struct emulate_ctx *ctx, unsigned cr, uint64_t *value);
    enum emulate_result (*write_cr)(struct emulate_ctx *ctx, unsigned cr, uint64_t value);
    enum emulate_result (*read_dr)(struct emulate_ctx *ctx, unsigned dr, uint64_t *value);
    enum emulate_result (*write_dr)(struct emulate_ctx *ctx, unsigned dr, uint64_t value);
    enum emulate_result (*read_msr)(struct emulate_ctx *ctx, uint32_t msr, uint64_t *value);
    enum emulate_result (*write_msr)(struct emulate_ctx *ctx, uint32_t msr, uint64_t value);
    enum emulate_result (*cpuid)(struct emulate_ctx *ctx, uint32_t leaf, uint32_t subleaf,
                                 uint32_t out[4]); /* EAX EBX ECX EDX */
    enum emulate_result (*read_tsc)(struct emulate_ctx *ctx, uint64_t *tsc);
    enum emulate_result (*read_tsc_aux)(struct emulate_ctx *ctx, uint32_t *aux);
    enum emulate_result (*read_pmc)(struct emulate_ctx *ctx, uint32_t counter, uint64_t *value);
    enum emulate_result (*read_xcr)(struct emulate_ctx *ctx, uint32_t xcr, uint64_t *value);
    enum emulate_result (*write_xcr)(struct emulate_ctx *ctx, uint32_t xcr, uint64_t value);
    enum emulate_result (*set_if)(struct emulate_ctx *ctx, bool enable); /* CLI, STI */
    enum emulate_result (*set_ac)(struct emulate_ctx *ctx, bool enable); /* CLAC, STAC */
    enum emulate_result (*invlpg)(struct emulate_ctx *ctx, uint64_t addr);
    enum emulate_result (*wbinvd)(struct emulate_ctx *ctx, bool write_back); /* INVD: false */
    enum emulate_result (*hlt)(struct emulate_ctx *ctx);
};

struct emulate_ctx {
    struct cpu_user_regs *regs;
    const struct emulate_ops *ops;
    void *owner;         /* for the callbacks */
    unsigned repeat_max; /* iterations of a REP form per call, then EMULATE_RETRY; 0: 1024 */
    struct emulate_exception exception; /* out */
};

/*
 * Decodes one instruction from at most `len` bytes. EMULATE_OK, EMULATE_MORE_BYTES (fetch more, up
 * to EMULATE_MAX_INSN_BYTES), EMULATE_EXCEPTION (invalid for any CPU: too long or a bad LOCK:
 * #UD / #GP is in *exception), or EMULATE_UNHANDLED.
 */
enum emulate_result emulate_decode(struct insn *insn, const uint8_t *bytes, size_t len,
                                   enum emulate_mode mode, struct emulate_exception *exception);

/*
 * Executes; only EMULATE_OK moves RIP and flags (RF is cleared). Memory is read before registers
 * change; a fault leaves registers as they were, except for completed iterations of REP forms.
 */
enum emulate_result emulate_execute(const struct insn *insn, struct emulate_ctx *ctx);

/* Linear address of the memory operand (has_mem), for callers that want to look first. */
enum emulate_result emulate_address(const struct insn *insn, struct emulate_ctx *ctx,
                                    uint64_t *linear);

/* Does the instruction write its memory operand? */
bool emulate_writes_memory(const struct insn *insn);

/* For messages: "mov", "wrmsr", ... */
const char *emulate_name(const struct insn *insn);

/* Fills ctx->exception and returns EMULATE_EXCEPTION: for callbacks. error_code < 0: none. */
enum emulate_result emulate_raise(struct emulate_ctx *ctx, uint8_t vector, int64_t error_code);
