// SPDX-License-Identifier: BSD-2-Clause
// CONTROL: what an administrator asks the daemon itself (xenstore-control(1)).
#include "ops.h"

#include "log.h"
#include "mem.h"
#include "watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { CONTROL_ARGS = 4 };

struct control {
    struct request *r;
    const char *arg[CONTROL_ARGS];
    unsigned count; // of arguments behind the command
};

static FILE *control_log;

static void control_log_line(const char *text)
{
    if (control_log) {
        fprintf(control_log, "%s\n", text);
        fflush(control_log);
    } else {
        log_info("%s", text);
    }
}

static int control_check(struct control *c)
{
    const char *wrong = store_check(c->r->store);
    if (wrong)
        log_error("check: %s", wrong);
    buf_puts(c->r->reply, wrong ? wrong : "OK");
    return 0;
}

static int control_log_switch(struct control *c)
{
    if (c->count != 1 || (strcmp(c->arg[0], "on") != 0 && strcmp(c->arg[0], "off") != 0))
        return -EINVAL;
    request_log_to(!strcmp(c->arg[0], "on") ? control_log_line : NULL);
    return 0;
}

static int control_log_file(struct control *c)
{
    if (c->count != 1)
        return -EINVAL;
    FILE *to = fopen(c->arg[0], "ae");
    if (!to)
        return -EIO;
    if (control_log)
        fclose(control_log);
    control_log = to;
    return 0;
}

static void report_domain(struct buf *out, const struct store *s, const struct domain *d)
{
    buf_printf(out, "domain %u: %u nodes, %u watches, %u transactions, %ld bytes%s\n", d->id,
               d->use.nodes, d->use.watches, d->use.transactions, d->use.bytes,
               d->introduced ? "" : ", not introduced");
    for (const struct conn *c = s->conns; c; c = c->next)
        if (c->domain == d && c->event_count)
            buf_printf(out, "  %u events wait for its %s\n", c->event_count,
                       c->ring ? "ring" : "socket");
}

static void report(struct buf *out, const struct store *s)
{
    buf_printf(out, "%llu requests, %llu commits, %llu conflicts\n",
               (unsigned long long)s->requests, (unsigned long long)s->commits,
               (unsigned long long)s->conflicts);
    for (unsigned i = 0; i < s->domain_count; i++)
        report_domain(out, s, s->domains[i]);
    mem_check(out);
}

static int control_memreport(struct control *c)
{
    BUF_AUTO text = {0};
    report(&text, c->r->store);
    if (!c->count) {
        if (text.len > XENSTORE_PAYLOAD_MAX - 1)
            text.len = XENSTORE_PAYLOAD_MAX - 1;
        buf_add(c->r->reply, text.data, text.len);
        return 0;
    }
    FILE *to = fopen(c->arg[0], "we");
    if (!to)
        return -EIO;
    size_t written = fwrite(text.data, 1, text.len, to);
    return fclose(to) || written != text.len ? -EIO : 0;
}

static int control_print(struct control *c)
{
    if (c->count != 1)
        return -EINVAL;
    log_info("%s", c->arg[0]);
    return 0;
}

static int quota_set(struct control *c)
{
    BUF_AUTO body = {0};
    struct limits trial = c->r->store->limits;
    int ret = limits_set(&trial, c->arg[1], c->arg[2]);
    if (ret)
        return ret;
    record_text(&body, c->arg[1]);
    record_text(&body, c->arg[2]);
    ret = store_record(c->r->store, RECORD_LIMIT, &body);
    if (!ret)
        c->r->store->limits = trial;
    return ret;
}

static int control_quota(struct control *c)
{
    struct store *s = c->r->store;
    unsigned long id;
    if (c->count == 3 && !strcmp(c->arg[0], "set"))
        return quota_set(c);
    if (c->count == 1 && !request_number(c->arg[0], DOMID_COUNT - 1, &id)) {
        const struct domain *d = domain_find(s, (unsigned)id);
        if (!d)
            return -ENOENT;
        report_domain(c->r->reply, s, d);
        return 0;
    }
    if (c->count)
        return -EINVAL;
    const char *name;
    for (unsigned n = 0; (name = limits_name(n)); n++)
        buf_printf(c->r->reply, "%s: %u\n", name, *limits_find(&s->limits, name));
    return 0;
}

static int control_help(struct control *c);

static const struct {
    const char *name;
    int (*run)(struct control *c);
    const char *usage;
} control_table[] = {
    {"check", control_check, ""},
    {"help", control_help, ""},
    {"log", control_log_switch, "on|off"},
    {"logfile", control_log_file, "<file>"},
    {"memreport", control_memreport, "[<file>]"},
    {"print", control_print, "<text>"},
    {"quota", control_quota, "[set <name> <value>|<domid>]"},
};
enum { CONTROL_COUNT = sizeof(control_table) / sizeof(control_table[0]) };

static int control_help(struct control *c)
{
    buf_puts(c->r->reply, "commands:\n");
    for (unsigned i = 0; i < CONTROL_COUNT; i++)
        buf_printf(c->r->reply, "\t%s %s\n", control_table[i].name, control_table[i].usage);
    return 0;
}

int op_control(struct request *r)
{
    struct control c = {.r = r};
    const char *command, *at;
    size_t left;
    int ret = request_prefix(r, &command, 1, &at, &left);
    while (!ret && left && c.count < CONTROL_ARGS) {
        size_t len = strlen(at) + 1;
        c.arg[c.count++] = at;
        at += len;
        left -= len;
    }
    if (ret || left)
        return -EINVAL;
    for (unsigned i = 0; i < CONTROL_COUNT; i++) {
        if (strcmp(control_table[i].name, command) != 0)
            continue;
        ret = control_table[i].run(&c);
        if (!ret && r->reply->data)
            buf_add(r->reply, "", 1);
        return ret;
    }
    return -EINVAL;
}
