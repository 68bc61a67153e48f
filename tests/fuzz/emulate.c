// SPDX-License-Identifier: BSD-2-Clause
/* Any bytes as an instruction in any mode on any registers. */
#include "fuzz.h"

#include "../unit/emulate_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum emulate_mode modes[] = {EMULATE_MODE_16, EMULATE_MODE_32, EMULATE_MODE_64,
                                              EMULATE_MODE_64};
    static struct emulate_host h;
    uint64_t rip, linear;
    enum emulate_result rc;

    if (size < 2 + 18) {
        return 0;
    }
    emulate_host_init(&h, 0x10000);
    h.ctx.repeat_max = 8;
    h.swap_losses = data[1] & 31;
    memset(&h.regs, data[0] & 4 ? 0xff : 0, sizeof(h.regs));
    memcpy(&h.regs, data + 20, size - 20 < sizeof(h.regs) ? size - 20 : sizeof(h.regs));
    rip = h.regs.rip;
    rc = emulate_decode(&h.insn, data + 2, 18 - data[1] % 18, modes[data[0] & 3], &h.ctx.exception);
    FUZZ_ASSERT(rc == EMULATE_MORE_BYTES || rc == EMULATE_UNHANDLED || rc == EMULATE_EXCEPTION ||
                rc == EMULATE_OK);
    if (rc != EMULATE_OK) {
        return 0;
    }
    FUZZ_ASSERT(h.insn.length >= 1 && h.insn.length <= EMULATE_MAX_INSN_BYTES);
    FUZZ_ASSERT(emulate_name(&h.insn) && emulate_name(&h.insn)[0]);
    if (h.insn.has_mem) {
        emulate_address(&h.insn, &h.ctx, &linear);
    }
    emulate_writes_memory(&h.insn);
    rc = emulate_execute(&h.insn, &h.ctx);
    FUZZ_ASSERT(rc != EMULATE_MORE_BYTES);
    FUZZ_ASSERT(rc == EMULATE_OK || h.regs.rip == rip);
    return 0;
}
