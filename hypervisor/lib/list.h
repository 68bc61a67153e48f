// SPDX-License-Identifier: BSD-2-Clause
// Circular doubly linked list with the links inside the elements. No locking.
#pragma once

#include "lib/types.h"

struct list {
    struct list *next, *prev;
};

#define LIST_INIT(name)  \
    {                    \
        &(name), &(name) \
    }

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_insert_between(struct list *e, struct list *prev, struct list *next)
{
    e->prev = prev;
    e->next = next;
    prev->next = e;
    next->prev = e;
}

static inline void list_add(struct list *e, struct list *head)
{
    list_insert_between(e, head, head->next);
}

static inline void list_add_tail(struct list *e, struct list *head)
{
    list_insert_between(e, head->prev, head);
}

// Unlink e; it becomes an empty list of its own, so that a second list_del is harmless.
static inline void list_del(struct list *e)
{
    e->prev->next = e->next;
    e->next->prev = e->prev;
    list_init(e);
}

#define list_entry(ptr, type, member)  container_of(ptr, type, member)
#define list_first(head, type, member) list_entry((head)->next, type, member)
#define list_for_each(pos, head, member)                                               \
    for (pos = list_entry((head)->next, typeof(*pos), member); &pos->member != (head); \
         pos = list_entry(pos->member.next, typeof(*pos), member))
#define list_for_each_safe(pos, tmp, head, member)                \
    for (pos = list_entry((head)->next, typeof(*pos), member),    \
        tmp = list_entry(pos->member.next, typeof(*pos), member); \
         &pos->member != (head);                                  \
         pos = tmp, tmp = list_entry(tmp->member.next, typeof(*tmp), member))
