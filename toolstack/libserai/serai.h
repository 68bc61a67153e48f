// SPDX-License-Identifier: BSD-2-Clause
// libserai: manage the domains of a machine that runs Serai (or another hypervisor that
// speaks Xen's interface 4.17) from its control domain.
//
// Ownership: what a function returns through an out-parameter belongs to the caller, who
// releases it with the function named there. A handle may be used by any number of threads at
// once, and any number of handles and processes may work at the same time; the library has no
// global state. What a function is given must not change while it runs. serai_close comes last.
//
// Errors are values: functions return 0 or a negative errno number, and when `err` is not
// NULL they describe the fault in it. The library never prints and never exits; what is worth
// telling besides errors goes to the log function of the handle.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "serai_net.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SERAI_STATE_DIR "/run/serai"

struct serai;

struct serai_error {
    int code; // the negative errno number that the function returned
    char text[512];
};

enum serai_log_level { SERAI_LOG_WARNING, SERAI_LOG_INFO, SERAI_LOG_DEBUG };
typedef void serai_log_fn(void *ctx, enum serai_log_level level, const char *text);

// Called now and then by what takes long; return false to cancel (-ECANCELED).
typedef bool serai_progress_fn(void *ctx, const char *step, unsigned percent);

struct serai_options {
    const char *state_dir; // NULL: SERAI_STATE_DIR
    serai_log_fn *log;     // NULL: silent
    void *log_ctx;
    bool local;               // without the hypervisor: for what says that it does not need it
    const char *network_conf; // NULL: SERAI_NETWORK_CONF
};

// Opens the hypervisor's devices. `opt` may be NULL. Release with serai_close.
int serai_open(struct serai **out, const struct serai_options *opt, struct serai_error *err);
void serai_close(struct serai *s);

// ---- the machine (host.c) ----------------------------------------------------------------

struct serai_host {
    unsigned version_major, version_minor;
    char version_extra[16];
    char compiler[64];
    char compile_date[32];
    char capabilities[1024]; // guest interfaces offered, e.g. "xen-3.0-x86_64"
    char cmdline[1024];
    unsigned nr_cpus, max_cpu_id, nr_nodes, cores_per_socket, threads_per_core;
    uint32_t cpu_khz;
    uint64_t total_pages, free_pages, scrub_pages, claimed_pages; // of 4096 bytes
    bool pv, hvm, hap, iommu;
    bool grant_v2;
    char scheduler[16]; // "credit2", ...
};

int serai_host_get(struct serai *s, struct serai_host *out, struct serai_error *err);
// Idle time of each CPU since boot; fills at most `max` entries and says how many.
int serai_host_idle(struct serai *s, uint64_t *idle_ns, unsigned max, unsigned *count,
                    struct serai_error *err);
// The hypervisor's messages; `clear` empties the ring. Release *text with free().
int serai_host_messages(struct serai *s, bool clear, char **text, size_t *len,
                        struct serai_error *err);
// Acts as if the keys had been typed at the hypervisor's console.
int serai_host_debug_keys(struct serai *s, const char *keys, struct serai_error *err);

enum { SERAI_NODES_MAX = 64 };

// How the machine is built (topology.c). Release *list with free().
struct serai_cpu {
    unsigned id, core, socket, node;
};
int serai_cpu_list(struct serai *s, struct serai_cpu **list, size_t *count,
                   struct serai_error *err);
struct serai_node {
    unsigned id;
    uint64_t total_bytes, free_bytes;
    uint32_t distance[SERAI_NODES_MAX]; // to each node, by its id; 10: to itself
};
int serai_node_list(struct serai *s, struct serai_node **list, size_t *count,
                    struct serai_error *err);

// ---- sets of CPUs (cpumap.c) ---------------------------------------------------------------

enum { SERAI_CPUS_MAX = 4096 };
struct serai_cpumap {
    uint8_t bits[SERAI_CPUS_MAX / 8];
};

// Reads "0-3,7,^2", "all" or "none". -EINVAL when malformed.
int serai_cpumap_parse(const char *text, struct serai_cpumap *out, struct serai_error *err);
// Writes the shortest form; with nr_cpus not 0 the full set is "all". Returns `text`.
char *serai_cpumap_format(const struct serai_cpumap *map, unsigned nr_cpus, char *text,
                          size_t size);
