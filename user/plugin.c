// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "plugin.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base64.h"
#include "secret.h"

/* How long a plugin may take, and how long it may then take to die. */
#define RUN_SECONDS 30
#define DEATH_SECONDS 1
/* How long freeing waits for one that was killed. */
#define REAP_MS 100

/* The most that is read from its stdout. */
#define MAX_OUTPUT_BYTES (1UL << 20)
/* The largest CA file that is passed on. */
#define MAX_CA_BYTES (1UL << 20)
/* Reads of stderr in one go: what a pipe can hold. */
#define STDERR_READS 16

#define INFO "KUBERNETES_EXEC_INFO="

struct rd_plugin {
	const char *name;
	pid_t pid; /* 0: does not run (any more) */
	int pidfd;
	int out;
	int err;
	struct event *exited;
	struct event *out_readable;
	struct event *err_readable;
	struct event *timer;
	char *output; /* room for one byte more than the limit, and a NUL */
	size_t used;
	char said[200]; /* the last line of stderr that is not blank */
	size_t n_said;
	bool line_ended;
	const char *killed; /* why; NULL: it was not */
	void (*done)(void *context, const char *output, size_t length,
		     const struct rd_error *error);
	void *context;
};

/* ---- what it is told ----------------------------------------------------------------- */

/* The CA's certificates in base64; NULL if there are none. */
static int encode_ca(const struct rd_kube_access *access, char **ret_text, struct rd_error *error)
{
	_rd_secret_ char *read = NULL;
	const char *pem = access->ca_pem;
	size_t length;
	int r;

	if (!pem && !access->ca_file)
		return 0;
	if (!pem) {
		r = rd_secret_read(access->ca_file, MAX_CA_BYTES, &read, &length, error);
		if (r)
			return r;
		pem = read;
	}
	*ret_text = rd_base64_encode(pem, strlen(pem));
	return *ret_text ? 0 : rd_error_set(error, -ENOMEM, "out of memory");
}

/* Add the strings that there are. Returns false when out of memory. */
static bool add_cluster(cJSON *spec, const struct rd_kube_access *access, const char *ca)
{
	const struct {
		const char *key;
		const char *value;
	} fields[] = {
		{"server", access->server},
		{"tls-server-name", access->tls_server_name},
		{"certificate-authority-data", ca},
		{"proxy-url", access->proxy_url},
	};
	const char *config = access->exec->cluster_config;
	cJSON *cluster = cJSON_AddObjectToObject(spec, "cluster");
	bool good = cluster != NULL;

	for (size_t i = 0; i < RD_ARRAY_SIZE(fields); i++)
		if (fields[i].value)
			good &= cJSON_AddStringToObject(cluster, fields[i].key, fields[i].value) !=
				NULL;
	if (access->insecure)
		good &= cJSON_AddTrueToObject(cluster, "insecure-skip-tls-verify") != NULL;
	if (config)
		good &= cJSON_AddRawToObject(cluster, "config", config) != NULL;
	return good;
}

/* Returns the JSON of an ExecCredential for the plugin, to be freed, or NULL. */
static char *describe(const struct rd_kube_access *access, const char *ca)
{
	const struct rd_kube_exec *exec = access->exec;
	cJSON *root = cJSON_CreateObject();
	bool good = cJSON_AddStringToObject(root, "kind", "ExecCredential") &&
		    cJSON_AddStringToObject(root, "apiVersion", exec->api_version);
	cJSON *spec = cJSON_AddObjectToObject(root, "spec");
	char *text = NULL;

	good = good && cJSON_AddFalseToObject(spec, "interactive");
	if (good && exec->provide_cluster_info)
		good = add_cluster(spec, access, ca);
	if (good)
		text = cJSON_PrintUnformatted(root);
	cJSON_Delete(root);
	return text;
}

