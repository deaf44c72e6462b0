// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_server.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "dns_tcp.h"
#include "dns_udp.h"
#include "log.h"
#include "resolvconf.h"

/* Of answers: all names of 10,000 Services, and as much again of others. */
#define CACHE_BYTES (32UL << 20)
/* Questions under way at upstreams, and how long each try may take. */
#define MOST_PENDING 1024
#define TRY_MS 1500
#define MOST_UPSTREAMS RD_RESOLVCONF_SERVERS
#define MOST_ADDRESSES 8
#define DNS_PORT 53

struct rd_dns_server {
	struct rd_dns_zone *zone;
	struct rd_dns_upstreams *upstreams; /* NULL: other names are refused */
	struct rd_dns_lookups *lookups;
	struct rd_dns_watch *watch; /* NULL: it cannot be watched */
	struct rd_dns_udp *udp;
	struct rd_dns_tcp *tcp;
	struct rd_ip own[2]; /* it serves there; family 0: at no address of it in particular */
	/* Those whom this machine asks are asked, as the file was when it was read. */
	bool follows_machine;
	struct stat file;
	const char *const *addresses; /* of the configuration */
};

/* ---- upstreams ---------------------------------------------------------------------- */

/* "10.0.0.1", "10.0.0.1:53", "fd00::1" or "[fd00::1]:53". */
static int parse_upstream(const char *text, struct rd_dns_server_address *ret_address)
{
	struct rd_dns_server_address address = {.port = DNS_PORT};

	if (rd_ip_parse(text, &address.ip) &&
	    (rd_ip_port_parse(text, &address.ip, &address.port) || !address.port))
		return -EINVAL;
	*ret_address = address;
	return 0;
}

static int parse_upstreams(const char *text, struct rd_dns_server_address *addresses, size_t *ret_n,
			   struct rd_error *error)
{
	size_t n = 0;

	for (; *text; text += strcspn(text, ","), text += *text == ',') {
		char one[RD_IP_PORT_TEXT];

		snprintf(one, sizeof(one), "%.*s", (int)strcspn(text, ","), text);
		if (n == MOST_UPSTREAMS)
			return rd_error_usage(error, "--dns-upstream takes %d addresses at most",
					      MOST_UPSTREAMS);
		if (strcspn(text, ",") >= sizeof(one) || parse_upstream(one, &addresses[n++]))
			return rd_error_usage(error,
					      "--dns-upstream takes none, or addresses such as "
					      "10.0.0.1:53,[fd00::1]:53, not %s",
					      text);
	}
	*ret_n = n;
	return 0;
}

/* Those that this machine asks, but for ourselves.
 * Returns 0, or -errno with @error set. */
static int find_upstreams(const struct rd_dns_server *server,
			  struct rd_dns_server_address *ret_addresses, size_t *ret_n,
			  struct rd_error *error)
{
	_rd_free_ struct rd_resolvconf *conf = calloc(1, sizeof(*conf));
	struct rd_ip own[MOST_ADDRESSES];
	size_t n = 0;
	int r;

	if (!conf)
		return rd_error_set(error, -ENOMEM, "out of memory");
	for (const char *const *text = server->addresses; *text && n < RD_ARRAY_SIZE(own); text++) {
		uint16_t port;

		if (!rd_ip_port_parse(*text, &own[n], &port) && port == DNS_PORT)
			n++;
	}
	r = rd_resolvconf_read(RD_RESOLVCONF_PATH, conf, error);
	if (r)
		return r;
	*ret_n = rd_resolvconf_servers(conf, own, n, ret_addresses);
	return 0;
}

/* Whether it is another file than at the last look, or has been written since. */
static bool has_changed(struct rd_dns_server *server)
{
	struct stat now = {0}, was = server->file;

	(void)stat(RD_RESOLVCONF_PATH, &now); /* one that is not there is all zeros */
	server->file = now;
	return now.st_dev != was.st_dev || now.st_ino != was.st_ino || now.st_size != was.st_size ||
	       now.st_mtim.tv_sec != was.st_mtim.tv_sec ||
	       now.st_mtim.tv_nsec != was.st_mtim.tv_nsec;
}

void rd_dns_server_reread(struct rd_dns_server *server, bool always)
{
	struct rd_dns_server_address addresses[RD_RESOLVCONF_SERVERS];
	struct rd_error error = {0};
	size_t n = 0;

	/* Looked at first: what is written while it is read is seen the next time. */
	if (!server->follows_machine || (!has_changed(server) && !always))
		return;
	if (find_upstreams(server, addresses, &n, &error))
		rd_log(RD_LOG_WARN, "the resolvers asked so far are kept",
		       RD_TEXT("error", error.text));
	else if (!n)
		rd_log(RD_LOG_WARN, "the resolvers asked so far are kept",
		       RD_TEXT("error", RD_RESOLVCONF_PATH " names no other"));
	else if (rd_dns_upstreams_set(server->upstreams, addresses, n))
		rd_log(RD_LOG_WARN, "the resolvers asked so far are kept",
		       RD_TEXT("error", "out of memory"));
	else
		rd_log(RD_LOG_INFO, "resolvers read", RD_TEXT("file", RD_RESOLVCONF_PATH),
		       RD_NUMBER("servers", n));
}

/* Descriptors are for the agent's own needs too: allow as many as may be, and
 * take a part of them. Returns how many questions may be under way. */
static unsigned take_descriptors(void)
{
	struct rlimit limit = {.rlim_cur = 256};

	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < limit.rlim_max) {
		struct rlimit most = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};

		if (!setrlimit(RLIMIT_NOFILE, &most))
			limit = most;
	}
	/* Each has two sockets at most. */
	return limit.rlim_cur / 8 < MOST_PENDING ? (unsigned)(limit.rlim_cur / 8) : MOST_PENDING;
}

