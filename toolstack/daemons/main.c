// SPDX-License-Identifier: BSD-2-Clause
// The daemons in one program, which is the one by whose name it was started. They share nothing
// while they run but the pages of this file.
#include <errno.h>
#include <stdio.h>
#include <string.h>

// The main functions, renamed when the daemons are linked.
int blkd_main(int argc, char **argv);
int consoled_main(int argc, char **argv);
int lifed_main(int argc, char **argv);
int stored_main(int argc, char **argv);

static const struct {
    const char *name;
    int (*main)(int argc, char **argv);
} daemons[] = {{"blkd", blkd_main},
               {"consoled", consoled_main},
               {"lifed", lifed_main},
               {"stored", stored_main}};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(daemons) / sizeof(daemons[0]); i++)
        if (!strcmp(program_invocation_short_name, daemons[i].name))
            return daemons[i].main(argc, argv);
    fprintf(stderr, "%s: this program is called blkd, consoled, lifed or stored\n",
            program_invocation_short_name);
    return 2;
}
