// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The clocks and the time-outs of events are this file's own, so that no test
 * has to wait. Plugins are shell scripts.
 */
#include "unit/unit.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "credentials.h"
#include "unit/alloc_fail.h"

/* ---- time ---------------------------------------------------------------------------- */

#define SECOND 1000000000ULL
/* 2026-01-02T03:04:05Z */
#define NOW 1767323045ULL

static uint64_t monotonic;
static uint64_t realtime;
static bool impatient; /* what waits for seconds waits for a moment */

uint64_t __wrap_rd_monotonic_ns(void);
uint64_t __wrap_rd_realtime_ns(void);
int __real_event_add(struct event *event, const struct timeval *patience);
int __wrap_event_add(struct event *event, const struct timeval *patience);

uint64_t __wrap_rd_monotonic_ns(void)
{
	return monotonic;
}

uint64_t __wrap_rd_realtime_ns(void)
{
	return realtime;
}

int __wrap_event_add(struct event *event, const struct timeval *patience)
{
	static const struct timeval moment = {.tv_usec = 50000};

	return __real_event_add(event, patience && impatient ? &moment : patience);
}

static void pass(uint64_t seconds)
{
	monotonic += seconds * SECOND;
	realtime += seconds * SECOND;
}

/* ---- files ------------------------------------------------------------------------------ */

static char directory[] = "/tmp/redial-credentials-XXXXXX";
static const char *const names[] = {"token", "plugin", "runs", "said", "ca", "log"};
static char token_path[64], plugin_path[64], runs_path[64], said_path[64], ca_path[64],
	log_path[64];
static char *const paths[] = {token_path, plugin_path, runs_path, said_path, ca_path, log_path};
_Static_assert(RD_ARRAY_SIZE(paths) == RD_ARRAY_SIZE(names), "a path for every name");

static void write_file(const char *path, const char *text)
{
	_rd_fclose_ FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fputs(text, file) < 0, 0);
}

static const char *read_file(const char *path)
{
	static char text[8192];
	_rd_fclose_ FILE *file = fopen(path, "re");
	size_t n = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

	text[n] = '\0';
	return text;
}

/* ---- a fixture: an event loop, and access to fill in ---------------------------------------- */

static struct event_base *base;
static struct rd_kube_access access_;
static struct rd_kube_exec plugin;
static char *plugin_argv[] = {plugin_path, NULL, NULL};
static char *plugin_env[3];
static struct rd_credentials *credentials;

static int make_directory(void **fixture)
{
	(void)fixture;
	if (!mkdtemp(directory))
		return -1;
	for (size_t i = 0; i < RD_ARRAY_SIZE(paths); i++)
		snprintf(paths[i], sizeof(token_path), "%s/%s", directory, names[i]);
	return 0;
}

static int remove_directory(void **fixture)
{
	(void)fixture;
	return rmdir(directory);
}

static int set_up(void **fixture)
{
	(void)fixture;
	/* A plugin that hangs is to fail the test. */
	alarm(60);
	base = event_base_new();
	monotonic = 1000 * SECOND;
	realtime = NOW * SECOND;
	impatient = false;
	memset(plugin_env, 0, sizeof(plugin_env));
	plugin_argv[0] = plugin_path;
	plugin_argv[1] = NULL;
	plugin = (struct rd_kube_exec){.argv = plugin_argv,
				       .env = plugin_env,
				       .api_version = (char *)"client.authentication.k8s.io/v1"};
	access_ = (struct rd_kube_access){.server = (char *)"https://h:6443"};
	return base ? 0 : -1;
}

static int tear_down(void **fixture)
{
	(void)fixture;
	rd_credentials_free(rd_take(credentials));
	event_base_free(base);
	for (size_t i = 0; i < RD_ARRAY_SIZE(paths); i++)
		unlink(paths[i]);
	alarm(0);
	return 0;
}

static void begin(void)
{
	struct rd_error error = {0};

	if (rd_credentials_new(&access_, base, &credentials, &error))
		fail_msg("%s", error.text);
}

static void begin_with_file(void)
{
	access_.token_file = token_path;
	begin();
}

/* The plugin is this script; every run of it adds a line to a file. */
static void begin_with_plugin(const char *script)
{
	_rd_fclose_ FILE *file = fopen(plugin_path, "we");

	assert_non_null(file);
	fprintf(file, "#!/bin/sh\necho run >>%s\n%s\n", runs_path, script);
	fchmod(fileno(file), 0700);
	access_.exec = &plugin;
	begin();
}

static size_t runs(void)
{
	return strlen(read_file(runs_path)) / strlen("run\n");
}

