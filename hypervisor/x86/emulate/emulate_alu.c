// SPDX-License-Identifier: BSD-2-Clause
#include "x86/emulate/emulate_alu.h"

uint64_t emulate_alu_cut(uint64_t value, unsigned bytes)
{
    return bytes >= 8 ? value : value & ((1ull << (8 * bytes)) - 1);
}

uint64_t emulate_alu_extend(uint64_t value, unsigned bytes)
{
    unsigned unused = bytes >= 8 ? 0 : 64 - 8 * bytes;

    return (uint64_t)((int64_t)(value << unused) >> unused);
}

static uint64_t alu_sign(unsigned bytes)
{
    return 1ull << (8 * bytes - 1);
}

/* SF, ZF and PF of a result. */
static uint64_t alu_result_flags(uint64_t r, unsigned bytes)
{
    return (r == 0 ? ALU_ZF : 0) | (r & alu_sign(bytes) ? ALU_SF : 0) |
           (__builtin_parity((unsigned)(r & 0xff)) ? 0 : ALU_PF);
}

static void alu_set(uint64_t *flags, uint64_t mask, uint64_t value)
{
    *flags = (*flags & ~mask) | (value & mask);
}

static uint64_t alu_add(uint64_t a, uint64_t b, uint64_t carry, unsigned bytes, uint64_t *flags)
{
    uint64_t r = emulate_alu_cut(a + b + carry, bytes);
    uint64_t carries = (a & b) | ((a | b) & ~r); /* carry out of each bit */
    uint64_t f = alu_result_flags(r, bytes);

    f |= carries & alu_sign(bytes) ? ALU_CF : 0;
    f |= carries & 8 ? ALU_AF : 0;
    f |= (a ^ r) & (b ^ r) & alu_sign(bytes) ? ALU_OF : 0;
    alu_set(flags, ALU_FLAGS, f);
    return r;
}

static uint64_t alu_sub(uint64_t a, uint64_t b, uint64_t borrow, unsigned bytes, uint64_t *flags)
{
    uint64_t r = emulate_alu_cut(a - b - borrow, bytes);
    uint64_t borrows = (~a & b) | ((~a | b) & r); /* borrow into each next bit */
    uint64_t f = alu_result_flags(r, bytes);

    f |= borrows & alu_sign(bytes) ? ALU_CF : 0;
    f |= borrows & 8 ? ALU_AF : 0;
    f |= (a ^ b) & (a ^ r) & alu_sign(bytes) ? ALU_OF : 0;
    alu_set(flags, ALU_FLAGS, f);
    return r;
}

/* AND, OR, XOR, TEST clear CF and OF; AF is undefined and comes out clear. */
static uint64_t alu_logic(uint64_t r, unsigned bytes, uint64_t *flags)
{
    alu_set(flags, ALU_FLAGS, alu_result_flags(r, bytes));
    return r;
}

/* INC and DEC leave CF alone. */
static uint64_t alu_keep_carry(uint64_t r, uint64_t carry, uint64_t *flags)
{
    alu_set(flags, ALU_CF, carry);
    return r;
}

static uint64_t alu_bit(enum emulate_op op, uint64_t dst, uint64_t bit, unsigned bytes,
                        uint64_t *flags)
{
    uint64_t mask = 1ull << (bit & (8 * bytes - 1));

    alu_set(flags, ALU_CF, dst & mask ? ALU_CF : 0);
    switch (op) {
    case INSN_BTS:
        return dst | mask;
    case INSN_BTR:
        return dst & ~mask;
    case INSN_BTC:
        return dst ^ mask;
    default:
        return dst;
    }
}

uint64_t emulate_alu(enum emulate_op op, uint64_t dst, uint64_t src, unsigned bytes,
                     uint64_t *flags)
{
    uint64_t a = emulate_alu_cut(dst, bytes), b = emulate_alu_cut(src, bytes);
    uint64_t carry = *flags & ALU_CF;

    switch (op) {
    case INSN_ADD:
        return alu_add(a, b, 0, bytes, flags);
    case INSN_ADC:
        return alu_add(a, b, carry, bytes, flags);
    case INSN_SUB:
        return alu_sub(a, b, 0, bytes, flags);
    case INSN_SBB:
        return alu_sub(a, b, carry, bytes, flags);
    case INSN_CMP:
        alu_sub(a, b, 0, bytes, flags);
        return a;
    case INSN_AND:
        return alu_logic(a & b, bytes, flags);
    case INSN_OR:
        return alu_logic(a | b, bytes, flags);
    case INSN_XOR:
        return alu_logic(a ^ b, bytes, flags);
    case INSN_TEST:
        alu_logic(a & b, bytes, flags);
        return a;
    case INSN_INC:
        return alu_keep_carry(alu_add(a, 1, 0, bytes, flags), carry, flags);
    case INSN_DEC:
        return alu_keep_carry(alu_sub(a, 1, 0, bytes, flags), carry, flags);
    case INSN_NOT:
        return emulate_alu_cut(~a, bytes);
    case INSN_NEG:
        return alu_sub(0, a, 0, bytes, flags);
    case INSN_BT:
    case INSN_BTS:
    case INSN_BTR:
    case INSN_BTC:
        return alu_bit(op, a, b, bytes, flags);
    default:
        return a;
    }
}
