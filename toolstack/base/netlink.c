// SPDX-License-Identifier: BSD-2-Clause
#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { NETLINK_ANSWER_SECONDS = 10, NETLINK_MSG_SIZE = 16384, NETLINK_BUFFER = 1 << 20 };

struct netlink {
    struct nl_sock *sock;
    struct nl_cb *cb;
    netlink_fn *fn;
    void *arg;
    int error;     // the kernel's answer: 0 or -errno
    uint32_t last; // the acknowledgement that ends a row; 0: any
    bool done, interrupted, got;
    char text[192];
};

// The text that newer kernels add behind their error message.
static void keep_text(struct netlink *n, const struct nlmsghdr *h, const struct nlmsgerr *e)
{
    size_t skip = NLMSG_HDRLEN + sizeof(*e);
    if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
        return;
    if (!(h->nlmsg_flags & NLM_F_CAPPED))
        skip += NLMSG_ALIGN(e->msg.nlmsg_len) - NLMSG_HDRLEN;
    if (h->nlmsg_len <= skip)
        return;
    struct nlattr *a = nla_find((struct nlattr *)((char *)h + skip), (int)(h->nlmsg_len - skip),
                                NLMSGERR_ATTR_MSG);
    if (a)
        nla_strlcpy(n->text, a, sizeof(n->text));
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *e, void *arg)
{
    struct netlink *n = arg;
    (void)from;
    n->error = e->error ? e->error : -EIO;
    n->done = true;
    // libnl hands over the payload; the header stands before it.
    keep_text(n, (const struct nlmsghdr *)((const char *)e - NLMSG_HDRLEN), e);
    return NL_STOP;
}

static int on_ack(struct nl_msg *m, void *arg)
{
    struct netlink *n = arg;
    if (n->last && nlmsg_hdr(m)->nlmsg_seq != n->last)
        return NL_SKIP;
    n->done = true;
    return NL_STOP;
}

static int on_finish(struct nl_msg *m, void *arg)
{
    struct netlink *n = arg;
    const struct nlmsghdr *h = nlmsg_hdr(m);
    // The end of a list may carry an error.
    if (nlmsg_datalen(h) >= (int)sizeof(int)) {
        int code;
        memcpy(&code, nlmsg_data(h), sizeof(code));
        if (code < 0)
            n->error = code;
    }
    n->done = true;
    return NL_STOP;
}

static int on_message(struct nl_msg *m, void *arg)
{
    struct netlink *n = arg;
    n->got = true;
    if (n->fn)
        n->fn(n->arg, nlmsg_hdr(m));
    return NL_OK;
}

static int on_interrupted(struct nl_msg *m, void *arg)
{
    struct netlink *n = arg;
    (void)m;
    n->interrupted = true;
    return NL_OK;
}

// Messages that answer no request of ours are welcome.
static int on_any_number(struct nl_msg *m, void *arg)
{
    (void)m, (void)arg;
    return NL_OK;
}

void netlink_close(struct netlink *n)
{
    if (!n)
        return;
    if (n->cb)
        nl_cb_put(n->cb);
    if (n->sock)
        nl_socket_free(n->sock);
    free(n);
}

int netlink_open(struct netlink **out, int protocol)
{
    struct netlink *n = calloc(1, sizeof(*n));
    if (!n)
        return -ENOMEM;
    n->sock = nl_socket_alloc();
    n->cb = nl_cb_alloc(NL_CB_DEFAULT);
    if (!n->sock || !n->cb) {
        netlink_close(n);
        return -ENOMEM;
    }
    errno = 0;
    if (nl_connect(n->sock, protocol) < 0) {
        int ret = errno ? -errno : -EIO;
        netlink_close(n);
        return ret;
    }
    int one = 1, fd = nl_socket_get_fd(n->sock);
    struct timeval limit = {.tv_sec = NETLINK_ANSWER_SECONDS};
    // Both are comfort: without them errors have no text, and a lost answer waits for ever.
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    nl_socket_set_buffer_size(n->sock, NETLINK_BUFFER, NETLINK_BUFFER);
    nl_socket_enable_msg_peek(n->sock);
    nl_cb_err(n->cb, NL_CB_CUSTOM, on_error, n);
    nl_cb_set(n->cb, NL_CB_ACK, NL_CB_CUSTOM, on_ack, n);
    nl_cb_set(n->cb, NL_CB_FINISH, NL_CB_CUSTOM, on_finish, n);
    nl_cb_set(n->cb, NL_CB_VALID, NL_CB_CUSTOM, on_message, n);
    nl_cb_set(n->cb, NL_CB_DUMP_INTR, NL_CB_CUSTOM, on_interrupted, n);
    *out = n;
    return 0;
}

const char *netlink_text(const struct netlink *n)
{
    return n->text;
}

