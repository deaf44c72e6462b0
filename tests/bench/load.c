// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * load.c - the benchmark's clients and servers. tests/bench/bench.py builds the
 * nodes and says what to measure; the measuring is here.
 *
 *   load serve NAME CPU              answer on port 8080, TCP and UDP, of every
 *                                    address this network namespace has
 *   load run PLAN CLIENT-CPU SERVER-CPU
 *                                    carry a plan out, print JSON
 *   load probe CPU ADDRESS PORT FIRST COUNT
 *                                    dial until one of COUNT addresses from
 *                                    FIRST on answers; print when
 *
 * A plan's lines:
 *
 *   path NAME NETNS CGROUP SERVER-PID SERVER-NAME KIND SERVICES ENDPOINTS
 *        KIND: direct, service, or udp-service where all Services are UDP's
 *        CGROUP: one, or several alike with commas between, of which each batch
 *        has one, drawn anew
 *   case NAME WORK hot|random|pod poll|sleep OPERATIONS ROUNDS RATE PATH,PATH,...
 *
 * Each batch has a process of its own, in its path's cgroup and network namespace,
 * all on one processor; the servers have the other. In each round every path of the
 * case gets a batch, in an order drawn anew; so what the machine does meanwhile
 * meets all of them, and ratios are taken within a round. A batch begins with
 * operations that are not counted and ends when the server has nothing left.
 *
 * Those who wait poll: to wake a processor costs more than most of what is
 * compared, on a virtual machine above all, and whether it is asleep depends on
 * how slow the path is. Where a case says "sleep", they sleep, as most programs
 * do.
 *
 * RATE 0: one operation after the other. Otherwise so many a second, each timed
 * from when it was due, however late it began.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))

/* The population's addresses: bench.py writes the same into manifests and rules.
 * Service i is at SERVICE_FIRST + i, its endpoint j at ENDPOINT_FIRST +
 * i * endpoints + j. */
#define SERVICE_FIRST 0x0a600100U /* 10.96.1.0 */
#define SERVICE_PORT 80
#define ENDPOINT_FIRST 0x0a810000U /* 10.129.0.0 */
#define ENDPOINT_PORT 8080

#define PATHS_MAX 64
#define CASES_MAX 128
#define OPERATIONS_MAX 100000
#define ROUNDS_MAX 10000
#define DESCRIPTORS_MAX 65536
#define BATCH_SECONDS_MAX 120
#define BULK_BYTES (1U << 20)
#define PATIENCE_NS 1000000000U
/* A server that polls does so for this long after its last request. */
#define POLL_NS 2000000U
/* A call too short for the clock is timed this many at once. */
#define CALLS_PER_SAMPLE 16

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("load: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(EXIT_FAILURE);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec time;

	if (clock_gettime(clock, &time))
		die("clock_gettime: %m");
	return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static uint32_t number(const char *text, uint32_t max)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || value > max)
		die("%s is no number up to %u", text, max);
	return (uint32_t)value;
}

static void pin(uint32_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("cannot run on processor %u: %m", cpu);
}

static struct sockaddr_in address_at(uint32_t address, uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
}

/* ---- what clients and servers say ------------------------------------------------- */

enum ask {
	ASK_ECHO,
	ASK_WHO,     /* answered with the server's name and the address it was dialled at */
	ASK_BULK,    /* BULK_BYTES follow; answered when they are there */
	ASK_NOTHING, /* not answered */
	ASK_POLL,    /* answered, and from then on the server polls for poll_ns */
};

struct message {
	uint32_t ask;
	uint32_t address; /* in network byte order */
	uint64_t cookie;
	uint32_t poll_ns;
	char server[44];
};

_Static_assert(sizeof(struct message) == 64, "a request has 64 bytes");

/* ---- the server ---------------------------------------------------------------------- */

struct peer {
	size_t have;
	size_t bulk_left;
	struct message message;
};

static struct peer peers[DESCRIPTORS_MAX];
static uint32_t poll_ns;

static void introduce(struct message *message, const char *name, struct in_addr address)
{
	message->address = address.s_addr;
	snprintf(message->server, sizeof(message->server), "%s", name);
}

static void answer(int fd, struct message *message, const char *name)
{
	struct sockaddr_in self;
	socklen_t length = sizeof(self);

	if (message->ask == ASK_WHO && !getsockname(fd, (struct sockaddr *)&self, &length))
		introduce(message, name, self.sin_addr);
	if (message->ask == ASK_POLL)
		poll_ns = message->poll_ns;
	(void)!send(fd, message, sizeof(*message), MSG_NOSIGNAL);
}

/* Read what there is. False: the peer is gone. */
static bool serve_peer(int fd, const char *name)
{
	static char sink[1 << 18];
	struct peer *peer = &peers[fd];
	ssize_t got;

	if (peer->bulk_left)
		got = recv(fd, sink,
			   peer->bulk_left < sizeof(sink) ? peer->bulk_left : sizeof(sink), 0);
	else
		got = recv(fd, (char *)&peer->message + peer->have,
			   sizeof(peer->message) - peer->have, 0);
	if (got <= 0)
		return got < 0 && errno == EAGAIN;
	if (peer->bulk_left) {
		peer->bulk_left -= (size_t)got;
		if (!peer->bulk_left)
			answer(fd, &peer->message, name);
		return true;
	}
	peer->have += (size_t)got;
	if (peer->have < sizeof(peer->message))
		return true;
	peer->have = 0;
	if (peer->message.ask == ASK_BULK)
		peer->bulk_left = BULK_BYTES;
	else
		answer(fd, &peer->message, name);
	return true;
}

