// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "kubeconfig.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base64.h"
#include "json.h"
#include "secret.h"
#include "yaml.h"

/* The largest kubeconfig that is read. */
#define MAX_FILE_BYTES (1UL << 20)

/* The extension of a cluster that is meant for exec plugins. */
#define EXEC_EXTENSION "client.authentication.k8s.io/exec"

/* ---- what is owned ------------------------------------------------------------------ */

static void free_list(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		rd_secret_free(list[i]);
	free(list);
}

static void free_exec(struct rd_kube_exec *exec)
{
	if (!exec)
		return;
	free_list(exec->argv);
	free_list(exec->env);
	free(exec->api_version);
	rd_secret_free(exec->cluster_config);
	free(exec->install_hint);
	free(exec);
}

void rd_kube_access_free(struct rd_kube_access *access)
{
	char *const strings[] = {
		access->server,	    access->ca_file,   access->ca_pem,		access->cert_file,
		access->cert_pem,   access->key_file,  access->key_pem,		access->token,
		access->token_file, access->proxy_url, access->tls_server_name,
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(strings); i++)
		rd_secret_free(strings[i]);
	free_exec(access->exec);
	*access = (struct rd_kube_access){0};
}

/* Returns "abc", to be freed, or NULL. */
static char *join(const char *a, const char *b, const char *c)
{
	size_t n[] = {strlen(a), strlen(b), strlen(c)};
	char *text = malloc(n[0] + n[1] + n[2] + 1);

	if (!text)
		return NULL;
	memcpy(text, a, n[0]);
	memcpy(text + n[0], b, n[1]);
	memcpy(text + n[0] + n[1], c, n[2] + 1);
	return text;
}

static int copy_string(const char *text, char **ret_copy)
{
	*ret_copy = strdup(text);
	return *ret_copy ? 0 : -ENOMEM;
}

/* A path as a kubeconfig means it: beside the kubeconfig. */
static int copy_path(const char *kubeconfig, const char *path, char **ret_copy)
{
	const char *slash = strrchr(kubeconfig, '/');
	_rd_free_ char *directory = NULL;

	if (*path == '/' || !slash)
		return copy_string(path, ret_copy);
	if (copy_string(kubeconfig, &directory))
		return -ENOMEM;
	directory[slash - kubeconfig] = '\0';
	*ret_copy = join(directory, "/", path);
	return *ret_copy ? 0 : -ENOMEM;
}

/* ---- what can be used ------------------------------------------------------------------ */

/* Is it a URL of a host, in characters that mean nothing else, without a user? */
static bool is_url(const char *text, const char *scheme)
{
	size_t n = strlen(scheme);
	const char *host = text + n;

	if (strncasecmp(text, scheme, n) || !*host || *host == '/' || *host == ':')
		return false;
	for (const char *c = host; *c; c++)
		if (*c <= ' ' || *c >= 0x7f || strchr("@?#\\\"<>", *c))
			return false;
	return true;
}

static bool has_any_scheme(const char *url)
{
	static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://"};

	for (size_t i = 0; i < RD_ARRAY_SIZE(schemes); i++)
		if (!strncasecmp(url, schemes[i], strlen(schemes[i])))
			return true;
	return false;
}

/* The server's URL is not shown if it is wrong: there may be a password in it. */
static int check_server(const struct rd_json_place *place, struct rd_kube_access *access)
{
	bool plain;
	size_t n;

	if (!access->server)
		return rd_json_fail(place, "server is missing");
	plain = is_url(access->server, "http://");
	if (!plain && !is_url(access->server, "https://"))
		return rd_json_fail(place, "server is no https:// URL without a user in it");
	for (n = strlen(access->server); access->server[n - 1] == '/'; n--)
		access->server[n - 1] = '\0';
	if (plain && (access->token || access->token_file || access->cert_file ||
		      access->cert_pem || access->exec))
		return rd_json_fail(place,
				    "server is http://, where credentials could be read by anyone");
	if (access->proxy_url && !has_any_scheme(access->proxy_url))
		return rd_json_fail(place, "proxy-url is none of http://, https:// and socks5://");
	if (access->insecure && (access->ca_file || access->ca_pem))
		return rd_json_fail(place, "insecure-skip-tls-verify and a certificate authority "
					   "exclude each other");
	return 0;
}

/* ---- reading fields -------------------------------------------------------------------- */

