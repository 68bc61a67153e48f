// SPDX-License-Identifier: BSD-2-Clause
// Physical interrupts of the control domain: the real-time clock (GSI 8) through a PIRQ.
#include "lib/guest.h"

static uint8_t rtc_read(uint8_t reg)
{
    uint8_t v;

    __asm__ volatile("outb %b0, $0x70" : : "a"(reg));
    __asm__ volatile("inb $0x71, %b0" : "=a"(v));
    return v;
}

static void rtc_write(uint8_t reg, uint8_t v)
{
    __asm__ volatile("outb %b0, $0x70" : : "a"(reg));
    __asm__ volatile("outb %b0, $0x71" : : "a"(v));
}

static uint32_t pirq;
static evtchn_port_t port;

static void set_up(void)
{
    struct physdev_map_pirq m = {
        .domid = DOMID_SELF, .type = MAP_PIRQ_TYPE_GSI, .index = 8, .pirq = 8};
    struct physdev_setup_gsi g = {.gsi = 8, .triggering = 0, .polarity = 0};
    struct evtchn_bind_pirq b = {.flags = 0};
    evtchn_status_t st = {.dom = DOMID_SELF};

    is(hc_physdev_op(PHYSDEVOP_map_pirq, &m), 0, "map_pirq");
    pirq = (uint32_t)m.pirq;
    hc_physdev_op(PHYSDEVOP_setup_gsi, &g);
    b.pirq = pirq;
    is(hc_event_channel_op(EVTCHNOP_bind_pirq, &b), 0, "bind_pirq");
    port = b.port;
    st.port = port;
    hc_event_channel_op(EVTCHNOP_status, &st);
    is(st.status, EVTCHNSTAT_pirq, "status");
    is(st.u.pirq, pirq, "its number");
    is_error(hc_event_channel_op(EVTCHNOP_bind_pirq, &b), "bound once");
}

// A periodic interrupt at 64 Hz; reading register C lets the next one come.
static void interrupts(void)
{
    struct physdev_irq_status_query q = {.irq = pirq};
    struct physdev_eoi eoi = {.irq = pirq};
    unsigned int n = 0;
    uint64_t end;

    is(hc_physdev_op(PHYSDEVOP_irq_status_query, &q), 0, "irq_status_query");
    tap_note("flags %x", q.flags);
    rtc_write(0x8a, (uint8_t)((rtc_read(0x8a) & 0x70) | 10));
    rtc_write(0x8b, rtc_read(0x8b) | 0x40);
    rtc_read(0x8c);
    event_count[port] = 0;
    event_unmask(port);
    event_enable();
    for (end = clock_now() + 500 * MS; clock_now() < end;) {
        if (event_count[port] == n)
            continue;
        n = event_count[port];
        rtc_read(0x8c);
        hc_physdev_op(PHYSDEVOP_eoi, &eoi);
    }
    tap(n >= 10 && n <= 40, "about 32 interrupts in half a second", "%u came", n);
    rtc_write(0x8b, rtc_read(0x8b) & (uint8_t)~0x40);
    rtc_read(0x8c);
}

static void teardown(void)
{
    struct physdev_unmap_pirq u = {.domid = DOMID_SELF, .pirq = (int)pirq};
    struct physdev_map_pirq m = {
        .domid = DOMID_SELF, .type = MAP_PIRQ_TYPE_GSI, .index = 9999, .pirq = -1};

    is(event_close(port), 0, "close");
    is(hc_physdev_op(PHYSDEVOP_unmap_pirq, &u), 0, "unmap_pirq");
    is_error(hc_physdev_op(PHYSDEVOP_unmap_pirq, &u), "unmap it twice");
    is_error(hc_physdev_op(PHYSDEVOP_map_pirq, &m), "a GSI out of range");
    m.index = 8;
    m.domid = 0x7000;
    is_error(hc_physdev_op(PHYSDEVOP_map_pirq, &m), "of a domain that does not exist");
}

void guest_main(void)
{
    struct physdev_set_iopl iopl = {.iopl = 1};

    if (!(start_info->flags & SIF_INITDOMAIN)) {
        struct evtchn_bind_pirq b = {.pirq = 8};

        is_error(hc_event_channel_op(EVTCHNOP_bind_pirq, &b), "a guest may not bind a PIRQ");
        return;
    }
    hc_physdev_op(PHYSDEVOP_set_iopl, &iopl);
    set_up();
    interrupts();
    teardown();
}
