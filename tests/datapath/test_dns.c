// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A Service that is answered on the node, by the agent's responder, for as long
 * as the agent is there: H10.
 */
#include "sandbox.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HOUR 3600000000000ULL

static struct node node;

/* The same for IPv4 and IPv6. */
static const struct form {
	const char *service, *responder, *endpoint;
} forms[] = {
	{"10.96.0.10:53", "10.244.0.1:53", "10.244.0.2:53"},
	{"[fd00:96::10]:53", "[fd00:244::1]:53", "[fd00:244::2]:53"},
};
#define N_FORMS (sizeof(forms) / sizeof(forms[0]))

static int open_node(void **state)
{
	(void)state;
	node_open(&node, &(struct node_config){.track_outcomes = true});
	for (size_t i = 0; i < 2 * N_FORMS; i++)
		node_serve(&node, &(struct service){.name = i == 0   ? "udp4"
							    : i == 1 ? "udp6"
							    : i == 2 ? "tcp4"
								     : "tcp6",
						    .address = forms[i % 2].service,
						    .protocol = i < 2 ? IPPROTO_UDP : IPPROTO_TCP,
						    .flags = RD_FLAG_DNS,
						    .backends = {forms[i % 2].endpoint}});
	return 0;
}

static int close_node(void **state)
{
	(void)state;
	node_close(&node);
	return 0;
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Another process is to be the agent. */
static void let_go(void)
{
	struct rd_maps *maps = rd_datapath_maps(node.datapath);

	close(maps->life);
	maps->life = -1;
}

/* Be the responder until then; 0: no longer. */
static void serve_until(uint64_t until_ns)
{
	struct rd_dns dns = {.until_ns = until_ns,
			     .addr4 = {10, 244, 0, 1},
			     .port4 = 53,
			     .addr6 = {0xfd, 0, 0x02, 0x44, [15] = 1},
			     .port6 = 53};

	assert_int_equal(rd_maps_serve_dns(rd_datapath_maps(node.datapath), &dns), 0);
}

/* Where a new connection goes. */
static const char *reach(const struct form *form, int type)
{
	int server = listen_on(form->responder, type), other = listen_on(form->endpoint, type);
	int fd = dialled(form->service, type);
	const char *backend = backend_of(&node, fd);

	assert_string_equal(peer_of(fd), form->service);
	close(fd);
	close(server);
	close(other);
	return backend;
}

static void connects_go_to_the_responder_while_it_serves(void **state)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM};

	(void)state;
	for (size_t i = 0; i < 2 * N_FORMS; i++) {
		const struct form *form = &forms[i % 2];

		assert_string_equal(reach(form, types[i / 2]), form->endpoint);
		serve_until(now() + HOUR);
		assert_string_equal(reach(form, types[i / 2]), form->responder);
		serve_until(0);
		assert_string_equal(reach(form, types[i / 2]), form->endpoint);
	}
}

static void a_responder_that_hangs_is_passed_over_in_time(void **state)
{
	(void)state;
	serve_until(now());
	while (now() == rd_datapath_maps(node.datapath)->dns->until_ns)
		;
	assert_string_equal(reach(&forms[0], SOCK_DGRAM), forms[0].endpoint);
	serve_until(now() + HOUR);
	assert_string_equal(reach(&forms[0], SOCK_DGRAM), forms[0].responder);
}

static void an_agent_that_dies_is_passed_over_at_once(void **state)
{
	int ready[2], status;
	char byte;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (!child) {
		let_go();
		serve_until(now() + HOUR);
		(void)!write(ready[1], "", 1);
		pause();
		_exit(0);
	}
	let_go();
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_string_equal(reach(&forms[0], SOCK_DGRAM), forms[0].responder);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_string_equal(reach(&forms[0], SOCK_DGRAM), forms[0].endpoint);
	close(ready[0]);
	close(ready[1]);
}

/* A stub resolver that keeps its socket asks whoever is there, and every answer
 * comes from the Service. */
static void an_unconnected_socket_asks_whoever_is_there(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_FORMS; i++) {
		const struct form *form = &forms[i];
		int server = listen_on(form->responder, SOCK_DGRAM);
		int other = listen_on(form->endpoint, SOCK_DGRAM);
		int fd = socket(i ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);

		for (int turn = 0; turn < 4; turn++) {
			serve_until(turn == 2 ? 0 : now() + HOUR);
			assert_int_equal(send_to(fd, form->service), 0);
			/* An endpoint that it was once given it keeps. */
			echo(turn < 2 ? server : other);
			assert_string_equal(receive_from(fd), form->service);
		}
		close(fd);
		close(server);
		close(other);
	}
}

static void without_endpoints_the_responder_answers(void **state)
{
	struct service empty = {.name = "udp4",
				.address = forms[0].service,
				.protocol = IPPROTO_UDP,
				.flags = RD_FLAG_DNS};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	(void)state;
	node_serve(&node, &empty);
	serve_until(0);
	assert_int_equal(dial(fd, forms[0].service), -ECONNREFUSED);
	serve_until(now() + HOUR);
	assert_int_equal(dial(fd, forms[0].service), 0);
	assert_string_equal(backend_of(&node, fd), forms[0].responder);
	close(fd);
	empty.backends[0] = forms[0].endpoint;
	node_serve(&node, &empty);
}

static void a_family_without_a_responder_goes_to_the_endpoints(void **state)
{
	struct rd_dns only6 = {
		.until_ns = now() + HOUR, .addr6 = {0xfd, 0, 0x02, 0x44, [15] = 1}, .port6 = 53};

	(void)state;
	assert_int_equal(rd_maps_serve_dns(rd_datapath_maps(node.datapath), &only6), 0);
	assert_string_equal(reach(&forms[0], SOCK_STREAM), forms[0].endpoint);
	assert_string_equal(reach(&forms[1], SOCK_STREAM), forms[1].responder);
}

static void other_services_are_left_alone_and_connects_are_counted(void **state)
{
	const struct rd_planned_port *port;
	struct rd_counts before, after;

	(void)state;
	node_serve(&node, &(struct service){.name = "web",
					    .address = "10.96.0.1:80",
					    .backends = {"10.244.0.3:80"}});
	serve_until(now() + HOUR);
	close(listen_on("10.244.0.3:80", SOCK_STREAM));
	port = &rd_plan_find(&node.plan, "test", "tcp4")->ports[0];
	rd_maps_count(rd_datapath_maps(node.datapath), port, &before);
	assert_string_equal(reach(&forms[0], SOCK_STREAM), forms[0].responder);
	rd_maps_count(rd_datapath_maps(node.datapath), port, &after);
	assert_int_equal(after.connects - before.connects, 1);
	assert_int_equal(after.established - before.established, 1);
	assert_int_equal(after.open, before.open);
	assert_string_equal(reach(&(struct form){"10.96.0.1:80", "10.244.0.4:80", "10.244.0.3:80"},
				  SOCK_STREAM),
			    "10.244.0.3:80");
	node_remove(&node, "web");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connects_go_to_the_responder_while_it_serves),
		cmocka_unit_test(a_responder_that_hangs_is_passed_over_in_time),
		cmocka_unit_test(an_agent_that_dies_is_passed_over_at_once),
		cmocka_unit_test(an_unconnected_socket_asks_whoever_is_there),
		cmocka_unit_test(without_endpoints_the_responder_answers),
		cmocka_unit_test(a_family_without_a_responder_goes_to_the_endpoints),
		cmocka_unit_test(other_services_are_left_alone_and_connects_are_counted),
	};

	sandbox_enter();
	return cmocka_run_group_tests(tests, open_node, close_node);
}
