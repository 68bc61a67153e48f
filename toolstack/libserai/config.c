// SPDX-License-Identifier: BSD-2-Clause
// From a configuration file to struct serai_config and back.
#include "state.h"

#include "buf.h"
#include "cfg.h"
#include "config_keys.h"
#include "file.h"
#include "suggest.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONFIG_VCPUS_MAX = 512, CONFIG_CMDLINE_MAX = MAX_GUEST_CMDLINE - 1 };
#define CONFIG_MEMORY_MAX_MB ((int64_t)16 << 20) // 16 TiB

struct word {
    const char *text;
    int value;
};

static const struct word action_words[] = {
    {"destroy", SERAI_ACTION_DESTROY},
    {"restart", SERAI_ACTION_RESTART},
    {"preserve", SERAI_ACTION_PRESERVE},
    {"rename-restart", SERAI_ACTION_RENAME_RESTART},
    {"coredump-destroy", SERAI_ACTION_COREDUMP_DESTROY},
    {"coredump-restart", SERAI_ACTION_COREDUMP_RESTART},
    {NULL, 0},
};

static const struct word tsc_words[] = {
    {"default", SERAI_TSC_DEFAULT},
    {"always_emulate", SERAI_TSC_EMULATE},
    {"native", SERAI_TSC_NATIVE},
    {NULL, 0},
};

static const char *word_of(const struct word *words, int value)
{
    while (words->value != value)
        words++;
    return words->text;
}

void serai_config_free(struct serai_config *c)
{
    if (!c)
        return;
    free(c->name);
    free(c->kernel);
    free(c->ramdisk);
    free(c->cmdline);
    free(c->cpus);
    free(c->cpus_soft);
    for (size_t i = 0; i < c->nr_disks; i++)
        serai_disk_clear(&c->disks[i]);
    free(c->disks);
    free(c->vifs);
    free(c);
}

static int config_word(const struct cfg *cfg, const char *key, const struct word *words, int *out,
                       struct cfg_error *err)
{
    const char *text = NULL;
    int ret = cfg_get_string(cfg, key, &text, err);
    if (ret || !text)
        return ret;
    struct suggest hint = {.word = text};
    for (const struct word *w = words; w->text; w++) {
        if (!strcmp(w->text, text)) {
            *out = w->value;
            return 0;
        }
        suggest_offer(&hint, w->text);
    }
    const struct cfg_entry *e = cfg_find(cfg, key);
    BUF_AUTO known = {0};
    for (const struct word *w = words; w->text; w++)
        buf_printf(&known, "%s%s", w == words ? "" : ", ", w->text);
    return cfg_fail(cfg, e, &e->value, err, "%s: \"%.60s\" is none of %s%s%s%s", key, text,
                    known.data ? known.data : "", hint.best ? " (did you mean \"" : "",
                    hint.best ? hint.best : "", hint.best ? "\"?)" : "");
}

static int config_copy(const struct cfg *cfg, const char *key, char **out, struct cfg_error *err)
{
    const char *text = NULL;
    int ret = cfg_get_string(cfg, key, &text, err);
    if (ret || !text)
        return ret;
    free(*out);
    *out = strdup(text);
    return *out ? 0 : -ENOMEM;
}

// A path, made absolute so that a restart finds it from any directory.
static int config_path(const struct cfg *cfg, const char *key, char **out, struct cfg_error *err)
{
    int ret = config_copy(cfg, key, out, err);
    if (ret || !*out)
        return ret;
    if (!**out) { // ramdisk = "" means none
        free(*out);
        *out = NULL;
    } else if (**out != '/') {
        char cwd[PATH_MAX], *path;
        if (!getcwd(cwd, sizeof(cwd)) || asprintf(&path, "%s/%s", cwd, *out) < 0)
            return -ENOMEM;
        free(*out);
        *out = path;
    }
    return 0;
}