static inline bool serai_cpumap_has(const struct serai_cpumap *map, unsigned cpu)
{
    return cpu < SERAI_CPUS_MAX && (map->bits[cpu / 8] >> (cpu % 8) & 1);
}

// ---- domains (domain.c) --------------------------------------------------------------------

enum serai_domain_flag {
    SERAI_DOMAIN_RUNNING = 1 << 0,
    SERAI_DOMAIN_BLOCKED = 1 << 1,
    SERAI_DOMAIN_PAUSED = 1 << 2,
    SERAI_DOMAIN_SHUTDOWN = 1 << 3, // ended by itself: see shutdown_reason
    SERAI_DOMAIN_DYING = 1 << 4,
    SERAI_DOMAIN_HVM = 1 << 5,
    SERAI_DOMAIN_MANAGED = 1 << 6, // has a record in the state directory
};

enum serai_shutdown {
    SERAI_SHUTDOWN_POWEROFF = 0,
    SERAI_SHUTDOWN_REBOOT = 1,
    SERAI_SHUTDOWN_SUSPEND = 2,
    SERAI_SHUTDOWN_CRASH = 3,
    SERAI_SHUTDOWN_WATCHDOG = 4,
    SERAI_SHUTDOWN_SOFT_RESET = 5,
};

enum { SERAI_NAME_MAX = 64, SERAI_UUID_TEXT = 37 };

struct serai_domain {
    uint32_t id;
    char name[SERAI_NAME_MAX + 1]; // "Domain-0", the record's, xenstore's or "(unknown)"
    uint8_t uuid[16];
    unsigned flags;
    unsigned shutdown_reason;
    uint64_t pages, max_pages;
    uint64_t cpu_ns; // since the domain was created, all virtual CPUs together
    unsigned online_vcpus, max_vcpus;
    uint64_t claimed_pages; // set aside for it, not yet its own
};

// All domains by ascending id. Release *list with free().
int serai_domain_list(struct serai *s, struct serai_domain **list, size_t *count,
                      struct serai_error *err);
// One domain. -ESRCH when there is none with that id.
int serai_domain_get(struct serai *s, uint32_t id, struct serai_domain *out,
                     struct serai_error *err);
// By name or decimal id. -ESRCH, with the nearest name in the text.
int serai_domain_find(struct serai *s, const char *name, struct serai_domain *out,
                      struct serai_error *err);
int serai_domain_pause(struct serai *s, uint32_t id, struct serai_error *err);
int serai_domain_unpause(struct serai *s, uint32_t id, struct serai_error *err);
// Ends the domain at once, frees what it held and forgets its record. Returns when the
// hypervisor has released everything nobody else still maps. Refuses the control domain.
int serai_domain_destroy(struct serai *s, uint32_t id, struct serai_error *err);
// -EEXIST when the name is in use, -EINVAL when it is malformed.
// The name in xenstore changes as well.
int serai_domain_rename(struct serai *s, uint32_t id, const char *name, struct serai_error *err);
// Gives the domain another name (NAME-1, NAME-2, ...) and UUID, so that both can be used again.
// For domains that have ended: nothing is done about them any more (their actions become
// "preserve").
int serai_domain_set_aside(struct serai *s, uint32_t id, struct serai_error *err);
// "poweroff", "reboot", ...
const char *serai_shutdown_name(unsigned reason);
char *serai_uuid_format(const uint8_t uuid[16], char text[SERAI_UUID_TEXT]);
bool serai_uuid_parse(const char *text, uint8_t uuid[16]);
int serai_uuid_random(uint8_t uuid[16], struct serai_error *err);

// ---- virtual CPUs and shares (vcpu.c, sched.c) ---------------------------------------------

struct serai_vcpu {
    unsigned id;
    bool online, blocked, running;
    unsigned cpu; // where it runs or last ran
    uint64_t cpu_ns;
    struct serai_cpumap hard, soft;
};

// Release *list with free().
int serai_vcpu_list(struct serai *s, uint32_t domain, struct serai_vcpu **list, size_t *count,
                    struct serai_error *err);
// Either map may be NULL (unchanged).
int serai_vcpu_pin(struct serai *s, uint32_t domain, unsigned vcpu, const struct serai_cpumap *hard,
                   const struct serai_cpumap *soft, struct serai_error *err);

enum { SERAI_SCHED_KEEP = -1 };
struct serai_sched {
    int weight; // 1 to 65535; the share is proportional to it
    int cap;    // percent of one CPU, 0: none
};
int serai_sched_get(struct serai *s, uint32_t domain, struct serai_sched *out,
                    struct serai_error *err);
