# SPDX-License-Identifier: BSD-2-Clause
# Serai: hypervisor, toolstack, tests. The source lists below are the map of the tree.
#   make                     everything          make build/serai.elf   the hypervisor alone
#   make unit fuzz guests    tests               make O=dir CC=clang    elsewhere, other compiler
#   make DEBUG=0             release build (default: 1, with assertions)

CC    := gcc
DEBUG ?= 1
O     ?= build
FUZZ_SECONDS ?= 10

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules

# ---- hypervisor -----------------------------------------------------------------------------
HV_LIB    := string.c printf.c number.c bitmap.c heap.c
HV_CORE   := domain.c domain_life.c softirq.c timer.c hypercall.c multicall.c version.c access.c \
             console.c console_input.c lock_check.c cmdline.c panic.c symbols.c keyhandler.c sched.c \
             sched_queue.c sched_cap.c sched_balance.c sched_affinity.c sched_params.c sched_op.c vcpu_op.c \
             rangeset.c memory_op.c memory_exchange.c evtchn.c evtchn_2l.c evtchn_fifo.c \
             evtchn_op.c subop.c console_io.c cpupool.c grant.c grant_use.c grant_map.c grant_copy.c \
             grant_op.c evtchn_bind.c
HV_MEMORY := boot_alloc.c nodes.c buddy.c sections.c frame.c domain_pages.c heap.c
HV_CONTROL := bitmap.c cpupool.c domctl.c sysctl.c platform.c
HV_DRIVERS := pci.c uart.c acpi.c screen.c font.c
HV_X86    := control.c domain.c vcpu_state.c
HV_BOOT   := head.S main.c multiboot.c memory_map.c dom0_build.c trampoline.S boot_map.c numa.c smp_boot.c unpack_glue.c \
             microcode_modules.c
HV_CPU    := descriptors.c idt.c traps.c xstate.c context.c irq.c pirq.c msi.c physdev.c cpuid.c apic.c ioapic.c time.c calibrate.c rtc.c smp.c topology.c reboot.c backtrace.c uart_irq.c microcode.c \
             microcode_parse.c
HV_MM     := paging.c vmap.c tlb.c guest_access.c
HV_PV     := entry.S traps.c descriptors.c callback.c iret.c misc.c privop.c cpuid.c cpu_policy.c msr.c ioport.c \
             mm_types.c mm_entries.c mm_update.c mm_ext.c mm_fault.c mm_roots.c grant.c
HV_EMULATE := emulate_decode.c emulate_opcodes.c emulate_execute.c emulate_alu.c emulate_string.c emulate_system.c
BUILDER   := elf.c notes.c bzimage.c pv_layout.c unpack.c unpack_xz.c unpack_lzma.c unpack_without.c

HV_SRC := $(addprefix hypervisor/lib/,$(HV_LIB)) $(addprefix hypervisor/core/,$(HV_CORE)) \
          $(addprefix hypervisor/memory/,$(HV_MEMORY)) $(addprefix hypervisor/control/,$(HV_CONTROL)) \
          $(addprefix hypervisor/drivers/,$(HV_DRIVERS)) $(addprefix hypervisor/x86/,$(HV_X86)) $(addprefix hypervisor/x86/boot/,$(HV_BOOT)) \
          $(addprefix hypervisor/x86/cpu/,$(HV_CPU)) $(addprefix hypervisor/x86/mm/,$(HV_MM)) \
          $(addprefix hypervisor/x86/pv/,$(HV_PV)) $(addprefix hypervisor/x86/emulate/,$(HV_EMULATE))
HV_OBJ := $(patsubst %.S,$(O)/hv/%.o,$(patsubst %.c,$(O)/hv/%.o,$(HV_SRC))) \
          $(O)/hv/builder.o $(O)/hv/unpack_libs.o

# Files of dependencies say "$(O)" for the build directory, however that was written when they were made.
DEP_NAME = -MT '$$(O)/$(@:$(O)/%=%)'

WARN := -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter \
        -Wno-sign-compare -Wno-missing-field-initializers
# The image lives below the top 2 GiB, so code is position independent; no SSE, no red zone.
HV_CFLAGS := -std=gnu17 -O2 -g -ffreestanding -fno-strict-aliasing -fno-common -fpie \
             -fvisibility=hidden -mno-red-zone -mgeneral-regs-only -fno-stack-protector \
             -fno-asynchronous-unwind-tables -fno-omit-frame-pointer -fcf-protection=none \
             -ffunction-sections -fdata-sections -fno-jump-tables \
             $(WARN) -Ihypervisor -I. -I$(O)/hv -include hypervisor/lib/visibility.h -MMD -MP
ifeq ($(DEBUG),1)
HV_CFLAGS += -DSERAI_DEBUG
endif
HV_ASFLAGS := -D__ASSEMBLY__ -Ihypervisor -I. -I$(O)/hv -MMD -MP -g

