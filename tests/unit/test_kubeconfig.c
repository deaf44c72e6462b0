// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kubeconfig.h"
#include "unit/alloc_fail.h"

/* ---- files ------------------------------------------------------------------------ */

static char directory[] = "/tmp/redial-kubeconfig-XXXXXX";
static char config_path[64];

static void write_file(const char *path, const char *text)
{
	_rd_fclose_ FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fputs(text, file) < 0, 0);
}

static const char *beside(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static int make_directory(void **fixture)
{
	(void)fixture;
	if (!mkdtemp(directory))
		return -1;
	snprintf(config_path, sizeof(config_path), "%s/config", directory);
	return 0;
}

static int remove_directory(void **fixture)
{
	static const char *const names[] = {"config", "token", "ca.crt"};

	(void)fixture;
	for (size_t i = 0; i < RD_ARRAY_SIZE(names); i++)
		unlink(beside(names[i]));
	return rmdir(directory);
}

/* ---- access as text ------------------------------------------------------------------- */

static char text[4096];
static size_t used;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	used += (size_t)vsnprintf(text + used, sizeof(text) - used, format, args);
	va_end(args);
	assert_true(used < sizeof(text));
}

/* The file's directory is shown as D. */
static void say_field(const char *name, const char *value)
{
	size_t n = strlen(directory);

	if (!value)
		return;
	if (!strncmp(value, directory, n))
		say(" %s=D%s", name, value + n);
	else
		say(" %s=%s", name, value);
}

static void say_exec(const struct rd_kube_exec *exec)
{
	say_field("exec", exec->api_version);
	for (char **argument = exec->argv; *argument; argument++)
		say_field("arg", *argument);
	for (char **variable = exec->env; *variable; variable++)
		say_field("env", *variable);
	say("%s", exec->provide_cluster_info ? " cluster-info" : "");
	say_field("config", exec->cluster_config);
	say_field("hint", exec->install_hint);
}

static const char *describe(const struct rd_kube_access *access)
{
	used = 0;
	say("%s", access->server);
	say_field("ca", access->ca_file);
	say_field("ca-pem", access->ca_pem);
	say_field("cert", access->cert_file);
	say_field("cert-pem", access->cert_pem);
	say_field("key", access->key_file);
	say_field("key-pem", access->key_pem);
	say_field("token", access->token);
	say_field("token-file", access->token_file);
	say_field("proxy", access->proxy_url);
	say_field("name", access->tls_server_name);
	say("%s", access->insecure ? " insecure" : "");
	if (access->exec)
		say_exec(access->exec);
	return text;
}

static void expect_access(const char *yaml, const char *context, const char *expected)
{
	struct rd_kube_access access = {0};
	struct rd_error error = {0};

	write_file(config_path, yaml);
	if (rd_kube_access_load(config_path, context, &access, &error))
		fail_msg("%s\n%s", error.text, yaml);
	assert_string_equal(describe(&access), expected);
	assert_string_equal(error.text, "");
	rd_kube_access_free(&access);
	assert_null(access.server);
	assert_null(access.exec);
}

/* The error, without the file's name before it. */
static void expect_error(const char *yaml, const char *context, int code, const char *expected)
{
	struct rd_kube_access access = {.server = (char *)"untouched"};
	struct rd_error error = {0};
	char before[128];
	int r;

	write_file(config_path, yaml);
	r = rd_kube_access_load(config_path, context, &access, &error);
	if (r != code)
		fail_msg("gives %d (%s):\n%s", r, error.text, yaml);
	assert_string_equal(access.server, "untouched");
	assert_null(access.exec);
	if (strstr(error.text, "s3cret"))
		fail_msg("a secret in: %s", error.text);
	snprintf(before, sizeof(before), "kubeconfig %s: ", config_path);
	assert_int_equal(strncmp(error.text, before, strlen(before)), 0);
	assert_string_equal(error.text + strlen(before), expected);
}

/* ---- what is right ----------------------------------------------------------------------- */