// Fields that are SERAI_SCHED_KEEP stay as they are.
int serai_sched_set(struct serai *s, uint32_t domain, const struct serai_sched *in,
                    struct serai_error *err);

// ---- CPU pools (pool.c) ----------------------------------------------------------------------

// A set of CPUs with guests and a scheduler of their own. Every CPU is in one pool or free.
struct serai_pool {
    uint32_t id;
    char name[SERAI_NAME_MAX + 1]; // in xenstore; "Pool-N" when it has none
    char scheduler[16];
    unsigned domains;
    struct serai_cpumap cpus;
};
// Release *list with free().
int serai_pool_list(struct serai *s, struct serai_pool **list, size_t *count,
                    struct serai_error *err);
// By name or decimal id; -ESRCH.
int serai_pool_find(struct serai *s, const char *name, struct serai_pool *out,
                    struct serai_error *err);
// Makes a pool of CPUs that are free; `cpus` NULL: of none.
int serai_pool_create(struct serai *s, const char *name, const struct serai_cpumap *cpus,
                      uint32_t *id, struct serai_error *err);
// -EBUSY while guests are in it. Its CPUs are free then.
int serai_pool_destroy(struct serai *s, uint32_t id, struct serai_error *err);
int serai_pool_rename(struct serai *s, uint32_t id, const char *name, struct serai_error *err);
// Adds CPUs that are free, or takes them out.
int serai_pool_change(struct serai *s, uint32_t id, const struct serai_cpumap *cpus, bool add,
                      struct serai_error *err);
int serai_pool_move(struct serai *s, uint32_t domain, uint32_t id, struct serai_error *err);

// ---- disks (disk.c, disk_spec.c, vdev.c) ---------------------------------------------------

enum serai_disk_format {
    SERAI_DISK_RAW,
    SERAI_DISK_VHD,
    SERAI_DISK_QCOW,
    SERAI_DISK_QCOW2,
    SERAI_DISK_QED,
};

enum serai_disk_backend {
    SERAI_DISK_AUTO, // block devices: PHY; image files: BLKD when it runs, else PHY
    SERAI_DISK_PHY,  // the kernel's xen-blkback; image files through a loop device
    SERAI_DISK_BLKD, // blkd(8)
};

enum { SERAI_VDEV_SIZE = 16 };

struct serai_disk {
    char *target; // absolute path, malloc'ed; NULL: an empty CD drive
    enum serai_disk_format format;
    enum serai_disk_backend backend;
    char vdev[SERAI_VDEV_SIZE]; // "xvda", as the guest is told
    uint32_t devid;             // its number
    bool cdrom, readonly;
    bool shared;         // others may write it as well: the guests know how to share (access "w!")
    bool no_discard;     // the guest is not offered to give back blocks
    bool untrusted;      // the guest is told not to trust the backend
    bool direct;         // blkd goes around the control domain's page cache (direct-io-safe)
    uint64_t rate_bytes; // what it may transfer in a second; 0: no limit. Only blkd limits
    uint64_t rate_requests;
};

// Reads one element of `disk = [ ... ]` in the syntax of xl-disk-configuration(5), with the
// additions access=w!, backendtype=blkd, rate= and iops=. -EINVAL when it is wrong, -EOPNOTSUPP for
// what is not offered (scripts, driver domains, virtio). Release what *out holds with
// serai_disk_clear.
int serai_disk_parse(const char *text, struct serai_disk *out, struct serai_error *err);
void serai_disk_clear(struct serai_disk *d);
// Writes it back so that serai_disk_parse reads the same. NULL without memory; free() it.
char *serai_disk_text(const struct serai_disk *d);
// The number of "xvda", "sda1", "hdc", "d3p2" or of a number, as xen-vbd-interface(7) says.
int serai_vdev_parse(const char *text, uint32_t *number, struct serai_error *err);
const char *serai_disk_format_name(enum serai_disk_format format);

// Adds a disk to a domain, also to one that runs, and notes it in the domain's record. Returns
// when the backend has opened it. -EBUSY when a guest or the control domain uses it in a way
// that could destroy its contents; -EEXIST when the domain has a disk with that number.
int serai_disk_attach(struct serai *s, uint32_t domain, const struct serai_disk *disk,
                      struct serai_error *err);
