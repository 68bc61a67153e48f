// SPDX-License-Identifier: BSD-2-Clause
// A limit on what a disk does in a second: bytes transferred, requests, or both. What is allowed
// grows with time up to a tenth of a second's worth. A request starts while anything is left, and
// may use more than that: the debt is waited for before the next one, so that the rate holds
// exactly however large requests are.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct disk_rate {
    uint64_t bytes, requests;          // each second; 0: no limit
    int64_t bytes_left, requests_left; // thousandths
    uint64_t filled_ms;
};

enum { DISK_RATE_BURST_MS = 100 };
#define DISK_RATE_MAX (UINT64_C(1) << 40) // of either, so that nothing overflows

// Larger values than DISK_RATE_MAX are no limit.
void disk_rate_set(struct disk_rate *r, uint64_t bytes, uint64_t requests, uint64_t now_ms);
// Milliseconds until the next request may start; 0: now.
uint64_t disk_rate_wait(struct disk_rate *r, uint64_t now_ms);
// A request has started.
void disk_rate_use(struct disk_rate *r, uint64_t bytes);
// "BYTES REQUESTS", the node `rate-limit`; false when it is not that.
bool disk_rate_parse(const char *text, uint64_t *bytes, uint64_t *requests);
