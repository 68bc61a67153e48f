// SPDX-License-Identifier: BSD-2-Clause
// What the data path and the devices need of the world: grants, event channels, xenstore. One
// implementation uses Debian's libraries (xen_host.c), the tests have another. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// One piece of a copy between a guest's page and our memory.
struct grant_copy {
    uint32_t gref;
    uint16_t offset, length; // inside the page
    void *local;
};

struct store_pair {
    const char *key; // relative to the directory
    char value[400];
};

struct host_ops {
    // Maps `count` pages, writable, one after the other. NULL when any of them cannot be.
    void *(*map)(void *ctx, uint32_t domid, const uint32_t *grefs, unsigned count);
    void (*unmap)(void *ctx, void *address, unsigned count);
    // 0, or -errno when any piece failed.
    int (*copy)(void *ctx, uint32_t domid, const struct grant_copy *piece, unsigned count,
                bool to_guest);
    // Our port for the guest's, or -errno.
    int (*bind)(void *ctx, uint32_t domid, uint32_t port);
    void (*unbind)(void *ctx, int port);
    void (*notify)(void *ctx, int port);
    // 0 and a string to free; -ENOENT: there is no such node; any other -errno: the store cannot
    // be asked now.
    int (*read)(void *ctx, const char *path, char **out);
    // 0 and names to free with one free(); errors as above.
    int (*list)(void *ctx, const char *path, char ***names, unsigned *count);
    // Writes all pairs below `dir` at once. -ENOENT, and nothing is written, when dir/frontend does
    // not exist: a device that has been removed must not come back as a ghost.
    int (*publish)(void *ctx, const char *dir, const struct store_pair *pairs, unsigned count);
    // Whether the domain still lives, as far as the store knows.
    bool (*alive)(void *ctx, uint32_t domid);
    // Later changes at or below `path` are told to the owner of the implementation.
    int (*watch)(void *ctx, const char *path, const char *token);
    void (*unwatch)(void *ctx, const char *path, const char *token);
};

struct host {
    const struct host_ops *ops;
    void *ctx;
};
