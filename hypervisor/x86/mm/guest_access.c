// SPDX-License-Identifier: BSD-2-Clause
// Copies from and to the current PV guest: its page tables are loaded, so its addresses work as
// they are. Faults end in the fix-ups of the exception table.
#include "x86/arch/guest_access.h"

#include "abi.h"
#include "x86/arch/page.h"
#include "x86/cpu/extable.h"
#include "x86/cpu/smap.h"

#define USER_END (1ul << 47)

static inline bool range_ok(unsigned long va, size_t size)
{
    unsigned long end = va + size;
    return end >= va && (end <= USER_END || va >= HYPERVISOR_HOLE_END);
}

bool guest_range_ok(const void *gva, size_t size)
{
    return range_ok((unsigned long)gva, size);
}

// Each block starts with rc = -EFAULT and clears it when it got through; a fault skips to 9.
#define COPY_WORD(n)                      \
    "1" #n ": mov 8*" #n "(%[s]), %[t]\n" \
    "2" #n ": mov %[t], 8*" #n "(%[d])\n" ASM_EXTABLE(1##n##b, 9f) ASM_EXTABLE(2##n##b, 9f)
#define COPY_WORDS(words)                                         \
    asm volatile(ASM_STAC words "xor %[rc], %[rc]\n9:\n" ASM_CLAC \
                 : [t] "=&r"(t), [rc] "+r"(rc)                    \
                 : [s] "r"(src), [d] "r"(dst)                     \
                 : "memory", "cc")

static inline int copy_bytes(void *dst, const void *src, size_t size)
{
    size_t words = size / 8, tail = size % 8;
    int rc = -EFAULT;

    asm volatile(ASM_STAC "1: rep movsq\n"
                          "mov %[tail], %%rcx\n"
                          "2: rep movsb\n"
                          "xor %[rc], %[rc]\n"
                          "9:\n" ASM_CLAC ASM_EXTABLE(1b, 9b) ASM_EXTABLE(2b, 9b)
                 : "+D"(dst), "+S"(src), "+c"(words), [rc] "+r"(rc)
                 : [tail] "r"(tail)
                 : "memory", "cc");
    return rc;
}

// Sizes 8, 16, 24, 32 and 40 are most of all hypercall arguments.
static inline int copy(void *dst, const void *src, size_t size)
{
    unsigned long t;
    int rc = -EFAULT;

    if (size == 8)
        COPY_WORDS(COPY_WORD(0));
    else if (size == 16)
        COPY_WORDS(COPY_WORD(0) COPY_WORD(1));
    else if (size == 24)
        COPY_WORDS(COPY_WORD(0) COPY_WORD(1) COPY_WORD(2));
    else if (size == 32)
        COPY_WORDS(COPY_WORD(0) COPY_WORD(1) COPY_WORD(2) COPY_WORD(3));
    else if (size == 40) // a copy of granted pages
        COPY_WORDS(COPY_WORD(0) COPY_WORD(1) COPY_WORD(2) COPY_WORD(3) COPY_WORD(4));
    else
        return copy_bytes(dst, src, size);
    return rc;
}

int guest_copy_from(void *dst, const void *gva, size_t size)
{
    if (!range_ok((unsigned long)gva, size))
        return -EFAULT;
    return copy(dst, gva, size);
}

int guest_copy_from64(void *dst, const void *gva)
{
    const void *src = gva;
    unsigned long t;
    int rc = -EFAULT;

    if (!range_ok((unsigned long)gva, 64))
        return -EFAULT;
    COPY_WORDS(COPY_WORD(0) COPY_WORD(1) COPY_WORD(2) COPY_WORD(3) COPY_WORD(4) COPY_WORD(5)
                   COPY_WORD(6) COPY_WORD(7));
    return rc;
}

int guest_read32(uint32_t *dst, const void *gva)
{
    uint32_t value;
    int rc = -EFAULT;

    if (!range_ok((unsigned long)gva, sizeof(*dst)))
        return -EFAULT;
    asm volatile(ASM_STAC "1: movl (%[s]), %[v]\n"
                          "xor %[rc], %[rc]\n"
                          "9:\n" ASM_CLAC ASM_EXTABLE(1b, 9b)
                 : [v] "=&r"(value), [rc] "+r"(rc)
                 : [s] "r"(gva)
                 : "memory", "cc");
    *dst = value;
    return rc;
}

int guest_copy_to(void *gva, const void *src, size_t size)
{
    if (!range_ok((unsigned long)gva, size))
        return -EFAULT;
    return copy(gva, src, size);
}

int guest_clear(void *gva, size_t size)
{
    int rc = -EFAULT;

    if (!range_ok((unsigned long)gva, size))
        return -EFAULT;
    asm volatile(ASM_STAC "1: rep stosb\n"
                          "xor %[rc], %[rc]\n"
                          "9:\n" ASM_CLAC ASM_EXTABLE(1b, 9b)
                 : "+D"(gva), "+c"(size), [rc] "+r"(rc)
                 : "a"(0)
                 : "memory", "cc");
    return rc;
}

int guest_copy_string_from(char *dst, const char *gva, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        int rc = guest_copy_from(&dst[i], &gva[i], 1);
        if (rc)
            return rc;
        if (!dst[i])
            return 0;
    }
    return -ENAMETOOLONG;
}
