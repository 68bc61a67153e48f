// SPDX-License-Identifier: BSD-2-Clause
// Clients in the control domain: sockets. They may do everything, as the control domain's kernel
// may; only its administrator can connect.
#include "stored.h"

#include "file.h"
#include "log.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

// A client that leaves this many bytes unread is not served until it has read some.
enum { UNIX_OUT_MAX = 64 * 1024, UNIX_TURN_REQUESTS = 16, UNIX_CLIENTS_MAX = 4096 };
enum { UNIX_IN_MAX = 4 * MESSAGE_MAX };

struct unix_conn {
    struct conn conn;
    struct turn turn;
    struct stored *daemon;
    struct unix_conn *next;
    int fd;
    struct loop_source *source;
    struct buf out;
    size_t sent; // of `out`
    size_t have; // bytes in `in`
    uint32_t events;
    char *in; // UNIX_IN_MAX bytes, only while there is something in it
};

struct unix_listener {
    struct stored *daemon;
    int fd;
    int spare; // given up for a moment to turn away a client when there are no descriptors left
};

// Most clients wait most of the time, so one buffer goes round.
static void unix_take_buffer(struct unix_conn *u)
{
    if (u->in)
        return;
    u->in = u->daemon->spare_buffer;
    u->daemon->spare_buffer = NULL;
    if (!u->in)
        u->in = mem_resize(NULL, UNIX_IN_MAX);
}

static void unix_leave_buffer(struct unix_conn *u)
{
    if (u->have || !u->in)
        return;
    if (u->daemon->spare_buffer)
        free(u->in);
    else
        u->daemon->spare_buffer = u->in;
    u->in = NULL;
}

static void unix_free(struct unix_conn *u)
{
    struct stored *d = u->daemon;
    for (struct unix_conn **p = &d->sockets; *p; p = &(*p)->next) {
        if (*p == u) {
            *p = u->next;
            break;
        }
    }
    d->socket_count--;
    turn_cancel(&d->turns, &u->turn);
    conn_close(&u->conn);
    loop_remove(u->source);
    close(u->fd);
    buf_free(&u->out);
    u->have = 0;
    unix_leave_buffer(u);
    free(u);
}

static bool unix_stopped(const struct unix_conn *u)
{
    return u->out.len - u->sent >= UNIX_OUT_MAX;
}

static void unix_watch(struct unix_conn *u)
{
    uint32_t events = u->out.len > u->sent ? EPOLLOUT : 0;
    if (!unix_stopped(u) && u->have < UNIX_IN_MAX)
        events |= EPOLLIN;
    if (events == u->events)
        return;
    u->events = events;
    loop_set_events(u->source, events);
}

