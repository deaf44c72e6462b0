// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_answer.h"

#include <errno.h>

#include "unit/alloc_fail.h"
#include "unit/dns.h"
#include "util.h"

#define SECOND 1000000000ULL

static uint64_t chance = 1;

static void push(ldns_pkt *packet, ldns_pkt_section section, const char *text)
{
	ldns_rr *rr;

	if (!text)
		return;
	assert_int_equal(ldns_rr_new_frm_str(&rr, text, 0, NULL, NULL), LDNS_STATUS_OK);
	assert_true(ldns_pkt_push_rr(packet, section, rr));
}

/* A response to `name`, by ldns; lists end with NULL. Returns its bytes. */
static size_t respond(const char *name, ldns_rr_type type, int code, const char *const *answers,
		      const char *authority, const char *more, uint8_t *wire, size_t size)
{
	ldns_pkt *packet = ldns_pkt_new();
	ldns_rr *question = ldns_rr_new();
	uint8_t *bytes;
	size_t n;

	ldns_rr_set_owner(question, ldns_dname_new_frm_str(name));
	ldns_rr_set_type(question, type);
	ldns_rr_set_question(question, true);
	ldns_pkt_push_rr(packet, LDNS_SECTION_QUESTION, question);
	ldns_pkt_set_qr(packet, true);
	ldns_pkt_set_id(packet, 77);
	ldns_pkt_set_rcode(packet, (uint8_t)code);
	for (; answers && *answers; answers++)
		push(packet, LDNS_SECTION_ANSWER, *answers);
	push(packet, LDNS_SECTION_AUTHORITY, authority);
	push(packet, LDNS_SECTION_ADDITIONAL, more);
	assert_int_equal(ldns_pkt2wire(&bytes, packet, &n), LDNS_STATUS_OK);
	assert_true(n <= size);
	memcpy(wire, bytes, n);
	free(bytes);
	ldns_pkt_free(packet);
	return n;
}

static const char *const three[] = {"www.example.org. 60 IN A 192.0.2.1",
				    "www.example.org. 60 IN A 192.0.2.2",
				    "www.example.org. 60 IN A 192.0.2.3", NULL};
#define SOA "example.org. 50 IN SOA a. b. 1 2 3 4 40"

/* What an upstream says about www.example.org, kept at second 1000. */
static struct rd_dns_answer *receive(ldns_rr_type type, int code, const char *const *answers,
				     const char *authority, const char *more)
{
	struct rd_dns_question question = question_of("www.example.org", type);
	struct rd_dns_answer *answer;
	uint8_t wire[2000];
	size_t n = respond("www.example.org", type, code, answers, authority, more, wire,
			   sizeof(wire));

	assert_int_equal(rd_dns_answer_received(wire, n, &question, 1000 * SECOND, &answer), 0);
	return answer;
}

static unsigned lifetime(struct rd_dns_answer *answer)
{
	unsigned seconds = (unsigned)((answer->expires_ns - answer->made_ns) / SECOND);

	free(answer);
	return seconds;
}

TEST(an_answer_comes_with_the_clients_id_letters_and_bits)
{
	struct rd_dns_answer *answer = receive(LDNS_RR_TYPE_A, 0, three, NULL, NULL);
	struct rd_dns_question question;
	uint8_t query[RD_DNS_UDP_MIN], out[RD_DNS_UDP_MAX];
	size_t n = make_query("wWw.EXAMPLE.org", LDNS_RR_TYPE_A, 0, query);

	assert_int_equal(rd_dns_parse(query, n, false, &question), 0);
	n = rd_dns_answer_write(answer, &question, 1000 * SECOND, &chance, out);
	assert_int_equal(rd_dns_get16(out), 0x1234);
	assert_memory_equal(out + RD_DNS_HEADER, query + RD_DNS_HEADER, 17);
	assert_int_equal(rd_dns_get16(out + 2), RD_DNS_QR | RD_DNS_RD | RD_DNS_RA);
	assert_int_equal(n, answer->length);
	free(answer);
}

