// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_udp.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* Sockets of an address; a power of two. */
#define SOCKETS 16
#define MOST_ADDRESSES 8
/* Messages with one system call. With many more the answers to the first wait for
 * the last, and a client that has so many queries under way waits with them. */
#define BATCH 16
/* Of one socket before it is the next one's turn. */
#define BATCHES 4
/* A query is far shorter. What is longer comes cut, and is malformed then. */
#define QUERY_BYTES 1536
/* The kernel's queue of each socket. */
#define QUEUE_BYTES (512 * 1024)
#define CONTROL_BYTES CMSG_SPACE(sizeof(struct in6_pktinfo))

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct socket {
	struct rd_dns_udp *udp;
	struct event *readable;
	int fd;
	bool wildcard; /* the answer's source is to be said with it */
};

/* A client whose answer comes later. */
struct client {
	struct rd_dns_waiter waiter; /* first: it is where a client is found */
	struct client *older, *newer;
	struct socket *socket;
	union address address;
	socklen_t length;
	size_t control_length;
	_Alignas(struct cmsghdr) uint8_t control[CONTROL_BYTES];
};

/* One message of a batch. */
struct slot {
	union address address;
	struct iovec part;
	_Alignas(struct cmsghdr) uint8_t control[CONTROL_BYTES];
	uint8_t query[QUERY_BYTES];
	uint8_t answer[RD_DNS_UDP_MAX];
};

struct rd_dns_udp {
	struct event_base *base;
	struct rd_dns_lookups *lookups;
	struct rd_dns_watch *watch; /* NULL: nobody can */
	struct socket sockets[MOST_ADDRESSES * SOCKETS];
	size_t n_sockets;
	struct client *clients;
	struct rd_dns_question question;
	struct mmsghdr in[BATCH], out[BATCH];
	struct slot slots[BATCH];
};

/* ---- who asks ---------------------------------------------------------------------------- */

static uint32_t source_of(const union address *address)
{
	uint32_t words[4] = {0}, hash = 0;

	if (address->any.sa_family == AF_INET6)
		memcpy(words, &address->in6.sin6_addr, sizeof(words));
	else
		words[0] = address->in.sin_addr.s_addr;
	for (size_t i = 0; i < RD_ARRAY_SIZE(words); i++)
		hash = (hash ^ words[i]) * 0x9e3779b1U;
	return hash ^ hash >> 16;
}

/* The control message that came says where the query was sent to: with it the
 * answer goes from there. Of the interface nothing is said, but where an address
 * has a meaning only there. */
static size_t reply_control(struct msghdr *message)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	struct in6_pktinfo *info6;
	struct in_pktinfo *info;

	if (!header)
		return 0;
	if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
		info = (struct in_pktinfo *)CMSG_DATA(header);
		info->ipi_ifindex = 0;
		return CMSG_SPACE(sizeof(*info));
	}
	if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
		info6 = (struct in6_pktinfo *)CMSG_DATA(header);
		if (!IN6_IS_ADDR_LINKLOCAL(&info6->ipi6_addr))
			info6->ipi6_ifindex = 0;
		return CMSG_SPACE(sizeof(*info6));
	}
	return 0;
}

/* ---- answers that come later ------------------------------------------------------------- */

static void forget(struct rd_dns_udp *udp, struct client *client)
{
	rd_dns_wait_cancel(&client->waiter);
	if (client->older)
		client->older->newer = client->newer;
	else
		udp->clients = client->newer;
	if (client->newer)
		client->newer->older = client->older;
	free(client);
}

static void on_answered(struct rd_dns_waiter *waiter, const uint8_t *wire, size_t n)
{
	struct client *client = (struct client *)waiter;
	struct iovec part = {.iov_base = (void *)wire, .iov_len = n};
	struct msghdr message = {
		.msg_name = &client->address,
		.msg_namelen = client->length,
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = client->control_length ? client->control : NULL,
		.msg_controllen = client->control_length,
	};

	if (wire)
		rd_dns_watch_tell(client->socket->udp->watch, &client->address, RD_DNS_UDP,
				  &waiter->question, wire, n,
				  rd_monotonic_ns() - waiter->arrived_ns);
	if (wire && sendmsg(client->socket->fd, &message, MSG_DONTWAIT) < 0)
		rd_dns_lookups_numbers(client->socket->udp->lookups)->dropped++;
	forget(client->socket->udp, client);
}

