/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * http.h - GET requests over libcurl's multi interface, on the agent's event
 * loop. The only file that knows libcurl.
 *
 * Requests share one HTTP/2 connection where the server speaks it. Redirects
 * are not followed, nothing is decompressed, and headers are bounded: what a
 * server sends costs no more than its receiver keeps of it.
 */
#ifndef REDIAL_HTTP_H
#define REDIAL_HTTP_H

#include <event2/event.h>

#include "util.h"

struct rd_http;
struct rd_http_request;

/* How to connect; every string is borrowed and may change between requests.
 * NULL: not given. */
struct rd_http_identity {
	const char *ca_file, *ca_pem; /* neither: the system's */
	const char *cert_file, *cert_pem, *key_file, *key_pem;
	const char *token; /* for the Authorization header */
	const char *proxy_url;
	const char *server_name; /* of the certificate, in place of the URL's host */
	bool insecure;
};

struct rd_http_result {
	int status;	      /* 0: no answer has begun */
	unsigned retry_after; /* seconds; 0: not said */
	bool whole;	      /* the answer came to its end */
	char error[256];      /* when it did not; names no secret */
};

struct rd_http_receiver {
	/* A part of the body. Other than 0 breaks the request off. */
	int (*data)(void *context, int status, const char *bytes, size_t n);
	/* The last call; the request is gone then. */
	void (*done)(void *context, const struct rd_http_result *result);
	void *context;
};

/* @mark: of every connection's socket; 0: none. Returns 0 or -ENOMEM. */
int rd_http_new(struct event_base *base, uint32_t mark, struct rd_http **ret_http);
/* Breaks every request off, without a call. */
void rd_http_free(struct rd_http *http);

/*
 * Send a request. Never calls the receiver before returning.
 *
 * Returns 0; -EINVAL with @error for a URL or an identity that is wrong; or
 * -ENOMEM.
 */
int rd_http_get(struct rd_http *http, const char *url, const struct rd_http_identity *identity,
		const struct rd_http_receiver *receiver, struct rd_http_request **ret_request,
		struct rd_error *error);
/* The status of the answer so far; 0: none has begun. */
int rd_http_status(const struct rd_http_request *request);

/* Break a request off, without a call. Not from a receiver. */
void rd_http_cancel(struct rd_http_request *request);
/* The same, because its connection seems to be dead: later requests are not
 * sent on it. */
void rd_http_abandon(struct rd_http_request *request);
/* Later requests are sent on new connections, as after a change of who one is.
 * Those under way go on. */
void rd_http_renew(struct rd_http *http);

#endif