/* What was answered to one that asked. */
struct asked {
	unsigned answers;
	bool bad;
	char text[sizeof(((struct rd_error *)0)->text)];
};

static void on_ready(void *context, const struct rd_error *error)
{
	struct asked *asked = context;

	asked->answers++;
	asked->bad = error != NULL;
	snprintf(asked->text, sizeof(asked->text), "%s", error ? error->text : "");
}

static void wait_for(const struct asked *asked)
{
	while (!asked->answers)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_int_equal(asked->answers, 1);
}

static struct asked ask(void)
{
	struct asked asked = {0};

	rd_credentials_prepare(credentials, on_ready, &asked);
	wait_for(&asked);
	if (strstr(asked.text, "s3cret"))
		fail_msg("a secret in: %s", asked.text);
	return asked;
}

/* The token, or NULL: none. */
static void expect_token(const char *token)
{
	struct asked asked = ask();

	if (asked.bad)
		fail_msg("%s", asked.text);
	if (token)
		assert_string_equal(rd_credentials_token(credentials) ?: "none", token);
	else
		assert_null(rd_credentials_token(credentials));
}

static void expect_error(const char *text)
{
	struct asked asked = ask();

	assert_true(asked.bad);
	assert_string_equal(asked.text, text);
}

/* ---- what is given ----------------------------------------------------------------------------
 */

TEST(without_credentials_there_is_nothing_to_wait_for)
{
	begin();
	expect_token(NULL);
	assert_null(rd_credentials_cert_pem(credentials));
	assert_null(rd_credentials_key_pem(credentials));
	rd_credentials_refused(credentials);
	expect_token(NULL);
}

TEST(a_given_token_is_used_without_the_white_space_around_it)
{
	access_.token = (char *)" \ts3cret\r\n";
	begin();
	expect_token("s3cret");
	rd_credentials_refused(credentials);
	expect_token("s3cret");
}

TEST(a_given_token_that_cannot_stand_in_a_header_is_refused)
{
	static const char *const wrong[] = {"s3cret\nX: y", "s3cret x", "s3\001cret", "s3\x7f",
					    "s3\xc3\xa4"};

	for (size_t i = 0; i < RD_ARRAY_SIZE(wrong); i++) {
		struct rd_error error = {0};

		access_.token = (char *)wrong[i];
		assert_int_equal(rd_credentials_new(&access_, base, &credentials, &error), -EINVAL);
		assert_string_equal(error.text,
				    "the token has a character in it that no token has");
	}
	assert_null(credentials);
}

/* ---- a token file
 * --------------------------------------------------------------------------------- */

TEST(F15_a_token_file_is_trimmed)
{
	write_file(token_path, "\n first \r\n\n");
	begin_with_file();
	expect_token("first");
}

TEST(F15_a_token_file_is_read_again_after_less_than_a_minute)
{
	write_file(token_path, "first");
	begin_with_file();
	expect_token("first");
	write_file(token_path, "second");
	pass(49);
	expect_token("first");
	pass(1);
	expect_token("second");
	write_file(token_path, "third");
	pass(49);
	expect_token("second");
	pass(1);
	expect_token("third");
}

TEST(F15_a_token_file_is_read_again_after_a_refusal)
{
	write_file(token_path, "first");
	begin_with_file();
	expect_token("first");
	write_file(token_path, "second");
	expect_token("first");
	rd_credentials_refused(credentials);
	expect_token("second");
}

/* Run with stderr going to a file. */
static void logged(void (*run)(void))
{
	int before = dup(STDERR_FILENO);
	int log = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(before >= 0 && log >= 0);
	dup2(log, STDERR_FILENO);
	run();
	dup2(before, STDERR_FILENO);
	close(before);
	close(log);
}

static void lose_the_file(void)
{
	unlink(token_path);
	pass(60);
	expect_token("s3cret");
	pass(60);
	expect_token("s3cret");
}

TEST(F15_the_old_token_stays_while_the_file_cannot_be_read)
{
	char expected[256];

	write_file(token_path, "s3cret");
	begin_with_file();
	expect_token("s3cret");
	logged(lose_the_file);
	/* Once, although it was tried twice. */
	snprintf(expected, sizeof(expected),
		 "warn: no new token, the one before stays in use error=\"cannot open %s: No such "
		 "file or directory\"\n",
		 token_path);
	assert_string_equal(read_file(log_path), expected);
	write_file(token_path, "new");
	expect_token("new");
}

static void empty_the_file(void)
{
	write_file(token_path, " \n");
	pass(60);
	expect_token("s3cret");
	write_file(token_path, "s3cret\nX: y");
	expect_token("s3cret");
}

