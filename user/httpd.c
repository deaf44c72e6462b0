// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "httpd.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a request may have and take: a probe sends a few lines at once. */
#define HEADERS_BYTES 8192
#define BODY_BYTES 4096
#define REQUEST_SECONDS 5

struct rd_httpd {
	struct evhttp *server;
	void (*answer)(void *context, struct rd_http_request *request, const char *path);
	void *context;
};

static struct evhttp_request *library(struct rd_http_request *request)
{
	return (struct evhttp_request *)request;
}

static void on_request(struct evhttp_request *request, void *context)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
	struct evhttp_connection *connection = evhttp_request_get_connection(request);
	struct rd_httpd *httpd = context;
	int yes = 1;

	/* Or the end of an answer waits 40 ms for the client's acknowledgement. */
	(void)setsockopt(bufferevent_getfd(evhttp_connection_get_bufferevent(connection)),
			 IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	httpd->answer(httpd->context, (struct rd_http_request *)request, path ?: "/");
}

int rd_httpd_new(struct event_base *base,
		 void (*answer)(void *context, struct rd_http_request *request, const char *path),
		 void *context, struct rd_httpd **ret_httpd)
{
	struct rd_httpd *httpd = calloc(1, sizeof(*httpd));

	if (!httpd)
		return -ENOMEM;
	httpd->answer = answer;
	httpd->context = context;
	httpd->server = evhttp_new(base);
	if (!httpd->server) {
		free(httpd);
		return -ENOMEM;
	}
	evhttp_set_allowed_methods(httpd->server, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_max_headers_size(httpd->server, HEADERS_BYTES);
	evhttp_set_max_body_size(httpd->server, BODY_BYTES);
	evhttp_set_timeout(httpd->server, REQUEST_SECONDS);
	evhttp_set_gencb(httpd->server, on_request, httpd);
	*ret_httpd = httpd;
	return 0;
}

void rd_httpd_free(struct rd_httpd *httpd)
{
	if (!httpd)
		return;
	evhttp_free(httpd->server);
	free(httpd);
}

int rd_httpd_listen(struct rd_httpd *httpd, const struct rd_ip *ip, uint16_t port,
		    struct rd_error *error)
{
	struct sockaddr_storage address;
	socklen_t length = rd_ip_sockaddr(ip, port, &address);
	_rd_close_ int fd =
		socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char text[RD_IP_PORT_TEXT];
	int yes = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) ||
	    (ip->family == RD_FAMILY_6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes))) ||
	    bind(fd, (struct sockaddr *)&address, length) || listen(fd, SOMAXCONN))
		return rd_error_set(error, -errno, "cannot listen on %s: %s",
				    rd_ip_port_format(ip, port, text), strerror(errno));
	if (evhttp_accept_socket(httpd->server, fd))
		return rd_error_set(error, -ENOMEM, "out of memory");
	fd = -1; /* the server's now */
	return 0;
}

void rd_httpd_header(struct rd_http_request *request, const char *name, const char *value)
{
	evhttp_add_header(evhttp_request_get_output_headers(library(request)), name, value);
}

void rd_httpd_reply(struct rd_http_request *request, int status, const char *content_type,
		    const char *body)
{
	struct evbuffer *buffer = evhttp_request_get_output_buffer(library(request));

	rd_httpd_header(request, "Content-Type", content_type);
	rd_httpd_header(request, "X-Content-Type-Options", "nosniff");
	evbuffer_add(buffer, body, strlen(body));
	evhttp_send_reply(library(request), status, NULL, NULL);
}

/* ---- answers in pieces ---------------------------------------------------------------- */

struct stream {
	struct evhttp_request *request;
	struct evbuffer *piece;
	const struct rd_http_pieces *pieces;
	void *context;
};

static void end_stream(struct stream *stream)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(stream->request);

	if (connection)
		evhttp_connection_set_closecb(connection, NULL, NULL);
	evbuffer_free(stream->piece);
	stream->pieces->over(stream->context);
	free(stream);
}

/* The connection ends before the answer does. */
static void on_gone(struct evhttp_connection *connection, void *context)
{
	struct stream *stream = context;
	struct evhttp_request *request = stream->request;
	/* The library has given the request up, or it frees it after this. */
	bool ours = !evhttp_request_get_connection(request);

	evhttp_connection_set_closecb(connection, NULL, NULL);
	end_stream(stream);
	if (ours)
		evhttp_send_reply_end(request);
}

static void send_piece(struct evhttp_connection *connection, void *context)
{
	struct stream *stream = context;
	struct evhttp_request *request = stream->request;
	const char *data;
	size_t length;

	if (!stream->pieces->more(stream->context, &data, &length)) {
		end_stream(stream);
		evhttp_send_reply_end(request);
		return;
	}
	if (evbuffer_add(stream->piece, data, length)) {
		/* Out of memory. The client must not take what it has for all. */
		(void)shutdown(bufferevent_getfd(evhttp_connection_get_bufferevent(connection)),
			       SHUT_RDWR);
		end_stream(stream);
		evhttp_send_reply_end(request);
		return;
	}
	evhttp_send_reply_chunk_with_cb(request, stream->piece, send_piece, stream);
}

int rd_httpd_stream(struct rd_http_request *request, int status, const char *content_type,
		    const struct rd_http_pieces *pieces, void *context)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(library(request));
	struct stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return -ENOMEM;
	*stream = (struct stream){.request = library(request),
				  .piece = evbuffer_new(),
				  .pieces = pieces,
				  .context = context};
	if (!stream->piece) {
		free(stream);
		return -ENOMEM;
	}
	rd_httpd_header(request, "Content-Type", content_type);
	rd_httpd_header(request, "X-Content-Type-Options", "nosniff");
	evhttp_send_reply_start(library(request), status, NULL);
	if (evhttp_request_get_command(library(request)) == EVHTTP_REQ_HEAD) {
		end_stream(stream);
		evhttp_send_reply_end(library(request));
		return 0;
	}
	evhttp_connection_set_closecb(connection, on_gone, stream);
	send_piece(connection, stream);
	return 0;
}
