// SPDX-License-Identifier: BSD-2-Clause
// The machine: what runs it, and how much of it is free.
#include <inttypes.h>
#include <serai.h>
#include <stdio.h>

int main(void)
{
    struct serai *s;
    struct serai_host host;
    struct serai_error err;
    if (serai_open(&s, NULL, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    int ret = serai_host_get(s, &host, &err);
    if (ret)
        fprintf(stderr, "%s\n", err.text);
    else
        printf("interface %u.%u, %u CPUs, %" PRIu64 " of %" PRIu64 " MB free\n", host.version_major,
               host.version_minor, host.nr_cpus, host.free_pages / 256, host.total_pages / 256);
    serai_close(s);
    return ret != 0;
}
