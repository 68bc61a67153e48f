// SPDX-License-Identifier: BSD-2-Clause
// The first network interface of this guest: sends a small broadcast frame now and then and counts
// what comes.
#pragma once

#include <stdbool.h>
#include <stdint.h>

extern unsigned int nic_sent, nic_received;
extern bool nic_up;

// Goes on with the interface that comes up or goes down. Uses the store.
void nic_look(void);
// Takes what has come. Does not use the store.
void nic_serve(void);
void nic_send(void);
