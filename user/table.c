// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "table.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

void rd_table_add(struct rd_table *table, const char *format, ...)
{
	char *cell = NULL;
	va_list args;
	int n;

	if (table->failed)
		return;
	va_start(args, format);
	n = vasprintf(&cell, format, args);
	va_end(args);
	if (n < 0 || rd_array_grow(&table->cells, table->n_cells, sizeof(*table->cells))) {
		if (n >= 0)
			free(cell);
		table->failed = true;
		return;
	}
	table->cells[table->n_cells++] = cell;
}

void rd_table_free(struct rd_table *table)
{
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cells[i]);
	free(table->cells);
	table->cells = NULL;
	table->n_cells = 0;
}

static size_t n_rows(const struct rd_table *table)
{
	return table->n_cells / table->n_columns;
}

static const char *cell(const struct rd_table *table, size_t row, size_t column)
{
	const char *text = table->cells[row * table->n_columns + column];

	return *text ? text : "-";
}

/* ---- text ----------------------------------------------------------------------- */

static void print_heading(const char *key)
{
	for (; *key; key++)
		putchar(*key == '_' ? '-' : toupper((unsigned char)*key));
}

static void print_padding(size_t printed, size_t width)
{
	printf("%*s", (int)(width - printed), "");
}

static void print_record(const struct rd_table *table, bool wide)
{
	size_t width = 0;

	for (size_t c = 0; c < table->n_columns; c++)
		if (strlen(table->columns[c].key) > width)
			width = strlen(table->columns[c].key);
	for (size_t c = 0; c < table->n_columns; c++) {
		if (table->columns[c].wide && !wide)
			continue;
		print_heading(table->columns[c].key);
		print_padding(strlen(table->columns[c].key), width + 2);
		puts(cell(table, 0, c));
	}
}

static bool is_shown(const struct rd_table *table, size_t column, bool wide)
{
	return wide || !table->columns[column].wide;
}

static void print_rows(const struct rd_table *table, bool wide)
{
	_rd_free_ size_t *widths = calloc(table->n_columns, sizeof(*widths));
	size_t last = 0;

	if (!widths)
		return;
	for (size_t c = 0; c < table->n_columns; c++) {
		widths[c] = strlen(table->columns[c].key);
		for (size_t r = 0; r < n_rows(table); r++)
			if (strlen(cell(table, r, c)) > widths[c])
				widths[c] = strlen(cell(table, r, c));
		if (is_shown(table, c, wide))
			last = c;
	}
	for (size_t c = 0; c < table->n_columns; c++) {
		if (!is_shown(table, c, wide))
			continue;
		print_heading(table->columns[c].key);
		if (c < last)
			print_padding(strlen(table->columns[c].key), widths[c] + 2);
	}
	putchar('\n');
	for (size_t r = 0; r < n_rows(table); r++) {
		for (size_t c = 0; c < table->n_columns; c++) {
			if (!is_shown(table, c, wide))
				continue;
			fputs(cell(table, r, c), stdout);
			if (c < last)
				print_padding(strlen(cell(table, r, c)), widths[c] + 2);
		}
		putchar('\n');
	}
}

static void print_text(const struct rd_table *tables, size_t n, bool wide)
{
	bool first = true;

	for (size_t i = 0; i < n; i++) {
		if (n > 1 && !n_rows(&tables[i]))
			continue;
		if (!first)
			putchar('\n');
		first = false;
		if (tables[i].record)
			print_record(&tables[i], wide);
		else
			print_rows(&tables[i], wide);
	}
}

/* ---- JSON -------------------------------------------------------------------------- */

static cJSON *row_object(const struct rd_table *table, size_t row)
{
	cJSON *object = cJSON_CreateObject();

	for (size_t c = 0; c < table->n_columns; c++) {
		const char *text = table->cells[row * table->n_columns + c];

		if (table->columns[c].number)
			cJSON_AddRawToObject(object, table->columns[c].key, *text ? text : "null");
		else
			cJSON_AddStringToObject(object, table->columns[c].key, text);
	}
	return object;
}

static cJSON *table_json(const struct rd_table *table)
{
	cJSON *list;

	if (table->record && n_rows(table))
		return row_object(table, 0);
	list = cJSON_CreateArray();
	for (size_t r = 0; r < n_rows(table); r++)
		cJSON_AddItemToArray(list, row_object(table, r));
	return list;
}

static int print_json(const struct rd_table *tables, size_t n)
{
	cJSON *root = n == 1 ? table_json(&tables[0]) : cJSON_CreateObject();
	char *text;

	for (size_t i = 0; n > 1 && i < n; i++)
		cJSON_AddItemToObject(root, tables[i].name, table_json(&tables[i]));
	text = cJSON_Print(root);
	cJSON_Delete(root);
	if (!text)
		return -ENOMEM;
	puts(text);
	free(text);
	return 0;
}

int rd_tables_print(const struct rd_table *tables, size_t n, enum rd_format format)
{
	int r = 0;

	for (size_t i = 0; i < n; i++)
		if (tables[i].failed)
			return -ENOMEM;
	if (format == RD_FORMAT_JSON)
		r = print_json(tables, n);
	else
		print_text(tables, n, format == RD_FORMAT_WIDE);
	return r ?: fflush(stdout) ? -EIO : 0;
}