/* A string member, borrowed. As kubectl has it, "" is as good as absent: NULL. Of
 * values only those are shown in errors that are no secrets. */
static int get_string(const struct rd_json_place *place, const cJSON *parent, const char *key,
		      const char **ret_text)
{
	const char *text;
	int r = rd_json_string(place, parent, key, "", &text);

	if (!r)
		*ret_text = *text ? text : NULL;
	return r;
}

enum field_kind {
	TEXT,
	PATH, /* beside the kubeconfig */
	PEM,  /* in base64 */
};

struct field {
	const char *key;
	enum field_kind kind;
	size_t offset; /* of the string in struct rd_kube_access */
};

#define FIELD(key_, kind_, member_)                                                                \
	{                                                                                          \
		.key = (key_), .kind = (kind_), .offset = offsetof(struct rd_kube_access, member_) \
	}

static const struct field cluster_fields[] = {
	FIELD("server", TEXT, server),
	FIELD("certificate-authority", PATH, ca_file),
	FIELD("certificate-authority-data", PEM, ca_pem),
	FIELD("proxy-url", TEXT, proxy_url),
	FIELD("tls-server-name", TEXT, tls_server_name),
};

static const struct field user_fields[] = {
	FIELD("client-certificate", PATH, cert_file),
	FIELD("client-certificate-data", PEM, cert_pem),
	FIELD("client-key", PATH, key_file),
	FIELD("client-key-data", PEM, key_pem),
	FIELD("token", TEXT, token),
	FIELD("tokenFile", PATH, token_file),
};

/* What a user may have and redial does not do. */
static const struct {
	const char *key;
	const char *why;
} refused[] = {
	{"username", "basic authentication was removed in Kubernetes 1.19"},
	{"password", "basic authentication was removed in Kubernetes 1.19"},
	{"auth-provider", "it was removed in Kubernetes 1.26, use exec"},
	{"as", "redial does not impersonate"},
	{"as-uid", "redial does not impersonate"},
	{"as-groups", "redial does not impersonate"},
	{"as-user-extra", "redial does not impersonate"},
};

static int copy_text(const struct rd_json_place *place, const struct field *field, const char *text,
		     char **ret_copy)
{
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return rd_json_fail(place, "%s has a control character in it", field->key);
	return copy_string(text, ret_copy);
}

static int copy_pem(const struct rd_json_place *place, const struct field *field, const char *text,
		    char **ret_copy)
{
	size_t length;
	int r = rd_base64_decode(text, ret_copy, &length);

	if (r == -EINVAL)
		return rd_json_fail(place, "%s is not base64", field->key);
	if (!r && (strlen(*ret_copy) != length || !strstr(*ret_copy, "-----BEGIN ")))
		return rd_json_fail(place, "%s is not PEM in base64", field->key);
	return r;
}

static int read_field(const struct rd_json_place *place, const char *kubeconfig,
		      const cJSON *object, const struct field *field, struct rd_kube_access *access)
{
	char **to = (char **)((char *)access + field->offset);
	const char *text;
	int r = get_string(place, object, field->key, &text);

	if (r || !text)
		return r;
	switch (field->kind) {
	case TEXT:
		return copy_text(place, field, text, to);
	case PATH:
		return copy_path(kubeconfig, text, to);
	case PEM:
		break;
	}
	return copy_pem(place, field, text, to);
}

static int read_cluster(const struct rd_json_place *place, const char *kubeconfig,
			const cJSON *cluster, struct rd_kube_access *access)
{
	int r = rd_json_bool(place, cluster, "insecure-skip-tls-verify", false, &access->insecure);

	for (size_t i = 0; !r && i < RD_ARRAY_SIZE(cluster_fields); i++)
		r = read_field(place, kubeconfig, cluster, &cluster_fields[i], access);
	return r;
}

/* ---- exec ------------------------------------------------------------------------------ */

static int read_argv(const struct rd_json_place *place, const char *kubeconfig, const cJSON *object,
		     struct rd_kube_exec *exec)
{
	const cJSON *list = NULL, *item;
	const char *command;
	size_t n = 0;
	int r = get_string(place, object, "command", &command);