TEST(edns_is_answered_with_edns_and_not_without)
{
	struct rd_dns_answer *answer = receive(LDNS_RR_TYPE_A, 0, three, NULL, NULL);
	struct rd_dns_question question = question_of("www.example.org", LDNS_RR_TYPE_A);
	uint8_t out[RD_DNS_TCP_MAX];
	size_t bare = rd_dns_answer_write(answer, &question, 1000 * SECOND, &chance, out);

	assert_int_equal(rd_dns_get16(out + 10), 0);
	question.edns = question.dnssec = true;
	assert_int_equal(rd_dns_answer_write(answer, &question, 1000 * SECOND, &chance, out),
			 bare + RD_DNS_OPT);
	assert_int_equal(rd_dns_get16(out + 10), 1);
	assert_int_equal(rd_dns_get16(out + bare + 1), RD_DNS_OPT_TYPE);
	assert_int_equal(rd_dns_get16(out + bare + 3), RD_DNS_UDP_MAX);
	assert_int_equal(out[bare + 7], 0x80);
	free(answer);
}

TEST(the_opt_record_of_an_upstream_stays_out)
{
	struct rd_dns_question question = question_of("www.example.org", LDNS_RR_TYPE_A);
	static const uint8_t opt[] = {0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0};
	struct rd_dns_answer *answer;
	uint8_t wire[2000];
	size_t n = respond("www.example.org", LDNS_RR_TYPE_A, 0, three, NULL, NULL, wire,
			   sizeof(wire));
	uint8_t *code = wire + n + 5;

	memcpy(wire + n, opt, sizeof(opt));
	wire[11] = 1;
	assert_int_equal(rd_dns_answer_received(wire, n + sizeof(opt), &question, 0, &answer), 0);
	assert_int_equal(answer->length, n);
	assert_int_equal(rd_dns_get16(answer->wire + 10), 0);
	free(answer);
	/* With a code that only it can carry. */
	*code = 1;
	assert_int_equal(rd_dns_answer_received(wire, n + sizeof(opt), &question, 0, &answer), 0);
	assert_int_equal(rd_dns_answer_code(answer), RD_DNS_SERVFAIL);
	free(answer);
}

TEST(an_answer_is_kept_for_the_least_of_its_ttls)
{
	static const char *const chain[] = {"www.example.org. 9 IN CNAME w.example.org.",
					    "w.example.org. 60 IN A 192.0.2.1", NULL};
	static const char *const year[] = {"www.example.org. 31536000 IN A 192.0.2.1", NULL};
	static const char *const zero[] = {"www.example.org. 0 IN A 192.0.2.1", NULL};

	assert_int_equal(lifetime(receive(LDNS_RR_TYPE_A, 0, three, NULL, NULL)), 60);
	assert_int_equal(lifetime(receive(LDNS_RR_TYPE_A, 0, chain, NULL, NULL)), 9);
	assert_int_equal(lifetime(receive(LDNS_RR_TYPE_A, 0, year, NULL, NULL)), 3600);
	assert_int_equal(lifetime(receive(LDNS_RR_TYPE_A, 0, zero, NULL, NULL)), 0);
}

TEST(that_there_is_nothing_is_kept_for_as_long_as_the_zone_says)
{
	static const char *const chain[] = {"www.example.org. 9 IN CNAME w.example.org.", NULL};
	static const char soa_day[] = "example.org. 86400 IN SOA a. b. 1 2 3 4 86400";

	assert_int_equal(lifetime(receive(LDNS_RR_TYPE_A, 3, NULL, SOA, NULL)), 40);
	assert_int_equal(lifetime(receive(LDNS_RR_TYPE_A, 0, NULL, SOA, NULL)), 40);
	assert_int_equal(lifetime(receive(LDNS_RR_TYPE_A, 0, chain, SOA, NULL)), 9);
	assert_int_equal(lifetime(receive(LDNS_RR_TYPE_A, 3, NULL, soa_day, NULL)), 300);
	/* Without one it is not known for how long. */
	assert_int_equal(lifetime(receive(LDNS_RR_TYPE_A, 3, NULL, NULL, NULL)), 0);
	assert_int_equal(lifetime(receive(LDNS_RR_TYPE_A, 0, NULL, NULL, NULL)), 0);
	assert_int_equal(lifetime(receive(LDNS_RR_TYPE_A, 2, NULL, SOA, NULL)), 0);
}

