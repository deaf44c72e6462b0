/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns_watch.h - queries as they are answered, for `redial monitor --names`: the
 * agent listens on a socket without a file, whose name is that of the bpffs, and
 * hands one record for each answer to who has connected. Both sides see that the
 * other one is root. Without a watcher it costs nothing; one that does not read
 * makes nobody wait, and is told how much it has missed.
 */
#ifndef REDIAL_DNS_WATCH_H
#define REDIAL_DNS_WATCH_H

#include <event2/event.h>

#include "dns_numbers.h"
#include "ip.h"
#include "util.h"

/* One answer. */
struct rd_dns_seen {
	uint64_t time_ns; /* realtime */
	uint64_t dropped; /* records before this one that had no room, so far */
	uint64_t took_ns;
	struct rd_ip client;
	uint16_t port; /* the client's, host order */
	uint16_t type;
	uint16_t records; /* in the answer section */
	uint8_t transport;
	uint8_t code;
	uint8_t name[RD_DNS_NAME_MAX]; /* as it was spelled; the root if there was none */
};

struct rd_dns_watch;

/* Be there for who wants to watch. Returns 0 or -errno, with @error set. */
int rd_dns_watch_new(struct event_base *base, const char *bpffs, struct rd_dns_watch **ret_watch,
		     struct rd_error *error);
void rd_dns_watch_free(struct rd_dns_watch *watch);

/* Whether anybody watches. NULL: nobody can. */
bool rd_dns_watch_is_on(const struct rd_dns_watch *watch);

/*
 * Tell of an answer, if anybody watches.
 *
 * @client: a struct sockaddr_in or sockaddr_in6
 * @wire: the answer
 */
void rd_dns_watch_tell(struct rd_dns_watch *watch, const void *client,
		       enum rd_dns_transport transport, const struct rd_dns_question *question,
		       const uint8_t *wire, size_t n, uint64_t took_ns);

/* Watch the agent of a bpffs. Returns a socket that gives one struct rd_dns_seen
 * with each read, or -errno with @error set. */
int rd_dns_watch_connect(const char *bpffs, struct rd_error *error);

#endif
