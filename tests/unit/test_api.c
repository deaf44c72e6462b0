// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "unit/alloc_fail.h"

#define ORIGIN "/api/v1/things"

/* ---- events and items as text ---------------------------------------------------------- */

static char text[1024];

static void say_object(const struct rd_api_object *of, const char *error, char *at, size_t size)
{
	const struct rd_object *object = of->object;
	int n = snprintf(at, size, " %s/%s@%s", of->namespace, of->name, of->version);

	at += n;
	size -= (size_t)n;
	if (!object) {
		snprintf(at, size, " unusable: %s", error);
		return;
	}
	assert_string_equal(error, "");
	assert_ptr_equal(object->origin, ORIGIN);
	assert_string_equal(object->name, of->name);
	if (object->kind == RD_SERVICE)
		snprintf(at, size, " %zu ports%s", object->service.n_ports,
			 object->service.not_ours ? " not ours" : "");
	else if (object->kind == RD_SLICE)
		snprintf(at, size, " of %s, %zu endpoints", object->slice.service,
			 object->slice.n_subsets ? object->slice.subsets[0].n_endpoints : 0);
	else
		snprintf(at, size, " %s", rd_kind_name(object->kind));
}

/* One event; frees what is in it. */
static const char *describe(struct rd_event *event, const struct rd_error *error)
{
	static const char *const types[] = {[RD_ADDED] = "ADDED",
					    [RD_MODIFIED] = "MODIFIED",
					    [RD_DELETED] = "DELETED",
					    [RD_BOOKMARK] = "BOOKMARK",
					    [RD_REFUSAL] = "ERROR"};
	size_t n = (size_t)snprintf(text, sizeof(text), "%s", types[event->type]);

	if (event->type == RD_BOOKMARK) {
		assert_null(event->of.object);
		assert_string_equal(event->of.name, "");
		snprintf(text + n, sizeof(text) - n, " @%s%s", event->of.version,
			 event->initial_end ? " end of the initial events" : "");
	} else if (event->type == RD_REFUSAL) {
		assert_null(event->of.object);
		assert_string_equal(event->of.version, "");
		snprintf(text + n, sizeof(text) - n, " %d %s%s retry %u: %s", event->status.code,
			 event->status.reason, event->status.too_large ? " too large" : "",
			 event->status.retry_after, event->status.message);
	} else {
		assert_false(event->initial_end);
		say_object(&event->of, error->text, text + n, sizeof(text) - n);
	}
	rd_object_free(event->of.object);
	return text;
}

struct row {
	const char *json;
	const char *expected; /* the description, or the error */
};

static void expect_events(enum rd_kind kind, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct rd_error error = {0};
		struct rd_event event;

		if (rd_api_event(rows[i].json, kind, ORIGIN, &event, &error))
			fail_msg("row %zu: %s\n%s", i, error.text, rows[i].json);
		assert_string_equal(describe(&event, &error), rows[i].expected);
	}
}
#define EXPECT_EVENTS(kind, rows) expect_events(kind, rows, RD_ARRAY_SIZE(rows))

/* Refused, with a reason, and nothing is written. */
static void expect_no_events(enum rd_kind kind, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct rd_error error = {0};
		struct rd_event event, untouched;
		int r;

		memset(&untouched, 0x5a, sizeof(untouched));
		event = untouched;
		r = rd_api_event(rows[i].json, kind, ORIGIN, &event, &error);
		if (r != -EBADMSG)
			fail_msg("row %zu gives %d: %s", i, r, rows[i].json);
		assert_string_equal(error.text, rows[i].expected);
		assert_memory_equal(&event, &untouched, sizeof(event));
	}
}
#define EXPECT_NO_EVENTS(kind, rows) expect_no_events(kind, rows, RD_ARRAY_SIZE(rows))

/* ---- recorded answers of an API server ------------------------------------------------ */

static char *read_recorded(const char *name)
{
	char *content = calloc(1, 65536);
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "tests/data/kube-api/%s", name);
	file = fopen(path, "re");
	if (!file)
		fail_msg("cannot open %s: run from the root of the repository", path);
	assert_non_null(content);
	assert_in_range(fread(content, 1, 65535, file), 1, 65534);
	fclose(file);
	return content;
}

static void expect_recorded_events(const char *name, enum rd_kind kind, const char *const *expected,
				   size_t n)
{
	_rd_free_ char *content = read_recorded(name);
	char *rest = NULL, *line = strtok_r(content, "\n", &rest);

	for (size_t i = 0; i < n; i++, line = strtok_r(NULL, "\n", &rest)) {
		const struct row row = {.json = line, .expected = expected[i]};

		assert_non_null(line);
		expect_events(kind, &row, 1);
	}
	assert_null(line);
}

