// SPDX-License-Identifier: BSD-2-Clause
// Memory for a guest that is about to be made, from those that have a range of it.
#pragma once

#include "internal.h"

// balloon.c: tells a guest what to keep, without noting that as somebody's wish.
int balloon_apply(struct serai *s, uint32_t id, uint64_t kib, struct serai_error *err);
int balloon_target(struct serai *s, uint32_t id, uint64_t *kib, struct serai_error *err);

// Does nothing when so much is free in `host`. Else waits until it is, and keeps it from being
// given to others until *fd (-1: all was there) is closed. -ENOMEM, with the sizes, when it is not
// to be had.
int balancer_make_room(struct serai *s, const struct serai_host *host, const uint8_t uuid[16],
                       uint64_t kib, int *fd, struct serai_error *err);
void balancer_room_end(struct serai *s, const uint8_t uuid[16], int fd);
