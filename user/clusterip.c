// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "clusterip.h"

#include <errno.h>
#include <stdlib.h>

static int compare_entries(const struct rd_ip_entry *a, const struct rd_ip_entry *b)
{
	return rd_ip_compare(&a->ip, &b->ip);
}

RD_TREE_GENERATE(rd_ip_set, rd_ip_entry, entry, compare_entries)

int rd_ip_set_add(struct rd_ip_set *set, const struct rd_ip *ip)
{
	struct rd_ip_entry *entry;

	if (ip->family == RD_NO_FAMILY || rd_ip_set_has(set, ip))
		return 0;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	entry->ip = *ip;
	RB_INSERT(rd_ip_set, set, entry);
	return 0;
}

bool rd_ip_set_has(const struct rd_ip_set *set, const struct rd_ip *ip)
{
	struct rd_ip_entry probe = {.ip = *ip};

	return RB_FIND(rd_ip_set, (struct rd_ip_set *)set, &probe);
}

void rd_ip_set_clear(struct rd_ip_set *set)
{
	struct rd_ip_entry *entry;

	while ((entry = RB_ROOT(set))) {
		RB_REMOVE(rd_ip_set, set, entry);
		free(entry);
	}
}

/* FNV-1a, 32 bits. */
static uint32_t hash(uint32_t h, const char *text)
{
	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 16777619U;
	return h;
}

/* The address `offset` above the range's base; at most 32 host bits are used. */
static struct rd_ip at(const struct rd_cidr *cidr, uint32_t offset)
{
	struct rd_ip ip = cidr->base;
	int last = ip.family == RD_FAMILY_4 ? 3 : 15;

	for (int i = last; i > last - 4; i--, offset >>= 8)
		ip.bytes[i] |= (uint8_t)offset;
	return ip;
}

int rd_clusterip_pick(const struct rd_cidr *cidr, const struct rd_ip_set *taken,
		      const char *namespace, const char *name, struct rd_ip *ret_ip)
{
	unsigned host_bits = (cidr->base.family == RD_FAMILY_4 ? 32U : 128U) - cidr->prefix;
	uint64_t addresses = 1ULL << (host_bits > 32 ? 32 : host_bits);
	uint32_t reserved = cidr->base.family == RD_FAMILY_4 ? 2 : 1;
	uint32_t usable, start;

	if (addresses <= reserved)
		return -ENOSPC;
	usable = (uint32_t)(addresses - reserved);
	start = hash(hash(hash(2166136261U, namespace), "/"), name) % usable;
	for (uint32_t i = 0; i < usable && i < 65536; i++) {
		struct rd_ip ip = at(cidr, 1 + (uint32_t)(((uint64_t)start + i) % usable));

		if (rd_ip_set_has(taken, &ip))
			continue;
		*ret_ip = ip;
		return 0;
	}
	return -ENOSPC;
}
