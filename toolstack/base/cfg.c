// SPDX-License-Identifier: BSD-2-Clause
// The tree of a configuration: storage, reading with types, checking against a table, writing.
#include "cfg.h"

#include "buf.h"
#include "cfg_internal.h"
#include "suggest.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cfg *cfg_new(void)
{
    return calloc(1, sizeof(struct cfg));
}

void cfg_value_free(struct cfg_value *v)
{
    free(v->string);
    for (size_t i = 0; i < v->count; i++)
        cfg_value_free(&v->items[i]);
    free(v->items);
    *v = (struct cfg_value){0};
}

void cfg_free(struct cfg *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++) {
        free(c->entries[i].key);
        cfg_value_free(&c->entries[i].value);
    }
    for (unsigned i = 0; i < c->source_count; i++)
        free(c->sources[i]);
    free(c->sources);
    free(c->entries);
    free(c);
}

size_t cfg_count(const struct cfg *c)
{
    return c->count;
}

const struct cfg_entry *cfg_at(const struct cfg *c, size_t index)
{
    return index < c->count ? &c->entries[index] : NULL;
}

static struct cfg_entry *cfg_find_len(const struct cfg *c, const char *key, size_t len)
{
    for (size_t i = 0; i < c->count; i++)
        if (!strncmp(c->entries[i].key, key, len) && !c->entries[i].key[len])
            return &c->entries[i];
    return NULL;
}

const struct cfg_entry *cfg_find(const struct cfg *c, const char *key)
{
    return cfg_find_len(c, key, strlen(key));
}

const char *cfg_source(const struct cfg *c, const struct cfg_entry *e)
{
    return e->source < c->source_count ? c->sources[e->source] : "?";
}

void cfg_remove(struct cfg *c, const char *key)
{
    struct cfg_entry *e = cfg_find_len(c, key, strlen(key));
    if (!e)
        return;
    free(e->key);
    cfg_value_free(&e->value);
    size_t index = (size_t)(e - c->entries);
    memmove(e, e + 1, (c->count - index - 1) * sizeof(*e));
    c->count--;
}

static int cfg_join(struct cfg_value *to, struct cfg_value *v)
{
    if (to->type != v->type || to->type == CFG_NUMBER)
        return -EINVAL;
    if (to->type == CFG_STRING) {
        size_t old = strlen(to->string), add = strlen(v->string);
        char *s = realloc(to->string, old + add + 1);
        if (!s)
            return -ENOMEM;
        memcpy(s + old, v->string, add + 1);
        to->string = s;
        cfg_value_free(v);
        return 0;
    }
    if (v->count) {
        struct cfg_value *items = realloc(to->items, (to->count + v->count) * sizeof(*items));
        if (!items)
            return -ENOMEM;
        memcpy(items + to->count, v->items, v->count * sizeof(*items));
        to->items = items;
        to->count += v->count;
        v->count = 0; // moved
    }
    cfg_value_free(v);
    return 0;
}

int cfg_put(struct cfg *c, const char *key, size_t key_len, struct cfg_pos pos, unsigned source,
            struct cfg_value *v, bool append)
{
    int ret = -ENOMEM;
    struct cfg_entry *e = cfg_find_len(c, key, key_len);
    if (e && append) {
        ret = cfg_join(&e->value, v);
        if (ret)
            goto out_free;
        return 0;
    }
    if (!e) {
        if (c->count == c->cap) {
            size_t cap = c->cap ? c->cap * 2 : 16;
            struct cfg_entry *entries = realloc(c->entries, cap * sizeof(*entries));
            if (!entries)
                goto out_free;
            c->entries = entries;
            c->cap = cap;
        }
        char *copy = strndup(key, key_len);
        if (!copy)
            goto out_free;
        e = &c->entries[c->count++];
        *e = (struct cfg_entry){.key = copy};
    }
    cfg_value_free(&e->value);
    e->value = *v;
    e->pos = pos;
    e->source = source;
    return 0;

out_free:
    cfg_value_free(v);
    return ret;
}

const char *cfg_type_name(enum cfg_type type)
{
    switch (type) {
    case CFG_NUMBER:
        return "a number";
    case CFG_STRING:
        return "a string";
    case CFG_LIST:
        return "a list";
    }
    return "nothing";
}

