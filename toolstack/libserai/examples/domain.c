// SPDX-License-Identifier: BSD-2-Clause
// Domains: lists all, or pauses and lets run again the one that is named.
#include <serai.h>
#include <stdio.h>
#include <stdlib.h>

static int list(struct serai *s, struct serai_error *err)
{
    struct serai_domain *list;
    size_t count;
    if (serai_domain_list(s, &list, &count, err))
        return -1;
    for (size_t i = 0; i < count; i++)
        printf("%u %s %.1f s\n", list[i].id, list[i].name, (double)list[i].cpu_ns / 1e9);
    free(list);
    return 0;
}

static int pause_and_go(struct serai *s, const char *name, struct serai_error *err)
{
    struct serai_domain d;
    if (serai_domain_find(s, name, &d, err) || serai_domain_pause(s, d.id, err))
        return -1;
    printf("domain %u stands still\n", d.id);
    return serai_domain_unpause(s, d.id, err);
}

int main(int argc, char **argv)
{
    struct serai *s;
    struct serai_error err;
    if (serai_open(&s, NULL, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    int ret = argc > 1 ? pause_and_go(s, argv[1], &err) : list(s, &err);
    if (ret)
        fprintf(stderr, "%s\n", err.text);
    serai_close(s);
    return ret != 0;
}
