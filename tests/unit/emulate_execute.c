// SPDX-License-Identifier: BSD-2-Clause
/* What the real processor would not let a test do: privileged instructions, faults, other modes. */
#include "unit.h"

#include "emulate_host.h"

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define BASE       0xffff888000001000ull

static struct emulate_host *fresh(void **state)
{
    static struct emulate_host h;

    emulate_host_init(&h, BASE);
    h.regs.rip = 0xffffffff81000000;
    return &h;
}

static void run64(struct emulate_host *h, const uint8_t *bytes, size_t len)
{
    uint64_t rip = h->regs.rip;

    assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, bytes, len), EMULATE_OK);
    assert_int_equal(h->regs.rip, rip + len);
}

static void registers_in_pairs(void **state)
{
    struct emulate_host *h = fresh(state);

    h->regs.rax = h->regs.rdx = ~0ull;
    h->regs.rcx = 0xffffffffc0000080;
    h->msr_value = 0x123456789abcdef0;
    run64(h, BYTES(0x0f, 0x32));
    assert_int_equal(h->last_msr, 0xc0000080);
    assert_int_equal(h->regs.rax, 0x9abcdef0);
    assert_int_equal(h->regs.rdx, 0x12345678);
    h->regs.rax = 0xdead00000001;
    h->regs.rdx = 0xdead00000002;
    run64(h, BYTES(0x0f, 0x30));
    assert_int_equal(h->msr_value, 0x200000001);
    h->regs.rcx = 0;
    h->xcr0 = 7;
    run64(h, BYTES(0x0f, 0x01, 0xd0));
    assert_int_equal(h->regs.rax, 7);
    run64(h, BYTES(0x0f, 0x01, 0xd1));
    assert_int_equal(h->xcr0, 7);
    h->tsc = 0xaabbccdd11223344;
    h->tsc_aux = 77;
    run64(h, BYTES(0x0f, 0x01, 0xf9));
    assert_int_equal(h->regs.rdx, 0xaabbccdd);
    assert_int_equal(h->regs.rcx, 77);
    h->pmc = 100;
    run64(h, BYTES(0x0f, 0x33));
    assert_int_equal(h->regs.rax, 177);
    h->regs.rcx = 5;
    assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, BYTES(0x0f, 0x01, 0xd0)),
                     EMULATE_EXCEPTION);
}

static void cpuid_fills_four(void **state)
{
    struct emulate_host *h = fresh(state);

    h->regs.rax = 0xffffffff40000000;
    h->regs.rcx = 9;
    h->regs.rbx = ~0ull;
    run64(h, BYTES(0x0f, 0xa2));
    assert_int_equal(h->regs.rax, 0x40000001);
    assert_int_equal(h->regs.rbx, 11);
    assert_int_equal(h->regs.rcx, 3);
    assert_int_equal(h->regs.rdx, 0xffffffff);
}

static void control_registers(void **state)
{
    struct emulate_host *h = fresh(state);

    h->cr[0] = 0x8005003b;
    h->cr[8] = 3;
    run64(h, BYTES(0x0f, 0x20, 0xc2)); /* mov rdx, cr0 */
    assert_int_equal(h->regs.rdx, 0x8005003b);
    run64(h, BYTES(0x44, 0x0f, 0x20, 0xc0)); /* mov rax, cr8 */
    assert_int_equal(h->regs.rax, 3);
    h->regs.r9 = 0x12345000;
    run64(h, BYTES(0x41, 0x0f, 0x22, 0xd9)); /* mov cr3, r9 */
    assert_int_equal(h->cr[3], 0x12345000);
    assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, BYTES(0x0f, 0x22, 0xc8)),
                     EMULATE_EXCEPTION); /* cr1 */
    assert_int_equal(h->ctx.exception.vector, 6);
    h->regs.rax = 0x400;
    run64(h, BYTES(0x0f, 0x23, 0xf8)); /* mov dr7, rax */
    assert_int_equal(h->dr[7], 0x400);
    assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, BYTES(0x44, 0x0f, 0x23, 0xc0)),
                     EMULATE_EXCEPTION); /* dr8 */
    run64(h, BYTES(0x0f, 0x06));         /* clts */
    assert_int_equal(h->cr[0], 0x80050033);
    h->regs.rax = 0xfff8;
    run64(h, BYTES(0x0f, 0x01, 0xf0)); /* lmsw ax: PE stays */
    assert_int_equal(h->cr[0], 0x80050039);
    h->regs.rcx = ~0ull;
    run64(h, BYTES(0x0f, 0x01, 0xe1)); /* smsw ecx */
    assert_int_equal(h->regs.rcx, 0x80050039);
    h->regs.rdi = BASE;
    run64(h, BYTES(0x0f, 0x01, 0x27)); /* smsw [rdi] */
    assert_int_equal(h->memory[0] | h->memory[1] << 8 | h->memory[2] << 16, 0x0039);
}

