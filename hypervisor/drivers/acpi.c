// SPDX-License-Identifier: BSD-2-Clause
// Layouts follow the ACPI specification 6.4, chapter 5.2.
#include "drivers/acpi.h"
#include "core/console.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "x86/arch/io.h"
#include "x86/arch/page.h"
#include "x86/arch/mapping.h"
#include "abi.h"
#include <xen/platform.h>

struct rsdp {
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length; // revision 2 from here
    uint64_t xsdt;
    uint8_t checksum2, reserved[3];
} __packed;

struct table {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem[6], oem_table[8];
    uint32_t oem_revision, creator, creator_revision;
} __packed;
_Static_assert(sizeof(struct table) == 36, "table header");

struct fadt {
    struct table header;
    uint32_t facs, dsdt;
    uint8_t reserved, profile;
    uint16_t sci_irq;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios, pstate_control;
    uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_timer, gpe0, gpe1;
    uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_timer_len, gpe0_len, gpe1_len, gpe1_base,
        cst_control;
    uint16_t c2_latency, c3_latency, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t iapc_boot_arch;
    uint8_t reserved2;
    uint32_t flags;
    struct acpi_address reset_reg;
    uint8_t reset_value;
    uint16_t arm_boot_arch;
    uint8_t minor;
    uint64_t x_facs, x_dsdt;
} __packed;
_Static_assert(offsetof(struct fadt, reset_value) == 128, "FADT");
enum {
    FADT_TIMER_32BIT = 1 << 8,
    FADT_RESET_SUPPORTED = 1 << 10,
    IAPC_NO_VGA = 1 << 2,
    FADT_V1_SIZE = 116,
};
enum { PM1_SLP_EN = 1 << 13, PM1_SLP_TYPE_SHIFT = 10, ACPI_S5 = 5 };

// AML, as much as the object _S5 needs.
enum { AML_ZERO = 0x00, AML_ONE = 0x01, AML_NAME = 0x08, AML_BYTE = 0x0a, AML_PACKAGE = 0x12 };

struct madt {
    struct table header;
    uint32_t lapic_address, flags;
} __packed;
struct madt_entry {
    uint8_t type, length;
} __packed;
struct madt_lapic {
    struct madt_entry e;
    uint8_t acpi_id, apic_id;
    uint32_t flags;
} __packed;
struct madt_ioapic {
    struct madt_entry e;
    uint8_t id, reserved;
    uint32_t address, gsi;
} __packed;
struct madt_override {
    struct madt_entry e;
    uint8_t bus, irq;
    uint32_t gsi;
    uint16_t flags;
} __packed;
struct madt_x2apic {
    struct madt_entry e;
    uint16_t reserved;
    uint32_t apic_id, flags, acpi_id;
} __packed;
enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_X2APIC = 9 };
enum { MADT_CPU_ENABLED = 1 };

struct mcfg_entry {
    uint64_t base;
    uint16_t segment;
    uint8_t first, last;
    uint32_t reserved;
} __packed;
struct hpet_table {
    struct table header;
    uint32_t id;
    struct acpi_address address;
} __packed;
struct srat_cpu {
    struct madt_entry e;
    uint8_t domain_low, apic_id;
    uint32_t flags;
    uint8_t eid, domain_high[3];
    uint32_t clock;
} __packed;
struct srat_x2apic {
    struct madt_entry e;
    uint16_t reserved;
    uint32_t domain, apic_id, flags, clock, reserved2;
} __packed;
struct srat_memory {
    struct madt_entry e;
    uint32_t domain;
    uint16_t reserved;
    uint64_t base, size;
    uint32_t reserved2, flags;
    uint64_t reserved3;
} __packed;
enum { SRAT_CPU = 0, SRAT_MEMORY = 1, SRAT_X2APIC = 2, SRAT_HEADER = sizeof(struct table) + 12 };
enum { SRAT_ENABLED = 1 };
struct slit {
    struct table header;
    uint64_t localities;
    uint8_t distance[]; // [from * localities + to]
} __packed;
enum { SLIT_LOCAL = 10, SLIT_UNREACHABLE = 255 };

