/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * credentials.h - the bearer token and the client certificate for the next
 * request: given ones, those in a token file, or those that a plugin prints
 * (client-go's exec credential plugins). Nothing here blocks: a plugin runs
 * beside the event loop.
 *
 * A token file is read again after less than a minute, since Kubernetes
 * replaces what is in it; while it cannot be read the token it held stays in
 * use, and this file logs that, once. A plugin runs again shortly before what
 * it printed expires. Both happen at once after a refusal.
 *
 * No error and no log line quotes a token, a key or a plugin's output; the
 * last line that a plugin writes to stderr is quoted.
 */
#ifndef REDIAL_CREDENTIALS_H
#define REDIAL_CREDENTIALS_H

#include <event2/event.h>

#include "kubeconfig.h"
#include "util.h"

struct rd_credentials;

/*
 * Begin. Nothing is read or run before the first prepare.
 *
 * @access: must outlive the credentials
 * Returns 0 or -errno, with @error set: -EINVAL for a given token that cannot
 * stand in a header.
 */
int rd_credentials_new(const struct rd_kube_access *access, struct event_base *base,
		       struct rd_credentials **ret_credentials, struct rd_error *error);

/* Ends a plugin that runs. Who still waits is not called. Not from within
 * `ready`. */
void rd_credentials_free(struct rd_credentials *credentials);

/*
 * Bring them up to date. `ready` is called exactly once, possibly before this
 * returns: with NULL when they can be used, or with the reason why not, valid
 * during the call. Those that ask while a plugin runs share its run.
 */
void rd_credentials_prepare(struct rd_credentials *credentials,
			    void (*ready)(void *context, const struct rd_error *error),
			    void *context);

/* Who asked with this context does not wait any more. */
void rd_credentials_cancel(struct rd_credentials *credentials, void *context);

/* As of the last `ready` without an error; NULL: none. Borrowed until the event
 * loop goes on or a refusal is told. */
const char *rd_credentials_token(const struct rd_credentials *credentials);

/* A client certificate and its key that a plugin printed; NULL: none, and those
 * of the access, if any, are to be used. Borrowed likewise. */
const char *rd_credentials_cert_pem(const struct rd_credentials *credentials);
const char *rd_credentials_key_pem(const struct rd_credentials *credentials);

/* The server answered 401: they are had anew by the next prepare. */
void rd_credentials_refused(struct rd_credentials *credentials);

#endif
