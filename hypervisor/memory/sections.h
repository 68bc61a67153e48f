// SPDX-License-Identifier: BSD-2-Clause
// Sections of 1 GiB coming online: internal to memory/.
#pragma once

#include "lib/types.h"
#include "memory/frame.h"
#include "memory/nodes.h"

// Bring one more section of the node with memory below 2^bits (0: any) online. False: none is left.
bool sections_online_next(unsigned int node, unsigned int bits);
// Frames that sections not yet online will give (a lower bound), their own tables left out.
uint64_t sections_offline_pages(void);
uint64_t sections_offline_node_pages(unsigned int node);

// By section: its node; SECTION_OF_MANY: it has memory of several.
enum { SECTION_OF_MANY = 0xff };
extern uint8_t *section_nodes;

// The node of a frame whose section is online.
static inline unsigned int node_of_mfn(uint64_t mfn)
{
    if (node_count == 1)
        return 0;
    uint8_t node = section_nodes[mfn >> SECTION_SHIFT];
    return likely(node != SECTION_OF_MANY) ? node : node_search(mfn);
}
