// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/* Of the header's counts. */
enum { AT_FLAGS = 2, AT_QUESTIONS = 4, AT_ANSWERS = 6, AT_AUTHORITY = 8, AT_MORE = 10 };
/* In the order of a message. */
enum { ANSWERS, AUTHORITY, MORE, SECTIONS };

#define SECOND_NS 1000000000ULL

static size_t question_end(const struct rd_dns_question *question)
{
	return RD_DNS_HEADER + rd_dns_key_length(question);
}

/* ---- keeping ----------------------------------------------------------------------------- */

/* What is learnt about a message's records. */
struct survey {
	size_t end;	  /* of the last one that is kept */
	uint16_t more;	  /* records in the last section that are kept */
	uint32_t ttl;	  /* the least of all */
	bool any;	  /* record of the type asked for */
	bool soa;	  /* in the authority section */
	uint32_t minimum; /* its last number */
	size_t shuffle_at, shuffle_stride, shuffle_n;
	bool extended; /* an OPT record has a part of the code */
};

/* Note an address record of the answer section: it continues the group before
 * it, or begins another one. */
static void note_address(struct survey *survey, const uint8_t *wire,
			 const struct rd_dns_record *record)
{
	size_t size = record->end - record->at;
	bool address = (rd_dns_get16(wire + record->type) == RD_DNS_A &&
			record->end - record->data == 4) ||
		       (rd_dns_get16(wire + record->type) == RD_DNS_AAAA &&
			record->end - record->data == 16);
	const uint8_t *first = wire + survey->shuffle_at;

	if (survey->shuffle_n && address && size == survey->shuffle_stride &&
	    !memcmp(first, wire + record->at, 4)) {
		survey->shuffle_n++;
		return;
	}
	/* A whole name as its owner may be what later pointers point to. */
	if (!address || record->type - record->at != 2) {
		survey->shuffle_n = 0;
		return;
	}
	survey->shuffle_at = record->at;
	survey->shuffle_stride = size;
	survey->shuffle_n = 1;
}

static void note_record(struct survey *survey, const uint8_t *wire, int section,
			const struct rd_dns_record *record, uint16_t type)
{
	uint32_t ttl = rd_dns_get32(wire + record->type + 4);
	uint16_t is = rd_dns_get16(wire + record->type);

	/* A negative number is none (RFC 2181). */
	if (ttl > INT32_MAX)
		ttl = 0;
	if (section != MORE && ttl < survey->ttl)
		survey->ttl = ttl;
	if (section == ANSWERS) {
		survey->any |= is == type || type == RD_DNS_ANY;
		note_address(survey, wire, record);
	}
	if (section == AUTHORITY && is == RD_DNS_SOA && record->end - record->data >= 22) {
		survey->soa = true;
		survey->minimum = rd_dns_get32(wire + record->end - 4);
	}
}

/* Walk every record. Returns 0 or -EBADMSG. */
static int look_through(const uint8_t *wire, size_t n, const struct rd_dns_question *question,
			struct survey *survey)
{
	size_t at = question_end(question);
	bool opt = false;

	*survey = (struct survey){.end = at, .ttl = INT32_MAX};
	for (int section = 0; section < SECTIONS; section++) {
		uint16_t count = rd_dns_get16(wire + AT_ANSWERS + 2 * section);

		for (; count; count--) {
			struct rd_dns_record record;
			struct rd_dns_name owner;

			if (!rd_dns_record_at(wire, n, at, &record) ||
			    !rd_dns_read_name(wire, n, at, &owner))
				return -EBADMSG;
			at = record.end;
			if (section == MORE &&
			    rd_dns_get16(wire + record.type) == RD_DNS_OPT_TYPE) {
				opt = true;
				survey->extended = wire[record.type + 4];
			}
			/* What follows it could point behind it. */
			if (opt)
				continue;
			note_record(survey, wire, section, &record, question->type);
			survey->end = at;
			survey->more += section == MORE;
		}
	}
	return 0;
}

static bool is_about(const uint8_t *wire, size_t n, const struct rd_dns_question *question)
{
	const uint8_t *name = wire + RD_DNS_HEADER;

	if (n < question_end(question) || n > RD_DNS_TCP_MAX || !question->name_length ||
	    rd_dns_get16(wire + AT_QUESTIONS) != 1 || !(wire[AT_FLAGS] & RD_DNS_QR >> 8))
		return false;
	for (size_t i = 0; i < question->name_length; i++) {
		uint8_t c = name[i];

		if ((c >= 'A' && c <= 'Z' ? c | 0x20 : c) != question->key[i])
			return false;
	}
	return !memcmp(name + question->name_length, question->key + question->name_length, 4);
}

static int keep(const uint8_t *wire, size_t n, const struct rd_dns_question *question,
		struct survey *survey, struct rd_dns_answer **ret_answer)
{
	struct rd_dns_answer *answer;

