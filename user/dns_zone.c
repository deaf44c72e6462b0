// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_zone.h"

#include <errno.h>
#include <ldns/ldns.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "dns_endpoints.h"

/* ExternalNames that lead to one another. */
#define MOST_STEPS 8
/* A message has 65535 bytes at most; names are counted as they are without
 * compression. */
#define MOST_BYTES 60000
#define MOST_LABELS (RD_DNS_NAME_MAX / 2 + 1)
/* Of the zone's SOA record. */
#define REFRESH 7200
#define RETRY 1800
#define EXPIRE 86400

struct rd_dns_zone {
	struct rd_dns_zone_config config;
	const struct rd_store *store;
	enum rd_dns_known known;
	struct rd_dns_name origin; /* the domain */
	size_t origin_labels;
	struct rd_dns_name server; /* ns.dns.… */
	struct rd_dns_name hostmaster;
	struct rd_ip server_ip[2];
	struct rd_address_index addresses;
};

/* One answer in the making. */
struct build {
	struct rd_dns_zone *zone;
	const struct rd_dns_question *question;
	struct rd_dns_name name; /* asked for, or where that led */
	ldns_pkt *packet;
	size_t bytes;
	bool exists; /* the name, whatever it has */
	bool any;    /* it has what was asked for */
	const uint64_t *stamp;
};

static bool is_asked(const struct build *b, uint16_t type)
{
	return b->question->type == type;
}

/* ---- records: by ldns -------------------------------------------------------------------- */

/* A record's data, in the order of its fields; NULL means out of memory. */
struct fields {
	ldns_rdf *field[7];
	size_t n;
};

static ldns_rdf *name_field(const struct rd_dns_name *name)
{
	return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, name->n, name->wire);
}

static ldns_rdf *number_field(uint16_t number)
{
	return ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, number);
}

static ldns_rdf *long_field(uint32_t number)
{
	return ldns_native2rdf_int32(LDNS_RDF_TYPE_INT32, number);
}

static ldns_rdf *text_field(const char *text)
{
	uint8_t bytes[64];
	size_t n = strlen(text);

	bytes[0] = (uint8_t)n;
	memcpy(bytes + 1, text, n);
	return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_STR, n + 1, bytes);
}

static ldns_rdf *address_field(const struct rd_ip *ip)
{
	bool v6 = ip->family == RD_FAMILY_6;

	return ldns_rdf_new_frm_data(v6 ? LDNS_RDF_TYPE_AAAA : LDNS_RDF_TYPE_A, v6 ? 16 : 4,
				     ip->bytes);
}

/* Append a record. Takes the fields, whatever comes of it. What has no room is
 * left out. Returns 0 or -ENOMEM. */
static int push(struct build *b, ldns_pkt_section section, const struct rd_dns_name *owner,
		uint16_t type, struct fields fields)
{
	ldns_rr *record = ldns_rr_new();
	size_t bytes = owner->n + 10U, kept = 0;
	ldns_rdf *name = name_field(owner);
	bool fits;

	for (size_t i = 0; i < fields.n; i++)
		bytes += fields.field[i] ? ldns_rdf_size(fields.field[i]) : 0;
	fits = b->bytes + bytes <= MOST_BYTES;
	if (record && name && fits) {
		ldns_rr_set_owner(record, rd_take(name));
		ldns_rr_set_type(record, (ldns_rr_type)type);
		ldns_rr_set_class(record, LDNS_RR_CLASS_IN);
		ldns_rr_set_ttl(record, RD_DNS_TTL);
		while (kept < fields.n && fields.field[kept] &&
		       ldns_rr_push_rdf(record, fields.field[kept]))
			kept++;
	}
	if (fits && kept && kept == fields.n && ldns_pkt_push_rr(b->packet, section, record)) {
		b->bytes += bytes;
		b->any |= section == LDNS_SECTION_ANSWER;
		return 0;
	}
	for (size_t i = kept; i < fields.n; i++)
		ldns_rdf_deep_free(fields.field[i]);
	ldns_rdf_deep_free(name);
	ldns_rr_free(record);
	return fits ? -ENOMEM : 0;
}

