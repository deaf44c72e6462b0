/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * table.h - what commands print: rows under columns, as aligned text for people
 * or as JSON for programs, from the same cells.
 */
#ifndef REDIAL_TABLE_H
#define REDIAL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rd_format { RD_FORMAT_TABLE, RD_FORMAT_WIDE, RD_FORMAT_JSON };

struct rd_column {
	const char *key; /* in JSON; upper-cased it heads the column */
	bool wide;	 /* not in the plain table */
	bool number;	 /* a JSON number */
};

/* How a cell looks on a terminal. */
enum rd_tone { RD_TONE_PLAIN, RD_TONE_WARNING, RD_TONE_BAD };

struct rd_table {
	const char *name; /* the key of its rows, where several are printed */
	const struct rd_column *columns;
	size_t n_columns;
	char **cells;	/* row after row */
	uint8_t *tones; /* of each, enum rd_tone */
	size_t n_cells;
	bool record; /* one row: printed as "key  value" lines and a JSON object */
	bool whole;  /* never cut to a terminal's width */
	bool failed; /* a cell could not be stored; printing says so */
};

#define RD_TABLE(name_, columns_)                                                                  \
	((struct rd_table){                                                                        \
		.name = (name_), .columns = (columns_), .n_columns = RD_ARRAY_SIZE(columns_)})

/* Add the next cell of the current row; rows follow each other. */
void rd_table_add(struct rd_table *table, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The cell just added is a problem, if `when`; on a terminal it has a colour. */
void rd_table_tone(struct rd_table *table, enum rd_tone tone, bool when);

/*
 * Print tables to stdout. On a terminal the plain format is cut to its width and
 * has colours, unless NO_COLOR is set (no-color.org). One table prints as it is, in JSON as a list;
 * several print under each other, those without rows left out, in JSON as an object. Returns 0, or
 * -ENOMEM or -EIO if it could not be printed whole.
 */
int rd_tables_print(const struct rd_table *tables, size_t n, enum rd_format format);
/* One row as a JSON object on one line, to be freed; NULL: no memory. */
char *rd_table_line(const struct rd_table *table, size_t row);
size_t rd_table_rows(const struct rd_table *table);
void rd_table_free(struct rd_table *table);

#endif
