/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * json_stream.h - cut bytes as they arrive into JSON texts: the events of a
 * watch, or the items of a list one by one, so that neither is ever in memory
 * as a whole. It finds the ends of texts and leaves the rest to the parser.
 * Pure.
 *
 * Chunks of bytes have nothing to do with texts (SERVICE-SEMANTICS F12): they
 * may end inside a character or an escape.
 */
#ifndef REDIAL_JSON_STREAM_H
#define REDIAL_JSON_STREAM_H

#include <stdbool.h>
#include <stddef.h>

enum rd_json_mode {
	RD_JSON_DOCUMENTS, /* one object after the other */
	RD_JSON_LIST,	   /* one object; the elements of its "items" are handed over by
			    * themselves, and at last the object with "items" empty */
};

struct rd_json_text {
	char *bytes;
	size_t n, room;
};

struct rd_json_stream {
	enum rd_json_mode mode;
	size_t limit; /* bytes of a text */
	/* Each text, NUL-terminated and valid during the call; @is_item: it is an
	 * element of "items". Other than 0 ends the stream. */
	int (*text)(void *context, const char *json, bool is_item);
	void *context;
	bool done; /* to be read: an object has come to its end */

	/* What follows is the stream's own. */
	struct rd_json_text outer, item;
	unsigned depth;
	bool in_string, escaped;
	bool in_items;
	unsigned char key_length; /* of the string last begun in the outer object */
	char key[8];
	bool after_colon; /* in the outer object: a value comes */
	int failed;
};

/* Returns 0; -EBADMSG: this is no sequence of objects, or one nests too deep;
 * -EFBIG: a text is longer than the limit; -ENOMEM; or what `text` returned.
 * After a failure it returns the same for ever. */
int rd_json_stream_feed(struct rd_json_stream *stream, const char *bytes, size_t n);

/* Whether it is between two texts: nothing is half there. */
bool rd_json_stream_is_between(const struct rd_json_stream *stream);

/* Forget what is half there and free; mode, limit and receiver stay. */
void rd_json_stream_reset(struct rd_json_stream *stream);

#endif
