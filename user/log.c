// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "repeat.h"
#include "util.h"

/* Of one value, so much is written: more than any error has. */
#define VALUE_BYTES 1000

static const char *const level_names[] = {
	[RD_LOG_ERROR] = "error",
	[RD_LOG_WARN] = "warn",
	[RD_LOG_INFO] = "info",
	[RD_LOG_DEBUG] = "debug",
};
_Static_assert(RD_ARRAY_SIZE(level_names) == RD_LOG_LEVELS, "a name for every level");

static const char *const format_names[] = {[RD_LOG_TEXT] = "text", [RD_LOG_JSON] = "json"};
_Static_assert(RD_ARRAY_SIZE(format_names) == RD_LOG_FORMATS, "a name for every format");

static enum rd_log_level max_level = RD_LOG_INFO;
static enum rd_log_format chosen_format;
static struct rd_repeats repeats;
static bool progress_shown;

static int find_name(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(names[i], name))
			return (int)i;
	return -1;
}

void rd_log_set_level(enum rd_log_level level)
{
	max_level = level;
}

int rd_log_level_parse(const char *name)
{
	return find_name(level_names, RD_ARRAY_SIZE(level_names), name);
}

void rd_log_set_format(enum rd_log_format format)
{
	chosen_format = format;
}

enum rd_log_format rd_log_get_format(void)
{
	return chosen_format;
}

int rd_log_format_parse(const char *name)
{
	return find_name(format_names, RD_ARRAY_SIZE(format_names), name);
}

/* ---- values ------------------------------------------------------------------------- */

static bool needs_quotes(const char *text)
{
	if (!*text)
		return true;
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == '"' || *text == '=' || *text == 0x7f)
			return true;
	return false;
}

/* How many bytes the UTF-8 character at `text` has; 0: it is none. */
static size_t utf8_length(const char *text)
{
	unsigned char c = (unsigned char)*text;
	size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
	unsigned char second = n > 1 ? (unsigned char)text[1] : 0;

	for (size_t i = 1; i < n; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			return 0;
	/* Longer than needed, surrogates, and beyond the last one. */
	if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second >= 0xa0) ||
	    (c == 0xf0 && second < 0x90) || (c == 0xf4 && second >= 0x90))
		return 0;
	return n;
}

static void put_json(FILE *out, const char *text)
{
	const char *end = text + VALUE_BYTES;

	fputc('"', out);
	while (*text && text < end) {
		unsigned char c = (unsigned char)*text;
		size_t n = utf8_length(text);

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			fprintf(out, "\\u%04x", c);
		else if (!n)
			fputs("\\ufffd", out);
		else
			fwrite(text, 1, n, out);
		text += n ?: 1;
	}
	fputc('"', out);
}

/* A value in quotes; what could break the line or the terminal is escaped. */
static void put_quoted(FILE *out, const char *text)
{
	fputc('"', out);
	for (const char *end = text + VALUE_BYTES; *text && text < end; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			fprintf(out, "\\x%02x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void put_field(FILE *out, enum rd_log_format format, const struct rd_log_field *field)
{
	fprintf(out, format == RD_LOG_JSON ? ",\"%s\":" : " %s=", field->key);
	if (!field->text)
		fprintf(out, "%" PRId64, field->number);
	else if (format == RD_LOG_JSON)
		put_json(out, field->text);
	else if (needs_quotes(field->text))
		put_quoted(out, field->text);
	else
		fprintf(out, "%.*s", VALUE_BYTES, field->text);
}

/* ---- lines --------------------------------------------------------------------------- */

void rd_log_render_fields(char *text, size_t size, enum rd_log_format format,
			  const struct rd_log_field *fields, size_t n)
{
	size_t used = 0;

	*text = '\0';
	for (size_t i = 0; i < n; i++) {
		/* Every byte of a value may become six. */
		char one[6 * VALUE_BYTES + 100];
		FILE *out = fmemopen(one, sizeof(one), "w");
		size_t length;

		if (!out)
			return;
		put_field(out, format, &fields[i]);
		fclose(out);
		length = strlen(one);
		if (used + length >= size)
			return;
		memcpy(text + used, one, length + 1);
		used += length;
	}
}

/* RFC 3339, to the millisecond. */
static void format_time(char *text, size_t size, uint64_t realtime_ns)
{
	time_t seconds = (time_t)(realtime_ns / 1000000000U);
	struct tm tm = {0};
	char date[32];

	gmtime_r(&seconds, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, size, "%s.%03uZ", date, (unsigned)(realtime_ns / 1000000U % 1000));
}

void rd_log_render(char *line, size_t size, enum rd_log_format format, enum rd_log_level level,
		   const char *event, const char *fields_text, uint64_t repeated,
		   uint64_t realtime_ns)
{
	bool json = format == RD_LOG_JSON;
	char count[40] = "", when[48];

	if (repeated)
		snprintf(count, sizeof(count),
			 json ? ",\"repeated\":%" PRIu64 : " (repeated %" PRIu64 " times)",
			 repeated);
	format_time(when, sizeof(when), realtime_ns);
	if (json)
		snprintf(line, size, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"%s%s}",
			 when, level_names[level], event, fields_text, count);
	else
		snprintf(line, size, "%s: %s%s%s", level_names[level], event, fields_text, count);
}

/* One write per line, so that lines of several processes do not mix. */
static void write_line(enum rd_log_level level, const char *event, const char *fields_text,
		       uint64_t repeated)
{
	char line[8192 + 256];

	rd_log_render(line, sizeof(line), chosen_format, level, event, fields_text, repeated,
		      rd_realtime_ns());
	fprintf(stderr, "%s%s\n", progress_shown ? "\n" : "", line);
	progress_shown = false;
}

static void write_repeated(const struct rd_repeat *ended)
{
	if (ended->left_out)
		write_line((enum rd_log_level)ended->level, ended->event, ended->fields,
			   ended->left_out);
}

void rd_log_flush(bool all)
{
	uint64_t now = all ? UINT64_MAX : rd_monotonic_ns();
	struct rd_repeat ended;

	while (rd_repeats_next_ended(&repeats, now, &ended))
		write_repeated(&ended);
}

void rd_log_fields(enum rd_log_level level, const char *event, const struct rd_log_field *fields,
		   size_t n)
{
	struct rd_repeat line = {.level = (int)level, .event = event}, ended;
	char text[8192];
	bool admitted;

	if (level > max_level)
		return;
	rd_log_flush(false);
	rd_log_render_fields(text, sizeof(text), chosen_format, fields, n);
	line.hash = rd_repeats_hash(rd_repeats_hash(level + 1, event), text);
	if (strlen(text) < sizeof(line.fields))
		snprintf(line.fields, sizeof(line.fields), "%.*s", (int)sizeof(line.fields) - 1,
			 text);
	admitted = rd_repeats_admit(&repeats, &line, rd_monotonic_ns(), &ended);
	write_repeated(&ended);
	if (admitted)
		write_line(level, event, text, 0);
}

void rd_log_progress(const char *text)
{
	if (text)
		fprintf(stderr, "\r%s\033[K", text);
	else if (progress_shown)
		fputc('\n', stderr);
	progress_shown = text != NULL;
}
