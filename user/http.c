// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "http.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "version.h"

#define CONNECT_SECONDS 10L
/* A server that is dead without closing is found out by the kernel after about
 * this long (F16). */
#define KEEPALIVE_SECONDS 30L
#define KEEPALIVE_INTERVAL 5L
#define USER_TIMEOUT_MS 30000
/* Of an answer. */
#define HEADERS_BYTES (256U << 10)
#define BUFFER_BYTES (256L << 10)

struct rd_http_request {
	LIST_ENTRY(rd_http_request) entry;
	struct pool *pool;
	CURL *easy;
	struct curl_slist *headers, *connect_to;
	struct rd_http_receiver receiver;
	size_t header_bytes;
	char error[CURL_ERROR_SIZE];
};

/* A set of connections that requests share. A new one takes the place of one
 * whose connections are not to be used any more; that lives until its last
 * request has ended. */
struct pool {
	LIST_ENTRY(pool) entry;
	struct rd_http *http;
	CURLM *multi;
	struct event *timer;
	bool driven; /* on the stack: not to be freed */
	LIST_HEAD(, rd_http_request) requests;
};

struct rd_http {
	struct event_base *base;
	uint32_t mark;
	LIST_HEAD(, pool) pools;
	struct pool *current; /* for new requests; NULL: to be made */
};

/* ---- a request's life --------------------------------------------------------------- */

static void free_list(struct curl_slist *list)
{
	/* One of the headers is a secret. */
	for (struct curl_slist *item = list; item; item = item->next)
		explicit_bzero(item->data, strlen(item->data));
	curl_slist_free_all(list);
}

static void free_pool(struct pool *pool)
{
	LIST_REMOVE(pool, entry);
	if (pool->multi)
		curl_multi_cleanup(pool->multi);
	if (pool->timer)
		event_free(pool->timer);
	free(pool);
}

static void free_if_unused(struct pool *pool)
{
	if (pool != pool->http->current && !pool->driven && LIST_EMPTY(&pool->requests))
		free_pool(pool);
}

static void destroy(struct rd_http_request *request)
{
	LIST_REMOVE(request, entry);
	curl_multi_remove_handle(request->pool->multi, request->easy);
	curl_easy_cleanup(request->easy);
	free_list(request->headers);
	curl_slist_free_all(request->connect_to);
	free(request);
}

void rd_http_cancel(struct rd_http_request *request)
{
	struct pool *pool;

	if (!request)
		return;
	pool = request->pool;
	destroy(request);
	free_if_unused(pool);
}

void rd_http_renew(struct rd_http *http)
{
	struct pool *pool = rd_take(http->current);

	if (pool)
		free_if_unused(pool);
}

void rd_http_abandon(struct rd_http_request *request)
{
	if (request && request->pool == request->pool->http->current)
		request->pool->http->current = NULL;
	rd_http_cancel(request);
}

