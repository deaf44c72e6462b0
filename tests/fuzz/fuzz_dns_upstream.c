// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * libFuzzer target: any bytes as what an upstream sends, over UDP and then over
 * TCP in parts of any size. Whatever it is the question ends once, nothing is
 * read outside what came, and what is given out is an answer: with the id of
 * the query and its question, not truncated.
 *
 * The first byte says how the others are taken: bit 0: the first two bytes are
 * replaced by the id of the query, bit 1: the next ones by what makes it a
 * truncated answer to the question, bit 2: the rest is sent over TCP as it is,
 * without its length before it, bits 3 to 7: in parts of which size. Half of the
 * bytes are a second datagram.
 */
#include <arpa/inet.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns_message.h"
#include "dns_upstream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* "a.b" of type A, class IN, with an OPT record. */
static const uint8_t QUERY[] = {0x12, 0x34, 1, 0, 0, 1, 0, 0,  0, 0,   0, 1, 1, 'a', 1, 'b',
				0,    0,    1, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0,   0, 0};
#define QUESTION_END 21

static struct event_base *base;
static struct rd_dns_upstreams *upstreams;
static int udp, tcp, connection = -1;
static struct event on_udp, on_tcp, on_connection;
static const uint8_t *input;
static size_t input_size;
static unsigned ended;

static void require(bool what)
{
	if (!what)
		abort();
}

/* The input as a message, of a memory of its own. */
static uint8_t *make(const uint8_t *query, const uint8_t *from, size_t n)
{
	uint8_t *message = malloc(n + !n);

	require(message);
	memcpy(message, from, n);
	if (input[0] & 1 && n >= 2)
		memcpy(message, query, 2);
	if (input[0] & 2 && n >= QUESTION_END) {
		memcpy(message + 4, QUERY + 4, QUESTION_END - 4);
		message[2] = RD_DNS_QR >> 8 | RD_DNS_TC >> 8;
	}
	return message;
}

static void serve_datagram(evutil_socket_t fd, short what, void *context)
{
	struct sockaddr_storage client;
	socklen_t length = sizeof(client);
	uint8_t query[512];
	size_t half = (input_size - 1) / 2;
	uint8_t *first, *second;

	(void)what;
	(void)context;
	if (recvfrom(fd, query, sizeof(query), 0, (struct sockaddr *)&client, &length) !=
	    sizeof(QUERY))
		return;
	require(!memcmp(query + 2, QUERY + 2, sizeof(QUERY) - 2));
	first = make(query, input + 1, input_size - 1);
	second = make(query, input + 1 + half, input_size - 1 - half);
	(void)!sendto(fd, first, input_size - 1, 0, (struct sockaddr *)&client, length);
	(void)!sendto(fd, second, input_size - 1 - half, 0, (struct sockaddr *)&client, length);
	free(first);
	free(second);
	/* A refusal at last, so that nobody has to wait. */
	rd_dns_put16(query + 2, RD_DNS_QR | RD_DNS_REFUSED);
	rd_dns_put16(query + 4, 0);
	(void)!sendto(fd, query, RD_DNS_HEADER, 0, (struct sockaddr *)&client, length);
}

static void hang_up(void)
{
	if (connection < 0)
		return;
	event_del(&on_connection);
	close(connection);
	connection = -1;
}

static void serve_connection(evutil_socket_t fd, short what, void *context)
{
	size_t part = (input[0] >> 3) + 1U, n = input_size - 1;
	uint8_t query[2 + sizeof(QUERY)], length[2] = {(uint8_t)(n >> 8), (uint8_t)n}, *message;

	(void)what;
	(void)context;
	if (recv(fd, query, sizeof(query), 0) == sizeof(query)) {
		message = make(query + 2, input + 1, n);
		if (input[0] & 2 && n >= QUESTION_END)
			message[2] = RD_DNS_QR >> 8;
		if (!(input[0] & 4))
			(void)!send(fd, length, 2, MSG_NOSIGNAL);
		for (size_t at = 0; at < n; at += part)
			(void)!send(fd, message + at, n - at < part ? n - at : part, MSG_NOSIGNAL);
		free(message);
	}
	hang_up();
}

static void serve_stream(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	(void)context;
	hang_up();
	connection = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (connection < 0)
		return;
	event_assign(&on_connection, base, connection, EV_READ, serve_connection, NULL);
	require(!event_add(&on_connection, NULL));
}

static void on_answered(void *context, const uint8_t *wire, size_t n)
{
	(void)context;
	ended++;
	if (!wire)
		return;
	require(n >= QUESTION_END && !memcmp(wire, QUERY, 2));
	require(wire[2] & RD_DNS_QR >> 8 && !(wire[2] & RD_DNS_TC >> 8));
	for (size_t i = 12; i < QUESTION_END; i++)
		require((wire[i] | 0x20) == (QUERY[i] | 0x20));
	/* Every byte is there. */
	for (size_t i = 0; i < n; i++)
		ended += wire[i] & 0;
}

static int bound(int type, struct sockaddr_in *address)
{
	socklen_t n = sizeof(*address);
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	require(fd >= 0 && !bind(fd, (struct sockaddr *)address, n) &&
		!getsockname(fd, (struct sockaddr *)address, &n));
	return fd;
}

static void set_up(void)
{
	struct rd_dns_upstream_config config = {.timeout_ms = 5000, .max_pending = 1};
	struct sockaddr_in address = {.sin_family = AF_INET};
	struct rd_dns_server_address server = {0};

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	base = event_base_new();
	require(base && !rd_dns_upstreams_new(&config, base, &upstreams));
	udp = bound(SOCK_DGRAM, &address);
	tcp = bound(SOCK_STREAM, &address);
	require(!listen(tcp, 8) && !rd_ip_parse("127.0.0.1", &server.ip));
	server.port = ntohs(address.sin_port);
	require(!rd_dns_upstreams_set(upstreams, &server, 1));
	event_assign(&on_udp, base, udp, EV_READ | EV_PERSIST, serve_datagram, NULL);
	event_assign(&on_tcp, base, tcp, EV_READ | EV_PERSIST, serve_stream, NULL);
	require(!event_add(&on_udp, NULL) && !event_add(&on_tcp, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd_dns_pending *pending;

	if (!size || size > 8192)
		return 0;
	if (!base)
		set_up();
	input = data;
	input_size = size;
	ended = 0;
	require(!rd_dns_upstreams_ask(upstreams, QUERY, sizeof(QUERY), on_answered, NULL,
				      &pending));
	while (!ended)
		require(!event_base_loop(base, EVLOOP_ONCE));
	require(ended == 1);
	return 0;
}