TEST(F4_a_recorded_watch_of_slices_is_decoded)
{
	static const char *const expected[] = {
		"MODIFIED example/backend-service-1@274 of backend-service, 2 endpoints",
		"MODIFIED example/sticky-1@275 of sticky, 3 endpoints",
		"ADDED example/headless-hkfgz@284 of headless, 0 endpoints",
		"BOOKMARK @299",
		"BOOKMARK @299",
		"BOOKMARK @299",
	};

	expect_recorded_events("watch-endpointslices.ndjson", RD_SLICE, expected,
			       RD_ARRAY_SIZE(expected));
}

TEST(A3_a_recorded_watch_with_a_selector_is_decoded)
{
	static const char *const expected[] = {
		"DELETED example/sticky@276 1 ports",
		"ADDED example/sticky@277 1 ports",
		"DELETED example/empty@278 1 ports",
		"MODIFIED example/backend-service@280 1 ports",
		"ADDED example/ext@281 0 ports",
		"ADDED example/headless@282 1 ports",
		"BOOKMARK @290",
	};

	expect_recorded_events("watch-services.ndjson", RD_SERVICE, expected,
			       RD_ARRAY_SIZE(expected));
}

TEST(F10_a_recorded_stream_says_where_its_initial_events_end)
{
	static const char *const expected[] = {
		"ADDED default/kubernetes@209 of kubernetes, 1 endpoints",
		"ADDED example/backend-service-1@246 of backend-service, 3 endpoints",
		"ADDED example/dns-1@249 of dns, 3 endpoints",
		"ADDED example/frontend-service-1@247 of frontend-service, 3 endpoints",
		"ADDED example/lb-1@250 of lb, 3 endpoints",
		"ADDED example/sticky-1@248 of sticky, 3 endpoints",
		"BOOKMARK @273 end of the initial events",
		"MODIFIED example/backend-service-1@274 of backend-service, 2 endpoints",
		"MODIFIED example/sticky-1@275 of sticky, 3 endpoints",
		"ADDED example/headless-hkfgz@284 of headless, 0 endpoints",
		"BOOKMARK @284",
		"BOOKMARK @284",
	};

	expect_recorded_events("watch-initial-events-endpointslices.ndjson", RD_SLICE, expected,
			       RD_ARRAY_SIZE(expected));
}

/* Decode a recorded list: each item, and the list without its items. */
static void expect_recorded_list(const char *name, enum rd_kind kind, size_t n_items,
				 const char *version, const char *next)
{
	_rd_free_ char *content = read_recorded(name);
	cJSON *root = cJSON_Parse(content), *item;
	struct rd_list_head head;
	struct rd_error error = {0};
	char *json;
	size_t n = 0;

	assert_non_null(root);
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(root, "items")) {
		const cJSON *meta = cJSON_GetObjectItemCaseSensitive(item, "metadata");
		struct rd_api_object decoded;

		json = cJSON_PrintUnformatted(item);
		assert_int_equal(rd_api_item(json, kind, ORIGIN, &decoded, &error), 0);
		cJSON_free(json);
		assert_non_null(decoded.object);
		assert_int_equal(decoded.object->kind, kind);
		assert_string_equal(
			decoded.name,
			cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(meta, "name")));
		assert_string_not_equal(decoded.version, "");
		assert_string_equal(decoded.object->namespace, decoded.namespace);
		assert_string_equal(error.text, "");
		rd_object_free(decoded.object);
		n++;
	}
	assert_int_equal(n, n_items);
	cJSON_ReplaceItemInObjectCaseSensitive(root, "items", cJSON_CreateArray());
	json = cJSON_PrintUnformatted(root);
	assert_int_equal(rd_api_list_head(json, kind, &head, &error), 0);
	cJSON_free(json);
	cJSON_Delete(root);
	assert_string_equal(head.version, version);
	if (next)
		assert_string_equal(head.next, next);
	else
		assert_null(head.next);
	free(head.next);
}

TEST(F2_recorded_lists_are_decoded_and_name_their_next_page)
{
	expect_recorded_list("services-list.json", RD_SERVICE, 7, "273", NULL);
	expect_recorded_list("endpointslices-list.json", RD_SLICE, 6, "273", NULL);
	expect_recorded_list("endpoints-list.json", RD_ENDPOINTS, 1, "273", NULL);
	expect_recorded_list("nodes-list.json", RD_NODE, 1, "273", NULL);
	expect_recorded_list(
		"endpointslices-page1.json", RD_SLICE, 2, "273",
		"eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MjczLCJzdGFydCI6Ii9leGFtcGxlL2JhY2tlbmQtc2Vydm"
		"ljZS0xXHUwMDAwIn0");
}

