# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034
# Sourced by the scripts here: the emulated machine that everything is measured on.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BENCH=$ROOT/bench
O=${O:-$ROOT/build}
W=$O/bench               # what prepare makes, and log/
PATH=$PATH:/usr/sbin:/sbin
HV=${HV:-$O/release/serai.elf}
mkdir -p "$W/log"

# One CPU model for every system, so that the same instructions are there everywhere: real Xen
# 4.17 does not run on an emulated CPU with MONITOR or x2APIC, nor with SMAP switched on.
CPU=EPYC,-monitor,-x2apic,-smap,-smep
# Mitigations mean nothing on an emulated CPU; randomised layouts make runs differ.
LINUX_OPTIONS="mitigations=off nokaslr norandmaps panic=-1 quiet"
# bootscrub=0: idle time would go into scrubbing free memory.
XEN_OPTIONS="console=com1 com1=115200,8n1 dom0_mem=512M smap=0 smep=0 cpuidle=0 spec-ctrl=no bootscrub=0"
SERAI_OPTIONS="console=com1 com1=115200,8n1 dom0_mem=512M bootscrub=0"

# machine SECONDS OPTION...: one CPU, the serial port on standard output.  icount: an
# instruction is 1 ns of virtual time and one TSC tick; sleep=off: an idle CPU jumps to its next
# timer, so the host's time never enters.  With SPLIT=NAME the plugin leaves log/NAME.split.
# With REAL_TIME=1 nothing is counted, and it is faster.
machine() {
    local limit=$1 plugin=() count=(-icount "shift=0,sleep=off")
    shift
    [ -z "${REAL_TIME:-}" ] || count=()
    [ -z "${SPLIT:-}" ] || plugin=(-plugin "$W/split.so,out=$W/log/$SPLIT.split")
    timeout "$limit" qemu-system-x86_64 -M q35 -cpu "$CPU" -smp 1 -accel tcg,thread=single \
        "${count[@]}" -nodefaults -display none -no-reboot -serial stdio \
        "${plugin[@]}" -seed 1 -rtc base=2026-01-01,clock=vm "$@" </dev/null \
        2> >(grep -v "TCG doesn't support requested feature" >&2) | stdbuf -oL tr -d '\r'
}

# hypervisor xen|serai: sets `file` and `options`.
hypervisor() {
    case $1 in
        xen) file=$W/xen.elf options=$XEN_OPTIONS ;;
        serai) file=$HV options=$SERAI_OPTIONS ;;
    esac
}

# dom0 SYSTEM KERNEL INITRD KERNEL-OPTIONS QEMU-OPTION...: boot a control domain.
dom0() {
    local file options kernel=$2 initrd=$3 words=$4
    hypervisor "$1"
    shift 4
    machine "${LIMIT:-300}" -m 2G -kernel "$file" -append "$options ${HV_EXTRA:-}" \
        -initrd "$kernel console=hvc0 $LINUX_OPTIONS $words,$initrd" "$@"
}
