// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "sandbox.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sockets.h"
#include "system.h"

#define PODS 8

static char cgroup[512];
static const char bpffs[] = "/sys/fs/bpf/redial";

static void die(const char *what)
{
	perror(what);
	_exit(1);
}

/* ---- the sandbox ------------------------------------------------------------------ */

void join_cgroup(const char *path)
{
	char file[600];
	FILE *procs;

	snprintf(file, sizeof(file), "%s/cgroup.procs", path);
	procs = fopen(file, "w");
	if (!procs || fprintf(procs, "0\n") < 0 || fclose(procs))
		die(file);
}

const char *sandbox_cgroup(void)
{
	return cgroup;
}

static void make_cgroup(void)
{
	const char *parent = getenv("REDIAL_TEST_CGROUP");
	char *mount = rd_cgroup2_mount();

	if (!parent)
		parent = mount;
	if (!parent)
		die("no cgroup2");
	snprintf(cgroup, sizeof(cgroup), "%s/redial-test-datapath.%d", parent, (int)getpid());
	free(mount);
	if (mkdir(cgroup, 0755))
		die(cgroup);
}

static void add_address(const char *address)
{
	char command[128];

	snprintf(command, sizeof(command), "ip addr add %s dev lo%s", address,
		 strchr(address, ':') ? " nodad" : "");
	if (system(command))
		die(command);
}

static void make_pods(void)
{
	struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (ioctl(fd, SIOCSIFFLAGS, &up))
		die("lo up");
	close(fd);
	for (int i = 1; i <= PODS; i++) {
		char address[64];

		snprintf(address, sizeof(address), "10.244.0.%d/32", i);
		add_address(address);
		snprintf(address, sizeof(address), "fd00:244::%d/128", i);
		add_address(address);
	}
}

void sandbox_new_netns(void)
{
	if (unshare(CLONE_NEWNET))
		die("unshare");
	make_pods();
}

static void wait_and_exit(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	/* A test that died may have left one below. The kernel lets go of a dead
	 * process's cgroup a moment later. */
	for (int i = 0; rmdir(cgroup) && errno == EBUSY && i < 1000; i++)
		usleep(1000);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

void sandbox_enter(void)
{
	pid_t child;

	make_cgroup();
	child = fork();
	if (child < 0)
		die("fork");
	if (child)
		wait_and_exit(child);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	join_cgroup(cgroup);
	if (unshare(CLONE_NEWNS | CLONE_NEWNET))
		die("unshare: run as root");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL))
		die("mount bpf");
	make_pods();
}

static bool has_rdonly_cast = true;

void sandbox_old_kernel(void)
{
	has_rdonly_cast = false;
}

/* In the place of libbpf's: see WRAP in the Makefile. */
__s32 __real_btf__find_by_name_kind(const struct btf *btf, const char *name, __u32 kind);
__s32 __wrap_btf__find_by_name_kind(const struct btf *btf, const char *name, __u32 kind);
__s32 __wrap_btf__find_by_name_kind(const struct btf *btf, const char *name, __u32 kind)
{
	if (!has_rdonly_cast && !strcmp(name, "bpf_rdonly_cast"))
		return -ENOENT;
	return __real_btf__find_by_name_kind(btf, name, kind);
}

/* ---- the datapath ------------------------------------------------------------------ */

void node_open(struct node *node, const struct node_config *config)
{
	struct rd_datapath_config datapath = {
		.bpffs = bpffs,
		.cgroup = cgroup,
		.max_services = config->max_services ?: 64,
		.max_backends = config->max_backends ?: 256,
		.socket_slots = config->socket_slots ?: 1024,
		.track_outcomes = config->track_outcomes,
		.exclude_cgroups = (const char *const[]){config->exclude_cgroup, NULL},
		.exclude_netns = (const char *const[]){config->exclude_netns, NULL},
	};
	struct rd_limits limits;
	struct rd_error error = {0};

	if (rd_datapath_open(&datapath, &node->datapath, &error))
		fail_msg("%s", error.text);
	limits = rd_maps_limits(rd_datapath_maps(node->datapath));
	assert_int_equal(rd_plan_new(&node->plan, &limits), 0);
	assert_int_equal(rd_maps_adopt(rd_datapath_maps(node->datapath), &node->plan), 0);
	if (rd_datapath_attach(node->datapath, &error))
		fail_msg("%s", error.text);
}

void node_abandon(struct node *node)
{
	rd_plan_free(&node->plan);
	rd_datapath_close(node->datapath);
	node->datapath = NULL;
}