TEST(F5_F6_recorded_refusals_are_decoded)
{
	static const struct {
		const char *name;
		struct rd_api_status status;
	} rows[] = {
		{.name = "status-400-bad-continue.json",
		 .status = {.code = 400,
			    .reason = "BadRequest",
			    .message = "invalid continue token: continue key is not valid: illegal "
				       "base64 data at input byte 4"}},
		{.name = "status-401.json",
		 .status = {.code = 403,
			    .reason = "Forbidden",
			    .message =
				    "services is forbidden: User \"system:anonymous\" cannot list "
				    "resource \"services\" in API group \"\" at the cluster "
				    "scope"}},
		{.name = "status-403.json",
		 .status = {.code = 403,
			    .reason = "Forbidden",
			    .message =
				    "services is forbidden: User \"reader\" cannot list resource "
				    "\"services\" in API group \"\" at the cluster scope"}},
		{.name = "status-504-too-large-resource-version.json",
		 .status = {.code = 504,
			    .reason = "Timeout",
			    .message =
				    "Timeout: Too large resource version: 99999999, current: 273",
			    .too_large = true,
			    .retry_after = 1}},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		_rd_free_ char *json = read_recorded(rows[i].name);
		const struct rd_api_status *expected = &rows[i].status;
		struct rd_api_status status;
		struct rd_list_head head;
		struct rd_error error;

		rd_api_status(json, &status);
		assert_int_equal(status.code, expected->code);
		assert_string_equal(status.reason, expected->reason);
		assert_string_equal(status.message, expected->message);
		assert_int_equal(status.too_large, expected->too_large);
		assert_int_equal(status.retry_after, expected->retry_after);
		/* And in the place of a list. */
		assert_int_equal(rd_api_list_head(json, RD_SERVICE, &head, &error), -EBADMSG);
		snprintf(text, sizeof(text), "a Status in the place of a list: %s",
			 expected->message);
		assert_string_equal(error.text, text);
	}
}

/* ---- events ------------------------------------------------------------------------------ */

#define META(rest)                                                                                 \
	"\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"resourceVersion\":" rest "}"
#define SERVICE "\"kind\":\"Service\",\"apiVersion\":\"v1\""
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}"
#define BOOKMARK(meta) EVENT("BOOKMARK", "{" SERVICE ",\"metadata\":" meta ",\"spec\":{}}")

TEST(F4_events_have_their_objects_and_versions)
{
	static const struct row rows[] = {
		{EVENT("ADDED",
		       "{" SERVICE "," META("\"7\"") ",\"spec\":{\"ports\":[{\"port\":80}]}}"),
		 "ADDED shop/web@7 1 ports"},
		/* In any order, and with what is not known. */
		{"{\"object\":{\"spec\":{\"ports\":[{\"port\":80}]}," META(
			 "\"7\"") "," SERVICE "},\"new\":[{}],\"type\":\"MODIFIED\"}",
		 "MODIFIED shop/web@7 1 ports"},
		{EVENT("DELETED",
		       "{" SERVICE "," META("\"8\"") ",\"spec\":{\"ports\":[{\"port\":80}]}}"),
		 "DELETED shop/web@8 1 ports"},
		/* Opaque: no number. */
		{EVENT("ADDED",
		       "{" SERVICE "," META("\"v1.é\"") ",\"spec\":{\"ports\":[{\"port\":80}]}}"),
		 "ADDED shop/web@v1.é 1 ports"},
	};

	EXPECT_EVENTS(RD_SERVICE, rows);
}

TEST(F4_a_bookmark_is_a_version_and_never_an_object)
{
	static const struct row rows[] = {
		{BOOKMARK("{\"resourceVersion\":\"12\"}"), "BOOKMARK @12"},
		{BOOKMARK("{\"resourceVersion\":\"12\",\"creationTimestamp\":null}"),
		 "BOOKMARK @12"},
		/* Whatever stands in the shell. */
		{EVENT("BOOKMARK",
		       "{" SERVICE "," META("\"12\"") ",\"spec\":{\"clusterIP\":\"10.96.0.1\","
						      "\"ports\":[{\"port\":80}]}}"),
		 "BOOKMARK @12"},
		{EVENT("BOOKMARK", "{" SERVICE "," META("\"12\"") ",\"spec\":7}"), "BOOKMARK @12"},
	};
	static const struct row errors[] = {
		{BOOKMARK("{}"), "it has no metadata.resourceVersion"},
		{BOOKMARK("{\"resourceVersion\":\"\"}"), "it has no metadata.resourceVersion"},
		{BOOKMARK("{\"resourceVersion\":12}"), "it has no metadata.resourceVersion"},
		{BOOKMARK("null"), "it has no metadata.resourceVersion"},
		{BOOKMARK("[]"), "it has no metadata.resourceVersion"},
	};

	EXPECT_EVENTS(RD_SERVICE, rows);
	EXPECT_NO_EVENTS(RD_SERVICE, errors);
}

