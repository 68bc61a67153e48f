// SPDX-License-Identifier: BSD-2-Clause
// Tables for people: cells are collected, then printed with columns as wide as needed.
#pragma once

#include "buf.h"

#include <stdbool.h>
#include <stdio.h>

enum { TABLE_COLUMNS_MAX = 12 };

struct table {
    const char *const *heads; // one or more, NULL-terminated; a leading '>' aligns right
    bool colour;
    struct buf cells; // NUL-separated text, each preceded by one byte of colour (0: none)
    size_t count;
};

// Adds one cell, row by row, left to right. `colour` is an SGR number or 0.
void table_cell(struct table *t, int colour, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
// Prints everything and releases the cells. 0, or -ENOMEM when a cell could not be kept.
int table_print(struct table *t, FILE *to);
