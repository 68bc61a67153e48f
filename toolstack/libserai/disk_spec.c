// SPDX-License-Identifier: BSD-2-Clause
// The text of a disk, as xl-disk-configuration(5) describes it, and back.
#include "internal.h"

#include "buf.h"
#include "suggest.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPEC_MAX = 4096, SPEC_IOPS_MAX = 100000000 };
#define SPEC_RATE_MAX (UINT64_C(1) << 39)

enum spec_key {
    SPEC_TARGET,
    SPEC_FORMAT,
    SPEC_VDEV,
    SPEC_ACCESS, // up to here also by position
    SPEC_POSITIONS,
    SPEC_DEVTYPE = SPEC_POSITIONS,
    SPEC_BACKEND,
    SPEC_BACKENDTYPE,
    SPEC_SCRIPT,
    SPEC_SPECIFICATION,
    SPEC_RATE,
    SPEC_IOPS,
    SPEC_KEYS,
    // Flags:
    SPEC_CDROM = SPEC_KEYS,
    SPEC_DIRECT,
    SPEC_DISCARD,
    SPEC_NO_DISCARD,
    SPEC_TRUSTED,
    SPEC_UNTRUSTED,
    SPEC_WORDS,
};

static const char *const spec_words[SPEC_WORDS] = {
    "target",         "format",  "vdev",          "access",  "devtype",   "backend",
    "backendtype",    "script",  "specification", "rate",    "iops",      "cdrom",
    "direct-io-safe", "discard", "no-discard",    "trusted", "untrusted",
};

static const char *const format_names[] = {"raw", "vhd", "qcow", "qcow2", "qed"};
enum { FORMATS = sizeof(format_names) / sizeof(format_names[0]) };

struct spec {
    const char *value[SPEC_KEYS]; // NULL: not given
    bool flag[SPEC_WORDS];
    struct serai_error *err;
};

const char *serai_disk_format_name(enum serai_disk_format format)
{
    return (unsigned)format < FORMATS ? format_names[format] : "unknown";
}

void serai_disk_clear(struct serai_disk *d)
{
    free(d->target);
    d->target = NULL;
}

static int spec_word(const char *word, size_t len)
{
    for (int i = 0; i < SPEC_WORDS; i++)
        if (strlen(spec_words[i]) == len && !memcmp(spec_words[i], word, len))
            return i;
    return -1;
}

static int spec_unknown(struct spec *sp, const char *word)
{
    struct suggest hint = {.word = word};
    for (int i = 0; i < SPEC_WORDS; i++)
        suggest_offer(&hint, spec_words[i]);
    return err_set(sp->err, -EINVAL,
                   "unknown parameter \"%.60s\"%s%s%s (a target that contains = "
                   "or , is given last, as target=...)",
                   word, hint.best ? "; did you mean \"" : "", hint.best ? hint.best : "",
                   hint.best ? "\"?" : "");
}

static int spec_set(struct spec *sp, int key, const char *value)
{
    // What was given empty counts as not given.
    if (sp->value[key] && *sp->value[key])
        return err_set(sp->err, -EINVAL, "%s: given twice", spec_words[key]);
    sp->value[key] = value;
    return 0;
}

static int spec_named(struct spec *sp, char *word, char *equals)
{
    int key = spec_word(word, (size_t)(equals - word));
    *equals = '\0';
    if (key < 0 || key >= SPEC_KEYS)
        return key < 0 ? spec_unknown(sp, word)
                       : err_set(sp->err, -EINVAL, "%s: takes no value", word);
    return spec_set(sp, key, equals + 1);
}

// Old ways of writing a target: "phy:/dev/...", "raw:/path". The prefix stands for the format.
static int spec_prefix(struct spec *sp, const char **target)
{
    static const char *const scripts[] = {"iscsi:", "nbd:", "drbd:", "enbd:"};
    static const struct {
        const char *prefix, *format;
    } known[] = {{"phy:", "raw"},     {"file:", "raw"},    {"aio:", "raw"}, {"tap2:", "raw"},
                 {"tapdisk:", "raw"}, {"tap:", "raw"},     {"raw:", "raw"}, {"vhd:", "vhd"},
                 {"qcow:", "qcow"},   {"qcow2:", "qcow2"}, {"qed:", "qed"}};
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
        if (!strncmp(*target, scripts[i], strlen(scripts[i])))
            return err_set(sp->err, -EOPNOTSUPP,
                           "target: %s would need a script, and Serai runs none: connect it first "
                           "and give its device",
                           scripts[i]);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (!strncmp(*target, known[i].prefix, strlen(known[i].prefix))) {
            *target += strlen(known[i].prefix);
            sp->value[SPEC_FORMAT] = known[i].format;
            return 1; // there may be another: tap:aio:/path
        }
    return 0;
}

