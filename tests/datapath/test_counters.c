// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The counters: what is counted, that nothing is lost when endpoints change,
 * and that they begin and end with their object.
 */
#include "sandbox.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "maps.h"

static struct node node;

static int open_node(void **state)
{
	(void)state;
	node_open(&node, &(struct node_config){.track_outcomes = true});
	return 0;
}

static int close_node(void **state)
{
	(void)state;
	node_close(&node);
	return 0;
}

static struct rd_counts counts(const char *name)
{
	const struct rd_planned *service = rd_plan_find(&node.plan, "test", name);
	struct rd_counts found;

	assert_non_null(service);
	rd_maps_count(rd_datapath_maps(node.datapath), &service->ports[0], &found);
	return found;
}

/* How often the backend at this address was chosen. */
static uint64_t chosen(const char *name, const char *address)
{
	const struct rd_planned *service = rd_plan_find(&node.plan, "test", name);
	const struct rd_planned_port *port = &service->ports[0];
	const struct rd_range *range = &port->ranges[0];
	struct sockaddr_storage wanted = address_of(address, &(socklen_t){0});

	for (uint32_t i = range->first; i < range->first + range->count; i++)
		if (!memcmp(node.plan.slots[i].addr, &((struct sockaddr_in *)&wanted)->sin_addr, 4))
			return rd_maps_chosen(rd_datapath_maps(node.datapath), port,
					      node.plan.slots[i].id);
	fail_msg("%s is no backend of %s", address, name);
	return 0;
}

static void dial_often(const char *address, int type, int times)
{
	for (int i = 0; i < times; i++)
		close(dialled(address, type));
}

static void each_connect_counts_once_at_its_service_and_backend(void **state)
{
	(void)state;
	node_serve(&node, &(struct service){.name = "web",
					    .address = "10.96.0.1:80",
					    .protocol = IPPROTO_UDP,
					    .backends = {"10.244.0.1:1", "10.244.0.2:1"}});
	node_serve(&node, &(struct service){.name = "other",
					    .address = "10.96.0.2:80",
					    .protocol = IPPROTO_UDP,
					    .backends = {"10.244.0.1:1"}});
	dial_often("10.96.0.1:80", SOCK_DGRAM, 100);
	assert_int_equal(counts("web").connects, 100);
	assert_int_equal(chosen("web", "10.244.0.1:1") + chosen("web", "10.244.0.2:1"), 100);
	assert_int_equal(counts("other").connects, 0);
	assert_int_equal(chosen("other", "10.244.0.1:1"), 0);
	node_remove(&node, "web");
	node_remove(&node, "other");
}

static void counts_outlast_changes_of_the_endpoints(void **state)
{
	struct service service = {.name = "web",
				  .address = "10.96.0.1:80",
				  .protocol = IPPROTO_UDP,
				  .backends = {"10.244.0.1:1", "10.244.0.2:1"}};
	uint64_t before;

	(void)state;
	node_serve(&node, &service);
	dial_often("10.96.0.1:80", SOCK_DGRAM, 50);
	before = chosen("web", "10.244.0.1:1");
	service.backends[1] = "10.244.0.3:1";
	node_serve(&node, &service);
	assert_int_equal(counts("web").connects, 50);
	assert_int_equal(chosen("web", "10.244.0.1:1"), before);
	assert_int_equal(chosen("web", "10.244.0.3:1"), 0);
	dial_often("10.96.0.1:80", SOCK_DGRAM, 50);
	node_grace(&node);
	assert_int_equal(counts("web").connects, 100);
	node_remove(&node, "web");
}

static void a_service_that_comes_back_begins_at_nothing(void **state)
{
	const struct service service = {.name = "web",
					.address = "10.96.0.1:80",
					.protocol = IPPROTO_UDP,
					.backends = {"10.244.0.1:1"}};

	(void)state;
	for (int turn = 0; turn < 5; turn++) {
		node_serve(&node, &service);
		assert_int_equal(counts("web").connects, 0);
		assert_int_equal(chosen("web", "10.244.0.1:1"), 0);
		dial_often("10.96.0.1:80", SOCK_DGRAM, 10);
		assert_int_equal(counts("web").connects, 10);
		node_remove(&node, "web");
		node_grace(&node);
	}
}

