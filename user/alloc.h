/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * alloc.h - numbers that stand for something: ranges of backend slots, Service
 * ids, backend ids. A bitmap, and a second one for what has been given back
 * and may still be in use by a running BPF program ("limbo", DESIGN invariant
 * 2). Allocation goes round (next fit), so that a number is reused as late as
 * possible. Pure; nothing but rd_alloc_new can run out of memory.
 */
#ifndef REDIAL_ALLOC_H
#define REDIAL_ALLOC_H

#include <stdbool.h>
#include <stdint.h>

struct rd_alloc {
	uint64_t *used;
	uint64_t *limbo; /* subset of used */
	uint32_t size;
	uint32_t cursor;
	uint32_t used_count; /* limbo included */
	uint32_t limbo_count;
};

/* Prepare for numbers 0..size-1. Returns 0 or -ENOMEM. */
int rd_alloc_new(struct rd_alloc *alloc, uint32_t size);
void rd_alloc_free(struct rd_alloc *alloc);

/* Take `count` (at least 1) adjacent numbers.
 * Returns 0, or -ENOSPC; then @ret_first is untouched. */
int rd_alloc_take(struct rd_alloc *alloc, uint32_t count, uint32_t *ret_first);

/* Take exactly these, which a former agent had taken. Those already taken stay
 * so, and leave limbo. Returns 0, or -ERANGE if they lie outside. */
int rd_alloc_adopt(struct rd_alloc *alloc, uint32_t first, uint32_t count);

/* Whether a number below `size` is taken, or in limbo. */
bool rd_alloc_is_used(const struct rd_alloc *alloc, uint32_t number);

/* The first number in limbo that is not below `from`; `size` if there is none. */
uint32_t rd_alloc_next_limbo(const struct rd_alloc *alloc, uint32_t from);

/* Give back numbers that no program has seen: free at once. Here and below,
 * what is free already, or in limbo already, stays so. */
void rd_alloc_give(struct rd_alloc *alloc, uint32_t first, uint32_t count);

/* Give back numbers that programs may be using: free after the next grace. */
void rd_alloc_retire(struct rd_alloc *alloc, uint32_t first, uint32_t count);

/* A grace period has passed since the last rd_alloc_retire: empty limbo. */
void rd_alloc_grace(struct rd_alloc *alloc);

#endif
