/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns_message.h - DNS messages as bytes: a query is read, and the records of a
 * message are walked, without a byte outside it being looked at. Pure, and
 * without memory of its own: this is what strangers' packets meet first.
 */
#ifndef REDIAL_DNS_MESSAGE_H
#define REDIAL_DNS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RD_DNS_HEADER 12
#define RD_DNS_NAME_MAX 255
#define RD_DNS_LABEL_MAX 63
/* A name, its type and its class: what a question is about. */
#define RD_DNS_KEY_MAX (RD_DNS_NAME_MAX + 4)
/* Without EDNS an answer over UDP has so many bytes at most. */
#define RD_DNS_UDP_MIN 512
/* With it, what passes through every network in one piece (the advice of DNS
 * Flag Day 2020). */
#define RD_DNS_UDP_MAX 1232
#define RD_DNS_TCP_MAX 65535
/* An OPT record without options. */
#define RD_DNS_OPT 11

/* Bits of the header's second word, host order. */
enum rd_dns_flag {
	RD_DNS_QR = 0x8000,
	RD_DNS_AA = 0x0400,
	RD_DNS_TC = 0x0200,
	RD_DNS_RD = 0x0100,
	RD_DNS_RA = 0x0080,
	RD_DNS_AD = 0x0020,
	RD_DNS_CD = 0x0010,
	RD_DNS_RCODE = 0x000f,
	RD_DNS_OPCODE = 0x7800,
};

enum rd_dns_rcode {
	RD_DNS_NOERROR = 0,
	RD_DNS_FORMERR = 1,
	RD_DNS_SERVFAIL = 2,
	RD_DNS_NXDOMAIN = 3,
	RD_DNS_NOTIMP = 4,
	RD_DNS_REFUSED = 5,
	RD_DNS_BADVERS = 16, /* its upper bits are in the OPT record */
};

enum rd_dns_type {
	RD_DNS_A = 1,
	RD_DNS_NS = 2,
	RD_DNS_CNAME = 5,
	RD_DNS_SOA = 6,
	RD_DNS_PTR = 12,
	RD_DNS_TXT = 16,
	RD_DNS_AAAA = 28,
	RD_DNS_SRV = 33,
	RD_DNS_OPT_TYPE = 41,
	RD_DNS_META_FIRST = 128, /* of those that are no data, … */
	RD_DNS_META_LAST = 254,
	RD_DNS_ANY = 255, /* … but for this one */
};

enum rd_dns_class { RD_DNS_IN = 1 };

/* A name in wire form: labels, each after its length, and the root's 0. */
struct rd_dns_name {
	uint8_t n; /* bytes, the root's among them; 0: none */
	uint8_t wire[RD_DNS_NAME_MAX];
};

/* What a query asks. */
struct rd_dns_question {
	uint16_t id;
	uint16_t flags; /* the header's */
	uint16_t type;
	uint16_t class;
	uint8_t name_length; /* in wire form */
	bool edns;
	bool dnssec;	/* EDNS's DO bit */
	uint16_t limit; /* bytes of the largest answer allowed */
	/* The name in lower case, then type and class as in the message. */
	uint8_t key[RD_DNS_KEY_MAX];
	uint8_t spelled[RD_DNS_NAME_MAX]; /* the name, in its own letters */
};

/* The bytes of the key. */
static inline size_t rd_dns_key_length(const struct rd_dns_question *question)
{
	return question->name_length + 4U;
}

#define RD_DNS_DROP (-1)

/*
 * Read a query.
 *
 * @wire: the message; of a TCP message without its length
 * @ret_question: filled in as far as the query can be understood; id and flags
 * are, unless it is to be dropped. A name_length of 0: there is no question to
 * repeat in the answer.
 * Returns RD_DNS_DROP for what must not be answered: responses, and what has no
 * header; else the code to answer with, RD_DNS_NOERROR if nothing is wrong.
 */
int rd_dns_parse(const uint8_t *wire, size_t n, bool tcp, struct rd_dns_question *ret_question);

/* A record of a message, by its place there. */
struct rd_dns_record {
	size_t at;   /* where its owner's name begins */
	size_t type; /* where its type is: class, TTL, length and data follow */
	size_t data;
	size_t end; /* of the data */
};

/*
 * The record that begins at `at`. Only its frame is looked at: names in it may
 * still be wrong.
 * Returns false if it does not end within the message.
 */
bool rd_dns_record_at(const uint8_t *wire, size_t n, size_t at, struct rd_dns_record *ret_record);

/* The end of the name that begins at `at`, compressed or not; 0: it has none. */
size_t rd_dns_skip_name(const uint8_t *wire, size_t n, size_t at);

/*
 * A name of a message, in lower case and without compression. A pointer leads
 * backwards only, so there is no loop.
 * Returns false if it is no name.
 */
bool rd_dns_read_name(const uint8_t *wire, size_t n, size_t at, struct rd_dns_name *ret_name);

/* Put a label, of 1 to 63 bytes, before a name. Returns false, and leaves the
 * name, if it is longer or the name would be. */
bool rd_dns_name_prepend(struct rd_dns_name *name, const char *label, size_t n);

/* "cluster.local", with or without a dot at its end; "." is the root. In lower
 * case. Returns 0 or -EINVAL. */
int rd_dns_name_parse(const char *text, struct rd_dns_name *ret_name);

/* As text without a dot at its end, "." for the root; what is not printable is
 * \DDD. Cut to `size`. Returns `text`. */
const char *rd_dns_name_format(const uint8_t *wire, char *text, size_t size);
#define RD_DNS_NAME_TEXT 1024

static inline uint16_t rd_dns_get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t rd_dns_get32(const uint8_t *at)
{
	return (uint32_t)rd_dns_get16(at) << 16 | rd_dns_get16(at + 2);
}

static inline void rd_dns_put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void rd_dns_put32(uint8_t *at, uint32_t value)
{
	rd_dns_put16(at, (uint16_t)(value >> 16));
	rd_dns_put16(at + 2, (uint16_t)value);
}

#endif
