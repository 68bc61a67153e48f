// SPDX-License-Identifier: BSD-2-Clause
/*
 * QEMU TCG plugin: who executes the instructions of each `lat` operation.
 *
 * lat puts marker no-ops (0f 1f 84 00, 'TAL' k) around every timed batch:
 * k=1 next operation, 2 batch begins, 3 batch ends.  For the batch with the
 * fewest instructions of each operation the plugin writes one line of
 * NAME=COUNT pairs, in the order in which lat ran the operations.
 *
 * Instructions are counted by address: u (user), k (upper half: kernel),
 * x (the upper-half slots 256-271 that Xen's 64-bit ABI reserves for the
 * hypervisor), m (0x60000000-0x6fffffff in user space: the UML kernel);
 * capital letters for the same while inside an SVM guest (between VMRUN and
 * the instruction after it).  Each iteration of a REP string instruction
 * counts as an instruction, and is also counted as rep.
 * Events are counted by opcode, prefix "g." inside an SVM guest.
 *
 * The declarations below are the part of QEMU's plugin interface, version 1
 * (QEMU 4.2 to 8.1), that is used here.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*tb_cb)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*udata_cb)(qemu_plugin_id_t, void *);
typedef void (*exec_cb)(unsigned, void *);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, tb_cb);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, udata_cb, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, exec_cb, int flags, void *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int op, void *,
                                                uint64_t);
#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

enum {
    U,
    K,
    X,
    M,
    NREG,
    REP = NREG,
    SYSCALL,
    SYSRET,
    IRET,
    INT,
    XIRET,
    VMRUN,
    VMCALL,
    CR3,
    CR,
    INVLPG,
    MSR,
    CPUID,
    IO,
    HLT,
    CLTS,
    STGI,
    XSAVE,
    N
};
static const char *name[N] = {
    "u",      "k",   "x",  "m",      "rep", "syscall", "sysret", "iret", "int",  "xret", "vmrun",
    "vmcall", "cr3", "cr", "invlpg", "msr", "cpuid",   "io",     "hlt",  "clts", "gif",  "xsave"};

static uint64_t c[N];               /* running counters, only ever added to */
static uint64_t last[N], acc[2][N]; /* acc[in SVM guest] since the batch began */
static int guest;
static uint64_t land[64]; /* addresses following VMRUN instructions */
static int nland;
static FILE *out;

#define MAXOP 128
static struct {
    uint64_t best, v[2][N];
    int reps;
} op[MAXOP];
static int nop;

static void flush(void)
{
    for (int i = 0; i < N; i++) {
        acc[guest][i] += c[i] - last[i];
        last[i] = c[i];
    }
}
static void on_vmrun(unsigned cpu, void *p) /* p: the counter of its region */
{
    ++*(uint64_t *)p;
    c[VMRUN]++;
    flush();
    guest = 1;
}
static void on_land(unsigned cpu, void *p)
{
    if (guest) {
        flush();
        guest = 0;
    }
}
static void on_mark(unsigned cpu, void *p)
{
    uint64_t t = 0;

    switch ((uintptr_t)p) {
    case 1:
        if (nop < MAXOP)
            op[nop++].best = ~0ull;
        break;
    case 2:
        flush();
        memset(acc, 0, sizeof acc);
        break;
    case 3:
        flush();
        for (int i = 0; i < NREG; i++)
            t += acc[0][i] + acc[1][i];
        if (!nop)
            break;
        op[nop - 1].reps++;
        if (t < op[nop - 1].best) {
            op[nop - 1].best = t;
            memcpy(op[nop - 1].v, acc, sizeof acc);
        }
    }
}

