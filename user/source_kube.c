// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "source_kube.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "api.h"
#include "credentials.h"
#include "http.h"
#include "json_stream.h"
#include "log.h"
#include "reflector.h"

/* An object of the API has at most some megabytes: etcd takes 1.5 MB, and JSON
 * is longer than what it keeps. */
#define OBJECT_BYTES (16UL << 20)
/* A list has an end: so many objects, for each that the maps have room for, and
 * so many bytes. */
#define LIST_OBJECTS_FOR_EACH 4
#define LIST_BYTES (1UL << 30)
/* Of objects that cannot be used, so many are named for each list. */
#define UNUSABLE_NAMED 10
/* What is kept of a refusal's body. */
#define REFUSAL_BYTES 65536
/* A server that begins a stream and does not go on gets this long, then a list
 * is asked for (F10). */
#define STREAM_SILENCE_SECONDS 10
/* The server ends a watch after this long, and up to twice as long (F3). */
#define WATCH_SECONDS 300

struct resource {
	struct rd_source_kube *source;
	enum rd_kind kind;
	const char *path;
	bool optional; /* redial works without it, and may not be allowed it */
	struct rd_reflector reflector;
	struct rd_http_request *request;
	struct event *next;  /* the next request is due */
	struct event *stall; /* nothing has been heard for too long */
	bool complete;
	bool restart; /* the next request begins with a list, whatever is under way */
	uint64_t seen_ns;
	struct rd_error said; /* what was last logged as wrong; "": all is well */

	/* Of the request under way. */
	enum rd_asking asked;
	struct rd_json_stream stream;
	uint64_t began_ns;
	bool any_event;
	size_t n_objects; /* in the list or stream so far */
	size_t n_bytes;
	size_t n_unusable;
	struct rd_error unusable; /* the last one that was named */
	uint64_t decode_ns;	  /* spent on its text */
	bool judged;		  /* its text has said how it ends, see end */
	enum rd_end end;
	unsigned retry_after;
	struct rd_error why;
	char refusal[REFUSAL_BYTES + 1]; /* the body of an answer that is not 200 */
	size_t refusal_bytes;
};

struct rd_source_kube {
	const struct rd_source_kube_config *config;
	struct rd_store *store;
	struct event_base *base;
	void (*changed)(void *context);
	void *context;
	struct rd_credentials *credentials;
	struct rd_http *http;
	bool all_nodes; /* watch other nodes as well */
	char own_node[300];
	struct resource resources[3];
};

static const char *origin_of(const struct resource *resource)
{
	return resource->path;
}

static uint32_t chance(void)
{
	uint32_t number = 0;

	(void)!getrandom(&number, sizeof(number), GRND_NONBLOCK);
	return number;
}

/* ---- what is said ------------------------------------------------------------------- */

static void say_wrong(struct resource *resource)
{
	if (!strcmp(resource->said.text, resource->why.text))
		return;
	resource->said = resource->why;
	rd_log(RD_LOG_WARN, "the API server does not answer, what it said before stays in force",
	       RD_TEXT("resource", resource->path), RD_TEXT("error", resource->why.text));
}

static void say_well(struct resource *resource)
{
	resource->seen_ns = rd_realtime_ns();
	if (!*resource->said.text)
		return;
	*resource->said.text = '\0';
	rd_log(RD_LOG_INFO, "the API server answers", RD_TEXT("resource", resource->path));
}

static void say_unusable(struct resource *resource, const struct rd_error *error)
{
	if (resource->n_unusable++ >= UNUSABLE_NAMED ||
	    !strcmp(resource->unusable.text, error->text))
		return;
	resource->unusable = *error;
	rd_log(RD_LOG_WARN, "object not used, what it said before stays in force",
	       RD_TEXT("resource", resource->path), RD_TEXT("error", error->text));
}

/* List anew, as soon as the event loop gets to it: libcurl does not let a
 * request be broken off from within another one's receiver. */
