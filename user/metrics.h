/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * metrics.h - what was counted, in Prometheus's text format (0.0.4), a piece at
 * a time. docs/metrics.md describes every metric.
 *
 * All numbers are taken when it begins, so that what is written is of one moment
 * however long that takes, and the plan and the maps may change meanwhile.
 */
#ifndef REDIAL_METRICS_H
#define REDIAL_METRICS_H

#include "dns_numbers.h"
#include "maps.h"
#include "syncs.h"

/* What the agent knows of itself. Times are CLOCK_REALTIME, 0: never. */
struct rd_own_numbers {
	const struct rd_agent *said;
	const struct rd_syncs *syncs;
	bool outcomes;			    /* TCP outcomes are counted */
	bool backends;			    /* each backend's numbers as well */
	const struct rd_dns_numbers *names; /* NULL: none are served */
	uint64_t processor_ns;
	uint64_t resident_bytes;
	uint64_t virtual_bytes;
	uint64_t open_fds;
	uint64_t max_fds;
};

struct rd_metrics;

/* Take the numbers. Returns 0 or -ENOMEM. */
int rd_metrics_new(const struct rd_plan *plan, const struct rd_maps *maps,
		   const struct rd_own_numbers *own, struct rd_metrics **ret_metrics);
void rd_metrics_free(struct rd_metrics *metrics);

/*
 * Write the next piece, of whole lines: about RD_METRICS_PIECE bytes.
 *
 * @ret_data: owned by `metrics`, valid until the next call
 * Returns false when everything has been written before.
 */
#define RD_METRICS_PIECE (128 * 1024)
bool rd_metrics_next(struct rd_metrics *metrics, const char **ret_data, size_t *ret_length);

/*
 * Write a label's value as the format wants it: backslash, quote and line feed
 * escaped. What does not fit is cut, at a whole character.
 *
 * @to: room for `size` bytes, at least 1; it is NUL-terminated
 * Returns its length.
 */
size_t rd_metrics_escape(char *to, size_t size, const char *value);

#endif
