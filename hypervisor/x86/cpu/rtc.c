// SPDX-License-Identifier: BSD-2-Clause
#include "x86/cpu/rtc.h"
#include "x86/arch/cpu.h"
#include "x86/arch/io.h"

enum {
    RTC_INDEX = 0x70,
    RTC_DATA = 0x71,
    RTC_SECONDS = 0,
    RTC_MINUTES = 2,
    RTC_HOURS = 4,
    RTC_DAY = 7,
    RTC_MONTH = 8,
    RTC_YEAR = 9,
    RTC_STATUS_A = 10,
    RTC_STATUS_B = 11,
    STATUS_A_UPDATING = 0x80,
    STATUS_B_BINARY = 0x04,
    STATUS_B_24H = 0x02,
    HOURS_PM = 0x80,
    SPIN_LIMIT = 100000,
};

struct rtc_time {
    uint8_t second, minute, hour, day, month, year, century;
};

static uint8_t __init rtc_get(uint8_t reg)
{
    outb(RTC_INDEX, reg);
    return inb(RTC_DATA);
}

static struct rtc_time __init read_all(uint8_t century)
{
    for (unsigned int i = 0; i < SPIN_LIMIT && (rtc_get(RTC_STATUS_A) & STATUS_A_UPDATING); i++)
        cpu_relax();
    return (struct rtc_time){.second = rtc_get(RTC_SECONDS),
                             .minute = rtc_get(RTC_MINUTES),
                             .hour = rtc_get(RTC_HOURS),
                             .day = rtc_get(RTC_DAY),
                             .month = rtc_get(RTC_MONTH),
                             .year = rtc_get(RTC_YEAR),
                             .century = century ? rtc_get(century) : 0};
}

static unsigned int __init from_bcd(uint8_t v, bool binary)
{
    return binary ? v : (v >> 4) * 10 + (v & 15);
}

static uint64_t __init days_from_civil(unsigned int y, unsigned int m, unsigned int d)
{
    y -= m <= 2;
    unsigned int era = y / 400, yoe = y % 400;
    unsigned int doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    unsigned int doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097ull + doe - 719468;
}

uint64_t __init rtc_read_seconds(uint8_t century_register)
{
    struct rtc_time t = read_all(century_register), again;
    for (unsigned int i = 0; i < 4; i++) { // an update between the registers shows as a change
        again = read_all(century_register);
        if (again.second == t.second && again.minute == t.minute && again.hour == t.hour)
            break;
        t = again;
    }
    uint8_t status = rtc_get(RTC_STATUS_B);
    bool binary = status & STATUS_B_BINARY;
    unsigned int hour = from_bcd(t.hour & ~HOURS_PM, binary);
    if (!(status & STATUS_B_24H))
        hour = hour % 12 + (t.hour & HOURS_PM ? 12 : 0);
    else
        hour = from_bcd(t.hour, binary);
    unsigned int year = from_bcd(t.year, binary);
    unsigned int century = from_bcd(t.century, binary);
    year += century >= 19 && century <= 22 ? century * 100 : year < 70 ? 2000 : 1900;
    unsigned int month = from_bcd(t.month, binary), day = from_bcd(t.day, binary);
    if (month < 1 || month > 12 || day < 1 || day > 31)
        return 0; // an empty battery
    return ((days_from_civil(year, month, day) * 24 + hour) * 60 + from_bcd(t.minute, binary)) *
               60 +
           from_bcd(t.second, binary);
}
