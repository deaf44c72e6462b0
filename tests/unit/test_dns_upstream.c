// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Servers on the loopback interface, in the same event loop as what asks them.
 * The clock and the time-outs of events are this file's own, so that no test
 * has to wait.
 */
#include "unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns_message.h"
#include "dns_upstream.h"
#include "unit/alloc_fail.h"

/* ---- time, and what the system refuses ------------------------------------------------ */

#define SECOND 1000000000ULL

static uint64_t monotonic;
static unsigned timeouts;	 /* timers begun */
static unsigned events_to_fail;	 /* the nth event_add from now fails; 0: none */
static unsigned sockets_to_fail; /* so many sockets from now are refused */
static unsigned chances_to_fail; /* random numbers */

uint64_t __wrap_rd_monotonic_ns(void);
int __real_event_add(struct event *event, const struct timeval *patience);
int __wrap_event_add(struct event *event, const struct timeval *patience);
int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);
ssize_t __real_getrandom(void *buffer, size_t n, unsigned flags);
ssize_t __wrap_getrandom(void *buffer, size_t n, unsigned flags);

uint64_t __wrap_rd_monotonic_ns(void)
{
	return monotonic;
}

/* What waits for seconds waits for a moment. */
int __wrap_event_add(struct event *event, const struct timeval *patience)
{
	static const struct timeval moment = {.tv_usec = 30000};

	if (events_to_fail && !--events_to_fail) {
		errno = ENOMEM;
		return -1;
	}
	timeouts += patience != NULL;
	return __real_event_add(event, patience ? &moment : NULL);
}

int __wrap_socket(int family, int type, int protocol)
{
	if (sockets_to_fail) {
		sockets_to_fail--;
		errno = EMFILE;
		return -1;
	}
	return __real_socket(family, type, protocol);
}

ssize_t __wrap_getrandom(void *buffer, size_t n, unsigned flags)
{
	if (chances_to_fail) {
		chances_to_fail--;
		errno = EAGAIN;
		return -1;
	}
	return __real_getrandom(buffer, n, flags);
}

/* ---- servers ----------------------------------------------------------------------------- */

static struct event_base *base;

struct server;

/* What a server does with a query; @wire has room for any message. */
typedef void (*does)(struct server *server, uint8_t *wire, size_t n);

struct server {
	int udp, tcp, connection;
	uint16_t port;
	struct event on_udp, on_tcp, on_connection;
	does over_udp, over_tcp;
	struct sockaddr_in client;
	unsigned asked, asked_by_tcp;
	uint16_t id, client_port; /* of the last query */
	uint8_t query[600];
	size_t n_query;
};

static struct server servers[3];

static void answer(struct server *server, const uint8_t *wire, size_t n)
{
	assert_int_equal(sendto(server->udp, wire, n, 0, (struct sockaddr *)&server->client,
				sizeof(server->client)),
			 n);
}

/* Whoever asked may have given up. */
static void answer_by_tcp(struct server *server, const uint8_t *wire, size_t n)
{
	uint8_t length[2];

	rd_dns_put16(length, (uint16_t)n);
	(void)!send(server->connection, length, 2, MSG_NOSIGNAL);
	(void)!send(server->connection, wire, n, MSG_NOSIGNAL);
}

static void heard(struct server *server, const uint8_t *wire, size_t n)
{
	assert_true(n <= sizeof(server->query));
	memcpy(server->query, wire, n);
	server->n_query = n;
	server->id = rd_dns_get16(wire);
}

static void on_udp(evutil_socket_t fd, short what, void *context)
{
	struct server *server = context;
	uint8_t wire[65536];
	socklen_t size = sizeof(server->client);
	ssize_t n = recvfrom(fd, wire, sizeof(wire), 0, (struct sockaddr *)&server->client, &size);

	(void)what;
	assert_true(n >= RD_DNS_HEADER);
	server->asked++;
	server->client_port = ntohs(server->client.sin_port);
	heard(server, wire, (size_t)n);
	if (server->over_udp)
		server->over_udp(server, wire, (size_t)n);
}

static void hang_up(struct server *server)
{
	if (server->connection < 0)
		return;
	event_del(&server->on_connection);
	close(server->connection);
	server->connection = -1;
}

static void on_connection(evutil_socket_t fd, short what, void *context)
{
	struct server *server = context;
	uint8_t wire[65536];
	ssize_t n = recv(fd, wire, sizeof(wire), MSG_DONTWAIT);

	(void)what;
	if (n <= 0) {
		hang_up(server);
		return;
	}
	assert_int_equal(n, 2 + rd_dns_get16(wire));
	server->asked_by_tcp++;
	heard(server, wire + 2, (size_t)n - 2);
	memmove(wire, wire + 2, (size_t)n - 2);
	if (server->over_tcp)
		server->over_tcp(server, wire, (size_t)n - 2);
}

