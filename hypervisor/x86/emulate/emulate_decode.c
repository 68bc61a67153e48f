// SPDX-License-Identifier: BSD-2-Clause
/*
 * The decoder: prefixes, an opcode's row in a table, ModRM and SIB, displacement, immediate. An
 * opcode without a row is none of ours.
 */
#include "x86/emulate/emulate.h"

enum {
    DECODE_VECTOR_UD = 6,
    DECODE_VECTOR_GP = 13,
};

/* How an opcode names its operands. */
enum decode_form {
    FORM_ABSENT, /* not ours */
    FORM_PLAIN,  /* none */
    FORM_MR,     /* dst r/m, src reg */
    FORM_RM,     /* dst reg, src r/m */
    FORM_MI,     /* dst r/m, immediate of operand size (at most 4 bytes) */
    FORM_MI8,    /* dst r/m, byte immediate, sign-extended */
    FORM_M,      /* dst r/m */
    FORM_AI,     /* dst accumulator, immediate */
    FORM_O,      /* dst the register in the opcode */
    FORM_OI,     /* the same, with an immediate of full operand size */
    FORM_AO,     /* dst accumulator, src the register in the opcode */
    FORM_LOAD,   /* dst accumulator, src memory at an absolute offset */
    FORM_STORE,
    FORM_STRING, /* implicit SI, DI */
    FORM_IN_IMM, /* dst accumulator, src port */
    FORM_IN_DX,
    FORM_OUT_IMM, /* dst port, src accumulator */
    FORM_OUT_DX,
    FORM_CR_READ, /* dst r/m as a register, src control or debug register */
    FORM_CR_WRITE,
    FORM_HINT,     /* r/m, not accessed */
    FORM_GROUP1,   /* ModRM.reg selects; immediate of operand size */
    FORM_GROUP1_8, /* the same with a byte immediate */
    FORM_GROUP3,
    FORM_GROUP4,  /* INC, DEC */
    FORM_GROUP7,  /* 0F 01 */
    FORM_GROUP8,  /* BTx with a byte immediate */
    FORM_GROUP9,  /* CMPXCHG8B/16B */
    FORM_GROUP11, /* MOV immediate */
};

enum {
    ROW_BYTE = 1 << 0,  /* 8-bit operand */
    ROW_PRIV = 1 << 1,  /* needs CPL 0 */
    ROW_NOT64 = 1 << 2, /* #UD in 64-bit mode */
    ROW_MEM = 1 << 3,   /* r/m must be memory */
    ROW_SRC8 = 1 << 4,  /* the r/m source is a byte (MOVZX, MOVSX) */
    ROW_SRC16 = 1 << 5,
    ROW_ONLY64 = 1 << 6,
    ROW_NO_PREFIX = 1 << 7, /* 66, F2, F3 make it another instruction */
};

struct decode_row {
    uint8_t op, form, flags;
};

#define ARITH(base, name)                                                                  \
    [(base) + 0] = {name, FORM_MR, ROW_BYTE}, [(base) + 1] = {name, FORM_MR, 0},           \
              [(base) + 2] = {name, FORM_RM, ROW_BYTE}, [(base) + 3] = {name, FORM_RM, 0}, \
              [(base) + 4] = {name, FORM_AI, ROW_BYTE}, [(base) + 5] = {name, FORM_AI, 0}

