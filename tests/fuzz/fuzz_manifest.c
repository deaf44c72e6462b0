// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * libFuzzer target: any bytes as a manifest, through everything that is pure:
 * YAML, JSON, decode, store, resolve, plan. What is accepted must be resolved
 * and planned without a sanitizer's word, and twice the same.
 */
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "plan.h"
#include "resolve.h"
#include "yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rd_decoded decoded;

static int decode_document(void *context, const char *json)
{
	return rd_decode(json, "fuzz", &decoded, context);
}

static void plan_all(struct rd_store *store, struct rd_plan *plan, const struct rd_ops **ops)
{
	const struct rd_locale locale = {.node = "node1", .zone = "z1"};
	struct rd_object *service = NULL;
	struct rd_error error;

	while ((service = rd_store_next(store, RD_SERVICE, NULL, service))) {
		struct rd_wanted wanted;

		if (rd_resolve(store, &locale, service, &wanted))
			abort();
		if (wanted.n_ports)
			(void)rd_plan_service(plan, &wanted, &error);
		rd_wanted_free(&wanted);
	}
	if (rd_plan_take_ops(plan, ops))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct rd_limits limits = {.max_services = 64,
					 .max_ports = 128,
					 .max_frontends = 256,
					 .frontend_bits = 9,
					 .multiplier = 1,
					 .max_slots = 4096};
	const struct rd_ops *ops;
	struct rd_error error = {0};
	struct rd_store store;
	struct rd_plan plan;
	int r = rd_yaml_documents((const char *)data, size, decode_document, &error, &error);

	/* A failure has a text, always. */
	if (r && !*error.text)
		abort();
	rd_store_init(&store);
	for (size_t i = 0; i < decoded.n; i++)
		rd_store_put(&store, rd_take(decoded.objects[i]));
	rd_decoded_clear(&decoded);
	if (rd_plan_new(&plan, &limits))
		abort();
	plan_all(&store, &plan, &ops);
	rd_plan_applied(&plan);
	rd_plan_grace(&plan);
	/* The same again is nothing to do, unless a Service waits for room. */
	plan_all(&store, &plan, &ops);
	rd_plan_free(&plan);
	rd_store_free(&store);
	return 0;
}