// cmdline wins; otherwise root and extra are joined.
static int config_cmdline(const struct cfg *cfg, struct serai_config *c, struct cfg_error *err)
{
    const char *root = NULL, *extra = NULL;
    int ret = cfg_get_string(cfg, "root", &root, err);
    if (!ret)
        ret = cfg_get_string(cfg, "extra", &extra, err);
    if (!ret)
        ret = config_copy(cfg, "cmdline", &c->cmdline, err);
    if (ret || c->cmdline || (!root && !extra))
        return ret;
    if (asprintf(&c->cmdline, "%s%s%s%s", root ? "root=" : "", root ? root : "",
                 root && extra ? " " : "", extra ? extra : "") < 0) {
        c->cmdline = NULL;
        return -ENOMEM;
    }
    return 0;
}

static int config_cpumap(const struct cfg *cfg, const struct cfg_entry *e,
                         const struct cfg_value *v, struct serai_cpumap *out, struct cfg_error *err)
{
    struct serai_error text;
    char number[24];
    const char *spec = v->string;
    if (v->type == CFG_LIST)
        return cfg_fail(cfg, e, v, err, "%s: expected a number or a string in the list", e->key);
    if (v->type == CFG_NUMBER) {
        snprintf(number, sizeof(number), "%lld", (long long)v->number);
        spec = number;
    }
    if (serai_cpumap_parse(spec, out, &text))
        return cfg_fail(cfg, e, v, err, "%s: %s", e->key, text.text);
    return 0;
}

static int config_cpus(const struct cfg *cfg, const char *key, struct serai_cpumap **out,
                       size_t *out_count, struct cfg_error *err)
{
    const struct cfg_entry *e = cfg_find(cfg, key);
    if (!e)
        return 0;
    bool list = e->value.type == CFG_LIST;
    size_t count = list ? e->value.count : 1;
    if (!count)
        return 0;
    *out = calloc(count, sizeof(**out));
    if (!*out)
        return -ENOMEM;
    *out_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct cfg_value *v = list ? &e->value.items[i] : &e->value;
        int ret = config_cpumap(cfg, e, v, &(*out)[i], err);
        if (ret)
            return ret;
    }
    return 0;
}

static int config_uuid(const struct cfg *cfg, struct serai_config *c, struct cfg_error *err)
{
    const char *text = NULL;
    int ret = cfg_get_string(cfg, "uuid", &text, err);
    if (ret || !text)
        return ret;
    if (!serai_uuid_parse(text, c->uuid)) {
        const struct cfg_entry *e = cfg_find(cfg, "uuid");
        return cfg_fail(cfg, e, &e->value, err, "uuid: \"%.60s\" is not a UUID", text);
    }
    c->has_uuid = true;
    return 0;
}

// Only PV guests can be built so far: say so of the others.
static int config_type(const struct cfg *cfg, struct cfg_error *err)
{
    const char *type = NULL, *builder = NULL;
    int ret = cfg_get_string(cfg, "type", &type, err);
    if (!ret)
        ret = cfg_get_string(cfg, "builder", &builder, err);
    if (ret)
        return ret;
    const struct cfg_entry *e = cfg_find(cfg, type ? "type" : "builder");
    const char *kind = type ? type : builder;
    if (!kind || !strcmp(kind, "pv") || (!type && !strcmp(kind, "generic")))
        return 0;
    if (!strcmp(kind, "pvh") || !strcmp(kind, "hvm"))
        return cfg_fail(cfg, e, &e->value, err,
                        "%s: guests of type \"%s\" cannot be built yet, only \"pv\"", e->key, kind);
    return cfg_fail(cfg, e, &e->value, err, "%s: \"%.60s\" is none of pv, pvh, hvm", e->key, kind);
}

struct config_number {
    const char *key;
    int64_t min, max;
    int64_t value;
};