// Asks the guest to let go of a disk and removes it. -EBUSY while the guest keeps reading or
// writing; -ETIMEDOUT when it does not let go within some seconds (it stays asked). `force` asks in
// any case, and takes it away then.
int serai_disk_detach(struct serai *s, uint32_t domain, uint32_t devid, bool force,
                      struct serai_error *err);
// Changes the limits of a disk while the guest runs; 0: none. -EOPNOTSUPP when blkd does not serve
// it.
int serai_disk_set_rate(struct serai *s, uint32_t domain, uint32_t devid, uint64_t bytes,
                        uint64_t requests, struct serai_error *err);
// "20MB/s" as the key `rate` of a disk has it, bytes for each second; "none" and "0" give 0.
int serai_disk_rate_parse(const char *text, uint64_t *bytes, struct serai_error *err);
// Puts another image into a CD drive; NULL: takes out the one that is in it.
int serai_disk_insert(struct serai *s, uint32_t domain, uint32_t devid, const char *target,
                      struct serai_error *err);

// How far front and back of a device have come: xen/io/xenbus.h.
enum serai_device_state {
    SERAI_DEVICE_UNKNOWN,
    SERAI_DEVICE_INITIALISING,
    SERAI_DEVICE_INIT_WAIT,
    SERAI_DEVICE_INITIALISED,
    SERAI_DEVICE_CONNECTED,
    SERAI_DEVICE_CLOSING,
    SERAI_DEVICE_CLOSED,
};
const char *serai_device_state_name(unsigned state);

struct serai_disk_status {
    struct serai_disk disk;
    char backend[16]; // "phy", "blkd", or another toolstack's word
    unsigned frontend_state, backend_state;
    char backend_path[256]; // in xenstore
};
// By ascending number. Release with serai_disk_list_free.
int serai_disk_list(struct serai *s, uint32_t domain, struct serai_disk_status **list,
                    size_t *count, struct serai_error *err);
void serai_disk_list_free(struct serai_disk_status *list, size_t count);

// ---- network interfaces (vif.c; what they are connected to: serai_net.h) --------------------

// As for disks. *devid (may be NULL) is the number the interface got; MAC and devid are chosen
// when they are not given.
int serai_vif_attach(struct serai *s, uint32_t domain, const struct serai_vif *vif, unsigned *devid,
                     struct serai_error *err);
int serai_vif_detach(struct serai *s, uint32_t domain, unsigned devid, bool force,
                     struct serai_error *err);

struct serai_vif_status {
    unsigned devid;
    uint8_t mac[6];
    char device[16], bridge[16]; // "" where unknown
    unsigned frontend_state, backend_state;
    char backend_path[256];
};
// By ascending devid. Release *list with free().
int serai_vif_list(struct serai *s, uint32_t domain, struct serai_vif_status **list, size_t *count,
                   struct serai_error *err);

// ---- what devices have carried (usage.c) ------------------------------------------------------

enum serai_usage_kind { SERAI_USAGE_DISK, SERAI_USAGE_VIF };

// As counted by the backend since it was started or the device was connected: a number that has
// become smaller began anew.
struct serai_usage {
    uint32_t domain;
    enum serai_usage_kind kind;
    uint32_t devid;
    uint64_t in_bytes, out_bytes; // into the guest (read, received), out of it (written, sent)
    uint64_t in_count, out_count; // requests or packets
};
// Of all guests, ordered by domain, kind and devid. Release *list with free().
int serai_usage_list(struct serai *s, struct serai_usage **list, size_t *count,
                     struct serai_error *err);

// ---- asking guests (life.c, balloon.c) ------------------------------------------------------

enum serai_request { SERAI_REQUEST_POWEROFF, SERAI_REQUEST_REBOOT, SERAI_REQUEST_HALT };
// Asks a guest to end itself and waits at most `timeout_ms` for it to take notice (-ETIMEDOUT; 0:
// does not wait). -EOPNOTSUPP when the guest says that it does not do this, or has no xenstore.
int serai_domain_request(struct serai *s, uint32_t id, enum serai_request what, unsigned timeout_ms,
                         struct serai_error *err);
// A magic SysRq key for a Linux guest.
int serai_domain_sysrq(struct serai *s, uint32_t id, char key, struct serai_error *err);
// Waits until the domain has ended or is gone. -ETIMEDOUT.
int serai_domain_wait_end(struct serai *s, uint32_t id, unsigned timeout_ms,
                          struct serai_error *err);