static uint32_t first_ttl(const struct rd_dns_answer *answer, uint64_t now)
{
	struct rd_dns_question question = question_of("www.example.org", LDNS_RR_TYPE_A);
	uint8_t out[RD_DNS_TCP_MAX];
	size_t n = rd_dns_answer_write(answer, &question, now, &chance, out);
	struct rd_dns_record record;

	assert_true(rd_dns_record_at(out, n, RD_DNS_HEADER + 21, &record));
	return rd_dns_get32(out + record.type + 4);
}

TEST(ttls_count_down_and_what_is_out_of_date_is_to_be_asked_for_soon)
{
	struct rd_dns_answer *answer = receive(LDNS_RR_TYPE_A, 0, three, NULL, NULL);

	assert_int_equal(first_ttl(answer, 1000 * SECOND), 60);
	assert_int_equal(first_ttl(answer, 1000 * SECOND + 1), 60);
	assert_int_equal(first_ttl(answer, 1059 * SECOND), 1);
	assert_int_equal(first_ttl(answer, 1060 * SECOND), RD_DNS_STALE_SECONDS);
	assert_int_equal(first_ttl(answer, 9000 * SECOND), RD_DNS_STALE_SECONDS);
	free(answer);
}

TEST(address_records_come_in_every_order)
{
	struct rd_dns_answer *answer = receive(LDNS_RR_TYPE_A, 0, three, NULL, NULL);
	struct rd_dns_question question = question_of("www.example.org", LDNS_RR_TYPE_A);
	unsigned seen[4][4] = {0};

	assert_int_equal(answer->shuffle_n, 3);
	for (int i = 0; i < 1000; i++) {
		uint8_t out[RD_DNS_TCP_MAX];
		size_t n = rd_dns_answer_write(answer, &question, 1000 * SECOND, &chance, out);
		uint8_t first = out[n - 33], second = out[n - 17], third = out[n - 1];

		assert_int_equal(first + second + third, 6);
		assert_int_equal(first * second * third, 6);
		seen[first][second]++;
	}
	for (int a = 1; a <= 3; a++)
		for (int b = 1; b <= 3; b++)
			assert_int_equal(seen[a][b] > 100, a != b);
	free(answer);
}

TEST(only_one_names_addresses_may_change_places)
{
	static const char *const chain[] = {"www.example.org. 9 IN CNAME w.example.org.",
					    "w.example.org. 9 IN A 192.0.2.1",
					    "w.example.org. 9 IN A 192.0.2.2", NULL};
	static const char *const mixed[] = {"www.example.org. 9 IN A 192.0.2.1",
					    "www.example.org. 9 IN TXT a",
					    "www.example.org. 9 IN A 192.0.2.2", NULL};
	struct rd_dns_answer *answer = receive(LDNS_RR_TYPE_A, 0, chain, NULL, NULL);

	assert_int_equal(answer->shuffle_n, 2);
	free(answer);
	answer = receive(LDNS_RR_TYPE_A, 0, mixed, NULL, NULL);
	assert_int_equal(answer->shuffle_n, 0);
	free(answer);
	answer = receive(LDNS_RR_TYPE_A, 3, NULL, SOA, NULL);
	assert_int_equal(answer->shuffle_n, 0);
	free(answer);
}