static void small_ones(void **state)
{
    struct emulate_host *h = fresh(state);

    run64(h, BYTES(0xfb));
    assert_true(h->if_flag);
    run64(h, BYTES(0xfa));
    assert_false(h->if_flag);
    run64(h, BYTES(0x0f, 0x01, 0xcb));
    assert_true(h->ac_flag);
    run64(h, BYTES(0xf4));
    assert_true(h->halted);
    run64(h, BYTES(0x0f, 0x09));
    assert_true(h->wrote_back);
    run64(h, BYTES(0x0f, 0x08));
    assert_false(h->wrote_back);
    h->regs.rax = 0x7fff12345678;
    run64(h, BYTES(0x0f, 0x01, 0x38));
    assert_int_equal(h->last_addr, 0x7fff12345678);
    h->regs.rax = 1ull << 50; /* not canonical: nothing to do */
    run64(h, BYTES(0x0f, 0x01, 0x38));
    h->regs.rflags = 1 << 16 | 2;
    run64(h, BYTES(0x0f, 0x1f, 0x00));
    assert_int_equal(h->regs.rflags, 2);
}

static void refused(void **state)
{
    struct emulate_host *h = fresh(state);
    const struct emulate_ops none = {0};
    struct cpu_user_regs before;

    assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, BYTES(0x0f, 0x01, 0xf8)),
                     EMULATE_UNHANDLED);
    assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, BYTES(0x0f, 0x01, 0xc8)),
                     EMULATE_UNHANDLED);
    assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, BYTES(0x0f, 0x01, 0xc9)),
                     EMULATE_UNHANDLED);
    h->ctx.ops = &none;
    before = h->regs;
    assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, BYTES(0x0f, 0x32)), EMULATE_UNHANDLED);
    assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, BYTES(0x89, 0x00)), EMULATE_UNHANDLED);
    assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, BYTES(0x6c)), EMULATE_UNHANDLED);
    assert_memory_equal(&before, &h->regs, sizeof(before));
}

static void ports(void **state)
{
    struct emulate_host *h = fresh(state);

    h->port_value = 0x89abcdef;
    h->regs.rax = ~0ull;
    h->regs.rdx = 0x3f8;
    run64(h, BYTES(0xec));
    assert_int_equal(h->regs.rax, 0xffffffffffffffef);
    assert_int_equal(h->last_port, 0x3f8);
    h->port_value = 0x89abcdef;
    run64(h, BYTES(0x66, 0xe5, 0xfe));
    assert_int_equal(h->regs.rax, 0xffffffffffffcdef);
    assert_int_equal(h->last_port, 0xfe);
    h->port_value = 0x89abcdef;
    run64(h, BYTES(0x48, 0xed)); /* REX.W: still 32 bits */
    assert_int_equal(h->regs.rax, 0x89abcdef);
    assert_int_equal(h->last_bytes, 4);
    run64(h, BYTES(0xe6, 0x80));
    assert_int_equal(h->port_value, 0xef);
    assert_int_equal(h->last_bytes, 1);
}

