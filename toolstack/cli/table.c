// SPDX-License-Identifier: BSD-2-Clause
#include "table.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

void table_cell(struct table *t, int colour, const char *fmt, ...)
{
    char mark = (char)colour;
    buf_add(&t->cells, &mark, 1);
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&t->cells, fmt, ap);
    va_end(ap);
    buf_add(&t->cells, "", 1);
    t->count++;
}

static const char *table_head(const struct table *t, size_t column)
{
    return t->heads[column] + (t->heads[column][0] == '>');
}

static void table_put(const struct table *t, FILE *to, size_t column, size_t columns, size_t width,
                      int colour, const char *text)
{
    int pad = (int)(width - strlen(text));
    bool right = t->heads[column][0] == '>';
    bool last = column + 1 == columns;
    if (right)
        fprintf(to, "%*s", pad, "");
    if (colour && t->colour)
        fprintf(to, "\033[%dm%s\033[0m", colour, text);
    else
        fputs(text, to);
    if (!right && !last)
        fprintf(to, "%*s", pad, "");
    fputs(last ? "\n" : "  ", to);
}

int table_print(struct table *t, FILE *to)
{
    size_t width[TABLE_COLUMNS_MAX], columns = 0;
    do {
        width[columns] = strlen(table_head(t, columns));
        columns++;
    } while (columns < TABLE_COLUMNS_MAX && t->heads[columns]);
    int ret = t->cells.failed ? -ENOMEM : 0;

    const char *cell = t->cells.data;
    for (size_t i = 0; !ret && i < t->count; i++) {
        size_t len = strlen(cell + 1);
        if (len > width[i % columns])
            width[i % columns] = len;
        cell += len + 2;
    }
    for (size_t i = 0; !ret && i < columns; i++)
        table_put(t, to, i, columns, width[i], 1, table_head(t, i));
    cell = t->cells.data;
    for (size_t i = 0; !ret && i < t->count; i++) {
        size_t column = i % columns;
        table_put(t, to, column, columns, width[column], cell[0], cell + 1);
        cell += strlen(cell + 1) + 2;
    }
    buf_free(&t->cells);
    t->count = 0;
    return ret;
}
