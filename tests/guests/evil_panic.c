// SPDX-License-Identifier: BSD-2-Clause
// Reports a crash of its own, as a kernel does that panics.
#include "lib/guest.h"

void guest_main(void)
{
    print("# panic: on purpose\n");
    guest_shutdown(SHUTDOWN_crash);
}
