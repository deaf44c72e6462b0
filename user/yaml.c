// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "yaml.h"

#include <errno.h>
#include <libfyaml.h>

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

static int emit(struct fy_document *parsed, struct fy_diag *diag,
		int (*document)(void *context, const char *json), void *context,
		struct rd_error *error)
{
	_rd_free_ char *json =
		fy_emit_document_to_string(parsed, FYECF_MODE_JSON_ONELINE | FYECF_WIDTH_INF);

	if (!json)
		return take_message(diag, error);
	return document(context, json);
}

int rd_yaml_documents(const char *text, size_t length,
		      int (*document)(void *context, const char *json), void *context,
		      struct rd_error *error)
{
	struct fy_diag_cfg diag_config = {.level = FYET_ERROR, .module_mask = ~0U};
	struct fy_parse_cfg config = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG};
	struct fy_parser *parser = NULL;
	struct fy_document *parsed;
	int r = 0;

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
