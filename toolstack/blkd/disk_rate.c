// SPDX-License-Identifier: BSD-2-Clause
#include "disk_rate.h"

#include <errno.h>
#include <stdlib.h>

enum { MILLI = 1000 };

void disk_rate_set(struct disk_rate *r, uint64_t bytes, uint64_t requests, uint64_t now_ms)
{
    *r = (struct disk_rate){.bytes = bytes < DISK_RATE_MAX ? bytes : 0,
                            .requests = requests < DISK_RATE_MAX ? requests : 0,
                            .filled_ms = now_ms};
    r->bytes_left = (int64_t)(r->bytes * DISK_RATE_BURST_MS);
    r->requests_left = (int64_t)(r->requests * DISK_RATE_BURST_MS);
}

static void rate_fill(int64_t *left, uint64_t rate, uint64_t elapsed_ms)
{
    int64_t most = (int64_t)(rate * DISK_RATE_BURST_MS);
    // A second at most, for the product; a debt can be larger than that, and takes more visits.
    uint64_t ms = elapsed_ms < MILLI ? elapsed_ms : MILLI;
    *left += (int64_t)(rate * ms);
    *left = *left < most ? *left : most;
}

static uint64_t rate_debt_ms(int64_t left, uint64_t rate)
{
    return !rate || left > 0 ? 0 : (uint64_t)-left / rate + 1;
}

uint64_t disk_rate_wait(struct disk_rate *r, uint64_t now_ms)
{
    if (!r->bytes && !r->requests)
        return 0;
    rate_fill(&r->bytes_left, r->bytes, now_ms - r->filled_ms);
    rate_fill(&r->requests_left, r->requests, now_ms - r->filled_ms);
    r->filled_ms = now_ms;
    uint64_t a = rate_debt_ms(r->bytes_left, r->bytes);
    uint64_t b = rate_debt_ms(r->requests_left, r->requests);
    a = a > b ? a : b;
    return a < MILLI / 2 ? a : MILLI / 2;
}

void disk_rate_use(struct disk_rate *r, uint64_t bytes)
{
    if (r->bytes)
        r->bytes_left -= (int64_t)(bytes * MILLI);
    if (r->requests)
        r->requests_left -= MILLI;
}

static bool rate_number(const char **text, uint64_t *out)
{
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    errno = 0;
    *out = strtoull(*text, &end, 10);
    *text = end;
    return !errno;
}

bool disk_rate_parse(const char *text, uint64_t *bytes, uint64_t *requests)
{
    return rate_number(&text, bytes) && *text++ == ' ' && rate_number(&text, requests) && !*text;
}
