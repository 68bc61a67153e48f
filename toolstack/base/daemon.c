// SPDX-License-Identifier: BSD-2-Clause
#include "daemon.h"

#include "file.h"
#include "log.h"
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int daemon_lock(const char *dir, const char *name)
{
    char path[PATH_MAX];
    int ret = file_make_dirs(dir, 0755);
    if (ret)
        return ret;
    snprintf(path, sizeof(path), "%s/%s.lock", dir, name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        ret = -errno;
        close(fd);
        return ret;
    }
    // For people and scripts; the lock itself is what counts.
    if (!ftruncate(fd, 0))
        dprintf(fd, "%d\n", (int)getpid());
    return fd;
}

int daemon_claim(const char *dir, const char *name, unsigned wait_ms)
{
    enum { TRY_MS = 100 };
    int lock = daemon_lock(dir, name);
    for (unsigned ms = 0; lock == -EWOULDBLOCK && ms < wait_ms; ms += TRY_MS) {
        usleep(TRY_MS * 1000);
        lock = daemon_lock(dir, name);
    }
    if (lock == -EWOULDBLOCK)
        log_error("another %s is running", name);
    else if (lock < 0)
        daemon_fail(dir, lock);
    return lock;
}

static void on_stop(void *arg, uint32_t signo)
{
    (void)signo;
    loop_stop(arg, 0);
}

bool daemon_stop_on_signals(struct loop *l)
{
    return loop_add_signal(l, SIGTERM, on_stop, l) && loop_add_signal(l, SIGINT, on_stop, l);
}

// Gives back the pages of the program that only its start needed: the kernel maps them in groups of
// sixteen, so that soon all would be there. What is needed again comes back from the page cache.
static void forget_start(void)
{
    extern const char __executable_start[], etext[];
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = ((uintptr_t)__executable_start + page - 1) & ~(page - 1);
    uintptr_t end = (uintptr_t)etext & ~(page - 1);
    // No harm when it fails; and nothing writes there, so nothing is lost when it does not.
    madvise((void *)start, end - start, MADV_DONTNEED);
}

static void tell_service_manager(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = path ? strlen(path) : 0;
    if (!len || len >= sizeof(addr.sun_path))
        return;
    memcpy(addr.sun_path, path, len);
    if (path[0] == '@')
        addr.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&addr, size) < 0)
        log_warn("cannot tell the service manager: %s", strerror(errno));
    close(fd);
}

void daemon_ready(void)
{
    log_info("ready");
    tell_service_manager();
    forget_start();
}

void daemon_more_descriptors(void)
{
    enum { WANTED = 65536 };
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= WANTED)
        return;
    struct rlimit more = {WANTED, limit.rlim_max > WANTED ? limit.rlim_max : WANTED};
    limit.rlim_cur = limit.rlim_max < WANTED ? limit.rlim_max : WANTED;
    // The hard limit is root's to raise; without that right what it allows has to do.
    if (setrlimit(RLIMIT_NOFILE, &more) && setrlimit(RLIMIT_NOFILE, &limit))
        log_warn("cannot raise the number of descriptors: %s", strerror(errno));
}

int daemon_fail(const char *what, int code)
{
    log_error("%s: %s", what, strerror(-code));
    return 1;
}

bool daemon_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || n < min || n > max)
        return false;
    *out = n;
    return true;
}
