// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_watch.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct rd_dns_watch {
	struct event *readable;
	int listener;
	int watcher; /* -1: none */
	uint64_t dropped;
};

/* A name for the bpffs that no other one has on this machine. */
static int address_of(const char *bpffs, struct sockaddr_un *address, socklen_t *length)
{
	struct stat st;
	int n;

	if (stat(bpffs, &st))
		return -errno;
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1, "redial-names-%llx-%llx",
		     (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	*length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
	return 0;
}

/* What is asked for is for root's eyes. */
static bool is_root(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) && !peer.uid;
}

static void close_watcher(struct rd_dns_watch *watch)
{
	rd_close_cleanup(&watch->watcher);
	watch->watcher = -1;
	watch->dropped = 0;
}

/* A new one takes the place of the former, who may have gone. */
static void on_watcher(evutil_socket_t listener, short what, void *context)
{
	struct rd_dns_watch *watch = context;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (fd < 0)
		return;
	if (!is_root(fd)) {
		close(fd);
		return;
	}
	close_watcher(watch);
	watch->watcher = fd;
}

int rd_dns_watch_new(struct event_base *base, const char *bpffs, struct rd_dns_watch **ret_watch,
		     struct rd_error *error)
{
	_rd_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct rd_dns_watch *watch;
	struct sockaddr_un address;
	socklen_t length;
	int r = fd < 0 ? -errno : address_of(bpffs, &address, &length);

	if (!r && (bind(fd, (struct sockaddr *)&address, length) || listen(fd, 4)))
		r = -errno;
	if (r)
		return rd_error_set(error, r, "names cannot be watched: %s", strerror(-r));
	watch = calloc(1, sizeof(*watch));
	if (watch)
		watch->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_watcher, watch);
	if (!watch || !watch->readable || event_add(watch->readable, NULL)) {
		if (watch && watch->readable)
			event_free(watch->readable);
		free(watch);
		return rd_error_set(error, -ENOMEM, "out of memory");
	}
	watch->listener = fd;
	watch->watcher = -1;
	fd = -1;
	*ret_watch = watch;
	return 0;
}

void rd_dns_watch_free(struct rd_dns_watch *watch)
{
	if (!watch)
		return;
	event_free(watch->readable);
	rd_close_cleanup(&watch->watcher);
	rd_close_cleanup(&watch->listener);
	free(watch);
}

bool rd_dns_watch_is_on(const struct rd_dns_watch *watch)
{
	return watch && watch->watcher >= 0;
}

static void set_client(struct rd_dns_seen *seen, const void *client)
{
	const struct sockaddr_in6 *in6 = client;
	const struct sockaddr_in *in = client;

	if (in->sin_family == AF_INET6) {
		seen->client = rd_ip_from_bytes(RD_FAMILY_6, in6->sin6_addr.s6_addr);
		seen->port = ntohs(in6->sin6_port);
		return;
	}
	seen->client = rd_ip_from_bytes(RD_FAMILY_4, (const uint8_t *)&in->sin_addr);
	seen->port = ntohs(in->sin_port);
}

void rd_dns_watch_tell(struct rd_dns_watch *watch, const void *client,
		       enum rd_dns_transport transport, const struct rd_dns_question *question,
		       const uint8_t *wire, size_t n, uint64_t took_ns)
{
	struct rd_dns_seen seen = {.took_ns = took_ns, .transport = (uint8_t)transport};

	if (!rd_dns_watch_is_on(watch) || n < RD_DNS_HEADER)
		return;
	seen.time_ns = rd_realtime_ns();
	seen.dropped = watch->dropped;
	seen.type = question->type;
	seen.code = wire[3] & RD_DNS_RCODE;
	seen.records = rd_dns_get16(wire + 6);
	set_client(&seen, client);
	memcpy(seen.name, question->spelled, question->name_length);
	if (send(watch->watcher, &seen, sizeof(seen), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return;
	if (errno == EAGAIN || errno == ENOBUFS)
		watch->dropped++;
	else
		close_watcher(watch);
}

int rd_dns_watch_connect(const char *bpffs, struct rd_error *error)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	socklen_t length;
	int r = fd < 0 ? -errno : address_of(bpffs, &address, &length);

	if (!r && connect(fd, (struct sockaddr *)&address, length))
		r = -errno;
	if (!r && !is_root(fd))
		r = -EPERM;
	if (!r)
		return fd;
	rd_close_cleanup(&fd);
	return rd_error_set(error, r,
			    r == -ECONNREFUSED
				    ? "no agent serves names for %s in this network namespace, "
				      "see 'redial run --dns': %s"
				    : "cannot watch the names of %s: %s",
			    bpffs, strerror(-r));
}