static void restart(struct resource *resource)
{
	resource->restart = true;
	event_active(resource->next, 0, 0);
}

/* ---- the store ------------------------------------------------------------------------ */

/* NodePorts of other nodes answer too: then those are watched as well (C12). */
static void consider_nodes(struct rd_source_kube *source, const struct rd_service_spec *service)
{
	struct resource *nodes = &source->resources[2];

	for (size_t i = 0; !source->all_nodes && i < service->n_ports; i++) {
		if (!service->ports[i].node_port)
			continue;
		source->all_nodes = true;
		restart(nodes);
	}
}

/* An object was named: put it, or keep the one there is. */
static void put(struct resource *resource, struct rd_api_object *item, const struct rd_error *error)
{
	struct rd_source_kube *source = resource->source;
	struct rd_object *former;

	resource->n_objects++;
	if (item->object) {
		item->object->round = resource->reflector.round;
		if (resource->kind == RD_SERVICE)
			consider_nodes(source, &item->object->service);
		rd_store_put(source->store, rd_take(item->object));
		return;
	}
	say_unusable(resource, error);
	former = rd_store_find(source->store, resource->kind, item->namespace, item->name);
	if (former)
		former->round = resource->reflector.round;
}

/* Take out what was not named in this round. */
static void sweep(struct resource *resource)
{
	struct rd_store *store = resource->source->store;
	struct rd_object *object = NULL, *next;

	next = rd_store_next(store, resource->kind, NULL, NULL);
	while ((object = next)) {
		next = rd_store_next(store, resource->kind, NULL, object);
		if (object->round != resource->reflector.round)
			rd_store_remove(store, object->kind, object->namespace, object->name);
	}
}

/* What there is has been heard to its end. Returns whether it is believed. */
static bool completed(struct resource *resource, const char *version)
{
	if (!rd_reflector_complete(&resource->reflector, version, resource->n_objects)) {
		rd_log(RD_LOG_WARN,
		       "the API server says there is nothing where there was something: "
		       "not believed, asking again",
		       RD_TEXT("resource", resource->path));
		return false;
	}
	sweep(resource);
	if (resource->n_unusable > UNUSABLE_NAMED)
		rd_log(RD_LOG_WARN, "more objects not used", RD_TEXT("resource", resource->path),
		       RD_NUMBER("count", resource->n_unusable - UNUSABLE_NAMED));
	resource->n_unusable = 0;
	if (!resource->complete)
		rd_log(RD_LOG_INFO, "listed", RD_TEXT("resource", resource->path),
		       RD_NUMBER("objects", resource->n_objects),
		       RD_NUMBER("bytes", resource->n_bytes),
		       RD_NUMBER("us", (rd_monotonic_ns() - resource->began_ns) / 1000),
		       RD_NUMBER("decode_us", resource->decode_ns / 1000));
	resource->complete = true;
	resource->source->changed(resource->source->context);
	return true;
}

/* ---- answers --------------------------------------------------------------------------- */

/* The answer ends here, in this way. Returns what breaks the request off. */
static int end_with(struct resource *resource, enum rd_end end, const char *why)
{
	resource->judged = true;
	resource->end = end;
	return rd_error_set(&resource->why, -ECANCELED, "%s", why);
}

static enum rd_end end_of(int status, const struct rd_api_status *said)
{
	switch (status) {
	case 400:
	case 422:
		return RD_NOT_KNOWN;
	case 401:
		return RD_UNAUTHORIZED;
	case 410:
		return RD_EXPIRED;
	case 429:
		return RD_TOO_MANY;
	default:
		return said->too_large ? RD_TOO_LARGE : RD_INVALID;
	}
}

