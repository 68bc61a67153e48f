// SPDX-License-Identifier: BSD-2-Clause
// A domain's nodes in xenstore, as Xen's document "xenstore-paths" names them:
//   /local/domain/N   the domain's home, readable to it
//   /vm/UUID          for the toolstack
//   /libxl/N          for toolstacks; the trustworthy list of the domain's devices is in it
#pragma once

#include "store.h"

struct store_domain {
    const struct serai_config *config;
    uint32_t domain;
    uint32_t store_port; // the guest's ends
    uint64_t store_mfn;
    uint32_t console_port;
    uint64_t console_mfn;
};

// Writes all nodes in one transaction (what an earlier domain of that number left goes first) and
// introduces the domain to the daemon.
int store_domain_add(struct serai *s, const struct store_domain *d, struct serai_error *err);
// Takes away every node of the domain, its devices' backends included, and releases it. Nothing
// happens without a daemon. `uuid` may be NULL. 0, or the first error: some may be left then.
int store_domain_remove(struct serai *s, uint32_t domain, const uint8_t *uuid);
int store_domain_rename(struct serai *s, uint32_t domain, const char *name,
                        struct serai_error *err);
// Points the domain to another /vm/UUID, under a new name.
int store_domain_set_uuid(struct serai *s, uint32_t domain, const uint8_t old[16],
                          const uint8_t uuid[16], const char *name, struct serai_error *err);
// The name that a toolstack gave, cleaned of what does not belong on a terminal. False: none.
bool store_domain_name(struct serai *s, uint32_t domain, char name[SERAI_NAME_MAX + 1]);
