// SPDX-License-Identifier: BSD-2-Clause
// Names of code addresses, from a table that scripts/symbols links into the image.
#pragma once

#include "lib/types.h"

// "name+0xoff" for an address in the hypervisor's text; the length, 0 when there is none.
int symbol_format(char *buf, size_t size, unsigned long addr);
// Let %pS use it.
void symbols_init(void);
// Functions that the image lists (XENPF_get_symbol): entry `index`, false past the end.
bool symbol_get(unsigned int index, unsigned long *addr, const char **name);
