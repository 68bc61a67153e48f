// SPDX-License-Identifier: BSD-2-Clause
#include "quota.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    size_t offset;
    unsigned initial;
} limits_table[] = {
    {"nodes", offsetof(struct limits, nodes), 1000},
    {"node-size", offsetof(struct limits, node_size), 2048},
    {"permissions", offsetof(struct limits, permissions), 5},
    {"path-max", offsetof(struct limits, path_length), 3072},
    {"watches", offsetof(struct limits, watches), 128},
    {"transactions", offsetof(struct limits, transactions), 10},
    {"transaction-nodes", offsetof(struct limits, tx_nodes), 1024},
    {"outstanding", offsetof(struct limits, outstanding), 1024},
    {"memory", offsetof(struct limits, memory), 4 << 20},
};
enum { LIMITS_COUNT = sizeof(limits_table) / sizeof(limits_table[0]) };

static unsigned *limits_at(struct limits *l, unsigned n)
{
    return (unsigned *)((char *)l + limits_table[n].offset);
}

void limits_init(struct limits *l)
{
    for (unsigned n = 0; n < LIMITS_COUNT; n++)
        *limits_at(l, n) = limits_table[n].initial;
}

unsigned *limits_find(struct limits *l, const char *name)
{
    for (unsigned n = 0; n < LIMITS_COUNT; n++)
        if (!strcmp(limits_table[n].name, name))
            return limits_at(l, n);
    return NULL;
}

const char *limits_name(unsigned n)
{
    return n < LIMITS_COUNT ? limits_table[n].name : NULL;
}

int limits_set(struct limits *l, const char *name, const char *value)
{
    unsigned *limit = limits_find(l, name);
    char *end;
    errno = 0;
    unsigned long n = strtoul(value, &end, 10);
    if (!limit || errno || end == value || *end || *value < '0' || *value > '9' || n > INT_MAX)
        return -EINVAL;
    *limit = (unsigned)n;
    return 0;
}
