// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "resolvconf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

/* Of a file; the rest of a longer one is not read. */
#define MAX_FILE_BYTES (64UL << 10)
#define BLANKS " \t"
#define DNS_PORT 53

/* A piece of a line: not NUL-terminated. */
struct word {
	const char *at;
	size_t n;
};

/* ---- words ------------------------------------------------------------------------------- */

static size_t span(const struct word *text, const char *set, bool of_set)
{
	size_t n = 0;

	while (n < text->n && (text->at[n] && strchr(set, text->at[n]) != NULL) == of_set)
		n++;
	return n;
}

static void skip(struct word *text, size_t n)
{
	text->at += n;
	text->n -= n;
}

/* The next word, which ends at one of `ends`. Returns false when there is none. */
static bool next_word(struct word *rest, const char *ends, struct word *ret_word)
{
	skip(rest, span(rest, BLANKS, true));
	*ret_word = (struct word){.at = rest->at, .n = span(rest, ends, false)};
	skip(rest, ret_word->n);
	return ret_word->n > 0;
}

/* Copy to `text`, of `size` bytes. Returns false if it does not fit. */
static bool copy(const struct word *word, char *text, size_t size)
{
	if (word->n >= size || memchr(word->at, '\0', word->n))
		return false;
	memcpy(text, word->at, word->n);
	text[word->n] = '\0';
	return true;
}

/* Whether the line is about this; if so only the values are left of it. A
 * keyword has nothing before it and a blank behind it. */
static bool is_about(struct word *line, const char *keyword)
{
	size_t n = strlen(keyword);

	if (line->n <= n || memcmp(line->at, keyword, n) || !strchr(BLANKS, line->at[n]) ||
	    !line->at[n])
		return false;
	skip(line, n);
	return true;
}

/* ---- what lines say ------------------------------------------------------------------------ */

/* As inet_aton reads it: "127.1" and octal numbers are addresses. */
static int parse_server_ip(const char *text, struct rd_ip *ret_ip)
{
	struct rd_ip ip = {.family = RD_FAMILY_4};
	struct in_addr ip4;

	if (!inet_aton(text, &ip4))
		return strchr(text, ':') ? rd_ip_parse(text, ret_ip) : -EINVAL;
	memcpy(ip.bytes, &ip4, sizeof(ip4));
	*ret_ip = ip;
	return 0;
}

static void parse_server(struct word line, struct rd_resolvconf *conf)
{
	char text[RD_IP_TEXT + IF_NAMESIZE];
	struct word word;
	struct rd_ip ip;
	char *scope;

	if (conf->n_servers == RD_RESOLVCONF_SERVERS || !next_word(&line, ";# \t", &word) ||
	    !copy(&word, text, sizeof(text)))
		return;
	scope = strchr(text, '%');
	if (scope)
		*scope++ = '\0';
	if (parse_server_ip(text, &ip) || (scope && strlen(scope) >= IF_NAMESIZE) ||
	    (scope && ip.family != RD_FAMILY_6))
		return;
	conf->servers[conf->n_servers].ip = ip;
	snprintf(conf->servers[conf->n_servers].scope, IF_NAMESIZE, "%s", scope ?: "");
	conf->n_servers++;
}

/* @most: names; "domain" takes one */
static void parse_searches(struct word line, size_t most, struct rd_resolvconf *conf)
{
	struct word word;

	conf->n_searches = 0;
	while (conf->n_searches < most && next_word(&line, BLANKS, &word)) {
		char *name = conf->searches[conf->n_searches];

		/* The root's own name searches nothing. */
		if (word.n > 1 && word.at[word.n - 1] == '.')
			word.n--;
		if (copy(&word, name, RD_RESOLVCONF_NAME) && strcmp(name, "."))
			conf->n_searches++;
	}
}

/* The number behind "name:". What is none is 0, as for glibc, and too large a
 * one the largest. */
