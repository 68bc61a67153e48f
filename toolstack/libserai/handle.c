// SPDX-License-Identifier: BSD-2-Clause
// Opening and closing, errors and notes.
#include "store.h"

#include <errno.h>
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
    if (s->nr_left == LEFT_MAX) {
        xenforeignmemory_unmap(s->memory, at, pages);
        return;
    }
    s->left[s->nr_left].at = at;
    s->left[s->nr_left++].pages = pages;
}

void serai_drop_mappings(struct serai *s)
{
    while (s->nr_left) {
        s->nr_left--;
        xenforeignmemory_unmap(s->memory, s->left[s->nr_left].at, s->left[s->nr_left].pages);
    }
}

void serai_close(struct serai *s)
{
    if (!s)
        return;
    store_close(s);
    serai_drop_mappings(s);
    if (s->memory)
        xenforeignmemory_close(s->memory);
    if (s->call)
        xencall_close(s->call);
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