$(O)/hv/%.o: %.c | $(O)/hv/asm_offsets.h
	@mkdir -p $(@D)
	$(CC) $(HV_CFLAGS) $(DEP_NAME) -c $< -o $@
$(O)/hv/%.o: %.S $(O)/hv/asm_offsets.h
	@mkdir -p $(@D)
	$(CC) $(HV_ASFLAGS) $(DEP_NAME) -c $< -o $@

# Offsets for assembly: constants in asm_offsets.c come out as "->NAME value" lines.
$(O)/hv/asm_offsets.h: hypervisor/x86/asm_offsets.c $(wildcard hypervisor/*/*.h hypervisor/x86/*/*.h)
	@mkdir -p $(@D)
	$(CC) $(filter-out -MMD -MP -g,$(HV_CFLAGS)) -S $< -o $@.s
	sed -n 's/.*->\([A-Z0-9_]*\) \$$*\([-0-9]*\).*/#define \1 \2/p' $@.s > $@

-include $(HV_OBJ:.o=.d) $(BUILDER:%.c=$(O)/hv/builder/%.d) $(UNPACK_OBJ:.o=.d)

# zlib, libzstd and liblz4 for boot (x86/boot/unpack_glue.h), and all of builder/: freed with the
# rest of .init.
UNPACK_OBJ := $(addprefix $(O)/hv/builder/,unpack_gzip.o unpack_zstd.o unpack_lz4.o) \
              $(O)/hv/hypervisor/x86/boot/unpack_stubs.o
UNPACK_ROOTS := $(addprefix -u ,unpack_gzip unpack_zstd unpack_lz4)
INIT_ONLY := objcopy --remove-section=.eh_frame --remove-section=.note.gnu.property \
             --set-section-flags .bss=alloc,load,contents,data --prefix-alloc-sections=.init
$(O)/hv/unpack_libs.o: $(UNPACK_OBJ)
	ld -r -m elf_x86_64 --gc-sections $(UNPACK_ROOTS) -o $@.all $(UNPACK_OBJ) \
		$(foreach lib,z zstd lz4,$$($(CC) -print-file-name=lib$(lib).a))
	$(INIT_ONLY) --strip-debug $@.all $@
$(O)/hv/builder.o: $(BUILDER:%.c=$(O)/hv/builder/%.o)
	ld -r -m elf_x86_64 -o $@.all $^
	$(INIT_ONLY) $@.all $@

# Linked twice: the table of function names is made from the first result.
HV_LDFLAGS := -m elf_x86_64 -nostdlib -static --gc-sections --build-id=none -z max-page-size=4096 \
              -z noexecstack --no-warn-rwx-segments -T hypervisor/x86/serai.lds
$(O)/serai.syms: $(HV_OBJ) hypervisor/x86/serai.lds scripts/symbols
	scripts/symbols > $(O)/hv/symbols.S
	$(CC) -c $(O)/hv/symbols.S -o $(O)/hv/symbols.o
	ld $(HV_LDFLAGS) $(HV_OBJ) $(O)/hv/symbols.o -o $(O)/hv/serai.first
	scripts/symbols $(O)/hv/serai.first > $(O)/hv/symbols.S
	$(CC) -c $(O)/hv/symbols.S -o $(O)/hv/symbols.o
	ld $(HV_LDFLAGS) $(HV_OBJ) $(O)/hv/symbols.o -o $@

$(O)/hv/serai.bin: $(O)/serai.syms
	objcopy -O binary $< $@
$(O)/serai.elf: $(O)/hv/serai.bin hypervisor/x86/wrap.S hypervisor/x86/wrap.lds
	set -- $$(nm $(O)/serai.syms | awk '$$3 == "load_end" || $$3 == "image_end" {print $$3 "=0x" substr($$1, 9)}'); \
	for i; do eval "$$i"; done; \
	$(CC) -m32 -c -DBIN='"$<"' -DBSS_BYTES=$$((image_end - load_end)) hypervisor/x86/wrap.S \
	    -o $(O)/hv/wrap.o
	ld -m elf_i386 --build-id=none --no-warn-rwx-segments -T hypervisor/x86/wrap.lds \
	    $(O)/hv/wrap.o -o $@
$(O)/serai.gz: $(O)/serai.elf
	gzip -9nc $< > $@

# ---- micro guests ---------------------------------------------------------------------------
GUEST_LIB := start.S main.c string.c console.c tap.c trap.c event.c mem.c smp.c clock.c xs.c share.c \
            store.c disk.c nic.c
