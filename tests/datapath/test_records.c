// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The sockets' records: slots, spills, and that none is left behind; and a
 * datapath that is taken over by another agent.
 */
#include "sandbox.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
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
	node_open(node, &(struct node_config){.socket_slots = 2});
	node_serve(node, &dns);
}

static void the_third_socket_of_two_slots_spills(void **state)
{
	int first, second, spilled;
	struct node node;

	(void)state;
	begin(&node);
	first = dialled("10.96.0.1:53", SOCK_DGRAM);
	second = dialled("10.96.0.1:53", SOCK_DGRAM);
	assert_int_equal(node_count_records(&node), 2);
	spilled = dialled("10.96.0.1:53", SOCK_DGRAM);
	assert_false(is_spilled(&node, first));
	assert_false(is_spilled(&node, second));
	assert_true(is_spilled(&node, spilled));
	assert_int_equal(node_count_records(&node), 2);
	assert_string_equal(peer_of(first), "10.96.0.1:53");
	assert_string_equal(peer_of(second), "10.96.0.1:53");
	assert_string_equal(peer_of(spilled), "10.96.0.1:53");
	/* The end of one does not touch the slots of the others. */
	close(spilled);
	assert_int_equal(node_count_records(&node), 2);
	close(first);
	assert_int_equal(node_count_records(&node), 1);
	assert_string_equal(peer_of(second), "10.96.0.1:53");
	close(second);
	assert_int_equal(node_count_records(&node), 0);
	node_close(&node);
}

/* Also when the first slot has become free meanwhile. */
static void a_record_stays_in_its_slot_when_the_socket_dials_again(void **state)
{
	struct node node;
	int first, second;

	(void)state;
	begin(&node);
	first = dialled("10.96.0.1:53", SOCK_DGRAM);
	second = dialled("10.96.0.1:53", SOCK_DGRAM);
	close(first);
	assert_int_equal(node_sweep(&node), 1);
	assert_int_equal(dial(second, "10.96.0.1:53"), 0);
	assert_int_equal(node_count_records(&node), 1);
	assert_string_equal(peer_of(second), "10.96.0.1:53");
	assert_int_equal(dial(second, "10.244.0.1:5353"), 0);
	assert_int_equal(node_count_records(&node), 0);
	assert_string_equal(peer_of(second), "10.244.0.1:5353");
	close(second);
	node_close(&node);
}

static void a_spilled_socket_is_forgotten_like_any_other(void **state)
{
	int first, second, spilled;
	struct node node;

	(void)state;
	begin(&node);
	first = dialled("10.96.0.1:53", SOCK_DGRAM);
	second = dialled("10.96.0.1:53", SOCK_DGRAM);
	spilled = dialled("10.96.0.1:53", SOCK_DGRAM);
	assert_int_equal(dial(spilled, "10.244.0.1:5353"), 0);
	assert_string_equal(peer_of(spilled), "10.244.0.1:5353");
	assert_false(is_spilled(&node, spilled));
	close_all(first, second, spilled, -1);
	node_close(&node);
}

/* It has both records then, and both must go. */
static void a_spilled_socket_that_gets_a_slot_later_is_forgotten_wholly(void **state)
{
	static const struct service other = {.name = "other",
					     .address = "10.96.0.2:53",
					     .protocol = IPPROTO_UDP,
					     .backends = {"10.244.0.2:5353"}};
	int first, second, spilled;
	struct node node;

	(void)state;
	begin(&node);
	node_serve(&node, &other);
	first = dialled("10.96.0.1:53", SOCK_DGRAM);
	second = dialled("10.96.0.1:53", SOCK_DGRAM);
	spilled = dialled("10.96.0.1:53", SOCK_DGRAM);
	close(second);
	assert_int_equal(node_sweep(&node), 1);
	assert_int_equal(dial(spilled, "10.96.0.2:53"), 0);
	assert_int_equal(node_count_records(&node), 2);
	assert_string_equal(peer_of(spilled), "10.96.0.2:53");
	assert_int_equal(dial(spilled, "10.244.0.1:5353"), 0);
	assert_string_equal(peer_of(spilled), "10.244.0.1:5353");
	assert_int_equal(dial(spilled, "10.244.0.2:5353"), 0);
	assert_string_equal(peer_of(spilled), "10.244.0.2:5353");
	close_all(first, spilled, -1);
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
		size_t records;

		for (size_t b = 0; b < RD_ARRAY_SIZE(batch); b++)
			batch[b] = dialled("10.96.0.1:53", SOCK_DGRAM);
		records = node_count_records(&node);
		assert_in_range(records, 0, 64);
		/* The slots may all belong to dentries that are not used any more. */
		if (!records)
			assert_true(node_sweep(&node));
		for (size_t b = 0; b < RD_ARRAY_SIZE(batch); b++)
			close(batch[b]);
	}
	assert_int_equal(node_count_records(&node), 0);
	node_close(&node);
}

