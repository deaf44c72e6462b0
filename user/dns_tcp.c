// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_tcp.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define MOST_CONNECTIONS 1024
#define MOST_ADDRESSES 8
#define IDLE_SECONDS 10
/* A query is far shorter; who sends a longer one is no resolver. */
#define QUERY_BYTES 4096
/* Of a connection: answers that wait for the client to read, and queries that
 * wait for upstreams, before no more are read. */
#define OUTPUT_BYTES 32768
#define MOST_WAITING 32
#define BACKLOG 1024

struct connection {
	struct rd_dns_tcp *tcp;
	struct connection *older, *newer; /* by when each last asked something */
	struct bufferevent *stream;
	struct waiting *waiting;
	unsigned n_waiting;
	struct sockaddr_in6 client; /* or a sockaddr_in */
	uint32_t source;
	bool paused; /* there is more to read than may be taken now */
	bool ending; /* the client has said all it will */
};

/* A query of a connection that waits for its answer. */
struct waiting {
	struct rd_dns_waiter waiter; /* first: it is where a query is found */
	struct waiting *next;
	struct connection *connection;
};

struct rd_dns_tcp {
	struct event_base *base;
	struct rd_dns_lookups *lookups;
	struct rd_dns_watch *watch; /* NULL: nobody can */
	struct evconnlistener *listeners[MOST_ADDRESSES];
	size_t n_listeners;
	struct connection *oldest, *newest;
	size_t n, most;
	struct rd_dns_question question;
	uint8_t query[QUERY_BYTES];
	uint8_t answer[2 + RD_DNS_TCP_MAX];
};

/* ---- connections ------------------------------------------------------------------------- */

static void unlink_connection(struct connection *connection)
{
	struct rd_dns_tcp *tcp = connection->tcp;

	if (connection->older)
		connection->older->newer = connection->newer;
	else
		tcp->oldest = connection->newer;
	if (connection->newer)
		connection->newer->older = connection->older;
	else
		tcp->newest = connection->older;
}

static void link_newest(struct connection *connection)
{
	struct rd_dns_tcp *tcp = connection->tcp;

	connection->newer = NULL;
	connection->older = tcp->newest;
	if (tcp->newest)
		tcp->newest->newer = connection;
	else
		tcp->oldest = connection;
	tcp->newest = connection;
}

static void end_connection(struct connection *connection)
{
	struct rd_dns_tcp *tcp = connection->tcp;
	struct waiting *waiting;

	while ((waiting = connection->waiting)) {
		connection->waiting = waiting->next;
		rd_dns_wait_cancel(&waiting->waiter);
		free(waiting);
	}
	unlink_connection(connection);
	tcp->n--;
	rd_dns_lookups_numbers(tcp->lookups)->connections = tcp->n;
	bufferevent_free(connection->stream);
	free(connection);
}

static bool is_full(const struct connection *connection)
{
	return connection->n_waiting >= MOST_WAITING ||
	       evbuffer_get_length(bufferevent_get_output(connection->stream)) >= OUTPUT_BYTES;
}

/* Returns whether the connection is still there. */
static bool end_if_done(struct connection *connection)
{
	if (!connection->ending || connection->waiting ||
	    evbuffer_get_length(bufferevent_get_output(connection->stream)))
		return true;
	end_connection(connection);
	return false;
}

/* ---- queries ----------------------------------------------------------------------------- */

/* Answers have no bound of their own, but no more are made when there are some. */
static int send_answer(struct connection *connection, const uint8_t *wire, size_t n)
{
	uint8_t length[2];

	rd_dns_put16(length, (uint16_t)n);
	return bufferevent_write(connection->stream, length, sizeof(length)) ||
	       bufferevent_write(connection->stream, wire, n);
}

static void take_queries(struct connection *connection);

static void on_answered(struct rd_dns_waiter *waiter, const uint8_t *wire, size_t n)
{
	struct waiting *waiting = (struct waiting *)waiter;
	struct connection *connection = waiting->connection;

	if (wire)
		rd_dns_watch_tell(connection->tcp->watch, &connection->client, RD_DNS_TCP,
				  &waiter->question, wire, n,
				  rd_monotonic_ns() - waiter->arrived_ns);
	for (struct waiting **link = &connection->waiting; *link; link = &(*link)->next) {
		if (*link != waiting)
			continue;
		*link = waiting->next;
		break;
	}
	connection->n_waiting--;
	free(waiting);
	if (!wire)
		return;
	if (send_answer(connection, wire, n)) {
		end_connection(connection);
		return;
	}
	if (connection->paused)
		take_queries(connection);
	else
		(void)end_if_done(connection);
}