/* "-----BEGIN CA-----", "-----BEGIN CERT-----", "-----BEGIN KEY-----" */
#define CA "LS0tLS1CRUdJTiBDQS0tLS0t"
#define CERT "LS0tLS1CRUdJTiBDRVJULS0tLS0="
#define KEY "LS0tLS1CRUdJTiBLRVktLS0tLQ=="

/* A kubeconfig of one cluster and one user, each as flow mappings. */
#define CONFIG(cluster, user)                                                                      \
	"apiVersion: v1\nkind: Config\ncurrent-context: x\n"                                       \
	"contexts: [{name: x, context: {cluster: c, user: u}}]\n"                                  \
	"clusters: [{name: c, cluster: " cluster "}]\n"                                            \
	"users: [{name: u, user: " user "}]\n"
#define HOST "server: 'https://h:6443'"
#define USER(user) CONFIG("{" HOST "}", user)
#define CLUSTER(cluster) CONFIG("{" cluster "}", "{}")

TEST(a_kubeconfig_as_kubeadm_writes_it_is_read)
{
	expect_access("apiVersion: v1\n"
		      "clusters:\n"
		      "- cluster:\n"
		      "    certificate-authority-data: " CA "\n"
		      "    server: https://192.0.2.10:6443\n"
		      "  name: kubernetes\n"
		      "contexts:\n"
		      "- context:\n"
		      "    cluster: kubernetes\n"
		      "    user: kubernetes-admin\n"
		      "  name: kubernetes-admin@kubernetes\n"
		      "current-context: kubernetes-admin@kubernetes\n"
		      "kind: Config\n"
		      "preferences: {}\n"
		      "users:\n"
		      "- name: kubernetes-admin\n"
		      "  user:\n"
		      "    client-certificate-data: " CERT "\n"
		      "    client-key-data: " KEY "\n",
		      NULL,
		      "https://192.0.2.10:6443 ca-pem=-----BEGIN CA----- "
		      "cert-pem=-----BEGIN CERT----- key-pem=-----BEGIN KEY-----");
}

TEST(a_kubeconfig_may_be_json)
{
	expect_access("{\"current-context\":\"x\",\"contexts\":[{\"name\":\"x\",\"context\":"
		      "{\"cluster\":\"c\",\"user\":\"u\",\"namespace\":\"n\"}}],\"clusters\":"
		      "[{\"name\":\"c\",\"cluster\":{\"server\":\"https://h\"}}],\"users\":"
		      "[{\"name\":\"u\",\"user\":{\"token\":\"s3cret\"}}]}",
		      NULL, "https://h token=s3cret");
}

TEST(the_named_context_wins_over_the_current_one)
{
	static const char yaml[] =
		"current-context: a\n"
		"contexts:\n"
		"- {name: a, context: {cluster: a, user: a}}\n"
		"- {name: b, context: {cluster: b, user: b}}\n"
		"clusters:\n"
		"- {name: a, cluster: {server: 'https://a'}}\n"
		"- {name: b, cluster: {server: 'https://b'}}\n"
		"users: [{name: a, user: {token: ta}}, {name: b, user: {token: tb}}]\n";

	expect_access(yaml, NULL, "https://a token=ta");
	expect_access(yaml, "a", "https://a token=ta");
	expect_access(yaml, "b", "https://b token=tb");
}

TEST(every_field_of_a_cluster_is_read)
{
	expect_access(CLUSTER(HOST
			      ", certificate-authority: ca.crt, certificate-authority-data: " CA
			      ", proxy-url: 'socks5://p:1080', tls-server-name: api, "
			      "disable-compression: true"),
		      NULL,
		      "https://h:6443 ca=D/ca.crt ca-pem=-----BEGIN CA----- "
		      "proxy=socks5://p:1080 name=api");
	expect_access(CLUSTER(HOST ", insecure-skip-tls-verify: true"), NULL,
		      "https://h:6443 insecure");
	expect_access(CLUSTER(HOST ", insecure-skip-tls-verify: false, proxy-url: ''"), NULL,
		      "https://h:6443");
}

