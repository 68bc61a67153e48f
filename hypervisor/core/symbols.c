// SPDX-License-Identifier: BSD-2-Clause
#include "core/symbols.h"
#include "lib/string.h"

// Made by scripts/symbols: functions in order of address, as offsets from the image's start, and
// their names one after the other.
extern const uint32_t symbol_count;
extern const uint32_t symbol_offsets[];
extern const char symbol_names[];
extern const char image_start[];
extern int (*printf_symbol_hook)(char *buf, size_t size, unsigned long addr); // lib/printf.c

static const char *name_of(unsigned int index)
{
    const char *name = symbol_names;
    while (index--)
        name += strlen(name) + 1;
    return name;
}

int symbol_format(char *buf, size_t size, unsigned long addr)
{
    unsigned long offset = addr - (unsigned long)image_start;
    unsigned int n = READ_ONCE(symbol_count);
    if (n < 2 || offset < symbol_offsets[0] || offset >= symbol_offsets[n - 1])
        return 0;
    unsigned int lo = 0, hi = n; // symbol_offsets[lo] <= offset < symbol_offsets[hi]
    while (hi - lo > 1) {
        unsigned int mid = (lo + hi) / 2;
        if (symbol_offsets[mid] <= offset)
            lo = mid;
        else
            hi = mid;
    }
    return snprintf(buf, size, "%s+%#lx", name_of(lo), offset - symbol_offsets[lo]);
}

bool symbol_get(unsigned int index, unsigned long *addr, const char **name)
{
    if (index >= READ_ONCE(symbol_count))
        return false;
    *addr = (unsigned long)image_start + symbol_offsets[index];
    *name = name_of(index);
    return true;
}

void symbols_init(void)
{
    printf_symbol_hook = symbol_format;
}
