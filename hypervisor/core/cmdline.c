// SPDX-License-Identifier: BSD-2-Clause
// Options are words "name=value", "name" or "no-name"; spellings are Xen's.
#include "core/cmdline.h"
#include "core/console.h"
#include "lib/errno.h"
#include "lib/string.h"

struct options options = {
    .console = "com1,vga",
    .conswitch = "a",
#ifdef SERAI_DEBUG
    .loglvl = 3,
    .guest_loglvl = 2,
#else
    .loglvl = 2,
    .guest_loglvl = 1,
#endif
    .smap = true,
    .smep = true,
    .xsave = true,
    .x2apic = true,
    .tsc_deadline = true,
    .bootscrub = true,
    .numa = true,
};

char cmdline_text[1024];

enum kind {
    BOOL,
    BOOL_INVERTED,
    STRING,
    SIZE,
    UINT,
    LEVEL,
    TIMESTAMPS,
    DOM0_MEM,
    DOM0_VCPUS,
    UCODE,
    IGNORED
};

struct option {
    const char *name;
    enum kind kind;
    uint16_t size; // STRING: bytes
    void *where;
};

static const struct option __initdata option_table[] = {
    {"com1", STRING, sizeof(options.com1), options.com1},
    {"com2", STRING, sizeof(options.com2), options.com2},
    {"console", STRING, sizeof(options.console), options.console},
    {"console_timestamps", TIMESTAMPS, 0, &options.console_timestamps},
    {"conring_size", SIZE, 0, &options.conring_size},
    {"conswitch", STRING, sizeof(options.conswitch), options.conswitch},
    {"loglvl", LEVEL, 0, &options.loglvl},
    {"guest_loglvl", LEVEL, 0, &options.guest_loglvl},
    {"noreboot", BOOL, 0, &options.noreboot},
    {"reboot", STRING, sizeof(options.reboot), options.reboot},
    {"dom0_mem", DOM0_MEM, 0, NULL},
    {"dom0_max_vcpus", DOM0_VCPUS, 0, &options.dom0_max_vcpus},
    {"dom0_vcpus_pin", BOOL, 0, &options.dom0_vcpus_pin},
    {"mem", SIZE, 0, &options.mem_limit},
    {"maxcpus", UINT, 0, &options.maxcpus},
    {"nosmp", BOOL, 0, &options.nosmp},
    {"smp", BOOL_INVERTED, 0, &options.nosmp},
    {"smap", BOOL, 0, &options.smap},
    {"smep", BOOL, 0, &options.smep},
    {"xsave", BOOL, 0, &options.xsave},
    {"x2apic", BOOL, 0, &options.x2apic},
    {"tsc_deadline", BOOL, 0, &options.tsc_deadline},
    {"bootscrub", BOOL, 0, &options.bootscrub},
    {"numa", BOOL, 0, &options.numa},
    {"ucode", UCODE, 0, NULL},
    // Without effect here, but in use on many machines' command lines.
    {"cpuidle", IGNORED, 0, NULL},
    {"spec-ctrl", IGNORED, 0, NULL},
    {"sync_console", IGNORED, 0, NULL},
    {"mwait-idle", IGNORED, 0, NULL},
    {"watchdog", IGNORED, 0, NULL},
    {"iommu", IGNORED, 0, NULL},
    {"sched", IGNORED, 0, NULL},
    {"dom0", IGNORED, 0, NULL},
    {"vga", IGNORED, 0, NULL},
    {"no-real-mode", IGNORED, 0, NULL},
    {"edd", IGNORED, 0, NULL},
};

static int __init parse_bool(const char *v)
{
    static const char *const yes[] = {"", "1", "yes", "on", "true", "enable"};
    static const char *const no[] = {"0", "no", "off", "false", "disable"};
    for (unsigned int i = 0; i < ARRAY_SIZE(yes); i++)
        if (!strcmp(v, yes[i]))
            return 1;
    for (unsigned int i = 0; i < ARRAY_SIZE(no); i++)
        if (!strcmp(v, no[i]))
            return 0;
    return -EINVAL;
}