static const struct decode_row decode_map0[256] = {
    ARITH(0x00, INSN_ADD),
    ARITH(0x08, INSN_OR),
    ARITH(0x10, INSN_ADC),
    ARITH(0x18, INSN_SBB),
    ARITH(0x20, INSN_AND),
    ARITH(0x28, INSN_SUB),
    ARITH(0x30, INSN_XOR),
    ARITH(0x38, INSN_CMP),
    [0x40 ... 0x47] = {INSN_INC, FORM_O, ROW_NOT64},
    [0x48 ... 0x4f] = {INSN_DEC, FORM_O, ROW_NOT64},
    [0x63] = {INSN_MOVSX, FORM_RM, ROW_ONLY64},
    [0x6c] = {INSN_INS, FORM_STRING, ROW_BYTE},
    [0x6d] = {INSN_INS, FORM_STRING, 0},
    [0x6e] = {INSN_OUTS, FORM_STRING, ROW_BYTE},
    [0x6f] = {INSN_OUTS, FORM_STRING, 0},
    [0x80] = {0, FORM_GROUP1, ROW_BYTE},
    [0x81] = {0, FORM_GROUP1, 0},
    [0x82] = {0, FORM_GROUP1, ROW_BYTE | ROW_NOT64},
    [0x83] = {0, FORM_GROUP1_8, 0},
    [0x84] = {INSN_TEST, FORM_MR, ROW_BYTE},
    [0x85] = {INSN_TEST, FORM_MR, 0},
    [0x86] = {INSN_XCHG, FORM_MR, ROW_BYTE},
    [0x87] = {INSN_XCHG, FORM_MR, 0},
    [0x88] = {INSN_MOV, FORM_MR, ROW_BYTE},
    [0x89] = {INSN_MOV, FORM_MR, 0},
    [0x8a] = {INSN_MOV, FORM_RM, ROW_BYTE},
    [0x8b] = {INSN_MOV, FORM_RM, 0},
    [0x90 ... 0x97] = {INSN_XCHG, FORM_AO, 0},
    [0xa0] = {INSN_MOV, FORM_LOAD, ROW_BYTE},
    [0xa1] = {INSN_MOV, FORM_LOAD, 0},
    [0xa2] = {INSN_MOV, FORM_STORE, ROW_BYTE},
    [0xa3] = {INSN_MOV, FORM_STORE, 0},
    [0xa4] = {INSN_MOVS, FORM_STRING, ROW_BYTE},
    [0xa5] = {INSN_MOVS, FORM_STRING, 0},
    [0xa8] = {INSN_TEST, FORM_AI, ROW_BYTE},
    [0xa9] = {INSN_TEST, FORM_AI, 0},
    [0xaa] = {INSN_STOS, FORM_STRING, ROW_BYTE},
    [0xab] = {INSN_STOS, FORM_STRING, 0},
    [0xac] = {INSN_LODS, FORM_STRING, ROW_BYTE},
    [0xad] = {INSN_LODS, FORM_STRING, 0},
    [0xb0 ... 0xb7] = {INSN_MOV, FORM_OI, ROW_BYTE},
    [0xb8 ... 0xbf] = {INSN_MOV, FORM_OI, 0},
    [0xc6] = {0, FORM_GROUP11, ROW_BYTE},
    [0xc7] = {0, FORM_GROUP11, 0},
    [0xe4] = {INSN_IN, FORM_IN_IMM, ROW_BYTE},
    [0xe5] = {INSN_IN, FORM_IN_IMM, 0},
    [0xe6] = {INSN_OUT, FORM_OUT_IMM, ROW_BYTE},
    [0xe7] = {INSN_OUT, FORM_OUT_IMM, 0},
    [0xec] = {INSN_IN, FORM_IN_DX, ROW_BYTE},
    [0xed] = {INSN_IN, FORM_IN_DX, 0},
    [0xee] = {INSN_OUT, FORM_OUT_DX, ROW_BYTE},
    [0xef] = {INSN_OUT, FORM_OUT_DX, 0},
    [0xf4] = {INSN_HLT, FORM_PLAIN, ROW_PRIV},
    [0xf6] = {0, FORM_GROUP3, ROW_BYTE},
    [0xf7] = {0, FORM_GROUP3, 0},
    [0xfa] = {INSN_CLI, FORM_PLAIN, 0},
    [0xfb] = {INSN_STI, FORM_PLAIN, 0},
    [0xfe] = {0, FORM_GROUP4, ROW_BYTE},
    [0xff] = {0, FORM_GROUP4, 0},
};

