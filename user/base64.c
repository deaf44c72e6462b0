// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "base64.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Returns false if the text is not base64. */
static bool decode(const char *text, char *bytes, size_t *ret_length)
{
	unsigned digits = 0, padding = 0;
	uint32_t bits = 0;
	size_t length = 0;

	for (; *text; text++) {
		const char *digit = strchr(alphabet, *text);

		if (*text == '\n' || *text == '\r')
			continue;
		padding += *text == '=';
		if ((!digit && *text != '=') || (digit && padding))
			return false;
		bits = bits << 6 | (digit ? (uint32_t)(digit - alphabet) : 0);
		if (++digits % 4)
			continue;
		for (int shift = 16; shift >= 0; shift -= 8)
			bytes[length++] = (char)(bits >> shift & 0xff);
		if (padding > 2 || bits & ((1U << 8 * padding) - 1))
			return false;
		length -= padding;
		bits = 0;
		/* Padding ends the text. */
		if (padding && text[1 + strspn(text + 1, "\r\n")])
			return false;
	}
	bytes[length] = '\0';
	*ret_length = length;
	return digits % 4 == 0;
}

int rd_base64_decode(const char *text, char **ret_bytes, size_t *ret_length)
{
	size_t room = strlen(text) / 4 * 3 + 4;
	char *bytes = malloc(room);

	if (!bytes)
		return -ENOMEM;
	if (!decode(text, bytes, ret_length)) {
		explicit_bzero(bytes, room);
		free(bytes);
		return -EINVAL;
	}
	*ret_bytes = bytes;
	return 0;
}

char *rd_base64_encode(const char *bytes, size_t length)
{
	char *text = malloc((length + 2) / 3 * 4 + 1);
	char *to = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < length; i += 3) {
		size_t n = length - i < 3 ? length - i : 3;
		uint32_t bits = 0;

		for (size_t k = 0; k < 3; k++)
			bits = bits << 8 | (k < n ? (unsigned char)bytes[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			*to++ = k <= n ? alphabet[bits >> (18 - 6 * k) & 63] : '=';
	}
	*to = '\0';
	return text;
}
