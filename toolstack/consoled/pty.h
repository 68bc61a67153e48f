// SPDX-License-Identifier: BSD-2-Clause
// A pseudo terminal for each guest, for programs that find a console by the node console/tty in
// xenstore (virsh console, xl console). It is there as long as the guest; whoever opens it gets
// recent output first. A program that does not read loses output and holds up nobody.
#pragma once

#include "consoled.h"

struct pty;

// Begins to watch who opens terminals. 0 or -errno.
int ptys_begin(struct consoled *d);
void ptys_end(struct consoled *d);
// Tells xenstore of terminals that it could not be told of before.
void ptys_tell(struct consoled *d);

// NULL when there is none to be had; that is logged, and the console works without it.
struct pty *pty_open(struct guest *g);
// NULL is allowed in these.
void pty_show(struct pty *p, const char *data, size_t len);
// The guest has room for input again.
void pty_resume(struct pty *p);
void pty_close(struct pty *p);
