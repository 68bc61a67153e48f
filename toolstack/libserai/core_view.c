// SPDX-License-Identifier: BSD-2-Clause
// What a dump has for debuggers that know nothing of Xen (gdb): program headers that say where the
// guest's kernel saw its pages, and the registers as notes. They stand behind the pages, made from
// what the file holds already. Page tables are the guest's word: every entry is checked, and no
// more tables are read than the guest has pages.
#include "core.h"

#include <errno.h>
#include <linux/elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

enum {
    VIEW_ENTRIES = 512, // of a page table
    VIEW_FIRST = 272,   // slot of the upper half behind the hypervisor's own
    VIEW_LOADS_MAX = 32768,
    VIEW_LEVELS = 4,
    PTE_PRESENT = 1,
    PTE_LARGE = 1 << 7,
};

struct view_page {
    uint64_t mfn, index; // in the section of pages
};

struct view_load {
    uint64_t address, index, pages;
};

struct view {
    int fd;
    const struct core_layout *layout;
    struct view_page *page; // by mfn
    uint64_t pages, tables; // tables: how many more may be read
    struct view_load *load;
    unsigned nr_loads;
    uint64_t least; // pages of the shortest run that is kept
};

static int view_read(const struct view *v, void *data, size_t len, uint64_t at)
{
    ssize_t n = pread(v->fd, data, len, (off_t)at);
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -EIO;
}

static int view_order(const void *a, const void *b)
{
    const struct view_page *x = a, *y = b;
    return x->mfn < y->mfn ? -1 : x->mfn > y->mfn;
}

static int view_pages(struct view *v)
{
    struct core_p2m list[P2M_STEP];
    for (uint64_t i = 0; i < v->pages; i += P2M_STEP) {
        uint64_t n = v->pages - i < P2M_STEP ? v->pages - i : P2M_STEP;
        int ret = view_read(v, list, n * sizeof(*list), v->layout->p2m + i * sizeof(*list));
        if (ret)
            return ret;
        for (uint64_t k = 0; k < n; k++)
            v->page[i + k] = (struct view_page){list[k].mfn, i + k};
    }
    qsort(v->page, v->pages, sizeof(*v->page), view_order);
    return 0;
}

static const struct view_page *view_find(const struct view *v, uint64_t mfn)
{
    const struct view_page key = {.mfn = mfn};
    return bsearch(&key, v->page, v->pages, sizeof(*v->page), view_order);
}

// Room for more runs: the shortest go.
static void view_thin(struct view *v)
{
    unsigned kept = 0;
    v->least *= 2;
    for (unsigned i = 0; i < v->nr_loads; i++)
        if (v->load[i].pages >= v->least)
            v->load[kept++] = v->load[i];
    v->nr_loads = kept;
}

static void view_add(struct view *v, uint64_t address, uint64_t index)
{
    if (v->nr_loads) {
        struct view_load *last = &v->load[v->nr_loads - 1];
        if (address == last->address + last->pages * XC_PAGE_SIZE &&
            index == last->index + last->pages) {
            last->pages++;
            return;
        }
        if (last->pages < v->least)
            v->nr_loads--;
    }
    while (v->nr_loads == VIEW_LOADS_MAX)
        view_thin(v);
    v->load[v->nr_loads++] = (struct view_load){address, index, 1};
}

static uint64_t view_frame(uint64_t entry)
{
    return entry << 12 >> 24; // without flags at both ends
}

// Goes through the tables without recursion into more than VIEW_LEVELS.
static int view_walk(struct view *v, uint64_t mfn, unsigned level, uint64_t address)
{
    uint64_t entry[VIEW_ENTRIES];
    const struct view_page *table = view_find(v, mfn);
    if (!table || !v->tables)
        return 0;
    v->tables--;
    int ret = view_read(v, entry, sizeof(entry), v->layout->pages + table->index * XC_PAGE_SIZE);
    for (unsigned i = level == VIEW_LEVELS ? VIEW_FIRST : 0; i < VIEW_ENTRIES && !ret; i++) {
        uint64_t at = address + ((uint64_t)i << (XC_PAGE_SHIFT + 9 * (level - 1)));
        if (!(entry[i] & PTE_PRESENT) || (level > 1 && (entry[i] & PTE_LARGE)))
            continue;
        if (level > 1) {
            ret = view_walk(v, view_frame(entry[i]), level - 1, at);
            continue;
        }
        const struct view_page *page = view_find(v, view_frame(entry[i]));
        if (page)
            view_add(v, at, page->index);
    }
    return ret;
}