static void serve_accept(int listener, int epoll)
{
	for (int i = 0; i < 64; i++) {
		struct epoll_event event = {.events = EPOLLIN};
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		if (fd >= DESCRIPTORS_MAX) {
			close(fd);
			continue;
		}
		peers[fd] = (struct peer){0};
		event.data.fd = fd;
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
			close(fd);
	}
}

/* A datagram is answered from the address it was sent to. */
static void serve_datagrams(int fd, const char *name)
{
	for (int i = 0; i < 64; i++) {
		struct message message;
		struct sockaddr_in from;
		char control[CMSG_SPACE(sizeof(struct in_pktinfo))];
		struct iovec bytes = {.iov_base = &message, .iov_len = sizeof(message)};
		struct msghdr header = {.msg_name = &from,
					.msg_namelen = sizeof(from),
					.msg_iov = &bytes,
					.msg_iovlen = 1,
					.msg_control = control,
					.msg_controllen = sizeof(control)};
		struct in_pktinfo info;
		struct cmsghdr *c;

		if (recvmsg(fd, &header, MSG_DONTWAIT) != sizeof(message))
			return;
		c = CMSG_FIRSTHDR(&header);
		if (message.ask == ASK_NOTHING || !c || c->cmsg_type != IP_PKTINFO)
			continue;
		memcpy(&info, CMSG_DATA(c), sizeof(info));
		if (message.ask == ASK_WHO)
			introduce(&message, name, info.ipi_addr);
		info = (struct in_pktinfo){.ipi_spec_dst = info.ipi_addr};
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		header.msg_flags = 0;
		(void)!sendmsg(fd, &header, MSG_NOSIGNAL);
	}
}

static int server_socket(int type)
{
	struct sockaddr_in any = address_at(INADDR_ANY, ENDPOINT_PORT);
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&any, sizeof(any)) ||
	    (type == SOCK_STREAM && listen(fd, 4096)))
		die("cannot serve: %m");
	return fd;
}

static int cmd_serve(char **arguments)
{
	const char *name = arguments[0];
	struct rlimit files;
	int listener = server_socket(SOCK_STREAM), datagrams = server_socket(SOCK_DGRAM);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[64] = {{.events = EPOLLIN}};
	uint64_t last = 0;

	pin(number(arguments[1], CPU_SETSIZE - 1));
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	for (int i = 0; i < 2; i++) {
		events[0].data.fd = i ? datagrams : listener;
		if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, events[0].data.fd, &events[0]))
			die("epoll: %m");
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		bool polls = now_ns() - last < poll_ns;
		int ready = epoll_wait(epoll, events, ARRAY_SIZE(events), polls ? 0 : -1);

		if (ready > 0)
			last = now_ns();
		for (int i = 0; i < ready; i++) {
			int fd = events[i].data.fd;

			if (fd == listener)
				serve_accept(listener, epoll);
			else if (fd == datagrams)
				serve_datagrams(datagrams, name);
			else if (!serve_peer(fd, name))
				close(fd);
		}
	}
}

/* ---- paths, cases, and what is between the processes --------------------------------- */

struct path {
	char name[32];
	char netns[96];
	char cgroups[1024]; /* with commas between them */
	pid_t server;
	char server_name[32];
	bool is_service; /* dial the Services' addresses, not their endpoints' */
	bool is_udp;	 /* all Services are UDP's; otherwise TCP's, the last one both */
	uint32_t services;
	uint32_t endpoints;

	pid_t pid;
	int go, done;	   /* pipes */
	uint32_t *samples; /* of the last batch, in ns; shared with its process */
};

enum target {
	TARGET_HOT,    /* the last Service */
	TARGET_RANDOM, /* any */
	TARGET_POD,    /* endpoints of the last Service, also where Services are served */
};

struct bench_case {
	char name[48];
	const struct work *work;
	enum target target;
	bool sleeps;
	uint32_t operations;
	uint32_t rounds;
	uint32_t rate;
	uint64_t paths; /* one bit each */
};

/* What a path's process says of a batch. */
struct report {
	uint64_t wall_ns;
	uint64_t client_ns; /* processor time */
	uint64_t server_ns;
	uint64_t softirq_ticks; /* of both processors */
	uint64_t instructions;	/* of both processors */
	uint32_t samples;
	uint32_t errors;
	char error[96]; /* of the first one */
};

static struct path paths[PATHS_MAX];
static size_t path_count;
static struct bench_case cases[CASES_MAX];
static size_t case_count;
static int counters[2] = {-1, -1}; /* instructions, per processor */
static uint32_t cpus[2];

/* ---- a path's process ------------------------------------------------------------------ */

struct client {
	const struct path *path;
	const struct bench_case *current;
	int fd;	       /* of work that keeps a socket */
	int wait_flag; /* of recv: MSG_DONTWAIT to poll */
	uint64_t random;
	clockid_t server_clock;
	struct report report;
};

