/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * resolvconf.h - resolv.conf(5): which resolvers a machine asks, read as glibc
 * reads it, and written for a Pod that is to ask redial. All but the reading of
 * the file is pure.
 */
#ifndef REDIAL_RESOLVCONF_H
#define REDIAL_RESOLVCONF_H

#include <net/if.h>

#include "dns_upstream.h"
#include "ip.h"
#include "util.h"

#define RD_RESOLVCONF_PATH "/etc/resolv.conf"

/* More are passed over. glibc itself takes three. */
#define RD_RESOLVCONF_SERVERS 8
/* The kubelet's limits for a Pod; glibc has none since 2.26. */
#define RD_RESOLVCONF_SEARCHES 32
#define RD_RESOLVCONF_SEARCH_BYTES 2048
/* Of a Pod: as many as glibc and musl ask; and how many dots make a name of its
 * be tried as it is first, as the kubelet says it. */
#define RD_RESOLVCONF_POD_SERVERS 3
#define RD_RESOLVCONF_POD_NDOTS 5
/* The longest name in text. */
#define RD_RESOLVCONF_NAME 254

struct rd_resolvconf {
	size_t n_servers;
	struct {
		struct rd_ip ip;
		char scope[IF_NAMESIZE]; /* an interface's name or number, "": none */
	} servers[RD_RESOLVCONF_SERVERS];
	/* Of the last "search" or "domain"; a name that is too long is left out. */
	size_t n_searches;
	char searches[RD_RESOLVCONF_SEARCHES][RD_RESOLVCONF_NAME];
	unsigned ndots;		  /* 0 to 15, without a word 1 */
	unsigned timeout_seconds; /* 1 to 30, without a word 5 */
	unsigned attempts;	  /* 1 to 5, without a word 2 */
};

/* Read its text. What glibc ignores is ignored, so this cannot fail. */
void rd_resolvconf_parse(const char *text, size_t n, struct rd_resolvconf *ret_conf);

/* The same for a file. Returns 0, or -errno with @error naming the file. */
int rd_resolvconf_read(const char *path, struct rd_resolvconf *ret_conf, struct rd_error *error);

/*
 * The servers as addresses to ask, at port 53, without those that are our own:
 * they would ask us again.
 *
 * @own: where we answer at port 53; an address of all zeros stands for every
 * loopback address
 * @ret_addresses: room for RD_RESOLVCONF_SERVERS
 * Returns how many there are. Names of interfaces are looked up here.
 */
size_t rd_resolvconf_servers(const struct rd_resolvconf *conf, const struct rd_ip *own,
			     size_t n_own, struct rd_dns_server_address *ret_addresses);

/* What a Pod is told. */
struct rd_resolvconf_pod {
	size_t n_servers;
	struct rd_ip servers[RD_RESOLVCONF_POD_SERVERS];
	size_t n_searches;
	const char *searches[RD_RESOLVCONF_SEARCHES];
	char own[2][RD_RESOLVCONF_NAME]; /* NS.svc.D and svc.D */
};

/*
 * What a Pod of this namespace is told, as the kubelet tells one whose dnsPolicy
 * is ClusterFirst: the cluster's names first, then what the node searches; no
 * name twice.
 *
 * @servers: of which no more than RD_RESOLVCONF_POD_SERVERS are told
 * @domain: of the cluster, without a dot at its end; kept by reference
 * @host: the node's; its names are kept by reference
 * @ret_pod: not to be moved
 * Returns 0, or -EINVAL with @error set for what is no name.
 */
int rd_resolvconf_for_pod(const struct rd_ip *servers, size_t n_servers, const char *namespace,
			  const char *domain, const struct rd_resolvconf *host,
			  struct rd_resolvconf_pod *ret_pod, struct rd_error *error);

/* Its text, to be freed; NULL: out of memory. */
char *rd_resolvconf_write(const struct rd_resolvconf_pod *pod);

#endif
