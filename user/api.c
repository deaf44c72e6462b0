// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

#include "json.h"

static void cleanup_tree(cJSON **tree)
{
	cJSON_Delete(*tree);
}
#define _cleanup_tree_ __attribute__((cleanup(cleanup_tree)))

static const cJSON *member(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* A string member, borrowed; "" if there is none. */
static const char *text(const cJSON *object, const char *key)
{
	return cJSON_GetStringValue(member(object, key)) ?: "";
}

/* Parse; what is not JSON is a fault of the message, as any other. */
static int parse(const char *json, cJSON **ret_root, struct rd_error *error)
{
	int r = rd_json_parse(json, ret_root, error);

	return r == -EINVAL ? -EBADMSG : r;
}

static int copy(char *to, size_t size, const char *from, const char *what, struct rd_error *error)
{
	if (strlen(from) >= size)
		return rd_error_set(error, -EBADMSG, "%s is too long: \"%.32s…\"", what, from);
	snprintf(to, size, "%s", from);
	return 0;
}

static int read_version(const cJSON *object, char version[RD_VERSION_MAX], struct rd_error *error)
{
	const char *value = text(member(object, "metadata"), "resourceVersion");

	if (!*value)
		return rd_error_set(error, -EBADMSG, "it has no metadata.resourceVersion");
	return copy(version, RD_VERSION_MAX, value, "resourceVersion", error);
}

static int read_object(const cJSON *root, enum rd_kind kind, const char *origin,
		       struct rd_api_object *ret, struct rd_error *error)
{
	const cJSON *meta = member(root, "metadata");
	int r;

	if (!*text(meta, "name"))
		return rd_error_set(error, -EBADMSG, "an object without a name");
	r = copy(ret->namespace, sizeof(ret->namespace), text(meta, "namespace"), "a namespace",
		 error);
	r = r ?: copy(ret->name, sizeof(ret->name), text(meta, "name"), "a name", error);
	r = r ?: read_version(root, ret->version, error);
	if (r)
		return r;
	r = rd_decode_tree(root, kind, origin, &ret->object, error);
	return r == -EINVAL ? 0 : r;
}

static void read_status(const cJSON *root, struct rd_api_status *ret)
{
	const cJSON *details = member(root, "details"), *cause;
	const cJSON *code = member(root, "code"), *after = member(details, "retryAfterSeconds");

	if (strcmp(text(root, "kind"), "Status"))
		return;
	ret->code = cJSON_IsNumber(code) ? code->valueint : 0;
	ret->retry_after =
		cJSON_IsNumber(after) && after->valueint > 0 ? (unsigned)after->valueint : 0;
	snprintf(ret->reason, sizeof(ret->reason), "%.63s", text(root, "reason"));
	snprintf(ret->message, sizeof(ret->message), "%.255s", text(root, "message"));
	cJSON_ArrayForEach(cause, member(details, "causes"))
		ret->too_large |= !strcmp(text(cause, "reason"), "ResourceVersionTooLarge");
	/* Before causes were given there was the message alone. */
	ret->too_large |= strstr(ret->message, "Too large resource version") != NULL;
}

int rd_api_item(const char *json, enum rd_kind kind, const char *origin,
		struct rd_api_object *ret_item, struct rd_error *error)
{
	_cleanup_tree_ cJSON *root = NULL;
	struct rd_api_object item = {0};
	int r = parse(json, &root, error) ?: read_object(root, kind, origin, &item, error);

	if (!r)
		*ret_item = item;
	return r;
}

static int read_type(const cJSON *root, enum rd_event_type *ret_type, struct rd_error *error)
{
	static const char *const types[] = {[RD_ADDED] = "ADDED",
					    [RD_MODIFIED] = "MODIFIED",
					    [RD_DELETED] = "DELETED",
					    [RD_BOOKMARK] = "BOOKMARK",
					    [RD_REFUSAL] = "ERROR"};

	for (size_t i = 0; i < RD_ARRAY_SIZE(types); i++) {
		if (strcmp(text(root, "type"), types[i]))
			continue;
		*ret_type = (enum rd_event_type)i;
		return 0;
	}
	return rd_error_set(error, -EBADMSG, "an event of type \"%.32s\"", text(root, "type"));
}

static int read_bookmark(const cJSON *object, struct rd_event *event, struct rd_error *error)
{
	const cJSON *annotations = member(member(object, "metadata"), "annotations");

	event->initial_end = !strcmp(text(annotations, "k8s.io/initial-events-end"), "true");
	return read_version(object, event->of.version, error);
}

int rd_api_event(const char *json, enum rd_kind kind, const char *origin,
		 struct rd_event *ret_event, struct rd_error *error)
{
	_cleanup_tree_ cJSON *root = NULL;
	struct rd_event event = {0};
	const cJSON *object;
	int r = parse(json, &root, error) ?: read_type(root, &event.type, error);

	if (r)
		return r;
	object = member(root, "object");
	if (event.type == RD_REFUSAL)
		read_status(object, &event.status);
	else if (strcmp(text(object, "kind"), rd_kind_name(kind)))
		r = rd_error_set(error, -EBADMSG, "an event about a \"%.32s\", not a %s",
				 text(object, "kind"), rd_kind_name(kind));
	else if (event.type == RD_BOOKMARK)
		r = read_bookmark(object, &event, error);
	else
		r = read_object(object, kind, origin, &event.of, error);
	if (!r)
		*ret_event = event;
	return r;
}

int rd_api_list_head(const char *json, enum rd_kind kind, struct rd_list_head *ret_head,
		     struct rd_error *error)
{
	_cleanup_tree_ cJSON *root = NULL;
	struct rd_api_status status = {0};
	struct rd_list_head head = {0};
	const cJSON *items;
	const char *next;
	char expected[32];
	int r = parse(json, &root, error);

	if (r)
		return r;
	snprintf(expected, sizeof(expected), "%sList", rd_kind_name(kind));
	read_status(root, &status);
	if (*status.message || status.code)
		return rd_error_set(error, -EBADMSG, "a Status in the place of a list: %s",
				    status.message);
	if (strcmp(text(root, "kind"), expected))
		return rd_error_set(error, -EBADMSG, "a \"%.32s\", not a %s", text(root, "kind"),
				    expected);
	items = member(root, "items");
	if (!items || (!cJSON_IsNull(items) && !cJSON_IsArray(items)) || cJSON_GetArraySize(items))
		return rd_error_set(error, -EBADMSG, "a %s without a list of items", expected);
	r = read_version(root, head.version, error);
	if (r)
		return r;
	next = text(member(root, "metadata"), "continue");
	if (*next) {
		head.next = strdup(next);
		if (!head.next)
			return -ENOMEM;
	}
	*ret_head = head;
	return 0;
}

void rd_api_status(const char *json, struct rd_api_status *ret_status)
{
	_cleanup_tree_ cJSON *root = NULL;
	struct rd_error ignored;

	*ret_status = (struct rd_api_status){0};
	if (!rd_json_parse(json, &root, &ignored))
		read_status(root, ret_status);
}
