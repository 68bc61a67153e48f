// SPDX-License-Identifier: BSD-2-Clause
#include "core/multicall.h"
#include "core/hypercall.h"
#include "core/sched.h"
#include "x86/arch/guest_access.h"

_Static_assert(sizeof(struct multicall_entry) == 64, "guest_copy_from64 copies it");

struct multicall_state {
    bool active, continued;
    struct multicall_entry call; // the one being run
};

static DEFINE_PER_CPU(struct multicall_state, multicall_state);

bool multicall_active(void)
{
    return this_cpu(multicall_state).active;
}

long multicall_continue(unsigned long nr, unsigned int nargs, const unsigned long *args)
{
    struct multicall_state *s = &this_cpu(multicall_state);

    s->call.op = nr;
    for (unsigned int i = 0; i < nargs; i++)
        s->call.args[i] = args[i];
    s->continued = true;
    return 0;
}

// One call of the batch. 0, -EFAULT, or -ERESTART: it must be run again.
static int run_call(struct multicall_state *s, struct multicall_entry *guest)
{
    struct multicall_entry *c = &s->call;

    if (unlikely(guest_copy_from64(c, guest)))
        return -EFAULT;
    s->continued = false;
    // A return to the guest from inside a batch would lose the rest of it.
    if (unlikely(c->op == __HYPERVISOR_iret))
        c->result = -ENOSYS;
    else
        c->result = hypercall_handler(ABI_PV64, c->op)(c->args[0], c->args[1], c->args[2],
                                                       c->args[3], c->args[4], c->args[5]);
    if (unlikely(s->continued))
        return guest_copy_to(guest, c, sizeof(*c)) ? -EFAULT : -ERESTART;
    return guest_copy_to(&guest->result, &c->result, sizeof(c->result));
}

long hc_multicall(unsigned long calls, unsigned long count)
{
    struct multicall_state *s = &this_cpu(multicall_state);
    struct multicall_entry *guest = (struct multicall_entry *)calls;
    int ret = 0;

    if (unlikely(s->active))
        return -EINVAL;
    if (!guest_range_ok(guest, sizeof(*guest)))
        return -EFAULT;
    s->active = true;
    while (count && !ret) {
        ret = run_call(s, guest);
        if (ret)
            break;
        guest++;
        count--;
        if (count && hypercall_preempt_check())
            ret = -ERESTART;
    }
    s->active = false;
    if (ret == -ERESTART)
        return hypercall_continue(__HYPERVISOR_multicall, 2,
                                  (unsigned long[]){(unsigned long)guest, count});
    return ret;
}
