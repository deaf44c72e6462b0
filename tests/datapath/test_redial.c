// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What applications see: connect, getpeername, refusals, with real sockets.
 */
#include "sandbox.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct node node;

static int open_node(void **state)
{
	(void)state;
	node_open(&node, &(struct node_config){0});
	return 0;
}

static int close_node(void **state)
{
	(void)state;
	node_close(&node);
	return 0;
}

/* ---- connect and getpeername, one row per form of socket ------------------------- */

static const struct form {
	const char *name;
	struct service service;
	const char *dial; /* what the application dials */
	int type;
} forms[] = {
	{.name = "TCP over IPv4",
	 .service = {.name = "web", .address = "10.96.0.1:80", .backends = {"10.244.0.1:8080"}},
	 .dial = "10.96.0.1:80",
	 .type = SOCK_STREAM},
	{.name = "connected UDP over IPv4",
	 .service = {.name = "dns",
		     .address = "10.96.0.1:53",
		     .protocol = IPPROTO_UDP,
		     .backends = {"10.244.0.1:5353"}},
	 .dial = "10.96.0.1:53",
	 .type = SOCK_DGRAM},
	{.name = "TCP over IPv6",
	 .service = {.name = "web6",
		     .address = "[fd00:96::1]:80",
		     .backends = {"[fd00:244::1]:8080"}},
	 .dial = "[fd00:96::1]:80",
	 .type = SOCK_STREAM},
	{.name = "connected UDP over IPv6",
	 .service = {.name = "dns6",
		     .address = "[fd00:96::1]:53",
		     .protocol = IPPROTO_UDP,
		     .backends = {"[fd00:244::1]:5353"}},
	 .dial = "[fd00:96::1]:53",
	 .type = SOCK_DGRAM},
	{.name = "TCP over IPv4 by an IPv6 socket",
	 .service = {.name = "web", .address = "10.96.0.1:80", .backends = {"10.244.0.1:8080"}},
	 .dial = "[::ffff:10.96.0.1]:80",
	 .type = SOCK_STREAM},
	{.name = "connected UDP over IPv4 by an IPv6 socket",
	 .service = {.name = "dns",
		     .address = "10.96.0.1:53",
		     .protocol = IPPROTO_UDP,
		     .backends = {"10.244.0.1:5353"}},
	 .dial = "[::ffff:10.96.0.1]:53",
	 .type = SOCK_DGRAM},
};

/* A byte sent arrives at the server. */
static void assert_joined(int client, int server, int type)
{
	int accepted = type == SOCK_STREAM ? accept(server, NULL, NULL) : dup(server);
	char byte = 0;

	assert_true(accepted >= 0);
	assert_int_equal(send(client, "x", 1, 0), 1);
	assert_int_equal(recv(accepted, &byte, 1, 0), 1);
	assert_int_equal(byte, 'x');
	close(accepted);
}

static void every_form_reaches_its_backend_and_shows_the_service(void **state)
{
	(void)state;
	for (size_t i = 0; i < RD_ARRAY_SIZE(forms); i++) {
		const struct form *form = &forms[i];
		int server = listen_on(form->service.backends[0], form->type), client;

		print_message("  %s\n", form->name);
		node_serve(&node, &form->service);
		client = dialled(form->dial, form->type);
		assert_joined(client, server, form->type);
		assert_string_equal(peer_of(client), form->dial);
		assert_string_equal(backend_of(&node, client), form->service.backends[0]);
		assert_int_equal(node_count_records(&node), 1);
		close_all(client, server, -1);
		assert_int_equal(node_count_records(&node), 0);
		node_remove(&node, form->service.name);
	}
}