#define FIELDS(...)                                                                                \
	((struct fields){.field = {__VA_ARGS__},                                                   \
			 .n = sizeof((ldns_rdf *[]){__VA_ARGS__}) / sizeof(ldns_rdf *)})

static uint16_t address_type(const struct rd_ip *ip)
{
	return ip->family == RD_FAMILY_6 ? RD_DNS_AAAA : RD_DNS_A;
}

/* An address record for the name asked for, if such are asked for. */
static int push_address(struct build *b, const struct rd_ip *ip)
{
	if (!ip->family || !is_asked(b, address_type(ip)))
		return 0;
	return push(b, LDNS_SECTION_ANSWER, &b->name, address_type(ip), FIELDS(address_field(ip)));
}

static int push_soa(struct build *b, ldns_pkt_section section, const struct rd_dns_name *owner)
{
	const struct rd_dns_zone *zone = b->zone;
	uint32_t serial = zone->config.serial + (uint32_t)zone->store->stamp;

	return push(b, section, owner, RD_DNS_SOA,
		    FIELDS(name_field(&zone->server), name_field(&zone->hostmaster),
			   long_field(serial), long_field(REFRESH), long_field(RETRY),
			   long_field(EXPIRE), long_field(RD_DNS_TTL)));
}

/* ---- the zone itself --------------------------------------------------------------------- */

static int answer_server(struct build *b)
{
	b->exists = true;
	return push_address(b, &b->zone->server_ip[0]) ?: push_address(b, &b->zone->server_ip[1]);
}

static int answer_apex(struct build *b)
{
	const struct rd_dns_zone *zone = b->zone;
	int r = 0;

	b->exists = true;
	if (is_asked(b, RD_DNS_SOA))
		return push_soa(b, LDNS_SECTION_ANSWER, &zone->origin);
	if (!is_asked(b, RD_DNS_NS))
		return 0;
	r = push(b, LDNS_SECTION_ANSWER, &zone->origin, RD_DNS_NS,
		 FIELDS(name_field(&zone->server)));
	for (size_t i = 0; !r && i < RD_ARRAY_SIZE(zone->server_ip); i++)
		if (zone->server_ip[i].family)
			r = push(b, LDNS_SECTION_ADDITIONAL, &zone->server,
				 address_type(&zone->server_ip[i]),
				 FIELDS(address_field(&zone->server_ip[i])));
	return r;
}

static int answer_version(struct build *b)
{
	b->exists = true;
	if (!is_asked(b, RD_DNS_TXT))
		return 0;
	return push(b, LDNS_SECTION_ANSWER, &b->name, RD_DNS_TXT, FIELDS(text_field("1.1.0")));
}

/* ---- Services ---------------------------------------------------------------------------- */

static bool is_protocol(const char *label, uint8_t protocol)
{
	const char *name = protocol == IPPROTO_TCP   ? "_tcp"
			   : protocol == IPPROTO_UDP ? "_udp"
						     : "_sctp";

	return !strcmp(label, name);
}

/* <Service>.<namespace>.svc.<domain> */
static bool service_name(const struct rd_dns_zone *zone, const struct rd_object *service,
			 struct rd_dns_name *ret_name)
{
	*ret_name = zone->origin;
	return rd_dns_name_prepend(ret_name, "svc", 3) &&
	       rd_dns_name_prepend(ret_name, service->namespace, strlen(service->namespace)) &&
	       rd_dns_name_prepend(ret_name, service->name, strlen(service->name));
}

/* The endpoints of a headless Service. */
struct endpoints {
	struct rd_named_endpoint *items;
	size_t n;
};

