/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * base64.h - base64 with padding (RFC 4648, 4).
 */
#ifndef REDIAL_BASE64_H
#define REDIAL_BASE64_H

#include <stddef.h>

/*
 * Decode. Line breaks are passed over, as folded text has them; nothing else
 * is: padding must be there, and the bits that it leaves over must be 0.
 *
 * @ret_bytes: to be freed; a NUL follows the bytes
 * Returns 0, -EINVAL or -ENOMEM. What was decoded before a mistake is wiped.
 */
int rd_base64_decode(const char *text, char **ret_bytes, size_t *ret_length);

/* Encode on one line. Returns a string to be freed, or NULL: out of memory. */
char *rd_base64_encode(const char *bytes, size_t length);

#endif
