// SPDX-License-Identifier: BSD-2-Clause
#include "ring.h"

#include <errno.h>

int ring_peek(struct xencons_interface *ring, char *to, size_t size, uint32_t *at)
{
    XENCONS_RING_IDX cons = __atomic_load_n(&ring->out_cons, __ATOMIC_RELAXED);
    XENCONS_RING_IDX prod = __atomic_load_n(&ring->out_prod, __ATOMIC_ACQUIRE);
    uint32_t used = prod - cons;
    if (used > sizeof(ring->out)) {
        __atomic_store_n(&ring->out_cons, prod, __ATOMIC_RELEASE);
        return -EIO;
    }
    if (used > size)
        used = (uint32_t)size;
    for (uint32_t i = 0; i < used; i++)
        to[i] = ring->out[MASK_XENCONS_IDX(cons + i, ring->out)];
    *at = cons;
    return (int)used;
}

void ring_taken(struct xencons_interface *ring, uint32_t cons)
{
    // The bytes must have been read before the guest learns that it may overwrite them.
    __atomic_store_n(&ring->out_cons, cons, __ATOMIC_RELEASE);
}

size_t ring_give(struct xencons_interface *ring, const char *from, size_t len)
{
    XENCONS_RING_IDX prod = __atomic_load_n(&ring->in_prod, __ATOMIC_RELAXED);
    XENCONS_RING_IDX cons = __atomic_load_n(&ring->in_cons, __ATOMIC_ACQUIRE);
    uint32_t used = prod - cons;
    if (used > sizeof(ring->in))
        return 0; // nonsense: nothing can be given until the guest mends it
    size_t room = sizeof(ring->in) - used;
    if (len > room)
        len = room;
    for (size_t i = 0; i < len; i++)
        ring->in[MASK_XENCONS_IDX(prod + (uint32_t)i, ring->in)] = from[i];
    __atomic_store_n(&ring->in_prod, prod + (uint32_t)len, __ATOMIC_RELEASE);
    return len;
}
