// SPDX-License-Identifier: BSD-2-Clause
#include "journal.h"

#include <errno.h>
#include <string.h>

// Changes whenever the layout does.
#define JOURNAL_MAGIC 0x3130646b6c626173ull

size_t journal_bytes(unsigned entries)
{
    size_t bytes = sizeof(struct journal) + entries * sizeof(struct journal_entry);
    return (bytes + 63) & ~(size_t)63;
}

static void journal_set(struct journal_entry *e, enum journal_state state)
{
    __atomic_store_n(&e->state, (uint32_t)state, __ATOMIC_RELEASE);
}

void journal_reset(struct journal *j, unsigned entries, uint32_t req_cons)
{
    memset(j, 0, journal_bytes(entries));
    j->entries = entries;
    j->req_cons = req_cons;
    __atomic_store_n(&j->magic, JOURNAL_MAGIC, __ATOMIC_RELEASE);
}

int journal_recover(struct journal *j, unsigned entries, uint32_t seen)
{
    if (j->magic != JOURNAL_MAGIC || j->entries != entries)
        return -EINVAL;
    unsigned taken = 0;
    for (unsigned i = 0; i < entries; i++) {
        struct journal_entry *e = &j->entry[i];
        // Taken when the process ended before it could move req_cons.
        if (e->state == JOURNAL_TAKEN && e->index == j->req_cons)
            j->req_cons++;
        if (e->state == JOURNAL_DONE)
            journal_set(e, seen - e->response - 1 < entries ? JOURNAL_FREE : JOURNAL_TAKEN);
        if (e->state != JOURNAL_FREE && e->state != JOURNAL_TAKEN)
            return -EINVAL;
        taken += e->state == JOURNAL_TAKEN;
    }
    // Every request up to req_cons has been answered or is in an entry.
    return j->req_cons - seen == taken ? 0 : -EINVAL;
}

void journal_take(struct journal *j, struct journal_entry *e, uint32_t index)
{
    e->index = index;
    journal_set(e, JOURNAL_TAKEN);
    __atomic_store_n(&j->req_cons, index + 1, __ATOMIC_RELEASE);
}

void journal_done(struct journal_entry *e, uint32_t response)
{
    e->response = response;
    journal_set(e, JOURNAL_DONE);
}

void journal_free(struct journal_entry *e)
{
    journal_set(e, JOURNAL_FREE);
}
