// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "credentials.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "plugin.h"
#include "secret.h"

/* A token file is read again after a minute, less a leeway (as client-go does). */
#define KEEP_FILE_NS (50 * 1000000000ULL)
/* The largest token file that is read. */
#define MAX_TOKEN_BYTES (64UL << 10)
/* A plugin runs again so long before what it printed expires. */
#define EXPIRY_LEEWAY_SECONDS 10

/* What a plugin gave. */
struct given {
	char *token;
	char *cert_pem;
	char *key_pem;
	bool expires;
	int64_t expires_at; /* seconds since the epoch */
};

struct waiter {
	void (*ready)(void *context, const struct rd_error *error);
	void *context;
	bool answered; /* the run that it waited for has ended */
};

struct rd_credentials {
	const struct rd_kube_access *access;
	struct event_base *base;
	struct given now;
	bool current;		  /* it was had since the last refusal */
	uint64_t read_ns;	  /* when the token file was read */
	struct rd_error said;	  /* what was last logged of it */
	struct rd_plugin *plugin; /* NULL: none runs */
	struct waiter *waiters;
	size_t n_waiters;
};

static void clear_given(struct given *given)
{
	rd_secret_free(given->token);
	rd_secret_free(given->cert_pem);
	rd_secret_free(given->key_pem);
	*given = (struct given){0};
}

/* ---- tokens ------------------------------------------------------------------------- */

/*
 * Copy a token without the white space around it. Only visible ASCII may be
 * left: a line break would begin another header.
 *
 * Returns 0; -EINVAL with @ret_why, which says what is wrong; -ENOMEM.
 */
static int copy_token(const char *text, size_t length, char **ret_token, const char **ret_why)
{
	char *token;

	for (; length && isspace((unsigned char)*text); length--)
		text++;
	while (length && isspace((unsigned char)text[length - 1]))
		length--;
	*ret_why = "is empty";
	if (!length)
		return -EINVAL;
	*ret_why = "has a character in it that no token has";
	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f)
			return -EINVAL;
	token = malloc(length + 1);
	if (!token)
		return -ENOMEM;
	memcpy(token, text, length);
	token[length] = '\0';
	*ret_token = token;
	return 0;
}

/* The token that the access itself holds. */
static int copy_own_token(const char *text, char **ret_token, struct rd_error *error)
{
	const char *why;
	int r = copy_token(text, strlen(text), ret_token, &why);

	if (r == -ENOMEM)
		return rd_error_set(error, r, "out of memory");
	return r ? rd_error_set(error, r, "the token %s", why) : 0;
}

/* ---- a token file ------------------------------------------------------------------------ */

static int read_token(const char *path, char **ret_token, struct rd_error *error)
{
	_rd_secret_ char *text = NULL;
	const char *why;
	size_t length;
	int r = rd_secret_read(path, MAX_TOKEN_BYTES, &text, &length, error);

	if (r)
		return r;
	r = copy_token(text, length, ret_token, &why);
	if (r == -ENOMEM)
		return rd_error_set(error, r, "out of memory");
	return r ? rd_error_set(error, r, "the token file %.200s %s", path, why) : 0;
}

/* The file cannot be read, but there is a token to go on with. */
static void say_once(struct rd_credentials *credentials, const struct rd_error *error)
{
	if (strcmp(error->text, credentials->said.text))
		rd_log(RD_LOG_WARN, "no new token, the one before stays in use",
		       RD_TEXT("error", error->text));
	credentials->said = *error;
}

static int refresh_from_file(struct rd_credentials *credentials, struct rd_error *error)
{
	const struct rd_kube_access *access = credentials->access;
	uint64_t now = rd_monotonic_ns();
	struct rd_error why = {0};
	char *token;
	int r;

	if (credentials->current && now - credentials->read_ns < KEEP_FILE_NS)
		return 0;
	r = read_token(access->token_file, &token, &why);
	if (!r) {
		clear_given(&credentials->now);
		credentials->now.token = token;
		credentials->current = true;
		credentials->read_ns = now;
		credentials->said = why;
		return 0;
	}
	if (!credentials->now.token && access->token) {
		r = copy_own_token(access->token, &credentials->now.token, error);
		if (r)
			return r;
	}
	if (!credentials->now.token) {
		*error = why;
		return r;
	}
	say_once(credentials, &why);
	return 0;
}

/* ---- what a plugin prints ---------------------------------------------------------------- */

