// SPDX-License-Identifier: BSD-2-Clause
/*
 * lat: micro-operations whose cost differs between a bare kernel and the same
 * kernel under a hypervisor.  Meant to run under `qemu -accel tcg -icount
 * shift=0`, where the TSC advances by one per guest instruction, so a cost is
 * a path length (instructions retired anywhere in the machine: user, kernel,
 * hypervisor, device model), not a time.
 *
 * Every operation is timed in REPS batches of n iterations; the smallest batch
 * is the cost (no timer tick in it, normally), the largest shows the noise.
 * Each batch lies between two marker no-ops which the `split` QEMU plugin
 * recognises, so it can tell who executed the instructions.
 *
 * Output, all at the end so the console disturbs nothing:
 *   LAT name n min median max ns
 * min, median, max: TSC ticks of a batch; ns: CLOCK_MONOTONIC of the min batch.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define REPS    9
#define MARK(k) asm volatile(".byte 0x0f,0x1f,0x84,0x00; .long 0x4c415400+%c0" ::"i"(k) : "memory")

static inline uint64_t tsc(void)
{
    uint32_t a, d;
    asm volatile("rdtsc" : "=a"(a), "=d"(d)::"memory");
    return a | (uint64_t)d << 32;
}
static uint64_t mono(void)
{
    struct timespec t;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static void die(const char *s)
{
    printf("lat: %s: %s\n", s, strerror(errno));
    exit(1);
}

static char *prog; /* path of the static `true` */
static char *tmpf; /* a file in the page cache */
static int p1[2], p2[2], sv[2], fd = -1, zero, null, priv = -1;
static char buf[1 << 16] __attribute__((aligned(4096)));
static char buf2[1 << 16] __attribute__((aligned(4096)));
static char *area;
static pid_t child;
static volatile int hits;

static void op_getppid(int n)
{
    while (n--)
        syscall(SYS_getppid);
}
static void op_rdtsc(int n)
{
    while (n--)
        tsc();
}
static void op_cpuid(int n)
{
    while (n--) {
        uint32_t a = 0, b, c = 0, d;
        asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    }
}
static void op_gettime(int n)
{
    struct timespec t;
    while (n--)
        clock_gettime(CLOCK_MONOTONIC, &t);
}
static void op_read1(int n)
{
    while (n--)
        if (read(zero, buf, 1) != 1)
            die("read");
}
static void op_write1(int n)
{
    while (n--)
        if (write(null, buf, 1) != 1)
            die("write");
}
static void op_stat(int n)
{
    struct stat s;
    while (n--)
        if (stat(tmpf, &s))
            die("stat");
}
static void op_openclose(int n)
{
    while (n--) {
        int f = open(tmpf, O_RDONLY);
        if (f < 0)
            die("open");
        close(f);
    }
}
static void op_fread4k(int n)
{
    while (n--)
        if (pread(fd, buf, 4096, 0) != 4096)
            die("pread");
}
static void op_fread64k(int n)
{
    while (n--)
        if (pread(fd, buf, 65536, 0) != 65536)
            die("pread");
}

static void op_fork(int n)
{
    while (n--) {
        pid_t p = fork();
        if (p < 0)
            die("fork");
        if (!p)
            _exit(0);
        if (waitpid(p, 0, 0) != p)
            die("wait");
    }
}
static void spawn(char **argv)
{
    static char *env[] = {"PATH=/bin", 0};
    int st;
    pid_t p = fork();
    if (p < 0)
        die("fork");
    if (!p) {
        execve(argv[0], argv, env);
        _exit(99);
    }
    if (waitpid(p, &st, 0) != p || st) {
        errno = st;
        die("spawn");
    }
}
static void op_exec(int n)
{
    char *a[] = {prog, 0};
    while (n--)
        spawn(a);
}
static void op_vforkexec(int n)
{
    char *a[] = {prog, 0};
    int st;
    while (n--) {
        pid_t p = vfork();
        if (!p) {
            execve(a[0], a, a + 1);
            _exit(99);
        }
        if (p < 0 || waitpid(p, &st, 0) != p || st)
            die("vfork");
    }
}
static void op_sh(int n)
{
    char *a[] = {"/bin/busybox", "sh", "-c", "true", 0};
    while (n--)
        spawn(a);
}
static void op_build(int n)
{
    char *a[] = {"/bin/busybox", "sh", "-c",
                 "i=0; while [ $i -lt 3 ]; do "
                 "/bin/busybox sed s/a/b/ /tmp/src >/tmp/o.$i; "
                 "/bin/busybox cat /tmp/o.$i | /bin/busybox grep -c x >/dev/null; "
                 "i=$((i+1)); done; /bin/busybox rm /tmp/o.0 /tmp/o.1 /tmp/o.2",
                 0};
    while (n--)
        spawn(a);
}

