// SPDX-License-Identifier: BSD-2-Clause
/* The persistent tree: snapshots never change, what is not shared is changed in place. */
#include "unit.h"

#include "buf.h"
#include "tree.h"

static long tally_nodes, tally_bytes;

static void tally(void *arg, unsigned owner, int nodes, long bytes)
{
    tally_nodes += nodes;
    tally_bytes += bytes;
}

static int count_node(void *arg, const char *path, const struct node *n)
{
    long *sum = arg;
    sum[0]++;
    sum[1] += node_bytes(n);
    return 0;
}

static void check(const struct tree *t)
{
    long sum[2] = {0, 0};
    tree_walk(t->root, count_node, sum);
    assert_int_equal(sum[0], tally_nodes);
    assert_int_equal(sum[1], tally_bytes);
    assert_null(tree_check(t->root));
}

static int print_node(void *arg, const char *path, const struct node *n)
{
    buf_printf(arg, "%s=%.*s,%u;", path, (int)node_value_len(n), node_value(n),
               n->perms->list[0].domid);
    return 0;
}

static char *print(const struct node *root)
{
    struct buf out = {0};
    tree_walk(root, print_node, &out);
    return buf_take(&out);
}

static void test_basic(void **unused)
{
    struct tree t;
    tally_nodes = tally_bytes = 0;
    tree_init(&t, tally, NULL);
    tree_write(&t, "/a/b", 7, "x", 1);
    char *text = print(t.root);
    assert_string_equal(text, "/=,0;/a=,7;/a/b=x,7;");
    free(text);
    const struct node *b = tree_find(t.root, "/a/b");
    assert_ptr_equal(tree_write(&t, "/a/b", 0, "yy", 2), b); /* in place */
    check(&t);
    assert_null(tree_find(t.root, "/a/bb"));
    assert_null(tree_find_n(t.root, "/a/bb", 6));
    assert_ptr_equal(tree_find_n(t.root, "/a/bbbb", 4), b);
    assert_ptr_equal(tree_find(t.root, "/"), t.root);
    size_t len;
    assert_ptr_equal(tree_nearest(t.root, "/a/b/c/d", &len), b);
    assert_int_equal(len, 4);
    assert_ptr_equal(tree_nearest(t.root, "/q/b", &len), t.root);
    assert_int_equal(len, 0);
    assert_null(tree_remove(&t, "/a/c"));
    assert_null(tree_remove(&t, "/"));
    node_unref(tree_remove(&t, "/a"));
    assert_int_equal(tally_nodes, 1);
    check(&t);
    tree_free(&t);
}

static void test_snapshot(void **unused)
{
    struct tree t, s;
    tally_nodes = tally_bytes = 0;
    tree_init(&t, tally, NULL);
    tree_write(&t, "/a/b", 0, "1", 1);
    tree_write(&t, "/c/d", 0, "1", 1);
    char *before = print(t.root);
    tree_snapshot(&s, t.root, NULL, NULL);
    const struct node *c = tree_find(t.root, "/c"), *b = tree_find(t.root, "/a/b");
    tree_write(&t, "/a/b", 0, "2", 1);
    assert_ptr_equal(tree_find(t.root, "/c"), c); /* shared */
    assert_ptr_equal(tree_find(s.root, "/c"), c);
    assert_ptr_equal(tree_find(s.root, "/a/b"), b);
    assert_ptr_not_equal(tree_find(t.root, "/a/b"), b);
    tree_write(&s, "/a/new", 0, "3", 1); /* both sides may change */
    assert_null(tree_find(t.root, "/a/new"));
    node_unref(tree_remove(&t, "/c"));
    check(&t);
    node_unref(tree_remove(&s, "/a/new"));
    char *after = print(s.root);
    assert_string_equal(before, after);
    free(before);
    free(after);
    tree_free(&s);
    check(&t);
    tree_free(&t);
}