static const struct decode_row decode_map1[256] = {
    [0x01] = {0, FORM_GROUP7, 0},
    [0x06] = {INSN_CLTS, FORM_PLAIN, ROW_PRIV},
    [0x08] = {INSN_INVD, FORM_PLAIN, ROW_PRIV},
    [0x09] = {INSN_WBINVD, FORM_PLAIN, ROW_PRIV},
    [0x0d] = {INSN_NOP, FORM_HINT, 0},
    [0x18 ... 0x1f] = {INSN_NOP, FORM_HINT, 0},
    [0x20] = {INSN_MOV_FROM_CR, FORM_CR_READ, ROW_PRIV},
    [0x21] = {INSN_MOV_FROM_DR, FORM_CR_READ, ROW_PRIV},
    [0x22] = {INSN_MOV_TO_CR, FORM_CR_WRITE, ROW_PRIV},
    [0x23] = {INSN_MOV_TO_DR, FORM_CR_WRITE, ROW_PRIV},
    [0x30] = {INSN_WRMSR, FORM_PLAIN, ROW_PRIV},
    [0x31] = {INSN_RDTSC, FORM_PLAIN, 0},
    [0x32] = {INSN_RDMSR, FORM_PLAIN, ROW_PRIV},
    [0x33] = {INSN_RDPMC, FORM_PLAIN, 0},
    [0xa2] = {INSN_CPUID, FORM_PLAIN, 0},
    [0xa3] = {INSN_BT, FORM_MR, 0},
    [0xab] = {INSN_BTS, FORM_MR, 0},
    [0xb0] = {INSN_CMPXCHG, FORM_MR, ROW_BYTE},
    [0xb1] = {INSN_CMPXCHG, FORM_MR, 0},
    [0xb3] = {INSN_BTR, FORM_MR, 0},
    [0xb6] = {INSN_MOVZX, FORM_RM, ROW_SRC8},
    [0xb7] = {INSN_MOVZX, FORM_RM, ROW_SRC16},
    [0xba] = {0, FORM_GROUP8, 0},
    [0xbb] = {INSN_BTC, FORM_MR, 0},
    [0xbe] = {INSN_MOVSX, FORM_RM, ROW_SRC8},
    [0xbf] = {INSN_MOVSX, FORM_RM, ROW_SRC16},
    [0xc0] = {INSN_XADD, FORM_MR, ROW_BYTE},
    [0xc1] = {INSN_XADD, FORM_MR, 0},
    [0xc3] = {INSN_MOV, FORM_MR, ROW_MEM | ROW_NO_PREFIX}, /* MOVNTI */
    [0xc7] = {0, FORM_GROUP9, 0},
};

/* The bytes, and how far decoding has come. */
struct decode_cursor {
    const uint8_t *bytes;
    size_t len, at;
    enum emulate_result stop; /* why no further byte could be had, else EMULATE_OK */
};

static uint64_t decode_fetch(struct decode_cursor *c, unsigned bytes)
{
    uint64_t v = 0;

    if (c->stop != EMULATE_OK) {
        return 0;
    }
    if (c->at + bytes > EMULATE_MAX_INSN_BYTES) {
        c->stop = EMULATE_EXCEPTION;
        return 0;
    }
    if (c->at + bytes > c->len) {
        c->stop = EMULATE_MORE_BYTES;
        return 0;
    }
    for (unsigned i = 0; i < bytes; i++) {
        v |= (uint64_t)c->bytes[c->at++] << (8 * i);
    }
    return v;
}

static int64_t decode_fetch_signed(struct decode_cursor *c, unsigned bytes)
{
    unsigned unused = 64 - 8 * bytes;

    return (int64_t)(decode_fetch(c, bytes) << unused) >> unused;
}

struct decode_prefixes {
    bool operand, address; /* 66, 67 */
    int8_t segment;        /* override or -1 */
};