TEST(F10_the_initial_events_end_where_the_annotation_says_true)
{
#define ANNOTATED(annotations)                                                                     \
	BOOKMARK("{\"resourceVersion\":\"12\",\"annotations\":" annotations "}")
	static const struct row rows[] = {
		{ANNOTATED("{\"k8s.io/initial-events-end\":\"true\"}"),
		 "BOOKMARK @12 end of the initial events"},
		{ANNOTATED("{\"a\":\"b\",\"k8s.io/initial-events-end\":\"true\"}"),
		 "BOOKMARK @12 end of the initial events"},
		{ANNOTATED("{\"k8s.io/initial-events-end\":\"false\"}"), "BOOKMARK @12"},
		{ANNOTATED("{\"k8s.io/initial-events-end\":\"\"}"), "BOOKMARK @12"},
		{ANNOTATED("{\"k8s.io/initial-events-end\":true}"), "BOOKMARK @12"},
		{ANNOTATED("{\"K8s.io/Initial-events-end\":\"true\"}"), "BOOKMARK @12"},
		{ANNOTATED("{}"), "BOOKMARK @12"},
		{ANNOTATED("null"), "BOOKMARK @12"},
		{ANNOTATED("[]"), "BOOKMARK @12"},
		/* Of an object it says nothing. */
		{EVENT("ADDED",
		       "{" SERVICE ",\"metadata\":{\"name\":\"web\",\"resourceVersion\":\"1\","
		       "\"annotations\":{\"k8s.io/"
		       "initial-events-end\":\"true\"}},\"spec\":{\"ports\":[{"
		       "\"port\":80}]}}"),
		 "ADDED /web@1 1 ports"},
	};

	EXPECT_EVENTS(RD_SERVICE, rows);
}

TEST(F5_F6_F7_an_error_event_is_a_refusal)
{
	static const struct row rows[] = {
		{EVENT("ERROR", "{\"kind\":\"Status\",\"status\":\"Failure\",\"message\":\"too old "
				"resource version: 1 (2)\",\"reason\":\"Expired\",\"code\":410}"),
		 "ERROR 410 Expired retry 0: too old resource version: 1 (2)"},
		{EVENT("ERROR", "{\"kind\":\"Status\",\"reason\":\"Gone\",\"code\":410}"),
		 "ERROR 410 Gone retry 0: "},
		{EVENT("ERROR",
		       "{\"kind\":\"Status\",\"message\":\"busy\",\"code\":429,\"details\":"
		       "{\"retryAfterSeconds\":30}}"),
		 "ERROR 429  retry 30: busy"},
		{EVENT("ERROR",
		       "{\"kind\":\"Status\",\"code\":504,\"details\":{\"causes\":[{\"reason\":"
		       "\"Other\"},{\"reason\":\"ResourceVersionTooLarge\"}]}}"),
		 "ERROR 504  too large retry 0: "},
		{EVENT("ERROR",
		       "{\"kind\":\"Status\",\"code\":504,\"message\":\"Timeout: Too large "
		       "resource version: 9, current: 1\"}"),
		 "ERROR 504  too large retry 0: Timeout: Too large resource version: 9, current: "
		 "1"},
		{EVENT("ERROR",
		       "{\"kind\":\"Status\",\"code\":504,\"message\":\"timeout\",\"details\":"
		       "{\"causes\":null,\"retryAfterSeconds\":-1}}"),
		 "ERROR 504  retry 0: timeout"},
		/* What is no Status says nothing. */
		{EVENT("ERROR", "{" SERVICE "," META("\"1\"") ",\"code\":410}"),
		 "ERROR 0  retry 0: "},
		{EVENT("ERROR", "null"), "ERROR 0  retry 0: "},
		{EVENT("ERROR", "[410]"), "ERROR 0  retry 0: "},
		{"{\"type\":\"ERROR\"}", "ERROR 0  retry 0: "},
	};

	EXPECT_EVENTS(RD_SERVICE, rows);
	EXPECT_EVENTS(RD_NODE, rows);
}

