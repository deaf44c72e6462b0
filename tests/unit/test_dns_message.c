// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_message.h"

#include <errno.h>

#include "unit/dns.h"
#include "util.h"

/* Parse bytes that end where nothing may be read. */
static int parse(const uint8_t *wire, size_t n, bool tcp, struct rd_dns_question *question)
{
	uint8_t *exact = malloc(n ? n : 1);
	int code;

	assert_non_null(exact);
	memcpy(exact, wire, n);
	code = rd_dns_parse(exact, n, tcp, question);
	free(exact);
	return code;
}

TEST(a_query_is_read)
{
	struct rd_dns_question question;
	uint8_t wire[RD_DNS_UDP_MIN];
	size_t n = make_query("WWW.Example.org", LDNS_RR_TYPE_AAAA, 0, wire);
	char text[RD_DNS_NAME_TEXT];

	assert_int_equal(parse(wire, n, false, &question), RD_DNS_NOERROR);
	assert_int_equal(question.id, 0x1234);
	assert_int_equal(question.flags, RD_DNS_RD);
	assert_int_equal(question.type, RD_DNS_AAAA);
	assert_int_equal(question.class, RD_DNS_IN);
	assert_int_equal(question.limit, 512);
	assert_false(question.edns);
	assert_string_equal(rd_dns_name_format(question.key, text, sizeof(text)),
			    "www.example.org");
	assert_string_equal(rd_dns_name_format(question.spelled, text, sizeof(text)),
			    "WWW.Example.org");
	assert_int_equal(rd_dns_get16(question.key + question.name_length), RD_DNS_AAAA);
}

TEST(the_root_can_be_asked_for)
{
	struct rd_dns_question question;
	uint8_t wire[RD_DNS_UDP_MIN];
	size_t n = make_query(".", LDNS_RR_TYPE_NS, 0, wire);

	assert_int_equal(parse(wire, n, false, &question), RD_DNS_NOERROR);
	assert_int_equal(question.name_length, 1);
}

TEST(the_size_that_a_client_allows_is_kept_to)
{
	static const struct {
		uint16_t edns;
		bool tcp;
		uint16_t limit;
	} rows[] = {{0, false, 512},	 {1, false, 512},      {511, false, 512},
		    {513, false, 513},	 {1231, false, 1231},  {1232, false, 1232},
		    {1233, false, 1232}, {65535, false, 1232}, {0, true, 65535},
		    {600, true, 65535}};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_dns_question question;
		uint8_t wire[RD_DNS_UDP_MIN];
		size_t n = make_query("example.org", LDNS_RR_TYPE_A, rows[i].edns, wire);

		assert_int_equal(parse(wire, n, rows[i].tcp, &question), RD_DNS_NOERROR);
		assert_int_equal(question.limit, rows[i].limit);
		assert_int_equal(question.edns, rows[i].edns != 0);
	}
}

TEST(a_query_that_is_cut_off_anywhere_is_malformed)
{
	struct rd_dns_question question;
	uint8_t wire[RD_DNS_UDP_MIN];
	size_t n = make_query("www.example.org", LDNS_RR_TYPE_A, 1232, wire);

	for (size_t i = 0; i < n; i++)
		assert_int_equal(parse(wire, i, false, &question),
				 i < RD_DNS_HEADER ? RD_DNS_DROP : RD_DNS_FORMERR);
}

TEST(an_answer_is_not_answered)
{
	struct rd_dns_question question;
	uint8_t wire[RD_DNS_UDP_MIN];
	size_t n = make_query("www.example.org", LDNS_RR_TYPE_A, 0, wire);

	wire[2] |= 0x80;
	assert_int_equal(parse(wire, n, false, &question), RD_DNS_DROP);
}

TEST(every_bit_of_a_header_that_is_not_a_querys_is_refused)
{
	static const struct {
		size_t at;
		uint8_t value;
		int code;
	} rows[] = {{2, 0x08, RD_DNS_NOTIMP}, {2, 0x28, RD_DNS_NOTIMP},	 {5, 0, RD_DNS_FORMERR},
		    {5, 2, RD_DNS_FORMERR},   {7, 1, RD_DNS_FORMERR},	 {9, 1, RD_DNS_FORMERR},
		    {11, 1, RD_DNS_FORMERR},  {10, 0xff, RD_DNS_FORMERR}};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_dns_question question;
		uint8_t wire[RD_DNS_UDP_MIN];
		size_t n = make_query("www.example.org", LDNS_RR_TYPE_A, 0, wire);

		wire[rows[i].at] = rows[i].value;
		assert_int_equal(parse(wire, n, false, &question), rows[i].code);
	}
}