int rd_http_status(const struct rd_http_request *request)
{
	long status = 0;

	curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

/* Whether a request has a connection to itself, as one of HTTP/1 does. Before it
 * is answered that is not known. */
static bool is_alone(const struct rd_http_request *request)
{
	long version = CURL_HTTP_VERSION_NONE;

	curl_easy_getinfo(request->easy, CURLINFO_HTTP_VERSION, &version);
	return version == CURL_HTTP_VERSION_1_0 || version == CURL_HTTP_VERSION_1_1;
}

/* Whether it was the connection that ended, so far as libcurl tells. */
static bool is_broken(CURLcode code)
{
	return code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR || code == CURLE_HTTP2 ||
	       code == CURLE_HTTP2_STREAM || code == CURLE_GOT_NOTHING ||
	       code == CURLE_PARTIAL_FILE;
}

static void finish(struct rd_http_request *request, CURLcode code, const char *why)
{
	struct rd_http_receiver receiver = request->receiver;
	struct rd_http_result result = {.status = rd_http_status(request),
					.whole = code == CURLE_OK};
	curl_off_t retry_after = 0;

	curl_easy_getinfo(request->easy, CURLINFO_RETRY_AFTER, &retry_after);
	if (retry_after > 0)
		result.retry_after = retry_after > 3600 ? 3600 : (unsigned)retry_after;
	/* What libcurl says to that depends on the protocol, and helps nobody. */
	if (request->header_bytes > HEADERS_BYTES)
		snprintf(result.error, sizeof(result.error),
			 "the answer has more than %u kB of headers", HEADERS_BYTES >> 10);
	else if (code)
		snprintf(result.error, sizeof(result.error), "%s",
			 why && *why ? why : curl_easy_strerror(code));
	destroy(request);
	receiver.done(receiver.context, &result);
}

/*
 * When a connection ends, libcurl tells only the request that read its last
 * bytes; the others on it wait for a socket event that never comes (seen with
 * 7.88 and HTTP/2). Which connection that was is not known either: libcurl may
 * have tried again on another one before it told us. So all that may have
 * shared it end with it.
 */
static void finish_others(struct pool *pool, CURLcode code, const char *why)
{
	struct rd_http_request *request, *next;

	if (pool == pool->http->current)
		pool->http->current = NULL;
	for (request = LIST_FIRST(&pool->requests); request; request = next) {
		next = LIST_NEXT(request, entry);
		if (!is_alone(request))
			finish(request, code, why);
	}
}

/* Tell the receivers whose requests have ended. */
static void finish_those_done(struct pool *pool)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(pool->multi, &left))) {
		CURLcode code = message->data.result;
		struct rd_http_request *request;
		char why[CURL_ERROR_SIZE];

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request);
		memcpy(why, request->error, sizeof(why));
		finish(request, code, why);
		if (is_broken(code))
			finish_others(pool, code, why);
	}
}

/* ---- the event loop ------------------------------------------------------------------ */

static void drive(struct pool *pool)
{
	pool->driven = true;
	finish_those_done(pool);
	pool->driven = false;
	free_if_unused(pool);
}