	r = r ?: rd_json_array(place, object, "args", &list);
	if (r)
		return r;
	if (!command)
		return rd_json_fail(place, "exec has no command");
	exec->argv = calloc((size_t)cJSON_GetArraySize(list) + 2, sizeof(*exec->argv));
	if (!exec->argv)
		return -ENOMEM;
	/* A bare name is looked for in PATH. */
	r = strchr(command, '/') ? copy_path(kubeconfig, command, &exec->argv[n++])
				 : copy_string(command, &exec->argv[n++]);
	cJSON_ArrayForEach(item, list) {
		if (!r && !cJSON_IsString(item))
			r = rd_json_fail(place, "args must hold strings");
		r = r ?: copy_string(item->valuestring, &exec->argv[n++]);
	}
	return r;
}

static int read_env(const struct rd_json_place *place, const cJSON *object,
		    struct rd_kube_exec *exec)
{
	const cJSON *list = NULL, *item;
	const char *name, *value;
	size_t n = 0;
	int r = rd_json_array(place, object, "env", &list);

	if (r)
		return r;
	exec->env = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(*exec->env));
	if (!exec->env)
		return -ENOMEM;
	cJSON_ArrayForEach(item, list) {
		r = get_string(place, item, "name", &name)
			    ?: get_string(place, item, "value", &value);
		if (r)
			return r;
		if (!name || strchr(name, '='))
			return rd_json_fail(place, "env has an element without a name");
		exec->env[n] = join(name, "=", value ?: "");
		if (!exec->env[n++])
			return -ENOMEM;
	}
	return 0;
}

/* What the cluster's extension says to the plugin. */
static int read_cluster_config(const struct rd_json_place *place, const cJSON *cluster,
			       struct rd_kube_exec *exec)
{
	const cJSON *list = NULL, *item;
	const char *name;
	int r = rd_json_array(place, cluster, "extensions", &list);

	if (r)
		return r;
	cJSON_ArrayForEach(item, list) {
		r = get_string(place, item, "name", &name);
		if (r)
			return r;
		if (!name || strcmp(name, EXEC_EXTENSION) || !rd_json_member(item, "extension"))
			continue;
		exec->cluster_config = cJSON_PrintUnformatted(rd_json_member(item, "extension"));
		return exec->cluster_config ? 0 : -ENOMEM;
	}
	return 0;
}

static int check_exec(const struct rd_json_place *place, const cJSON *object)
{
	const char *version, *mode;
	int r = get_string(place, object, "apiVersion", &version);

	r = r ?: get_string(place, object, "interactiveMode", &mode);
	if (r)
		return r;
	if (!version || (strcmp(version, "client.authentication.k8s.io/v1") &&
			 strcmp(version, "client.authentication.k8s.io/v1beta1")))
		return rd_json_fail(
			place, "exec apiVersion \"%.64s\" is not client.authentication.k8s.io/v1",
			version ?: "");
	if (mode && !strcmp(mode, "Always"))
		return rd_json_fail(
			place, "exec interactiveMode is Always, and nobody is there to answer");
	return 0;
}

static int read_exec(const struct rd_json_place *place, const char *kubeconfig,
		     const cJSON *cluster, const cJSON *user, struct rd_kube_access *access)
{
	const cJSON *object = rd_json_member(user, "exec");
	const char *version, *hint;
	struct rd_kube_exec *exec;
	int r;

	/* A token makes a plugin needless. */
	if (!object || access->token || access->token_file)
		return 0;
	if (!cJSON_IsObject(object))
		return rd_json_fail(place, "exec must be an object");
	exec = access->exec = calloc(1, sizeof(*exec));
	if (!exec)
		return -ENOMEM;
	r = check_exec(place, object);
	r = r ?: read_argv(place, kubeconfig, object, exec);
	r = r ?: read_env(place, object, exec);
	r = r
		    ?: rd_json_bool(place, object, "provideClusterInfo", false,
				    &exec->provide_cluster_info);
	r = r ?: get_string(place, object, "installHint", &hint);
	if (!r && hint)
		r = copy_string(hint, &exec->install_hint);
	r = r ?: get_string(place, object, "apiVersion", &version);
	r = r ?: copy_string(version, &exec->api_version);
	if (!r && exec->provide_cluster_info)
		r = read_cluster_config(place, cluster, exec);
	return r;
}

/* ---- users, contexts -------------------------------------------------------------------- */

static bool is_given(const cJSON *item)
{
	return item && !(cJSON_IsString(item) && !*item->valuestring) &&
	       !(cJSON_IsArray(item) && !cJSON_GetArraySize(item));
}