static int take_list(struct resource *resource, const char *json, bool is_item)
{
	struct rd_api_object item = {0};
	struct rd_error error = {0};
	struct rd_list_head head;
	int r;

	if (is_item) {
		r = rd_api_item(json, resource->kind, origin_of(resource), &item, &error);
		if (r)
			return end_with(resource, RD_INVALID, error.text);
		put(resource, &item, &error);
		return 0;
	}
	r = rd_api_list_head(json, resource->kind, &head, &error);
	if (r)
		return end_with(resource, RD_INVALID, error.text);
	if (head.next)
		rd_reflector_page(&resource->reflector, head.next);
	else
		completed(resource, head.version);
	return 0;
}

static int take_event(struct resource *resource, const char *json)
{
	struct rd_source_kube *source = resource->source;
	struct rd_error error = {0};
	struct rd_event event;
	int r = rd_api_event(json, resource->kind, origin_of(resource), &event, &error);

	if (r)
		return end_with(resource, RD_INVALID, error.text);
	resource->any_event |= event.type != RD_REFUSAL;
	switch (event.type) {
	case RD_ADDED:
	case RD_MODIFIED:
		put(resource, &event.of, &error);
		break;
	case RD_DELETED:
		rd_object_free(event.of.object);
		rd_store_remove(source->store, resource->kind, event.of.namespace, event.of.name);
		break;
	case RD_BOOKMARK:
		if (event.initial_end && resource->reflector.next == RD_STREAM &&
		    !completed(resource, event.of.version))
			return end_with(resource, RD_ENDED, "an empty list");
		break;
	case RD_REFUSAL:
		resource->retry_after = event.status.retry_after;
		return end_with(resource, end_of(event.status.code, &event.status),
				event.status.message);
	}
	rd_reflector_advance(&resource->reflector, event.of.version);
	if (event.type != RD_BOOKMARK && rd_source_kube_complete(source))
		source->changed(source->context);
	return 0;
}

/* Whether more has come than any list has. A watch goes on for ever. */
static bool is_endless(const struct resource *resource)
{
	return resource->reflector.next != RD_WATCH &&
	       (resource->n_bytes > LIST_BYTES ||
		resource->n_objects / LIST_OBJECTS_FOR_EACH > resource->source->config->room);
}

static int on_text(void *context, const char *json, bool is_item)
{
	struct resource *resource = context;

	int r = resource->asked == RD_LIST ? take_list(resource, json, is_item)
					   : take_event(resource, json);

	if (r)
		return r;
	if (is_endless(resource))
		return end_with(resource, RD_INVALID, "the list does not end");
	say_well(resource);
	return 0;
}

static void arm_stall(struct resource *resource)
{
	unsigned seconds = resource->source->config->stall_seconds;
	struct timeval silence = {.tv_sec = resource->reflector.next == RD_STREAM &&
							    seconds > STREAM_SILENCE_SECONDS
						    ? STREAM_SILENCE_SECONDS
						    : seconds};

	event_add(resource->stall, &silence);
}

static int on_data(void *context, int status, const char *bytes, size_t n)
{
	struct resource *resource = context;
	size_t room = REFUSAL_BYTES - resource->refusal_bytes;
	uint64_t began;
	int r;

	if (status != 200) {
		arm_stall(resource);
		memcpy(resource->refusal + resource->refusal_bytes, bytes, n < room ? n : room);
		resource->refusal_bytes += n < room ? n : room;
		return n > room ? -EFBIG : 0;
	}
	began = rd_monotonic_ns();
	r = rd_json_stream_feed(&resource->stream, bytes, n);
	resource->decode_ns += rd_monotonic_ns() - began;
	resource->n_bytes += n;
	/* Afterwards: by now it may be a watch. */
	if (!r)
		arm_stall(resource);
	if (r && r != -ECANCELED)
		end_with(resource, RD_INVALID,
			 r == -EFBIG	? "an object is longer than 16 MB"
			 : r == -ENOMEM ? "out of memory"
					: "the answer is not what it should be");
	return r;
}

/* What a refusal says, for a person. */
static void explain_refusal(struct resource *resource, int status, const struct rd_api_status *said)
{
	if (status >= 300 && status < 400)
		rd_error_set(&resource->why, 0, "it answers %d, a redirect, which is not followed",
			     status);
	else
		rd_error_set(&resource->why, 0, "it answers %d%s%s", status,
			     *said->message ? ": " : "", said->message);
}