static void on_socket(evutil_socket_t fd, short what, void *context)
{
	struct pool *pool = context;
	int flags =
		(what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
	int running;

	curl_multi_socket_action(pool->multi, fd, flags, &running);
	drive(pool);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct pool *pool = context;
	int running;

	(void)fd;
	(void)what;
	curl_multi_socket_action(pool->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	drive(pool);
}

static int set_timer(CURLM *multi, long milliseconds, void *context)
{
	struct timeval delay = {.tv_sec = milliseconds / 1000,
				.tv_usec = milliseconds % 1000 * 1000};
	struct pool *pool = context;

	(void)multi;
	return milliseconds < 0 ? event_del(pool->timer) : event_add(pool->timer, &delay);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *socket_context)
{
	short events = (short)(EV_PERSIST | (what & CURL_POLL_IN ? EV_READ : 0) |
			       (what & CURL_POLL_OUT ? EV_WRITE : 0));
	struct pool *pool = context;
	struct event *event = socket_context;

	(void)easy;
	if (event)
		event_free(event);
	curl_multi_assign(pool->multi, fd, NULL);
	if (what == CURL_POLL_REMOVE)
		return 0;
	event = event_new(pool->http->base, fd, events, on_socket, pool);
	if (!event || event_add(event, NULL)) {
		if (event)
			event_free(event);
		return -1;
	}
	curl_multi_assign(pool->multi, fd, event);
	return 0;
}

/* ---- what libcurl calls -------------------------------------------------------------- */

static int prepare_socket(void *context, curl_socket_t fd, curlsocktype purpose)
{
	const struct rd_http *http = context;
	unsigned milliseconds = USER_TIMEOUT_MS;

	if (purpose != CURLSOCKTYPE_IPCXN)
		return CURL_SOCKOPT_OK;
	/* Without the privilege the mark is missing, and with it what it is for. */
	if (http->mark)
		(void)setsockopt(fd, SOL_SOCKET, SO_MARK, &http->mark, sizeof(http->mark));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof(milliseconds));
	return CURL_SOCKOPT_OK;
}

static size_t on_header(char *bytes, size_t size, size_t n, void *context)
{
	struct rd_http_request *request = context;

	(void)bytes;
	request->header_bytes += size * n;
	return request->header_bytes <= HEADERS_BYTES ? size * n : 0;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *context)
{
	struct rd_http_request *request = context;
	const struct rd_http_receiver *receiver = &request->receiver;

	return receiver->data(receiver->context, rd_http_status(request), bytes, size * n)
		       ? 0
		       : size * n;
}

/* ---- a new request --------------------------------------------------------------------- */

#define SET(option, value) (r = r ?: (int)curl_easy_setopt(easy, (option), (value)))

static int set_blob(CURL *easy, CURLoption option, const char *pem)
{
	struct curl_blob blob = {
		.data = (void *)pem, .len = pem ? strlen(pem) : 0, .flags = CURL_BLOB_COPY};

	return pem ? (int)curl_easy_setopt(easy, option, &blob) : 0;
}

static int set_identity(CURL *easy, const struct rd_http_identity *identity)
{
	int r = 0;

	SET(CURLOPT_SSL_VERIFYPEER, identity->insecure ? 0L : 1L);
	SET(CURLOPT_SSL_VERIFYHOST, identity->insecure ? 0L : 2L);
	/* A CA file is read for each connection: it may have been replaced. */
	SET(CURLOPT_CA_CACHE_TIMEOUT, 0L);
	if (identity->ca_pem || identity->ca_file)
		SET(CURLOPT_CAPATH, NULL);
	if (identity->ca_pem)
		r = r ?: set_blob(easy, CURLOPT_CAINFO_BLOB, identity->ca_pem);
	else if (identity->ca_file)
		SET(CURLOPT_CAINFO, identity->ca_file);
	r = r ?: set_blob(easy, CURLOPT_SSLCERT_BLOB, identity->cert_pem);
	r = r ?: set_blob(easy, CURLOPT_SSLKEY_BLOB, identity->key_pem);
	if (!identity->cert_pem && identity->cert_file)
		SET(CURLOPT_SSLCERT, identity->cert_file);
	if (!identity->key_pem && identity->key_file)
		SET(CURLOPT_SSLKEY, identity->key_file);
	if (identity->proxy_url)
		SET(CURLOPT_PROXY, identity->proxy_url);
	return r;
}

static int add_header(struct curl_slist **list, const char *format, const char *value)
{
	_rd_free_ char *line = NULL;
	struct curl_slist *grown;

	if (asprintf(&line, format, value) < 0) {
		line = NULL;
		return -ENOMEM;
	}
	grown = curl_slist_append(*list, line);
	explicit_bzero(line, strlen(line));
	if (!grown)
		return -ENOMEM;
	*list = grown;
	return 0;
}

static int set_headers(struct rd_http_request *request, const struct rd_http_identity *identity)
{
	int r = add_header(&request->headers, "Accept: %s", "application/json");

	if (identity->token)
		r = r ?: add_header(&request->headers, "Authorization: Bearer %s", identity->token);
	return r ?: (int)curl_easy_setopt(request->easy, CURLOPT_HTTPHEADER, request->headers);
}

/*
 * The URL. To check another name than the URL's host, the URL has that name and
 * the connection is made to the host, which is libcurl's way.
 */
static int set_url(struct rd_http_request *request, const char *text,
		   const struct rd_http_identity *identity)
{
	char *host = NULL, *port = NULL, *renamed = NULL;
	_rd_free_ char *target = NULL;
	CURLU *url = curl_url();
	int r = url ? (int)curl_url_set(url, CURLUPART_URL, text, 0) : -ENOMEM;

	if (!r && identity->server_name) {
		r = (int)curl_url_get(url, CURLUPART_HOST, &host, 0)
			    ?: (int)curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
		if (!r && asprintf(&target, "::%s:%s", host, port) < 0) {
			target = NULL;
			r = -ENOMEM;
		}
		r = r ?: (int)curl_url_set(url, CURLUPART_HOST, identity->server_name, 0);
		if (!r)
			request->connect_to = curl_slist_append(NULL, target);
		r = r
			    ?: (int)curl_easy_setopt(request->easy, CURLOPT_CONNECT_TO,
						     request->connect_to);
	}
	r = r ?: (int)curl_url_get(url, CURLUPART_URL, &renamed, 0);
	r = r ?: (int)curl_easy_setopt(request->easy, CURLOPT_URL, renamed);
	curl_free(host);
	curl_free(port);
	curl_free(renamed);
	curl_url_cleanup(url);
	return r;
}

static int set_options(struct rd_http_request *request)
{
	CURL *easy = request->easy;
	int r = 0;

	SET(CURLOPT_PRIVATE, request);
	SET(CURLOPT_ERRORBUFFER, request->error);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	/* A name that begins with "curl" would have lists printed prettily (F12). */
	SET(CURLOPT_USERAGENT, "redial/" REDIAL_VERSION);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	SET(CURLOPT_PIPEWAIT, 1L);
	SET(CURLOPT_BUFFERSIZE, BUFFER_BYTES);
	SET(CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_TCP_KEEPIDLE, KEEPALIVE_SECONDS);
	SET(CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL);
	SET(CURLOPT_SOCKOPTFUNCTION, prepare_socket);
	SET(CURLOPT_SOCKOPTDATA, request->pool->http);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, request);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, request);
	return r;
}

