/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns_answer.h - whole answers, kept as messages, and given out again and again:
 * to each client with its own id, in its own spelling, in an order of chance, as
 * long as it allows. Pure: time and chance are handed in.
 */
#ifndef REDIAL_DNS_ANSWER_H
#define REDIAL_DNS_ANSWER_H

#include "dns_message.h"

/* What a client may keep of an answer that is older than it should be
 * (RFC 8767). */
#define RD_DNS_STALE_SECONDS 30
/* An answer is kept for so long at most, and one that says no. */
#define RD_DNS_MOST_SECONDS 3600
#define RD_DNS_MOST_NEGATIVE_SECONDS 300

struct rd_dns_answer {
	/* The cache's own. */
	struct rd_dns_answer *chain, *older, *newer;
	uint64_t hash;
	bool used;
	bool dnssec, unchecked; /* for questions with DO, with CD */

	/* Of the zone: it is so while *stamp is this; NULL: of an upstream. */
	const uint64_t *stamp;
	uint64_t stamp_value;
	/* Of an upstream: monotonic; 0: of the zone. */
	uint64_t made_ns, expires_ns;
	uint64_t retry_ns; /* out of date, and nobody was there to ask before this */

	uint16_t length; /* of the message */
	/* Address records of one name, which may stand in any order. */
	uint16_t shuffle_at, shuffle_stride, shuffle_n;
	uint8_t wire[]; /* the message, with id 0 and the question in lower case */
};

/* The bytes that an answer takes. */
static inline size_t rd_dns_answer_size(const struct rd_dns_answer *answer)
{
	return sizeof(*answer) + answer->length;
}

/*
 * Keep a message as the answer to a question.
 *
 * @wire: a response that repeats the question, without an OPT record
 * @ret_answer: to be freed with free
 * Returns 0; -EBADMSG for a message that is none, or not about that; -ENOMEM.
 */
int rd_dns_answer_new(const uint8_t *wire, size_t n, const struct rd_dns_question *question,
		      struct rd_dns_answer **ret_answer);

/*
 * The same for what an upstream has answered: its OPT record is left out, and
 * expires_ns says for how long it may be given out.
 */
int rd_dns_answer_received(const uint8_t *wire, size_t n, const struct rd_dns_question *question,
			   uint64_t now_ns, struct rd_dns_answer **ret_answer);

/* Its code, without an OPT record's part. */
static inline int rd_dns_answer_code(const struct rd_dns_answer *answer)
{
	return answer->wire[3] & RD_DNS_RCODE;
}

/*
 * Write an answer out for one client.
 *
 * @question: of the same key
 * @now_ns: monotonic; TTLs of an upstream's answer count down
 * @chance: the generator's state, not 0
 * @out: room for question->limit bytes
 * Returns the bytes written: never more than the limit. What does not fit is
 * left out record by record, and said with TC, unless it was a mere addition.
 */
size_t rd_dns_answer_write(const struct rd_dns_answer *answer,
			   const struct rd_dns_question *question, uint64_t now_ns,
			   uint64_t *chance, uint8_t *out);

/* The same for a code alone, without records. @flags: RA */
size_t rd_dns_refusal_write(const struct rd_dns_question *question, int code, uint16_t flags,
			    uint8_t *out);

/* Write a question as a query to ask an upstream: with id 0, EDNS, and the DO
 * and CD bits of the one that came. Returns its bytes.
 * @out: room for RD_DNS_QUERY_MAX */
#define RD_DNS_QUERY_MAX (RD_DNS_HEADER + RD_DNS_KEY_MAX + RD_DNS_OPT)
size_t rd_dns_query_write(const struct rd_dns_question *question, uint8_t *out);

#endif