static int read_user(const struct rd_json_place *place, const char *kubeconfig,
		     const cJSON *cluster, const cJSON *user, struct rd_kube_access *access)
{
	int r = 0;

	for (size_t i = 0; i < RD_ARRAY_SIZE(refused); i++)
		if (is_given(rd_json_member(user, refused[i].key)))
			return rd_json_fail(place, "%s is not supported: %s", refused[i].key,
					    refused[i].why);
	for (size_t i = 0; !r && i < RD_ARRAY_SIZE(user_fields); i++)
		r = read_field(place, kubeconfig, user, &user_fields[i], access);
	if (!r &&
	    !(access->cert_file || access->cert_pem) != !(access->key_file || access->key_pem))
		r = rd_json_fail(place, "client-certificate and client-key need each other");
	return r ?: read_exec(place, kubeconfig, cluster, user, access);
}

/* Find in a list of {name, KIND: {...}}; null reads as an empty object (NULL). */
static int find_named(const cJSON *root, const char *list_key, const struct rd_json_place *place,
		      const cJSON **ret_object)
{
	const cJSON *list = rd_json_member(root, list_key), *item, *found = NULL;

	if (list && !cJSON_IsArray(list))
		return rd_error_set(place->error, -EINVAL, "%s must be a list", list_key);
	cJSON_ArrayForEach(item, list) {
		const cJSON *name = rd_json_member(item, "name");

		if (!cJSON_IsString(name) || strcmp(name->valuestring, place->name))
			continue;
		if (found)
			return rd_json_fail(place, "is there twice");
		found = item;
	}
	if (!found)
		return rd_error_set(place->error, -EINVAL, "there is no %s \"%.64s\"", place->kind,
				    place->name);
	*ret_object = rd_json_member(found, place->kind);
	if (*ret_object && !cJSON_IsObject(*ret_object))
		return rd_json_fail(place, "must be an object");
	return 0;
}

/* The name of the context's cluster or user. */
static int get_reference(const struct rd_json_place *context, const cJSON *object, const char *kind,
			 const char **ret_name)
{
	int r = get_string(context, object, kind, ret_name);

	if (!r && !*ret_name)
		r = rd_json_fail(context, "%s is missing", kind);
	return r;
}

static int read_context(const cJSON *root, const char *kubeconfig, const char *name,
			struct rd_kube_access *access, struct rd_error *error)
{
	struct rd_json_place context = {
		.kind = "context", .name = name, .quoted = true, .error = error};
	struct rd_json_place cluster = {.kind = "cluster", .quoted = true, .error = error};
	struct rd_json_place user = {.kind = "user", .quoted = true, .error = error};
	const cJSON *context_object, *cluster_object, *user_object;
	int r = find_named(root, "contexts", &context, &context_object);

	r = r ?: get_reference(&context, context_object, "cluster", &cluster.name);
	r = r ?: get_reference(&context, context_object, "user", &user.name);
	r = r ?: find_named(root, "clusters", &cluster, &cluster_object);
	r = r ?: find_named(root, "users", &user, &user_object);
	r = r ?: read_cluster(&cluster, kubeconfig, cluster_object, access);
	r = r ?: read_user(&user, kubeconfig, cluster_object, user_object, access);
	return r ?: check_server(&cluster, access);
}

/* ---- the file --------------------------------------------------------------------------- */

struct reading {
	const char *path;
	const char *context;
	bool done;
	struct rd_kube_access access;
	struct rd_error *error;
};

static int read_config(struct reading *reading, const cJSON *root)
{
	const cJSON *current = rd_json_member(root, "current-context");
	const char *name = reading->context;

	if (!cJSON_IsObject(root))
		return rd_error_set(reading->error, -EINVAL, "not a kubeconfig");
	if (!name && cJSON_IsString(current) && *current->valuestring)
		name = current->valuestring;
	if (!name)
		return rd_error_set(reading->error, -EINVAL,
				    "current-context is missing: name a context");
	return read_context(root, reading->path, name, &reading->access, reading->error);
}

static int read_document(void *context, const char *json)
{
	struct reading *reading = context;
	cJSON *root;
	int r = rd_secret_json(json, strlen(json), &root, reading->error);

	if (r)
		return r;
	/* An empty document is no second one. */
	if (!cJSON_IsNull(root)) {
		r = reading->done ? rd_error_set(reading->error, -EINVAL,
						 "there is a second document in it")
				  : read_config(reading, root);
		reading->done = true;
	}
	rd_secret_json_free(root);
	return r;
}

