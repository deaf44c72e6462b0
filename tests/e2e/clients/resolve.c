// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a program asks its C library: the addresses of a name, each on a line, or
 * with -r the name of an address. Where there is none it says why, and ends with
 * 1. Built with each C library that is there (see ../names.py).
 */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static int print_name(const struct sockaddr *address, socklen_t length, int flags)
{
	char text[1025];
	int r = getnameinfo(address, length, text, sizeof(text), NULL, 0, flags);

	printf("%s\n", r ? gai_strerror(r) : text);
	return r != 0;
}

int main(int argc, char **argv)
{
	int reverse = argc == 3 && !strcmp(argv[1], "-r");
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				       .ai_flags = reverse ? AI_NUMERICHOST : 0};
	struct addrinfo *found;
	int r;

	if (argc != 2 + reverse) {
		fprintf(stderr, "usage: resolve NAME | -r ADDRESS\n");
		return 2;
	}
	r = getaddrinfo(argv[argc - 1], NULL, &hints, &found);
	if (r) {
		printf("%s\n", gai_strerror(r));
		return 1;
	}
	for (const struct addrinfo *i = found; i && !r; i = i->ai_next)
		r = print_name(i->ai_addr, i->ai_addrlen, reverse ? NI_NAMEREQD : NI_NUMERICHOST);
	freeaddrinfo(found);
	return r;
}
