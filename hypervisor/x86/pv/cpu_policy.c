// SPDX-License-Identifier: BSD-2-Clause
#include "x86/pv/cpu_policy.h"
#include "lib/string.h"
#include "memory/heap.h"
#include "x86/arch/guest_access.h"
#include "x86/cpu/cpuid.h"
#include "x86/pv/pv_internal.h"

#include <xen/arch-x86/cpuid.h>
#include <xen/domctl.h>
#include <xen/sysctl.h>

// Readers size their buffers by these and put what they know of into them: room for more than here.
#define MAX_LEAVES_TOLD 256
#define MAX_MSRS_TOLD   16
#define MAX_LEAVES      96

#define NO_SUBLEAF     XEN_CPUID_NO_SUBLEAF
#define LEAF_TOPOLOGY  0xbu
#define LEAF_XSTATE    0xdu
#define LEAF_HV        0x40000000u
#define LEAF_HV2       0x40000100u // a second hypervisor interface: none
#define LEAF_EXT       0x80000000u
#define MAX_BASIC      0xdu
#define MAX_EXT        0x80000008u
#define ECX_XSAVE      (1u << 26)
#define ECX_OSXSAVE    (1u << 27)
#define ECX_HYPERVISOR (1u << 31)

#define MSR_PLATFORM_INFO     0xceu
#define MSR_ARCH_CAPABILITIES 0x10au

struct cpuid_policy {
    uint32_t count;
    xen_cpuid_leaf_t leaf[MAX_LEAVES];
};

// Whose CPUID: the plain CPU's, the hypervisor's, or a PV domain's.
enum view { VIEW_CPU, VIEW_PV };

static void read_leaf(enum view view, const struct domain *d, uint32_t leaf, uint32_t subleaf,
                      uint32_t out[4])
{
    uint32_t sub = subleaf == NO_SUBLEAF ? 0 : subleaf;

    if (view == VIEW_CPU) {
        struct cpuid_result r = cpuid(leaf, sub);
        memcpy(out, &r, sizeof(r));
        return;
    }
    pv_cpuid_default(d && d->is_control, cpu_features.xcr0_mask, leaf, sub, out);
    if (d)
        cpu_policy_apply(d, leaf, sub, out);
    if (leaf == 1)
        out[2] &= ~ECX_OSXSAVE; // follows CR4, so it is nobody's policy
}

static bool has_subleaves(uint32_t leaf)
{
    return leaf == 4 || leaf == 7 || leaf == LEAF_TOPOLOGY || leaf == LEAF_XSTATE;
}

// The leaf after (leaf, subleaf) in the list of those worth telling. False at the end. Toolstacks
// write a policy back into the room that it took, so empty ones that they know of count as well.
static bool next_leaf(uint32_t *leaf, uint32_t *subleaf)
{
    uint32_t last_ext = MIN(cpu_features.max_ext_leaf, MAX_EXT);

    if (*leaf == 4 && *subleaf < 5 && (cpuid(4, *subleaf).a & 0x1f)) {
        ++*subleaf;
        return true;
    }
    if (*leaf == LEAF_XSTATE && *subleaf < 62) {
        while (++*subleaf < 63)
            if (*subleaf == 1 || cpu_features.xcr0_mask >> *subleaf & 1)
                return true;
    }
    if (*leaf == LEAF_TOPOLOGY && *subleaf == 0) {
        *subleaf = 1;
        return true;
    }
    if (*leaf == LEAF_HV)
        *leaf = LEAF_HV2;
    else if (*leaf == LEAF_HV2)
        *leaf = LEAF_EXT;
    else if (*leaf == MIN(cpu_features.max_leaf, MAX_BASIC))
        *leaf = LEAF_HV;
    else if (*leaf == last_ext)
        return false;
    else
        ++*leaf;
    *subleaf = has_subleaves(*leaf) ? 0 : NO_SUBLEAF;
    return true;
}