void node_close(struct node *node)
{
	struct rd_error error = {0};
	bool done;

	node_abandon(node);
	if (rd_datapath_cleanup(bpffs, &done, &error))
		fail_msg("%s", error.text);
	assert_true(done);
}

uint64_t node_apply(struct node *node)
{
	const struct rd_ops *ops;
	uint64_t writes;

	assert_int_equal(rd_plan_take_ops(&node->plan, &ops), 0);
	assert_int_equal(rd_maps_apply(rd_datapath_maps(node->datapath), &node->plan, ops, &writes),
			 0);
	rd_plan_applied(&node->plan);
	return writes;
}

void node_grace(struct node *node)
{
	assert_int_equal(rd_wait_for_programs(), 0);
	rd_maps_fold(rd_datapath_maps(node->datapath), &node->plan);
	rd_plan_grace(&node->plan);
}

static struct rd_backend backend_from(const char *text)
{
	socklen_t length;
	struct sockaddr_storage address = address_of(text, &length);
	struct rd_backend backend = {0};

	if (address.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&address;

		backend.ip.family = RD_FAMILY_4;
		memcpy(backend.ip.bytes, &in->sin_addr, 4);
		backend.port = ntohs(in->sin_port);
	} else {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address;

		backend.ip.family = RD_FAMILY_6;
		memcpy(backend.ip.bytes, &in6->sin6_addr, 16);
		backend.port = ntohs(in6->sin6_port);
	}
	return backend;
}

static int compare_backends(const void *a, const void *b)
{
	const struct rd_backend *x = a, *y = b;

	return rd_ip_compare(&x->ip, &y->ip) ?: (int)x->port - (int)y->port;
}

int node_plan(struct node *node, const struct service *service)
{
	struct rd_backend front = backend_from(service->address);
	struct rd_backend also = service->also ? backend_from(service->also) : front;
	struct rd_backend backends[PODS + 1];
	struct rd_object object = {
		.kind = RD_SERVICE,
		.namespace = (char *)"test",
		.name = (char *)service->name,
		.service.affinity_seconds = service->affinity_seconds,
	};
	struct rd_wanted_set set = {.family = front.ip.family, .backends = backends};
	struct rd_ip any = {.family = front.ip.family};
	struct rd_wanted_frontend frontends[] = {
		{.ip = service->scope == RD_SCOPE_NODE_PORT ? any : front.ip,
		 .port = front.port,
		 .scope = service->scope,
		 .flags = service->flags},
		{.ip = also.ip, .port = also.port, .flags = service->flags},
	};
	struct rd_wanted_port port = {
		.name = "",
		.port = front.port,
		.protocol = service->protocol ?: IPPROTO_TCP,
		.sets = &set,
		.n_sets = 1,
		.frontends = frontends,
		.n_frontends = service->also ? 2 : 1,
	};
	struct rd_wanted wanted = {.service = &object, .ports = &port, .n_ports = 1};
	struct rd_error error;
	int r;

	object.service.cluster_ip[front.ip.family == RD_FAMILY_6] = front.ip;
	for (; service->backends[set.n]; set.n++)
		backends[set.n] = backend_from(service->backends[set.n]);
	qsort(backends, set.n, sizeof(*backends), compare_backends);
	r = rd_plan_service(&node->plan, &wanted, &error);
	if (r == -ENOSPC && rd_plan_limbo(&node->plan)) {
		node_grace(node);
		r = rd_plan_service(&node->plan, &wanted, &error);
	}
	return r;
}

void node_add_address(struct node *node, const char *address, enum rd_node what)
{
	struct rd_ip ip;

	assert_int_equal(rd_ip_parse(address, &ip), 0);
	assert_int_equal(rd_plan_node(&node->plan, &ip, what), 0);
	node_apply(node);
}

void node_serve(struct node *node, const struct service *service)
{
	assert_int_equal(node_plan(node, service), 0);
	node_apply(node);
}

void node_remove(struct node *node, const char *name)
{
	assert_int_equal(rd_plan_remove(&node->plan, "test", name), 0);
	node_apply(node);
}

static void count(void *context, const struct rd_socket *record)
{
	(void)record;
	++*(uint32_t *)context;
}

uint32_t node_count_records(struct node *node)
{
	uint32_t n = 0;

	assert_int_equal(rd_sockets_each(bpffs, rd_datapath_maps(node->datapath), count, &n), 0);
	return n;
}

uint32_t node_sweep(struct node *node)
{
	int n = rd_sockets_sweep(bpffs, rd_datapath_maps(node->datapath));

	assert_true(n >= 0);
	return (uint32_t)n;
}

