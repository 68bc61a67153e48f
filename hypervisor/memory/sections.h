// SPDX-License-Identifier: BSD-2-Clause
// Sections of 1 GiB coming online: internal to memory/.
#pragma once

#include "lib/types.h"

// Bring one more section with memory below 2^bits (0: any) online. False: none is left.
bool sections_online_next(unsigned int bits);
// Frames that sections not yet online will give (a lower bound), their own tables left out.
uint64_t sections_offline_pages(void);
