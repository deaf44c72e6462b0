/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns.h - questions and answers as text, for tests: messages are made and read
 * by ldns, not by what is tested.
 */
#ifndef REDIAL_TESTS_DNS_H
#define REDIAL_TESTS_DNS_H

#include <ldns/ldns.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns_answer.h"
#include "unit/unit.h"

/* A query's bytes, by ldns. @edns: the size, 0: none. Returns their number. */
static inline size_t make_query(const char *name, ldns_rr_type type, uint16_t edns,
				uint8_t wire[RD_DNS_UDP_MIN])
{
	ldns_rdf *dname = ldns_dname_new_frm_str(name);
	ldns_pkt *packet;
	uint8_t *bytes;
	size_t n;

	assert_non_null(dname);
	packet = ldns_pkt_query_new(dname, type, LDNS_RR_CLASS_IN, LDNS_RD);
	assert_non_null(packet);
	ldns_pkt_set_id(packet, 0x1234);
	if (edns)
		ldns_pkt_set_edns_udp_size(packet, edns);
	assert_int_equal(ldns_pkt2wire(&bytes, packet, &n), LDNS_STATUS_OK);
	assert_true(n <= RD_DNS_UDP_MIN);
	memcpy(wire, bytes, n);
	free(bytes);
	ldns_pkt_free(packet);
	return n;
}

static inline struct rd_dns_question question_of(const char *name, ldns_rr_type type)
{
	struct rd_dns_question question;
	uint8_t wire[RD_DNS_UDP_MIN];

	assert_int_equal(rd_dns_parse(wire, make_query(name, type, 0, wire), true, &question), 0);
	return question;
}

/* Append a section's records as " TYPE data", after the owner if that is not what
 * was asked for. */
static inline void say_section(char *text, size_t size, const ldns_rr_list *records,
			       const ldns_rdf *asked)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(records); i++) {
		ldns_rr *rr = ldns_rr_list_rr(records, i);
		size_t used = strlen(text);
		char *owner = ldns_rdf2str(ldns_rr_owner(rr));
		char *type = ldns_rr_type2str(ldns_rr_get_type(rr));
		bool other = ldns_dname_compare(ldns_rr_owner(rr), asked) != 0;

		used += (size_t)snprintf(text + used, size - used, "%s%s%s %s", i ? ", " : " ",
					 other ? owner : "", other ? " is" : "is", type);
		for (size_t f = 0; f < ldns_rr_rd_count(rr); f++) {
			char *field = ldns_rdf2str(ldns_rr_rdf(rr, f));

			/* Of a SOA record only who it is. */
			if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_SOA)
				used += (size_t)snprintf(text + used, size - used, " %s", field);
			free(field);
		}
		free(owner);
		free(type);
	}
}

/* A response as "NOERROR aa; is A 10.0.0.1; authority: ...; more: ...". Static. */
static inline const char *message_text(const uint8_t *wire, size_t n)
{
	static char text[70000];
	const ldns_rdf *asked;
	ldns_pkt *packet;
	char *code;

	assert_int_equal(ldns_wire2pkt(&packet, wire, n), LDNS_STATUS_OK);
	assert_int_equal(ldns_rr_list_rr_count(ldns_pkt_question(packet)), 1);
	asked = ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(packet), 0));
	assert_true(ldns_pkt_qr(packet));
	code = ldns_pkt_rcode2str(ldns_pkt_get_rcode(packet));
	snprintf(text, sizeof(text), "%s%s%s", code, ldns_pkt_aa(packet) ? " aa" : "",
		 ldns_pkt_tc(packet) ? " tc" : "");
	free(code);
	if (ldns_pkt_ancount(packet))
		snprintf(text + strlen(text), 2, ";");
	say_section(text, sizeof(text), ldns_pkt_answer(packet), asked);
	if (ldns_pkt_nscount(packet))
		snprintf(text + strlen(text), 20, "; authority:");
	say_section(text, sizeof(text), ldns_pkt_authority(packet), asked);
	if (ldns_rr_list_rr_count(ldns_pkt_additional(packet)))
		snprintf(text + strlen(text), 20, "; more:");
	say_section(text, sizeof(text), ldns_pkt_additional(packet), asked);
	ldns_pkt_free(packet);
	return text;
}

#endif
