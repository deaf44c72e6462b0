/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * json.h - members of JSON objects by their type, as decode.c and kubeconfig.c
 * read them. A member that is null is as good as absent, and what is not of its
 * type is refused with one line that says where it is.
 */
#ifndef REDIAL_JSON_H
#define REDIAL_JSON_H

#include <stdbool.h>

#include "util.h"

/* The library's tree, for the few files that know it. */
struct cJSON;

/* What is being read, for the error's text: `Service shop/web: …`, or if the name
 * is quoted, `cluster "mine": …`. */
struct rd_json_place {
	const char *kind;
	const char *namespace; /* NULL: none */
	const char *name;      /* NULL: not known yet */
	bool quoted;	       /* the name may be any text */
	struct rd_error *error;
};

/* Set the place's error. Returns -EINVAL. */
int rd_json_fail(const struct rd_json_place *place, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Parse a text, which ends with its NUL. The caller deletes @ret_root. Returns 0,
 * -EINVAL or -ENOMEM, with @error set. */
int rd_json_parse(const char *json, struct cJSON **ret_root, struct rd_error *error);

/* Whether a text, which need not end with a NUL, is a JSON object from its first
 * byte on, with no more than blanks after it, and no key twice. Also false for more
 * keys than one would look through, and without memory. */
bool rd_json_is_object(const char *text, size_t length);

/* A member that is there and is not null, or NULL. */
const struct cJSON *rd_json_member(const struct cJSON *object, const char *key);

/* Whether it is there, be it null. */
bool rd_json_has(const struct cJSON *object, const char *key);

/*
 * A member of a type, borrowed from its parent. If it is absent: an object and a
 * list read as NULL, which the library takes for an empty one, and the others as
 * @otherwise.
 *
 * Return 0, or -EINVAL with the place's error set and the output untouched.
 */
int rd_json_object(const struct rd_json_place *place, const struct cJSON *parent, const char *key,
		   const struct cJSON **ret_object);
int rd_json_array(const struct rd_json_place *place, const struct cJSON *parent, const char *key,
		  const struct cJSON **ret_array);
int rd_json_string(const struct rd_json_place *place, const struct cJSON *parent, const char *key,
		   const char *otherwise, const char **ret_text);
int rd_json_bool(const struct rd_json_place *place, const struct cJSON *parent, const char *key,
		 bool otherwise, bool *ret_value);

#endif
