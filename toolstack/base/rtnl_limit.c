// SPDX-License-Identifier: BSD-2-Clause
// Limiting what an interface sends to us. Queues exist on the way out only, so what comes in is
// led through the way out of an intermediate interface (ifb), which has a token bucket, and comes
// back from there as if it had just arrived.
#include "rtnl.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <arpa/inet.h>

enum {
    LIMIT_BURST_MIN = 4096,      // a large frame must fit
    LIMIT_BURST_MAX = 64 << 20,  // what fits into the kernel's numbers at any rate
    LIMIT_QUEUE_MIN = 128 << 10, // two of the largest packets
    LIMIT_QUEUE_MAX = 16 << 20,
    LIMIT_PRIORITY = 1,
};

static int shaper_bucket(struct netlink *n, unsigned index, uint64_t bytes, uint64_t burst)
{
    // The queue holds what passes in a twentieth of a second: more would be delay only.
    uint64_t queue = bytes / 20;
    queue = queue < LIMIT_QUEUE_MIN ? LIMIT_QUEUE_MIN : queue;
    queue = queue > LIMIT_QUEUE_MAX ? LIMIT_QUEUE_MAX : queue;
    burst = burst < LIMIT_BURST_MIN ? LIMIT_BURST_MIN : burst;
    burst = burst > LIMIT_BURST_MAX ? LIMIT_BURST_MAX : burst;
    struct tc_tbf_qopt opt = {
        .rate = {.linklayer = TC_LINKLAYER_ETHERNET,
                 .rate = bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes},
        .limit = (uint32_t)queue,
    };
    struct tcmsg head = {.tcm_ifindex = (int)index, .tcm_parent = TC_H_ROOT};
    struct netlink_msg m =
        netlink_begin(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK, &head, sizeof(head));
    netlink_put_string(&m, TCA_KIND, "tbf");
    struct nlattr *options = netlink_nest(&m, TCA_OPTIONS);
    netlink_put(&m, TCA_TBF_PARMS, &opt, sizeof(opt));
    netlink_put_u32(&m, TCA_TBF_BURST, (uint32_t)burst);
    if (bytes > UINT32_MAX)
        netlink_put(&m, TCA_TBF_RATE64, &bytes, sizeof(bytes));
    netlink_nest_end(&m, options);
    return netlink_do(n, &m);
}

static int ingress_add(struct netlink *n, unsigned index)
{
    struct tcmsg head = {
        .tcm_ifindex = (int)index, .tcm_parent = TC_H_INGRESS, .tcm_handle = 0xffff0000};
    struct netlink_msg m =
        netlink_begin(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, &head, sizeof(head));
    netlink_put_string(&m, TCA_KIND, "ingress");
    return netlink_do(n, &m);
}

static int ingress_delete(struct netlink *n, unsigned index)
{
    struct tcmsg head = {
        .tcm_ifindex = (int)index, .tcm_parent = TC_H_INGRESS, .tcm_handle = 0xffff0000};
    struct netlink_msg m = netlink_begin(RTM_DELQDISC, NLM_F_ACK, &head, sizeof(head));
    return netlink_do(n, &m);
}

// A filter that matches everything (a u32 selector without keys) and sends it to the shaper.
static int ingress_redirect(struct netlink *n, unsigned index, unsigned shaper)
{
    struct tcmsg head = {.tcm_ifindex = (int)index,
                         .tcm_parent = 0xffff0000,
                         .tcm_info = TC_H_MAKE(LIMIT_PRIORITY << 16, htons(ETH_P_ALL))};
    struct tc_u32_sel all = {.flags = TC_U32_TERMINAL};
    struct tc_mirred to = {.action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = shaper};
    struct netlink_msg m =
        netlink_begin(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, &head, sizeof(head));
    netlink_put_string(&m, TCA_KIND, "u32");
    struct nlattr *options = netlink_nest(&m, TCA_OPTIONS);
    netlink_put(&m, TCA_U32_SEL, &all, sizeof(all));
    struct nlattr *actions = netlink_nest(&m, TCA_U32_ACT);
    struct nlattr *action = netlink_nest(&m, 1);
    netlink_put_string(&m, TCA_ACT_KIND, "mirred");
    struct nlattr *parameters = netlink_nest(&m, TCA_ACT_OPTIONS);
    netlink_put(&m, TCA_MIRRED_PARMS, &to, sizeof(to));
    netlink_nest_end(&m, parameters);
    netlink_nest_end(&m, action);
    netlink_nest_end(&m, actions);
    netlink_nest_end(&m, options);
    return netlink_do(n, &m);
}

int rtnl_limit_add(struct netlink *n, unsigned index, const char *shaper, uint64_t bytes,
                   uint64_t burst)
{
    struct rtnl_link link;
    int ret = rtnl_link_add(n, shaper, "ifb");
    if (ret)
        return ret;
    ret = rtnl_link_get(n, shaper, &link);
    if (!ret) {
        rtnl_conf_set("ipv6", shaper, "disable_ipv6", 1); // absent without IPv6
        ret = shaper_bucket(n, link.index, bytes, burst);
    }
    if (!ret)
        ret = rtnl_link_up(n, link.index, true);
    if (!ret)
        ret = ingress_add(n, index);
    if (!ret)
        ret = ingress_redirect(n, index, link.index);
    if (ret)
        rtnl_limit_delete(n, index, shaper);
    return ret;
}

int rtnl_limit_change(struct netlink *n, const char *shaper, uint64_t bytes, uint64_t burst)
{
    struct rtnl_link link;
    int ret = rtnl_link_get(n, shaper, &link);
    return ret ? ret : shaper_bucket(n, link.index, bytes, burst);
}

int rtnl_limit_delete(struct netlink *n, unsigned index, const char *shaper)
{
    struct rtnl_link link;
    if (index)
        ingress_delete(n, index);
    int ret = rtnl_link_get(n, shaper, &link);
    if (!ret)
        ret = rtnl_link_delete(n, link.index);
    return ret == -ENODEV ? 0 : ret;
}
