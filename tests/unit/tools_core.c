// SPDX-License-Identifier: BSD-2-Clause
/* Dumps of guests: the file's form, what of a guest's word is believed, and failures anywhere. */
#include "unit.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_xen.h"
#include "kernel_image.h"
#include "serai.h"

#include <xen/xen.h>

#define PAGES   6144 /* of the guest: 24 MiB */
#define BANNER  "Linux version 6.1.0 (a guest)"
#define FOREIGN (1ull << 63)

static char dir[64], out[96];
static struct serai *s;
static struct serai_error err;
static uint32_t id;
static uint64_t frame[PAGES]; /* of the guest, in ascending order */

static int setup(void **unused)
{
    char kernel[96], state[96];
    struct kernel_image image =
        kernel_image_make(kernel_notes_stock, kernel_notes_stock_count, NULL);
    struct serai_options opt = {.state_dir = state};
    struct serai_config c = {.name = "g", .kernel = kernel, .memory_mb = 24, .vcpus = 2};
    size_t n = 0;
    FILE *f;

    c.cpu_weight = c.cap = SERAI_SCHED_KEEP;
    strcpy(dir, "/tmp/serai-unit-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(kernel, sizeof(kernel), "%s/kernel", dir);
    snprintf(state, sizeof(state), "%s/state", dir);
    snprintf(out, sizeof(out), "%s/out/core", dir);
    f = fopen(kernel, "wb");
    assert_true(f && fwrite(image.data, 1, image.len, f) == image.len && !fclose(f));
    free(image.data);
    fake_reset();
    assert_int_equal(serai_open(&s, &opt, &err), 0);
    assert_int_equal(serai_domain_create(s, &c, NULL, &id, &err), 0);
    fake_domain[id].paused = false;
    for (uint64_t mfn = 0x100; mfn < 0x100 + FAKE_FRAMES && n < PAGES; mfn++) {
        if (fake_owner(mfn) == id && mfn != fake_domain[id].shared_info) {
            frame[n++] = mfn;
        }
    }
    assert_int_equal(n, PAGES);
    snprintf(out, sizeof(out), "%s/out", dir);
    assert_int_equal(mkdir(out, 0755), 0);
    snprintf(out, sizeof(out), "%s/out/core", dir);
    return 0;
}

static int teardown(void **unused)
{
    char command[128];

    serai_close(s);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static unsigned files(void)
{
    char path[96];
    struct dirent **list;
    int n;

    snprintf(path, sizeof(path), "%s/out", dir);
    n = scandir(path, &list, NULL, NULL);
    assert_true(n >= 2);
    for (int i = 0; i < n; i++) {
        free(list[i]);
    }
    free(list);
    return (unsigned)n - 2;
}

/* A list of frames as Linux keeps it, in the guest's first pages: 0 names 1, 1 names 2 to 13. */
static void make_p2m(void)
{
    struct shared_info *shared = fake_frame(fake_domain[id].shared_info);
    uint64_t *top = fake_frame(frame[0]), *mid = fake_frame(frame[1]);

    for (unsigned i = 0; i < PAGES; i++) {
        memset(fake_frame(frame[i]), i % 3 ? 0xaa : 0, 4096);
    }
    memset(top, 0, 4096);
    memset(mid, 0, 4096);
    top[0] = frame[1];
    for (unsigned i = 0; i < PAGES / 512; i++) {
        uint64_t *leaf = fake_frame(frame[2 + i]);

        mid[i] = frame[2 + i];
        for (unsigned k = 0; k < 512; k++) {
            leaf[k] = frame[i * 512 + k];
        }
    }
    strcpy((char *)fake_frame(frame[1000]) + 100, BANNER);
    shared->arch.max_pfn = PAGES;
    shared->arch.pfn_to_mfn_frame_list_list = frame[0];
}

struct file {
    uint8_t *data;
    size_t size;
    uint64_t blocks;
};

static struct file load(void)
{
    struct stat st;
    struct file f;
    int fd = open(out, O_RDONLY);

    assert_true(fd >= 0 && !fstat(fd, &st));
    assert_int_equal(st.st_mode & 0777, 0600);
    f.size = (size_t)st.st_size;
    f.blocks = (uint64_t)st.st_blocks;
    f.data = mmap(NULL, f.size, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_true(f.data != MAP_FAILED);
    close(fd);
    return f;
}

static const Elf64_Shdr *section(const struct file *f, const char *name)
{
    const Elf64_Ehdr *e = (void *)f->data;
    const Elf64_Shdr *sh = (void *)(f->data + e->e_shoff);
    const char *names = (char *)f->data + sh[e->e_shstrndx].sh_offset;

    for (unsigned i = 0; i < e->e_shnum; i++) {
        assert_true(sh[i].sh_offset + sh[i].sh_size <= f->size);
        if (!strcmp(names + sh[i].sh_name, name)) {
            return &sh[i];
        }
    }
    fail_msg("no section %s", name);
    return NULL;
}

static const void *page(const struct file *f, uint64_t pfn)
{
    const Elf64_Shdr *p2m = section(f, ".xen_p2m"), *pages = section(f, ".xen_pages");
    const uint64_t *pair = (void *)(f->data + p2m->sh_offset);

    for (uint64_t i = 0; i < p2m->sh_size / 16; i++) {
        if (pair[2 * i] == pfn) {
            return f->data + pages->sh_offset + i * 4096;
        }
    }
    return NULL;
}

static void test_form(void **unused)
{
    struct file f;
    const Elf64_Shdr *sh;
    const uint32_t *note;
    const vcpu_guest_context_t *ctx;

    make_p2m();
    assert_int_equal(serai_domain_dump(s, id, out, NULL, NULL, &err), 0);
    assert_false(fake_domain[id].paused);
    f = load();
    assert_memory_equal(f.data, "\177ELF\2\1\1\0", 8);
    assert_int_equal(((Elf64_Ehdr *)f.data)->e_type, ET_CORE);
    assert_int_equal(((Elf64_Ehdr *)f.data)->e_phnum, 1); /* no page tables, registers alone */

    sh = section(&f, ".note.Xen");
    assert_int_equal(sh->sh_type, SHT_NOTE);
    note = (void *)(f.data + sh->sh_offset);
    assert_true(note[0] == 4 && note[1] == 0 && note[2] == 0x2000000);
    note += 4;
    assert_true(note[0] == 4 && note[1] == 32 && note[2] == 0x2000001);
    assert_string_equal((char *)&note[3], "Xen");
    assert_int_equal(*(uint64_t *)&note[4], 0xf00febed);
    assert_int_equal(*(uint64_t *)&note[6], 1); /* the other vCPU never started */
    assert_int_equal(*(uint64_t *)&note[8], PAGES);
    assert_int_equal(*(uint64_t *)&note[10], 4096);
    note += 12;
    assert_true(note[0] == 4 && note[2] == 0x2000002);
    assert_int_equal(*(uint64_t *)&note[4], 4);
    assert_int_equal(*(uint64_t *)&note[6], 17);
    note += 4 + note[1] / 4;
    assert_true(note[0] == 4 && note[1] == 8 && note[2] == 0x2000003 && note[4] == 1 && !note[5]);

    sh = section(&f, ".xen_prstatus");
    assert_int_equal(sh->sh_size, sizeof(*ctx));
    ctx = (void *)(f.data + sh->sh_offset);
    assert_int_equal(ctx->user_regs.rip, fake_domain[id].rip);
    sh = section(&f, ".xen_shared_info");
    assert_memory_equal(f.data + sh->sh_offset, fake_frame(fake_domain[id].shared_info), 4096);
    assert_int_equal(section(&f, ".xen_pages")->sh_offset % 4096, 0);
    for (unsigned i = 0; i < PAGES; i++) {
        assert_memory_equal(page(&f, i), fake_frame(frame[i]), 4096);
    }
    assert_string_equal((char *)page(&f, 1000) + 100, BANNER);
    assert_true(f.blocks * 512 < f.size * 3 / 4); /* a third of its pages is empty */
    munmap(f.data, f.size);
    assert_int_equal(files(), 1);
}

static void test_holes(void **unused)
{
    uint64_t *leaf;
    struct file f;

    make_p2m();
    leaf = fake_frame(frame[2]);
    leaf[5] = ~0ull;
    leaf[6] = FOREIGN | frame[6];
    leaf[7] = 0x100; /* nobody's */
    while (fake_owner(leaf[7]) == id) {
        leaf[7]++;
    }
    leaf[8] = 1ull << 50;
    leaf[511] = 0;
    ((uint64_t *)fake_frame(frame[1]))[3] = 0; /* 1536 to 2047 */
    fake_domain[id].paused = true;
    assert_int_equal(serai_domain_dump(s, id, out, NULL, NULL, &err), 0);
    assert_true(fake_domain[id].paused); /* as it was */
    f = load();
    assert_int_equal(section(&f, ".xen_p2m")->sh_size / 16, PAGES - 5 - 512);
    for (unsigned i = 0; i < PAGES; i++) {
        bool hole = (i >= 5 && i <= 8) || i == 511 || (i >= 1536 && i < 2048);

        assert_true(hole == !page(&f, i));
        if (!hole) {
            assert_memory_equal(page(&f, i), fake_frame(frame[i]), 4096);
        }
    }
    munmap(f.data, f.size);
}

/* Page tables in the guest's pages 20 to 23: `count` pages from 1000 stand at the kernel's text. */
static void make_tables(unsigned count)
{
    uint64_t *table[4];

    for (unsigned i = 0; i < 4; i++) {
        table[i] = fake_frame(frame[20 + i]);
        memset(table[i], 0, 4096);
    }
    table[0][511] = frame[21] << 12 | 0x67;
    table[0][5] = table[0][260] = table[0][511]; /* the user's, the hypervisor's */
    table[1][510] = 1ull << 63 | frame[22] << 12 | 0x67;
    table[2][8] = frame[23] << 12 | 0x67;
    table[2][9] = frame[23] << 12 | 0x67 | 1 << 7; /* large: there are none */
    for (unsigned i = 0; i < count; i++) {
        table[3][i] = frame[1000 + i] << 12 | 0x67;
    }
    fake_domain[id].root = frame[20];
}

static const Elf64_Phdr *headers(const struct file *f, unsigned *count)
{
    const Elf64_Ehdr *e = (void *)f->data;

    assert_int_equal(e->e_phentsize, sizeof(Elf64_Phdr));
    assert_true(e->e_phoff + e->e_phnum * sizeof(Elf64_Phdr) <= f->size);
    *count = e->e_phnum;
    return (void *)(f->data + e->e_phoff);
}

/* For debuggers that do not know Xen: the kernel's memory where it saw it, and its registers. */
static void test_view(void **unused)
{
    const uint64_t text = 0xffffffff81000000;
    const Elf64_Phdr *p;
    const uint32_t *note;
    unsigned count;
    struct file f;

    make_p2m();
    make_tables(10);
    ((uint64_t *)fake_frame(frame[23]))[4] = 0;               /* a hole */
    ((uint64_t *)fake_frame(frame[23]))[5] = 0x100 << 12 | 1; /* not its own */
    assert_int_equal(serai_domain_dump(s, id, out, NULL, NULL, &err), 0);
    f = load();
    p = headers(&f, &count);
    assert_int_equal(count, 3);
    assert_int_equal(p[0].p_type, PT_NOTE);
    note = (void *)(f.data + p[0].p_offset);
    assert_true(note[0] == 5 && note[1] == 336 && note[2] == NT_PRSTATUS);
    assert_string_equal((char *)&note[3], "CORE");
    /* In struct elf_prstatus the registers begin at 112; rip is the 17th. */
    assert_memory_equal((char *)&note[5] + 112 + 16 * 8, &fake_domain[id].rip, 8);
    assert_true(p[1].p_type == PT_LOAD && p[1].p_vaddr == text && p[1].p_filesz == 4 * 4096);
    assert_true(p[2].p_type == PT_LOAD && p[2].p_vaddr == text + 6 * 4096);
    assert_int_equal(p[2].p_filesz, 4 * 4096);
    assert_int_equal(p[1].p_memsz, p[1].p_filesz);
    assert_string_equal((char *)f.data + p[1].p_offset + 100, BANNER);
    munmap(f.data, f.size);
}

/* Tables that name each other for ever, and pages in no order, end after as many as it has. */
static void test_view_of_a_liar(void **unused)
{
    unsigned count;
    struct file f;

    make_p2m();
    make_tables(0);
    for (unsigned t = 20; t < 24; t++) {
        for (unsigned i = 0; i < 512; i++) {
            ((uint64_t *)fake_frame(frame[t]))[i] = frame[20 + (i * 7 + t) % 4] << 12 | 1;
        }
    }
    assert_int_equal(serai_domain_dump(s, id, out, NULL, NULL, &err), 0);
    f = load();
    headers(&f, &count);
    assert_in_range(count, 2, 32769);
    munmap(f.data, f.size);
}

/* A guest that names one frame for all of an endless memory gets no more than it has. */
static void test_liar(void **unused)
{
    struct shared_info *shared = fake_frame(fake_domain[id].shared_info);
    uint64_t *top = fake_frame(frame[0]);
    struct file f;

    make_p2m();
    for (unsigned i = 0; i < 512; i++) {
        top[i] = frame[0]; /* list, leaf and page in one */
    }
    shared->arch.max_pfn = ~0ul;
    assert_int_equal(serai_domain_dump(s, id, out, NULL, NULL, &err), 0);
    f = load();
    assert_int_equal(section(&f, ".xen_p2m")->sh_size / 16, PAGES);
    munmap(f.data, f.size);
    assert_int_equal(fake_mapped, 0);
}

static bool refuse_half(void *ctx, const char *step, unsigned percent)
{
    return percent < 50;
}

static void test_refused(void **unused)
{
    struct rlimit limit, small = {1 << 20, RLIM_INFINITY};

    assert_int_equal(serai_domain_dump(s, id, out, NULL, NULL, &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.text, "has not told where its memory is"));
    make_p2m();
    assert_int_equal(serai_domain_dump(s, id, out, refuse_half, NULL, &err), -ECANCELED);
    assert_int_equal(serai_domain_dump(s, 0, out, NULL, NULL, &err), -EPERM);
    assert_int_equal(serai_domain_dump(s, 9, out, NULL, NULL, &err), -ESRCH);
    assert_int_equal(serai_domain_dump(s, id, "/nowhere/core", NULL, NULL, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere/core"));

    /* As on a full disk: what was there before stays. */
    assert_int_equal(close(creat(out, 0600)), 0);
    getrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    assert_int_equal(serai_domain_dump(s, id, out, NULL, NULL, &err), -EFBIG);
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_non_null(strstr(err.text, out));
    assert_int_equal(files(), 1);
    assert_int_equal(unlink(out), 0);
    assert_int_equal(fake_mapped, 0);
    assert_false(fake_domain[id].paused);
}

static void test_failure_anywhere(void **unused)
{
    unsigned calls;

    make_p2m();
    ((struct shared_info *)fake_frame(fake_domain[id].shared_info))->arch.max_pfn = 600;
    fake_calls = 0;
    assert_int_equal(serai_domain_dump(s, id, out, NULL, NULL, &err), 0);
    calls = fake_calls;
    assert_int_equal(unlink(out), 0);
    for (unsigned at = 1; at < calls; at++) { /* the last lets it go on */
        fake_calls = 0;
        fake_fail_at = at;
        int ret = serai_domain_dump(s, id, out, NULL, NULL, &err);
        fake_fail_at = 0;
        assert_int_equal(files(), ret ? 0 : 1);
        assert_int_equal(fake_mapped, 0);
        assert_false(fake_domain[id].paused);
        unlink(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_form, setup, teardown),
        cmocka_unit_test_setup_teardown(test_holes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_view, setup, teardown),
        cmocka_unit_test_setup_teardown(test_view_of_a_liar, setup, teardown),
        cmocka_unit_test_setup_teardown(test_liar, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failure_anywhere, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