// "error", "none/all": the part before the slash counts, the other is Xen's rate-limited level.
static int __init parse_loglevel(const char *v, int *level)
{
    static const struct {
        const char *name;
        int level;
    } names[] = {
        {"none", -1}, {"error", 0}, {"warning", 1}, {"info", 2}, {"debug", 3}, {"all", 3},
    };
    size_t len = strchr(v, '/') ? (size_t)(strchr(v, '/') - v) : strlen(v);
    for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
        if (strlen(names[i].name) == len && !strncmp(v, names[i].name, len)) {
            *level = names[i].level;
            return 0;
        }
    return -EINVAL;
}

static int __init parse_timestamps(const char *v)
{
    static const char *const names[] = {[TIMESTAMPS_NONE] = "none",
                                        [TIMESTAMPS_DATE] = "date",
                                        [TIMESTAMPS_BOOT] = "boot",
                                        [TIMESTAMPS_RAW] = "raw"};
    for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
        if (!strcmp(v, names[i])) {
            options.console_timestamps = i;
            return 0;
        }
    if (!strcmp(v, "datems"))
        options.console_timestamps = TIMESTAMPS_DATE;
    else if (parse_bool(v) == 1)
        options.console_timestamps = TIMESTAMPS_DATE;
    else if (parse_bool(v) == 0)
        options.console_timestamps = TIMESTAMPS_NONE;
    else
        return -EINVAL;
    return 0;
}

// A plain number of Xen's memory options is in KiB.
static int __init parse_memory(const char *v, const char **end, uint64_t *bytes)
{
    *bytes = parse_size(v, end);
    if (*end == v)
        return -EINVAL;
    char last = (*end)[-1];
    if (last >= '0' && last <= '9')
        *bytes *= KiB;
    return 0;
}

// SIZE[,min:SIZE][,max:SIZE], in any order.
static int __init parse_dom0_mem(const char *v)
{
    uint64_t size = options.dom0_mem, min = options.dom0_mem_min, max = options.dom0_mem_max;
    for (;;) {
        uint64_t *where = &size;
        if (!strncmp(v, "min:", 4))
            where = &min;
        else if (!strncmp(v, "max:", 4))
            where = &max;
        if (where != &size)
            v += 4;
        if (parse_memory(v, &v, where))
            return -EINVAL;
        if (!*v)
            break;
        if (*v++ != ',')
            return -EINVAL;
    }
    options.dom0_mem = size;
    options.dom0_mem_min = min;
    options.dom0_mem_max = max;
    return 0;
}

// N, MIN-MAX, MIN- or -MAX: the upper end counts.
static int __init parse_dom0_vcpus(const char *v, uint32_t *vcpus)
{
    const char *end;
    const char *dash = strchr(v, '-');
    if (dash)
        v = dash + 1;
    if (dash && !*v)
        return 0;
    uint64_t n = strtoull(v, &end, 0);
    if (end == v || *end || n > 0xffff)
        return -EINVAL;
    *vcpus = n;
    return 0;
}

// One word of ucode=: a module's number, "scan", "scan=BOOL", or a false word. Xen's "nmi" (how
// other CPUs wait during an update at run time) means nothing here.
static int __init parse_ucode_word(const char *v, enum ucode *mode, int32_t *module)
{
    const char *end;
    if (!strcmp(v, "nmi") || !strcmp(v, "no-nmi") || !strncmp(v, "nmi=", 4))
        return 0;
    int scan = -1;
    if (!strncmp(v, "scan=", 5))
        scan = parse_bool(v + 5);
    else if (!strcmp(v, "scan") || !strcmp(v, "no-scan"))
        scan = *v == 's';
    if (scan >= 0) {
        *mode = scan ? UCODE_SCAN : UCODE_BEHIND_INITRD;
        return 0;
    }
    if (*v && parse_bool(v) == 0) {
        *mode = UCODE_OFF;
        return 0;
    }
    bool negative = *v == '-';
    v += negative;
    uint64_t n = strtoull(v, &end, 0);
    if (*v < '0' || *v > '9' || *end || !n || n > 0xff)
        return -EINVAL;
    *module = negative ? -(int32_t)n : (int32_t)n;
    *mode = UCODE_MODULE;
    return 0;
}