/* "+hh:mm" or "Z", and nothing after it. */
static bool parse_zone(const char *text, int64_t *ret_seconds)
{
	int sign = *text == '-' ? -1 : 1;

	if (*text == 'Z' || *text == 'z') {
		*ret_seconds = 0;
		return !text[1];
	}
	if ((*text != '+' && *text != '-') || strlen(text) != 6 || text[3] != ':')
		return false;
	for (int i = 1; i < 6; i++)
		if (i != 3 && !isdigit((unsigned char)text[i]))
			return false;
	*ret_seconds = sign * (((text[1] - '0') * 10 + text[2] - '0') * 3600 +
			       ((text[4] - '0') * 10 + text[5] - '0') * 60);
	return true;
}

/* RFC 3339; fractions of a second are cut off. */
static bool parse_time(const char *text, int64_t *ret_seconds)
{
	struct tm tm = {0};
	int64_t zone;
	const char *rest = strptime(text, "%Y-%m-%d", &tm);

	if (!rest || (*rest != 'T' && *rest != 't'))
		return false;
	rest = strptime(rest + 1, "%H:%M:%S", &tm);
	if (!rest)
		return false;
	if (*rest == '.')
		rest += 1 + strspn(rest + 1, "0123456789");
	if (!parse_zone(rest, &zone))
		return false;
	*ret_seconds = (int64_t)timegm(&tm) - zone;
	return true;
}

/* A string of the status: NULL if it is absent or empty. Returns NULL or what is
 * wrong, as all that read the output do. */
static const char *get_text(const cJSON *object, const char *key, const char **ret_text)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	*ret_text = NULL;
	if (!item || cJSON_IsNull(item))
		return NULL;
	if (!cJSON_IsString(item))
		return "has a status field that is not a string";
	if (*item->valuestring)
		*ret_text = item->valuestring;
	return NULL;
}

static const char out_of_memory[] = "out of memory";

static const char *read_status(const cJSON *status, struct given *given)
{
	const char *token, *cert, *key, *expires;
	const char *why = get_text(status, "token", &token);

	why = why ?: get_text(status, "clientCertificateData", &cert);
	why = why ?: get_text(status, "clientKeyData", &key);
	why = why ?: get_text(status, "expirationTimestamp", &expires);
	if (why)
		return why;
	if (!cert != !key)
		return "has only one of clientCertificateData and clientKeyData";
	if (!token && !cert)
		return "has neither a token nor a certificate";
	if (expires && !parse_time(expires, &given->expires_at))
		return "has an expirationTimestamp that is no RFC 3339 time";
	given->expires = expires != NULL;
	if (token && copy_token(token, strlen(token), &given->token, &why) == -EINVAL)
		return "has a token that is empty or has a character in it that no token has";
	given->cert_pem = cert ? strdup(cert) : NULL;
	given->key_pem = key ? strdup(key) : NULL;
	return !given->token != !token || !given->cert_pem != !cert || !given->key_pem != !key
		       ? out_of_memory
		       : NULL;
}

static const char *read_output(const cJSON *root, const char *api_version, struct given *given)
{
	const cJSON *status = cJSON_GetObjectItemCaseSensitive(root, "status");
	const char *kind, *version;

	if (get_text(root, "kind", &kind) || !kind || strcmp(kind, "ExecCredential"))
		return "is no ExecCredential";
	if (get_text(root, "apiVersion", &version) || !version || strcmp(version, api_version))
		return "has another apiVersion than is configured";
	if (!cJSON_IsObject(status))
		return "has no status";
	return read_status(status, given);
}

/* Nothing of the output goes into the error. */
static int take_output(struct rd_credentials *credentials, const char *output, size_t length,
		       struct rd_error *error)
{
	const struct rd_kube_exec *exec = credentials->access->exec;
	struct given given = {0};
	const char *why;
	cJSON *root;
	int r = rd_secret_json(output, length, &root, error);

	if (r == -ENOMEM)
		return r;
	why = r ? "is not JSON" : read_output(root, exec->api_version, &given);
	if (!r)
		rd_secret_json_free(root);
	if (!why) {
		clear_given(&credentials->now);
		credentials->now = given;
		credentials->current = true;
		return 0;
	}
	clear_given(&given);
	if (why == out_of_memory)
		return rd_error_set(error, -ENOMEM, "%s", why);
	return rd_error_set(error, -EINVAL, "exec plugin \"%.128s\": its output %s", exec->argv[0],
			    why);
}

/* ---- who waits for a plugin ---------------------------------------------------------------- */

