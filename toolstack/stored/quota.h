// SPDX-License-Identifier: BSD-2-Clause
// What one guest may use of the store. The control domain is not limited by these.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct limits {
    unsigned nodes;        // that a domain owns
    unsigned node_size;    // bytes of one node's value and permissions
    unsigned permissions;  // entries of one list
    unsigned path_length;  // bytes
    unsigned watches;      // of a connection
    unsigned transactions; // open at once
    unsigned tx_nodes;     // that one transaction reads or writes
    unsigned outstanding;  // events that wait to be read
    unsigned memory;       // bytes of all that together
};

// What a domain uses.
struct usage {
    unsigned nodes, watches, transactions;
    long bytes;
};

void limits_init(struct limits *l);
// One limit by the name that CONTROL and the command line use; NULL when there is none.
unsigned *limits_find(struct limits *l, const char *name);
// Name of the n-th, NULL at the end.
const char *limits_name(unsigned n);
// -EINVAL for an unknown name or a value that is no number up to 2^31-1.
int limits_set(struct limits *l, const char *name, const char *value);