/* Returns whether the slot's answer is to be sent now. */
static bool wait_for_answer(struct socket *socket, struct slot *slot, const struct msghdr *message,
			    size_t control, uint64_t now)
{
	struct rd_dns_udp *udp = socket->udp;
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return false;
	client->waiter = (struct rd_dns_waiter){
		.transport = RD_DNS_UDP,
		.source = source_of(&slot->address),
		.arrived_ns = now,
		.question = udp->question,
		.answered = on_answered,
	};
	client->socket = socket;
	client->address = slot->address;
	client->length = message->msg_namelen;
	client->control_length = control;
	memcpy(client->control, slot->control, control);
	client->newer = udp->clients;
	if (udp->clients)
		udp->clients->older = client;
	udp->clients = client;
	if (rd_dns_wait(udp->lookups, &client->waiter, slot->answer, &slot->part.iov_len))
		return false;
	forget(udp, client);
	return true;
}

/* ---- batches ----------------------------------------------------------------------------- */

static void prepare(struct rd_dns_udp *udp, bool wildcard)
{
	for (size_t i = 0; i < BATCH; i++) {
		struct slot *slot = &udp->slots[i];

		slot->part = (struct iovec){.iov_base = slot->query, .iov_len = QUERY_BYTES};
		udp->in[i].msg_hdr = (struct msghdr){
			.msg_name = &slot->address,
			.msg_namelen = sizeof(slot->address),
			.msg_iov = &slot->part,
			.msg_iovlen = 1,
			.msg_control = wildcard ? slot->control : NULL,
			.msg_controllen = wildcard ? sizeof(slot->control) : 0,
		};
	}
}

/* Serve the query of a slot. Returns whether its answer is to be sent. */
static bool serve(struct socket *socket, size_t i, uint64_t now)
{
	struct rd_dns_udp *udp = socket->udp;
	struct slot *slot = &udp->slots[i];
	struct msghdr *message = &udp->in[i].msg_hdr;
	size_t control = socket->wildcard ? reply_control(message) : 0;

	slot->part.iov_base = slot->answer;
	message->msg_controllen = control;
	message->msg_control = control ? slot->control : NULL;
	message->msg_flags = 0;
	switch (rd_dns_serve(udp->lookups, slot->query, udp->in[i].msg_len, RD_DNS_UDP, now,
			     &udp->question, slot->answer, &slot->part.iov_len)) {
	case RD_DNS_ANSWERED:
		return true;
	case RD_DNS_WAITS:
		return wait_for_answer(socket, slot, message, control, now);
	case RD_DNS_DROPPED:
		break;
	}
	return false;
}

/* Send them all. Who cannot be reached is passed over; without room in the
 * kernel's queue the rest is dropped, as the network would. */
static void send_all(struct socket *socket, size_t n)
{
	struct rd_dns_udp *udp = socket->udp;
	size_t done = 0;

	while (done < n) {
		int sent =
			sendmmsg(socket->fd, udp->out + done, (unsigned)(n - done), MSG_DONTWAIT);

		if (sent > 0) {
			done += (size_t)sent;
			continue;
		}
		if (errno == EINTR)
			continue;
		rd_dns_lookups_numbers(udp->lookups)->dropped++;
		if (errno == EAGAIN)
			break;
		done++;
	}
}

/* Returns whether there may be more. */
static bool serve_batch(struct socket *socket)
{
	struct rd_dns_udp *udp = socket->udp;
	uint64_t now;
	size_t out = 0;
	int n;

	prepare(udp, socket->wildcard);
	n = recvmmsg(socket->fd, udp->in, BATCH, MSG_DONTWAIT, NULL);
	if (n <= 0)
		return false;
	now = rd_monotonic_ns();
	for (int i = 0; i < n; i++) {
		const struct slot *slot = &udp->slots[i];

		if (!serve(socket, (size_t)i, now))
			continue;
		udp->out[out++].msg_hdr = udp->in[i].msg_hdr;
		if (rd_dns_watch_is_on(udp->watch))
			rd_dns_watch_tell(udp->watch, &slot->address, RD_DNS_UDP, &udp->question,
					  slot->answer, slot->part.iov_len,
					  rd_monotonic_ns() - now);
	}
	if (out) {
		send_all(socket, out);
		rd_dns_count_time(rd_dns_lookups_numbers(udp->lookups), rd_monotonic_ns() - now,
				  out);
	}
	return n == BATCH;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	for (int i = 0; i < BATCHES && serve_batch(context); i++)
		continue;
}