/* ES, CS, SS and DS overrides mean nothing in 64-bit mode. */
static void decode_segment_prefix(const struct insn *insn, struct decode_prefixes *p,
                                  enum emulate_segment segment)
{
    if (insn->mode != EMULATE_MODE_64 || segment >= EMULATE_FS) {
        p->segment = (int8_t)segment;
    }
}

static bool decode_one_prefix(struct insn *insn, struct decode_prefixes *p, uint8_t b)
{
    switch (b) {
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
        decode_segment_prefix(insn, p, (enum emulate_segment)((b >> 3) & 3));
        break;
    case 0x64:
    case 0x65:
        decode_segment_prefix(insn, p, b == 0x64 ? EMULATE_FS : EMULATE_GS);
        break;
    case 0x66:
        p->operand = true;
        break;
    case 0x67:
        p->address = true;
        break;
    case 0xf0:
        insn->lock = true;
        break;
    case 0xf2:
        insn->repne = true;
        insn->rep = false;
        break;
    case 0xf3:
        insn->rep = true;
        insn->repne = false;
        break;
    default:
        return false;
    }
    return true;
}

/* Reads prefixes, and returns the first byte after them. REX counts only right before that. */
static uint8_t decode_prefix_bytes(struct insn *insn, struct decode_prefixes *p,
                                   struct decode_cursor *c)
{
    uint8_t b;

    do {
        b = (uint8_t)decode_fetch(c, 1);
        insn->rex = 0;
        if (insn->mode == EMULATE_MODE_64 && (b & 0xf0) == 0x40) {
            insn->rex = b;
            b = (uint8_t)decode_fetch(c, 1);
            if (b >= 0x40 && b <= 0x4f) {
                c->at--; /* a second REX cancels the first */
                continue;
            }
        }
    } while (c->stop == EMULATE_OK && ((b >= 0x40 && b <= 0x4f && insn->mode == EMULATE_MODE_64) ||
                                       decode_one_prefix(insn, p, b)));
    return b;
}

static void decode_sizes(struct insn *insn, const struct decode_prefixes *p)
{
    if (insn->mode == EMULATE_MODE_64) {
        insn->op_bytes = insn->rex & 8 ? 8 : p->operand ? 2 : 4;
        insn->addr_bytes = p->address ? 4 : 8;
    } else {
        bool wide = insn->mode == EMULATE_MODE_32;

        insn->op_bytes = wide != p->operand ? 4 : 2;
        insn->addr_bytes = wide != p->address ? 4 : 2;
    }
}

/* 16-bit ModRM: pairs of registers, DI = 7, SI = 6, BP = 5, BX = 3. */
static void decode_memory16(struct insn *insn, struct decode_cursor *c)
{
    static const int8_t base[8] = {3, 3, 5, 5, 6, 7, 5, 3};
    static const int8_t index[8] = {6, 7, 6, 7, -1, -1, -1, -1};
    unsigned mod = insn->modrm >> 6, rm = insn->modrm & 7;

    insn->base = base[rm];
    insn->index = index[rm];
    if (mod == 0 && rm == 6) {
        insn->base = -1;
        insn->disp = decode_fetch_signed(c, 2);
    } else if (mod) {
        insn->disp = decode_fetch_signed(c, mod == 1 ? 1 : 2);
    }
    insn->segment = insn->base == 5 ? EMULATE_SS : EMULATE_DS;
}

