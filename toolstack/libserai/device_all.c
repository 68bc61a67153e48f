// SPDX-License-Identifier: BSD-2-Clause
// The devices of all domains, read in a few rounds with the daemon: whoever makes a guest among
// hundreds looks at all of theirs.
#include "device.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Paths that are asked for together, and what came.
struct batch {
    char **path, **text;
    unsigned count, room;
};

static void batch_free(struct batch *b)
{
    for (unsigned i = 0; i < b->count; i++) {
        free(b->path[i]);
        if (b->text)
            free(b->text[i]);
    }
    free(b->path);
    free(b->text);
    *b = (struct batch){0};
}

__attribute__((format(printf, 2, 3))) static int batch_add(struct batch *b, const char *fmt, ...)
{
    if (b->count == b->room) {
        unsigned room = b->room ? b->room * 2 : 64;
        char **more = reallocarray(b->path, room, sizeof(*more));
        if (!more)
            return -ENOMEM;
        b->path = more;
        b->room = room;
    }
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&b->path[b->count], fmt, ap);
    va_end(ap);
    if (n < 0)
        return -ENOMEM;
    b->count++;
    return 0;
}

typedef int batch_fn(struct serai *s, char *const *paths, unsigned count, char **out);

static int batch_run(struct serai *s, struct batch *b, batch_fn *fn)
{
    b->text = calloc(b->count + 1, sizeof(*b->text));
    return b->text ? fn(s, b->path, b->count, b->text) : -ENOMEM;
}

static bool id_of(const char *name, uint32_t *id)
{
    char *end;
    unsigned long n = strtoul(name, &end, 10);
    *id = (uint32_t)n;
    return end != name && !*end && n <= UINT32_MAX;
}

// The directory of a kind of every domain.
static int list_domains(struct serai *s, const char *kind, struct batch *dirs)
{
    unsigned n;
    char **names = store_list(s, &n, "/libxl");
    int ret = names || errno == ENOENT ? 0 : -errno;
    for (unsigned i = 0; names && i < n && !ret; i++) {
        uint32_t id;
        if (id_of(names[i], &id))
            ret = batch_add(dirs, "/libxl/%u/device/%s", id, kind);
    }
    free(names);
    return ret ? ret : batch_run(s, dirs, store_list_many);
}

// What each device's maker has noted of where its back is.
static int list_devices(struct serai *s, const struct batch *dirs, struct batch *backs)
{
    int ret = 0;
    for (unsigned i = 0; i < dirs->count && !ret; i++) {
        uint32_t id;
        for (const char *name = dirs->text[i]; name && *name && !ret; name += strlen(name) + 1)
            if (id_of(name, &id))
                ret = batch_add(backs, "%s/%u/backend", dirs->path[i], id);
    }
    return ret ? ret : batch_run(s, backs, store_read_many);
}

static int read_keys(struct serai *s, const struct batch *backs,
                     const char *const keys[DEVICE_KEYS_MAX], struct batch *values)
{
    int ret = 0;
    for (unsigned i = 0; i < backs->count && !ret; i++)
        for (unsigned k = 0; k < DEVICE_KEYS_MAX && !ret; k++)
            ret = batch_add(values, "%s/%s", backs->text[i] ? backs->text[i] : "/libxl",
                            keys[k] ? keys[k] : "none");
    return ret ? ret : batch_run(s, values, store_read_many);
}

// Takes the texts of the keys.
static void fill_in(struct device_entry *e, const struct batch *backs, struct batch *values,
                    unsigned n)
{
    *e = (struct device_entry){0};
    sscanf(backs->path[n], "/libxl/%u/device/%*[^/]/%u/", &e->domain, &e->id);
    for (unsigned k = 0; k < DEVICE_KEYS_MAX; k++) {
        e->key[k] = values->text[n * DEVICE_KEYS_MAX + k];
        values->text[n * DEVICE_KEYS_MAX + k] = NULL;
    }
}

int device_list_all(struct serai *s, const char *kind, const char *const keys[DEVICE_KEYS_MAX],
                    struct device_entry **list, size_t *count, struct serai_error *err)
{
    struct batch dirs = {0}, backs = {0}, values = {0};
    *list = NULL;
    *count = 0;
    int ret = list_domains(s, kind, &dirs);
    if (!ret)
        ret = list_devices(s, &dirs, &backs);
    if (!ret)
        ret = read_keys(s, &backs, keys, &values);
    if (!ret) {
        *list = calloc(backs.count + 1, sizeof(**list));
        ret = *list ? 0 : -ENOMEM;
    }
    for (unsigned i = 0; i < backs.count && !ret; i++)
        if (backs.text[i])
            fill_in(&(*list)[(*count)++], &backs, &values, i);
    batch_free(&dirs);
    batch_free(&backs);
    batch_free(&values);
    return ret ? err_sys(err, ret, "cannot list the devices in xenstore") : 0;
}

void device_entries_free(struct device_entry *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (unsigned k = 0; k < DEVICE_KEYS_MAX; k++)
            free(list[i].key[k]);
    free(list);
}