static void on_tcp(evutil_socket_t fd, short what, void *context)
{
	struct server *server = context;

	(void)what;
	hang_up(server);
	server->connection = accept(fd, NULL, NULL);
	assert_true(server->connection >= 0);
	event_assign(&server->on_connection, base, server->connection, EV_READ | EV_PERSIST,
		     on_connection, server);
	__real_event_add(&server->on_connection, NULL);
}

static int bound(int type, uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = __real_socket(AF_INET, type | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		return -1;
	}
	return fd;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in address;
	socklen_t n = sizeof(address);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
	return ntohs(address.sin_port);
}

/* The same port for both, whoever else has which. */
static void open_server(struct server *server)
{
	memset(server, 0, sizeof(*server));
	server->connection = server->tcp = -1;
	for (int i = 0; i < 100 && server->tcp < 0; i++) {
		if (i)
			close(server->udp);
		server->udp = bound(SOCK_DGRAM, 0);
		server->port = port_of(server->udp);
		server->tcp = bound(SOCK_STREAM, server->port);
	}
	assert_int_equal(listen(server->tcp, 8), 0);
	event_assign(&server->on_udp, base, server->udp, EV_READ | EV_PERSIST, on_udp, server);
	event_assign(&server->on_tcp, base, server->tcp, EV_READ | EV_PERSIST, on_tcp, server);
	__real_event_add(&server->on_udp, NULL);
	__real_event_add(&server->on_tcp, NULL);
}

/* Whoever asks it meets nobody. */
static void close_udp(struct server *server)
{
	if (server->udp < 0)
		return;
	event_del(&server->on_udp);
	close(server->udp);
	server->udp = -1;
}

static void close_tcp(struct server *server)
{
	hang_up(server);
	if (server->tcp < 0)
		return;
	event_del(&server->on_tcp);
	close(server->tcp);
	server->tcp = -1;
}

/* ---- what servers do ------------------------------------------------------------------------ */

static void respond(uint8_t *wire, uint16_t flags)
{
	rd_dns_put16(wire + 2, (uint16_t)(RD_DNS_QR | RD_DNS_RD | RD_DNS_RA | flags));
}

/* A larger message than the query, for its last byte to be seen. */
static size_t add_mark(uint8_t *wire, size_t n, uint8_t mark)
{
	wire[n] = mark;
	return n + 1;
}

static void answers(struct server *server, uint8_t *wire, size_t n)
{
	respond(wire, 0);
	answer(server, wire, add_mark(wire, n, (uint8_t)(1 + (server - servers))));
}

static void answers_in_capitals(struct server *server, uint8_t *wire, size_t n)
{
	for (size_t i = RD_DNS_HEADER; i < n - 4; i++)
		if (wire[i] >= 'a' && wire[i] <= 'z')
			wire[i] ^= 0x20;
	answers(server, wire, n);
}

static void fails(struct server *server, uint8_t *wire, size_t n)
{
	respond(wire, RD_DNS_SERVFAIL);
	answer(server, wire, add_mark(wire, n, (uint8_t)(1 + (server - servers))));
}

static void refuses(struct server *server, uint8_t *wire, size_t n)
{
	respond(wire, RD_DNS_REFUSED);
	answer(server, wire, add_mark(wire, n, (uint8_t)(1 + (server - servers))));
}

static void denies_existence(struct server *server, uint8_t *wire, size_t n)
{
	respond(wire, RD_DNS_NXDOMAIN);
	answer(server, wire, add_mark(wire, n, (uint8_t)(1 + (server - servers))));
}

static void refuses_without_question(struct server *server, uint8_t *wire, size_t n)
{
	(void)n;
	respond(wire, RD_DNS_FORMERR);
	rd_dns_put16(wire + 4, 0);
	answer(server, wire, RD_DNS_HEADER);
}

static void truncates(struct server *server, uint8_t *wire, size_t n)
{
	respond(wire, RD_DNS_TC);
	answer(server, wire, n);
}

static void answers_by_tcp(struct server *server, uint8_t *wire, size_t n)
{
	respond(wire, 0);
	answer_by_tcp(server, wire, add_mark(wire, n, (uint8_t)(11 + (server - servers))));
}

static void truncates_by_tcp(struct server *server, uint8_t *wire, size_t n)
{
	respond(wire, RD_DNS_TC);
	answer_by_tcp(server, wire, n);
}

static void answers_all_by_tcp(struct server *server, uint8_t *wire, size_t n)
{
	static uint8_t large[RD_DNS_TCP_MAX];

	memcpy(large, wire, n);
	memset(large + n, 0x55, sizeof(large) - n);
	respond(large, 0);
	answer_by_tcp(server, large, sizeof(large));
}

static void answers_by_tcp_with_wrong_id(struct server *server, uint8_t *wire, size_t n)
{
	respond(wire, 0);
	wire[0] ^= 1;
	answer_by_tcp(server, wire, n);
}

