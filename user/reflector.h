/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reflector.h - what to ask the API server next: lists, watches, and what each
 * way in which one of them can end leads to (SERVICE-SEMANTICS F1 to F11). One
 * reflector follows one resource. Pure: time and chance are handed in.
 */
#ifndef REDIAL_REFLECTOR_H
#define REDIAL_REFLECTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "api.h"

enum rd_asking {
	RD_STREAM, /* a watch that begins with what there is (sendInitialEvents) */
	RD_LIST,   /* a list, or a page of one */
	RD_WATCH,
};

/* How a request ended. */
enum rd_end {
	RD_ENDED,	 /* the answer was complete */
	RD_EXPIRED,	 /* 410, in whatever form: that version is gone */
	RD_TOO_LARGE,	 /* 504: that version is not there yet */
	RD_TOO_MANY,	 /* 429: not now */
	RD_UNAUTHORIZED, /* 401 */
	RD_UNREACHABLE,	 /* no answer has begun */
	RD_BROKEN,	 /* it broke off, or fell silent */
	RD_NOT_KNOWN,	 /* 400, 422: the server does not understand the question */
	RD_INVALID,	 /* anything else, answers that make no sense among them */
};

struct rd_outcome {
	enum rd_asking asked;
	enum rd_end end;
	unsigned retry_after; /* seconds, as the server asked; 0: it did not */
	bool any_event;	      /* a watch: one was received */
	uint64_t lasted_ns;
};

struct rd_reflector {
	const char *label_selector; /* NULL: none; borrowed */
	const char *field_selector;
	enum rd_asking next;
	bool no_streaming;  /* the server refuses RD_STREAM */
	bool synced;	    /* what there is was heard to its end once */
	bool known;	    /* there was something at that end, or before our time */
	bool unset_version; /* the list is to be the latest there is */
	bool whole;	    /* the list is to come without pages */
	char version[RD_VERSION_MAX];
	char *page;	   /* the continue token; NULL: the first page */
	uint32_t round;	   /* counts lists: what was not in the latest is gone */
	unsigned empties;  /* lists in a row that were empty and not believed */
	unsigned patience; /* how often Retry-After was followed in a row */
	unsigned backoff_ms;
	uint64_t failed_ns;
};

/* @known: objects of this kind are in the maps; then nothing at all is not
 * believed at once, see rd_reflector_complete */
void rd_reflector_init(struct rd_reflector *reflector, const char *label_selector,
		       const char *field_selector, bool known);
void rd_reflector_free(struct rd_reflector *reflector);

/* Ask everything anew, with other selectors. */
void rd_reflector_restart(struct rd_reflector *reflector, const char *field_selector);

/* A list or stream begins: what is heard of belongs to a new round. Not for
 * further pages. */
void rd_reflector_begin(struct rd_reflector *reflector);

/*
 * The query of the next request, to be freed; NULL: out of memory.
 *
 * @timeout_seconds: after which the server shall end a watch
 */
char *rd_reflector_query(const struct rd_reflector *reflector, unsigned timeout_seconds);

/* An event was applied, or a bookmark read (F4). Before what there is has been
 * heard to its end this does nothing. */
void rd_reflector_advance(struct rd_reflector *reflector, const char *version);

/*
 * What there is has been heard to its end: a list's last page, or the initial
 * events.
 *
 * Nothing where something was known is not believed before it has been said
 * three times, the latter two of the latest version: an API server may be wrong
 * about having nothing, and a cluster is never without Services.
 *
 * @n: objects in it
 * Returns whether it is believed: then all that is not of this round is gone.
 */
bool rd_reflector_complete(struct rd_reflector *reflector, const char *version, size_t n);

/* A page that is not the last; takes ownership of the token. */
void rd_reflector_page(struct rd_reflector *reflector, char *next);

/* The request has ended. @chance: a random number. Returns after how many
 * milliseconds to send the next one. */
unsigned rd_reflector_ended(struct rd_reflector *reflector, const struct rd_outcome *outcome,
			    uint64_t now_ns, uint32_t chance);

#endif
