// SPDX-License-Identifier: BSD-2-Clause
/* A store without a machine: connections are structures, the journal is a file or a buffer, and a
 * domain exists when the test says so. */
#pragma once

#include "unit.h"

#include "journal.h"
#include "ops.h"
#include "store.h"

struct host {
    struct store store;
    struct journal journal;
    bool journaled; /* records go to `journal` */
    bool refuse;    /* the journal cannot be written */
    unsigned throttled;
    bool dead[16];       /* domains that the hypervisor has no more */
    struct conn *socket; /* a client in the control domain */
    unsigned wakes;
    void (*point)(void); /* called before and after a record is written */
};

/* A store with a socket connection. `path`: its journal (read first), or NULL. */
void host_start(struct host *h, const char *path);
/* As when the process is killed: the journal stays as it is. */
void host_stop(struct host *h);
/* Introduces a domain and returns its ring's connection. */
struct conn *host_guest(struct host *h, unsigned domid);
struct conn *host_connect(struct host *h); /* one more socket */
void host_disconnect(struct conn *c);

/* Sends a request; the answer is in `answer` (payload, terminated) and `answer_len`. The result is
 * 0, or the error's number. */
extern char answer[MESSAGE_MAX + 1];
extern size_t answer_len;
extern struct xsd_sockmsg answer_head;
int ask_raw(struct conn *c, uint32_t type, uint32_t tx, const void *data, size_t len);
/* Strings, each sent with its zero; ends with NULL. */
int ask(struct conn *c, uint32_t type, uint32_t tx, ...) __attribute__((sentinel));
/* The same, in common cases. */
int put(struct conn *c, uint32_t tx, const char *path, const char *value);
const char *get(struct conn *c, uint32_t tx, const char *path); /* "!ENOENT" when it fails */
uint32_t begin(struct conn *c);
int commit(struct conn *c, uint32_t tx);
/* Takes the oldest event: "path token", or "" when there is none. */
const char *event(struct conn *c);
void no_events(struct conn *c); /* drops all */

/* All of the store as text, for comparisons. */
char *dump(struct store *s);
#define assert_sound(h) assert_string_equal(sound(h), "")
const char *sound(struct host *h);
