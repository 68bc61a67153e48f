// SPDX-License-Identifier: BSD-2-Clause
#include "unit.h"

#include "emulate_host.h"

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static enum emulate_result decode(struct insn *insn, enum emulate_mode mode, const uint8_t *bytes,
                                  size_t len)
{
    struct emulate_exception e = {0};

    return emulate_decode(insn, bytes, len, mode, &e);
}

static void names_and_lengths(void **state)
{
    static const struct {
        const char *name;
        uint8_t bytes[15];
        uint8_t length, mode;
        bool privileged;
    } table[] = {
        {"mov", {0x48, 0x89, 0x07}, 3, 8},
        {"mov", {0x48, 0x89, 0x84, 0xd8, 1, 2, 3, 4}, 8, 8},
        {"mov", {0x48, 0xc7, 0x05, 1, 2, 3, 4, 5, 6, 7, 8}, 11, 8},
        {"mov", {0x66, 0xc7, 0x45, 0x10, 1, 2}, 6, 8},
        {"mov", {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}, 10, 8},
        {"mov", {0xa3, 1, 2, 3, 4, 5, 6, 7, 8}, 9, 8},
        {"mov", {0xa3, 1, 2, 3, 4}, 5, 4},
        {"mov", {0x67, 0xa3, 1, 2, 3, 4}, 6, 8},
        {"mov", {0x67, 0xa3, 1, 2}, 4, 4},
        {"mov", {0xa1, 1, 2}, 3, 2},
        {"mov", {0x48, 0x0f, 0xc3, 0x07}, 4, 8},
        {"movzx", {0x0f, 0xb6, 0x41, 0xff}, 4, 8},
        {"movsx", {0x48, 0x63, 0x04, 0x25, 1, 2, 3, 4}, 8, 8},
        {"xchg", {0x48, 0x87, 0x07}, 3, 8},
        {"xchg", {0x41, 0x90}, 2, 8},
        {"nop", {0xf3, 0x90}, 2, 8},
        {"nop", {0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}, 9, 8},
        {"cmpxchg", {0xf0, 0x48, 0x0f, 0xb1, 0x0f}, 5, 8},
        {"cmpxchg8b/16b", {0xf0, 0x48, 0x0f, 0xc7, 0x0f}, 5, 8},
        {"add", {0xf0, 0x83, 0x07, 0x80}, 4, 8},
        {"or", {0x81, 0x0f, 1, 2, 3, 4}, 6, 8},
        {"test", {0xf7, 0x07, 1, 2, 3, 4}, 6, 8},
        {"not", {0xf0, 0xf7, 0x17}, 3, 8},
        {"neg", {0xf6, 0x1f}, 2, 8},
        {"dec", {0xff, 0x0f}, 2, 8},
        {"inc", {0x40}, 1, 4},
        {"bts", {0xf0, 0x48, 0x0f, 0xba, 0x2f, 0x3f}, 6, 8},
        {"btr", {0x0f, 0xb3, 0x07}, 3, 8},
        {"stos", {0xf3, 0x48, 0xab}, 3, 8},
        {"movs", {0xa4}, 1, 8},
        {"in", {0xec}, 1, 8},
        {"in", {0xe5, 0x70}, 2, 8},
        {"out", {0x66, 0xef}, 2, 8},
        {"outs", {0xf3, 0x6e}, 2, 8},
        {"cpuid", {0x0f, 0xa2}, 2, 8},
        {"rdmsr", {0x0f, 0x32}, 2, 8, true},
        {"wrmsr", {0x0f, 0x30}, 2, 8, true},
        {"rdtsc", {0x0f, 0x31}, 2, 8},
        {"rdtscp", {0x0f, 0x01, 0xf9}, 3, 8},
        {"rdpmc", {0x0f, 0x33}, 2, 8},
        {"xgetbv", {0x0f, 0x01, 0xd0}, 3, 8},
        {"xsetbv", {0x0f, 0x01, 0xd1}, 3, 8, true},
        {"mov from cr", {0x0f, 0x20, 0xc0}, 3, 8, true},
        {"mov to cr", {0x44, 0x0f, 0x22, 0xc0}, 4, 8, true},
        {"mov to cr", {0x0f, 0x22, 0x18}, 3, 8, true}, /* mod is ignored */
        {"mov from dr", {0x0f, 0x21, 0xf8}, 3, 8, true},
        {"mov to dr", {0x0f, 0x23, 0xf8}, 3, 8, true},
        {"clts", {0x0f, 0x06}, 2, 8, true},
        {"smsw", {0x0f, 0x01, 0xe0}, 3, 8},
        {"lmsw", {0x0f, 0x01, 0xf0}, 3, 8, true},
        {"hlt", {0xf4}, 1, 8, true},
        {"invlpg", {0x0f, 0x01, 0x38}, 3, 8, true},
        {"invd", {0x0f, 0x08}, 2, 8, true},
        {"wbinvd", {0x0f, 0x09}, 2, 8, true},
        {"cli", {0xfa}, 1, 8},
        {"sti", {0xfb}, 1, 8},
        {"swapgs", {0x0f, 0x01, 0xf8}, 3, 8, true},
        {"monitor", {0x0f, 0x01, 0xc8}, 3, 8, true},
        {"mwait", {0x0f, 0x01, 0xc9}, 3, 8, true},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct insn insn;

        if (decode(&insn, table[i].mode, table[i].bytes, 15) != EMULATE_OK ||
            strcmp(emulate_name(&insn), table[i].name) || insn.length != table[i].length ||
            insn.privileged != table[i].privileged) {
            fail_msg("row %zu, %s: got %s, %u bytes", i, table[i].name, emulate_name(&insn),
                     insn.length);
        }
        /* Every shorter piece asks for more. */
        for (size_t len = 0; len < insn.length; len++) {
            struct insn part;

            assert_int_equal(decode(&part, table[i].mode, table[i].bytes, len), EMULATE_MORE_BYTES);
        }
    }
}