// ... and of the device: "hdc:cdrom".
static int spec_suffix(struct spec *sp, char *vdev)
{
    char *colon = strchr(vdev, ':');
    if (!colon)
        return 0;
    *colon = '\0';
    if (!strcmp(colon + 1, "cdrom"))
        sp->flag[SPEC_CDROM] = true;
    else if (strcmp(colon + 1, "disk") != 0)
        return err_set(sp->err, -EINVAL, "vdev: \":%.40s\" is neither disk nor cdrom", colon + 1);
    return 0;
}

// A word without "=": a flag, or the next position that is still free.
static int spec_bare(struct spec *sp, char *word, unsigned *position)
{
    int key = spec_word(word, strlen(word));
    if (key >= SPEC_CDROM) {
        sp->flag[key] = true;
        return 0;
    }
    while (*position < SPEC_POSITIONS && sp->value[*position])
        (*position)++;
    if (*position == SPEC_POSITIONS)
        return *word ? spec_unknown(sp, word) : 0;
    const char *value = word;
    int ret = 0;
    if (*position == SPEC_TARGET)
        while ((ret = spec_prefix(sp, &value)) == 1)
            ;
    else if (*position == SPEC_VDEV)
        ret = spec_suffix(sp, word);
    return ret ? ret : spec_set(sp, (int)(*position)++, value);
}

// Cuts the text into its parameters.
static int spec_split(struct spec *sp, char *text)
{
    unsigned position = 0;
    bool last = false;
    while (!last) {
        while (isspace((unsigned char)*text))
            text++;
        // The rest of the text, whatever is in it.
        if (!strncmp(text, "target=", 7))
            return spec_set(sp, SPEC_TARGET, text + 7);
        size_t len = strcspn(text, ",");
        last = !text[len];
        text[len] = '\0';
        char *equals = strchr(text, '=');
        int ret = equals ? spec_named(sp, text, equals) : spec_bare(sp, text, &position);
        if (ret)
            return ret;
        text += len + 1;
    }
    return 0;
}

static const char *spec_value(const struct spec *sp, enum spec_key key)
{
    const char *v = sp->value[key];
    return v && *v ? v : NULL;
}

static int spec_refused(struct spec *sp)
{
    const char *backend = spec_value(sp, SPEC_BACKEND);
    const char *specification = spec_value(sp, SPEC_SPECIFICATION);
    if (spec_value(sp, SPEC_SCRIPT))
        return err_set(sp->err, -EOPNOTSUPP,
                       "script: Serai runs no scripts for disks; connect it first and give its "
                       "device");
    if (backend && strcmp(backend, "0") != 0 && strcmp(backend, "Domain-0") != 0)
        return err_set(sp->err, -EOPNOTSUPP,
                       "backend: \"%.60s\": disks are served by the control domain alone", backend);
    if (specification && strcmp(specification, "xen") != 0)
        return err_set(sp->err, -EOPNOTSUPP, "specification: \"%.60s\" is not offered, only xen",
                       specification);
    return 0;
}

static int spec_words_set(struct spec *sp, struct serai_disk *d)
{
    const char *format = spec_value(sp, SPEC_FORMAT), *access = spec_value(sp, SPEC_ACCESS);
    const char *devtype = spec_value(sp, SPEC_DEVTYPE), *type = spec_value(sp, SPEC_BACKENDTYPE);
    int kind = 0;
    while (format && kind < FORMATS && strcmp(format, format_names[kind]) != 0)
        kind++;
    if (kind == FORMATS)
        return err_set(sp->err, -EINVAL, "format: \"%.60s\" is none of raw, vhd, qcow, qcow2, qed",
                       format);
    d->format = (enum serai_disk_format)kind;
    if (devtype && strcmp(devtype, "cdrom") != 0 && strcmp(devtype, "disk") != 0)
        return err_set(sp->err, -EINVAL, "devtype: \"%.60s\" is neither disk nor cdrom", devtype);
    d->cdrom = sp->flag[SPEC_CDROM] || (devtype && *devtype == 'c');
    if (access && (!strcmp(access, "r") || !strcmp(access, "ro")))
        d->readonly = true;
    else if (access && (!strcmp(access, "w!") || !strcmp(access, "rw!")))
        d->shared = true;
    else if (access && strcmp(access, "w") != 0 && strcmp(access, "rw") != 0)
        return err_set(sp->err, -EINVAL, "access: \"%.60s\" is none of r, ro, w, rw, w!", access);
    d->readonly |= d->cdrom;
    if (type && !strcmp(type, "phy"))
        d->backend = SERAI_DISK_PHY;
    else if (type && (!strcmp(type, "blkd") || !strcmp(type, "qdisk")))
        d->backend = SERAI_DISK_BLKD; // our backend outside the kernel, as QEMU is xl's
    else if (type)
        return err_set(sp->err, -EINVAL, "backendtype: \"%.60s\" is none of phy, blkd, qdisk",
                       type);
    if (d->backend == SERAI_DISK_PHY && d->format != SERAI_DISK_RAW)
        return err_set(sp->err, -EINVAL, "backendtype: phy takes images of format raw alone");
    d->no_discard = sp->flag[SPEC_NO_DISCARD];
    d->untrusted = sp->flag[SPEC_UNTRUSTED];
    d->direct = sp->flag[SPEC_DIRECT];
    if (d->no_discard && sp->flag[SPEC_DISCARD])
        return err_set(sp->err, -EINVAL, "discard and no-discard contradict each other");
    if (d->untrusted && sp->flag[SPEC_TRUSTED])
        return err_set(sp->err, -EINVAL, "trusted and untrusted contradict each other");
    return 0;
}

