// SPDX-License-Identifier: BSD-2-Clause
// Grant tables v1 and v2: a domain lets another map, copy or take over its pages.
#pragma once

#include "core/domain.h"

int __must_check grant_domain_init(struct domain *d, uint32_t max_frames, uint32_t max_maptrack,
                                   uint32_t max_version);
// Undo all mappings this domain made of others' pages (preemptible) ...
int __must_check grant_domain_relinquish(struct domain *d);
// ... and free the tables once no one maps its pages through them any more.
void grant_domain_destroy(struct domain *d);
unsigned int grant_domain_mappings(const struct domain *d); // live maptrack entries
// Frame n of the (shared or status) table, growing it if allowed: XENMEM_acquire_resource and
// add_to_physmap. 0 or -E.
int __must_check grant_get_frame(struct domain *d, bool status, unsigned int n, mfn_t *out);
// How many frames the (shared or status) table may grow to.
unsigned int grant_max_frames(const struct domain *d, bool status);
// A PTE mapped under a grant (host_map) is changed by the guest itself: see pv/grant.c.

// Supplied by x86: enter or remove a granted frame in current's page tables at `addr`
// (flags: GNTMAP_*; contains_pte: addr is the machine address of the PTE, else linear address).
// Returns GNTST_*. The TLB flush is the caller's (once per batch).
int16_t arch_grant_map(struct vcpu *v, uint64_t addr, mfn_t frame, uint32_t flags,
                       uint32_t cache_flags);
int16_t arch_grant_unmap(struct vcpu *v, uint64_t addr, mfn_t frame, uint64_t new_addr,
                         uint32_t flags);
void arch_grant_flush_tlb(struct domain *d); // after a batch of unmaps
