/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * secret.h - memory that may hold a token or a key: it is wiped before it is
 * freed, and no error quotes it.
 */
#ifndef REDIAL_SECRET_H
#define REDIAL_SECRET_H

#include <stddef.h>

#include "util.h"

struct cJSON;

/* Wipe and free what malloc gave. */
void rd_secret_free(void *memory);

static inline void rd_secret_cleanup(void *pointer)
{
	rd_secret_free(*(void **)pointer);
}
#define _rd_secret_ __attribute__((cleanup(rd_secret_cleanup)))

/*
 * Read a regular file, without ever waiting for a writer.
 *
 * @limit: the largest length that is read
 * @ret_text: for rd_secret_free; a NUL follows the text
 * Returns 0 or -errno, with @error set (which names the file).
 */
int rd_secret_read(const char *path, size_t limit, char **ret_text, size_t *ret_length,
		   struct rd_error *error);

/*
 * Parse JSON, one value and nothing after it.
 *
 * @ret_root: for rd_secret_json_free, before the JSON library is used otherwise
 * Returns 0, -EINVAL ("not JSON") or -ENOMEM, with @error set.
 */
int rd_secret_json(const char *text, size_t length, struct cJSON **ret_root,
		   struct rd_error *error);
void rd_secret_json_free(struct cJSON *root);

#endif