TEST(every_field_of_a_user_is_read)
{
	expect_access(USER("{client-certificate: c.pem, client-certificate-data: " CERT
			   ", client-key: k.pem, client-key-data: " KEY
			   ", token: s3cret, tokenFile: t}"),
		      NULL,
		      "https://h:6443 cert=D/c.pem cert-pem=-----BEGIN CERT----- key=D/k.pem "
		      "key-pem=-----BEGIN KEY----- token=s3cret token-file=D/t");
	expect_access(USER("{client-certificate: c.pem, client-key-data: " KEY "}"), NULL,
		      "https://h:6443 cert=D/c.pem key-pem=-----BEGIN KEY-----");
	expect_access(USER("null"), NULL, "https://h:6443");
	expect_access(USER("{username: '', password: '', as-groups: [], auth-provider: null}"),
		      NULL, "https://h:6443");
}

TEST(paths_are_beside_the_kubeconfig_unless_they_are_absolute)
{
	expect_access(USER("{tokenFile: /run/t}"), NULL, "https://h:6443 token-file=/run/t");
	expect_access(USER("{tokenFile: ../t}"), NULL, "https://h:6443 token-file=D/../t");
	expect_access(USER("{tokenFile: a/t}"), NULL, "https://h:6443 token-file=D/a/t");
}

TEST(a_kubeconfig_named_without_a_directory_is_in_the_current_one)
{
	struct rd_kube_access access = {0};
	struct rd_error error = {0};
	_rd_free_ char *before = getcwd(NULL, 0);
	int r;

	write_file(config_path, USER("{tokenFile: t}"));
	assert_int_equal(chdir(directory), 0);
	r = rd_kube_access_load("config", NULL, &access, &error);
	assert_int_equal(chdir(before), 0);
	assert_int_equal(r, 0);
	assert_string_equal(access.token_file, "t");
	rd_kube_access_free(&access);
}

TEST(a_server_may_have_a_path_and_loses_the_slash_at_its_end)
{
	expect_access(CLUSTER("server: 'https://h/k8s/clusters/c-1'"), NULL,
		      "https://h/k8s/clusters/c-1");
	expect_access(CLUSTER("server: 'https://h:6443/'"), NULL, "https://h:6443");
	expect_access(CLUSTER("server: 'https://h//'"), NULL, "https://h");
	expect_access(CLUSTER("server: 'https://[2001:db8::1]:6443'"), NULL,
		      "https://[2001:db8::1]:6443");
}

TEST(a_server_without_tls_may_be_used_without_credentials)
{
	expect_access(CLUSTER("server: 'http://127.0.0.1:8001'"), NULL, "http://127.0.0.1:8001");
}

#define V1 "apiVersion: client.authentication.k8s.io/v1"

TEST(an_exec_plugin_is_read)
{
	expect_access(USER("{exec: {" V1 ", command: aws, args: [eks, --x, ''], "
			   "env: [{name: A, value: 1=2}, {name: B, value: ''}], "
			   "installHint: get it, interactiveMode: Never}}"),
		      NULL,
		      "https://h:6443 exec=client.authentication.k8s.io/v1 arg=aws arg=eks "
		      "arg=--x arg= env=A=1=2 env=B= hint=get it");
	expect_access(USER("{exec: {apiVersion: client.authentication.k8s.io/v1beta1, "
			   "command: aws, args: null, env: null, interactiveMode: IfAvailable}}"),
		      NULL, "https://h:6443 exec=client.authentication.k8s.io/v1beta1 arg=aws");
}

TEST(an_exec_plugin_with_a_slash_in_its_name_is_beside_the_kubeconfig)
{
	expect_access(USER("{exec: {" V1 ", command: ./aws}}"), NULL,
		      "https://h:6443 exec=client.authentication.k8s.io/v1 arg=D/./aws");
	expect_access(USER("{exec: {" V1 ", command: /bin/aws}}"), NULL,
		      "https://h:6443 exec=client.authentication.k8s.io/v1 arg=/bin/aws");
}