/* The child of the ping-pongs echoes bytes until its input closes. */
static void echo(int in, int out)
{
    char c;
    child = fork();
    if (child)
        return;
    while (read(in, &c, 1) == 1)
        if (write(out, &c, 1) != 1)
            break;
    _exit(0);
}
static void kill_child(void)
{
    struct sched_param sp = {0};
    kill(child, SIGKILL);
    waitpid(child, 0, 0);
    sched_setscheduler(0, SCHED_OTHER, &sp);
}
static void pp_start(void)
{
    echo(p1[0], p2[1]);
}
static void op_pipe(int n)
{
    char c = 0;
    while (n--)
        if (write(p1[1], &c, 1) != 1 || read(p2[0], &c, 1) != 1)
            die("pipe");
}
static void op_pipeself(int n)
{
    char c = 0;
    while (n--)
        if (write(p1[1], &c, 1) != 1 || read(p1[0], &c, 1) != 1)
            die("pipe");
}
static void un_start(void)
{
    echo(sv[1], sv[1]);
}
static void op_unix(int n)
{
    char c = 0;
    while (n--)
        if (write(sv[0], &c, 1) != 1 || read(sv[0], &c, 1) != 1)
            die("unix");
}
static void yield_start(void)
{
    struct sched_param sp = {1}; /* FIFO: every yield switches */
    sched_setscheduler(0, SCHED_FIFO, &sp);
    child = fork();
    if (child)
        return;
    for (;;)
        sched_yield();
}
static void op_yield(int n)
{
    while (n--)
        sched_yield();
}

