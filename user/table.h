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

struct rd_table {
	const char *name; /* the key of its rows, where several are printed */
	const struct rd_column *columns;
	size_t n_columns;
	char **cells; /* row after row */
	size_t n_cells;
	bool record; /* one row: printed as "key  value" lines and a JSON object */
	bool failed; /* a cell could not be stored; printing says so */
};

#define RD_TABLE(name_, columns_)                                                                  \
	((struct rd_table){                                                                        \
		.name = (name_), .columns = (columns_), .n_columns = RD_ARRAY_SIZE(columns_)})

/* Add the next cell of the current row; rows follow each other. */
void rd_table_add(struct rd_table *table, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Print tables to stdout. One table prints as it is, in JSON as a list; several
 * print under each other, those without rows left out, in JSON as an object.
 * Returns 0, or -ENOMEM or -EIO if it could not be printed whole.
 */
int rd_tables_print(const struct rd_table *tables, size_t n, enum rd_format format);
void rd_table_free(struct rd_table *table);

#endif