static void rejects(void **state)
{
    struct insn insn;

    assert_int_equal(decode(&insn, EMULATE_MODE_64, BYTES(0xf0, 0x48, 0x89, 0x07)),
                     EMULATE_EXCEPTION); /* LOCK MOV */
    assert_int_equal(decode(&insn, EMULATE_MODE_64, BYTES(0xf0, 0x01, 0xc0)),
                     EMULATE_EXCEPTION); /* LOCK ADD of registers */
    assert_int_equal(decode(&insn, EMULATE_MODE_64, BYTES(0xf0, 0xf4)), EMULATE_EXCEPTION);
    assert_int_equal(decode(&insn, EMULATE_MODE_64, BYTES(0x0f, 0xc7, 0xc8)),
                     EMULATE_UNHANDLED); /* CMPXCHG8B of a register */
    assert_int_equal(decode(&insn, EMULATE_MODE_64, BYTES(0x82, 0x07, 1)), EMULATE_UNHANDLED);
    assert_int_equal(decode(&insn, EMULATE_MODE_64, BYTES(0xc3)), EMULATE_UNHANDLED);
    assert_int_equal(decode(&insn, EMULATE_MODE_64, BYTES(0x0f, 0xc3, 0xc0)), EMULATE_UNHANDLED);
    assert_int_equal(decode(&insn, EMULATE_MODE_32, BYTES(0x63, 0xc0)), EMULATE_UNHANDLED);
    assert_int_equal(decode(&insn, EMULATE_MODE_64, BYTES(0xf3, 0x0f, 0x01, 0xca)),
                     EMULATE_UNHANDLED); /* not CLAC */
}

static void length_limit(void **state)
{
    uint8_t bytes[20];
    struct emulate_exception e;
    struct insn insn;

    memset(bytes, 0x66, sizeof(bytes));
    bytes[14] = 0xf4;
    assert_int_equal(emulate_decode(&insn, bytes, 15, EMULATE_MODE_64, &e), EMULATE_OK);
    assert_int_equal(insn.length, 15);
    bytes[14] = 0x66;
    bytes[15] = 0xf4;
    assert_int_equal(emulate_decode(&insn, bytes, 16, EMULATE_MODE_64, &e), EMULATE_EXCEPTION);
    assert_int_equal(e.vector, 13);
    assert_true(e.has_error_code);
    assert_int_equal(emulate_decode(&insn, bytes, 15, EMULATE_MODE_64, &e), EMULATE_EXCEPTION);
    assert_int_equal(emulate_decode(&insn, bytes, 14, EMULATE_MODE_64, &e), EMULATE_MORE_BYTES);
}

static void operand_details(void **state)
{
    struct insn insn;

    /* mov [r12+r13*8-8], sil: REX makes register 6 SIL, SIB with no SS default for r12 */
    assert_int_equal(decode(&insn, EMULATE_MODE_64, BYTES(0x43, 0x88, 0x74, 0xec, 0xf8)),
                     EMULATE_OK);
    assert_int_equal(insn.base, 12);
    assert_int_equal(insn.index, 13);
    assert_int_equal(insn.scale, 8);
    assert_int_equal(insn.disp, -8);
    assert_int_equal(insn.src.reg, 6);
    assert_int_equal(insn.src.bytes, 1);
    assert_int_equal(insn.segment, EMULATE_DS);
    assert_true(emulate_writes_memory(&insn));
    /* mov dh, [rbp]: no REX */
    assert_int_equal(decode(&insn, EMULATE_MODE_64, BYTES(0x8a, 0x75, 0)), EMULATE_OK);
    assert_int_equal(insn.dst.reg, 18);
    assert_int_equal(insn.segment, EMULATE_SS);
    assert_false(emulate_writes_memory(&insn));
    /* a prefix after REX cancels it */
    assert_int_equal(decode(&insn, EMULATE_MODE_64, BYTES(0x48, 0x66, 0x89, 0x07)), EMULATE_OK);
    assert_int_equal(insn.op_bytes, 2);
    /* the last REX counts */
    assert_int_equal(decode(&insn, EMULATE_MODE_64, BYTES(0x40, 0x48, 0x89, 0x07)), EMULATE_OK);
    assert_int_equal(insn.op_bytes, 8);
    /* DS override does nothing in 64-bit mode, GS does */
    assert_int_equal(decode(&insn, EMULATE_MODE_64, BYTES(0x65, 0x3e, 0x89, 0x07)), EMULATE_OK);
    assert_int_equal(insn.segment, EMULATE_GS);
    /* sign-extended immediate */
    assert_int_equal(decode(&insn, EMULATE_MODE_64, BYTES(0x48, 0x83, 0x27, 0xfe)), EMULATE_OK);
    assert_int_equal(insn.op, INSN_AND);
    assert_int_equal(insn.src.value, 0xfffffffffffffffe);
    /* 16-bit addressing: [bp+si+0x1234] */
    assert_int_equal(decode(&insn, EMULATE_MODE_16, BYTES(0x89, 0x82, 0x34, 0x12)), EMULATE_OK);
    assert_int_equal(insn.base, 5);
    assert_int_equal(insn.index, 6);
    assert_int_equal(insn.disp, 0x1234);
    assert_int_equal(insn.op_bytes, 2);
    assert_int_equal(insn.segment, EMULATE_SS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_lengths),
        cmocka_unit_test(rejects),
        cmocka_unit_test(length_limit),
        cmocka_unit_test(operand_details),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
