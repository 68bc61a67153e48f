// SPDX-License-Identifier: BSD-2-Clause
// The state of the machine and its guests in the text format of Prometheus (version 0.0.4).
#pragma once

#include "buf.h"
#include "serai.h"

struct metrics {
    const struct serai_host *host;
    const struct serai_domain *domains;
    size_t nr_domains;
    const struct serai_usage *usage;
    size_t nr_usage;
};

// Appends all of it: each family once, with HELP and TYPE before its samples.
void metrics_write(const struct metrics *m, struct buf *out);
// A label's value with \, " and line ends escaped, in quotes.
void metrics_label(struct buf *out, const char *value);