static int write_leaves(enum view view, const struct domain *d, xen_cpuid_leaf_t *to,
                        uint32_t *count)
{
    uint32_t leaf = 0, subleaf = NO_SUBLEAF, n = 0;

    do {
        uint32_t r[4] = {LEAF_HV + XEN_CPUID_MAX_NUM_LEAVES};
        if (leaf == LEAF_HV2)
            r[0] = 0;
        else if (leaf != LEAF_HV)
            read_leaf(view, d, leaf, subleaf, r);
        const xen_cpuid_leaf_t e = {leaf, subleaf, r[0], r[1], r[2], r[3]};
        if (n == *count)
            return -ENOBUFS;
        if (guest_copy_to(to + n, &e, sizeof(e)))
            return -EFAULT;
        n++;
    } while (next_leaf(&leaf, &subleaf));
    *count = n;
    return 0;
}

// No model-specific register of ours differs between domains.
static int write_msrs(xen_msr_entry_t *to, uint32_t *count)
{
    static const xen_msr_entry_t msrs[] = {{.idx = MSR_PLATFORM_INFO},
                                           {.idx = MSR_ARCH_CAPABILITIES}};

    if (*count < ARRAY_SIZE(msrs))
        return -ENOBUFS;
    *count = ARRAY_SIZE(msrs);
    return guest_copy_to(to, msrs, sizeof(msrs));
}

static int write_policy(enum view view, const struct domain *d, xen_cpuid_leaf_t *leaves,
                        uint32_t *nr_leaves, xen_msr_entry_t *msrs, uint32_t *nr_msrs)
{
    int rc = 0;

    if (leaves)
        rc = write_leaves(view, d, leaves, nr_leaves);
    else
        *nr_leaves = MAX_LEAVES_TOLD;
    if (!rc && msrs)
        rc = write_msrs(msrs, nr_msrs);
    else if (!msrs)
        *nr_msrs = MAX_MSRS_TOLD;
    return rc;
}

int cpu_policy_sysctl(struct xen_sysctl_cpu_policy *op)
{
    enum view view = VIEW_PV;

    if (op->_rsvd)
        return -EINVAL;
    switch (op->index) {
    case XEN_SYSCTL_cpu_policy_raw:
    case XEN_SYSCTL_cpu_policy_host:
        view = VIEW_CPU;
        break;
    case XEN_SYSCTL_cpu_policy_pv_max:
    case XEN_SYSCTL_cpu_policy_pv_default:
        break;
    case XEN_SYSCTL_cpu_policy_hvm_max:
    case XEN_SYSCTL_cpu_policy_hvm_default:
        return -EOPNOTSUPP;
    default:
        return -EINVAL;
    }
    return write_policy(view, NULL, op->leaves.p, &op->nr_leaves, op->msrs.p, &op->nr_msrs);
}

int cpu_policy_get(const struct domain *d, struct xen_domctl_cpu_policy *op)
{
    if (d->is_system)
        return -EINVAL;
    return write_policy(VIEW_PV, d, op->leaves.p, &op->nr_leaves, op->msrs.p, &op->nr_msrs);
}

// Words of a featureset (arch-x86/cpufeatureset.h); those not here are zero.
static const struct {
    uint32_t leaf;
    uint8_t subleaf, reg, word;
} feature_words[] = {
    {1, 0, 3, 0}, {1, 0, 2, 1}, {LEAF_EXT + 1, 0, 3, 2}, {LEAF_EXT + 1, 0, 2, 3}, {0xd, 1, 0, 4},
    {7, 0, 1, 5}, {7, 0, 2, 6}, {LEAF_EXT + 7, 0, 3, 7}, {LEAF_EXT + 8, 0, 1, 8}, {7, 0, 3, 9},
};
#define FEATURE_WORDS 19