/* Returns whether there is an answer already. */
static bool wait_for_answer(struct connection *connection, uint64_t now, size_t *ret_n)
{
	struct rd_dns_tcp *tcp = connection->tcp;
	struct waiting *waiting = calloc(1, sizeof(*waiting));

	if (!waiting)
		return false;
	waiting->connection = connection;
	waiting->waiter = (struct rd_dns_waiter){
		.transport = RD_DNS_TCP,
		.source = connection->source,
		.arrived_ns = now,
		.question = tcp->question,
		.answered = on_answered,
	};
	if (!rd_dns_wait(tcp->lookups, &waiting->waiter, tcp->answer, ret_n)) {
		free(waiting);
		return true;
	}
	waiting->next = connection->waiting;
	connection->waiting = waiting;
	connection->n_waiting++;
	return false;
}

/* Take one query out of the input. Returns 0, -EAGAIN if there is no whole one,
 * or another -errno: the connection is of no use. */
static int take_query(struct connection *connection)
{
	struct evbuffer *input = bufferevent_get_input(connection->stream);
	struct rd_dns_tcp *tcp = connection->tcp;
	uint64_t now = rd_monotonic_ns();
	enum rd_dns_served served;
	uint8_t length[2];
	size_t n, bytes;
	bool answered;

	if (evbuffer_copyout(input, length, sizeof(length)) < (ssize_t)sizeof(length))
		return -EAGAIN;
	n = rd_dns_get16(length);
	if (n < RD_DNS_HEADER || n > sizeof(tcp->query))
		return -EBADMSG;
	if (evbuffer_get_length(input) < sizeof(length) + n)
		return -EAGAIN;
	evbuffer_drain(input, sizeof(length));
	if (evbuffer_remove(input, tcp->query, n) != (int)n)
		return -EIO;
	unlink_connection(connection);
	link_newest(connection);
	served = rd_dns_serve(tcp->lookups, tcp->query, n, RD_DNS_TCP, now, &tcp->question,
			      tcp->answer, &bytes);
	if (served == RD_DNS_DROPPED)
		return -EBADMSG;
	answered = served == RD_DNS_ANSWERED;
	if (!answered && !wait_for_answer(connection, now, &bytes))
		return 0;
	rd_dns_count_time(rd_dns_lookups_numbers(tcp->lookups), rd_monotonic_ns() - now, 1);
	rd_dns_watch_tell(tcp->watch, &connection->client, RD_DNS_TCP, &tcp->question, tcp->answer,
			  bytes, rd_monotonic_ns() - now);
	return send_answer(connection, tcp->answer, bytes) ? -ENOMEM : 0;
}

/* Take what queries there are, as long as there is room for their answers. */
static void take_queries(struct connection *connection)
{
	int r = 0;

	while (!r && !is_full(connection))
		r = take_query(connection);
	if (r && r != -EAGAIN) {
		end_connection(connection);
		return;
	}
	connection->paused = !r;
	if (connection->paused)
		bufferevent_disable(connection->stream, EV_READ);
	else if (!connection->ending)
		bufferevent_enable(connection->stream, EV_READ);
	if (!connection->paused)
		(void)end_if_done(connection);
}

static void on_readable(struct bufferevent *stream, void *context)
{
	(void)stream;
	take_queries(context);
}

/* The client has read everything. */
static void on_written(struct bufferevent *stream, void *context)
{
	struct connection *connection = context;

	(void)stream;
	if (connection->paused)
		take_queries(connection);
	else
		(void)end_if_done(connection);
}

static void on_event(struct bufferevent *stream, short what, void *context)
{
	struct connection *connection = context;

	(void)stream;
	/* Who has closed one direction may still read. */
	if (what & BEV_EVENT_EOF && !(what & BEV_EVENT_ERROR)) {
		connection->ending = true;
		if (connection->paused || !end_if_done(connection))
			return;
		bufferevent_disable(connection->stream, EV_READ);
		return;
	}
	/* An answer may take longer than a client may be idle. */
	if (what & BEV_EVENT_TIMEOUT && what & BEV_EVENT_READING && connection->waiting) {
		bufferevent_enable(connection->stream, EV_READ);
		return;
	}
	end_connection(connection);
}

/* ---- accepting --------------------------------------------------------------------------- */

