// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What each hook costs: the kernel's own run-time statistics of the programs
 * (BPF_STATS_RUN_TIME), net of an empty program that is attached beside them
 * and runs in the same calls. 10,000 Services with 8 endpoints each; hot is
 * one of them, random is any, a miss is an address that is no Service.
 */
#include "../datapath/sandbox.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVICES 10000
#define ENDPOINTS 8
#define ROUNDS 15
#define CALLS 20000

static struct node node;

/* ---- programs and their statistics ------------------------------------------------ */

struct hook {
	const char *name;
	enum bpf_attach_type type;
	int redial; /* program descriptors */
	int empty;  /* the one that runs behind redial's */
};

static struct hook hooks[] = {
	{.name = "connect4", .type = BPF_CGROUP_INET4_CONNECT},
	{.name = "sendmsg4", .type = BPF_CGROUP_UDP4_SENDMSG},
	{.name = "recvmsg4", .type = BPF_CGROUP_UDP4_RECVMSG},
	{.name = "getpeername4", .type = BPF_CGROUP_INET4_GETPEERNAME},
};

/* Attach an empty program behind those that are there. The first program of a
 * call pays for what the kernel's own statistics find cold, so that one is an
 * empty one too; what is compared are the two behind it. */
static void attach_empty(struct hook *hook)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = hook->type);
	int cgroup = open(sandbox_cgroup(), O_RDONLY | O_CLOEXEC);

	hook->empty = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "empty", "GPL", insns,
				    RD_ARRAY_SIZE(insns), &opts);
	assert_true(cgroup >= 0 && hook->empty >= 0);
	assert_true(bpf_link_create(hook->empty, cgroup, hook->type, NULL) >= 0);
	close(cgroup);
}

static void find_redial(struct hook *hook)
{
	for (size_t i = 0; i < rd_datapath_hooks(); i++) {
		struct rd_hook_state state = rd_datapath_hook("/sys/fs/bpf/redial", i);

		if (!strcmp(state.name, hook->name))
			hook->redial = bpf_prog_get_fd_by_id(state.program_id);
	}
	assert_true(hook->redial >= 0);
}

struct runs {
	double ns;
	double calls;
};

static struct runs runs_of(int program)
{
	struct bpf_prog_info info = {0};
	__u32 length = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(program, &info, &length), 0);
	return (struct runs){.ns = (double)info.run_time_ns, .calls = (double)info.run_cnt};
}

/* ---- work ---------------------------------------------------------------------------- */

static struct sockaddr_in service_address(unsigned i, uint16_t port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(0x0a600000U + 1 + i)};
}

static void connect_once(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)!connect(fd, (const struct sockaddr *)to, sizeof(*to));
	close(fd);
}

static void hot(void)
{
	struct sockaddr_in to = service_address(0, 80);

	for (int i = 0; i < CALLS; i++)
		connect_once(&to);
}

static void random_service(void)
{
	for (int i = 0; i < CALLS; i++) {
		struct sockaddr_in to = service_address((unsigned)random() % SERVICES, 80);

		connect_once(&to);
	}
}

static void miss(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(80),
				 .sin_addr.s_addr = htonl(0x0af40001U)};

	for (int i = 0; i < CALLS; i++)
		connect_once(&to);
}

static void miss_tcp(void)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(0x0af40001U)};

	/* Refused at once: nobody listens. */
	for (int i = 0; i < CALLS; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		(void)!connect(fd, (const struct sockaddr *)&to, sizeof(to));
		close(fd);
	}
}

static void getpeername_hot(void)
{
	struct sockaddr_in to = service_address(0, 80);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)!connect(fd, (const struct sockaddr *)&to, sizeof(to));
	for (int i = 0; i < CALLS; i++)
		(void)peer_of(fd);
	close(fd);
}

