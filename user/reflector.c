// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "reflector.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Objects in a page (F1). */
#define PAGE "500"

/* F9. */
#define BACKOFF_FIRST_MS 800
#define BACKOFF_MOST_MS 30000
#define QUIET_NS 120000000000ULL
#define PATIENCE 10
#define RETRY_AFTER_MOST_SECONDS 300

/* A watch that ends sooner and without an event is a failure (F8). */
#define VERY_SHORT_NS 1000000000ULL

/* See rd_reflector_complete. */
#define EMPTIES 2
#define EMPTY_AGAIN_MS 10000

void rd_reflector_init(struct rd_reflector *reflector, const char *label_selector,
		       const char *field_selector, bool known)
{
	*reflector = (struct rd_reflector){
		.label_selector = label_selector,
		.field_selector = field_selector,
		.known = known,
		.backoff_ms = BACKOFF_FIRST_MS,
	};
}

void rd_reflector_free(struct rd_reflector *reflector)
{
	free(reflector->page);
	reflector->page = NULL;
}

/* Begin the list again, from its first page. */
static void relist(struct rd_reflector *reflector, bool streaming)
{
	rd_reflector_free(reflector);
	reflector->next = streaming && !reflector->no_streaming ? RD_STREAM : RD_LIST;
	reflector->whole = false;
	reflector->unset_version = false;
}

void rd_reflector_restart(struct rd_reflector *reflector, const char *field_selector)
{
	reflector->field_selector = field_selector;
	relist(reflector, !reflector->empties);
	reflector->unset_version = reflector->empties;
}

void rd_reflector_begin(struct rd_reflector *reflector)
{
	if (reflector->next != RD_WATCH && !reflector->page)
		reflector->round++;
}

/* A text that grows. */
struct text {
	char *bytes;
	size_t n;
	bool failed; /* out of memory */
};

static void add_char(struct text *text, char c)
{
	text->failed = text->failed || rd_array_grow(&text->bytes, text->n, 1);
	if (!text->failed)
		text->bytes[text->n++] = c;
}

static void add_plain(struct text *text, const char *plain)
{
	for (; *plain; plain++)
		add_char(text, *plain);
}

/* Append "key=value", escaped as RFC 3986, 2.1 has it. */
static void add(struct text *query, const char *key, const char *value)
{
	char escaped[4];

	if (query->n)
		add_char(query, '&');
	add_plain(query, key);
	add_char(query, '=');
	for (; *value; value++) {
		bool plain = isalnum((unsigned char)*value) || strchr("-._~", *value);

		snprintf(escaped, sizeof(escaped), plain ? "%c" : "%%%02X", (unsigned char)*value);
		add_plain(query, escaped);
	}
}

/* F1 and F2. */
static void add_list(const struct rd_reflector *reflector, struct text *query)
{
	bool relisting = *reflector->version && !reflector->unset_version;

	if (!reflector->whole && !relisting)
		add(query, "limit", PAGE);
	if (reflector->page)
		add(query, "continue", reflector->page);
	else if (!reflector->unset_version)
		add(query, "resourceVersion", relisting ? reflector->version : "0");
}

/* F3 and F10. */
static void add_watch(const struct rd_reflector *reflector, struct text *query,
		      unsigned timeout_seconds)
{
	char seconds[16];

	snprintf(seconds, sizeof(seconds), "%u", timeout_seconds);
	add(query, "watch", "1");
	add(query, "allowWatchBookmarks", "true");
	add(query, "timeoutSeconds", seconds);
	if (*reflector->version)
		add(query, "resourceVersion", reflector->version);
	if (reflector->next == RD_STREAM) {
		add(query, "sendInitialEvents", "true");
		add(query, "resourceVersionMatch", "NotOlderThan");
	}
}

char *rd_reflector_query(const struct rd_reflector *reflector, unsigned timeout_seconds)
{
	struct text query = {0};

	if (reflector->next == RD_LIST)
		add_list(reflector, &query);
	else
		add_watch(reflector, &query, timeout_seconds);
	if (reflector->label_selector)
		add(&query, "labelSelector", reflector->label_selector);
	if (reflector->field_selector)
		add(&query, "fieldSelector", reflector->field_selector);
	add_char(&query, '\0');
	if (query.failed) {
		free(query.bytes);
		return NULL;
	}
	return query.bytes;
}

void rd_reflector_advance(struct rd_reflector *reflector, const char *version)
{
	if (reflector->next == RD_WATCH)
		snprintf(reflector->version, sizeof(reflector->version), "%s", version);
}

