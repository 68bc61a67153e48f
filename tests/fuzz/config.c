// SPDX-License-Identifier: BSD-2-Clause
/* Guest configurations and the records made of them: no crash, every refusal has its text; a record
 * that was read is written so that it reads the same. */
#include "fuzz.h"

#include "buf.h"
#include "serai.h"
#include "state.h"

static const char base[] = "name = \"a\"\nkernel = \"/k\"\nmemory = 64\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct serai *s;
    struct serai_options options = {.state_dir = "/nowhere"};
    struct serai_error err = {0};
    struct state_record r = {0}, again = {0};
    BUF_AUTO first = {0}, second = {0};

    if (!s) {
        FUZZ_ASSERT(!serai_open(&s, &options, &err));
    }
    /* Most begin as a sound one does, or few would get far. */
    bool sound = size && data[0] % 4;
    size_t skip = sound ? sizeof(base) - 1 : 0;
    char *text = malloc(skip + size + 1);
    memcpy(text, base, skip);
    memcpy(text + skip, data, size);
    text[skip + size] = '\0';
    size += skip;
    if (config_parse_text(s, "f", text, size, &r, &err)) {
        FUZZ_ASSERT(err.code < 0 && *err.text);
        free(text);
        return 0;
    }
    free(text);
    config_write(r.config, &first);
    buf_printf(&first, "console_mfn = %llu\nconsole_port = %u\n", (unsigned long long)r.console.mfn,
               r.console.port);
    if (config_parse_text(s, "f", first.data, first.len, &again, &err)) {
        printf("%s: %s\n", first.data, err.text);
        FUZZ_ASSERT(false);
    }
    config_write(again.config, &second);
    buf_printf(&second, "console_mfn = %llu\nconsole_port = %u\n",
               (unsigned long long)again.console.mfn, again.console.port);
    if (first.len != second.len || memcmp(first.data, second.data, first.len)) {
        printf("%s\n----\n%s\n", first.data, second.data);
        FUZZ_ASSERT(false);
    }
    serai_config_free(r.config);
    serai_config_free(again.config);
    return 0;
}
