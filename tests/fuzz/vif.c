// SPDX-License-Identifier: BSD-2-Clause
/* The syntax of `vif`: no crash; what is accepted is what writing it and reading it again gives. */
#include "fuzz.h"

#include <stdarg.h>
#include <stdlib.h>

#include "internal.h"

int err_set(struct serai_error *err, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    err->code = code;
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    return code;
}

int err_sys(struct serai_error *err, int code, const char *fmt, ...)
{
    return err_set(err, code, "%s", fmt);
}

void serai_note(struct serai *s, enum serai_log_level level, const char *fmt, ...) {}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct serai_vif v, again;
    struct serai_error err = {0};
    static struct serai s;
    char *text = strndup((const char *)data, size), *out, *twice;

    if (serai_vif_parse(&s, text, &v, &err)) {
        FUZZ_ASSERT(err.code < 0 && *err.text);
        free(text);
        return 0;
    }
    free(text);
    FUZZ_ASSERT(!v.has_mac || !(v.mac[0] & 1));
    out = serai_vif_format(&v);
    FUZZ_ASSERT(serai_vif_parse(NULL, out, &again, &err) == 0);
    twice = serai_vif_format(&again);
    FUZZ_ASSERT(!strcmp(out, twice) && !memcmp(&v, &again, sizeof(v)));
    free(out);
    free(twice);
    return 0;
}