static int get_endpoints(const struct build *b, const struct rd_object *service,
			 struct endpoints *ret_endpoints)
{
	return rd_named_endpoints(b->zone->store, service, b->zone->config.legacy_endpoints,
				  &ret_endpoints->items, &ret_endpoints->n);
}

/* Every address once: they come in order. */
static int push_endpoints(struct build *b, const struct endpoints *endpoints, const char *label)
{
	const struct rd_ip *last = NULL;
	char buffer[RD_DNS_OWN_LABEL];
	int r = 0;

	for (size_t i = 0; !r && i < endpoints->n; i++) {
		const struct rd_named_endpoint *endpoint = &endpoints->items[i];

		if (label && strcmp(label, rd_named_label(endpoint, buffer)))
			continue;
		b->exists = true;
		if (last && !rd_ip_compare(last, &endpoint->ip))
			continue;
		last = &endpoint->ip;
		r = push_address(b, &endpoint->ip);
	}
	return r;
}

static int answer_service(struct build *b, const struct rd_object *service)
{
	struct endpoints endpoints = {0};
	int r;

	if (!service->service.headless) {
		b->exists = true;
		return push_address(b, &service->service.cluster_ip[0])
			       ?: push_address(b, &service->service.cluster_ip[1]);
	}
	r = get_endpoints(b, service, &endpoints) ?: push_endpoints(b, &endpoints, NULL);
	free(endpoints.items);
	return r;
}

static int answer_endpoint(struct build *b, const struct rd_object *service, const char *label)
{
	struct endpoints endpoints = {0};
	int r;

	if (!service->service.headless)
		return 0;
	r = get_endpoints(b, service, &endpoints) ?: push_endpoints(b, &endpoints, label);
	free(endpoints.items);
	return r;
}

static int push_srv(struct build *b, uint16_t port, const struct rd_dns_name *target)
{
	return push(
		b, LDNS_SECTION_ANSWER, &b->name, RD_DNS_SRV,
		FIELDS(number_field(0), number_field(100), number_field(port), name_field(target)));
}

static int push_additional(struct build *b, const struct rd_dns_name *owner, const struct rd_ip *ip)
{
	if (!ip->family)
		return 0;
	return push(b, LDNS_SECTION_ADDITIONAL, owner, address_type(ip), FIELDS(address_field(ip)));
}

/* One SRV record, of an endpoint's name and port. */
struct target {
	const struct rd_named_endpoint *endpoint;
	char label[RD_DNS_OWN_LABEL];
	uint16_t port;
};

static int compare_targets(const void *a, const void *b)
{
	const struct target *x = a, *y = b;

	return strcmp(x->label, y->label) ?: (int)x->port - (int)y->port;
}

static bool endpoint_name(const struct rd_dns_name *service, const char *label,
			  struct rd_dns_name *ret_name)
{
	*ret_name = *service;
	return rd_dns_name_prepend(ret_name, label, strlen(label));
}

/* The endpoints that have a port, by their names. */
static int get_targets(const struct endpoints *endpoints, const struct rd_service_port *port,
		       struct target **ret_targets, size_t *ret_n)
{
	struct target *targets = calloc(endpoints->n + 1, sizeof(*targets));
	size_t n = 0;

	if (!targets)
		return -ENOMEM;
	for (size_t i = 0; i < endpoints->n; i++) {
		const struct rd_named_endpoint *endpoint = &endpoints->items[i];
		uint16_t number = rd_named_port(endpoint, port);
		char buffer[RD_DNS_OWN_LABEL];

		if (!number)
			continue;
		snprintf(targets[n].label, sizeof(targets[n].label), "%s",
			 rd_named_label(endpoint, buffer));
		targets[n].endpoint = endpoint;
		targets[n++].port = number;
	}
	qsort(targets, n, sizeof(*targets), compare_targets);
	*ret_targets = targets;
	*ret_n = n;
	return 0;
}

