// SPDX-License-Identifier: BSD-2-Clause
// Xenstore as the library uses it: one connection per handle, opened when first needed and again
// when the daemon was restarted; whoever waits does so on one of his own. Any number of threads:
// their requests and transactions take turns on the connection. Paths are printf formats. All
// functions return 0 or -errno.
#pragma once

#include "internal.h"

enum { STORE_PATH_MAX = 512 };

// -ENOTCONN, and text saying so, when no daemon serves here.
int store_connect(struct serai *s, struct serai_error *err);
// The same without text.
bool store_served(struct serai *s);
void store_close(struct serai *s);

// A value, malloc'ed, or NULL with errno set (ENOENT, ENOTCONN, ...).
char *store_read(struct serai *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// A decimal value; -EINVAL when it is none.
int store_read_number(struct serai *s, int64_t *out, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int store_write(struct serai *s, const char *value, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
// With everything below it; success when it is not there.
int store_remove(struct serai *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// Names of the children, NULL-terminated; release with free(). NULL with errno set.
char **store_list(struct serai *s, unsigned *count, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

// Many at once, which costs hardly more time than one: values[i] is what store_read() would give
// for paths[i], NULL where that fails. 0, or -errno without any.
int store_read_many(struct serai *s, char *const *paths, unsigned count, char **values);
// The names in each directory, one after another, each with its NUL byte, and an empty one at the
// end; NULL where there is no such directory.
int store_list_many(struct serai *s, char *const *paths, unsigned count, char **names);

// Gives the daemon the guest's page and port; takes them away.
int store_introduce(struct serai *s, uint32_t domain, uint64_t mfn, uint32_t port);
int store_release(struct serai *s, uint32_t domain);

// A transaction. Its operations remember the first failure, so that they are written one after
// another without looking.
struct store_tx {
    struct serai *s;
    uint32_t id;
    unsigned generation; // of the connection it was begun on
    int error;
    char path[STORE_PATH_MAX]; // of the failure
};
typedef void store_tx_fn(struct store_tx *t, void *arg);
// Runs `fn` in a transaction, again when others interfered. `fn` sets t->error to give up.
// The text names the path that could not be written.
int store_transaction(struct serai *s, store_tx_fn *fn, void *arg, struct serai_error *err);

// Writes DIR/KEY (DIR alone when key is NULL).
void tx_write(struct store_tx *t, const char *dir, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
// Malloc'ed, or NULL; only failures other than absence are remembered.
char *tx_read(struct store_tx *t, const char *dir, const char *key);
void tx_remove(struct store_tx *t, const char *dir, const char *key);
enum store_access { STORE_NONE = 'n', STORE_READ = 'r', STORE_WRITE = 'w', STORE_BOTH = 'b' };
// Makes an empty node if there is none, owned by `owner`; `other` may access it as said. What is
// made below it inherits that.
void tx_node(struct store_tx *t, const char *dir, const char *key, uint32_t owner, uint32_t other,
             enum store_access access);

// Waits until `done` says something else than 0, asking it first and then whenever something
// at or below `path` changes (and now and then, because it may depend on more). -ETIMEDOUT, or
// -ECANCELED when the operation that waits is cancelled.
typedef int store_done_fn(struct serai *s, void *arg);
int store_wait(struct serai *s, const char *path, unsigned timeout_ms, store_done_fn *done,
               void *arg);