static bool parse_number(const struct word *word, const char *name, unsigned least, unsigned most,
			 unsigned *value)
{
	size_t n = strlen(name);
	unsigned number = 0;

	if (word->n < n || memcmp(word->at, name, n))
		return false;
	for (; n < word->n && word->at[n] >= '0' && word->at[n] <= '9'; n++) {
		number = number * 10 + (unsigned)(word->at[n] - '0');
		if (number > most)
			number = most;
	}
	*value = number < least ? least : number;
	return true;
}

static void parse_options(struct word line, struct rd_resolvconf *conf)
{
	struct word word;

	while (next_word(&line, BLANKS, &word))
		if (!parse_number(&word, "ndots:", 0, 15, &conf->ndots) &&
		    !parse_number(&word, "timeout:", 1, 30, &conf->timeout_seconds))
			(void)parse_number(&word, "attempts:", 1, 5, &conf->attempts);
}

static void parse_line(struct word line, struct rd_resolvconf *conf)
{
	if (is_about(&line, "nameserver"))
		parse_server(line, conf);
	else if (is_about(&line, "search"))
		parse_searches(line, RD_RESOLVCONF_SEARCHES, conf);
	else if (is_about(&line, "domain"))
		parse_searches(line, 1, conf);
	else if (is_about(&line, "options"))
		parse_options(line, conf);
}

void rd_resolvconf_parse(const char *text, size_t n, struct rd_resolvconf *ret_conf)
{
	struct word rest = {.at = text, .n = n};

	*ret_conf = (struct rd_resolvconf){.ndots = 1, .timeout_seconds = 5, .attempts = 2};
	while (rest.n) {
		struct word line = {.at = rest.at, .n = span(&rest, "\n", false)};

		skip(&rest, line.n);
		skip(&rest, rest.n ? 1 : 0);
		/* A file from elsewhere may have them. */
		if (line.n && line.at[line.n - 1] == '\r')
			line.n--;
		parse_line(line, ret_conf);
	}
}

int rd_resolvconf_read(const char *path, struct rd_resolvconf *ret_conf, struct rd_error *error)
{
	_rd_free_ char *text = malloc(MAX_FILE_BYTES);
	_rd_fclose_ FILE *file = fopen(path, "re");
	size_t n;

	if (!file)
		return rd_error_set(error, -errno, "cannot read %.200s: %s", path, strerror(errno));
	if (!text)
		return rd_error_set(error, -ENOMEM, "out of memory");
	n = fread(text, 1, MAX_FILE_BYTES, file);
	if (ferror(file))
		return rd_error_set(error, -EIO, "cannot read %.200s", path);
	rd_resolvconf_parse(text, n, ret_conf);
	return 0;
}

/* ---- whom to ask ------------------------------------------------------------------------------
 */

static bool is_unspecified(const struct rd_ip *ip)
{
	static const uint8_t zeros[16];

	return !memcmp(ip->bytes, zeros, sizeof(zeros));
}

static bool is_own(const struct rd_ip *ip, const struct rd_ip *own, size_t n_own)
{
	for (size_t i = 0; i < n_own; i++)
		if (!rd_ip_compare(ip, &own[i]) ||
		    (is_unspecified(&own[i]) && (rd_ip_is_loopback(ip) || is_unspecified(ip))))
			return true;
	return false;
}

/* A number that is not the name of an interface is its index. */
static uint32_t scope_of(const char *name)
{
	uint32_t index = *name ? if_nametoindex(name) : 0;
	uint32_t number = 0;

	for (size_t i = 0; !index && i < 9 && name[i] >= '0' && name[i] <= '9'; i++)
		number = number * 10 + (uint32_t)(name[i] - '0');
	return index ?: number;
}

