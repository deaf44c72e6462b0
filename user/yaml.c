// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "yaml.h"

#include <errno.h>
#include <libfyaml.h>
#include <string.h>

/* Turn the library's first collected message into the error's text. */
static int take_message(struct fy_diag *diag, struct rd_error *error)
{
	struct fy_diag_error *first;
	void *position = NULL;

	first = fy_diag_errors_iterate(diag, &position);
	if (!first)
		return rd_error_set(error, -ENOMEM, "out of memory");
	return rd_error_set(error, -EINVAL, "line %d: %s", first->line, first->msg);
}

/* YAML's other spellings of JSON's words (YAML 1.2, core schema), which the
 * library would emit as strings. Returns NULL for any other node. */
static const char *json_word(struct fy_node *node)
{
	static const char *const spellings[][2] = {
		{"True", "true"}, {"TRUE", "true"}, {"False", "false"}, {"FALSE", "false"},
		{"Null", "null"}, {"NULL", "null"}, {"~", "null"},
	};
	const char *text;
	size_t length;

	if (fy_node_get_type(node) != FYNT_SCALAR || fy_node_get_style(node) != FYNS_PLAIN)
		return NULL;
	text = fy_node_get_scalar(node, &length);
	for (size_t i = 0; text && i < RD_ARRAY_SIZE(spellings); i++)
		if (strlen(spellings[i][0]) == length && !memcmp(spellings[i][0], text, length))
			return spellings[i][1];
	return NULL;
}

/* Respell the values of all mappings in a tree. Its depth has a limit, which
 * the parser enforces. Returns 0 or -ENOMEM. */
static int respell(struct fy_document *parsed, struct fy_node *node)
{
	struct fy_node_pair *pair;
	struct fy_node *item;
	void *position = NULL;

	if (fy_node_get_type(node) == FYNT_SEQUENCE)
		while ((item = fy_node_sequence_iterate(node, &position)))
			if (respell(parsed, item))
				return -ENOMEM;
	if (fy_node_get_type(node) != FYNT_MAPPING)
		return 0;
	while ((pair = fy_node_mapping_iterate(node, &position))) {
		struct fy_node *value = fy_node_pair_value(pair);
		const char *word = value ? json_word(value) : NULL;

		if (value && !word && respell(parsed, value))
			return -ENOMEM;
		if (!word)
			continue;
		item = fy_node_create_scalar(parsed, word, strlen(word));
		if (!item || fy_node_pair_set_value(pair, item))
			return -ENOMEM;
	}
	return 0;
}

static int emit(struct fy_document *parsed, struct fy_diag *diag,
		int (*document)(void *context, const char *json), void *context,
		struct rd_error *error)
{
	struct fy_node *root = fy_document_root(parsed);
	_rd_free_ char *json = NULL;

	if (root && respell(parsed, root))
		return rd_error_set(error, -ENOMEM, "out of memory");
	json = fy_emit_document_to_string(parsed, FYECF_MODE_JSON_ONELINE | FYECF_WIDTH_INF);
	if (!json)
		return take_message(diag, error);
	return document(context, json);
}

/* How many bytes the character at `text` has, or 0 if it is not UTF-8 (RFC
 * 3629: no overlong forms, no surrogates) or is NUL. */
static size_t character(const unsigned char *text, size_t left)
{
	static const unsigned char lowest[] = {[2] = 0x80, [3] = 0xa0, [4] = 0x90};
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
	if ((*text == 0xe0 || *text == 0xf0) && text[1] < lowest[n])
		return 0;
	if ((*text == 0xed && text[1] > 0x9f) || (*text == 0xf4 && text[1] > 0x8f))
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
	config.diag = fy_diag_create(&diag_config);
	if (!config.diag)
		return rd_error_set(error, -ENOMEM, "out of memory");
	fy_diag_set_collect_errors(config.diag, true);
	parser = fy_parser_create(&config);
	if (!parser || fy_parser_set_string(parser, text, length))
		r = rd_error_set(error, -ENOMEM, "out of memory");
	while (!r && (parsed = fy_parse_load_document(parser))) {
		r = emit(parsed, config.diag, document, context, error);
		fy_parse_document_destroy(parser, parsed);
	}
	if (!r && fy_parser_get_stream_error(parser))
		r = take_message(config.diag, error);
	fy_parser_destroy(parser);
	fy_diag_destroy(config.diag);
	return r;
}