int cpu_policy_featureset(struct xen_sysctl_cpu_featureset *op)
{
    uint32_t words[FEATURE_WORDS] = {0}, out[4];
    enum view view = VIEW_PV;

    if (op->index == XEN_SYSCTL_cpu_featureset_hvm ||
        op->index == XEN_SYSCTL_cpu_featureset_hvm_max)
        return -EOPNOTSUPP;
    if (op->index > XEN_SYSCTL_cpu_featureset_pv_max)
        return -EINVAL;
    if (op->index <= XEN_SYSCTL_cpu_featureset_host)
        view = VIEW_CPU;
    if (!op->features.p) {
        op->nr_features = FEATURE_WORDS;
        return 0;
    }
    for (unsigned int i = 0; i < ARRAY_SIZE(feature_words); i++) {
        read_leaf(view, NULL, feature_words[i].leaf, feature_words[i].subleaf, out);
        words[feature_words[i].word] = out[feature_words[i].reg];
    }
    uint32_t n = MIN(op->nr_features, FEATURE_WORDS);
    bool short_of_room = op->nr_features < FEATURE_WORDS;
    op->nr_features = n;
    if (guest_copy_to(op->features.p, words, n * sizeof(words[0])))
        return -EFAULT;
    return short_of_room ? -ENOBUFS : 0;
}

static xen_cpuid_leaf_t *policy_find(struct cpuid_policy *p, uint32_t leaf, uint32_t subleaf)
{
    for (uint32_t i = 0; i < p->count; i++)
        if (p->leaf[i].leaf == leaf &&
            (p->leaf[i].subleaf == subleaf || p->leaf[i].subleaf == NO_SUBLEAF))
            return &p->leaf[i];
    return NULL;
}

// How a domain's policy changes a leaf, register by register.
enum change { KEEP, TAKE, MASK, LOWER };
static const struct {
    uint32_t first, last;
    uint32_t subleaf; // NO_SUBLEAF: all
    uint8_t how[4];
} changes[] = {
    {0, 0, NO_SUBLEAF, {LOWER, KEEP, KEEP, KEEP}},
    {1, 1, NO_SUBLEAF, {TAKE, KEEP, MASK, MASK}},
    {2, 2, NO_SUBLEAF, {TAKE, TAKE, TAKE, TAKE}},
    {4, 4, NO_SUBLEAF, {TAKE, TAKE, TAKE, TAKE}},
    {7, 7, 0, {KEEP, MASK, MASK, MASK}},
    {LEAF_XSTATE, LEAF_XSTATE, 0, {MASK, KEEP, KEEP, MASK}},
    {LEAF_XSTATE, LEAF_XSTATE, 1, {MASK, KEEP, KEEP, KEEP}},
    {LEAF_EXT, LEAF_EXT, NO_SUBLEAF, {LOWER, KEEP, KEEP, KEEP}},
    {LEAF_EXT + 1, LEAF_EXT + 1, NO_SUBLEAF, {TAKE, KEEP, MASK, MASK}},
    {LEAF_EXT + 2, LEAF_EXT + 6, NO_SUBLEAF, {TAKE, TAKE, TAKE, TAKE}},
    {LEAF_EXT + 7, LEAF_EXT + 7, NO_SUBLEAF, {KEEP, KEEP, KEEP, MASK}},
    {LEAF_EXT + 8, LEAF_EXT + 8, NO_SUBLEAF, {KEEP, MASK, KEEP, KEEP}},
};

static const uint8_t *change_of(uint32_t leaf, uint32_t subleaf)
{
    for (unsigned int i = 0; i < ARRAY_SIZE(changes); i++)
        if (leaf >= changes[i].first && leaf <= changes[i].last &&
            (changes[i].subleaf == NO_SUBLEAF || changes[i].subleaf == subleaf))
            return changes[i].how;
    return NULL;
}