int cfg_fail(const struct cfg *c, const struct cfg_entry *e, const struct cfg_value *v,
             struct cfg_error *err, const char *fmt, ...)
{
    if (!err)
        return -EINVAL;
    struct cfg_pos pos = v ? v->pos : e->pos;
    int n = snprintf(err->text, sizeof(err->text), "%s:%u:%u: ", cfg_source(c, e), pos.line,
                     pos.column);
    if (n < 0 || (size_t)n >= sizeof(err->text))
        return -EINVAL;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text + n, sizeof(err->text) - (size_t)n, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static bool cfg_string_number(const char *s, int64_t *out)
{
    char *end;
    errno = 0;
    long long n = strtoll(s, &end, 0);
    if (errno || end == s || *end)
        return false;
    *out = n;
    return true;
}

int cfg_get_number(const struct cfg *c, const char *key, int64_t min, int64_t max, int64_t *out,
                   struct cfg_error *err)
{
    const struct cfg_entry *e = cfg_find(c, key);
    if (!e)
        return 0;
    const struct cfg_value *v = &e->value;
    int64_t n = v->number;
    if (v->type == CFG_STRING && !cfg_string_number(v->string, &n))
        return cfg_fail(c, e, v, err, "%s: expected a number, got the string \"%.60s\"", key,
                        v->string);
    if (v->type == CFG_LIST)
        return cfg_fail(c, e, v, err, "%s: expected a number, got a list", key);
    if (n < min || n > max)
        return cfg_fail(c, e, v, err, "%s: %lld is out of range (%lld to %lld)", key, (long long)n,
                        (long long)min, (long long)max);
    *out = n;
    return 0;
}

int cfg_get_string(const struct cfg *c, const char *key, const char **out, struct cfg_error *err)
{
    const struct cfg_entry *e = cfg_find(c, key);
    if (!e)
        return 0;
    if (e->value.type != CFG_STRING)
        return cfg_fail(c, e, &e->value, err, "%s: expected a string, got %s", key,
                        cfg_type_name(e->value.type));
    *out = e->value.string;
    return 0;
}

// "a number or a string", for messages.
static const char *cfg_types_text(unsigned types, char *text, size_t size)
{
    static const enum cfg_type order[] = {CFG_NUMBER, CFG_STRING, CFG_LIST};
    text[0] = '\0';
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        if (!(types & order[i]))
            continue;
        size_t len = strlen(text);
        snprintf(text + len, size - len, "%s%s", len ? " or " : "", cfg_type_name(order[i]));
    }
    return text;
}

// The row of the table for a key; NULL and a message when there is none or the type is wrong.
static const struct cfg_key *cfg_known(const struct cfg *c, const struct cfg_entry *e,
                                       const struct cfg_key *keys, size_t count,
                                       struct cfg_error *err)
{
    struct suggest s = {.word = e->key};
    const struct cfg_key *found = NULL;
    for (size_t i = 0; i < count && !found; i++) {
        if (!strcmp(keys[i].name, e->key))
            found = &keys[i];
        suggest_offer(&s, keys[i].name);
    }
    if (!found && s.best) {
        cfg_fail(c, e, NULL, err, "unknown key \"%.60s\"; did you mean \"%s\"?", e->key, s.best);
    } else if (!found) {
        cfg_fail(c, e, NULL, err, "unknown key \"%.60s\"", e->key);
    } else if (!(found->types & e->value.type)) {
        char text[64];
        cfg_fail(c, e, &e->value, err, "%s: expected %s, got %s", e->key,
                 cfg_types_text(found->types, text, sizeof(text)), cfg_type_name(e->value.type));
        return NULL;
    }
    return found;
}

int cfg_check(const struct cfg *c, const struct cfg_key *keys, size_t count, cfg_warn_fn *warn,
              void *ctx, struct cfg_error *err)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct cfg_entry *e = &c->entries[i];
        const struct cfg_key *key = cfg_known(c, e, keys, count, err);
        if (!key)
            return -EINVAL;
        if (key->unsupported && warn) {
            struct cfg_error note;
            cfg_fail(c, e, NULL, &note, "\"%s\" is not supported yet and has no effect", e->key);
            warn(ctx, note.text);
        }
    }
    return 0;
}

void cfg_write_string(struct buf *out, const char *value)
{
    buf_puts(out, "\"");
    for (const char *p = value; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_puts(out, "\\");
        if (*p == '\n')
            buf_puts(out, "\\n");
        else if (*p == '\t')
            buf_puts(out, "\\t");
        else
            buf_add(out, p, 1);
    }
    buf_puts(out, "\"");
}

static void cfg_write_value(const struct cfg_value *v, struct buf *out)
{
    if (v->type == CFG_NUMBER) {
        buf_printf(out, "%lld", (long long)v->number);
    } else if (v->type == CFG_STRING) {
        cfg_write_string(out, v->string);
    } else {
        buf_puts(out, "[");
        for (size_t i = 0; i < v->count; i++) {
            buf_puts(out, i ? ", " : " ");
            cfg_write_value(&v->items[i], out);
        }
        buf_puts(out, " ]");
    }
}

void cfg_write(const struct cfg *c, struct buf *out)
{
    for (size_t i = 0; i < c->count; i++) {
        buf_printf(out, "%s = ", c->entries[i].key);
        cfg_write_value(&c->entries[i].value, out);
        buf_puts(out, "\n");
    }
}
