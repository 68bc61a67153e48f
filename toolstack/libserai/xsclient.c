// SPDX-License-Identifier: BSD-2-Clause
#include "xsclient.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// Requests that are under way at once: their answers must find room while nobody reads them.
enum { XSC_ANSWER_MS = 30000, XSC_PARTS_MAX = 8, XSC_WINDOW = 24 };

struct xsc_queued {
    struct xsc_queued *next;
    char text[];
};

struct xsc {
    int fd;
    bool broken;
    uint32_t last_id;
    struct xsc_queued *first, **end; // events that came while an answer was awaited
};

static int xsc_address(struct sockaddr_un *addr)
{
    const char *path = getenv("XENSTORED_PATH"), *dir = getenv("XENSTORED_RUNDIR");
    size_t room = sizeof(addr->sun_path);
    int n = path ? snprintf(addr->sun_path, room, "%s", path)
                 : snprintf(addr->sun_path, room, "%s/socket", dir ? dir : "/run/xenstored");
    return n < 0 || (size_t)n >= room ? -ENAMETOOLONG : 0;
}

int xsc_open(struct xsc **out)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int ret = xsc_address(&addr);
    if (ret)
        return ret;
    struct xsc *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->end = &c->first;
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&addr, sizeof(addr))) {
        ret = -errno;
        xsc_close(c);
        return ret;
    }
    *out = c;
    return 0;
}

void xsc_close(struct xsc *c)
{
    if (!c)
        return;
    for (struct xsc_queued *q = c->first, *next; q; q = next) {
        next = q->next;
        free(q);
    }
    if (c->fd >= 0)
        close(c->fd);
    free(c);
}

int xsc_fd(const struct xsc *c)
{
    return c->fd;
}

static int64_t xsc_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// 1 when bytes are there, 0 after the time.
static int xsc_readable(struct xsc *c, int timeout_ms)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    int n = poll(&p, 1, timeout_ms);
    return n > 0 ? 1 : 0;
}

static int xsc_broken(struct xsc *c)
{
    c->broken = true;
    return -ECONNRESET;
}

