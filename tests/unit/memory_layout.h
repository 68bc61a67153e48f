// SPDX-License-Identifier: BSD-2-Clause
/* Included before everything else: where the memory tests put the hypervisor's tables. */
#pragma once

#define MEMORY_ELSEWHERE 1
#define DIRECTMAP_VIRT   0x200000000000ul
#define FRAME_TABLE_VIRT 0x210000000000ul
#define M2P_VIRT         0x220000000000ul
#define M2P_RO_VIRT      0x230000000000ul
