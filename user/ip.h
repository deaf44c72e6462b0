/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ip.h - IP addresses and ranges as values. Pure.
 */
#ifndef REDIAL_IP_H
#define REDIAL_IP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "redial/abi.h"

enum rd_ip_family { RD_NO_FAMILY = 0, RD_FAMILY_4 = RD_IPV4, RD_FAMILY_6 = RD_IPV6 };

/* An address. Zero-initialised it is "none". IPv4 uses the first four bytes
 * and the rest is zero, so that two addresses compare with memcmp. */
struct rd_ip {
	uint8_t family; /* enum rd_ip_family */
	uint8_t bytes[16];
};

struct rd_cidr {
	struct rd_ip base; /* host bits are zero */
	uint8_t prefix;
};

/* Room for any address or range in text, with its NUL. */
#define RD_IP_TEXT 52
/* The same for "address:port". */
#define RD_IP_PORT_TEXT 60

/*
 * Parse a decimal IPv4 or an IPv6 address. Leading zeros of an IPv4 part are
 * decimal, as Kubernetes reads them (SERVICE-SEMANTICS A16). An IPv4-mapped
 * IPv6 address gives the IPv4 address.
 * Returns 0 or -EINVAL.
 */
int rd_ip_parse(const char *text, struct rd_ip *ret_ip);

/* Parse "address/prefix"; host bits are cleared. The prefix of an IPv4-mapped
 * IPv6 address counts from 96, and less is neither family. Returns 0 or -EINVAL. */
int rd_cidr_parse(const char *text, struct rd_cidr *ret_cidr);

/* Parse "10.0.0.1:80" or "[fd00::1]:80", @ret_port in host order. Returns 0 or
 * -EINVAL. */
int rd_ip_port_parse(const char *text, struct rd_ip *ret_ip, uint16_t *ret_port);

/* Write the address's text into `buffer`, of RD_IP_TEXT bytes; returns it. */
const char *rd_ip_format(const struct rd_ip *ip, char *buffer);
/* "10.0.0.1:80" or "[fd00::1]:80" into RD_IP_PORT_TEXT bytes; port in host order. */
const char *rd_ip_port_format(const struct rd_ip *ip, uint16_t port, char *buffer);

/* Order by family, then bytes: negative, 0 or positive. */
int rd_ip_compare(const struct rd_ip *a, const struct rd_ip *b);
/* 127.0.0.0/8 or ::1. */
bool rd_ip_is_loopback(const struct rd_ip *ip);
/* 0.0.0.0 or ::, all addresses of the family. */
bool rd_ip_is_any(const struct rd_ip *ip);
bool rd_cidr_contains(const struct rd_cidr *cidr, const struct rd_ip *ip);

/* From an address field of abi.h: 4 bytes are read for IPv4, 16 for IPv6. */
struct rd_ip rd_ip_from_bytes(enum rd_ip_family family, const uint8_t *bytes);

/* As the kernel takes it. Port in host order. Returns its length. */
socklen_t rd_ip_sockaddr(const struct rd_ip *ip, uint16_t port, struct sockaddr_storage *ret_to);

#endif