static uint32_t draw(struct client *client, uint32_t below)
{
	client->random ^= client->random << 13;
	client->random ^= client->random >> 7;
	client->random ^= client->random << 17;
	return (uint32_t)((client->random >> 32) * below >> 32);
}

static struct sockaddr_in pod(struct client *client, uint32_t service)
{
	uint32_t endpoint = service * client->path->endpoints;

	return address_at(ENDPOINT_FIRST + endpoint + draw(client, client->path->endpoints),
			  ENDPOINT_PORT);
}

static struct sockaddr_in destination(struct client *client, enum target target)
{
	uint32_t service = client->path->services - 1;

	if (target == TARGET_RANDOM)
		service = draw(client, client->path->services);
	if (client->path->is_service && target != TARGET_POD)
		return address_at(SERVICE_FIRST + service, SERVICE_PORT);
	return pod(client, service);
}

static struct sockaddr_in next(struct client *client)
{
	return destination(client, client->current->target);
}

/* Close without TIME_WAIT, in the client and in connection tracking: otherwise
 * ports and entries, not paths, are what is measured in the end. */
static void reset(int fd)
{
	struct linger linger = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
}

static int dial(int type, const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)to, sizeof(*to))) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* Wait for an answer, asleep or not. From whom it is, if asked. */
static bool receive(const struct client *client, int fd, struct message *message,
		    struct sockaddr_in *ret_from)
{
	uint64_t began = now_ns();
	socklen_t length = sizeof(*ret_from);
	ssize_t got;

	do
		got = recvfrom(fd, message, sizeof(*message), client->wait_flag,
			       (struct sockaddr *)ret_from, ret_from ? &length : NULL);
	while (got < 0 && errno == EAGAIN && now_ns() - began < PATIENCE_NS);
	return got == sizeof(*message);
}

/* Send a message and wait for its answer. */
static bool exchange(const struct client *client, int fd, struct message *message)
{
	uint64_t cookie = message->cookie;

	if (send(fd, message, sizeof(*message), MSG_NOSIGNAL) != sizeof(*message) ||
	    !receive(client, fd, message, NULL))
		return false;
	errno = EPROTO;
	return message->cookie == cookie;
}

/* ---- work: each returns the ns of what is timed, or a negative number ------------------- */

static int64_t tcp_connect(struct client *client)
{
	struct sockaddr_in to = next(client);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t began = now_ns(), ended;
	int result = connect(fd, (struct sockaddr *)&to, sizeof(to));

	ended = now_ns();
	if (!result)
		reset(fd);
	else if (fd >= 0)
		close(fd);
	return result ? -1 : (int64_t)(ended - began);
}

static int64_t tcp_short(struct client *client)
{
	struct sockaddr_in to = next(client);
	struct message message = {.ask = ASK_ECHO, .cookie = client->random};
	uint64_t began = now_ns();
	int fd = dial(SOCK_STREAM, &to);
	bool done = fd >= 0 && exchange(client, fd, &message);

	if (fd >= 0)
		reset(fd);
	return done ? (int64_t)(now_ns() - began) : -1;
}

static int64_t request(struct client *client)
{
	struct message message = {.ask = ASK_ECHO, .cookie = client->random++};
	uint64_t began = now_ns();

	return exchange(client, client->fd, &message) ? (int64_t)(now_ns() - began) : -1;
}

static int64_t bulk(struct client *client)
{
	static const char bytes[1 << 18];
	struct message message = {.ask = ASK_BULK, .cookie = client->random++};
	uint64_t began = now_ns();

	if (send(client->fd, &message, sizeof(message), MSG_NOSIGNAL | MSG_MORE) < 0)
		return -1;
	for (size_t sent = 0; sent < BULK_BYTES; sent += sizeof(bytes))
		if (send(client->fd, bytes, sizeof(bytes), MSG_NOSIGNAL) != sizeof(bytes))
			return -1;
	if (!receive(client, client->fd, &message, NULL))
		return -1;
	return (int64_t)(now_ns() - began);
}

static int64_t udp_connect(struct client *client)
{
	struct sockaddr_in to = next(client);
	uint64_t began = now_ns();
	int fd = dial(SOCK_DGRAM, &to);

	if (fd < 0)
		return -1;
	close(fd);
	return (int64_t)(now_ns() - began);
}

static int64_t udp_echo(struct client *client)
{
	struct sockaddr_in to = next(client), from;
	struct message message = {.ask = ASK_ECHO, .cookie = client->random++};
	uint64_t cookie = message.cookie, began = now_ns(), ended;

	if (sendto(client->fd, &message, sizeof(message), 0, (struct sockaddr *)&to, sizeof(to)) <
		    0 ||
	    !receive(client, client->fd, &message, &from))
		return -1;
	ended = now_ns();
	errno = EPROTO;
	if (message.cookie != cookie || from.sin_addr.s_addr != to.sin_addr.s_addr)
		return -1;
	return (int64_t)(ended - began);
}