GUESTS    := evil_daemons evil_flood evil_panic evil_spin evil_triple load pv_cpuid pv_debugregs \
            pv_control pv_descriptors pv_evtchn pv_evtchn_fifo pv_evtchn_race pv_evtchn_smp pv_exchange pv_failsafe pv_fpu \
            pv_fuzz_entry pv_fuzz_hc pv_grant pv_grant_copy pv_grant_many pv_grant_v2 pv_hello \
            pv_hypercalls pv_iomem pv_ioport pv_ldt pv_m2p pv_memory pv_misc pv_mmu_big \
            pv_mmu_refuse pv_mmu_types pv_mmu_update pv_mmu_va pv_mmu_writable pv_mmuext \
            pv_multicall pv_pirq pv_privop pv_races pv_save pv_sched pv_segbase pv_time pv_timer \
            pv_tlb_smp pv_trap_int pv_traps pv_user pv_user32 pv_vcpu pv_vcpu_context pv_version worker

GUEST_CFLAGS := -std=gnu17 -O2 -g -ffreestanding -fno-pic -mcmodel=kernel -mno-red-zone \
                -mgeneral-regs-only -fno-stack-protector -fno-asynchronous-unwind-tables \
                -fcf-protection=none -fno-strict-aliasing $(WARN) -Itests/guests/lib -MMD -MP
GUEST_LIB_OBJ := $(addprefix $(O)/guests/lib/,$(addsuffix .o,$(GUEST_LIB)))

$(O)/guests/%.S.o: tests/guests/%.S tests/guests/lib/layout.h
	@mkdir -p $(@D)
	$(CC) $(GUEST_CFLAGS) $(DEP_NAME) -c $< -o $@
$(O)/guests/%.c.o: tests/guests/%.c
	@mkdir -p $(@D)
	$(CC) $(GUEST_CFLAGS) $(DEP_NAME) -c $< -o $@
$(O)/guests/%.elf: $(O)/guests/%.c.o $(GUEST_LIB_OBJ) tests/guests/lib/guest.ld
	ld -nostdlib -static -z max-page-size=4096 -z noexecstack -T tests/guests/lib/guest.ld \
		-o $@ $< $(GUEST_LIB_OBJ)