TEST(F8_what_is_no_event_is_refused_with_a_reason)
{
	static const struct row rows[] = {
		{"", "not JSON near \"\""},
		{"{\"type\":", "not JSON near \"\""},
		{"{}", "an event of type \"\""},
		{"[]", "an event of type \"\""},
		{"null", "an event of type \"\""},
		{"{\"kind\":\"Status\",\"code\":410}", "an event of type \"\""},
		{EVENT("added", "{}"), "an event of type \"added\""},
		{EVENT("SYNC", "{}"), "an event of type \"SYNC\""},
		{"{\"type\":7,\"object\":{}}", "an event of type \"\""},
		{"{\"Type\":\"ADDED\",\"object\":{}}", "an event of type \"\""},
		{"{\"type\":\"ADDED\"}", "an event about a \"\", not a Service"},
		{EVENT("ADDED", "null"), "an event about a \"\", not a Service"},
		{EVENT("ADDED", "[{" SERVICE "}]"), "an event about a \"\", not a Service"},
		{EVENT("ADDED", "{" META("\"1\"") ",\"spec\":{}}"),
		 "an event about a \"\", not a Service"},
		{EVENT("ADDED", "{\"kind\":\"Endpoints\"," META("\"1\"") "}"),
		 "an event about a \"Endpoints\", not a Service"},
		{EVENT("BOOKMARK", "{\"kind\":\"Pod\"," META("\"1\"") "}"),
		 "an event about a \"Pod\", not a Service"},
		{EVENT("DELETED", "{\"kind\":\"Status\",\"code\":410}"),
		 "an event about a \"Status\", not a Service"},
		{EVENT("ADDED",
		       "{\"kind\":\"a kind whose name is longer than anyone wants to read\"}"),
		 "an event about a \"a kind whose name is longer than\", not a Service"},
		{EVENT("a type whose name is longer than anyone wants", "{}"),
		 "an event of type \"a type whose name is longer than\""},
		{EVENT("ADDED", "{" SERVICE "}"), "an object without a name"},
		{EVENT("ADDED",
		       "{" SERVICE ",\"metadata\":{\"name\":7,\"resourceVersion\":\"1\"}}"),
		 "an object without a name"},
		{EVENT("ADDED",
		       "{" SERVICE ",\"metadata\":{\"name\":\"\",\"resourceVersion\":\"1\"}}"),
		 "an object without a name"},
		{EVENT("ADDED", "{" SERVICE ",\"metadata\":{\"name\":\"web\"},\"spec\":{}}"),
		 "it has no metadata.resourceVersion"},
		{EVENT("DELETED", "{" SERVICE "," META("null") "}"),
		 "it has no metadata.resourceVersion"},
		{EVENT("MODIFIED", "{" SERVICE "," META("\"\"") "}"),
		 "it has no metadata.resourceVersion"},
	};

	EXPECT_NO_EVENTS(RD_SERVICE, rows);
}

/* ---- objects that cannot be used ------------------------------------------------------------ */

TEST(an_object_that_is_not_usable_keeps_its_names_and_says_why)
{
	static const struct row rows[] = {
		{EVENT("MODIFIED",
		       "{" SERVICE "," META("\"9\"") ",\"spec\":{\"ports\":[{\"port\":0}]}}"),
		 "MODIFIED shop/web@9 unusable: Service shop/web: port 0 is not a port, which is 1 "
		 "to "
		 "65535"},
		{EVENT("ADDED", "{" SERVICE "," META("\"9\"") ",\"spec\":7}"),
		 "ADDED shop/web@9 unusable: Service shop/web: spec must be an object"},
		{EVENT("DELETED", "{" SERVICE "," META("\"9\"") ",\"spec\":{\"clusterIP\":\"x\"}}"),
		 "DELETED shop/web@9 unusable: Service shop/web: clusterIP \"x\" is not an IP "
		 "address"},
	};

	EXPECT_EVENTS(RD_SERVICE, rows);
	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		cJSON *root = cJSON_Parse(rows[i].json);
		char *json =
			cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(root, "object"));
		struct rd_error error = {0};
		struct rd_api_object item;

		assert_int_equal(rd_api_item(json, RD_SERVICE, ORIGIN, &item, &error), 0);
		text[0] = '\0';
		say_object(&item, error.text, text, sizeof(text));
		assert_string_equal(text, strchr(rows[i].expected, ' '));
		cJSON_free(json);
		cJSON_Delete(root);
	}
}

TEST(what_is_no_item_is_refused_with_a_reason)
{
	static const struct row rows[] = {
		{"", "not JSON near \"\""},
		{"{\"metadata\":{\"name\":\"web\"}", "not JSON near \"\""},
		{"{}", "an object without a name"},
		{"[]", "an object without a name"},
		{"{\"metadata\":[]}", "an object without a name"},
		{"{\"kind\":\"Status\",\"metadata\":{},\"code\":410}", "an object without a name"},
		{"{\"metadata\":{\"name\":\"web\"},\"spec\":{}}",
		 "it has no metadata.resourceVersion"},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_api_object item, untouched;
		struct rd_error error = {0};

		memset(&untouched, 0x5a, sizeof(untouched));
		item = untouched;
		assert_int_equal(rd_api_item(rows[i].json, RD_SERVICE, ORIGIN, &item, &error),
				 -EBADMSG);
		assert_string_equal(error.text, rows[i].expected);
		assert_memory_equal(&item, &untouched, sizeof(item));
	}
}

TEST(an_item_needs_no_kind)
{
	struct rd_error error = {0};
	struct rd_api_object item;

	assert_int_equal(rd_api_item("{" META("\"5\"") ",\"spec\":{\"ports\":[{\"port\":80}]}}",
				     RD_SERVICE, ORIGIN, &item, &error),
			 0);
	text[0] = '\0';
	say_object(&item, error.text, text, sizeof(text));
	assert_string_equal(text, " shop/web@5 1 ports");
	rd_object_free(item.object);
}

/* An item with a namespace, a name and a version of these lengths. */
static int decode_lengths(size_t namespace, size_t name, size_t version,
			  struct rd_api_object *ret_item, struct rd_error *error)
{
	static char many[300];
	char json[1200];