/* How the request ended, from all that is known of it. */
static enum rd_end judge(struct resource *resource, const struct rd_http_result *result)
{
	struct rd_api_status said = {0};

	if (resource->judged)
		return resource->end;
	if (!result->status) {
		rd_error_set(&resource->why, 0, "%s", result->error);
		return RD_UNREACHABLE;
	}
	if (result->status != 200) {
		resource->refusal[resource->refusal_bytes] = '\0';
		rd_api_status(resource->refusal, &said);
		explain_refusal(resource, result->status, &said);
		if (result->status == 429 || result->status >= 500)
			resource->retry_after = result->retry_after ?: said.retry_after;
		return end_of(result->status, &said);
	}
	if (result->whole && resource->asked == RD_LIST && !resource->stream.done) {
		rd_error_set(&resource->why, 0, "the answer is empty");
		return RD_INVALID;
	}
	if (result->whole && rd_json_stream_is_between(&resource->stream))
		return RD_ENDED;
	rd_error_set(&resource->why, 0, "the answer broke off%s%s", *result->error ? ": " : "",
		     result->error);
	return RD_BROKEN;
}

/* Redial works without Nodes: zones and other nodes' NodePorts do not. */
static void do_without(struct resource *resource, int status)
{
	if (!resource->optional || resource->complete || (status != 403 && status != 404))
		return;
	resource->complete = true;
	resource->source->changed(resource->source->context);
}

/* A refusal that is a part of the protocol is nothing to tell a person. */
static bool is_worth_saying(const struct resource *resource, enum rd_end end, bool watched)
{
	return end != RD_ENDED && end != RD_EXPIRED && end != RD_TOO_LARGE &&
	       !(end == RD_BROKEN && watched) &&
	       !(end == RD_NOT_KNOWN && resource->asked == RD_STREAM);
}

static void ended(struct resource *resource, enum rd_end end)
{
	struct rd_outcome outcome = {
		.asked = resource->asked,
		.end = end,
		.retry_after = resource->retry_after,
		.any_event = resource->any_event,
		.lasted_ns = rd_monotonic_ns() - resource->began_ns,
	};
	bool watched = resource->reflector.next == RD_WATCH;
	unsigned delay =
		rd_reflector_ended(&resource->reflector, &outcome, rd_monotonic_ns(), chance());
	struct timeval due = {.tv_sec = delay / 1000,
			      .tv_usec = (suseconds_t)(delay % 1000) * 1000};

	event_del(resource->stall);
	if (end == RD_UNAUTHORIZED) {
		rd_credentials_refused(resource->source->credentials);
		rd_http_renew(resource->source->http);
	}
	if (is_worth_saying(resource, end, watched))
		say_wrong(resource);
	rd_log(RD_LOG_DEBUG, "asking again", RD_TEXT("resource", resource->path),
	       RD_TEXT("because",
		       *resource->why.text ? resource->why.text : "the answer is complete"),
	       RD_NUMBER("ms", delay));
	event_add(resource->next, &due);
}

static void on_done(void *context, const struct rd_http_result *result)
{
	struct resource *resource = context;

	resource->request = NULL;
	do_without(resource, result->status);
	ended(resource, judge(resource, result));
}

static void on_stall(evutil_socket_t fd, short what, void *context)
{
	struct resource *resource = context;
	bool began = resource->request && rd_http_status(resource->request);

	(void)fd;
	(void)what;
	rd_http_abandon(rd_take(resource->request));
	rd_error_set(&resource->why, 0, began ? "it has fallen silent" : "no answer comes");
	ended(resource, began ? RD_BROKEN : RD_UNREACHABLE);
}

/* ---- questions ---------------------------------------------------------------------------- */

