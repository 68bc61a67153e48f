// SPDX-License-Identifier: BSD-2-Clause
// Unknown hypercalls and sub-operations are refused, bad pointers give -EFAULT, nothing crashes.
#include "lib/guest.h"

// 11 and 43..47 are holes of the public list, 56 and up lie beyond it.
static bool is_unknown(unsigned int nr)
{
    return nr == 11 || (nr >= 43 && nr <= 47) || nr >= 50;
}

static void unknown_numbers(void)
{
    static const unsigned long far[] = {256, 0x7fffffff, 0x80000000, 0xffffffff, 0x1000000000};
    unsigned int wrong = 0, last = 0;

    for (unsigned int nr = 0; nr < 256; nr++) {
        if (!is_unknown(nr))
            continue;
        if (HC(nr, 0, 0, 0, 0) != -XEN_ENOSYS) {
            wrong++;
            last = nr;
        }
    }
    tap(!wrong, "unknown numbers give -ENOSYS", "%u did not, the last %u", wrong, last);
    for (unsigned int i = 0; i < ARRAY_SIZE(far) - 1; i++)
        is(HC(far[i], 0, 0, 0, 0), -XEN_ENOSYS, "a number far out gives -ENOSYS");
}

struct subop {
    unsigned int nr;
    const char *name;
};

// The first argument is the command for each of these.
static const struct subop with_cmd[] = {
    {__HYPERVISOR_xen_version, "xen_version"},
    {__HYPERVISOR_memory_op, "memory_op"},
    {__HYPERVISOR_sched_op, "sched_op"},
    {__HYPERVISOR_sched_op_compat, "sched_op_compat"},
    {__HYPERVISOR_vcpu_op, "vcpu_op"},
    {__HYPERVISOR_event_channel_op, "event_channel_op"},
    {__HYPERVISOR_grant_table_op, "grant_table_op"},
    {__HYPERVISOR_physdev_op, "physdev_op"},
    {__HYPERVISOR_callback_op, "callback_op"},
    {__HYPERVISOR_nmi_op, "nmi_op"},
    {__HYPERVISOR_console_io, "console_io"},
    {__HYPERVISOR_vm_assist, "vm_assist"},
    {__HYPERVISOR_hvm_op, "hvm_op"},
    {__HYPERVISOR_set_segment_base, "set_segment_base"},
    {__HYPERVISOR_argo_op, "argo_op"},
    {__HYPERVISOR_xenpmu_op, "xenpmu_op"},
    {__HYPERVISOR_hypfs_op, "hypfs_op"},
    {__HYPERVISOR_tmem_op, "tmem_op"},
    {__HYPERVISOR_xenoprof_op, "xenoprof_op"},
};

static void unknown_subops(void)
{
    static uint64_t zeros[128];

    for (unsigned int i = 0; i < ARRAY_SIZE(with_cmd); i++) {
        const struct subop *s = &with_cmd[i];

        is_error(HC(s->nr, 0x3e, zeros, 1, 0), s->name);
        // The upper bits of a 32-bit command do not count.
        is_error(HC(s->nr, 0xfffffffe, zeros, 1, 0), s->name);
    }
    is_error(HC(__HYPERVISOR_vcpu_op, VCPUOP_is_up, 0x7fffffff, 0, 0), "vcpu_op on a vCPU too far");
    is_error(HC(__HYPERVISOR_domctl, 0, 0, 0, 0), "domctl without argument");
    is_error(HC(__HYPERVISOR_sysctl, 0, 0, 0, 0), "sysctl without argument");
    is_error(HC(__HYPERVISOR_platform_op, 0, 0, 0, 0), "platform_op without argument");
    is_error(HC(__HYPERVISOR_domctl, zeros, 0, 0, 0), "domctl of version 0");
    is_error(HC(__HYPERVISOR_sysctl, zeros, 0, 0, 0), "sysctl of version 0");
    is_error(HC(__HYPERVISOR_platform_op, zeros, 0, 0, 0), "platform_op of version 0");
    is_error(HC(__HYPERVISOR_dm_op, DOMID_SELF, 0, 0, 0), "dm_op on oneself");
    is_error(HC(__HYPERVISOR_event_channel_op_compat, 0, 0, 0, 0), "event_channel_op_compat, null");
    is_error(HC(__HYPERVISOR_physdev_op_compat, 0, 0, 0, 0), "physdev_op_compat, null");
}

static void bad_pointers(void)
{
    static const unsigned long bad[] = {
        0x1000,                  // unmapped
        0x7ffffffff000,          // last page of the lower half
        0x800000000000,          // not canonical
        HYPERVISOR_VIRT_START,   // the hypervisor's own
        HYPERVISOR_VIRT_END - 8, // straddles its end
        0xffffffffffffffff,      // wraps
    };

    for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
        is(hc_xen_version(XENVER_compile_info, (void *)bad[i]), -XEN_EFAULT,
           "xen_version writes to a bad pointer");
        is(hc_sched_op(SCHEDOP_poll, (void *)bad[i]), -XEN_EFAULT, "sched_op reads a bad pointer");
        is(hc_event_channel_op(EVTCHNOP_send, (void *)bad[i]), -XEN_EFAULT,
           "event_channel_op reads a bad pointer");
        is_error(hc_mmu_update((void *)bad[i], 1, NULL, DOMID_SELF), "mmu_update, bad pointer");
        is_error(hc_multicall((void *)bad[i], 1), "multicall, bad pointer");
        is_error(hc_set_trap_table((void *)bad[i]), "set_trap_table, bad pointer");
        is_error(hc_console_io(CONSOLEIO_write, 8, (void *)bad[i]), "console_io, bad pointer");
    }
    // Reading may start in a good page and end in a bad one.
    pte_set(SCRATCH_VA, 0);
    ok(!map_page(SCRATCH_VA, make_pte(pfn_to_mfn(frame_take()), PTE_RW_DATA)), "a scratch page");
    is(hc_sched_op(SCHEDOP_poll, (void *)(SCRATCH_VA + PAGE_SIZE - 8)), -XEN_EFAULT,
       "an argument across the end of the mapping");
    is(hc_xen_version(XENVER_compile_info, (void *)(SCRATCH_VA + PAGE_SIZE - 8)), -XEN_EFAULT,
       "a result across the end of the mapping");
}

static void registers_survive(void)
{
    long rc;

    __asm__ volatile(
        "mov %[b], %%rbx; mov %[c], %%r12; mov %[d], %%r13; mov %[e], %%r14\n"
        "mov %[f], %%r15; push %%rbp; mov $0x6666, %%rbp\n"
        "syscall\n"
        "xor $0x1111, %%rbx; xor $0x2222, %%r12; xor $0x3333, %%r13\n"
        "xor $0x4444, %%r14; xor $0x5555, %%r15; xor $0x6666, %%rbp\n"
        "mov %%rbp, %%rdx; pop %%rbp; or %%rbx, %%rdx; or %%r12, %%rdx\n"
        "or %%r13, %%rdx; or %%r14, %%rdx; or %%r15, %%rdx\n"
        "mov %%rdx, %%rax\n"
        : "=a"(rc)
        : "a"((unsigned long)__HYPERVISOR_xen_version), "D"(0UL), "S"(0UL), [b] "i"(0x1111),
          [c] "i"(0x2222), [d] "i"(0x3333), [e] "i"(0x4444), [f] "i"(0x5555)
        : "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory");
    is(rc, 0, "callee-saved registers survive a hypercall");
}

void guest_main(void)
{
    unknown_numbers();
    unknown_subops();
    bad_pointers();
    registers_survive();
}