/* At random, with many snapshots, each of which must stay as it was. */
static void test_random(void **unused)
{
    enum { KEPT = 16 };
    struct tree t, kept[KEPT] = {0};
    char *texts[KEPT] = {0};
    tally_nodes = tally_bytes = 0;
    tree_init(&t, tally, NULL);
    srand(21);
    for (unsigned i = 0; i < 8000; i++) {
        char path[64], value[16];
        snprintf(path, sizeof(path), "/%u/%u/%u", rand() % 4, rand() % 4, rand() % 4);
        snprintf(value, sizeof(value), "%u", rand());
        if (rand() % 3 == 0) {
            path[rand() % 2 ? 4 : 2] = '\0';
        }
        switch (rand() % 5) {
        case 0:
            node_unref(tree_remove(&t, path));
            break;
        case 1: {
            struct perm p = {.domid = (uint16_t)(rand() % 5), .access = PERM_READ};
            tree_set_perms(&t, path, perms_new(&p, 1));
            break;
        }
        default:
            tree_write(&t, path, (unsigned)rand() % 3, value, strlen(value));
            break;
        }
        if (i % 10 == 0) {
            unsigned k = (unsigned)rand() % KEPT;
            if (texts[k]) {
                char *now = print(kept[k].root);
                assert_string_equal(now, texts[k]);
                assert_null(tree_check(kept[k].root));
                free(now);
                free(texts[k]);
                tree_free(&kept[k]);
            }
            tree_snapshot(&kept[k], t.root, NULL, NULL);
            texts[k] = print(t.root);
            check(&t);
        }
    }
    for (unsigned k = 0; k < KEPT; k++) {
        free(texts[k]);
        tree_free(&kept[k]);
    }
    check(&t);
    tree_free(&t);
}

static void test_many_children(void **unused)
{
    struct tree t;
    char path[32];
    tally_nodes = tally_bytes = 0;
    tree_init(&t, tally, NULL);
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(path, sizeof(path), "/d/%u", (i * 2003) % 5000);
        tree_mkdir(&t, path, 0);
    }
    check(&t);
    assert_int_equal(tree_find(t.root, "/d")->kid_count, 5000);
    for (unsigned i = 0; i < 5000; i += 2) {
        snprintf(path, sizeof(path), "/d/%u", i);
        node_unref(tree_remove(&t, path));
    }
    check(&t);
    assert_int_equal(tree_find(t.root, "/d")->kid_count, 2500);
    tree_free(&t);
}

static void test_paths(void **unused)
{
    path_text out;
    assert_int_equal(path_resolve("x/y", 3, out), 0);
    assert_string_equal(out, "/local/domain/3/x/y");
    assert_int_equal(path_home_length(3), 16);
    assert_true(path_is_below("/a/b", "/a"));
    assert_true(path_is_below("/a", "/a"));
    assert_true(path_is_below("/a", "/"));
    assert_false(path_is_below("/ab", "/a"));
    assert_false(path_is_below("/a", "/a/b"));
    assert_int_equal(path_parent_length("/a/b"), 2);
    assert_int_equal(path_parent_length("/a"), 0);
}

static void test_perms(void **unused)
{
    struct perms *p;
    struct who owner = {.domid = 1, .target = 1}, other = {.domid = 2, .target = 2},
               third = {.domid = 3, .target = 3}, dm = {.domid = 4, .target = 1},
               king = {.domid = 0, .target = 0, .privileged = true};
    assert_int_equal(perms_parse("n1\0w2\0b3", 9, &p), 0);
    assert_int_equal(perms_access(p, &owner), PERM_ALL);
    assert_int_equal(perms_access(p, &dm), PERM_ALL);
    assert_int_equal(perms_access(p, &king), PERM_ALL);
    assert_int_equal(perms_access(p, &other), PERM_WRITE);
    assert_int_equal(perms_access(p, &third), PERM_READ | PERM_WRITE);
    struct perms *without = perms_without(p, 2);
    assert_int_equal(without->count, 2);
    assert_int_equal(perms_access(without, &other), 0);
    assert_null(perms_without(without, 2));
    perms_unref(without);
    perms_unref(p);
    assert_int_not_equal(perms_parse("n1\0w2", 5, &p), 0); /* no zero at the end */
    assert_int_not_equal(perms_parse("", 0, &p), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_basic),  cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_random), cmocka_unit_test(test_many_children),
        cmocka_unit_test(test_paths),  cmocka_unit_test(test_perms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
