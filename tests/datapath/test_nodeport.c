// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * NodePorts on node addresses, and who is left alone.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct service port = {.name = "np",
				    .address = "0.0.0.0:30080",
				    .scope = RD_SCOPE_NODE_PORT,
				    .protocol = IPPROTO_UDP,
				    .backends = {"10.244.0.1:1"}};

/* 0 or -errno of a connect; what it reached is in a static buffer. */
static const char *reached;

static int reach(struct node *node, const char *address)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r = dial(fd, address);

	reached = r ? "" : backend_of(node, fd);
	close(fd);
	return r;
}

static void C6_a_node_port_answers_on_node_addresses_only(void **state)
{
	struct node node;

	(void)state;
	node_open(&node, &(struct node_config){0});
	node_serve(&node, &port);
	assert_int_equal(reach(&node, "192.0.2.1:30080"), -ENETUNREACH);
	node_add_address(&node, "192.0.2.1", RD_NODE_THIS);
	assert_int_equal(reach(&node, "192.0.2.1:30080"), 0);
	assert_string_equal(reached, "10.244.0.1:1");
	assert_int_equal(reach(&node, "192.0.2.2:30080"), -ENETUNREACH);
	assert_int_equal(reach(&node, "192.0.2.1:30081"), -ENETUNREACH);
	/* The address goes, as when an interface does. */
	rd_plan_begin_nodes(&node.plan);
	node_apply(&node);
	assert_int_equal(reach(&node, "192.0.2.1:30080"), -ENETUNREACH);
	node_close(&node);
}

static void C12_another_nodes_port_with_policy_local_leads_there_or_is_refused(void **state)
{
	struct service local = port;
	static const struct service there = {.name = "there",
					     .address = "192.0.2.3:30080",
					     .protocol = IPPROTO_UDP,
					     .backends = {"10.244.0.3:1"}};
	struct node node;

	(void)state;
	node_open(&node, &(struct node_config){0});
	node_add_address(&node, "192.0.2.1", RD_NODE_THIS);
	node_add_address(&node, "192.0.2.2", RD_NODE_OTHER);
	node_add_address(&node, "192.0.2.3", RD_NODE_OTHER);
	node_serve(&node, &port);
	assert_int_equal(reach(&node, "192.0.2.2:30080"), 0);
	local.flags = RD_FLAG_LOCAL;
	node_serve(&node, &local);
	node_serve(&node, &there);
	assert_int_equal(reach(&node, "192.0.2.1:30080"), 0);
	assert_string_equal(reached, "10.244.0.1:1");
	assert_int_equal(reach(&node, "192.0.2.2:30080"), -ECONNREFUSED);
	assert_int_equal(reach(&node, "192.0.2.3:30080"), 0);
	assert_string_equal(reached, "10.244.0.3:1");
	node_close(&node);
}

static void C7_loopback_answers_in_the_nodes_own_namespace_only(void **state)
{
	struct node node;
	int status;
	pid_t child;

	(void)state;
	node_open(&node, &(struct node_config){0});
	node_add_address(&node, "127.0.0.1", RD_NODE_LOOPBACK);
	node_serve(&node, &port);
	assert_int_equal(reach(&node, "127.0.0.1:30080"), 0);
	assert_string_equal(reached, "10.244.0.1:1");
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		sandbox_new_netns();
		/* Connected all the same, to loopback itself. */
		_exit(reach(&node, "127.0.0.1:30080") || *reached);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	node_close(&node);
}

static void who_is_excluded_by_cgroup_is_untouched(void **state)
{
	struct node node;
	char below[600], inner[700];

	(void)state;
	snprintf(below, sizeof(below), "%s/excluded", sandbox_cgroup());
	snprintf(inner, sizeof(inner), "%s/inner", below);
	assert_int_equal(mkdir(below, 0755), 0);
	assert_int_equal(mkdir(inner, 0755), 0);
	node_open(&node, &(struct node_config){.exclude_cgroup = below});
	node_serve(&node, &(struct service){.name = "web",
					    .address = "10.96.0.1:80",
					    .protocol = IPPROTO_UDP,
					    .backends = {"10.244.0.1:1"}});
	assert_int_equal(reach(&node, "10.96.0.1:80"), 0);
	join_cgroup(inner);
	assert_int_equal(reach(&node, "10.96.0.1:80"), -ENETUNREACH);
	join_cgroup(sandbox_cgroup());
	assert_int_equal(reach(&node, "10.96.0.1:80"), 0);
	node_close(&node);
	assert_int_equal(rmdir(inner), 0);
	assert_int_equal(rmdir(below), 0);
}

static void who_is_excluded_by_network_namespace_is_untouched(void **state)
{
	struct node node;
	int status, ready[2], go[2];
	char path[64], byte;
	pid_t child;

	(void)state;
	assert_int_equal(pipe2(ready, O_CLOEXEC) | pipe2(go, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		int fd;

		sandbox_new_netns();
		if (write(ready[1], "x", 1) != 1 || read(go[0], &byte, 1) != 1)
			_exit(99);
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		_exit(dial(fd, "10.96.0.1:80") == -ENETUNREACH ? 0 : 1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)child);
	node_open(&node, &(struct node_config){.exclude_netns = path});
	node_serve(&node, &(struct service){.name = "web",
					    .address = "10.96.0.1:80",
					    .protocol = IPPROTO_UDP,
					    .backends = {"10.244.0.1:1"}});
	assert_int_equal(reach(&node, "10.96.0.1:80"), 0);
	assert_int_equal(write(go[1], "x", 1), 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	node_close(&node);
	close_all(ready[0], ready[1], go[0], go[1], -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(C6_a_node_port_answers_on_node_addresses_only),
		cmocka_unit_test(
			C12_another_nodes_port_with_policy_local_leads_there_or_is_refused),
		cmocka_unit_test(C7_loopback_answers_in_the_nodes_own_namespace_only),
		cmocka_unit_test(who_is_excluded_by_cgroup_is_untouched),
		cmocka_unit_test(who_is_excluded_by_network_namespace_is_untouched),
	};

	sandbox_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
