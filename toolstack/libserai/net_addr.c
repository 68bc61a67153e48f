// SPDX-License-Identifier: BSD-2-Clause
// MAC and IP addresses: from text, to text, made up.
#include "internal.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { MAC_MULTICAST = 1, IP_TEXT_MAX = INET6_ADDRSTRLEN + 4 };

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int serai_mac_parse(const char *text, uint8_t mac[6], struct serai_error *err)
{
    static const uint8_t zero[6], backend[6] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t out[6];
    bool good = strlen(text) == SERAI_MAC_TEXT - 1;
    for (int i = 0; i < 6 && good; i++) {
        int high = hex_digit(text[i * 3]), low = hex_digit(text[i * 3 + 1]);
        good = high >= 0 && low >= 0 && (i == 5 || text[i * 3 + 2] == ':');
        out[i] = (uint8_t)((unsigned)high << 4 | (unsigned)low);
    }
    if (!good)
        return err_set(err, -EINVAL,
                       "mac: \"%.40s\" is not six pairs of hexadecimal digits with colons", text);
    if (out[0] & MAC_MULTICAST)
        return err_set(err, -EINVAL, "mac: %s is a group address (multicast), not a host's", text);
    if (!memcmp(out, zero, 6))
        return err_set(err, -EINVAL, "mac: %s is no address", text);
    if (!memcmp(out, backend, 6))
        return err_set(err, -EINVAL, "mac: %s is what the backend's side has", text);
    memcpy(mac, out, 6);
    return 0;
}

char *serai_mac_format(const uint8_t mac[6], char text[SERAI_MAC_TEXT])
{
    snprintf(text, SERAI_MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
             mac[4], mac[5]);
    return text;
}

// The vendor part that was given to Xen; tools stay in the lower half of it.
static void mac_from_bits(uint32_t bits, uint8_t mac[6])
{
    mac[0] = 0x00;
    mac[1] = 0x16;
    mac[2] = 0x3e;
    mac[3] = bits >> 16 & 0x7f;
    mac[4] = bits >> 8 & 0xff;
    mac[5] = bits & 0xff;
}

void serai_mac_derive(const uint8_t uuid[16], unsigned devid, unsigned salt, uint8_t mac[6])
{
    uint8_t in[24];
    memcpy(in, uuid, 16);
    for (int i = 0; i < 4; i++) {
        in[16 + i] = (uint8_t)(devid >> 8 * i);
        in[20 + i] = (uint8_t)(salt >> 8 * i);
    }
    uint64_t h = 0xcbf29ce484222325; // FNV-1a
    for (size_t i = 0; i < sizeof(in); i++)
        h = (h ^ in[i]) * 0x100000001b3;
    // Its last bytes reach the high bits only by the multiplication: fold them down.
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9;
    mac_from_bits((uint32_t)(h >> 40), mac);
}

int serai_mac_random(uint8_t mac[6], struct serai_error *err)
{
    uint32_t bits;
    if (getrandom(&bits, sizeof(bits), 0) != sizeof(bits))
        return err_sys(err, errno ? -errno : -EIO, "no random numbers for a MAC");
    mac_from_bits(bits, mac);
    return 0;
}

// What is wrong with an address as a host's; NULL when nothing is.
static const char *ip_fault(const struct serai_ip *ip)
{
    static const uint8_t none[16], v6_loopback[16] = {[15] = 1};
    const uint8_t *a = ip->addr;
    if (!memcmp(a, none, ip->v6 ? 16 : 4))
        return "is no address";
    if (ip->v6 ? a[0] == 0xff : (a[0] & 0xf0) == 0xe0)
        return "is a group address (multicast)";
    if (ip->v6 ? !memcmp(a, v6_loopback, 16) : a[0] == 127)
        return "is a loopback address";
    if (!ip->v6 && (a[0] == 0 || a[0] >= 240))
        return "is reserved";
    return NULL;
}

int serai_ip_parse(const char *text, struct serai_ip *out, struct serai_error *err)
{
    struct serai_ip ip = {0};
    char host[IP_TEXT_MAX] = "";
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len < sizeof(host))
        snprintf(host, sizeof(host), "%.*s", (int)len, text);
    ip.v6 = strchr(host, ':');
    unsigned bits = ip.v6 ? 128 : 32;
    if (inet_pton(ip.v6 ? AF_INET6 : AF_INET, host, ip.addr) != 1)
        return err_set(err, -EINVAL, "ip: \"%.60s\" is no IPv4 or IPv6 address", text);
    ip.prefix = (uint8_t)bits;
    if (slash) {
        char *end;
        unsigned long prefix = strtoul(slash + 1, &end, 10);
        if (!isdigit((unsigned char)slash[1]) || *end || !prefix || prefix > bits)
            return err_set(err, -EINVAL, "ip: \"%.60s\": the prefix must be 1 to %u", text, bits);
        ip.prefix = (uint8_t)prefix;
    }
    const char *fault = ip_fault(&ip);
    if (fault)
        return err_set(err, -EINVAL, "ip: \"%.60s\" %s", text, fault);
    *out = ip;
    return 0;
}

char *serai_ip_format(const struct serai_ip *ip, char text[SERAI_IP_TEXT])
{
    inet_ntop(ip->v6 ? AF_INET6 : AF_INET, ip->addr, text, INET6_ADDRSTRLEN);
    if (ip->prefix != (ip->v6 ? 128 : 32)) {
        size_t len = strlen(text);
        snprintf(text + len, SERAI_IP_TEXT - len, "/%u", ip->prefix);
    }
    return text;
}