// ---- requests ------------------------------------------------------------------------------

struct netlink_msg netlink_begin(uint16_t type, uint16_t flags, const void *header, size_t len)
{
    struct netlink_msg m = {.msg = nlmsg_alloc_size(NETLINK_MSG_SIZE)};
    struct nlmsghdr *h = NULL;
    if (m.msg)
        h = nlmsg_put(m.msg, NL_AUTO_PORT, NL_AUTO_SEQ, type, (int)len, NLM_F_REQUEST | flags);
    if (h)
        memcpy(nlmsg_data(h), header, len);
    m.failed = !h;
    return m;
}

void netlink_drop(struct netlink_msg *m)
{
    if (m->msg)
        nlmsg_free(m->msg);
    m->msg = NULL;
}

void netlink_put(struct netlink_msg *m, int type, const void *data, size_t len)
{
    if (!m->failed && nla_put(m->msg, type, (int)len, data) < 0)
        m->failed = true;
}

void netlink_put_u8(struct netlink_msg *m, int type, uint8_t value)
{
    netlink_put(m, type, &value, sizeof(value));
}

void netlink_put_u32(struct netlink_msg *m, int type, uint32_t value)
{
    netlink_put(m, type, &value, sizeof(value));
}

void netlink_put_be32(struct netlink_msg *m, int type, uint32_t value)
{
    netlink_put_u32(m, type, htonl(value));
}

void netlink_put_string(struct netlink_msg *m, int type, const char *text)
{
    netlink_put(m, type, text, strlen(text) + 1);
}

struct nlattr *netlink_nest(struct netlink_msg *m, int type)
{
    struct nlattr *nest = m->failed ? NULL : nla_nest_start(m->msg, type);
    if (!nest)
        m->failed = true;
    return nest;
}

void netlink_nest_end(struct netlink_msg *m, struct nlattr *nest)
{
    if (!m->failed)
        nla_nest_end(m->msg, nest);
}

// ---- answers -------------------------------------------------------------------------------

static void answer_expect(struct netlink *n, netlink_fn *fn, void *arg)
{
    n->fn = fn;
    n->arg = arg;
    n->error = 0;
    n->done = n->interrupted = n->got = false;
    n->text[0] = '\0';
}

static int answer_wait(struct netlink *n)
{
    while (!n->done) {
        errno = 0;
        int ret = nl_recvmsgs(n->sock, n->cb);
        if (ret < 0 && !n->done)
            return errno ? -errno : -EIO;
    }
    return n->error;
}

static int netlink_ask(struct netlink *n, struct netlink_msg *m, netlink_fn *fn, void *arg)
{
    if (m->failed)
        return -ENOMEM;
    answer_expect(n, fn, arg);
    nlmsg_hdr(m->msg)->nlmsg_seq = 0; // NL_AUTO_SEQ again, when it is asked again
    errno = 0;
    if (nl_send_auto(n->sock, m->msg) < 0)
        return errno ? -errno : -EIO;
    return answer_wait(n);
}

int netlink_do(struct netlink *n, struct netlink_msg *m)
{
    return netlink_get(n, m, NULL, NULL);
}

int netlink_get(struct netlink *n, struct netlink_msg *m, netlink_fn *fn, void *arg)
{
    int ret = netlink_ask(n, m, fn, arg);
    // A list that changed while it was read may lack entries that never changed. It is read
    // again a few times; callers must not mind seeing an entry twice.
    for (int i = 0; i < 4 && !ret && n->interrupted; i++)
        ret = netlink_ask(n, m, fn, arg);
    netlink_drop(m);
    return ret;
}

int netlink_send_row(struct netlink *n, void *data, size_t len, uint32_t last)
{
    answer_expect(n, NULL, NULL);
    nl_socket_disable_seq_check(n->sock);
    nl_cb_set(n->cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, on_any_number, n);
    n->last = last;
    errno = 0;
    if (nl_sendto(n->sock, data, len) < 0)
        return errno ? -errno : -EIO;
    return answer_wait(n);
}

int netlink_join(struct netlink *n, int group)
{
    nl_socket_disable_seq_check(n->sock);
    nl_cb_set(n->cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, on_any_number, n);
    errno = 0;
    return nl_socket_add_membership(n->sock, group) < 0 ? (errno ? -errno : -EIO) : 0;
}

int netlink_listen(struct netlink *n, int ms, netlink_fn *fn, void *arg)
{
    struct pollfd p = {.fd = nl_socket_get_fd(n->sock), .events = POLLIN};
    int ready = poll(&p, 1, ms);
    if (ready <= 0)
        return ready < 0 && errno != EINTR ? -errno : 0;
    answer_expect(n, fn, arg);
    errno = 0;
    if (nl_recvmsgs(n->sock, n->cb) < 0)
        return errno ? -errno : -EIO;
    return n->got;
}