static int64_t udp_send(struct client *client)
{
	struct sockaddr_in to = next(client);
	struct message message = {.ask = ASK_NOTHING};
	uint64_t began = now_ns();

	if (sendto(client->fd, &message, sizeof(message), 0, (struct sockaddr *)&to, sizeof(to)) <
	    0)
		return -1;
	return (int64_t)(now_ns() - began);
}

static int64_t name_of_peer(struct client *client)
{
	struct sockaddr_in peer;
	uint64_t began = now_ns();

	for (int i = 0; i < CALLS_PER_SAMPLE; i++) {
		socklen_t length = sizeof(peer);

		if (getpeername(client->fd, (struct sockaddr *)&peer, &length))
			return -1;
	}
	return (int64_t)((now_ns() - began) / CALLS_PER_SAMPLE);
}

/* Sockets that a batch keeps. */
static int kept_tcp(struct client *client)
{
	struct sockaddr_in to = next(client);
	int fd = dial(SOCK_STREAM, &to), on = 1;

	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static int kept_udp(struct client *client)
{
	struct timeval patience = {.tv_sec = 1};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)client;
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

static int kept_udp_connected(struct client *client)
{
	struct sockaddr_in to = next(client);
	int fd = kept_udp(client);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return -1;
	return fd;
}

static const struct work {
	const char *name;
	int (*keep)(struct client *client); /* NULL: no socket is kept */
	int64_t (*operation)(struct client *client);
} works[] = {
	{.name = "tcp-connect", .operation = tcp_connect},
	{.name = "tcp-short", .operation = tcp_short},
	{.name = "tcp-kept", .keep = kept_tcp, .operation = request},
	{.name = "tcp-bulk", .keep = kept_tcp, .operation = bulk},
	{.name = "udp-connect", .operation = udp_connect},
	{.name = "udp-connected", .keep = kept_udp_connected, .operation = request},
	{.name = "udp-echo", .keep = kept_udp, .operation = udp_echo},
	{.name = "udp-send", .keep = kept_udp, .operation = udp_send},
	{.name = "getpeername", .keep = kept_tcp, .operation = name_of_peer},
};

/* ---- a batch --------------------------------------------------------------------------- */

static void failed(struct client *client, const char *what)
{
	if (!client->report.errors++)
		snprintf(client->report.error, sizeof(client->report.error), "%s: %s", what,
			 strerror(errno));
}

/* Tell the server for how long to poll. It has one queue: once a new connection
 * is answered, those before it have been dealt with. */
static void settle_server(struct client *client, uint32_t server_poll_ns)
{
	struct sockaddr_in to = pod(client, client->path->services - 1);
	struct message message = {.ask = ASK_POLL, .poll_ns = server_poll_ns};
	int fd = dial(SOCK_STREAM, &to);

	if (fd < 0 || !exchange(client, fd, &message))
		failed(client, "the server does not answer");
	if (fd >= 0)
		reset(fd);
}

/* Softirq time of the two processors, in clock ticks: of the lines "cpuN user
 * nice system idle iowait irq softirq". */
static uint64_t softirq_ticks(void)
{
	char text[4096], *line = text, *rest;
	int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
	ssize_t got = read(fd, text, sizeof(text) - 1);
	uint64_t sum = 0;

	close(fd);
	if (got < 0)
		die("/proc/stat: %m");
	text[got] = '\0';
	for (; line; line = rest) {
		unsigned cpu;
		uint64_t ticks;

		rest = strchr(line, '\n');
		if (rest)
			rest++;
		if (sscanf(line, "cpu%u %*u %*u %*u %*u %*u %*u %" SCNu64, &cpu, &ticks) == 2 &&
		    (cpu == cpus[0] || cpu == cpus[1]))
			sum += ticks;
	}
	return sum;
}

static uint64_t instructions(void)
{
	uint64_t sum = 0, value;

	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		if (counters[i] >= 0 && read(counters[i], &value, sizeof(value)) == sizeof(value))
			sum += value;
	return sum;
}

static void measure(struct client *client, uint32_t *samples)
{
	const struct bench_case *c = client->current;
	struct report *report = &client->report;
	uint64_t server, began, due;

	settle_server(client, c->sleeps ? 0 : POLL_NS);
	for (uint32_t i = 0; i < c->operations / 10 + 5; i++)
		if (c->work->operation(client) < 0)
			failed(client, c->name);
	settle_server(client, c->sleeps ? 0 : POLL_NS);
	report->softirq_ticks = softirq_ticks();
	report->instructions = instructions();
	server = clock_ns(client->server_clock);
	report->client_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	began = due = now_ns();
	for (uint32_t i = 0; i < c->operations; i++) {
		int64_t took;

		if (c->rate) {
			due += 1000000000U / c->rate;
			while (now_ns() < due)
				;
		}
		took = c->work->operation(client);
		if (took < 0) {
			failed(client, c->name);
			continue;
		}
		if (c->rate)
			took = (int64_t)(now_ns() - due);
		samples[report->samples++] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
	}
	report->wall_ns = now_ns() - began;
	report->client_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - report->client_ns;
	settle_server(client, 0);
	report->server_ns = clock_ns(client->server_clock) - server;
	report->instructions = instructions() - report->instructions;
	report->softirq_ticks = softirq_ticks() - report->softirq_ticks;
}

static void batch(struct client *client, uint32_t *samples)
{
	client->report = (struct report){0};
	client->wait_flag = client->current->sleeps ? 0 : MSG_DONTWAIT;
	client->fd = client->current->work->keep ? client->current->work->keep(client) : -1;
	if (client->current->work->keep && client->fd < 0)
		failed(client, "no socket");
	else
		measure(client, samples);
	if (client->fd >= 0)
		reset(client->fd);
}

/* ---- is the path what it is called? ------------------------------------------------------ */

/* One socket: it reaches an endpoint of what was dialled, on this path's own
 * server, and its peer is what was dialled. */
static void verify_one(struct client *client, enum target target, int type)
{
	struct sockaddr_in to = destination(client, target), peer;
	socklen_t length = sizeof(peer);
	struct timeval patience = {.tv_sec = 5};
	struct message message = {.ask = ASK_WHO};
	uint32_t first = ENDPOINT_FIRST, count = client->path->endpoints, reached;
	int fd = dial(type, &to);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (fd < 0 || getpeername(fd, (struct sockaddr *)&peer, &length) ||
	    !exchange(client, fd, &message))
		die("%s: %s does not answer: %m", client->path->name, inet_ntoa(to.sin_addr));
	reset(fd);
	reached = ntohl(message.address);
	if (ntohs(to.sin_port) == SERVICE_PORT) {
		first += (ntohl(to.sin_addr.s_addr) - SERVICE_FIRST) * count;
	} else {
		first = ntohl(to.sin_addr.s_addr);
		count = 1;
	}
	if (reached < first || reached >= first + count ||
	    strcmp(message.server, client->path->server_name))
		die("%s: a connection led to %s of %s", client->path->name,
		    inet_ntoa((struct in_addr){message.address}), message.server);
	if (peer.sin_addr.s_addr != to.sin_addr.s_addr || peer.sin_port != to.sin_port)
		die("%s: the peer is not what was dialled", client->path->name);
}

/* Where Services are not served, nobody answers at their addresses. */
static void verify_no_service(struct client *client)
{
	struct sockaddr_in to = address_at(SERVICE_FIRST, SERVICE_PORT);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct pollfd wait = {.fd = fd, .events = POLLOUT};
	int error = 0;
	socklen_t length = sizeof(error);

	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)
		error = errno;
	else if (poll(&wait, 1, 100))
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
	else
		error = ETIMEDOUT;
	close(fd);
	if (!error)
		die("%s: a Service answers where none is served", client->path->name);
}