static void promises_too_little(struct server *server, uint8_t *wire, size_t n)
{
	(void)wire;
	(void)n;
	assert_int_equal(send(server->connection, "\0\013xxxxxxxxxxx", 13, MSG_NOSIGNAL), 13);
}

static void hangs_up_halfway(struct server *server, uint8_t *wire, size_t n)
{
	uint8_t length[2] = {0, 200};

	respond(wire, 0);
	assert_int_equal(send(server->connection, length, 2, MSG_NOSIGNAL), 2);
	assert_int_equal(send(server->connection, wire, n, MSG_NOSIGNAL), n);
	hang_up(server);
}

static void hangs_up(struct server *server, uint8_t *wire, size_t n)
{
	(void)wire;
	(void)n;
	hang_up(server);
}

/* All that is no answer, and then one. */
static void is_imitated(struct server *server, uint8_t *wire, size_t n)
{
	int other = bound(SOCK_DGRAM, 0);

	respond(wire, 0);
	assert_int_equal(sendto(other, wire, n, 0, (struct sockaddr *)&server->client,
				sizeof(server->client)),
			 n);
	close(other);
	wire[1] ^= 1;
	answer(server, wire, n); /* another id */
	wire[1] ^= 1;
	wire[13] ^= 1;
	answer(server, wire, n); /* another name */
	wire[13] ^= 1;
	wire[n - 3] ^= 1;
	answer(server, wire, n); /* another type */
	wire[n - 3] ^= 1;
	wire[5] = 2;
	answer(server, wire, n); /* two questions */
	wire[5] = 0;
	answer(server, wire, n); /* none */
	wire[5] = 1;
	answer(server, wire, n - 1); /* cut */
	answer(server, wire, 11);
	answer(server, wire, 0);
	rd_dns_put16(wire + 2, RD_DNS_RD);
	answer(server, wire, n); /* a query */
	rd_dns_put16(wire + 2, RD_DNS_QR | 0x2000);
	answer(server, wire, n); /* an answer to something else than a query */
	answers(server, wire, n);
}

static void is_flooded(struct server *server, uint8_t *wire, size_t n)
{
	respond(wire, 0);
	for (int i = 0; i < 40; i++) {
		wire[1]++;
		answer(server, wire, n);
	}
}

/* ---- a fixture ----------------------------------------------------------------------------------
 */

/* "a.b" of type A, class IN, id 0x1234. */
static const uint8_t QUERY[] = {0x12, 0x34, 1,	 0, 0,	 1, 0, 0, 0, 0, 0,
				0,    1,    'a', 1, 'b', 0, 0, 1, 0, 1};

static struct rd_dns_upstreams *upstreams;
static struct rd_dns_upstream_config config;

/* How questions ended. */
static unsigned ended, ended_without;
static uint8_t answered[RD_DNS_TCP_MAX];
static size_t n_answered;

static int set_up(void **fixture)
{
	(void)fixture;
	/* A question that never ends is to fail the test. */
	alarm(60);
	base = event_base_new();
	if (!base)
		return -1;
	monotonic = 1000 * SECOND;
	timeouts = events_to_fail = sockets_to_fail = chances_to_fail = 0;
	ended = ended_without = 0;
	n_answered = 0;
	for (size_t i = 0; i < RD_ARRAY_SIZE(servers); i++)
		open_server(&servers[i]);
	config = (struct rd_dns_upstream_config){.timeout_ms = 1000, .max_pending = 8};
	return rd_dns_upstreams_new(&config, base, &upstreams);
}

static int tear_down(void **fixture)
{
	(void)fixture;
	rd_dns_upstreams_free(rd_take(upstreams));
	for (size_t i = 0; i < RD_ARRAY_SIZE(servers); i++) {
		close_udp(&servers[i]);
		close_tcp(&servers[i]);
	}
	event_base_free(base);
	alarm(0);
	return 0;
}

static int use(size_t n)
{
	struct rd_dns_server_address addresses[RD_ARRAY_SIZE(servers)] = {0};

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(rd_ip_parse("127.0.0.1", &addresses[i].ip), 0);
		addresses[i].port = servers[i].port;
	}
	return rd_dns_upstreams_set(upstreams, addresses, n);
}

static void on_answered(void *context, const uint8_t *wire, size_t n)
{
	unsigned *count = context;

	if (count)
		++*count;
	ended++;
	ended_without += !wire;
	n_answered = n;
	if (wire)
		memcpy(answered, wire, n);
}

static struct rd_dns_pending *ask(void)
{
	struct rd_dns_pending *pending = NULL;
	unsigned before = ended;

	assert_int_equal(
		rd_dns_upstreams_ask(upstreams, QUERY, sizeof(QUERY), on_answered, NULL, &pending),
		0);
	assert_int_equal(ended, before);
	return pending;
}

static void until_ended(unsigned n)
{
	while (ended < n)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
}

