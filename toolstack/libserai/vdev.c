// SPDX-License-Identifier: BSD-2-Clause
// Names of virtual disks and their numbers: xen-vbd-interface(7).
#include "internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    VDEV_XVD = 202 << 8,
    VDEV_SD = 8 << 8,
    VDEV_HD_FIRST = 3 << 8,
    VDEV_HD_SECOND = 22 << 8,
    VDEV_EXTENDED = 1 << 28,
    VDEV_DISKS = 1 << 20,
    VDEV_PARTITIONS = 256,
};

// A decimal number without leading zeroes; NULL when there is none or it is too large.
static const char *vdev_number(const char *p, uint32_t max, uint32_t *out)
{
    uint64_t n = 0;
    if (!isdigit((unsigned char)*p) || (*p == '0' && isdigit((unsigned char)p[1])))
        return NULL;
    for (; isdigit((unsigned char)*p); p++) {
        n = n * 10 + (unsigned)(*p - '0');
        if (n >= max)
            return NULL;
    }
    *out = (uint32_t)n;
    return p;
}

// "a" is disk 0, "z" 25, "aa" 26.
static const char *vdev_letters(const char *p, uint32_t *disk)
{
    uint64_t n = 0;
    if (!islower((unsigned char)*p))
        return NULL;
    for (; islower((unsigned char)*p); p++) {
        n = n * 26 + (unsigned)(*p - 'a') + 1;
        if (n > VDEV_DISKS)
            return NULL;
    }
    *disk = (uint32_t)n - 1;
    return p;
}

static uint32_t vdev_xvd(uint32_t disk, uint32_t partition)
{
    if (disk < 16 && partition < 16)
        return VDEV_XVD | disk << 4 | partition;
    return VDEV_EXTENDED | disk << 8 | partition;
}

// d3p2
static bool vdev_by_number(const char *text, uint32_t *number)
{
    uint32_t disk, partition = 0;
    const char *p = vdev_number(text + 1, VDEV_DISKS, &disk);
    if (p && *p == 'p')
        p = vdev_number(p + 1, VDEV_PARTITIONS, &partition);
    if (!p || *p)
        return false;
    *number = vdev_xvd(disk, partition);
    return true;
}

static bool vdev_by_name(const char *text, uint32_t *number)
{
    size_t prefix = !strncmp(text, "xvd", 3) ? 3 : 2;
    uint32_t disk, partition = 0;
    const char *p = vdev_letters(text + prefix, &disk);
    if (p && *p)
        p = *p == '0' ? NULL : vdev_number(p, VDEV_PARTITIONS, &partition);
    if (!p || *p)
        return false;
    if (prefix == 3) {
        *number = vdev_xvd(disk, partition);
        return true;
    }
    if (*text == 's') {
        *number = VDEV_SD | disk << 4 | partition;
        return disk < 16 && partition < 16;
    }
    *number = (disk < 2 ? VDEV_HD_FIRST : VDEV_HD_SECOND) | (disk & 1) << 6 | partition;
    return disk < 4 && partition < 64;
}

int serai_vdev_parse(const char *text, uint32_t *number, struct serai_error *err)
{
    bool good = false;
    if (isdigit((unsigned char)*text)) {
        char *end;
        errno = 0;
        unsigned long n = strtoul(text, &end, 0);
        good = !errno && !*end && n > 0 && n < (1ul << 29);
        *number = (uint32_t)n;
    } else if (*text == 'd') {
        good = vdev_by_number(text, number);
    } else if (!strncmp(text, "xvd", 3) || !strncmp(text, "sd", 2) || !strncmp(text, "hd", 2)) {
        good = vdev_by_name(text, number);
    }
    if (good && strlen(text) < SERAI_VDEV_SIZE)
        return 0;
    return err_set(err, -EINVAL,
                   "vdev: \"%.40s\" is no disk (like xvda, xvdb1, sda, hdc, d3p2 or 51712)", text);
}
