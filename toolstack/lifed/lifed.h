// SPDX-License-Identifier: BSD-2-Clause
// The daemon that looks after the ends of guests.
#pragma once

#include "loop.h"
#include "serai.h"

#include <stdbool.h>
#include <xenevtchn.h>

struct lifed {
    struct loop *loop;
    struct serai *s;
    bool virq;                   // the hypervisor tells this process of ended domains
    xenevtchn_handle *evtchn;    // NULL: no events from the hypervisor
    struct serai_events *events; // from xenstore, NULL: it is not served
    struct loop_source *events_fd;
    struct loop_source *poll;  // timer: looking without having been told
    struct loop_source *later; // timer: something has to wait a moment
};

// act.c: looks at every domain and acts on those that have ended.
void lifed_look(struct lifed *l);
