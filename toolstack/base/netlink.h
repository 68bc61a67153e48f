// SPDX-License-Identifier: BSD-2-Clause
// Talking to the kernel over netlink, on top of libnl: requests that are answered at once, lists,
// and the kernel's own words about what it refused. No locks: one owner.
#pragma once

#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NETLINK_IFNAME_SIZE = 16 };

// One socket.
struct netlink;

// `protocol` is NETLINK_ROUTE or NETLINK_NETFILTER. 0 or -errno.
int netlink_open(struct netlink **out, int protocol);
void netlink_close(struct netlink *n); // NULL is allowed
// What the kernel said about the last request that failed; "" when it said nothing.
const char *netlink_text(const struct netlink *n);

// A request while it is put together. Failures are sticky and come out when it is sent.
struct netlink_msg {
    struct nl_msg *msg; // NULL: no memory
    bool failed;
};

// Begins a request with the family's fixed header.
struct netlink_msg netlink_begin(uint16_t type, uint16_t flags, const void *header, size_t len);
void netlink_put(struct netlink_msg *m, int type, const void *data, size_t len);
void netlink_put_u8(struct netlink_msg *m, int type, uint8_t value);
void netlink_put_u32(struct netlink_msg *m, int type, uint32_t value);
void netlink_put_be32(struct netlink_msg *m, int type, uint32_t value);
void netlink_put_string(struct netlink_msg *m, int type, const char *text);
// Attributes inside an attribute: pass what it returned to netlink_nest_end.
struct nlattr *netlink_nest(struct netlink_msg *m, int type);
void netlink_nest_end(struct netlink_msg *m, struct nlattr *nest);
void netlink_drop(struct netlink_msg *m);

// One message of an answer.
typedef void netlink_fn(void *arg, const struct nlmsghdr *h);

// Sends the request, waits for the answer and releases the request. 0 or the kernel's -errno.
int netlink_do(struct netlink *n, struct netlink_msg *m);
// The same for a request whose answer is one message or (flag NLM_F_DUMP) a list.
int netlink_get(struct netlink *n, struct netlink_msg *m, netlink_fn *fn, void *arg);
// Sends a row of finished requests at once; `last` is the sequence number of the one that asks
// for an acknowledgement. To be used once on a socket.
int netlink_send_row(struct netlink *n, void *data, size_t len, uint32_t last);

// Receives what the kernel tells the members of an RTNLGRP_* group.
int netlink_join(struct netlink *n, int group);
// Waits at most `ms` for the next message and hands it on. 0 when nothing came, 1, or -errno;
// -ENOBUFS when messages were lost.
int netlink_listen(struct netlink *n, int ms, netlink_fn *fn, void *arg);

static inline void netlink_close_auto(struct netlink **n)
{
    netlink_close(*n);
}
#define NETLINK_AUTO __attribute__((cleanup(netlink_close_auto))) struct netlink *
