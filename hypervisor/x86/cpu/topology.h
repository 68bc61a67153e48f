// SPDX-License-Identifier: BSD-2-Clause
// Which CPUs are threads of one core, and cores of one socket: fields of their APIC ids, whose
// widths CPUID tells.
#pragma once

// Boot CPU: read the widths. After cpuid_init().
void topology_init(void);