TEST(F15_the_old_token_stays_while_the_file_is_empty_or_no_token)
{
	char expected[512];

	write_file(token_path, "s3cret");
	begin_with_file();
	expect_token("s3cret");
	logged(empty_the_file);
	snprintf(expected, sizeof(expected),
		 "warn: no new token, the one before stays in use error=\"the token file %s is "
		 "empty\"\n"
		 "warn: no new token, the one before stays in use error=\"the token file %s has a "
		 "character in it that no token has\"\n",
		 token_path, token_path);
	assert_string_equal(read_file(log_path), expected);
	write_file(token_path, "new");
	expect_token("new");
}

TEST(a_refused_token_is_not_used_again_when_the_file_cannot_be_read)
{
	char expected[256];

	write_file(token_path, "first");
	begin_with_file();
	expect_token("first");
	unlink(token_path);
	rd_credentials_refused(credentials);
	snprintf(expected, sizeof(expected), "cannot open %s: No such file or directory",
		 token_path);
	expect_error(expected);
	assert_null(rd_credentials_token(credentials));
}

static void use_the_given_token(void)
{
	expect_token("given");
}

TEST(F18_a_token_file_wins_over_a_given_token_once_it_can_be_read)
{
	access_.token = (char *)"given";
	begin_with_file();
	logged(use_the_given_token);
	write_file(token_path, "read");
	expect_token("read");
	unlink(token_path);
	rd_credentials_refused(credentials);
	logged(use_the_given_token);
}

TEST(a_token_file_that_is_no_token_is_refused_without_quoting_it)
{
	char expected[256];

	begin_with_file();
	write_file(token_path, "s3cret\r\nX: y");
	snprintf(expected, sizeof(expected),
		 "the token file %s has a character in it that no token has", token_path);
	expect_error(expected);
	write_file(token_path, "");
	snprintf(expected, sizeof(expected), "the token file %s is empty", token_path);
	expect_error(expected);
	assert_null(rd_credentials_token(credentials));
}

TEST(a_token_file_has_a_limit_and_does_not_block)
{
	static char much[65538];
	char expected[256];

	begin_with_file();
	memset(much, 'x', sizeof(much) - 1);
	write_file(token_path, much);
	snprintf(expected, sizeof(expected), "%s has more than 65536 bytes", token_path);
	expect_error(expected);
	unlink(token_path);
	assert_int_equal(mkfifo(token_path, 0600), 0);
	snprintf(expected, sizeof(expected), "%s is not a regular file", token_path);
	expect_error(expected);
}

/* ---- a plugin
 * ------------------------------------------------------------------------------------- */

#define OUTPUT(status)                                                                             \
	"{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\","         \
	"\"status\":{" status "}}"
#define PRINT(status) "echo '" OUTPUT(status) "'"
#define TOKEN PRINT("\"token\":\"s3cret\"")

TEST(a_plugins_token_is_used_until_it_is_refused)
{
	begin_with_plugin(PRINT("\"token\":\"s3cret\",\"expirationTimestamp\":null"));
	expect_token("s3cret");
	pass(1000000);
	expect_token("s3cret");
	assert_int_equal(runs(), 1);
	rd_credentials_refused(credentials);
	expect_token("s3cret");
	assert_int_equal(runs(), 2);
	assert_null(rd_credentials_cert_pem(credentials));
}

TEST(a_plugins_certificate_is_used)
{
	begin_with_plugin(
		PRINT("\"clientCertificateData\":\"CERT\\\\n\",\"clientKeyData\":\"KEY\\\\n\""));
	expect_token(NULL);
	assert_string_equal(rd_credentials_cert_pem(credentials), "CERT\n");
	assert_string_equal(rd_credentials_key_pem(credentials), "KEY\n");
	rd_credentials_refused(credentials);
	assert_null(rd_credentials_cert_pem(credentials));
	assert_null(rd_credentials_key_pem(credentials));
}

TEST(a_plugin_runs_again_a_little_before_its_token_expires)
{
	begin_with_plugin(
		PRINT("\"token\":\"s3cret\",\"expirationTimestamp\":\"2026-01-02T03:05:05Z\""));
	expect_token("s3cret");
	pass(49);
	expect_token("s3cret");
	assert_int_equal(runs(), 1);
	pass(1);
	expect_token("s3cret");
	assert_int_equal(runs(), 2);
	/* What has already expired is used once. */
	pass(1000);
	expect_token("s3cret");
	expect_token("s3cret");
	assert_int_equal(runs(), 4);
}

