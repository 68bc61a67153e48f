// SPDX-License-Identifier: BSD-2-Clause
// Serai's part of the packet filter: one table for what is routed (inet), one for what is bridged.
//
//   inet:   prerouting  -> the interface's own chain, which checks source addresses
//           forward     isolated interfaces do not reach each other; nobody outside begins
//                       a connection to an interface behind address translation
//           postrouting translates what comes from such an interface
//   bridge: prerouting  -> the interface's own chain
//
// The rules do not change: interfaces come and go as elements of sets, so the cost of a packet does
// not grow with the number of guests.
#include "net_internal.h"

#include "nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/netfilter_bridge.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define NET_TABLE "serai"

enum {
    PRIORITY_RAW = -300,
    PRIORITY_FILTER = 0,
    PRIORITY_SOURCE_NAT = 100,
    CT_ESTABLISHED = 2, // bits of the connection's state
    CT_RELATED = 4,
    // Offsets in headers.
    ETH_SOURCE = 6,
    ARP_SENDER_MAC = 8,
    ARP_SENDER_IP = 14,
    IP_SOURCE = 12,
    IP_DESTINATION = 16,
    IP6_SOURCE = 8,
    ICMP6_TYPE = 0,
    ICMP6_TARGET = 8,
};

static void by_name(struct nft *t, enum nft_meta_keys which, const char *set, bool negate)
{
    nft_meta(t, which);
    nft_in(t, set, negate);
}

static void base_guards(struct nft *t, uint32_t hook)
{
    const struct nft_hook prerouting = {"filter", hook, PRIORITY_RAW};
    nft_table_add(t);
    nft_names_add(t, "guards", true);
    nft_chain_add(t, "prerouting", &prerouting);
    nft_rule_begin(t, "prerouting");
    nft_meta(t, NFT_META_IIFNAME);
    nft_jump_by(t, "guards");
    nft_rule_end(t);
}

static void base_forward(struct nft *t)
{
    static const struct nft_hook forward = {"filter", NF_INET_FORWARD, PRIORITY_FILTER};
    static const uint32_t known = CT_ESTABLISHED | CT_RELATED, none = 0;
    nft_names_add(t, "isolated", false);
    nft_names_add(t, "translated", false);
    nft_chain_add(t, "forward", &forward);
    nft_rule_begin(t, "forward");
    by_name(t, NFT_META_IIFNAME, "isolated", false);
    by_name(t, NFT_META_OIFNAME, "isolated", false);
    nft_verdict(t, NF_DROP);
    nft_rule_end(t);
    nft_rule_begin(t, "forward");
    by_name(t, NFT_META_OIFNAME, "translated", false);
    by_name(t, NFT_META_IIFNAME, "translated", true);
    nft_ct_state(t);
    nft_mask(t, &known, sizeof(known));
    nft_cmp(t, NFT_CMP_EQ, &none, sizeof(none));
    nft_verdict(t, NF_DROP);
    nft_rule_end(t);
}

static void base_translate(struct nft *t)
{
    static const struct nft_hook postrouting = {"nat", NF_INET_POST_ROUTING, PRIORITY_SOURCE_NAT};
    nft_chain_add(t, "postrouting", &postrouting);
    nft_rule_begin(t, "postrouting");
    by_name(t, NFT_META_IIFNAME, "translated", false);
    by_name(t, NFT_META_OIFNAME, "translated", true);
    nft_masquerade(t);
    nft_rule_end(t);
}

// The parts that all interfaces share, unless they are there.
static int base_add(struct nft *t, uint8_t family)
{
    int ret = nft_table_find(family, NET_TABLE);
    if (ret != -ENOENT)
        return ret;
    nft_use(t, family, NET_TABLE);
    if (family == NFPROTO_BRIDGE) {
        base_guards(t, NF_BR_PRE_ROUTING);
        return 0;
    }
    base_guards(t, NF_INET_PRE_ROUTING);
    base_forward(t);
    base_translate(t);
    return 0;
}

// ---- address checks ------------------------------------------------------------------------

// One rule of an interface's chain; what it compares comes between these two.
static void protocol_begin(struct nft *t, const char *chain, uint16_t protocol)
{
    uint16_t wire = htons(protocol);
    nft_rule_begin(t, chain);
    nft_meta(t, NFT_META_PROTOCOL);
    nft_cmp(t, NFT_CMP_EQ, &wire, sizeof(wire));
}

static void verdict_end(struct nft *t, int verdict)
{
    nft_verdict(t, verdict);
    nft_rule_end(t);
}

static void prefix_mask(const struct serai_ip *ip, uint8_t mask[16])
{
    memset(mask, 0, 16);
    for (unsigned i = 0; i < ip->prefix; i++)
        mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
}

