// SPDX-License-Identifier: BSD-2-Clause
// Basic types, compiler attributes and small arithmetic used everywhere in the hypervisor.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int64_t ssize_t;
typedef int64_t stime_t; // system time, nanoseconds since boot

// Address kinds. One-field structs, so that they cannot be mixed up.
typedef struct {
    uint64_t v;
} mfn_t; // machine frame number
typedef struct {
    uint64_t v;
} gfn_t; // guest frame number (PV: equal to the mfn)
typedef struct {
    uint64_t v;
} paddr_t; // machine physical address
typedef struct {
    uint64_t v;
} gaddr_t; // guest physical address

#define MFN(x)      ((mfn_t){(x)})
#define GFN(x)      ((gfn_t){(x)})
#define PADDR(x)    ((paddr_t){(x)})
#define INVALID_MFN MFN(~0ull)
#define INVALID_GFN GFN(~0ull)

static inline bool mfn_eq(mfn_t a, mfn_t b)
{
    return a.v == b.v;
}
static inline mfn_t mfn_add(mfn_t a, uint64_t n)
{
    return MFN(a.v + n);
}

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096ul
#define PAGE_MASK  (~(PAGE_SIZE - 1))

#define __must_check        __attribute__((warn_unused_result))
#define __printf(fmt, args) __attribute__((format(printf, fmt, args)))
#define __noreturn          __attribute__((noreturn))
#define __packed            __attribute__((packed))
#define __aligned(n)        __attribute__((aligned(n)))
#define __section(s)        __attribute__((section(s)))
#define __used              __attribute__((used))
#define __weak              __attribute__((weak))
#define __noinline          __attribute__((noinline))
#undef __always_inline // a C library has its own, in host tests
#define __always_inline inline __attribute__((always_inline))
#define __cacheline     __aligned(64)
// Code and data needed only until the control domain starts; unmapped and freed afterwards.
#define __init     __section(".init.text") __noinline
#define __initdata __section(".init.data")
// Written only during boot, read-only afterwards.
#define __read_only_after_boot __section(".data.ro_after_boot")

#ifdef __CHECKER__
#define __guest __attribute__((noderef, address_space(1)))
#define __force __attribute__((force))
#else
#define __guest
#define __force
#endif

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_SIZE(a)      (sizeof(a) / sizeof((a)[0]))
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#define ROUND_UP(x, a)     (((x) + (a)-1) & ~((typeof(x))(a)-1))
#define ROUND_DOWN(x, a)   ((x) & ~((typeof(x))(a)-1))
#define PFN_UP(x)          (((x) + PAGE_SIZE - 1) >> PAGE_SHIFT)
#define PFN_DOWN(x)        ((x) >> PAGE_SHIFT)
#define MIN(a, b)                          \
    ({                                     \
        typeof(a) min_a_ = (a);            \
        typeof(b) min_b_ = (b);            \
        min_a_ < min_b_ ? min_a_ : min_b_; \
    })
#define MAX(a, b)                          \
    ({                                     \
        typeof(a) max_a_ = (a);            \
        typeof(b) max_b_ = (b);            \
        max_a_ > max_b_ ? max_a_ : max_b_; \
    })
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define READ_ONCE(x)     (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))
#define IS_ENABLED(x)    (x)

#define KiB       (1ull << 10)
#define MiB       (1ull << 20)
#define GiB       (1ull << 30)
#define NS_PER_S  1000000000ll
#define NS_PER_MS 1000000ll
#define NS_PER_US 1000ll