void cpu_policy_apply(const struct domain *d, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    const xen_cpuid_leaf_t *e;
    const uint8_t *how;

    if (!d->arch.cpuid || !(how = change_of(leaf, subleaf)))
        return;
    e = policy_find(d->arch.cpuid, leaf, subleaf);
    if (!e)
        return;
    const uint32_t set[4] = {e->a, e->b, e->c, e->d};
    uint32_t always = leaf == 1 ? out[2] & ECX_HYPERVISOR : 0;
    if (leaf == 1 && set[2] & ECX_XSAVE)
        always |= out[2] & ECX_OSXSAVE;
    for (int i = 0; i < 4; i++) {
        if (how[i] == TAKE)
            out[i] = set[i];
        else if (how[i] == MASK)
            out[i] &= set[i];
        else if (how[i] == LOWER)
            out[i] = MIN(out[i], set[i]);
    }
    out[2] |= always;
}

static bool leaf_known(const xen_cpuid_leaf_t *e)
{
    if (e->leaf <= MAX_BASIC)
        return e->subleaf == NO_SUBLEAF || e->subleaf < 64;
    return (e->leaf >> 8 == LEAF_HV >> 8 || e->leaf >> 8 == (LEAF_HV >> 8) + 1 ||
            e->leaf >> 8 == LEAF_EXT >> 8) &&
           (e->subleaf == NO_SUBLEAF || e->subleaf == 0);
}

static int policy_store(struct cpuid_policy *p, const xen_cpuid_leaf_t *e)
{
    uint32_t sub = e->subleaf == NO_SUBLEAF ? 0 : e->subleaf;

    if (!leaf_known(e))
        return -ERANGE;
    if (!change_of(e->leaf, sub))
        return 0;
    xen_cpuid_leaf_t *old = policy_find(p, e->leaf, e->subleaf);
    if (!old) {
        if (p->count == MAX_LEAVES)
            return -E2BIG;
        old = &p->leaf[p->count++];
    }
    *old = *e;
    return 0;
}

static int read_leaves(struct cpuid_policy *p, struct xen_domctl_cpu_policy *op)
{
    for (uint32_t i = 0; i < op->nr_leaves; i++) {
        xen_cpuid_leaf_t e;
        if (guest_copy_from(&e, op->leaves.p + i, sizeof(e)))
            return -EFAULT;
        int rc = policy_store(p, &e);
        if (rc) {
            op->err_leaf = e.leaf;
            op->err_subleaf = e.subleaf;
            return rc;
        }
    }
    return 0;
}

static int check_msrs(struct xen_domctl_cpu_policy *op)
{
    for (uint32_t i = 0; i < op->nr_msrs; i++) {
        xen_msr_entry_t e;
        if (guest_copy_from(&e, op->msrs.p + i, sizeof(e)))
            return -EFAULT;
        if (e.flags || (e.idx != MSR_PLATFORM_INFO && e.idx != MSR_ARCH_CAPABILITIES)) {
            op->err_msr = e.idx;
            return e.flags ? -EINVAL : -ERANGE;
        }
    }
    return 0;
}

int cpu_policy_set(struct domain *d, struct xen_domctl_cpu_policy *op)
{
    struct cpuid_policy *new;
    int rc;

    op->err_leaf = op->err_subleaf = op->err_msr = ~0u;
    if (d->is_system || d == current->domain || d->dying)
        return -EINVAL;
    if (d->creation_done)
        return -EEXIST;
    if (op->nr_leaves > MAX_LEAVES_TOLD || op->nr_msrs > MAX_MSRS_TOLD)
        return -E2BIG;
    new = heap_new(struct cpuid_policy);
    if (!new)
        return -ENOMEM;
    if (d->arch.cpuid)
        *new = *d->arch.cpuid;
    rc = read_leaves(new, op);
    rc = rc ?: check_msrs(op);
    if (rc) {
        heap_free(new);
        return rc;
    }
    cpu_policy_destroy(d);
    d->arch.cpuid = new;
    return 0;
}

void cpu_policy_destroy(struct domain *d)
{
    heap_free(d->arch.cpuid);
    d->arch.cpuid = NULL;
}
