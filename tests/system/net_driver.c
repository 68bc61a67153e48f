// SPDX-License-Identifier: BSD-2-Clause
// net_driver STATE CONF VERB ...: calls libserai's network functions on a machine without a
// hypervisor, for test_net_host.py.  Prints what came out as KEY=VALUE words; errors as
// "CODE text" to standard error, exit status 1.
#include "serai.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const struct serai_error *err)
{
    fprintf(stderr, "%s %s\n", strerrorname_np(-err->code), err->text);
    return 1;
}

static void note(void *ctx, enum serai_log_level level, const char *text)
{
    (void)ctx, (void)level;
    fprintf(stderr, "note: %s\n", text);
}

static void show(const struct serai_net_port *p)
{
    char *vif = serai_vif_format(&p->vif);
    printf("domain=%u device=%s present=%d up=%d netback=%d sent=%llu received=%llu vif=%s\n",
           p->domain, p->device, p->present, p->up, p->rate_by_netback,
           (unsigned long long)p->sent_bytes, (unsigned long long)p->received_bytes, vif);
    free(vif);
}

static int attach(struct serai *s, char **arg, int count)
{
    static const uint8_t uuid[16] = {1};
    struct serai_error err;
    struct serai_vif vif;
    struct serai_net_port port;
    if (serai_vif_parse(s, arg[1], &vif, &err) || serai_vif_complete(&vif, 1, uuid, NULL, 0, &err))
        return fail(&err);
    if (serai_net_attach(s, (uint32_t)atoi(arg[0]), &vif, count > 2 ? arg[2] : NULL, &port, &err))
        return fail(&err);
    show(&port);
    return 0;
}

static int check(struct serai *s, char **arg, int count)
{
    static const uint8_t uuid[16] = {1};
    struct serai_error err;
    struct serai_vif vifs[4];
    int n = 0;
    for (; n < count && n < 4; n++)
        if (serai_vif_parse(s, arg[n], &vifs[n], &err))
            return fail(&err);
    if (serai_vif_complete(vifs, (size_t)n, uuid, NULL, 0, &err) ||
        serai_net_check(s, vifs, (size_t)n, &err))
        return fail(&err);
    return 0;
}

static int list(struct serai *s)
{
    struct serai_error err;
    struct serai_net_port *ports;
    size_t count;
    if (serai_net_list(s, &ports, &count, &err))
        return fail(&err);
    for (size_t i = 0; i < count; i++)
        show(&ports[i]);
    free(ports);
    return 0;
}

static int rate(struct serai *s, char **arg)
{
    struct serai_error err;
    struct serai_net_port port;
    uint64_t bytes;
    uint32_t usec;
    if (serai_rate_parse(arg[2], &bytes, &usec, &err) ||
        serai_net_set_rate(s, (uint32_t)atoi(arg[0]), (unsigned)atoi(arg[1]), bytes, usec, &port,
                           &err))
        return fail(&err);
    show(&port);
    return 0;
}

static bool alive(void *ctx, uint32_t domain)
{
    return domain == *(uint32_t *)ctx;
}

static int run(struct serai *s, const char *verb, char **arg, int count)
{
    struct serai_error err;
    int ret = -EINVAL;
    err.code = ret;
    snprintf(err.text, sizeof(err.text), "unknown verb %s", verb);
    if (!strcmp(verb, "attach") && count >= 2)
        return attach(s, arg, count);
    if (!strcmp(verb, "check") && count)
        return check(s, arg, count);
    if (!strcmp(verb, "list"))
        return list(s);
    if (!strcmp(verb, "rate") && count == 3)
        return rate(s, arg);
    if (!strcmp(verb, "sweep") && count == 1) {
        uint32_t one = (uint32_t)atoi(arg[0]);
        ret = serai_net_sweep(s, alive, &one, &err);
    } else if (!strcmp(verb, "setup"))
        ret = serai_net_setup(s, &err);
    else if (!strcmp(verb, "unsetup"))
        ret = serai_net_unsetup(s, &err);
    else if (!strcmp(verb, "detach") && count == 2)
        ret = serai_net_detach(s, (uint32_t)atoi(arg[0]), (unsigned)atoi(arg[1]), &err);
    else if (!strcmp(verb, "detach") && count == 1)
        ret = serai_net_detach_all(s, (uint32_t)atoi(arg[0]), &err);
    return ret ? fail(&err) : 0;
}

int main(int argc, char **argv)
{
    struct serai *s;
    struct serai_error err;
    if (argc < 4) {
        fprintf(stderr, "usage: net_driver STATE CONF VERB ...\n");
        return 2;
    }
    struct serai_options opt = {
        .state_dir = argv[1], .network_conf = argv[2], .local = true, .log = note};
    if (serai_open(&s, &opt, &err))
        return fail(&err);
    int code = run(s, argv[3], argv + 4, argc - 4);
    serai_close(s);
    return code;
}
