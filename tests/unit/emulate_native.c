// SPDX-License-Identifier: BSD-2-Clause
/*
 * The emulator against the processor that runs the test: random instructions of the kinds that
 * user mode may execute, with random registers and memory, are run natively and emulated; all
 * registers, all defined flags and memory must agree. EMULATE_SEED and EMULATE_ROUNDS in the
 * environment choose others.
 */
#include "unit.h"

#include <sys/mman.h>

#include "emulate_host.h"
#include "x86/emulate/emulate_alu.h"

#define NATIVE_FLAGS (ALU_FLAGS | 1u << 10)

static uint8_t *code;   /* a page that is writable and executable */
static uint8_t *window; /* HOST_WINDOW bytes below 2 GiB, so that every address form reaches it */
static uint64_t rng_state;

static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state * 0x2545f4914f6cdd1d;
}

/* Register numbers in the order of the encoding, as offsets into the block. */
#define OFF(r) offsetof(struct cpu_user_regs, r)
static const uint16_t reg_offset[16] = {
    OFF(rax), OFF(rcx), OFF(rdx), OFF(rbx), OFF(rsp), OFF(rbp), OFF(rsi), OFF(rdi),
    OFF(r8),  OFF(r9),  OFF(r10), OFF(r11), OFF(r12), OFF(r13), OFF(r14), OFF(r15),
};

static uint64_t *reg_of(struct cpu_user_regs *regs, unsigned n)
{
    return (uint64_t *)((char *)regs + reg_offset[n]);
}

/* ---- running natively ------------------------------------------------------------------- */

struct native_area { /* at the end of the code page, reached by absolute address */
    uint64_t host_rsp, rax;
};

static uint8_t *emit(uint8_t *p, const void *bytes, size_t len)
{
    memcpy(p, bytes, len);
    return p + len;
}

static uint8_t *emit64(uint8_t *p, uint8_t b0, uint8_t b1, uint64_t value)
{
    *p++ = b0;
    *p++ = b1;
    return emit(p, &value, 8);
}

/* mov [rax+off], reg or mov reg, [rax+off] */
static uint8_t *emit_reg(uint8_t *p, bool store, unsigned reg)
{
    uint32_t off = reg_offset[reg];

    *p++ = 0x48 | (reg >= 8 ? 4 : 0);
    *p++ = store ? 0x89 : 0x8b;
    *p++ = 0x80 | (reg & 7) << 3;
    return emit(p, &off, 4);
}

/*
 * Makes a function that loads all registers and flags from *regs, runs the instruction and stores
 * them back. Returns the instruction's address.
 */
static uint8_t *make_code(struct cpu_user_regs *regs, const uint8_t *insn, unsigned len)
{
    static const uint8_t push_all[] = {0x53, 0x55, 0x41, 0x54, 0x41, 0x55,
                                       0x41, 0x56, 0x41, 0x57, 0x9c};
    static const uint8_t pop_all[] = {0x9d, 0x41, 0x5f, 0x41, 0x5e, 0x41,
                                      0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3};
    struct native_area *area = (struct native_area *)(code + 4096 - sizeof(*area));
    uint8_t *p = code, *at;

    p = emit(p, push_all, sizeof(push_all));
    p = emit(p, "\x48\x89\xe0", 3);                       /* mov rax, rsp */
    p = emit64(p, 0x48, 0xa3, (uint64_t)&area->host_rsp); /* mov [abs], rax */
    p = emit64(p, 0x48, 0xb8, (uint64_t)regs);            /* mov rax, regs */
    p = emit(p, "\xff\xb0", 2);                           /* push [rax+off] */
    p = emit(p, &(uint32_t){OFF(rflags)}, 4);
    *p++ = 0x9d; /* popfq */
    for (unsigned r = 1; r < 16; r++) {
        p = emit_reg(p, false, r);
    }
    p = emit_reg(p, false, 0);
    at = p;
    p = emit(p, insn, len);
    p = emit64(p, 0x48, 0xa3, (uint64_t)&area->rax); /* mov [abs], rax */
    p = emit64(p, 0x48, 0xb8, (uint64_t)regs);
    for (unsigned r = 1; r < 16; r++) {
        p = emit_reg(p, true, r);
    }
    p = emit64(p, 0x48, 0xa1, (uint64_t)&area->host_rsp);
    p = emit(p, "\x48\x89\xc4", 3); /* mov rsp, rax */
    p = emit64(p, 0x48, 0xb8, (uint64_t)regs);
    *p++ = 0x9c;                /* pushfq */
    p = emit(p, "\x8f\x80", 2); /* pop [rax+off] */
    p = emit(p, &(uint32_t){OFF(rflags)}, 4);
    p = emit(p, "\x48\x89\xc1", 3); /* mov rcx, rax */
    p = emit64(p, 0x48, 0xa1, (uint64_t)&area->rax);
    p = emit(p, "\x48\x89\x81", 3); /* mov [rcx+off], rax */
    p = emit(p, &(uint32_t){OFF(rax)}, 4);
    emit(p, pop_all, sizeof(pop_all));
    return at;
}