/* A name in both families, or in two slices, has one SRV record. */
static int push_targets(struct build *b, const struct rd_dns_name *service,
			const struct target *targets, size_t n)
{
	struct rd_dns_name name;
	int r = 0;

	for (size_t i = 0; !r && i < n; i++)
		if ((!i || compare_targets(&targets[i - 1], &targets[i])) &&
		    endpoint_name(service, targets[i].label, &name))
			r = push_srv(b, targets[i].port, &name);
	for (size_t i = 0; !r && i < n; i++)
		if ((!i || rd_ip_compare(&targets[i - 1].endpoint->ip, &targets[i].endpoint->ip)) &&
		    endpoint_name(service, targets[i].label, &name))
			r = push_additional(b, &name, &targets[i].endpoint->ip);
	return r;
}

static int answer_headless_port(struct build *b, const struct rd_object *service,
				const struct rd_dns_name *name, const struct rd_service_port *port,
				bool whole)
{
	_rd_free_ struct target *targets = NULL;
	struct endpoints endpoints = {0};
	size_t n = 0;
	int r = get_endpoints(b, service, &endpoints)
			?: get_targets(&endpoints, port, &targets, &n);

	b->exists |= n > 0;
	if (!r && whole && is_asked(b, RD_DNS_SRV))
		r = push_targets(b, name, targets, n);
	free(endpoints.items);
	return r;
}

/* _port._protocol, below a Service; @port NULL: any (H2). */
static int answer_port(struct build *b, const struct rd_object *service, const char *port,
		       const char *protocol)
{
	const struct rd_service_spec *spec = &service->service;
	struct rd_dns_name name;
	int r = 0;

	if (!service_name(b->zone, service, &name))
		return 0;
	for (size_t i = 0; !r && i < spec->n_ports; i++) {
		if (!*spec->ports[i].name || !is_protocol(protocol, spec->ports[i].protocol) ||
		    (port && strcmp(port, spec->ports[i].name)))
			continue;
		if (spec->headless) {
			r = answer_headless_port(b, service, &name, &spec->ports[i], port);
			continue;
		}
		b->exists = true;
		if (!port || !is_asked(b, RD_DNS_SRV))
			continue;
		r = push_srv(b, spec->ports[i].port, &name)
			    ?: push_additional(b, &name, &spec->cluster_ip[0])
			    ?: push_additional(b, &name, &spec->cluster_ip[1]);
	}
	return r;
}

/* ---- names ------------------------------------------------------------------------------- */

/* The labels of a name before its origin, as strings, the first one first. */
struct labels {
	char text[5][RD_DNS_LABEL_MAX + 1];
	size_t n; /* may be more than there is room for */
};

static size_t count_labels(const uint8_t *wire)
{
	size_t n = 0;

	for (; *wire; wire += *wire + 1)
		n++;
	return n;
}

/* Whether a name is in the zone. */
static bool split(const struct rd_dns_zone *zone, const struct rd_dns_name *name,
		  struct labels *ret_labels)
{
	const uint8_t *at = name->wire;
	size_t all = count_labels(at), n;

	if (all < zone->origin_labels)
		return false;
	n = all - zone->origin_labels;
	for (size_t i = 0; i < n; i++, at += *at + 1) {
		if (i >= RD_ARRAY_SIZE(ret_labels->text))
			continue;
		memcpy(ret_labels->text[i], at + 1, *at);
		ret_labels->text[i][*at] = '\0';
		/* A NUL is in no name of ours: nor is this. */
		if (strlen(ret_labels->text[i]) != *at)
			memcpy(ret_labels->text[i], "\\", 2);
	}
	ret_labels->n = n;
	return (size_t)(name->wire + name->n - at) == zone->origin.n &&
	       !memcmp(at, zone->origin.wire, zone->origin.n);
}

/* An ExternalName: the name is another's, which is looked at next. An address is
 * no name: there is nothing then. */
