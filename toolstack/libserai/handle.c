// SPDX-License-Identifier: BSD-2-Clause
// Opening and closing, errors and notes.
#include "store.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void err_format(struct serai_error *err, int code, const char *fmt, va_list ap)
{
    err->code = code;
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
}

int err_set(struct serai_error *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        err_format(err, code, fmt, ap);
        va_end(ap);
    }
    return code;
}

int err_sys(struct serai_error *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        err_format(err, code, fmt, ap);
        va_end(ap);
        size_t len = strlen(err->text);
        snprintf(err->text + len, sizeof(err->text) - len, ": %s", strerror(-code));
    }
    return code;
}

void serai_note(struct serai *s, enum serai_log_level level, const char *fmt, ...)
{
    if (!s->log)
        return;
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    s->log(s->log_ctx, level, text);
}

static char *path_join(const char *dir, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

int serai_open(struct serai **out, const struct serai_options *opt, struct serai_error *err)
{
    static const struct serai_options defaults;
    if (!opt)
        opt = &defaults;
    struct serai *s = calloc(1, sizeof(*s));
    if (!s)
        return err_set(err, -ENOMEM, "out of memory");
    pthread_mutex_init(&s->lock, NULL);
    s->refs = 1;
    s->cancel_fd = -1;
    s->log = opt->log;
    s->log_ctx = opt->log_ctx;
    s->state_dir = strdup(opt->state_dir ? opt->state_dir : SERAI_STATE_DIR);
    if (s->state_dir) {
        s->domain_dir = path_join(s->state_dir, "domains");
        s->building_dir = path_join(s->state_dir, "building");
        s->socket = path_join(s->state_dir, "consoled.sock");
    }
    s->network_conf = strdup(opt->network_conf ? opt->network_conf : SERAI_NETWORK_CONF);
    if (!s->domain_dir || !s->building_dir || !s->socket || !s->network_conf) {
        serai_close(s);
        return err_set(err, -ENOMEM, "out of memory");
    }

    if (opt->local) {
        *out = s;
        return 0;
    }
    s->call = xencall_open(NULL, 0);
    if (s->call)
        s->memory = xenforeignmemory_open(NULL, 0);
    if (!s->memory) {
        int code = errno ? -errno : -EIO;
        serai_close(s);
        return err_sys(err, code,
                       "cannot open the hypervisor's device /dev/xen/privcmd (is this the control "
                       "domain, is module xen-privcmd loaded, are you root?)");
    }
    *out = s;
    return 0;
}

void serai_leave_mapping(struct serai *s, void *at, size_t pages)
{
    pthread_mutex_lock(&s->lock);
    bool room = s->nr_left < LEFT_MAX;
    if (room) {
        s->left[s->nr_left].at = at;
        s->left[s->nr_left++].pages = pages;
    }
    pthread_mutex_unlock(&s->lock);
    if (!room)
        xenforeignmemory_unmap(s->memory, at, pages);
}

void serai_drop_mappings(struct serai *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->nr_left) {
        s->nr_left--;
        xenforeignmemory_unmap(s->memory, s->left[s->nr_left].at, s->left[s->nr_left].pages);
    }
    pthread_mutex_unlock(&s->lock);
}

struct serai *serai_child(struct serai *parent, int cancel_fd)
{
    struct serai *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    if (parent->parent)
        parent = parent->parent;
    *s = (struct serai){.call = parent->call,
                        .memory = parent->memory,
                        .log = parent->log,
                        .log_ctx = parent->log_ctx,
                        .state_dir = parent->state_dir,
                        .domain_dir = parent->domain_dir,
                        .building_dir = parent->building_dir,
                        .socket = parent->socket,
                        .network_conf = parent->network_conf,
                        .parent = parent,
                        .cancel_fd = cancel_fd};
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_lock(&parent->lock);
    parent->refs++;
    pthread_mutex_unlock(&parent->lock);
    return s;
}

void serai_child_end(struct serai *s)
{
    struct serai *parent = s->parent;
    store_close(s);
    serai_drop_mappings(s);
    pthread_mutex_destroy(&s->lock);
    free(s);
    serai_close(parent);
}

bool serai_cancelled(const struct serai *s)
{
    struct pollfd p = {.fd = s->cancel_fd, .events = POLLIN};
    return s->cancel_fd >= 0 && poll(&p, 1, 0) > 0;
}

void serai_close(struct serai *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    bool last = !--s->refs;
    pthread_mutex_unlock(&s->lock);
    if (!last)
        return;
    store_close(s);
    serai_drop_mappings(s);
    if (s->memory)
        xenforeignmemory_close(s->memory);
    if (s->call)
        xencall_close(s->call);
    pthread_mutex_destroy(&s->lock);
    free(s->network_conf);
    free(s->socket);
    free(s->building_dir);
    free(s->domain_dir);
    free(s->state_dir);
    free(s);
}

const char *serai_console_socket(const struct serai *s)
{
    return s->socket;
}

const char *serai_domain_dir(const struct serai *s)
{
    return s->domain_dir;
}
