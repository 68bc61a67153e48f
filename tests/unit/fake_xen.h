// SPDX-License-Identifier: BSD-2-Clause
/*
 * A hypervisor in the test's own process: it stands behind libxencall and libxenforeignmemory, so
 * that libserai's real code makes, lists and destroys domains in it. It checks what a real one
 * would: frames belong to the domain that is mapped, page tables are not mapped when they are
 * pinned, every table is read-only to the guest.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FAKE_DOMAINS 64
#define FAKE_CPUS    4
#ifndef FAKE_FRAMES
#define FAKE_FRAMES (64 * 256) /* machine memory: 64 MiB */
#endif

struct fake_domain {
    bool alive;
    bool paused;
    uint8_t handle[16];
    uint32_t max_vcpus, shutdown; /* shutdown: reason + 1, 0: runs */
    uint64_t max_kb, pages, claimed;
    uint64_t root; /* pinned L4, 0: none */
    uint64_t rip, rsi;
    unsigned ports;
    uint16_t weight, cap;
    uint8_t affinity[128], soft[128];
    uint8_t nodes; /* its node affinity */
    uint64_t shared_info;
    uint64_t hypercall_mfn;
};

extern struct fake_domain fake_domain[FAKE_DOMAINS];
/* Hypercalls and mappings since the last reset; the one with this number fails with fake_errno. */
extern unsigned fake_calls, fake_fail_at;
extern int fake_errno;
extern unsigned fake_nodes;
extern unsigned fake_mapped; /* pages mapped now */
/* Numbers are not used again before all others were, as with a real one; else the lowest is. */
extern bool fake_rotate;

/* Counts one entry; true, with errno set, when this is the one that has to fail. */
bool fake_failing(void);
void fake_reset(void);
/* Frames that belong to nobody. */
uint64_t fake_free(void);
unsigned fake_alive(void);
/* Which domain has a frame, 0xffff: none. */
unsigned fake_owner(uint64_t mfn);
/* A frame's memory. */
void *fake_frame(uint64_t mfn);
