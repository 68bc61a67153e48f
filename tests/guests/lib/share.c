// SPDX-License-Identifier: BSD-2-Clause
#include "share.h"

#include "guest.h"

// The table lies where nothing else does; its first references are the toolstack's.
enum { TABLE_FRAMES = 1, REF_FIRST = 8, REF_COUNT = TABLE_FRAMES * 512, PORTS_MAX = 16 };
#define TABLE_VA (SCRATCH_VA + (1ul << 30))

static volatile grant_entry_v1_t *table;
static bool used[REF_COUNT];
static evtchn_port_t ports[PORTS_MAX];
static unsigned int nr_ports;

void share_init(void)
{
    static xen_pfn_t frames[TABLE_FRAMES];
    gnttab_setup_table_t s = {.dom = DOMID_SELF, .nr_frames = TABLE_FRAMES};

    set_xen_guest_handle(s.frame_list, frames);
    hc_grant_table_op(GNTTABOP_setup_table, &s, 1);
    for (unsigned int i = 0; i < TABLE_FRAMES; i++)
        map_page(TABLE_VA + i * PAGE_SIZE, make_pte(frames[i], PTE_RW_DATA));
    table = (volatile grant_entry_v1_t *)TABLE_VA;
}

grant_ref_t share_page(void *page)
{
    grant_ref_t ref = REF_FIRST;

    while (ref < REF_COUNT && used[ref])
        ref++;
    if (ref == REF_COUNT) {
        print("bad: no grant is left\n");
        guest_shutdown(SHUTDOWN_crash);
    }
    used[ref] = true;
    table[ref].domid = CONTROL_DOMAIN;
    table[ref].frame = (uint32_t)va_to_mfn(page);
    xen_wmb();
    table[ref].flags = GTF_permit_access;
    return ref;
}

bool share_end(grant_ref_t ref)
{
    uint16_t flags = GTF_permit_access;

    if (!__atomic_compare_exchange_n(&table[ref].flags, &flags, 0, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST) &&
        (flags & (GTF_reading | GTF_writing)))
        return false;
    used[ref] = false;
    return true;
}

void share_port_add(evtchn_port_t port)
{
    event_port_mask(port);
    if (nr_ports < PORTS_MAX)
        ports[nr_ports++] = port;
}

void share_port_remove(evtchn_port_t port)
{
    for (unsigned int i = 0; i < nr_ports; i++)
        if (ports[i] == port)
            ports[i] = ports[--nr_ports];
}

void share_events_clear(void)
{
    for (unsigned int i = 0; i < nr_ports; i++)
        event_port_clear_pending(ports[i]);
}

void share_wait(uint64_t until)
{
    sched_poll_t poll = {.nr_ports = nr_ports, .timeout = until};

    set_xen_guest_handle(poll.ports, ports);
    hc_sched_op(SCHEDOP_poll, &poll);
}