static int follow(struct build *b, const struct rd_object *service)
{
	const char *external = service->service.external_name;
	struct rd_dns_name target;
	struct rd_ip ip;
	int r;

	b->exists = true;
	if (!external || !rd_ip_parse(external, &ip) || rd_dns_name_parse(external, &target))
		return 0;
	if (is_asked(b, RD_DNS_ANY))
		return 0;
	r = push(b, LDNS_SECTION_ANSWER, &b->name, RD_DNS_CNAME, FIELDS(name_field(&target)));
	if (r || is_asked(b, RD_DNS_CNAME))
		return r;
	b->name = target;
	b->any = b->exists = false;
	/* Of more than one Service from now on. */
	b->stamp = &b->zone->store->stamp;
	return 1;
}

/* What is below <Service>.<namespace>.svc, which has `n` labels. */
static int answer_below(struct build *b, const struct labels *labels, size_t n,
			const struct rd_object *service)
{
	const char *first = labels->text[0];

	if (n == 0)
		return answer_service(b, service);
	if (n == 1 && *first == '_')
		return answer_port(b, service, NULL, first);
	if (n == 1)
		return answer_endpoint(b, service, first);
	if (n == 2 && *first == '_')
		return answer_port(b, service, first + 1, labels->text[1]);
	return 0;
}

/* What the name has. Returns 0, 1 if another name is to be looked at, or
 * -ENOMEM. */
static int answer_name(struct build *b, const struct labels *labels)
{
	const struct rd_store *store = b->zone->store;
	const char(*text)[RD_DNS_LABEL_MAX + 1] = labels->text;
	const struct rd_object *service;
	bool follows = b->stamp == &store->stamp;
	size_t n = labels->n;

	if (n == 0)
		return answer_apex(b);
	if (n == 1 && !strcmp(text[0], "dns-version"))
		return answer_version(b);
	if (n == 2 && !strcmp(text[0], "ns") && !strcmp(text[1], "dns"))
		return answer_server(b);
	if (n > RD_ARRAY_SIZE(labels->text))
		return 0;
	b->exists = n == 1 && (!strcmp(text[0], "svc") || !strcmp(text[0], "dns"));
	if (n == 1 || strcmp(text[n - 1], "svc"))
		return 0;
	if (n == 2) {
		if (!follows)
			b->stamp = rd_store_stamp(store, text[0], "");
		b->exists = rd_store_next(store, RD_SERVICE, text[0], NULL);
		return 0;
	}
	if (!follows)
		b->stamp = rd_store_stamp(store, text[n - 2], text[n - 3]);
	service = rd_store_find(store, RD_SERVICE, text[n - 2], text[n - 3]);
	if (!service)
		return 0;
	if (service->service.type == RD_TYPE_EXTERNAL_NAME)
		return n == 3 ? follow(b, service) : 0;
	return answer_below(b, labels, n - 3, service);
}

/* ---- addresses --------------------------------------------------------------------------- */

static bool ends_with(const struct rd_dns_name *name, const char *first, const char *second,
		      size_t labels)
{
	const uint8_t *at = name->wire;
	struct rd_dns_name suffix = {.n = 1};

	if (count_labels(at) != labels + 2)
		return false;
	while (labels--)
		at += *at + 1;
	return rd_dns_name_prepend(&suffix, second, strlen(second)) &&
	       rd_dns_name_prepend(&suffix, first, strlen(first)) &&
	       !memcmp(at, suffix.wire, suffix.n);
}

static bool to_number(const uint8_t *label, unsigned *ret_number)
{
	unsigned number = 0;

	if (!*label || *label > 3 || (*label > 1 && label[1] == '0'))
		return false;
	for (size_t i = 1; i <= *label; i++) {
		if (label[i] < '0' || label[i] > '9')
			return false;
		number = number * 10 + label[i] - '0';
	}
	*ret_number = number;
	return number < 256;
}

static bool to_nibble(const uint8_t *label, unsigned *ret_nibble)
{
	static const char digits[] = "0123456789abcdef";
	const char *digit = *label == 1 && label[1] ? strchr(digits, label[1]) : NULL;

	*ret_nibble = digit ? (unsigned)(digit - digits) : 0;
	return digit;
}