	memset(many, 'a', sizeof(many));
	snprintf(json, sizeof(json),
		 "{\"metadata\":{\"namespace\":\"%.*s\",\"name\":\"%.*s\",\"resourceVersion\":"
		 "\"%.*s\"},\"addressType\":\"IPv4\",\"endpoints\":null}",
		 (int)namespace, many, (int)name, many, (int)version, many);
	return rd_api_item(json, RD_SLICE, ORIGIN, ret_item, error);
}

TEST(F4_names_and_versions_have_a_length_beyond_which_they_are_refused)
{
	static const struct {
		size_t namespace, name, version;
		const char *error; /* NULL: taken */
	} rows[] = {
		{.namespace = 63, .name = 253, .version = 63},
		{.namespace = 1, .name = 1, .version = 1},
		{.namespace = 0, .name = 1, .version = 1},
		{.namespace = 64, .name = 1, .version = 1, .error = "a namespace is too long: "},
		{.namespace = 1, .name = 256, .version = 1, .error = "a name is too long: "},
		{.namespace = 1,
		 .name = 1,
		 .version = 64,
		 .error = "resourceVersion is too long: "},
		{.namespace = 1,
		 .name = 1,
		 .version = 299,
		 .error = "resourceVersion is too long: "},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_api_object item = {0};
		struct rd_error error = {0};
		int r = decode_lengths(rows[i].namespace, rows[i].name, rows[i].version, &item,
				       &error);

		assert_int_equal(r, rows[i].error ? -EBADMSG : 0);
		if (rows[i].error) {
			assert_ptr_equal(strstr(error.text, rows[i].error), error.text);
			assert_null(item.object);
			continue;
		}
		assert_int_equal(strlen(item.name), rows[i].name);
		assert_int_equal(strlen(item.version), rows[i].version);
		rd_object_free(item.object);
	}
}

/* ---- lists ----------------------------------------------------------------------------------- */

#define LIST "{\"kind\":\"ServiceList\",\"apiVersion\":\"v1\""

TEST(F2_only_an_empty_continue_is_the_end)
{
	static const struct {
		const char *json, *version, *next;
	} rows[] = {
		{LIST ",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[]}", "5", NULL},
		{LIST ",\"metadata\":{\"resourceVersion\":\"5\",\"continue\":\"\"},\"items\":[]}",
		 "5", NULL},
		{LIST ",\"metadata\":{\"resourceVersion\":\"5\",\"continue\":null},\"items\":null}",
		 "5", NULL},
		{LIST
		 ",\"metadata\":{\"resourceVersion\":\"5\",\"continue\":\"a b=\"},\"items\":[]}",
		 "5", "a b="},
		{LIST ",\"metadata\":{\"resourceVersion\":\"5\",\"continue\":\"x\","
		      "\"remainingItemCount\":0},\"items\":[]}",
		 "5", "x"},
		{"{\"items\":[],\"metadata\":{\"resourceVersion\":\"5\"},\"kind\":\"ServiceList\"}",
		 "5", NULL},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_error error = {0};
		struct rd_list_head head;

		if (rd_api_list_head(rows[i].json, RD_SERVICE, &head, &error))
			fail_msg("%s: %s", rows[i].json, error.text);
		assert_string_equal(head.version, rows[i].version);
		assert_string_equal(head.next ?: "none", rows[i].next ?: "none");
		free(head.next);
	}
}

static void expect_no_lists(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct rd_list_head head, untouched;
		struct rd_error error = {0};

		memset(&untouched, 0x5a, sizeof(untouched));
		head = untouched;
		if (rd_api_list_head(rows[i].json, RD_SERVICE, &head, &error) != -EBADMSG)
			fail_msg("%s is taken for a list", rows[i].json);
		if (rows[i].expected)
			assert_string_equal(error.text, rows[i].expected);
		assert_string_not_equal(error.text, "");
		assert_memory_equal(&head, &untouched, sizeof(head));
	}
}
#define EXPECT_NO_LISTS(rows) expect_no_lists(rows, RD_ARRAY_SIZE(rows))