	if (!is_about(wire, n, question) || look_through(wire, n, question, survey))
		return -EBADMSG;
	answer = calloc(1, sizeof(*answer) + survey->end);
	if (!answer)
		return -ENOMEM;
	answer->length = (uint16_t)survey->end;
	answer->dnssec = question->dnssec;
	answer->unchecked = question->flags & RD_DNS_CD;
	if (survey->shuffle_n > 1) {
		answer->shuffle_at = (uint16_t)survey->shuffle_at;
		answer->shuffle_stride = (uint16_t)survey->shuffle_stride;
		answer->shuffle_n = (uint16_t)survey->shuffle_n;
	}
	memcpy(answer->wire, wire, survey->end);
	rd_dns_put16(answer->wire, 0);
	rd_dns_put16(answer->wire + AT_MORE, survey->more);
	memcpy(answer->wire + RD_DNS_HEADER, question->key, rd_dns_key_length(question));
	*ret_answer = answer;
	return 0;
}

int rd_dns_answer_new(const uint8_t *wire, size_t n, const struct rd_dns_question *question,
		      struct rd_dns_answer **ret_answer)
{
	struct survey survey;

	return keep(wire, n, question, &survey, ret_answer);
}

/* For how many seconds an upstream's answer may be given out; one that says no
 * without a SOA record not at all (RFC 2308). */
static uint32_t lifetime(const struct survey *survey, int code)
{
	bool negative = code == RD_DNS_NXDOMAIN || !survey->any;
	uint32_t most = negative ? RD_DNS_MOST_NEGATIVE_SECONDS : RD_DNS_MOST_SECONDS;
	uint32_t ttl = survey->ttl;

	if ((code != RD_DNS_NOERROR && code != RD_DNS_NXDOMAIN) || (negative && !survey->soa))
		return 0;
	if (negative && survey->minimum < ttl)
		ttl = survey->minimum;
	return ttl < most ? ttl : most;
}

int rd_dns_answer_received(const uint8_t *wire, size_t n, const struct rd_dns_question *question,
			   uint64_t now_ns, struct rd_dns_answer **ret_answer)
{
	struct rd_dns_answer *answer;
	struct survey survey;
	uint16_t flags;
	int r = keep(wire, n, question, &survey, &answer);

	if (r)
		return r;
	flags = rd_dns_get16(wire + AT_FLAGS);
	if (survey.extended)
		flags = (uint16_t)((flags & ~RD_DNS_RCODE) | RD_DNS_SERVFAIL);
	/* That it was checked is not known here: nothing has kept it from being
	 * changed on its way. */
	flags &= RD_DNS_QR | RD_DNS_TC | RD_DNS_RCODE;
	rd_dns_put16(answer->wire + AT_FLAGS, flags | RD_DNS_RA);
	answer->made_ns = now_ns;
	answer->expires_ns = now_ns + lifetime(&survey, rd_dns_answer_code(answer)) * SECOND_NS;
	*ret_answer = answer;
	return 0;
}

/* ---- giving out -------------------------------------------------------------------------- */

/* xorshift64*: for spreading load, not for secrets. */
static uint32_t draw(uint64_t *chance, uint32_t below)
{
	uint64_t x = *chance;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*chance = x;
	return (uint32_t)(((x * 0x2545f4914f6cdd1dULL >> 32) * below) >> 32);
}

static void swap(uint8_t *a, uint8_t *b, size_t n)
{
	uint8_t held[32];

	memcpy(held, a, n);
	memcpy(a, b, n);
	memcpy(b, held, n);
}

static void shuffle(uint8_t *at, size_t stride, uint32_t n, uint64_t *chance)
{
	for (uint32_t i = n; i > 1; i--) {
		uint32_t other = draw(chance, i);

		if (other != i - 1)
			swap(at + (i - 1) * stride, at + other * stride, stride);
	}
}

/* Lower every TTL by what has passed. */
static void age(const struct rd_dns_answer *answer, uint64_t now_ns, uint8_t *out, size_t n,
		size_t at)
{
	bool stale = now_ns >= answer->expires_ns;
	uint64_t seconds = (now_ns - answer->made_ns) / SECOND_NS;
	struct rd_dns_record record;

	for (; at < n && rd_dns_record_at(out, n, at, &record); at = record.end) {
		uint32_t ttl = rd_dns_get32(out + record.type + 4);

		ttl = stale ? RD_DNS_STALE_SECONDS : seconds < ttl ? ttl - (uint32_t)seconds : 0;
		rd_dns_put32(out + record.type + 4, ttl);
	}
}

/* Copy the records that fit into `room` bytes of `out`, which has all before
 * them. Returns the message's bytes. */