static void verify(struct client *client)
{
	for (int i = 0; i < 100; i++) {
		verify_one(client, TARGET_POD, SOCK_STREAM);
		verify_one(client, TARGET_HOT, SOCK_DGRAM);
		verify_one(client, TARGET_RANDOM, client->path->is_udp ? SOCK_DGRAM : SOCK_STREAM);
		if (!client->path->is_udp)
			verify_one(client, TARGET_HOT, SOCK_STREAM);
	}
	if (!client->path->is_service)
		verify_no_service(client);
}

/* ---- the processes ----------------------------------------------------------------------- */

static void join_netns(const struct path *path)
{
	int fd = open(path->netns, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die("%s: %s: %m", path->name, path->netns);
	close(fd);
}

static void join_cgroup(const struct path *path, const char *cgroup)
{
	char procs[256];
	int fd;

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", cgroup);
	fd = open(procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		die("%s: %s: %m", path->name, procs);
	close(fd);
}

/* Fork; the parent waits for the child's end. Returns true in the child, which is
 * in this cgroup. */
static bool in_child(const struct path *path, const char *cgroup)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		die("%s: fork: %m", path->name);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		join_cgroup(path, cgroup);
		return true;
	}
	if (waitpid(child, &status, 0) != child || status)
		exit(EXIT_FAILURE);
	return false;
}

/* Where a process, a program and a map lie in memory makes them some per cent
 * faster or slower, and stays. So every batch has a process of its own, and a path
 * may have several cgroups with programs and maps of their own. */
static void run_client(const struct path *path, int go, int done)
{
	struct client client = {.path = path, .fd = -1};
	char *cgroups[8], *rest = (char *)path->cgroups;
	uint32_t cgroup_count = 0;
	char byte = 'v';
	uint8_t which;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	join_netns(path);
	pin(cpus[0]);
	if (getrandom(&client.random, sizeof(client.random), 0) != sizeof(client.random) ||
	    clock_getcpuclockid(path->server, &client.server_clock))
		die("%s: %m", path->name);
	client.random |= 1;
	while (rest && cgroup_count < ARRAY_SIZE(cgroups))
		cgroups[cgroup_count++] = strsep(&rest, ",");
	for (uint32_t i = 0; i < cgroup_count; i++) {
		if (!in_child(path, cgroups[i]))
			continue;
		verify(&client);
		exit(EXIT_SUCCESS);
	}
	if (write(done, &byte, 1) != 1)
		die("%s: %m", path->name);
	while (read(go, &which, 1) == 1) {
		if (!in_child(path, cgroups[draw(&client, cgroup_count)]))
			continue;
		client.current = &cases[which];
		batch(&client, path->samples);
		if (write(done, &client.report, sizeof(client.report)) != sizeof(client.report))
			die("%s: %m", path->name);
		exit(EXIT_SUCCESS);
	}
	exit(EXIT_SUCCESS);
}