enum { TABLE_MAX = 1 << 20 }; // larger ones are damaged

struct acpi_info acpi_info;

static uint8_t __init sum(const void *p, size_t len)
{
    const uint8_t *b = p;
    uint8_t s = 0;
    for (size_t i = 0; i < len; i++)
        s += b[i];
    return s;
}

// The whole table at pa, mapped, with length and checksum verified; NULL: unusable. Unmap it after.
static const struct table *__init map_table(uint64_t pa)
{
    const struct table *t = boot_map(PADDR(pa), sizeof(*t));
    if (!t)
        return NULL;
    uint32_t length = t->length;
    boot_unmap(t, sizeof(*t));
    if (length < sizeof(*t) || length > TABLE_MAX)
        return NULL;
    t = boot_map(PADDR(pa), length);
    if (t && sum(t, length)) {
        printk(LOG_WARN "ACPI: table %.4s at %#lx has a wrong checksum: ignored\n", t->signature,
               pa);
        boot_unmap(t, length);
        return NULL;
    }
    return t;
}

// One small integer at p[*pos]; false: something else.
static bool __init aml_integer(const uint8_t *p, uint32_t end, uint32_t *pos, uint8_t *v)
{
    if (*pos + 2 > end)
        return false;
    if (p[*pos] == AML_BYTE)
        *v = p[++*pos];
    else if (p[*pos] == AML_ZERO || p[*pos] == AML_ONE)
        *v = p[*pos];
    else
        return false;
    ++*pos;
    return true;
}

// Name(_S5, Package() { typeA, typeB, ... }): the only object of the DSDT that we read ourselves,
// for a power-off without the control domain's help.
static void __init parse_s5(const struct table *t)
{
    const uint8_t *p = (const uint8_t *)t;
    for (uint32_t i = sizeof(*t) + 1; i + 12 <= t->length; i++) {
        if (strncmp((const char *)p + i, "_S5_", 4) != 0 ||
            (p[i - 1] != AML_NAME && p[i - 1] != '\\'))
            continue;
        if (p[i + 4] != AML_PACKAGE)
            continue;
        uint32_t pos = i + 5 + 1 + (p[i + 5] >> 6) + 1; // length bytes, number of elements
        if (aml_integer(p, t->length, &pos, &acpi_info.s5_type_a) &&
            aml_integer(p, t->length, &pos, &acpi_info.s5_type_b))
            acpi_info.s5_known = true;
        return;
    }
}

static void __init find_s5(const struct fadt *f)
{
    const struct table *t = map_table(f->x_dsdt ? f->x_dsdt : f->dsdt);
    if (!t)
        return;
    if (!strncmp(t->signature, "DSDT", 4))
        parse_s5(t);
    boot_unmap(t, t->length);
}

static void __init parse_fadt(const struct table *t)
{
    struct fadt f = {};
    if (t->length < FADT_V1_SIZE)
        return;
    memcpy(&f, t, MIN((size_t)t->length, sizeof(f)));
    acpi_info.sci_irq = f.sci_irq;
    acpi_info.pm1a_cnt = f.pm1a_cnt;
    acpi_info.pm1b_cnt = f.pm1b_cnt;
    acpi_info.pm1a_evt = f.pm1a_evt;
    acpi_info.pm1b_evt = f.pm1b_evt;
    if (f.pm_timer_len == 4)
        acpi_info.pm_timer = f.pm_timer;
    acpi_info.pm_timer_32bit = f.flags & FADT_TIMER_32BIT;
    acpi_info.rtc_century = f.century < 0x80 ? f.century : 0;
    acpi_info.no_vga = f.header.revision >= 3 && (f.iapc_boot_arch & IAPC_NO_VGA);
    if (t->length > offsetof(struct fadt, reset_value) && (f.flags & FADT_RESET_SUPPORTED)) {
        acpi_info.reset_supported = true;
        acpi_info.reset_reg = f.reset_reg;
        acpi_info.reset_value = f.reset_value;
    }
    find_s5(&f);
}

