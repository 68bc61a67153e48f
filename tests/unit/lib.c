// SPDX-License-Identifier: BSD-2-Clause
/* hypervisor/lib against the C library and against simple models. */
#include "unit.h"

#include "lib/bitmap.h"
#include "lib/heap.h"

void *hv_memcpy(void *, const void *, size_t);
void *hv_memmove(void *, const void *, size_t);
void *hv_memset(void *, int, size_t);
int hv_memcmp(const void *, const void *, size_t);
void *hv_memchr(const void *, int, size_t);
size_t hv_strlen(const char *);
size_t hv_strnlen(const char *, size_t);
int hv_strcmp(const char *, const char *);
int hv_strncmp(const char *, const char *, size_t);
char *hv_strchr(const char *, int);
char *hv_strstr(const char *, const char *);
size_t hv_strlcpy(char *, const char *, size_t);
size_t hv_strlcat(char *, const char *, size_t);
int hv_snprintf(char *, size_t, const char *, ...) __attribute__((format(printf, 3, 4)));
uint64_t hv_strtoull(const char *, const char **, int);
uint64_t parse_size(const char *, const char **);

static uint64_t random_state = 88172645463325252ull;

static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % n;
}

static void fill(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)random_below(256);
}

// Every short size at every offset, then larger ones; nothing outside is touched.
static void copies(void **state)
{
    static uint8_t a[1200], b[1200], want[1200];

    for (unsigned int round = 0; round < 60000; round++) {
        size_t n = round < 40000 ? round % 80 : random_below(600);
        size_t from = random_below(500), to = random_below(500);

        fill(a, sizeof(a));
        fill(b, sizeof(b));
        memcpy(want, b, sizeof(b));
        memcpy(want + to, a + from, n);
        assert_ptr_equal(hv_memcpy(b + to, a + from, n), b + to);
        assert_memory_equal(b, want, sizeof(b));

        memcpy(want, a, sizeof(a));
        memmove(want + to, want + from, n);
        hv_memmove(a + to, a + from, n);
        assert_memory_equal(a, want, sizeof(a));

        memcpy(want, a, sizeof(a));
        memset(want + to, (int)n, n);
        hv_memset(a + to, (int)n, n);
        assert_memory_equal(a, want, sizeof(a));
        round += round >= 40000 ? 9 : 0;
    }
}

static int sign(int x)
{
    return (x > 0) - (x < 0);
}

static void comparisons(void **state)
{
    uint8_t a[64], b[64];

    for (int round = 0; round < 20000; round++) {
        size_t n = random_below(sizeof(a));

        fill(a, sizeof(a));
        memcpy(b, a, sizeof(b));
        if (n && random_below(2))
            b[random_below((uint32_t)n)] ^= (uint8_t)(1u << random_below(8));
        assert_int_equal(sign(hv_memcmp(a, b, n)), sign(memcmp(a, b, n)));
        assert_ptr_equal(hv_memchr(a, b[n], n), memchr(a, b[n], n));
    }
    assert_true(hv_strcmp("a", "b") < 0);
    assert_true(hv_strcmp("ab", "a") > 0);
    assert_int_equal(hv_strcmp("", ""), 0);
    assert_true(hv_strcmp("\xff", "a") > 0);
    assert_int_equal(hv_strncmp("abc", "abd", 2), 0);
    assert_true(hv_strncmp("abc", "abd", 3) < 0);
}

static void strings(void **state)
{
    const char *text = "com1=115200,8n1";
    char buf[8];

    assert_int_equal(hv_strlen(""), 0);
    assert_int_equal(hv_strlen(text), 15);
    assert_int_equal(hv_strnlen(text, 4), 4);
    assert_ptr_equal(hv_strchr(text, '='), text + 4);
    assert_ptr_equal(hv_strchr(text, 0), text + 15);
    assert_null(hv_strchr(text, 'x'));
    assert_ptr_equal(hv_strstr(text, "8n"), text + 12);
    assert_ptr_equal(hv_strstr(text, ""), text);
    assert_null(hv_strstr(text, "8n12"));
    assert_int_equal(hv_strlcpy(buf, "abcdefghij", sizeof(buf)), 10);
    assert_string_equal(buf, "abcdefg");
    assert_int_equal(hv_strlcpy(buf, "ab", sizeof(buf)), 2);
    assert_int_equal(hv_strlcat(buf, "cdefgh", sizeof(buf)), 8);
    assert_string_equal(buf, "abcdefg");
}

#define SAME(...)                                                             \
    do {                                                                      \
        char ours_[200], libc_[200];                                          \
        int n_ = snprintf(libc_, sizeof(libc_), __VA_ARGS__);                 \
        assert_int_equal(hv_snprintf(ours_, sizeof(ours_), __VA_ARGS__), n_); \
        assert_string_equal(ours_, libc_);                                    \
    } while (0)