TEST(what_is_no_list_is_refused_with_a_reason)
{
	static const struct row rows[] = {
		{"", "not JSON near \"\""},
		{"{}", "a \"\", not a ServiceList"},
		{"[]", "a \"\", not a ServiceList"},
		{"null", "a \"\", not a ServiceList"},
		{"{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[]}",
		 "a \"PodList\", not a ServiceList"},
		{"{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[]}",
		 "a \"List\", not a ServiceList"},
		{"{\"kind\":\"Service\",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[]}",
		 "a \"Service\", not a ServiceList"},
		{"{\"kind\":7,\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[]}",
		 "a \"\", not a ServiceList"},
		{LIST ",\"metadata\":{\"resourceVersion\":\"5\"}}",
		 "a ServiceList without a list of items"},
		{LIST ",\"metadata\":{\"resourceVersion\":\"5\"},\"Items\":[]}",
		 "a ServiceList without a list of items"},
		{LIST ",\"items\":[]}", "it has no metadata.resourceVersion"},
		{LIST ",\"metadata\":{},\"items\":[]}", "it has no metadata.resourceVersion"},
		{LIST ",\"metadata\":{\"resourceVersion\":\"\"},\"items\":[]}",
		 "it has no metadata.resourceVersion"},
		{LIST ",\"metadata\":{\"resourceVersion\":5},\"items\":[]}",
		 "it has no metadata.resourceVersion"},
		{LIST
		 ",\"metadata\":{\"resourceVersion\":"
		 "\"0123456789012345678901234567890123456789012345678901234567890123\"},\"items\":["
		 "]}",
		 "resourceVersion is too long: \"01234567890123456789012345678901…\""},
		{"{\"kind\":\"Status\",\"message\":\"no\",\"code\":403,\"items\":[]}",
		 "a Status in the place of a list: no"},
		{"{\"kind\":\"Status\",\"code\":403}", "a Status in the place of a list: "},
		{"{\"kind\":\"Status\"}", "a \"Status\", not a ServiceList"},
	};

	EXPECT_NO_LISTS(rows);
}

/* The items are handed over by themselves: what is left here was not, and the
 * list would seem to be empty. */
TEST(F11_a_list_whose_items_were_not_taken_out_is_refused)
{
#define ITEMS(items) LIST ",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":" items "}"
	static const struct row rows[] = {
		{ITEMS("[{}]"), NULL},
		{ITEMS("{}"), NULL},
		{ITEMS("{\"a\":[]}"), NULL},
		{ITEMS("7"), NULL},
		{ITEMS("\"\""), NULL},
		{ITEMS("true"), NULL},
		{ITEMS("[[]]"), NULL},
		{LIST ",\"metadata\":{\"resourceVersion\":\"5\"},\"\\u0069tems\":[{}]}", NULL},
	};

	EXPECT_NO_LISTS(rows);
}

/* ---- refusals -------------------------------------------------------------------------------- */

TEST(F6_F7_a_status_is_decoded_and_anything_else_is_empty)
{
	static const struct {
		const char *json;
		struct rd_api_status status;
	} rows[] = {
		{.json = "{\"kind\":\"Status\",\"code\":429,\"reason\":\"TooManyRequests\","
			 "\"message\":"
			 "\"busy\",\"details\":{\"retryAfterSeconds\":7}}",
		 .status = {.code = 429,
			    .reason = "TooManyRequests",
			    .message = "busy",
			    .retry_after = 7}},
		{.json = "{\"kind\":\"Status\",\"details\":{\"retryAfterSeconds\":\"7\"},\"code\":"
			 "\"429\"}"},
		{.json = "{\"kind\":\"Status\",\"details\":[],\"message\":7,\"reason\":null}"},
		{.json = "{\"kind\":\"Status\",\"details\":{\"causes\":{\"a\":7},"
			 "\"retryAfterSeconds\":"
			 "0}}"},
		{.json = "{\"kind\":\"Status\",\"details\":{\"causes\":[7,null,"
			 "\"ResourceVersionTooLarge\"]}"
			 "}"},
		{.json = "{\"kind\":\"status\",\"code\":410}"},
		{.json = "{\"kind\":\"Status\",\"code\":true}"},
		{.json = "{\"code\":410}"},
		{.json = "<html>502 Bad Gateway</html>"},
		{.json = "{\"kind\":\"Status\",\"code\":410"},
		{.json = ""},
		{.json = "[]"},
		{.json = "404 page not found\n"},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		const struct rd_api_status *expected = &rows[i].status;
		struct rd_api_status status;

		memset(&status, 0x5a, sizeof(status));
		rd_api_status(rows[i].json, &status);
		assert_int_equal(status.code, expected->code);
		assert_string_equal(status.reason, expected->reason);
		assert_string_equal(status.message, expected->message);
		assert_int_equal(status.too_large, expected->too_large);
		assert_int_equal(status.retry_after, expected->retry_after);
	}
}

TEST(numbers_of_a_status_that_are_beyond_any_are_cut)
{
	struct rd_api_status status;

	rd_api_status(
		"{\"kind\":\"Status\",\"code\":1e300,\"details\":{\"retryAfterSeconds\":1e300}}",
		&status);
	assert_int_equal(status.retry_after, INT32_MAX);
	rd_api_status(
		"{\"kind\":\"Status\",\"code\":-1e300,\"details\":{\"retryAfterSeconds\":-1e300}}",
		&status);
	assert_int_equal(status.retry_after, 0);
}

TEST(texts_of_a_status_are_cut_to_their_room)
{
	struct rd_api_status status;
	char json[1200], many[400];

	memset(many, 'm', sizeof(many));
	snprintf(json, sizeof(json),
		 "{\"kind\":\"Status\",\"code\":500,\"message\":\"%.400s\",\"reason\":\"%.400s\"}",
		 many, many);
	rd_api_status(json, &status);
	assert_int_equal(strlen(status.message), sizeof(status.message) - 1);
	assert_int_equal(strlen(status.reason), sizeof(status.reason) - 1);
	assert_int_equal(status.code, 500);
}