static void __init add_cpu(uint32_t apic_id, uint32_t acpi_id, uint32_t flags)
{
    if (!(flags & MADT_CPU_ENABLED))
        return;
    for (unsigned int i = 0; i < acpi_info.cpu_count; i++)
        if (acpi_info.cpus[i].apic_id == apic_id)
            return; // listed in both forms
    if (acpi_info.cpu_count == MAX_CPUS) {
        acpi_info.cpus_ignored++;
        return;
    }
    acpi_info.cpus[acpi_info.cpu_count++] =
        (struct acpi_cpu){.apic_id = apic_id, .acpi_id = acpi_id};
}

static void __init add_ioapic(const struct madt_ioapic *io)
{
    if (acpi_info.ioapic_count == ACPI_MAX_IOAPICS)
        return;
    acpi_info.ioapics[acpi_info.ioapic_count++] =
        (struct acpi_ioapic){.id = io->id, .gsi_base = io->gsi, .address = PADDR(io->address)};
}

// Flags: bits 0-1 polarity (3: low), bits 2-3 trigger (3: level); 0: as the bus, ISA high and edge.
static void __init add_override(const struct madt_override *o)
{
    if (o->bus != 0 || o->irq > 15 || acpi_info.override_count == ACPI_MAX_OVERRIDES)
        return;
    acpi_info.overrides[acpi_info.override_count++] =
        (struct acpi_override){.isa_irq = o->irq,
                               .gsi = o->gsi,
                               .active_low = (o->flags & 3) == 3,
                               .level = (o->flags >> 2 & 3) == 3};
}

static void __init parse_madt_entry(const struct madt_entry *e)
{
    if (e->type == MADT_LAPIC && e->length >= sizeof(struct madt_lapic)) {
        const struct madt_lapic *l = (const void *)e;
        add_cpu(l->apic_id, l->acpi_id, l->flags);
    } else if (e->type == MADT_X2APIC && e->length >= sizeof(struct madt_x2apic)) {
        const struct madt_x2apic *x = (const void *)e;
        add_cpu(x->apic_id, x->acpi_id, x->flags);
    } else if (e->type == MADT_IOAPIC && e->length >= sizeof(struct madt_ioapic)) {
        add_ioapic((const void *)e);
    } else if (e->type == MADT_OVERRIDE && e->length >= sizeof(struct madt_override)) {
        add_override((const void *)e);
    }
}

static void __init for_each_entry(const struct table *t, uint32_t pos,
                                  void (*fn)(const struct madt_entry *))
{
    while (pos + sizeof(struct madt_entry) <= t->length) {
        const struct madt_entry *e = (const void *)((const char *)t + pos);
        if (e->length < sizeof(*e) || e->length > t->length - pos)
            return;
        fn(e);
        pos += e->length;
    }
}

static void __init parse_madt(const struct table *t)
{
    for_each_entry(t, sizeof(struct madt), parse_madt_entry);
}

static void __init set_proximity(uint32_t apic_id, uint32_t domain)
{
    for (unsigned int i = 0; i < acpi_info.cpu_count; i++)
        if (acpi_info.cpus[i].apic_id == apic_id)
            acpi_info.cpus[i].proximity = domain;
}

static void __init add_memory(const struct srat_memory *m)
{
    if (!(m->flags & SRAT_ENABLED) || !m->size || m->base + m->size < m->base)
        return;
    if (acpi_info.memory_count == ACPI_MAX_MEMORY) {
        acpi_info.memory_ignored++;
        return;
    }
    acpi_info.memory[acpi_info.memory_count++] =
        (struct acpi_memory){.start = m->base, .size = m->size, .proximity = m->domain};
}