TEST(types_that_are_no_data_are_not_answered)
{
	static const struct {
		unsigned type;
		int code;
	} rows[] = {{0, RD_DNS_FORMERR},   {41, RD_DNS_FORMERR},  {128, RD_DNS_NOTIMP},
		    {249, RD_DNS_NOTIMP},  {252, RD_DNS_NOTIMP},  {254, RD_DNS_NOTIMP},
		    {255, RD_DNS_NOERROR}, {127, RD_DNS_NOERROR}, {256, RD_DNS_NOERROR}};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_dns_question question;
		uint8_t wire[RD_DNS_UDP_MIN];
		size_t n = make_query("www.example.org", LDNS_RR_TYPE_A, 0, wire);

		rd_dns_put16(wire + n - 4, (uint16_t)rows[i].type);
		assert_int_equal(parse(wire, n, false, &question), rows[i].code);
	}
}

TEST(another_version_of_edns_is_not_known)
{
	struct rd_dns_question question;
	uint8_t wire[RD_DNS_UDP_MIN];
	size_t n = make_query("www.example.org", LDNS_RR_TYPE_A, 1232, wire);

	wire[n - RD_DNS_OPT + 6] = 1;
	assert_int_equal(parse(wire, n, false, &question), RD_DNS_BADVERS);
	assert_true(question.edns);
}

TEST(two_opt_records_are_one_too_many)
{
	struct rd_dns_question question;
	uint8_t wire[RD_DNS_UDP_MIN];
	size_t n = make_query("www.example.org", LDNS_RR_TYPE_A, 1232, wire);

	memcpy(wire + n, wire + n - RD_DNS_OPT, RD_DNS_OPT);
	wire[11] = 2;
	assert_int_equal(parse(wire, n + RD_DNS_OPT, false, &question), RD_DNS_FORMERR);
}

TEST(other_records_beside_it_are_passed_over)
{
	static const uint8_t record[] = {0, 0, 250, 0, 1, 0, 0, 0, 0, 0, 2, 7, 7};
	struct rd_dns_question question;
	uint8_t wire[RD_DNS_UDP_MIN];
	size_t n = make_query("www.example.org", LDNS_RR_TYPE_A, 1000, wire);

	memcpy(wire + n, record, sizeof(record));
	wire[11] = 2;
	assert_int_equal(parse(wire, n + sizeof(record), false, &question), RD_DNS_NOERROR);
	assert_int_equal(question.limit, 1000);
}

TEST(a_name_has_255_bytes_at_most)
{
	uint8_t wire[400] = {0, 1, 1, 0, 0, 1};
	struct rd_dns_question question;

	/* 63 + 63 + 63 + last, each with its length, and the root. */
	for (unsigned last = 60; last <= 63; last++) {
		size_t n = RD_DNS_HEADER;

		for (unsigned label = 0; label < 4; label++) {
			unsigned length = label == 3 ? last : 63;

			wire[n++] = (uint8_t)length;
			memset(wire + n, 'a', length);
			n += length;
		}
		memcpy(wire + n, (uint8_t[]){0, 0, 1, 0, 1}, 5);
		n += 5;
		assert_int_equal(parse(wire, n, false, &question),
				 last <= 61 ? RD_DNS_NOERROR : RD_DNS_FORMERR);
	}
}

/* ---- names ------------------------------------------------------------------------------- */

static const char *read_name(const uint8_t *wire, size_t n, size_t at)
{
	static char text[RD_DNS_NAME_TEXT];
	struct rd_dns_name name;

	if (!rd_dns_read_name(wire, n, at, &name))
		return "none";
	return rd_dns_name_format(name.wire, text, sizeof(text));
}

TEST(a_compressed_name_is_read)
{
	/*                             0    1    2    3    4  5  6    7 */
	static const uint8_t wire[] = {3, 'o', 'R', 'g',  0, 1,	   'a', 0xc0,
				       0, 1,   'b', 0xc0, 5, 0xc0, 9};

	assert_string_equal(read_name(wire, sizeof(wire), 0), "org");
	assert_string_equal(read_name(wire, sizeof(wire), 5), "a.org");
	assert_string_equal(read_name(wire, sizeof(wire), 9), "b.a.org");
	assert_string_equal(read_name(wire, sizeof(wire), 13), "b.a.org");
	assert_int_equal(rd_dns_skip_name(wire, sizeof(wire), 0), 5);
	assert_int_equal(rd_dns_skip_name(wire, sizeof(wire), 5), 9);
	assert_int_equal(rd_dns_skip_name(wire, sizeof(wire), 13), 15);
}

TEST(a_pointer_that_leads_on_or_round_is_none)
{
	static const struct {
		uint8_t wire[8];
		size_t n;
	} rows[] = {{{0xc0, 0}, 2},
		    {{1, 'a', 0xc0, 0}, 4},
		    {{0xc0, 2, 0xc0, 0}, 4},
		    {{0xc0, 4, 0, 0}, 4},
		    {{0xff, 0xff}, 2},
		    {{0xc0}, 1},
		    {{1}, 1},
		    {{1, 'a'}, 2},
		    {{0x40, 0}, 2},
		    {{0x80, 0}, 2},
		    {{0}, 0}};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++)
		assert_string_equal(read_name(rows[i].wire, rows[i].n, 0), "none");
}

