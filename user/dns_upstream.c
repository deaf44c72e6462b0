// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_upstream.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns_message.h"

/* How often each server is asked. */
#define ROUNDS 2
/* A question takes so many times the time of a try at most. */
#define PATIENCE 5
/* A server that has failed is asked last for so long. */
#define SHUNNED_NS 30000000000ULL
/* Somebody guesses, after so many datagrams with a wrong id or question to one
 * socket: TCP tells who it is. */
#define MOST_WRONG 20
/* Datagrams read in one go. */
#define BURST 16

/* Which are asked. Questions under way share it with those to come. */
struct servers {
	unsigned references;
	size_t n;
	struct server {
		struct rd_dns_server_address address;
		uint64_t shunned_until; /* monotonic; 0: it answers, so far as is known */
	} all[];
};

/* One server asked one question. The socket stays open when the next server is
 * asked as well: a late answer is an answer. */
struct attempt {
	struct rd_dns_pending *pending;
	struct server *server;
	int fd; /* -1: none */
	struct event event;
	uint16_t id;
	bool over;	/* it has answered, of no use: not to be asked again */
	unsigned wrong; /* datagrams that were no answer to this */
	bool tcp;
	size_t sent;	 /* over TCP, of the frame */
	size_t received; /* over TCP, with the length before the message */
	uint8_t length[2];
	uint8_t *reply; /* over TCP, with room for its length; NULL: not known yet */
};

struct rd_dns_pending {
	LIST_ENTRY(rd_dns_pending) entry;
	struct rd_dns_upstreams *upstreams;
	struct servers *servers;
	rd_dns_answered answered;
	void *context;
	struct event timer;
	uint64_t ends_ns;
	size_t step;		 /* tries begun or skipped, of all rounds */
	struct attempt *current; /* whom the timer is about; NULL: nobody yet */
	bool asking;		 /* within rd_dns_upstreams_ask */
	bool finished;		 /* without an answer, which the timer is to tell */
	uint8_t *poor;		 /* the last answer that says no more than "not from me" */
	size_t n_poor;
	size_t n_question; /* of the message, up to where its question ends */
	size_t n_frame;
	uint8_t *frame; /* the query, with its length before it as TCP has it */
	size_t n_attempts;
	struct attempt attempts[]; /* in the order in which they are asked */
};

struct rd_dns_upstreams {
	struct rd_dns_upstream_config config;
	struct event_base *base;
	struct servers *servers;
	LIST_HEAD(, rd_dns_pending) pending;
	unsigned n_pending, n_sockets;
	uint8_t datagram[RD_DNS_TCP_MAX];
};

static void advance(struct rd_dns_pending *pending);

/* ---- the servers ------------------------------------------------------------------------ */

static void release_servers(struct servers *servers)
{
	if (servers && !--servers->references)
		free(servers);
}

static bool same_address(const struct rd_dns_server_address *a,
			 const struct rd_dns_server_address *b)
{
	return !rd_ip_compare(&a->ip, &b->ip) && a->port == b->port && a->scope == b->scope;
}

static uint64_t shunned_until(const struct servers *servers,
			      const struct rd_dns_server_address *address)
{
	for (size_t i = 0; servers && i < servers->n; i++)
		if (same_address(&servers->all[i].address, address))
			return servers->all[i].shunned_until;
	return 0;
}

int rd_dns_upstreams_set(struct rd_dns_upstreams *upstreams,
			 const struct rd_dns_server_address *addresses, size_t n)
{
	struct servers *servers = calloc(1, sizeof(*servers) + n * sizeof(servers->all[0]));

	if (!servers)
		return -ENOMEM;
	servers->references = 1;
	servers->n = n;
	for (size_t i = 0; i < n; i++)
		servers->all[i] = (struct server){
			.address = addresses[i],
			.shunned_until = shunned_until(upstreams->servers, &addresses[i])};
	release_servers(upstreams->servers);
	upstreams->servers = servers;
	return 0;
}

/* ---- a question's end -------------------------------------------------------------------- */

/* Its reply, if there is one, stays. */
static void close_attempt(struct attempt *attempt)
{
	if (attempt->fd < 0)
		return;
	event_del(&attempt->event);
	close(attempt->fd);
	attempt->fd = -1;
	attempt->pending->upstreams->n_sockets--;
}