/* The address that a name of in-addr.arpa or ip6.arpa stands for. */
static bool reverse_address(const struct rd_dns_name *name, struct rd_ip *ret_ip)
{
	bool v4 = ends_with(name, "in-addr", "arpa", 4);
	const uint8_t *at = name->wire;
	struct rd_ip ip = {.family = v4 ? RD_FAMILY_4 : RD_FAMILY_6};

	if (!v4 && !ends_with(name, "ip6", "arpa", 32))
		return false;
	for (size_t i = 0; i < (v4 ? 4U : 32U); i++, at += *at + 1) {
		unsigned number;

		if (v4 ? !to_number(at, &number) : !to_nibble(at, &number))
			return false;
		if (v4)
			ip.bytes[3 - i] = (uint8_t)number;
		else
			ip.bytes[15 - i / 2] |= (uint8_t)(number << (i % 2 ? 4 : 0));
	}
	*ret_ip = ip;
	return true;
}

/* The name of who has an address. */
static bool owner_name(const struct rd_dns_zone *zone, const struct rd_address_owner *owner,
		       struct rd_dns_name *ret_name)
{
	char buffer[RD_DNS_OWN_LABEL];
	const char *label;

	if (!service_name(zone, owner->service, ret_name))
		return false;
	if (!owner->is_endpoint)
		return true;
	label = rd_address_label(owner, buffer);
	return rd_dns_name_prepend(ret_name, label, strlen(label));
}

/* Returns 0, -ENOENT for an address that is nobody's here, or -ENOMEM. */
static int answer_address(struct build *b, const struct rd_ip *ip)
{
	struct rd_dns_zone *zone = b->zone;
	const struct rd_address_owner *owner = NULL;
	struct rd_dns_name name;
	int r = rd_address_index_update(&zone->addresses, zone->store,
					zone->config.legacy_endpoints);

	if (r)
		return r;
	b->stamp = &zone->store->addresses_stamp;
	while (!r && (owner = rd_address_index_next(&zone->addresses, ip, owner))) {
		b->exists = true;
		if (is_asked(b, RD_DNS_PTR) && owner_name(zone, owner, &name))
			r = push(b, LDNS_SECTION_ANSWER, &b->name, RD_DNS_PTR,
				 FIELDS(name_field(&name)));
	}
	return r ?: b->exists ? 0 : -ENOENT;
}

/* ---- answers ----------------------------------------------------------------------------- */

static int push_question(struct build *b)
{
	ldns_rr *record = ldns_rr_new();
	ldns_rdf *name = name_field(&b->name);

	if (record && name) {
		ldns_rr_set_owner(record, rd_take(name));
		ldns_rr_set_type(record, (ldns_rr_type)b->question->type);
		ldns_rr_set_class(record, (ldns_rr_class)b->question->class);
		ldns_rr_set_question(record, true);
		if (ldns_pkt_push_rr(b->packet, LDNS_SECTION_QUESTION, record))
			return 0;
	}
	ldns_rdf_deep_free(name);
	ldns_rr_free(record);
	return -ENOMEM;
}

static int begin(struct build *b)
{
	b->name.n = b->question->name_length;
	memcpy(b->name.wire, b->question->key, b->name.n);
	b->packet = ldns_pkt_new();
	if (!b->packet)
		return -ENOMEM;
	ldns_pkt_set_qr(b->packet, true);
	ldns_pkt_set_aa(b->packet, true);
	ldns_pkt_set_ra(b->packet, b->zone->config.recursion);
	b->bytes = RD_DNS_HEADER + rd_dns_key_length(b->question);
	return push_question(b);
}

