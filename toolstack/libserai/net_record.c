// SPDX-License-Identifier: BSD-2-Clause
// What is remembered about attached interfaces.
#include "net_internal.h"

#include "buf.h"
#include "cfg.h"
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { NET_RECORD_SIZE_MAX = 8192 };

// Parts of records whose writers died: only who holds the lock writes, and we hold it.
static void remove_parts(const char *dir_path)
{
    DIR *dir = opendir(dir_path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        size_t len = strlen(e->d_name);
        if (len > 4 && !strcmp(e->d_name + len - 4, ".tmp"))
            unlinkat(dirfd(dir), e->d_name, 0);
    }
    if (dir)
        closedir(dir);
}

int net_lock(struct serai *s, struct serai_error *err)
{
    char dir[PATH_MAX], path[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s/net", s->state_dir);
    snprintf(path, sizeof(path), "%s/net.lock", s->state_dir);
    int ret = file_make_dirs(dir, 0755);
    if (ret)
        return err_sys(err, ret, "cannot make %s", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    while (fd >= 0 && flock(fd, LOCK_EX)) {
        if (errno == EINTR)
            continue;
        ret = -errno;
        close(fd);
        return err_sys(err, ret, "cannot lock %s", path);
    }
    if (fd < 0)
        return err_sys(err, -errno, "cannot open %s", path);
    remove_parts(dir);
    return fd;
}

static void record_path(struct serai *s, uint32_t domain, unsigned devid, char *path, size_t size)
{
    snprintf(path, size, "%s/net/%u.%u", s->state_dir, domain, devid);
}

static void write_text(struct buf *b, const char *key, const char *value)
{
    buf_printf(b, "%s = ", key);
    cfg_write_string(b, value);
    buf_puts(b, "\n");
}

int net_record_write(struct serai *s, const struct net_record *r, struct serai_error *err)
{
    char path[PATH_MAX], mac[SERAI_MAC_TEXT];
    BUF_AUTO b = {0};
    char *vif = serai_vif_format(&r->port.vif);
    if (!vif)
        return err_set(err, -ENOMEM, "out of memory");
    buf_printf(&b, "domain = %u\nindex = %u\nold_mtu = %u\n", r->port.domain, r->index, r->old_mtu);
    buf_printf(&b, "shaped = %d\nrate_by_netback = %d\ndone = %d\n", r->shaped,
               r->port.rate_by_netback, r->done);
    write_text(&b, "device", r->port.device);
    write_text(&b, "created", r->created);
    write_text(&b, "old_mac", serai_mac_format(r->old_mac, mac));
    write_text(&b, "vif", vif);
    free(vif);
    record_path(s, r->port.domain, (unsigned)r->port.vif.devid, path, sizeof(path));
    int ret = b.failed ? -ENOMEM : file_write_atomic(path, b.data, b.len, 0644);
    return ret ? err_sys(err, ret, "cannot write %s", path) : 0;
}

static int read_name(const struct cfg *c, const char *key, char *out, struct cfg_error *err)
{
    const char *text = "";
    int ret = cfg_get_string(c, key, &text, err);
    if (ret || !net_ifname_good(text))
        return -EINVAL;
    strcpy(out, text);
    return 0;
}

static int record_parse(const struct cfg *c, struct net_record *r)
{
    struct cfg_error err;
    int64_t domain = -1, index = 0, mtu = 0, shaped = 0, netback = 0, done = 0;
    const char *vif = "", *mac = "";
    unsigned b[6];
    *r = (struct net_record){0};
    if (cfg_get_number(c, "domain", 0, UINT32_MAX, &domain, &err) || domain < 0 ||
        cfg_get_number(c, "index", 0, INT32_MAX, &index, &err) ||
        cfg_get_number(c, "old_mtu", 0, 65536, &mtu, &err) ||
        cfg_get_number(c, "shaped", 0, 1, &shaped, &err) ||
        cfg_get_number(c, "rate_by_netback", 0, 1, &netback, &err) ||
        cfg_get_number(c, "done", 0, 1, &done, &err) || cfg_get_string(c, "vif", &vif, &err) ||
        cfg_get_string(c, "old_mac", &mac, &err) || read_name(c, "device", r->port.device, &err) ||
        read_name(c, "created", r->created, &err) ||
        serai_vif_parse(NULL, vif, &r->port.vif, NULL) || r->port.vif.devid < 0)
        return -EINVAL;
    // Read here because it may be an address that no guest may have: the backend's.
    if (sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
        return -EINVAL;
    for (int i = 0; i < 6; i++)
        r->old_mac[i] = (uint8_t)b[i];
    r->port.domain = (uint32_t)domain;
    r->port.rate_by_netback = netback;
    r->index = (unsigned)index;
    r->old_mtu = (unsigned)mtu;
    r->shaped = shaped;
    r->done = done;
    return 0;
}

int net_record_read(struct serai *s, uint32_t domain, unsigned devid, struct net_record *out,
                    struct serai_error *err)
{
    char path[PATH_MAX];
    struct cfg_error where = {""};
    BUF_AUTO text = {0};
    record_path(s, domain, devid, path, sizeof(path));
    int ret = file_read(path, NET_RECORD_SIZE_MAX, &text);
    if (ret == -ENOENT)
        return ret;
    if (ret)
        return err_sys(err, ret, "cannot read %s", path);
    struct cfg *c = cfg_new();
    ret = c ? cfg_parse(c, path, text.data, text.len, &where) : -ENOMEM;
    if (!ret)
        ret = record_parse(c, out);
    if (!ret && (out->port.domain != domain || out->port.vif.devid != (int)devid))
        ret = -EINVAL;
    cfg_free(c);
    return ret ? err_set(err, ret, "%s: damaged record of an interface", path) : 0;
}

void net_record_remove(struct serai *s, const struct net_record *r)
{
    char path[PATH_MAX];
    record_path(s, r->port.domain, (unsigned)r->port.vif.devid, path, sizeof(path));
    unlink(path);
}

static int record_order(const void *a, const void *b)
{
    const struct net_record *x = a, *y = b;
    if (x->port.domain != y->port.domain)
        return x->port.domain < y->port.domain ? -1 : 1;
    return x->port.vif.devid - y->port.vif.devid;
}

int net_record_list(struct serai *s, struct net_record **list, size_t *count,
                    struct serai_error *err)
{
    char path[PATH_MAX];
    BUF_AUTO b = {0};
    snprintf(path, sizeof(path), "%s/net", s->state_dir);
    DIR *dir = opendir(path);
    *list = NULL;
    *count = 0;
    if (!dir && errno != ENOENT)
        return err_sys(err, -errno, "cannot read %s", path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct net_record r;
        struct serai_error why;
        unsigned domain, devid;
        int end = 0;
        if (sscanf(e->d_name, "%9u.%9u%n", &domain, &devid, &end) != 2 || e->d_name[end])
            continue;
        int ret = net_record_read(s, domain, devid, &r, &why);
        if (!ret)
            buf_add(&b, &r, sizeof(r));
        else if (ret != -ENOENT)
            serai_note(s, SERAI_LOG_WARNING, "%s", why.text);
    }
    if (dir)
        closedir(dir);
    *count = b.len / sizeof(**list);
    *list = (struct net_record *)(void *)buf_take(&b);
    if (!*list)
        return err_set(err, -ENOMEM, "out of memory");
    qsort(*list, *count, sizeof(**list), record_order);
    return 0;
}