static int config_numbers(const struct cfg *cfg, struct serai_config *c, struct cfg_error *err)
{
    struct config_number n[] = {
        {"memory", 1, CONFIG_MEMORY_MAX_MB, 0},     {"maxmem", 1, CONFIG_MEMORY_MAX_MB, 0},
        {"vcpus", 1, CONFIG_VCPUS_MAX, 1},          {"maxvcpus", 1, CONFIG_VCPUS_MAX, 0},
        {"cpu_weight", 1, 65535, SERAI_SCHED_KEEP}, {"cap", 0, 65534, SERAI_SCHED_KEEP},
        {"minmem", 1, CONFIG_MEMORY_MAX_MB, 0},     {"memory_pinned", 0, 1, 0},
    };
    for (size_t i = 0; i < sizeof(n) / sizeof(n[0]); i++) {
        int ret = cfg_get_number(cfg, n[i].key, n[i].min, n[i].max, &n[i].value, err);
        if (ret)
            return ret;
    }
    c->memory_mb = (uint64_t)n[0].value;
    c->maxmem_mb = (uint64_t)n[1].value;
    c->vcpus = (unsigned)n[2].value;
    c->maxvcpus = (unsigned)n[3].value;
    c->cpu_weight = (int)n[4].value;
    c->cap = (int)n[5].value;
    c->minmem_mb = (uint64_t)n[6].value;
    c->memory_pinned = n[7].value;
    if (c->minmem_mb > c->memory_mb && !c->memory_pinned) {
        const struct cfg_entry *e = cfg_find(cfg, "minmem");
        return cfg_fail(cfg, e, &e->value, err, "minmem: more than memory (%llu)",
                        (unsigned long long)c->memory_mb);
    }
    if (c->maxmem_mb && c->maxmem_mb < c->memory_mb) {
        const struct cfg_entry *e = cfg_find(cfg, "maxmem");
        return cfg_fail(cfg, e, &e->value, err, "maxmem: less than memory (%llu)",
                        (unsigned long long)c->memory_mb);
    }
    if (c->maxvcpus && c->maxvcpus < c->vcpus) {
        const struct cfg_entry *e = cfg_find(cfg, "maxvcpus");
        return cfg_fail(cfg, e, &e->value, err, "maxvcpus: less than vcpus (%u)", c->vcpus);
    }
    return 0;
}

static int config_action(const struct cfg *cfg, const char *key, enum serai_action usual,
                         enum serai_action *out, struct cfg_error *err)
{
    int action = (int)usual;
    int ret = config_word(cfg, key, action_words, &action, err);
    *out = (enum serai_action)action;
    return ret;
}

static int config_actions(const struct cfg *cfg, struct serai_config *c, struct cfg_error *err)
{
    int tsc = SERAI_TSC_DEFAULT;
    int ret = config_action(cfg, "on_poweroff", SERAI_ACTION_DESTROY, &c->on_poweroff, err);
    if (!ret)
        ret = config_action(cfg, "on_reboot", SERAI_ACTION_RESTART, &c->on_reboot, err);
    if (!ret)
        ret = config_action(cfg, "on_crash", SERAI_ACTION_DESTROY, &c->on_crash, err);
    if (!ret)
        ret = config_action(cfg, "on_watchdog", SERAI_ACTION_DESTROY, &c->on_watchdog, err);
    if (!ret)
        ret = config_word(cfg, "tsc_mode", tsc_words, &tsc, err);
    c->tsc = (enum serai_tsc)tsc;
    return ret;
}

static int config_name(const struct cfg *cfg, struct serai_config *c, struct cfg_error *err)
{
    struct serai_error why;
    int ret = config_copy(cfg, "name", &c->name, err);
    if (ret || !c->name || !config_name_check(c->name, &why))
        return ret;
    const struct cfg_entry *e = cfg_find(cfg, "name");
    return cfg_fail(cfg, e, &e->value, err, "%s", why.text);
}

// The list of a key, each item a string; NULL when it is absent or empty.
static const struct cfg_value *config_list(const struct cfg *cfg, const char *key)
{
    const struct cfg_entry *e = cfg_find(cfg, key);
    return e && e->value.count ? &e->value : NULL;
}

// Where an item of a list is wrong.
static int config_item_fail(const struct cfg *cfg, const char *key, const struct cfg_value *item,
                            const char *why, struct cfg_error *err)
{
    return cfg_fail(cfg, cfg_find(cfg, key), item, err, "%s: %s", key, why);
}

