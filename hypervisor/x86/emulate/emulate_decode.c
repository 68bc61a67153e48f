// SPDX-License-Identifier: BSD-2-Clause
/*
 * The decoder: prefixes, an opcode's row in a table, ModRM and SIB, displacement, immediate. An
 * opcode without a row is none of ours.
 */
#include "x86/emulate/emulate_opcodes.h"

enum {
    DECODE_VECTOR_UD = 6,
    DECODE_VECTOR_GP = 13,
};

/* The bytes, and how far decoding has come. */
struct decode_cursor {
    const uint8_t *bytes;
    size_t at, limit;         /* limit: the bytes given, at most EMULATE_MAX_INSN_BYTES */
    enum emulate_result stop; /* why no further byte could be had, else EMULATE_OK */
};

/* There are not that many bytes: nothing more is fetched after this. */
static __attribute__((noinline)) uint64_t decode_stop(struct decode_cursor *c, unsigned bytes)
{
    if (c->stop == EMULATE_OK) {
        c->stop = c->at + bytes > EMULATE_MAX_INSN_BYTES ? EMULATE_EXCEPTION : EMULATE_MORE_BYTES;
        c->limit = c->at;
    }
    return 0;
}

static inline uint8_t decode_fetch_byte(struct decode_cursor *c)
{
    return c->at < c->limit ? c->bytes[c->at++] : (uint8_t)decode_stop(c, 1);
}

static uint64_t decode_fetch(struct decode_cursor *c, unsigned bytes)
{
    uint64_t v = 0;

    if (c->limit - c->at < bytes) {
        return decode_stop(c, bytes);
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

static void decode_one_prefix(struct insn *insn, struct decode_prefixes *p, uint8_t b)
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
    default: /* F3 */
        insn->rep = true;
        insn->repne = false;
        break;
    }
}

/* A bit for each byte that is a legacy prefix. */
static const uint32_t decode_prefix_map[8] = {
    [1] = 1u << 0x06 | 1u << 0x0e | 1u << 0x16 | 1u << 0x1e,
    [3] = 1u << 0x04 | 1u << 0x05 | 1u << 0x06 | 1u << 0x07,
    [7] = 1u << 0x10 | 1u << 0x12 | 1u << 0x13,
};

/* Reads prefixes, and returns the first byte after them. REX counts only right before that. */
static uint8_t decode_prefix_bytes(struct insn *insn, struct decode_prefixes *p,
                                   struct decode_cursor *c)
{
    for (;;) {
        uint8_t b = decode_fetch_byte(c);

        if (decode_prefix_map[b >> 5] >> (b & 31) & 1) {
            insn->rex = 0;
            decode_one_prefix(insn, p, b);
        } else if ((b & 0xf0) == 0x40 && insn->mode == EMULATE_MODE_64) {
            insn->rex = b;
        } else {
            return b;
        }
    }
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
        unsigned b = decode_fetch_byte(c), i = (b >> 3 & 7) | rex_x;

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
    insn->modrm = decode_fetch_byte(c);
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
static void decode_plain_form(struct insn *insn, enum decode_form form, struct decode_cursor *c)
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
            port = (struct emulate_operand){OPERAND_IMM, 0, 1, decode_fetch_byte(c)};
        }
        insn->dst = form == FORM_IN_IMM || form == FORM_IN_DX ? accumulator : port;
        insn->src = form == FORM_IN_IMM || form == FORM_IN_DX ? port : accumulator;
        break;
    }
    default:
        break;
    }
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
            insn->modrm = decode_fetch_byte(c);
        } else {
            decode_modrm(insn, c);
        }
        known = decode_modrm_form(insn, row, p, c);
    } else if (known && row->form != FORM_PLAIN) {
        decode_plain_form(insn, (enum decode_form)row->form, c);
    }
    if (p->segment >= 0) {
        insn->segment = (uint8_t)p->segment;
    }
    return known && (insn->has_mem || !(row->flags & ROW_MEM));
}

/* RDMSR, CPUID and their like without prefixes: what guests trap on most, in a few steps. */
static bool decode_short(struct insn *insn, const uint8_t *bytes, size_t len,
                         enum emulate_mode mode)
{
    const struct decode_row *row;

    if (len < 2 || bytes[0] != 0x0f) {
        return false;
    }
    row = &emulate_opcodes_map1[bytes[1]];
    if (row->form != FORM_PLAIN) {
        return false;
    }
    *insn = (struct insn){
        .op = row->op,
        .length = 2,
        .mode = (uint8_t)mode,
        .op_bytes = mode == EMULATE_MODE_16 ? 2 : 4,
        .addr_bytes = (uint8_t)mode,
        .opcode = bytes[1],
        .map = 1,
        .privileged = row->flags & ROW_PRIV,
        .base = -1,
        .index = -1,
        .scale = 1,
    };
    return true;
}

enum emulate_result emulate_decode(struct insn *insn, const uint8_t *bytes, size_t len,
                                   enum emulate_mode mode, struct emulate_exception *exception)
{
    struct decode_cursor c = {
        .bytes = bytes,
        .limit = len < EMULATE_MAX_INSN_BYTES ? len : EMULATE_MAX_INSN_BYTES,
    };
    struct decode_prefixes prefixes = {.segment = -1};
    const struct decode_row *map = emulate_opcodes_map0;
    bool known;

    if (decode_short(insn, bytes, len, mode)) {
        return EMULATE_OK;
    }
    *insn = (struct insn){.mode = (uint8_t)mode, .base = -1, .index = -1, .scale = 1};
    insn->opcode = decode_prefix_bytes(insn, &prefixes, &c);
    if (c.stop == EMULATE_OK && insn->opcode == 0x0f) {
        insn->map = 1;
        insn->opcode = decode_fetch_byte(&c);
        map = emulate_opcodes_map1;
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