/* The event that an instruction is, or 0. */
static int event(const uint8_t *b, size_t n, int reg)
{
    size_t i = 0;
    int f3 = 0;

    for (; i < n; i++) {
        if (b[i] == 0xf2 || b[i] == 0xf3)
            f3 = 1;
        else if (b[i] != 0x66 && b[i] != 0x2e && b[i] != 0x3e && b[i] != 0x65 && b[i] != 0x64)
            break;
    }
    if (i < n && (b[i] & 0xf0) == 0x40)
        i++;
    if (i >= n)
        return 0;
    switch (b[i]) {
    case 0xa4:
    case 0xa5:
    case 0xa6:
    case 0xa7:
    case 0xaa:
    case 0xab:
    case 0xac:
    case 0xad:
    case 0xae:
    case 0xaf:
        return f3 ? REP : 0;
    case 0xcf:
        return reg == X ? XIRET : IRET;
    case 0xcc:
    case 0xcd:
        return INT;
    case 0xf4:
        return HLT;
    case 0xe4:
    case 0xe5:
    case 0xe6:
    case 0xe7:
    case 0xec:
    case 0xed:
    case 0xee:
    case 0xef:
    case 0x6c:
    case 0x6d:
    case 0x6e:
    case 0x6f:
        return IO;
    case 0x0f:
        break;
    default:
        return 0;
    }
    if (++i >= n)
        return 0;
    int m = i + 1 < n ? b[i + 1] : 0, r = m >> 3 & 7;
    switch (b[i]) {
    case 0x05:
        return SYSCALL;
    case 0x06:
        return CLTS;
    case 0x07:
        return reg == X ? XIRET : SYSRET;
    case 0x30:
    case 0x32:
        return MSR;
    case 0xa2:
        return CPUID;
    case 0x22:
        return r == 3 ? CR3 : CR;
    case 0xae:
    case 0xc7:
        return m < 0xc0 && (r == 4 || r == 5 || r == 6) && (b[i] == 0xae || r != 6) ? XSAVE : 0;
    case 0x01:
        if (m == 0xd8)
            return VMRUN;
        if (m == 0xd9 || m == 0xc1)
            return VMCALL;
        if (m == 0xdc || m == 0xdd)
            return STGI;
        if (m < 0xc0 && r == 7)
            return INVLPG;
    }
    return 0;
}

static void on_tb(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    size_t n = qemu_plugin_tb_n_insns(tb);

    for (size_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *in = qemu_plugin_tb_get_insn(tb, i);
        uint64_t a = qemu_plugin_insn_vaddr(in);
        const uint8_t *b = qemu_plugin_insn_data(in);
        size_t sz = qemu_plugin_insn_size(in);
        uint32_t d;
        int reg = a >> 47        ? (a >= 0xffff800000000000ull && a < 0xffff880000000000ull ? X : K)
                  : a >> 28 == 6 ? M
                                 : U;
        int e = event(b, sz, reg);

        for (int j = 0; j < nland; j++)
            if (land[j] == a)
                qemu_plugin_register_vcpu_insn_exec_cb(in, on_land, 0, 0);
        if (e != VMRUN)
            qemu_plugin_register_vcpu_insn_exec_inline(in, 0, c + reg, 1);
        if (e && e != VMRUN)
            qemu_plugin_register_vcpu_insn_exec_inline(in, 0, c + e, 1);
        if (e == VMRUN) {
            int j;
            for (j = 0; j < nland && land[j] != a + sz; j++)
                ;
            if (j == nland && nland < 64)
                land[nland++] = a + sz;
            qemu_plugin_register_vcpu_insn_exec_cb(in, on_vmrun, 0, c + reg);
        }
        if (sz == 8 && b[0] == 0x0f && b[1] == 0x1f && b[2] == 0x84 && !b[3]) {
            memcpy(&d, b + 4, 4);
            if (d >> 8 == 0x4c4154)
                qemu_plugin_register_vcpu_insn_exec_cb(in, on_mark, 0,
                                                       (void *)(uintptr_t)(d & 255));
        }
    }
}

static void on_exit_(qemu_plugin_id_t id, void *p)
{
    for (int i = 0; i < nop; i++) {
        fprintf(out, "SPLIT reps=%d total=%llu", op[i].reps, (long long)op[i].best);
        for (int g = 0; g < 2; g++)
            for (int j = 0; j < N; j++)
                if (op[i].v[g][j]) {
                    if (j < NREG)
                        fprintf(out, " %c=%llu", name[j][0] - 32 * g, (long long)op[i].v[g][j]);
                    else
                        fprintf(out, " %s%s=%llu", g ? "g." : "", name[j],
                                (long long)op[i].v[g][j]);
                }
        fprintf(out, "\n");
    }
    fclose(out);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    const char *f = "split.out";
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4))
            f = argv[i] + 4;
    if (!(out = fopen(f, "w")))
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_tb);
    qemu_plugin_register_atexit_cb(id, on_exit_, 0);
    return 0;
}
