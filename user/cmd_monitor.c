// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cmd_monitor.c - decisions as they happen, one line each.
 *
 * Lines wait in a buffer until whoever reads them has room; while it is full
 * the ring is not read, and what finds no room in the ring is dropped and
 * counted by the programs. Nothing here makes an application wait.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "cgroupname.h"
#include "commands.h"
#include "ip.h"
#include "monitor_names.h"
#include "view.h"
#include "watch.h"

#define TICK_NS 1000000000ULL
/* Programs wake nobody up: that is how often the ring is looked at. */
#define LOOK_MS 50
/* The longest line, and room for some. */
#define LINE_SIZE 4096
#define OUT_SIZE (8 * LINE_SIZE)

struct monitor {
	const struct rd_settings *settings;
	struct rd_ip backend; /* --backend; no family: any */
	uint16_t backend_port;
	struct rd_maps maps;
	struct rd_watcher watcher;
	struct rd_cgroup_names *names;
	uint64_t clock_ns; /* CLOCK_REALTIME less CLOCK_MONOTONIC */
	uint64_t lines;	   /* so far */
	bool ended;
	size_t used; /* of out */
	char out[OUT_SIZE];
};

/* A record, and what is known about it. */
struct event {
	const struct rd_event_record *record;
	const struct rd_cgroup_name *cgroup;
	struct rd_service service; /* names are "" if it is gone */
	char command[sizeof(((struct rd_event_record *)0)->command)];
	char time[40];
	char address[RD_IP_PORT_TEXT];
	char backend[RD_IP_PORT_TEXT]; /* "" if it was refused */
};

/* ---- which ------------------------------------------------------------------------ */

static int parse_backend(struct monitor *monitor, struct rd_error *error)
{
	const char *text = monitor->settings->backend;

	if (!text || !rd_ip_parse(text, &monitor->backend) ||
	    !rd_ip_port_parse(text, &monitor->backend, &monitor->backend_port))
		return 0;
	return rd_error_usage(error, "--backend takes an address, or address:port, not %s", text);
}

static bool is_wanted_backend(const struct monitor *monitor, const struct rd_event_record *record)
{
	struct rd_ip ip = rd_ip_from_bytes(record->family == RD_IPV6 ? RD_FAMILY_6 : RD_FAMILY_4,
					   record->backend_addr);

	return !monitor->backend.family ||
	       (record->decision != RD_REFUSED && !rd_ip_compare(&ip, &monitor->backend) &&
		(!monitor->backend_port || monitor->backend_port == record->backend_port));
}

static bool is_wanted_process(const struct monitor *monitor, const struct event *event)
{
	const char *wanted = monitor->settings->process;
	char id[16];

	snprintf(id, sizeof(id), "%u", event->record->pid);
	return !wanted || !strcmp(wanted, event->command) || !strcmp(wanted, id) ||
	       !strcmp(wanted, event->cgroup->pod);
}

/* ---- one line ----------------------------------------------------------------------- */

/* "connect" is not "connected": whether the backend answers is not known yet. */
static const char *result_name(uint8_t decision)
{
	static const char *const names[] = {
		[RD_CONNECTED] = "redialled", [RD_FLOW] = "flow", [RD_REFUSED] = "refused"};

	return decision < RD_ARRAY_SIZE(names) ? names[decision] : "?";
}

static void format_time(uint64_t ns, char *text, size_t size)
{
	time_t seconds = (time_t)(ns / 1000000000U);
	struct tm tm;
	size_t used;

	*text = '\0';
	if (!gmtime_r(&seconds, &tm))
		return;
	used = strftime(text, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + used, size - used, ".%03uZ", (unsigned)(ns / 1000000U % 1000U));
}

static void describe(struct monitor *monitor, const struct rd_event_record *record,
		     struct event *event)
{
	enum rd_ip_family family = record->family == RD_IPV6 ? RD_FAMILY_6 : RD_FAMILY_4;
	struct rd_ip dialled = rd_ip_from_bytes(family, record->dialled_addr);
	struct rd_ip backend = rd_ip_from_bytes(family, record->backend_addr);
	char command[sizeof(record->command) + 1] = "";

	memcpy(command, record->command, sizeof(record->command));
	rd_copy_printable(event->command, sizeof(event->command), command);
	format_time(record->time_ns + monitor->clock_ns, event->time, sizeof(event->time));
	rd_ip_port_format(&dialled, record->dialled_port, event->address);
	if (record->decision != RD_REFUSED)
		rd_ip_port_format(&backend, record->backend_port, event->backend);
}

/* The shortest that says who it was: the Pod's name or UID, the container, or
 * the last part of the cgroup's path. */