/* ---- making instructions ---------------------------------------------------------------- */

/* Opcodes that user mode may run; 0x100 marks those behind 0F. */
static const uint16_t opcodes[] = {
    0x00,  0x01,  0x02,  0x03,  0x04,  0x05,  0x08,  0x09,  0x0a,  0x0b,  0x0c,  0x0d,  0x10,
    0x11,  0x12,  0x13,  0x14,  0x15,  0x18,  0x19,  0x1a,  0x1b,  0x1c,  0x1d,  0x20,  0x21,
    0x22,  0x23,  0x24,  0x25,  0x28,  0x29,  0x2a,  0x2b,  0x2c,  0x2d,  0x30,  0x31,  0x32,
    0x33,  0x34,  0x35,  0x38,  0x39,  0x3a,  0x3b,  0x3c,  0x3d,  0x63,  0x80,  0x81,  0x83,
    0x84,  0x85,  0x86,  0x87,  0x88,  0x89,  0x8a,  0x8b,  0x90,  0x91,  0x95,  0xa0,  0xa1,
    0xa2,  0xa3,  0xa4,  0xa5,  0xa8,  0xa9,  0xaa,  0xab,  0xac,  0xad,  0xb0,  0xb7,  0xb8,
    0xbf,  0xc6,  0xc7,  0xf6,  0xf7,  0xfe,  0xff,  0x1a3, 0x1ab, 0x1b0, 0x1b1, 0x1b3, 0x1b6,
    0x1b7, 0x1ba, 0x1bb, 0x1be, 0x1bf, 0x1c0, 0x1c1, 0x1c3, 0x1c7, 0x11f,
};

static unsigned make_insn(uint8_t *b)
{
    unsigned n = 0;
    uint16_t opcode = opcodes[rng() % (sizeof(opcodes) / sizeof(opcodes[0]))];

    if (rng() % 4 == 0) {
        b[n++] = 0x66;
    }
    if (rng() % 12 == 0) {
        b[n++] = 0x67;
    }
    if (rng() % 8 == 0) {
        b[n++] = 0xf0;
    }
    if (opcode >= 0xa4 && opcode <= 0xad && rng() % 2) {
        b[n++] = rng() % 4 ? 0xf3 : 0xf2;
    }
    if (rng() % 2) {
        b[n++] = 0x40 | (rng() & 15);
    }
    if (opcode >= 0x100) {
        b[n++] = 0x0f;
    }
    b[n++] = (uint8_t)opcode;
    b[n++] = (uint8_t)rng(); /* ModRM or an immediate */
    for (unsigned i = 0; i < 10; i++) {
        b[n++] = (uint8_t)(rng() % 3 ? rng() : rng() % 2 ? 0 : 0xff);
    }
    return n;
}

/* Values at the edges are likelier than chance would have it. */
static uint64_t make_value(void)
{
    static const uint64_t edges[] = {0,          1,          0x7f,       0x80,
                                     0xff,       0x7fff,     0x8000,     0xffff,
                                     0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff,
                                     1ull << 63, ~0ull};

    return rng() % 3 ? rng() : edges[rng() % (sizeof(edges) / sizeof(edges[0]))];
}

/* ---- comparing -------------------------------------------------------------------------- */