/* 32- and 64-bit ModRM with SIB. */
static void decode_memory(struct insn *insn, struct decode_cursor *c)
{
    unsigned mod = insn->modrm >> 6, rm = insn->modrm & 7;
    unsigned rex_b = (insn->rex & 1) << 3, rex_x = (insn->rex & 2) << 2;
    unsigned low = rm;
    bool sib = rm == 4;

    if (sib) {
        unsigned b = (unsigned)decode_fetch(c, 1), i = (b >> 3 & 7) | rex_x;

        low = b & 7;
        insn->index = i == 4 ? -1 : (int8_t)i;
        insn->scale = (uint8_t)(1u << (b >> 6));
    }
    insn->base = (int8_t)(low | rex_b);
    if (mod == 0 && low == 5) {
        insn->base = -1;
        insn->rip_relative = !sib && insn->mode == EMULATE_MODE_64;
        insn->disp = decode_fetch_signed(c, 4);
    } else if (mod) {
        insn->disp = decode_fetch_signed(c, mod == 1 ? 1 : 4);
    }
    insn->segment = insn->base == 4 || insn->base == 5 ? EMULATE_SS : EMULATE_DS;
}

static void decode_modrm(struct insn *insn, struct decode_cursor *c)
{
    insn->modrm = (uint8_t)decode_fetch(c, 1);
    insn->has_mem = insn->modrm < 0xc0;
    if (!insn->has_mem) {
        return;
    }
    if (insn->addr_bytes == 2) {
        decode_memory16(insn, c);
    } else {
        decode_memory(insn, c);
    }
}

static struct emulate_operand decode_register(const struct insn *insn, unsigned reg, unsigned bytes)
{
    /* Without REX, byte registers 4 to 7 are AH CH DH BH. */
    if (bytes == 1 && !insn->rex && reg >= 4 && reg < 8) {
        reg += 12;
    }
    return (struct emulate_operand){OPERAND_REG, (uint8_t)reg, (uint8_t)bytes, 0};
}

static struct emulate_operand decode_rm(const struct insn *insn, unsigned bytes)
{
    if (insn->has_mem) {
        return (struct emulate_operand){OPERAND_MEM, 0, (uint8_t)bytes, 0};
    }
    return decode_register(insn, (insn->modrm & 7u) | (insn->rex & 1u) << 3, bytes);
}

static unsigned decode_reg_field(const struct insn *insn)
{
    return (insn->modrm >> 3 & 7u) | (insn->rex & 4u) << 1;
}

static struct emulate_operand decode_reg(const struct insn *insn, unsigned bytes)
{
    return decode_register(insn, decode_reg_field(insn), bytes);
}

static struct emulate_operand decode_imm(struct decode_cursor *c, unsigned fetch, unsigned bytes)
{
    return (struct emulate_operand){OPERAND_IMM, 0, (uint8_t)bytes,
                                    (uint64_t)decode_fetch_signed(c, fetch)};
}

static unsigned decode_imm_bytes(unsigned op_bytes)
{
    return op_bytes < 4 ? op_bytes : 4;
}

/* Instructions that mean something else, or nothing, under 66, F2 or F3. */
static bool decode_bare(const struct insn *insn, const struct decode_prefixes *p)
{
    return !insn->rep && !insn->repne && !p->operand;
}

static bool decode_group1(struct insn *insn, struct decode_cursor *c, unsigned imm_bytes)
{
    static const uint8_t ops[8] = {INSN_ADD, INSN_OR,  INSN_ADC, INSN_SBB,
                                   INSN_AND, INSN_SUB, INSN_XOR, INSN_CMP};

    insn->op = ops[insn->modrm >> 3 & 7];
    insn->dst = decode_rm(insn, insn->op_bytes);
    insn->src = decode_imm(c, imm_bytes, insn->op_bytes);
    return true;
}

static bool decode_group3(struct insn *insn, struct decode_cursor *c)
{
    static const uint8_t ops[8] = {INSN_TEST, INSN_TEST, INSN_NOT, INSN_NEG};

    insn->op = ops[insn->modrm >> 3 & 7];
    insn->dst = decode_rm(insn, insn->op_bytes);
    if (insn->op == INSN_TEST) {
        insn->src = decode_imm(c, decode_imm_bytes(insn->op_bytes), insn->op_bytes);
    }
    return insn->op != INSN_INVALID;
}