TEST(the_expiry_is_an_rfc_3339_time)
{
	/* Each is 60 s from now. */
	static const char *const right[] = {
		"2026-01-02T03:05:05Z",	     "2026-01-02t03:05:05z",
		"2026-01-02T03:05:05.999Z",  "2026-01-02T05:05:05+02:00",
		"2026-01-01T19:35:05-07:30", "2026-01-02T03:05:05+00:00",
	};
	static const char *const wrong[] = {
		"tomorrow",
		"2026-01-02",
		"2026-01-02T03:05:05",
		"2026-01-02 03:05:05Z",
		"2026-01-02T03:05:05Zs3cret",
		"2026-01-02T03:05:05+2",
		"2026-01-02T03:05:05+02:0x",
		"2026-01-02T03:05:05+02.00",
		"2026-13-02T03:05:05Z",
		"2026-01-02T33:05:05Z",
	};

	begin_with_plugin("cat \"$TIME\"");
	for (size_t i = 0; i < RD_ARRAY_SIZE(right) + RD_ARRAY_SIZE(wrong); i++) {
		bool good = i < RD_ARRAY_SIZE(right);
		char output[512];
		size_t before;

		snprintf(output, sizeof(output),
			 OUTPUT("\"token\":\"t\",\"expirationTimestamp\":\"%s\""),
			 good ? right[i] : wrong[i - RD_ARRAY_SIZE(right)]);
		write_file(said_path, output);
		setenv("TIME", said_path, 1);
		rd_credentials_refused(credentials);
		realtime = NOW * SECOND;
		if (ask().bad == good)
			fail_msg("%s", output);
		if (!good)
			continue;
		before = runs();
		pass(49);
		expect_token("t");
		assert_int_equal(runs(), before);
		pass(1);
		expect_token("t");
		assert_int_equal(runs(), before + 1);
	}
	unsetenv("TIME");
}

TEST(those_that_ask_while_a_plugin_runs_share_its_run)
{
	struct asked asked[3] = {0};

	begin_with_plugin(TOKEN);
	for (size_t i = 0; i < RD_ARRAY_SIZE(asked); i++)
		rd_credentials_prepare(credentials, on_ready, &asked[i]);
	assert_int_equal(asked[0].answers, 0);
	for (size_t i = 0; i < RD_ARRAY_SIZE(asked); i++) {
		wait_for(&asked[i]);
		assert_false(asked[i].bad);
	}
	assert_int_equal(runs(), 1);
	assert_string_equal(rd_credentials_token(credentials), "s3cret");
}

TEST(a_refusal_while_a_plugin_runs_changes_nothing)
{
	struct asked asked = {0};

	begin_with_plugin(TOKEN);
	rd_credentials_prepare(credentials, on_ready, &asked);
	rd_credentials_refused(credentials);
	wait_for(&asked);
	expect_token("s3cret");
	assert_int_equal(runs(), 1);
}

TEST(who_cancels_is_not_called)
{
	struct asked asked[3] = {0};

	begin_with_plugin(TOKEN);
	for (size_t i = 0; i < RD_ARRAY_SIZE(asked); i++)
		rd_credentials_prepare(credentials, on_ready, &asked[i]);
	rd_credentials_cancel(credentials, &asked[0]);
	rd_credentials_cancel(credentials, &asked[1]);
	rd_credentials_cancel(credentials, &asked[1]);
	wait_for(&asked[2]);
	assert_int_equal(asked[0].answers, 0);
	assert_int_equal(asked[1].answers, 0);
	/* Nobody waits for the run, and what it gives is used all the same. */
	rd_credentials_refused(credentials);
	rd_credentials_prepare(credentials, on_ready, &asked[0]);
	rd_credentials_cancel(credentials, &asked[0]);
	expect_token("s3cret");
	assert_int_equal(asked[0].answers, 0);
	assert_int_equal(runs(), 2);
}

static struct asked again, never;

/* Asks once more, and takes another's wish back. */
static void on_ready_ask_again(void *context, const struct rd_error *error)
{
	on_ready(context, error);
	rd_credentials_cancel(credentials, &never);
	rd_credentials_prepare(credentials, on_ready, &again);
}

TEST(who_is_called_may_ask_again_and_cancel)
{
	struct asked asked = {0};

	again = never = (struct asked){0};
	begin_with_plugin("exit 1");
	rd_credentials_prepare(credentials, on_ready_ask_again, &asked);
	rd_credentials_prepare(credentials, on_ready, &never);
	wait_for(&asked);
	assert_true(asked.bad);
	assert_int_equal(again.answers, 0);
	wait_for(&again);
	assert_true(again.bad);
	assert_int_equal(never.answers, 0);
	assert_int_equal(runs(), 2);
}

/* ---- what a plugin is told
 * --------------------------------------------------------------------------- */

#define TELL "printf '%%s\\n' \"$1\" \"$A\" \"$HOME\" \"$KUBERNETES_EXEC_INFO\" >"