static bool is_string(const struct insn *insn)
{
    return insn->op == INSN_STOS || insn->op == INSN_LODS || insn->op == INSN_MOVS;
}

/* Makes the memory operand fall into the window, by way of its base register or displacement.
 * False: this instruction cannot be used. */
static bool aim(struct emulate_host *h, uint8_t *bytes, uint64_t insn_at)
{
    struct insn *insn = &h->insn;
    uint64_t target = (uint64_t)window + 1024 + (rng() % (HOST_WINDOW - 2048)), linear;

    if (insn->op == INSN_CMPXCHG_PAIR) {
        target &= ~15ull;
    }
    if (is_string(insn)) {
        h->regs.rsi = (uint64_t)window + 1024 + rng() % 4096;
        h->regs.rdi = (uint64_t)window + 1024 + rng() % 4096;
        h->regs.rcx = rng() % 100;
        return true;
    }
    if (!insn->has_mem || insn->op == INSN_NOP) {
        return true;
    }
    if (insn->op >= INSN_BT && insn->op <= INSN_BTC && insn->src.kind == OPERAND_REG) {
        *reg_of(&h->regs, insn->src.reg) = rng() % 8192 - 4096; /* bits either side */
        if (insn->dst.bytes == 2) {
            *reg_of(&h->regs, insn->src.reg) |= rng() << 16;
        }
    }
    h->regs.rip = insn_at;
    if (emulate_address(insn, &h->ctx, &linear) == EMULATE_OK && insn->base < 0 &&
        insn->index < 0) {
        unsigned disp_bytes =
            insn->opcode >= 0xa0 && insn->opcode <= 0xa3 && !insn->map ? insn->addr_bytes : 4;
        uint64_t disp = (uint64_t)insn->disp + target - linear;

        /* The displacement precedes the immediate, whose size follows from the opcode. */
        for (unsigned at = 0; at + disp_bytes <= insn->length; at++) {
            int64_t here = 0;

            memcpy(&here, bytes + at, disp_bytes);
            if (disp_bytes == 4 && insn->addr_bytes != 2) {
                here = (int32_t)here;
            }
            if (here == insn->disp && at >= 2 - (disp_bytes != 4)) {
                memcpy(bytes + at, &disp, disp_bytes);
                return true;
            }
        }
        return false;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (emulate_address(insn, &h->ctx, &linear) != EMULATE_OK) {
            if (insn->base < 0) {
                return false;
            }
            *reg_of(&h->regs, (unsigned)insn->base) = (uint64_t)window;
            continue;
        }
        if (linear == target) {
            return true;
        }
        if (insn->base >= 0) {
            *reg_of(&h->regs, (unsigned)insn->base) += target - linear;
        } else if (insn->index >= 0 && insn->scale == 1) {
            *reg_of(&h->regs, (unsigned)insn->index) += target - linear;
        }
    }
    return emulate_address(insn, &h->ctx, &linear) == EMULATE_OK &&
           linear >= (uint64_t)window + 16 && linear < (uint64_t)window + HOST_WINDOW - 32;
}

/* Flags that the manuals leave undefined after the instruction. */
static uint64_t undefined_flags(const struct insn *insn)
{
    switch (insn->op) {
    case INSN_AND:
    case INSN_OR:
    case INSN_XOR:
    case INSN_TEST:
        return ALU_AF;
    case INSN_BT:
    case INSN_BTS:
    case INSN_BTR:
    case INSN_BTC:
        return ALU_OF | ALU_SF | ALU_AF | ALU_PF;
    default:
        return 0;
    }
}

static void report(const struct emulate_host *h, const struct cpu_user_regs *start,
                   const struct cpu_user_regs *native, const uint8_t *bytes, const char *what)
{
    print_message("%s differs:", what);
    for (unsigned i = 0; i < h->insn.length; i++) {
        print_message(" %02x", bytes[i]);
    }
    print_message(" (%s)\n", emulate_name(&h->insn));
    for (unsigned r = 0; r < 16; r++) {
        print_message("r%-2u before %016lx native %016lx emulated %016lx\n", r,
                      *(const uint64_t *)((const char *)start + reg_offset[r]),
                      *(const uint64_t *)((const char *)native + reg_offset[r]),
                      *(const uint64_t *)((const char *)&h->regs + reg_offset[r]));
    }
    print_message("flags before %lx native %lx emulated %lx\n", start->rflags, native->rflags,
                  h->regs.rflags);
    fail();
}

