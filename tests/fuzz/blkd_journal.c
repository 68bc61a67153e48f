// SPDX-License-Identifier: BSD-2-Clause
/* What a block daemon finds when it is started again: a journal and a ring of which the guest may
 * have written every byte meanwhile. Either it is refused, or every request that it hands out is in
 * an entry of the journal, none twice. */
#include "fuzz.h"

#include "journal.h"
#include "ring.h"

enum { ENTRIES = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t page[BLK_PAGE] __attribute__((aligned(4096)));
    static uint64_t memory[1024];
    struct journal *j = (struct journal *)memory;
    struct blk_ring r;
    struct blk_limits limits = {.sectors = 1000, .indirect = 256, .discard = true};
    unsigned taken = 0;

    FUZZ_ASSERT(journal_bytes(ENTRIES) <= sizeof(memory));
    memset(page, 0, sizeof(page));
    if (size < 20) {
        return 0;
    }
    memcpy(page, data, 16);
    journal_reset(j, ENTRIES, *(const uint32_t *)(const void *)(page + 8));
    for (unsigned i = 0; size - 20 >= 2 * sizeof(struct journal_entry) && i < 2; i++) {
        memcpy(&j->entry[i], data + 20 + i * sizeof(struct journal_entry), sizeof(j->entry[i]));
    }
    j->req_cons += data[16] % 4;
    for (unsigned i = 2; i < ENTRIES && i < size; i++) {
        j->entry[i].state = data[i] % 8 ? JOURNAL_FREE : data[i] / 8 % 4;
        j->entry[i].index = j->req_cons - 1 - data[i] / 32;
        j->entry[i].response = j->entry[i].index;
    }
    enum blk_abi abi = data[17] & 1 ? BLK_ABI_X86_32 : BLK_ABI_X86_64;
    if (blk_ring_attach(&r, abi, page, sizeof(page)) || journal_recover(j, r.entries, r.rsp_prod)) {
        return 0;
    }
    r.req_cons = j->req_cons;
    for (unsigned i = 0; i < ENTRIES; i++) {
        FUZZ_ASSERT(j->entry[i].state == JOURNAL_FREE || j->entry[i].state == JOURNAL_TAKEN);
        taken += j->entry[i].state == JOURNAL_TAKEN;
        if (blk_request_check(&j->entry[i].req, &limits) == BLKIF_RSP_OKAY) {
            FUZZ_ASSERT(j->entry[i].req.nr_segments <= 256 ||
                        j->entry[i].req.operation == BLKIF_OP_DISCARD);
        }
    }
    FUZZ_ASSERT(r.req_cons - r.rsp_prod == taken && taken <= ENTRIES);
    int pending = blk_ring_pending(&r);
    FUZZ_ASSERT(pending < 0 || (unsigned)pending + taken <= ENTRIES);
    return 0;
}