// ---- registers -----------------------------------------------------------------------------

struct __attribute__((packed)) view_note {
    Elf64_Nhdr head;
    char name[8];
    struct elf_prstatus status;
};
_Static_assert(sizeof(struct view_note) == 12 + 8 + sizeof(struct elf_prstatus), "no padding");

static void view_registers(struct elf_prstatus *status, const vcpu_guest_context_t *c)
{
    const struct cpu_user_regs *r = &c->user_regs;
    const bool kernel = c->flags & VGCF_in_kernel;
    // In the order of Linux's user_regs_struct.
    const uint64_t regs[] = {r->r15,
                             r->r14,
                             r->r13,
                             r->r12,
                             r->rbp,
                             r->rbx,
                             r->r11,
                             r->r10,
                             r->r9,
                             r->r8,
                             r->rax,
                             r->rcx,
                             r->rdx,
                             r->rsi,
                             r->rdi,
                             ~0ull,
                             r->rip,
                             r->cs,
                             r->rflags,
                             r->rsp,
                             r->ss,
                             c->fs_base,
                             kernel ? c->gs_base_kernel : c->gs_base_user,
                             r->ds,
                             r->es,
                             r->fs,
                             r->gs};
    _Static_assert(sizeof(regs) == sizeof(status->pr_reg), "as the kernel has them");
    memcpy(status->pr_reg, regs, sizeof(regs));
}

// Writes the notes; *root becomes the first virtual CPU's page table.
static int view_notes(const struct view *v, unsigned vcpus, uint64_t at, uint64_t *root)
{
    vcpu_guest_context_t c;
    int ret = 0;
    for (unsigned i = 0; i < vcpus && !ret; i++) {
        ret = view_read(v, &c, sizeof(c), v->layout->prstatus + i * sizeof(c));
        if (ret)
            break;
        if (!i)
            *root = c.ctrlreg[3] >> XC_PAGE_SHIFT;
        struct elf_prstatus status = {.pr_pid = (int)i + 1};
        view_registers(&status, &c);
        const struct view_note note = {{5, sizeof(status), NT_PRSTATUS}, "CORE", status};
        ret = core_write(v->fd, &note, sizeof(note), at + i * sizeof(note));
    }
    return ret;
}

// ---- the headers ---------------------------------------------------------------------------

static int view_headers(const struct view *v, unsigned vcpus, uint64_t notes, uint64_t at)
{
    Elf64_Phdr p = {.p_type = PT_NOTE,
                    .p_offset = notes,
                    .p_filesz = vcpus * sizeof(struct view_note),
                    .p_align = 4};
    int ret = core_write(v->fd, &p, sizeof(p), at);
    for (unsigned i = 0; i < v->nr_loads && !ret; i++) {
        const struct view_load *l = &v->load[i];
        p = (Elf64_Phdr){.p_type = PT_LOAD,
                         .p_flags = PF_R | PF_W | PF_X,
                         .p_offset = v->layout->pages + l->index * XC_PAGE_SIZE,
                         .p_vaddr = l->address,
                         .p_filesz = l->pages * XC_PAGE_SIZE,
                         .p_memsz = l->pages * XC_PAGE_SIZE,
                         .p_align = XC_PAGE_SIZE};
        ret = core_write(v->fd, &p, sizeof(p), at + (i + 1) * sizeof(p));
    }
    return ret;
}

int core_write_view(int fd, const struct core_layout *l, unsigned vcpus, uint64_t pages,
                    struct core_view *out)
{
    uint64_t notes = l->pages + pages * XC_PAGE_SIZE, root = 0;
    struct view v = {.fd = fd, .layout = l, .pages = pages, .tables = pages, .least = 1};
    *out = (struct core_view){.at = (notes + vcpus * sizeof(struct view_note) + 7) & ~7ull};
    v.page = malloc((pages + 1) * sizeof(*v.page));
    v.load = malloc(VIEW_LOADS_MAX * sizeof(*v.load));
    int ret = v.page && v.load ? 0 : -ENOMEM;
    if (!ret)
        ret = view_pages(&v);
    if (!ret)
        ret = view_notes(&v, vcpus, notes, &root);
    if (!ret)
        ret = view_walk(&v, root, VIEW_LEVELS, 0xffffull << 48);
    if (!ret)
        ret = view_headers(&v, vcpus, notes, out->at);
    if (!ret)
        out->headers = v.nr_loads + 1;
    free(v.page);
    free(v.load);
    return ret;
}