static int config_disks(const struct cfg *cfg, struct serai_config *c, struct cfg_error *err)
{
    const struct cfg_value *list = config_list(cfg, "disk");
    struct serai_error why;
    if (!list)
        return 0;
    c->disks = calloc(list->count, sizeof(*c->disks));
    if (!c->disks)
        return -ENOMEM;
    for (size_t i = 0; i < list->count; i++) {
        const struct cfg_value *item = &list->items[i];
        if (item->type != CFG_STRING)
            return config_item_fail(cfg, "disk", item, "expected strings in the list", err);
        struct serai_disk *d = &c->disks[c->nr_disks++];
        int ret = serai_disk_parse(item->string, d, &why);
        if (ret)
            return ret == -ENOMEM ? ret : config_item_fail(cfg, "disk", item, why.text, err);
        for (size_t k = 0; k < i; k++)
            if (c->disks[k].devid == d->devid)
                return config_item_fail(cfg, "disk", item, "this vdev is given twice", err);
    }
    return 0;
}

static int config_vifs(struct serai *s, const struct cfg *cfg, struct serai_config *c,
                       struct cfg_error *err)
{
    const struct cfg_value *list = config_list(cfg, "vif");
    struct serai_error why;
    if (!list)
        return 0;
    c->vifs = calloc(list->count, sizeof(*c->vifs));
    if (!c->vifs)
        return -ENOMEM;
    for (; c->nr_vifs < list->count; c->nr_vifs++) {
        const struct cfg_value *item = &list->items[c->nr_vifs];
        if (item->type != CFG_STRING)
            return config_item_fail(cfg, "vif", item, "expected strings in the list", err);
        int ret = serai_vif_parse(s, item->string, &c->vifs[c->nr_vifs], &why);
        if (ret)
            return ret == -ENOMEM ? ret : config_item_fail(cfg, "vif", item, why.text, err);
    }
    return 0;
}

static int config_from_cfg(struct serai *s, const struct cfg *cfg, struct serai_config *c,
                           struct cfg_error *err)
{
    int ret = config_type(cfg, err);
    if (!ret)
        ret = config_name(cfg, c, err);
    if (!ret)
        ret = config_uuid(cfg, c, err);
    if (!ret)
        ret = config_path(cfg, "kernel", &c->kernel, err);
    if (!ret)
        ret = config_path(cfg, "ramdisk", &c->ramdisk, err);
    if (!ret)
        ret = config_cmdline(cfg, c, err);
    if (!ret)
        ret = config_numbers(cfg, c, err);
    if (!ret)
        ret = config_cpus(cfg, "cpus", &c->cpus, &c->cpus_count, err);
    if (!ret)
        ret = config_cpus(cfg, "cpus_soft", &c->cpus_soft, &c->cpus_soft_count, err);
    if (!ret)
        ret = config_actions(cfg, c, err);
    if (!ret)
        ret = config_disks(cfg, c, err);
    if (!ret)
        ret = config_vifs(s, cfg, c, err);
    return ret;
}

static void config_warn(void *ctx, const char *text)
{
    serai_note(ctx, SERAI_LOG_WARNING, "%s", text);
}

int config_name_check(const char *name, struct serai_error *err)
{
    size_t len = strlen(name), digits = strspn(name, "0123456789");
    if (!len || len > SERAI_NAME_MAX)
        return err_set(err, -EINVAL, "name: must have 1 to %d characters", SERAI_NAME_MAX);
    if (digits == len)
        return err_set(err, -EINVAL, "name: \"%s\" looks like a domain id", name);
    if (!strcmp(name, "Domain-0") || name[0] == '(' || name[0] == '.' || name[0] == '-')
        return err_set(err, -EINVAL, "name: \"%s\" is reserved", name);
    for (const char *p = name; *p; p++)
        if (*p == '/' || (unsigned char)*p < 0x21 || *p == 0x7f)
            return err_set(err, -EINVAL, "name: blanks, control characters and / are not allowed");
    return 0;
}

