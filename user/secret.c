// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "secret.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void rd_secret_free(void *memory)
{
	if (memory)
		explicit_bzero(memory, malloc_usable_size(memory));
	free(memory);
}

/* ---- files ------------------------------------------------------------------------- */

/* Read until the file ends or `size` bytes have come. Returns their number or -errno. */
static ssize_t read_all(int fd, char *to, size_t size)
{
	size_t got = 0;

	while (got < size) {
		ssize_t n = read(fd, to + got, size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

int rd_secret_read(const char *path, size_t limit, char **ret_text, size_t *ret_length,
		   struct rd_error *error)
{
	_rd_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_rd_secret_ char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st))
		return rd_error_set(error, -errno, "cannot open %.200s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return rd_error_set(error, -EINVAL, "%.200s is not a regular file", path);
	/* One byte more shows whether it has grown too long. */
	text = malloc(limit + 1);
	if (!text)
		return rd_error_set(error, -ENOMEM, "out of memory");
	n = read_all(fd, text, limit + 1);
	if (n < 0)
		return rd_error_set(error, (int)n, "cannot read %.200s: %s", path,
				    strerror((int)-n));
	if ((size_t)n > limit)
		return rd_error_set(error, -EFBIG, "%.200s has more than %zu bytes", path, limit);
	text[n] = '\0';
	*ret_text = rd_take(text);
	*ret_length = (size_t)n;
	return 0;
}

/* ---- JSON -------------------------------------------------------------------------- */

/* The library does not tell a lack of memory from a mistake in the text. */
static bool out_of_memory;

static void *allocate(size_t size)
{
	void *memory = malloc(size);

	out_of_memory |= !memory;
	return memory;
}

int rd_secret_json(const char *text, size_t length, struct cJSON **ret_root, struct rd_error *error)
{
	cJSON_Hooks hooks = {.malloc_fn = allocate, .free_fn = rd_secret_free};
	cJSON *root;

	if (strlen(text) != length)
		return rd_error_set(error, -EINVAL, "not JSON");
	cJSON_InitHooks(&hooks);
	out_of_memory = false;
	root = cJSON_ParseWithOpts(text, NULL, true);
	if (root) {
		*ret_root = root;
		return 0;
	}
	cJSON_InitHooks(NULL);
	if (out_of_memory)
		return rd_error_set(error, -ENOMEM, "out of memory");
	return rd_error_set(error, -EINVAL, "not JSON");
}

void rd_secret_json_free(struct cJSON *root)
{
	cJSON_Delete(root);
	cJSON_InitHooks(NULL);
}
