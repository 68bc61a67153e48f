// SPDX-License-Identifier: BSD-2-Clause
// From text to tree: a recursive-descent parser with one character of look-ahead.
#include "cfg.h"

#include "buf.h"
#include "cfg_internal.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cfg_parser {
    struct cfg *cfg;
    const char *name;
    const char *at, *end;
    const char *line_start;
    unsigned line;
    unsigned source;
    unsigned depth;
    struct cfg_error *err;
};

static struct cfg_pos cfg_here(const struct cfg_parser *p)
{
    return (struct cfg_pos){p->line, (unsigned)(p->at - p->line_start) + 1};
}

__attribute__((format(printf, 3, 4))) static int
cfg_syntax(struct cfg_parser *p, struct cfg_pos pos, const char *fmt, ...)
{
    if (!p->err)
        return -EINVAL;
    char *text = p->err->text;
    size_t size = sizeof(p->err->text);
    int n = snprintf(text, size, "%s:%u:%u: ", p->name, pos.line, pos.column);
    if (n < 0 || (size_t)n >= size)
        return -EINVAL;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text + n, size - (size_t)n, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static int cfg_no_memory(struct cfg_parser *p)
{
    cfg_syntax(p, cfg_here(p), "out of memory");
    return -ENOMEM;
}

// The next character, or -1 at the end.
static int cfg_peek(const struct cfg_parser *p)
{
    return p->at < p->end ? (unsigned char)*p->at : -1;
}

static void cfg_next(struct cfg_parser *p)
{
    if (*p->at++ == '\n') {
        p->line++;
        p->line_start = p->at;
    }
}

// Skips blanks and comments; newlines too when `lines`.
static void cfg_skip(struct cfg_parser *p, bool lines)
{
    for (int ch; (ch = cfg_peek(p)) >= 0;) {
        if (ch == '#') {
            while (cfg_peek(p) >= 0 && cfg_peek(p) != '\n')
                cfg_next(p);
        } else if (ch == ' ' || ch == '\t' || ch == '\r' || (lines && ch == '\n')) {
            cfg_next(p);
        } else {
            return;
        }
    }
}

// How a character is shown in a message.
static const char *cfg_show(int ch, char text[16])
{
    if (ch < 0)
        snprintf(text, 16, "the end");
    else if (ch == '\n')
        snprintf(text, 16, "end of line");
    else if (isprint(ch))
        snprintf(text, 16, "'%c'", ch);
    else
        snprintf(text, 16, "byte 0x%02x", (unsigned)ch);
    return text;
}

static int cfg_hex_escape(struct cfg_parser *p, struct cfg_pos pos, char *out)
{
    int value = 0;
    for (int i = 0; i < 2; i++) {
        int ch = cfg_peek(p);
        if (!isxdigit(ch))
            return cfg_syntax(p, pos, "\\x needs two hexadecimal digits");
        value = value * 16 + (isdigit(ch) ? ch - '0' : tolower(ch) - 'a' + 10);
        cfg_next(p);
    }
    if (!value)
        return cfg_syntax(p, pos, "a string cannot hold a NUL byte");
    *out = (char)value;
    return 0;
}

static int cfg_escape(struct cfg_parser *p, char *out)
{
    struct cfg_pos pos = cfg_here(p);
    cfg_next(p); // the backslash
    int ch = cfg_peek(p);
    if (ch < 0 || ch == '\n')
        return cfg_syntax(p, pos, "the string does not end on this line");
    cfg_next(p);
    switch (ch) {
    case 'n':
        *out = '\n';
        return 0;
    case 't':
        *out = '\t';
        return 0;
    case 'r':
        *out = '\r';
        return 0;
    case 'x':
        return cfg_hex_escape(p, pos, out);
    case '\\':
    case '"':
    case '\'':
        *out = (char)ch;
        return 0;
    }
    char text[16];
    return cfg_syntax(p, pos, "unknown escape: %s after a backslash", cfg_show(ch, text));
}

static int cfg_string(struct cfg_parser *p, struct cfg_value *v)
{
    struct cfg_pos start = cfg_here(p);
    int quote = cfg_peek(p);
    BUF_AUTO text = {0};
    cfg_next(p);
    for (;;) {
        int ch = cfg_peek(p);
        char byte = (char)ch;
        if (ch < 0 || ch == '\n')
            return cfg_syntax(p, start, "the string that starts here has no closing %c", quote);
        if (ch == 0)
            return cfg_syntax(p, cfg_here(p), "a string cannot hold a NUL byte");
        if (ch == quote)
            break;
        if (ch == '\\') {
            int ret = cfg_escape(p, &byte);
            if (ret)
                return ret;
        } else {
            cfg_next(p);
        }
        if (buf_add(&text, &byte, 1))
            return cfg_no_memory(p);
    }
    cfg_next(p);
    v->type = CFG_STRING;
    v->string = buf_take(&text);
    return v->string ? 0 : cfg_no_memory(p);
}

static int cfg_number(struct cfg_parser *p, struct cfg_value *v)
{
    struct cfg_pos start = cfg_here(p);
    char digits[32];
    size_t len = 0;
    while (isalnum(cfg_peek(p)) || cfg_peek(p) == '_' || cfg_peek(p) == '.' ||
           (!len && (cfg_peek(p) == '-' || cfg_peek(p) == '+'))) {
        if (len == sizeof(digits) - 1)
            return cfg_syntax(p, start, "the number is too long");
        digits[len++] = *p->at;
        cfg_next(p);
    }
    digits[len] = '\0';
    char *end;
    errno = 0;
    v->number = strtoll(digits, &end, 0);
    if (errno == ERANGE)
        return cfg_syntax(p, start, "the number %s is too large", digits);
    if (!len || *end || end == digits)
        return cfg_syntax(p, start, "\"%s\" is not a number (a string needs quotes)", digits);
    v->type = CFG_NUMBER;
    return 0;
}

static int cfg_value(struct cfg_parser *p, struct cfg_value *v);

static int cfg_list_item(struct cfg_parser *p, struct cfg_value *v)
{
    if (!(v->count & (v->count - 1))) { // grow at powers of two
        size_t cap = v->count ? v->count * 2 : 1;
        struct cfg_value *items = realloc(v->items, cap * sizeof(*items));
        if (!items)
            return cfg_no_memory(p);
        v->items = items;
    }
    struct cfg_value item = {0};
    int ret = cfg_value(p, &item);
    if (ret) {
        cfg_value_free(&item);
        return ret;
    }
    v->items[v->count++] = item;
    return 0;
}

static int cfg_list(struct cfg_parser *p, struct cfg_value *v)
{
    struct cfg_pos start = cfg_here(p);
    char text[16];
    v->type = CFG_LIST;
    if (p->depth >= CFG_DEPTH_MAX)
        return cfg_syntax(p, start, "lists are nested more than %d deep", CFG_DEPTH_MAX);
    p->depth++;
    cfg_next(p);
    for (;;) {
        cfg_skip(p, true);
        if (cfg_peek(p) == ']')
            break;
        if (cfg_peek(p) < 0)
            return cfg_syntax(p, start, "the list that starts here has no closing ]");
        int ret = cfg_list_item(p, v);
        if (ret)
            return ret;
        cfg_skip(p, true);
        if (cfg_peek(p) == ',') {
            cfg_next(p);
        } else if (cfg_peek(p) < 0) {
            return cfg_syntax(p, start, "the list that starts here has no closing ]");
        } else if (cfg_peek(p) != ']') {
            return cfg_syntax(p, cfg_here(p), "expected , or ] in the list, found %s",
                              cfg_show(cfg_peek(p), text));
        }
    }
    cfg_next(p);
    p->depth--;
    return 0;
}

static int cfg_value(struct cfg_parser *p, struct cfg_value *v)
{
    int ch = cfg_peek(p);
    char text[16];
    v->pos = cfg_here(p);
    if (ch == '"' || ch == '\'')
        return cfg_string(p, v);
    if (ch == '[')
        return cfg_list(p, v);
    if (isalnum(ch) || ch == '-' || ch == '+' || ch == '_')
        return cfg_number(p, v);
    return cfg_syntax(p, v->pos, "expected a value, found %s", cfg_show(ch, text));
}

static int cfg_setting(struct cfg_parser *p)
{
    struct cfg_pos pos = cfg_here(p);
    const char *key = p->at;
    char text[16];
    if (!isalpha(cfg_peek(p)) && cfg_peek(p) != '_')
        return cfg_syntax(p, pos, "expected a key, found %s", cfg_show(cfg_peek(p), text));
    while (isalnum(cfg_peek(p)) || cfg_peek(p) == '_')
        cfg_next(p);
    size_t key_len = (size_t)(p->at - key);
    int shown = key_len > 60 ? 60 : (int)key_len;

    cfg_skip(p, false);
    bool append = cfg_peek(p) == '+';
    if (append)
        cfg_next(p);
    if (cfg_peek(p) != '=')
        return cfg_syntax(p, cfg_here(p), "expected = after \"%.*s\", found %s", shown, key,
                          cfg_show(cfg_peek(p), text));
    cfg_next(p);
    cfg_skip(p, false);

    struct cfg_value v = {0};
    int ret = cfg_value(p, &v);
    if (ret) {
        cfg_value_free(&v);
        return ret;
    }
    ret = cfg_put(p->cfg, key, key_len, pos, p->source, &v, append);
    if (ret == -EINVAL)
        return cfg_syntax(p, pos, "%.*s: += joins two strings or two lists", shown, key);
    if (ret)
        return cfg_no_memory(p);

    cfg_skip(p, false);
    if (cfg_peek(p) == ';' || cfg_peek(p) == '\n') {
        cfg_next(p);
        return 0;
    }
    if (cfg_peek(p) >= 0)
        return cfg_syntax(p, cfg_here(p),
                          "expected the end of the line after the value of "
                          "\"%.*s\", found %s",
                          shown, key, cfg_show(cfg_peek(p), text));
    return 0;
}

static int cfg_add_source(struct cfg *c, const char *name)
{
    char **sources = realloc(c->sources, (c->source_count + 1) * sizeof(*sources));
    if (!sources)
        return -ENOMEM;
    c->sources = sources;
    sources[c->source_count] = strdup(name);
    if (!sources[c->source_count])
        return -ENOMEM;
    c->source_count++;
    return 0;
}

int cfg_parse(struct cfg *c, const char *name, const char *text, size_t len, struct cfg_error *err)
{
    struct cfg_parser p = {.cfg = c,
                           .name = name,
                           .at = text,
                           .end = text + len,
                           .line_start = text,
                           .line = 1,
                           .source = c->source_count,
                           .err = err};
    if (len > CFG_SIZE_MAX)
        return cfg_syntax(&p, cfg_here(&p), "the file is larger than %d bytes", CFG_SIZE_MAX);
    if (cfg_add_source(c, name))
        return cfg_no_memory(&p);
    for (;;) {
        cfg_skip(&p, true);
        if (cfg_peek(&p) == ';') {
            cfg_next(&p);
            continue;
        }
        if (cfg_peek(&p) < 0)
            return 0;
        int ret = cfg_setting(&p);
        if (ret)
            return ret;
    }
}

// Would the parser take this for a number, a quoted string or a list?
static bool cfg_looks_typed(const char *value)
{
    char *end;
    if (*value == '"' || *value == '\'' || *value == '[')
        return true;
    (void)strtoll(value, &end, 0);
    return end != value && !*end;
}

int cfg_parse_argument(struct cfg *c, const char *argument, struct cfg_error *err)
{
    const char *name = "command line";
    const char *eq = strchr(argument, '=');
    if (!eq || cfg_looks_typed(eq + 1))
        return cfg_parse(c, name, argument, strlen(argument), err);

    BUF_AUTO text = {0};
    buf_add(&text, argument, (size_t)(eq - argument) + 1);
    cfg_write_string(&text, eq + 1);
    if (text.failed) {
        snprintf(err->text, sizeof(err->text), "out of memory");
        return -ENOMEM;
    }
    return cfg_parse(c, name, text.data, text.len, err);
}
