// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cmd_top.c - the busiest Services, again and again. It reads counters that are
 * kept anyway, and names from the maps, anew for each table.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "view.h"

/* What a Service port had counted at the last table. */
struct before {
	char namespace[RD_LABEL_MAX];
	char name[RD_LABEL_MAX]; /* "": it was not there */
	uint64_t connects;
	uint64_t refused;
};

struct row {
	const struct rd_planned_port *port;
	double connects, refused; /* a second */
	uint64_t open;
};

struct top {
	const struct rd_settings *settings;
	struct before *before; /* by id */
	uint32_t n_before;
	uint64_t before_ns; /* CLOCK_MONOTONIC; 0: there was no table yet */
};

static double rate(uint64_t now, uint64_t before, double seconds)
{
	return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

static bool is_same(const struct before *before, const struct rd_service *record)
{
	return !strcmp(before->name, record->name) && !strcmp(before->namespace, record->namespace);
}

/* Rates of one port since the last table; a new one's are from 0. */
static struct row measure(struct top *top, const struct rd_view *view,
			  const struct rd_planned_port *port, double seconds)
{
	struct before *before = &top->before[port->id];
	struct rd_counts counts;
	uint64_t connects, refused;
	struct row row = {.port = port};

	rd_maps_count(&view->maps, port, &counts);
	connects = counts.connects + counts.flows;
	refused = counts.refused + counts.refused_local;
	if (!is_same(before, &port->record))
		*before = (struct before){0};
	row.connects = rate(connects, before->connects, seconds);
	row.refused = rate(refused, before->refused, seconds);
	row.open = counts.open;
	memcpy(before->namespace, port->record.namespace, sizeof(before->namespace));
	memcpy(before->name, port->record.name, sizeof(before->name));
	before->connects = connects;
	before->refused = refused;
	return row;
}

static int compare(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->connects != y->connects)
		return x->connects < y->connects ? 1 : -1;
	if (x->refused != y->refused)
		return x->refused < y->refused ? 1 : -1;
	return (x->open < y->open) - (x->open > y->open);
}

/* Rows that fit under the heading; all of them if it is no terminal. */
static size_t rows_that_fit(const struct rd_settings *settings, size_t n)
{
	struct winsize size;

	if (settings->format == RD_FORMAT_JSON || !isatty(STDOUT_FILENO) ||
	    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_row < 3)
		return n;
	/* Without wrapping of long lines: clear, and go home. */
	fputs("\033[?7l\033[H\033[2J", stdout);
	return n < size.ws_row - 2U ? n : size.ws_row - 2U;
}

static int print(const struct top *top, const struct row *rows, size_t n)
{
	static const struct rd_column columns[] = {
		{.key = "namespace"},
		{.key = "name"},
		{.key = "port", .number = true},
		{.key = "protocol"},
		{.key = "connects_per_s", .number = true},
		{.key = "refused_per_s", .number = true},
		{.key = "open", .number = true},
	};
	struct rd_table table = RD_TABLE("top", columns);
	int r = 0;

	n = rows_that_fit(top->settings, n);
	for (size_t i = 0; i < n; i++) {
		const struct rd_service *record = &rows[i].port->record;

		rd_table_add(&table, "%s", record->namespace);
		rd_table_add(&table, "%s", record->name);
		rd_table_add(&table, "%u", record->port);
		rd_table_add(&table, "%s", rd_protocol_name(record->protocol));
		rd_table_add(&table, "%.1f", rows[i].connects);
		rd_table_add(&table, "%.1f", rows[i].refused);
		rd_table_add(&table, "%llu", (unsigned long long)rows[i].open);
	}
	for (size_t i = 0; top->settings->format == RD_FORMAT_JSON && i < n; i++) {
		_rd_free_ char *line = rd_table_line(&table, i);

		r = line ? r : -ENOMEM;
		puts(line ?: "");
	}
	if (top->settings->format != RD_FORMAT_JSON)
		r = rd_tables_print(&table, 1, top->settings->format);
	rd_table_free(&table);
	if (isatty(STDOUT_FILENO) && top->settings->format != RD_FORMAT_JSON)
		fputs("\033[?7h", stdout);
	return r ?: fflush(stdout) ? -errno : 0;
}

/* Count all, and print unless it is the first time: then there is no rate. */
static int look(struct top *top, const struct rd_view *view)
{
	uint64_t now = rd_monotonic_ns();
	double seconds = top->before_ns ? (double)(now - top->before_ns) / 1e9 : 0;
	uint32_t n_ids = view->plan.limits.max_ports;
	const struct rd_planned *service = NULL;
	_rd_free_ struct row *rows = calloc(n_ids, sizeof(*rows));
	size_t n = 0;

	if (n_ids != top->n_before) {
		free(top->before);
		top->before = calloc(n_ids, sizeof(*top->before));
		top->n_before = top->before ? n_ids : 0;
		seconds = 0;
	}
	if (!rows || !top->before)
		return -ENOMEM;
	while ((service = rd_plan_next(&view->plan, (struct rd_planned *)service)))
		for (size_t i = 0; i < service->n_ports && n < n_ids; i++)
			if (rd_is_selected(top->settings, service->namespace, service->name))
				rows[n++] = measure(top, view, &service->ports[i], seconds);
	qsort(rows, n, sizeof(*rows), compare);
	if (top->before_ns) {
		int r = print(top, rows, n);

		if (r)
			return r;
	}
	top->before_ns = now;
	return 0;
}

int rd_cmd_top(const struct rd_settings *settings, struct rd_error *error)
{
	struct timespec interval = {.tv_sec = settings->interval_seconds};
	struct top top = {.settings = settings};
	sigset_t set;
	int r = 0;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (uint32_t n = 0; !r; n++) {
		struct rd_view view;

		r = rd_view_open(settings->bpffs, &view, error);
		if (!r) {
			r = look(&top, &view);
			if (r && r != -EPIPE)
				rd_error_set(error, r, "cannot print: %s", strerror(-r));
		}
		rd_view_close(&view);
		if (r || (settings->count && n >= settings->count) ||
		    sigtimedwait(&set, NULL, &interval) >= 0)
			break;
	}
	free(top.before);
	return r == -EPIPE ? 0 : r;
}