// What can become of a domain. It has ended "shutdown" also when it is gone.
enum serai_wait {
    SERAI_WAIT_RUNNING, // also one that is not there yet
    SERAI_WAIT_SHUTDOWN,
    SERAI_WAIT_CRASHED,  // -EREMCHG when it ends otherwise
    SERAI_WAIT_REBOOTED, // there is another one of its name
    SERAI_WAIT_DESTROYED,
};
// Waits for that, at most timeout_ms (-1: for ever; -ETIMEDOUT). Told by xenstore; where none is
// served it looks a few times a second.
int serai_domain_wait(struct serai *s, const char *name, enum serai_wait what, int64_t timeout_ms,
                      struct serai_error *err);
// For whoever removes a domain that has ended: keeps why, for those who wait for it.
int serai_domain_note_end(struct serai *s, const struct serai_domain *d);
// Asks all guests to shut down, waits for at most timeout_ms altogether, and destroys what is
// left. None of them is made again, whatever its configuration says.
int serai_guests_stop(struct serai *s, unsigned timeout_ms, struct serai_error *err);

// The memory that the guest's balloon driver is to keep, in KiB: at most what it was made for.
// The hypervisor's limit follows.
int serai_domain_set_target(struct serai *s, uint32_t id, uint64_t kib, struct serai_error *err);
// Waits until the guest has what its target says. -ETIMEDOUT when it does not come closer any
// more for timeout_ms. `progress` (may be NULL) may give up: see serai_progress_fn.
int serai_domain_wait_target(struct serai *s, uint32_t id, unsigned timeout_ms,
                             serai_progress_fn *progress, void *ctx, struct serai_error *err);
// Its memory is shared out automatically again, after serai_domain_set_target. -EINVAL for one that
// was made without a range.
int serai_domain_set_automatic(struct serai *s, uint32_t id, struct serai_error *err);

// Shares free memory between guests with a range (minmem), each getting its minimum and the same
// fraction of its range. Called every few seconds by one process, lifed(8).
struct serai_balance;
int serai_balance_open(struct serai *s, struct serai_balance **out, struct serai_error *err);
// One round, in which keep_kib stay free. How many guests take part, or a negative errno number.
int serai_balance_round(struct serai_balance *b, uint64_t keep_kib, struct serai_error *err);
void serai_balance_close(struct serai_balance *b);

// The hypervisor's limit alone; not below the target.
int serai_domain_set_max(struct serai *s, uint32_t id, uint64_t kib, struct serai_error *err);
// How many virtual CPUs the guest is to have online.
int serai_domain_set_vcpus(struct serai *s, uint32_t id, unsigned count, struct serai_error *err);

// ---- configuration and creation (config.c, create.c, build_pv.c) ---------------------------

enum serai_action {
    SERAI_ACTION_DESTROY,
    SERAI_ACTION_RESTART,
    SERAI_ACTION_PRESERVE,
    SERAI_ACTION_RENAME_RESTART,   // keep the dead domain under another name, start anew
    SERAI_ACTION_COREDUMP_DESTROY, // write its memory into a file first
    SERAI_ACTION_COREDUMP_RESTART,
};

enum serai_tsc { SERAI_TSC_DEFAULT, SERAI_TSC_EMULATE, SERAI_TSC_NATIVE };

// What a guest is made from. Fill it by hand or with serai_config_load. Strings are owned by
// the structure and were malloc'ed; release with serai_config_free.
struct serai_config {
    char *name;
    uint8_t uuid[16];
    bool has_uuid;                 // false: one is made up
    char *kernel;                  // absolute path
    char *ramdisk;                 // absolute path or NULL
    char *cmdline;                 // or NULL
    uint64_t memory_mb, maxmem_mb; // maxmem_mb 0: the same as memory_mb
    uint64_t minmem_mb;            // 0: keeps its memory; else it is shared out from minmem_mb on
    bool memory_pinned;            // ... but somebody has set it
    unsigned vcpus, maxvcpus;      // maxvcpus 0: the same as vcpus
    struct serai_cpumap *cpus;     // hard affinity: none (0), one for all (1), or one per vCPU
    size_t cpus_count;
    struct serai_cpumap *cpus_soft; // soft affinity, in the same way
    size_t cpus_soft_count;
    int cpu_weight, cap; // SERAI_SCHED_KEEP: the scheduler's default
    enum serai_tsc tsc;
    struct serai_disk *disks;
    size_t nr_disks;
    struct serai_vif *vifs;
    size_t nr_vifs;
    enum serai_action on_poweroff, on_reboot, on_crash, on_watchdog;
};