TEST(an_exec_plugin_is_given_the_clusters_extension_if_it_wants_cluster_info)
{
#define WITH_EXTENSIONS(wants)                                                                     \
	CONFIG("{" HOST ", extensions: [{name: other, extension: 1}, "                             \
	       "{name: client.authentication.k8s.io/exec, extension: {audience: a}}]}",            \
	       "{exec: {" V1 ", command: aws, provideClusterInfo: " wants "}}")

	expect_access(WITH_EXTENSIONS("true"), NULL,
		      "https://h:6443 exec=client.authentication.k8s.io/v1 arg=aws cluster-info "
		      "config={\"audience\":\"a\"}");
	expect_access(WITH_EXTENSIONS("false"), NULL,
		      "https://h:6443 exec=client.authentication.k8s.io/v1 arg=aws");
}

TEST(a_token_makes_an_exec_plugin_needless)
{
	expect_access(USER("{token: s3cret, exec: {" V1 ", command: aws}}"), NULL,
		      "https://h:6443 token=s3cret");
	expect_access(USER("{tokenFile: t, exec: {" V1 ", command: aws}}"), NULL,
		      "https://h:6443 token-file=D/t");
}

/* ---- what is wrong ------------------------------------------------------------------------- */

struct row {
	const char *yaml;
	const char *expected;
};

static void expect_errors(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		expect_error(rows[i].yaml, NULL, -EINVAL, rows[i].expected);
}

#define EXPECT_ERRORS(rows) expect_errors((rows), RD_ARRAY_SIZE(rows))

TEST(what_is_not_there_is_named)
{
	static const struct row rows[] = {
		{"", "it is empty"},
		{"---\n", "it is empty"},
		{"{}", "current-context is missing: name a context"},
		{"current-context: ''", "current-context is missing: name a context"},
		{"current-context: x", "there is no context \"x\""},
		{"current-context: x\ncontexts: [{name: y}]", "there is no context \"x\""},
		{"current-context: x\ncontexts: [{name: x}]", "context \"x\": cluster is missing"},
		{"current-context: x\ncontexts: [{name: x, context: {cluster: c}}]",
		 "context \"x\": user is missing"},
		{"current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]",
		 "there is no cluster \"c\""},
		{"current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
		 "clusters: [{name: c}]",
		 "there is no user \"u\""},
		{CONFIG("null", "{}"), "cluster \"c\": server is missing"},
		{CLUSTER("server: ''"), "cluster \"c\": server is missing"},
		{USER("{client-certificate: c}"),
		 "user \"u\": client-certificate and client-key need each other"},
		{USER("{client-key-data: " KEY "}"),
		 "user \"u\": client-certificate and client-key need each other"},
		{USER("{exec: {}}"),
		 "user \"u\": exec apiVersion \"\" is not client.authentication.k8s.io/v1"},
		{USER("{exec: {" V1 "}}"), "user \"u\": exec has no command"},
		{USER("{exec: {" V1 ", command: a, env: [{value: s3cret}]}}"),
		 "user \"u\": env has an element without a name"},
	};

	EXPECT_ERRORS(rows);
	expect_error(USER("{}"), "other", -EINVAL, "there is no context \"other\"");
}

TEST(a_file_that_is_not_there_is_named)
{
	struct rd_kube_access access = {0};
	struct rd_error error = {0};
	char expected[256];

	snprintf(expected, sizeof(expected), "cannot open %s: No such file or directory",
		 beside("absent"));
	assert_int_equal(rd_kube_access_load(beside("absent"), NULL, &access, &error), -ENOENT);
	assert_string_equal(error.text, expected);
	snprintf(expected, sizeof(expected), "%s is not a regular file", directory);
	assert_int_equal(rd_kube_access_load(directory, NULL, &access, &error), -EINVAL);
	assert_string_equal(error.text, expected);
}

TEST(a_file_without_end_is_refused)
{
	static char yaml[(1 << 20) + 2];
	struct rd_kube_access access = {0};
	struct rd_error error = {0};

	memset(yaml, '\n', sizeof(yaml) - 1);
	write_file(config_path, yaml);
	assert_int_equal(rd_kube_access_load(config_path, NULL, &access, &error), -EFBIG);
	assert_non_null(strstr(error.text, "has more than 1048576 bytes"));
	/* The largest that is read. */
	yaml[sizeof(yaml) - 2] = '\0';
	expect_error(yaml, NULL, -EINVAL, "it is empty");
}