/* 0F 01 with a register: each ModRM byte is an instruction of its own. */
static bool decode_group7_register(struct insn *insn)
{
    static const struct {
        uint8_t modrm, op;
        bool privileged;
    } table[] = {
        {0xc8, INSN_MONITOR, true}, {0xc9, INSN_MWAIT, true},   {0xca, INSN_CLAC, true},
        {0xcb, INSN_STAC, true},    {0xd0, INSN_XGETBV, false}, {0xd1, INSN_XSETBV, true},
        {0xf8, INSN_SWAPGS, true},  {0xf9, INSN_RDTSCP, false}, {0xfa, INSN_MONITOR, true},
        {0xfb, INSN_MWAIT, true},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].modrm == insn->modrm) {
            insn->op = table[i].op;
            insn->privileged = table[i].privileged;
            return insn->op != INSN_SWAPGS || insn->mode == EMULATE_MODE_64;
        }
    }
    return false;
}

static bool decode_group7(struct insn *insn, const struct decode_prefixes *p)
{
    switch (insn->modrm >> 3 & 7) {
    case 4:
        insn->op = INSN_SMSW;
        insn->dst = decode_rm(insn, insn->has_mem ? 2 : insn->op_bytes);
        return true;
    case 6:
        insn->op = INSN_LMSW;
        insn->src = decode_rm(insn, 2);
        insn->privileged = true;
        return true;
    case 7:
        if (insn->has_mem) {
            insn->op = INSN_INVLPG;
            insn->dst = decode_rm(insn, 1);
            insn->privileged = true;
            return true;
        }
        break;
    default:
        break;
    }
    return !insn->has_mem && decode_bare(insn, p) && decode_group7_register(insn);
}

static bool decode_group8(struct insn *insn, struct decode_cursor *c)
{
    unsigned sub = insn->modrm >> 3 & 7;

    insn->op = (uint8_t)(INSN_BT + (sub & 3));
    insn->dst = decode_rm(insn, insn->op_bytes);
    insn->src = decode_imm(c, 1, insn->op_bytes);
    return sub >= 4;
}

static bool decode_group9(struct insn *insn)
{
    insn->op = INSN_CMPXCHG_PAIR;
    insn->dst = decode_rm(insn, insn->op_bytes == 8 ? 16 : 8);
    return insn->has_mem && (insn->modrm >> 3 & 7) == 1;
}

/* Control and debug registers: always a full register, whatever mod says. */
static bool decode_control(struct insn *insn, bool write)
{
    unsigned bytes = insn->mode == EMULATE_MODE_64 ? 8 : 4;
    struct emulate_operand special = {OPERAND_NONE, (uint8_t)decode_reg_field(insn), 0, 0};
    struct emulate_operand reg = {OPERAND_REG, (uint8_t)((insn->modrm & 7) | (insn->rex & 1) << 3),
                                  (uint8_t)bytes, 0};

    insn->dst = write ? special : reg;
    insn->src = write ? reg : special;
    return true;
}

static void decode_absolute(struct insn *insn, struct decode_cursor *c)
{
    insn->has_mem = true;
    insn->disp = (int64_t)decode_fetch(c, insn->addr_bytes);
    insn->segment = EMULATE_DS;
}

