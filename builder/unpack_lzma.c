// SPDX-License-Identifier: BSD-2-Clause
#include "unpack_lzma.h"

#define LZMA_TOP (1u << 24)

/* Nothing but these live in registers throughout a chunk. */
struct lzma_rc {
    uint32_t range, code;
    const uint8_t *in;
};

/* Refills when fewer than 24 bits of range are left: at most one byte per decoded bit. */
#define RC_REFILL(rc)                                     \
    do {                                                  \
        if (__builtin_expect((rc).range < LZMA_TOP, 0)) { \
            (rc).range <<= 8;                             \
            (rc).code = (rc).code << 8 | *(rc).in++;      \
        }                                                 \
    } while (0)

/* Decodes one adaptive bit and runs if_zero or if_one. */
#define RC_BIT(rc, lz, prob, if_zero, if_one) \
    do {                                      \
        lzma_prob *rc_p = (prob);             \
        uint32_t rc_v = *rc_p, rc_bound;      \
        RC_REFILL(rc);                        \
        rc_bound = ((rc).range >> 11) * rc_v; \
        if ((rc).code < rc_bound) {           \
            (rc).range = rc_bound;            \
            *rc_p = (lz)->after0[rc_v];       \
            if_zero;                          \
        } else {                              \
            (rc).range -= rc_bound;           \
            (rc).code -= rc_bound;            \
            *rc_p = (lz)->after1[rc_v];       \
            if_one;                           \
        }                                     \
    } while (0)

/* One level of a bit tree: index i becomes 2i or 2i + 1. */
#define RC_TREE(rc, lz, probs, i) RC_BIT(rc, lz, (probs) + (i), (i) += (i), (i) += (i) + 1)

/* The same where the bit decides what comes next; inlined, the two branches become one. */
static inline __attribute__((always_inline)) bool rc_bit(struct lzma_rc *rc, struct lzma *lz,
                                                         lzma_prob *prob)
{
    RC_BIT(*rc, lz, prob, return false, return true);
}

static void lzma_reset(struct lzma *lz)
{
    lzma_prob *p = (lzma_prob *)&lz->probs;

    for (size_t i = 0; i < sizeof(lz->probs) / sizeof(*p); i++) {
        p[i] = LZMA_PROB_RANGE / 2;
    }
    lz->state = 0;
    __builtin_memset(lz->rep, 0, sizeof(lz->rep));
}

static void lzma_init(struct lzma *lz)
{
    for (unsigned p = 0; p < LZMA_PROB_RANGE; p++) {
        lz->after0[p] = (lzma_prob)(p + ((LZMA_PROB_RANGE - p) >> 5));
        lz->after1[p] = (lzma_prob)(p - (p >> 5));
    }
}

static bool lzma_set_props(struct lzma *lz, uint8_t props)
{
    if (props >= 9 * 5 * 5) {
        return false;
    }
    lz->lc = props % 9;
    lz->lp = props / 9 % 5;
    lz->pb = props / 45;
    return lz->lc + lz->lp <= 4;
}

/* The parts of the loop below take the coder state out of *rcp and put it back, so that it stays in
 * registers once they are inlined. */

static inline __attribute__((always_inline)) uint8_t lzma_literal(struct lzma_rc *rcp,
                                                                  struct lzma *lz, lzma_prob *probs)
{
    struct lzma_rc rc = *rcp;
    size_t sym = 1;

    RC_TREE(rc, lz, probs, sym);
    RC_TREE(rc, lz, probs, sym);
    RC_TREE(rc, lz, probs, sym);
    RC_TREE(rc, lz, probs, sym);
    RC_TREE(rc, lz, probs, sym);
    RC_TREE(rc, lz, probs, sym);
    RC_TREE(rc, lz, probs, sym);
    RC_TREE(rc, lz, probs, sym);
    *rcp = rc;
    return (uint8_t)sym;
}

/* A literal after a match: the byte at distance rep0 steers the context until they differ. */
static inline __attribute__((always_inline)) uint8_t
lzma_literal_matched(struct lzma_rc *rcp, struct lzma *lz, lzma_prob *probs, size_t match)
{
    struct lzma_rc rc = *rcp;
    size_t sym = 1, offset = 0x100;

    do {
        size_t bit;

        match += match;
        bit = match & offset;
        RC_BIT(rc, lz, probs + offset + bit + sym, (sym += sym, offset &= ~bit),
               (sym += sym + 1, offset = bit));
    } while (sym < 0x100);
    *rcp = rc;
    return (uint8_t)sym;
}

