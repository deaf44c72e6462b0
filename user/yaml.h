/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * yaml.h - YAML (and so JSON) text to one JSON text per document. The only
 * file that knows the YAML library.
 */
#ifndef REDIAL_YAML_H
#define REDIAL_YAML_H

#include <stddef.h>

#include "util.h"

/*
 * Call `document` with the JSON of each document in turn, until it returns
 * other than 0.
 *
 * Returns 0, what `document` returned, -EINVAL for text that is not YAML
 * (@error gives the line), uses aliases, whose expansion has no bound, or has a
 * tag that is unknown or wrong, or -ENOMEM. Documents before the wrong one have been handed over by
 * then.
 */
int rd_yaml_documents(const char *text, size_t length,
		      int (*document)(void *context, const char *json), void *context,
		      struct rd_error *error);

#endif