static void every_form_is_refused_without_endpoints(void **state)
{
	(void)state;
	for (size_t i = 0; i < RD_ARRAY_SIZE(forms); i++) {
		const struct form *form = &forms[i];
		struct service empty = form->service;
		int family = *form->dial == '[' ? AF_INET6 : AF_INET;
		int blocking = socket(family, form->type | SOCK_CLOEXEC, 0);
		int waiting = socket(family, form->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		print_message("  %s\n", form->name);
		empty.backends[0] = NULL;
		node_serve(&node, &empty);
		assert_int_equal(dial(blocking, form->dial), -ECONNREFUSED);
		assert_int_equal(dial(waiting, form->dial), -ECONNREFUSED);
		assert_int_equal(node_count_records(&node), 0);
		close_all(blocking, waiting, -1);
		node_remove(&node, empty.name);
	}
}

static void what_is_no_service_is_untouched(void **state)
{
	static const struct service web = {
		.name = "web", .address = "10.96.0.1:80", .backends = {"10.244.0.1:8080"}};
	int direct = listen_on("10.244.0.2:80", SOCK_STREAM);
	int udp = listen_on("10.244.0.2:80", SOCK_DGRAM);
	int a, b;

	(void)state;
	node_serve(&node, &web);
	a = dialled("10.244.0.2:80", SOCK_STREAM);
	b = dialled("10.244.0.2:80", SOCK_DGRAM);
	assert_string_equal(peer_of(a), "10.244.0.2:80");
	assert_string_equal(peer_of(b), "10.244.0.2:80");
	assert_int_equal(node_count_records(&node), 0);
	close_all(a, b, direct, udp, -1);
	node_remove(&node, "web");
}

/* Pods' addresses are on loopback and a Service's is not: an untouched connect
 * to it finds no route in a namespace without one. */
static void a_service_that_goes_before_it_was_written_leaves_no_name(void **state)
{
	static const struct service brief = {
		.name = "brief", .address = "10.96.0.9:80", .backends = {"10.244.0.1:8080"}};
	const struct rd_maps *maps = rd_datapath_maps(node.datapath);
	struct rd_service named;

	(void)state;
	node_serve(&node, &forms[0].service);
	assert_int_equal(node_plan(&node, &brief), 0);
	node_remove(&node, brief.name);
	for (uint32_t id = 0; id < maps->entries[RD_MAP_SERVICES]; id++)
		if (rd_maps_service(maps, id, &named))
			assert_string_equal(named.name, forms[0].service.name);
	node_remove(&node, forms[0].service.name);
}

static void another_port_or_protocol_of_a_service_address_is_untouched(void **state)
{
	static const struct service web = {
		.name = "web", .address = "10.96.0.1:80", .backends = {"10.244.0.1:8080"}};
	int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	node_serve(&node, &web);
	assert_int_equal(dial(tcp, "10.96.0.1:81"), -ENETUNREACH);
	assert_int_equal(dial(udp, "10.96.0.1:80"), -ENETUNREACH);
	close_all(tcp, udp, -1);
	node_remove(&node, "web");
}

static void tcp_and_udp_on_one_port_number_are_two_services(void **state)
{
	static const struct service tcp = {
		.name = "t", .address = "10.96.0.1:53", .backends = {"10.244.0.1:5300"}};
	static const struct service udp = {.name = "u",
					   .address = "10.96.0.1:53",
					   .protocol = IPPROTO_UDP,
					   .backends = {"10.244.0.2:5301"}};
	int server = listen_on("10.244.0.1:5300", SOCK_STREAM);
	int a, b;

	(void)state;
	node_serve(&node, &tcp);
	node_serve(&node, &udp);
	a = dialled("10.96.0.1:53", SOCK_STREAM);
	b = dialled("10.96.0.1:53", SOCK_DGRAM);
	assert_string_equal(backend_of(&node, a), "10.244.0.1:5300");
	assert_string_equal(backend_of(&node, b), "10.244.0.2:5301");
	close_all(a, b, server, -1);
	node_remove(&node, "t");
	node_remove(&node, "u");
}

static void a_nonblocking_connect_completes(void **state)
{
	static const struct service web = {
		.name = "web", .address = "10.96.0.1:80", .backends = {"10.244.0.1:8080"}};
	int server = listen_on("10.244.0.1:8080", SOCK_STREAM);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd ready = {.fd = client, .events = POLLOUT};
	int error = -1, r;
	socklen_t length = sizeof(error);

	(void)state;
	node_serve(&node, &web);
	r = dial(client, "10.96.0.1:80");
	assert_true(r == 0 || r == -EINPROGRESS);
	assert_int_equal(poll(&ready, 1, 5000), 1);
	assert_int_equal(getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &length), 0);
	assert_int_equal(error, 0);
	assert_string_equal(peer_of(client), "10.96.0.1:80");
	close_all(client, server, -1);
	node_remove(&node, "web");
}

static void every_backend_is_chosen_equally(void **state)
{
	static const struct service web = {
		.name = "web",
		.address = "10.96.0.1:80",
		.protocol = IPPROTO_UDP,
		.backends = {"10.244.0.1:1", "10.244.0.2:1", "10.244.0.3:1", "10.244.0.4:1"}};
	const int connects = 40000;
	int hits[4] = {0};

	(void)state;
	node_serve(&node, &web);
	for (int i = 0; i < connects; i++) {
		int fd = dialled("10.96.0.1:80", SOCK_DGRAM);

		hits[backend_of(&node, fd)[strlen("10.244.0.")] - '1']++;
		close(fd);
	}
	/* Binomial with n = 40,000 and p = 1/4: six standard deviations are 520. */
	for (size_t i = 0; i < RD_ARRAY_SIZE(hits); i++)
		assert_in_range(hits[i], 10000 - 520, 10000 + 520);
	assert_int_equal(node_count_records(&node), 0);
	node_remove(&node, "web");
}

