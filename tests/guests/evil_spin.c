// SPDX-License-Identifier: BSD-2-Clause
// Spins for ever with every event masked, on all its vCPUs. Others must keep their share.
#include "lib/guest.h"

static void spin(void *arg)
{
    (void)arg;
    event_disable();
    for (;;)
        barrier();
}

void guest_main(void)
{
    print("# spinning\n");
    for (unsigned int i = 1; i < smp_count(); i++)
        if (!smp_start(i))
            smp_post(i, spin, NULL);
    spin(NULL);
}
