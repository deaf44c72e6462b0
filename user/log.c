// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

static const char *const level_names[] = {
	[RD_LOG_ERROR] = "error",
	[RD_LOG_WARN] = "warn",
	[RD_LOG_INFO] = "info",
	[RD_LOG_DEBUG] = "debug",
};
_Static_assert(RD_ARRAY_SIZE(level_names) == RD_LOG_LEVELS, "a name for every level");

static enum rd_log_level max_level = RD_LOG_INFO;

void rd_log_set_level(enum rd_log_level level)
{
	max_level = level;
}

int rd_log_level_parse(const char *name)
{
	for (size_t i = 0; i < RD_ARRAY_SIZE(level_names); i++)
		if (!strcmp(level_names[i], name))
			return (int)i;
	return -1;
}

static bool needs_quotes(const char *text)
{
	if (!*text)
		return true;
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == '"' || *text == '=' || *text == 0x7f)
			return true;
	return false;
}

/* A value in quotes; what could break the line or the terminal is escaped. */
static void put_quoted(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
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

void rd_log_fields(enum rd_log_level level, const char *event, const struct rd_log_field *fields,
		   size_t n)
{
	char line[4096];
	FILE *out;

	if (level > max_level)
		return;
	/* One write per line, so that lines of several processes do not mix. */
	out = fmemopen(line, sizeof(line), "w");
	if (!out)
		return;
	fprintf(out, "%s: %s", level_names[level], event);
	for (size_t i = 0; i < n; i++) {
		fprintf(out, " %s=", fields[i].key);
		if (!fields[i].text)
			fprintf(out, "%" PRId64, fields[i].number);
		else if (needs_quotes(fields[i].text))
			put_quoted(out, fields[i].text);
		else
			fputs(fields[i].text, out);
	}
	fclose(out);
	line[sizeof(line) - 1] = '\0';
	fprintf(stderr, "%s\n", line);
}
