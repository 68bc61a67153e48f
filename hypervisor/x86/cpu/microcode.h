// SPDX-License-Identifier: BSD-2-Clause
// CPU microcode: finding the update for a CPU in what the boot loader passed, and loading it.
// Formats: Intel SDM volume 3, "Microcode Update Facilities"; AMD's container as its vendor ships
// it (microcode_amd*.bin). All sizes are bytes.
#pragma once

#include "x86/cpu/cpuid.h"

// Whom an update is for.
struct microcode_cpu {
    enum cpu_vendor vendor;
    uint32_t signature; // CPUID.1:EAX
    uint32_t platform;  // Intel: 1 << platform id; 0 when unknown
    uint32_t revision;  // the running one
};

struct microcode_patch {
    const uint8_t *data; // Intel: from the header on; AMD: from the patch's header on
    uint32_t size;
    uint32_t revision;
};

// ---- microcode_parse.c: pure functions of untrusted bytes ---------------------------------------

// Does this start like an Intel update or an AMD container?
bool microcode_is_blob(const uint8_t *blob, uint64_t size);
// Look for updates for this CPU newer than best->revision; the newest goes to *best. 0: found;
// -ENOENT: none; -EINVAL: damaged, *why says how and *best is as before.
int __must_check microcode_search(const uint8_t *blob, uint64_t size,
                                  const struct microcode_cpu *cpu, struct microcode_patch *best,
                                  const char **why);
// The vendor's file in the uncompressed cpio archives (newc) at the start of an initrd. 0: *found
// and *found_size are set; -ENOENT: no such archive or file; -EINVAL: damaged, *why says how.
int __must_check microcode_in_cpio(const uint8_t *archive, uint64_t size, enum cpu_vendor vendor,
                                   const uint8_t **found, uint64_t *found_size, const char **why);

// ---- microcode.c --------------------------------------------------------------------------------

// The CPU this runs on. -EFAULT: it does not tell its revision.
int __must_check microcode_this_cpu(struct microcode_cpu *cpu);
// Load it on the boot CPU and keep a copy for the others. After the page allocator.
void microcode_load(const struct microcode_patch *patch);
// Each other CPU, as it starts; after its IDT.
void microcode_cpu_init(void);
// All CPUs are up: free the copy, and warn when the CPUs' revisions differ.
void microcode_done(void);
