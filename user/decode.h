/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * decode.h - from JSON to objects. YAML is turned into JSON first (yaml.h) and
 * takes the same way.
 *
 * Defaults are those the Kubernetes API server would have filled in, so that a
 * manifest as a person writes it means what it would mean there.
 */
#ifndef REDIAL_DECODE_H
#define REDIAL_DECODE_H

#include <stddef.h>

#include "model.h"
#include "util.h"

struct rd_decoded {
	struct rd_object **objects;
	size_t n;
	size_t skipped;		/* objects of kinds redial does not use */
	char skipped_kinds[96]; /* some of those kinds, separated by commas */
};

void rd_decoded_clear(struct rd_decoded *decoded);

/*
 * Decode one JSON document: an object, or a List of them (kind List, or any
 * kind ending in List with items), and append what it holds.
 *
 * @origin: stored in each object; must outlive it
 * Returns 0; -EINVAL for a document that is wrong, with @error naming the
 * object and the field; -ENOMEM. On failure @decoded keeps what it had and may
 * have gained objects: the caller clears it.
 */
int rd_decode(const char *json, const char *origin, struct rd_decoded *decoded,
	      struct rd_error *error);

/* The JSON library's tree, for the few files that know it. */
struct cJSON;

/* Decode one object whose kind is known. The caller frees @ret_object.
 * Returns 0, -EINVAL with @error naming the object and the field, or -ENOMEM. */
int rd_decode_tree(const struct cJSON *root, enum rd_kind kind, const char *origin,
		   struct rd_object **ret_object, struct rd_error *error);

#endif
