// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_message.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The two upper bits of a label's length. */
#define POINTER 0xc0

/* Of a header's words. */
enum { AT_ID = 0, AT_FLAGS = 2, AT_QUESTIONS = 4, AT_ANSWERS = 6, AT_AUTHORITY = 8, AT_MORE = 10 };

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* ---- names ---------------------------------------------------------------------------- */

size_t rd_dns_skip_name(const uint8_t *wire, size_t n, size_t at)
{
	size_t begin = at;

	while (at < n && at - begin < RD_DNS_NAME_MAX) {
		uint8_t length = wire[at];

		if ((length & POINTER) == POINTER)
			return at + 2 <= n ? at + 2 : 0;
		if (length > RD_DNS_LABEL_MAX)
			return 0;
		at += length + 1U;
		if (!length)
			return at;
	}
	return 0;
}

bool rd_dns_read_name(const uint8_t *wire, size_t n, size_t at, struct rd_dns_name *ret_name)
{
	struct rd_dns_name name = {0};
	size_t begin = at; /* where the last pointer led to: the next one leads before it */

	while (at < n) {
		uint8_t length = wire[at];

		if ((length & POINTER) == POINTER) {
			size_t to;

			if (at + 2 > n)
				return false;
			to = rd_dns_get16(wire + at) & 0x3fff;
			if (to >= begin)
				return false;
			at = begin = to;
			continue;
		}
		if (length > RD_DNS_LABEL_MAX || at + 1 + length > n ||
		    name.n + 1U + length > RD_DNS_NAME_MAX)
			return false;
		name.wire[name.n++] = length;
		for (size_t i = 1; i <= length; i++)
			name.wire[name.n++] = lower(wire[at + i]);
		if (!length) {
			*ret_name = name;
			return true;
		}
		at += length + 1U;
	}
	return false;
}

bool rd_dns_name_prepend(struct rd_dns_name *name, const char *label, size_t n)
{
	if (!n || n > RD_DNS_LABEL_MAX || name->n + n + 1 > RD_DNS_NAME_MAX)
		return false;
	memmove(name->wire + n + 1, name->wire, name->n);
	name->wire[0] = (uint8_t)n;
	for (size_t i = 0; i < n; i++)
		name->wire[i + 1] = lower((uint8_t)label[i]);
	name->n = (uint8_t)(name->n + n + 1);
	return true;
}

int rd_dns_name_parse(const char *text, struct rd_dns_name *ret_name)
{
	struct rd_dns_name name = {.n = 1};
	size_t end = strlen(text);

	if (!end)
		return -EINVAL;
	if (!strcmp(text, "."))
		end = 0;
	else if (text[end - 1] == '.')
		end--;
	/* From its last label to its first. */
	while (end) {
		size_t begin = end;

		while (begin && text[begin - 1] != '.')
			begin--;
		if (!rd_dns_name_prepend(&name, text + begin, end - begin))
			return -EINVAL;
		if (begin == 1)
			return -EINVAL; /* it begins with a dot */
		end = begin ? begin - 1 : 0;
	}
	*ret_name = name;
	return 0;
}

const char *rd_dns_name_format(const uint8_t *wire, char *text, size_t size)
{
	size_t used = 0;

	if (!*wire) {
		snprintf(text, size, ".");
		return text;
	}
	text[0] = '\0';
	for (; *wire; wire += *wire + 1) {
		for (size_t i = 1; i <= *wire; i++) {
			bool plain = wire[i] > ' ' && wire[i] < 0x7f && wire[i] != '.' &&
				     wire[i] != '\\';

			if (used + 6 >= size)
				return text;
			used += (size_t)snprintf(text + used, size - used, plain ? "%c" : "\\%03u",
						 wire[i]);
		}
		if (wire[*wire + 1] && used + 2 < size)
			used += (size_t)snprintf(text + used, size - used, ".");
	}
	return text;
}

/* ---- records ---------------------------------------------------------------------------- */