static void string_io(void **state)
{
    struct emulate_host *h = fresh(state);

    h->port_value = 0x41;
    h->regs.rdi = BASE;
    h->regs.rcx = 5;
    h->regs.rdx = 0x1f0;
    run64(h, BYTES(0xf3, 0x6c)); /* rep insb */
    assert_memory_equal(h->memory, "ABCDE", 5);
    assert_int_equal(h->regs.rcx, 0);
    assert_int_equal(h->regs.rdi, BASE + 5);
    h->regs.rsi = BASE + 3;
    h->regs.rcx = 2;
    h->regs.rflags = 1 << 10;
    run64(h, BYTES(0xf3, 0x66, 0x6f)); /* rep outsw, downwards */
    assert_int_equal(h->port_value, 'B' | 'C' << 8);
    assert_int_equal(h->regs.rsi, BASE - 1);
}

static void string_bounds(void **state)
{
    struct emulate_host *h = fresh(state);
    uint64_t rip = h->regs.rip;

    h->ctx.repeat_max = 10;
    h->regs.rdi = BASE;
    h->regs.rcx = 25;
    h->regs.rax = 0x77;
    for (unsigned i = 1; i <= 2; i++) {
        assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, BYTES(0xf3, 0xaa)), EMULATE_RETRY);
        assert_int_equal(h->regs.rcx, 25 - 10 * i);
        assert_int_equal(h->regs.rip, rip);
    }
    run64(h, BYTES(0xf3, 0xaa));
    assert_int_equal(h->memory[24], 0x77);
    assert_int_equal(h->memory[25], 0);
    /* A fault in the middle keeps what is done. */
    h->ctx.repeat_max = 0;
    h->regs.rdi = BASE + HOST_WINDOW - 16;
    h->regs.rcx = 4;
    rip = h->regs.rip;
    assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, BYTES(0xf3, 0x48, 0xab)),
                     EMULATE_EXCEPTION);
    assert_int_equal(h->regs.rcx, 2);
    assert_int_equal(h->regs.rip, rip);
    assert_int_equal(h->ctx.exception.vector, 14);
    assert_int_equal(h->ctx.exception.cr2, BASE + HOST_WINDOW);
}

static void faults_change_nothing(void **state)
{
    static const uint8_t insns[][8] = {
        {0x48, 0x89, 0x07},
        {0x48, 0x8b, 0x07},
        {0xf0, 0x48, 0x01, 0x07},
        {0x48, 0x87, 0x07},
        {0xf0, 0x48, 0x0f, 0xb1, 0x0f},
        {0xf0, 0x48, 0x0f, 0xc7, 0x0f},
        {0x48, 0x0f, 0xc1, 0x07},
        {0xa4},
        {0x48, 0xab},
        {0x0f, 0x01, 0x27},
    };
    struct emulate_host *h = fresh(state);

    for (size_t i = 0; i < sizeof(insns) / sizeof(insns[0]); i++) {
        struct cpu_user_regs before;

        h->regs.rdi = h->regs.rsi = 0x10000;
        h->regs.rax = i;
        before = h->regs;
        assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, insns[i], 8), EMULATE_EXCEPTION);
        assert_memory_equal(&before, &h->regs, sizeof(before));
        h->regs.rdi = h->regs.rsi = 1ull << 60;
        assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, insns[i], 8), EMULATE_EXCEPTION);
        assert_int_equal(h->ctx.exception.vector, 13);
    }
}

static void lost_races_are_retried(void **state)
{
    struct emulate_host *h = fresh(state);

    h->regs.rdi = BASE;
    h->regs.rax = 0x100;
    h->memory[0] = 1;
    h->swap_losses = 3;
    run64(h, BYTES(0xf0, 0x48, 0x01, 0x07));
    assert_int_equal(h->memory[0], 4);
    assert_int_equal(h->memory[1], 1);
    h->swap_losses = 1000;
    assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, BYTES(0xf0, 0x48, 0x01, 0x07)),
                     EMULATE_RETRY);
}