static char *url_of(const struct resource *resource)
{
	unsigned seconds = WATCH_SECONDS + chance() % (WATCH_SECONDS + 1);
	_rd_free_ char *query = rd_reflector_query(&resource->reflector, seconds);
	char *url;

	if (!query || asprintf(&url, "%s%s?%s", resource->source->config->access->server,
			       resource->path, query) < 0)
		return NULL;
	return url;
}

static struct rd_http_identity identity_of(const struct rd_source_kube *source)
{
	const struct rd_kube_access *access = source->config->access;
	const char *cert = rd_credentials_cert_pem(source->credentials);
	const char *key = rd_credentials_key_pem(source->credentials);

	return (struct rd_http_identity){
		.ca_file = access->ca_file,
		.ca_pem = access->ca_pem,
		.cert_file = access->cert_file,
		.cert_pem = cert ?: access->cert_pem,
		.key_file = access->key_file,
		.key_pem = key ?: access->key_pem,
		.token = rd_credentials_token(source->credentials),
		.proxy_url = access->proxy_url,
		.server_name = access->tls_server_name,
		.insecure = access->insecure,
	};
}

static void prepare_answer(struct resource *resource)
{
	bool begins = resource->reflector.next != RD_WATCH && !resource->reflector.page;

	rd_reflector_begin(&resource->reflector);
	resource->asked = resource->reflector.next;
	rd_json_stream_reset(&resource->stream);
	resource->stream.mode = resource->asked == RD_LIST ? RD_JSON_LIST : RD_JSON_DOCUMENTS;
	if (begins) {
		resource->n_objects = resource->n_bytes = resource->n_unusable = 0;
		resource->decode_ns = 0;
	}
	resource->any_event = false;
	resource->judged = false;
	resource->retry_after = 0;
	*resource->why.text = '\0';
	resource->refusal_bytes = 0;
	resource->began_ns = rd_monotonic_ns();
}

static void on_credentials(void *context, const struct rd_error *reason)
{
	struct resource *resource = context;
	struct rd_source_kube *source = resource->source;
	struct rd_http_identity identity = identity_of(source);
	struct rd_http_receiver receiver = {.data = on_data, .done = on_done, .context = resource};
	_rd_free_ char *url = url_of(resource);
	struct rd_error error = {.text = "out of memory"};

	prepare_answer(resource);
	if (reason)
		error = *reason;
	if (reason || !url ||
	    rd_http_get(source->http, url, &identity, &receiver, &resource->request, &error)) {
		rd_error_set(&resource->why, 0, "%s", error.text);
		ended(resource, RD_UNREACHABLE);
		return;
	}
	arm_stall(resource);
}

