// SPDX-License-Identifier: BSD-2-Clause
// The public interface, Xen 4.17 as in Debian 12's libxen-dev, in the flavour the hypervisor needs.
#pragma once

#define __XEN_TOOLS__ 1

#include "lib/types.h"
#include "lib/errno.h"
#include <xen/xen.h>
#include <xen/version.h>
#include <xen/event_channel.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/memory.h>
#include <xen/grant_table.h>