TEST(what_is_not_supported_is_named)
{
#define NOT_SUPPORTED(field, why) "user \"u\": " field " is not supported: " why
#define BASIC "basic authentication was removed in Kubernetes 1.19"
	static const struct row rows[] = {
		{USER("{username: s3cret}"), NOT_SUPPORTED("username", BASIC)},
		{USER("{password: s3cret}"), NOT_SUPPORTED("password", BASIC)},
		{USER("{password: 77, token: t}"), NOT_SUPPORTED("password", BASIC)},
		{USER("{auth-provider: {name: gcp, config: {access-token: s3cret}}}"),
		 NOT_SUPPORTED("auth-provider", "it was removed in Kubernetes 1.26, use exec")},
		{USER("{as: root}"), NOT_SUPPORTED("as", "redial does not impersonate")},
		{USER("{as-groups: [a]}"),
		 NOT_SUPPORTED("as-groups", "redial does not impersonate")},
		{USER("{exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: a}}"),
		 "user \"u\": exec apiVersion \"client.authentication.k8s.io/v1alpha1\" is not "
		 "client.authentication.k8s.io/v1"},
		{USER("{exec: {" V1 ", command: a, interactiveMode: Always}}"),
		 "user \"u\": exec interactiveMode is Always, and nobody is there to answer"},
	};

	EXPECT_ERRORS(rows);
}

TEST(fields_of_another_type_are_named)
{
	static const struct row rows[] = {
		{"[]", "not a kubeconfig"},
		{"s3cret", "not a kubeconfig"},
		{"current-context: x\ncontexts: {}", "contexts must be a list"},
		{"current-context: x\ncontexts: [{name: x, context: 7}]",
		 "context \"x\": must be an object"},
		{"current-context: x\ncontexts: [{name: x}, {name: x}]",
		 "context \"x\": is there twice"},
		{USER("{}") "---\na: 1\n", "there is a second document in it"},
		{CLUSTER("server: 7"), "cluster \"c\": server must be a string"},
		{CLUSTER(HOST ", insecure-skip-tls-verify: 'true'"),
		 "cluster \"c\": insecure-skip-tls-verify must be true or false"},
		{USER("{token: 12345}"), "user \"u\": token must be a string"},
		{USER("{client-key: [s3cret]}"), "user \"u\": client-key must be a string"},
		{USER("{exec: s3cret}"), "user \"u\": exec must be an object"},
		{USER("{exec: {" V1 ", command: a, args: s3cret}}"),
		 "user \"u\": args must be a list"},
		{USER("{exec: {" V1 ", command: a, args: [7]}}"),
		 "user \"u\": args must hold strings"},
		{USER("{exec: {" V1 ", command: a, env: [{name: A, value: 7}]}}"),
		 "user \"u\": value must be a string"},
		{USER("{exec: {" V1 ", command: a, env: [{name: A=s3cret}]}}"),
		 "user \"u\": env has an element without a name"},
		{USER("{exec: {" V1 ", command: a, provideClusterInfo: 1}}"),
		 "user \"u\": provideClusterInfo must be true or false"},
	};

	EXPECT_ERRORS(rows);
}

TEST(data_fields_are_pem_in_base64)
{
	static const struct row rows[] = {
		{CLUSTER(HOST ", certificate-authority-data: '-----BEGIN s3cret'"),
		 "cluster \"c\": certificate-authority-data is not base64"},
		/* "s3cret" */
		{USER("{client-key-data: czNjcmV0}"),
		 "user \"u\": client-key-data is not PEM in base64"},
		/* "-----BEGIN \0" */
		{USER("{client-key-data: LS0tLS1CRUdJTiAA}"),
		 "user \"u\": client-key-data is not PEM in base64"},
	};

	EXPECT_ERRORS(rows);
}

