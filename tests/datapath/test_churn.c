// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Torn-free under churn (DESIGN, invariants 1 and 2): while the endpoint sets
 * of a Service are swapped as fast as they can be, and other Services come and
 * go so that the agent uses ranges and places again, no connect fails and none
 * reaches a backend that was in no set of its time; also if the address goes from
 * Service to Service, and so from place to place.
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

/* The clients go on until there were this many swaps, and as many connects as
 * the row says. */
#define MIN_SWAPS 2000
#define CLIENTS 2
#define PODS 8

static struct node node;
static char pods[PODS][32];

/* One way of reaching a Service. */
static const struct way {
	const char *name;
	bool v6;
	int type;
	bool unconnected;
	uint8_t scope;
	bool moving; /* each set is another Service's */
	uint32_t affinity_seconds;
	const char *address; /* of the frontend */
	const char *dial;    /* what is dialled */
	unsigned connects;
} ways[] = {
	{.name = "TCP", .type = SOCK_STREAM, .connects = 200000},
	{.name = "connected UDP", .type = SOCK_DGRAM, .connects = 100000},
	{.name = "unconnected UDP", .type = SOCK_DGRAM, .unconnected = true, .connects = 50000},
	{.name = "TCP over IPv6", .v6 = true, .type = SOCK_STREAM, .connects = 50000},
	{.name = "unconnected UDP over IPv6",
	 .v6 = true,
	 .type = SOCK_DGRAM,
	 .unconnected = true,
	 .connects = 50000},
	{.name = "TCP to a NodePort",
	 .type = SOCK_STREAM,
	 .scope = RD_SCOPE_NODE_PORT,
	 .address = "0.0.0.0:30080",
	 .dial = "192.0.2.1:30080",
	 .connects = 50000},
	{.name = "TCP to an address that moves",
	 .type = SOCK_STREAM,
	 .moving = true,
	 .connects = 100000},
	{.name = "TCP with session affinity",
	 .type = SOCK_STREAM,
	 .affinity_seconds = 600,
	 .connects = 50000},
};
static const struct way *way;

static const char *frontend_address(void)
{
	return way->address ?: way->v6 ? "[fd00:96::1]:80" : "10.96.0.1:80";
}

static const char *dialled_address(void)
{
	return way->dial ?: frontend_address();
}

/* The set that is in force in generation g: a bit per Pod, never empty. */
static unsigned set_of(uint64_t generation)
{
	uint64_t mixed = (generation + 1) * 0x9e3779b97f4a7c15ULL;

	return (unsigned)(mixed >> 56) % 255 + 1;
}

/* Generations below `done` have been replaced or are in force; those up to
 * `begun` may be. */
static atomic_ullong begun, done;
static atomic_bool stop, listening;
static atomic_uint connects, failures, strays;

static struct service service_of(const char *name, const char *address, unsigned set)
{
	struct service service = {.name = name,
				  .address = address,
				  .protocol = way->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP};
	size_t n = 0;

	for (int pod = 0; pod < PODS; pod++)
		if (set >> pod & 1)
			service.backends[n++] = pods[pod];
	return service;
}

/* The Service that has the address in this generation. */
static const char *churning_name(uint64_t generation)
{
	return way->moving && generation % 2 ? "churn1" : "churn0";
}

static struct service churning(uint64_t generation)
{
	struct service service =
		service_of(churning_name(generation), frontend_address(), set_of(generation));

	service.scope = way->scope;
	service.affinity_seconds = way->affinity_seconds;
	return service;
}

/* One thread swaps until told to stop; returns a pointer to how often it did. */
static void *swap(void *context)
{
	static const char *const noise4[] = {"10.96.1.1:80", "10.96.1.2:80", "10.96.1.3:80"};
	static const char *const noise6[] = {"[fd00:96::2]:80", "[fd00:96::3]:80",
					     "[fd00:96::4]:80"};
	static uint64_t generation;

	(void)context;
	generation = 0;
	while (!atomic_load(&stop)) {
		const char *other = (way->v6 ? noise6 : noise4)[generation % RD_ARRAY_SIZE(noise4)];
		struct service churn, beside;

		generation++;
		churn = churning(generation);
		beside = service_of(other, other, set_of(generation * 7));
		/* There are few ids, and each move needs one. */
		if (way->moving && generation % 8 == 0)
			node_grace(&node);
		if (way->moving)
			assert_int_equal(
				rd_plan_remove(&node.plan, "test", churning_name(generation - 1)),
				0);
		atomic_store(&begun, generation);
		assert_int_equal(node_plan(&node, &churn), 0);
		node_apply(&node);
		atomic_store(&done, generation);
		if (generation % 2)
			node_remove(&node, other);
		else if (node_plan(&node, &beside) == 0)
			node_apply(&node);
	}
	return &generation;
}