/* Returns the variable that tells the plugin what it is for, to be freed. */
static int make_info(const struct rd_kube_access *access, char **ret_info, struct rd_error *error)
{
	_rd_free_ char *ca = NULL;
	_rd_secret_ char *json = NULL;
	size_t room;
	int r = 0;

	if (access->exec->provide_cluster_info)
		r = encode_ca(access, &ca, error);
	if (r)
		return r;
	json = describe(access, ca);
	room = sizeof(INFO) + (json ? strlen(json) : 0);
	*ret_info = json ? malloc(room) : NULL;
	if (!*ret_info)
		return rd_error_set(error, -ENOMEM, "out of memory");
	snprintf(*ret_info, room, "%s%s", INFO, json);
	return 0;
}

static bool same_variable(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return !strncmp(a, b, n) && b[n] == '=';
}

static bool is_replaced(const char *variable, char *const *additions, const char *info)
{
	for (; *additions; additions++)
		if (same_variable(variable, *additions))
			return true;
	return same_variable(variable, info);
}

/* The agent's environment with the additions. The strings are borrowed.
 * Returns an array to be freed, or NULL. */
static char **make_environment(char *const *additions, char *info)
{
	size_t n = 2, at = 0;
	char **environment;

	for (char **variable = environ; *variable; variable++)
		n++;
	for (char *const *addition = additions; *addition; addition++)
		n++;
	environment = calloc(n, sizeof(*environment));
	if (!environment)
		return NULL;
	for (char **variable = environ; *variable; variable++)
		if (!is_replaced(*variable, additions, info))
			environment[at++] = *variable;
	for (; *additions; additions++)
		if (!same_variable(*additions, info))
			environment[at++] = *additions;
	environment[at] = info;
	return environment;
}

/* ---- its end -------------------------------------------------------------------------- */

static void free_event(struct event **event)
{
	if (*event)
		event_free(*event);
	*event = NULL;
}

static void stop_watching(struct rd_plugin *plugin)
{
	free_event(&plugin->exited);
	free_event(&plugin->out_readable);
	free_event(&plugin->err_readable);
	free_event(&plugin->timer);
}

/* `error` is NULL if the output can be used. The plugin may be gone afterwards. */
static void finish(struct rd_plugin *plugin, const struct rd_error *error)
{
	stop_watching(plugin);
	plugin->output[plugin->used] = '\0';
	plugin->done(plugin->context, error ? NULL : plugin->output, error ? 0 : plugin->used,
		     error);
}

__attribute__((format(printf, 3, 4))) static void
explain(const struct rd_plugin *plugin, struct rd_error *error, const char *format, ...)
{
	char what[128];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	rd_error_set(error, -EIO, "exec plugin \"%.128s\" %s%s%.*s", plugin->name, what,
		     plugin->n_said ? ": " : "", (int)plugin->n_said, plugin->said);
}

/* Kill it and say why later, when it is dead. */
static void end_early(struct rd_plugin *plugin, const char *why)
{
	static const struct timeval patience = {.tv_sec = DEATH_SECONDS};

	if (plugin->killed)
		return;
	plugin->killed = why;
	kill(-plugin->pid, SIGKILL);
	event_add(plugin->timer, &patience);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct rd_plugin *plugin = context;
	struct rd_error error = {0};

	(void)fd;
	(void)what;
	if (!plugin->killed) {
		end_early(plugin, "did not end within 30 s");
		return;
	}
	/* It cannot even be killed: nobody waits for it any longer. */
	explain(plugin, &error, "%s", plugin->killed);
	finish(plugin, &error);
}

/* ---- what it says --------------------------------------------------------------------- */

/* Keep the beginning of the last line that is not blank. */
static void note_said(struct rd_plugin *plugin, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		plugin->line_ended |= c == '\n' || c == '\r';
		if (isspace(c) && (plugin->line_ended || !plugin->n_said))
			continue;
		if (plugin->line_ended)
			plugin->n_said = 0;
		plugin->line_ended = false;
		if (plugin->n_said < sizeof(plugin->said))
			plugin->said[plugin->n_said++] = c < ' ' || c == 0x7f ? '?' : (char)c;
	}
}

