/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * log.h - one line per event on stderr: level, what happened, then key=value
 * fields, as text or as JSON. Names of objects, never secrets. Only the agent
 * and the commands log; lower layers return errors. A line that is the same as
 * others before it is counted instead, see repeat.h.
 */
#ifndef REDIAL_LOG_H
#define REDIAL_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rd_log_level { RD_LOG_ERROR, RD_LOG_WARN, RD_LOG_INFO, RD_LOG_DEBUG, RD_LOG_LEVELS };

enum rd_log_format { RD_LOG_TEXT, RD_LOG_JSON, RD_LOG_FORMATS };

struct rd_log_field {
	const char *key;
	const char *text; /* NULL: `number` is the value */
	int64_t number;
};

#define RD_TEXT(key_, text_) ((struct rd_log_field){.key = (key_), .text = (text_) ?: "-"})
#define RD_NUMBER(key_, number_)                                                                   \
	((struct rd_log_field){.key = (key_), .number = (int64_t)(number_)})

/* Lines above this level are not written. */
void rd_log_set_level(enum rd_log_level level);

/* Returns the level of that name, or -1. */
int rd_log_level_parse(const char *name);

/* How lines look from now on; at first they are text. */
void rd_log_set_format(enum rd_log_format format);
enum rd_log_format rd_log_get_format(void);

/* Returns the format of that name, or -1. */
int rd_log_format_parse(const char *name);

/*
 * Write one line, or count it as a repeat.
 *
 * @event: a literal
 * @fields: read only during the call
 */
void rd_log_fields(enum rd_log_level level, const char *event, const struct rd_log_field *fields,
		   size_t n);

/* Say how often lines were left out whose minute is over; with @all, whose is
 * not as well. Whenever a line is written that is done, too. */
void rd_log_flush(bool all);

/* Show on a terminal how far something is, in the place of what was shown
 * before; NULL: it is done. The next log line is below it. */
void rd_log_progress(const char *text);

/*
 * What a line looks like, without its end of line.
 *
 * @realtime_ns: for JSON, which has the time in it
 * @repeated: how often it was left out; 0: it is the line itself
 * @fields_text: the fields as rd_log_render_fields() gives them
 * What does not fit is left out, so that the line is well-formed.
 */
void rd_log_render(char *line, size_t size, enum rd_log_format format, enum rd_log_level level,
		   const char *event, const char *fields_text, uint64_t repeated,
		   uint64_t realtime_ns);
void rd_log_render_fields(char *text, size_t size, enum rd_log_format format,
			  const struct rd_log_field *fields, size_t n);

#define rd_log(level, event, ...)                                                                  \
	rd_log_fields(                                                                             \
		(level), (event),                                                                  \
		(const struct rd_log_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}},            \
		sizeof((const struct rd_log_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}}) /   \
				sizeof(struct rd_log_field) -                                      \
			1)

#endif