TEST(a_plugin_has_its_arguments_environment_and_no_stdin)
{
	char script[512];

	plugin_argv[1] = (char *)"one two";
	plugin_env[0] = (char *)"A=x=y";
	plugin_env[1] = (char *)"HOME=elsewhere";
	setenv("KUBERNETES_EXEC_INFO", "old", 1);
	snprintf(script, sizeof(script), "cat; " TELL "%s; %s", said_path, TOKEN);
	begin_with_plugin(script);
	expect_token("s3cret");
	unsetenv("KUBERNETES_EXEC_INFO");
	assert_string_equal(
		read_file(said_path),
		"one two\nx=y\nelsewhere\n"
		"{\"kind\":\"ExecCredential\",\"apiVersion\":"
		"\"client.authentication.k8s.io/v1\",\"spec\":{\"interactive\":false}}\n");
}

TEST(a_plugin_without_a_slash_in_its_name_is_in_the_path)
{
	_rd_free_ char *before = strdup(getenv("PATH") ?: "");
	char path[512];

	snprintf(path, sizeof(path), "%s:%s", directory, before);
	setenv("PATH", path, 1);
	plugin_argv[0] = (char *)"plugin";
	begin_with_plugin(TOKEN);
	expect_token("s3cret");
	setenv("PATH", before, 1);
}

static void expect_cluster(const char *cluster)
{
	char expected[1024], script[512];

	plugin.provide_cluster_info = true;
	snprintf(script, sizeof(script), "echo \"$KUBERNETES_EXEC_INFO\" >%s; %s", said_path,
		 TOKEN);
	begin_with_plugin(script);
	expect_token("s3cret");
	snprintf(expected, sizeof(expected),
		 "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\","
		 "\"spec\":{\"interactive\":false,\"cluster\":{%s}}}\n",
		 cluster);
	assert_string_equal(read_file(said_path), expected);
	rd_credentials_free(rd_take(credentials));
}

TEST(a_plugin_is_told_the_cluster_if_it_wants_to)
{
	expect_cluster("\"server\":\"https://h:6443\"");
	access_.ca_file = ca_path;
	write_file(ca_path, "foobar");
	expect_cluster("\"server\":\"https://h:6443\","
		       "\"certificate-authority-data\":\"Zm9vYmFy\"");
	access_.ca_pem = (char *)"foo";
	access_.tls_server_name = (char *)"api";
	access_.proxy_url = (char *)"http://p";
	access_.insecure = true;
	plugin.cluster_config = (char *)"{\"audience\":\"a\"}";
	expect_cluster("\"server\":\"https://h:6443\",\"tls-server-name\":\"api\","
		       "\"certificate-authority-data\":\"Zm9v\",\"proxy-url\":\"http://p\","
		       "\"insecure-skip-tls-verify\":true,\"config\":{\"audience\":\"a\"}");
}

TEST(a_ca_that_cannot_be_told_is_an_error)
{
	char expected[256];

	plugin.provide_cluster_info = true;
	access_.ca_file = ca_path;
	begin_with_plugin(TOKEN);
	snprintf(expected, sizeof(expected), "cannot open %s: No such file or directory", ca_path);
	expect_error(expected);
	assert_int_equal(runs(), 0);
}

/* ---- what can go wrong with a plugin
 * -------------------------------------------------------------------- */

/* The error, which begins with the plugin's name. */
static void expect_plugin_error(const char *what)
{
	char expected[512];

	snprintf(expected, sizeof(expected), "exec plugin \"%s\"%s", plugin_path, what);
	expect_error(expected);
	assert_null(rd_credentials_token(credentials));
}

TEST(a_plugin_that_is_not_there_is_an_error_with_its_hint)
{
	begin_with_plugin("");
	unlink(plugin_path);
	expect_plugin_error(" not found");
	plugin.install_hint = (char *)"install it\nfrom there";
	expect_plugin_error(" not found: install it from there");
}

TEST(a_plugin_that_cannot_be_run_is_an_error)
{
	begin_with_plugin("");
	chmod(plugin_path, 0600);
	expect_plugin_error(" cannot be started: Permission denied");
}

TEST(a_plugin_that_fails_is_an_error_with_the_last_line_of_its_stderr)
{
	static const char *const rows[][2] = {
		{"exit 3", " failed with exit status 3"},
		{"echo s3cret; exit 1", " failed with exit status 1"},
		{"echo first >&2; echo '  last ' >&2; echo ' ' >&2; echo >&2; exit 1",
		 " failed with exit status 1: last "},
		{"printf 'a\\r\\nb\\033[1m' >&2; exit 1", " failed with exit status 1: b?[1m"},
		{"kill -9 $$", " was ended by signal 9"},
		{"echo oops >&2; kill -15 $$", " was ended by signal 15: oops"},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		begin_with_plugin(rows[i][0]);
		expect_plugin_error(rows[i][1]);
		rd_credentials_free(rd_take(credentials));
	}
}

