/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * util.h - the few idioms every file uses: cleanup at scope exit, ownership
 * passed on by rd_take, and one place for text errors.
 */
#ifndef REDIAL_UTIL_H
#define REDIAL_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define RD_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Give a pointer away: its value is returned and the variable becomes NULL, so
 * that a cleanup attribute on it does nothing. */
#define rd_take(pointer)                                                                           \
	({                                                                                         \
		__typeof__(pointer) taken_ = (pointer);                                            \
		(pointer) = NULL;                                                                  \
		taken_;                                                                            \
	})

static inline void rd_free_cleanup(void *pointer)
{
	free(*(void **)pointer);
}
#define _rd_free_ __attribute__((cleanup(rd_free_cleanup)))

static inline void rd_fclose_cleanup(FILE **file)
{
	if (*file)
		fclose(*file);
}
#define _rd_fclose_ __attribute__((cleanup(rd_fclose_cleanup)))

/* Close, if it is an open descriptor, and preserve errno. */
void rd_close_cleanup(int *fd);
#define _rd_close_ __attribute__((cleanup(rd_close_cleanup)))

/* The text of an error, for the one line that a person reads. Functions that
 * take one fill it on failure only. */
struct rd_error {
	bool usage; /* it was the command line: exit status 2 */
	char text[512];
};

/*
 * Write the error's text; a longer text is cut.
 * Returns `code`, so that a caller can write `return rd_error_set(...)`.
 */
int rd_error_set(struct rd_error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same for a wrong command line. Returns -EINVAL. */
int rd_error_usage(struct rd_error *error, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Copy a text into an array of `size` bytes, with its NUL; a longer one is cut. (Names
 * are copied for every look-up: with snprintf that was an eighth of a full sync.) */
void rd_text_copy(char *to, size_t size, const char *text);

/*
 * Make room for one more element in a growing array.
 *
 * @array: the array's pointer variable, moved on growth
 * @count: elements in use
 * @size: bytes per element
 * Returns 0 or -ENOMEM; then the array is as it was. Grows at powers of two, so
 * no capacity needs keeping.
 */
int rd_array_grow(void *array, size_t count, size_t size);

/* CLOCK_REALTIME and CLOCK_MONOTONIC in nanoseconds. */
uint64_t rd_realtime_ns(void);
uint64_t rd_monotonic_ns(void);

#endif
