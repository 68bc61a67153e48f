// SPDX-License-Identifier: BSD-2-Clause
// The 2-level ABI: pending and mask bits in shared_info, one selector word per vCPU.
#include "core/evtchn_private.h"

void evtchn_2l_clear_pending(struct domain *d, evtchn_port_t port)
{
    bit_clear_atomic(d->shared_info->evtchn_pending, port);
}

bool evtchn_2l_is_pending(struct domain *d, evtchn_port_t port)
{
    return port < EVTCHN_2L_NR_CHANNELS && bit_test(d->shared_info->evtchn_pending, port);
}

bool evtchn_2l_is_masked(struct domain *d, evtchn_port_t port)
{
    return port < EVTCHN_2L_NR_CHANNELS && bit_test(d->shared_info->evtchn_mask, port);
}

void evtchn_2l_unmask(struct vcpu *v, evtchn_port_t port)
{
    struct shared_info *s = v->domain->shared_info;

    if (port >= EVTCHN_2L_NR_CHANNELS)
        return;
    if (bit_test_and_clear_atomic(s->evtchn_mask, port) && bit_test(s->evtchn_pending, port) &&
        !bit_test_and_set_atomic(&v->info->evtchn_pending_sel, port / BITS_PER_LONG))
        evtchn_mark_upcall(v);
}

void evtchn_vcpu_info_moved(struct vcpu *v)
{
    // A sender may have marked the old place only: let the guest look at everything.
    WRITE_ONCE(v->info->evtchn_pending_sel, ~0ul);
    WRITE_ONCE(v->info->evtchn_upcall_pending, 0);
    smp_wmb();
    evtchn_mark_upcall(v);
}