TEST(a_line_too_long_for_an_error_is_cut)
{
	struct asked asked;

	begin_with_plugin("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1");
	asked = ask();
	assert_true(asked.bad);
	assert_int_equal(strspn(strstr(asked.text, ": x") + 2, "x"), 200);
}

TEST(much_on_stderr_does_not_stop_a_plugin)
{
	begin_with_plugin("head -c 1000000 /dev/zero >&2; " TOKEN);
	expect_token("s3cret");
}

TEST(what_a_plugin_prints_is_checked_and_not_quoted)
{
#define NOT_ONE ": its output is no ExecCredential"
#define ANOTHER ": its output has another apiVersion than is configured"
#define BAD_TOKEN                                                                                  \
	": its output has a token that is empty or has a character in it that no token has"
#define ONLY_ONE ": its output has only one of clientCertificateData and clientKeyData"
#define NOT_TEXT ": its output has a status field that is not a string"
	static const char *const rows[][2] = {
		{"", ": its output is not JSON"},
		{"s3cret", ": its output is not JSON"},
		{OUTPUT("\"token\":\"s3cret\"") " s3cret", ": its output is not JSON"},
		{"{\"kind\":\"ExecCredential\",\"status\":{\"token\":\"s3cret\"",
		 ": its output is not JSON"},
		{"[]", NOT_ONE},
		{"\"s3cret\"", NOT_ONE},
		{"{\"kind\":\"s3cret\"}", NOT_ONE},
		{"{\"Kind\":\"ExecCredential\"}", NOT_ONE},
		{"{\"kind\":\"ExecCredential\"}", ANOTHER},
		{"{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/"
		 "v1beta1\",\"status\":{\"token\":\"s3cret\"}}",
		 ANOTHER},
		{"{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\"}",
		 ": its output has no status"},
		{OUTPUT(""), ": its output has neither a token nor a certificate"},
		{OUTPUT("\"token\":\"\""), ": its output has neither a token nor a certificate"},
		{OUTPUT("\"token\":\" \""), BAD_TOKEN},
		{OUTPUT("\"token\":\"s3cret\\r\\nX: y\""), BAD_TOKEN},
		{OUTPUT("\"token\":\"s3cret x\""), BAD_TOKEN},
		{OUTPUT("\"token\":7"), NOT_TEXT},
		{OUTPUT("\"token\":\"s3cret\",\"clientKeyData\":[]"), NOT_TEXT},
		{OUTPUT("\"token\":\"s3cret\",\"clientKeyData\":\"s3cret\""), ONLY_ONE},
		{OUTPUT("\"clientCertificateData\":\"s3cret\""), ONLY_ONE},
		{OUTPUT("\"token\":\"s3cret\",\"expirationTimestamp\":\"s3cret\""),
		 ": its output has an expirationTimestamp that is no RFC 3339 time"},
	};
	char script[256];

	snprintf(script, sizeof(script), "cat %s", said_path);
	begin_with_plugin(script);
	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		write_file(said_path, rows[i][0]);
		expect_plugin_error(rows[i][1]);
	}
}

TEST(a_zero_byte_in_what_a_plugin_prints_is_not_json)
{
	begin_with_plugin(TOKEN "; printf '\\0'");
	expect_plugin_error(": its output is not JSON");
}

TEST(v1beta1_is_understood)
{
	plugin.api_version = (char *)"client.authentication.k8s.io/v1beta1";
	begin_with_plugin("echo '{\"kind\":\"ExecCredential\",\"apiVersion\":"
			  "\"client.authentication.k8s.io/v1beta1\",\"status\":"
			  "{\"token\":\"s3cret\"}}'");
	expect_token("s3cret");
}

TEST(what_a_plugin_prints_has_a_limit)
{
	begin_with_plugin(TOKEN "; head -c 1000000 /dev/zero | tr '\\0' ' '");
	expect_token("s3cret");
	rd_credentials_free(rd_take(credentials));
	begin_with_plugin("cat /dev/zero");
	expect_plugin_error(" printed more than 1 MiB");
	rd_credentials_free(rd_take(credentials));
	/* One byte more than the limit, and an end. */
	begin_with_plugin("head -c 1048577 /dev/zero");
	expect_plugin_error(" printed more than 1 MiB");
}

/* The process that the script wrote the number of. */
static pid_t written_pid(void)
{
	return (pid_t)strtol(read_file(said_path), NULL, 10);
}