/* Wait for bytes from a path's process. */
static void await(const struct path *path, void *bytes, size_t size)
{
	struct pollfd wait = {.fd = path->done, .events = POLLIN};

	if (poll(&wait, 1, BATCH_SECONDS_MAX * 1000) != 1)
		die("%s: no answer within %d s", path->name, BATCH_SECONDS_MAX);
	if (read(path->done, bytes, size) != (ssize_t)size)
		die("%s: its process has ended", path->name);
}

static void start_path(struct path *path)
{
	size_t size = OPERATIONS_MAX * sizeof(*path->samples);
	int go[2], done[2];
	char byte;

	path->samples = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (path->samples == MAP_FAILED || pipe2(go, O_CLOEXEC) || pipe2(done, O_CLOEXEC))
		die("%m");
	path->pid = fork();
	if (path->pid < 0)
		die("fork: %m");
	if (!path->pid) {
		close(go[1]);
		close(done[0]);
		run_client(path, go[0], done[1]);
	}
	close(go[0]);
	close(done[1]);
	path->go = go[1];
	path->done = done[0];
	await(path, &byte, 1);
}

/* ---- figures --------------------------------------------------------------------------------- */

struct figures {
	uint32_t *samples; /* of all rounds; those of a round are sorted */
	size_t count;
	struct report sum;
	double *median, *mean, *rate; /* of each round */
};

static void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory)
		die("out of memory");
	return memory;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Of sorted samples. */
static uint32_t quantile(const uint32_t *samples, size_t count, double q)
{
	size_t at = (size_t)(q * (double)count);

	return count ? samples[at < count ? at : count - 1] : 0;
}

static double mean(const uint32_t *samples, size_t count)
{
	double sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += samples[i];
	return count ? sum / (double)count : 0;
}

static void add_batch(struct figures *figures, uint32_t round, uint32_t *samples,
		      const struct report *report)
{
	qsort(samples, report->samples, sizeof(*samples), compare);
	memcpy(figures->samples + figures->count, samples, report->samples * sizeof(*samples));
	figures->count += report->samples;
	figures->median[round] = quantile(samples, report->samples, 0.5);
	figures->mean[round] = mean(samples, report->samples);
	figures->rate[round] = (double)report->samples * 1e9 / (double)report->wall_ns;
	figures->sum.client_ns += report->client_ns;
	figures->sum.server_ns += report->server_ns;
	figures->sum.softirq_ticks += report->softirq_ticks;
	figures->sum.instructions += report->instructions;
	if (!figures->sum.errors)
		memcpy(figures->sum.error, report->error, sizeof(report->error));
	figures->sum.errors += report->errors;
}

static void print_rounds(const char *name, const double *values, uint32_t rounds)
{
	printf(",\n   \"%s\": [", name);
	for (uint32_t i = 0; i < rounds; i++)
		printf("%s%.0f", i ? ", " : "", values[i]);
	putchar(']');
}

/* Of each round, what took longer than `least`; the slowest first. */
static void print_slow(const uint32_t *samples, size_t count, uint32_t rounds, uint32_t least)
{
	fputs(",\n   \"slow_rounds\": [", stdout);
	for (uint32_t round = 0; round < rounds; round++) {
		const uint32_t *first = samples + count * round / rounds;
		const uint32_t *end = samples + count * (round + 1) / rounds, *at;

		fputs(round ? ", [" : "[", stdout);
		for (at = end; at > first && at[-1] > least; at--)
			printf("%s%u", at == end ? "" : ", ", at[-1]);
		putchar(']');
	}
	putchar(']');
}

/* The upper end of the n-th bin: eight bins to each doubling. */
static uint64_t bin_end(unsigned n)
{
	return n < 8 ? n + 1 : (uint64_t)(n % 8 + 9) << (n / 8 - 1);
}

static void print_histogram(const uint32_t *samples, size_t count)
{
	const char *comma = "";

	fputs(",\n   \"histogram\": [", stdout);
	for (unsigned bin = 0, at = 0; at < count; bin++) {
		unsigned from = at;

		while (at < count && samples[at] < bin_end(bin))
			at++;
		if (at > from) {
			printf("%s[%" PRIu64 ", %u]", comma, bin_end(bin), at - from);
			comma = ", ";
		}
	}
	putchar(']');
}

