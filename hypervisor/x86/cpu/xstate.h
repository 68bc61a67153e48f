// SPDX-License-Identifier: BSD-2-Clause
// FPU and extended registers of vCPUs: saved when a vCPU leaves its CPU, loaded when it comes. The
// hypervisor itself uses none of them, so nothing is to be done for idle.
#pragma once

#include "core/domain.h"

int __must_check xstate_vcpu_init(struct vcpu *v); // registers as after reset; 0 or -ENOMEM
void xstate_vcpu_destroy(struct vcpu *v);
void xstate_save(struct vcpu *v);    // v's registers are on this CPU, CR0.TS is clear
void xstate_restore(struct vcpu *v); // CR0.TS is clear
// XSETBV by current: 0 or -EINVAL.
int __must_check xstate_set_xcr0(struct vcpu *v, uint64_t xcr0);
// The 512 bytes of FXSAVE, for a vCPU that is not running. Setting them leaves XCR0 and the other
// components as they are; NULL makes all registers as after reset.
void xstate_set_legacy(struct vcpu *v, const void *fxsave);
void xstate_get_legacy(const struct vcpu *v, void *fxsave);

// The XSAVE area in its standard format, for a vCPU that is not running: its bytes (0: the CPU has
// no XSAVE) and the components it may hold.
size_t xstate_image_size(void);
uint64_t xstate_mask(void);
// Take over an area from outside, `size` of its first bytes and the rest clean, and its XCR0: 0 or
// -EINVAL, with nothing changed.
int __must_check xstate_set_image(struct vcpu *v, uint64_t xcr0, const void *image, size_t size);

// Back to the state after reset, for a vCPU that is not running.
void xstate_reset(struct vcpu *v);
