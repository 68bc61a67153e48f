// SPDX-License-Identifier: BSD-2-Clause
// I/O ports: who may, by domain, by I/O privilege level and by bitmap; string instructions.
#include "lib/guest.h"

static struct trap t;
static uint8_t stack[1024] __attribute__((aligned(16)));

static int in8(uint16_t port)
{
    CATCH(t, __asm__ volatile("inb %0, %%al" : : "d"(port) : "eax"));
    return t.vector;
}

static long set_iopl(uint32_t iopl)
{
    struct physdev_set_iopl s = {.iopl = iopl};

    return hc_physdev_op(PHYSDEVOP_set_iopl, &s);
}

void user_in(void);
__asm__(".globl user_in\nuser_in: mov %edi, %edx\n inb %dx, %al\n syscall");

static int user_reads(uint16_t port)
{
    CATCH(t, user_enter((uint64_t)user_in, (uint64_t)stack + sizeof(stack), port, 0x202));
    return t.vector;
}

static void levels(void)
{
    is(set_iopl(0), 0, "I/O privilege level 0");
    is(in8(0x61), 13, "the kernel may not");
    is(set_iopl(1), 0, "level 1");
    is(in8(0x61), -1, "the kernel may");
    is(user_reads(0x61), 13, "user mode may not");
    is(set_iopl(3), 0, "level 3");
    is(user_reads(0x61), VEC_SYSCALL, "user mode may");
    is_error(set_iopl(4), "no level 4");
    is(set_iopl(1), 0, "level 1 again");
    is(hc_vm_assist(VMASST_CMD_enable, VMASST_TYPE_architectural_iopl), 0, "architectural_iopl");
    is(set_iopl(0), 0, "level 0");
    is(in8(0x61), -1, "the kernel counts as ring 0 now");
    is(user_reads(0x61), 13, "user mode may not");
    is(hc_vm_assist(VMASST_CMD_disable, VMASST_TYPE_architectural_iopl), 0, "switch it off");
    set_iopl(1);
}

static void bitmap(void)
{
    static uint8_t map[8192];
    struct physdev_set_iobitmap s = {.nr_ports = 65536};

    memset(map, 0xff, sizeof(map));
    map[0x61 / 8] &= (uint8_t) ~(1 << (0x61 % 8));
    set_xen_guest_handle(s.bitmap, map);
    is(hc_physdev_op(PHYSDEVOP_set_iobitmap, &s), 0, "set a bitmap");
    is(user_reads(0x61), VEC_SYSCALL, "user mode may read the open port");
    is(user_reads(0x60), 13, "and no other");
    s.nr_ports = 16;
    is(hc_physdev_op(PHYSDEVOP_set_iobitmap, &s), 0, "a bitmap of sixteen ports");
    is(user_reads(0x61), 13, "the port is beyond it");
    s.nr_ports = 65537;
    is_error(hc_physdev_op(PHYSDEVOP_set_iobitmap, &s), "more ports than there are");
    s.nr_ports = 0;
    is(hc_physdev_op(PHYSDEVOP_set_iobitmap, &s), 0, "no bitmap");
}

static void control_domain(void)
{
    uint8_t buf[4] = {0};
    static uint32_t v;

    __asm__ volatile("outb %0, %1" : : "a"((uint8_t)0x8f), "Nd"((uint16_t)0x80));
    ok(true, "out to the POST port");
    CATCH(t, __asm__ volatile("inl %%dx, %%eax" : "=a"(v) : "d"((uint16_t)0xcf8)));
    is(t.vector, -1, "in, 32 bits");
    CATCH(t, __asm__ volatile("cld; rep insb" : : "d"(0x61), "D"(buf), "c"(4L) : "memory"));
    is(t.vector, -1, "rep insb");
    CATCH(t, __asm__ volatile("cld; mov $2, %%ecx; rep outsb"
                              :
                              : "d"(0x80), "S"(buf)
                              : "memory", "ecx"));
    is(t.vector, -1, "rep outsb");
    CATCH(t, __asm__ volatile("cld; rep insb" : : "d"(0x61), "D"(0x1000L), "c"(1L) : "memory"));
    is(t.vector, 14, "insb to an unmapped address");
    is(t.cr2, 0x1000, "cr2");
    __asm__ volatile("inb $0x61, %%al" : : : "al", "memory");
    // PCI: vendor of the host bridge through the configuration ports.
    __asm__ volatile("outl %0, %1" : : "a"(0x80000000U), "d"((uint16_t)0xcf8));
    __asm__ volatile("inl %1, %0" : "=a"(v) : "d"((uint16_t)0xcfc));
    ok((v & 0xffff) != 0xffff && v, "PCI configuration through ports");
    is(in8(0x20), -1, "a port of the interrupt controller, hidden or not, does not fault");
}

static void a_guest(void)
{
    is(set_iopl(1), 0, "level 1");
    is_either(in8(0x61), 13, -1, "a guest reads nothing real from a port");
    is_either(in8(0xcf8), 13, -1, "nor from the PCI ports");
}

void guest_main(void)
{
    uint64_t *root = table_alloc();

    mmuext(MMUEXT_PIN_L4_TABLE, va_to_mfn(root));
    pte_write((va_to_mfn(root) << 12) + 511 * 8, *pte_of(VIRT_BASE, 4));
    is(mmuext(MMUEXT_NEW_USER_BASEPTR, va_to_mfn(root)), 0, "a user root");
    if (!(start_info->flags & SIF_INITDOMAIN)) {
        a_guest();
        return;
    }
    levels();
    bitmap();
    control_domain();
}