/* ---- sockets ------------------------------------------------------------------------ */

struct sockaddr_storage address_of(const char *text, socklen_t *ret_length)
{
	struct sockaddr_storage storage = {0};
	const char *colon = strrchr(text, ':');
	bool v6 = *text == '[';
	char host[64];
	int ok;

	snprintf(host, sizeof(host), "%.*s", (int)(colon - text) - 2 * v6, text + v6);
	if (v6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&storage;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)atoi(colon + 1));
		ok = inet_pton(AF_INET6, host, &in6->sin6_addr);
		*ret_length = sizeof(*in6);
	} else {
		struct sockaddr_in *in = (struct sockaddr_in *)&storage;

		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)atoi(colon + 1));
		ok = inet_pton(AF_INET, host, &in->sin_addr);
		*ret_length = sizeof(*in);
	}
	assert_int_equal(ok, 1);
	return storage;
}

static int new_socket(const char *address, int type)
{
	int fd = socket(*address == '[' ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

int listen_on(const char *address, int type)
{
	int fd = new_socket(address, type), on = 1;
	socklen_t length;
	struct sockaddr_storage storage = address_of(address, &length);

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&storage, length), 0);
	if ((type & ~SOCK_NONBLOCK) == SOCK_STREAM)
		assert_int_equal(listen(fd, 4096), 0);
	return fd;
}

int dial(int fd, const char *address)
{
	socklen_t length;
	struct sockaddr_storage storage = address_of(address, &length);

	return connect(fd, (struct sockaddr *)&storage, length) ? -errno : 0;
}

int dialled(const char *address, int type)
{
	int fd = new_socket(address, type);

	assert_int_equal(dial(fd, address), 0);
	return fd;
}

static const char *text_of(const struct sockaddr_storage *storage)
{
	static _Thread_local char text[2][80];
	static _Thread_local int turn;
	char host[64], *out = text[turn++ % 2];

	if (storage->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)storage;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(out, sizeof(text[0]), "%s:%u", host, ntohs(in->sin_port));
	} else {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)storage;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(out, sizeof(text[0]), "[%s]:%u", host, ntohs(in6->sin6_port));
	}
	return out;
}

const char *peer_of(int fd)
{
	struct sockaddr_storage storage = {0};
	socklen_t length = sizeof(storage);

	return getpeername(fd, (struct sockaddr *)&storage, &length) ? "" : text_of(&storage);
}

int send_to(int fd, const char *address)
{
	socklen_t length;
	struct sockaddr_storage storage = address_of(address, &length);

	return sendto(fd, "x", 1, 0, (struct sockaddr *)&storage, length) == 1 ? 0 : -errno;
}

const char *receive_from(int fd)
{
	struct sockaddr_storage storage = {0};
	socklen_t length = sizeof(storage);
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	char byte;

	assert_int_equal(poll(&ready, 1, 5000), 1);
	assert_int_equal(recvfrom(fd, &byte, 1, 0, (struct sockaddr *)&storage, &length), 1);
	return text_of(&storage);
}

void echo(int server)
{
	struct sockaddr_storage storage;
	socklen_t length = sizeof(storage);
	struct pollfd ready = {.fd = server, .events = POLLIN};
	char byte;

	assert_int_equal(poll(&ready, 1, 5000), 1);
	assert_int_equal(recvfrom(server, &byte, 1, 0, (struct sockaddr *)&storage, &length), 1);
	assert_int_equal(sendto(server, &byte, 1, 0, (struct sockaddr *)&storage, length), 1);
}

const char *backend_of(struct node *node, int fd)
{
	static _Thread_local char text[RD_IP_PORT_TEXT];
	struct rd_maps *maps = rd_datapath_maps(node->datapath);
	struct rd_socket record = {0};
	struct stat stat;
	struct rd_ip ip;

	assert_int_equal(fstat(fd, &stat), 0);
	if (!rd_maps_socket_of(maps, stat.st_ino, &record))
		if (bpf_map_lookup_elem(maps->fd[RD_MAP_SPILL], &fd, &record))
			return "";
	ip = rd_ip_from_bytes(record.family == RD_IPV4 ? RD_FAMILY_4 : RD_FAMILY_6,
			      record.backend_addr);
	return rd_ip_port_format(&ip, record.backend_port, text);
}

void close_all(int fd, ...)
{
	va_list fds;

	va_start(fds, fd);
	for (; fd >= 0; fd = va_arg(fds, int))
		close(fd);
	va_end(fds);
}
