/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * kubeconfig.h - how to reach the API server and as whom, from a kubeconfig
 * file or from what Kubernetes gives a Pod. Files that these name are not read
 * here, because they change.
 *
 * No error quotes a secret.
 */
#ifndef REDIAL_KUBECONFIG_H
#define REDIAL_KUBECONFIG_H

#include <stdbool.h>

#include "util.h"

/* Where Kubernetes puts a Pod's service account. */
#define RD_KUBE_SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

/* A program that prints credentials (client-go's exec credential plugins). */
struct rd_kube_exec {
	char **argv;	   /* NULL-terminated */
	char **env;	   /* "NAME=value" additions, NULL-terminated */
	char *api_version; /* client.authentication.k8s.io/v1 or .../v1beta1 */
	bool provide_cluster_info;
	char *cluster_config; /* JSON for the plugin, of the cluster's extension; NULL: none */
	char *install_hint;
};

/* Every string is owned; NULL: not given. */
struct rd_kube_access {
	char *server;		    /* https://host:port, without a trailing slash */
	char *ca_file, *ca_pem;	    /* *_pem: from the -data fields; wins over the file */
	char *cert_file, *cert_pem; /* certificate and key: both or neither */
	char *key_file, *key_pem;
	char *token, *token_file; /* the file wins; the token is used until it can be read */
	char *proxy_url, *tls_server_name;
	bool insecure;		   /* the server's certificate is not verified */
	struct rd_kube_exec *exec; /* NULL: none; never beside a token or token file */
};

/*
 * What a Pod is given: the server's address in the environment, a token and a
 * CA in `directory` (NULL: where Kubernetes puts them).
 *
 * Returns 0; -ENOENT if the environment is not a Pod's; -EINVAL if what is
 * there cannot be used; -ENOMEM. On failure @error is set and @ret untouched.
 */
int rd_kube_access_in_cluster(const char *directory, struct rd_kube_access *ret,
			      struct rd_error *error);

/*
 * Read a kubeconfig file, YAML or JSON.
 *
 * A server that is reached by http, without TLS, gets no credentials: a
 * configuration that has some is refused.
 *
 * @context: the context to use; NULL: current-context
 * Returns 0 or -errno with @error set; @ret is untouched then.
 */
int rd_kube_access_load(const char *path, const char *context, struct rd_kube_access *ret,
			struct rd_error *error);

/*
 * Reach another server with the same credentials, under the same rules: where
 * the one that was found is a Service's address, which does not work without
 * redial.
 *
 * Returns 0 or -errno with @error set; @access is as it was then.
 */
int rd_kube_access_set_server(struct rd_kube_access *access, const char *server,
			      struct rd_error *error);

/* Wipe and free what it owns, and make it empty. */
void rd_kube_access_free(struct rd_kube_access *access);

#endif
