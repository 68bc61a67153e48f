// SPDX-License-Identifier: BSD-2-Clause
/* A guest and its world for the block daemon: memory with grants, a store, event channels, and a
 * front end that speaks both layouts of the ring. All of it is shared memory, so that the daemon
 * may live in a child that is killed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "device.h"

enum {
    FAKE_PAGES = 4096,
    FAKE_NODES = 256,
    FAKE_DOMID = 7,
    FAKE_DEVID = 51712,
    FAKE_PORTS = 32,
    FAKE_SEGMENTS = 256
};

struct fake_node {
    char path[160], value[400];
    bool used;
};

struct fake_world {
    uint32_t lock;
    uint32_t generation; /* of the store */
    struct fake_node node[FAKE_NODES];
    bool granted[FAKE_PAGES];
    bool bound[FAKE_PORTS];
    uint32_t maps, unmaps, copies; /* pages, pages, pieces */
    bool dead;                     /* the domain */
};

extern struct fake_world *fake;
extern uint8_t *fake_memory; /* FAKE_PAGES pages; page n is granted as reference n */
extern const char *fake_dir; /* a directory for images and journals */
extern struct device_options fake_options;
extern bool fake_direct; /* fake_attach asks for transfers around the page cache */

void fake_new(void);
void fake_free(void);
/* A page for the front end, granted. */
uint32_t fake_page(void);
void *fake_address(uint32_t gref);

void fake_write(const char *path, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "" when there is no such node; valid until the next call but three. */
const char *fake_read(const char *path);
void fake_remove(const char *dir);
/* Nodes of the device's two ends. */
const char *fake_back(const char *key);
const char *fake_front(const char *key);
int fake_back_state(void);
/* What the toolstack does: `params` is put below fake_dir unless absolute or empty. */
void fake_attach(const char *params, const char *mode, const char *type);
/* An image of that many bytes, zeroes. */
void fake_image(const char *name, uint64_t bytes);
int fake_image_fd(const char *name, int flags);

/* The daemon in this process. */
void fake_start(void);
void fake_stop(void);
extern struct devices fake_devices;
/* Lets the daemon work until `done` says so; false after ten seconds. */
bool fake_run(bool (*done)(void *arg), void *arg);
bool fake_run_state(int back_state);
/* Lets it work for that long. */
void fake_run_ms(unsigned ms);
/* The daemon in a child; fake_kill kills it with SIGKILL. */
void fake_spawn(void);
void fake_kill(void);

struct front_queue {
    enum blk_abi abi;
    unsigned pages, entries;
    uint8_t *ring; /* contiguous for us: the pages of the ring are chosen so */
    uint32_t gref, req_prod, rsp_cons;
    uint32_t port;
};

struct front_request {
    uint8_t operation;
    bool indirect;
    uint64_t id, sector, nr_sectors;
    unsigned count;
    struct blk_segment seg[FAKE_SEGMENTS];
    uint32_t page; /* of indirect segments */
};

struct front_response {
    uint64_t id;
    uint8_t operation;
    int16_t status;
};

struct front {
    unsigned queues;
    struct front_queue queue[DISK_QUEUES_MAX];
};

/* Makes rings, writes the nodes and goes to Initialised. */
void front_connect(struct front *f, enum blk_abi abi, unsigned queues, unsigned order,
                   bool persistent);
/* Takes its rings' pages and nodes away again. */
void front_disconnect(struct front *f);
void front_put(struct front_queue *q, const struct front_request *r);
/* Shows what was put, and sends an event if the back end asked for one. */
void front_push(struct front_queue *q);
bool front_get(struct front_queue *q, struct front_response *r);
/* One request through the daemon in this process; its status, or 1 when no answer came. */
int front_do(struct front_queue *q, const struct front_request *r);
/* A read or write of whole sectors at the start of pages from `gref` on. */
struct front_request front_io(uint8_t operation, uint64_t sector, uint32_t gref, unsigned sectors);
