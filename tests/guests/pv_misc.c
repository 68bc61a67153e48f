// SPDX-License-Identifier: BSD-2-Clause
// The small calls: console_io, vm_assist, nmi_op, hvm_op, stack_switch, and those refused.
#include "lib/guest.h"
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>

static void console(void)
{
    static char text[] = "# written through console_io\n";
    char buf[16];
    long rc = hc_console_io(CONSOLEIO_write, sizeof(text) - 1, text);

    if (start_info->flags & SIF_INITDOMAIN) {
        is(rc, 0, "console_io write");
        is(hc_console_io(CONSOLEIO_write, 0, text), 0, "of nothing");
        ok(hc_console_io(CONSOLEIO_read, sizeof(buf), buf) >= 0, "console_io read");
    } else {
        ok(rc == 0 || rc == -XEN_EPERM, "console_io write");
        is_error(hc_console_io(CONSOLEIO_read, sizeof(buf), buf), "console_io read");
    }
    is_error(hc_console_io(7, sizeof(buf), buf), "no such command");
    is_error(hc_console_io(CONSOLEIO_read, 0x80000001, buf), "a count above 2 GiB");
}

static void assists(void)
{
    static const unsigned int types[] = {VMASST_TYPE_writable_pagetables,
                                         VMASST_TYPE_architectural_iopl,
                                         VMASST_TYPE_runstate_update_flag, VMASST_TYPE_m2p_strict};

    for (unsigned int i = 0; i < ARRAY_SIZE(types); i++) {
        is(hc_vm_assist(VMASST_CMD_enable, types[i]), 0, "enable an assist");
        is(hc_vm_assist(VMASST_CMD_enable, types[i]), 0, "twice");
        is(hc_vm_assist(VMASST_CMD_disable, types[i]), 0, "disable it");
    }
    is_error(hc_vm_assist(VMASST_CMD_enable, 31), "no such assist");
    is_error(hc_vm_assist(VMASST_CMD_enable, 1000), "nor that");
    is_error(hc_vm_assist(9, VMASST_TYPE_writable_pagetables), "no such command");
}

static void nmi(void)
{
    struct xennmi_callback cb = {.handler_address = (unsigned long)nmi_entry};
    long rc = hc_nmi_op(XENNMI_register_callback, &cb);

    ok(rc == 0 || rc == -XEN_EINVAL, "nmi_op register_callback");
    rc = hc_nmi_op(XENNMI_unregister_callback, NULL);
    is_either(rc, 0, -XEN_EINVAL, "nmi_op unregister_callback");
    is_error(hc_nmi_op(9, NULL), "no such operation");
}

static void hvm(void)
{
    struct xen_hvm_param p = {.domid = DOMID_SELF, .index = HVM_PARAM_CALLBACK_IRQ};

    is_error(HC(__HYPERVISOR_hvm_op, HVMOP_get_param, &p, 0, 0), "hvm_op get_param is not for PV");
    is_error(HC(__HYPERVISOR_hvm_op, HVMOP_set_param, &p, 0, 0), "nor set_param");
    is_error(HC(__HYPERVISOR_hvm_op, 99, &p, 0, 0), "no such operation");
}

static void stack(void)
{
    is(hc_stack_switch(FLAT_KERNEL_SS, (unsigned long)this_vcpu() + TRAP_STACK_TOP), 0,
       "stack_switch");
    is_either(hc_stack_switch(0x1233, 0), 0, -XEN_EINVAL, "stack_switch to a bad selector");
    is(hc_stack_switch(FLAT_KERNEL_SS, (unsigned long)this_vcpu() + TRAP_STACK_TOP), 0, "and back");
}

static void others(void)
{
    static uint8_t zeros[512];

    is_error(HC(__HYPERVISOR_xsm_op, zeros, 0, 0, 0), "xsm_op");
    is_error(HC(__HYPERVISOR_tmem_op, zeros, 0, 0, 0), "tmem_op");
    is_error(HC(__HYPERVISOR_xenpmu_op, 99, zeros, 0, 0), "xenpmu_op");
    is_error(HC(__HYPERVISOR_argo_op, 1, zeros, 0, 0), "argo_op");
    is_error(HC(__HYPERVISOR_hypfs_op, 99, 0, 0, 0), "hypfs_op");
    if (!(start_info->flags & SIF_INITDOMAIN)) {
        is(HC(__HYPERVISOR_platform_op, zeros, 0, 0, 0), -XEN_EPERM, "platform_op by a guest");
        ok(HC(__HYPERVISOR_kexec_op, 0, zeros, 0, 0) < 0, "kexec_op by a guest");
    }
}

void guest_main(void)
{
    console();
    assists();
    nmi();
    hvm();
    stack();
    others();
}