/* Every set that can have been in force between two looks at the counters. */
static unsigned sets_between(uint64_t from, uint64_t to)
{
	unsigned sets = 0;

	for (uint64_t g = from; g <= to; g++)
		sets |= set_of(g);
	return sets;
}

/* Dial, and return the number of the Pod that answers; -1 if none does. */
static int reach(int fd)
{
	const struct timeval patience = {.tv_sec = 5};
	char pod;

	if (way->unconnected ? send_to(fd, dialled_address()) : dial(fd, dialled_address()))
		return -1;
	if (way->type == SOCK_DGRAM && !way->unconnected) {
		const char *end = strrchr(backend_of(&node, fd), ':');

		return end ? end[-1] - '1' : -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return recv(fd, &pod, 1, 0) == 1 ? pod : -1;
}

static void *connect_all(void *context)
{
	const struct linger reset = {.l_onoff = 1};

	(void)context;
	while (atomic_fetch_add(&connects, 1) < way->connects || atomic_load(&done) < MIN_SWAPS) {
		int fd = socket(way->v6 ? AF_INET6 : AF_INET, way->type | SOCK_CLOEXEC, 0);
		uint64_t from = atomic_load(&done);
		int pod;

		/* No TIME_WAIT: there are more connects than ports. */
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		pod = reach(fd);
		if (pod < 0)
			atomic_fetch_add(&failures, 1);
		else if (!(sets_between(from, atomic_load(&begun)) >> pod & 1))
			atomic_fetch_add(&strays, 1);
		close(fd);
	}
	return NULL;
}

/* Send the Pod's number to whoever asks. */
static void greet(int server, char pod)
{
	struct sockaddr_storage from;
	socklen_t length = sizeof(from);
	char byte;
	int fd;

	if (way->type == SOCK_DGRAM) {
		while (recvfrom(server, &byte, 1, MSG_DONTWAIT, (struct sockaddr *)&from,
				&length) == 1) {
			(void)!sendto(server, &pod, 1, 0, (struct sockaddr *)&from, length);
			length = sizeof(from);
		}
		return;
	}
	while ((fd = accept(server, NULL, NULL)) >= 0) {
		(void)!send(fd, &pod, 1, MSG_NOSIGNAL);
		close(fd);
	}
}

static void *greet_all(void *context)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), servers[PODS];

	(void)context;
	for (int pod = 0; pod < PODS; pod++) {
		struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)pod};

		servers[pod] = listen_on(pods[pod], way->type | SOCK_NONBLOCK);
		assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, servers[pod], &event), 0);
	}
	atomic_store(&listening, true);
	while (!atomic_load(&stop)) {
		struct epoll_event events[PODS];
		int n = epoll_wait(epoll, events, PODS, 100);

		for (int i = 0; i < n; i++)
			greet(servers[events[i].data.u32], (char)events[i].data.u32);
	}
	for (int pod = 0; pod < PODS; pod++)
		close(servers[pod]);
	close(epoll);
	return NULL;
}

static void churn(void)
{
	pthread_t clients[CLIENTS], swapper, greeter;
	uint64_t *swaps;
	struct service first;

	for (int pod = 0; pod < PODS; pod++)
		snprintf(pods[pod], sizeof(pods[pod]),
			 way->v6 ? "[fd00:244::%d]:8080" : "10.244.0.%d:8080", pod + 1);
	atomic_store(&stop, false);
	atomic_store(&listening, false);
	atomic_store(&connects, 0);
	atomic_store(&begun, 0);
	atomic_store(&done, 0);
	/* Little room, so that ranges are reused all the time. */
	node_open(&node, &(struct node_config){.max_services = 16, .max_backends = 64});
	if (way->scope == RD_SCOPE_NODE_PORT)
		node_add_address(&node, "192.0.2.1", RD_NODE_THIS);
	first = churning(0);
	node_serve(&node, &first);
	assert_int_equal(pthread_create(&greeter, NULL, greet_all, NULL), 0);
	while (!atomic_load(&listening))
		sched_yield();
	assert_int_equal(pthread_create(&swapper, NULL, swap, NULL), 0);
	for (int i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_create(&clients[i], NULL, connect_all, NULL), 0);
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(clients[i], NULL);
	atomic_store(&stop, true);
	pthread_join(swapper, (void **)&swaps);
	pthread_join(greeter, NULL);
	print_message("  %s: %u connects, %llu swaps\n", way->name, atomic_load(&connects),
		      (unsigned long long)*swaps);
	assert_int_equal(atomic_exchange(&failures, 0), 0);
	assert_int_equal(atomic_exchange(&strays, 0), 0);
	assert_int_equal(node_count_records(&node), 0);
	node_close(&node);
}

static void no_connect_fails_or_strays_under_churn(void **state)
{
	(void)state;
	for (way = ways; way < ways + RD_ARRAY_SIZE(ways); way++)
		churn();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_connect_fails_or_strays_under_churn),
	};

	sandbox_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