static void __init parse_srat_entry(const struct madt_entry *e)
{
    if (e->type == SRAT_CPU && e->length >= sizeof(struct srat_cpu)) {
        const struct srat_cpu *c = (const void *)e;
        if (c->flags & SRAT_ENABLED)
            set_proximity(c->apic_id, c->domain_low | (uint32_t)c->domain_high[0] << 8 |
                                          (uint32_t)c->domain_high[1] << 16 |
                                          (uint32_t)c->domain_high[2] << 24);
    } else if (e->type == SRAT_X2APIC && e->length >= sizeof(struct srat_x2apic)) {
        const struct srat_x2apic *c = (const void *)e;
        if (c->flags & SRAT_ENABLED)
            set_proximity(c->apic_id, c->domain);
    } else if (e->type == SRAT_MEMORY && e->length >= sizeof(struct srat_memory)) {
        add_memory((const void *)e);
    }
}

static void __init parse_srat(const struct table *t)
{
    for_each_entry(t, SRAT_HEADER, parse_srat_entry);
}

static void __init parse_slit(const struct table *t)
{
    const struct slit *s = (const void *)t;
    if (t->length < sizeof(*s) || s->localities > UINT16_MAX ||
        s->localities * s->localities > t->length - sizeof(*s))
        return;
    uint64_t n = MIN(s->localities, (uint64_t)ACPI_MAX_PROXIMITY);
    for (uint64_t i = 0; i < n; i++)
        for (uint64_t k = 0; k < n; k++) {
            uint8_t d = s->distance[i * s->localities + k];
            if (d >= SLIT_LOCAL && d != SLIT_UNREACHABLE)
                acpi_info.distance[i][k] = d;
        }
}

static void __init parse_mcfg(const struct table *t)
{
    uint32_t pos = sizeof(*t) + 8;
    for (; pos + sizeof(struct mcfg_entry) <= t->length; pos += sizeof(struct mcfg_entry)) {
        const struct mcfg_entry *m = (const void *)((const char *)t + pos);
        if (acpi_info.mcfg_count == ACPI_MAX_MCFG || m->last < m->first)
            return;
        acpi_info.mcfg[acpi_info.mcfg_count++] = (struct acpi_mcfg){.base = PADDR(m->base),
                                                                    .segment = m->segment,
                                                                    .first_bus = m->first,
                                                                    .last_bus = m->last};
    }
}

static void __init parse_hpet(const struct table *t)
{
    const struct hpet_table *h = (const void *)t;
    if (t->length >= sizeof(*h) && h->address.space == 0)
        acpi_info.hpet = PADDR(h->address.address);
}

static void __init parse_table(uint64_t pa, const char *signature, void (*fn)(const struct table *))
{
    const struct table *t = map_table(pa);
    if (!t)
        return;
    if (!strncmp(t->signature, signature, 4))
        fn(t);
    boot_unmap(t, t->length);
}

static const struct {
    const char *signature;
    void (*fn)(const struct table *);
} parsers[] = {{"FACP", parse_fadt}, {"APIC", parse_madt}, {"MCFG", parse_mcfg},
               {"HPET", parse_hpet}, {"SRAT", parse_srat}, {"SLIT", parse_slit}};

// XSDT entries are 8 bytes wide and unaligned, RSDT's 4.
static void __init walk_root(const struct table *root, unsigned int width)
{
    for (unsigned int p = 0; p < ARRAY_SIZE(parsers); p++) {
        for (uint32_t pos = sizeof(*root); pos + width <= root->length; pos += width) {
            uint64_t pa = 0;
            memcpy(&pa, (const char *)root + pos, width);
            if (pa)
                parse_table(pa, parsers[p].signature, parsers[p].fn);
        }
    }
}

static bool __init rsdp_valid(const struct rsdp *r)
{
    return !strncmp(r->signature, "RSD PTR ", 8) && sum(r, 20) == 0;
}

static uint64_t __init search_rsdp(uint64_t start, uint64_t size)
{
    const char *p = boot_map(PADDR(start), size);
    uint64_t found = 0;
    for (uint64_t i = 0; p && !found && i + sizeof(struct rsdp) <= size; i += 16)
        if (rsdp_valid((const void *)(p + i)))
            found = start + i;
    if (p)
        boot_unmap(p, size);
    return found;
}