static int __init parse_ucode(const char *v)
{
    enum ucode mode = options.ucode;
    int32_t module = options.ucode_module;
    char word[16];
    for (;;) {
        const char *comma = strchr(v, ',');
        size_t len = comma ? (size_t)(comma - v) : strlen(v);
        if (len >= sizeof(word))
            return -EINVAL;
        memcpy(word, v, len);
        word[len] = 0;
        if (parse_ucode_word(word, &mode, &module))
            return -EINVAL;
        if (!comma)
            break;
        v = comma + 1;
    }
    options.ucode = mode;
    options.ucode_module = module;
    return 0;
}

static int __init set_option(const struct option *o, const char *v, bool has_value)
{
    const char *end;
    int b;
    switch (o->kind) {
    case BOOL:
    case BOOL_INVERTED:
        b = parse_bool(v);
        if (b >= 0)
            *(bool *)o->where = b ^ (o->kind == BOOL_INVERTED);
        return b < 0 ? b : 0;
    case STRING:
        if (!has_value || strlen(v) >= o->size)
            return -EINVAL;
        strlcpy(o->where, v, o->size);
        return 0;
    case SIZE: {
        uint64_t n = parse_size(v, &end);
        if (end == v || *end)
            return -EINVAL;
        *(uint64_t *)o->where = n;
        return 0;
    }
    case UINT: {
        uint64_t n = strtoull(v, &end, 0);
        if (end == v || *end || n > 0xffffffff)
            return -EINVAL;
        *(uint32_t *)o->where = n;
        return 0;
    }
    case LEVEL:
        return parse_loglevel(v, o->where);
    case TIMESTAMPS:
        return parse_timestamps(v);
    case DOM0_MEM:
        return parse_dom0_mem(v);
    case DOM0_VCPUS:
        return parse_dom0_vcpus(v, o->where);
    case UCODE:
        return parse_ucode(v);
    case IGNORED:
        printk(LOG_DEBUG "Option %s has no effect\n", o->name);
        return 0;
    }
    return -EINVAL;
}

static const struct option *__init find_option(const char *name, size_t len)
{
    for (unsigned int i = 0; i < ARRAY_SIZE(option_table); i++)
        if (!strncmp(option_table[i].name, name, len) && !option_table[i].name[len])
            return &option_table[i];
    return NULL;
}

static void __init parse_word(char *word)
{
    char *eq = strchr(word, '=');
    size_t len = eq ? (size_t)(eq - word) : strlen(word);
    const char *value = eq ? eq + 1 : "";
    const struct option *o = find_option(word, len);
    if (!o && !eq && !strncmp(word, "no-", 3)) {
        o = find_option(word + 3, len - 3);
        value = "0";
        if (o && o->kind != BOOL && o->kind != BOOL_INVERTED)
            o = NULL;
    }
    if (!o)
        printk(LOG_WARN "Option %s is not known: ignored\n", word);
    else if (set_option(o, value, eq != NULL))
        printk(LOG_WARN "Option %s is malformed: ignored\n", word);
}

void __init cmdline_parse(const char *line)
{
    char word[128];
    strlcpy(cmdline_text, line, sizeof(cmdline_text));
    while (*line) {
        size_t n = 0;
        while (*line == ' ' || *line == '\t')
            line++;
        for (; *line && *line != ' ' && *line != '\t'; line++)
            if (n < sizeof(word) - 1)
                word[n++] = *line;
        word[n] = 0;
        if (n)
            parse_word(word);
    }
}
