// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_numbers.h"

#include "util.h"

static enum rd_dns_counted_type counted_type(uint16_t type)
{
	switch (type) {
	case RD_DNS_A:
		return RD_DNS_COUNT_A;
	case RD_DNS_AAAA:
		return RD_DNS_COUNT_AAAA;
	case RD_DNS_SRV:
		return RD_DNS_COUNT_SRV;
	case RD_DNS_PTR:
		return RD_DNS_COUNT_PTR;
	default:
		return RD_DNS_COUNT_OTHER;
	}
}

void rd_dns_count(struct rd_dns_numbers *numbers, enum rd_dns_transport transport,
		  const struct rd_dns_question *question, int code)
{
	size_t result = code < RD_DNS_COUNT_RESULTS - 1 ? (size_t)code : RD_DNS_COUNT_RESULTS - 1;

	numbers->queries[transport][counted_type(question->type)][result]++;
}

void rd_dns_count_time(struct rd_dns_numbers *numbers, uint64_t ns, uint64_t n)
{
	size_t i = 0;

	while (i < RD_DNS_BUCKETS - 1 && ns > RD_DNS_FIRST_BUCKET_NS << (2 * i))
		i++;
	numbers->bucket[i] += n;
	numbers->sum_ns += ns * n;
}

const char *rd_dns_transport_name(enum rd_dns_transport transport)
{
	return transport == RD_DNS_TCP ? "tcp" : "udp";
}

const char *rd_dns_counted_type_name(enum rd_dns_counted_type type)
{
	static const char *const names[] = {
		[RD_DNS_COUNT_A] = "A",		[RD_DNS_COUNT_AAAA] = "AAAA",
		[RD_DNS_COUNT_SRV] = "SRV",	[RD_DNS_COUNT_PTR] = "PTR",
		[RD_DNS_COUNT_OTHER] = "other",
	};
	_Static_assert(RD_ARRAY_SIZE(names) == RD_DNS_COUNT_TYPES, "a name for every type");

	return names[type];
}

const char *rd_dns_result_name(size_t result)
{
	static const char *const names[] = {
		[RD_DNS_NOERROR] = "NOERROR",	      [RD_DNS_FORMERR] = "FORMERR",
		[RD_DNS_SERVFAIL] = "SERVFAIL",	      [RD_DNS_NXDOMAIN] = "NXDOMAIN",
		[RD_DNS_NOTIMP] = "NOTIMP",	      [RD_DNS_REFUSED] = "REFUSED",
		[RD_DNS_COUNT_RESULTS - 1] = "other",
	};
	_Static_assert(RD_ARRAY_SIZE(names) == RD_DNS_COUNT_RESULTS, "a name for every result");

	return names[result];
}
