// SPDX-License-Identifier: BSD-2-Clause
// Network interfaces: adds one to a guest ("vif GUEST bridge=xenbr0"), or lists them.
#include <serai.h>
#include <stdio.h>
#include <stdlib.h>

static int attach(struct serai *s, uint32_t domain, const char *text, struct serai_error *err)
{
    struct serai_vif vif;
    unsigned devid;
    if (serai_vif_parse(s, text, &vif, err) || serai_vif_attach(s, domain, &vif, &devid, err))
        return -1;
    printf("interface %u\n", devid);
    return 0;
}

static int list(struct serai *s, uint32_t domain, struct serai_error *err)
{
    struct serai_vif_status *list;
    char mac[SERAI_MAC_TEXT];
    size_t count;
    if (serai_vif_list(s, domain, &list, &count, err))
        return -1;
    for (size_t i = 0; i < count; i++)
        printf("%u %s %s\n", list[i].devid, serai_mac_format(list[i].mac, mac), list[i].bridge);
    free(list);
    return 0;
}

int main(int argc, char **argv)
{
    struct serai *s;
    struct serai_domain d;
    struct serai_error err;
    if (argc < 2) {
        fprintf(stderr, "usage: vif GUEST [VIF]\n");
        return 2;
    }
    if (serai_open(&s, NULL, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    int ret = serai_domain_find(s, argv[1], &d, &err);
    if (!ret)
        ret = argc > 2 ? attach(s, d.id, argv[2], &err) : list(s, d.id, &err);
    if (ret)
        fprintf(stderr, "%s\n", err.text);
    serai_close(s);
    return ret != 0;
}