static void echo_on_a_flow(void)
{
	static const char *const pods[] = {"10.244.0.1:8080", "10.244.0.2:8080", "10.244.0.3:8080",
					   "10.244.0.4:8080", "10.244.0.5:8080", "10.244.0.6:8080",
					   "10.244.0.7:8080", "10.244.0.8:8080"};
	struct sockaddr_in to = service_address(1, 80), from;
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), servers[8];
	char byte = 0;

	for (int i = 0; i < 8; i++)
		servers[i] = listen_on(pods[i], SOCK_DGRAM | SOCK_NONBLOCK);
	for (int i = 0; i < CALLS; i++) {
		struct sockaddr_in peer;
		socklen_t length = sizeof(peer), from_length = sizeof(from);

		(void)!sendto(client, &byte, 1, 0, (struct sockaddr *)&to, sizeof(to));
		/* The first datagram tells which of them the flow leads to. */
		for (int pod = 0; pod < (i ? 1 : 8); pod++)
			if (recvfrom(servers[pod], &byte, 1, 0, (struct sockaddr *)&peer,
				     &length) == 1) {
				int chosen = servers[pod];

				servers[pod] = servers[0];
				servers[0] = chosen;
				break;
			}
		(void)!sendto(servers[0], &byte, 1, 0, (struct sockaddr *)&peer, length);
		(void)!recvfrom(client, &byte, 1, MSG_DONTWAIT, (struct sockaddr *)&from,
				&from_length);
	}
	close(client);
	for (int i = 0; i < 8; i++)
		close(servers[i]);
}

static const struct row {
	const char *what;
	const char *hook;
	void (*work)(void);
	const char *target, *prototype;
} rows[] = {
	{"connect4, hot", "connect4", hot, "200", "190"},
	{"connect4, random of 10,000", "connect4", random_service, "700", "740 (whole operation)"},
	{"connect4, a miss (UDP)", "connect4", miss, "15", "-"},
	{"connect4, a miss (TCP)", "connect4", miss_tcp, "15", "-"},
	{"getpeername4", "getpeername4", getpeername_hot, "-", "-"},
	{"sendmsg4, flows and replies", "sendmsg4", echo_on_a_flow, "-", "-"},
	{"recvmsg4, flows and requests", "recvmsg4", echo_on_a_flow, "-", "-"},
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Nanoseconds per call of a program, net of the empty one, in one round. */
static double net(const struct hook *hook, void (*work)(void))
{
	struct runs redial = runs_of(hook->redial), empty = runs_of(hook->empty);
	struct runs redial_after, empty_after;

	work();
	redial_after = runs_of(hook->redial);
	empty_after = runs_of(hook->empty);
	return (redial_after.ns - redial.ns) / (redial_after.calls - redial.calls) -
	       (empty_after.ns - empty.ns) / (empty_after.calls - empty.calls);
}

static void fill(void)
{
	char names[16], address[32], backends[ENDPOINTS][32];

	for (unsigned i = 0; i < SERVICES; i++) {
		struct service service = {
			.name = names, .address = address, .protocol = IPPROTO_UDP};
		struct in_addr in = service_address(i, 80).sin_addr;

		snprintf(names, sizeof(names), "s%u", i);
		snprintf(address, sizeof(address), "%s:80", inet_ntoa(in));
		for (unsigned b = 0; b < ENDPOINTS; b++) {
			/* The second Service's endpoints are the Pods, which echo. */
			if (i == 1)
				snprintf(backends[b], sizeof(backends[b]), "10.244.0.%u:8080",
					 b + 1);
			else
				snprintf(backends[b], sizeof(backends[b]), "10.244.0.%u:%u", b + 1,
					 1024 + i);
			service.backends[b] = backends[b];
		}
		assert_int_equal(node_plan(&node, &service), 0);
	}
	node_apply(&node);
}

int main(void)
{
	int stats;

	sandbox_enter();
	stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (stats < 0) {
		perror("bpf_enable_stats");
		return 1;
	}
	for (size_t i = 0; i < RD_ARRAY_SIZE(hooks); i++)
		attach_empty(&hooks[i]);
	node_open(&node, &(struct node_config){.max_services = SERVICES,
					       .max_backends = SERVICES * ENDPOINTS,
					       .socket_slots = 65536});
	fill();
	for (size_t i = 0; i < RD_ARRAY_SIZE(hooks); i++) {
		find_redial(&hooks[i]);
		attach_empty(&hooks[i]);
	}
	printf("%-30s %8s %8s %8s   %-8s %s\n", "net ns per call", "min", "median", "max", "target",
	       "prototype");
	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		double rounds[ROUNDS];
		const struct hook *hook = hooks;

		while (strcmp(hook->name, rows[i].hook))
			hook++;
		(void)net(hook, rows[i].work);
		for (int r = 0; r < ROUNDS; r++)
			rounds[r] = net(hook, rows[i].work);
		qsort(rounds, ROUNDS, sizeof(*rounds), compare);
		printf("%-30s %8.1f %8.1f %8.1f   %-8s %s\n", rows[i].what, rounds[0],
		       rounds[ROUNDS / 2], rounds[ROUNDS - 1], rows[i].target, rows[i].prototype);
		fflush(stdout);
	}
	node_close(&node);
	return 0;
}