/* A killed process that is not our child disappears when its new parent reaps it. */
static bool is_dead(pid_t pid)
{
	char path[64];
	const char *state;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	state = strrchr(read_file(path), ')');
	return pid > 0 && (!state || state[2] == 'Z' || state[2] == 'X');
}

static void expect_death(pid_t pid)
{
	/* It is being killed, at worst. */
	for (int i = 0; i < 1000 && !is_dead(pid); i++)
		usleep(1000);
	assert_true(is_dead(pid));
}

#define HANG "sleep 1000 & echo $! >%s.new; mv %s.new %s; echo hm >&2; wait"

static void begin_with_hanging_plugin(void)
{
	char script[512];

	snprintf(script, sizeof(script), HANG, said_path, said_path, said_path);
	begin_with_plugin(script);
}

TEST(a_plugin_that_does_not_end_is_killed_with_its_children)
{
	impatient = true;
	begin_with_hanging_plugin();
	expect_plugin_error(" did not end within 30 s: hm");
	expect_death(written_pid());
}

static void no_answer(void *context, const struct rd_error *error)
{
	(void)context;
	(void)error;
	fail();
}

TEST(a_plugin_that_runs_is_killed_when_the_credentials_are_freed)
{
	begin_with_hanging_plugin();
	rd_credentials_prepare(credentials, no_answer, NULL);
	while (!written_pid())
		usleep(1000);
	rd_credentials_free(rd_take(credentials));
	expect_death(written_pid());
	/* There is nothing left to wait for. */
	assert_int_equal(event_base_loop(base, EVLOOP_NONBLOCK), 1);
}

TEST(a_child_that_keeps_stdout_open_is_not_waited_for)
{
	char script[512];

	snprintf(script, sizeof(script), "sleep 1000 & echo $! >%s; %s", said_path, TOKEN);
	begin_with_plugin(script);
	expect_token("s3cret");
	assert_int_equal(kill(written_pid(), SIGKILL), 0);
}

TEST(a_plugin_may_close_its_output_before_it_ends)
{
	begin_with_plugin(TOKEN "; exec >&- 2>&-; sleep 0.05");
	expect_token("s3cret");
}

TEST(a_plugin_has_the_default_signals_and_a_group_of_its_own)
{
	signal(SIGPIPE, SIG_IGN);
	begin_with_plugin("sh -c 'kill -PIPE $$'; test $? = 141 || exit 1\n"
			  "set -- $(cat /proc/$$/stat); test $5 = $$ || exit 2\n" TOKEN);
	expect_token("s3cret");
	signal(SIGPIPE, SIG_DFL);
}

TEST(a_plugin_is_waited_for_although_the_agent_was_started_to_ignore_children)
{
	signal(SIGCHLD, SIG_IGN);
	begin_with_plugin("exit 3");
	expect_plugin_error(" failed with exit status 3");
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

TEST(a_run_leaves_no_descriptor_open)
{
	unsigned before = open_descriptors();

	begin_with_plugin(TOKEN);
	expect_token("s3cret");
	assert_int_equal(open_descriptors(), before);
	unlink(plugin_path);
	rd_credentials_refused(credentials);
	expect_plugin_error(" not found");
	assert_int_equal(open_descriptors(), before);
}

/* ---- out of memory
 * ---------------------------------------------------------------------------------------- */

TEST(out_of_memory_with_a_token_file_is_told)
{
	write_file(token_path, "first");
	access_.token_file = token_path;
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		struct rd_error error = {0};
		struct asked asked = {0};
		int r = rd_credentials_new(&access_, base, &credentials, &error);

		if (!r)
			rd_credentials_prepare(credentials, on_ready, &asked);
		if (!alloc_fail_end()) {
			assert_int_equal(asked.answers, 1);
			assert_false(asked.bad);
			assert_true(n > 2);
			break;
		}
		assert_true(r == -ENOMEM || asked.bad);
		assert_string_equal(r ? error.text : asked.text, "out of memory");
		rd_credentials_free(rd_take(credentials));
	}
}

TEST(out_of_memory_with_a_plugin_is_told)
{
	cJSON_Hooks hooks = {.malloc_fn = malloc, .free_fn = free};

	plugin.provide_cluster_info = true;
	plugin.cluster_config = (char *)"{}";
	access_.ca_pem = (char *)"foo";
	begin_with_plugin(PRINT("\"token\":\"t\",\"clientCertificateData\":\"C\","
				"\"clientKeyData\":\"K\""));
	rd_credentials_free(rd_take(credentials));
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		struct rd_error error = {0};
		struct asked asked = {0};
		int r;

		cJSON_InitHooks(&hooks);
		r = rd_credentials_new(&access_, base, &credentials, &error);
		if (!r) {
			rd_credentials_prepare(credentials, on_ready, &asked);
			wait_for(&asked);
		}
		if (!alloc_fail_end()) {
			assert_false(asked.bad);
			assert_true(n > 30);
			break;
		}
		assert_true(r == -ENOMEM || asked.bad);
		assert_string_equal(r ? error.text : asked.text, "out of memory");
		rd_credentials_free(rd_take(credentials));
	}
	cJSON_InitHooks(NULL);
}

