// SPDX-License-Identifier: BSD-2-Clause
// The devices: one for each directory backend/serai/DOMID/DEVID of the store. device.c drives
// their lives, connect.c makes and ends the connection with a frontend, devices.c finds them.
#pragma once

#include "backend.h"
#include "disk.h"

struct device;

struct device_options {
    const char *root;        // "/local/domain/0/backend/serai"
    const char *journal_dir; // outlives the process, not the machine
    unsigned queues;         // offered, at most DISK_QUEUES_MAX
    unsigned ring_order;     // offered, at most DEVICE_RING_ORDER_MAX
    unsigned indirect;       // segments offered; 0: none
    bool persistent;
    unsigned lock_wait_ms; // how long an image may stay locked by another
};

enum { DEVICE_RING_ORDER_MAX = 4, DEVICE_ERROR = 400 };

// All of them.
struct devices {
    struct host *host;
    struct disk_env env;
    struct device_options options;
    struct loop *loop;
    struct device *list;
    int dirty_fd;           // an eventfd: some device has `dirty` set
    struct queue **by_port; // the queue that a port of ours belongs to
    unsigned ports;
    struct loop_source *purge;
    bool swept; // the journals of devices that are gone
};

// What happens once nothing is in work any more.
enum device_then { THEN_NOTHING, THEN_CLOSED, THEN_GONE, THEN_AGAIN, THEN_SWAP };

// So many at once, then one in a while: for what a guest can cause as often as it likes.
struct device_rate {
    unsigned used;
    uint64_t since_ms;
};

struct device {
    struct devices *all;
    struct device *next;
    uint32_t domid, devid;
    char *back, *front; // directories
    enum xenbus_state own;
    bool known;  // `own` has been read
    bool failed; // see backend_view
    bool dirty, idle;
    bool dead; // its domain, whatever the front end's node says
    bool cdrom, read_only, shared, direct, discard;
    char *params, *format;

    struct image *image, *next_image; // next_image: a new medium, waits for THEN_SWAP
    char *next_params;
    bool opened; // `image` is what params says; NULL for an empty drive
    struct loop_source *retry;
    uint64_t retry_until_ms; // 0: not waiting for a lock

    struct disk disk;
    bool served;
    enum device_then then;
    void *ring[DISK_QUEUES_MAX];
    int port[DISK_QUEUES_MAX];
    unsigned rings, ring_pages;
    void *journal;
    size_t journal_bytes;

    char error[DEVICE_ERROR]; // last told
    uint64_t error_ms;
    struct device_rate tells, reopens;
};

// devices.c
int devices_init(struct devices *all, struct host *host, struct loop *loop,
                 const struct device_options *options);
// Leaves every device as it is for the next process.
void devices_fini(struct devices *all);
// Compares the list with the store: at the start, and after the store's daemon was away.
void devices_scan(struct devices *all);
// Sets the watches of all devices again; their daemon has forgotten them.
void devices_watch_again(struct devices *all);
// A change in the store, as a watch tells it.
void devices_on_watch(struct devices *all, const char *path, const char *token);
// Into the log: what each of them is doing.
void devices_describe(const struct devices *all);
// One of our ports has an event. False when nobody has that port.
bool devices_on_port(struct devices *all, int port);
// -ENOMEM; never when `q` is NULL and the port was set.
int devices_set_port(struct devices *all, int port, struct queue *q);
void device_free(struct device *d);
// The token of its watches.
void device_token(const struct device *d, char token[32]);

// device.c
// Does what the store's state asks for.
void device_update(struct device *d);
void device_set_dirty(struct device *d);
// Takes over the node `rate-limit`, while the device is served.
void device_set_rate(struct device *d);
// Tells people: in the log and in the `error` node.
void device_tell(struct device *d, const char *text);
// Tells, and closes the device.
void device_fail(struct device *d, const char *text);
// A path below a directory of the device.
void device_path(char path[256], const char *dir, const char *key);

// connect.c
// Negotiates and maps. 0; -EAGAIN: the store cannot be asked now; otherwise -errno and `why`.
int device_connect(struct device *d, bool redo, char why[DEVICE_ERROR]);
// Nothing may be in work.
void device_disconnect(struct device *d);
void device_set_limits(struct device *d);
// How far the rings' file of a device that is closed for good is to be forgotten.
void device_forget_journal(const struct device *d);
