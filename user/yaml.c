// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "yaml.h"

#include <ctype.h>
#include <errno.h>
#include <libfyaml.h>
#include <string.h>

#include "json.h"

/* ---- the text -------------------------------------------------------------------- */

/* How many bytes the character at `text` has, or 0 if it is not UTF-8 (RFC
 * 3629: no overlong forms, no surrogates) or is NUL. */
static size_t character(const unsigned char *text, size_t left)
{
	size_t n = *text < 0x80	  ? 1
		   : *text < 0xc2 ? 0
		   : *text < 0xe0 ? 2
		   : *text < 0xf0 ? 3
		   : *text < 0xf5 ? 4
				  : 0;

	if (!*text || !n || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	if ((*text == 0xe0 && text[1] < 0xa0) || (*text == 0xed && text[1] > 0x9f) ||
	    (*text == 0xf0 && text[1] < 0x90) || (*text == 0xf4 && text[1] > 0x8f))
		return 0;
	return n;
}

/* The parser takes such bytes for the end of the text, without a word. */
static int check_text(const char *text, size_t length, struct rd_error *error)
{
	size_t line = 1, n;

	for (size_t i = 0; i < length; i += n) {
		n = character((const unsigned char *)text + i, length - i);
		if (!n)
			return rd_error_set(error, -EINVAL, "line %zu: not text: a %s byte", line,
					    text[i] ? "non-UTF-8" : "NUL");
		line += text[i] == '\n';
	}
	return 0;
}

/* ---- from nodes to JSON ------------------------------------------------------------ */

/*
 * The library can emit JSON too; this is here because its version 0.7 loses
 * memory for some scalars when it does, and does not know True, NULL and ~.
 */

/* The JSON word that a plain scalar stands for (YAML 1.2, core schema), or NULL. */
static const char *json_word(const char *text, size_t length)
{
	static const char *const spellings[][2] = {
		{"true", "true"},   {"True", "true"},	{"TRUE", "true"}, {"false", "false"},
		{"False", "false"}, {"FALSE", "false"}, {"null", "null"}, {"Null", "null"},
		{"NULL", "null"},   {"~", "null"},	{"", "null"},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(spellings); i++)
		if (strlen(spellings[i][0]) == length && !memcmp(spellings[i][0], text, length))
			return spellings[i][1];
	return NULL;
}

static size_t skip_digits(const char *text, size_t at, size_t length)
{
	while (at < length && isdigit((unsigned char)text[at]))
		at++;
	return at;
}

/* Is it a number as JSON writes it (RFC 8259, 6)? */
static bool is_number(const char *text, size_t length)
{
	size_t begin = length && *text == '-', at = skip_digits(text, begin, length), digits;

	if (at == begin || (text[begin] == '0' && at > begin + 1))
		return false;
	if (at < length && text[at] == '.') {
		digits = skip_digits(text, at + 1, length);
		if (digits == at + 1)
			return false;
		at = digits;
	}
	if (at < length && (text[at] == 'e' || text[at] == 'E')) {
		at += 1 + (at + 1 < length && (text[at + 1] == '+' || text[at + 1] == '-'));
		digits = skip_digits(text, at, length);
		if (digits == at)
			return false;
		at = digits;
	}
	return at == length;
}

static void emit_string(FILE *json, const char *text, size_t length)
{
	fputc('"', json);
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '"' || c == '\\')
			fprintf(json, "\\%c", c);
		else if (c < ' ')
			fprintf(json, "\\u%04x", c);
		else
			fputc(c, json);
	}
	fputc('"', json);
}

/* The line a scalar is on, counted from 1; 0 if it is not known. */
static int line_of(struct fy_node *node)
{
	struct fy_token *token = fy_node_get_scalar_token(node);
	const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;

	return mark ? mark->line + 1 : 0;
}

/* What a node's tag says that it is. */
enum tag {
	TAG_NONE,
	TAG_UNKNOWN,
	TAG_AS_WRITTEN, /* "!": a scalar is a string, whatever is in it */
	TAG_STRING,
	TAG_INTEGER,
	TAG_FLOAT,
	TAG_BOOL,
	TAG_NULL,
	TAG_MAPPING,
	TAG_SEQUENCE,
};

/* What "!!" stands for. */
static const char core[] = "tag:yaml.org,2002:";

static enum tag tag_of(struct fy_node *node)
{
	static const char *const names[] = {
		[TAG_STRING] = "str",	[TAG_INTEGER] = "int", [TAG_FLOAT] = "float",
		[TAG_BOOL] = "bool",	[TAG_NULL] = "null",   [TAG_MAPPING] = "map",
		[TAG_SEQUENCE] = "seq",
	};
	size_t length = 0, prefix = strlen(core);
	const char *text = fy_node_get_tag(node, &length);

