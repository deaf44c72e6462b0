/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * repeat.h - which log lines are written, and which are counted instead: the
 * same line is written RD_REPEATS_WRITTEN times in a minute, then no more until
 * the minute ends, and then once more with the number of those left out.
 *
 * Memory is one table of fixed size. Time is handed in.
 */
#ifndef REDIAL_REPEAT_H
#define REDIAL_REPEAT_H

#include <stdbool.h>
#include <stdint.h>

#define RD_REPEATS_WRITTEN 10
#define RD_REPEATS_NS 60000000000ULL
/* How many different lines are counted at a time. */
#define RD_REPEATS 64

struct rd_repeat {
	uint64_t hash;	   /* of the whole line */
	uint64_t since_ns; /* monotonic: when it was first written; 0: no line */
	uint32_t written;
	uint32_t left_out;
	int level;	   /* what to write it with, when its minute ends */
	const char *event; /* a literal */
	char fields[384];  /* as they were written; "": too long to keep */
};

struct rd_repeats {
	struct rd_repeat lines[RD_REPEATS];
};

/*
 * Count a line that is about to be written.
 *
 * @line: its hash, level, event and fields
 * @ret_ended: a line whose count was given up for it; left_out is 0 if there is
 *	nothing to say about it
 * Returns whether to write the line.
 */
bool rd_repeats_admit(struct rd_repeats *repeats, const struct rd_repeat *line, uint64_t now_ns,
		      struct rd_repeat *ret_ended);

/*
 * Take out a line of which some were left out and whose minute is over; at
 * UINT64_MAX every line's is.
 * Returns false if there is none.
 */
bool rd_repeats_next_ended(struct rd_repeats *repeats, uint64_t now_ns,
			   struct rd_repeat *ret_ended);

/* A hash of text, to go on from another: begin with 0. */
uint64_t rd_repeats_hash(uint64_t before, const char *text);

#endif
