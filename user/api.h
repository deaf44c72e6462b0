/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * api.h - what a Kubernetes API server says: the items and the head of a list,
 * the events of a watch, and refusals. Pure.
 */
#ifndef REDIAL_API_H
#define REDIAL_API_H

#include "decode.h"
#include "model.h"
#include "util.h"

/* A resourceVersion: opaque, compared for equality at most (F4). */
#define RD_VERSION_MAX 64

/* The names of an object that was named, though it may not be usable. */
struct rd_api_object {
	struct rd_object *object; /* NULL: not usable */
	char namespace[RD_LABEL_MAX];
	char name[256];
	char version[RD_VERSION_MAX];
};

/* A Status: why the server refuses. */
struct rd_api_status {
	int code; /* as HTTP's */
	char reason[64];
	char message[256];
	bool too_large;	      /* a resourceVersion from the future (F6) */
	unsigned retry_after; /* seconds; 0: not said */
};

enum rd_event_type { RD_ADDED, RD_MODIFIED, RD_DELETED, RD_BOOKMARK, RD_REFUSAL };

struct rd_event {
	enum rd_event_type type;
	struct rd_api_object of; /* of a bookmark, the version alone */
	bool initial_end;	 /* a bookmark: the initial events are complete (F10) */
	struct rd_api_status status;
};

struct rd_list_head {
	char version[RD_VERSION_MAX];
	char *next; /* the continue token; NULL: this was the last page */
};

/*
 * Decode an item of a list, or an event. What is wrong with an object itself is
 * no failure: then it has its names but no object, and @error says why.
 *
 * @origin: as rd_decode has it
 * @ret_: the caller frees the object in it
 * Returns 0; -EBADMSG with @error: this is no item, or event, of that kind;
 * -ENOMEM.
 */
int rd_api_item(const char *json, enum rd_kind kind, const char *origin,
		struct rd_api_object *ret_item, struct rd_error *error);
int rd_api_event(const char *json, enum rd_kind kind, const char *origin,
		 struct rd_event *ret_event, struct rd_error *error);

/* Decode what a list says of itself. The caller frees @ret_head->next. Returns
 * as above; a Status where a list should be is -EBADMSG too. */
int rd_api_list_head(const char *json, enum rd_kind kind, struct rd_list_head *ret_head,
		     struct rd_error *error);

/* Decode the body of a refusal. Anything else than a Status leaves
 * @ret_status empty. */
void rd_api_status(const char *json, struct rd_api_status *ret_status);

#endif