/* Its slot has still the record of the one before, which went to the same Pod. */
static void a_socket_is_not_taken_for_the_one_that_had_its_slot(void **state)
{
	struct node node;
	int fd;

	(void)state;
	begin(&node);
	for (int i = 0; i < 100; i++) {
		close(dialled("10.96.0.1:53", SOCK_DGRAM));
		fd = dialled("10.244.0.1:5353", SOCK_DGRAM);
		assert_string_equal(peer_of(fd), "10.244.0.1:5353");
		close(fd);
	}
	node_close(&node);
}

/* A socket that was accepted never connects, and so never forgets: it has the dentry
 * and the slot of one that dialled a Service, and its peer is that one's backend. */
static void an_accepted_socket_is_not_taken_for_the_one_that_had_its_slot(void **state)
{
	static const struct service web = {
		.name = "web", .address = "10.96.0.1:80", .backends = {"10.244.0.1:8080"}};
	const struct linger reset = {.l_onoff = 1};
	socklen_t length;
	struct sockaddr_storage backend = address_of(web.backends[0], &length);
	struct node node;
	int listener;

	(void)state;
	begin(&node);
	node_serve(&node, &web);
	listener = listen_on("10.244.0.2:8080", SOCK_STREAM);
	for (int i = 0; i < 100; i++) {
		int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), accepted;
		int former = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_int_equal(dial(former, web.address), -ECONNREFUSED);
		assert_int_equal(bind(client, (struct sockaddr *)&backend, length), 0);
		assert_int_equal(dial(client, "10.244.0.2:8080"), 0);
		close(former);
		accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		assert_string_equal(peer_of(accepted), web.backends[0]);
		setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close_all(client, accepted, -1);
	}
	close(listener);
	node_close(&node);
}

/* ---- slots of closed sockets -------------------------------------------------------- */

static bool is_free(struct node *node, uint32_t slot)
{
	const struct rd_socket *record = &rd_datapath_maps(node->datapath)->sockets[slot];

	return !record->inode && !record->dentry;
}

static void slots_of_closed_sockets_are_taken_back(void **state)
{
	struct node node;
	int fds[200], kept;
	uint32_t used;

	(void)state;
	node_open(&node, &(struct node_config){.socket_slots = 64});
	node_serve(&node, &dns);
	kept = dialled("10.96.0.1:53", SOCK_DGRAM);
	for (size_t i = 0; i < RD_ARRAY_SIZE(fds); i++)
		fds[i] = dialled("10.96.0.1:53", SOCK_DGRAM);
	used = node_count_records(&node);
	assert_in_range(used, 32, 64);
	assert_int_equal(node_sweep(&node), 0);
	for (size_t i = 0; i < RD_ARRAY_SIZE(fds); i++)
		close(fds[i]);
	assert_int_equal(node_count_records(&node), 1);
	assert_int_equal(node_sweep(&node), used - 1);
	assert_int_equal(node_count_records(&node), 1);
	assert_string_equal(peer_of(kept), "10.96.0.1:53");
	close(kept);
	assert_int_equal(node_sweep(&node), 1);
	for (uint32_t slot = 0; slot < 64; slot++)
		assert_true(is_free(&node, slot));
	node_close(&node);
}

/* An agent has died in the middle of it. */
static void a_slot_that_was_about_to_be_taken_back_stays_an_open_sockets(void **state)
{
	struct rd_socket *slots;
	struct node node;
	int fd;

	(void)state;
	begin(&node);
	slots = rd_datapath_maps(node.datapath)->sockets;
	fd = dialled("10.96.0.1:53", SOCK_DGRAM);
	for (int i = 0; i < 2; i++)
		slots[i].dentry |= slots[i].dentry ? RD_SLOT_LEAVING : 0;
	assert_int_equal(node_count_records(&node), 1);
	assert_string_equal(peer_of(fd), "10.96.0.1:53");
	assert_int_equal(node_sweep(&node), 0);
	assert_int_equal((slots[0].dentry | slots[1].dentry) & RD_SLOT_LEAVING, 0);
	close(fd);
	assert_int_equal(node_sweep(&node), 1);
	node_close(&node);
}

