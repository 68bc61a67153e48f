// SPDX-License-Identifier: BSD-2-Clause
#include "nft.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>

// How user space tools print such a key; the kernel ignores it.
enum { NFT_TYPE_IFNAME = 41, NFT_DATA_REGISTER = NFT_REG_1 };

static struct netlink_msg nft_message(struct nft *t, uint16_t type, uint16_t flags)
{
    struct nfgenmsg head = {.nfgen_family = t->family, .version = NFNETLINK_V0};
    return netlink_begin(NFNL_SUBSYS_NFTABLES << 8 | type, flags, &head, sizeof(head));
}

// Adds a finished message to the row.
static void nft_add(struct nft *t, struct netlink_msg *m)
{
    if (m->failed) {
        t->failed = true;
    } else {
        struct nlmsghdr *h = nlmsg_hdr(m->msg);
        h->nlmsg_seq = t->seq++;
        t->last = t->row.len;
        if (buf_add(&t->row, h, NLMSG_ALIGN(h->nlmsg_len)))
            t->failed = true;
    }
    netlink_drop(m);
}

// The markers around a row.
static void nft_frame(struct nft *t, uint16_t type)
{
    static const uint8_t subsystem[2] = {0, NFNL_SUBSYS_NFTABLES}; // in network order
    struct nfgenmsg head = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0};
    memcpy(&head.res_id, subsystem, sizeof(subsystem));
    struct netlink_msg m = netlink_begin(type, 0, &head, sizeof(head));
    nft_add(t, &m);
}

void nft_use(struct nft *t, uint8_t family, const char *table)
{
    t->family = family;
    t->table = table;
}

void nft_begin(struct nft *t, uint8_t family, const char *table)
{
    *t = (struct nft){.seq = 1};
    nft_use(t, family, table);
    nft_frame(t, NFNL_MSG_BATCH_BEGIN);
}

void nft_drop(struct nft *t)
{
    netlink_drop(&t->rule);
    buf_free(&t->row);
}

int nft_commit(struct nft *t)
{
    NETLINK_AUTO n = NULL;
    uint32_t last = 0;
    if (!t->failed && t->last) {
        // The kernel acknowledges the last message after it has told all errors.
        struct nlmsghdr *h = (struct nlmsghdr *)(void *)(t->row.data + t->last);
        h->nlmsg_flags |= NLM_F_ACK;
        last = h->nlmsg_seq;
    }
    nft_frame(t, NFNL_MSG_BATCH_END);
    int ret = t->failed ? -ENOMEM : 0;
    if (!ret && last) {
        ret = netlink_open(&n, NETLINK_NETFILTER);
        if (!ret)
            ret = netlink_send_row(n, t->row.data, t->row.len, last);
        if (ret && n)
            strncpy(t->text, netlink_text(n), sizeof(t->text) - 1);
    }
    nft_drop(t);
    return ret;
}

// ---- tables and chains ---------------------------------------------------------------------

int nft_table_find(uint8_t family, const char *table)
{
    NETLINK_AUTO n = NULL;
    struct nft t = {.family = family};
    int ret = netlink_open(&n, NETLINK_NETFILTER);
    if (ret)
        return ret;
    struct netlink_msg m = nft_message(&t, NFT_MSG_GETTABLE, NLM_F_ACK);
    netlink_put_string(&m, NFTA_TABLE_NAME, table);
    return netlink_do(n, &m);
}

static void nft_table(struct nft *t, uint16_t type, uint16_t flags)
{
    struct netlink_msg m = nft_message(t, type, flags);
    netlink_put_string(&m, NFTA_TABLE_NAME, t->table);
    nft_add(t, &m);
}

void nft_table_add(struct nft *t)
{
    nft_table(t, NFT_MSG_NEWTABLE, NLM_F_CREATE);
}

void nft_table_delete(struct nft *t)
{
    nft_table(t, NFT_MSG_DELTABLE, 0);
}