static uint64_t __init find_rsdp(void)
{
    const uint16_t *segment = boot_map(PADDR(0x40e), sizeof(*segment));
    uint64_t ebda = segment ? (uint64_t)*segment << 4 : 0;
    if (segment)
        boot_unmap(segment, sizeof(*segment));
    uint64_t found = 0;
    if (ebda >= 0x80000 && ebda < 0xa0000)
        found = search_rsdp(ebda, MIN(1024ul, 0xa0000 - ebda));
    return found ? found : search_rsdp(0xe0000, 0x20000);
}

void __init acpi_init(paddr_t rsdp)
{
    if (!rsdp.v)
        rsdp.v = find_rsdp();
    const struct rsdp *r = rsdp.v ? boot_map(rsdp, sizeof(*r)) : NULL;
    if (r && !rsdp_valid(r)) {
        boot_unmap(r, sizeof(*r));
        r = NULL;
    }
    if (!r) {
        printk(LOG_WARN "ACPI: no tables\n");
        return;
    }
    acpi_info.rsdp = rsdp;
    uint64_t xsdt = r->revision >= 2 ? r->xsdt : 0, rsdt = r->rsdt;
    boot_unmap(r, sizeof(*r));
    const struct table *root = xsdt ? map_table(xsdt) : NULL;
    unsigned int width = root ? 8 : 4;
    if (!root)
        root = map_table(rsdt);
    if (!root) {
        printk(LOG_WARN "ACPI: the root table is unusable\n");
        return;
    }
    walk_root(root, width);
    boot_unmap(root, root->length);
    if (acpi_info.cpus_ignored)
        printk(LOG_WARN "ACPI: %u CPUs beyond the first %u are not used\n", acpi_info.cpus_ignored,
               MAX_CPUS);
    printk("ACPI: %u CPUs, %u IO-APICs, PM timer at %#x, HPET at %#lx, %u MMCONFIG areas\n",
           acpi_info.cpu_count, acpi_info.ioapic_count, acpi_info.pm_timer, acpi_info.hpet.v,
           acpi_info.mcfg_count);
}

void acpi_reset(void)
{
    const struct acpi_address *r = &acpi_info.reset_reg;
    if (!acpi_info.reset_supported)
        return;
    if (r->space == 1)
        outb(r->address, acpi_info.reset_value);
    // A reset register in memory or PCI space is rare; the other ways of arch_machine_restart()
    // follow.
}

// Returns when the machine does not react.
static void enter_s5(uint16_t val_a, uint16_t val_b)
{
    outw(acpi_info.pm1a_cnt, val_a | PM1_SLP_EN);
    if (acpi_info.pm1b_cnt)
        outw(acpi_info.pm1b_cnt, val_b | PM1_SLP_EN);
    for (unsigned int i = 0; i < 1 << 24; i++)
        cpu_relax();
}

int acpi_enter_sleep(const struct xenpf_enter_acpi_sleep *sleep)
{
    if (sleep->flags & ~XENPF_ACPI_SLEEP_EXTENDED)
        return -EINVAL;
    if ((sleep->flags & XENPF_ACPI_SLEEP_EXTENDED) || sleep->sleep_state != ACPI_S5)
        return -EOPNOTSUPP;
    if (!acpi_info.pm1a_cnt)
        return -ENODEV;
    printk("The control domain powers the machine off\n");
    irq_disable();
    console_flush();
    enter_s5(sleep->val_a, sleep->val_b);
    printk(LOG_ERR "ACPI: the machine does not power off\n");
    arch_machine_halt();
}

void acpi_power_off(void)
{
    if (acpi_info.s5_known && acpi_info.pm1a_cnt)
        enter_s5(acpi_info.s5_type_a << PM1_SLP_TYPE_SHIFT,
                 acpi_info.s5_type_b << PM1_SLP_TYPE_SHIFT);
}
