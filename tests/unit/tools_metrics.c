// SPDX-License-Identifier: BSD-2-Clause
/* The text for Prometheus, and the numbers that backends have counted. */
#include "unit.h"

#include <ctype.h>
#include <sys/stat.h>
#include <unistd.h>

#include "metrics.h"
#include "usage.h"

static void test_label(void **unused)
{
    struct buf out = {0};

    metrics_label(&out, "a\\b\"c\nd{}=,");
    assert_string_equal(out.data, "\"a\\\\b\\\"c\\nd{}=,\"");
    buf_free(&out);
}

static bool name_char(char c, bool first)
{
    return isalpha((unsigned char)c) || c == '_' || c == ':' ||
           (!first && isdigit((unsigned char)c));
}

static const char *skip_name(const char *p)
{
    assert_true(name_char(*p, true));
    while (name_char(*p, false)) {
        p++;
    }
    return p;
}

static const char *skip_labels(const char *p)
{
    do {
        p = skip_name(p + 1);
        assert_true(p[0] == '=' && p[1] == '"');
        for (p += 2; *p != '"'; p++) {
            assert_true(*p && *p != '\n');
            if (*p == '\\') {
                p++;
                assert_true(*p == '\\' || *p == '"' || *p == 'n');
            }
        }
        p++;
    } while (*p == ',');
    assert_int_equal(*p, '}');
    return p + 1;
}

/* Every line as the format wants it; every family described once, before its samples. */
static unsigned check_text(const char *text)
{
    char current[128] = "", seen[8192] = "", name[128];
    unsigned samples = 0;

    for (const char *p = text; *p;) {
        const char *end = strchr(p, '\n');
        char *number_end;

        assert_non_null(end); /* also the last line ends */
        if (!strncmp(p, "# HELP ", 7)) {
            snprintf(current, sizeof(current), " %.*s ", (int)strcspn(p + 7, " "), p + 7);
            assert_null(strstr(seen, current));
            strcat(seen, current);
            p = end + 1;
            assert_int_equal(strncmp(p, "# TYPE ", 7), 0);
            snprintf(name, sizeof(name), " %.*s ", (int)strcspn(p + 7, " "), p + 7);
            assert_string_equal(name, current);
            p = strchr(p, '\n') + 1;
            continue;
        }
        snprintf(name, sizeof(name), " %.*s ", (int)(skip_name(p) - p), p);
        assert_string_equal(name, current);
        p = skip_name(p);
        p = *p == '{' ? skip_labels(p) : p;
        assert_int_equal(*p, ' ');
        strtod(p + 1, &number_end);
        assert_ptr_equal(number_end, end);
        samples++;
        p = end + 1;
    }
    return samples;
}

static void test_text(void **unused)
{
    struct serai_host host = {.version_major = 4,
                              .version_minor = 17,
                              .scheduler = "credit2",
                              .nr_cpus = 2,
                              .total_pages = 1000,
                              .free_pages = 10};
    struct serai_domain domains[] = {
        {.name = "Domain-0", .cpu_ns = 1500000001, .pages = 3, .max_pages = UINT64_MAX},
        {.id = 7, .name = "we\"i\\rd", .flags = SERAI_DOMAIN_SHUTDOWN, .shutdown_reason = 3}};
    struct serai_usage usage[] = {
        {7, SERAI_USAGE_DISK, 51712, 4096, 512, 1, 2},
        {7, SERAI_USAGE_VIF, 0, 11, 12, 13, 14},
        {9, SERAI_USAGE_VIF, 0, 1, 1, 1, 1}, /* it has gone meanwhile */
    };
    struct metrics m = {&host, domains, 2, usage, 3};
    struct buf out = {0};

    metrics_write(&m, &out);
    assert_int_equal(check_text(out.data), 4 + 5 * 2 + 8);
    assert_non_null(strstr(
        out.data, "serai_domain_cpu_seconds_total{domain=\"0\",name=\"Domain-0\"} 1.500000001\n"));
    assert_non_null(strstr(out.data, "serai_disk_read_bytes_total{domain=\"7\",name=\"we\\\"i\\\\rd"
                                     "\",device=\"51712\"} 4096\n"));
    assert_non_null(strstr(out.data, "serai_network_transmit_bytes_total{domain=\"7\",name=\""
                                     "we\\\"i\\\\rd\",device=\"0\"} 12\n"));
    assert_non_null(strstr(out.data, "state=\"crash\"} 1\n"));
    assert_non_null(strstr(out.data, "serai_host_memory_free_bytes 40960\n"));
    assert_null(strstr(out.data, "domain=\"9\""));
    buf_free(&out);

    /* Nobody but the machine. */
    m = (struct metrics){.host = &host};
    metrics_write(&m, &out);
    assert_int_equal(check_text(out.data), 4);
    buf_free(&out);
}

static char dir[64];

static void put(const char *path, const char *text)
{
    char full[256];

    snprintf(full, sizeof(full), "%s/%s", dir, path);
    for (char *p = full + strlen(dir) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        mkdir(full, 0755);
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_usage(void **unused)
{
    char backends[96], blkd[96], command[96];
    struct serai_usage *list;
    struct serai_error err;
    size_t count;

    strcpy(dir, "/tmp/serai-unit-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(backends, sizeof(backends), "%s/sys", dir);
    snprintf(blkd, sizeof(blkd), "%s/blkd.stats", dir);
    assert_int_equal(usage_read(backends, blkd, &list, &count, &err), 0); /* nothing is there */
    assert_int_equal(count, 0);
    free(list);

    put("sys/vif-3-1/net/web0/statistics/rx_bytes", "1000\n");
    put("sys/vif-3-1/net/web0/statistics/tx_bytes", "2000\n");
    put("sys/vif-3-1/net/web0/statistics/rx_packets", "10\n");
    put("sys/vif-3-1/net/web0/statistics/tx_packets", "20\n");
    put("sys/vbd-3-51712/statistics/rd_sect", "8\n");
    put("sys/vbd-3-51712/statistics/wr_sect", "18446744073709551615\n");
    put("sys/vbd-3-51712/statistics/rd_req", "not a number\n");
    put("sys/vbd-1-51712/state", "no statistics yet\n");
    put("sys/vbd-nonsense/x", "");
    put("sys/vbd-1-2-3/x", "");
    put("blkd.stats", "3 51728 1 2 3 4 4096 8192\nrubbish\n4 51712 9 9\n");
    assert_int_equal(usage_read(backends, blkd, &list, &count, &err), 0);
    assert_int_equal(count, 4);
    assert_int_equal(list[0].domain, 1);
    assert_int_equal(list[1].devid, 51712);
    assert_int_equal(list[1].in_bytes, 8 * 512);
    assert_int_equal(list[1].in_count, 0);
    assert_int_equal(list[2].devid, 51728);
    assert_int_equal(list[2].out_bytes, 8192);
    assert_int_equal(list[2].in_count, 1);
    assert_int_equal(list[3].kind, SERAI_USAGE_VIF);
    assert_int_equal(list[3].out_bytes, 1000); /* what the backend received, the guest sent */
    assert_int_equal(list[3].in_count, 20);
    free(list);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_label),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_usage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
