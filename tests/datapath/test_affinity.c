// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Session affinity: SERVICE-SEMANTICS section D.
 */
#include "sandbox.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PODS 8

static struct node node;
static const char *const pods[PODS] = {"10.244.0.1:1", "10.244.0.2:1", "10.244.0.3:1",
				       "10.244.0.4:1", "10.244.0.5:1", "10.244.0.6:1",
				       "10.244.0.7:1", "10.244.0.8:1"};

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

static void serve(unsigned set, uint32_t affinity_seconds)
{
	struct service service = {.name = "sticky",
				  .address = "10.96.0.1:80",
				  .also = "198.51.100.7:80",
				  .protocol = IPPROTO_UDP,
				  .affinity_seconds = affinity_seconds};
	size_t n = 0;

	for (int pod = 0; pod < PODS; pod++)
		if (set >> pod & 1)
			service.backends[n++] = pods[pod];
	node_serve(&node, &service);
}

/* The Pod that a new connection reaches. */
static int reach(const char *address)
{
	int fd = dialled(address, SOCK_DGRAM);
	int pod = backend_of(&node, fd)[strlen("10.244.0.")] - '1';

	close(fd);
	return pod;
}

/* Whether this many connections all reach `pod`. */
static bool all_reach(const char *address, int pod, int times)
{
	for (int i = 0; i < times; i++)
		if (reach(address) != pod)
			return false;
	return true;
}

static void D5_a_client_keeps_its_backend(void **state)
{
	(void)state;
	serve(0xff, 600);
	assert_true(all_reach("10.96.0.1:80", reach("10.96.0.1:80"), 50));
	node_remove(&node, "sticky");
}

static void D2_all_addresses_of_a_port_share_it(void **state)
{
	(void)state;
	serve(0xff, 600);
	assert_true(all_reach("198.51.100.7:80", reach("10.96.0.1:80"), 50));
	node_remove(&node, "sticky");
}

static void D2_another_service_port_is_independent(void **state)
{
	int differ = 0;

	(void)state;
	/* Eight ports with eight Pods each: that all agree has a chance of 8^-7. */
	for (int i = 0; i < 8; i++) {
		static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
		static const char *const addresses[] = {
			"10.96.1.1:80", "10.96.1.2:80", "10.96.1.3:80", "10.96.1.4:80",
			"10.96.1.5:80", "10.96.1.6:80", "10.96.1.7:80", "10.96.1.8:80"};
		struct service service = {.name = names[i],
					  .address = addresses[i],
					  .protocol = IPPROTO_UDP,
					  .affinity_seconds = 600};

		memcpy(service.backends, pods, sizeof(pods));
		node_serve(&node, &service);
		differ |= reach(addresses[i]) != reach("10.96.1.1:80");
	}
	assert_true(differ);
	for (const char *name = "abcdefgh"; *name; name++)
		node_remove(&node, (char[]){*name, '\0'});
}

static void D4_it_survives_every_change_that_leaves_the_backend(void **state)
{
	int pod;

	(void)state;
	serve(0xff, 600);
	pod = reach("10.96.0.1:80");
	for (unsigned i = 0; i < 100; i++) {
		serve(1U << pod | (i * 37 & 0xff), 600);
		assert_int_equal(reach("10.96.0.1:80"), pod);
	}
	node_remove(&node, "sticky");
}

static void D4_a_backend_that_leaves_is_replaced_for_good(void **state)
{
	int first, second;

	(void)state;
	serve(0xff, 600);
	first = reach("10.96.0.1:80");
	serve(0xffU & ~(1U << first), 600);
	second = reach("10.96.0.1:80");
	assert_int_not_equal(first, second);
	serve(0xff, 600);
	assert_true(all_reach("10.96.0.1:80", second, 50));
	node_remove(&node, "sticky");
}

static void D4_switching_it_on_and_off_concerns_new_connections(void **state)
{
	int pod;

	(void)state;
	serve(0xff, 0);
	assert_false(all_reach("10.96.0.1:80", reach("10.96.0.1:80"), 50));
	serve(0xff, 600);
	pod = reach("10.96.0.1:80");
	assert_true(all_reach("10.96.0.1:80", pod, 50));
	serve(0xff, 0);
	assert_false(all_reach("10.96.0.1:80", pod, 50));
	node_remove(&node, "sticky");
}

static void D1_D3_the_time_runs_from_the_last_new_connection(void **state)
{
	bool moved = false;
	int pod;

	(void)state;
	serve(0xff, 2);
	pod = reach("10.96.0.1:80");
	/* Three seconds, but never two without a connection. */
	for (int i = 0; i < 6; i++) {
		usleep(500000);
		assert_int_equal(reach("10.96.0.1:80"), pod);
	}
	/* Each time it has run out the choice is free: 1 in 8 that it is the same. */
	for (int i = 0; !moved && i < 8; i++) {
		serve(0xff, 1);
		usleep(1100000);
		moved = reach("10.96.0.1:80") != pod;
	}
	assert_true(moved);
	node_remove(&node, "sticky");
}

/* In a child with a network namespace of its own; exits with the Pod. */
static int reach_from_elsewhere(void)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child) {
		int first;

		sandbox_new_netns();
		first = reach("10.96.0.1:80");
		_exit(all_reach("10.96.0.1:80", first, 20) ? first : 99);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void D6_another_network_namespace_is_another_client(void **state)
{
	bool differ = false;
	int pod;

	(void)state;
	serve(0xff, 600);
	pod = reach("10.96.0.1:80");
	/* That eight clients all agree with the first has a chance of 8^-8. */
	for (int i = 0; i < 8; i++) {
		int other = reach_from_elsewhere();

		assert_in_range(other, 0, PODS - 1);
		differ |= other != pod;
	}
	assert_true(differ);
	assert_true(all_reach("10.96.0.1:80", pod, 20));
	node_remove(&node, "sticky");
}

static void D3_unconnected_udp_is_pinned_as_well(void **state)
{
	int servers[PODS], pod;

	(void)state;
	for (int i = 0; i < PODS; i++)
		servers[i] = listen_on(pods[i], SOCK_DGRAM);
	serve(0xff, 600);
	pod = reach("10.96.0.1:80");
	for (int i = 0; i < 20; i++) {
		int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		assert_int_equal(send_to(client, "10.96.0.1:80"), 0);
		echo(servers[pod]);
		assert_string_equal(receive_from(client), "10.96.0.1:80");
		close(client);
	}
	for (int i = 0; i < PODS; i++)
		close(servers[i]);
	node_remove(&node, "sticky");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(D5_a_client_keeps_its_backend),
		cmocka_unit_test(D2_all_addresses_of_a_port_share_it),
		cmocka_unit_test(D2_another_service_port_is_independent),
		cmocka_unit_test(D4_it_survives_every_change_that_leaves_the_backend),
		cmocka_unit_test(D4_a_backend_that_leaves_is_replaced_for_good),
		cmocka_unit_test(D4_switching_it_on_and_off_concerns_new_connections),
		cmocka_unit_test(D1_D3_the_time_runs_from_the_last_new_connection),
		cmocka_unit_test(D6_another_network_namespace_is_another_client),
		cmocka_unit_test(D3_unconnected_udp_is_pinned_as_well),
	};

	sandbox_enter();
	return cmocka_run_group_tests(tests, open_node, close_node);
}