/* Returns false if there is nothing (more) to be had for the moment. */
static bool is_readable(ssize_t n, struct event *event)
{
	if (n < 0 && errno == EINTR)
		return true;
	/* Its end, or that of reading it: else it would be readable for ever. */
	if (!n || (n < 0 && errno != EAGAIN))
		event_del(event);
	return n > 0;
}

static void on_stderr(evutil_socket_t fd, short what, void *context)
{
	struct rd_plugin *plugin = context;
	char buffer[4096];

	(void)what;
	for (int i = 0; i < STDERR_READS; i++) {
		ssize_t n = read(fd, buffer, sizeof(buffer));

		if (!is_readable(n, plugin->err_readable))
			return;
		if (n > 0)
			note_said(plugin, buffer, (size_t)n);
	}
}

static void on_stdout(evutil_socket_t fd, short what, void *context)
{
	struct rd_plugin *plugin = context;

	(void)what;
	while (plugin->used <= MAX_OUTPUT_BYTES) {
		ssize_t n = read(fd, plugin->output + plugin->used,
				 MAX_OUTPUT_BYTES + 1 - plugin->used);

		if (!is_readable(n, plugin->out_readable))
			return;
		if (n > 0)
			plugin->used += (size_t)n;
	}
	event_del(plugin->out_readable);
	end_early(plugin, "printed more than 1 MiB");
}

static void on_exited(evutil_socket_t fd, short what, void *context)
{
	struct rd_plugin *plugin = context;
	struct rd_error error = {0};
	int status = 0;

	(void)fd;
	/* What it has written is in the pipes; what children of it may still write
	 * is not waited for. */
	on_stdout(plugin->out, what, plugin);
	on_stderr(plugin->err, what, plugin);
	(void)waitpid(plugin->pid, &status, WNOHANG);
	plugin->pid = 0;
	if (plugin->killed)
		explain(plugin, &error, "%s", plugin->killed);
	else if (WIFSIGNALED(status))
		explain(plugin, &error, "was ended by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		explain(plugin, &error, "failed with exit status %d", WEXITSTATUS(status));
	else {
		finish(plugin, NULL);
		return;
	}
	finish(plugin, &error);
}

/* ---- its beginning ---------------------------------------------------------------------- */

/* A pipe whose reading end does not block. */
static int open_pipe(int *ret_read, int *ret_write)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	*ret_read = ends[0];
	*ret_write = ends[1];
	return fcntl(ends[0], F_SETFL, O_NONBLOCK) ? -errno : 0;
}

static int set_actions(posix_spawn_file_actions_t *actions, int out, int err)
{
	return posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
		       ?: posix_spawn_file_actions_adddup2(actions, out, STDOUT_FILENO)
		       ?: posix_spawn_file_actions_adddup2(actions, err, STDERR_FILENO);
}

/* A process group of its own, and none of the agent's dealings with signals. */
static void set_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none, defaults;

	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	sigaddset(&defaults, SIGIO);
	sigaddset(&defaults, SIGCHLD);
	posix_spawnattr_setsigmask(attributes, &none);
	posix_spawnattr_setsigdefault(attributes, &defaults);
	posix_spawnattr_setpgroup(attributes, 0);
	posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
						     POSIX_SPAWN_SETSIGMASK);
}

