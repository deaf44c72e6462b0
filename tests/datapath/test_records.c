// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The sockets' records: slots, spills, and that none is left behind; and a
 * datapath that is taken over by another agent.
 */
#include "sandbox.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct service dns = {.name = "dns",
				   .address = "10.96.0.1:53",
				   .protocol = IPPROTO_UDP,
				   .backends = {"10.244.0.1:5353"}};

static bool is_spilled(struct node *node, int fd)
{
	struct rd_socket record;

	return !bpf_map_lookup_elem(rd_datapath_maps(node->datapath)->fd[RD_MAP_SPILL], &fd,
				    &record);
}

static void a_socket_whose_slot_is_taken_spills(void **state)
{
	struct node node;
	int first, second;

	(void)state;
	node_open(&node, &(struct node_config){.socket_slots = 1});
	node_serve(&node, &dns);
	first = dialled("10.96.0.1:53", SOCK_DGRAM);
	second = dialled("10.96.0.1:53", SOCK_DGRAM);
	assert_false(is_spilled(&node, first));
	assert_true(is_spilled(&node, second));
	assert_int_equal(node_count_records(&node), 1);
	assert_string_equal(peer_of(first), "10.96.0.1:53");
	assert_string_equal(peer_of(second), "10.96.0.1:53");
	/* The spilled one's end does not touch the slot of the other. */
	close(second);
	assert_int_equal(node_count_records(&node), 1);
	assert_string_equal(peer_of(first), "10.96.0.1:53");
	close(first);
	assert_int_equal(node_count_records(&node), 0);
	node_close(&node);
}

static void a_spilled_socket_is_forgotten_like_any_other(void **state)
{
	struct node node;
	int first, second;

	(void)state;
	node_open(&node, &(struct node_config){.socket_slots = 1});
	node_serve(&node, &dns);
	first = dialled("10.96.0.1:53", SOCK_DGRAM);
	second = dialled("10.96.0.1:53", SOCK_DGRAM);
	assert_int_equal(dial(second, "10.244.0.1:5353"), 0);
	assert_string_equal(peer_of(second), "10.244.0.1:5353");
	assert_false(is_spilled(&node, second));
	close_all(first, second, -1);
	node_close(&node);
}

/* It has both records then, and both must go. */
static void a_spilled_socket_that_gets_a_slot_later_is_forgotten_wholly(void **state)
{
	static const struct service other = {.name = "other",
					     .address = "10.96.0.2:53",
					     .protocol = IPPROTO_UDP,
					     .backends = {"10.244.0.2:5353"}};
	struct node node;
	int first, second;

	(void)state;
	node_open(&node, &(struct node_config){.socket_slots = 1});
	node_serve(&node, &dns);
	node_serve(&node, &other);
	first = dialled("10.96.0.1:53", SOCK_DGRAM);
	second = dialled("10.96.0.1:53", SOCK_DGRAM);
	close(first);
	assert_int_equal(dial(second, "10.96.0.2:53"), 0);
	assert_int_equal(node_count_records(&node), 1);
	assert_string_equal(peer_of(second), "10.96.0.2:53");
	assert_int_equal(dial(second, "10.244.0.1:5353"), 0);
	assert_string_equal(peer_of(second), "10.244.0.1:5353");
	assert_int_equal(dial(second, "10.244.0.2:5353"), 0);
	assert_string_equal(peer_of(second), "10.244.0.2:5353");
	close(second);
	assert_int_equal(node_count_records(&node), 0);
	node_close(&node);
}

static void no_record_is_left_behind_by_100000_sockets(void **state)
{
	struct node node;
	int batch[100];

	(void)state;
	node_open(&node, &(struct node_config){.socket_slots = 64});
	node_serve(&node, &dns);
	for (int i = 0; i < 100000; i += (int)RD_ARRAY_SIZE(batch)) {
		for (size_t b = 0; b < RD_ARRAY_SIZE(batch); b++)
			batch[b] = dialled("10.96.0.1:53", SOCK_DGRAM);
		assert_in_range(node_count_records(&node), 1, 64);
		for (size_t b = 0; b < RD_ARRAY_SIZE(batch); b++)
			close(batch[b]);
	}
	assert_int_equal(node_count_records(&node), 0);
	node_close(&node);
}

static void a_successor_adopts_what_is_pinned_without_a_write(void **state)
{
	struct node node;
	int before, after;

	(void)state;
	node_open(&node, &(struct node_config){0});
	node_serve(&node, &dns);
	before = dialled("10.96.0.1:53", SOCK_DGRAM);
	node_abandon(&node);

	/* Nobody there: it works on. */
	after = dialled("10.96.0.1:53", SOCK_DGRAM);
	assert_string_equal(peer_of(after), "10.96.0.1:53");
	close(after);

	node_open(&node, &(struct node_config){0});
	assert_int_equal(node_plan(&node, &dns), 0);
	assert_int_equal(node_apply(&node), 0);
	after = dialled("10.96.0.1:53", SOCK_DGRAM);
	assert_string_equal(backend_of(&node, after), "10.244.0.1:5353");
	assert_string_equal(peer_of(before), "10.96.0.1:53");
	assert_string_equal(backend_of(&node, before), "10.244.0.1:5353");
	close_all(before, after, -1);
	assert_int_equal(node_count_records(&node), 0);
	node_close(&node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_socket_whose_slot_is_taken_spills),
		cmocka_unit_test(a_spilled_socket_is_forgotten_like_any_other),
		cmocka_unit_test(a_spilled_socket_that_gets_a_slot_later_is_forgotten_wholly),
		cmocka_unit_test(no_record_is_left_behind_by_100000_sockets),
		cmocka_unit_test(a_successor_adopts_what_is_pinned_without_a_write),
	};

	sandbox_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
