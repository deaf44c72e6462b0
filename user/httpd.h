/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * httpd.h - a small HTTP server on the agent's event loop, for probes and metrics. Only GET
 * and HEAD; a request has a few kB and a few seconds. The only file that knows
 * the HTTP server's library.
 */
#ifndef REDIAL_HTTPD_H
#define REDIAL_HTTPD_H

#include <event2/event.h>

#include "ip.h"
#include "util.h"

struct rd_httpd;
struct rd_http_request;

/*
 * Make a server that listens nowhere yet.
 *
 * @answer: called for each request with its path ("/readyz", without a query);
 * it must call rd_httpd_reply or rd_httpd_stream
 * Returns 0 or -ENOMEM.
 */
int rd_httpd_new(struct event_base *base,
		 void (*answer)(void *context, struct rd_http_request *request, const char *path),
		 void *context, struct rd_httpd **ret_httpd);
/* Closes what it listens on and every connection. */
void rd_httpd_free(struct rd_httpd *httpd);

/* Listen on one more address; 0.0.0.0 and :: are one family each. @port: host
 * order. Returns 0 or -errno, with @error set. */
int rd_httpd_listen(struct rd_httpd *httpd, const struct rd_ip *ip, uint16_t port,
		    struct rd_error *error);

/* Add a header to the answer. */
void rd_httpd_header(struct rd_http_request *request, const char *name, const char *value);
/* Send the answer; the request is gone then. */
void rd_httpd_reply(struct rd_http_request *request, int status, const char *content_type,
		    const char *body);

/*
 * Send a long answer piece by piece, so that the event loop goes round between
 * them and no more than one of them waits for a slow client.
 *
 * @more: gives the next piece, valid until the next call; false: there is none
 * @over: called once, when the answer is sent or the client has gone
 */
struct rd_http_pieces {
	bool (*more)(void *context, const char **ret_data, size_t *ret_length);
	void (*over)(void *context);
};
/* @pieces: static. Returns 0, or -ENOMEM; then nothing was sent or called. */
int rd_httpd_stream(struct rd_http_request *request, int status, const char *content_type,
		    const struct rd_http_pieces *pieces, void *context);

#endif
