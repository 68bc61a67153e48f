// SPDX-License-Identifier: BSD-2-Clause
#include "x86/cpu/microcode.h"
#include "lib/errno.h"
#include "lib/string.h"

enum {
    // Intel: header, data, and perhaps a table of further signatures.
    INTEL_VERSION = 0,
    INTEL_REVISION = 4,
    INTEL_SIGNATURE = 12,
    INTEL_CHECKSUM = 16,
    INTEL_LOADER = 20,
    INTEL_PLATFORMS = 24,
    INTEL_DATA_SIZE = 28,
    INTEL_TOTAL_SIZE = 32,
    INTEL_HEADER = 48,
    INTEL_DEFAULT_DATA = 2000,
    INTEL_TABLE_HEADER = 20,
    INTEL_TABLE_ENTRY = 12, // signature, platforms, checksum

    // AMD: containers of one equivalence table and patches.
    AMD_MAGIC = 0x00414d44,
    AMD_CONTAINER_HEADER = 12, // magic, type and size of the equivalence table
    AMD_SECTION_HEADER = 8,    // type and size
    AMD_TYPE_EQUIVALENCE = 0,
    AMD_TYPE_PATCH = 1,
    AMD_EQUIVALENCE = 16, // bytes per entry
    AMD_PATCH_LEVEL = 4,
    AMD_PATCH_NORTH_BRIDGE = 16,
    AMD_PATCH_SOUTH_BRIDGE = 20,
    AMD_PATCH_PROCESSOR = 24,
    AMD_PATCH_HEADER = 64,

    CPIO_HEADER = 110,
    CPIO_FILE_SIZE = 54,
    CPIO_NAME_SIZE = 94,
};

static uint16_t get16(const uint8_t *p)
{
    return p[0] | p[1] << 8;
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static int damaged(const char **why, const char *text)
{
    *why = text;
    return -EINVAL;
}

static bool all_zero(const uint8_t *p, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        if (p[i])
            return false;
    return true;
}

// ---- Intel --------------------------------------------------------------------------------------

struct intel_update {
    const uint8_t *header;
    uint32_t data, total, entries; // sizes; length of the signature table
};

static uint32_t sum32(const uint8_t *p, uint32_t size)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < size; i += 4)
        sum += get32(p + i);
    return sum;
}

static bool is_intel(const uint8_t *p, uint64_t size)
{
    return size >= INTEL_HEADER && get32(p + INTEL_VERSION) == 1 && get32(p + INTEL_LOADER) == 1;
}

static int intel_measure(const uint8_t *p, uint64_t left, struct intel_update *u, const char **why)
{
    if (left < INTEL_HEADER)
        return damaged(why, "cut off in a header");
    if (!is_intel(p, left))
        return damaged(why, "unknown header version");
    u->header = p;
    u->data = get32(p + INTEL_DATA_SIZE);
    u->total = get32(p + INTEL_TOTAL_SIZE);
    if (!u->data) {
        u->data = INTEL_DEFAULT_DATA;
        u->total = INTEL_HEADER + INTEL_DEFAULT_DATA;
    }
    if (u->data % 4 || u->total % 4 || u->total < INTEL_HEADER || u->data > u->total - INTEL_HEADER)
        return damaged(why, "impossible size");
    if (u->total > left)
        return damaged(why, "cut off in an update");
    uint32_t table = u->total - INTEL_HEADER - u->data;
    u->entries = 0;
    if (!table)
        return 0;
    if (table < INTEL_TABLE_HEADER)
        return damaged(why, "impossible size of the signature table");
    u->entries = get32(p + INTEL_HEADER + u->data);
    if (u->entries > (table - INTEL_TABLE_HEADER) / INTEL_TABLE_ENTRY)
        return damaged(why, "impossible length of the signature table");
    return 0;
}

static bool intel_fits(const struct microcode_cpu *cpu, uint32_t signature, uint32_t platforms)
{
    return signature == cpu->signature &&
           (platforms & cpu->platform || (!platforms && !cpu->platform));
}

static int intel_check_sums(const struct intel_update *u, const uint8_t *entry, const char **why)
{
    const uint8_t *h = u->header, *table = h + INTEL_HEADER + u->data;
    if (sum32(h, INTEL_HEADER + u->data))
        return damaged(why, "wrong checksum");
    if (!entry)
        return 0;
    if (sum32(table, INTEL_TABLE_HEADER + u->entries * INTEL_TABLE_ENTRY))
        return damaged(why, "wrong checksum of the signature table");
    // An entry's checksum is that of the update with the entry in place of the header's values.
    uint32_t own =
        get32(h + INTEL_SIGNATURE) + get32(h + INTEL_PLATFORMS) + get32(h + INTEL_CHECKSUM);
    if (sum32(entry, INTEL_TABLE_ENTRY) != own)
        return damaged(why, "wrong checksum in the signature table");
    return 0;
}