/* A connect that is under way while its range is given up is not lost either. */
static void none_is_lost_while_the_endpoints_change(void **state)
{
	struct service service = {
		.name = "web", .address = "10.96.0.1:80", .protocol = IPPROTO_UDP};
	static const char *const sets[][3] = {{"10.244.0.1:1", "10.244.0.2:1"},
					      {"10.244.0.2:1", "10.244.0.3:1"},
					      {"10.244.0.1:1", "10.244.0.3:1", "10.244.0.4:1"}};
	struct {
		atomic_bool enough;
		atomic_int dials;
	} *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			 -1, 0);
	pid_t child;
	int status;

	(void)state;
	assert_true(shared != MAP_FAILED);
	service.backends[0] = sets[0][0];
	node_serve(&node, &service);
	child = fork();
	while (!child) {
		dial_often("10.96.0.1:80", SOCK_DGRAM, 100);
		atomic_fetch_add(&shared->dials, 100);
		if (atomic_load(&shared->enough))
			_exit(0);
	}
	for (int turn = 0; turn < 60 || atomic_load(&shared->dials) < 20000; turn++) {
		assert_int_equal(waitpid(child, &status, WNOHANG), 0);
		memcpy(service.backends, sets[turn % 3], sizeof(sets[0]));
		node_serve(&node, &service);
		if (turn % 10 == 0)
			node_grace(&node);
	}
	atomic_store(&shared->enough, true);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	node_grace(&node);
	assert_int_equal(counts("web").connects, atomic_load(&shared->dials));
	node_remove(&node, "web");
	munmap(shared, sizeof(*shared));
}

static void refusals_count_by_their_reason(void **state)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	node_serve(&node, &(struct service){.name = "empty",
					    .address = "10.96.0.1:80",
					    .protocol = IPPROTO_UDP});
	assert_int_equal(dial(fd, "10.96.0.1:80"), -ECONNREFUSED);
	assert_int_equal(send_to(fd, "10.96.0.1:80"), -ECONNREFUSED);
	assert_int_equal(counts("empty").refused, 2);
	node_remove(&node, "empty");
	node_serve(&node, &(struct service){.name = "local",
					    .address = "0.0.0.0:30080",
					    .protocol = IPPROTO_UDP,
					    .scope = RD_SCOPE_NODE_PORT,
					    .flags = RD_FLAG_LOCAL,
					    .backends = {"10.244.0.1:1"}});
	node_add_address(&node, "192.0.2.2", RD_NODE_OTHER);
	assert_int_equal(dial(fd, "192.0.2.2:30080"), -ECONNREFUSED);
	assert_int_equal(counts("local").refused_local, 1);
	assert_int_equal(counts("local").refused, 0);
	assert_int_equal(counts("local").connects, 0);
	node_remove(&node, "local");
	close(fd);
}

static void a_flow_counts_once_however_much_is_sent(void **state)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	node_serve(&node, &(struct service){.name = "dns",
					    .address = "10.96.0.1:53",
					    .protocol = IPPROTO_UDP,
					    .backends = {"10.244.0.1:1", "10.244.0.2:1"}});
	for (int i = 0; i < 20; i++)
		assert_int_equal(send_to(fd, "10.96.0.1:53"), 0);
	assert_int_equal(counts("dns").flows, 1);
	assert_int_equal(counts("dns").connects, 0);
	node_remove(&node, "dns");
	close(fd);
}

static void affinity_hits_are_all_but_the_first(void **state)
{
	(void)state;
	node_serve(&node, &(struct service){.name = "sticky",
					    .address = "10.96.0.1:80",
					    .protocol = IPPROTO_UDP,
					    .affinity_seconds = 600,
					    .backends = {"10.244.0.1:1", "10.244.0.2:1"}});
	dial_often("10.96.0.1:80", SOCK_DGRAM, 10);
	assert_int_equal(counts("sticky").connects, 10);
	assert_int_equal(counts("sticky").affinity_hits, 9);
	node_remove(&node, "sticky");
}

static void what_is_no_services_is_a_miss(void **state)
{
	struct rd_totals before, after;

	(void)state;
	assert_int_equal(rd_maps_totals(rd_datapath_maps(node.datapath), &before), 0);
	dial_often("10.244.0.1:9", SOCK_DGRAM, 7);
	assert_int_equal(rd_maps_totals(rd_datapath_maps(node.datapath), &after), 0);
	assert_int_equal(after.misses - before.misses, 7);
}

static uint64_t latencies(const struct rd_counts *found)
{
	uint64_t n = 0;

	for (size_t i = 0; i < RD_LATENCY_BUCKETS; i++)
		n += found->latency[i];
	return n;
}

