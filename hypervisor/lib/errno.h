// SPDX-License-Identifier: BSD-2-Clause
// Error numbers of the public ABI (xen/errno.h), under their usual names.
#pragma once

#define XEN_ERRNO(name, value) name = value,
enum {
#include <xen/errno.h>
};

// Internal only: the hypercall has saved its progress in its arguments and must be run again.
#define ERESTART 85