TEST(a_server_is_an_https_url)
{
#define BAD_SERVER(server)                                                                         \
	{                                                                                          \
		CLUSTER("server: \"" server "\""),                                                 \
			"cluster \"c\": server is no https:// URL without a user in it"            \
	}
	static const struct row rows[] = {
		BAD_SERVER("h:6443"),
		BAD_SERVER("ftp://h"),
		BAD_SERVER("https://"),
		BAD_SERVER("https:///path"),
		BAD_SERVER("https://:6443"),
		BAD_SERVER("https://me:s3cret@h"),
		BAD_SERVER("https://h?token=s3cret"),
		BAD_SERVER("https://h#x"),
		BAD_SERVER("https://h h"),
		BAD_SERVER("https://h\xc3\xa4"),
		{CLUSTER("server: \"https://h\\n\""),
		 "cluster \"c\": server has a control character in it"},
		{CLUSTER(HOST ", proxy-url: 'me:s3cret@p'"),
		 "cluster \"c\": proxy-url is none of http://, https:// and socks5://"},
		{CLUSTER(HOST ", insecure-skip-tls-verify: true, certificate-authority: ca"),
		 "cluster \"c\": insecure-skip-tls-verify and a certificate authority exclude "
		 "each other"},
	};

	EXPECT_ERRORS(rows);
}

TEST(credentials_do_not_go_over_http)
{
#define OVER_HTTP(user)                                                                            \
	{                                                                                          \
		CONFIG("{server: 'HTTP://h'}", user),                                              \
			"cluster \"c\": server is http://, where credentials could be read by "    \
			"anyone"                                                                   \
	}
	static const struct row rows[] = {
		OVER_HTTP("{token: s3cret}"),
		OVER_HTTP("{tokenFile: t}"),
		OVER_HTTP("{client-certificate: c, client-key: k}"),
		OVER_HTTP("{client-certificate-data: " CERT ", client-key-data: " KEY "}"),
		OVER_HTTP("{exec: {" V1 ", command: a}}"),
	};

	EXPECT_ERRORS(rows);
}

TEST(a_token_with_a_line_break_is_refused)
{
	static const struct row rows[] = {
		{USER("{token: \"s3cret\\r\\nX: y\"}"),
		 "user \"u\": token has a control character in it"},
		{USER("{token: \"s3cret\\x7f\"}"),
		 "user \"u\": token has a control character in it"},
	};

	EXPECT_ERRORS(rows);
}

TEST(what_is_not_yaml_is_refused_with_its_line_and_without_a_secret)
{
	static const struct row rows[] = {
		{"a: 1\na: 2\n", "line 2: duplicate key"},
		{"users:\n- user: {password: *s3cret }\n", "line 2: aliases not allowed"},
		{"users:\n- user: {password: !s3cret }\n", "line 2: unknown tag"},
		{"users:\n- user: {password: !!int s3cret }\n",
		 "line 2: a value that is not what its tag says: !!int"},
	};

	EXPECT_ERRORS(rows);
}

TEST(names_too_long_for_an_error_are_cut)
{
	char yaml[5000] = "current-context: ", expected[128];

	memset(yaml + strlen(yaml), 'n', 4000);
	snprintf(expected, sizeof(expected), "there is no context \"%.64s\"", yaml + 17);
	expect_error(yaml, NULL, -EINVAL, expected);
}

/* ---- in a cluster -----------------------------------------------------------------------------
 */

static void set_environment(const char *host, const char *port)
{
	if (host)
		setenv("KUBERNETES_SERVICE_HOST", host, 1);
	else
		unsetenv("KUBERNETES_SERVICE_HOST");
	if (port)
		setenv("KUBERNETES_SERVICE_PORT", port, 1);
	else
		unsetenv("KUBERNETES_SERVICE_PORT");
}

static void write_account(void)
{
	write_file(beside("token"), "s3cret");
	write_file(beside("ca.crt"), "-----BEGIN CA-----");
}

TEST(a_pod_finds_its_access_in_the_environment_and_its_service_account)
{
	static const struct {
		const char *host;
		const char *port;
		const char *server;
	} rows[] = {
		{"10.96.0.1", "443", "https://10.96.0.1:443"},
		{"fd00::1", "6443", "https://[fd00::1]:6443"},
		{"kubernetes.default", "443", "https://kubernetes.default:443"},
	};

	write_account();
	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_kube_access access = {0};
		struct rd_error error = {0};
		char expected[128];

		set_environment(rows[i].host, rows[i].port);
		assert_int_equal(rd_kube_access_in_cluster(directory, &access, &error), 0);
		snprintf(expected, sizeof(expected), "%s ca=D/ca.crt token-file=D/token",
			 rows[i].server);
		assert_string_equal(describe(&access), expected);
		rd_kube_access_free(&access);
	}
}