/* Look at names, one after the other. Returns as rd_dns_zone_answer does. */
static int look(struct build *b, struct rd_dns_name *ret_target)
{
	struct labels labels;
	struct rd_ip ip;
	int r = 1;

	if (reverse_address(&b->name, &ip)) {
		if (b->zone->known == RD_DNS_KNOWS_NOTHING)
			return -EAGAIN;
		r = answer_address(b, &ip);
		return r == -ENOENT && b->zone->known != RD_DNS_KNOWS_ALL ? -EAGAIN : r;
	}
	for (size_t step = 0; r == 1 && step < MOST_STEPS; step++) {
		if (!split(b->zone, &b->name, &labels)) {
			if (!step)
				return -ENOENT;
			*ret_target = b->name;
			b->exists = b->any = true;
			return 0;
		}
		if (b->zone->known == RD_DNS_KNOWS_NOTHING && labels.n)
			return -EAGAIN;
		r = answer_name(b, &labels);
	}
	/* ExternalNames in a circle. */
	return r == 1 ? -ELOOP : r;
}

/* What says that there is nothing, or nothing of this kind. */
static int end(struct build *b, bool reverse)
{
	if (b->exists && is_asked(b, RD_DNS_ANY))
		return push(b, LDNS_SECTION_ANSWER, &b->name, LDNS_RR_TYPE_HINFO,
			    FIELDS(text_field("RFC8482"), text_field("")));
	if (b->any)
		return 0;
	if (!b->exists && b->zone->known != RD_DNS_KNOWS_ALL)
		return -EAGAIN;
	if (!b->exists)
		ldns_pkt_set_rcode(b->packet, LDNS_RCODE_NXDOMAIN);
	return push_soa(b, LDNS_SECTION_AUTHORITY, reverse ? &b->name : &b->zone->origin);
}

static int to_answer(const ldns_pkt *packet, const struct rd_dns_question *question,
		     struct rd_dns_answer **ret_answer)
{
	uint8_t *wire = NULL;
	size_t n;
	int r = -ENOMEM;

	if (ldns_pkt2wire(&wire, packet, &n) == LDNS_STATUS_OK)
		r = rd_dns_answer_new(wire, n, question, ret_answer);
	free(wire);
	return r;
}

const uint64_t *rd_dns_zone_watch(const struct rd_dns_zone *zone,
				  const struct rd_dns_question *question)
{
	struct rd_dns_name name = {.n = question->name_length};
	struct rd_ip ip;

	memcpy(name.wire, question->key, name.n);
	return reverse_address(&name, &ip) ? &zone->store->addresses_stamp : NULL;
}

int rd_dns_zone_answer(struct rd_dns_zone *zone, const struct rd_dns_question *question,
		       struct rd_dns_answer **ret_answer, struct rd_dns_name *ret_target)
{
	struct build b = {.zone = zone, .question = question, .stamp = &zone->store->stamp};
	struct rd_dns_answer *answer;
	struct rd_dns_name target = {0};
	struct labels labels;
	bool ours;
	int r;

	/* Most names of the world are not ours, and nothing needs making then. */
	b.name.n = question->name_length;
	memcpy(b.name.wire, question->key, b.name.n);
	ours = split(zone, &b.name, &labels);
	if (!ours && !ends_with(&b.name, "in-addr", "arpa", 4) &&
	    !ends_with(&b.name, "ip6", "arpa", 32))
		return -ENOENT;
	b.stamp = NULL;
	r = begin(&b) ?: look(&b, &target) ?: end(&b, !ours);
	if (r == -ELOOP) {
		ldns_pkt_set_rcode(b.packet, LDNS_RCODE_SERVFAIL);
		r = 0;
	}
	r = r ?: to_answer(b.packet, question, &answer);
	if (b.packet)
		ldns_pkt_free(b.packet);
	if (r)
		return r;
	answer->stamp = b.stamp ?: &zone->store->stamp;
	answer->stamp_value = *answer->stamp;
	*ret_answer = answer;
	*ret_target = target;
	return 0;
}

/* ---- what leads outside ------------------------------------------------------------------ */