/* Or programs on several of them would all choose the same. */
static void each_processor_begins_to_choose_elsewhere(void **state)
{
	int processors = libbpf_num_possible_cpus();
	uint64_t states[1024];
	__u32 zero = 0;

	(void)state;
	assert_in_range(processors, 1, RD_ARRAY_SIZE(states));
	assert_int_equal(bpf_map_lookup_elem(rd_datapath_maps(node.datapath)->fd[RD_MAP_RANDOM],
					     &zero, states),
			 0);
	for (int i = 0; i < processors; i++) {
		assert_int_not_equal(states[i], 0);
		for (int j = 0; j < i; j++)
			assert_int_not_equal(states[i], states[j]);
	}
}

/* ---- a socket that is connected again --------------------------------------------- */

static const struct service udp_a = {.name = "a",
				     .address = "10.96.0.1:53",
				     .protocol = IPPROTO_UDP,
				     .backends = {"10.244.0.1:5353"}};
static const struct service udp_b = {.name = "b",
				     .address = "10.96.0.2:53",
				     .protocol = IPPROTO_UDP,
				     .backends = {"10.244.0.2:5353"}};

static void reconnecting_elsewhere_forgets_the_service(void **state)
{
	/* Even when "elsewhere" is the very backend it was connected to. */
	static const char *const elsewhere[] = {"10.244.0.3:5353", "10.244.0.1:5353"};

	(void)state;
	node_serve(&node, &udp_a);
	for (size_t i = 0; i < RD_ARRAY_SIZE(elsewhere); i++) {
		int fd = dialled("10.96.0.1:53", SOCK_DGRAM);

		assert_string_equal(peer_of(fd), "10.96.0.1:53");
		assert_int_equal(dial(fd, elsewhere[i]), 0);
		assert_string_equal(peer_of(fd), elsewhere[i]);
		assert_int_equal(node_count_records(&node), 0);
		close(fd);
	}
	node_remove(&node, "a");
}

static void reconnecting_to_another_service_shows_that_one(void **state)
{
	int fd;

	(void)state;
	node_serve(&node, &udp_a);
	node_serve(&node, &udp_b);
	fd = dialled("10.96.0.1:53", SOCK_DGRAM);
	assert_int_equal(dial(fd, "10.96.0.2:53"), 0);
	assert_string_equal(peer_of(fd), "10.96.0.2:53");
	assert_string_equal(backend_of(&node, fd), "10.244.0.2:5353");
	assert_int_equal(node_count_records(&node), 1);
	close(fd);
	assert_int_equal(node_count_records(&node), 0);
	node_remove(&node, "a");
	node_remove(&node, "b");
}

static void disconnecting_by_af_unspec_forgets_the_service(void **state)
{
	struct sockaddr unspec = {.sa_family = AF_UNSPEC};
	int fd;

	(void)state;
	node_serve(&node, &udp_a);
	fd = dialled("10.96.0.1:53", SOCK_DGRAM);
	assert_int_equal(connect(fd, &unspec, sizeof(unspec)), 0);
	assert_string_equal(peer_of(fd), "");
	assert_int_equal(dial(fd, "10.244.0.1:5353"), 0);
	assert_string_equal(peer_of(fd), "10.244.0.1:5353");
	close(fd);
	assert_int_equal(node_count_records(&node), 0);
	node_remove(&node, "a");
}

/* TCP Fast Open (RFC 7413): the connect is in the first send. */
static void a_send_that_connects_is_redialled(void **state)
{
	static const struct service web = {
		.name = "web", .address = "10.96.0.1:80", .backends = {"10.244.0.1:8080"}};
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), server, accepted;
	struct sockaddr_storage address;
	socklen_t length;
	char byte;

	(void)state;
	node_serve(&node, &web);
	server = listen_on("10.244.0.1:8080", SOCK_STREAM);
	address = address_of("10.96.0.1:80", &length);
	assert_int_equal(sendto(client, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&address, length),
			 1);
	accepted = accept(server, NULL, NULL);
	assert_int_equal(recv(accepted, &byte, 1, 0), 1);
	assert_string_equal(peer_of(client), "10.96.0.1:80");
	close_all(client, accepted, server, -1);
	assert_int_equal(node_count_records(&node), 0);
	node_remove(&node, "web");
}

