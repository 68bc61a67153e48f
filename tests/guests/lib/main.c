// SPDX-License-Identifier: BSD-2-Clause
#include "guest.h"

start_info_t *start_info;
shared_info_t *shared_info;
static uint8_t shared_page[PAGE_SIZE] __attribute__((aligned(4096)));

void guest_start(void);

bool on_serai(void)
{
    static char extra[XEN_EXTRAVERSION_LEN + 1];

    if (!extra[0])
        hc_xen_version(XENVER_extraversion, extra);
    return strstr(extra, "-serai") != NULL;
}

static const char *find_word(const char *word)
{
    const char *line = (const char *)start_info->cmd_line;
    size_t n = strlen(word);

    for (const char *p = line; *p; p++)
        if (!strncmp(p, word, n) && (p == line || p[-1] == ' '))
            return p + n;
    return NULL;
}

bool arg_present(const char *word)
{
    const char *end = find_word(word);

    return end && (*end == 0 || *end == ' ');
}

uint64_t arg_number(const char *name, uint64_t other)
{
    const char *p = find_word(name);
    uint64_t v = 0;
    unsigned int base = 10;

    if (!p || *p++ != '=')
        return other;
    if (p[0] == '0' && p[1] == 'x') {
        base = 16;
        p += 2;
    }
    for (;; p++) {
        unsigned int digit;

        if (*p >= '0' && *p <= '9')
            digit = (unsigned int)(*p - '0');
        else if (base == 16 && (*p | 32) >= 'a' && (*p | 32) <= 'f')
            digit = (unsigned int)((*p | 32) - 'a') + 10;
        else
            return v;
        v = v * base + digit;
    }
}

void guest_shutdown(unsigned int reason)
{
    struct sched_shutdown op = {.reason = reason};

    console_drain();
    for (;;)
        hc_sched_op(SCHEDOP_shutdown, &op);
}

void guest_start(void)
{
    hc_update_va_mapping((unsigned long)shared_page, start_info->shared_info | PTE_RW_DATA,
                         UVMF_INVLPG);
    shared_info = (shared_info_t *)shared_page;
    memset(shared_info->evtchn_mask, 0xff, sizeof(shared_info->evtchn_mask));
    mem_init();
    smp_init();
    console_init();
    trap_init();
    guest_main();
    tap_done();
    guest_shutdown(SHUTDOWN_poweroff);
}