/* The connections for new requests; NULL: out of memory. */
static struct pool *current_pool(struct rd_http *http)
{
	struct pool *pool;

	if (http->current)
		return http->current;
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	pool->http = http;
	LIST_INSERT_HEAD(&http->pools, pool, entry);
	pool->timer = evtimer_new(http->base, on_timer, pool);
	pool->multi = curl_multi_init();
	if (!pool->timer || !pool->multi) {
		free_pool(pool);
		return NULL;
	}
	curl_multi_setopt(pool->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
	curl_multi_setopt(pool->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(pool->multi, CURLMOPT_SOCKETDATA, pool);
	curl_multi_setopt(pool->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(pool->multi, CURLMOPT_TIMERDATA, pool);
	http->current = pool;
	return pool;
}

int rd_http_get(struct rd_http *http, const char *url, const struct rd_http_identity *identity,
		const struct rd_http_receiver *receiver, struct rd_http_request **ret_request,
		struct rd_error *error)
{
	struct rd_http_request *request = calloc(1, sizeof(*request));
	struct pool *pool = current_pool(http);
	int r;

	if (!request || !pool) {
		free(request);
		return rd_error_set(error, -ENOMEM, "out of memory");
	}
	request->pool = pool;
	request->receiver = *receiver;
	request->easy = curl_easy_init();
	LIST_INSERT_HEAD(&pool->requests, request, entry);
	r = request->easy ? set_options(request) ?: set_identity(request->easy, identity)
			  : (int)CURLE_OUT_OF_MEMORY;
	r = r ?: set_url(request, url, identity) ?: set_headers(request, identity);
	r = r ?: (int)curl_multi_add_handle(pool->multi, request->easy);
	if (r) {
		destroy(request);
		if (r == -ENOMEM || r == CURLE_OUT_OF_MEMORY)
			return rd_error_set(error, -ENOMEM, "out of memory");
		return rd_error_set(error, -EINVAL, "%s cannot be asked: %s", url,
				    curl_easy_strerror((CURLcode)r));
	}
	*ret_request = request;
	return 0;
}

int rd_http_new(struct event_base *base, uint32_t mark, struct rd_http **ret_http)
{
	struct rd_http *http = calloc(1, sizeof(*http));

	if (!http)
		return -ENOMEM;
	http->base = base;
	http->mark = mark;
	*ret_http = http;
	return 0;
}

void rd_http_free(struct rd_http *http)
{
	struct pool *pool;

	if (!http)
		return;
	while ((pool = LIST_FIRST(&http->pools))) {
		while (!LIST_EMPTY(&pool->requests))
			destroy(LIST_FIRST(&pool->requests));
		free_pool(pool);
	}
	free(http);
}
