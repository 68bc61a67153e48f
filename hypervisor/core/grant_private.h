// SPDX-License-Identifier: BSD-2-Clause
// Inside grant tables.
//
// A domain's table is an array of entries in pages that it shares with us; the guest fills them in.
// For each entry in use by someone there is a struct active on our side, which says what was
// granted when the use began: the guest may scribble over its entry afterwards. Active entries come
// in chunks of 32, made when first needed and kept.
//
// A domain that maps others' pages has one struct mapping per handle. References: for each host and
// each device mapping there is a pin in the active entry, a general reference on the frame and, if
// writable, a use of it as FRAME_TYPE_WRITABLE. The guest's page table entries hold none.
//
// Locks: a table's lock covers growth and the version; an active entry's lock covers its pins and
// the state of mappings made through it. Table before active; two active entries of a table in
// order of reference; never two domains' at once. The maptrack lock comes last.
#pragma once

#include "core/grant.h"
#include "memory/frame.h"

#define V1_PER_PAGE      (PAGE_SIZE / sizeof(grant_entry_v1_t))
#define V2_PER_PAGE      (PAGE_SIZE / sizeof(grant_entry_v2_t))
#define STATUS_PER_PAGE  (PAGE_SIZE / sizeof(grant_status_t))
#define ACTIVE_PER_CHUNK 32
#define CHUNKS_PER_PAGE  (V1_PER_PAGE / ACTIVE_PER_CHUNK)
#define MAX_TABLE_FRAMES 8192 // an insane toolstack's limit is cut to this
#define MAX_TRACK_PAGES  16384

struct active {
    spinlock_t lock;
    domid_t domid;             // who uses it
    bool io;                   // I/O memory: no references
    bool transitive;           // leads to another domain's grant (copies only)
    uint16_t start, length;    // bytes that may be copied
    uint32_t readers, writers; // pins
    mfn_t frame;
};

struct mapping {
    struct domain *granter; // with a reference
    uint32_t ref;           // free: next free handle + 1
    uint32_t flags;         // GNTMAP_host_map, _device_map, _readonly, _contains_pte; 0: free
};
_Static_assert(sizeof(struct mapping) == 16, "256 handles per page");
#define MAPPINGS_PER_PAGE (PAGE_SIZE / sizeof(struct mapping))

struct grant_table {
    spinlock_t lock;
    uint8_t version, max_version;
    bool changing; // the version: nobody may start to use an entry
    uint32_t frames, max_frames;
    uint32_t status_frames;
    void **shared;           // pages of entries
    grant_status_t **status; // version 2
    struct active ***active; // by page of entries (of version 1's size), then chunk

    spinlock_t track_lock;
    struct mapping **track; // pages, made at the first mapping
    uint32_t track_pages, max_track_pages;
    uint32_t track_free; // first free handle + 1; 0: none
    uint32_t mappings;
    uint32_t cursor; // of a relinquish in progress
};

// One use of a grant: what grant_acquire found.
struct grant_use {
    struct active *active; // what holds the pin
    mfn_t frame;
    bool io;
    uint16_t start, length; // part of the page that may be used
};

// Where a transitive grant leads.
struct grant_next {
    struct active *active; // what holds its own pin
    domid_t domain;
    grant_ref_t ref;
};

static inline uint32_t grant_entries(const struct grant_table *t)
{
    return READ_ONCE(t->frames) * (uint32_t)(t->version == 1 ? V1_PER_PAGE : V2_PER_PAGE);
}

// grant.c
int __must_check grant_grow(struct domain *d, uint32_t frames); // table locked
// The active entry of a reference, locked; NULL: no such reference, or out of memory.
struct active *grant_active_lock(struct grant_table *t, grant_ref_t ref);
// The same for a use by another domain: memory is spent in the granter's name only when the entry
// offers `user` this type of use at the moment, NULL otherwise. May take the table's lock.
struct active *grant_active_use(struct grant_table *t, grant_ref_t ref, uint16_t type,
                                const struct domain *user);
// The entry's header {flags, domid} and the word with the reading and writing bits.
uint32_t *grant_header(const struct grant_table *t, grant_ref_t ref);
uint16_t *grant_status(const struct grant_table *t, grant_ref_t ref);
int __must_check grant_set_version(struct domain *d, uint32_t version);

// grant_use.c: all return GNTST_*.
// Pin the grant for `user`: the frame may be accessed until grant_release. No references are taken.
int16_t grant_acquire(struct domain *granter, grant_ref_t ref, const struct domain *user,
                      bool write, struct grant_use *out);
// The same for a grant that passes on another domain's: which one.
int16_t grant_acquire_transitive(struct domain *granter, grant_ref_t ref, const struct domain *user,
                                 bool write, struct grant_next *next);
void grant_release(struct domain *granter, grant_ref_t ref, bool write);
// The same where what holds the pin is known.
void grant_release_active(struct domain *granter, struct active *a, grant_ref_t ref, bool write);
// References on a granted frame / back.
bool grant_get_frame_refs(const struct domain *owner, mfn_t frame, bool write);
void grant_put_frame_refs(mfn_t frame, bool write);

// One operation of a batch of copies; the granters are kept for the next, which is often about the
// same: NULL before the first.
struct grant_copy_step {
    struct gnttab_copy op;
    struct domain *source, *dest; // with references
};

// grant_copy.c, grant_map.c: one operation each; *_finish after a batch.
int grant_op_copy(void *step);
void grant_copy_finish(struct grant_copy_step *step);
int grant_op_transfer(void *op);
int grant_op_map(void *op);
int grant_op_unmap(void *op);
int grant_op_unmap_and_replace(void *op);
void grant_unmap_finish(void);
