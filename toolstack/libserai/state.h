// SPDX-License-Identifier: BSD-2-Clause
// What the toolstack itself remembers, in one directory:
//
//   lock             held (flock) while names are checked and taken
//   building/UUID    a domain being made, held (flock) by its maker: its name
//   domains/ID       a finished domain: its configuration and where its console is
//
// A record counts only while the hypervisor has a domain with that id and the record's UUID,
// so that nothing here goes stale when a process or a domain dies.
#pragma once

#include "internal.h"

struct state_record {
    struct serai_config *config;
    struct serai_console console;
};

// Creates the directories and takes the lock; *fd is closed to release it.
int state_lock(struct serai *s, int *fd, struct serai_error *err);

int state_record_write(struct serai *s, uint32_t id, const struct state_record *r,
                       struct serai_error *err);
// -ENOENT without a record. Release r->config.
int state_record_read(struct serai *s, uint32_t id, struct state_record *r,
                      struct serai_error *err);
// Whose record it is, without reading all of it. False without a record.
bool state_record_name(struct serai *s, uint32_t id, uint8_t uuid[16],
                       char name[SERAI_NAME_MAX + 1]);
void state_record_remove(struct serai *s, uint32_t id);

// What a change of a record begins with: takes the lock and reads it. -EPERM when the domain has
// none. Afterwards: write it if wanted, release r->config, close *lock.
int state_edit_begin(struct serai *s, uint32_t id, struct state_record *r, int *lock,
                     struct serai_error *err);
// Changes a record by `fn` (0 or -ENOMEM). A domain that has none stays as it is.
typedef int state_change_fn(struct serai_config *c, void *arg);
int state_change(struct serai *s, uint32_t id, state_change_fn *fn, void *arg,
                 struct serai_error *err);

// Announces a domain about to be made; *fd holds it. Call with the lock taken.
int state_building_begin(struct serai *s, const char *name, const uint8_t uuid[16], int *fd,
                         struct serai_error *err);
void state_building_end(struct serai *s, const uint8_t uuid[16], int fd);

// -EEXIST when a domain or one being made has the name. Call with the lock taken.
int state_name_check(struct serai *s, const char *name, struct serai_error *err);
// serai_sweep() with the lock taken.
int state_sweep(struct serai *s, struct serai_error *err);

// config.c: the text that serai_config_load() reads back; and from such a text.
struct buf;
void config_write(const struct serai_config *c, struct buf *out);
int config_parse_text(struct serai *s, const char *name, const char *text, size_t len,
                      struct state_record *r, struct serai_error *err);
// Is the configuration complete and sound, whoever filled it in?
int config_validate(const struct serai_config *c, struct serai_error *err);
// May a domain have this name? -EINVAL with the reason.
int config_name_check(const char *name, struct serai_error *err);
