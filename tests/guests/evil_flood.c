// SPDX-License-Identifier: BSD-2-Clause
// Floods its console and its event channels as fast as it can, for ever or "seconds=N".
#include "lib/guest.h"

void guest_main(void)
{
    uint64_t end = clock_now() + arg_number("seconds", 1000000) * 1000 * MS;
    evtchn_port_t ipi = (evtchn_port_t)event_bind_ipi(0);
    unsigned long n = 0;

    event_port_clear_mask(ipi);
    event_enable();
    while (clock_now() < end) {
        print("flood %lu: the quick brown fox jumps over the lazy dog, again and again\n", n++);
        for (int i = 0; i < 100; i++)
            event_send(ipi);
    }
    ok(true, "the flood is over");
}
