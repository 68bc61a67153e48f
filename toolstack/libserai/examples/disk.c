// SPDX-License-Identifier: BSD-2-Clause
// Disks: adds one to a guest ("disk GUEST /images/data.img,raw,xvdb,w"), or lists them.
#include <serai.h>
#include <stdio.h>

static int attach(struct serai *s, uint32_t domain, const char *text, struct serai_error *err)
{
    struct serai_disk disk;
    if (serai_disk_parse(text, &disk, err))
        return -1;
    int ret = serai_disk_attach(s, domain, &disk, err);
    serai_disk_clear(&disk);
    return ret;
}

static int list(struct serai *s, uint32_t domain, struct serai_error *err)
{
    struct serai_disk_status *list;
    size_t count;
    if (serai_disk_list(s, domain, &list, &count, err))
        return -1;
    for (size_t i = 0; i < count; i++)
        printf("%s %s %s\n", list[i].disk.vdev, list[i].backend,
               serai_device_state_name(list[i].frontend_state));
    serai_disk_list_free(list, count);
    return 0;
}

int main(int argc, char **argv)
{
    struct serai *s;
    struct serai_domain d;
    struct serai_error err;
    if (argc < 2) {
        fprintf(stderr, "usage: disk GUEST [DISK]\n");
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