static void a_refused_reconnect_leaves_the_socket_as_it_was(void **state)
{
	struct service empty = udp_b;
	int fd;

	(void)state;
	empty.backends[0] = NULL;
	node_serve(&node, &udp_a);
	node_serve(&node, &empty);
	fd = dialled("10.96.0.1:53", SOCK_DGRAM);
	assert_int_equal(dial(fd, "10.96.0.2:53"), -ECONNREFUSED);
	assert_string_equal(peer_of(fd), "10.96.0.1:53");
	close(fd);
	node_remove(&node, "a");
	node_remove(&node, "b");
}

static void a_backend_that_refuses_can_be_tried_again(void **state)
{
	static const struct service web = {
		.name = "web", .address = "10.96.0.1:80", .backends = {"10.244.0.1:8080"}};
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), server;

	(void)state;
	node_serve(&node, &web);
	assert_int_equal(dial(client, "10.96.0.1:80"), -ECONNREFUSED);
	server = listen_on("10.244.0.1:8080", SOCK_STREAM);
	assert_int_equal(dial(client, "10.96.0.1:80"), 0);
	assert_string_equal(peer_of(client), "10.96.0.1:80");
	close_all(client, server, -1);
	assert_int_equal(node_count_records(&node), 0);
	node_remove(&node, "web");
}

static void an_established_connection_outlives_its_service(void **state)
{
	static const struct service web = {
		.name = "web", .address = "10.96.0.1:80", .backends = {"10.244.0.1:8080"}};
	int server = listen_on("10.244.0.1:8080", SOCK_STREAM), client;

	(void)state;
	node_serve(&node, &web);
	client = dialled("10.96.0.1:80", SOCK_STREAM);
	node_remove(&node, "web");
	assert_joined(client, server, SOCK_STREAM);
	assert_string_equal(peer_of(client), "10.96.0.1:80");
	close_all(client, server, -1);
	assert_int_equal(node_count_records(&node), 0);
}

/* ---- sockets that are shared ---------------------------------------------------------- */

static void a_dup_keeps_the_record_until_the_last_close(void **state)
{
	int fd, copy;

	(void)state;
	node_serve(&node, &udp_a);
	fd = dialled("10.96.0.1:53", SOCK_DGRAM);
	copy = dup(fd);
	close(fd);
	assert_string_equal(peer_of(copy), "10.96.0.1:53");
	assert_int_equal(node_count_records(&node), 1);
	close(copy);
	assert_int_equal(node_count_records(&node), 0);
	node_remove(&node, "a");
}

static void a_forked_child_shares_the_record(void **state)
{
	int fd, status;
	pid_t child;

	(void)state;
	node_serve(&node, &udp_a);
	fd = dialled("10.96.0.1:53", SOCK_DGRAM);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		_exit(strcmp(peer_of(fd), "10.96.0.1:53") != 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	assert_string_equal(peer_of(fd), "10.96.0.1:53");
	assert_int_equal(node_count_records(&node), 1);
	close(fd);
	assert_int_equal(node_count_records(&node), 0);
	node_remove(&node, "a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_form_reaches_its_backend_and_shows_the_service),
		cmocka_unit_test(every_form_is_refused_without_endpoints),
		cmocka_unit_test(what_is_no_service_is_untouched),
		cmocka_unit_test(a_service_that_goes_before_it_was_written_leaves_no_name),
		cmocka_unit_test(another_port_or_protocol_of_a_service_address_is_untouched),
		cmocka_unit_test(tcp_and_udp_on_one_port_number_are_two_services),
		cmocka_unit_test(a_nonblocking_connect_completes),
		cmocka_unit_test(every_backend_is_chosen_equally),
		cmocka_unit_test(each_processor_begins_to_choose_elsewhere),
		cmocka_unit_test(reconnecting_elsewhere_forgets_the_service),
		cmocka_unit_test(reconnecting_to_another_service_shows_that_one),
		cmocka_unit_test(disconnecting_by_af_unspec_forgets_the_service),
		cmocka_unit_test(a_send_that_connects_is_redialled),
		cmocka_unit_test(a_refused_reconnect_leaves_the_socket_as_it_was),
		cmocka_unit_test(a_backend_that_refuses_can_be_tried_again),
		cmocka_unit_test(an_established_connection_outlives_its_service),
		cmocka_unit_test(a_dup_keeps_the_record_until_the_last_close),
		cmocka_unit_test(a_forked_child_shares_the_record),
	};

	sandbox_enter();
	return run_on_each_kernel(tests, open_node, close_node);
}
