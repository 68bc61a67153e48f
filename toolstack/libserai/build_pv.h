// SPDX-License-Identifier: BSD-2-Clause
// Fills a new, empty domain with a 64-bit PV guest.
#pragma once

#include "image.h"

struct build_pv {
    struct serai *s;
    const struct serai_config *config;
    const struct image *image;
    uint32_t domain;
    uint32_t console_port; // the guest's end, made by the caller
    uint32_t store_port;   // the same for xenstore; 0: none is served
    bool exiting;          // leave mappings to the end of the process: see struct serai_create
    serai_progress_fn *progress;
    void *progress_ctx;
    struct serai_console console; // result
    uint64_t store_mfn;           // result
};

// Memory, kernel, ramdisk, page tables, start-of-day structures, grants of the console, first
// virtual CPU. On failure the domain is half-made and to be destroyed by the caller.
int build_pv(struct build_pv *b, struct serai_error *err);
// Is the configured memory enough for this kernel and ramdisk? Needs no domain.
int build_pv_check(const struct serai_config *c, const struct image *image,
                   struct serai_error *err);
