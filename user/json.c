// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "json.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

int rd_json_fail(const struct rd_json_place *place, const char *format, ...)
{
	char what[256];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	if (place->quoted)
		return rd_error_set(place->error, -EINVAL, "%s \"%.64s\": %s", place->kind,
				    place->name, what);
	return rd_error_set(place->error, -EINVAL, "%s %s%s%s: %s", place->kind,
			    place->namespace ?: "", place->namespace ? "/" : "",
			    place->name ?: "without a name", what);
}

/* ---- text ------------------------------------------------------------------------ */

/* The library does not tell a lack of memory from a mistake in the text. */
static bool out_of_memory;

static void *allocate(size_t size)
{
	void *memory = malloc(size);

	out_of_memory |= !memory;
	return memory;
}

int rd_json_parse(const char *json, cJSON **ret_root, struct rd_error *error)
{
	cJSON_Hooks hooks = {.malloc_fn = allocate, .free_fn = free};
	const char *end = NULL;

	cJSON_InitHooks(&hooks);
	out_of_memory = false;
	*ret_root = cJSON_ParseWithOpts(json, &end, true);
	if (!*ret_root && out_of_memory)
		return rd_error_set(error, -ENOMEM, "out of memory");
	if (!*ret_root)
		return rd_error_set(error, -EINVAL, "not JSON near \"%.16s\"", end ?: "");
	return 0;
}

/* ---- members --------------------------------------------------------------------- */

#define KEYS_MAX 256

/* Also if there are so many that it is not looked for. */
static bool has_key_twice(const cJSON *object)
{
	const cJSON *member, *other;

	if (cJSON_IsObject(object) && cJSON_GetArraySize(object) > KEYS_MAX)
		return true;
	cJSON_ArrayForEach(member, object) {
		for (other = member->next; member->string && other; other = other->next)
			if (!strcmp(member->string, other->string))
				return true;
		if (has_key_twice(member))
			return true;
	}
	return false;
}

bool rd_json_is_object(const char *text, size_t length)
{
	const char *end = NULL;
	cJSON *object;
	bool is;

	if (!length || text[0] != '{')
		return false;
	object = cJSON_ParseWithLengthOpts(text, length, &end, false);
	is = object && !has_key_twice(object);
	for (; is && end < text + length; end++)
		is = *end == '\n' || *end == ' ';
	cJSON_Delete(object);
	return is;
}

const cJSON *rd_json_member(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsNull(item) ? NULL : item;
}

bool rd_json_has(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key) != NULL;
}

int rd_json_object(const struct rd_json_place *place, const cJSON *parent, const char *key,
		   const cJSON **ret_object)
{
	const cJSON *item = rd_json_member(parent, key);

	if (item && !cJSON_IsObject(item))
		return rd_json_fail(place, "%s must be an object", key);
	*ret_object = item;
	return 0;
}

int rd_json_array(const struct rd_json_place *place, const cJSON *parent, const char *key,
		  const cJSON **ret_array)
{
	const cJSON *item = rd_json_member(parent, key);

	if (item && !cJSON_IsArray(item))
		return rd_json_fail(place, "%s must be a list", key);
	*ret_array = item;
	return 0;
}

int rd_json_string(const struct rd_json_place *place, const cJSON *parent, const char *key,
		   const char *otherwise, const char **ret_text)
{
	const cJSON *item = rd_json_member(parent, key);

	if (item && !cJSON_IsString(item))
		return rd_json_fail(place, "%s must be a string", key);
	*ret_text = item ? item->valuestring : otherwise;
	return 0;
}

int rd_json_bool(const struct rd_json_place *place, const cJSON *parent, const char *key,
		 bool otherwise, bool *ret_value)
{
	const cJSON *item = rd_json_member(parent, key);

	if (item && !cJSON_IsBool(item))
		return rd_json_fail(place, "%s must be true or false", key);
	*ret_value = item ? cJSON_IsTrue(item) : otherwise;
	return 0;
}