size_t rd_resolvconf_servers(const struct rd_resolvconf *conf, const struct rd_ip *own,
			     size_t n_own, struct rd_dns_server_address *ret_addresses)
{
	size_t n = 0;

	for (size_t i = 0; i < conf->n_servers; i++)
		if (!is_own(&conf->servers[i].ip, own, n_own))
			ret_addresses[n++] = (struct rd_dns_server_address){
				.ip = conf->servers[i].ip,
				.port = DNS_PORT,
				.scope = scope_of(conf->servers[i].scope)};
	return n;
}

/* ---- for a Pod ---------------------------------------------------------------------------------
 */

static bool is_letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Labels of letters, digits, '-' and '_', as they are in use. */
static bool is_name(const char *text, bool one_label)
{
	size_t label = 0;

	if (strlen(text) >= RD_RESOLVCONF_NAME || !*text)
		return false;
	for (; *text; text++) {
		if (*text == '.' && (one_label || !label))
			return false;
		if (*text != '.' && !is_letter_or_digit(*text) && *text != '-' && *text != '_')
			return false;
		label = *text == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
	}
	return label > 0;
}

/* Unless it is there, or there is no room. */
static void add_search(struct rd_resolvconf_pod *pod, const char *name, size_t *bytes)
{
	for (size_t i = 0; i < pod->n_searches; i++)
		if (!strcasecmp(pod->searches[i], name))
			return;
	if (pod->n_searches == RD_RESOLVCONF_SEARCHES ||
	    *bytes + strlen(name) + 1 > RD_RESOLVCONF_SEARCH_BYTES)
		return;
	*bytes += strlen(name) + 1;
	pod->searches[pod->n_searches++] = name;
}

int rd_resolvconf_for_pod(const struct rd_ip *servers, size_t n_servers, const char *namespace,
			  const char *domain, const struct rd_resolvconf *host,
			  struct rd_resolvconf_pod *ret_pod, struct rd_error *error)
{
	size_t bytes = 0;

	if (!is_name(namespace, true))
		return rd_error_usage(error, "%.100s is no name of a namespace", namespace);
	if (!is_name(domain, false) ||
	    strlen(namespace) + strlen(".svc.") + strlen(domain) >= RD_RESOLVCONF_NAME)
		return rd_error_usage(error, "%.100s is no domain for a cluster", domain);
	*ret_pod = (struct rd_resolvconf_pod){.n_servers = n_servers};
	if (n_servers > RD_RESOLVCONF_POD_SERVERS)
		ret_pod->n_servers = RD_RESOLVCONF_POD_SERVERS;
	memcpy(ret_pod->servers, servers, ret_pod->n_servers * sizeof(*servers));
	snprintf(ret_pod->own[0], RD_RESOLVCONF_NAME, "%s.svc.%s", namespace, domain);
	snprintf(ret_pod->own[1], RD_RESOLVCONF_NAME, "svc.%s", domain);
	add_search(ret_pod, ret_pod->own[0], &bytes);
	add_search(ret_pod, ret_pod->own[1], &bytes);
	add_search(ret_pod, domain, &bytes);
	for (size_t i = 0; i < host->n_searches; i++)
		if (is_name(host->searches[i], false))
			add_search(ret_pod, host->searches[i], &bytes);
	return 0;
}

char *rd_resolvconf_write(const struct rd_resolvconf_pod *pod)
{
	char ip[RD_IP_TEXT], *text = NULL;
	size_t n;
	FILE *file = open_memstream(&text, &n);
	bool failed;

	if (!file)
		return NULL;
	fputs("search", file);
	for (size_t i = 0; i < pod->n_searches; i++)
		fprintf(file, " %s", pod->searches[i]);
	fputc('\n', file);
	for (size_t i = 0; i < pod->n_servers; i++)
		fprintf(file, "nameserver %s\n", rd_ip_format(&pod->servers[i], ip));
	fprintf(file, "options ndots:%d\n", RD_RESOLVCONF_POD_NDOTS);
	failed = ferror(file);
	failed |= fclose(file) != 0;
	if (!failed)
		return text;
	free(text);
	return NULL;
}
