// SPDX-License-Identifier: BSD-2-Clause
#include "guest.h"

extern const char trap_stubs[];

static trap_hook_t *hooks[VEC_COUNT];

_Static_assert(offsetof(struct trap, r15) == TRAP_R15, "layout.h");

unsigned long trap_stub(unsigned int vector)
{
    return (unsigned long)trap_stubs + 16UL * vector;
}

void trap_hook(unsigned int vector, trap_hook_t *hook)
{
    hooks[vector] = hook;
}

int trap_arm(struct trap *t)
{
    struct vcpu *v = this_vcpu();

    t->outer = v->armed;
    v->armed = t;
    return 0;
}

void trap_disarm(void)
{
    this_vcpu()->armed = this_vcpu()->armed->outer;
}

static void die(const struct regs *r)
{
    print("Bail out! vcpu %u: vector %lu error %lx rip %lx cr2 %lx cs %lx rflags %lx rsp %lx\n",
          this_vcpu()->id, r->vector, r->error, r->rip, this_vcpu()->info->arch.cr2, r->cs,
          r->rflags, r->rsp);
    print("# rax %lx rbx %lx rcx %lx rdx %lx rsi %lx rdi %lx rbp %lx r8 %lx r9 %lx r10 %lx\n",
          r->rax, r->rbx, r->rcx, r->rdx, r->rsi, r->rdi, r->rbp, r->r8, r->r9, r->r10);
    guest_shutdown(SHUTDOWN_crash);
}

static void resume_at(struct trap *t, struct regs *r)
{
    t->vector = (int)r->vector;
    t->cr2 = this_vcpu()->info->arch.cr2;
    t->regs = *r;
    r->rip = t->rip;
    r->rsp = t->rsp;
    r->rbx = t->rbx;
    r->rbp = t->rbp;
    r->r12 = t->r12;
    r->r13 = t->r13;
    r->r14 = t->r14;
    r->r15 = t->r15;
    r->rax = 1;
    r->cs = FLAT_KERNEL_CS & ~3UL; // ring 0 in the frame: kernel mode
    r->ss = FLAT_KERNEL_SS & ~3UL;
    r->rflags = (r->rflags & 0x200) | 2; // the event mask as it was, nothing else
    this_vcpu()->armed = t->outer;
}

void trap_abort(struct regs *r)
{
    if (!this_vcpu()->armed)
        die(r);
    resume_at(this_vcpu()->armed, r);
}

void trap_dispatch(struct regs *r)
{
    if (hooks[r->vector] && hooks[r->vector](r))
        return;
    if (r->vector == VEC_EVENT) {
        event_upcall();
        return;
    }
    trap_abort(r);
}

void trap_table(void *entries)
{
    trap_info_t *table = entries;

    for (unsigned int i = 0; i < 256; i++) {
        table[i] = (trap_info_t){
            .vector = (uint8_t)i,
            .flags = i == 3 || i == 4 || i == 0x80 ? 3 : 0,
            .cs = FLAT_KERNEL_CS,
            .address = trap_stub(i),
        };
    }
    table[256] = (trap_info_t){0};
}

static void set_callback(uint16_t type, void (*entry)(void))
{
    struct callback_register reg = {.type = type, .address = (unsigned long)entry};

    if (type == CALLBACKTYPE_syscall)
        reg.flags = CALLBACKF_mask_events;
    hc_callback_op(CALLBACKOP_register, &reg);
}

void trap_init(void)
{
    static trap_info_t table[257];

    trap_table(table);
    hc_set_trap_table(table);
    hc_stack_switch(FLAT_KERNEL_SS, (unsigned long)this_vcpu() + TRAP_STACK_TOP);
    set_callback(CALLBACKTYPE_event, event_entry);
    set_callback(CALLBACKTYPE_failsafe, failsafe_entry);
    set_callback(CALLBACKTYPE_syscall, syscall_entry);
}

int probe_read(const volatile void *va, uint64_t *value, struct trap *t)
{
    CATCH(*t, {
        uint64_t v;

        __asm__ volatile("mov (%1), %0" : "=r"(v) : "r"(va) : "memory");
        *value = v;
    });
    return t->vector;
}

int probe_write(volatile void *va, uint64_t value, struct trap *t)
{
    CATCH(*t, __asm__ volatile("mov %0, (%1)" : : "r"(value), "r"(va) : "memory"));
    return t->vector;
}
