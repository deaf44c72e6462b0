/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * alloc_fail.h - out of memory, when a test says so. The linker wraps malloc,
 * calloc, realloc, reallocarray and strdup (see the Makefile), so this reaches
 * what redial's own files and the test allocate, and not what shared libraries
 * do by themselves.
 */
#ifndef REDIAL_TESTS_ALLOC_FAIL_H
#define REDIAL_TESTS_ALLOC_FAIL_H

#include <stdbool.h>

/*
 * The nth allocation from now fails, once. 0: none does.
 *
 * Returns true, so that an operation can be run again and again, with its
 * first, its second, ... allocation failing, until it gets by without:
 *
 *	for (unsigned n = 1; alloc_fail_at(n); n++) {
 *		int r = operation();
 *
 *		if (!alloc_fail_end())
 *			break;
 *		assert_int_equal(r, -ENOMEM);
 *	}
 */
bool alloc_fail_at(unsigned n);

/* Let no allocation fail any more. Returns whether one has, since
 * alloc_fail_at. */
bool alloc_fail_end(void);

#endif