/* Ask, and wait for the answer. Returns its last byte: which server it is
 * from; 0: none. */
static int ask_and_wait(void)
{
	ask();
	until_ended(ended + 1);
	return n_answered ? answered[n_answered - 1] : 0;
}

static int code(void)
{
	return n_answered ? answered[3] & RD_DNS_RCODE : -1;
}

/* Let the loop do what can be done now. */
static void settle(void)
{
	for (int i = 0; i < 50; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

/* ---- one server
 * ------------------------------------------------------------------------------------ */

TEST(an_answer_comes_back_with_the_id_of_the_query)
{
	servers[0].over_udp = answers;
	use(1);
	assert_int_equal(ask_and_wait(), 1);
	assert_int_equal(n_answered, sizeof(QUERY) + 1);
	assert_int_equal(rd_dns_get16(answered), 0x1234);
	assert_memory_equal(answered + 4, QUERY + 4, sizeof(QUERY) - 4);
	/* All else of the query went as it came. */
	assert_int_equal(servers[0].n_query, sizeof(QUERY));
	assert_memory_equal(servers[0].query + 2, QUERY + 2, sizeof(QUERY) - 2);
	assert_int_equal(servers[0].asked, 1);
}

TEST(ids_and_ports_are_new_for_each_question)
{
	unsigned same_id = 0, same_port = 0;

	servers[0].over_udp = answers;
	use(1);
	ask_and_wait();
	for (int i = 0; i < 50; i++) {
		uint16_t id = servers[0].id, port = servers[0].client_port;

		ask_and_wait();
		same_id += servers[0].id == id || servers[0].id == (uint16_t)(id + 1);
		same_port += servers[0].client_port == port;
	}
	assert_true(same_id <= 3);
	assert_true(same_port <= 3);
}

TEST(a_name_may_come_back_in_other_letters)
{
	servers[0].over_udp = answers_in_capitals;
	use(1);
	assert_int_equal(ask_and_wait(), 1);
	assert_int_equal(answered[13], 'A');
}

TEST(what_is_no_answer_is_passed_over)
{
	servers[0].over_udp = is_imitated;
	use(1);
	assert_int_equal(ask_and_wait(), 1);
	assert_int_equal(n_answered, sizeof(QUERY) + 1);
	assert_int_equal(servers[0].asked, 1);
	assert_int_equal(servers[0].asked_by_tcp, 0);
	assert_int_equal(timeouts, 1);
}

TEST(many_wrong_answers_lead_to_tcp)
{
	servers[0].over_udp = is_flooded;
	servers[0].over_tcp = answers_by_tcp;
	use(1);
	assert_int_equal(ask_and_wait(), 11);
	assert_int_equal(servers[0].asked, 1);
}

TEST(a_name_that_does_not_exist_is_an_answer)
{
	servers[0].over_udp = denies_existence;
	servers[1].over_udp = answers;
	use(2);
	assert_int_equal(ask_and_wait(), 1);
	assert_int_equal(code(), RD_DNS_NXDOMAIN);
	assert_int_equal(servers[1].asked, 0);
}

TEST(a_server_that_is_silent_is_asked_twice)
{
	use(1);
	assert_int_equal(ask_and_wait(), 0);
	assert_int_equal(ended_without, 1);
	assert_int_equal(servers[0].asked, 2);
	assert_int_equal(timeouts, 2);
}

static void answers_the_second(struct server *server, uint8_t *wire, size_t n)
{
	if (server->asked == 2)
		answers(server, wire, n);
}

TEST(a_lost_query_is_made_up_for)
{
	servers[0].over_udp = answers_the_second;
	use(1);
	assert_int_equal(ask_and_wait(), 1);
	assert_int_equal(servers[0].asked, 2);
}

TEST(a_refused_port_is_known_at_once)
{
	close_udp(&servers[0]);
	use(1);
	assert_int_equal(ask_and_wait(), 0);
	/* No time-out has passed, although one was begun for each try. */
	assert_true(timeouts <= 2);
	assert_int_equal(ended_without, 1);
}

TEST(nobody_to_ask_is_an_error)
{
	struct rd_dns_pending *pending;

	assert_int_equal(
		rd_dns_upstreams_ask(upstreams, QUERY, sizeof(QUERY), on_answered, NULL, &pending),
		-ENOENT);
	use(0);
	assert_int_equal(
		rd_dns_upstreams_ask(upstreams, QUERY, sizeof(QUERY), on_answered, NULL, &pending),
		-ENOENT);
}

TEST(what_is_no_query_is_not_sent)
{
	struct rd_dns_pending *pending;
	uint8_t wire[sizeof(QUERY)];

	use(1);
	for (size_t n = 0; n < sizeof(QUERY); n++)
		assert_int_equal(
			rd_dns_upstreams_ask(upstreams, QUERY, n, on_answered, NULL, &pending),
			-EINVAL);
	memcpy(wire, QUERY, sizeof(wire));
	wire[12] = 0xc0;
	assert_int_equal(
		rd_dns_upstreams_ask(upstreams, wire, sizeof(wire), on_answered, NULL, &pending),
		-EINVAL);
	settle();
	assert_int_equal(servers[0].asked, 0);
}

/* ---- several servers
 * ------------------------------------------------------------------------------------ */

TEST(the_first_is_preferred)
{
	for (int i = 0; i < 3; i++)
		servers[i].over_udp = answers;
	use(3);
	for (int i = 0; i < 5; i++)
		assert_int_equal(ask_and_wait(), 1);
	assert_int_equal(servers[1].asked + servers[2].asked, 0);
}

TEST(the_next_is_asked_after_a_silent_one_which_comes_last_for_a_while)
{
	servers[1].over_udp = answers;
	use(2);
	assert_int_equal(ask_and_wait(), 2);
	assert_int_equal(servers[0].asked, 1);
	servers[0].over_udp = answers;
	assert_int_equal(ask_and_wait(), 2);
	monotonic += 29 * SECOND;
	assert_int_equal(ask_and_wait(), 2);
	assert_int_equal(servers[0].asked, 1);
	monotonic += 2 * SECOND;
	assert_int_equal(ask_and_wait(), 1);
}

TEST(the_next_is_asked_at_once_after_one_that_is_refused)
{
	close_udp(&servers[0]);
	servers[1].over_udp = answers;
	use(2);
	assert_int_equal(ask_and_wait(), 2);
	/* Directly. */
	timeouts = 0;
	assert_int_equal(ask_and_wait(), 2);
	assert_int_equal(timeouts, 1);
}

TEST(the_next_is_asked_at_once_after_one_that_cannot_be_asked)
{
	struct rd_dns_server_address addresses[2] = {{.port = 53}, {.port = servers[0].port}};

	/* The kernel allows no connect to it. */
	assert_int_equal(rd_ip_parse("255.255.255.255", &addresses[0].ip), 0);
	assert_int_equal(rd_ip_parse("127.0.0.1", &addresses[1].ip), 0);
	servers[0].over_udp = answers;
	assert_int_equal(rd_dns_upstreams_set(upstreams, addresses, 2), 0);
	assert_int_equal(ask_and_wait(), 1);
	assert_int_equal(timeouts, 1);
	assert_int_equal(rd_dns_upstreams_set(upstreams, addresses, 1), 0);
	assert_int_equal(ask_and_wait(), 0);
	assert_int_equal(ended, 2);
}

TEST(a_server_known_before_stays_shunned)
{
	servers[1].over_udp = answers;
	use(2);
	assert_int_equal(ask_and_wait(), 2);
	use(3);
	assert_int_equal(ask_and_wait(), 2);
	assert_int_equal(servers[0].asked, 1);
}

TEST(one_that_answers_when_all_are_shunned_is_preferred_again)
{
	use(2);
	assert_int_equal(ask_and_wait(), 0);
	assert_int_equal(servers[0].asked, 2);
	assert_int_equal(servers[1].asked, 2);
	servers[0].asked = servers[1].asked = 0;
	servers[1].over_udp = answers;
	assert_int_equal(ask_and_wait(), 2);
	assert_int_equal(servers[0].asked, 1);
	assert_int_equal(ask_and_wait(), 2);
	assert_int_equal(servers[0].asked, 1);
}

static void answers_for_the_first(struct server *server, uint8_t *wire, size_t n)
{
	(void)server;
	/* The first one's id: what it is asked is late by one. */
	memcpy(wire, servers[0].query, servers[0].n_query);
	answers(&servers[0], wire, n);
}

TEST(a_late_answer_is_an_answer)
{
	servers[1].over_udp = answers_for_the_first;
	use(2);
	assert_int_equal(ask_and_wait(), 1);
	assert_int_equal(servers[1].asked, 1);
	/* It was late, for all that. */
	servers[1].over_udp = answers;
	assert_int_equal(ask_and_wait(), 2);
	assert_int_equal(servers[0].asked, 1);
}

TEST(a_failure_leads_to_the_next_and_shuns_nobody)
{
	servers[0].over_udp = fails;
	servers[1].over_udp = refuses;
	servers[2].over_udp = answers;
	use(3);
	for (unsigned i = 1; i < 4; i++) {
		assert_int_equal(ask_and_wait(), 3);
		assert_int_equal(servers[0].asked, i);
		assert_int_equal(servers[1].asked, i);
	}
}

TEST(a_failure_is_given_if_nothing_is_better)
{
	servers[0].over_udp = fails;
	servers[1].over_udp = refuses;
	servers[2].over_udp = fails;
	use(2);
	assert_int_equal(ask_and_wait(), 2);
	assert_int_equal(code(), RD_DNS_REFUSED);
	assert_int_equal(rd_dns_get16(answered), 0x1234);
	use(3);
	assert_int_equal(ask_and_wait(), 3);
	assert_int_equal(code(), RD_DNS_SERVFAIL);
	/* Nobody said it twice. */
	assert_int_equal(servers[0].asked, 2);
	assert_int_equal(servers[2].asked, 1);
}

TEST(a_failure_is_given_when_the_others_are_silent)
{
	servers[0].over_udp = fails;
	use(2);
	assert_int_equal(ask_and_wait(), 1);
	assert_int_equal(code(), RD_DNS_SERVFAIL);
	assert_int_equal(servers[0].asked, 1);
	assert_int_equal(servers[1].asked, 2);
}

TEST(a_refusal_that_does_not_say_of_what_leads_to_the_next)
{
	servers[0].over_udp = refuses_without_question;
	servers[1].over_udp = answers;
	use(2);
	assert_int_equal(ask_and_wait(), 2);
	use(1);
	assert_int_equal(ask_and_wait(), 0);
	assert_int_equal(servers[0].asked, 2);
}

static void takes_its_time(struct server *server, uint8_t *wire, size_t n)
{
	(void)server;
	(void)wire;
	(void)n;
	monotonic += 2 * SECOND + SECOND / 5;
}

TEST(a_question_ends_in_time_however_many_there_are_to_ask)
{
	for (int i = 0; i < 3; i++)
		servers[i].over_udp = takes_its_time;
	use(3);
	assert_int_equal(ask_and_wait(), 0);
	/* Five times the time of a try. */
	assert_int_equal(servers[0].asked + servers[1].asked + servers[2].asked, 3);
}

TEST(questions_under_way_go_on_with_those_they_began_with)
{
	use(1);
	ask();
	settle();
	assert_int_equal(servers[0].asked, 1);
	use(0);
	servers[0].over_udp = answers;
	until_ended(1);
	assert_int_equal(answered[n_answered - 1], 1);
	assert_int_equal(servers[0].asked, 2);
}

/* ---- TCP
 * -----------------------------------------------------------------------------------------------
 */

TEST(a_truncated_answer_is_asked_for_by_tcp)
{
	servers[0].over_udp = truncates;
	servers[0].over_tcp = answers_by_tcp;
	use(1);
	assert_int_equal(ask_and_wait(), 11);
	assert_int_equal(rd_dns_get16(answered), 0x1234);
	assert_int_equal(servers[0].n_query, sizeof(QUERY));
	assert_memory_equal(servers[0].query + 2, QUERY + 2, sizeof(QUERY) - 2);
	assert_int_equal(servers[0].asked, 1);
	assert_int_equal(servers[0].asked_by_tcp, 1);
	/* With a time-out of its own. */
	assert_int_equal(timeouts, 2);
}

TEST(the_largest_answer_comes_by_tcp)
{
	servers[0].over_udp = truncates;
	servers[0].over_tcp = answers_all_by_tcp;
	use(1);
	assert_int_equal(ask_and_wait(), 0x55);
	assert_int_equal(n_answered, RD_DNS_TCP_MAX);
}

static uint8_t parts[200];
static size_t n_parts, sent_parts;

static void send_part(evutil_socket_t fd, short what, void *context)
{
	struct server *server = context;

	(void)fd;
	(void)what;
	assert_int_equal(send(server->connection, parts + sent_parts++, 1, MSG_NOSIGNAL), 1);
	settle();
}

static void answers_byte_by_byte(struct server *server, uint8_t *wire, size_t n)
{
	respond(wire, 0);
	n = add_mark(wire, n, 77);
	rd_dns_put16(parts, (uint16_t)n);
	memcpy(parts + 2, wire, n);
	n_parts = n + 2;
	sent_parts = 0;
	(void)server;
}

TEST(an_answer_may_come_byte_by_byte)
{
	servers[0].over_udp = truncates;
	servers[0].over_tcp = answers_byte_by_byte;
	n_parts = sent_parts = 0;
	use(1);
	ask();
	while (!n_parts)
		event_base_loop(base, EVLOOP_ONCE);
	while (sent_parts < n_parts) {
		assert_int_equal(ended, 0);
		send_part(-1, 0, &servers[0]);
	}
	until_ended(1);
	assert_int_equal(answered[n_answered - 1], 77);
}

static const does no_use_by_tcp[] = {
	answers_by_tcp_with_wrong_id,
	promises_too_little,
	hangs_up_halfway,
	hangs_up,
	truncates_by_tcp,
};

TEST(an_answer_by_tcp_that_is_none_leads_to_the_next)
{
	servers[0].over_udp = truncates;
	servers[1].over_udp = answers;
	use(2);
	for (size_t i = 0; i < RD_ARRAY_SIZE(no_use_by_tcp); i++) {
		servers[0].over_tcp = no_use_by_tcp[i];
		assert_int_equal(ask_and_wait(), 2);
		/* Over UDP it has answered: it is still the first. */
		assert_int_equal(servers[0].asked, i + 1);
		assert_int_equal(servers[0].asked_by_tcp, i + 1);
	}
}

TEST(a_refused_tcp_port_leads_to_the_next)
{
	servers[0].over_udp = truncates;
	close_tcp(&servers[0]);
	servers[1].over_udp = answers;
	use(2);
	assert_int_equal(ask_and_wait(), 2);
	use(1);
	assert_int_equal(ask_and_wait(), 0);
	assert_int_equal(servers[0].asked, 3);
}

TEST(a_silent_tcp_server_leads_to_the_next)
{
	servers[0].over_udp = truncates;
	servers[1].over_udp = answers;
	use(2);
	assert_int_equal(ask_and_wait(), 2);
	assert_int_equal(servers[0].asked_by_tcp, 1);
	/* Where it is the only one, there is nothing to ask it again. */
	use(1);
	assert_int_equal(ask_and_wait(), 0);
	assert_int_equal(servers[0].asked, 2);
	assert_int_equal(servers[0].asked_by_tcp, 2);
}

TEST(a_truncated_answer_is_never_given)
{
	servers[0].over_udp = truncates;
	servers[0].over_tcp = truncates_by_tcp;
	use(1);
	assert_int_equal(ask_and_wait(), 0);
	assert_int_equal(ended_without, 1);
}

/* ---- many, and none
 * -------------------------------------------------------------------------------------- */

TEST(many_questions_are_kept_apart)
{
	servers[0].over_udp = answers;
	use(1);
	for (unsigned i = 0; i < config.max_pending; i++)
		ask();
	until_ended(config.max_pending);
	assert_int_equal(servers[0].asked, config.max_pending);
	assert_int_equal(ended_without, 0);
}

TEST(more_questions_than_allowed_are_refused_until_one_ends)
{
	struct rd_dns_pending *pending = NULL, *refused;

	use(1);
	for (unsigned i = 0; i < config.max_pending; i++)
		pending = ask();
	assert_int_equal(
		rd_dns_upstreams_ask(upstreams, QUERY, sizeof(QUERY), on_answered, NULL, &refused),
		-EBUSY);
	rd_dns_upstreams_cancel(pending);
	ask();
	until_ended(config.max_pending);
	assert_int_equal(ended_without, config.max_pending);
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 200; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

TEST(sockets_are_bounded_as_questions_are)
{
	unsigned before, most = 0;

	use(3);
	before = open_descriptors();
	for (unsigned i = 0; i < config.max_pending; i++)
		ask();
	while (ended < config.max_pending) {
		event_base_loop(base, EVLOOP_ONCE);
		if (open_descriptors() > most)
			most = open_descriptors();
	}
	assert_true(most > before);
	assert_true(most <= before + 2 * config.max_pending);
	assert_int_equal(open_descriptors(), before);
	assert_int_equal(ended_without, config.max_pending);
}

TEST(a_cancelled_question_does_not_end)
{
	servers[0].over_udp = answers;
	use(1);
	rd_dns_upstreams_cancel(ask());
	rd_dns_upstreams_cancel(NULL);
	settle();
	assert_int_equal(ended, 0);
	assert_int_equal(ask_and_wait(), 1);
}

TEST(questions_under_way_end_without_a_call_at_the_end)
{
	servers[0].over_udp = truncates;
	use(1);
	ask();
	settle();
	assert_int_equal(servers[0].asked_by_tcp, 1);
	servers[0].over_udp = NULL;
	ask();
	settle();
	ask();
	rd_dns_upstreams_free(rd_take(upstreams));
	settle();
	assert_int_equal(ended, 0);
}

static void ask_again(void *context, const uint8_t *wire, size_t n)
{
	struct rd_dns_pending *pending, **other = context;

	on_answered(NULL, wire, n);
	if (*other)
		rd_dns_upstreams_cancel(rd_take(*other));
	use(1);
	assert_int_equal(
		rd_dns_upstreams_ask(upstreams, QUERY, sizeof(QUERY), on_answered, NULL, &pending),
		0);
}

TEST(an_answer_may_lead_to_a_question_and_to_a_cancel)
{
	struct rd_dns_pending *pending, *other;

	servers[0].over_udp = answers;
	use(2);
	assert_int_equal(
		rd_dns_upstreams_ask(upstreams, QUERY, sizeof(QUERY), ask_again, &other, &pending),
		0);
	other = ask();
	until_ended(2);
	settle();
	/* Unless the other one was the first to end. */
	assert_true(ended == 2 || ended == 3);
}

/* ---- what the system refuses
 * -------------------------------------------------------------------------------- */

TEST(without_sockets_a_question_ends_soon_and_shuns_nobody)
{
	servers[0].over_udp = servers[1].over_udp = answers;
	use(2);
	sockets_to_fail = 4;
	assert_int_equal(ask_and_wait(), 0);
	assert_int_equal(sockets_to_fail, 0);
	assert_int_equal(ask_and_wait(), 1);
	sockets_to_fail = 1;
	assert_int_equal(ask_and_wait(), 2);
	chances_to_fail = 1;
	assert_int_equal(ask_and_wait(), 2);
	assert_int_equal(ask_and_wait(), 1);
}

TEST(any_event_that_cannot_be_had_ends_well)
{
	servers[0].over_udp = truncates;
	servers[0].over_tcp = answers_by_tcp;
	servers[1].over_udp = fails;
	use(2);
	for (unsigned n = 1; n < 20; n++) {
		events_to_fail = n;
		ask_and_wait();
		monotonic += 31 * SECOND;
	}
	events_to_fail = 0;
	assert_int_equal(ask_and_wait(), 11);
}

TEST(memory_that_runs_out_while_asking_ends_well)
{
	servers[0].over_udp = truncates;
	servers[0].over_tcp = answers_by_tcp;
	servers[1].over_udp = fails;
	use(2);
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		struct rd_dns_pending *pending;
		unsigned before = ended;
		int r = rd_dns_upstreams_ask(upstreams, QUERY, sizeof(QUERY), on_answered, NULL,
					     &pending);

		if (!r)
			until_ended(before + 1);
		if (!alloc_fail_end())
			break;
		assert_true(r == -ENOMEM || ended == before + 1);
		monotonic += 31 * SECOND;
	}
	assert_int_equal(answered[n_answered - 1], 11);
}

TEST(memory_that_runs_out_at_the_beginning_leaves_what_was)
{
	struct rd_dns_upstreams *other;

	servers[0].over_udp = answers;
	use(1);
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		int r = use(0);

		if (!alloc_fail_end())
			break;
		assert_int_equal(r, -ENOMEM);
		assert_int_equal(ask_and_wait(), 1);
	}
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		int r = rd_dns_upstreams_new(&config, base, &other);

		if (!alloc_fail_end())
			break;
		assert_int_equal(r, -ENOMEM);
	}
	rd_dns_upstreams_free(other);
	rd_dns_upstreams_free(NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_answer_comes_back_with_the_id_of_the_query),
		CASE(ids_and_ports_are_new_for_each_question),
		CASE(a_name_may_come_back_in_other_letters),
		CASE(what_is_no_answer_is_passed_over),
		CASE(many_wrong_answers_lead_to_tcp),
		CASE(a_name_that_does_not_exist_is_an_answer),
		CASE(a_server_that_is_silent_is_asked_twice),
		CASE(a_lost_query_is_made_up_for),
		CASE(a_refused_port_is_known_at_once),
		CASE(nobody_to_ask_is_an_error),
		CASE(what_is_no_query_is_not_sent),
		CASE(the_first_is_preferred),
		CASE(the_next_is_asked_after_a_silent_one_which_comes_last_for_a_while),
		CASE(the_next_is_asked_at_once_after_one_that_is_refused),
		CASE(the_next_is_asked_at_once_after_one_that_cannot_be_asked),
		CASE(a_server_known_before_stays_shunned),
		CASE(one_that_answers_when_all_are_shunned_is_preferred_again),
		CASE(a_late_answer_is_an_answer),
		CASE(a_failure_leads_to_the_next_and_shuns_nobody),
		CASE(a_failure_is_given_if_nothing_is_better),
		CASE(a_failure_is_given_when_the_others_are_silent),
		CASE(a_refusal_that_does_not_say_of_what_leads_to_the_next),
		CASE(a_question_ends_in_time_however_many_there_are_to_ask),
		CASE(questions_under_way_go_on_with_those_they_began_with),
		CASE(a_truncated_answer_is_asked_for_by_tcp),
		CASE(the_largest_answer_comes_by_tcp),
		CASE(an_answer_may_come_byte_by_byte),
		CASE(an_answer_by_tcp_that_is_none_leads_to_the_next),
		CASE(a_refused_tcp_port_leads_to_the_next),
		CASE(a_silent_tcp_server_leads_to_the_next),
		CASE(a_truncated_answer_is_never_given),
		CASE(many_questions_are_kept_apart),
		CASE(more_questions_than_allowed_are_refused_until_one_ends),
		CASE(sockets_are_bounded_as_questions_are),
		CASE(a_cancelled_question_does_not_end),
		CASE(questions_under_way_end_without_a_call_at_the_end),
		CASE(an_answer_may_lead_to_a_question_and_to_a_cancel),
		CASE(without_sockets_a_question_ends_soon_and_shuns_nobody),
		CASE(any_event_that_cannot_be_had_ends_well),
		CASE(memory_that_runs_out_while_asking_ends_well),
		CASE(memory_that_runs_out_at_the_beginning_leaves_what_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