// Sums are only looked at where an update would be used.
static int intel_consider(const struct intel_update *u, const struct microcode_cpu *cpu,
                          struct microcode_patch *best, const char **why)
{
    const uint8_t *h = u->header, *entry = NULL;
    const uint8_t *table = h + INTEL_HEADER + u->data + INTEL_TABLE_HEADER;
    uint32_t revision = get32(h + INTEL_REVISION);
    if (revision <= best->revision)
        return 0;
    if (!intel_fits(cpu, get32(h + INTEL_SIGNATURE), get32(h + INTEL_PLATFORMS))) {
        for (uint32_t i = 0; i < u->entries && !entry; i++) {
            const uint8_t *e = table + i * INTEL_TABLE_ENTRY;
            if (intel_fits(cpu, get32(e), get32(e + 4)))
                entry = e;
        }
        if (!entry)
            return 0;
    }
    int err = intel_check_sums(u, entry, why);
    if (!err)
        *best = (struct microcode_patch){h, u->total, revision};
    return err;
}

static int intel_search(const uint8_t *p, uint64_t left, const struct microcode_cpu *cpu,
                        struct microcode_patch *best, const char **why)
{
    struct intel_update u;
    while (left && !all_zero(p, MIN(left, (uint64_t)INTEL_HEADER))) {
        int err = intel_measure(p, left, &u, why);
        if (!err)
            err = intel_consider(&u, cpu, best, why);
        if (err)
            return err;
        p += u.total;
        left -= u.total;
    }
    return 0;
}

// ---- AMD ----------------------------------------------------------------------------------------

static bool is_amd(const uint8_t *p, uint64_t size)
{
    return size >= AMD_CONTAINER_HEADER && get32(p) == AMD_MAGIC &&
           get32(p + 4) == AMD_TYPE_EQUIVALENCE;
}

static uint32_t amd_family(uint32_t signature)
{
    uint32_t family = signature >> 8 & 15;
    return family == 15 ? family + (signature >> 20 & 0xff) : family;
}

static uint32_t amd_size_limit(uint32_t family)
{
    switch (family) {
    case 0x10:
    case 0x11:
    case 0x12:
        return 2048;
    case 0x14:
        return 1824;
    case 0x15:
        return 4096;
    case 0x16:
        return 3458;
    case 0x17:
    case 0x18:
        return 3200;
    case 0x19:
        return 5568;
    default: // newer ones: what fits all known so far
        return 16384;
    }
}

// The id by which patches name this CPU; 0: the table does not know it.
static uint16_t amd_equivalent(const uint8_t *table, uint32_t size, uint32_t signature)
{
    for (uint32_t at = 0; size - at >= AMD_EQUIVALENCE; at += AMD_EQUIVALENCE) {
        uint32_t installed = get32(table + at);
        if (!installed)
            break;
        if (installed == signature)
            return get16(table + at + 12);
    }
    return 0;
}

static int amd_consider(const uint8_t *patch, uint32_t size, uint16_t id,
                        const struct microcode_cpu *cpu, struct microcode_patch *best,
                        const char **why)
{
    if (size < AMD_PATCH_HEADER)
        return damaged(why, "patch smaller than its header");
    uint32_t level = get32(patch + AMD_PATCH_LEVEL);
    if (!id || get16(patch + AMD_PATCH_PROCESSOR) != id || level <= best->revision)
        return 0;
    // Patches bound to a chipset never got into use.
    if (get32(patch + AMD_PATCH_NORTH_BRIDGE) || get32(patch + AMD_PATCH_SOUTH_BRIDGE))
        return 0;
    if (size > amd_size_limit(amd_family(cpu->signature)))
        return damaged(why, "patch larger than this family's CPUs take");
    *best = (struct microcode_patch){patch, size, level};
    return 0;
}

// The patches of one container, up to the next container or the end: *used bytes.
static int amd_patches(const uint8_t *p, uint64_t left, uint16_t id,
                       const struct microcode_cpu *cpu, struct microcode_patch *best,
                       uint64_t *used, const char **why)
{
    uint64_t at = 0;
    while (left > at && !is_amd(p + at, left - at)) {
        if (left - at < AMD_SECTION_HEADER) {
            if (!all_zero(p + at, left - at))
                return damaged(why, "cut off in a section");
            at = left;
            break;
        }
        uint32_t type = get32(p + at), size = get32(p + at + 4);
        if (!type && !size && all_zero(p + at, left - at)) {
            at = left;
            break;
        }
        if (type != AMD_TYPE_PATCH)
            return damaged(why, "unknown section type");
        at += AMD_SECTION_HEADER;
        if (size > left - at)
            return damaged(why, "cut off in a patch");
        int err = amd_consider(p + at, size, id, cpu, best, why);
        if (err)
            return err;
        at += size;
    }
    *used = at;
    return 0;
}

