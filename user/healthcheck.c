// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "healthcheck.h"

#include <errno.h>
#include <string.h>

#include "httpd.h"
#include "log.h"
#include "model.h"

struct check;

/* A Service's port in one family. */
struct listener {
	struct check *check;
	uint32_t ready;
	struct rd_httpd *httpd; /* NULL: does not listen */
};

struct check {
	RB_ENTRY(check) entry;
	struct rd_healthchecks *checks;
	char namespace[RD_LABEL_MAX];
	char name[RD_LABEL_MAX];
	uint16_t port;
	struct listener listeners[2]; /* IPv4, IPv6 */
	struct rd_error said;
};

RB_HEAD(check_tree, check);

static int compare_checks(const struct check *a, const struct check *b)
{
	return rd_name_compare(a->namespace, a->name, b->namespace, b->name);
}

RD_TREE_GENERATE(check_tree, check, entry, compare_checks)

struct rd_healthchecks {
	struct event_base *base;
	bool (*healthy)(void *context);
	void *context;
	struct rd_ip *ips;
	size_t n_ips;
	struct check_tree checks;
};

/* The answer's form is kube-proxy's (pkg/proxy/healthcheck/service_health.go). */
static void answer(void *context, struct rd_http_request *request, const char *path)
{
	const struct listener *listener = context;
	const struct check *check = listener->check;
	bool healthy = check->checks->healthy(check->checks->context);
	char body[512], weight[16];

	(void)path;
	/* Names of Kubernetes objects need no escaping. */
	snprintf(body, sizeof(body),
		 "{\"service\":{\"namespace\":\"%s\",\"name\":\"%s\"},\"localEndpoints\":%u,"
		 "\"serviceProxyHealthy\":%s}\n",
		 check->namespace, check->name, listener->ready, healthy ? "true" : "false");
	snprintf(weight, sizeof(weight), "%u", listener->ready);
	rd_httpd_header(request, "X-Load-Balancing-Endpoint-Weight", weight);
	rd_httpd_reply(request, listener->ready && healthy ? 200 : 503, "application/json", body);
}

static void stop(struct check *check)
{
	for (size_t i = 0; i < RD_ARRAY_SIZE(check->listeners); i++) {
		rd_httpd_free(check->listeners[i].httpd);
		check->listeners[i].httpd = NULL;
	}
}

static void say(struct check *check, const struct rd_error *error)
{
	if (*error->text && strcmp(check->said.text, error->text))
		rd_log(RD_LOG_WARN, "health check port not served",
		       RD_TEXT("namespace", check->namespace), RD_TEXT("service", check->name),
		       RD_TEXT("error", error->text));
	check->said = *error;
}

/* Listen anew. An address that cannot be had is said and left out. */
static int start(struct check *check)
{
	const struct rd_healthchecks *checks = check->checks;
	struct rd_error error = {0};

	stop(check);
	for (size_t i = 0; i < checks->n_ips; i++) {
		struct listener *listener = &check->listeners[checks->ips[i].family == RD_FAMILY_6];

		listener->check = check;
		if (!listener->httpd &&
		    rd_httpd_new(checks->base, answer, listener, &listener->httpd))
			return -ENOMEM;
		(void)rd_httpd_listen(listener->httpd, &checks->ips[i], check->port, &error);
	}
	say(check, &error);
	return 0;
}

static struct check *find(struct rd_healthchecks *checks, const char *namespace, const char *name)
{
	struct check probe = {0};

	rd_text_copy(probe.namespace, sizeof(probe.namespace), namespace);
	rd_text_copy(probe.name, sizeof(probe.name), name);
	return RB_FIND(check_tree, &checks->checks, &probe);
}

static void drop(struct rd_healthchecks *checks, struct check *check)
{
	stop(check);
	RB_REMOVE(check_tree, &checks->checks, check);
	free(check);
}

int rd_healthchecks_new(struct event_base *base, bool (*healthy)(void *context), void *context,
			struct rd_healthchecks **ret_checks)
{
	struct rd_healthchecks *checks = calloc(1, sizeof(*checks));

	if (!checks)
		return -ENOMEM;
	checks->base = base;
	checks->healthy = healthy;
	checks->context = context;
	*ret_checks = checks;
	return 0;
}

void rd_healthchecks_free(struct rd_healthchecks *checks)
{
	struct check *check;

	if (!checks)
		return;
	while ((check = RB_ROOT(&checks->checks)))
		drop(checks, check);
	free(checks->ips);
	free(checks);
}

int rd_healthchecks_listen_on(struct rd_healthchecks *checks, const struct rd_ip *ips, size_t n)
{
	struct rd_ip *copy;
	struct check *check;
	int r = 0;

	if (n == checks->n_ips && (!n || !memcmp(ips, checks->ips, n * sizeof(*ips))))
		return 0;
	copy = calloc(n + 1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	if (n)
		memcpy(copy, ips, n * sizeof(*ips));
	free(checks->ips);
	checks->ips = copy;
	checks->n_ips = n;
	RB_FOREACH(check, check_tree, &checks->checks)
		r = r ?: start(check);
	return r;
}

int rd_healthchecks_set(struct rd_healthchecks *checks, const char *namespace, const char *name,
			uint16_t port, const uint32_t ready[2])
{
	struct check *check = find(checks, namespace, name);
	int r = 0;

	if (!check) {
		check = calloc(1, sizeof(*check));
		if (!check)
			return -ENOMEM;
		check->checks = checks;
		rd_text_copy(check->namespace, sizeof(check->namespace), namespace);
		rd_text_copy(check->name, sizeof(check->name), name);
		RB_INSERT(check_tree, &checks->checks, check);
	}
	if (check->port != port || *check->said.text) {
		check->port = port;
		r = start(check);
	}
	for (size_t i = 0; i < RD_ARRAY_SIZE(check->listeners); i++)
		check->listeners[i].ready = ready[i];
	return r;
}

void rd_healthchecks_remove(struct rd_healthchecks *checks, const char *namespace, const char *name)
{
	struct check *check = find(checks, namespace, name);

	if (check)
		drop(checks, check);
}