static inline __attribute__((always_inline)) uint32_t
lzma_length(struct lzma_rc *rcp, struct lzma *lz, struct lzma_len *len, size_t pos_state)
{
    struct lzma_rc rc = *rcp;
    size_t i = 1, limit = 8, base = 2 - 8;
    lzma_prob *probs = len->low[pos_state];

    if (rc_bit(&rc, lz, &len->choice)) {
        probs = len->mid[pos_state];
        base = 10 - 8;
        if (rc_bit(&rc, lz, &len->choice2)) {
            probs = len->high;
            limit = 256;
            base = 18 - 256;
        }
    }
    do {
        RC_TREE(rc, lz, probs, i);
    } while (i < limit);
    *rcp = rc;
    return (uint32_t)(base + i);
}

/* The distance of a match, minus one. */
static inline __attribute__((always_inline)) uint32_t lzma_distance(struct lzma_rc *rcp,
                                                                    struct lzma *lz, uint32_t len)
{
    struct lzma_rc rc = *rcp;
    lzma_prob *probs = lz->probs.dist_slot[len < 6 ? len - 2 : 3];
    size_t slot = 1;
    uint32_t dist, bits;

    RC_TREE(rc, lz, probs, slot);
    RC_TREE(rc, lz, probs, slot);
    RC_TREE(rc, lz, probs, slot);
    RC_TREE(rc, lz, probs, slot);
    RC_TREE(rc, lz, probs, slot);
    RC_TREE(rc, lz, probs, slot);
    slot -= 64;
    if (slot < 4) {
        *rcp = rc;
        return (uint32_t)slot;
    }
    bits = (uint32_t)(slot >> 1) - 1;
    dist = 2 | (slot & 1);
    if (slot < 14) {
        size_t i = 1;

        dist <<= bits;
        probs = lz->probs.dist_special + dist - slot;
        for (uint32_t weight = 1; bits; bits--, weight += weight) {
            RC_BIT(rc, lz, probs + i, i += i, (i += i + 1, dist += weight));
        }
    } else {
        size_t i = 1;

        for (bits -= 4; bits; bits--) {
            uint32_t borrow;

            /* Branch-free: subtract, and add back when that went below zero. */
            RC_REFILL(rc);
            rc.range >>= 1;
            rc.code -= rc.range;
            borrow = 0 - (rc.code >> 31);
            rc.code += rc.range & borrow;
            dist = dist + dist + 1 + borrow;
        }
        dist <<= 4;
        probs = lz->probs.dist_align;
        RC_BIT(rc, lz, probs + i, i += i, (i += i + 1, dist += 1));
        RC_BIT(rc, lz, probs + i, i += i, (i += i + 1, dist += 2));
        RC_BIT(rc, lz, probs + i, i += i, (i += i + 1, dist += 4));
        RC_BIT(rc, lz, probs + i, , dist += 8);
    }
    *rcp = rc;
    return dist;
}

/* Copies len bytes from dist + 1 back; with room to spare, eight at a time past the end. */
static inline __attribute__((always_inline)) uint8_t *lzma_copy(uint8_t *out, uint32_t dist,
                                                                uint32_t len, const uint8_t *end)
{
    const uint8_t *from = out - dist - 1;
    uint8_t *stop = out + len;

    if (__builtin_expect(dist >= 7 && (size_t)(end - stop) >= 8, 1)) {
        do {
            __builtin_memcpy(out, from, 8);
            out += 8;
            from += 8;
        } while (out < stop);
    } else {
        do {
            *out++ = *from++;
        } while (out < stop);
    }
    return stop;
}

/* The four latest distances, and the state machine of what came before. */
struct lzma_history {
    uint32_t rep0, rep1, rep2, rep3;
    size_t state;
};

