// SPDX-License-Identifier: BSD-2-Clause
#include "path.h"

#include <stdio.h>
#include <string.h>

static const bool path_char[256] = {
    ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['-'] = true,
    ['/'] = true,         ['_'] = true,         ['@'] = true,
};

static bool path_well_formed(const char *p, size_t len)
{
    char before = '\0';
    for (size_t i = 0; i < len; i++) {
        if (!path_char[(uint8_t)p[i]] || (p[i] == '/' && before == '/'))
            return false;
        before = p[i];
    }
    return len == 1 || (len && before != '/');
}

int path_resolve(const char *given, unsigned domid, path_text out)
{
    size_t len = strlen(given);
    bool absolute = given[0] == '/';
    if (len > (absolute ? XENSTORE_ABS_PATH_MAX : XENSTORE_REL_PATH_MAX) ||
        !path_well_formed(given, len) || given[0] == '@')
        return -EINVAL;
    size_t home = absolute ? 0 : path_home_length(domid);
    if (home)
        snprintf(out, sizeof(path_text), "/local/domain/%u/", domid);
    memcpy(out + home, given, len + 1);
    return 0;
}

size_t path_home_length(unsigned domid)
{
    return (size_t)snprintf(NULL, 0, "/local/domain/%u/", domid);
}

const char *path_step(const char **rest, size_t *len)
{
    const char *p = *rest;
    while (*p == '/')
        p++;
    if (!*p)
        return NULL;
    *len = (size_t)(strchrnul(p, '/') - p);
    *rest = p + *len;
    return p;
}

size_t path_parent_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

bool path_is_below(const char *path, const char *base)
{
    size_t len = strlen(base);
    if (len == 1)
        return path[0] == '/';
    return !strncmp(path, base, len) && (path[len] == '/' || !path[len]);
}

int path_order(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order ? order : (a_len > b_len) - (a_len < b_len);
}