// Where an address stands: `at` bytes into the network header, or the transport header.
struct field {
    enum nft_payload_bases base;
    unsigned at;
};

// The address in the register must be in `ip`.
static void match_ip(struct nft *t, struct field f, const struct serai_ip *ip)
{
    uint8_t mask[16], want[16];
    unsigned len = net_bits(ip) / 8;
    prefix_mask(ip, mask);
    for (unsigned i = 0; i < len; i++)
        want[i] = ip->addr[i] & mask[i];
    nft_payload(t, f.base, f.at, len);
    if (ip->prefix != net_bits(ip))
        nft_mask(t, mask, len);
    nft_cmp(t, NFT_CMP_EQ, want, len);
}

static void guard_mac(struct nft *t, const char *chain, const struct serai_vif *v)
{
    nft_rule_begin(t, chain);
    nft_payload(t, NFT_PAYLOAD_LL_HEADER, ETH_SOURCE, 6);
    nft_cmp(t, NFT_CMP_NEQ, v->mac, 6);
    verdict_end(t, NF_DROP);
}

// What passes with any of the guest's addresses in the field.
static void guard_addresses(struct nft *t, const char *chain, const struct serai_vif *v,
                            uint16_t protocol, struct field f)
{
    for (unsigned i = 0; i < v->nr_ips; i++) {
        if (v->ips[i].v6 != (protocol == ETH_P_IPV6))
            continue;
        protocol_begin(t, chain, protocol);
        match_ip(t, f, &v->ips[i]);
        verdict_end(t, NFT_RETURN);
    }
}

static void guard_arp(struct nft *t, const char *chain, const struct serai_vif *v)
{
    static const uint8_t none[4];
    const struct field sender = {NFT_PAYLOAD_NETWORK_HEADER, ARP_SENDER_IP};
    protocol_begin(t, chain, ETH_P_ARP);
    nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, ARP_SENDER_MAC, 6);
    nft_cmp(t, NFT_CMP_NEQ, v->mac, 6);
    verdict_end(t, NF_DROP);
    guard_addresses(t, chain, v, ETH_P_ARP, sender);
    protocol_begin(t, chain, ETH_P_ARP); // asking whether an address is free
    nft_payload(t, sender.base, sender.at, sizeof(none));
    nft_cmp(t, NFT_CMP_EQ, none, sizeof(none));
    verdict_end(t, NFT_RETURN);
}

static void guard_ip4(struct nft *t, const char *chain, const struct serai_vif *v)
{
    static const uint8_t none[4], all[4] = {255, 255, 255, 255};
    guard_addresses(t, chain, v, ETH_P_IP, (struct field){NFT_PAYLOAD_NETWORK_HEADER, IP_SOURCE});
    protocol_begin(t, chain, ETH_P_IP); // asking for an address
    nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, IP_SOURCE, sizeof(none));
    nft_cmp(t, NFT_CMP_EQ, none, sizeof(none));
    nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, IP_DESTINATION, sizeof(all));
    nft_cmp(t, NFT_CMP_EQ, all, sizeof(all));
    verdict_end(t, NFT_RETURN);
}

// The address that a host makes for itself from its MAC.
static struct serai_ip link_local(const uint8_t mac[6])
{
    return (struct serai_ip){.v6 = true,
                             .prefix = 128,
                             .addr = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1], mac[2],
                                      0xff, 0xfe, mac[3], mac[4], mac[5]}};
}

static void icmp6_begin(struct nft *t, const char *chain, uint8_t type)
{
    static const uint8_t icmp6 = IPPROTO_ICMPV6;
    protocol_begin(t, chain, ETH_P_IPV6);
    nft_meta(t, NFT_META_L4PROTO);
    nft_cmp(t, NFT_CMP_EQ, &icmp6, sizeof(icmp6));
    nft_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, ICMP6_TYPE, 1);
    nft_cmp(t, NFT_CMP_EQ, &type, sizeof(type));
}

