// SPDX-License-Identifier: BSD-2-Clause
// Paths of the store: components of [A-Za-z0-9_@-] behind slashes, "/" the root. No state.
#pragma once

#include <errno.h> // xs_wire.h then has the names of errors
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xen/io/xs_wire.h>

typedef char path_text[XENSTORE_ABS_PATH_MAX + 1];

// Makes a client's path absolute: one without a leading slash is below /local/domain/<domid>.
// 0 or -EINVAL (empty, too long, a character or slash where none may be).
int path_resolve(const char *given, unsigned domid, path_text out);
// The length of "/local/domain/<domid>/".
size_t path_home_length(unsigned domid);
// Takes the next component off *rest: its start (not terminated) and length; NULL at the end.
const char *path_step(const char **rest, size_t *len);
// The length of the parent's path; 0 for the root's and for children of the root.
size_t path_parent_length(const char *path);
// The order of two components, as memcmp: by bytes, a beginning before the whole.
int path_order(const char *a, size_t a_len, const char *b, size_t b_len);
// Whether `path` is `base` or below it (both absolute).
bool path_is_below(const char *path, const char *base);
