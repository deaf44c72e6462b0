// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "alloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORD_BITS 64U

static uint32_t words(uint32_t size)
{
	return (size + WORD_BITS - 1) / WORD_BITS;
}

static bool get(const uint64_t *bits, uint32_t n)
{
	return bits[n / WORD_BITS] >> n % WORD_BITS & 1;
}

static void set(uint64_t *bits, uint32_t n)
{
	bits[n / WORD_BITS] |= 1ULL << n % WORD_BITS;
}

static void clear(uint64_t *bits, uint32_t n)
{
	bits[n / WORD_BITS] &= ~(1ULL << n % WORD_BITS);
}

int rd_alloc_new(struct rd_alloc *alloc, uint32_t size)
{
	*alloc = (struct rd_alloc){.size = size};
	alloc->used = calloc(words(size) + 1, sizeof(*alloc->used));
	alloc->limbo = calloc(words(size) + 1, sizeof(*alloc->limbo));
	if (!alloc->used || !alloc->limbo) {
		rd_alloc_free(alloc);
		return -ENOMEM;
	}
	return 0;
}

void rd_alloc_free(struct rd_alloc *alloc)
{
	free(alloc->used);
	free(alloc->limbo);
	*alloc = (struct rd_alloc){0};
}

/* The first free run of `count` in [from, to), or `to`. */
static uint32_t find_run(const struct rd_alloc *alloc, uint32_t from, uint32_t to, uint32_t count)
{
	uint32_t run = 0;

	for (uint32_t n = from; n < to; n++) {
		if (n % WORD_BITS == 0 && alloc->used[n / WORD_BITS] == UINT64_MAX) {
			run = 0;
			n += WORD_BITS - 1;
			continue;
		}
		run = get(alloc->used, n) ? 0 : run + 1;
		if (run == count)
			return n + 1 - count;
	}
	return to;
}

int rd_alloc_take(struct rd_alloc *alloc, uint32_t count, uint32_t *ret_first)
{
	uint32_t first;

	if (count > alloc->size - alloc->used_count)
		return -ENOSPC;
	first = find_run(alloc, alloc->cursor, alloc->size, count);
	if (first == alloc->size) {
		uint64_t to = (uint64_t)alloc->cursor + count;

		if (to > alloc->size)
			to = alloc->size;
		first = find_run(alloc, 0, (uint32_t)to, count);
		if (first == to)
			return -ENOSPC;
	}
	for (uint32_t n = first; n < first + count; n++)
		set(alloc->used, n);
	alloc->used_count += count;
	alloc->cursor = first + count == alloc->size ? 0 : first + count;
	*ret_first = first;
	return 0;
}

int rd_alloc_adopt(struct rd_alloc *alloc, uint32_t first, uint32_t count)
{
	if (first > alloc->size || count > alloc->size - first)
		return -ERANGE;
	for (uint32_t n = first; n < first + count; n++) {
		alloc->used_count += !get(alloc->used, n);
		set(alloc->used, n);
		alloc->limbo_count -= get(alloc->limbo, n);
		clear(alloc->limbo, n);
	}
	if (first + count > alloc->cursor)
		alloc->cursor = first + count == alloc->size ? 0 : first + count;
	return 0;
}

bool rd_alloc_is_used(const struct rd_alloc *alloc, uint32_t number)
{
	return get(alloc->used, number);
}

uint32_t rd_alloc_next_limbo(const struct rd_alloc *alloc, uint32_t from)
{
	for (uint32_t i = from / 64; from < alloc->size && i < words(alloc->size); i++) {
		uint64_t word = alloc->limbo[i];

		if (i == from / 64)
			word &= UINT64_MAX << from % 64;
		if (word)
			return i * 64 + (uint32_t)__builtin_ctzll(word);
	}
	return alloc->size;
}

void rd_alloc_give(struct rd_alloc *alloc, uint32_t first, uint32_t count)
{
	for (uint32_t n = first; n < first + count; n++) {
		alloc->used_count -= get(alloc->used, n);
		clear(alloc->used, n);
	}
}

void rd_alloc_retire(struct rd_alloc *alloc, uint32_t first, uint32_t count)
{
	for (uint32_t n = first; n < first + count; n++) {
		alloc->limbo_count += get(alloc->used, n) && !get(alloc->limbo, n);
		if (get(alloc->used, n))
			set(alloc->limbo, n);
	}
}

void rd_alloc_grace(struct rd_alloc *alloc)
{
	if (!alloc->limbo_count)
		return;
	for (uint32_t i = 0; i < words(alloc->size); i++)
		alloc->used[i] &= ~alloc->limbo[i];
	memset(alloc->limbo, 0, words(alloc->size) * sizeof(*alloc->limbo));
	alloc->used_count -= alloc->limbo_count;
	alloc->limbo_count = 0;
}
