// SPDX-License-Identifier: BSD-2-Clause
// Operations: the functions that wait, in a thread of their own, with a handle of their own, so
// that neither waits for others on the connection to xenstore.
#include "state.h"

#include "buf.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { OP_NOTICE_MS = 20000 };

typedef int op_fn(struct serai_op *op, struct serai_error *err);

struct serai_op {
    struct serai *s; // its own
    op_fn *run;
    pthread_t thread;
    int event_fd, cancel_fd;
    pthread_mutex_t lock; // guards `progress`
    struct serai_progress progress;
    struct serai_op_result result;
    int ret;
    struct serai_error err;

    // What it was started with.
    struct serai_config *config;
    bool start, force;
    enum serai_request what;
    unsigned timeout_ms, devid;
    uint64_t kib;
    struct serai_disk disk;
    struct serai_vif vif;
};

static void op_poke(int fd)
{
    uint64_t one = 1;
    while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static void op_say(struct serai_op *op, const char *step, unsigned percent, bool finished)
{
    pthread_mutex_lock(&op->lock);
    if (percent > op->progress.percent)
        op->progress.percent = percent;
    snprintf(op->progress.step, sizeof(op->progress.step), "%s", step);
    op->progress.finished = finished;
    pthread_mutex_unlock(&op->lock);
    op_poke(op->event_fd);
}

// For serai_create and serai_domain_wait_target.
static bool op_on_progress(void *ctx, const char *step, unsigned percent)
{
    struct serai_op *op = ctx;
    op_say(op, step, percent < 100 ? percent : 99, false);
    return !serai_cancelled(op->s);
}

static void *op_thread(void *arg)
{
    struct serai_op *op = arg;
    op->ret = op->run(op, &op->err);
    op_say(op, op->ret ? "failed" : "done", op->ret ? 0 : 100, true);
    return NULL;
}

static void op_free(struct serai_op *op)
{
    if (!op)
        return;
    if (op->s)
        serai_child_end(op->s);
    if (op->event_fd >= 0)
        close(op->event_fd);
    if (op->cancel_fd >= 0)
        close(op->cancel_fd);
    serai_config_free(op->config);
    serai_disk_clear(&op->disk);
    pthread_mutex_destroy(&op->lock);
    free(op);
}

static int op_new(struct serai *s, op_fn *run, uint32_t domain, struct serai_op **out,
                  struct serai_error *err)
{
    struct serai_op *op = calloc(1, sizeof(*op));
    if (!op) {
        err_set(err, -ENOMEM, "out of memory");
        return -ENOMEM;
    }
    op->run = run;
    op->result.domain = domain;
    pthread_mutex_init(&op->lock, NULL);
    op->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    op->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int ret = op->event_fd < 0 || op->cancel_fd < 0 ? -errno : 0;
    if (!ret) {
        op->s = serai_child(s, op->cancel_fd);
        ret = op->s ? 0 : -ENOMEM;
    }
    if (ret) {
        op_free(op);
        err_sys(err, ret, "cannot begin an operation");
        return ret;
    }
    *out = op;
    return 0;
}

// Signals are the program's, not this thread's.
static int op_go(struct serai_op *op, struct serai_op **out, struct serai_error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    snprintf(op->progress.step, sizeof(op->progress.step), "starting");
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int ret = -pthread_create(&op->thread, NULL, op_thread, op);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (ret) {
        op_free(op);
        return err_sys(err, ret, "cannot start a thread");
    }
    *out = op;
    return 0;
}

static int run_create(struct serai_op *op, struct serai_error *err)
{
    struct serai_create how = {.start = op->start, .progress = op_on_progress, .progress_ctx = op};
    return serai_domain_create(op->s, op->config, &how, &op->result.domain, err);
}

// A copy by way of the text that records are written in.
static int op_copy_config(struct serai_op *op, const struct serai_config *c,
                          struct serai_error *err)
{
    BUF_AUTO text = {0};
    struct state_record r;
    config_write(c, &text);
    if (text.failed)
        return err_set(err, -ENOMEM, "out of memory");
    int ret = config_parse_text(op->s, "configuration", text.data, text.len, &r, err);
    if (ret)
        return ret;
    op->config = r.config;
    op->config->has_uuid = c->has_uuid; // written in any case
    return 0;
}

int serai_create_start(struct serai *s, const struct serai_config *c,
                       const struct serai_create *how, struct serai_op **out,
                       struct serai_error *err)
{
    struct serai_op *op;
    int ret = config_validate(c, err);
    if (!ret)
        ret = op_new(s, run_create, 0, &op, err);
    if (ret)
        return ret;
    op->start = how && how->start;
    ret = op_copy_config(op, c, err);
    if (ret) {
        op_free(op);
        return ret;
    }
    return op_go(op, out, err);
}

static int run_destroy(struct serai_op *op, struct serai_error *err)
{
    return serai_domain_destroy(op->s, op->result.domain, err);
}

int serai_destroy_start(struct serai *s, uint32_t domain, struct serai_op **out,
                        struct serai_error *err)
{
    struct serai_op *op;
    int ret = op_new(s, run_destroy, domain, &op, err);
    return ret ? ret : op_go(op, out, err);
}

static int run_request(struct serai_op *op, struct serai_error *err)
{
    op_say(op, "asking", 0, false);
    unsigned notice = op->timeout_ms < OP_NOTICE_MS ? op->timeout_ms : OP_NOTICE_MS;
    int ret = serai_domain_request(op->s, op->result.domain, op->what, notice, err);
    if (ret)
        return ret;
    op_say(op, "waiting", 50, false);
    return serai_domain_wait_end(op->s, op->result.domain, op->timeout_ms, err);
}

int serai_request_start(struct serai *s, uint32_t domain, enum serai_request what,
                        unsigned timeout_ms, struct serai_op **out, struct serai_error *err)
{
    struct serai_op *op;
    int ret = op_new(s, run_request, domain, &op, err);
    if (ret)
        return ret;
    op->what = what;
    op->timeout_ms = timeout_ms;
    return op_go(op, out, err);
}

static int run_target(struct serai_op *op, struct serai_error *err)
{
    int ret = serai_domain_set_target(op->s, op->result.domain, op->kib, err);
    if (ret)
        return ret;
    return serai_domain_wait_target(op->s, op->result.domain, op->timeout_ms, op_on_progress, op,
                                    err);
}

int serai_target_start(struct serai *s, uint32_t domain, uint64_t kib, unsigned timeout_ms,
                       struct serai_op **out, struct serai_error *err)
{
    struct serai_op *op;
    int ret = op_new(s, run_target, domain, &op, err);
    if (ret)
        return ret;
    op->kib = kib;
    op->timeout_ms = timeout_ms;
    return op_go(op, out, err);
}

static int run_disk_attach(struct serai_op *op, struct serai_error *err)
{
    op_say(op, "waiting", 10, false);
    return serai_disk_attach(op->s, op->result.domain, &op->disk, err);
}

int serai_disk_attach_start(struct serai *s, uint32_t domain, const struct serai_disk *disk,
                            struct serai_op **out, struct serai_error *err)
{
    struct serai_op *op;
    int ret = op_new(s, run_disk_attach, domain, &op, err);
    if (ret)
        return ret;
    op->disk = *disk;
    op->disk.target = disk->target ? strdup(disk->target) : NULL;
    op->result.devid = disk->devid;
    if (disk->target && !op->disk.target) {
        op_free(op);
        return err_set(err, -ENOMEM, "out of memory");
    }
    return op_go(op, out, err);
}

static int run_disk_detach(struct serai_op *op, struct serai_error *err)
{
    op_say(op, "waiting", 10, false);
    return serai_disk_detach(op->s, op->result.domain, op->devid, op->force, err);
}

static int run_vif_attach(struct serai_op *op, struct serai_error *err)
{
    op_say(op, "waiting", 10, false);
    return serai_vif_attach(op->s, op->result.domain, &op->vif, &op->result.devid, err);
}

static int run_vif_detach(struct serai_op *op, struct serai_error *err)
{
    op_say(op, "waiting", 10, false);
    return serai_vif_detach(op->s, op->result.domain, op->devid, op->force, err);
}

static int op_detach(struct serai *s, op_fn *run, uint32_t domain, unsigned devid, bool force,
                     struct serai_op **out, struct serai_error *err)
{
    struct serai_op *op;
    int ret = op_new(s, run, domain, &op, err);
    if (ret)
        return ret;
    op->devid = op->result.devid = devid;
    op->force = force;
    return op_go(op, out, err);
}

int serai_disk_detach_start(struct serai *s, uint32_t domain, uint32_t devid, bool force,
                            struct serai_op **out, struct serai_error *err)
{
    return op_detach(s, run_disk_detach, domain, devid, force, out, err);
}

int serai_vif_attach_start(struct serai *s, uint32_t domain, const struct serai_vif *vif,
                           struct serai_op **out, struct serai_error *err)
{
    struct serai_op *op;
    int ret = op_new(s, run_vif_attach, domain, &op, err);
    if (ret)
        return ret;
    op->vif = *vif;
    return op_go(op, out, err);
}

int serai_vif_detach_start(struct serai *s, uint32_t domain, unsigned devid, bool force,
                           struct serai_op **out, struct serai_error *err)
{
    return op_detach(s, run_vif_detach, domain, devid, force, out, err);
}

int serai_op_fd(const struct serai_op *op)
{
    return op->event_fd;
}

void serai_op_progress(struct serai_op *op, struct serai_progress *out)
{
    uint64_t pokes;
    pthread_mutex_lock(&op->lock);
    *out = op->progress;
    if (!out->finished && read(op->event_fd, &pokes, sizeof(pokes)) < 0)
        pokes = 0; // nothing new
    pthread_mutex_unlock(&op->lock);
}

void serai_op_cancel(struct serai_op *op)
{
    op_poke(op->cancel_fd);
}

int serai_op_finish(struct serai_op *op, struct serai_op_result *result, struct serai_error *err)
{
    pthread_join(op->thread, NULL);
    int ret = op->ret;
    if (ret && err)
        *err = op->err;
    if (ret == -ECANCELED)
        err_set(err, ret, "cancelled");
    if (result)
        *result = op->result;
    op_free(op);
    return ret;
}
