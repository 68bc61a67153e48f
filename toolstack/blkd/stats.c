// SPDX-License-Identifier: BSD-2-Clause
#include "stats.h"

#include "buf.h"
#include "file.h"

#include <stdlib.h>
#include <string.h>

void stats_write(struct stats *s, const struct devices *all)
{
    BUF_AUTO text = {0};
    for (const struct device *d = all->list; d; d = d->next)
        buf_printf(&text, "%u %u %llu %llu %llu %llu %llu %llu\n", d->domid, d->devid,
                   (unsigned long long)d->disk.done[0], (unsigned long long)d->disk.done[1],
                   (unsigned long long)d->disk.done[2], (unsigned long long)d->disk.done[3],
                   (unsigned long long)d->disk.done_bytes[0],
                   (unsigned long long)d->disk.done_bytes[1]);
    const char *now = text.data ? text.data : "";
    if (text.failed || (s->last && !strcmp(now, s->last)))
        return;
    // Without room for it nobody is told; the disks go on.
    if (file_write_atomic(s->path, now, text.len, 0644))
        return;
    free(s->last);
    s->last = buf_take(&text);
}

void stats_free(struct stats *s)
{
    free(s->last);
    s->last = NULL;
}
