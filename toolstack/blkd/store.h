// SPDX-License-Identifier: BSD-2-Clause
// Our connection to xenstore in the event loop: the store's part of struct host_ops, and the
// events of watches. When the store's daemon goes away it is looked for until it is back.
#pragma once

#include "host.h"
#include "loop.h"

struct store;

struct store_calls {
    // Connected, or connected again: all watches have to be set anew.
    void (*back)(void *arg);
    void (*changed)(void *arg, const char *path, const char *token);
};

// NULL without memory. It does not wait for the store's daemon.
struct store *store_new(struct loop *l, const struct store_calls *calls, void *arg);
void store_free(struct store *s);

// As in struct host_ops.
int store_read(struct store *s, const char *path, char **out);
int store_list(struct store *s, const char *path, char ***names, unsigned *count);
int store_publish(struct store *s, const char *dir, const struct store_pair *pairs, unsigned count);
bool store_alive(struct store *s, uint32_t domid);
int store_watch(struct store *s, const char *path, const char *token);
void store_unwatch(struct store *s, const char *path, const char *token);