bool rd_reflector_complete(struct rd_reflector *reflector, const char *version, size_t n)
{
	if (!n && reflector->known && reflector->empties < EMPTIES) {
		reflector->empties++;
		relist(reflector, false);
		reflector->unset_version = true;
		return false;
	}
	relist(reflector, true);
	reflector->next = RD_WATCH;
	rd_reflector_advance(reflector, version);
	reflector->synced = true;
	reflector->known = n > 0;
	reflector->empties = 0;
	return true;
}

void rd_reflector_page(struct rd_reflector *reflector, char *next)
{
	free(reflector->page);
	reflector->page = next;
}

/* The next delay, twice the last, and up to twice as long by chance (F9). */
static unsigned back_off(struct rd_reflector *reflector, uint64_t now_ns, uint32_t chance)
{
	unsigned delay;

	if (now_ns - reflector->failed_ns > QUIET_NS)
		reflector->backoff_ms = BACKOFF_FIRST_MS;
	reflector->failed_ns = now_ns;
	delay = reflector->backoff_ms + chance % (reflector->backoff_ms + 1);
	reflector->backoff_ms = reflector->backoff_ms * 2 > BACKOFF_MOST_MS
					? BACKOFF_MOST_MS
					: reflector->backoff_ms * 2;
	return delay;
}

/* Whether what the server said has the last version as its cause, so that
 * another list is to be asked for at once. */
static bool list_without_version(struct rd_reflector *reflector, enum rd_end end)
{
	/* A page whose token has expired: the whole list at the first version. */
	if (reflector->page && (end == RD_EXPIRED || end == RD_NOT_KNOWN)) {
		rd_reflector_page(reflector, NULL);
		reflector->whole = true;
		return true;
	}
	if ((end != RD_EXPIRED && end != RD_TOO_LARGE) || reflector->unset_version)
		return false;
	relist(reflector, false);
	reflector->unset_version = true;
	return true;
}

/* A list, or the initial events of a stream, did not come to their end. Returns
 * whether to ask again at once. */
static bool list_failed(struct rd_reflector *reflector, enum rd_end end)
{
	if (reflector->next == RD_STREAM) {
		reflector->no_streaming |= end == RD_NOT_KNOWN;
		if (end != RD_UNREACHABLE && end != RD_TOO_MANY && end != RD_UNAUTHORIZED)
			relist(reflector, false);
		return end == RD_NOT_KNOWN || end == RD_EXPIRED || end == RD_TOO_LARGE;
	}
	if (list_without_version(reflector, end))
		return true;
	/* A server from before this selector (F19): what it would have left out is
	 * left out here. */
	if (end == RD_NOT_KNOWN && reflector->field_selector) {
		reflector->field_selector = NULL;
		relist(reflector, !reflector->empties);
		reflector->unset_version = reflector->empties;
		return true;
	}
	relist(reflector, false);
	reflector->unset_version = reflector->empties;
	return false;
}

/* Returns whether to ask again at once. */
static bool watch_ended(struct rd_reflector *reflector, const struct rd_outcome *outcome)
{
	bool short_lived = !outcome->any_event && outcome->lasted_ns < VERY_SHORT_NS;

	switch (outcome->end) {
	case RD_EXPIRED:
		relist(reflector, true);
		return !short_lived;
	case RD_ENDED:
		if (short_lived)
			relist(reflector, true);
		return !short_lived;
	case RD_BROKEN:
		return !short_lived;
	case RD_TOO_MANY:
	case RD_UNREACHABLE:
	case RD_UNAUTHORIZED:
		return false;
	default:
		relist(reflector, true);
		return false;
	}
}

unsigned rd_reflector_ended(struct rd_reflector *reflector, const struct rd_outcome *outcome,
			    uint64_t now_ns, uint32_t chance)
{
	bool at_once;

	if (outcome->retry_after && outcome->end != RD_EXPIRED && outcome->end != RD_TOO_LARGE &&
	    reflector->patience < PATIENCE) {
		reflector->patience++;
		return 1000 * (outcome->retry_after < RETRY_AFTER_MOST_SECONDS
				       ? outcome->retry_after
				       : RETRY_AFTER_MOST_SECONDS);
	}
	reflector->patience = 0;
	if (outcome->asked != RD_WATCH && outcome->end == RD_ENDED && reflector->empties &&
	    !reflector->page)
		return EMPTY_AGAIN_MS;
	/* A list is followed by its next page, or by the watch. */
	if (outcome->asked == RD_LIST && outcome->end == RD_ENDED)
		return 0;
	at_once = reflector->next == RD_WATCH ? watch_ended(reflector, outcome)
					      : list_failed(reflector, outcome->end);
	return at_once ? 0 : back_off(reflector, now_ns, chance);
}
