/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tree.h - ordered sets: libbsd's intrusive red-black trees. An element holds
 * its own links, so inserting needs no memory and cannot fail.
 */
#ifndef REDIAL_TREE_H
#define REDIAL_TREE_H

#include <bsd/sys/tree.h>

/* Generate the functions of RB_HEAD(name, type) for use in one file. */
#define RD_TREE_GENERATE(name, type, field, compare)                                               \
	RB_GENERATE_INTERNAL(name, type, field, compare, static __attribute__((unused)))

#endif