static uint32_t source_of(const struct sockaddr *address)
{
	uint32_t words[4] = {0}, hash = 0;

	if (address->sa_family == AF_INET6)
		memcpy(words, &((const struct sockaddr_in6 *)address)->sin6_addr, sizeof(words));
	else
		words[0] = ((const struct sockaddr_in *)address)->sin_addr.s_addr;
	for (size_t i = 0; i < RD_ARRAY_SIZE(words); i++)
		hash = (hash ^ words[i]) * 0x9e3779b1U;
	return hash ^ hash >> 16;
}

static void end_idlest(struct rd_dns_tcp *tcp)
{
	if (!tcp->oldest)
		return;
	rd_dns_lookups_numbers(tcp->lookups)->closed_idle++;
	end_connection(tcp->oldest);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
		      int length, void *context)
{
	static const struct timeval idle = {.tv_sec = IDLE_SECONDS};
	struct rd_dns_tcp *tcp = context;
	struct connection *connection;
	int yes = 1;

	(void)listener;
	if (tcp->n >= tcp->most)
		end_idlest(tcp);
	connection = calloc(1, sizeof(*connection));
	if (connection)
		connection->stream = bufferevent_socket_new(tcp->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!connection || !connection->stream) {
		free(connection);
		rd_close_cleanup(&fd);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	connection->tcp = tcp;
	connection->source = source_of(address);
	memcpy(&connection->client, address,
	       (size_t)length < sizeof(connection->client) ? (size_t)length
							   : sizeof(connection->client));
	link_newest(connection);
	tcp->n++;
	rd_dns_lookups_numbers(tcp->lookups)->connections = tcp->n;
	bufferevent_setcb(connection->stream, on_readable, on_written, on_event, connection);
	bufferevent_setwatermark(connection->stream, EV_READ, 0, 2 + QUERY_BYTES);
	bufferevent_set_timeouts(connection->stream, &idle, &idle);
	if (bufferevent_enable(connection->stream, EV_READ | EV_WRITE))
		end_connection(connection);
}

/* Mostly that there are no more descriptors: the idlest gives up its own. */
static void on_accept_failed(struct evconnlistener *listener, void *context)
{
	(void)listener;
	end_idlest(context);
}

int rd_dns_tcp_listen(struct rd_dns_tcp *tcp, const struct rd_ip *ip, uint16_t port, uint32_t mark,
		      struct rd_error *error)
{
	struct sockaddr_storage address;
	socklen_t length = rd_ip_sockaddr(ip, port, &address);
	_rd_close_ int fd =
		socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct evconnlistener *listener;
	char text[RD_IP_PORT_TEXT];
	int yes = 1;

	if (tcp->n_listeners == RD_ARRAY_SIZE(tcp->listeners))
		return rd_error_set(error, -EINVAL, "--dns may be given %d times", MOST_ADDRESSES);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) ||
	    (ip->family == RD_FAMILY_6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes))) ||
	    setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) ||
	    bind(fd, (struct sockaddr *)&address, length) || listen(fd, BACKLOG))
		return rd_error_set(error, -errno, "cannot serve DNS at %s over TCP: %s",
				    rd_ip_port_format(ip, port, text), strerror(errno));
	listener = evconnlistener_new(tcp->base, on_accept, tcp,
				      LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!listener)
		return rd_error_set(error, -ENOMEM, "out of memory");
	fd = -1; /* the listener's now */
	evconnlistener_set_error_cb(listener, on_accept_failed);
	tcp->listeners[tcp->n_listeners++] = listener;
	return 0;
}

int rd_dns_tcp_new(struct event_base *base, struct rd_dns_lookups *lookups,
		   struct rd_dns_watch *watch, struct rd_dns_tcp **ret_tcp)
{
	struct rd_dns_tcp *tcp = calloc(1, sizeof(*tcp));
	struct rlimit limit = {0};

	if (!tcp)
		return -ENOMEM;
	tcp->base = base;
	tcp->lookups = lookups;
	tcp->watch = watch;
	tcp->most = MOST_CONNECTIONS;
	/* The rest of the agent needs descriptors too. */
	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur / 2 < tcp->most)
		tcp->most = limit.rlim_cur / 2;
	*ret_tcp = tcp;
	return 0;
}

void rd_dns_tcp_free(struct rd_dns_tcp *tcp)
{
	if (!tcp)
		return;
	while (tcp->oldest)
		end_connection(tcp->oldest);
	for (size_t i = 0; i < tcp->n_listeners; i++)
		evconnlistener_free(tcp->listeners[i]);
	free(tcp);
}