static void remove_waiter(struct rd_credentials *credentials, size_t i)
{
	credentials->n_waiters--;
	memmove(&credentials->waiters[i], &credentials->waiters[i + 1],
		(credentials->n_waiters - i) * sizeof(*credentials->waiters));
}

static bool take_answered(struct rd_credentials *credentials, struct waiter *ret_waiter)
{
	for (size_t i = 0; i < credentials->n_waiters; i++) {
		if (!credentials->waiters[i].answered)
			continue;
		*ret_waiter = credentials->waiters[i];
		remove_waiter(credentials, i);
		return true;
	}
	return false;
}

/* Answer those who wait now, in their order. They may ask again or cancel one
 * another. */
static void answer(struct rd_credentials *credentials, const struct rd_error *error)
{
	struct waiter waiter;

	for (size_t i = 0; i < credentials->n_waiters; i++)
		credentials->waiters[i].answered = true;
	while (take_answered(credentials, &waiter))
		waiter.ready(waiter.context, error);
}

static void on_done(void *context, const char *output, size_t length, const struct rd_error *error)
{
	struct rd_credentials *credentials = context;
	struct rd_error why = {0};

	if (!error && take_output(credentials, output, length, &why))
		error = &why;
	rd_plugin_free(rd_take(credentials->plugin));
	answer(credentials, error);
}

static bool is_usable(const struct rd_credentials *credentials)
{
	int64_t now = (int64_t)(rd_realtime_ns() / 1000000000U);

	return credentials->current && (!credentials->now.expires ||
					now + EXPIRY_LEEWAY_SECONDS < credentials->now.expires_at);
}

/* Add to those who wait, and have a plugin run for them. */
static int wait_for_plugin(struct rd_credentials *credentials, const struct waiter *waiter,
			   struct rd_error *error)
{
	int r = 0;

	if (rd_array_grow(&credentials->waiters, credentials->n_waiters,
			  sizeof(*credentials->waiters)))
		return rd_error_set(error, -ENOMEM, "%s", out_of_memory);
	if (!credentials->plugin)
		r = rd_plugin_start(credentials->access, credentials->base, on_done, credentials,
				    &credentials->plugin, error);
	if (!r)
		credentials->waiters[credentials->n_waiters++] = *waiter;
	return r;
}

/* ---- the interface --------------------------------------------------------------------------- */

int rd_credentials_new(const struct rd_kube_access *access, struct event_base *base,
		       struct rd_credentials **ret_credentials, struct rd_error *error)
{
	struct rd_credentials *credentials = calloc(1, sizeof(*credentials));
	int r = 0;

	if (!credentials)
		return rd_error_set(error, -ENOMEM, "%s", out_of_memory);
	credentials->access = access;
	credentials->base = base;
	if (access->token)
		r = copy_own_token(access->token, &credentials->now.token, error);
	if (r) {
		rd_credentials_free(credentials);
		return r;
	}
	*ret_credentials = credentials;
	return 0;
}

void rd_credentials_free(struct rd_credentials *credentials)
{
	if (!credentials)
		return;
	rd_plugin_free(credentials->plugin);
	clear_given(&credentials->now);
	free(credentials->waiters);
	free(credentials);
}

void rd_credentials_prepare(struct rd_credentials *credentials,
			    void (*ready)(void *context, const struct rd_error *error),
			    void *context)
{
	const struct waiter waiter = {.ready = ready, .context = context};
	struct rd_error error = {0};
	int r = 0;

	if (credentials->access->token_file) {
		r = refresh_from_file(credentials, &error);
	} else if (credentials->access->exec && !is_usable(credentials)) {
		r = wait_for_plugin(credentials, &waiter, &error);
		if (!r)
			return;
	}
	ready(context, r ? &error : NULL);
}

void rd_credentials_cancel(struct rd_credentials *credentials, void *context)
{
	for (size_t i = credentials->n_waiters; i-- > 0;)
		if (credentials->waiters[i].context == context)
			remove_waiter(credentials, i);
}

const char *rd_credentials_token(const struct rd_credentials *credentials)
{
	return credentials->now.token;
}

const char *rd_credentials_cert_pem(const struct rd_credentials *credentials)
{
	return credentials->now.cert_pem;
}

const char *rd_credentials_key_pem(const struct rd_credentials *credentials)
{
	return credentials->now.key_pem;
}

void rd_credentials_refused(struct rd_credentials *credentials)
{
	const struct rd_kube_access *access = credentials->access;

	/* What a plugin that runs will print is new anyhow. */
	if (credentials->plugin || (!access->token_file && !access->exec))
		return;
	clear_given(&credentials->now);
	credentials->current = false;
}