void nft_chain_add(struct nft *t, const char *chain, const struct nft_hook *hook)
{
    struct netlink_msg m = nft_message(t, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    netlink_put_string(&m, NFTA_CHAIN_TABLE, t->table);
    netlink_put_string(&m, NFTA_CHAIN_NAME, chain);
    if (hook) {
        struct nlattr *nest = netlink_nest(&m, NFTA_CHAIN_HOOK);
        netlink_put_be32(&m, NFTA_HOOK_HOOKNUM, hook->number);
        netlink_put_be32(&m, NFTA_HOOK_PRIORITY, (uint32_t)hook->priority);
        netlink_nest_end(&m, nest);
        netlink_put_string(&m, NFTA_CHAIN_TYPE, hook->type);
    }
    nft_add(t, &m);
}

// The rules have to go first: a chain with rules is in use.
void nft_chain_delete(struct nft *t, const char *chain)
{
    struct netlink_msg m = nft_message(t, NFT_MSG_DELRULE, 0);
    netlink_put_string(&m, NFTA_RULE_TABLE, t->table);
    netlink_put_string(&m, NFTA_RULE_CHAIN, chain);
    nft_add(t, &m);
    m = nft_message(t, NFT_MSG_DELCHAIN, 0);
    netlink_put_string(&m, NFTA_CHAIN_TABLE, t->table);
    netlink_put_string(&m, NFTA_CHAIN_NAME, chain);
    nft_add(t, &m);
}

// ---- sets ----------------------------------------------------------------------------------

void nft_names_add(struct nft *t, const char *set, bool map)
{
    // A note for nft(8), which otherwise prints names backwards: type, length, value.
    static const uint8_t host_order[] = {0, 4, 1, 0, 0, 0};
    struct netlink_msg m = nft_message(t, NFT_MSG_NEWSET, NLM_F_CREATE);
    netlink_put_string(&m, NFTA_SET_TABLE, t->table);
    netlink_put_string(&m, NFTA_SET_NAME, set);
    netlink_put_be32(&m, NFTA_SET_FLAGS, map ? NFT_SET_MAP : 0);
    netlink_put_be32(&m, NFTA_SET_KEY_TYPE, NFT_TYPE_IFNAME);
    netlink_put_be32(&m, NFTA_SET_KEY_LEN, NFT_SET_IFNAME_KEY);
    netlink_put_be32(&m, NFTA_SET_ID, t->seq);
    netlink_put(&m, NFTA_SET_USERDATA, host_order, sizeof(host_order));
    if (map)
        netlink_put_be32(&m, NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
    nft_add(t, &m);
}

static void put_data(struct netlink_msg *m, int type, const void *data, size_t len)
{
    struct nlattr *nest = netlink_nest(m, type);
    netlink_put(m, NFTA_DATA_VALUE, data, len);
    netlink_nest_end(m, nest);
}

static void put_verdict(struct netlink_msg *m, int type, int code, const char *chain)
{
    struct nlattr *data = netlink_nest(m, type);
    struct nlattr *verdict = netlink_nest(m, NFTA_DATA_VERDICT);
    netlink_put_be32(m, NFTA_VERDICT_CODE, (uint32_t)code);
    if (chain)
        netlink_put_string(m, NFTA_VERDICT_CHAIN, chain);
    netlink_nest_end(m, verdict);
    netlink_nest_end(m, data);
}

static void nft_name(struct nft *t, uint16_t type, uint16_t flags, const char *set,
                     const char *ifname, const char *chain)
{
    char key[NFT_SET_IFNAME_KEY] = "";
    strncpy(key, ifname, sizeof(key) - 1);
    struct netlink_msg m = nft_message(t, type, flags);
    netlink_put_string(&m, NFTA_SET_ELEM_LIST_TABLE, t->table);
    netlink_put_string(&m, NFTA_SET_ELEM_LIST_SET, set);
    struct nlattr *list = netlink_nest(&m, NFTA_SET_ELEM_LIST_ELEMENTS);
    struct nlattr *element = netlink_nest(&m, NFTA_LIST_ELEM);
    put_data(&m, NFTA_SET_ELEM_KEY, key, sizeof(key));
    if (chain)
        put_verdict(&m, NFTA_SET_ELEM_DATA, NFT_JUMP, chain);
    netlink_nest_end(&m, element);
    netlink_nest_end(&m, list);
    nft_add(t, &m);
}

void nft_name_add(struct nft *t, const char *set, const char *ifname, const char *chain)
{
    nft_name(t, NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, ifname, chain);
}

void nft_name_delete(struct nft *t, const char *set, const char *ifname)
{
    nft_name(t, NFT_MSG_DELSETELEM, 0, set, ifname, NULL);
}

// ---- rules ---------------------------------------------------------------------------------

void nft_rule_begin(struct nft *t, const char *chain)
{
    t->rule = nft_message(t, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    netlink_put_string(&t->rule, NFTA_RULE_TABLE, t->table);
    netlink_put_string(&t->rule, NFTA_RULE_CHAIN, chain);
    t->expressions = netlink_nest(&t->rule, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(struct nft *t)
{
    netlink_nest_end(&t->rule, t->expressions);
    nft_add(t, &t->rule);
}

struct expression {
    struct nlattr *element, *data;
};

static struct expression expression_begin(struct nft *t, const char *name)
{
    struct expression e = {.element = netlink_nest(&t->rule, NFTA_LIST_ELEM)};
    netlink_put_string(&t->rule, NFTA_EXPR_NAME, name);
    e.data = netlink_nest(&t->rule, NFTA_EXPR_DATA);
    return e;
}

static void expression_end(struct nft *t, struct expression e)
{
    netlink_nest_end(&t->rule, e.data);
    netlink_nest_end(&t->rule, e.element);
}

void nft_meta(struct nft *t, enum nft_meta_keys key)
{
    struct expression e = expression_begin(t, "meta");
    netlink_put_be32(&t->rule, NFTA_META_KEY, key);
    netlink_put_be32(&t->rule, NFTA_META_DREG, NFT_DATA_REGISTER);
    expression_end(t, e);
}

void nft_payload(struct nft *t, enum nft_payload_bases base, unsigned offset, unsigned len)
{
    struct expression e = expression_begin(t, "payload");
    netlink_put_be32(&t->rule, NFTA_PAYLOAD_DREG, NFT_DATA_REGISTER);
    netlink_put_be32(&t->rule, NFTA_PAYLOAD_BASE, base);
    netlink_put_be32(&t->rule, NFTA_PAYLOAD_OFFSET, offset);
    netlink_put_be32(&t->rule, NFTA_PAYLOAD_LEN, len);
    expression_end(t, e);
}

void nft_ct_state(struct nft *t)
{
    struct expression e = expression_begin(t, "ct");
    netlink_put_be32(&t->rule, NFTA_CT_KEY, NFT_CT_STATE);
    netlink_put_be32(&t->rule, NFTA_CT_DREG, NFT_DATA_REGISTER);
    expression_end(t, e);
}

void nft_mask(struct nft *t, const void *mask, unsigned len)
{
    static const uint8_t zero[16];
    struct expression e = expression_begin(t, "bitwise");
    netlink_put_be32(&t->rule, NFTA_BITWISE_SREG, NFT_DATA_REGISTER);
    netlink_put_be32(&t->rule, NFTA_BITWISE_DREG, NFT_DATA_REGISTER);
    netlink_put_be32(&t->rule, NFTA_BITWISE_LEN, len);
    put_data(&t->rule, NFTA_BITWISE_MASK, mask, len);
    put_data(&t->rule, NFTA_BITWISE_XOR, zero, len);
    expression_end(t, e);
}

void nft_cmp(struct nft *t, enum nft_cmp_ops op, const void *data, unsigned len)
{
    struct expression e = expression_begin(t, "cmp");
    netlink_put_be32(&t->rule, NFTA_CMP_SREG, NFT_DATA_REGISTER);
    netlink_put_be32(&t->rule, NFTA_CMP_OP, op);
    put_data(&t->rule, NFTA_CMP_DATA, data, len);
    expression_end(t, e);
}

void nft_in(struct nft *t, const char *set, bool negate)
{
    struct expression e = expression_begin(t, "lookup");
    netlink_put_string(&t->rule, NFTA_LOOKUP_SET, set);
    netlink_put_be32(&t->rule, NFTA_LOOKUP_SREG, NFT_DATA_REGISTER);
    netlink_put_be32(&t->rule, NFTA_LOOKUP_FLAGS, negate ? NFT_LOOKUP_F_INV : 0);
    expression_end(t, e);
}

void nft_jump_by(struct nft *t, const char *map)
{
    struct expression e = expression_begin(t, "lookup");
    netlink_put_string(&t->rule, NFTA_LOOKUP_SET, map);
    netlink_put_be32(&t->rule, NFTA_LOOKUP_SREG, NFT_DATA_REGISTER);
    netlink_put_be32(&t->rule, NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
    expression_end(t, e);
}

void nft_verdict(struct nft *t, int code)
{
    struct expression e = expression_begin(t, "immediate");
    netlink_put_be32(&t->rule, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    put_verdict(&t->rule, NFTA_IMMEDIATE_DATA, code, NULL);
    expression_end(t, e);
}

void nft_masquerade(struct nft *t)
{
    expression_end(t, expression_begin(t, "masq"));
}
