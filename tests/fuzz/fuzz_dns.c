// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * libFuzzer target: any bytes as a query, and as what an upstream answers. What
 * is understood is answered from a store of some Services, and whatever is
 * answered must be a message that ldns reads, no longer than the client allows,
 * with the client's id and question, and the same from the cache.
 */
#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "dns_cache.h"
#include "dns_zone.h"
#include "yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char manifests[] =
	"{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.96.0.1, "
	"ports: [{name: http, port: 80}, {name: dns, protocol: UDP, port: 53}]}}\n---\n"
	"{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {clusterIP: None, "
	"ports: [{name: sql, port: 5432}]}}\n---\n"
	"{apiVersion: v1, kind: Service, metadata: {name: ext}, spec: {type: ExternalName, "
	"externalName: web.default.svc.cluster.local}}\n---\n"
	"{apiVersion: v1, kind: Service, metadata: {name: out}, spec: {type: ExternalName, "
	"externalName: example.org}}\n---\n"
	"{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: db, labels: "
	"{kubernetes.io/service-name: db, service.kubernetes.io/headless: ''}}, addressType: IPv4, "
	"ports: [{name: sql, port: 1}], endpoints: [{addresses: [10.1.0.1], hostname: a}, "
	"{addresses: [10.1.0.2]}, {addresses: [10.1.0.3]}, {addresses: [10.1.0.4]}]}\n";

static struct rd_store store;
static struct rd_dns_zone *zone;
static struct rd_dns_cache *cache;
static uint64_t chance = 1;

static int decode_document(void *context, const char *json)
{
	return rd_decode(json, "fuzz", context, &(struct rd_error){0});
}

static void check(bool so)
{
	if (!so)
		abort();
}

static void set_up(void)
{
	static const struct rd_dns_zone_config config = {.domain = "cluster.local"};
	struct rd_decoded decoded = {0};
	struct rd_error error = {0};

	if (zone)
		return;
	rd_store_init(&store);
	check(!rd_yaml_documents(manifests, sizeof(manifests) - 1, decode_document, &decoded,
				 &error));
	for (size_t i = 0; i < decoded.n; i++)
		rd_store_put(&store, rd_take(decoded.objects[i]));
	rd_decoded_clear(&decoded);
	check(!rd_dns_zone_new(&config, &store, &zone, &error));
	rd_dns_zone_know(zone, RD_DNS_KNOWS_ALL);
	check(!rd_dns_cache_new(1 << 16, &cache));
}

/* An answer as the client gets it. */
static void check_message(const uint8_t *out, size_t n, const struct rd_dns_question *question)
{
	ldns_pkt *packet = NULL;

	check(n <= question->limit);
	check(ldns_wire2pkt(&packet, out, n) == LDNS_STATUS_OK);
	check(ldns_pkt_qr(packet) && ldns_pkt_id(packet) == question->id);
	check(ldns_pkt_edns(packet) == question->edns);
	check(!memcmp(out + RD_DNS_HEADER, question->spelled, question->name_length));
	ldns_pkt_free(packet);
}

static void answer_query(struct rd_dns_question *question, uint8_t *out)
{
	struct rd_dns_answer *answer, *again;
	struct rd_dns_name target;

	if (rd_dns_zone_answer(zone, question, &answer, &target)) {
		check_message(out, rd_dns_refusal_write(question, RD_DNS_REFUSED, 0, out),
			      question);
		return;
	}
	check_message(out, rd_dns_answer_write(answer, question, 0, &chance, out), question);
	/* At the least that a client can allow, and anything up to all. */
	question->limit = (uint16_t)(RD_DNS_UDP_MIN + question->id % 1024);
	check_message(out, rd_dns_answer_write(answer, question, 0, &chance, out), question);
	rd_dns_cache_put(cache, question, answer);
	check(rd_dns_cache_find(cache, question, 0, &again) == RD_DNS_FRESH && again == answer);
}

/* The same behind an ExternalName: ldns has read it then, and wrote it. */
static void answer_joined(const struct rd_dns_answer *tail, uint8_t *out)
{
	static const uint8_t wire[] = "\0\7\1\0\0\1\0\0\0\0\0\0"
				      "\3out\7default\3svc\7cluster\5local\0\0\1\0\1";
	struct rd_dns_question question;
	struct rd_dns_answer *head, *whole;
	struct rd_dns_name target;

	check(!rd_dns_parse(wire, sizeof(wire) - 1, false, &question));
	check(!rd_dns_zone_answer(zone, &question, &head, &target) && target.n);
	if (!rd_dns_zone_join(head, tail, &question, &whole)) {
		check_message(out, rd_dns_answer_write(whole, &question, 7, &chance, out),
			      &question);
		free(whole);
	}
	free(head);
}

/* What an upstream says, whoever that is: names in it may be wrong, so ldns need
 * not like it, but its records must stay within it. */
static void answer_received(const uint8_t *data, size_t size, struct rd_dns_question *question,
			    uint8_t *out)
{
	struct rd_dns_answer *answer;
	struct rd_dns_record record;
	size_t n, at;

	if (rd_dns_answer_received(data, size, question, 5, &answer))
		return;
	question->limit = (uint16_t)(RD_DNS_UDP_MIN + question->id % 1024);
	n = rd_dns_answer_write(answer, question, 7, &chance, out);
	check(n <= question->limit);
	for (at = RD_DNS_HEADER + rd_dns_key_length(question); at < n; at = record.end)
		check(rd_dns_record_at(out, n, at, &record));
	answer_joined(answer, out);
	free(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[RD_DNS_TCP_MAX], query[RD_DNS_TCP_MAX];
	struct rd_dns_question question;
	int code;

	set_up();
	if (size > sizeof(query))
		return 0;
	code = rd_dns_parse(data, size, false, &question);
	if (code > 0)
		check(rd_dns_refusal_write(&question, code, 0, out) <= RD_DNS_UDP_MIN);
	if (!code) {
		question.class = RD_DNS_IN;
		rd_dns_put16(question.key + question.name_length + 2, RD_DNS_IN);
		answer_query(&question, out);
	}
	/* The same as an answer to its own question. */
	if (code != RD_DNS_DROP || size < RD_DNS_HEADER)
		return 0;
	memcpy(query, data, size);
	memset(query + 2, 0, RD_DNS_HEADER - 2);
	query[5] = 1;
	if (!rd_dns_parse(query, size, false, &question))
		answer_received(data, size, &question, out);
	return 0;
}