// Sends what the client takes. False when it is gone.
static bool unix_flush(struct unix_conn *u)
{
    while (u->out.len > u->sent) {
        ssize_t n =
            send(u->fd, u->out.data + u->sent, u->out.len - u->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        u->sent += (size_t)n;
    }
    u->out.len = u->sent = 0;
    return true;
}

static void unix_take_events(struct unix_conn *u)
{
    while (u->conn.events && !unix_stopped(u)) {
        buf_add(&u->out, u->conn.events->data, u->conn.events->len);
        mem_check(&u->out);
        conn_event_done(&u->conn);
    }
}

// One request, if a whole one is there. -EPROTO for one that is longer than allowed.
static int unix_request(struct unix_conn *u, size_t *at)
{
    struct xsd_sockmsg head;
    char out[MESSAGE_MAX];
    if (u->have - *at < sizeof(head))
        return 0; // nothing at all, perhaps not even a buffer
    memcpy(&head, u->in + *at, sizeof(head));
    if (head.len > XENSTORE_PAYLOAD_MAX)
        return -EPROTO;
    if (u->have - *at < sizeof(head) + head.len)
        return 0;
    size_t len = request_run(&u->conn, u->in + *at, out);
    buf_add(&u->out, out, len);
    mem_check(&u->out);
    *at += sizeof(head) + head.len;
    return 1;
}

static void unix_serve(struct turn *t)
{
    struct unix_conn *u = (struct unix_conn *)((char *)t - offsetof(struct unix_conn, turn));
    size_t at = 0;
    int more = 1;
    for (unsigned i = 0; i < UNIX_TURN_REQUESTS && more > 0 && !unix_stopped(u); i++) {
        more = unix_request(u, &at);
        unix_take_events(u); // of a request come after its answer
    }
    u->have -= at;
    if (u->have)
        memmove(u->in, u->in + at, u->have);
    unix_leave_buffer(u);
    unix_take_events(u);
    if (more < 0) {
        log_warn("a client sent a message that is too long");
        unix_free(u);
        return;
    }
    if (!unix_flush(u)) {
        unix_free(u);
        return;
    }
    unix_watch(u);
    if ((more > 0 && !unix_stopped(u)) || (u->conn.events && !unix_stopped(u)))
        turn_queue(&u->daemon->turns, &u->turn);
}

static void unix_on_event(void *arg, uint32_t events)
{
    struct unix_conn *u = arg;
    if ((events & EPOLLIN) && u->have < UNIX_IN_MAX) {
        unix_take_buffer(u);
        ssize_t n = recv(u->fd, u->in + u->have, UNIX_IN_MAX - u->have, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            unix_free(u);
            return;
        }
        u->have += n > 0 ? (size_t)n : 0;
    } else if (events & (EPOLLHUP | EPOLLERR)) {
        unix_free(u);
        return;
    }
    turn_queue(&u->daemon->turns, &u->turn);
}

void sockets_wake(struct stored *d, struct conn *c)
{
    struct unix_conn *u = (struct unix_conn *)((char *)c - offsetof(struct unix_conn, conn));
    turn_queue(&d->turns, &u->turn);
}

static bool unix_allowed(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
        return false;
    return peer.uid == 0 || peer.uid == geteuid();
}

static void unix_accept(struct stored *d, int fd)
{
    if (!unix_allowed(fd) || d->socket_count >= UNIX_CLIENTS_MAX) {
        close(fd);
        return;
    }
    struct unix_conn *u = mem_alloc(sizeof(*u));
    u->daemon = d;
    u->fd = fd;
    u->turn.serve = unix_serve;
    u->events = EPOLLIN;
    u->source = loop_add_fd(d->loop, fd, EPOLLIN, unix_on_event, u);
    if (!u->source) {
        log_error("cannot serve another client: %s", strerror(errno));
        close(fd);
        free(u);
        return;
    }
    conn_init(&u->conn, &d->store, domain_get(&d->store, 0), false);
    u->next = d->sockets;
    d->sockets = u;
    d->socket_count++;
}

static void sockets_on_connect(void *arg, uint32_t events)
{
    struct unix_listener *l = arg;
    (void)events;
    int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        unix_accept(l->daemon, fd);
    } else if (errno == EMFILE || errno == ENFILE) {
        close(l->spare);
        fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            close(fd);
        l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

// Bound beside its place and renamed there, so that a client finds the old one or the new one.
static int sockets_bind(int fd, const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (!len || len + sizeof(".new") > sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    memcpy(addr.sun_path, path, len);
    if (path[0] == '@') {
        addr.sun_path[0] = '\0';
        socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
        return bind(fd, (struct sockaddr *)&addr, size) ? -errno : 0;
    }
    char dir[PATH_MAX];
    memcpy(dir, path, len + 1);
    char *slash = strrchr(dir, '/');
    if (slash && slash != dir) {
        *slash = '\0';
        int ret = file_make_dirs(dir, 0755);
        if (ret)
            return ret;
    }
    memcpy(addr.sun_path + len, ".new", sizeof(".new"));
    unlink(addr.sun_path);
    mode_t mask = umask(0177);
    int ret = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
    umask(mask);
    return ret;
}

static int sockets_publish(int fd, const char *path)
{
    char temporary[PATH_MAX];
    if (listen(fd, 128))
        return -errno;
    if (path[0] == '@')
        return 0;
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    return rename(temporary, path) ? -errno : 0;
}

int sockets_listen(struct stored *d, const char *path)
{
    struct unix_listener *l = mem_alloc(sizeof(*l)); // for as long as the process lives
    l->daemon = d;
    l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int ret = l->fd < 0 ? -errno : sockets_bind(l->fd, path);
    if (!ret)
        ret = sockets_publish(l->fd, path);
    if (!ret && !loop_add_fd(d->loop, l->fd, EPOLLIN, sockets_on_connect, l))
        ret = -ENOMEM;
    if (ret) {
        if (l->fd >= 0)
            close(l->fd);
        if (l->spare >= 0)
            close(l->spare);
        free(l);
    }
    return ret;
}

void sockets_close(struct stored *d)
{
    for (struct unix_conn *u = d->sockets, *next; u; u = next) {
        next = u->next;
        unix_free(u);
    }
    free(d->spare_buffer);
}