/* No event of it comes any more. */
static void stop(struct rd_dns_pending *pending)
{
	event_del(&pending->timer);
	for (size_t i = 0; i < pending->n_attempts; i++)
		close_attempt(&pending->attempts[i]);
	LIST_REMOVE(pending, entry);
	pending->upstreams->n_pending--;
}

static void destroy(struct rd_dns_pending *pending)
{
	for (size_t i = 0; i < pending->n_attempts; i++)
		free(pending->attempts[i].reply);
	release_servers(pending->servers);
	free(pending->poor);
	free(pending);
}

/* @wire: NULL: there is no answer. The question is gone afterwards. */
static void conclude(struct rd_dns_pending *pending, uint8_t *wire, size_t n)
{
	stop(pending);
	if (wire)
		memcpy(wire, pending->frame + 2, 2);
	pending->answered(pending->context, wire, n);
	destroy(pending);
}

/* Nobody is left to ask. The question may be gone afterwards. */
static void give_up(struct rd_dns_pending *pending)
{
	if (pending->asking) {
		pending->finished = true;
		event_active(&pending->timer, EV_TIMEOUT, 0);
		return;
	}
	conclude(pending, pending->poor, pending->n_poor);
}

void rd_dns_upstreams_cancel(struct rd_dns_pending *pending)
{
	if (!pending)
		return;
	stop(pending);
	destroy(pending);
}

/* ---- what comes back ----------------------------------------------------------------------- */

enum verdict {
	WRONG,	   /* no answer to this question */
	TRUNCATED, /* to be asked for again */
	USELESS,   /* an answer that nobody can do anything with */
	POOR,	   /* this server has no answer, another may have one */
	GOOD,
};

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

/* In whatever letters the server repeats the name: the lengths of its labels
 * are no letters. */
static bool same_question(const struct rd_dns_pending *pending, const uint8_t *wire, size_t n)
{
	const uint8_t *asked = pending->frame + 2;
	size_t name_end = pending->n_question - 4;

	if (n < pending->n_question || rd_dns_get16(wire + 4) != 1)
		return false;
	for (size_t i = RD_DNS_HEADER; i < name_end; i++)
		if (lower(wire[i]) != lower(asked[i]))
			return false;
	return !memcmp(wire + name_end, asked + name_end, 4);
}

static enum verdict judge(const struct attempt *attempt, const uint8_t *wire, size_t n)
{
	bool poor;
	uint16_t flags;

	if (n < RD_DNS_HEADER || rd_dns_get16(wire) != attempt->id)
		return WRONG;
	flags = rd_dns_get16(wire + 2);
	if (!(flags & RD_DNS_QR) || flags & RD_DNS_OPCODE)
		return WRONG;
	switch (flags & RD_DNS_RCODE) {
	case RD_DNS_FORMERR:
	case RD_DNS_SERVFAIL:
	case RD_DNS_NOTIMP:
	case RD_DNS_REFUSED:
		poor = true;
		break;
	default:
		poor = false;
	}
	/* Some refuse without repeating what. */
	if (poor && !rd_dns_get16(wire + 4))
		return USELESS;
	if (!same_question(attempt->pending, wire, n))
		return WRONG;
	if (flags & RD_DNS_TC)
		return attempt->tcp ? USELESS : TRUNCATED;
	return poor ? POOR : GOOD;
}

/* Out of memory it is as if it had not come. */
static void keep_poor(struct rd_dns_pending *pending, const uint8_t *wire, size_t n)
{
	uint8_t *copy = malloc(n);

	if (!copy)
		return;
	memcpy(copy, wire, n);
	free(pending->poor);
	pending->poor = copy;
	pending->n_poor = n;
}

static void shun(struct server *server)
{
	server->shunned_until = rd_monotonic_ns() + SHUNNED_NS;
}

/* The server has no more to say now. The question may be gone afterwards. */
static void leave(struct attempt *attempt)
{
	struct rd_dns_pending *pending = attempt->pending;

	close_attempt(attempt);
	if (pending->current == attempt)
		advance(pending);
}

/* It cannot be reached. That TCP fails does not mean that it is dead. */
static void lose(struct attempt *attempt)
{
	if (!attempt->tcp)
		shun(attempt->server);
	leave(attempt);
}

/* ---- sockets --------------------------------------------------------------------------------- */

/* Every kind of "unreachable" is an error then, not only a refusal. */
static void report_errors(int fd, sa_family_t family)
{
	int on = 1;

	if (family == AF_INET)
		(void)setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
	else
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
}