static int open_upstreams(struct rd_dns_server *server, const struct rd_dns_server_config *config,
			  struct event_base *base, struct rd_error *error)
{
	struct rd_dns_upstream_config upstream = {
		.mark = config->mark, .timeout_ms = TRY_MS, .max_pending = take_descriptors()};
	struct rd_dns_server_address addresses[MOST_UPSTREAMS];
	struct rd_error unread;
	size_t n = 0;

	if (config->upstreams && !strcmp(config->upstreams, "none"))
		return 0;
	if (config->upstreams && parse_upstreams(config->upstreams, addresses, &n, error))
		return -EINVAL;
	server->follows_machine = !config->upstreams;
	if (server->follows_machine) {
		(void)has_changed(server);
		if (find_upstreams(server, addresses, &n, &unread))
			rd_log(RD_LOG_WARN, "no upstream is known, other names fail",
			       RD_TEXT("error", unread.text));
	}
	if (rd_dns_upstreams_new(&upstream, base, &server->upstreams) ||
	    rd_dns_upstreams_set(server->upstreams, addresses, n))
		return rd_error_set(error, -ENOMEM, "out of memory");
	return 0;
}

int rd_dns_server_ask(struct rd_dns_server *server, const struct rd_dns_server_address *addresses,
		      size_t n)
{
	return server->upstreams ? rd_dns_upstreams_set(server->upstreams, addresses, n) : 0;
}

bool rd_dns_server_is_idle(const struct rd_dns_server *server)
{
	return rd_dns_lookups_are_idle(server->lookups);
}

/* ---- where it serves ------------------------------------------------------------------- */

static int listen_at(struct rd_dns_server *server, const struct rd_dns_server_config *config,
		     const char *text, struct rd_error *error)
{
	struct rd_ip ip, *own;
	uint16_t port;
	int r;

	if (rd_ip_port_parse(text, &ip, &port) || !port)
		return rd_error_usage(error,
				      "--dns takes ADDRESS:PORT such as 10.96.0.10:53 or "
				      "[fd00::10]:53, not %s",
				      text);
	r = rd_dns_udp_listen(server->udp, &ip, port, config->mark, error)
		    ?: rd_dns_tcp_listen(server->tcp, &ip, port, config->mark, error);
	own = &server->own[ip.family == RD_FAMILY_6];
	if (!r && !own->family && !rd_ip_is_any(&ip))
		*own = ip;
	return r;
}

void rd_dns_server_set_node(struct rd_dns_server *server, const struct rd_ip *ips, size_t n)
{
	struct rd_ip own[2] = {server->own[0], server->own[1]};
	struct rd_ip known[2];
	size_t n_known = 0;

	for (size_t i = 0; i < n; i++) {
		struct rd_ip *of_family = &own[ips[i].family == RD_FAMILY_6];

		if (!of_family->family && !rd_ip_is_loopback(&ips[i]))
			*of_family = ips[i];
	}
	for (size_t i = 0; i < RD_ARRAY_SIZE(own); i++)
		if (own[i].family)
			known[n_known++] = own[i];
	rd_dns_zone_set_server(server->zone, known, n_known);
}

void rd_dns_server_know(struct rd_dns_server *server, enum rd_dns_known known)
{
	rd_dns_zone_know(server->zone, known);
}

const struct rd_dns_numbers *rd_dns_server_numbers(const struct rd_dns_server *server)
{
	return rd_dns_lookups_numbers(server->lookups);
}

/* ---- life --------------------------------------------------------------------------------- */

static int start(struct rd_dns_server *server, const struct rd_dns_server_config *config,
		 const struct rd_store *store, struct event_base *base, struct rd_error *error)
{
	struct rd_dns_zone_config zone = config->zone;
	struct rd_error unwatched;
	int r = open_upstreams(server, config, base, error);

	zone.recursion = server->upstreams;
	r = r ?: rd_dns_zone_new(&zone, store, &server->zone, error);
	if (r)
		return r;
	if (rd_dns_watch_new(base, config->bpffs, &server->watch, &unwatched))
		rd_log(RD_LOG_WARN, "served without watchers", RD_TEXT("error", unwatched.text));
	if (rd_dns_lookups_new(base, server->zone, server->upstreams, CACHE_BYTES,
			       &server->lookups) ||
	    rd_dns_udp_new(base, server->lookups, server->watch, &server->udp) ||
	    rd_dns_tcp_new(base, server->lookups, server->watch, &server->tcp))
		return rd_error_set(error, -ENOMEM, "out of memory");
	for (const char *const *text = config->addresses; !r && *text; text++)
		r = listen_at(server, config, *text, error);
	if (!r)
		rd_dns_server_set_node(server, NULL, 0);
	return r;
}

int rd_dns_server_new(const struct rd_dns_server_config *config, const struct rd_store *store,
		      struct event_base *base, struct rd_dns_server **ret_server,
		      struct rd_error *error)
{
	struct rd_dns_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return rd_error_set(error, -ENOMEM, "out of memory");
	server->addresses = config->addresses;
	r = start(server, config, store, base, error);
	if (r) {
		rd_dns_server_free(server);
		return r;
	}
	*ret_server = server;
	return 0;
}

void rd_dns_server_free(struct rd_dns_server *server)
{
	if (!server)
		return;
	rd_dns_tcp_free(server->tcp);
	rd_dns_udp_free(server->udp);
	rd_dns_watch_free(server->watch);
	rd_dns_lookups_free(server->lookups);
	rd_dns_upstreams_free(server->upstreams);
	rd_dns_zone_free(server->zone);
	free(server);
}
