// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "table.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "util.h"

/* A text column is not cut to less. */
#define NARROWEST 8

/* How to print. */
struct style {
	bool wide;
	bool colour;
	size_t columns; /* of the terminal; 0: no limit */
};

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
	if (n < 0 || rd_array_grow(&table->cells, table->n_cells, sizeof(*table->cells)) ||
	    rd_array_grow(&table->tones, table->n_cells, sizeof(*table->tones))) {
		if (n >= 0)
			free(cell);
		table->failed = true;
		return;
	}
	table->tones[table->n_cells] = RD_TONE_PLAIN;
	table->cells[table->n_cells++] = cell;
}

void rd_table_tone(struct rd_table *table, enum rd_tone tone, bool when)
{
	if (when && table->n_cells)
		table->tones[table->n_cells - 1] = (uint8_t)tone;
}

void rd_table_free(struct rd_table *table)
{
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table->tones);
	table->cells = NULL;
	table->tones = NULL;
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

static struct style style_of(enum rd_format format)
{
	const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");
	struct winsize size = {0};
	bool is_terminal = isatty(STDOUT_FILENO);

	if (is_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
		size.ws_col = 0;
	return (struct style){
		.wide = format == RD_FORMAT_WIDE,
		.colour = is_terminal && !(no_color && *no_color) &&
			  !(terminal && !strcmp(terminal, "dumb")),
		.columns = format == RD_FORMAT_WIDE ? 0 : size.ws_col,
	};
}

/* Characters of a UTF-8 text. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += (*text & 0xc0) != 0x80;
	return width;
}

/* Print so many characters of a text at most; one that is cut ends in "…". */
static void print_cut(const char *text, size_t width)
{
	const char *end = text;

	if (width_of(text) <= width) {
		fputs(text, stdout);
		return;
	}
	for (size_t n = 0; *end; end++)
		if ((*end & 0xc0) != 0x80 && ++n == width)
			break;
	printf("%.*s…", (int)(end - text), text);
}

static void set_tone(const struct style *style, const char *code)
{
	if (style->colour)
		printf("\033[%sm", code);
}

static void print_heading(const struct style *style, const char *key)
{
	set_tone(style, "1");
	for (; *key; key++)
		putchar(*key == '_' ? '-' : toupper((unsigned char)*key));
	set_tone(style, "0");
}

static void print_padding(size_t printed, size_t width)
{
	printf("%*s", printed < width ? (int)(width - printed) : 0, "");
}

static size_t min_of(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void print_cell(const struct style *style, const struct rd_table *table, size_t row,
		       size_t column, size_t width)
{
	static const char *const codes[] = {[RD_TONE_WARNING] = "33", [RD_TONE_BAD] = "31"};
	uint8_t tone = table->tones[row * table->n_columns + column];

	if (tone)
		set_tone(style, codes[tone]);
	print_cut(cell(table, row, column), width);
	if (tone)
		set_tone(style, "0");
}

static bool is_shown(const struct rd_table *table, size_t column, bool wide)
{
	return wide || !table->columns[column].wide;
}

static void print_record(const struct rd_table *table, const struct style *style)
{
	size_t width = 0;

	for (size_t c = 0; c < table->n_columns; c++)
		if (strlen(table->columns[c].key) > width)
			width = strlen(table->columns[c].key);
	for (size_t c = 0; c < table->n_columns; c++) {
		if (!is_shown(table, c, style->wide))
			continue;
		print_heading(style, table->columns[c].key);
		print_padding(strlen(table->columns[c].key), width + 2);
		print_cell(style, table, 0, c, SIZE_MAX);
		putchar('\n');
	}
}

/* The widths of the columns, and which is the last one shown. */
static size_t measure(const struct rd_table *table, const struct style *style, size_t *widths)
{
	size_t last = 0;

	for (size_t c = 0; c < table->n_columns; c++) {
		widths[c] = strlen(table->columns[c].key);
		for (size_t r = 0; r < n_rows(table); r++)
			if (width_of(cell(table, r, c)) > widths[c])
				widths[c] = width_of(cell(table, r, c));
		if (is_shown(table, c, style->wide))
			last = c;
	}
	return last;
}

/* Make the widest text column narrower, again and again, until all fit. */
static void fit(const struct rd_table *table, const struct style *style, size_t *widths)
{
	size_t total = 0;

	for (size_t c = 0; c < table->n_columns; c++)
		if (is_shown(table, c, style->wide))
			total += widths[c] + (total ? 2 : 0);
	for (; style->columns && !table->whole && total > style->columns; total--) {
		size_t *widest = NULL;

		for (size_t c = 0; c < table->n_columns; c++)
			if (is_shown(table, c, style->wide) && !table->columns[c].number &&
			    widths[c] > NARROWEST && widths[c] > strlen(table->columns[c].key) &&
			    (!widest || widths[c] > *widest))
				widest = &widths[c];
		if (!widest)
			return;
		--*widest;
	}
}

static void print_rows(const struct rd_table *table, const struct style *style)
{
	_rd_free_ size_t *widths = calloc(table->n_columns, sizeof(*widths));
	size_t last;

	if (!widths)
		return;
	last = measure(table, style, widths);
	fit(table, style, widths);
	for (size_t c = 0; c <= last; c++) {
		if (!is_shown(table, c, style->wide))
			continue;
		print_heading(style, table->columns[c].key);
		if (c < last)
			print_padding(strlen(table->columns[c].key), widths[c] + 2);
	}
	putchar('\n');
	for (size_t r = 0; r < n_rows(table); r++) {
		for (size_t c = 0; c <= last; c++) {
			if (!is_shown(table, c, style->wide))
				continue;
			print_cell(style, table, r, c, widths[c]);
			if (c < last)
				print_padding(min_of(width_of(cell(table, r, c)), widths[c]),
					      widths[c] + 2);
		}
		putchar('\n');
	}
}

static void print_text(const struct rd_table *tables, size_t n, const struct style *style)
{
	bool first = true;

	for (size_t i = 0; i < n; i++) {
		if (n > 1 && !n_rows(&tables[i]))
			continue;
		if (!first)
			putchar('\n');
		first = false;
		if (tables[i].record)
			print_record(&tables[i], style);
		else
			print_rows(&tables[i], style);
	}
}

/* ---- JSON -------------------------------------------------------------------------- */

static cJSON *row_object(const struct rd_table *table, size_t row)
{
	cJSON *object = cJSON_CreateObject();

	for (size_t c = 0; c < table->n_columns; c++) {
		const char *text = table->cells[row * table->n_columns + c];

		/* Keys and texts stay where they are until it is printed. */
		cJSON_AddItemToObjectCS(object, table->columns[c].key,
					table->columns[c].number
						? cJSON_CreateRaw(*text ? text : "null")
						: cJSON_CreateStringReference(text));
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
	text = cJSON_PrintBuffered(root, 65536, true);
	cJSON_Delete(root);
	if (!text)
		return -ENOMEM;
	puts(text);
	free(text);
	return 0;
}

char *rd_table_line(const struct rd_table *table, size_t row)
{
	cJSON *object = table->failed ? NULL : row_object(table, row);
	char *text = object ? cJSON_PrintUnformatted(object) : NULL;

	cJSON_Delete(object);
	return text;
}

size_t rd_table_rows(const struct rd_table *table)
{
	return n_rows(table);
}

int rd_tables_print(const struct rd_table *tables, size_t n, enum rd_format format)
{
	struct style style = style_of(format);
	int r = 0;

	for (size_t i = 0; i < n; i++)
		if (tables[i].failed)
			return -ENOMEM;
	if (format == RD_FORMAT_JSON)
		r = print_json(tables, n);
	else
		print_text(tables, n, &style);
	return r ?: fflush(stdout) ? -EIO : 0;
}
