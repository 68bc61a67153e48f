// SPDX-License-Identifier: BSD-2-Clause
// Part of serai.h, which includes it: network interfaces of guests.
//
// Three setups connect the interface that the kernel's netback makes for a guest (vifDOMID.DEVID):
//   bridge  it becomes a port of a bridge of the control domain
//   route   the control domain forwards packets for the guest's addresses, and answers for them
//   nat     the same with a private address, hidden behind the control domain's own
// docs/networking.md tells administrators more.
//
// The functions from serai_net_attach on need a handle, but not the hypervisor: one opened with
// serai_options.local will do. They hold a lock file while they work, so any number of processes
// may call them at once.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct serai;
struct serai_error;

#define SERAI_NETWORK_CONF "/etc/serai/network.conf"

enum {
    SERAI_IFNAME_SIZE = 16, // of a network interface's name, with its NUL
    SERAI_MAC_TEXT = 18,
    SERAI_IP_TEXT = 50, // "address/prefix"
    SERAI_VIF_IPS_MAX = 16,
    SERAI_VIF_MTU_MIN = 68,
    SERAI_VIF_MTU_MAX = 65517, // what netback takes
    SERAI_VIF_DEVID_MAX = 65535,
};

// ---- what an interface shall be (vif_config.c, vif_mac.c) -----------------------------------

struct serai_ip {
    bool v6;
    uint8_t prefix; // in bits; of a single address 32 or 128
    uint8_t addr[16];
};

enum serai_net_setup { SERAI_NET_DEFAULT, SERAI_NET_BRIDGE, SERAI_NET_ROUTE, SERAI_NET_NAT };

// How much of what a guest sends is checked for being its own.
enum serai_net_guard {
    SERAI_GUARD_DEFAULT, // as network.conf says; off without it
    SERAI_GUARD_OFF,
    SERAI_GUARD_MAC, // the source MAC
    SERAI_GUARD_IP,  // that, and IP and ARP source addresses: needs `ips`
};

struct serai_vif {
    int devid; // -1: chosen by serai_vif_complete
    bool has_mac;
    uint8_t mac[6]; // in the guest
    enum serai_net_setup setup;
    char bridge[SERAI_IFNAME_SIZE];     // "": as network.conf says
    char gatewaydev[SERAI_IFNAME_SIZE]; // "": the interface of the default route
    char ifname[SERAI_IFNAME_SIZE];     // name here; "": vifDOMID.DEVID
    struct serai_ip ips[SERAI_VIF_IPS_MAX];
    unsigned nr_ips;
    uint64_t rate_bytes; // limit of what the guest sends, bytes per second; 0: none
    uint32_t rate_usec;  // length of the burst that it may send at once
    unsigned mtu;        // 0: the bridge's, or 1500
    bool untrusted;      // tell the guest not to trust the backend
    int isolated;        // from other isolated guests: 0, 1, or -1 as network.conf says
    enum serai_net_guard guard;
};

// Reads one element of `vif = [ ... ]` in the syntax of xl-network-configuration(5), with the
// additions isolated=BOOL and guard=off|mac|ip. Sets all of *out, which needs no release. What is
// known but has no effect on PV guests goes to the log of `s` (may be NULL). -EINVAL when it is
// wrong; the text names the key, not the place.
int serai_vif_parse(struct serai *s, const char *text, struct serai_vif *out,
                    struct serai_error *err);
// Writes it back so that serai_vif_parse reads the same. NULL without memory; free() it.
char *serai_vif_format(const struct serai_vif *vif);
// Gives every interface of one guest its devid (the lowest free one) and its MAC (derived from
// the guest's UUID and the devid, so the same at each start). `taken` are MACs of other guests.
// -EEXIST when a devid or MAC is given twice or a given MAC is taken.
int serai_vif_complete(struct serai_vif *list, size_t count, const uint8_t uuid[16],
                       const uint8_t (*taken)[6], size_t nr_taken, struct serai_error *err);
// The value of netback's node `rate`: "bytes,microseconds". -EINVAL when no rate is set.
int serai_vif_rate_node(const struct serai_vif *vif, char *text, size_t size);

// "10Mb/s", "1MB/s@20ms", as the key `rate` has it; "none" and "0" give 0 bytes.
int serai_rate_parse(const char *text, uint64_t *bytes, uint32_t *usec, struct serai_error *err);

// Six pairs of hexadecimal digits with colons. -EINVAL also for addresses that no guest may
// have: zero, multicast, fe:ff:ff:ff:ff:ff (the backend's).
int serai_mac_parse(const char *text, uint8_t mac[6], struct serai_error *err);
char *serai_mac_format(const uint8_t mac[6], char text[SERAI_MAC_TEXT]);
// 00:16:3e and 23 bits that depend on the arguments alone; `salt` 0 unless the result is taken.
void serai_mac_derive(const uint8_t uuid[16], unsigned devid, unsigned salt, uint8_t mac[6]);
int serai_mac_random(uint8_t mac[6], struct serai_error *err);
// "a.b.c.d" or an IPv6 address, with or without /prefix. Refuses what cannot be a host's or a
// network's own (multicast, unspecified, loopback).
int serai_ip_parse(const char *text, struct serai_ip *out, struct serai_error *err);
// Without the prefix when it is a single address.
char *serai_ip_format(const struct serai_ip *ip, char text[SERAI_IP_TEXT]);

