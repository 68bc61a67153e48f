// SPDX-License-Identifier: BSD-2-Clause
// A guest's console: copies what it says to standard output until it ends.
#include <serai.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct serai *s;
    struct serai_domain d;
    struct serai_error err;
    char data[4096];
    int fd = -1;
    if (argc != 2) {
        fprintf(stderr, "usage: console GUEST\n");
        return 2;
    }
    if (serai_open(&s, NULL, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    int ret = serai_domain_find(s, argv[1], &d, &err);
    if (!ret)
        ret = serai_console_attach(s, d.id, &fd, &err);
    if (ret)
        fprintf(stderr, "%s\n", err.text);
    for (ssize_t n; !ret && (n = read(fd, data, sizeof(data))) > 0;)
        if (fwrite(data, 1, (size_t)n, stdout) != (size_t)n || fflush(stdout))
            break;
    if (fd >= 0)
        close(fd);
    serai_close(s);
    return ret != 0;
}