.PHONY: guests
guests: $(GUESTS:%=$(O)/guests/%.elf)
-include $(wildcard $(O)/guests/*.d $(O)/guests/lib/*.d)

# ---- toolstack ------------------------------------------------------------------------------
TS_BASE     := buf.c cfg.c cfg_parse.c daemon.c file.c json.c log.c loop.c suggest.c
TS_LIB      := balloon.c build_pv.c config.c config_keys.c console.c core.c core_file.c core_p2m.c core_view.c cpumap.c wait.c balance.c balancer.c placement.c create.c device.c device_all.c \
               devices.c disk.c disk_share.c disk_spec.c domain.c events.c handle.c host.c life.c loopdev.c \
               store.c store_domain.c vdev.c vif.c xsclient.c \
               hypercall.c image.c op.c pool.c ramdisk.c sched.c state.c topology.c usage.c vcpu.c
# Networks: base/ talks to the kernel, libserai/ knows what a guest's interface is.
TS_NET      := net.c net_addr.c net_conf.c net_filter.c net_plan.c net_record.c net_setup.c vif_config.c vif_rate.c
TS_NETLINK  := netlink.c nft.c rtnl.c rtnl_limit.c
TS_BUILDER  := elf.c notes.c bzimage.c pv_layout.c unpack.c unpack_gzip.c unpack_xz.c unpack_lzma.c \
               unpack_zstd.c unpack_lz4.c
TS_CLI      := main.c table.c run.c progress.c completion.c metrics.c cmd_pool.c cmd_more.c cmd_metrics.c cmd_network_host.c cmd_network_rate.c cmd_block.c cmd_memory.c cmd_network.c cmd_request.c cmd_create.c cmd_list.c cmd_life.c cmd_dump.c cmd_wait.c cmd_auto.c cmd_console.c cmd_info.c cmd_top.c \
               cmd_vcpu.c cmd_sched.c
TS_CONSOLED := main.c guest.c pty.c viewer.c ring.c mark.c logfile.c
TS_LIFED    := main.c act.c dump.c worker.c
TS_BLKD_PURE := backend.c connect.c device.c devices.c disk.c disk_rate.c image.c image_raw.c journal.c pgrant.c \
               proto.c request.c ring.c uring.c
TS_BLKD     := main.c stats.c store.c xen_host.c $(TS_BLKD_PURE)
TS_STORED   := main.c conn_ring.c conn_unix.c xen.c turns.c journal.c ring.c record.c ops.c ops_node.c \
               ops_session.c ops_domain.c ops_control.c store.c domain.c conn.c watch.c transaction.c \
               change.c tree.c perms.c path.c quota.c mem.c
TS_DAEMONS  := consoled lifed stored blkd
TS_PROGRAMS := serai $(TS_DAEMONS)

TS_LIB_SRC  := $(addprefix toolstack/libserai/,$(TS_LIB) $(TS_NET)) \
               $(addprefix toolstack/base/,$(TS_BASE) $(TS_NETLINK)) \
               $(addprefix builder/,$(TS_BUILDER))
# Static: the programs run in any control domain, whatever libraries it has.
TS_LDFLAGS  := -static
NL_CFLAGS   := -isystem /usr/include/libnl3
NL_LIBS     := -lnl-3
TS_LIBS     := -lxenforeignmemory -lxenevtchn -lxencall -lxentoolcore -lxentoollog -lzstd -llz4 -lz -lpthread
TOOL_CFLAGS   := -std=gnu17 -O2 -g -D_GNU_SOURCE -D__XEN_TOOLS__ -D_FORTIFY_SOURCE=2 \
               -fstack-protector-strong -Wall -Wextra -Werror -Wstrict-prototypes \
               -Wmissing-prototypes -Wvla -Itoolstack/base -Itoolstack/libserai -iquote builder \
               $(NL_CFLAGS) -MMD -MP
ts_obj = $(patsubst %.c,$(O)/ts/%.o,$(1))

$(O)/ts/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(TOOL_CFLAGS) $(DEP_NAME) -c $< -o $@
$(O)/toolstack/libserai.a: $(call ts_obj,$(TS_LIB_SRC))
	@mkdir -p $(@D)
	rm -f $@ && ar rcs $@ $^
$(O)/toolstack/serai: $(call ts_obj,$(addprefix toolstack/cli/,$(TS_CLI))) $(O)/toolstack/libserai.a
	$(CC) $(TS_LDFLAGS) -o $@ $^ $(TS_LIBS)
# The daemons are one program with several names, hard links: what they have in common, libc above
# all, is in memory once. Each is linked on its own first, so that only its main function is seen.
$(O)/ts/daemons/consoled.o: $(call ts_obj,$(addprefix toolstack/consoled/,$(TS_CONSOLED)))
$(O)/ts/daemons/stored.o:   $(call ts_obj,$(addprefix toolstack/stored/,$(TS_STORED)))
$(O)/ts/daemons/lifed.o:    $(call ts_obj,$(addprefix toolstack/lifed/,$(TS_LIFED)))
$(O)/ts/daemons/blkd.o:     $(call ts_obj,$(addprefix toolstack/blkd/,$(TS_BLKD)) \
                              toolstack/libserai/xsclient.c)
$(TS_DAEMONS:%=$(O)/ts/daemons/%.o):
	@mkdir -p $(@D)
	ld -r -o $@ $^
	objcopy --redefine-sym main=$(basename $(@F))_main \
		--keep-global-symbol=$(basename $(@F))_main $@
$(O)/ts/daemons/daemons: $(call ts_obj,toolstack/daemons/main.c) $(TS_DAEMONS:%=$(O)/ts/daemons/%.o) \
                         $(O)/toolstack/libserai.a
	$(CC) $(TS_LDFLAGS) -o $@ $^ -luring -lxengnttab $(TS_LIBS)
$(TS_DAEMONS:%=$(O)/toolstack/%): $(O)/ts/daemons/daemons
	@mkdir -p $(@D)
	ln -f $< $@
.PHONY: toolstack
toolstack: $(addprefix $(O)/toolstack/,$(TS_PROGRAMS)) examples
# What tests/system/test_net_host.py drives: the library's network functions, without a hypervisor.
$(O)/tests/net_driver: $(call ts_obj,tests/system/net_driver.c) $(O)/toolstack/libserai.a
	@mkdir -p $(@D)
	$(CC) $(TS_LDFLAGS) -o $@ $^ $(TS_LIBS)
# libnl can look up names of hosts and protocols. Nobody here asks it to, and in a static program
# glibc could not do it without its shared libraries: weaken these calls.
$(O)/toolstack/libnl-3.a:
	@mkdir -p $(@D)
	objcopy $(foreach f,getaddrinfo getprotobyname getprotobynumber,--weaken-symbol=$(f)) \
		$$($(CC) -print-file-name=libnl-3.a) $@
$(O)/toolstack/serai $(O)/ts/daemons/daemons $(O)/tests/net_driver: $(O)/toolstack/libnl-3.a
-include $(wildcard $(O)/ts/*/*.d $(O)/ts/*/*/*.d)

# What a product links: the library as one object whose only names are the public ones.
$(O)/toolstack/dev/libserai.a: $(call ts_obj,$(TS_LIB_SRC))
	@mkdir -p $(@D)
	ld -r -o $(@D)/libserai.o $^
	objcopy --wildcard --keep-global-symbol='serai_*' $(@D)/libserai.o
	rm -f $@ && ar rcs $@ $(@D)/libserai.o
# Linked the way a product does it, from the same headers (libserai/examples/).
TS_EXAMPLES := host domain disk vif console events operation
$(O)/toolstack/examples/%: toolstack/libserai/examples/%.c $(O)/toolstack/dev/libserai.a \
                           $(O)/toolstack/libnl-3.a $(wildcard toolstack/libserai/serai*.h)
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -O2 -g -Wall -Wextra -Werror -Itoolstack/libserai $(TS_LDFLAGS) -o $@ $< \
		$(O)/toolstack/dev/libserai.a -L$(O)/toolstack $(NL_LIBS) $(TS_LIBS)