static int amd_search(const uint8_t *p, uint64_t left, const struct microcode_cpu *cpu,
                      struct microcode_patch *best, const char **why)
{
    while (left) {
        if (!is_amd(p, left))
            return damaged(why, "no container header");
        uint32_t table = get32(p + 8);
        p += AMD_CONTAINER_HEADER;
        left -= AMD_CONTAINER_HEADER;
        if (!table || table % AMD_EQUIVALENCE || table > left)
            return damaged(why, "impossible size of the equivalence table");
        uint16_t id = amd_equivalent(p, table, cpu->signature);
        uint64_t used;
        int err = amd_patches(p + table, left - table, id, cpu, best, &used, why);
        if (err)
            return err;
        p += table + used;
        left -= table + used;
    }
    return 0;
}

// ---- both ---------------------------------------------------------------------------------------

bool microcode_is_blob(const uint8_t *blob, uint64_t size)
{
    return is_intel(blob, size) || is_amd(blob, size);
}

int microcode_search(const uint8_t *blob, uint64_t size, const struct microcode_cpu *cpu,
                     struct microcode_patch *best, const char **why)
{
    struct microcode_patch found = *best;
    int err = 0;
    if (!microcode_is_blob(blob, size))
        return damaged(why, "neither an Intel update nor an AMD container");
    if (cpu->vendor == VENDOR_INTEL && is_intel(blob, size))
        err = intel_search(blob, size, cpu, &found, why);
    else if (cpu->vendor == VENDOR_AMD && is_amd(blob, size))
        err = amd_search(blob, size, cpu, &found, why);
    if (err)
        return err;
    if (found.revision == best->revision)
        return -ENOENT;
    *best = found;
    return 0;
}

// ---- cpio ---------------------------------------------------------------------------------------

struct cpio_entry {
    const char *name;
    const uint8_t *data;
    uint64_t name_size, size, total; // total: header to the next header
};

static bool is_cpio(const uint8_t *p, uint64_t left)
{
    return left >= CPIO_HEADER && (!memcmp(p, "070701", 6) || !memcmp(p, "070702", 6));
}

// Eight hex digits. False: others.
static bool cpio_number(const uint8_t *p, uint64_t *value)
{
    *value = 0;
    for (unsigned int i = 0; i < 8; i++) {
        uint8_t c = p[i], lower = c | 0x20;
        if (c >= '0' && c <= '9')
            c -= '0';
        else if (lower >= 'a' && lower <= 'f')
            c = lower - 'a' + 10;
        else
            return false;
        *value = *value << 4 | c;
    }
    return true;
}

// Numbers have 32 bits, sums are made in 64.
static int cpio_entry(const uint8_t *p, uint64_t left, struct cpio_entry *e, const char **why)
{
    if (!cpio_number(p + CPIO_FILE_SIZE, &e->size) ||
        !cpio_number(p + CPIO_NAME_SIZE, &e->name_size))
        return damaged(why, "no number in a cpio header");
    uint64_t data = ROUND_UP(CPIO_HEADER + e->name_size, 4);
    if (!e->name_size || data > left || e->size > left - data)
        return damaged(why, "cpio archive cut off");
    e->name = (const char *)p + CPIO_HEADER;
    e->data = p + data;
    if (e->name[e->name_size - 1])
        return damaged(why, "unterminated name in a cpio archive");
    e->total = MIN(ROUND_UP(data + e->size, 4), left);
    return 0;
}

int microcode_in_cpio(const uint8_t *archive, uint64_t size, enum cpu_vendor vendor,
                      const uint8_t **found, uint64_t *found_size, const char **why)
{
    const char *wanted = vendor == VENDOR_INTEL ? "kernel/x86/microcode/GenuineIntel.bin"
                                                : "kernel/x86/microcode/AuthenticAMD.bin";
    struct cpio_entry e;
    while (is_cpio(archive, size)) {
        int err = cpio_entry(archive, size, &e, why);
        if (err)
            return err;
        if (!strncmp(e.name, "./", 2))
            e.name += 2;
        if (!strcmp(e.name, wanted)) {
            *found = e.data;
            *found_size = e.size;
            return 0;
        }
        archive += e.total;
        size -= e.total;
        // An archive ends with zeros up to the next one.
        while (size >= 4 && !get32(archive)) {
            archive += 4;
            size -= 4;
        }
    }
    return -ENOENT;
}
