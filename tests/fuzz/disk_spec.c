// SPDX-License-Identifier: BSD-2-Clause
/* The syntax of `disk`: no crash, every refusal has its text; what is accepted is what writing it
 * and reading it again gives. */
#include "fuzz.h"

#include "internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct serai_disk d, again;
    struct serai_error err = {0};
    static const char *const begins[] = {"", "/a,raw,xvda,", "vdev=hdc,access=ro,", "target=/b,"};
    char *rest = strndup((const char *)data + (size != 0), size ? size - 1 : 0), *text;

    FUZZ_ASSERT(asprintf(&text, "%s%s", begins[size ? data[0] % 4 : 0], rest) >= 0);
    free(rest);

    if (serai_disk_parse(text, &d, &err)) {
        FUZZ_ASSERT(err.code < 0 && *err.text);
        free(text);
        return 0;
    }
    char *out = serai_disk_text(&d);
    FUZZ_ASSERT(d.target || d.cdrom);
    FUZZ_ASSERT(!d.target || *d.target == '/');
    FUZZ_ASSERT(out && serai_disk_parse(out, &again, &err) == 0);
    char *twice = serai_disk_text(&again);
    FUZZ_ASSERT(!strcmp(out, twice));
    FUZZ_ASSERT(d.devid == again.devid && d.readonly == again.readonly && d.cdrom == again.cdrom &&
                d.shared == again.shared && d.format == again.format && d.backend == again.backend);
    FUZZ_ASSERT(!d.target == !again.target && (!d.target || !strcmp(d.target, again.target)));
    serai_disk_clear(&d);
    serai_disk_clear(&again);
    free(twice);
    free(out);
    free(text);
    return 0;
}