// Reads a configuration file in xl.cfg's syntax; `overrides` are key=value arguments that win
// over it. Warnings about keys without effect go to the handle's log. `path` may be NULL
// (overrides alone). Errors name file:line:column. Release *out with serai_config_free.
int serai_config_load(struct serai *s, const char *path, const char *const *overrides, size_t count,
                      struct serai_config **out, struct serai_error *err);
void serai_config_free(struct serai_config *c);

struct serai_create {
    bool start; // unpause when everything is in place
    // The process exits, or becomes another program, soon after: mappings of the guest are left
    // to its end, where the kernel removes them at a fraction of the cost of doing it now. Until
    // then (or serai_close) the guest must not run, because frames that are writable here cannot
    // become its page tables or descriptor tables, and the domain cannot disappear entirely.
    // Not together with `start`.
    bool exiting;
    serai_progress_fn *progress;
    void *progress_ctx;
};

// Builds a guest. On failure nothing stays behind. `how` may be NULL (stays paused).
int serai_domain_create(struct serai *s, const struct serai_config *c,
                        const struct serai_create *how, uint32_t *id, struct serai_error *err);
// What a domain was created from. -ESRCH without a record. Release with serai_config_free.
int serai_domain_config(struct serai *s, uint32_t id, struct serai_config **out,
                        struct serai_error *err);
// Gives a domain another configuration, for when it is made again (after a reboot); name and UUID
// stay.
int serai_domain_set_config(struct serai *s, uint32_t id, const struct serai_config *c,
                            struct serai_error *err);
// When it was made, in seconds since 1970. -ENODATA when nobody knows.
int serai_domain_started(struct serai *s, uint32_t id, int64_t *seconds, struct serai_error *err);
// Destroys domains whose creator died half-way and forgets records of domains that are gone.
// Every create does it first. Returns how many things were cleared away, or an error.
int serai_sweep(struct serai *s, struct serai_error *err);

// ---- dumps (core.c) ------------------------------------------------------------------------

#define SERAI_DUMP_DIR "/var/lib/serai/dump"
// Writes a PV guest's memory and registers into a file in the format of Xen's dump-core, which
// crash(8) reads. A guest that runs is paused meanwhile. The file appears when it is whole, under
// its name; its empty pages take no room. `progress` may be NULL.
int serai_domain_dump(struct serai *s, uint32_t id, const char *path, serai_progress_fn *progress,
                      void *progress_ctx, struct serai_error *err);

// ---- consoles (console.c) ------------------------------------------------------------------

// Where the console ring of a domain is, for a daemon that serves it.
struct serai_console {
    uint64_t mfn;
    uint32_t port; // the guest's end of its event channel
};
int serai_console_get(struct serai *s, uint32_t id, struct serai_console *out,
                      struct serai_error *err);
// Connects to the console daemon: the descriptor carries raw bytes both ways, beginning with
// recent output. Close it to detach.
int serai_console_attach(struct serai *s, uint32_t id, int *fd, struct serai_error *err);
// For the daemon: tells other programs, through xenstore, which terminal is the console. Nothing
// happens for a domain that has no nodes there. -ENOTCONN when none is served.
int serai_console_set_tty(struct serai *s, uint32_t id, const char *path, struct serai_error *err);
// Path of the daemon's socket, and of the directory that has one entry per managed domain,
// named by its id (watch it with inotify to learn of domains that come and go).
const char *serai_console_socket(const struct serai *s);
const char *serai_domain_dir(const struct serai *s);

// ---- operations (op.c) -------------------------------------------------------------------------

// An operation is started, runs in a thread of its own, and is finished:
//
//     struct serai_op *op;
//     int ret = serai_create_start(s, config, &how, &op, &err);
//     poll serai_op_fd(op) for reading; serai_op_progress(op, &p) until p.finished
//     ret = serai_op_finish(op, &result, &err);
//
// Start functions copy what they are given, check what can be checked at once, and return 0 or
// a negative errno number. Every operation that was started must be finished, cancelled or not.
// Any number of them may run on one handle at the same time; the handle may be closed meanwhile.
// An operation's functions may be called from any thread, but none after (or during) its
// serai_op_finish. The handle's log function is then called from the operation's thread.
struct serai_op;