/* Operands of the forms that have no ModRM byte. */
static bool decode_plain_form(struct insn *insn, enum decode_form form, struct decode_cursor *c)
{
    unsigned bytes = insn->op_bytes;
    unsigned port_bytes = bytes == 8 ? 4 : bytes;
    unsigned in_opcode = (insn->opcode & 7u) | (insn->rex & 1u) << 3;
    struct emulate_operand accumulator = {OPERAND_REG, 0, (uint8_t)bytes, 0};
    struct emulate_operand memory = {OPERAND_MEM, 0, (uint8_t)bytes, 0};
    struct emulate_operand dx = {OPERAND_REG, 2, 2, 0};

    switch (form) {
    case FORM_AI:
        insn->dst = accumulator;
        insn->src = decode_imm(c, decode_imm_bytes(bytes), bytes);
        break;
    case FORM_O:
        insn->dst = decode_register(insn, in_opcode, bytes);
        break;
    case FORM_OI:
        insn->dst = decode_register(insn, in_opcode, bytes);
        insn->src = decode_imm(c, bytes, bytes);
        break;
    case FORM_AO:
        insn->dst = accumulator;
        insn->src = decode_register(insn, in_opcode, bytes);
        if (in_opcode == 0) {
            insn->op = INSN_NOP; /* 90: leaves even the upper half alone */
        }
        break;
    case FORM_LOAD:
    case FORM_STORE:
        decode_absolute(insn, c);
        insn->dst = form == FORM_LOAD ? accumulator : memory;
        insn->src = form == FORM_LOAD ? memory : accumulator;
        break;
    case FORM_STRING:
        if (insn->op == INSN_INS || insn->op == INSN_OUTS) {
            bytes = port_bytes;
        }
        insn->dst.bytes = (uint8_t)bytes;
        insn->segment = EMULATE_DS;
        break;
    case FORM_IN_IMM:
    case FORM_IN_DX:
    case FORM_OUT_IMM:
    case FORM_OUT_DX: {
        struct emulate_operand port = dx;

        accumulator.bytes = (uint8_t)port_bytes;
        if (form == FORM_IN_IMM || form == FORM_OUT_IMM) {
            port = (struct emulate_operand){OPERAND_IMM, 0, 1, decode_fetch(c, 1)};
        }
        insn->dst = form == FORM_IN_IMM || form == FORM_IN_DX ? accumulator : port;
        insn->src = form == FORM_IN_IMM || form == FORM_IN_DX ? port : accumulator;
        break;
    }
    default:
        break;
    }
    return true;
}

static unsigned decode_source_bytes(const struct insn *insn, const struct decode_row *row)
{
    if (row->flags & ROW_SRC8) {
        return 1;
    }
    if (row->flags & ROW_SRC16) {
        return 2;
    }
    /* MOVSXD reads four bytes, or two when the operand size is two. */
    return row->op == INSN_MOVSX && insn->op_bytes == 8 ? 4 : insn->op_bytes;
}

static bool decode_modrm_form(struct insn *insn, const struct decode_row *row,
                              const struct decode_prefixes *p, struct decode_cursor *c)
{
    unsigned bytes = insn->op_bytes;

    switch (row->form) {
    case FORM_MR:
        insn->dst = decode_rm(insn, bytes);
        insn->src = decode_reg(insn, bytes);
        return true;
    case FORM_RM:
        insn->dst = decode_reg(insn, bytes);
        insn->src = decode_rm(insn, decode_source_bytes(insn, row));
        return true;
    case FORM_HINT:
        insn->dst = decode_rm(insn, bytes);
        return true;
    case FORM_CR_READ:
    case FORM_CR_WRITE:
        return decode_control(insn, row->form == FORM_CR_WRITE);
    case FORM_GROUP1:
        return decode_group1(insn, c, decode_imm_bytes(bytes));
    case FORM_GROUP1_8:
        return decode_group1(insn, c, 1);
    case FORM_GROUP3:
        return decode_group3(insn, c);
    case FORM_GROUP4:
        insn->op = insn->modrm & 0x08 ? INSN_DEC : INSN_INC;
        insn->dst = decode_rm(insn, bytes);
        return (insn->modrm >> 3 & 7) < 2;
    case FORM_GROUP7:
        return decode_group7(insn, p);
    case FORM_GROUP8:
        return decode_group8(insn, c);
    case FORM_GROUP9:
        return decode_group9(insn);
    case FORM_GROUP11:
        insn->op = INSN_MOV;
        insn->dst = decode_rm(insn, bytes);
        insn->src = decode_imm(c, decode_imm_bytes(bytes), bytes);
        return (insn->modrm >> 3 & 7) == 0;
    default:
        return false;
    }
}

