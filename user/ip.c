// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "ip.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse_ip4(const char *text, uint8_t *ret_bytes)
{
	for (int part = 0; part < 4; part++) {
		unsigned value = 0;
		int digits = 0;

		for (; isdigit((unsigned char)*text); text++, digits++) {
			value = value * 10 + (unsigned)(*text - '0');
			if (value > 255)
				return -EINVAL;
		}
		if (!digits || *text != (part < 3 ? '.' : '\0'))
			return -EINVAL;
		ret_bytes[part] = (uint8_t)value;
		text++;
	}
	return 0;
}

int rd_ip_parse(const char *text, struct rd_ip *ret_ip)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct rd_ip ip = {.family = RD_FAMILY_4};

	if (parse_ip4(text, ip.bytes)) {
		ip = (struct rd_ip){.family = RD_FAMILY_6};
		if (inet_pton(AF_INET6, text, ip.bytes) != 1)
			return -EINVAL;
		if (!memcmp(ip.bytes, mapped, sizeof(mapped))) {
			struct rd_ip ip4 = {.family = RD_FAMILY_4};

			memcpy(ip4.bytes, ip.bytes + 12, 4);
			ip = ip4;
		}
	}
	*ret_ip = ip;
	return 0;
}

static unsigned family_bits(const struct rd_ip *ip)
{
	return ip->family == RD_FAMILY_4 ? 32 : 128;
}

static struct rd_ip masked(const struct rd_ip *ip, unsigned prefix)
{
	struct rd_ip out = *ip;

	for (unsigned bit = prefix; bit < family_bits(ip); bit++)
		out.bytes[bit / 8] &= (uint8_t) ~(0x80U >> bit % 8);
	return out;
}

int rd_cidr_parse(const char *text, struct rd_cidr *ret_cidr)
{
	const char *slash = strchr(text, '/');
	struct rd_cidr cidr = {0};
	char address[RD_IP_TEXT];
	unsigned long prefix, bits, before;
	char *end;

	if (!slash || !isdigit((unsigned char)slash[1]) ||
	    (size_t)(slash - text) >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	if (rd_ip_parse(address, &cidr.base))
		return -EINVAL;
	prefix = strtoul(slash + 1, &end, 10);
	bits = family_bits(&cidr.base);
	/* An IPv4 address that was written as an IPv6 one. */
	before = strchr(address, ':') ? 128 - bits : 0;
	if (*end || prefix < before || prefix > before + bits)
		return -EINVAL;
	prefix -= before;
	cidr.base = masked(&cidr.base, (unsigned)prefix);
	cidr.prefix = (uint8_t)prefix;
	*ret_cidr = cidr;
	return 0;
}

int rd_ip_port_parse(const char *text, struct rd_ip *ret_ip, uint16_t *ret_port)
{
	const char *colon = strrchr(text, ':');
	size_t brackets = *text == '[';
	char address[RD_IP_TEXT];
	unsigned long port;
	size_t length;
	struct rd_ip ip;
	char *end;

	if (!colon || !isdigit((unsigned char)colon[1]) || (size_t)(colon - text) <= 2 * brackets)
		return -EINVAL;
	length = (size_t)(colon - text) - 2 * brackets;
	if (length >= sizeof(address) || (brackets && colon[-1] != ']'))
		return -EINVAL;
	memcpy(address, text + brackets, length);
	address[length] = '\0';
	port = strtoul(colon + 1, &end, 10);
	if (rd_ip_parse(address, &ip) || *end || !port || port > 65535 ||
	    brackets != (strchr(address, ':') != NULL))
		return -EINVAL;
	*ret_ip = ip;
	*ret_port = (uint16_t)port;
	return 0;
}

const char *rd_ip_format(const struct rd_ip *ip, char *buffer)
{
	if (ip->family == RD_NO_FAMILY)
		snprintf(buffer, RD_IP_TEXT, "-");
	else
		inet_ntop(ip->family == RD_FAMILY_4 ? AF_INET : AF_INET6, ip->bytes, buffer,
			  RD_IP_TEXT);
	return buffer;
}

const char *rd_ip_port_format(const struct rd_ip *ip, uint16_t port, char *buffer)
{
	char address[RD_IP_TEXT];

	rd_ip_format(ip, address);
	if (ip->family == RD_FAMILY_6)
		snprintf(buffer, RD_IP_PORT_TEXT, "[%s]:%u", address, port);
	else
		snprintf(buffer, RD_IP_PORT_TEXT, "%s:%u", address, port);
	return buffer;
}

int rd_ip_compare(const struct rd_ip *a, const struct rd_ip *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool rd_ip_is_loopback(const struct rd_ip *ip)
{
	static const struct rd_ip loopback6 = {.family = RD_FAMILY_6, .bytes = {[15] = 1}};

	return ip->family == RD_FAMILY_4 ? ip->bytes[0] == 127 : !rd_ip_compare(ip, &loopback6);
}

bool rd_cidr_contains(const struct rd_cidr *cidr, const struct rd_ip *ip)
{
	struct rd_ip base;

	if (cidr->base.family != ip->family)
		return false;
	base = masked(ip, cidr->prefix);
	return !rd_ip_compare(&base, &cidr->base);
}

struct rd_ip rd_ip_from_bytes(enum rd_ip_family family, const uint8_t *bytes)
{
	struct rd_ip ip = {.family = (uint8_t)family};

	memcpy(ip.bytes, bytes, family == RD_FAMILY_4 ? 4 : 16);
	return ip;
}

bool rd_ip_is_any(const struct rd_ip *ip)
{
	static const uint8_t zeros[16];

	return !memcmp(ip->bytes, zeros, sizeof(zeros));
}

socklen_t rd_ip_sockaddr(const struct rd_ip *ip, uint16_t port, struct sockaddr_storage *ret_to)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_to;
	struct sockaddr_in *in = (struct sockaddr_in *)ret_to;

	memset(ret_to, 0, sizeof(*ret_to));
	if (ip->family == RD_FAMILY_6) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		memcpy(&in6->sin6_addr, ip->bytes, 16);
		return sizeof(*in6);
	}
	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	memcpy(&in->sin_addr, ip->bytes, 4);
	return sizeof(*in);
}
