// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "json_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Objects of the API nest some fifteen levels. */
#define MAX_DEPTH 128

/* In a list: the depth inside the outer object, and inside its "items". */
#define OUTER_DEPTH 1
#define ITEMS_DEPTH 2

/* The least memory a text takes, and the most that is kept for the next. */
#define SMALL 1024
#define LARGE 65536

static struct rd_json_text *current(struct rd_json_stream *stream)
{
	return stream->in_items ? &stream->item : &stream->outer;
}

/* Append bytes and a NUL. Grows by doubling. */
static int append(struct rd_json_stream *stream, const char *bytes, size_t n)
{
	struct rd_json_text *text = current(stream);
	size_t need = text->n + n + 1;

	if (text->n + n > stream->limit)
		return -EFBIG;
	if (need > text->room) {
		size_t room = need < SMALL ? SMALL : 2 * need;
		char *grown = realloc(text->bytes, room);

		if (!grown)
			return -ENOMEM;
		text->bytes = grown;
		text->room = room;
	}
	memcpy(text->bytes + text->n, bytes, n);
	text->n += n;
	text->bytes[text->n] = '\0';
	return 0;
}

static void clear(struct rd_json_text *text)
{
	free(text->bytes);
	*text = (struct rd_json_text){0};
}

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Hand a complete text over; its memory stays for the next, unless that was an
 * uncommonly long one. */
static int complete(struct rd_json_stream *stream, bool is_item)
{
	struct rd_json_text *text = is_item ? &stream->item : &stream->outer;
	int r = stream->text(stream->context, text->bytes, is_item);

	if (text->room > LARGE)
		clear(text);
	text->n = 0;
	return r;
}

/* The length of the part of a string up to its end or the next escape. */
static size_t plain_length(const char *bytes, size_t n)
{
	size_t i = 0;

	while (i < n && bytes[i] != '"' && bytes[i] != '\\')
		i++;
	return i;
}

static void note_key(struct rd_json_stream *stream, const char *bytes, size_t n)
{
	if (stream->depth != OUTER_DEPTH)
		return;
	for (size_t i = 0; i < n; i++) {
		if (stream->key_length < sizeof(stream->key))
			stream->key[stream->key_length] = bytes[i];
		if (stream->key_length <= sizeof(stream->key))
			stream->key_length++;
	}
}

/* Inside a string. Returns how many bytes were taken, or an error. */
static ptrdiff_t feed_string(struct rd_json_stream *stream, const char *bytes, size_t n)
{
	size_t length = stream->escaped ? 1 : plain_length(bytes, n);
	int r;

	if (stream->escaped) {
		stream->escaped = false;
		/* No key that is looked for has an escape in it. */
		stream->key_length = sizeof(stream->key) + 1;
	} else {
		note_key(stream, bytes, length);
		if (length < n) {
			stream->escaped = bytes[length] == '\\';
			stream->in_string = stream->escaped;
			length++;
		}
	}
	r = append(stream, bytes, length);
	return r ?: (ptrdiff_t)length;
}

static bool begins_items(const struct rd_json_stream *stream, char c)
{
	return stream->mode == RD_JSON_LIST && c == '[' && stream->depth == OUTER_DEPTH &&
	       stream->after_colon && stream->key_length == 5 && !memcmp(stream->key, "items", 5);
}

static int open_bracket(struct rd_json_stream *stream, char c)
{
	bool items = begins_items(stream, c);
	int r = stream->depth < MAX_DEPTH ? append(stream, &c, 1) : -EBADMSG;

	stream->depth++;
	stream->in_items |= items;
	return r;
}

static int close_bracket(struct rd_json_stream *stream, char c)
{
	int r;

	if (stream->in_items && stream->depth == ITEMS_DEPTH)
		stream->in_items = false;
	r = append(stream, &c, 1);
	stream->depth--;
	if (!r && stream->in_items && stream->depth == ITEMS_DEPTH)
		return complete(stream, true);
	if (r || stream->depth)
		return r;
	stream->done = true;
	return complete(stream, false);
}

/* One byte outside of strings. */
static int feed_byte(struct rd_json_stream *stream, char c)
{
	bool between_items = stream->in_items && stream->depth == ITEMS_DEPTH;

	if (is_space(c))
		return stream->depth && !between_items ? append(stream, " ", 1) : 0;
	if (between_items && c == ',')
		return 0;
	if (!stream->depth && stream->mode == RD_JSON_LIST && stream->done)
		return -EBADMSG;
	if ((!stream->depth || between_items) && c != '{' && !(between_items && c == ']'))
		return -EBADMSG;
	if (c == '{' || c == '[')
		return open_bracket(stream, c);
	if (c == '}' || c == ']')
		return close_bracket(stream, c);
	if (c == '"')
		stream->in_string = true;
	if (stream->depth == OUTER_DEPTH) {
		if (c == '"' && !stream->after_colon)
			stream->key_length = 0;
		if (c == ':' || c == ',')
			stream->after_colon = c == ':';
	}
	return append(stream, &c, 1);
}

int rd_json_stream_feed(struct rd_json_stream *stream, const char *bytes, size_t n)
{
	while (!stream->failed && n) {
		ptrdiff_t taken = 1;

		if (stream->in_string)
			taken = feed_string(stream, bytes, n);
		else
			stream->failed = feed_byte(stream, *bytes);
		if (taken < 0) {
			stream->failed = (int)taken;
			break;
		}
		bytes += taken;
		n -= (size_t)taken;
	}
	return stream->failed;
}

bool rd_json_stream_is_between(const struct rd_json_stream *stream)
{
	return !stream->depth;
}

void rd_json_stream_reset(struct rd_json_stream *stream)
{
	clear(&stream->outer);
	clear(&stream->item);
	*stream = (struct rd_json_stream){.mode = stream->mode,
					  .limit = stream->limit,
					  .text = stream->text,
					  .context = stream->context};
}