// "bridge", "route", ...; "off", "mac", "ip".
const char *serai_net_setup_name(enum serai_net_setup setup);
const char *serai_net_guard_name(enum serai_net_guard guard);

// ---- connecting it (net.c) -----------------------------------------------------------------

// What became of an interface: kept in STATE_DIR/net until it is detached.
struct serai_net_port {
    uint32_t domain;
    char device[SERAI_IFNAME_SIZE]; // its name now
    struct serai_vif vif;           // with all defaults filled in: setup, bridge, mtu, ips, ...
    // The kernel cannot limit the rate by itself: the caller writes netback's node `rate`.
    bool rate_by_netback;
    // Of serai_net_list and serai_net_status alone:
    bool present, up;
    uint64_t sent_bytes, received_bytes; // by the guest
    uint64_t sent_packets, received_packets;
};

// Waits (at most a few seconds, by netlink events) for the interface, connects it and sets it up.
// `device` is the name under which the kernel makes it; NULL: vifDOMAIN.DEVID. The devid and MAC
// must be set. *out may be NULL. On failure everything is as before. -ENODEV when the interface
// does not come or vanishes, -ENOENT when the bridge or gateway interface does not exist.
int serai_net_attach(struct serai *s, uint32_t domain, const struct serai_vif *vif,
                     const char *device, struct serai_net_port *out, struct serai_error *err);
// Undoes it: also when the interface is gone already. 0 when nothing was attached.
int serai_net_detach(struct serai *s, uint32_t domain, unsigned devid, struct serai_error *err);
// Would serai_net_attach take these interfaces of a new guest, as far as can be said before they
// are there? Bridges, gateways, names and addresses are looked at, nothing is changed.
int serai_net_check(struct serai *s, const struct serai_vif *list, size_t count,
                    struct serai_error *err);
// Everything of one domain.
int serai_net_detach_all(struct serai *s, uint32_t domain, struct serai_error *err);
// Another limit of what it sends, at once; 0 bytes: none. -ENOENT when it is not attached.
// *out may be NULL.
int serai_net_set_rate(struct serai *s, uint32_t domain, unsigned devid, uint64_t rate_bytes,
                       uint32_t rate_usec, struct serai_net_port *out, struct serai_error *err);
// The same for a running guest, which has the new limit when it is made again, too (vif_rate.c;
// needs the hypervisor and xenstore).
int serai_vif_set_rate(struct serai *s, uint32_t domain, unsigned devid, uint64_t rate_bytes,
                       uint32_t rate_usec, struct serai_error *err);
// Detaches what belongs to domains of which `alive` says no: it is asked after their interfaces
// were found, so that one which is just being made is not taken for a dead one's.
typedef bool serai_net_alive_fn(void *ctx, uint32_t domain);
int serai_net_sweep(struct serai *s, serai_net_alive_fn *alive, void *ctx, struct serai_error *err);
// All attached interfaces, by domain and devid. Release *list with free().
int serai_net_list(struct serai *s, struct serai_net_port **list, size_t *count,
                   struct serai_error *err);

// ---- the control domain's network (net_setup.c) --------------------------------------------

struct serai_bridge_port {
    char name[SERAI_IFNAME_SIZE];
    bool up, isolated;
};
struct serai_bridge {
    char name[SERAI_IFNAME_SIZE];
    bool up, made_here; // by serai_net_setup or on demand
    unsigned mtu;
    uint8_t mac[6];
    struct serai_ip *ips;
    size_t nr_ips;
    struct serai_bridge_port *ports;
    size_t nr_ports;
};
struct serai_net_status {
    struct serai_bridge *bridges;
    size_t nr_bridges;
    struct serai_net_port *ports; // as from serai_net_list
    size_t nr_ports;
};

// Makes the bridge that network.conf describes, with its ports and addresses. Nothing happens to
// what is there already. -ENOENT, -EBUSY, ... with a text; a bridge made half-way is removed.
int serai_net_setup(struct serai *s, struct serai_error *err);
// Removes that bridge, if it was made by Serai and no guest uses it (-EBUSY).
int serai_net_unsetup(struct serai *s, struct serai_error *err);
// Release with serai_net_status_free.
int serai_net_status(struct serai *s, struct serai_net_status **out, struct serai_error *err);
void serai_net_status_free(struct serai_net_status *st);

#ifdef __cplusplus
}
#endif