static int xsc_read(struct xsc *c, void *to, size_t len, int64_t end_ms)
{
    for (size_t got = 0; got < len;) {
        int64_t left = end_ms - xsc_now_ms();
        if (left <= 0 || !xsc_readable(c, (int)left)) {
            if (left > 0)
                continue; // a signal, or the time is over
            return xsc_broken(c);
        }
        ssize_t n = recv(c->fd, (char *)to + got, len - got, MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return xsc_broken(c);
        got += (size_t)n;
    }
    return 0;
}

// One message; *body is malloc'ed with a NUL byte behind it.
static int xsc_message(struct xsc *c, struct xsd_sockmsg *head, char **body, int64_t end_ms)
{
    int ret = xsc_read(c, head, sizeof(*head), end_ms);
    if (ret)
        return ret;
    if (head->len > XENSTORE_PAYLOAD_MAX)
        return xsc_broken(c);
    *body = calloc(1, (size_t)head->len + 2);
    if (!*body) {
        c->broken = true; // the rest of the stream cannot be understood any more
        return -ENOMEM;
    }
    ret = xsc_read(c, *body, head->len, end_ms);
    if (ret)
        free(*body);
    return ret;
}

// A path and a token, each ended by a NUL byte; xsc_message has put two behind whatever came.
static void xsc_queue(struct xsc *c, const struct xsd_sockmsg *head, const char *body)
{
    struct xsc_queued *q = malloc(sizeof(*q) + head->len + 2);
    if (!q)
        return; // whoever waits looks again when the time is over
    memcpy(q->text, body, (size_t)head->len + 2);
    q->next = NULL;
    *c->end = q;
    c->end = &q->next;
}

static int xsc_send(struct xsc *c, const struct xsd_sockmsg *head, const struct iovec *parts,
                    unsigned count)
{
    struct iovec all[XSC_PARTS_MAX + 1] = {{(void *)(uintptr_t)head, sizeof(*head)}};
    memcpy(all + 1, parts, count * sizeof(*parts));
    struct msghdr msg = {.msg_iov = all, .msg_iovlen = count + 1};
    size_t left = sizeof(*head) + head->len;
    while (left) {
        ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return xsc_broken(c);
        left -= (size_t)n;
        while (msg.msg_iovlen && (size_t)n >= msg.msg_iov->iov_len) {
            n -= (ssize_t)msg.msg_iov->iov_len;
            msg.msg_iov++;
            msg.msg_iovlen--;
        }
        if (n > 0) {
            msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + n;
            msg.msg_iov->iov_len -= (size_t)n;
        }
    }
    return 0;
}

static int xsc_errno(const char *name)
{
    for (size_t i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++)
        if (!strcmp(xsd_errors[i].errstring, name))
            return -xsd_errors[i].errnum;
    return -EIO;
}

// The answer to the oldest request that has none yet; answers come in the order of requests.
static int xsc_answer(struct xsc *c, uint32_t type, char **reply, size_t *len)
{
    int64_t end_ms = xsc_now_ms() + XSC_ANSWER_MS;
    for (;;) {
        struct xsd_sockmsg in;
        char *body;
        int ret = xsc_message(c, &in, &body, end_ms);
        if (ret)
            return ret;
        if (in.type == XS_WATCH_EVENT) {
            xsc_queue(c, &in, body);
            free(body);
            continue;
        }
        if (in.type == XS_ERROR)
            ret = xsc_errno(body);
        else if (in.type != type)
            ret = xsc_broken(c);
        if (ret || !reply) {
            free(body);
            return ret;
        }
        *reply = body;
        if (len)
            *len = in.len;
        return 0;
    }
}

int xsc_call(struct xsc *c, uint32_t type, uint32_t tx, const struct iovec *parts, unsigned count,
             char **reply, size_t *len)
{
    struct xsd_sockmsg head = {.type = type, .req_id = ++c->last_id, .tx_id = tx};
    size_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += parts[i].iov_len;
    if (total > XENSTORE_PAYLOAD_MAX || count > XSC_PARTS_MAX)
        return -E2BIG;
    head.len = (uint32_t)total;
    int ret = c->broken ? -ECONNRESET : xsc_send(c, &head, parts, count);
    return ret ? ret : xsc_answer(c, type, reply, len);
}

static int xsc_window(struct xsc *c, uint32_t type, char *const *paths, unsigned count,
                      struct xsc_answer *answers)
{
    int ret = c->broken ? -ECONNRESET : 0;
    for (unsigned i = 0; i < count && !ret; i++) {
        struct iovec part = {paths[i], strlen(paths[i]) + 1};
        struct xsd_sockmsg head = {
            .type = type, .req_id = ++c->last_id, .len = (uint32_t)part.iov_len};
        ret = xsc_send(c, &head, &part, 1);
    }
    for (unsigned i = 0; i < count && !ret; i++) {
        answers[i].ret = xsc_answer(c, type, &answers[i].text, &answers[i].len);
        ret = c->broken ? -ECONNRESET : 0;
    }
    return ret;
}

int xsc_call_many(struct xsc *c, uint32_t type, char *const *paths, unsigned count,
                  struct xsc_answer *answers)
{
    int ret = 0;
    memset(answers, 0, count * sizeof(*answers));
    for (unsigned done = 0; done < count && !ret; done += XSC_WINDOW) {
        unsigned left = count - done;
        ret = xsc_window(c, type, paths + done, left < XSC_WINDOW ? left : XSC_WINDOW,
                         answers + done);
    }
    for (unsigned i = 0; i < count && ret; i++) {
        free(answers[i].text);
        answers[i].text = NULL;
    }
    return ret;
}

int xsc_event(struct xsc *c, int timeout_ms, char **path)
{
    if (c->broken)
        return -ECONNRESET;
    // Nothing is outstanding, so that all that comes is events.
    while (!c->first && xsc_readable(c, timeout_ms)) {
        struct xsd_sockmsg head;
        char *body;
        int ret = xsc_message(c, &head, &body, xsc_now_ms() + XSC_ANSWER_MS);
        if (ret)
            return ret;
        if (head.type == XS_WATCH_EVENT)
            xsc_queue(c, &head, body);
        free(body);
    }
    struct xsc_queued *q = c->first;
    if (!q)
        return 0;
    c->first = q->next;
    if (!c->first)
        c->end = &c->first;
    size_t first = strlen(q->text) + 1, second = strlen(q->text + first) + 1;
    *path = malloc(first + second);
    if (*path)
        memcpy(*path, q->text, first + second);
    free(q);
    return *path ? 1 : -ENOMEM;
}