TEST(outside_of_a_cluster_it_says_so_and_what_to_give)
{
	static const char *const rows[][2] = {
		{NULL, NULL}, {"10.96.0.1", NULL}, {NULL, "443"}, {"", "443"}, {"10.96.0.1", ""},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_kube_access access = {.server = (char *)"untouched"};
		struct rd_error error = {0};

		set_environment(rows[i][0], rows[i][1]);
		assert_int_equal(rd_kube_access_in_cluster(NULL, &access, &error), -ENOENT);
		assert_string_equal(error.text,
				    "not in a cluster (KUBERNETES_SERVICE_HOST and "
				    "KUBERNETES_SERVICE_PORT are not set): give a kubeconfig");
		assert_string_equal(access.server, "untouched");
	}
}

TEST(an_environment_that_names_no_host_and_port_is_refused)
{
	static const char *const rows[][2] = {
		{"h@x", "443"},	  {"h/x", "443"},     {"h x", "443"}, {"10.96.0.1", "443x"},
		{"h", "1234567"}, {"h", "tcp://h:1"}, {"h\n", "443"},
	};

	write_account();
	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_kube_access access = {0};
		struct rd_error error = {0};

		set_environment(rows[i][0], rows[i][1]);
		assert_int_equal(rd_kube_access_in_cluster(directory, &access, &error), -EINVAL);
		assert_non_null(strstr(error.text, "are no host and port"));
	}
}

TEST(a_service_account_that_is_not_there_is_named)
{
	static const char *const names[] = {"token", "ca.crt"};

	set_environment("10.96.0.1", "443");
	for (size_t i = 0; i < RD_ARRAY_SIZE(names); i++) {
		struct rd_kube_access access = {0};
		struct rd_error error = {0};
		char expected[256];

		write_account();
		unlink(beside(names[i]));
		snprintf(expected, sizeof(expected),
			 "in a cluster, but cannot read %s: No such file or directory",
			 beside(names[i]));
		assert_int_equal(rd_kube_access_in_cluster(directory, &access, &error), -EINVAL);
		assert_string_equal(error.text, expected);
	}
}

TEST(another_server_may_be_named)
{
	struct rd_kube_access access = {0};
	struct rd_error error = {0};

	write_file(config_path, USER("{token: s3cret}"));
	assert_int_equal(rd_kube_access_load(config_path, NULL, &access, &error), 0);
	assert_int_equal(rd_kube_access_set_server(&access, "https://192.0.2.1:6443/", &error), 0);
	assert_string_equal(describe(&access), "https://192.0.2.1:6443 token=s3cret");
	rd_kube_access_free(&access);
}

TEST(another_server_is_held_to_the_same_rules)
{
	static const struct row rows[] = {
		{"192.0.2.1:6443",
		 "option \"--server\": server is no https:// URL without a user in it"},
		{"http://192.0.2.1", "option \"--server\": server is http://, where credentials "
				     "could be read by anyone"},
	};
	struct rd_kube_access access = {0};
	struct rd_error error = {0};

	write_file(config_path, USER("{token: s3cret}"));
	assert_int_equal(rd_kube_access_load(config_path, NULL, &access, &error), 0);
	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		assert_int_equal(rd_kube_access_set_server(&access, rows[i].yaml, &error), -EINVAL);
		assert_string_equal(error.text, rows[i].expected);
	}
	alloc_fail_at(1);
	assert_int_equal(rd_kube_access_set_server(&access, "https://h", &error), -ENOMEM);
	assert_true(alloc_fail_end());
	assert_string_equal(describe(&access), "https://h:6443 token=s3cret");
	rd_kube_access_free(&access);
}

/* ---- out of memory ------------------------------------------------------------------------------
 */