static void print_figures(const struct path *path, struct figures *figures, uint32_t rounds)
{
	static const struct {
		const char *name;
		double q;
	} quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
	double operations = figures->count ? (double)figures->count : 1;
	uint32_t *sorted = allocate(figures->count + 1, sizeof(*sorted));
	const struct report *sum = &figures->sum;

	memcpy(sorted, figures->samples, figures->count * sizeof(*sorted));
	qsort(sorted, figures->count, sizeof(*sorted), compare);
	printf("  {\"path\": \"%s\", \"operations\": %zu, \"errors\": %u, \"error\": \"%s\"",
	       path->name, figures->count, sum->errors, sum->error);
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++)
		printf(", \"%s\": %u", quantiles[i].name,
		       quantile(sorted, figures->count, quantiles[i].q));
	printf(", \"mean\": %.1f,\n   \"client_ns\": %.1f, \"server_ns\": %.1f, \"softirq_ns\": "
	       "%.1f",
	       mean(figures->samples, figures->count), (double)sum->client_ns / operations,
	       (double)sum->server_ns / operations,
	       (double)sum->softirq_ticks * 1e9 / (double)sysconf(_SC_CLK_TCK) / operations);
	if (counters[0] >= 0)
		printf(", \"instructions\": %.0f", (double)sum->instructions / operations);
	print_rounds("median_rounds", figures->median, rounds);
	print_rounds("mean_rounds", figures->mean, rounds);
	print_rounds("per_second_rounds", figures->rate, rounds);
	/* Enough to find the p99 of any rounds among them. */
	print_slow(figures->samples, figures->count, rounds,
		   quantile(sorted, figures->count, 0.95));
	print_histogram(sorted, figures->count);
	putchar('}');
	free(sorted);
}

/* ---- the rounds -------------------------------------------------------------------- */

/* The case's paths, in an order drawn anew. */
static size_t shuffled(const struct bench_case *c, uint8_t *order)
{
	size_t count = 0;

	for (size_t i = 0; i < path_count; i++)
		if (c->paths & UINT64_C(1) << i)
			order[count++] = (uint8_t)i;
	for (size_t i = count; i > 1; i--) {
		size_t other = (size_t)random() % i;
		uint8_t swapped = order[i - 1];

		order[i - 1] = order[other];
		order[other] = swapped;
	}
	return count;
}

/* Returns how many operations failed. */
static uint64_t run_case(uint8_t which)
{
	const struct bench_case *c = &cases[which];
	struct figures *all = allocate(path_count, sizeof(*all));
	uint8_t order[PATHS_MAX];
	uint64_t errors = 0;
	const char *comma = "";

	for (size_t i = 0; i < path_count; i++) {
		all[i].samples = allocate((size_t)c->operations * c->rounds, sizeof(uint32_t));
		all[i].median = allocate(c->rounds, sizeof(double));
		all[i].mean = allocate(c->rounds, sizeof(double));
		all[i].rate = allocate(c->rounds, sizeof(double));
	}
	for (uint32_t round = 0; round < c->rounds; round++) {
		size_t count = shuffled(c, order);

		for (size_t i = 0; i < count; i++) {
			struct path *path = &paths[order[i]];
			struct report report;

			if (write(path->go, &which, 1) != 1)
				die("%s: %m", path->name);
			await(path, &report, sizeof(report));
			add_batch(&all[order[i]], round, path->samples, &report);
		}
	}
	printf(" {\"case\": \"%s\", \"rounds\": %u, \"batch\": %u, \"rate\": %u, \"asleep\": %s, "
	       "\"paths\": [\n",
	       c->name, c->rounds, c->operations, c->rate, c->sleeps ? "true" : "false");
	for (size_t i = 0; i < path_count; i++) {
		if (c->paths & UINT64_C(1) << i) {
			fputs(comma, stdout);
			print_figures(&paths[i], &all[i], c->rounds);
			comma = ",\n";
			errors += all[i].sum.errors;
			if (all[i].sum.errors)
				fprintf(stderr, "load: %s, %s: %u failed, the first: %s\n", c->name,
					paths[i].name, all[i].sum.errors, all[i].sum.error);
		}
		free(all[i].samples);
		free(all[i].median);
		free(all[i].mean);
		free(all[i].rate);
	}
	free(all);
	fputs("]}", stdout);
	fflush(stdout);
	return errors;
}

/* ---- the plan ---------------------------------------------------------------------- */

#define FIELDS_MAX 9

static void copy(char *to, size_t size, const char *from)
{
	if (strlen(from) >= size)
		die("too long: %s", from);
	memcpy(to, from, strlen(from) + 1);
}

static void read_path(char **fields)
{
	struct path *path = &paths[path_count++];

	if (path_count > PATHS_MAX)
		die("more than %d paths", PATHS_MAX);
	copy(path->name, sizeof(path->name), fields[1]);
	copy(path->netns, sizeof(path->netns), fields[2]);
	copy(path->cgroups, sizeof(path->cgroups), fields[3]);
	path->server = (pid_t)number(fields[4], INT32_MAX);
	copy(path->server_name, sizeof(path->server_name), fields[5]);
	path->is_udp = !strcmp(fields[6], "udp-service");
	path->is_service = path->is_udp || !strcmp(fields[6], "service");
	path->services = number(fields[7], 1 << 16);
	path->endpoints = number(fields[8], 1 << 10);
	if (!path->services || !path->endpoints)
		die("%s: without Services or endpoints", path->name);
}

static uint64_t read_path_names(char *names)
{
	uint64_t bits = 0;

	for (char *name = strsep(&names, ","); name; name = strsep(&names, ",")) {
		size_t i = 0;

		while (i < path_count && strcmp(paths[i].name, name))
			i++;
		if (i == path_count)
			die("no path is called %s", name);
		bits |= UINT64_C(1) << i;
	}
	return bits;
}

