// SPDX-License-Identifier: BSD-2-Clause
#include "ring.h"

#include <errno.h>

int ring_take(struct xencons_interface *ring, char *to, size_t size)
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
    // The bytes must have been read before the guest learns that it may overwrite them.
    __atomic_store_n(&ring->out_cons, cons + used, __ATOMIC_RELEASE);
    return (int)used;
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