int config_validate(const struct serai_config *c, struct serai_error *err)
{
    if (!c->name)
        return err_set(err, -EINVAL, "name: missing");
    int ret = config_name_check(c->name, err);
    if (ret)
        return ret;
    if (!c->kernel)
        return err_set(err, -EINVAL, "kernel: missing");
    if (!c->memory_mb || c->memory_mb > CONFIG_MEMORY_MAX_MB)
        return err_set(err, -EINVAL, "memory: missing or out of range (in megabytes)");
    if (c->maxmem_mb && (c->maxmem_mb < c->memory_mb || c->maxmem_mb > CONFIG_MEMORY_MAX_MB))
        return err_set(err, -EINVAL, "maxmem: less than memory, or out of range");
    if (c->minmem_mb > c->memory_mb && !c->memory_pinned)
        return err_set(err, -EINVAL, "minmem: more than memory");
    if (!c->vcpus || c->vcpus > CONFIG_VCPUS_MAX)
        return err_set(err, -EINVAL, "vcpus: out of range (1 to %d)", CONFIG_VCPUS_MAX);
    if (c->maxvcpus && (c->maxvcpus < c->vcpus || c->maxvcpus > CONFIG_VCPUS_MAX))
        return err_set(err, -EINVAL, "maxvcpus: less than vcpus, or out of range");
    if (c->cmdline && strlen(c->cmdline) > CONFIG_CMDLINE_MAX)
        return err_set(err, -E2BIG, "cmdline: %zu bytes, but a guest takes at most %d",
                       strlen(c->cmdline), CONFIG_CMDLINE_MAX);
    return 0;
}

// Everything from the tree; `name` stands for the file where no position is known.
static int config_build(struct serai *s, const struct cfg *cfg, const char *name, bool record,
                        struct serai_config **out, struct serai_error *err)
{
    struct cfg_error where = {""};
    struct serai_config *c = calloc(1, sizeof(*c));
    size_t keys = record ? CONFIG_KEYS_WITH_RECORD : CONFIG_KEYS;
    int ret =
        c ? cfg_check(cfg, config_keys, keys, record ? NULL : config_warn, s, &where) : -ENOMEM;
    if (!ret)
        ret = config_from_cfg(record ? NULL : s, cfg, c, &where);
    if (ret == -ENOMEM)
        err_set(err, ret, "out of memory");
    else if (ret)
        err_set(err, ret, "%s", where.text);
    if (!ret) {
        struct serai_error missing;
        ret = config_validate(c, &missing);
        if (ret)
            err_set(err, ret, "%s: %s", name, missing.text);
    }
    if (ret) {
        serai_config_free(c);
        return ret;
    }
    *out = c;
    return 0;
}

int serai_config_load(struct serai *s, const char *path, const char *const *overrides, size_t count,
                      struct serai_config **out, struct serai_error *err)
{
    struct cfg_error where = {""};
    BUF_AUTO text = {0};
    struct cfg *cfg = cfg_new();
    int ret = cfg ? 0 : err_set(err, -ENOMEM, "out of memory");
    if (!ret && path) {
        ret = file_read(path, CFG_SIZE_MAX, &text);
        if (ret)
            err_sys(err, ret, "cannot read %s", path);
    }
    if (!ret && path) {
        ret = cfg_parse(cfg, path, text.data, text.len, &where);
        if (ret)
            err_set(err, ret, "%s", where.text);
    }
    for (size_t i = 0; i < count && !ret; i++) {
        ret = cfg_parse_argument(cfg, overrides[i], &where);
        if (ret)
            err_set(err, ret, "%s (in \"%.80s\")", where.text, overrides[i]);
    }
    if (!ret)
        ret = config_build(s, cfg, path ? path : "command line", false, out, err);
    cfg_free(cfg);
    return ret;
}