static const char *who(const struct event *event, char *text, size_t size)
{
	const struct rd_cgroup_name *cgroup = event->cgroup;
	const char *slash = strrchr(cgroup->path, '/');

	if (cgroup->pod[0])
		return cgroup->pod;
	if (cgroup->owner.pod_uid[0])
		snprintf(text, size, "pod:%s", cgroup->owner.pod_uid);
	else if (cgroup->owner.container[0])
		snprintf(text, size, "container:%.12s", cgroup->owner.container);
	else
		snprintf(text, size, "%s", !slash ? "-" : slash[1] ? slash + 1 : slash);
	return text;
}

/* The text, followed by spaces; two at least, which no column has within. */
static void add_column(char *line, size_t size, size_t width, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
static void add_column(char *line, size_t size, size_t width, const char *format, ...)
{
	size_t used = strlen(line);
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(line + used, size - used, "%-*s  ", (int)width, text);
}

static void format_text(const struct monitor *monitor, const struct event *event, char *line,
			size_t size)
{
	const struct rd_service *service = &event->service;
	char text[300];

	*line = '\0';
	add_column(line, size, 24, "%s", event->time);
	add_column(line, size, 24, "%s", who(event, text, sizeof(text)));
	add_column(line, size, 16, "%s[%u]", event->command, event->record->pid);
	add_column(line, size, 3, "%s", rd_protocol_name(event->record->protocol));
	if (service->name[0])
		add_column(line, size, 20, "%s/%s%s%s", service->namespace, service->name,
			   service->port_name[0] ? ":" : "", service->port_name);
	else
		add_column(line, size, 20, "-");
	add_column(line, size, 16, "%s", event->address);
	add_column(line, size, 17, "%s", event->backend[0] ? event->backend : "-");
	if (monitor->settings->format == RD_FORMAT_WIDE) {
		add_column(line, size, 9, "%s", result_name(event->record->decision));
		add_column(line, size, 10, "netns:%llu", (unsigned long long)event->record->netns);
		add_column(line, size, 0, "%s", event->cgroup->path[0] ? event->cgroup->path : "-");
		line[strlen(line) - 2] = '\0';
		return;
	}
	snprintf(line + strlen(line), size - strlen(line), "%s",
		 result_name(event->record->decision));
}

static void format_json(const struct event *event, char *line, size_t size)
{
	static const struct rd_column columns[] = {
		{.key = "time"},
		{.key = "result"},
		{.key = "protocol"},
		{.key = "namespace"},
		{.key = "name"},
		{.key = "port_name"},
		{.key = "address"},
		{.key = "backend"},
		{.key = "pod"},
		{.key = "pod_uid"},
		{.key = "container"},
		{.key = "command"},
		{.key = "pid", .number = true},
		{.key = "netns", .number = true},
		{.key = "cgroup"},
		{.key = "cgroup_id", .number = true},
	};
	struct rd_table table = RD_TABLE("events", columns);
	const struct rd_event_record *record = event->record;
	const struct rd_cgroup_name *cgroup = event->cgroup;
	_rd_free_ char *text = NULL;

	rd_table_add(&table, "%s", event->time);
	rd_table_add(&table, "%s", result_name(record->decision));
	rd_table_add(&table, "%s", rd_protocol_name(record->protocol));
	rd_table_add(&table, "%s", event->service.namespace);
	rd_table_add(&table, "%s", event->service.name);
	rd_table_add(&table, "%s", event->service.port_name);
	rd_table_add(&table, "%s", event->address);
	rd_table_add(&table, "%s", event->backend);
	rd_table_add(&table, "%s", cgroup->pod);
	rd_table_add(&table, "%s", cgroup->owner.pod_uid);
	rd_table_add(&table, "%s", cgroup->owner.container);
	rd_table_add(&table, "%s", event->command);
	rd_table_add(&table, "%u", record->pid);
	rd_table_add(&table, "%llu", (unsigned long long)record->netns);
	rd_table_add(&table, "%s", cgroup->path);
	rd_table_add(&table, "%llu", (unsigned long long)record->cgroup);
	text = rd_table_line(&table, 0);
	rd_table_free(&table);
	snprintf(line, size, "%s", text ?: "");
}

/* rd_watcher's callback: print the record if it is wanted. */
static bool take(void *context, const struct rd_event_record *record)
{
	struct monitor *monitor = context;
	const struct rd_settings *settings = monitor->settings;
	struct event event = {.record = record};
	char *line = monitor->out + monitor->used;

	if (monitor->ended)
		return false;
	if ((settings->refused && record->decision != RD_REFUSED) ||
	    !is_wanted_backend(monitor, record))
		return true;
	rd_maps_service(&monitor->maps, record->service, &event.service);
	if (!rd_is_selected(settings, event.service.namespace, event.service.name))
		return true;
	event.cgroup = rd_cgroup_name(monitor->names, record->cgroup);
	describe(monitor, record, &event);
	if (!is_wanted_process(monitor, &event))
		return true;
	if (settings->format == RD_FORMAT_JSON)
		format_json(&event, line, LINE_SIZE - 1);
	else
		format_text(monitor, &event, line, LINE_SIZE - 1);
	monitor->used += strlen(line);
	monitor->out[monitor->used++] = '\n';
	monitor->lines++;
	monitor->ended = settings->count && monitor->lines >= settings->count;
	return !monitor->ended && monitor->used + LINE_SIZE <= OUT_SIZE;
}

/* ---- the loop ------------------------------------------------------------------------- */

static bool has_room(const struct monitor *monitor)
{
	return !monitor->ended && monitor->used + LINE_SIZE <= OUT_SIZE;
}

/* Write some of what waits; a pipe that is writable has room for PIPE_BUF. */
static int write_out(struct monitor *monitor)
{
	size_t most = monitor->used < PIPE_BUF ? monitor->used : PIPE_BUF;
	ssize_t n = write(STDOUT_FILENO, monitor->out, most);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -errno;
	monitor->used -= (size_t)n;
	memmove(monitor->out, monitor->out + n, monitor->used);
	return 0;
}

static void say_dropped(struct monitor *monitor)
{
	uint64_t dropped = rd_watcher_dropped(&monitor->watcher);

	if (dropped)
		fprintf(stderr, "redial monitor: %llu dropped, there was no room for them\n",
			(unsigned long long)dropped);
}

/* Once a second: watch on, and say what was missed, once that can be read. */
static int tick(struct monitor *monitor, struct rd_error *error)
{
	uint64_t gap = rd_watcher_renew(&monitor->watcher);

	monitor->clock_ns = rd_realtime_ns() - rd_monotonic_ns();
	if (gap)
		fprintf(stderr,
			"redial monitor: was stopped, nothing was recorded for %llu.%llu s\n",
			(unsigned long long)(gap / 1000000000U),
			(unsigned long long)(gap / 100000000U % 10));
	if (has_room(monitor))
		say_dropped(monitor);
	if (rd_watcher_is_replaced(&monitor->watcher))
		return rd_error_set(error, -ESTALE,
				    "the maps in %s were removed or replaced, start again",
				    monitor->settings->bpffs);
	return 0;
}

/* Until a signal, the last line, or nobody reading: all that is 0. */
static int loop(struct monitor *monitor, int signals, struct rd_error *error)
{
	uint64_t next = rd_monotonic_ns();
	int r = 0;

	while (!r && (!monitor->ended || monitor->used)) {
		uint64_t now = rd_monotonic_ns();
		struct pollfd polled[] = {
			{.fd = signals, .events = POLLIN},
			{.fd = STDOUT_FILENO, .events = monitor->used ? POLLOUT : 0},
		};

		if (now >= next) {
			next = now + TICK_NS;
			r = tick(monitor, error);
			continue;
		}
		if (poll(polled, RD_ARRAY_SIZE(polled), LOOK_MS) < 0)
			continue;
		if (polled[0].revents)
			break;
		if (polled[1].revents & POLLOUT)
			r = write_out(monitor);
		else if (polled[1].revents & (POLLERR | POLLHUP | POLLNVAL))
			r = -EPIPE;
		if (!r && has_room(monitor))
			r = rd_watcher_read(&monitor->watcher);
		if (r && r != -EPIPE)
			rd_error_set(error, r, "cannot go on: %s", strerror(-r));
	}
	return r == -EPIPE ? 0 : r;
}

/* SIGINT, SIGTERM and SIGHUP as a descriptor; SIGPIPE as an error of write. */
static int open_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

int rd_cmd_monitor(const struct rd_settings *settings, struct rd_error *error)
{
	_rd_close_ int signals = open_signals();
	_rd_free_ struct monitor *monitor = calloc(1, sizeof(*monitor));
	int r;

	if (!monitor || signals < 0)
		return rd_error_set(error, -ENOMEM, "cannot start: %s", strerror(ENOMEM));
	if (settings->names)
		return rd_monitor_names(settings, signals, error);
	monitor->settings = settings;
	r = parse_backend(monitor, error);
	if (r)
		return r;
	monitor->maps = RD_MAPS_NONE;
	r = rd_maps_open(settings->bpffs, &monitor->maps, error);
	if (r)
		return r;
	monitor->names = rd_cgroup_names_new();
	r = monitor->names ? rd_watcher_open(&monitor->watcher, settings->bpffs, &monitor->maps,
					     settings->refused, take, monitor, error)
			   : rd_error_set(error, -ENOMEM, "no memory");
	if (!r) {
		r = loop(monitor, signals, error);
		say_dropped(monitor);
	}
	if (monitor->names)
		rd_watcher_close(&monitor->watcher);
	rd_cgroup_names_free(monitor->names);
	rd_maps_close(&monitor->maps);
	return r;
}