static void on_next(evutil_socket_t fd, short what, void *context)
{
	struct resource *resource = context;
	struct rd_source_kube *source = resource->source;
	bool narrow = resource->kind == RD_NODE && !source->all_nodes;

	(void)fd;
	(void)what;
	if (resource->restart) {
		resource->restart = false;
		rd_credentials_cancel(source->credentials, resource);
		rd_http_cancel(rd_take(resource->request));
		event_del(resource->stall);
		rd_reflector_restart(&resource->reflector,
				     resource->kind == RD_NODE
					     ? narrow ? source->own_node : NULL
					     : resource->reflector.field_selector);
	}
	rd_credentials_prepare(source->credentials, on_credentials, resource);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int begin(struct rd_source_kube *source, struct resource *resource)
{
	struct timeval now = {0};

	resource->source = source;
	resource->stream = (struct rd_json_stream){
		.limit = OBJECT_BYTES, .text = on_text, .context = resource};
	resource->next = evtimer_new(source->base, on_next, resource);
	resource->stall = evtimer_new(source->base, on_stall, resource);
	if (!resource->next || !resource->stall || event_add(resource->next, &now))
		return -ENOMEM;
	return 0;
}

/* F19. What has no frontend is not asked for, unless it has names (H5, H6). */
static void choose_resources(struct rd_source_kube *source)
{
	const struct rd_source_kube_config *config = source->config;
	struct resource *services = &source->resources[0], *endpoints = &source->resources[1],
			*nodes = &source->resources[2];

	services->kind = RD_SERVICE;
	services->path = "/api/v1/services";
	rd_reflector_init(&services->reflector,
			  config->names ? NULL : "!service.kubernetes.io/service-proxy-name",
			  config->names ? NULL : "spec.clusterIP!=None", config->known[RD_SERVICE]);
	endpoints->kind = config->legacy_endpoints ? RD_ENDPOINTS : RD_SLICE;
	endpoints->path = config->legacy_endpoints ? "/api/v1/endpoints"
						   : "/apis/discovery.k8s.io/v1/endpointslices";
	rd_reflector_init(&endpoints->reflector,
			  config->legacy_endpoints || config->names
				  ? NULL
				  : "!service.kubernetes.io/headless",
			  NULL, config->known[RD_SLICE]);
	nodes->kind = RD_NODE;
	nodes->path = "/api/v1/nodes";
	nodes->optional = true;
	snprintf(source->own_node, sizeof(source->own_node), "metadata.name=%s", config->node_name);
	rd_reflector_init(&nodes->reflector, NULL, source->own_node, false);
}

int rd_source_kube_new(const struct rd_source_kube_config *config, struct rd_store *store,
		       struct event_base *base, void (*changed)(void *context), void *context,
		       struct rd_source_kube **ret_source, struct rd_error *error)
{
	struct rd_source_kube *source = calloc(1, sizeof(*source));
	int r;

	if (!source)
		return rd_error_set(error, -ENOMEM, "out of memory");
	source->config = config;
	source->store = store;
	source->base = base;
	source->changed = changed;
	source->context = context;
	choose_resources(source);
	r = rd_credentials_new(config->access, base, &source->credentials, error);
	if (!r && rd_http_new(base, config->mark, &source->http))
		r = rd_error_set(error, -ENOMEM, "out of memory");
	for (size_t i = 0; !r && i < RD_ARRAY_SIZE(source->resources); i++)
		if (begin(source, &source->resources[i]))
			r = rd_error_set(error, -ENOMEM, "out of memory");
	if (r) {
		rd_source_kube_free(source);
		return r;
	}
	*ret_source = source;
	return 0;
}

void rd_source_kube_free(struct rd_source_kube *source)
{
	if (!source)
		return;
	rd_http_free(source->http);
	rd_credentials_free(source->credentials);
	for (size_t i = 0; i < RD_ARRAY_SIZE(source->resources); i++) {
		struct resource *resource = &source->resources[i];

		rd_reflector_free(&resource->reflector);
		rd_json_stream_reset(&resource->stream);
		if (resource->next)
			event_free(resource->next);
		if (resource->stall)
			event_free(resource->stall);
	}
	free(source);
}

bool rd_source_kube_complete(const struct rd_source_kube *source)
{
	for (size_t i = 0; i < RD_ARRAY_SIZE(source->resources); i++)
		if (!source->resources[i].complete)
			return false;
	return true;
}

bool rd_source_kube_heard(const struct rd_source_kube *source, size_t i, const char **ret_name,
			  size_t *ret_count)
{
	if (i >= RD_ARRAY_SIZE(source->resources))
		return false;
	*ret_name = strrchr(source->resources[i].path, '/') + 1;
	*ret_count = source->resources[i].n_objects;
	return true;
}

void rd_source_kube_reread(struct rd_source_kube *source)
{
	for (size_t i = 0; i < RD_ARRAY_SIZE(source->resources); i++)
		restart(&source->resources[i]);
}

uint64_t rd_source_kube_seen(const struct rd_source_kube *source, enum rd_kind kind)
{
	for (size_t i = 0; i < RD_ARRAY_SIZE(source->resources); i++)
		if (source->resources[i].kind == kind)
			return source->resources[i].seen_ns;
	return 0;
}