/* A repeated distance: moves it to the front. Returns the match's length. */
static inline __attribute__((always_inline)) uint32_t
lzma_repeat(struct lzma_rc *rc, struct lzma *lz, struct lzma_history *h, size_t pos_state)
{
    struct lzma_probs *p = &lz->probs;

    if (rc_bit(rc, lz, &p->is_rep0[h->state])) {
        uint32_t dist = h->rep1;

        if (rc_bit(rc, lz, &p->is_rep1[h->state])) {
            dist = h->rep2;
            if (rc_bit(rc, lz, &p->is_rep2[h->state])) {
                dist = h->rep3;
                h->rep3 = h->rep2;
            }
            h->rep2 = h->rep1;
        }
        h->rep1 = h->rep0;
        h->rep0 = dist;
    } else if (!rc_bit(rc, lz, &p->is_rep0_long[h->state][pos_state])) {
        h->state = h->state < 7 ? 9 : 11;
        return 1;
    }
    h->state = h->state < 7 ? 8 : 11;
    return lzma_length(rc, lz, &p->rep_len, pos_state);
}

/* A match with a distance of its own. Returns its length. */
static inline __attribute__((always_inline)) uint32_t
lzma_match(struct lzma_rc *rc, struct lzma *lz, struct lzma_history *h, size_t pos_state)
{
    uint32_t len = lzma_length(rc, lz, &lz->probs.match_len, pos_state);

    h->rep3 = h->rep2;
    h->rep2 = h->rep1;
    h->rep1 = h->rep0;
    h->rep0 = lzma_distance(rc, lz, len);
    h->state = h->state < 7 ? 7 : 10;
    return len;
}

/* Where a chunk's output goes: [start, at) is the dictionary, the chunk ends at stop, the buffer
 * at end. */
struct lzma_window {
    const uint8_t *start;
    uint8_t *at, *stop;
    const uint8_t *end;
};

/*
 * Decodes symbols until w->at reaches w->stop. Input may be read up to LZMA_SLACK bytes past
 * in_end. False: the data is damaged.
 */
static bool lzma_symbols(struct lzma *lz, struct lzma_rc *rc_io, const uint8_t *in_end,
                         struct lzma_window *w)
{
    struct lzma_rc rc = *rc_io;
    uint8_t *out = w->at, *const stop = w->stop;
    const uint8_t *const start = w->start, *const end = w->end;
    struct lzma_history h = {lz->rep[0], lz->rep[1], lz->rep[2], lz->rep[3], lz->state};
    struct lzma_probs *const p = &lz->probs;
    const size_t pos_mask = (1u << lz->pb) - 1, lp_mask = (1u << lz->lp) - 1;
    const unsigned lc = lz->lc;

    while (out < stop && rc.in <= in_end) {
        size_t pos = (size_t)(out - start), pos_state = pos & pos_mask;
        uint32_t len;

        if (!rc_bit(&rc, lz, &p->is_match[h.state][pos_state])) {
            size_t prev = pos ? out[-1] : 0;
            lzma_prob *lit = p->literal[((pos & lp_mask) << lc) + (prev >> (8 - lc))];

            if (h.state < 7) {
                *out++ = lzma_literal(&rc, lz, lit);
                h.state = h.state < 4 ? 0 : h.state - 3;
            } else {
                *out = lzma_literal_matched(&rc, lz, lit, out[-(ptrdiff_t)h.rep0 - 1]);
                out++;
                h.state -= h.state < 10 ? 3 : 6;
            }
            continue;
        }
        if (rc_bit(&rc, lz, &p->is_rep[h.state])) {
            len = lzma_repeat(&rc, lz, &h, pos_state);
        } else {
            len = lzma_match(&rc, lz, &h, pos_state);
        }
        if (__builtin_expect(h.rep0 >= pos || len > (size_t)(stop - out), 0)) {
            return false;
        }
        out = lzma_copy(out, h.rep0, len, end);
    }
    RC_REFILL(rc);
    lz->rep[0] = h.rep0;
    lz->rep[1] = h.rep1;
    lz->rep[2] = h.rep2;
    lz->rep[3] = h.rep3;
    lz->state = (uint32_t)h.state;
    *rc_io = rc;
    w->at = out;
    return rc.in == in_end && rc.code == 0 && out == stop;
}

