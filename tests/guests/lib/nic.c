// SPDX-License-Identifier: BSD-2-Clause
#include "nic.h"

#include "guest.h"
#include "share.h"
#include "store.h"

#include <xen/io/netif.h>
#include <xen/io/xenbus.h>

enum { BUFFERS = 8, FRAME_BYTES = 60, TOKEN = 'n' };

static struct {
    bool offered, given_up;
    char back[80];
    struct netif_tx_front_ring tx;
    struct netif_rx_front_ring rx;
    evtchn_port_t port;
    uint8_t *out, *in[BUFFERS];
    grant_ref_t out_ref, in_ref[BUFFERS];
    bool out_busy;
} nic;

unsigned int nic_sent, nic_received;
bool nic_up;

static void give_buffer(unsigned int n)
{
    struct netif_rx_request *r = RING_GET_REQUEST(&nic.rx, nic.rx.req_prod_pvt++);

    *r = (struct netif_rx_request){.id = (uint16_t)n, .gref = nic.in_ref[n]};
}

static void offer(void)
{
    struct netif_tx_sring *tx = page_alloc();
    struct netif_rx_sring *rx = page_alloc();

    SHARED_RING_INIT(tx);
    SHARED_RING_INIT(rx);
    FRONT_RING_INIT(&nic.tx, tx, PAGE_SIZE);
    FRONT_RING_INIT(&nic.rx, rx, PAGE_SIZE);
    nic.out = page_alloc();
    nic.out_ref = share_page(nic.out);
    for (unsigned int i = 0; i < BUFFERS; i++) {
        nic.in[i] = page_alloc();
        nic.in_ref[i] = share_page(nic.in[i]);
        give_buffer(i);
    }
    RING_PUSH_REQUESTS(&nic.rx);
    nic.port = (evtchn_port_t)event_alloc_unbound(DOMID_SELF, CONTROL_DOMAIN);
    share_port_add(nic.port);
    store_write(0, "device/vif/0/tx-ring-ref", "%u", share_page(tx));
    store_write(0, "device/vif/0/rx-ring-ref", "%u", share_page(rx));
    store_write(0, "device/vif/0/event-channel", "%u", nic.port);
    store_write(0, "device/vif/0/request-rx-copy", "1");
    store_write(0, "device/vif/0/feature-rx-notify", "1");
    store_write(0, "device/vif/0/feature-no-csum-offload", "1");
    store_write(0, "device/vif/0/state", "%d", XenbusStateConnected);
    nic.offered = true;
}

// The address as the store says it: "aa:bb:cc:dd:ee:ff".
static void read_address(uint8_t out[6])
{
    unsigned int digit = 0;

    if (!store_read(0, "device/vif/0/mac"))
        return;
    for (const char *c = store_text; *c && digit < 12; c++) {
        unsigned int v = *c >= 'a' ? (unsigned int)(*c - 'a') + 10 : (unsigned int)(*c - '0');

        if (*c == ':')
            continue;
        out[digit / 2] = (uint8_t)(out[digit / 2] << 4 | (v & 15));
        digit++;
    }
}

static void make_frame(void)
{
    memset(nic.out, 0xff, 6);
    memset(nic.out + 6, 0, FRAME_BYTES - 6);
    read_address(nic.out + 6);
    nic.out[12] = 0x88; // for local experiments
    nic.out[13] = 0xb5;
}

// It is not taken up again: the pages stay shared until the other side is done with them.
static void close_nic(void)
{
    if (nic.offered) {
        share_port_remove(nic.port);
        event_close(nic.port);
    }
    store_write(0, "device/vif/0/state", "%d", XenbusStateClosed);
    nic_up = false;
    nic.given_up = true;
}

void nic_look(void)
{
    char path[96];
    int state;

    if (nic.given_up)
        return;
    if (!nic.back[0]) {
        if (!store_read(0, "device/vif/0/backend") || strlen(store_text) >= sizeof(nic.back))
            return;
        memcpy(nic.back, store_text, strlen(store_text) + 1);
    }
    memcpy(path, nic.back, strlen(nic.back));
    memcpy(path + strlen(nic.back), "/state", 7);
    if (!nic.offered && !nic_up)
        store_watch(path, TOKEN);
    state = store_read(0, path) ? store_text[0] - '0' : XenbusStateUnknown;
    if (!nic.offered && state == XenbusStateInitWait) {
        offer();
        make_frame();
    } else if (nic.offered && state == XenbusStateConnected) {
        nic_up = true;
    } else if (state >= XenbusStateClosing || state == XenbusStateUnknown) {
        close_nic();
    }
}

void nic_send(void)
{
    struct netif_tx_request *r;
    int notify;

    if (!nic_up || nic.out_busy)
        return;
    r = RING_GET_REQUEST(&nic.tx, nic.tx.req_prod_pvt++);
    *r = (struct netif_tx_request){.gref = nic.out_ref, .size = FRAME_BYTES};
    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&nic.tx, notify);
    nic.out_busy = true;
    if (notify)
        event_send(nic.port);
}

static void serve_sent(void)
{
    int more;

    do {
        while (RING_HAS_UNCONSUMED_RESPONSES(&nic.tx)) {
            nic.tx.rsp_cons++;
            nic.out_busy = false;
            nic_sent++;
        }
        RING_FINAL_CHECK_FOR_RESPONSES(&nic.tx, more);
    } while (more);
}

static void serve_received(void)
{
    int more, notify;

    do {
        while (RING_HAS_UNCONSUMED_RESPONSES(&nic.rx)) {
            const struct netif_rx_response *r = RING_GET_RESPONSE(&nic.rx, nic.rx.rsp_cons++);

            nic_received += r->status > 0;
            give_buffer(r->id % BUFFERS);
        }
        RING_FINAL_CHECK_FOR_RESPONSES(&nic.rx, more);
    } while (more);
    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&nic.rx, notify);
    if (notify)
        event_send(nic.port);
}

void nic_serve(void)
{
    if (!nic_up)
        return;
    serve_sent();
    serve_received();
}
