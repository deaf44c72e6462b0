// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probes.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "httpd.h"

/* So many /metrics at once: each holds a copy of the numbers. */
#define SCRAPES 4

struct rd_probes {
	struct rd_httpd *httpd;
	void (*look)(void *context, struct rd_probed *ret_probed);
	void *context;
	unsigned scrapes; /* being answered */
};

/* ---- /metrics --------------------------------------------------------------------------- */

struct scrape {
	struct rd_probes *probes;
	struct rd_metrics *metrics;
};

static bool more(void *context, const char **ret_data, size_t *ret_length)
{
	struct scrape *scrape = context;

	return rd_metrics_next(scrape->metrics, ret_data, ret_length);
}

static void over(void *context)
{
	struct scrape *scrape = context;

	scrape->probes->scrapes--;
	rd_metrics_free(scrape->metrics);
	free(scrape);
}

static uint64_t to_ns(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000000000 + (uint64_t)time->tv_usec * 1000;
}

static uint64_t count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	const struct dirent *entry;
	uint64_t n = 0;

	while (directory && (entry = readdir(directory)))
		n += entry->d_name[0] != '.';
	if (directory)
		closedir(directory);
	return n ? n - 1 : 0; /* but for the directory itself */
}

static void add_process(struct rd_own_numbers *own)
{
	uint64_t fds = count_fds(); /* before another one is open */
	_rd_fclose_ FILE *statm = fopen("/proc/self/statm", "re");
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct rusage usage = {0};
	struct rlimit limit = {0};
	char line[128], *rest;

	getrusage(RUSAGE_SELF, &usage);
	own->processor_ns = to_ns(&usage.ru_utime) + to_ns(&usage.ru_stime);
	if (statm && fgets(line, sizeof(line), statm)) {
		own->virtual_bytes = strtoull(line, &rest, 10) * page;
		own->resident_bytes = strtoull(rest, NULL, 10) * page;
	}
	getrlimit(RLIMIT_NOFILE, &limit);
	own->max_fds = limit.rlim_cur;
	own->open_fds = fds;
}

static void answer_metrics(struct rd_probes *probes, struct rd_http_request *request)
{
	static const struct rd_http_pieces pieces = {.more = more, .over = over};
	struct scrape *scrape = NULL;
	struct rd_probed probed = {0};

	if (probes->scrapes < SCRAPES)
		scrape = calloc(1, sizeof(*scrape));
	if (!scrape) {
		rd_httpd_reply(request, 503, "text/plain", "too many requests at once\n");
		return;
	}
	probes->look(probes->context, &probed);
	add_process(&probed.own);
	scrape->probes = probes;
	probes->scrapes++;
	if (!rd_metrics_new(probed.plan, probed.maps, &probed.own, &scrape->metrics) &&
	    !rd_httpd_stream(request, 200, "text/plain; version=0.0.4; charset=utf-8", &pieces,
			     scrape))
		return;
	over(scrape);
	rd_httpd_reply(request, 503, "text/plain", "out of memory\n");
}

/* ---- probes ------------------------------------------------------------------------------- */

static const char *format_time(uint64_t ns, char *text, size_t size)
{
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return text;
}

/*
 * As kube-proxy answers, whose readers are load balancers. Like there, what is
 * healthy was updated just now, even if there was nothing to update, and an
 * agent that is starting is healthy. Both families are updated as one.
 */
static void answer_health(struct rd_probes *probes, struct rd_http_request *request, bool node)
{
	uint64_t now = rd_realtime_ns();
	char current[32], updated[32], body[512];
	struct rd_probed probed = {0};
	const char *word;
	bool synced, healthy;

	probes->look(probes->context, &probed);
	synced = rd_syncs_are_timely(probed.own.syncs, rd_monotonic_ns());
	healthy = synced && !(node && probed.leaving);
	word = synced ? "true" : "false";
	format_time(now, current, sizeof(current));
	format_time(synced ? now : probed.own.syncs->last_sync_ns, updated, sizeof(updated));
	snprintf(body, sizeof(body),
		 "{\"lastUpdated\":\"%s\",\"currentTime\":\"%s\",%s\"healthy\":%s,\"status\":{"
		 "\"IPv4\":{\"lastUpdated\":\"%s\",\"healthy\":%s},"
		 "\"IPv6\":{\"lastUpdated\":\"%s\",\"healthy\":%s}}}\n",
		 updated, current,
		 !node		  ? ""
		 : probed.leaving ? "\"nodeEligible\":false,"
				  : "\"nodeEligible\":true,",
		 healthy ? "true" : "false", updated, word, updated, word);
	rd_httpd_reply(request, healthy ? 200 : 503, "application/json", body);
}

static void answer_ready(struct rd_probes *probes, struct rd_http_request *request)
{
	struct rd_probed probed = {0};

	probes->look(probes->context, &probed);
	if (probed.ready)
		rd_httpd_reply(request, 200, "text/plain", "ok\n");
	else
		rd_httpd_reply(request, 503, "text/plain",
			       "the maps are not up to date with the source\n");
}

static void answer(void *context, struct rd_http_request *request, const char *path)
{
	struct rd_probes *probes = context;

	if (!strcmp(path, "/metrics"))
		answer_metrics(probes, request);
	else if (!strcmp(path, "/healthz") || !strcmp(path, "/livez"))
		answer_health(probes, request, !strcmp(path, "/healthz"));
	else if (!strcmp(path, "/readyz"))
		answer_ready(probes, request);
	else
		rd_httpd_reply(request, 404, "text/plain",
			       "there are /metrics, /healthz, /livez and /readyz\n");
}

int rd_probes_new(struct event_base *base, const char *address,
		  void (*look)(void *context, struct rd_probed *ret_probed), void *context,
		  struct rd_probes **ret_probes, struct rd_error *error)
{
	struct rd_probes *probes;
	struct rd_ip ip;
	uint16_t port;
	int r;

	if (rd_ip_port_parse(address, &ip, &port))
		return rd_error_usage(error,
				      "--http-bind-address takes ADDRESS:PORT such as "
				      "127.0.0.1:10299 or [::1]:10299, not %s",
				      address);
	probes = calloc(1, sizeof(*probes));
	if (!probes || rd_httpd_new(base, answer, probes, &probes->httpd)) {
		free(probes);
		return rd_error_set(error, -ENOMEM, "out of memory");
	}
	probes->look = look;
	probes->context = context;
	r = rd_httpd_listen(probes->httpd, &ip, port, error);
	if (r)
		rd_probes_free(probes);
	else
		*ret_probes = probes;
	return r;
}

void rd_probes_free(struct rd_probes *probes)
{
	if (!probes)
		return;
	rd_httpd_free(probes->httpd);
	free(probes);
}