static void op_fault(int n) /* per page */
{
    while (n > 0) {
        int k = n < 256 ? n : 256;
        char *p = mmap(0, k << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            die("mmap");
        madvise(p, k << 12, MADV_NOHUGEPAGE);
        for (int i = 0; i < k; i++)
            p[i << 12] = 1;
        munmap(p, k << 12);
        n -= k;
    }
}
static void op_filefault(int n) /* per page, fault-around limits the faults */
{
    while (n > 0) {
        char *p = mmap(0, 65536, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            die("mmap");
        madvise(p, 65536, MADV_RANDOM);
        for (int i = 0; i < 16; i++)
            ((volatile char *)p)[i << 12];
        munmap(p, 65536);
        n -= 16;
    }
}
static void op_mmap1m(int n)
{
    while (n--)
        op_fault(256);
}
static void op_mmap(int n) /* map and unmap, nothing touched */
{
    while (n--) {
        char *p = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            die("mmap");
        munmap(p, 1 << 20);
    }
}
static void op_mprotect(int n) /* two changes of one page's protection */
{
    while (n--) {
        mprotect(area, 4096, PROT_READ);
        mprotect(area, 4096, PROT_READ | PROT_WRITE);
    }
}
static void op_cow(int n) /* per page: fork, child writes n pages */
{
    pid_t p = fork();
    if (p < 0)
        die("fork");
    if (!p) {
        for (int i = 0; i < n; i++)
            area[(i & 63) << 12] = 2;
        _exit(0);
    }
    if (waitpid(p, 0, 0) != p)
        die("wait");
}
static void on_segv(int s, siginfo_t *i, void *u)
{
    ((ucontext_t *)u)->uc_mcontext.gregs[REG_RIP] += 3;
    hits++;
}
static void on_usr1(int s)
{
    hits++;
}
static char *ro;
static void op_protfault(int n)
{
    int h = hits + n;
    while (n--)
        asm volatile("movb $1,(%%rax)" ::"a"(ro) : "memory"); /* c6 00 01 */
    if (hits != h) {
        errno = 0;
        die("protfault");
    }
}
static void op_signal(int n)
{
    pid_t me = getpid();
    while (n--)
        kill(me, SIGUSR1);
}
static void op_memcpy(int n) /* 64 KiB with 16-byte moves */
{
    while (n--) {
        char *s = buf, *d = buf2, *e = buf + 65536;
        asm volatile("1: movdqa (%0),%%xmm0; movdqa 16(%0),%%xmm1;"
                     "movdqa 32(%0),%%xmm2; movdqa 48(%0),%%xmm3;"
                     "movdqa %%xmm0,(%1); movdqa %%xmm1,16(%1);"
                     "movdqa %%xmm2,32(%1); movdqa %%xmm3,48(%1);"
                     "add $64,%0; add $64,%1; cmp %2,%0; jb 1b"
                     : "+r"(s), "+r"(d)
                     : "r"(e)
                     : "xmm0", "xmm1", "xmm2", "xmm3", "memory", "cc");
    }
}
static void op_compute(int n) /* 10 instructions per iteration */
{
    uint64_t a = 1, b = 2, c = n;
    asm volatile("1: imul $3,%0,%0; add %1,%0; ror $7,%0; xor %0,%1; add $5,%1;"
                 "lea (%1,%0),%%rdx; xor %%rdx,%0; add %%rdx,%1; dec %2; jnz 1b"
                 : "+r"(a), "+r"(b), "+r"(c)::"rdx", "cc");
}
static void op_sleep1ms(int n) /* timer programming, idle, wake-up */
{
    struct timespec t = {0, 1000000};
    while (n--)
        nanosleep(&t, 0);
}
static void op_itimer(int n) /* arm and disarm a far timer */
{
    struct itimerval on = {{0, 0}, {0, 500}}, off = {{0, 0}, {0, 0}};
    on.it_value.tv_sec = 0;
    on.it_value.tv_usec = 900000;
    while (n--) {
        setitimer(ITIMER_REAL, &on, 0);
        setitimer(ITIMER_REAL, &off, 0);
    }
}
/* Linux's privcmd ioctl: hypercall number and five arguments. */
struct privcmd {
    uint64_t op, arg[5];
};
#define PRIVCMD_HYPERCALL _IOC(_IOC_NONE, 'P', 0, sizeof(struct privcmd))
static void op_hypercall(int n)
{
    struct privcmd h = {17, {0}}; /* xen_version(XENVER_version) */
    while (n--)
        if (ioctl(priv, PRIVCMD_HYPERCALL, &h) < 0)
            die("privcmd");
}

static const struct op {
    const char *name;
    void (*f)(int);
    int n;
    void (*start)(void);
} ops[] = {
    {"getppid", op_getppid, 2000},
    {"read1", op_read1, 1000},
    {"write1", op_write1, 1000},
    {"stat", op_stat, 500},
    {"openclose", op_openclose, 300},
    {"fread4k", op_fread4k, 500},
    {"fread64k", op_fread64k, 50},
    {"pipeself", op_pipeself, 500},
    {"pipe", op_pipe, 200, pp_start},
    {"unix", op_unix, 200, un_start},
    {"yield", op_yield, 400, yield_start},
    {"signal", op_signal, 300},
    {"protfault", op_protfault, 300},
    {"mprotect", op_mprotect, 300},
    {"mmap", op_mmap, 300},
    {"fault", op_fault, 1024},
    {"filefault", op_filefault, 512},
    {"mmap1m", op_mmap1m, 2},
    {"fork", op_fork, 10},
    {"cow", op_cow, 64},
    {"exec", op_exec, 10},
    {"vforkexec", op_vforkexec, 10},
    {"sh", op_sh, 5},
    {"build", op_build, 1},
    {"itimer", op_itimer, 300},
    {"sleep1ms", op_sleep1ms, 5},
    {"gettime", op_gettime, 500},
    {"rdtsc", op_rdtsc, 1000},
    {"cpuid", op_cpuid, 300},
    {"memcpy64k", op_memcpy, 20},
    {"compute", op_compute, 100000},
    {"compute20M", op_compute, 2000000},
    {"hypercall", op_hypercall, 500},
};
#define NOPS (sizeof ops / sizeof *ops)

static int cmp(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    /* lat mark K: execute one marker and print the clocks. */
    if (argc == 3 && !strcmp(argv[1], "mark")) {
        switch (atoi(argv[2])) {
        case 1:
            MARK(1);
            break;
        case 2:
            MARK(2);
            break;
        case 3:
            MARK(3);
            break;
        }
        printf("TSC %llu NS %llu\n", (long long)tsc(), (long long)mono());
        return 0;
    }
    static struct {
        uint64_t t[REPS], ns;
        int done;
    } res[NOPS];
    struct sigaction sa = {0};
    uint64_t t0 = tsc(), m0 = mono();

    prog = getenv("LAT_TRUE") ?: "/bin/true";
    tmpf = "/tmp/lat.tmp";
    fd = open(tmpf, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, buf, 65536) != 65536)
        die(tmpf);
    int s = open("/tmp/src", O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (int i = 0; i < 100; i++)
        if (write(s, "a line of x source text\n", 24) != 24)
            die("src");
    close(s);
    zero = open("/dev/zero", O_RDONLY);
    null = open("/dev/null", O_WRONLY);
    if (zero < 0 || null < 0)
        die("/dev");
    priv = open("/dev/xen/privcmd", O_RDWR);
    struct privcmd hc = {17, {0}};
    if (priv >= 0 && ioctl(priv, PRIVCMD_HYPERCALL, &hc) < 0)
        priv = -1; /* not in a domU */
    if (pipe(p1) || pipe(p2) || socketpair(AF_UNIX, SOCK_STREAM, 0, sv))
        die("pipe");
    ro = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    area = mmap(0, 64 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(area, 64 << 12, MADV_NOHUGEPAGE);
    memset(area, 1, 64 << 12);
    memset(buf2, 1, sizeof buf2);
    memset(res, 0xff, sizeof res);
    sa.sa_sigaction = on_segv;
    sa.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &sa, 0);
    sa.sa_handler = on_usr1;
    sa.sa_flags = 0;
    sigaction(SIGUSR1, &sa, 0);
    signal(SIGALRM, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);

    for (unsigned i = 0; i < NOPS; i++) {
        const struct op *o = ops + i;
        res[i].done = 0;
        if (argc > 1) {
            int want = 0;
            for (int a = 1; a < argc; a++)
                want |= !strcmp(argv[a], o->name);
            if (!want)
                continue;
        }
        if (o->f == op_hypercall && priv < 0)
            continue;
        MARK(1);
        if (o->start)
            o->start();
        o->f(o->n); /* warm up */
        for (int r = 0; r < REPS; r++) {
            uint64_t m = mono(), a, b;
            a = tsc();
            MARK(2);
            o->f(o->n);
            MARK(3);
            b = tsc();
            m = mono() - m;
            if (b - a < (r ? res[i].t[0] : ~0ull))
                res[i].ns = m;
            res[i].t[r] = b - a;
            for (int k = r; k && res[i].t[k] < res[i].t[0]; k = 0) {
                uint64_t x = res[i].t[0];
                res[i].t[0] = res[i].t[k];
                res[i].t[k] = x;
            }
        }
        if (o->start)
            kill_child();
        qsort(res[i].t, REPS, sizeof *res[i].t, cmp);
        res[i].done = 1;
    }
    uint64_t t1 = tsc(), m1 = mono();
    for (unsigned i = 0; i < NOPS; i++)
        if (res[i].done)
            printf("LAT %s %d %llu %llu %llu %llu\n", ops[i].name, ops[i].n, (long long)res[i].t[0],
                   (long long)res[i].t[REPS / 2], (long long)res[i].t[REPS - 1],
                   (long long)res[i].ns);
    printf("LATEND tsc %llu ns %llu\n", (long long)(t1 - t0), (long long)(m1 - m0));
    return 0;
}
