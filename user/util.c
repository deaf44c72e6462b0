// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "util.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void rd_close_cleanup(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

int rd_error_set(struct rd_error *error, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return code;
}

int rd_error_usage(struct rd_error *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	error->usage = true;
	return -EINVAL;
}

void rd_text_copy(char *to, size_t size, const char *text)
{
	size_t length = strnlen(text, size - 1);

	memcpy(to, text, length);
	to[length] = '\0';
}

int rd_array_grow(void *array, size_t count, size_t size)
{
	void *old, *grown;

	if (count & (count - 1))
		return 0;
	memcpy(&old, array, sizeof(old));
	grown = reallocarray(old, count ? count * 2 : 1, size);
	if (!grown)
		return -ENOMEM;
	memcpy(array, &grown, sizeof(grown));
	return 0;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

uint64_t rd_realtime_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

uint64_t rd_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}
