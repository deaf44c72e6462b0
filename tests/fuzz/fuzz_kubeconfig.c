// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * libFuzzer target: any bytes as a kubeconfig. What is accepted keeps the rules
 * that the rest of the agent relies on; what is refused has a reason.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kubeconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool what)
{
	if (!what)
		abort();
}

/* A file that is read anew each time, and that nobody else sees. */
static const char *write_file(const uint8_t *data, size_t size)
{
	static char path[64];
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("kubeconfig", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	require(!ftruncate(fd, 0) && pwrite(fd, data, size, 0) == (ssize_t)size);
	return path;
}

static bool is_pem(const char *pem)
{
	return !pem || strstr(pem, "-----BEGIN ");
}

static void check(const struct rd_kube_access *access)
{
	bool cert = access->cert_file || access->cert_pem,
	     key = access->key_file || access->key_pem;
	bool token = access->token || access->token_file;

	require(access->server && !strpbrk(access->server, " \t\r\n@?#"));
	if (strncasecmp(access->server, "https://", 8))
		require(!strncasecmp(access->server, "http://", 7) && !cert && !token &&
			!access->exec);
	require(access->server[strlen(access->server) - 1] != '/');
	require(cert == key);
	require(is_pem(access->ca_pem) && is_pem(access->cert_pem) && is_pem(access->key_pem));
	require(!access->token || !strpbrk(access->token, "\r\n"));
	require(!access->exec || (!token && access->exec->argv && access->exec->argv[0] &&
				  access->exec->api_version && access->exec->env));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = write_file(data, size);
	struct rd_kube_access access = {0};
	struct rd_error error = {0};

	if (rd_kube_access_load(path, NULL, &access, &error)) {
		require(!strncmp(error.text, "kubeconfig /proc/self/fd/", 25));
		require(!access.server && !access.exec);
		return 0;
	}
	check(&access);
	/* Another server, under the same rules. */
	if (rd_kube_access_set_server(&access, "http://127.0.0.1:1", &error))
		require(*error.text);
	check(&access);
	rd_kube_access_free(&access);
	require(!access.server);
	return 0;
}