static bool decode_form_has_modrm(uint8_t form)
{
    return form == FORM_MR || form == FORM_RM || form >= FORM_CR_READ;
}

/* LOCK is for instructions that read, change and write memory; elsewhere it is #UD. */
static bool decode_lock_ok(const struct insn *insn)
{
    if (!insn->lock) {
        return true;
    }
    switch (insn->op) {
    case INSN_XCHG:
    case INSN_XADD:
    case INSN_CMPXCHG:
    case INSN_CMPXCHG_PAIR:
    case INSN_ADD:
    case INSN_OR:
    case INSN_ADC:
    case INSN_SBB:
    case INSN_AND:
    case INSN_SUB:
    case INSN_XOR:
    case INSN_INC:
    case INSN_DEC:
    case INSN_NOT:
    case INSN_NEG:
    case INSN_BTS:
    case INSN_BTR:
    case INSN_BTC:
        return insn->dst.kind == OPERAND_MEM;
    default:
        return false;
    }
}

static enum emulate_result decode_invalid(struct emulate_exception *exception, uint8_t vector)
{
    *exception =
        (struct emulate_exception){.vector = vector, .has_error_code = vector == DECODE_VECTOR_GP};
    return EMULATE_EXCEPTION;
}

/* The opcode is known: everything after it. True when the instruction is ours. */
static bool decode_rest(struct insn *insn, const struct decode_row *row,
                        const struct decode_prefixes *p, struct decode_cursor *c)
{
    bool known = row->form != FORM_ABSENT;

    if (insn->mode == EMULATE_MODE_64 ? row->flags & ROW_NOT64 : row->flags & ROW_ONLY64) {
        return false;
    }
    if ((row->flags & ROW_NO_PREFIX) && !decode_bare(insn, p)) {
        return false;
    }
    insn->op = row->op;
    insn->privileged = row->flags & ROW_PRIV;
    if (row->flags & ROW_BYTE) {
        insn->op_bytes = 1;
    }
    if (decode_form_has_modrm(row->form)) {
        if (row->form == FORM_CR_READ || row->form == FORM_CR_WRITE) {
            insn->modrm = (uint8_t)decode_fetch(c, 1);
        } else {
            decode_modrm(insn, c);
        }
        known = decode_modrm_form(insn, row, p, c);
    } else if (known) {
        known = decode_plain_form(insn, (enum decode_form)row->form, c);
    }
    if (p->segment >= 0) {
        insn->segment = (uint8_t)p->segment;
    }
    return known && (insn->has_mem || !(row->flags & ROW_MEM));
}

enum emulate_result emulate_decode(struct insn *insn, const uint8_t *bytes, size_t len,
                                   enum emulate_mode mode, struct emulate_exception *exception)
{
    struct decode_cursor c = {.bytes = bytes, .len = len};
    struct decode_prefixes prefixes = {.segment = -1};
    const struct decode_row *map = decode_map0;
    bool known;

    *insn = (struct insn){.mode = (uint8_t)mode, .base = -1, .index = -1, .scale = 1};
    insn->opcode = decode_prefix_bytes(insn, &prefixes, &c);
    if (c.stop == EMULATE_OK && insn->opcode == 0x0f) {
        insn->map = 1;
        insn->opcode = (uint8_t)decode_fetch(&c, 1);
        map = decode_map1;
    }
    known = false;
    if (c.stop == EMULATE_OK) {
        decode_sizes(insn, &prefixes);
        known = decode_rest(insn, &map[insn->opcode], &prefixes, &c);
    }
    insn->length = (uint8_t)c.at;
    if (c.stop == EMULATE_EXCEPTION) {
        return decode_invalid(exception, DECODE_VECTOR_GP);
    }
    if (c.stop != EMULATE_OK) {
        return c.stop;
    }
    if (!known) {
        return EMULATE_UNHANDLED;
    }
    return decode_lock_ok(insn) ? EMULATE_OK : decode_invalid(exception, DECODE_VECTOR_UD);
}
