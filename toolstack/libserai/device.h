// SPDX-License-Identifier: BSD-2-Clause
// Split devices: a front in the guest and a back in the control domain, which find each other
// through xenstore (xen/io/xenbus.h) and agree by their states.
#pragma once

#include "store.h"

struct device {
    uint32_t domain;       // the guest's
    char kind[16];         // of the front: "vbd", "vif"
    char backend_kind[16]; // of the back: "vbd", "serai", "vif"
    uint32_t id;
    char back[STORE_PATH_MAX]; // filled in by device_init and device_list
};

enum {
    DEVICE_ACCEPT_MS = 30000, // for a backend to look at a new device, one of many perhaps
    DEVICE_LEAVE_MS = 10000,  // for a guest to let go of one
    DEVICE_GONE_MS = 5000,    // for the kernel to forget one
};

void device_init(struct device *d, uint32_t domain, const char *kind, const char *backend_kind,
                 uint32_t id);

// Writes the keys that are the device's own into its front's or back's directory.
typedef void device_keys_fn(struct store_tx *t, const char *dir, void *arg);
// Makes both ends. -EEXIST when the domain has this device, -EOPNOTSUPP when the domain was made
// without xenstore.
int device_add(struct serai *s, const struct device *d, device_keys_fn *back, device_keys_fn *front,
               void *arg, struct serai_error *err);
// Waits until the back has taken the device: its state is InitWait or later. -ETIMEDOUT when
// nobody answers, -EIO with the back's own words when it gave up.
int device_wait_taken(struct serai *s, const struct device *d, struct serai_error *err);
// Asks the front to let go, waits, and takes away both ends. -ETIMEDOUT when it does not: with
// `force` both are taken away anyway.
int device_remove(struct serai *s, const struct device *d, bool force, struct serai_error *err);
// Takes away both ends at once.
void device_vanish(struct serai *s, const struct device *d);
// Waits (DEVICE_GONE_MS) until the kernel's backend driver has forgotten the device.
void device_wait_gone(const struct device *d);

// All devices of a kind, or of every kind (NULL), by ascending id. Release *list with free().
int device_list(struct serai *s, uint32_t domain, const char *kind, struct device **list,
                size_t *count, struct serai_error *err);
// A device of any domain, with some keys of its back.
enum { DEVICE_KEYS_MAX = 2 };
struct device_entry {
    uint32_t domain, id;
    char *key[DEVICE_KEYS_MAX]; // NULL where there is none
};
// The devices of a kind of all domains, whoever made them, with the named keys: in a few rounds
// with the daemon, however many there are. Release with device_entries_free.
int device_list_all(struct serai *s, const char *kind, const char *const keys[DEVICE_KEYS_MAX],
                    struct device_entry **list, size_t *count, struct serai_error *err);
void device_entries_free(struct device_entry *list, size_t count);
// A key of the back, malloc'ed or NULL.
char *device_key(struct serai *s, const struct device *d, const char *key);
// The states of both ends (0 where there is none).
void device_states(struct serai *s, const struct device *d, unsigned *front, unsigned *back);