/* ---- sockets ----------------------------------------------------------------------------- */

static int set_options(int fd, const struct rd_ip *ip, uint32_t mark)
{
	int yes = 1, queue = QUEUE_BYTES;
	bool v6 = ip->family == RD_FAMILY_6;

	if (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)))
		return -errno;
	if (rd_ip_is_any(ip) && setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP,
					   v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, &yes, sizeof(yes)))
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		return -errno;
	/* Without them it is slower, no more: a queue may be larger than the
	 * system's limit with a capability only. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &queue, sizeof(queue)))
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &queue, sizeof(queue));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &queue, sizeof(queue)))
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &queue, sizeof(queue));
	return 0;
}

/* Of the group's sockets the one that the last bytes of the client's address
 * say. */
static int spread(int fd, enum rd_ip_family family)
{
	uint32_t at = (uint32_t)SKF_NET_OFF + (family == RD_FAMILY_6 ? 20 : 12);
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at),
		BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, 0x9e3779b1U),
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 28),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};
	struct sock_fprog program = {.len = RD_ARRAY_SIZE(code), .filter = code};

	_Static_assert(SOCKETS == 16, "the upper 4 bits choose a socket");
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program))
		       ? -errno
		       : 0;
}

static int open_socket(struct rd_dns_udp *udp, const struct rd_ip *ip, uint16_t port, uint32_t mark,
		       bool first)
{
	struct socket *item = &udp->sockets[udp->n_sockets];
	struct sockaddr_storage address;
	socklen_t length = rd_ip_sockaddr(ip, port, &address);
	_rd_close_ int fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int yes = 1, r;

	if (fd < 0)
		return -errno;
	r = set_options(fd, ip, mark);
	/* Whoever else has the port: the first socket is bound without sharing it. */
	if (!r && !first && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)))
		r = -errno;
	if (!r && bind(fd, (struct sockaddr *)&address, length))
		r = -errno;
	if (!r && first)
		return 0;
	if (r)
		return r;
	item->readable = event_new(udp->base, fd, EV_READ | EV_PERSIST, on_readable, item);
	if (!item->readable || event_add(item->readable, NULL)) {
		if (item->readable)
			event_free(item->readable);
		return -ENOMEM;
	}
	item->udp = udp;
	item->fd = fd;
	item->wildcard = rd_ip_is_any(ip);
	fd = -1;
	udp->n_sockets++;
	return 0;
}

int rd_dns_udp_listen(struct rd_dns_udp *udp, const struct rd_ip *ip, uint16_t port, uint32_t mark,
		      struct rd_error *error)
{
	char text[RD_IP_PORT_TEXT];
	int r = 0;

	if (udp->n_sockets + SOCKETS > RD_ARRAY_SIZE(udp->sockets))
		return rd_error_set(error, -EINVAL, "--dns may be given %d times", MOST_ADDRESSES);
	/* SO_REUSEPORT would share the port with another program of ours without a
	 * word: it has to be free. */
	r = open_socket(udp, ip, port, mark, true);
	for (size_t i = 0; !r && i < SOCKETS; i++)
		r = open_socket(udp, ip, port, mark, false);
	r = r ?: spread(udp->sockets[udp->n_sockets - 1].fd, (enum rd_ip_family)ip->family);
	if (r)
		return rd_error_set(error, r, "cannot serve DNS at %s over UDP: %s",
				    rd_ip_port_format(ip, port, text), strerror(-r));
	return 0;
}

int rd_dns_udp_new(struct event_base *base, struct rd_dns_lookups *lookups,
		   struct rd_dns_watch *watch, struct rd_dns_udp **ret_udp)
{
	struct rd_dns_udp *udp = calloc(1, sizeof(*udp));

	if (!udp)
		return -ENOMEM;
	udp->base = base;
	udp->lookups = lookups;
	udp->watch = watch;
	*ret_udp = udp;
	return 0;
}

void rd_dns_udp_free(struct rd_dns_udp *udp)
{
	if (!udp)
		return;
	while (udp->clients)
		forget(udp, udp->clients);
	for (size_t i = 0; i < udp->n_sockets; i++) {
		event_free(udp->sockets[i].readable);
		rd_close_cleanup(&udp->sockets[i].fd);
	}
	free(udp);
}