int serai_disk_rate_parse(const char *text, uint64_t *bytes, struct serai_error *err)
{
    uint32_t usec;
    if (strchr(text, '@'))
        return err_set(err, -EINVAL, "rate: \"%.60s\": a disk's rate has no interval", text);
    int ret = serai_rate_parse(text, bytes, &usec, err);
    if (!ret && *bytes > SPEC_RATE_MAX)
        ret = err_set(err, -EINVAL, "rate: \"%.60s\" is too much", text);
    return ret;
}

static int spec_rates(struct spec *sp, struct serai_disk *d)
{
    const char *rate = spec_value(sp, SPEC_RATE), *iops = spec_value(sp, SPEC_IOPS);
    char *end = NULL;
    if (rate && serai_disk_rate_parse(rate, &d->rate_bytes, sp->err))
        return -EINVAL;
    unsigned long long n = iops && *iops >= '0' && *iops <= '9' ? strtoull(iops, &end, 10) : 0;
    if (iops && (!end || *end || n > SPEC_IOPS_MAX))
        return err_set(sp->err, -EINVAL, "iops: \"%.60s\" is no number up to %d", iops,
                       SPEC_IOPS_MAX);
    d->rate_requests = n;
    if ((d->rate_bytes || n) && d->backend == SERAI_DISK_PHY)
        return err_set(sp->err, -EINVAL,
                       "%s: the kernel's backend has no limits; use "
                       "backendtype=blkd",
                       rate ? "rate" : "iops");
    return 0;
}

static int spec_target(struct spec *sp, struct serai_disk *d)
{
    const char *target = spec_value(sp, SPEC_TARGET);
    if (!target)
        return d->cdrom ? 0
                        : err_set(sp->err, -EINVAL,
                                  "target: missing (only a CD drive may be "
                                  "empty)");
    if (asprintf(&d->target, "%s%s", *target == '/' ? "" : "/dev/", target) < 0) {
        d->target = NULL;
        return err_set(sp->err, -ENOMEM, "out of memory");
    }
    return 0;
}

int serai_disk_parse(const char *text, struct serai_disk *out, struct serai_error *err)
{
    struct spec sp = {.err = err};
    char copy[SPEC_MAX];
    *out = (struct serai_disk){0};
    if (strlen(text) >= sizeof(copy))
        return err_set(err, -E2BIG, "longer than %d bytes", SPEC_MAX - 1);
    strcpy(copy, text);
    int ret = spec_split(&sp, copy);
    if (!ret)
        ret = spec_refused(&sp);
    if (!ret)
        ret = spec_words_set(&sp, out);
    if (!ret)
        ret = spec_rates(&sp, out);
    if (ret)
        return ret;
    const char *vdev = spec_value(&sp, SPEC_VDEV);
    if (!vdev)
        return err_set(err, -EINVAL, "vdev: missing (the disk's name in the guest, like xvda)");
    ret = serai_vdev_parse(vdev, &out->devid, err);
    if (ret)
        return ret;
    snprintf(out->vdev, sizeof(out->vdev), "%s", vdev);
    return spec_target(&sp, out);
}

char *serai_disk_text(const struct serai_disk *d)
{
    BUF_AUTO out = {0};
    buf_printf(&out, "vdev=%s,format=%s,access=%s", d->vdev, serai_disk_format_name(d->format),
               d->readonly ? "r"
               : d->shared ? "w!"
                           : "w");
    if (d->cdrom)
        buf_puts(&out, ",cdrom");
    if (d->backend != SERAI_DISK_AUTO)
        buf_printf(&out, ",backendtype=%s", d->backend == SERAI_DISK_PHY ? "phy" : "blkd");
    if (d->no_discard)
        buf_puts(&out, ",no-discard");
    if (d->untrusted)
        buf_puts(&out, ",untrusted");
    if (d->direct)
        buf_puts(&out, ",direct-io-safe");
    if (d->rate_bytes)
        buf_printf(&out, ",rate=%lluB/s", (unsigned long long)d->rate_bytes);
    if (d->rate_requests)
        buf_printf(&out, ",iops=%llu", (unsigned long long)d->rate_requests);
    if (d->target)
        buf_printf(&out, ",target=%s", d->target);
    return buf_take(&out);
}
