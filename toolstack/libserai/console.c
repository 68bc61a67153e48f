// SPDX-License-Identifier: BSD-2-Clause
// The client's side of the console daemon: one line each way, then raw bytes.
#include "store.h"

#include "file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CONSOLE_BACK_MS = 3000, CONSOLE_TRY_MS = 50 };

// Reads up to the first newline; bytes after it stay in the socket.
static int console_read_line(int fd, char *line, size_t size)
{
    for (size_t len = 0; len + 1 < size;) {
        ssize_t n = read(fd, line + len, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (!n)
            return -ECONNRESET;
        if (line[len] == '\n') {
            line[len] = '\0';
            return 0;
        }
        len++;
    }
    return -EPROTO;
}

static int console_attach(struct serai *s, uint32_t id, int *fd, struct serai_error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(s->socket) >= sizeof(addr.sun_path))
        return err_set(err, -ENAMETOOLONG, "the path %s is too long for a socket", s->socket);
    strcpy(addr.sun_path, s->socket);

    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return err_sys(err, -errno, "cannot make a socket");
    char line[256];
    int ret;
    if (connect(sock, (struct sockaddr *)&addr, sizeof(addr))) {
        ret = -errno;
        err_sys(err, ret, "cannot reach the console daemon at %s (is consoled running?)",
                s->socket);
        goto out_close;
    }
    snprintf(line, sizeof(line), "attach %u\n", id);
    ret = file_write_all(sock, line, strlen(line));
    if (!ret)
        ret = console_read_line(sock, line, sizeof(line));
    if (ret) {
        err_sys(err, ret, "the console daemon does not answer");
        goto out_close;
    }
    if (strcmp(line, "ok") != 0) {
        ret = err_set(err, -ESRCH, "console of domain %u: %s", id, line);
        goto out_close;
    }
    *fd = sock;
    return 0;

out_close:
    close(sock);
    return ret;
}

// A socket that nobody listens at, or that is left in the middle, is that of a daemon that is just
// being started again.
int serai_console_attach(struct serai *s, uint32_t id, int *fd, struct serai_error *err)
{
    for (unsigned waited = 0;; waited += CONSOLE_TRY_MS) {
        int ret = console_attach(s, id, fd, err);
        bool again = ret == -ECONNREFUSED || ret == -ECONNRESET || ret == -EPIPE;
        if (!again || waited >= CONSOLE_BACK_MS)
            return ret;
        nanosleep(&(struct timespec){.tv_nsec = CONSOLE_TRY_MS * 1000000}, NULL);
    }
}

struct console_tty {
    uint32_t id;
    const char *path;
};

// A domain that has gone must not come back as a node.
static void console_tty_node(struct store_tx *t, void *arg)
{
    const struct console_tty *tty = arg;
    char dir[STORE_PATH_MAX];
    snprintf(dir, sizeof(dir), "/local/domain/%u/console", tty->id);
    char *type = tx_read(t, dir, "type");
    if (type)
        tx_write(t, dir, "tty", "%s", tty->path);
    free(type);
}

int serai_console_set_tty(struct serai *s, uint32_t id, const char *path, struct serai_error *err)
{
    struct console_tty tty = {id, path};
    if (!store_served(s))
        return err_set(err, -ENOTCONN, "xenstore is not served here");
    return store_transaction(s, console_tty_node, &tty, err);
}
