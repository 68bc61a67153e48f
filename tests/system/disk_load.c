// SPDX-License-Identifier: BSD-2-Clause
/* disk_load DEVICE SECONDS THREADS BLOCKS: in a guest, writes, reads and flushes blocks of a disk
 * past the page cache, at random, each thread in a part of its own, and checks every byte that it
 * has written before; until the time is over, or there is a file /stop. Prints "disk: DEVICE good"
 * and how much that was, or what was wrong. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, MOST = 16, THREADS_MAX = 16 };

struct worker {
    pthread_t thread;
    unsigned number, seed;
    uint64_t first, blocks;
    unsigned operations, longest_ms;
    bool bad;
};

static const char *device;
static unsigned seconds;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint32_t pattern(uint64_t block, uint32_t version, unsigned word)
{
    return version * 7919 + (uint32_t)block * 31 + word;
}

static bool complain(struct worker *w, const char *what, uint64_t block)
{
    printf("disk: %s bad: %s, block %llu, %s\n", device, what, (unsigned long long)block,
           strerror(errno));
    w->bad = true;
    return false;
}

static bool put(struct worker *w, int fd, uint32_t *data, uint64_t at, unsigned count,
                uint32_t *version)
{
    for (unsigned b = 0; b < count; b++) {
        version[at + b]++;
        for (unsigned i = 0; i < BLOCK / 4; i++) {
            data[b * (BLOCK / 4) + i] = pattern(w->first + at + b, version[at + b], i);
        }
    }
    if (pwrite(fd, data, count * BLOCK, (off_t)(w->first + at) * BLOCK) != count * BLOCK) {
        return complain(w, "write", w->first + at);
    }
    return rand_r(&w->seed) % 32 || !fsync(fd) || complain(w, "flush", 0);
}

static bool check(struct worker *w, int fd, uint32_t *data, uint64_t at, unsigned count,
                  const uint32_t *version)
{
    memset(data, 0xee, count * BLOCK);
    if (pread(fd, data, count * BLOCK, (off_t)(w->first + at) * BLOCK) != count * BLOCK) {
        return complain(w, "read", w->first + at);
    }
    for (unsigned b = 0; b < count; b++) {
        for (unsigned i = 0; version[at + b] && i < BLOCK / 4; i++) {
            if (data[b * (BLOCK / 4) + i] != pattern(w->first + at + b, version[at + b], i)) {
                return complain(w, "contents", w->first + at + b);
            }
        }
    }
    return true;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    uint32_t *version = calloc(w->blocks, sizeof(uint32_t));
    uint32_t *data = aligned_alloc(BLOCK, MOST * BLOCK);
    int fd = open(device, O_RDWR | O_DIRECT);
    if (fd < 0 || !version || !data) {
        complain(w, "open", 0);
        return NULL;
    }
    double end = now() + seconds;
    for (; !w->bad && now() < end && access("/stop", F_OK); w->operations++) {
        double start = now();
        unsigned count = 1 + (unsigned)rand_r(&w->seed) % MOST;
        uint64_t at = (unsigned)rand_r(&w->seed) % (w->blocks - MOST);
        if (rand_r(&w->seed) % 2) {
            put(w, fd, data, at, count, version);
        } else {
            check(w, fd, data, at, count, version);
        }
        unsigned ms = (unsigned)((now() - start) * 1000);
        w->longest_ms = ms > w->longest_ms ? ms : w->longest_ms;
    }
    for (uint64_t at = 0; !w->bad && at + MOST <= w->blocks; at += MOST) {
        check(w, fd, data, at, MOST, version);
    }
    close(fd);
    return NULL;
}

int main(int argc, char **argv)
{
    struct worker w[THREADS_MAX] = {0};
    unsigned operations = 0, longest = 0;
    bool bad = false;
    if (argc != 5) {
        return 2;
    }
    device = argv[1];
    seconds = (unsigned)atoi(argv[2]);
    unsigned threads = (unsigned)atoi(argv[3]);
    for (unsigned i = 0; i < threads && i < THREADS_MAX; i++) {
        w[i].number = i;
        w[i].seed = 77 * i + 5;
        w[i].blocks = (uint64_t)atoll(argv[4]) / threads;
        w[i].first = w[i].blocks * i;
        pthread_create(&w[i].thread, NULL, work, &w[i]);
    }
    for (unsigned i = 0; i < threads && i < THREADS_MAX; i++) {
        pthread_join(w[i].thread, NULL);
        operations += w[i].operations;
        longest = w[i].longest_ms > longest ? w[i].longest_ms : longest;
        bad |= w[i].bad;
    }
    if (!bad) {
        printf("disk: %s good: %u operations, the longest took %u ms\n", device, operations,
               longest);
    }
    return bad;
}
