// SPDX-License-Identifier: BSD-2-Clause
/* The parser of configuration files, alone. */
#include "unit.h"

#include <errno.h>

#include "buf.h"
#include "cfg.h"

static struct cfg *parse(const char *text)
{
    struct cfg *c = cfg_new();
    struct cfg_error err;

    if (cfg_parse(c, "f", text, strlen(text), &err)) {
        fail_msg("%s: %s", text, err.text);
    }
    return c;
}

static void refuse(const char *text, const char *expected)
{
    struct cfg *c = cfg_new();
    struct cfg_error err = {""};

    assert_int_equal(cfg_parse(c, "f", text, strlen(text), &err), -EINVAL);
    assert_string_equal(err.text, expected);
    cfg_free(c);
}

static void test_values(void **unused)
{
    struct cfg *c =
        parse("a = 12\nb=-0x10 # note\nc = 'it\\'s'\n\n  d = \"x\\n\\x41\\\"\" ; e = 010\n"
              "l = [ 1, 'two', [ 3, ], ] \n m=[\n# inside\n 'x'\n,\n'y' ]\n n = []");
    const struct cfg_entry *l = cfg_find(c, "l");
    const char *text = NULL;
    int64_t n = 0;

    assert_int_equal(cfg_count(c), 8);
    assert_int_equal(cfg_find(c, "a")->value.number, 12);
    assert_int_equal(cfg_find(c, "b")->value.number, -16);
    assert_string_equal(cfg_find(c, "c")->value.string, "it's");
    assert_string_equal(cfg_find(c, "d")->value.string, "x\nA\"");
    assert_int_equal(cfg_find(c, "e")->value.number, 8);
    assert_int_equal(l->value.count, 3);
    assert_int_equal(l->value.items[0].number, 1);
    assert_int_equal(l->value.items[2].count, 1);
    assert_int_equal(l->value.items[1].pos.line, 6);
    assert_int_equal(l->value.items[1].pos.column, 10);
    assert_int_equal(cfg_find(c, "m")->value.count, 2);
    assert_int_equal(cfg_find(c, "n")->value.count, 0);
    assert_int_equal(cfg_get_string(c, "c", &text, NULL), 0);
    assert_int_equal(cfg_get_number(c, "zz", 0, 1, &n, NULL), 0);
    assert_int_equal(cfg_get_number(c, "c", 0, 1, &n, NULL), -EINVAL);
    cfg_free(c);
}

static void test_again_and_append(void **unused)
{
    struct cfg *c = parse("a = 1\na = 'two'\ns='x'\ns += \"y\"\nl=[1]\nl+=[2,3]\nnew += 'z'\n");

    assert_string_equal(cfg_find(c, "a")->value.string, "two");
    assert_string_equal(cfg_find(c, "s")->value.string, "xy");
    assert_int_equal(cfg_find(c, "l")->value.count, 3);
    assert_string_equal(cfg_find(c, "new")->value.string, "z");
    cfg_remove(c, "s");
    assert_null(cfg_find(c, "s"));
    assert_int_equal(cfg_find(c, "l")->value.items[2].number, 3);
    cfg_free(c);
    refuse("s = 'x'\ns += 3\n", "f:2:1: s: += joins two strings or two lists");
}

static void test_syntax_errors(void **unused)
{
    refuse("a = 'x\nb=1", "f:1:5: the string that starts here has no closing '");
    refuse("a = [ 1, 2\nb = 3 ]", "f:2:1: expected , or ] in the list, found 'b'");
    refuse("a = [ 1,", "f:1:5: the list that starts here has no closing ]");
    refuse("a 3", "f:1:3: expected = after \"a\", found '3'");
    refuse("a", "f:1:2: expected = after \"a\", found the end");
    refuse("a =\nb = 1", "f:1:4: expected a value, found end of line");
    refuse("a = 12x", "f:1:5: \"12x\" is not a number (a string needs quotes)");
    refuse("a = yes", "f:1:5: \"yes\" is not a number (a string needs quotes)");
    refuse("a = 99999999999999999999", "f:1:5: the number 99999999999999999999 is too large");
    refuse("a = 1 b = 2",
           "f:1:7: expected the end of the line after the value of \"a\", found 'b'");
    refuse("a = '\\q'", "f:1:6: unknown escape: 'q' after a backslash");
    refuse("a = '\\x4'", "f:1:6: \\x needs two hexadecimal digits");
    refuse("a = '\\x00'", "f:1:6: a string cannot hold a NUL byte");
    refuse("\n\n  = 3", "f:3:3: expected a key, found '='");
    refuse("a = \x01", "f:1:5: expected a value, found byte 0x01");
}

static void test_depth(void **unused)
{
    char text[64] = "a = ";
    struct cfg *c;

    memset(text + 4, '[', 17);
    refuse(text, "f:1:21: lists are nested more than 16 deep");
    memset(text + 20, ']', 16);
    c = parse(text);
    cfg_free(c);
}

static void test_nul_and_size(void **unused)
{
    struct cfg *c = cfg_new();
    struct cfg_error err;
    char *big = calloc(1, CFG_SIZE_MAX + 1);

    assert_int_equal(cfg_parse(c, "f", "a='\0'", 6, &err), -EINVAL);
    assert_non_null(strstr(err.text, "NUL"));
    memset(big, ' ', CFG_SIZE_MAX + 1);
    assert_int_equal(cfg_parse(c, "f", big, CFG_SIZE_MAX + 1, &err), -EINVAL);
    assert_int_equal(cfg_parse(c, "f", big, CFG_SIZE_MAX, &err), 0);
    free(big);
    cfg_free(c);
}

static void test_arguments(void **unused)
{
    struct cfg *c = cfg_new();
    struct cfg_error err;

    assert_int_equal(cfg_parse_argument(c, "n=12", &err), 0);
    assert_int_equal(cfg_parse_argument(c, "s=plain words \"quoted\"", &err), 0);
    assert_int_equal(cfg_parse_argument(c, "q='quoted'", &err), 0);
    assert_int_equal(cfg_parse_argument(c, "l=[ 1, 2 ]", &err), 0);
    assert_int_equal(cfg_parse_argument(c, "e=", &err), 0);
    assert_int_equal(cfg_find(c, "n")->value.number, 12);
    assert_string_equal(cfg_find(c, "s")->value.string, "plain words \"quoted\"");
    assert_string_equal(cfg_find(c, "q")->value.string, "quoted");
    assert_int_equal(cfg_find(c, "l")->value.count, 2);
    assert_string_equal(cfg_find(c, "e")->value.string, "");
    assert_int_equal(cfg_parse_argument(c, "nonsense", &err), -EINVAL);
    cfg_free(c);
}

static void test_write(void **unused)
{
    struct cfg *c = parse("a = 1\nb = 'q\"\\n'\nc = [ 1, [ 'x' ], [] ]\n"), *again;
    BUF_AUTO first = {0}, second = {0};

    cfg_write(c, &first);
    again = parse(first.data);
    cfg_write(again, &second);
    assert_string_equal(first.data, second.data);
    assert_string_equal(first.data, "a = 1\nb = \"q\\\"\\n\"\nc = [ 1, [ \"x\" ], [ ] ]\n");
    cfg_free(again);
    cfg_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),        cmocka_unit_test(test_again_and_append),
        cmocka_unit_test(test_syntax_errors), cmocka_unit_test(test_depth),
        cmocka_unit_test(test_nul_and_size),  cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