static void outcomes_of_tcp_connects_are_counted(void **state)
{
	int server = listen_on("10.244.0.1:8080", SOCK_STREAM), fds[5], refused;
	struct rd_counts found;

	(void)state;
	node_serve(&node, &(struct service){.name = "web",
					    .address = "10.96.0.1:80",
					    .backends = {"10.244.0.1:8080"}});
	node_serve(&node, &(struct service){.name = "dead",
					    .address = "10.96.0.2:80",
					    .backends = {"10.244.0.1:9"}});
	for (size_t i = 0; i < RD_ARRAY_SIZE(fds); i++)
		fds[i] = dialled("10.96.0.1:80", SOCK_STREAM);
	found = counts("web");
	assert_int_equal(found.established, 5);
	assert_int_equal(found.open, 5);
	assert_int_equal(latencies(&found), 5);
	for (size_t i = 0; i < RD_ARRAY_SIZE(fds); i++)
		close(fds[i]);
	found = counts("web");
	assert_int_equal(found.open, 0);
	assert_int_equal(found.established, 5);

	refused = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(dial(refused, "10.96.0.2:80"), -ECONNREFUSED);
	found = counts("dead");
	assert_int_equal(found.connects, 1);
	assert_int_equal(found.failed, 1);
	assert_int_equal(found.established + found.open + latencies(&found), 0);
	close(refused);
	assert_int_equal(counts("dead").open, 0);
	node_remove(&node, "web");
	node_remove(&node, "dead");
	close(server);
}

/* A record that spilled is found too. */
static void outcomes_of_spilled_sockets_are_counted(void **state)
{
	enum { SOCKETS = 1500 }; /* more than there are slots */
	int server = listen_on("10.244.0.1:8080", SOCK_STREAM);
	static int fds[SOCKETS];
	struct rd_totals before, after;
	struct rd_counts found;

	(void)state;
	node_serve(&node, &(struct service){.name = "web",
					    .address = "10.96.0.1:80",
					    .backends = {"10.244.0.1:8080"}});
	assert_int_equal(rd_maps_totals(rd_datapath_maps(node.datapath), &before), 0);
	for (int i = 0; i < SOCKETS; i++) {
		fds[i] = dialled("10.96.0.1:80", SOCK_STREAM);
		close(accept(server, NULL, NULL));
	}
	assert_int_equal(rd_maps_totals(rd_datapath_maps(node.datapath), &after), 0);
	assert_true(after.spills > before.spills);
	found = counts("web");
	assert_int_equal(found.established, SOCKETS);
	assert_int_equal(found.open, SOCKETS);
	for (int i = 0; i < SOCKETS; i++)
		close(fds[i]);
	assert_int_equal(counts("web").open, 0);
	node_remove(&node, "web");
	close(server);
}

/* The socket that the kernel opens beneath an MPTCP one. */
static void outcomes_of_mptcp_are_counted(void **state)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP), server;

	(void)state;
	if (fd < 0)
		skip();
	server = listen_on("10.244.0.1:8080", SOCK_STREAM);
	node_serve(&node, &(struct service){.name = "web",
					    .address = "10.96.0.1:80",
					    .backends = {"10.244.0.1:8080"}});
	assert_int_equal(dial(fd, "10.96.0.1:80"), 0);
	assert_int_equal(counts("web").established, 1);
	assert_int_equal(counts("web").open, 1);
	close(fd);
	assert_int_equal(counts("web").open, 0);
	close(server);
	node_remove(&node, "web");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_connect_counts_once_at_its_service_and_backend),
		cmocka_unit_test(counts_outlast_changes_of_the_endpoints),
		cmocka_unit_test(a_service_that_comes_back_begins_at_nothing),
		cmocka_unit_test(none_is_lost_while_the_endpoints_change),
		cmocka_unit_test(refusals_count_by_their_reason),
		cmocka_unit_test(a_flow_counts_once_however_much_is_sent),
		cmocka_unit_test(affinity_hits_are_all_but_the_first),
		cmocka_unit_test(what_is_no_services_is_a_miss),
		cmocka_unit_test(outcomes_of_tcp_connects_are_counted),
		cmocka_unit_test(outcomes_of_spilled_sockets_are_counted),
		cmocka_unit_test(outcomes_of_mptcp_are_counted),
	};

	sandbox_enter();
	return cmocka_run_group_tests_name("counters", tests, open_node, close_node);
}
