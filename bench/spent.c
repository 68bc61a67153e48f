// SPDX-License-Identifier: BSD-2-Clause
/*
 * spent COMMAND...: run a command and tell what it and the programs that it started spent.
 * Output: "SPENT self children begin end": nanoseconds on the CPU (in QEMU with -icount:
 * instructions, those of the hypervisor on its behalf among them) and TSC before and after.
 * The markers 1 and 2 come before; what they begin ends elsewhere.
 */
#define _GNU_SOURCE
#include "mark.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char path[64];
    unsigned long long self = 0;
    struct rusage use;
    siginfo_t info;
    int status;
    if (argc < 2)
        return 2;
    MARK(1);
    uint64_t begin = tsc();
    MARK(2);
    pid_t pid = fork();
    if (!pid) {
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    uint64_t end = tsc();
    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f || fscanf(f, "%llu", &self) != 1)
        self = 0;
    if (f)
        fclose(f);
    wait4(pid, &status, 0, &use);
    unsigned long long all =
        (unsigned long long)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000000 +
        (unsigned long long)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1000;
    printf("SPENT %llu %llu %llu %llu\n", self, all > self ? all - self : 0,
           (unsigned long long)begin, (unsigned long long)end);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
