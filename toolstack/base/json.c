// SPDX-License-Identifier: BSD-2-Clause
#include "json.h"

static void json_quote(struct buf *out, const char *text)
{
    buf_puts(out, "\"");
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_printf(out, "\\%c", *p);
        else if (*p < 0x20 || *p == 0x7f)
            buf_printf(out, "\\u%04x", *p);
        else
            buf_add(out, p, 1);
    }
    buf_puts(out, "\"");
}

static void json_lead(struct json *j, const char *key)
{
    if (j->comma)
        buf_puts(j->out, ",");
    if (j->depth)
        buf_printf(j->out, "\n%*s", (int)j->depth * 2, "");
    if (key) {
        json_quote(j->out, key);
        buf_puts(j->out, ": ");
    }
    j->comma = true;
}

void json_begin(struct json *j, const char *key, char bracket)
{
    json_lead(j, key);
    buf_add(j->out, &bracket, 1);
    j->depth++;
    j->comma = false;
}

void json_end(struct json *j, char bracket)
{
    j->depth--;
    if (j->comma)
        buf_printf(j->out, "\n%*s", (int)j->depth * 2, "");
    buf_add(j->out, &bracket, 1);
    j->comma = true;
    if (!j->depth)
        buf_puts(j->out, "\n");
}

void json_string(struct json *j, const char *key, const char *value)
{
    json_lead(j, key);
    json_quote(j->out, value);
}

void json_number(struct json *j, const char *key, uint64_t value)
{
    json_lead(j, key);
    buf_printf(j->out, "%llu", (unsigned long long)value);
}

void json_float(struct json *j, const char *key, double value)
{
    json_lead(j, key);
    buf_printf(j->out, "%.2f", value);
}

void json_bool(struct json *j, const char *key, bool value)
{
    json_lead(j, key);
    buf_puts(j->out, value ? "true" : "false");
}
