// SPDX-License-Identifier: BSD-2-Clause
#include "core.h"

#include <errno.h>
#include <sys/mman.h>

#define P2M_NONE    (~(xen_pfn_t)0)
#define P2M_PER_TOP ((uint64_t)P2M_STEP * P2M_STEP)

// Entries with higher bits say that there is none, or one that is not the guest's.
static bool p2m_plain(xen_pfn_t mfn)
{
    enum { MFN_BITS = 40 };
    return mfn && !(mfn >> MFN_BITS);
}

// One page of the guest to read, NULL when there is none.
static void *p2m_map(const struct p2m_reader *r, xen_pfn_t mfn)
{
    int fault = 0;
    if (!p2m_plain(mfn))
        return NULL;
    void *page = xenforeignmemory_map(r->s->memory, r->domain, PROT_READ, 1, &mfn, &fault);
    if (page && fault) {
        xenforeignmemory_unmap(r->s->memory, page, 1);
        return NULL;
    }
    return page;
}

static void p2m_unmap(const struct p2m_reader *r, const void *page)
{
    if (page)
        xenforeignmemory_unmap(r->s->memory, (void *)(uintptr_t)page, 1);
}

int p2m_open(struct p2m_reader *r, struct serai *s, uint32_t domain,
             const struct shared_info *shared, struct serai_error *err)
{
    uint64_t most = P2M_PER_TOP * P2M_STEP;
    xen_pfn_t root = shared->arch.pfn_to_mfn_frame_list_list;
    *r = (struct p2m_reader){.s = s, .domain = domain, .max_pfn = shared->arch.max_pfn};
    if (!root || root == P2M_NONE || !r->max_pfn)
        return err_set(err, -EOPNOTSUPP,
                       "domain %u has not told where its memory is: it cannot be dumped", domain);
    if (r->max_pfn > most)
        r->max_pfn = most;
    r->lists = p2m_map(r, root);
    if (!r->lists)
        return err_set(err, -EFAULT, "domain %u's list of its frames is nowhere: it is broken",
                       domain);
    return 0;
}

static const xen_pfn_t *p2m_list(struct p2m_reader *r, uint64_t index)
{
    if (!r->list || r->list_index != index) {
        p2m_unmap(r, r->list);
        r->list = p2m_map(r, r->lists[index]);
        r->list_index = index;
    }
    return r->list;
}

unsigned p2m_read(struct p2m_reader *r, uint64_t first, struct core_p2m out[P2M_STEP])
{
    unsigned n = 0;
    const xen_pfn_t *list = p2m_list(r, first / P2M_PER_TOP);
    const xen_pfn_t *leaf = list ? p2m_map(r, list[first / P2M_STEP % P2M_STEP]) : NULL;
    for (unsigned i = 0; leaf && i < P2M_STEP && first + i < r->max_pfn; i++) {
        xen_pfn_t mfn = *(volatile const xen_pfn_t *)&leaf[i];
        if (p2m_plain(mfn))
            out[n++] = (struct core_p2m){first + i, mfn};
    }
    p2m_unmap(r, leaf);
    return n;
}

void p2m_close(struct p2m_reader *r)
{
    p2m_unmap(r, r->list);
    p2m_unmap(r, r->lists);
    r->list = r->lists = NULL;
}