TEST(a_name_that_pointers_make_too_long_is_none)
{
	uint8_t wire[1024];
	size_t n = 0, last = 0;

	wire[n++] = 0;
	for (int i = 0; i < 10; i++) {
		size_t at = n;

		wire[n++] = 40;
		memset(wire + n, 'a', 40);
		n += 40;
		rd_dns_put16(wire + n, (uint16_t)(0xc000 | last));
		n += 2;
		last = at;
		assert_int_equal(strcmp(read_name(wire, n, at), "none") != 0,
				 (i + 1) * 41 + 1 <= 255);
	}
}

TEST(text_gives_a_name_and_back)
{
	static const char *const texts[] = {".", "local", "cluster.local", "_a._tcp.x-1.org"};
	static const char *const none[] = {"", "..", "a..b", ".a", "a.."};
	struct rd_dns_name name;
	char text[RD_DNS_NAME_TEXT];

	for (size_t i = 0; i < RD_ARRAY_SIZE(texts); i++) {
		assert_int_equal(rd_dns_name_parse(texts[i], &name), 0);
		assert_string_equal(rd_dns_name_format(name.wire, text, sizeof(text)), texts[i]);
	}
	for (size_t i = 0; i < RD_ARRAY_SIZE(none); i++)
		assert_int_equal(rd_dns_name_parse(none[i], &name), -EINVAL);
	assert_int_equal(rd_dns_name_parse("CLUSTER.Local.", &name), 0);
	assert_string_equal(rd_dns_name_format(name.wire, text, sizeof(text)), "cluster.local");
}

TEST(what_is_not_printable_is_written_as_numbers_and_cut_where_there_is_no_room)
{
	static const uint8_t wire[] = {4, 'a', '.', 0, '\\', 1, 0xff, 0};
	char text[RD_DNS_NAME_TEXT];

	assert_string_equal(rd_dns_name_format(wire, text, sizeof(text)), "a\\046\\000\\092.\\255");
	for (size_t size = 8; size < 20; size++) {
		char *exact = malloc(size);

		assert_true(strlen(rd_dns_name_format(wire, exact, size)) < size);
		free(exact);
	}
}

TEST(a_label_that_does_not_fit_is_not_put_before)
{
	struct rd_dns_name name = {.n = 1};
	char label[64];

	memset(label, 'a', sizeof(label));
	assert_false(rd_dns_name_prepend(&name, label, 0));
	assert_false(rd_dns_name_prepend(&name, label, 64));
	for (int i = 0; i < 3; i++)
		assert_true(rd_dns_name_prepend(&name, label, 63));
	assert_false(rd_dns_name_prepend(&name, label, 62));
	assert_true(rd_dns_name_prepend(&name, label, 61));
	assert_int_equal(name.n, 255);
}

TEST(a_record_ends_within_the_message)
{
	static const uint8_t wire[] = {0, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, 1};
	struct rd_dns_record record;

	assert_true(rd_dns_record_at(wire, sizeof(wire), 0, &record));
	assert_int_equal(record.type, 1);
	assert_int_equal(record.data, 11);
	assert_int_equal(record.end, 15);
	for (size_t n = 0; n < sizeof(wire); n++)
		assert_false(rd_dns_record_at(wire, n, 0, &record));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_query_is_read),
		cmocka_unit_test(the_root_can_be_asked_for),
		cmocka_unit_test(the_size_that_a_client_allows_is_kept_to),
		cmocka_unit_test(a_query_that_is_cut_off_anywhere_is_malformed),
		cmocka_unit_test(an_answer_is_not_answered),
		cmocka_unit_test(every_bit_of_a_header_that_is_not_a_querys_is_refused),
		cmocka_unit_test(types_that_are_no_data_are_not_answered),
		cmocka_unit_test(another_version_of_edns_is_not_known),
		cmocka_unit_test(two_opt_records_are_one_too_many),
		cmocka_unit_test(other_records_beside_it_are_passed_over),
		cmocka_unit_test(a_name_has_255_bytes_at_most),
		cmocka_unit_test(a_compressed_name_is_read),
		cmocka_unit_test(a_pointer_that_leads_on_or_round_is_none),
		cmocka_unit_test(a_name_that_pointers_make_too_long_is_none),
		cmocka_unit_test(text_gives_a_name_and_back),
		cmocka_unit_test(
			what_is_not_printable_is_written_as_numbers_and_cut_where_there_is_no_room),
		cmocka_unit_test(a_label_that_does_not_fit_is_not_put_before),
		cmocka_unit_test(a_record_ends_within_the_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