static size_t copy_some(const struct rd_dns_answer *answer, size_t at, size_t room,
			uint64_t *chance, uint8_t *out)
{
	const uint8_t *wire = answer->wire;
	uint32_t first = answer->shuffle_n ? draw(chance, answer->shuffle_n) : 0;
	size_t n = at, group = 0;
	bool full = false;

	for (int section = 0; section < SECTIONS; section++) {
		uint16_t count = rd_dns_get16(wire + AT_ANSWERS + 2 * section), kept = 0;

		for (uint16_t i = 0; i < count && !full; i++) {
			struct rd_dns_record record;
			const uint8_t *from = wire + at;

			if (!rd_dns_record_at(wire, answer->length, at, &record) ||
			    n + (record.end - at) > room) {
				full = true;
				if (section != MORE)
					out[AT_FLAGS] |= RD_DNS_TC >> 8;
				break;
			}
			if (group < answer->shuffle_n && at >= answer->shuffle_at) {
				from = wire + answer->shuffle_at +
				       (first + group) % answer->shuffle_n * answer->shuffle_stride;
				group++;
			}
			memcpy(out + n, from, record.end - at);
			n += record.end - at;
			at = record.end;
			kept++;
		}
		if (full && count && section != MORE && !kept)
			out[AT_FLAGS] |= RD_DNS_TC >> 8;
		rd_dns_put16(out + AT_ANSWERS + 2 * section, kept);
	}
	if (group > 1)
		shuffle(out + answer->shuffle_at, answer->shuffle_stride, (uint32_t)group, chance);
	return n;
}

static size_t append_opt(const struct rd_dns_question *question, int code, uint8_t *out, size_t n)
{
	uint8_t *opt = out + n;

	memset(opt, 0, RD_DNS_OPT);
	rd_dns_put16(opt + 1, RD_DNS_OPT_TYPE);
	rd_dns_put16(opt + 3, RD_DNS_UDP_MAX);
	opt[5] = (uint8_t)(code >> 4);
	opt[7] = question->dnssec ? 0x80 : 0;
	rd_dns_put16(out + AT_MORE, (uint16_t)(rd_dns_get16(out + AT_MORE) + 1));
	return n + RD_DNS_OPT;
}

/* The id, the letters of the question, and the bits that are repeated. */
static void address_to(const struct rd_dns_question *question, uint8_t *out)
{
	uint16_t flags = rd_dns_get16(out + AT_FLAGS);

	rd_dns_put16(out, question->id);
	rd_dns_put16(out + AT_FLAGS, flags | (question->flags & (RD_DNS_RD | RD_DNS_CD)));
	memcpy(out + RD_DNS_HEADER, question->spelled, question->name_length);
}

size_t rd_dns_answer_write(const struct rd_dns_answer *answer,
			   const struct rd_dns_question *question, uint64_t now_ns,
			   uint64_t *chance, uint8_t *out)
{
	size_t room = question->limit - (question->edns ? RD_DNS_OPT : 0U);
	size_t begin = question_end(question), n = answer->length;

	if (n <= room) {
		memcpy(out, answer->wire, n);
		if (answer->shuffle_n)
			shuffle(out + answer->shuffle_at, answer->shuffle_stride, answer->shuffle_n,
				chance);
	} else {
		memcpy(out, answer->wire, begin);
		n = copy_some(answer, begin, room, chance, out);
	}
	address_to(question, out);
	if (answer->expires_ns)
		age(answer, now_ns, out, n, begin);
	return question->edns ? append_opt(question, 0, out, n) : n;
}

size_t rd_dns_refusal_write(const struct rd_dns_question *question, int code, uint16_t flags,
			    uint8_t *out)
{
	size_t n = question->name_length ? question_end(question) : RD_DNS_HEADER;

	memset(out, 0, RD_DNS_HEADER);
	/* An operation that is not known is repeated as well. */
	rd_dns_put16(out + AT_FLAGS,
		     (uint16_t)(RD_DNS_QR | flags | (question->flags & RD_DNS_OPCODE) |
				(code & RD_DNS_RCODE)));
	if (question->name_length) {
		rd_dns_put16(out + AT_QUESTIONS, 1);
		memcpy(out + RD_DNS_HEADER, question->key, rd_dns_key_length(question));
	}
	address_to(question, out);
	return question->edns ? append_opt(question, code, out, n) : n;
}

size_t rd_dns_query_write(const struct rd_dns_question *question, uint8_t *out)
{
	size_t n = question_end(question);

	memset(out, 0, RD_DNS_HEADER);
	rd_dns_put16(out + AT_FLAGS, (uint16_t)(RD_DNS_RD | (question->flags & RD_DNS_CD)));
	rd_dns_put16(out + AT_QUESTIONS, 1);
	memcpy(out + RD_DNS_HEADER, question->key, rd_dns_key_length(question));
	return append_opt(question, 0, out, n);
}