static void run_natively(void)
{
    ((void (*)(void))(uintptr_t)code)();
}

static bool compare_one(struct emulate_host *h)
{
    static uint8_t before[HOST_WINDOW];
    static struct cpu_user_regs native;
    struct cpu_user_regs start;
    uint8_t bytes[24];
    uint64_t mask, insn_at;

    emulate_host_init(h, (uint64_t)window);
    make_insn(bytes);
    for (unsigned r = 0; r < 16; r++) {
        *reg_of(&h->regs, r) = make_value();
    }
    h->regs.rflags = (rng() & ALU_FLAGS) | 2 | 1u << 9;
    if (emulate_decode(&h->insn, bytes, 15, EMULATE_MODE_64, &h->ctx.exception) != EMULATE_OK) {
        return false;
    }
    if (h->insn.op == INSN_CMPXCHG && h->insn.dst.kind == OPERAND_REG && h->insn.dst.bytes == 4) {
        return false; /* vendors differ on the upper half when the values differ */
    }
    if (is_string(&h->insn) && rng() % 2) {
        h->regs.rflags |= 1u << 10;
    }
    insn_at = (uint64_t)make_code(&native, bytes, h->insn.length);
    if (!aim(h, bytes, insn_at)) {
        return false;
    }
    assert_int_equal(emulate_decode(&h->insn, bytes, 15, EMULATE_MODE_64, &h->ctx.exception),
                     EMULATE_OK);
    h->regs.rip = insn_at;
    for (unsigned i = 0; i < HOST_WINDOW; i++) {
        before[i] = (uint8_t)rng();
    }
    if (h->insn.op == INSN_CMPXCHG_PAIR && rng() % 2) {
        uint64_t at;

        assert_int_equal(emulate_address(&h->insn, &h->ctx, &at), EMULATE_OK);
        memcpy(before + (at - (uint64_t)window), &h->regs.rax, h->insn.dst.bytes / 2);
        memcpy(before + (at - (uint64_t)window) + h->insn.dst.bytes / 2, &h->regs.rdx,
               h->insn.dst.bytes / 2);
    }
    memcpy(window, before, HOST_WINDOW);
    memcpy(h->memory, before, HOST_WINDOW);
    start = native = h->regs;
    make_code(&native, bytes, h->insn.length);
    run_natively();
    assert_int_equal(emulate_execute(&h->insn, &h->ctx), EMULATE_OK);
    for (unsigned r = 0; r < 16; r++) {
        if (*reg_of(&h->regs, r) != *reg_of(&native, r)) {
            report(h, &start, &native, bytes, "register");
        }
    }
    mask = NATIVE_FLAGS & ~undefined_flags(&h->insn);
    if ((h->regs.rflags ^ native.rflags) & mask) {
        report(h, &start, &native, bytes, "flags");
    }
    if (memcmp(window, h->memory, HOST_WINDOW) != 0) {
        report(h, &start, &native, bytes, "memory");
    }
    return true;
}

static void random_instructions(void **state)
{
    static struct emulate_host h;
    static unsigned seen[64];
    const char *seed = getenv("EMULATE_SEED"), *rounds = getenv("EMULATE_ROUNDS");
    unsigned long wanted = rounds ? strtoul(rounds, NULL, 0) : 20000, done = 0, tried = 0;

    rng_state = seed ? strtoul(seed, NULL, 0) : 20240607;
    while (done < wanted && tried++ < 20 * wanted) {
        if (compare_one(&h)) {
            done++;
            seen[h.insn.op]++;
        }
    }
    print_message("%lu instructions of %lu tried\n", done, tried);
    assert_int_equal(done, wanted);
    for (unsigned op = INSN_MOV; op <= INSN_NOP; op++) {
        h.insn.op = (uint8_t)op;
        if (!seen[op]) {
            fail_msg("no %s among them", emulate_name(&h.insn));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_instructions)};

    code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    window = mmap(NULL, HOST_WINDOW, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (code == MAP_FAILED || window == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
