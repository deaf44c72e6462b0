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

/* A node on which each socket has the same two slots. */
static void begin(struct node *node)
{
	node_open(node, &(struct node_config){.socket_slots = 1});
	node_serve(node, &dns);
}

static void the_third_socket_of_two_slots_spills(void **state)
{
	int near, far, spilled;
	struct node node;

	(void)state;
	begin(&node);
	near = dialled("10.96.0.1:53", SOCK_DGRAM);
	far = dialled("10.96.0.1:53", SOCK_DGRAM);
	assert_int_equal(node_count_records(&node), 2);
	spilled = dialled("10.96.0.1:53", SOCK_DGRAM);
	assert_false(is_spilled(&node, near));
	assert_false(is_spilled(&node, far));
	assert_true(is_spilled(&node, spilled));
	assert_int_equal(node_count_records(&node), 2);
	assert_string_equal(peer_of(near), "10.96.0.1:53");
	assert_string_equal(peer_of(far), "10.96.0.1:53");
	assert_string_equal(peer_of(spilled), "10.96.0.1:53");
	/* The end of one does not touch the slots of the others. */
	close(spilled);
	assert_int_equal(node_count_records(&node), 2);
	close(near);
	assert_int_equal(node_count_records(&node), 1);
	assert_string_equal(peer_of(far), "10.96.0.1:53");
	close(far);
	assert_int_equal(node_count_records(&node), 0);
	node_close(&node);
}

/* Also when the near slot has become free meanwhile. */
static void a_record_stays_in_its_slot_when_the_socket_dials_again(void **state)
{
	struct node node;
	int near, far;

	(void)state;
	begin(&node);
	near = dialled("10.96.0.1:53", SOCK_DGRAM);
	far = dialled("10.96.0.1:53", SOCK_DGRAM);
	close(near);
	assert_int_equal(dial(far, "10.96.0.1:53"), 0);
	assert_int_equal(node_count_records(&node), 1);
	assert_string_equal(peer_of(far), "10.96.0.1:53");
	assert_int_equal(dial(far, "10.244.0.1:5353"), 0);
	assert_int_equal(node_count_records(&node), 0);
	assert_string_equal(peer_of(far), "10.244.0.1:5353");
	close(far);
	node_close(&node);
}

static void a_spilled_socket_is_forgotten_like_any_other(void **state)
{
	int near, far, spilled;
	struct node node;

	(void)state;
	begin(&node);
	near = dialled("10.96.0.1:53", SOCK_DGRAM);
	far = dialled("10.96.0.1:53", SOCK_DGRAM);
	spilled = dialled("10.96.0.1:53", SOCK_DGRAM);
	assert_int_equal(dial(spilled, "10.244.0.1:5353"), 0);
	assert_string_equal(peer_of(spilled), "10.244.0.1:5353");
	assert_false(is_spilled(&node, spilled));
	close_all(near, far, spilled, -1);
	node_close(&node);
}

/* It has both records then, and both must go. */
static void a_spilled_socket_that_gets_a_slot_later_is_forgotten_wholly(void **state)
{
	static const struct service other = {.name = "other",
					     .address = "10.96.0.2:53",
					     .protocol = IPPROTO_UDP,
					     .backends = {"10.244.0.2:5353"}};
	int near, far, spilled;
	struct node node;

	(void)state;
	begin(&node);
	node_serve(&node, &other);
	near = dialled("10.96.0.1:53", SOCK_DGRAM);
	far = dialled("10.96.0.1:53", SOCK_DGRAM);
	spilled = dialled("10.96.0.1:53", SOCK_DGRAM);
	close(far);
	assert_int_equal(dial(spilled, "10.96.0.2:53"), 0);
	assert_int_equal(node_count_records(&node), 2);
	assert_string_equal(peer_of(spilled), "10.96.0.2:53");
	assert_int_equal(dial(spilled, "10.244.0.1:5353"), 0);
	assert_string_equal(peer_of(spilled), "10.244.0.1:5353");
	assert_int_equal(dial(spilled, "10.244.0.2:5353"), 0);
	assert_string_equal(peer_of(spilled), "10.244.0.2:5353");
	close_all(near, spilled, -1);
	assert_int_equal(node_count_records(&node), 0);
	node_close(&node);
}

static void no_record_is_left_behind_by_100000_sockets(void **state)
{
	const int sockets = 100000;
	struct node node;
	uint64_t released;
	int batch[100];

	(void)state;
	node_open(&node, &(struct node_config){.socket_slots = 64});
	node_serve(&node, &dns);
	released = sandbox_released();
	for (int i = 0; i < sockets; i += (int)RD_ARRAY_SIZE(batch)) {
		for (size_t b = 0; b < RD_ARRAY_SIZE(batch); b++)
			batch[b] = dialled("10.96.0.1:53", SOCK_DGRAM);
		assert_in_range(node_count_records(&node), 1, 72);
		for (size_t b = 0; b < RD_ARRAY_SIZE(batch); b++)
			close(batch[b]);
	}
	node_check_records(&node, sockets, sandbox_released() - released);
	node_close(&node);
}

static bool has_mptcp(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* MPTCP dials with sockets of the kernel's beneath the program's own, and the
 * kernel does not say when these end. */
static void the_kernels_own_sockets_leave_no_record(void **state)
{
	static const struct {
		int family;
		struct service service;
	} rows[] = {{AF_INET,
		     {.name = "web4", .address = "10.96.0.1:80", .backends = {"10.244.0.1:8080"}}},
		    {AF_INET6,
		     {.name = "web6",
		      .address = "[fd00:96::1]:80",
		      .backends = {"[fd00:244::1]:8080"}}}};
	struct node node;

	(void)state;
	if (!has_mptcp())
		skip();
	node_open(&node, &(struct node_config){0});
	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		const struct service *service = &rows[i].service;
		int server = listen_on(service->backends[0], SOCK_STREAM);
		int fd = socket(rows[i].family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);

		node_serve(&node, service);
		assert_int_equal(dial(fd, service->address), 0);
		assert_string_equal(peer_of(fd), service->backends[0]);
		assert_int_equal(node_count_records(&node), 0);
		close_all(fd, server, -1);
	}
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
		cmocka_unit_test(the_third_socket_of_two_slots_spills),
		cmocka_unit_test(a_record_stays_in_its_slot_when_the_socket_dials_again),
		cmocka_unit_test(a_spilled_socket_is_forgotten_like_any_other),
		cmocka_unit_test(a_spilled_socket_that_gets_a_slot_later_is_forgotten_wholly),
		cmocka_unit_test(no_record_is_left_behind_by_100000_sockets),
		cmocka_unit_test(the_kernels_own_sockets_leave_no_record),
		cmocka_unit_test(a_successor_adopts_what_is_pinned_without_a_write),
	};

	sandbox_enter();
	return run_on_each_kernel(tests, NULL, NULL);
}
