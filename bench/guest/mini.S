// SPDX-License-Identifier: BSD-2-Clause
# Tiny Xen guest that measures hypercalls alone, without Linux.  Built twice:
# -DPV (64-bit PV) and not (32-bit PVH).  Prints nothing: the split plugin
# counts between the markers.  Powers off; with a command line starting with
# "i" it blocks for ever instead (to weigh an idle domain).
#define REPS 3
#define N 1000
.macro MARK k
	.byte 0x0f, 0x1f, 0x84, 0x00
	.long 0x4c415400 + \k
.endm
#define NOTE(type, ...) .long 4, 2f - 1f, type; .asciz "Xen"; 1: __VA_ARGS__; 2: .align 4

#ifdef PV
.section .note.Xen, "a", @note
	NOTE(6, .asciz "mini")                  # guest OS
	NOTE(5, .asciz "xen-3.0")               # Xen version
	NOTE(8, .asciz "generic")               # loader
	NOTE(3, .quad 0)                        # virtual base
	NOTE(4, .quad 0)                        # paddr offset
	NOTE(1, .quad _start)
	NOTE(2, .quad hypercall_page)
	NOTE(9, .asciz "yes")                   # PAE
.text
.code64
.macro HC nr
	mov $\nr, %eax
	syscall                                 # clobbers rcx, r11
.endm
#define CTR %rbp
#define ARG1(v) mov $v, %rdi
#define ARG2(v) mov $v, %rsi
#define ARG3(v) mov $v, %rdx
#define ARG4(v) mov $v, %r10
.globl _start
_start:
	cld
	mov %rsi, %rbx                          # start_info
	lea stack_top, %rsp
	cmpb $'i', 128(%rbx)
	je idle
	# The PTE that maps `page` now, read/write, for update_va_mapping.
	mov 104(%rbx), %rax                     # mfn_list
	mov $page, %ecx
	shr $12, %ecx
	mov (%rax,%rcx,8), %rax
	shl $12, %rax
	or $0x67, %rax
	mov %rax, pte
#else
.section .note.Xen, "a", @note
	NOTE(18, .long _start)                  # PVH entry
.text
.code32
.macro HC nr
	mov $\nr, %eax
	vmmcall
.endm
#define CTR %ebp
#define ARG1(v) mov $v, %ebx
#define ARG2(v) mov $v, %ecx
#define ARG3(v) mov $v, %edx
#define ARG4(v) mov $v, %esi
.globl _start
_start:
	cld
	mov $stack_top, %esp
	mov 24(%ebx), %eax                      # start_info: command line
	test %eax, %eax
	jz 1f
	cmpb $'i', (%eax)
	je idle
1:
#endif

# OP body: REPS batches of N times body.
.macro BEGIN
	MARK 1
	movl $REPS, rep
10:	MARK 2
	mov $N, CTR
11:
.endm
.macro END
	dec CTR
	jnz 11b
	MARK 3
	decl rep
	jnz 10b
.endm

	BEGIN                                   # 1 nothing: the loop
	END
	BEGIN                                   # 2 xen_version(version)
	ARG1(0); ARG2(0)
	HC 17
	END
	BEGIN                                   # 3 sched_op(yield)
	ARG1(0); ARG2(0)
	HC 29
	END
	BEGIN                                   # 4 set_timer_op(0): stop the timer
	ARG1(0); ARG2(0)
	HC 15
	END
	ARG1(7); ARG2(ipi)                      # event channel: bind IPI to itself
	HC 32
	BEGIN                                   # 5 evtchn send to itself (masked)
	ARG1(4); ARG2(port)
	HC 32
	END
	BEGIN                                   # 6 vcpu_op(is_up, 0)
	ARG1(3); ARG2(0); ARG3(0)
	HC 24
	END
	BEGIN                                   # 7 cpuid leaf 0
	xor %eax, %eax
	cpuid
	END
	BEGIN                                   # 8 rdmsr EFER (PV: trapped, emulated)
	mov $0xc0000080, %ecx
	rdmsr
	END
	BEGIN                                   # 9 memory_op(current reservation)
	ARG1(3); ARG2(domid)
	HC 12
	END
#ifdef PV
	BEGIN                                   # 10 mmuext_op(local TLB flush)
	ARG1(tlbflush); ARG2(1); ARG3(0); ARG4(0x7ff0)
	HC 26
	END
	BEGIN                                   # 11 update_va_mapping, same PTE + invlpg
	ARG1(page); mov pte, %rsi; ARG3(2)
	HC 14
	END
	BEGIN                                   # 12 update_va_mapping to none and back
	ARG1(page); ARG2(0); ARG3(2)
	HC 14
	ARG1(page); mov pte, %rsi; ARG3(2)
	HC 14
	END
	BEGIN                                   # 13 multicall of 8 xen_version
	ARG1(multi); ARG2(8)
	HC 13
	END
#endif
	ARG1(2); ARG2(reason)                   # sched_op(shutdown, poweroff)
	HC 29
idle:	ARG1(1); ARG2(0)                        # sched_op(block)
	HC 29
	jmp idle

.data
.align 16
rep:	.long 0
reason:	.long 0
ipi:	.long 0                                 # evtchn_bind_ipi: vcpu, port
port:	.long 0
domid:	.short 0x7ff0
	.align 8
pte:	.quad 0
tlbflush: .long 6, 0; .quad 0, 0
multi:
.rept 8
	.quad 17, 0, 0, 0, 0, 0, 0, 0
.endr
.bss
.align 4096
page:	.skip 4096
stack:	.skip 4096
stack_top:
#ifdef PV
.section .text.hc, "ax"
.align 4096
hypercall_page: .skip 4096, 0x90
#endif