bool rd_dns_record_at(const uint8_t *wire, size_t n, size_t at, struct rd_dns_record *ret_record)
{
	size_t type = rd_dns_skip_name(wire, n, at);

	if (!type || type + 10 > n || type + 10 + rd_dns_get16(wire + type + 8) > n)
		return false;
	*ret_record = (struct rd_dns_record){
		.at = at,
		.type = type,
		.data = type + 10,
		.end = type + 10 + rd_dns_get16(wire + type + 8),
	};
	return true;
}

/* ---- queries ------------------------------------------------------------------------------ */

/* The question: one name without compression, since nothing is before it that
 * it could point to. Returns its end; 0: it is none. */
static size_t parse_question(const uint8_t *wire, size_t n, struct rd_dns_question *question)
{
	size_t at = RD_DNS_HEADER;

	for (;;) {
		uint8_t length;

		if (at >= n)
			return 0;
		length = wire[at];
		if (length > RD_DNS_LABEL_MAX ||
		    at - RD_DNS_HEADER + length + 1 > RD_DNS_NAME_MAX || at + length + 1 > n)
			return 0;
		at += length + 1U;
		if (!length)
			break;
	}
	if (at + 4 > n)
		return 0;
	question->name_length = (uint8_t)(at - RD_DNS_HEADER);
	memcpy(question->spelled, wire + RD_DNS_HEADER, question->name_length);
	/* Lengths are below 'A' and stay as they are. */
	for (size_t i = 0; i < question->name_length; i++)
		question->key[i] = lower(wire[RD_DNS_HEADER + i]);
	memcpy(question->key + question->name_length, wire + at, 4);
	question->type = rd_dns_get16(wire + at);
	question->class = rd_dns_get16(wire + at + 2);
	return at + 4;
}

/* The OPT record among those that follow the question, at most one (RFC 6891). */
static int parse_more(const uint8_t *wire, size_t n, size_t at, bool tcp,
		      struct rd_dns_question *question)
{
	uint16_t records = rd_dns_get16(wire + AT_MORE);
	struct rd_dns_record record;

	for (; records; records--, at = record.end) {
		uint16_t size;

		if (!rd_dns_record_at(wire, n, at, &record))
			return RD_DNS_FORMERR;
		if (rd_dns_get16(wire + record.type) != RD_DNS_OPT_TYPE)
			continue;
		if (question->edns || wire[record.at])
			return RD_DNS_FORMERR;
		size = rd_dns_get16(wire + record.type + 2);
		question->edns = true;
		question->dnssec = wire[record.type + 6] & 0x80;
		if (!tcp && size > question->limit)
			question->limit = size < RD_DNS_UDP_MAX ? size : RD_DNS_UDP_MAX;
		if (wire[record.type + 5])
			return RD_DNS_BADVERS;
	}
	return RD_DNS_NOERROR;
}

int rd_dns_parse(const uint8_t *wire, size_t n, bool tcp, struct rd_dns_question *question)
{
	size_t end;
	int code;

	if (n < RD_DNS_HEADER || wire[AT_FLAGS] & RD_DNS_QR >> 8)
		return RD_DNS_DROP;
	question->id = rd_dns_get16(wire + AT_ID);
	question->flags = rd_dns_get16(wire + AT_FLAGS);
	question->type = question->class = 0;
	question->name_length = 0;
	question->edns = question->dnssec = false;
	question->limit = tcp ? RD_DNS_TCP_MAX : RD_DNS_UDP_MIN;
	if (question->flags & RD_DNS_OPCODE)
		return RD_DNS_NOTIMP;
	if (rd_dns_get16(wire + AT_QUESTIONS) != 1 || rd_dns_get16(wire + AT_ANSWERS) ||
	    rd_dns_get16(wire + AT_AUTHORITY))
		return RD_DNS_FORMERR;
	end = parse_question(wire, n, question);
	if (!end)
		return RD_DNS_FORMERR;
	code = parse_more(wire, n, end, tcp, question);
	if (code)
		return code;
	if (question->type == RD_DNS_OPT_TYPE || !question->type)
		return RD_DNS_FORMERR;
	/* Transfers of zones, signatures of transactions, and mail's. */
	if (question->type >= RD_DNS_META_FIRST && question->type <= RD_DNS_META_LAST)
		return RD_DNS_NOTIMP;
	return RD_DNS_NOERROR;
}