#define CREDENTIALS_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CREDENTIALS_TEST(without_credentials_there_is_nothing_to_wait_for),
		CREDENTIALS_TEST(a_given_token_is_used_without_the_white_space_around_it),
		CREDENTIALS_TEST(a_given_token_that_cannot_stand_in_a_header_is_refused),
		CREDENTIALS_TEST(F15_a_token_file_is_trimmed),
		CREDENTIALS_TEST(F15_a_token_file_is_read_again_after_less_than_a_minute),
		CREDENTIALS_TEST(F15_a_token_file_is_read_again_after_a_refusal),
		CREDENTIALS_TEST(F15_the_old_token_stays_while_the_file_cannot_be_read),
		CREDENTIALS_TEST(F15_the_old_token_stays_while_the_file_is_empty_or_no_token),
		CREDENTIALS_TEST(a_refused_token_is_not_used_again_when_the_file_cannot_be_read),
		CREDENTIALS_TEST(F18_a_token_file_wins_over_a_given_token_once_it_can_be_read),
		CREDENTIALS_TEST(a_token_file_that_is_no_token_is_refused_without_quoting_it),
		CREDENTIALS_TEST(a_token_file_has_a_limit_and_does_not_block),
		CREDENTIALS_TEST(a_plugins_token_is_used_until_it_is_refused),
		CREDENTIALS_TEST(a_plugins_certificate_is_used),
		CREDENTIALS_TEST(a_plugin_runs_again_a_little_before_its_token_expires),
		CREDENTIALS_TEST(the_expiry_is_an_rfc_3339_time),
		CREDENTIALS_TEST(those_that_ask_while_a_plugin_runs_share_its_run),
		CREDENTIALS_TEST(a_refusal_while_a_plugin_runs_changes_nothing),
		CREDENTIALS_TEST(who_cancels_is_not_called),
		CREDENTIALS_TEST(who_is_called_may_ask_again_and_cancel),
		CREDENTIALS_TEST(a_plugin_has_its_arguments_environment_and_no_stdin),
		CREDENTIALS_TEST(a_plugin_without_a_slash_in_its_name_is_in_the_path),
		CREDENTIALS_TEST(a_plugin_is_told_the_cluster_if_it_wants_to),
		CREDENTIALS_TEST(a_ca_that_cannot_be_told_is_an_error),
		CREDENTIALS_TEST(a_plugin_that_is_not_there_is_an_error_with_its_hint),
		CREDENTIALS_TEST(a_plugin_that_cannot_be_run_is_an_error),
		CREDENTIALS_TEST(a_plugin_that_fails_is_an_error_with_the_last_line_of_its_stderr),
		CREDENTIALS_TEST(a_line_too_long_for_an_error_is_cut),
		CREDENTIALS_TEST(much_on_stderr_does_not_stop_a_plugin),
		CREDENTIALS_TEST(what_a_plugin_prints_is_checked_and_not_quoted),
		CREDENTIALS_TEST(a_zero_byte_in_what_a_plugin_prints_is_not_json),
		CREDENTIALS_TEST(v1beta1_is_understood),
		CREDENTIALS_TEST(what_a_plugin_prints_has_a_limit),
		CREDENTIALS_TEST(a_plugin_that_does_not_end_is_killed_with_its_children),
		CREDENTIALS_TEST(a_plugin_that_runs_is_killed_when_the_credentials_are_freed),
		CREDENTIALS_TEST(a_child_that_keeps_stdout_open_is_not_waited_for),
		CREDENTIALS_TEST(a_plugin_may_close_its_output_before_it_ends),
		CREDENTIALS_TEST(a_plugin_has_the_default_signals_and_a_group_of_its_own),
		CREDENTIALS_TEST(
			a_plugin_is_waited_for_although_the_agent_was_started_to_ignore_children),
		CREDENTIALS_TEST(a_run_leaves_no_descriptor_open),
		CREDENTIALS_TEST(out_of_memory_with_a_token_file_is_told),
		CREDENTIALS_TEST(out_of_memory_with_a_plugin_is_told),
	};

	return cmocka_run_group_tests_name("credentials", tests, make_directory, remove_directory);
}