/* ---- out of memory ----------------------------------------------------------------------------
 */

#define WHOLE_SERVICE                                                                              \
	"{" SERVICE                                                                                \
	"," META("\"9\"") ",\"spec\":{\"clusterIP\":\"10.96.0.1\",\"selector\":{\"a\":"            \
			  "\"b\"},\"externalIPs\":[\"192.0.2.1\"],\"ports\":[{\"name\":\"a\","     \
			  "\"port\":80,"                                                           \
			  "\"targetPort\":\"http\"},{\"name\":\"b\",\"port\":81}]}}"

static int decode_event(void)
{
	struct rd_error error = {0};
	struct rd_event event = {0};
	int r = rd_api_event(EVENT("ADDED", WHOLE_SERVICE), RD_SERVICE, ORIGIN, &event, &error);

	assert_int_equal(!r, event.of.object != NULL);
	rd_object_free(event.of.object);
	return r;
}

static int decode_item(void)
{
	struct rd_error error = {0};
	struct rd_api_object item = {0};
	int r = rd_api_item(WHOLE_SERVICE, RD_SERVICE, ORIGIN, &item, &error);

	assert_int_equal(!r, item.object != NULL);
	rd_object_free(item.object);
	return r;
}

static int decode_list_head(void)
{
	struct rd_error error = {0};
	struct rd_list_head head = {0};
	int r = rd_api_list_head(LIST
				 ",\"metadata\":{\"resourceVersion\":\"5\",\"continue\":\"x\"},"
				 "\"items\":[]}",
				 RD_SERVICE, &head, &error);

	assert_int_equal(!r, head.next != NULL);
	free(head.next);
	return r;
}

TEST(out_of_memory_is_enomem_and_leaks_nothing)
{
	static const struct {
		int (*decode)(void);
		unsigned at_least;
	} rows[] = {
		{.decode = decode_event, .at_least = 60},
		{.decode = decode_item, .at_least = 50},
		{.decode = decode_list_head, .at_least = 10},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		for (unsigned n = 1; alloc_fail_at(n); n++) {
			int r = rows[i].decode();

			if (!alloc_fail_end()) {
				assert_int_equal(r, 0);
				assert_true(n > rows[i].at_least);
				break;
			}
			assert_int_equal(r, -ENOMEM);
		}
	}
}

TEST(out_of_memory_makes_a_status_empty)
{
	struct rd_api_status status;

	for (unsigned n = 1; alloc_fail_at(n); n++) {
		rd_api_status("{\"kind\":\"Status\",\"code\":410,\"message\":\"gone\"}", &status);
		if (!alloc_fail_end())
			break;
		assert_int_equal(status.code, 0);
		assert_string_equal(status.message, "");
	}
	assert_int_equal(status.code, 410);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(F4_a_recorded_watch_of_slices_is_decoded),
		cmocka_unit_test(A3_a_recorded_watch_with_a_selector_is_decoded),
		cmocka_unit_test(F10_a_recorded_stream_says_where_its_initial_events_end),
		cmocka_unit_test(F2_recorded_lists_are_decoded_and_name_their_next_page),
		cmocka_unit_test(F5_F6_recorded_refusals_are_decoded),
		cmocka_unit_test(F4_events_have_their_objects_and_versions),
		cmocka_unit_test(F4_a_bookmark_is_a_version_and_never_an_object),
		cmocka_unit_test(F10_the_initial_events_end_where_the_annotation_says_true),
		cmocka_unit_test(F5_F6_F7_an_error_event_is_a_refusal),
		cmocka_unit_test(F8_what_is_no_event_is_refused_with_a_reason),
		cmocka_unit_test(an_object_that_is_not_usable_keeps_its_names_and_says_why),
		cmocka_unit_test(what_is_no_item_is_refused_with_a_reason),
		cmocka_unit_test(an_item_needs_no_kind),
		cmocka_unit_test(F4_names_and_versions_have_a_length_beyond_which_they_are_refused),
		cmocka_unit_test(F2_only_an_empty_continue_is_the_end),
		cmocka_unit_test(what_is_no_list_is_refused_with_a_reason),
		cmocka_unit_test(F11_a_list_whose_items_were_not_taken_out_is_refused),
		cmocka_unit_test(F6_F7_a_status_is_decoded_and_anything_else_is_empty),
		cmocka_unit_test(numbers_of_a_status_that_are_beyond_any_are_cut),
		cmocka_unit_test(texts_of_a_status_are_cut_to_their_room),
		cmocka_unit_test(out_of_memory_is_enomem_and_leaks_nothing),
		cmocka_unit_test(out_of_memory_makes_a_status_empty),
	};

	return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