	if (!text)
		return TAG_NONE;
	if (length == 1 && *text == '!')
		return TAG_AS_WRITTEN;
	if (length < prefix || memcmp(text, core, prefix))
		return TAG_UNKNOWN;
	for (size_t i = TAG_STRING; i < RD_ARRAY_SIZE(names); i++)
		if (strlen(names[i]) == length - prefix &&
		    !memcmp(names[i], text + prefix, length - prefix))
			return (enum tag)i;
	return TAG_UNKNOWN;
}

/* The node is not what its tag says, or nobody knows what that is. What is tagged
 * may be a secret, and is not shown. */
static int refuse_tag(struct fy_node *node, struct rd_error *error)
{
	struct fy_token *token = fy_node_get_tag_token(node);
	const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
	size_t length = 0, prefix = strlen(core);
	const char *text = fy_node_get_tag(node, &length) ?: "";
	bool is_core = length > prefix && !memcmp(text, core, prefix);
	bool is_whole = !is_core && *text != '!';
	const char *before = is_core ? "!!" : is_whole ? "!<" : "";
	size_t skip = is_core ? prefix : 0, shown = length - skip < 64 ? length - skip : 64;

	return rd_error_set(error, -EINVAL, "line %d: %s: %s%.*s%s", mark ? mark->line + 1 : 0,
			    tag_of(node) == TAG_UNKNOWN ? "unknown tag"
							: "a value that is not what its tag says",
			    before, (int)shown, text + skip, is_whole ? ">" : "");
}

/* Is it a number without a fraction and an exponent? */
static bool is_integer(const char *text, size_t length)
{
	return is_number(text, length) &&
	       skip_digits(text, length && *text == '-', length) == length;
}

/* How JSON writes a scalar that is tagged, or how it is written: `text` as it
 * is, another word, or as a string (NULL). Returns false if it is not what its
 * tag says. */
static bool resolve(enum tag tag, bool plain, const char *text, size_t length,
		    const char **ret_json)
{
	const char *word = json_word(text, length);
	bool is_null = word && *word == 'n';

	*ret_json = NULL;
	switch (tag) {
	case TAG_NONE:
		if (plain)
			*ret_json = word ?: is_number(text, length) ? text : NULL;
		return true;
	case TAG_AS_WRITTEN:
	case TAG_STRING:
		return true;
	case TAG_INTEGER:
		*ret_json = text;
		return is_integer(text, length);
	case TAG_FLOAT:
		*ret_json = text;
		return is_number(text, length);
	case TAG_BOOL:
		*ret_json = word;
		return word && !is_null;
	case TAG_NULL:
		*ret_json = word;
		return is_null;
	case TAG_UNKNOWN:
	case TAG_MAPPING:
	case TAG_SEQUENCE:
		break;
	}
	return false;
}

static int emit_scalar(FILE *json, struct fy_node *node, struct rd_error *error)
{
	bool plain = fy_node_get_style(node) == FYNS_PLAIN;
	size_t length = 0;
	const char *text = fy_node_get_scalar(node, &length) ?: "";
	const char *written;

	if (fy_node_is_alias(node))
		return rd_error_set(error, -EINVAL, "line %d: aliases not allowed: write *%.*s out",
				    line_of(node), (int)length, text);
	if (memchr(text, '\0', length))
		return rd_error_set(error, -EINVAL, "line %d: a NUL character in a string",
				    line_of(node));
	if (!resolve(tag_of(node), plain, text, length, &written))
		return refuse_tag(node, error);
	if (!written)
		emit_string(json, text, length);
	else if (written == text)
		fwrite(text, 1, length, json);
	else
		fputs(written, json);
	return 0;
}

static int emit_node(FILE *json, struct fy_node *node, struct rd_error *error);

static int emit_mapping(FILE *json, struct fy_node *node, struct rd_error *error)
{
	struct fy_node_pair *pair;
	void *position = NULL;
	enum tag tag = tag_of(node);
	char before = '{';

	if (tag != TAG_NONE && tag != TAG_AS_WRITTEN && tag != TAG_MAPPING)
		return refuse_tag(node, error);
	while ((pair = fy_node_mapping_iterate(node, &position))) {
		struct fy_node *key = fy_node_pair_key(pair);
		size_t length = 0;
		const char *text = key ? fy_node_get_scalar(key, &length) : NULL;
		int r;

		if (!text || fy_node_is_alias(key))
			return rd_error_set(error, -EINVAL, "a key that is not a string");
		/* JSON's keys are strings, whatever they are. */
		if (tag_of(key) == TAG_UNKNOWN)
			return refuse_tag(key, error);
		fputc(before, json);
		before = ',';
		emit_string(json, text, length);
		fputc(':', json);
		r = emit_node(json, fy_node_pair_value(pair), error);
		if (r)
			return r;
	}
	fputs(before == '{' ? "{}" : "}", json);
	return 0;
}