TEST(out_of_memory_in_a_kubeconfig_is_enomem)
{
	static const char yaml[] = CONFIG(
		"{" HOST ", certificate-authority: ca.crt, certificate-authority-data: " CA
		", proxy-url: 'http://p', tls-server-name: api, extensions: "
		"[{name: client.authentication.k8s.io/exec, extension: {a: [1, {b: c}]}}]}",
		"{client-certificate: c, client-certificate-data: " CERT
		", client-key: k, client-key-data: " KEY ", exec: {" V1
		", command: ./a, args: [b, c], env: [{name: d, value: e}, {name: f, value: g}], "
		"installHint: h, provideClusterInfo: true}}");
	struct rd_kube_access access = {0};

	write_file(config_path, yaml);
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		struct rd_error error = {0};
		int r = rd_kube_access_load(config_path, NULL, &access, &error);

		if (!alloc_fail_end()) {
			assert_int_equal(r, 0);
			assert_true(n > 100);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_string_equal(error.text, "out of memory");
		assert_null(access.server);
	}
	assert_non_null(access.exec->cluster_config);
	rd_kube_access_free(&access);
}

TEST(out_of_memory_in_a_cluster_is_enomem)
{
	struct rd_kube_access access = {0};

	write_account();
	set_environment("fd00::1", "443");
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		struct rd_error error = {0};
		int r = rd_kube_access_in_cluster(directory, &access, &error);

		if (!alloc_fail_end()) {
			assert_int_equal(r, 0);
			assert_true(n > 4);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_string_equal(error.text, "out of memory");
	}
	rd_kube_access_free(&access);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kubeconfig_as_kubeadm_writes_it_is_read),
		cmocka_unit_test(a_kubeconfig_may_be_json),
		cmocka_unit_test(the_named_context_wins_over_the_current_one),
		cmocka_unit_test(every_field_of_a_cluster_is_read),
		cmocka_unit_test(every_field_of_a_user_is_read),
		cmocka_unit_test(paths_are_beside_the_kubeconfig_unless_they_are_absolute),
		cmocka_unit_test(a_kubeconfig_named_without_a_directory_is_in_the_current_one),
		cmocka_unit_test(a_server_may_have_a_path_and_loses_the_slash_at_its_end),
		cmocka_unit_test(a_server_without_tls_may_be_used_without_credentials),
		cmocka_unit_test(an_exec_plugin_is_read),
		cmocka_unit_test(an_exec_plugin_with_a_slash_in_its_name_is_beside_the_kubeconfig),
		cmocka_unit_test(
			an_exec_plugin_is_given_the_clusters_extension_if_it_wants_cluster_info),
		cmocka_unit_test(a_token_makes_an_exec_plugin_needless),
		cmocka_unit_test(what_is_not_there_is_named),
		cmocka_unit_test(a_file_that_is_not_there_is_named),
		cmocka_unit_test(a_file_without_end_is_refused),
		cmocka_unit_test(what_is_not_supported_is_named),
		cmocka_unit_test(fields_of_another_type_are_named),
		cmocka_unit_test(data_fields_are_pem_in_base64),
		cmocka_unit_test(a_server_is_an_https_url),
		cmocka_unit_test(credentials_do_not_go_over_http),
		cmocka_unit_test(a_token_with_a_line_break_is_refused),
		cmocka_unit_test(what_is_not_yaml_is_refused_with_its_line_and_without_a_secret),
		cmocka_unit_test(names_too_long_for_an_error_are_cut),
		cmocka_unit_test(a_pod_finds_its_access_in_the_environment_and_its_service_account),
		cmocka_unit_test(outside_of_a_cluster_it_says_so_and_what_to_give),
		cmocka_unit_test(an_environment_that_names_no_host_and_port_is_refused),
		cmocka_unit_test(a_service_account_that_is_not_there_is_named),
		cmocka_unit_test(another_server_may_be_named),
		cmocka_unit_test(another_server_is_held_to_the_same_rules),
		cmocka_unit_test(out_of_memory_in_a_kubeconfig_is_enomem),
		cmocka_unit_test(out_of_memory_in_a_cluster_is_enomem),
	};

	return cmocka_run_group_tests_name("kubeconfig", tests, make_directory, remove_directory);
}
