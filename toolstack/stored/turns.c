// SPDX-License-Identifier: BSD-2-Clause
#include "turns.h"

#include <stddef.h>

static struct turn *turns_take(struct turns *t)
{
    struct turn *x = t->first;
    t->first = x->next;
    if (!t->first)
        t->end = &t->first;
    x->next = NULL;
    x->queued = false;
    return x;
}

// One round: those who wait now. The last of them is marked by where the list ended.
static bool turns_on_round(void *arg)
{
    struct turns *t = arg;
    struct turn mark = {0};
    if (!t->first)
        return false;
    turn_queue(t, &mark);
    for (struct turn *x; (x = turns_take(t)) != &mark;)
        x->serve(x);
    return t->first;
}

void turns_init(struct turns *t, struct loop *l)
{
    *t = (struct turns){.end = &t->first};
    loop_set_idle(l, turns_on_round, t);
}

void turn_queue(struct turns *t, struct turn *x)
{
    if (x->queued)
        return;
    x->queued = true;
    x->next = NULL;
    *t->end = x;
    t->end = &x->next;
}

void turn_cancel(struct turns *t, struct turn *x)
{
    for (struct turn **p = &t->first; x->queued && *p; p = &(*p)->next) {
        if (*p != x)
            continue;
        *p = x->next;
        if (t->end == &x->next)
            t->end = p;
        x->queued = false;
        break;
    }
}
