// SPDX-License-Identifier: BSD-2-Clause
#include "mem.h"

#include "buf.h"
#include "log.h"

#include <stdlib.h>
#include <string.h>

static _Noreturn void mem_end(void)
{
    log_error("out of memory");
    abort();
}

void *mem_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        mem_end();
    return p;
}

void *mem_array(size_t count, size_t size)
{
    void *p = count ? calloc(count, size) : NULL;
    if (count && !p)
        mem_end();
    return p;
}

void *mem_resize(void *old, size_t size)
{
    void *p = realloc(old, size ? size : 1);
    if (!p)
        mem_end();
    return p;
}

char *mem_copy_string(const char *text)
{
    size_t len = strlen(text) + 1;
    return memcpy(mem_alloc(len), text, len);
}

void mem_check(const struct buf *b)
{
    if (b->failed)
        mem_end();
}