static void guard_ip6(struct nft *t, const char *chain, const struct serai_vif *v)
{
    static const uint8_t none[16];
    const struct field source = {NFT_PAYLOAD_NETWORK_HEADER, IP6_SOURCE};
    const struct field target = {NFT_PAYLOAD_TRANSPORT_HEADER, ICMP6_TARGET};
    struct serai_vif all = *v;
    // No guest is a router; and none says that another's address is to be found with it.
    icmp6_begin(t, chain, ND_ROUTER_ADVERT);
    verdict_end(t, NF_DROP);
    const struct serai_ip own = link_local(v->mac);
    icmp6_begin(t, chain, ND_NEIGHBOR_ADVERT);
    match_ip(t, target, &own);
    verdict_end(t, NFT_RETURN);
    for (unsigned i = 0; i < v->nr_ips; i++) {
        if (!v->ips[i].v6)
            continue;
        icmp6_begin(t, chain, ND_NEIGHBOR_ADVERT);
        match_ip(t, target, &v->ips[i]);
        verdict_end(t, NFT_RETURN);
    }
    icmp6_begin(t, chain, ND_NEIGHBOR_ADVERT);
    verdict_end(t, NF_DROP);
    guard_addresses(t, chain, &all, ETH_P_IPV6, source);
    protocol_begin(t, chain, ETH_P_IPV6);
    match_ip(t, source, &own);
    verdict_end(t, NFT_RETURN);
    protocol_begin(t, chain, ETH_P_IPV6); // asking whether an address is free
    nft_payload(t, source.base, source.at, sizeof(none));
    nft_cmp(t, NFT_CMP_EQ, none, sizeof(none));
    verdict_end(t, NFT_RETURN);
}

static void guard_name(const struct net_record *r, char *chain, size_t size)
{
    snprintf(chain, size, "guard-%s", r->port.device);
}

static uint8_t guard_family(const struct net_record *r)
{
    return r->port.vif.setup == SERAI_NET_BRIDGE ? NFPROTO_BRIDGE : NFPROTO_INET;
}

static bool guarded(const struct net_record *r)
{
    return r->port.vif.guard == SERAI_GUARD_MAC || r->port.vif.guard == SERAI_GUARD_IP;
}

static void guard_add(struct nft *t, const struct net_record *r)
{
    const struct serai_vif *v = &r->port.vif;
    char chain[64];
    guard_name(r, chain, sizeof(chain));
    nft_chain_add(t, chain, NULL);
    guard_mac(t, chain, v);
    if (v->guard == SERAI_GUARD_IP) {
        if (v->setup == SERAI_NET_BRIDGE)
            guard_arp(t, chain, v);
        guard_ip4(t, chain, v);
        guard_ip6(t, chain, v);
        nft_rule_begin(t, chain); // everything else
        verdict_end(t, NF_DROP);
    }
    nft_name_add(t, "guards", r->port.device, chain);
}

// ---- an interface --------------------------------------------------------------------------

static bool translated(const struct net_record *r)
{
    return r->port.vif.setup == SERAI_NET_NAT;
}

static bool kept_apart(const struct net_record *r)
{
    return r->port.vif.setup != SERAI_NET_BRIDGE && r->port.vif.isolated > 0;
}

int net_filter_attach(const struct net_record *r, struct serai_error *err)
{
    struct nft t;
    if (!guarded(r) && !translated(r) && !kept_apart(r))
        return 0;
    net_filter_detach(r); // left by somebody who had the same name
    nft_begin(&t, guard_family(r), NET_TABLE);
    int ret = base_add(&t, guard_family(r));
    if (ret) {
        nft_drop(&t);
        return err_sys(err, ret, "cannot reach the kernel's packet filter (nf_tables)");
    }
    if (guarded(r))
        guard_add(&t, r);
    if (kept_apart(r))
        nft_name_add(&t, "isolated", r->port.device, NULL);
    if (translated(r))
        nft_name_add(&t, "translated", r->port.device, NULL);
    ret = nft_commit(&t);
    if (ret == -ENOENT && !*t.text) // what the kernel says when it finds no module
        snprintf(t.text, sizeof(t.text), "a part of nf_tables (nft_meta_bridge?) is missing");
    return ret ? err_sys(err, ret, "%s: cannot set up the packet filter%s%s", r->port.device,
                         *t.text ? ": " : "", t.text)
               : 0;
}

// Each by itself: one that is missing must not keep the others.
void net_filter_detach(const struct net_record *r)
{
    static const char *const sets[] = {"guards", "isolated", "translated"};
    struct nft t;
    char chain[64];
    if (nft_table_find(guard_family(r), NET_TABLE))
        return;
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        if (i && guard_family(r) == NFPROTO_BRIDGE)
            continue;
        nft_begin(&t, guard_family(r), NET_TABLE);
        nft_name_delete(&t, sets[i], r->port.device);
        if (nft_commit(&t)) // mostly: it was not in the set
            continue;
    }
    guard_name(r, chain, sizeof(chain));
    nft_begin(&t, guard_family(r), NET_TABLE);
    nft_chain_delete(&t, chain);
    (void)nft_commit(&t);
}

void net_filter_remove(void)
{
    static const uint8_t families[] = {NFPROTO_INET, NFPROTO_BRIDGE};
    for (size_t i = 0; i < sizeof(families); i++) {
        struct nft t;
        if (nft_table_find(families[i], NET_TABLE))
            continue;
        nft_begin(&t, families[i], NET_TABLE);
        nft_table_delete(&t);
        (void)nft_commit(&t);
    }
}