/* A new socket that is connected to the server, or about to be: the kernel
 * chooses a random port then. Returns 0 or -errno. */
static int open_socket(struct attempt *attempt, int type)
{
	const struct rd_dns_upstream_config *config = &attempt->pending->upstreams->config;
	struct sockaddr_storage to;
	const struct rd_dns_server_address *address = &attempt->server->address;
	socklen_t n = rd_ip_sockaddr(&address->ip, address->port, &to);
	_rd_close_ int fd = socket(to.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (to.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&to)->sin6_scope_id = address->scope;
	/* Without the privilege the mark is missing, and with it what it is for. */
	if (config->mark)
		(void)setsockopt(fd, SOL_SOCKET, SO_MARK, &config->mark, sizeof(config->mark));
	if (type == SOCK_DGRAM)
		report_errors(fd, to.ss_family);
	if (connect(fd, (struct sockaddr *)&to, n) && errno != EINPROGRESS)
		return -errno;
	attempt->fd = fd;
	fd = -1;
	attempt->pending->upstreams->n_sockets++;
	return 0;
}

/* Where there are many sockets, a question has one only. */
static void save_sockets(struct rd_dns_pending *pending)
{
	const struct rd_dns_upstreams *upstreams = pending->upstreams;

	for (size_t i = 0;
	     upstreams->n_sockets >= upstreams->config.max_pending && i < pending->n_attempts; i++)
		close_attempt(&pending->attempts[i]);
}

/* A new socket with a new id, which on_event looks after. Returns 0 or -errno,
 * and then there is no socket. */
static int begin(struct attempt *attempt, int type, short what, event_callback_fn on_event)
{
	int r;

	if (getrandom(&attempt->id, sizeof(attempt->id), GRND_NONBLOCK) != sizeof(attempt->id))
		return -EAGAIN;
	save_sockets(attempt->pending);
	r = open_socket(attempt, type);
	if (r)
		return r;
	event_assign(&attempt->event, attempt->pending->upstreams->base, attempt->fd,
		     (short)(what | EV_PERSIST), on_event, attempt);
	attempt->tcp = type == SOCK_STREAM;
	if (event_add(&attempt->event, NULL)) {
		close_attempt(attempt);
		return -ENOMEM;
	}
	return 0;
}

/* Send what is left of the frame from `at`. Returns as send does. */
static ssize_t send_frame(struct attempt *attempt, size_t at)
{
	struct rd_dns_pending *pending = attempt->pending;
	uint8_t own[2] = {pending->frame[2], pending->frame[3]};
	ssize_t n;

	rd_dns_put16(pending->frame + 2, attempt->id);
	n = send(attempt->fd, pending->frame + at, pending->n_frame - at, MSG_NOSIGNAL);
	memcpy(pending->frame + 2, own, 2);
	return n;
}

static bool is_later(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* ---- time ------------------------------------------------------------------------------------ */

/* From now on the current attempt has its time. */
static void wait_for_current(struct rd_dns_pending *pending)
{
	uint64_t now = rd_monotonic_ns();
	uint64_t us = (uint64_t)pending->upstreams->config.timeout_ms * 1000;
	struct timeval patience;

	if (now + us * 1000 > pending->ends_ns)
		us = pending->ends_ns > now ? (pending->ends_ns - now) / 1000 : 0;
	patience.tv_sec = (time_t)(us / 1000000);
	patience.tv_usec = (suseconds_t)(us % 1000000);
	if (event_add(&pending->timer, &patience)) {
		pending->finished = true;
		event_active(&pending->timer, EV_TIMEOUT, 0);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct rd_dns_pending *pending = context;

	(void)fd;
	(void)what;
	if (pending->finished) {
		conclude(pending, pending->poor, pending->n_poor);
		return;
	}
	if (!pending->current->tcp)
		shun(pending->current->server);
	advance(pending);
}

/* ---- TCP ---------------------------------------------------------------------------------------
 */

static void on_stream(evutil_socket_t fd, short what, void *context);

/* Returns 0 when there is a whole message, -EAGAIN if there is none yet, or
 * another -errno. */
static int receive_stream(struct attempt *attempt)
{
	for (;;) {
		size_t length = rd_dns_get16(attempt->length), have = attempt->received;
		bool known = have >= 2;
		ssize_t n;

		if (known && length < RD_DNS_HEADER)
			return -EBADMSG;
		if (known && have == 2 + length)
			return 0;
		if (known && !attempt->reply)
			attempt->reply = malloc(length);
		if (known && !attempt->reply)
			return -ENOMEM;
		n = known ? recv(attempt->fd, attempt->reply + have - 2, 2 + length - have, 0)
			  : recv(attempt->fd, attempt->length + have, 2 - have, 0);
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		attempt->received += (size_t)n;
	}
}

/* Returns 0 when all has been sent, -EAGAIN if something is left, or -errno. */
static int send_stream(struct attempt *attempt)
{
	while (attempt->sent < attempt->pending->n_frame) {
		ssize_t n = send_frame(attempt, attempt->sent);

		if (n < 0)
			return is_later() ? -EAGAIN : -errno;
		attempt->sent += (size_t)n;
	}
	event_del(&attempt->event);
	event_assign(&attempt->event, attempt->pending->upstreams->base, attempt->fd,
		     EV_READ | EV_PERSIST, on_stream, attempt);
	return event_add(&attempt->event, NULL) ? -ENOMEM : 0;
}

/* Ask the same server again, where there is room for the whole answer and no
 * doubt about who it is from. The question may be gone afterwards. */
static void ask_by_tcp(struct attempt *attempt)
{
	close_attempt(attempt);
	free(rd_take(attempt->reply));
	attempt->sent = attempt->received = 0;
	if (begin(attempt, SOCK_STREAM, EV_WRITE, on_stream))
		leave(attempt);
	else if (attempt->pending->current == attempt)
		wait_for_current(attempt->pending);
}

/* ---- answers ------------------------------------------------------------------------------------
 */

/*
 * Take what a server has sent. Returns whether to go on with this socket: if
 * not, the question may be gone.
 */
static bool take(struct attempt *attempt, uint8_t *wire, size_t n)
{
	struct rd_dns_pending *pending = attempt->pending;
	enum verdict verdict = judge(attempt, wire, n);

	switch (verdict) {
	case WRONG:
		if (attempt->tcp)
			leave(attempt);
		else if (++attempt->wrong < MOST_WRONG)
			return true;
		else
			ask_by_tcp(attempt);
		return false;
	case TRUNCATED:
		ask_by_tcp(attempt);
		return false;
	case POOR:
	case USELESS:
		if (verdict == POOR)
			keep_poor(pending, wire, n);
		attempt->over = true;
		leave(attempt);
		return false;
	case GOOD:
		if (pending->current == attempt)
			attempt->server->shunned_until = 0;
		conclude(pending, wire, n);
		return false;
	}
	return false;
}

static void on_stream(evutil_socket_t fd, short what, void *context)
{
	struct attempt *attempt = context;
	int r = what & EV_WRITE ? send_stream(attempt) : receive_stream(attempt);

	(void)fd;
	if (r == -EAGAIN || r == -EINTR)
		return;
	if (r)
		lose(attempt);
	else if (what & EV_READ)
		take(attempt, attempt->reply, attempt->received - 2);
}

static void on_datagram(evutil_socket_t fd, short what, void *context)
{
	struct attempt *attempt = context;
	struct rd_dns_upstreams *upstreams = attempt->pending->upstreams;

	(void)what;
	for (int i = 0; i < BURST; i++) {
		ssize_t n = recv(fd, upstreams->datagram, sizeof(upstreams->datagram), 0);

		if (n < 0) {
			if (!is_later())
				lose(attempt);
			return;
		}
		if (!take(attempt, upstreams->datagram, (size_t)n))
			return;
	}
}

/* ---- whom to ask next
 * ----------------------------------------------------------------------------- */

/* A lack of ours says nothing about the server. */
static bool is_own_lack(int code)
{
	return code == -EMFILE || code == -ENFILE || code == -ENOMEM || code == -ENOBUFS ||
	       code == -EAGAIN;
}

/* Ask, or ask again on the same socket if it still waits there. Returns 0 or
 * -errno. */
static int ask_server(struct attempt *attempt)
{
	int r = 0;

	if (attempt->fd >= 0 && attempt->tcp)
		return 0;
	if (attempt->fd < 0)
		r = begin(attempt, SOCK_DGRAM, EV_READ, on_datagram);
	if (!r && send_frame(attempt, 2) < 0 && !is_later())
		r = -errno;
	if (!r)
		return 0;
	close_attempt(attempt);
	if (!is_own_lack(r))
		shun(attempt->server);
	return r;
}

/* The question may be gone afterwards. */
static void advance(struct rd_dns_pending *pending)
{
	while (pending->step < ROUNDS * pending->n_attempts &&
	       rd_monotonic_ns() < pending->ends_ns) {
		struct attempt *attempt = &pending->attempts[pending->step++ % pending->n_attempts];

		if (attempt->over || ask_server(attempt))
			continue;
		pending->current = attempt;
		wait_for_current(pending);
		return;
	}
	give_up(pending);
}

/* ---- a new question
 * --------------------------------------------------------------------------------- */

/* Where the question of a query ends; 0: it has none. */
static size_t question_end(const uint8_t *wire, size_t n)
{
	size_t at = RD_DNS_HEADER;

	if (n < RD_DNS_HEADER || n > RD_DNS_TCP_MAX || rd_dns_get16(wire + 4) != 1)
		return 0;
	while (at < n && wire[at] && wire[at] <= RD_DNS_LABEL_MAX)
		at += 1U + wire[at];
	return at + 5 <= n && !wire[at] ? at + 5 : 0;
}

/* Those that have failed lately come last. */
static void line_up(struct rd_dns_pending *pending)
{
	struct servers *servers = pending->servers;
	uint64_t now = rd_monotonic_ns();
	size_t at = 0;

	for (int shunned = 0; shunned < 2; shunned++)
		for (size_t i = 0; i < servers->n; i++)
			if ((servers->all[i].shunned_until > now) == shunned)
				pending->attempts[at++] = (struct attempt){
					.pending = pending, .server = &servers->all[i], .fd = -1};
	pending->ends_ns =
		now + (uint64_t)PATIENCE * pending->upstreams->config.timeout_ms * 1000000;
}

static struct rd_dns_pending *new_pending(struct rd_dns_upstreams *upstreams, const uint8_t *wire,
					  size_t n, size_t n_question)
{
	size_t n_attempts = upstreams->servers->n;
	size_t frame_at = sizeof(struct rd_dns_pending) + n_attempts * sizeof(struct attempt);
	struct rd_dns_pending *pending = calloc(1, frame_at + 2 + n);

	if (!pending)
		return NULL;
	pending->upstreams = upstreams;
	pending->servers = upstreams->servers;
	pending->servers->references++;
	pending->n_question = n_question;
	pending->n_frame = 2 + n;
	pending->frame = (uint8_t *)pending + frame_at;
	rd_dns_put16(pending->frame, (uint16_t)n);
	memcpy(pending->frame + 2, wire, n);
	pending->n_attempts = n_attempts;
	evtimer_assign(&pending->timer, upstreams->base, on_timer, pending);
	line_up(pending);
	return pending;
}

int rd_dns_upstreams_ask(struct rd_dns_upstreams *upstreams, const uint8_t *wire, size_t n,
			 rd_dns_answered answered, void *context,
			 struct rd_dns_pending **ret_pending)
{
	size_t n_question = question_end(wire, n);
	struct rd_dns_pending *pending;

	if (!n_question)
		return -EINVAL;
	if (!upstreams->servers || !upstreams->servers->n)
		return -ENOENT;
	if (upstreams->n_pending >= upstreams->config.max_pending)
		return -EBUSY;
	pending = new_pending(upstreams, wire, n, n_question);
	if (!pending)
		return -ENOMEM;
	pending->answered = answered;
	pending->context = context;
	LIST_INSERT_HEAD(&upstreams->pending, pending, entry);
	upstreams->n_pending++;
	pending->asking = true;
	advance(pending);
	pending->asking = false;
	*ret_pending = pending;
	return 0;
}

int rd_dns_upstreams_new(const struct rd_dns_upstream_config *config, struct event_base *base,
			 struct rd_dns_upstreams **ret_upstreams)
{
	struct rd_dns_upstreams *upstreams = calloc(1, sizeof(*upstreams));

	if (!upstreams)
		return -ENOMEM;
	upstreams->config = *config;
	upstreams->base = base;
	LIST_INIT(&upstreams->pending);
	*ret_upstreams = upstreams;
	return 0;
}

void rd_dns_upstreams_free(struct rd_dns_upstreams *upstreams)
{
	if (!upstreams)
		return;
	while (!LIST_EMPTY(&upstreams->pending))
		rd_dns_upstreams_cancel(LIST_FIRST(&upstreams->pending));
	release_servers(upstreams->servers);
	free(upstreams);
}
