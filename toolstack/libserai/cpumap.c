// SPDX-License-Identifier: BSD-2-Clause
// Sets of CPUs and their text form.
#include "internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void cpumap_put(struct serai_cpumap *map, unsigned cpu, bool value)
{
    uint8_t bit = (uint8_t)(1u << (cpu % 8));
    if (value)
        map->bits[cpu / 8] |= bit;
    else
        map->bits[cpu / 8] &= (uint8_t)~bit;
}

// One number below SERAI_CPUS_MAX; advances *p.
static bool cpumap_number(const char **p, unsigned *out)
{
    if (!isdigit((unsigned char)**p))
        return false;
    char *end;
    unsigned long n = strtoul(*p, &end, 10);
    *p = end;
    *out = (unsigned)n;
    return n < SERAI_CPUS_MAX;
}

// One element of the list: N, N-M, all, with ^ in front to take it out.
static bool cpumap_element(const char **p, struct serai_cpumap *out)
{
    bool value = **p != '^';
    unsigned first, last;
    if (!value)
        (*p)++;
    if (!strncmp(*p, "all", 3)) {
        *p += 3;
        memset(out->bits, value ? 0xff : 0, sizeof(out->bits));
        return true;
    }
    if (!cpumap_number(p, &first))
        return false;
    last = first;
    if (**p == '-') {
        (*p)++;
        if (!cpumap_number(p, &last) || last < first)
            return false;
    }
    for (unsigned cpu = first; cpu <= last; cpu++)
        cpumap_put(out, cpu, value);
    return true;
}

int serai_cpumap_parse(const char *text, struct serai_cpumap *out, struct serai_error *err)
{
    memset(out, 0, sizeof(*out));
    if (!strcmp(text, "none"))
        return 0;
    const char *p = text;
    for (;;) {
        while (*p == ' ')
            p++;
        if (!cpumap_element(&p, out))
            break;
        while (*p == ' ')
            p++;
        if (!*p)
            return 0;
        if (*p++ != ',')
            break;
    }
    return err_set(err, -EINVAL,
                   "\"%.60s\" is not a set of CPUs (such as \"0-3,7\", \"all,^0\"; at most %d)",
                   text, SERAI_CPUS_MAX - 1);
}

char *serai_cpumap_format(const struct serai_cpumap *map, unsigned nr_cpus, char *text, size_t size)
{
    unsigned limit = nr_cpus && nr_cpus < SERAI_CPUS_MAX ? nr_cpus : SERAI_CPUS_MAX;
    unsigned set = 0;
    for (unsigned cpu = 0; cpu < limit; cpu++)
        set += serai_cpumap_has(map, cpu);
    snprintf(text, size, "%s", set == limit ? "all" : set ? "" : "none");
    if (set == limit || !set)
        return text;

    size_t len = 0;
    for (unsigned cpu = 0; cpu < limit; cpu++) {
        if (!serai_cpumap_has(map, cpu))
            continue;
        unsigned last = cpu;
        while (last + 1 < limit && serai_cpumap_has(map, last + 1))
            last++;
        char part[32];
        int n = last > cpu ? snprintf(part, sizeof(part), "%s%u-%u", len ? "," : "", cpu, last)
                           : snprintf(part, sizeof(part), "%s%u", len ? "," : "", cpu);
        if (len + (size_t)n + 4 > size) { // no room: say that there is more
            snprintf(text + len, size - len, "...");
            break;
        }
        memcpy(text + len, part, (size_t)n + 1);
        len += (size_t)n;
        cpu = last;
    }
    return text;
}
