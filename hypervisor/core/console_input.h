// SPDX-License-Identifier: BSD-2-Clause
// Serial input: to the control domain, or to the hypervisor's keys. The switch character
// (conswitch=, Ctrl-A) typed three times changes sides.
#pragma once

#include "lib/types.h"

void console_input_init(void);
// A character came in. Interrupt context.
void console_input_receive(char c);
// After the control domain has started: input goes there, unless conswitch=...x.
void console_input_to_control_domain(void);