int config_parse_text(struct serai *s, const char *name, const char *text, size_t len,
                      struct state_record *r, struct serai_error *err)
{
    struct cfg_error where = {""};
    struct cfg *cfg = cfg_new();
    int64_t mfn = 0, port = 0;
    int ret = cfg ? cfg_parse(cfg, name, text, len, &where) : -ENOMEM;
    if (!ret)
        ret = cfg_get_number(cfg, "console_mfn", 0, INT64_MAX, &mfn, &where);
    if (!ret)
        ret = cfg_get_number(cfg, "console_port", 0, INT32_MAX, &port, &where);
    if (ret)
        err_set(err, ret, "%s", where.text);
    else
        ret = config_build(s, cfg, name, true, &r->config, err);
    r->console = (struct serai_console){(uint64_t)mfn, (uint32_t)port};
    cfg_free(cfg);
    return ret;
}

static void config_write_line(struct buf *out, const char *key, const char *value)
{
    if (!value)
        return;
    buf_printf(out, "%s = ", key);
    cfg_write_string(out, value);
    buf_puts(out, "\n");
}

// One list, with the texts of its items made by the caller and released here.
static void config_write_item(struct buf *out, const char *key, size_t i, size_t count, char *text)
{
    if (!i)
        buf_printf(out, "%s = [ ", key);
    if (text)
        cfg_write_string(out, text);
    else
        out->failed = true;
    buf_puts(out, i + 1 == count ? " ]\n" : ",\n  ");
    free(text);
}

static void config_write_cpus(struct buf *out, const char *key, const struct serai_cpumap *maps,
                              size_t count)
{
    char text[SERAI_CPUS_MAX * 2];
    for (size_t i = 0; i < count; i++) {
        serai_cpumap_format(&maps[i], 0, text, sizeof(text));
        if (count == 1)
            config_write_line(out, key, text);
        else if (!i)
            buf_printf(out, "%s = [ \"%s\"", key, text);
        else
            buf_printf(out, ", \"%s\"%s", text, i + 1 == count ? " ]\n" : "");
    }
}

void config_write(const struct serai_config *c, struct buf *out)
{
    char text[SERAI_CPUS_MAX * 2];
    config_write_line(out, "name", c->name);
    config_write_line(out, "type", "pv");
    config_write_line(out, "uuid", serai_uuid_format(c->uuid, text));
    config_write_line(out, "kernel", c->kernel);
    config_write_line(out, "ramdisk", c->ramdisk);
    config_write_line(out, "cmdline", c->cmdline);
    buf_printf(out, "memory = %llu\nvcpus = %u\n", (unsigned long long)c->memory_mb, c->vcpus);
    if (c->maxmem_mb)
        buf_printf(out, "maxmem = %llu\n", (unsigned long long)c->maxmem_mb);
    if (c->minmem_mb)
        buf_printf(out, "minmem = %llu\nmemory_pinned = %d\n", (unsigned long long)c->minmem_mb,
                   c->memory_pinned);
    if (c->maxvcpus)
        buf_printf(out, "maxvcpus = %u\n", c->maxvcpus);
    if (c->cpu_weight != SERAI_SCHED_KEEP)
        buf_printf(out, "cpu_weight = %d\n", c->cpu_weight);
    if (c->cap != SERAI_SCHED_KEEP)
        buf_printf(out, "cap = %d\n", c->cap);
    config_write_cpus(out, "cpus", c->cpus, c->cpus_count);
    config_write_cpus(out, "cpus_soft", c->cpus_soft, c->cpus_soft_count);
    for (size_t i = 0; i < c->nr_disks; i++)
        config_write_item(out, "disk", i, c->nr_disks, serai_disk_text(&c->disks[i]));
    for (size_t i = 0; i < c->nr_vifs; i++)
        config_write_item(out, "vif", i, c->nr_vifs, serai_vif_format(&c->vifs[i]));
    config_write_line(out, "tsc_mode", word_of(tsc_words, (int)c->tsc));
    config_write_line(out, "on_poweroff", word_of(action_words, (int)c->on_poweroff));
    config_write_line(out, "on_reboot", word_of(action_words, (int)c->on_reboot));
    config_write_line(out, "on_crash", word_of(action_words, (int)c->on_crash));
    config_write_line(out, "on_watchdog", word_of(action_words, (int)c->on_watchdog));
}