static void formats(void **state)
{
    static const int values[] = {0, 1, -1, 42, -12345, 2147483647, -2147483647 - 1};
    char small[6];

    for (unsigned int i = 0; i < sizeof(values) / sizeof(*values); i++) {
        int v = values[i];

        SAME("%d|%5d|%-8d|%08d|%+d|% d|%.4d|%8.3d", v, v, v, v, v, v, v, v);
        SAME("%u|%x|%X|%#x|%#10x|%-#10x|%08x|%o", v, v, v, v, v, v, v, v);
        SAME("%hhd %hhu %hd %hu", (signed char)v, (unsigned char)v, (short)v, (unsigned short)v);
        SAME("%ld %lx %llu %zu", (long)v, (long)v, (unsigned long long)v, (size_t)v);
        SAME("%*d|%-*d|%.*d", 7, v, 7, v, 3, v);
    }
    SAME("%s|%8s|%-8s|%.2s|%.*s", "abc", "abc", "abc", "abc", 1, "abc");
    SAME("%c%c%%", 'x', 'y');
    SAME("%lu", ~0ul);
    assert_int_equal(hv_snprintf(small, sizeof(small), "%s", "abcdefgh"), 8);
    assert_string_equal(small, "abcde");
    assert_int_equal(hv_snprintf(NULL, 0, "%d", 1234), 4);
}

static void numbers(void **state)
{
    const char *end;

    assert_int_equal(hv_strtoull("1234x", &end, 10), 1234);
    assert_string_equal(end, "x");
    assert_int_equal(hv_strtoull("0x1fg", &end, 0), 0x1f);
    assert_string_equal(end, "g");
    assert_int_equal(hv_strtoull("0755", NULL, 0), 0755);
    assert_int_equal(hv_strtoull("0x", &end, 0), 0);
    assert_string_equal(end, "x");
    assert_true(hv_strtoull("18446744073709551615", NULL, 0) == UINT64_MAX);
    assert_true(hv_strtoull("18446744073709551616", &end, 0) == UINT64_MAX);
    assert_string_equal(end, "");
    assert_int_equal(hv_strtoull("", &end, 0), 0);
    assert_int_equal(parse_size("512M,max", &end), 512ul << 20);
    assert_string_equal(end, ",max");
    assert_int_equal(parse_size("2g", NULL), 2ul << 30);
    assert_int_equal(parse_size("0x10k", NULL), 16 << 10);
    assert_int_equal(parse_size("77", NULL), 77);
    assert_int_equal(parse_size("1T", NULL), 1ul << 40);
    assert_true(parse_size("999999999999T", NULL) == UINT64_MAX);
    assert_int_equal(parse_size("M", &end), 0);
    assert_string_equal(end, "M");
}

static void bitmaps(void **state)
{
    enum { BITS = 200 };
    DECLARE_BITMAP(m, BITS);
    DECLARE_BITMAP(other, BITS);
    bool model[BITS] = {false};
    unsigned int n, weight = 0;

    bitmap_zero(m, BITS);
    assert_true(bitmap_empty(m, BITS));
    for (int i = 0; i < 60; i++) {
        n = random_below(BITS);
        weight += !model[n];
        model[n] = true;
        bit_set(m, n);
    }
    assert_int_equal(bitmap_weight(m, BITS), weight);
    for (unsigned int start = 0; start <= BITS; start++) {
        unsigned int set = start, clear = start;

        while (set < BITS && !model[set])
            set++;
        while (clear < BITS && model[clear])
            clear++;
        assert_int_equal(bitmap_next(m, BITS, start), set);
        assert_int_equal(bitmap_next_zero(m, BITS, start), clear);
    }
    bitmap_for_each (n, m, BITS)
        weight -= model[n];
    assert_int_equal(weight, 0);
    bitmap_fill(other, BITS);
    assert_int_equal(bitmap_weight(other, BITS), BITS);
    assert_true(bitmap_intersects(m, other, BITS));
    bitmap_and(other, other, m, BITS);
    assert_true(bitmap_equal(other, m, BITS));
    assert_false(bit_test_and_set_atomic(other, bitmap_next_zero(m, BITS, 0)));
    assert_false(bitmap_equal(other, m, BITS));
}

// Random inserts and removals; the root is always the smallest, also when keys wrap around.
static void heap_order(void **state)
{
    enum { NODES = 300 };
    static struct heap_node node[NODES];
    static bool in[NODES];
    uint64_t base = UINT64_MAX - 500;
    struct heap h = {NULL};
    unsigned int count = 0;

    for (int round = 0; round < 20000; round++) {
        unsigned int i = random_below(NODES), walked = 0;
        const struct heap_node *min = NULL;

        if (in[i])
            heap_remove(&h, &node[i]);
        else
            heap_insert(&h, &node[i], base + random_below(1000));
        count += in[i] ? -1u : 1u;
        in[i] = !in[i];
        for (unsigned int j = 0; j < NODES; j++)
            if (in[j] && (!min || heap_key_before(node[j].key, min->key)))
                min = &node[j];
        assert_int_equal(!h.root, !min);
        if (min)
            assert_true(h.root->key == min->key);
        for (struct heap_node *n = heap_walk(&h, NULL); n; n = heap_walk(&h, n)) {
            assert_true(in[n - node]);
            walked++;
        }
        assert_int_equal(walked, count);
    }
    for (uint64_t last = base; h.root; heap_remove(&h, h.root)) {
        assert_false(heap_key_before(h.root->key, last));
        last = h.root->key;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies),     cmocka_unit_test(comparisons), cmocka_unit_test(strings),
        cmocka_unit_test(formats),    cmocka_unit_test(numbers),     cmocka_unit_test(bitmaps),
        cmocka_unit_test(heap_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
