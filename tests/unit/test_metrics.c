// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* /metrics as text, of a plan without maps but for the counters' arrays. */
#include "unit/unit.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "metrics.h"

static void check_escape(const char *value, size_t size, const char *expected)
{
	char text[64];

	assert_int_equal(rd_metrics_escape(text, size, value), strlen(expected));
	assert_string_equal(text, expected);
}

TEST(a_label_is_escaped)
{
	check_escape("web", 64, "web");
	check_escape("", 64, "");
	check_escape("a\"b\\c\nd", 64, "a\\\"b\\\\c\\nd");
}

TEST(a_label_is_cut_at_a_whole_character)
{
	check_escape("abc", 3, "ab");
	check_escape("a\"b", 3, "a");
	check_escape("a\"b", 4, "a\\\"");
	check_escape("a\xc3\xa9", 3, "a");
	check_escape("a\xc3\xa9", 4, "a\xc3\xa9");
	check_escape("abc", 1, "");
}

/* ---- all of it ------------------------------------------------------------------------- */

#define PORTS 4000

static struct rd_service_stats service_stats[PORTS];
static struct rd_latency latency[PORTS];

static char *write_all(const struct rd_plan *plan, size_t *ret_pieces)
{
	struct rd_maps maps = RD_MAPS_NONE;
	struct rd_agent said = {.version = "0.1.0"};
	struct rd_syncs syncs = {.took = {2, 1, [15] = 1},
				 .took_sum_ns = 1500000000,
				 .programmed = {1, 0, 1, [72] = 1, [80] = 1},
				 .programmed_sum_ns = 500000000000,
				 .last_queued_ns = 3000000000,
				 .last_sync_ns = 4000000000};
	struct rd_own_numbers own = {.said = &said, .syncs = &syncs, .outcomes = true};
	struct rd_metrics *metrics;
	char *all = calloc(1, 1);
	size_t length = 0, n;
	const char *piece;

	maps.service_stats = service_stats;
	maps.latency = latency;
	maps.entries[RD_MAP_LATENCY] = RD_ARRAY_SIZE(latency);
	assert_int_equal(rd_metrics_new(plan, &maps, &own, &metrics), 0);
	for (*ret_pieces = 0; rd_metrics_next(metrics, &piece, &n); ++*ret_pieces) {
		assert_in_range(n, 1, RD_METRICS_PIECE + 16384);
		assert_int_equal(piece[n - 1], '\n');
		all = realloc(all, length + n + 1);
		assert_non_null(all);
		memcpy(all + length, piece, n);
		length += n;
		all[length] = '\0';
	}
	rd_metrics_free(metrics);
	return all;
}

static void add_ports(struct rd_plan *plan, uint32_t n)
{
	struct rd_limits limits = {.max_services = n,
				   .max_ports = n,
				   .max_frontends = n,
				   .frontend_bits = 8,
				   .multiplier = 1,
				   .max_slots = n};

	assert_int_equal(rd_plan_new(plan, &limits), 0);
	for (uint32_t i = 0; i < n; i++) {
		struct rd_service record = {
			.namespace = "default", .port = 80, .protocol = IPPROTO_TCP};

		snprintf(record.name, sizeof(record.name), "web-%u", i);
		assert_int_equal(rd_plan_adopt_service(plan, i, &record), 0);
	}
}

static size_t count(const char *text, const char *part)
{
	size_t n = 0;

	while ((text = strstr(text, part))) {
		n++;
		text += strlen(part);
	}
	return n;
}

#define PROGRAMMING "kubeproxy_network_programming_duration_seconds_"

TEST(histograms_are_cumulative)
{
	static const char tail[] = "{namespace=\"default\",service=\"web-0\",port=\"80\","
				   "protocol=\"TCP\",le=\"0.002048\"} 3\n";
	struct rd_plan plan;
	size_t pieces;
	char *text;

	service_stats[0].chosen = 21;
	for (unsigned i = 0; i < 6; i++)
		latency[0].bucket[i] = i;
	latency[0].bucket[7] = 6;
	service_stats[0].latency_us = 2500001;
	add_ports(&plan, 1);
	text = write_all(&plan, &pieces);
	assert_int_equal(pieces, 1);
	assert_non_null(strstr(text, tail));
	assert_non_null(strstr(text, "le=\"0.008192\"} 6\n"));
	assert_non_null(strstr(text, "le=\"0.524288\"} 15\n"));
	assert_non_null(strstr(text, "le=\"+Inf\"} 21\n"));
	assert_non_null(strstr(text, "protocol=\"TCP\"} 2.500001000\n"));
	assert_non_null(strstr(text, "redial_sync_duration_seconds_bucket{le=\"0.002\"} 3\n"));
	assert_non_null(strstr(text, "redial_sync_duration_seconds_bucket{le=\"+Inf\"} 4\n"));
	assert_non_null(strstr(text, "redial_sync_duration_seconds_sum 1.500000000\n"));
	assert_non_null(strstr(text, "_last_queued_timestamp_seconds 3.000000000\n"));
	assert_non_null(strstr(text, "rules_last_timestamp_seconds 4.000000000\n"));
	assert_non_null(strstr(text, PROGRAMMING "bucket{le=\"0.250\"} 1\n"));
	assert_non_null(strstr(text, PROGRAMMING "bucket{le=\"0.500\"} 1\n"));
	assert_non_null(strstr(text, PROGRAMMING "bucket{le=\"1.000\"} 2\n"));
	assert_non_null(strstr(text, PROGRAMMING "bucket{le=\"115.000\"} 3\n"));
	assert_non_null(strstr(text, PROGRAMMING "bucket{le=\"300.000\"} 3\n"));
	assert_non_null(strstr(text, PROGRAMMING "bucket{le=\"+Inf\"} 4\n"));
	assert_non_null(strstr(text, PROGRAMMING "sum 500.000000000\n"));
	free(text);
	rd_plan_free(&plan);
}

TEST(pieces_make_up_each_line_once)
{
	struct rd_plan plan;
	size_t pieces;
	char *text;

	for (uint32_t i = 0; i < PORTS; i++)
		service_stats[i].chosen = 1;
	add_ports(&plan, PORTS);
	text = write_all(&plan, &pieces);
	assert_true(pieces > 10);
	assert_int_equal(count(text, "\nredial_service_connects_total{"), PORTS);
	assert_int_equal(count(text, "\nredial_service_tcp_open{"), PORTS);
	/* Of Services, the two of syncs and that of endpoints. */
	assert_int_equal(count(text, "le=\"+Inf\"}"), PORTS + 3);
	assert_int_equal(count(text, "# TYPE redial_service_tcp_open "), 1);
	assert_int_equal(count(text, "# TYPE redial_service_tcp_connect_duration_seconds "), 1);
	free(text);
	rd_plan_free(&plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_label_is_escaped),
		cmocka_unit_test(a_label_is_cut_at_a_whole_character),
		cmocka_unit_test(histograms_are_cumulative),
		cmocka_unit_test(pieces_make_up_each_line_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
