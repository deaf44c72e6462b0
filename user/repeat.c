// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "repeat.h"

#include "util.h"

uint64_t rd_repeats_hash(uint64_t before, const char *text)
{
	/* FNV-1a. The end counts too, so that "a" "bc" is not "ab" "c". */
	uint64_t hash = before ?: 0xcbf29ce484222325;

	do {
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
	} while (*text++);
	return hash;
}

static bool is_over(const struct rd_repeat *line, uint64_t now_ns)
{
	return now_ns >= line->since_ns && now_ns - line->since_ns >= RD_REPEATS_NS;
}

/* The line's own place, else a free one, else the oldest. */
static struct rd_repeat *place(struct rd_repeats *repeats, uint64_t hash)
{
	struct rd_repeat *oldest = &repeats->lines[0];

	for (size_t i = 0; i < RD_REPEATS; i++) {
		struct rd_repeat *line = &repeats->lines[i];

		if (line->since_ns && line->hash == hash)
			return line;
		if (line->since_ns < oldest->since_ns)
			oldest = line;
	}
	return oldest;
}

bool rd_repeats_admit(struct rd_repeats *repeats, const struct rd_repeat *line, uint64_t now_ns,
		      struct rd_repeat *ret_ended)
{
	struct rd_repeat *kept = place(repeats, line->hash);

	*ret_ended = (struct rd_repeat){0};
	if (!kept->since_ns || kept->hash != line->hash || is_over(kept, now_ns)) {
		*ret_ended = *kept;
		*kept = *line;
		kept->since_ns = now_ns ?: 1;
		kept->written = kept->left_out = 0;
	}
	if (kept->written == RD_REPEATS_WRITTEN) {
		kept->left_out++;
		return false;
	}
	kept->written++;
	return true;
}

bool rd_repeats_next_ended(struct rd_repeats *repeats, uint64_t now_ns, struct rd_repeat *ret_ended)
{
	for (size_t i = 0; i < RD_REPEATS; i++) {
		struct rd_repeat *line = &repeats->lines[i];

		if (!line->left_out || !is_over(line, now_ns))
			continue;
		*ret_ended = *line;
		*line = (struct rd_repeat){0};
		return true;
	}
	return false;
}
