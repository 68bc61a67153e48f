// SPDX-License-Identifier: BSD-2-Clause
/* A guest that owns its console's ring: the input is what it writes there, in steps, between visits
 * of the daemon. Nothing outside the page is touched, and what is taken is never more than fits. */
#include "fuzz.h"

#include "ring.h"

static void visit(struct xencons_interface *ring, const uint8_t *data, size_t size)
{
    char *out = malloc(sizeof(ring->out)); /* apart, so that one byte too many is seen */
    uint32_t at = 0;
    int n = ring_peek(ring, out, sizeof(ring->out), &at);
    FUZZ_ASSERT(n <= (int)sizeof(ring->out));
    if (n >= 0) {
        FUZZ_ASSERT(at == ring->out_cons && (uint32_t)n == ring->out_prod - at);
        ring_taken(ring, at + (uint32_t)n);
    }
    /* sane or not before: afterwards it is */
    FUZZ_ASSERT(ring->out_cons == ring->out_prod);
    FUZZ_ASSERT(ring_peek(ring, out, sizeof(ring->out), &at) == 0);
    free(out);
    uint32_t before = ring->in_prod, room = sizeof(ring->in) - (before - ring->in_cons);
    size_t given = ring_give(ring, (const char *)data, size);
    FUZZ_ASSERT(given <= size && ring->in_prod == before + (uint32_t)given);
    if (room > sizeof(ring->in)) {
        FUZZ_ASSERT(!given);
    } else {
        FUZZ_ASSERT(given == (size < room ? size : room));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct xencons_interface *ring = calloc(1, sizeof(*ring));
    while (size >= 3) {
        size_t at = (data[0] | (size_t)data[1] << 8) % sizeof(*ring), len = data[2];
        data += 3;
        size -= 3;
        len = len < size ? len : size;
        len = len < sizeof(*ring) - at ? len : sizeof(*ring) - at;
        memcpy((uint8_t *)ring + at, data, len);
        visit(ring, data, len);
        data += len;
        size -= len;
    }
    free(ring);
    return 0;
}