static void read_case(char **fields)
{
	static const char *const targets[] = {"hot", "random", "pod"};
	struct bench_case *c = &cases[case_count++];
	size_t target = 0, work = 0;

	if (case_count > CASES_MAX)
		die("more than %d cases", CASES_MAX);
	copy(c->name, sizeof(c->name), fields[1]);
	while (work < ARRAY_SIZE(works) && strcmp(works[work].name, fields[2]))
		work++;
	while (target < ARRAY_SIZE(targets) && strcmp(targets[target], fields[3]))
		target++;
	if (work == ARRAY_SIZE(works) || target == ARRAY_SIZE(targets))
		die("%s: no such work or target", c->name);
	c->work = &works[work];
	c->target = (enum target)target;
	c->sleeps = !strcmp(fields[4], "sleep");
	c->operations = number(fields[5], OPERATIONS_MAX);
	c->rounds = number(fields[6], ROUNDS_MAX);
	c->rate = number(fields[7], 1000000000);
	c->paths = read_path_names(fields[8]);
}

static void read_plan(const char *name)
{
	FILE *file = fopen(name, "re");
	char line[4096];

	if (!file)
		die("%s: %m", name);
	while (fgets(line, sizeof(line), file)) {
		char *fields[FIELDS_MAX + 1] = {0}, *rest = line;
		size_t count = 0;

		line[strcspn(line, "\n")] = '\0';
		while (count <= FIELDS_MAX && (fields[count] = strsep(&rest, " ")))
			count++;
		if (count == 9 && !strcmp(fields[0], "path"))
			read_path(fields);
		else if (count == 9 && !strcmp(fields[0], "case"))
			read_case(fields);
		else
			die("%s: not understood: %s", name, line);
	}
	fclose(file);
}

/* Instructions of everything on a processor, where the machine counts them. */
static int open_counter(uint32_t cpu)
{
	struct perf_event_attr attributes = {.type = PERF_TYPE_HARDWARE,
					     .size = sizeof(attributes),
					     .config = PERF_COUNT_HW_INSTRUCTIONS};

	return (int)syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

static int cmd_run(char **arguments)
{
	uint64_t errors = 0;

	for (size_t i = 0; i < 2; i++) {
		cpus[i] = number(arguments[1 + i], CPU_SETSIZE - 1);
		counters[i] = open_counter(cpus[i]);
	}
	read_plan(arguments[0]);
	srandom((unsigned)now_ns());
	for (size_t i = 0; i < path_count; i++)
		start_path(&paths[i]);
	puts("[");
	for (size_t i = 0; i < case_count; i++) {
		fprintf(stderr, "  %s\n", cases[i].name);
		if (i)
			puts(",");
		errors += run_case((uint8_t)i);
	}
	puts("\n]");
	if (errors)
		fprintf(stderr, "load: %" PRIu64 " operations failed\n", errors);
	return errors ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- the probe --------------------------------------------------------------------- */

/* One attempt, of 2 ms at most for each step. Returns the address that answered, 0: none. */
static uint32_t probe_once(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct pollfd wait = {.fd = fd, .events = POLLOUT};
	struct message message = {.ask = ASK_WHO};
	uint32_t reached = 0;

	if (fd < 0)
		die("socket: %m");
	(void)!connect(fd, (const struct sockaddr *)to, sizeof(*to));
	if (poll(&wait, 1, 2) == 1 &&
	    send(fd, &message, sizeof(message), MSG_NOSIGNAL) == sizeof(message)) {
		wait.events = POLLIN;
		if (poll(&wait, 1, 2) == 1 &&
		    recv(fd, &message, sizeof(message), 0) == sizeof(message))
			reached = ntohl(message.address);
	}
	reset(fd);
	return reached;
}

static int cmd_probe(char **arguments)
{
	struct in_addr address, first;
	struct sockaddr_in to;
	uint32_t count, reached;
	uint64_t began, attempts = 0;

	pin(number(arguments[0], CPU_SETSIZE - 1));
	if (inet_pton(AF_INET, arguments[1], &address) != 1 ||
	    inet_pton(AF_INET, arguments[3], &first) != 1)
		die("no address: %s or %s", arguments[1], arguments[3]);
	to = address_at(ntohl(address.s_addr), (uint16_t)number(arguments[2], UINT16_MAX));
	count = number(arguments[4], 1 << 16);
	(void)probe_once(&to);
	puts("ready");
	fflush(stdout);
	began = now_ns();
	do {
		reached = probe_once(&to);
		attempts++;
	} while (reached < ntohl(first.s_addr) || reached >= ntohl(first.s_addr) + count);
	printf("%" PRIu64 " %" PRIu64 "\n", now_ns(), (now_ns() - began) / attempts);
	return EXIT_SUCCESS;
}

/* ---- commands ---------------------------------------------------------------------- */

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int arguments;
		int (*run)(char **arguments);
	} commands[] = {{"serve", 2, cmd_serve}, {"run", 3, cmd_run}, {"probe", 5, cmd_probe}};

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (argc == commands[i].arguments + 2 && !strcmp(argv[1], commands[i].name))
			return commands[i].run(argv + 2);
	die("usage: serve NAME CPU | run PLAN CPU CPU | probe CPU ADDRESS PORT FIRST COUNT");
}
