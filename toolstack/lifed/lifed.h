// SPDX-License-Identifier: BSD-2-Clause
// The daemon that looks after the ends of guests.
#pragma once

#include "loop.h"
#include "serai.h"

#include <xenevtchn.h>

struct lifed {
    struct loop *loop;
    struct serai *s;
    xenevtchn_handle *evtchn;  // NULL: no events, polling only
    struct loop_source *later; // timer: something has to wait a moment
};

// act.c: looks at every domain and acts on those that have ended.
void lifed_look(struct lifed *l);
