// SPDX-License-Identifier: BSD-2-Clause
// Guest configuration files in the syntax of xl.cfg(5): `key = value` lines with strings,
// numbers and (nested) lists, `key += value`, comments from # to the end of the line.
//
// Parsing yields a tree that remembers where everything stood, so that whoever finds a
// value wrong later can still say file:line:column. No locks: one owner.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cfg_type {
    CFG_NUMBER = 1 << 0,
    CFG_STRING = 1 << 1,
    CFG_LIST = 1 << 2,
};

struct cfg_pos {
    unsigned line, column; // from 1
};

struct cfg_value {
    enum cfg_type type;
    struct cfg_pos pos;
    int64_t number;          // CFG_NUMBER
    char *string;            // CFG_STRING
    struct cfg_value *items; // CFG_LIST
    size_t count;
};

struct cfg_entry {
    char *key;
    struct cfg_pos pos;
    unsigned source; // index of the text it came from: see cfg_source()
    struct cfg_value value;
};

struct cfg;

struct cfg_error {
    char text[512]; // "file:line:column: what is wrong"
};

enum { CFG_SIZE_MAX = 1 << 20, CFG_DEPTH_MAX = 16 };

// An empty configuration; NULL without memory.
struct cfg *cfg_new(void);
void cfg_free(struct cfg *c);

// Parses a text into `c`; a key given again replaces the earlier value. `name` stands for the
// file in messages. On failure (-EINVAL, -ENOMEM) `c` holds what came before the mistake.
int cfg_parse(struct cfg *c, const char *name, const char *text, size_t len, struct cfg_error *err);
// Parses one `key=value` argument of a command line, where a value that is no number, list or
// quoted string is taken as a string as it stands.
int cfg_parse_argument(struct cfg *c, const char *argument, struct cfg_error *err);

size_t cfg_count(const struct cfg *c);
const struct cfg_entry *cfg_at(const struct cfg *c, size_t index);
// NULL when the key was not given.
const struct cfg_entry *cfg_find(const struct cfg *c, const char *key);
// The file name given for this entry.
const char *cfg_source(const struct cfg *c, const struct cfg_entry *e);
// Removes a key; nothing happens when it is absent.
void cfg_remove(struct cfg *c, const char *key);

// Formats "file:line:column: ..." about an entry (or a value inside it) and returns -EINVAL.
int cfg_fail(const struct cfg *c, const struct cfg_entry *e, const struct cfg_value *v,
             struct cfg_error *err, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

// Typed reading. Each returns 0 and leaves *out alone when the key is absent, -EINVAL with a
// message when the value has another type or is out of range. Numbers in strings are numbers.
int cfg_get_number(const struct cfg *c, const char *key, int64_t min, int64_t max, int64_t *out,
                   struct cfg_error *err);
// *out points into `c`.
int cfg_get_string(const struct cfg *c, const char *key, const char **out, struct cfg_error *err);

// "a number", "a string", "a list".
const char *cfg_type_name(enum cfg_type type);

// One key that a program knows.
struct cfg_key {
    const char *name;
    unsigned types;   // enum cfg_type bits it may have
    bool unsupported; // known, but has no effect yet: see cfg_check
};
typedef void cfg_warn_fn(void *ctx, const char *text);

// Checks every key against the table (`count` rows): an unknown key or a wrong type is an
// error, an unsupported one is told to `warn` (may be NULL).
int cfg_check(const struct cfg *c, const struct cfg_key *keys, size_t count, cfg_warn_fn *warn,
              void *ctx, struct cfg_error *err);

struct buf;
// Writes the entries back as text that cfg_parse() reads to the same tree.
void cfg_write(const struct cfg *c, struct buf *out);
// Writes one quoted string, or one `key = "value"` line.
void cfg_write_string(struct buf *out, const char *value);
