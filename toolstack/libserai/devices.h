// SPDX-License-Identifier: BSD-2-Clause
// What creation and destruction of domains need of disks and network interfaces.
#pragma once

#include "device.h"

// Needs no domain: targets exist and can be opened as wanted; a daemon serves xenstore.
int devices_check(struct serai *s, const struct serai_config *c, struct serai_error *err);
// disk.c, vif.c: one device of a domain that is being made; nothing stays behind on failure.
int disk_add(struct serai *s, uint32_t domain, const struct serai_disk *disk,
             struct serai_error *err);
int vif_add(struct serai *s, uint32_t domain, const struct serai_vif *vif, struct serai_error *err);
// Gives the interfaces numbers and addresses that no other guest has.
int vif_complete(struct serai *s, const uint8_t uuid[16], struct serai_vif *list, size_t count,
                 struct serai_error *err);
// Checks that the disk's target can be used as wanted. An empty drive is fine.
int disk_check(const struct serai_disk *disk, struct serai_error *err);
// All devices of a domain that is not running any more, at once.
void devices_remove(struct serai *s, uint32_t domain);
