// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What watching costs an application: a TCP request and its answer over a new
 * connection to a Service, with outcomes tracked and not, with a watcher and
 * without, in pairs of rounds in random order. Prints medians and their ratio.
 * A pair of the same with itself shows the noise.
 */
#include "../datapath/sandbox.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "maps.h"

#define PAIRS 401
#define REQUESTS 250
#define BYTES 64

static struct node node;
static int outcomes_program;
static struct ring_buffer *ring;

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

/* ---- work ----------------------------------------------------------------------------- */

static pid_t serve(void)
{
	int server = listen_on("10.244.0.1:8080", SOCK_STREAM);
	pid_t child = fork();
	char bytes[BYTES];

	if (child) {
		close(server);
		return child;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int fd = accept(server, NULL, NULL);

		if (recv(fd, bytes, sizeof(bytes), MSG_WAITALL) == sizeof(bytes))
			(void)!send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
		close(fd);
	}
}

static double request_us(void)
{
	uint64_t began = now_ns();
	char bytes[BYTES] = {0};

	for (int i = 0; i < REQUESTS; i++) {
		int fd = dialled("10.96.0.1:80", SOCK_STREAM);

		assert_int_equal(send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL), sizeof(bytes));
		assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_WAITALL), sizeof(bytes));
		close(fd);
	}
	return (double)(now_ns() - began) / 1000 / REQUESTS;
}

/* ---- arms ------------------------------------------------------------------------------- */

static double plainly(void)
{
	return request_us();
}

static double with_outcomes(void)
{
	int cgroup = open(sandbox_cgroup(), O_RDONLY | O_CLOEXEC);
	int link = bpf_link_create(outcomes_program, cgroup, BPF_CGROUP_SOCK_OPS, NULL);
	double us;

	assert_true(link >= 0);
	us = request_us();
	close(link);
	close(cgroup);
	return us;
}

static int drop_record(void *context, void *record, size_t size)
{
	(void)context;
	(void)record;
	(void)size;
	return 0;
}

static volatile bool watching;

static void *watch(void *context)
{
	while (watching) {
		usleep(20000);
		ring_buffer__consume(ring);
	}
	return context;
}

/* A watcher that reads all there is and has nothing to say of it. */
static double watched(bool refusals)
{
	struct rd_watch *control = rd_datapath_maps(node.datapath)->watch;
	pthread_t thread;
	double us;

	watching = true;
	control->refusals = refusals;
	control->until_ns = now_ns() + 60000000000ULL;
	assert_int_equal(pthread_create(&thread, NULL, watch, NULL), 0);
	us = request_us();
	control->until_ns = 0;
	watching = false;
	pthread_join(thread, NULL);
	return us;
}

static double with_a_watcher(void)
{
	return watched(false);
}

static double with_a_watcher_of_refusals(void)
{
	return watched(true);
}

static const struct row {
	const char *what;
	double (*arm)(void);
	const char *target;
} rows[] = {
	{"the same again (the noise)", plainly, "-"},
	{"outcomes tracked", with_outcomes, "1.01"},
	{"a watcher of refusals", with_a_watcher_of_refusals, "1.01"},
	{"a watcher of every decision", with_a_watcher, "1.01"},
};

/* ---- the comparison ------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values)
{
	qsort(values, PAIRS, sizeof(*values), compare);
	return values[PAIRS / 2];
}

static void measure(const struct row *row)
{
	double without[PAIRS], with[PAIRS], ratios[PAIRS];
	double without_us, with_us, ratio;

	(void)row->arm();
	for (int i = 0; i < PAIRS; i++) {
		bool first = random() & 1;

		if (first)
			with[i] = row->arm();
		without[i] = plainly();
		if (!first)
			with[i] = row->arm();
		ratios[i] = with[i] / without[i];
	}
	without_us = median(without);
	with_us = median(with);
	ratio = median(ratios);
	printf("%-30s %8.2f %8.2f   %6.4f  %6.4f  %6.4f   %s\n", row->what, without_us, with_us,
	       ratios[PAIRS / 4], ratio, ratios[PAIRS * 3 / 4], row->target);
	fflush(stdout);
}

/* The program that the agent would leave attached: here it comes and goes. */
static void take_outcomes(void)
{
	for (size_t i = 0; i < rd_datapath_hooks(); i++) {
		struct rd_hook_state state = rd_datapath_hook("/sys/fs/bpf/redial", i);
		struct bpf_link *link;

		if (strcmp(state.name, "sockops"))
			continue;
		outcomes_program = bpf_prog_get_fd_by_id(state.program_id);
		link = bpf_link__open("/sys/fs/bpf/redial/links/sockops");
		assert_non_null(link);
		assert_int_equal(bpf_link__detach(link), 0);
		bpf_link__destroy(link);
	}
	assert_true(outcomes_program >= 0);
}

int main(void)
{
	pid_t server;

	sandbox_enter();
	node_open(&node, &(struct node_config){.socket_slots = 65536, .track_outcomes = true});
	take_outcomes();
	ring = ring_buffer__new(rd_datapath_maps(node.datapath)->fd[RD_MAP_EVENTS], drop_record,
				NULL, NULL);
	assert_non_null(ring);
	server = serve();
	node_serve(&node, &(struct service){.name = "web",
					    .address = "10.96.0.1:80",
					    .backends = {"10.244.0.1:8080"}});
	printf("%-30s %8s %8s   %24s   %s\n", "connect, 64 B there and back", "us", "with",
	       "ratio: quarter median three", "target");
	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++)
		measure(&rows[i]);
	ring_buffer__free(ring);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	node_close(&node);
	return 0;
}
