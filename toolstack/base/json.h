// SPDX-License-Identifier: BSD-2-Clause
// A writer of JSON text into a buffer: commas, quoting and nesting done here. Values
// inside an object are given a key, inside an array NULL.
#pragma once

#include "buf.h"

#include <stdbool.h>
#include <stdint.h>

struct json {
    struct buf *out;
    bool comma;     // something stands before the next value at this level
    unsigned depth; // for indentation
};

void json_begin(struct json *j, const char *key, char bracket); // '{' or '['
void json_end(struct json *j, char bracket);                    // '}' or ']'
void json_string(struct json *j, const char *key, const char *value);
void json_number(struct json *j, const char *key, uint64_t value);
void json_float(struct json *j, const char *key, double value);
void json_bool(struct json *j, const char *key, bool value);
