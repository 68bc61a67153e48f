// SPDX-License-Identifier: BSD-2-Clause
// Included before every hypervisor source: no symbol is ever interposed, so that references are
// direct (-fvisibility covers definitions only, this covers declarations).
#pragma GCC visibility push(hidden)
