// SPDX-License-Identifier: BSD-2-Clause
// Packet filter and address translation of the kernel (nf_tables), programmed over netlink.
// Changes are collected in a row and take effect together, or not at all. No locks: one owner.
#pragma once

#include "buf.h"
#include "netlink.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

enum { NFT_SET_IFNAME_KEY = NETLINK_IFNAME_SIZE };

struct nft {
    struct buf row;
    uint32_t seq;
    size_t last;    // where the newest message of the row begins
    uint8_t family; // NFPROTO_*: of all that follows
    const char *table;
    bool failed;
    struct netlink_msg rule; // the one being written
    struct nlattr *expressions;
    char text[192]; // the kernel's words when a commit failed
};

// Begins a row of changes to a table. nft_commit or nft_drop ends it.
void nft_begin(struct nft *t, uint8_t family, const char *table);
// Changes family and table for what follows.
void nft_use(struct nft *t, uint8_t family, const char *table);
// 0 or -errno; then nothing has changed.
int nft_commit(struct nft *t);
void nft_drop(struct nft *t);

// Whether the table exists: 0, -ENOENT or another -errno.
int nft_table_find(uint8_t family, const char *table);
void nft_table_add(struct nft *t);
void nft_table_delete(struct nft *t); // with all that is in it

struct nft_hook {
    const char *type; // "filter", "nat"
    uint32_t number;  // NF_INET_*, NF_BR_*
    int32_t priority;
};
// `hook` NULL: a chain to jump to.
void nft_chain_add(struct nft *t, const char *chain, const struct nft_hook *hook);
void nft_chain_delete(struct nft *t, const char *chain); // with its rules

// A set of interface names; as a map it leads from each to a chain.
void nft_names_add(struct nft *t, const char *set, bool map);
// `chain` NULL for sets.
void nft_name_add(struct nft *t, const char *set, const char *ifname, const char *chain);
void nft_name_delete(struct nft *t, const char *set, const char *ifname);

// Rules: expressions in order between these two; they use one register.
void nft_rule_begin(struct nft *t, const char *chain);
void nft_rule_end(struct nft *t);
void nft_meta(struct nft *t, enum nft_meta_keys key);
void nft_payload(struct nft *t, enum nft_payload_bases base, unsigned offset, unsigned len);
void nft_ct_state(struct nft *t);
void nft_mask(struct nft *t, const void *mask, unsigned len);
void nft_cmp(struct nft *t, enum nft_cmp_ops op, const void *data, unsigned len);
void nft_in(struct nft *t, const char *set, bool negate); // the register is (not) in the set
void nft_jump_by(struct nft *t, const char *map);
void nft_verdict(struct nft *t, int code); // NF_DROP, NF_ACCEPT, NFT_RETURN
void nft_masquerade(struct nft *t);
