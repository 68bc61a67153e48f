// SPDX-License-Identifier: BSD-2-Clause
#include "lifed.h"

#include "file.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

static void worker_path(const struct lifed *l, uint32_t id, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/ending/%u", l->state_dir, id);
}

int worker_claim(struct lifed *l, uint32_t id)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/ending", l->state_dir);
    int ret = file_make_dirs(path, 0700);
    if (ret)
        return ret;
    worker_path(l, id, path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    while (flock(fd, LOCK_EX)) {
        if (errno == EINTR)
            continue;
        ret = -errno;
        close(fd);
        return ret;
    }
    return fd;
}

void worker_done(struct lifed *l, uint32_t id)
{
    char path[PATH_MAX];
    worker_path(l, id, path);
    unlink(path);
}

static void worker_run(const struct lifed *l, uint32_t id)
{
    char number[16], kept[16];
    sigset_t none;
    sigemptyset(&none); // the loop has blocked what it handles
    sigprocmask(SIG_SETMASK, &none, NULL);
    snprintf(number, sizeof(number), "%u", id);
    snprintf(kept, sizeof(kept), "%u", l->dumps_kept);
    execl("/proc/self/exe", "lifed", "--act", number, "--state-dir", l->state_dir, "--dump-dir",
          l->dump_dir, "--keep-dumps", kept, (char *)NULL);
    log_error("cannot start a worker: %s", strerror(errno));
    _exit(1);
}

void worker_start(struct lifed *l, uint32_t id)
{
    int slot = -1;
    for (int i = 0; i < WORKERS_MAX; i++) {
        if (l->worker[i].pid && l->worker[i].id == id)
            return;
        if (!l->worker[i].pid)
            slot = i;
    }
    if (slot < 0)
        return; // one that ends makes us look again
    pid_t pid = fork();
    if (!pid)
        worker_run(l, id);
    if (pid < 0) {
        log_error("cannot start a worker: %s", strerror(errno));
        loop_arm(l->later, 1000, 0);
        return;
    }
    l->worker[slot].pid = pid;
    l->worker[slot].id = id;
}

void worker_on_exit(void *arg, uint32_t signo)
{
    struct lifed *l = arg;
    bool failed = false;
    int status;
    (void)signo;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        failed |= !WIFEXITED(status) || WEXITSTATUS(status);
        for (int i = 0; i < WORKERS_MAX; i++)
            if (l->worker[i].pid == pid)
                l->worker[i].pid = 0;
    }
    // One that could not do its work is not started again and again.
    if (failed)
        loop_arm(l->later, 1000, 0);
    else
        lifed_look(l);
}