/* The YAML reader quotes an alias and a tag, which may be a password with a star or
 * an exclamation mark before it. */
static void forget_quotation(struct rd_error *error)
{
	static const struct {
		const char *text;
		size_t kept;
	} quotations[] = {
		{": write *", 0},
		{"unknown tag: ", sizeof("unknown tag") - 1},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(quotations); i++) {
		char *quotation = strstr(error->text, quotations[i].text);

		if (quotation)
			quotation[quotations[i].kept] = '\0';
	}
}

int rd_kube_access_load(const char *path, const char *context, struct rd_kube_access *ret,
			struct rd_error *error)
{
	struct rd_error why = {0};
	struct reading reading = {.path = path, .context = context, .error = &why};
	_rd_secret_ char *text = NULL;
	size_t length;
	int r = rd_secret_read(path, MAX_FILE_BYTES, &text, &length, error);

	if (r)
		return r;
	r = rd_yaml_documents(text, length, read_document, &reading, &why);
	if (!r && !reading.done)
		r = rd_error_set(&why, -EINVAL, "it is empty");
	if (!r) {
		*ret = reading.access;
		return 0;
	}
	rd_kube_access_free(&reading.access);
	if (r == -ENOMEM)
		return rd_error_set(error, r, "out of memory");
	forget_quotation(&why);
	return rd_error_set(error, r, "kubeconfig %.128s: %s", path, why.text);
}

/* ---- in a cluster ------------------------------------------------------------------------ */

static bool is_port(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits > 0 && digits <= 5 && !text[digits];
}

/* The server's URL from the environment's host and port. */
static int server_of(const char *host, const char *port, char **ret_server)
{
	bool v6 = strchr(host, ':') != NULL;
	_rd_free_ char *before = join("https://", v6 ? "[" : "", host);

	if (!before)
		return -ENOMEM;
	*ret_server = join(before, v6 ? "]:" : ":", port);
	return *ret_server ? 0 : -ENOMEM;
}

static int check_readable(const char *path, struct rd_error *error)
{
	if (access(path, R_OK))
		return rd_error_set(error, -EINVAL, "in a cluster, but cannot read %.200s: %s",
				    path, strerror(errno));
	return 0;
}

int rd_kube_access_in_cluster(const char *directory, struct rd_kube_access *ret,
			      struct rd_error *error)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	const char *port = getenv("KUBERNETES_SERVICE_PORT");
	struct rd_kube_access found = {0};
	int r;

	if (!host || !*host || !port || !*port)
		return rd_error_set(error, -ENOENT,
				    "not in a cluster (KUBERNETES_SERVICE_HOST and "
				    "KUBERNETES_SERVICE_PORT are not set): give a kubeconfig");
	directory = directory ?: RD_KUBE_SERVICE_ACCOUNT;
	found.token_file = join(directory, "/", "token");
	found.ca_file = join(directory, "/", "ca.crt");
	r = server_of(host, port, &found.server);
	if (!found.token_file || !found.ca_file || r)
		r = rd_error_set(error, -ENOMEM, "out of memory");
	else if (!is_url(found.server, "https://") || strchr(host, '/') || !is_port(port))
		r = rd_error_set(error, -EINVAL,
				 "KUBERNETES_SERVICE_HOST \"%.64s\" and KUBERNETES_SERVICE_PORT "
				 "\"%.16s\" are no host and port",
				 host, port);
	r = r ?: check_readable(found.token_file, error);
	r = r ?: check_readable(found.ca_file, error);
	if (r) {
		rd_kube_access_free(&found);
		return r;
	}
	*ret = found;
	return 0;
}

/* ---- another server ----------------------------------------------------------------------- */

int rd_kube_access_set_server(struct rd_kube_access *access, const char *server,
			      struct rd_error *error)
{
	const struct rd_json_place place = {
		.kind = "option", .name = "--server", .quoted = true, .error = error};
	char *before = access->server;
	int r;

	access->server = strdup(server);
	r = access->server ? check_server(&place, access)
			   : rd_error_set(error, -ENOMEM, "out of memory");
	if (r) {
		free(access->server);
		access->server = before;
		return r;
	}
	free(before);
	return 0;
}