/* Every answer that a limit allows is whole records, and says what is missing. */
static void check_truncation(const struct rd_dns_answer *answer, size_t begin_of_more)
{
	struct rd_dns_question question = question_of("www.example.org", LDNS_RR_TYPE_A);

	for (question.edns = false;; question.edns = true) {
		size_t least = RD_DNS_HEADER + rd_dns_key_length(&question) +
			       (question.edns ? RD_DNS_OPT : 0);

		for (size_t limit = least; limit <= answer->length + 20U; limit++) {
			uint8_t *out = malloc(limit);
			ldns_pkt *packet;
			size_t n, body;

			question.limit = (uint16_t)limit;
			n = rd_dns_answer_write(answer, &question, 1000 * SECOND, &chance, out);
			assert_true(n <= limit);
			assert_int_equal(ldns_wire2pkt(&packet, out, n), LDNS_STATUS_OK);
			assert_int_equal(ldns_pkt_edns(packet), question.edns);
			body = n - (question.edns ? RD_DNS_OPT : 0);
			assert_int_equal(ldns_pkt_tc(packet), body < begin_of_more);
			assert_true(body <= answer->length);
			ldns_pkt_free(packet);
			free(out);
		}
		if (question.edns)
			break;
	}
}

TEST(at_every_limit_there_are_whole_records)
{
	static const char *const chain[] = {"www.example.org. 9 IN CNAME w.example.org.",
					    "w.example.org. 9 IN AAAA 2001:db8::1",
					    "w.example.org. 9 IN AAAA 2001:db8::2",
					    "w.example.org. 9 IN AAAA 2001:db8::3", NULL};
	struct rd_dns_answer *answer =
		receive(LDNS_RR_TYPE_A, 0, three, SOA, "ns.example.org. 9 IN A 192.0.2.9");

	check_truncation(answer, answer->length - (3 + 2 + 10 + 4U));
	free(answer);
	answer = receive(LDNS_RR_TYPE_A, 0, chain, NULL, NULL);
	check_truncation(answer, answer->length);
	free(answer);
	answer = receive(LDNS_RR_TYPE_A, 3, NULL, SOA, NULL);
	check_truncation(answer, answer->length);
	free(answer);
}

TEST(what_fits_of_many_addresses_is_chosen_by_chance)
{
	struct rd_dns_answer *answer = receive(LDNS_RR_TYPE_A, 0, three, NULL, NULL);
	struct rd_dns_question question = question_of("www.example.org", LDNS_RR_TYPE_A);
	unsigned seen[4] = {0};

	question.limit = (uint16_t)(answer->length - 1);
	for (int i = 0; i < 300; i++) {
		uint8_t out[RD_DNS_UDP_MAX];
		size_t n = rd_dns_answer_write(answer, &question, 1000 * SECOND, &chance, out);

		assert_int_equal(n, answer->length - 16);
		assert_int_not_equal(out[n - 1], out[n - 17]);
		seen[out[n - 1]]++;
		seen[out[n - 17]]++;
	}
	for (int i = 1; i <= 3; i++)
		assert_true(seen[i] > 100);
	free(answer);
}

TEST(what_is_not_about_the_question_is_not_kept)
{
	struct rd_dns_question question = question_of("www.example.org", LDNS_RR_TYPE_A);
	struct rd_dns_question other = question_of("www.example.com", LDNS_RR_TYPE_A);
	struct rd_dns_question type = question_of("www.example.org", LDNS_RR_TYPE_AAAA);
	struct rd_dns_answer *answer = NULL;
	uint8_t wire[2000];
	size_t n =
		respond("www.example.org", LDNS_RR_TYPE_A, 0, three, SOA, NULL, wire, sizeof(wire));

	assert_int_equal(rd_dns_answer_received(wire, n, &other, 0, &answer), -EBADMSG);
	assert_int_equal(rd_dns_answer_received(wire, n, &type, 0, &answer), -EBADMSG);
	for (size_t cut = 0; cut < n; cut++) {
		uint8_t *exact = malloc(cut + 1);

		memcpy(exact, wire, cut);
		assert_int_equal(rd_dns_answer_received(exact, cut, &question, 0, &answer),
				 -EBADMSG);
		free(exact);
	}
	wire[2] &= 0x7f;
	assert_int_equal(rd_dns_answer_received(wire, n, &question, 0, &answer), -EBADMSG);
	assert_null(answer);
}