.PHONY: examples
examples: $(TS_EXAMPLES:%=$(O)/toolstack/examples/%)

# ---- installation -----------------------------------------------------------------------------
PREFIX  ?= /usr
DESTDIR ?=
VERSION := 0.1
INSTALL_TO = $(DESTDIR)$(PREFIX)
.PHONY: install
install: toolstack examples $(O)/toolstack/dev/libserai.a
	install -d $(INSTALL_TO)/sbin $(INSTALL_TO)/include/serai $(INSTALL_TO)/lib/pkgconfig \
		$(INSTALL_TO)/share/doc/serai/examples $(foreach s,1 3 5 8,$(INSTALL_TO)/share/man/man$(s)) \
		$(INSTALL_TO)/share/bash-completion/completions $(INSTALL_TO)/share/zsh/vendor-completions
	install -m 755 $(O)/toolstack/serai $(O)/toolstack/stored $(INSTALL_TO)/sbin
	$(foreach d,$(filter-out stored,$(TS_DAEMONS)),ln -f $(INSTALL_TO)/sbin/stored $(INSTALL_TO)/sbin/$(d) &&) true
	install -m 644 $(wildcard toolstack/libserai/serai*.h) $(INSTALL_TO)/include/serai
	install -m 644 $(O)/toolstack/dev/libserai.a $(INSTALL_TO)/lib
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' toolstack/libserai/libserai.pc.in \
		> $(INSTALL_TO)/lib/pkgconfig/libserai.pc
	install -m 644 $(TS_EXAMPLES:%=toolstack/libserai/examples/%.c) $(INSTALL_TO)/share/doc/serai/examples
	$(foreach s,1 3 5 8,install -m 644 $(wildcard docs/man/*.$(s)) $(INSTALL_TO)/share/man/man$(s) &&) true
	$(O)/toolstack/serai completion bash > $(INSTALL_TO)/share/bash-completion/completions/serai
	$(O)/toolstack/serai completion zsh > $(INSTALL_TO)/share/zsh/vendor-completions/_serai

# ---- unit tests and fuzzers -------------------------------------------------------------------
# tests/unit/NAME.c and the real sources that it tests, as a host program with sanitizers.
BUILDER_SRC := $(addprefix builder/,$(BUILDER) unpack_gzip.c unpack_zstd.c unpack_lz4.c)
EMULATE_SRC := $(addprefix hypervisor/x86/emulate/,$(HV_EMULATE))
UNPACK_LIBS := -llzma -lz -lzstd -llz4
TEST_HDR    := $(wildcard tests/unit/*.h tests/fuzz/*.h builder/*.h toolstack/*/*.h hypervisor/*/*.h \
               hypervisor/x86/*/*.h)

UNIT_TESTS := builder_elf builder_notes builder_unpack builder_layout emulate_decode \
              emulate_execute emulate_native lib memory memory_nodes rangeset acpi cmdline microcode
UNIT_SRC_builder_elf     := tests/unit/kernel_image.c builder/elf.c
UNIT_SRC_builder_notes   := tests/unit/kernel_image.c builder/elf.c builder/notes.c
UNIT_SRC_builder_unpack  := tests/unit/kernel_image.c $(BUILDER_SRC)
UNIT_LIB_builder_unpack  := $(UNPACK_LIBS)
UNIT_SRC_builder_layout  := tests/unit/kernel_image.c builder/elf.c builder/notes.c \
                            builder/pv_layout.c
UNIT_SRC_emulate_decode  := tests/unit/emulate_host.c $(EMULATE_SRC)
UNIT_SRC_emulate_execute := tests/unit/emulate_host.c $(EMULATE_SRC)
UNIT_SRC_lib             := tests/unit/lib_sources.c
UNIT_SRC_memory          := $(addprefix hypervisor/memory/,$(HV_MEMORY)) tests/unit/memory_fake.c
UNIT_SRC_memory_nodes    := $(UNIT_SRC_memory)
UNIT_CFLAGS_memory       := -include tests/unit/memory_layout.h -DSERAI_DEBUG -fno-builtin-strtoull
UNIT_CFLAGS_memory_nodes := $(UNIT_CFLAGS_memory)
UNIT_SRC_rangeset        := hypervisor/core/rangeset.c
UNIT_SRC_acpi            := hypervisor/drivers/acpi.c
UNIT_SRC_cmdline         := hypervisor/core/cmdline.c hypervisor/lib/number.c
UNIT_CFLAGS_cmdline      := -fno-builtin-strtoull
UNIT_SRC_microcode       := hypervisor/x86/cpu/microcode_parse.c
UNIT_CFLAGS_microcode    := -fno-builtin-strtoull
UNIT_SRC_emulate_native  := tests/unit/emulate_host.c $(EMULATE_SRC)

# The toolstack's; those that manage domains do so in a hypervisor of their own (fake_xen.c).
TOOLS_UNIT := tools_wait tools_balance tools_base tools_cfg tools_cli tools_config tools_console tools_core tools_create tools_disk tools_metrics tools_op tools_ramdisk \
              tools_store tools_xsclient \
              tools_pty tools_net tools_net_conf
TOOLS_NET  := $(addprefix toolstack/libserai/,net_addr.c vif_config.c) \
              $(addprefix toolstack/base/,buf.c suggest.c)
UNIT_SRC_tools_net     := $(TOOLS_NET)
UNIT_SRC_tools_net_conf := $(addprefix toolstack/libserai/,net_conf.c net_record.c) \
                          $(addprefix toolstack/base/,cfg.c cfg_parse.c file.c) $(TOOLS_NET)
TOOLS_CFG  := $(addprefix toolstack/base/,buf.c cfg.c cfg_parse.c suggest.c)
# All of the library but for what speaks to others.
TOOLS_LIB  := tests/unit/fake_xen.c tests/unit/fake_store.c \
              $(filter-out %/xsclient.c,$(TS_LIB_SRC))
UNIT_TESTS += $(TOOLS_UNIT)
UNIT_SRC_tools_base    := $(addprefix toolstack/base/,buf.c file.c json.c loop.c suggest.c) \
                          toolstack/cli/table.c $(TOOLS_LIB)
UNIT_SRC_tools_cfg     := $(TOOLS_CFG)
UNIT_SRC_tools_config  := $(TOOLS_LIB)
UNIT_SRC_tools_console := $(addprefix toolstack/consoled/,ring.c logfile.c mark.c) \
                          $(addprefix toolstack/base/,buf.c file.c)
UNIT_SRC_tools_create  := tests/unit/kernel_image.c $(TOOLS_LIB)
UNIT_SRC_tools_core    := tests/unit/kernel_image.c $(TOOLS_LIB)
UNIT_LIB_tools_core    := $(UNPACK_LIBS) $(NL_LIBS)
UNIT_SRC_tools_metrics := toolstack/cli/metrics.c $(TOOLS_LIB)
UNIT_LIB_tools_metrics := $(UNPACK_LIBS) $(NL_LIBS)
UNIT_SRC_tools_cli     := toolstack/cli/run.c $(TOOLS_LIB)
UNIT_LIB_tools_cli     := $(UNPACK_LIBS) $(NL_LIBS)
UNIT_SRC_tools_op      := tests/unit/kernel_image.c $(TOOLS_LIB)
UNIT_LIB_tools_op      := $(UNPACK_LIBS) $(NL_LIBS) -pthread \
                          $(foreach f,xencall1 xencall2 xencall2L xencall4 xenforeignmemory_map \
                          xenforeignmemory_unmap xsc_call xsc_fd xsc_event,-Wl,--wrap=$(f))
UNIT_SRC_tools_store   := tests/unit/kernel_image.c $(TOOLS_LIB)
UNIT_SRC_tools_wait    := tests/unit/kernel_image.c $(TOOLS_LIB)
UNIT_LIB_tools_wait    := $(UNPACK_LIBS) $(NL_LIBS)
UNIT_SRC_tools_balance := toolstack/libserai/balance.c
UNIT_SRC_tools_pty     := toolstack/consoled/pty.c $(addprefix toolstack/base/,buf.c log.c loop.c)
UNIT_SRC_tools_disk    := $(addprefix toolstack/libserai/,disk_spec.c vdev.c vif_config.c net_addr.c handle.c store.c) \
                          $(addprefix toolstack/base/,buf.c suggest.c) tests/unit/fake_xen.c \
                          tests/unit/fake_store.c
UNIT_SRC_tools_xsclient := $(addprefix toolstack/libserai/,store.c xsclient.c handle.c) \
                          tests/unit/fake_xen.c
UNIT_LIB_tools_store   := $(UNPACK_LIBS) $(NL_LIBS)
UNIT_SRC_tools_ramdisk := $(addprefix toolstack/libserai/,ramdisk.c handle.c store.c) \
                          tests/unit/fake_xen.c tests/unit/fake_store.c
UNIT_LIB_tools_base    := $(UNPACK_LIBS) $(NL_LIBS)
UNIT_LIB_tools_config  := $(UNPACK_LIBS) $(NL_LIBS)
UNIT_LIB_tools_create  := $(UNPACK_LIBS) $(NL_LIBS)
UNIT_LIB_tools_ramdisk := $(UNPACK_LIBS) $(NL_LIBS)
UNIT_TESTS += lifed_dump
UNIT_SRC_lifed_dump    := toolstack/lifed/dump.c $(addprefix toolstack/base/,buf.c file.c log.c)
UNIT_CFLAGS_lifed_dump  = $(TOOLS_INC) -Itoolstack/lifed
# The block daemon's, against a guest in memory (blkd_fake.c).
BLKD_UNIT := blkd_proto blkd_data blkd_kill
BLKD_SRC  := $(addprefix toolstack/blkd/,$(TS_BLKD_PURE)) \
             $(addprefix toolstack/base/,buf.c file.c log.c loop.c)
UNIT_TESTS += $(BLKD_UNIT)
UNIT_SRC_blkd_proto    := $(addprefix toolstack/blkd/,backend.c journal.c pgrant.c proto.c ring.c)
UNIT_SRC_blkd_data     := tests/unit/blkd_fake.c $(BLKD_SRC)
UNIT_SRC_blkd_kill     := tests/unit/blkd_fake.c $(BLKD_SRC)
UNIT_LIB_blkd_data     := -luring
UNIT_LIB_blkd_kill     := -luring
BLKD_INC  := -D_GNU_SOURCE -D__XEN_TOOLS__ -Itoolstack/base -Itoolstack/blkd
$(foreach t,$(BLKD_UNIT),$(eval UNIT_CFLAGS_$t := $(BLKD_INC)))
TOOLS_INC := -D_GNU_SOURCE -D__XEN_TOOLS__ $(addprefix -I,$(addprefix toolstack/,base libserai cli consoled)) -iquote builder $(NL_CFLAGS)
$(foreach t,$(TOOLS_UNIT),$(eval UNIT_CFLAGS_$t := $(TOOLS_INC)))
UNIT_CFLAGS_tools_op += -DFAKE_FRAMES=65536

# The xenstore daemon's, without rings of real guests (stored_host.c).
STORED_UNIT := stored_ops stored_watch stored_transaction stored_ring stored_journal stored_tree
STORED_PURE := $(addprefix toolstack/stored/,$(filter-out main.c conn_ring.c conn_unix.c xen.c turns.c,$(TS_STORED))) \
               $(addprefix toolstack/base/,buf.c file.c log.c)
STORED_INC  := -D_GNU_SOURCE -D__XEN_TOOLS__ -Itoolstack/base -Itoolstack/stored
UNIT_TESTS += $(STORED_UNIT)
$(foreach t,$(STORED_UNIT),$(eval UNIT_SRC_$t := tests/unit/stored_host.c $(STORED_PURE)))
$(foreach t,$(STORED_UNIT),$(eval UNIT_CFLAGS_$t := $(STORED_INC)))
$(foreach t,$(STORED_UNIT),$(eval UNIT_LIB_$t := -lz))
UNIT_CFLAGS_stored_ring += -DRING_TEST
# With the daemon's own turns and rings, over a machine in the test.
UNIT_TESTS += stored_fair
UNIT_SRC_stored_fair := $(addprefix toolstack/stored/,conn_ring.c turns.c) toolstack/base/loop.c \
                        $(filter-out %/journal.c,$(STORED_PURE))
UNIT_CFLAGS_stored_fair := $(STORED_INC)
UNIT_LIB_stored_fair := -lz

UNIT_CFLAGS := -std=gnu17 -g -O1 $(WARN) -Wno-unused-parameter -Wno-missing-prototypes \
               -fsanitize=address,undefined -fno-sanitize-recover=undefined \
               -I. -Ihypervisor -Itests/unit

.SECONDEXPANSION:
$(O)/unit/%: tests/unit/%.c $$(UNIT_SRC_$$*) $(TEST_HDR)
	@mkdir -p $(@D)
	$(CC) $(UNIT_CFLAGS) $(UNIT_CFLAGS_$*) -o $@ $(filter %.c,$^) -lcmocka \
		$(UNIT_LIB_$*)
.PHONY: unit
unit: $(UNIT_TESTS:%=$(O)/unit/%)
	@failed=; for t in $^; do echo "== $${t##*/}"; \
		if $$t > $$t.log 2>&1; then grep -a 'PASSED' $$t.log; \
		else cat $$t.log; failed="$$failed $${t##*/}"; fi; done; \
	if [ -n "$$failed" ]; then echo "unit tests failed:$$failed"; exit 1; fi

# One libFuzzer target per parser of untrusted bytes; corpora grow in $(O)/fuzz.
FUZZ_TARGETS := elf_notes bzimage unpack_lzma unpack_xz unpack_gzip unpack_zstd unpack_lz4 emulate
FUZZ_SRC_elf_notes   := builder/elf.c builder/notes.c builder/pv_layout.c
FUZZ_SRC_bzimage     := $(BUILDER_SRC)
FUZZ_LIB_bzimage     := $(UNPACK_LIBS)
FUZZ_SRC_unpack_lzma := builder/unpack_lzma.c
FUZZ_LIB_unpack_lzma := -llzma
FUZZ_SRC_unpack_xz   := builder/unpack_xz.c builder/unpack_lzma.c
FUZZ_LIB_unpack_xz   := -llzma
FUZZ_SRC_unpack_gzip := builder/unpack_gzip.c
FUZZ_LIB_unpack_gzip := -lz
FUZZ_SRC_unpack_zstd := builder/unpack_zstd.c
FUZZ_LIB_unpack_zstd := -lzstd
FUZZ_SRC_unpack_lz4  := builder/unpack_lz4.c
FUZZ_LIB_unpack_lz4  := -llz4
FUZZ_SRC_emulate     := tests/unit/emulate_host.c $(EMULATE_SRC)

FUZZ_TARGETS += cfg ramdisk microcode
FUZZ_SRC_microcode   := hypervisor/x86/cpu/microcode_parse.c
FUZZ_CFLAGS_microcode := -fno-builtin-strtoull
FUZZ_TARGETS += vif
FUZZ_SRC_vif         := $(TOOLS_NET)
FUZZ_CFLAGS_vif      := $(TOOLS_INC)
FUZZ_SRC_cfg         := $(TOOLS_CFG)
FUZZ_SRC_ramdisk     := $(addprefix toolstack/libserai/,ramdisk.c handle.c store.c) \
                        tests/unit/fake_xen.c tests/unit/fake_store.c
FUZZ_LIB_ramdisk     := -lz
FUZZ_CFLAGS_cfg      := $(TOOLS_INC)
FUZZ_CFLAGS_ramdisk  := $(TOOLS_INC)
FUZZ_TARGETS += blkd_ring
FUZZ_SRC_blkd_ring   := $(addprefix toolstack/blkd/,disk.c disk_rate.c image.c journal.c pgrant.c proto.c request.c \
                        ring.c) toolstack/base/loop.c
FUZZ_CFLAGS_blkd_ring := $(BLKD_INC)

FUZZ_TARGETS += stored
FUZZ_TARGETS += disk_spec config stored_ring stored_journal blkd_journal console_ring
FUZZ_SRC_console_ring := toolstack/consoled/ring.c
FUZZ_CFLAGS_console_ring := $(TOOLS_INC)
FUZZ_SRC_disk_spec   := $(addprefix toolstack/libserai/,disk_spec.c vdev.c vif_config.c net_addr.c handle.c store.c) \
                        $(addprefix toolstack/base/,buf.c suggest.c) tests/unit/fake_xen.c \
                        tests/unit/fake_store.c
FUZZ_CFLAGS_disk_spec := $(TOOLS_INC)
FUZZ_SRC_config      := $(TOOLS_LIB)
FUZZ_CFLAGS_config   := $(TOOLS_INC)
FUZZ_LIB_config      := $(UNPACK_LIBS) $(NL_LIBS)
FUZZ_SRC_stored_ring := $(filter-out toolstack/stored/journal.c,$(STORED_PURE))
FUZZ_CFLAGS_stored_ring := $(STORED_INC)
FUZZ_SRC_stored_journal := $(filter-out toolstack/stored/ring.c,$(STORED_PURE))
FUZZ_CFLAGS_stored_journal := $(STORED_INC)
FUZZ_LIB_stored_journal := -lz
FUZZ_SRC_blkd_journal := $(addprefix toolstack/blkd/,journal.c proto.c ring.c)
FUZZ_CFLAGS_blkd_journal := $(BLKD_INC)
FUZZ_SRC_stored      := $(filter-out toolstack/stored/journal.c toolstack/stored/ring.c,$(STORED_PURE))
FUZZ_CFLAGS_stored   := $(STORED_INC)

FUZZ_CFLAGS := $(filter-out -fsanitize=%,$(UNIT_CFLAGS)) -O2 -Itests/fuzz \
               -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined

$(O)/fuzz/%: tests/fuzz/%.c $$(FUZZ_SRC_$$*) $(TEST_HDR)
	@mkdir -p $(@D)
	clang $(FUZZ_CFLAGS) $(FUZZ_CFLAGS_$*) -o $@ $(filter %.c,$^) $(FUZZ_LIB_$*)
$(O)/unit/seeds: tests/fuzz/seeds.c tests/unit/kernel_image.c $(TEST_HDR)
	@mkdir -p $(@D)
	$(CC) $(UNIT_CFLAGS) -o $@ $(filter %.c,$^) $(UNPACK_LIBS)
FUZZ_RUNS := $(FUZZ_TARGETS:%=fuzz-%)
.PHONY: fuzz $(FUZZ_RUNS)
fuzz: $(FUZZ_RUNS)
$(O)/fuzz/seeded: $(O)/unit/seeds
	@mkdir -p $(FUZZ_TARGETS:%=$(O)/fuzz/%.corpus)
	@cd $(O)/fuzz && ../unit/seeds && touch seeded
$(FUZZ_RUNS): fuzz-%: $(O)/fuzz/% $(O)/fuzz/seeded
	@echo "== $*"
	@cd $(O)/fuzz && ./$* -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=3000 \
		$*.corpus > $*.log 2>&1 || { tail -40 $*.log; echo "fuzz target $* failed"; exit 1; }

# The Debian package (packaging/deb).
.PHONY: deb
deb: all
	O=$(O) packaging/deb $(O)

.PHONY: all clean
all: $(O)/serai.elf $(O)/serai.gz toolstack
clean:
	rm -rf $(O)