static int emit_sequence(FILE *json, struct fy_node *node, struct rd_error *error)
{
	struct fy_node *item;
	void *position = NULL;
	enum tag tag = tag_of(node);
	char before = '[';

	if (tag != TAG_NONE && tag != TAG_AS_WRITTEN && tag != TAG_SEQUENCE)
		return refuse_tag(node, error);
	while ((item = fy_node_sequence_iterate(node, &position))) {
		int r;

		fputc(before, json);
		before = ',';
		r = emit_node(json, item, error);
		if (r)
			return r;
	}
	fputs(before == '[' ? "[]" : "]", json);
	return 0;
}

/* Write a tree's JSON; the parser limits its depth. Returns 0 or -EINVAL. */
static int emit_node(FILE *json, struct fy_node *node, struct rd_error *error)
{
	if (!node) {
		fputs("null", json);
		return 0;
	}
	switch (fy_node_get_type(node)) {
	case FYNT_MAPPING:
		return emit_mapping(json, node, error);
	case FYNT_SEQUENCE:
		return emit_sequence(json, node, error);
	case FYNT_SCALAR:
		break;
	}
	return emit_scalar(json, node, error);
}

/* Returns 0 with a string to free, -EINVAL or -ENOMEM. */
static int to_json(struct fy_document *parsed, char **ret_json, struct rd_error *error)
{
	_rd_free_ char *text = NULL;
	size_t size;
	FILE *json = open_memstream(&text, &size);
	int r;

	if (!json)
		return rd_error_set(error, -ENOMEM, "out of memory");
	r = emit_node(json, fy_document_root(parsed), error);
	/* Whatever could not be written for lack of memory shows here. */
	if (ferror(json) && !r)
		r = rd_error_set(error, -ENOMEM, "out of memory");
	if (fclose(json) && !r)
		r = rd_error_set(error, -ENOMEM, "out of memory");
	if (!r)
		*ret_json = rd_take(text);
	return r;
}

/* ---- documents -------------------------------------------------------------------------- */

/* Turn the library's first collected message into the error's text. It has none
 * for a lack of memory, which malloc says in errno, and none for a mapping with
 * two keys that are empty. */
static int take_message(struct fy_diag *diag, struct rd_error *error)
{
	struct fy_diag_error *first;
	void *position = NULL;

	first = fy_diag_errors_iterate(diag, &position);
	if (!first && errno == ENOMEM)
		return rd_error_set(error, -ENOMEM, "out of memory");
	if (!first)
		return rd_error_set(error, -EINVAL, "not YAML: perhaps two keys are empty");
	return rd_error_set(error, -EINVAL, "line %d: %s", first->line, first->msg);
}

int rd_yaml_documents(const char *text, size_t length,
		      int (*document)(void *context, const char *json), void *context,
		      struct rd_error *error)
{
	struct fy_diag_cfg diag_config = {.level = FYET_ERROR, .module_mask = ~0U};
	struct fy_parse_cfg config = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG};
	struct fy_parser *parser = NULL;
	struct fy_document *parsed;
	int r = check_text(text, length, error);

	if (r)
		return r;
	/* JSON is YAML, but need not be read as such. */
	if (rd_json_is_object(text, length)) {
		_rd_free_ char *json = strndup(text, length);

		return json ? document(context, json)
			    : rd_error_set(error, -ENOMEM, "out of memory");
	}
	config.diag = fy_diag_create(&diag_config);
	if (!config.diag)
		return rd_error_set(error, -ENOMEM, "out of memory");
	fy_diag_set_collect_errors(config.diag, true);
	parser = fy_parser_create(&config);
	if (!parser || fy_parser_set_string(parser, text, length))
		r = rd_error_set(error, -ENOMEM, "out of memory");
	errno = 0;
	while (!r && (parsed = fy_parse_load_document(parser))) {
		_rd_free_ char *json = NULL;

		r = to_json(parsed, &json, error);
		fy_parse_document_destroy(parser, parsed);
		r = r ?: document(context, json);
	}
	if (!r && fy_parser_get_stream_error(parser))
		r = take_message(config.diag, error);
	fy_parser_destroy(parser);
	fy_diag_destroy(config.diag);
	return r;
}