struct serai_progress {
    bool finished;
    unsigned percent; // 0 to 100, never goes back
    char step[32];    // one word for people: "memory", "kernel", "devices", "waiting"
};

struct serai_op_result {
    uint32_t domain; // the one worked on; of a create the new one
    unsigned devid;  // of the device that was attached
};

// serai_domain_create. Of `how` (may be NULL) only `start` counts.
int serai_create_start(struct serai *s, const struct serai_config *c,
                       const struct serai_create *how, struct serai_op **out,
                       struct serai_error *err);
// serai_domain_destroy. Once begun it cannot be cancelled.
int serai_destroy_start(struct serai *s, uint32_t domain, struct serai_op **out,
                        struct serai_error *err);
// serai_domain_request, then serai_domain_wait_end: finished when the guest has ended (a
// rebooted guest is a new domain). -ETIMEDOUT when it does not within timeout_ms, or does not
// take notice within 20 seconds. A cancelled guest stays asked.
int serai_request_start(struct serai *s, uint32_t domain, enum serai_request what,
                        unsigned timeout_ms, struct serai_op **out, struct serai_error *err);
// serai_domain_set_target, then serai_domain_wait_target. What was given back or taken by the
// time it is cancelled stays so, and so does the target.
int serai_target_start(struct serai *s, uint32_t domain, uint64_t kib, unsigned timeout_ms,
                       struct serai_op **out, struct serai_error *err);
// serai_disk_attach and so on. A cancelled attach takes the device away again; after a cancelled
// detach the guest stays asked to let go.
int serai_disk_attach_start(struct serai *s, uint32_t domain, const struct serai_disk *disk,
                            struct serai_op **out, struct serai_error *err);
int serai_disk_detach_start(struct serai *s, uint32_t domain, uint32_t devid, bool force,
                            struct serai_op **out, struct serai_error *err);
int serai_vif_attach_start(struct serai *s, uint32_t domain, const struct serai_vif *vif,
                           struct serai_op **out, struct serai_error *err);
int serai_vif_detach_start(struct serai *s, uint32_t domain, unsigned devid, bool force,
                           struct serai_op **out, struct serai_error *err);

// A descriptor that is readable when there is progress to look at, and from the end on. It
// belongs to the operation.
int serai_op_fd(const struct serai_op *op);
// How far it is; makes the descriptor unreadable until there is more to say.
void serai_op_progress(struct serai_op *op, struct serai_progress *out);
// Asks it to stop and returns at once. What it was doing is undone: a cancelled create leaves
// nothing behind. An operation that is at its end succeeds all the same.
void serai_op_cancel(struct serai_op *op);
// Waits for its end, releases it, and returns what the function of the same name would have:
// 0, a negative errno number with text, or -ECANCELED. `result` may be NULL.
int serai_op_finish(struct serai_op *op, struct serai_op_result *result, struct serai_error *err);

// ---- news of domains (events.c) --------------------------------------------------------------

enum serai_event_type {
    SERAI_EVENT_CREATED,
    SERAI_EVENT_SHUTDOWN,  // ended by itself: see `reason`
    SERAI_EVENT_DESTROYED, // gone, or going
    SERAI_EVENT_RENAMED,   // see `old_name`
};

struct serai_event {
    enum serai_event_type type;
    uint32_t domain;
    uint8_t uuid[16];
    char name[SERAI_NAME_MAX + 1];
    char old_name[SERAI_NAME_MAX + 1];
    unsigned reason; // enum serai_shutdown
};

// Watches the domains through xenstore; -ENOTCONN when none is served. What is there already is
// not told: open first, then list. One thread at a time may use it. It keeps the handle open.
// Release with serai_events_close.
struct serai_events;
int serai_events_open(struct serai *s, struct serai_events **out, struct serai_error *err);
// A descriptor to poll for reading; the same for ever.
int serai_events_fd(const struct serai_events *e);
// The next event: 1, or 0 when there are no more for now, or a negative errno number. Never
// waits. Nothing is missed when the xenstore daemon is restarted.
int serai_events_next(struct serai_events *e, struct serai_event *out, struct serai_error *err);
// For those who look at the domains themselves: forgets what has come. -ECONNRESET when the
// daemon is gone: close and open again.
int serai_events_take(struct serai_events *e);
void serai_events_close(struct serai_events *e);
// "created", ...
const char *serai_event_name(enum serai_event_type type);

#ifdef __cplusplus
}
#endif