/* One LZMA chunk: `len` input bytes at in, of which reading may go LZMA_SLACK past. */
static bool lzma_chunk(struct lzma *lz, const uint8_t *in, size_t len, struct lzma_window *w)
{
    struct lzma_rc rc = {.range = UINT32_MAX, .in = in + 5};

    if (len < 5 || in[0] != 0) {
        return false;
    }
    rc.code = (uint32_t)in[1] << 24 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 8 | in[4];
    return lzma_symbols(lz, &rc, in + len, w);
}

/* A chunk's header, LZMA2's control byte and what follows it. */
struct lzma_header {
    uint8_t control, props;
    bool packed;
    size_t bytes; /* of the header */
    size_t packed_bytes, unpacked_bytes;
};

static bool lzma_read_header(struct builder_blob in, size_t at, struct lzma_header *h)
{
    const uint8_t *p = in.data + at;

    *h = (struct lzma_header){.control = p[0], .packed = p[0] >= 0x80};
    h->bytes = !h->packed ? 3 : p[0] >= 0xc0 ? 6 : 5;
    if (!builder_blob_has(in, at, h->bytes) || (!h->packed && p[0] > 2)) {
        return false;
    }
    h->unpacked_bytes = ((size_t)p[1] << 8 | p[2]) + 1;
    h->packed_bytes = h->unpacked_bytes;
    if (h->packed) {
        h->unpacked_bytes += (size_t)(p[0] & 0x1f) << 16;
        h->packed_bytes = ((size_t)p[3] << 8 | p[4]) + 1;
        h->props = h->bytes == 6 ? p[5] : 0;
    }
    return builder_blob_has(in, at + h->bytes, h->packed_bytes);
}

/* What has to be reset before any further chunk is valid. */
struct lzma_needs {
    bool dictionary, props;
};

/* Applies the resets that the control byte asks for; false: it omits a needed one. */
static bool lzma_apply_resets(struct lzma *lz, const struct lzma_header *h,
                              struct lzma_needs *needs, struct lzma_window *w)
{
    if (h->control >= 0xe0 || h->control == 1) {
        *needs = (struct lzma_needs){.dictionary = false, .props = true};
        w->start = w->at;
    }
    if (needs->dictionary) {
        return false;
    }
    if (h->control >= 0xc0) {
        if (!lzma_set_props(lz, h->props)) {
            return false;
        }
        needs->props = false;
    }
    if (h->packed && needs->props) {
        return false;
    }
    if (h->control >= 0xa0) {
        lzma_reset(lz);
    }
    return true;
}

int lzma2_decode(struct lzma *lz, struct builder_blob in, uint8_t *out, size_t room, size_t *used,
                 size_t *made, struct builder_error *err)
{
    struct lzma_window w = {.start = out, .at = out, .end = out + room};
    struct lzma_needs needs = {.dictionary = true, .props = true};
    struct lzma_header h;
    size_t at = 0;

    lzma_init(lz);
    for (; at < in.len && in.data[at] != 0; at += h.packed_bytes) {
        const uint8_t *body;

        if (!lzma_read_header(in, at, &h) || !lzma_apply_resets(lz, &h, &needs, &w)) {
            return builder_fail(err, XEN_EINVAL, "xz data is damaged, offset", at);
        }
        if (h.unpacked_bytes > (size_t)(w.end - w.at)) {
            return builder_fail(err, XEN_ENOSPC, "xz data is larger than stated, offset", at);
        }
        at += h.bytes;
        body = in.data + at;
        if (!h.packed) {
            __builtin_memcpy(w.at, body, h.unpacked_bytes);
            w.at += h.unpacked_bytes;
            continue;
        }
        if (in.len - at - h.packed_bytes < LZMA_SLACK) {
            __builtin_memcpy(lz->tail, body, h.packed_bytes);
            __builtin_memset(lz->tail + h.packed_bytes, 0, LZMA_SLACK);
            body = lz->tail;
        }
        w.stop = w.at + h.unpacked_bytes;
        if (!lzma_chunk(lz, body, h.packed_bytes, &w)) {
            return builder_fail(err, XEN_EINVAL, "xz data is damaged, offset", at);
        }
    }
    if (at >= in.len) {
        return builder_fail(err, XEN_EINVAL, "xz data is truncated", at);
    }
    *used = at + 1;
    *made = (size_t)(w.at - out);
    return 0;
}
