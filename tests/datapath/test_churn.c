// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Torn-free under churn (DESIGN, invariants 1 and 2): while the endpoint sets
 * of a Service are swapped as fast as they can be, and other Services come and
 * go so that the kernel recycles hash elements and the agent recycles ranges,
 * no connect fails and none reaches a backend that was in no set of its time.
 */
#include "sandbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* The clients go on until there were this many of both. */
#define MIN_CONNECTS 200000
#define MIN_SWAPS 3000
#define CLIENTS 2
#define PODS 8

static struct node node;
static char pods[PODS][32];

/* The set that is in force in generation g: a bit per Pod, never empty. */
static unsigned set_of(uint64_t generation)
{
	uint64_t mixed = (generation + 1) * 0x9e3779b97f4a7c15ULL;

	return (unsigned)(mixed >> 56) % 255 + 1;
}

/* Generations below `done` have been replaced or are in force; those up to
 * `begun` may be. */
static atomic_ullong begun, done;
static atomic_bool stop;
static atomic_uint connects, failures, strays;

static struct service service_of(const char *name, const char *address, uint8_t protocol,
				 unsigned set)
{
	struct service service = {.name = name, .address = address, .protocol = protocol};
	size_t n = 0;

	for (int pod = 0; pod < PODS; pod++)
		if (set >> pod & 1)
			service.backends[n++] = pods[pod];
	return service;
}

/* One thread swaps; returns how often it did. */
static uint64_t swap_until_stopped(uint8_t protocol)
{
	static const char *const noise[] = {"10.96.1.1:80", "10.96.1.2:80", "10.96.1.3:80"};
	uint64_t generation = atomic_load(&done);

	while (!atomic_load(&stop)) {
		const char *other = noise[generation % RD_ARRAY_SIZE(noise)];
		struct service churn, beside;

		generation++;
		churn = service_of("churn", "10.96.0.1:80", protocol, set_of(generation));
		beside = service_of(other, other, protocol, set_of(generation * 7));
		atomic_store(&begun, generation);
		if (node_plan(&node, &churn) == -ENOSPC) {
			node_grace(&node);
			assert_int_equal(node_plan(&node, &churn), 0);
		}
		node_apply(&node);
		atomic_store(&done, generation);
		if (generation % 2)
			node_remove(&node, other);
		else if (node_plan(&node, &beside) == 0)
			node_apply(&node);
	}
	return generation;
}

/* Every set that can have been in force between two looks at the counters. */
static unsigned sets_between(uint64_t from, uint64_t to)
{
	unsigned sets = 0;

	for (uint64_t g = from; g <= to; g++)
		sets |= set_of(g);
	return sets;
}

/* The Pod, by its number, that a connected socket talks to; -1 if it cannot. */
static int reached_by_tcp(int fd)
{
	char pod;

	return recv(fd, &pod, 1, 0) == 1 ? pod : -1;
}

static int reached_by_udp(int fd)
{
	const char *backend = backend_of(&node, fd);

	return *backend ? backend[strlen("10.244.0.")] - '1' : -1;
}

struct client {
	int type;
	int (*reached)(int fd);
};

static void *connect_all(void *context)
{
	const struct client *client = context;
	const struct linger reset = {.l_onoff = 1};

	while (atomic_fetch_add(&connects, 1) < MIN_CONNECTS || atomic_load(&done) < MIN_SWAPS) {
		int fd = socket(AF_INET, client->type | SOCK_CLOEXEC, 0), pod = -1;
		uint64_t from = atomic_load(&done);

		/* No TIME_WAIT: there are more connects than ports. */
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		if (!dial(fd, "10.96.0.1:80"))
			pod = client->reached(fd);
		if (pod < 0)
			atomic_fetch_add(&failures, 1);
		else if (!(sets_between(from, atomic_load(&begun)) >> pod & 1))
			atomic_fetch_add(&strays, 1);
		close(fd);
	}
	return NULL;
}

/* Each Pod greets whoever connects with its number. */
static void *greet_all(void *context)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), servers[PODS];

	(void)context;
	for (int pod = 0; pod < PODS; pod++) {
		struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)pod};

		servers[pod] = listen_on(pods[pod], SOCK_STREAM | SOCK_NONBLOCK);
		assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, servers[pod], &event), 0);
	}
	atomic_store(&begun, 0);
	while (!atomic_load(&stop)) {
		struct epoll_event events[PODS];
		int n = epoll_wait(epoll, events, PODS, 100);

		for (int i = 0; i < n; i++) {
			char pod = (char)events[i].data.u32;
			int fd;

			while ((fd = accept(servers[(int)pod], NULL, NULL)) >= 0) {
				(void)send(fd, &pod, 1, MSG_NOSIGNAL);
				close(fd);
			}
		}
	}
	for (int pod = 0; pod < PODS; pod++)
		close(servers[pod]);
	close(epoll);
	return NULL;
}

static void *swap_in_thread(void *context)
{
	static uint64_t swaps;

	swaps = swap_until_stopped(*(uint8_t *)context);
	return &swaps;
}

static void churn(int type, uint8_t protocol, int (*reached)(int fd))
{
	struct client client = {.type = type, .reached = reached};
	pthread_t clients[CLIENTS], swapper, greeter;
	struct service first;
	uint64_t *swaps;

	for (int pod = 0; pod < PODS; pod++)
		snprintf(pods[pod], sizeof(pods[pod]), "10.244.0.%d:8080", pod + 1);
	atomic_store(&stop, false);
	atomic_store(&connects, 0);
	atomic_store(&begun, 1);
	atomic_store(&done, 0);
	/* Little room, so that ranges are reused all the time. */
	node_open(&node, &(struct node_config){.max_services = 16, .max_backends = 64});
	first = service_of("churn", "10.96.0.1:80", protocol, set_of(0));
	node_serve(&node, &first);
	assert_int_equal(pthread_create(&greeter, NULL, greet_all, NULL), 0);
	while (atomic_load(&begun)) /* until the servers listen */
		sched_yield();
	assert_int_equal(pthread_create(&swapper, NULL, swap_in_thread, &protocol), 0);
	for (int i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_create(&clients[i], NULL, connect_all, &client), 0);
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(clients[i], NULL);
	atomic_store(&stop, true);
	pthread_join(swapper, (void **)&swaps);
	pthread_join(greeter, NULL);
	print_message("  %u connects, %llu swaps\n", atomic_load(&connects),
		      (unsigned long long)*swaps);
	assert_int_equal(atomic_load(&failures), 0);
	assert_int_equal(atomic_load(&strays), 0);
	assert_int_equal(node_count_records(&node), 0);
	node_close(&node);
}

static void no_tcp_connect_fails_or_strays_under_churn(void **state)
{
	(void)state;
	churn(SOCK_STREAM, IPPROTO_TCP, reached_by_tcp);
}

static void no_udp_connect_fails_or_strays_under_churn(void **state)
{
	(void)state;
	churn(SOCK_DGRAM, IPPROTO_UDP, reached_by_udp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_tcp_connect_fails_or_strays_under_churn),
		cmocka_unit_test(no_udp_connect_fails_or_strays_under_churn),
	};

	sandbox_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