TEST(a_refusal_repeats_the_question_if_there_is_one)
{
	struct rd_dns_question question = question_of("www.Example.org", LDNS_RR_TYPE_A);
	uint8_t out[RD_DNS_UDP_MIN];
	size_t n = rd_dns_refusal_write(&question, RD_DNS_REFUSED, RD_DNS_RA, out);

	assert_string_equal(message_text(out, n), "REFUSED");
	assert_int_equal(rd_dns_get16(out), 0x1234);
	assert_memory_equal(out + RD_DNS_HEADER, question.spelled, question.name_length);
	assert_int_equal(rd_dns_get16(out + 2), RD_DNS_QR | RD_DNS_RD | RD_DNS_RA | RD_DNS_REFUSED);
	question.name_length = 0;
	assert_int_equal(rd_dns_refusal_write(&question, RD_DNS_FORMERR, 0, out), RD_DNS_HEADER);
	question.edns = true;
	n = rd_dns_refusal_write(&question, RD_DNS_BADVERS, 0, out);
	assert_int_equal(n, RD_DNS_HEADER + RD_DNS_OPT);
	assert_int_equal(out[3] & RD_DNS_RCODE, 0);
	assert_int_equal(out[RD_DNS_HEADER + 5], 1);
}

TEST(upstreams_are_asked_what_the_client_asks)
{
	struct rd_dns_question question = question_of("www.Example.org", LDNS_RR_TYPE_A);
	struct rd_dns_question asked;
	uint8_t out[RD_DNS_QUERY_MAX];
	size_t n;

	question.dnssec = true;
	question.flags |= RD_DNS_CD;
	n = rd_dns_query_write(&question, out);
	assert_int_equal(rd_dns_parse(out, n, false, &asked), 0);
	assert_memory_equal(asked.key, question.key, rd_dns_key_length(&question));
	assert_int_equal(asked.flags, RD_DNS_RD | RD_DNS_CD);
	assert_true(asked.edns && asked.dnssec);
	assert_int_equal(asked.limit, RD_DNS_UDP_MAX);
}

TEST(out_of_memory_keeps_nothing)
{
	struct rd_dns_question question = question_of("www.example.org", LDNS_RR_TYPE_A);
	struct rd_dns_answer *answer = NULL;
	uint8_t wire[2000];
	size_t n =
		respond("www.example.org", LDNS_RR_TYPE_A, 0, three, SOA, NULL, wire, sizeof(wire));

	alloc_fail_at(1);
	assert_int_equal(rd_dns_answer_received(wire, n, &question, 0, &answer), -ENOMEM);
	assert_true(alloc_fail_end());
	assert_null(answer);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_comes_with_the_clients_id_letters_and_bits),
		cmocka_unit_test(edns_is_answered_with_edns_and_not_without),
		cmocka_unit_test(the_opt_record_of_an_upstream_stays_out),
		cmocka_unit_test(an_answer_is_kept_for_the_least_of_its_ttls),
		cmocka_unit_test(that_there_is_nothing_is_kept_for_as_long_as_the_zone_says),
		cmocka_unit_test(ttls_count_down_and_what_is_out_of_date_is_to_be_asked_for_soon),
		cmocka_unit_test(address_records_come_in_every_order),
		cmocka_unit_test(only_one_names_addresses_may_change_places),
		cmocka_unit_test(at_every_limit_there_are_whole_records),
		cmocka_unit_test(what_fits_of_many_addresses_is_chosen_by_chance),
		cmocka_unit_test(what_is_not_about_the_question_is_not_kept),
		cmocka_unit_test(a_refusal_repeats_the_question_if_there_is_one),
		cmocka_unit_test(upstreams_are_asked_what_the_client_asks),
		cmocka_unit_test(out_of_memory_keeps_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