static atomic_bool swept;
static atomic_uint sweeps, wrong;

static void expect_peer(int fd, const char *peer)
{
	if (strcmp(peer_of(fd), peer))
		atomic_fetch_add(&wrong, 1);
}

/* Sockets that are opened while slots are being taken back, and are still open
 * when that has ended. */
static void *dial_on(void *context)
{
	(void)context;
	while (!atomic_load(&swept)) {
		unsigned before = atomic_load(&sweeps);
		int fds[4];

		for (size_t i = 0; i < RD_ARRAY_SIZE(fds); i++) {
			fds[i] = dialled("10.96.0.1:53", SOCK_DGRAM);
			expect_peer(fds[i], "10.96.0.1:53");
		}
		while (atomic_load(&sweeps) == before && !atomic_load(&swept))
			sched_yield();
		for (size_t i = 0; i < RD_ARRAY_SIZE(fds); i++) {
			expect_peer(fds[i], "10.96.0.1:53");
			assert_int_equal(dial(fds[i], "10.96.0.2:53"), 0);
			expect_peer(fds[i], "10.96.0.2:53");
			assert_int_equal(dial(fds[i], "10.244.0.2:5353"), 0);
			expect_peer(fds[i], "10.244.0.2:5353");
			close(fds[i]);
		}
	}
	return NULL;
}

static void no_open_socket_loses_its_slot(void **state)
{
	static const struct service other = {.name = "other",
					     .address = "10.96.0.2:53",
					     .protocol = IPPROTO_UDP,
					     .backends = {"10.244.0.2:5353"}};
	pthread_t threads[3];
	struct node node;
	uint32_t n = 0;

	(void)state;
	atomic_store(&swept, false);
	node_open(&node, &(struct node_config){.socket_slots = 8});
	node_serve(&node, &dns);
	node_serve(&node, &other);
	for (size_t i = 0; i < RD_ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, dial_on, NULL), 0);
	while (n < 150) {
		n += node_sweep(&node);
		atomic_fetch_add(&sweeps, 1);
	}
	atomic_store(&swept, true);
	for (size_t i = 0; i < RD_ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_exchange(&wrong, 0), 0);
	assert_int_equal(node_count_records(&node), 0);
	node_close(&node);
}

/* ---- sockets beneath a program's own --------------------------------------------------------- */

static bool has_mptcp(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* MPTCP dials with a socket of the kernel's beneath the program's own. */
static void an_mptcp_socket_shows_what_it_dialled(void **state)
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
		assert_string_equal(peer_of(fd), service->address);
		assert_string_equal(backend_of(&node, fd), service->backends[0]);
		assert_int_equal(node_count_records(&node), 1);
		close(fd);
		assert_int_equal(node_count_records(&node), 0);
		/* With the same slot, to the same Pod. */
		fd = socket(rows[i].family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
		assert_int_equal(dial(fd, service->backends[0]), 0);
		assert_string_equal(peer_of(fd), service->backends[0]);
		close_all(fd, server, -1);
	}
	node_close(&node);
}

/* ---- a successor ---------------------------------------------------------------------- */

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

/* As of another version's hook. */
static void a_successor_removes_links_that_it_does_not_know(void **state)
{
	static const char former[] = "/sys/fs/bpf/redial/links/former";
	struct node node;
	int link;

	(void)state;
	node_open(&node, &(struct node_config){0});
	link = bpf_obj_get("/sys/fs/bpf/redial/links/connect4");
	assert_int_equal(bpf_obj_pin(link, former), 0);
	close(link);
	node_abandon(&node);
	assert_int_equal(access(former, F_OK), 0);
	node_open(&node, &(struct node_config){0});
	assert_int_equal(access(former, F_OK), -1);
	assert_int_equal(errno, ENOENT);
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
		cmocka_unit_test(a_socket_is_not_taken_for_the_one_that_had_its_slot),
		cmocka_unit_test(an_accepted_socket_is_not_taken_for_the_one_that_had_its_slot),
		cmocka_unit_test(slots_of_closed_sockets_are_taken_back),
		cmocka_unit_test(a_slot_that_was_about_to_be_taken_back_stays_an_open_sockets),
		cmocka_unit_test(no_open_socket_loses_its_slot),
		cmocka_unit_test(an_mptcp_socket_shows_what_it_dialled),
		cmocka_unit_test(a_successor_adopts_what_is_pinned_without_a_write),
		cmocka_unit_test(a_successor_removes_links_that_it_does_not_know),
	};

	sandbox_enter();
	return run_on_each_kernel(tests, NULL, NULL);
}
