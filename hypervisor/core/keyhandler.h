// SPDX-License-Identifier: BSD-2-Clause
// Console keys (Ctrl-A three times switches serial input to the hypervisor) and
// XEN_SYSCTL_debug_keys: a letter runs a dump function.
#pragma once

#include "lib/types.h"

void keyhandler_init(void);
void keyhandler_register(char key, const char *help, void (*fn)(void));
void keyhandler_run(char key); // unknown keys are ignored with a message