/* Returns 0 or -errno. */
static int spawn(struct rd_plugin *plugin, char *const *argv, char *const *environment, int out,
		 int err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	pid_t pid;
	int r = posix_spawn_file_actions_init(&actions);

	if (r)
		return -r;
	posix_spawnattr_init(&attributes);
	set_attributes(&attributes);
	r = set_actions(&actions, out, err);
	r = r ?: posix_spawnp(&pid, argv[0], &actions, &attributes, argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	if (r)
		return -r;
	plugin->pid = pid;
	plugin->pidfd = pidfd_open(pid, 0);
	return plugin->pidfd < 0 ? -errno : 0;
}

/* Why it could not be started; for one that is missing, how to come by it. */
static int refuse(const struct rd_kube_exec *exec, int code, struct rd_error *error)
{
	char hint[256];

	if (code == -ENOMEM)
		return rd_error_set(error, code, "out of memory");
	if (code != -ENOENT)
		return rd_error_set(error, code, "exec plugin \"%.128s\" cannot be started: %s",
				    exec->argv[0], strerror(-code));
	snprintf(hint, sizeof(hint), "%s", exec->install_hint ?: "");
	for (char *c = hint; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	return rd_error_set(error, code, "exec plugin \"%.128s\" not found%s%s", exec->argv[0],
			    *hint ? ": " : "", hint);
}

/* Whoever started the agent may have left it a kernel that reaps its children,
 * after which there is no exit status. */
static void stop_ignoring_children(void)
{
	struct sigaction now;

	if (!sigaction(SIGCHLD, NULL, &now) && now.sa_handler == SIG_IGN)
		signal(SIGCHLD, SIG_DFL);
}

/* Returns 0 or -errno. */
static int launch(struct rd_plugin *plugin, const struct rd_kube_exec *exec, char *info)
{
	_rd_free_ char **environment = make_environment(exec->env, info);
	_rd_close_ int out = -1;
	_rd_close_ int err = -1;
	int r;

	plugin->output = malloc(MAX_OUTPUT_BYTES + 2);
	if (!environment || !plugin->output)
		return -ENOMEM;
	stop_ignoring_children();
	r = open_pipe(&plugin->out, &out);
	r = r ?: open_pipe(&plugin->err, &err);
	return r ?: spawn(plugin, exec->argv, environment, out, err);
}

static int watch(struct rd_plugin *plugin, struct event_base *base)
{
	static const struct timeval patience = {.tv_sec = RUN_SECONDS};
	short persistent = EV_READ | EV_PERSIST;

	plugin->exited = event_new(base, plugin->pidfd, EV_READ, on_exited, plugin);
	plugin->out_readable = event_new(base, plugin->out, persistent, on_stdout, plugin);
	plugin->err_readable = event_new(base, plugin->err, persistent, on_stderr, plugin);
	plugin->timer = evtimer_new(base, on_timer, plugin);
	if (!plugin->exited || !plugin->out_readable || !plugin->err_readable || !plugin->timer ||
	    event_add(plugin->exited, NULL) || event_add(plugin->out_readable, NULL) ||
	    event_add(plugin->err_readable, NULL) || event_add(plugin->timer, &patience))
		return -ENOMEM;
	return 0;
}

int rd_plugin_start(const struct rd_kube_access *access, struct event_base *base,
		    void (*done)(void *context, const char *output, size_t length,
				 const struct rd_error *error),
		    void *context, struct rd_plugin **ret_plugin, struct rd_error *error)
{
	_rd_secret_ char *info = NULL;
	struct rd_plugin *plugin;
	int r = make_info(access, &info, error);

	if (r)
		return r;
	plugin = calloc(1, sizeof(*plugin));
	if (!plugin)
		return rd_error_set(error, -ENOMEM, "out of memory");
	plugin->name = access->exec->argv[0];
	plugin->pidfd = plugin->out = plugin->err = -1;
	plugin->done = done;
	plugin->context = context;
	r = launch(plugin, access->exec, info);
	r = r ?: watch(plugin, base);
	if (r) {
		rd_plugin_free(plugin);
		return refuse(access->exec, r, error);
	}
	*ret_plugin = plugin;
	return 0;
}

void rd_plugin_free(struct rd_plugin *plugin)
{
	if (!plugin)
		return;
	stop_watching(plugin);
	if (plugin->pid) {
		struct pollfd end = {.fd = plugin->pidfd, .events = POLLIN};

		kill(-plugin->pid, SIGKILL);
		(void)poll(&end, 1, REAP_MS);
		(void)waitpid(plugin->pid, NULL, WNOHANG);
	}
	rd_close_cleanup(&plugin->pidfd);
	rd_close_cleanup(&plugin->out);
	rd_close_cleanup(&plugin->err);
	rd_secret_free(plugin->output);
	free(plugin);
}
