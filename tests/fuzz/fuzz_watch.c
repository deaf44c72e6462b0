// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * libFuzzer target: any bytes as an API server's answer, from the bytes as they
 * arrive to the store. However they are cut into chunks the texts are the same,
 * no text is longer than its limit, and what is refused has a reason.
 *
 * The first byte says how the others are taken: bit 0 as a list, bits 1 and 2
 * of which kind, the rest in chunks of which size.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "json_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of texts; less than the longest input. */
#define LIMIT 8192

struct answer {
	enum rd_json_mode mode;
	enum rd_kind kind;
	struct rd_store store;
	uint64_t hash; /* of the texts so far */
	size_t texts;
	int end; /* what the stream returned */
	bool between;
};

static void require(bool what)
{
	if (!what)
		abort();
}

/* FNV-1a. */
static void hash(struct answer *answer, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		answer->hash = (answer->hash ^ (uint8_t)bytes[i]) * 0x100000001b3ULL;
}

static void put(struct answer *answer, struct rd_api_object *item, const struct rd_error *error)
{
	require(*item->name && *item->version);
	require(!item->object == !!*error->text);
	if (!item->object)
		return;
	require(item->object->kind == answer->kind);
	require(!strcmp(item->object->name, item->name));
	rd_store_put(&answer->store, rd_take(item->object));
}

static int take_event(struct answer *answer, const char *json)
{
	struct rd_error error = {0};
	struct rd_event event;
	int r = rd_api_event(json, answer->kind, "fuzz", &event, &error);

	require(!r || *error.text);
	if (r)
		return r;
	require(!event.initial_end || event.type == RD_BOOKMARK);
	switch (event.type) {
	case RD_ADDED:
	case RD_MODIFIED:
		put(answer, &event.of, &error);
		break;
	case RD_DELETED:
		rd_object_free(event.of.object);
		rd_store_remove(&answer->store, answer->kind, event.of.namespace, event.of.name);
		break;
	case RD_BOOKMARK:
		require(!event.of.object && *event.of.version);
		break;
	case RD_REFUSAL:
		require(!event.of.object);
		break;
	}
	return 0;
}

static int take_list(struct answer *answer, const char *json, bool is_item)
{
	struct rd_api_object item = {0};
	struct rd_error error = {0};
	struct rd_list_head head;
	int r;

	if (is_item) {
		r = rd_api_item(json, answer->kind, "fuzz", &item, &error);
		if (!r)
			put(answer, &item, &error);
	} else {
		r = rd_api_list_head(json, answer->kind, &head, &error);
		if (!r)
			free(head.next);
	}
	require(!r || *error.text);
	return r;
}

static int on_text(void *context, const char *json, bool is_item)
{
	struct answer *answer = context;
	size_t n = strlen(json);

	require(n <= LIMIT && n >= 1 && *json == '{');
	require(!is_item || answer->mode == RD_JSON_LIST);
	hash(answer, is_item ? "I" : "T", 1);
	hash(answer, json, n + 1);
	answer->texts++;
	return answer->mode == RD_JSON_LIST ? take_list(answer, json, is_item)
					    : take_event(answer, json);
}

/* Each chunk has a memory of its own, so that a read past its end is seen. */
static int feed(struct rd_json_stream *stream, const uint8_t *data, size_t size, size_t chunk)
{
	int r = 0;

	for (size_t at = 0; !r && at < size; at += chunk) {
		size_t n = size - at < chunk ? size - at : chunk;
		char *copy = malloc(n);

		require(copy);
		memcpy(copy, data + at, n);
		r = rd_json_stream_feed(stream, copy, n);
		free(copy);
	}
	return r;
}

static struct answer hear(uint8_t how, const uint8_t *data, size_t size, size_t chunk)
{
	static const enum rd_kind kinds[] = {RD_SERVICE, RD_SLICE, RD_ENDPOINTS, RD_NODE};
	struct answer answer = {
		.mode = how & 1 ? RD_JSON_LIST : RD_JSON_DOCUMENTS,
		.kind = kinds[how >> 1 & 3],
	};
	struct rd_json_stream stream = {
		.mode = answer.mode, .limit = LIMIT, .text = on_text, .context = &answer};

	rd_store_init(&answer.store);
	answer.end = feed(&stream, data, size, chunk);
	answer.between = rd_json_stream_is_between(&stream);
	require(rd_json_stream_feed(&stream, NULL, 0) == answer.end);
	rd_json_stream_reset(&stream);
	require(answer.store.count[answer.kind] <= answer.texts);
	rd_store_free(&answer.store);
	return answer;
}

/* The same bytes as the body of a refusal. */
static void refuse(const uint8_t *data, size_t size)
{
	struct rd_api_status status;
	char *json = calloc(1, size + 1);

	require(json);
	memcpy(json, data, size);
	rd_api_status(json, &status);
	free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct answer whole, parts;

	if (!size)
		return 0;
	whole = hear(data[0], data + 1, size - 1, size);
	parts = hear(data[0], data + 1, size - 1, (data[0] >> 3) + 1);
	require(whole.texts == parts.texts && whole.hash == parts.hash);
	require(whole.end == parts.end);
	require(whole.end || whole.between == parts.between);
	refuse(data + 1, size - 1);
	return 0;
}
