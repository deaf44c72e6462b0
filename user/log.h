/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * log.h - one line per event on stderr: level, what happened, then key=value
 * fields. Names of objects, never secrets. Only the agent and the commands
 * log; lower layers return errors.
 */
#ifndef REDIAL_LOG_H
#define REDIAL_LOG_H

#include <stddef.h>
#include <stdint.h>

enum rd_log_level { RD_LOG_ERROR, RD_LOG_WARN, RD_LOG_INFO, RD_LOG_DEBUG, RD_LOG_LEVELS };

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

/* Write one line. @fields is read only during the call. */
void rd_log_fields(enum rd_log_level level, const char *event, const struct rd_log_field *fields,
		   size_t n);

#define rd_log(level, event, ...)                                                                  \
	rd_log_fields(                                                                             \
		(level), (event),                                                                  \
		(const struct rd_log_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}},            \
		sizeof((const struct rd_log_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}}) /   \
				sizeof(struct rd_log_field) -                                      \
			1)

#endif
