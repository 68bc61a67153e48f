// SPDX-License-Identifier: BSD-2-Clause
/* A guest that owns its side of the store's ring, and what a daemon finds when it is started again:
 * the input is what is written where, in steps. Sanitizers watch; the counts stay right. */
#include "fuzz.h"
#include "fuzz_store.h"

#include "mem.h"
#include "ops.h"
#include "ring.h"
#include "watch.h"

static struct xenstore_domain_interface page;
static struct ring_state state;

static const struct store_host hooks = {.connect = fuzz_connect, .disconnect = fuzz_disconnect};

/* A step: how, where, how much. Half of them are sound messages, or nothing would ever happen. */
static const uint8_t *step(struct ring *r, const uint8_t *at, const uint8_t *end)
{
    uint32_t *const index[] = {&page.req_prod, &page.req_cons,   &page.rsp_prod,
                               &page.rsp_cons, &page.connection, &page.server_features};
    struct xsd_sockmsg head = {.type = at[1] % 24, .tx_id = at[2] % 3};
    unsigned how = at[0] % 16, len = at[3];
    at += 4;
    len = len < (size_t)(end - at) ? len : (unsigned)(end - at);
    if (how < 6) {
        memcpy(index[how], at, len < 4 ? len : 4);
    } else if (how == 6) {
        memcpy(page.req + (head.type * 41) % (XENSTORE_RING_SIZE - 255), at, len);
    } else if (how == 7) { /* the daemon is replaced */
        ring_attach(r, r->conn, &page, &state, false);
    } else {
        head.len = len;
        if (how == 8) {
            head.len = len * 17u;
        }
        for (unsigned i = 0; i < sizeof(head) + len; i++) {
            uint8_t byte = i < sizeof(head) ? ((uint8_t *)&head)[i] : at[i - sizeof(head)];
            page.req[MASK_XENSTORE_IDX(page.req_prod + i)] = (char)byte;
        }
        page.req_prod += (uint32_t)sizeof(head) + len;
        page.rsp_cons = page.rsp_prod;
    }
    for (unsigned i = 0; i < 8 && ring_serve(r, 4); i++) {
    }
    return at + len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store s;
    struct ring r;
    const uint8_t *end = data + size;
    memset(&page, 0, sizeof(page));
    memset(&state, 0, sizeof(state));
    store_init(&s, &hooks, &s);
    limits_set(&s.limits, "nodes", "20");
    domain_introduce(&s, 1, 1, 1);
    ring_attach(&r, domain_find(&s, 1)->conn, &page, &state, true);
    while (end - data >= 4) {
        data = step(&r, data, end);
    }
    FUZZ_ASSERT(!store_check(&s));
    while (s.conns) {
        fuzz_disconnect(&s, s.conns);
    }
    store_free(&s);
    return 0;
}