static void cmpxchg16b(void **state)
{
    struct emulate_host *h = fresh(state);

    h->regs.rdi = BASE + 16;
    memset(h->memory + 16, 0x11, 16);
    h->regs.rax = h->regs.rdx = 0x1111111111111111;
    h->regs.rbx = 5;
    h->regs.rcx = 6;
    run64(h, BYTES(0xf0, 0x48, 0x0f, 0xc7, 0x0f));
    assert_true(h->regs.rflags & 0x40);
    assert_int_equal(h->memory[16], 5);
    assert_int_equal(h->memory[24], 6);
    run64(h, BYTES(0xf0, 0x48, 0x0f, 0xc7, 0x0f));
    assert_false(h->regs.rflags & 0x40);
    assert_int_equal(h->regs.rax, 5);
    assert_int_equal(h->regs.rdx, 6);
    h->regs.rdi = BASE + 8;
    assert_int_equal(emulate_host_run(h, EMULATE_MODE_64, BYTES(0x48, 0x0f, 0xc7, 0x0f)),
                     EMULATE_EXCEPTION);
    assert_int_equal(h->ctx.exception.vector, 13);
}

static void other_modes(void **state)
{
    struct emulate_host *h = fresh(state);

    emulate_host_init(h, 0x20000);
    h->regs.rip = 0xffff;
    h->seg_base[EMULATE_DS] = 0x1fff0;
    h->seg_base[EMULATE_SS] = 0x20000;
    h->regs.rbx = 0xffff0008;
    h->regs.rsi = 0x8;
    h->regs.rax = 0xbeef;
    /* mov [bx+si], ax in 16-bit mode: offset 0x10 after wrap */
    assert_int_equal(emulate_host_run(h, EMULATE_MODE_16, BYTES(0x89, 0x00)), EMULATE_OK);
    assert_int_equal(h->memory[0] | h->memory[1] << 8, 0xbeef);
    assert_int_equal(h->regs.rip, 0x10001);
    /* mov [ebp+4], eax in 32-bit mode: SS */
    h->regs.rbp = 0x100;
    h->regs.rax = 0x12345678;
    assert_int_equal(emulate_host_run(h, EMULATE_MODE_32, BYTES(0x89, 0x45, 0x04)), EMULATE_OK);
    assert_int_equal(h->memory[0x104], 0x78);
    /* the address wraps at 4 GiB */
    h->seg_base[EMULATE_DS] = 0xfffff000;
    h->regs.rdi = 0x21000;
    assert_int_equal(emulate_host_run(h, EMULATE_MODE_32, BYTES(0x88, 0x07)), EMULATE_OK);
    assert_int_equal(h->memory[0], 0x78);
    /* inc eax as one byte */
    assert_int_equal(emulate_host_run(h, EMULATE_MODE_32, BYTES(0x40)), EMULATE_OK);
    assert_int_equal(h->regs.rax, 0x12345679);
}

static void segments64(void **state)
{
    struct emulate_host *h = fresh(state);

    h->seg_base[EMULATE_GS] = BASE;
    h->seg_base[EMULATE_DS] = 0x123; /* ignored */
    h->regs.rax = 0x42;
    run64(h, BYTES(0x65, 0x88, 0x04, 0x25, 0x10, 0, 0, 0)); /* mov gs:[0x10], al */
    assert_int_equal(h->memory[0x10], 0x42);
    h->regs.rcx = BASE + 1;
    run64(h, BYTES(0x3e, 0x88, 0x01));
    assert_int_equal(h->memory[1], 0x42);
    h->regs.rip = BASE - 0x100;
    run64(h, BYTES(0x88, 0x05, 0, 2, 0, 0)); /* mov [rip+0x200], al */
    assert_int_equal(h->memory[0x106], 0x42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_in_pairs),
        cmocka_unit_test(cpuid_fills_four),
        cmocka_unit_test(control_registers),
        cmocka_unit_test(small_ones),
        cmocka_unit_test(refused),
        cmocka_unit_test(ports),
        cmocka_unit_test(string_io),
        cmocka_unit_test(string_bounds),
        cmocka_unit_test(faults_change_nothing),
        cmocka_unit_test(lost_races_are_retried),
        cmocka_unit_test(cmpxchg16b),
        cmocka_unit_test(other_modes),
        cmocka_unit_test(segments64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
