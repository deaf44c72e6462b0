/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * unit.h - what every unit test includes: cmocka with the headers it wants
 * before it, and the shape of a test function.
 */
#ifndef REDIAL_TESTS_UNIT_H
#define REDIAL_TESTS_UNIT_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A test without a fixture. Its name says what is so. */
#define TEST(name) static void name(void **fixture __attribute__((unused)))

#endif
