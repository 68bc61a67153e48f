// SPDX-License-Identifier: BSD-2-Clause
/*
 * LZMA2 into a flat buffer: the inner loop of the XZ decoder, apart from the container. Written for
 * few instructions per decoded bit, since unpacking the kernel dominates the start of a machine:
 * everything that a bit touches is in registers, the adaptation of a probability is a table
 * lookup, and the output buffer is the dictionary.
 */
#pragma once

#include "builder.h"

enum {
    LZMA_STATES = 12,
    LZMA_POS_MAX = 16,
    LZMA_LITERAL_CONTEXTS = 16, /* LZMA2 limits lc + lp to 4 */
    LZMA_LITERAL_PROBS = 0x300,
    LZMA_LEN_BITS = 8,
    LZMA_DIST_STATES = 4,
    LZMA_PROB_RANGE = 2048,
    LZMA_CHUNK_MAX = 1 << 16, /* compressed bytes of a chunk */
    LZMA_SLACK = 64,          /* more than one symbol can consume */
};

typedef uint16_t lzma_prob;

struct lzma_len {
    lzma_prob choice, choice2;
    lzma_prob low[LZMA_POS_MAX][8];
    lzma_prob mid[LZMA_POS_MAX][8];
    lzma_prob high[256];
};

/* All adaptive state of the coder, and tables. Needs no initialisation by the caller. */
struct lzma {
    lzma_prob after0[LZMA_PROB_RANGE]; /* a probability after it predicted a 0 bit */
    lzma_prob after1[LZMA_PROB_RANGE];
    struct lzma_probs {
        lzma_prob is_match[LZMA_STATES][LZMA_POS_MAX];
        lzma_prob is_rep[LZMA_STATES];
        lzma_prob is_rep0[LZMA_STATES];
        lzma_prob is_rep1[LZMA_STATES];
        lzma_prob is_rep2[LZMA_STATES];
        lzma_prob is_rep0_long[LZMA_STATES][LZMA_POS_MAX];
        lzma_prob dist_slot[LZMA_DIST_STATES][64];
        lzma_prob dist_special[128];
        lzma_prob dist_align[16];
        struct lzma_len match_len, rep_len;
        lzma_prob literal[LZMA_LITERAL_CONTEXTS][LZMA_LITERAL_PROBS];
    } probs;
    uint32_t state;
    uint32_t rep[4];
    uint8_t lc, lp, pb;
    uint8_t tail[LZMA_CHUNK_MAX + LZMA_SLACK]; /* a chunk at the very end of the input, padded */
};

/*
 * Decodes LZMA2 data from in until its end marker. *used: input bytes taken; *made: output bytes.
 * Errors: -EINVAL damaged, -ENOSPC output does not fit; err->where is an offset in `in`.
 */
int lzma2_decode(struct lzma *lz, struct builder_blob in, uint8_t *out, size_t room, size_t *used,
                 size_t *made, struct builder_error *err);