static ldns_pkt *read_packet(const struct rd_dns_answer *answer)
{
	ldns_pkt *packet = NULL;

	if (ldns_wire2pkt(&packet, answer->wire, answer->length) != LDNS_STATUS_OK)
		return NULL;
	return packet;
}

/* Append the records of a section. */
static int join_section(ldns_pkt *packet, ldns_pkt_section section, const ldns_rr_list *records)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(records); i++) {
		ldns_rr *record = ldns_rr_clone(ldns_rr_list_rr(records, i));

		if (!record || !ldns_pkt_push_rr(packet, section, record)) {
			ldns_rr_free(record);
			return -ENOMEM;
		}
	}
	return 0;
}

int rd_dns_zone_join(const struct rd_dns_answer *head, const struct rd_dns_answer *tail,
		     const struct rd_dns_question *question, struct rd_dns_answer **ret_answer)
{
	ldns_pkt *packet = read_packet(head), *more = read_packet(tail);
	struct rd_dns_answer *answer;
	int r = packet && more ? 0 : -EBADMSG;

	if (!r) {
		ldns_pkt_set_rcode(packet, (uint8_t)rd_dns_answer_code(tail));
		ldns_pkt_set_aa(packet, false);
		r = join_section(packet, LDNS_SECTION_ANSWER, ldns_pkt_answer(more))
			    ?: join_section(packet, LDNS_SECTION_AUTHORITY,
					    ldns_pkt_authority(more));
	}
	r = r ?: to_answer(packet, question, &answer);
	ldns_pkt_free(packet);
	ldns_pkt_free(more);
	if (r)
		return r;
	answer->stamp = head->stamp;
	answer->stamp_value = head->stamp_value;
	answer->made_ns = tail->made_ns;
	answer->expires_ns = tail->expires_ns;
	/* Of the zone's own part. */
	if (answer->expires_ns > answer->made_ns + RD_DNS_TTL * 1000000000ULL)
		answer->expires_ns = answer->made_ns + RD_DNS_TTL * 1000000000ULL;
	*ret_answer = answer;
	return 0;
}

/* ---- life -------------------------------------------------------------------------------- */

int rd_dns_zone_new(const struct rd_dns_zone_config *config, const struct rd_store *store,
		    struct rd_dns_zone **ret_zone, struct rd_error *error)
{
	struct rd_dns_zone *zone = calloc(1, sizeof(*zone));

	if (!zone)
		return rd_error_set(error, -ENOMEM, "out of memory");
	zone->config = *config;
	zone->store = store;
	zone->server = zone->origin;
	/* So that there is room for a Service's name before it. */
	if (rd_dns_name_parse(config->domain, &zone->origin) || zone->origin.n < 2 ||
	    zone->origin.n > 100) {
		free(zone);
		return rd_error_usage(error,
				      "--cluster-domain takes a domain such as "
				      "cluster.local, not %s",
				      config->domain);
	}
	zone->origin_labels = count_labels(zone->origin.wire);
	zone->server = zone->hostmaster = zone->origin;
	(void)rd_dns_name_prepend(&zone->server, "dns", 3);
	(void)rd_dns_name_prepend(&zone->server, "ns", 2);
	(void)rd_dns_name_prepend(&zone->hostmaster, "hostmaster", 10);
	*ret_zone = zone;
	return 0;
}

void rd_dns_zone_free(struct rd_dns_zone *zone)
{
	if (!zone)
		return;
	rd_address_index_clear(&zone->addresses);
	free(zone);
}

void rd_dns_zone_know(struct rd_dns_zone *zone, enum rd_dns_known known)
{
	zone->known = known;
}

void rd_dns_zone_set_server(struct rd_dns_zone *zone, const struct rd_ip *ips, size_t n)
{
	memset(zone->server_ip, 0, sizeof(zone->server_ip));
	for (size_t i = n; i; i--)
		zone->server_ip[ips[i - 1].family == RD_FAMILY_6] = ips[i - 1];
}
