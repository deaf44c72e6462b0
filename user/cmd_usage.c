// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cmd_usage.c - the man page and what shells complete, written from the tables
 * of commands and options.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "version.h"

static int finish(struct rd_error *error)
{
	return fflush(stdout) || ferror(stdout) ? rd_error_set(error, -EIO, "cannot print") : 0;
}

static const struct rd_command *next_command(const struct rd_command *before)
{
	const struct rd_command *command = before ? before + 1 : rd_commands;

	return command->name ? command : NULL;
}

/* Print `text` with a backslash before each of `special`. */
static void put_escaped(const char *text, const char *special)
{
	for (; *text; text++) {
		if (strchr(special, *text))
			putchar('\\');
		putchar(*text);
	}
}

/* ---- the man page ---------------------------------------------------------------------- */

/* No help text begins with what troff takes for a request: a dot or a quote. */
static void put_troff(const char *text)
{
	for (; *text; text++) {
		if (*text == '-' || *text == '\\')
			fputs(*text == '-' ? "\\-" : "\\e", stdout);
		else
			putchar(*text);
	}
}

static void man_option(const struct rd_option *option)
{
	fputs(".TP\n\\fB", stdout);
	if (option->letter)
		printf("\\-%c\\fR, \\fB", option->letter);
	fputs("\\-\\-", stdout);
	put_troff(option->name);
	fputs("\\fR", stdout);
	if (option->argument) {
		fputs(" \\fI", stdout);
		put_troff(option->argument);
		fputs("\\fR", stdout);
	}
	putchar('\n');
	put_troff(option->help);
	fputs(option->many ? ".\nMay be given several times.\n" : ".\n", stdout);
}

static void man_command(const struct rd_command *command)
{
	struct rd_option option;
	size_t next = 0;

	printf(".SS %s\n\\fBredial %s\\fR [\\fIOPTION\\fR...]", command->name, command->name);
	if (command->operand) {
		fputs(" \\fI", stdout);
		put_troff(command->operand);
		fputs("\\fR", stdout);
	}
	fputs("\n.PP\n", stdout);
	put_troff(command->summary);
	putchar('\n');
	while (rd_options_next(command->bit, &next, &option))
		man_option(&option);
}

int rd_cmd_man(const struct rd_settings *settings, struct rd_error *error)
{
	const struct rd_command *command = NULL;

	(void)settings;
	printf(".\\\" Written by 'redial man' from its tables of commands and options.\n"
	       ".TH REDIAL 8 %s \"redial %s\" \"System Administration\"\n"
	       ".SH NAME\nredial \\- Kubernetes Services at the socket\n"
	       ".SH SYNOPSIS\n\\fBredial\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR...]\n"
	       ".SH DESCRIPTION\n"
	       "An application dials a Service's address; a BPF program redials the socket "
	       "straight to\na backend Pod, inside\n.BR connect (2),\n"
	       "before the first packet exists.\n"
	       ".B redial run\nkeeps the maps of that program up to date with a Kubernetes API "
	       "server or a directory\nof manifests.\nThe other commands read the pinned maps and "
	       "work whether it runs or not.\n"
	       ".SH COMMANDS\n",
	       REDIAL_DATE, REDIAL_VERSION);
	while ((command = next_command(command)))
		man_command(command);
	fputs(".SH SIGNALS\n.B redial run\nreads its source, and /etc/resolv.conf, again on "
	      "SIGHUP, and ends on SIGTERM "
	      "and SIGINT.\n"
	      ".SH EXIT STATUS\n.TP\n0\nDone.\n.TP\n1\nFailed, and one line on standard error "
	      "says why.\n.TP\n2\nWrong usage, and one line says what is wrong with it.\n"
	      ".SH FILES\n.TP\n.I /sys/fs/bpf/redial\nMaps and links, where "
	      "\\fB\\-\\-bpffs\\fR names no other place.\n"
	      ".SH SEE ALSO\n.BR bpftool (8),\n.BR cgroups (7)\n",
	      stdout);
	return finish(error);
}

/* ---- what can follow an option ----------------------------------------------------------- */

enum follows { ANYTHING, FILES, DIRECTORIES, WORDS };

/* What the argument, as --help names it, stands for. WORDS: printed by
 * put_words(). */
static enum follows follows(const char *argument)
{
	static const struct {
		const char *argument;
		enum follows follows;
	} known[] = {{"DIR", DIRECTORIES},
		     {"PATH", FILES},
		     {"FILE", FILES},
		     {"FORMAT", WORDS},
		     {"LEVEL", WORDS}};

	for (size_t i = 0; i < RD_ARRAY_SIZE(known); i++)
		if (!strcmp(argument, known[i].argument))
			return known[i].follows;
	/* "on|off" are words, "NAME|ID" stand for something. */
	return strchr(argument, '|') && islower((unsigned char)*argument) ? WORDS : ANYTHING;
}

static void put_words(const char *argument)
{
	if (!strcmp(argument, "FORMAT"))
		argument = "table|wide|json";
	else if (!strcmp(argument, "LEVEL"))
		argument = "error|warn|info|debug";
	for (; *argument; argument++)
		putchar(*argument == '|' ? ' ' : *argument);
}

/* ---- bash ------------------------------------------------------------------------------- */

static void bash_follows(const char *argument)
{
	switch (follows(argument)) {
	case WORDS:
		fputs("_redial_complete -W '", stdout);
		put_words(argument);
		fputs("'; ", stdout);
		break;
	case FILES:
		fputs("_redial_complete -f; ", stdout);
		break;
	case DIRECTORIES:
		fputs("_redial_complete -d; ", stdout);
		break;
	case ANYTHING:
		break;
	}
	fputs("return ;;\n", stdout);
}

/* The words that can stand where an option or operand does. */
static void bash_command(const struct rd_command *command)
{
	struct rd_option option;
	size_t next = 0;

	printf("\t%s) words='", command->name);
	if (command->operand && follows(command->operand) == WORDS)
		put_words(command->operand);
	while (rd_options_next(command->bit, &next, &option))
		printf(option.letter ? " --%s -%c" : " --%s", option.name, option.letter);
	fputs("' ;;\n", stdout);
}

/* Some options are another one for some commands, with the same kind of value. */
static bool is_known(const char *name, size_t end)
{
	struct rd_option option;
	size_t next = 0;

	while (rd_options_next(~0U, &next, &option) && next < end)
		if (!strcmp(option.name, name))
			return true;
	return false;
}

static void print_bash(void)
{
	const struct rd_command *command = NULL;
	struct rd_option option;
	size_t next = 0;

	fputs("# bash completion of redial, written by 'redial completion bash'.\n\n"
	      "_redial_complete() { # compgen-argument...\n"
	      "\t[ \"$1\" = -W ] || compopt -o filenames 2>/dev/null\n"
	      "\tmapfile -t COMPREPLY < <(compgen \"$@\" -- \"$current\")\n}\n\n"
	      "_redial() {\n"
	      "\tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} "
	      "words=\n\tCOMPREPLY=()\n"
	      "\tif [ \"$COMP_CWORD\" -le 1 ]; then\n\t\t_redial_complete -W '--help",
	      stdout);
	while ((command = next_command(command)))
		printf(" %s", command->name);
	fputs("'\n\t\treturn\n\tfi\n"
	      "\t# --option=value is three words.\n"
	      "\t[ \"$current\" != = ] || current=\n"
	      "\t[ \"$previous\" != = ] || previous=${COMP_WORDS[COMP_CWORD - 2]}\n"
	      "\tcase $previous in\n",
	      stdout);
	while (rd_options_next(~0U, &next, &option)) {
		if (!option.argument || is_known(option.name, next))
			continue;
		printf(option.letter ? "\t--%s | -%c) " : "\t--%s) ", option.name, option.letter);
		bash_follows(option.argument);
	}
	fputs("\tesac\n\tcase ${COMP_WORDS[1]} in\n", stdout);
	while ((command = next_command(command)))
		bash_command(command);
	fputs("\tesac\n\t_redial_complete -W \"$words\"\n}\n\ncomplete -F _redial redial\n",
	      stdout);
}

/* ---- zsh -------------------------------------------------------------------------------- */

/* Within quotes, in a field that ends at a bracket or colon. */
static void put_zsh(const char *text)
{
	for (; *text; text++) {
		char one[2] = {*text};

		if (*text == '\'')
			fputs("'\\''", stdout);
		else
			put_escaped(one, "[]:\\");
	}
}

static void zsh_follows(const char *argument)
{
	switch (follows(argument)) {
	case WORDS:
		putchar('(');
		put_words(argument);
		putchar(')');
		break;
	case FILES:
		fputs("_files", stdout);
		break;
	case DIRECTORIES:
		fputs("_files -/", stdout);
		break;
	case ANYTHING:
		putchar(' ');
		break;
	}
}

static void zsh_option(const struct rd_option *option)
{
	if (option->letter)
		printf(" \\\n\t\t\t\t'(-%c --%s)'{-%c,--%s}'[", option->letter, option->name,
		       option->letter, option->name);
	else
		printf(" \\\n\t\t\t\t'%s--%s[", option->many ? "*" : "", option->name);
	put_zsh(option->help);
	putchar(']');
	if (option->argument) {
		putchar(':');
		put_zsh(option->argument);
		putchar(':');
		zsh_follows(option->argument);
	}
	putchar('\'');
}

static void zsh_command(const struct rd_command *command)
{
	struct rd_option option;
	size_t next = 0;

	printf("\t\t%s)\n\t\t\t_arguments", command->name);
	while (rd_options_next(command->bit, &next, &option))
		zsh_option(&option);
	if (command->operand) {
		fputs(" \\\n\t\t\t\t'1:", stdout);
		put_zsh(command->operand);
		putchar(':');
		zsh_follows(command->operand);
		putchar('\'');
	}
	fputs("\n\t\t\t;;\n", stdout);
}

static void print_zsh(void)
{
	const struct rd_command *command = NULL;

	fputs("#compdef redial\n# zsh completion of redial, written by 'redial completion zsh'.\n\n"
	      "_redial() {\n\tlocal state line\n\tlocal -a commands\n\tcommands=(\n",
	      stdout);
	while ((command = next_command(command))) {
		printf("\t\t'%s:", command->name);
		put_zsh(command->summary);
		fputs("'\n", stdout);
	}
	fputs("\t)\n\t_arguments -C '(-h --help)'{-h,--help}'[print this]' '1: :->command' "
	      "'*:: :->rest'\n"
	      "\tcase $state in\n\tcommand) _describe command commands ;;\n"
	      "\trest)\n\t\tcase $words[1] in\n",
	      stdout);
	while ((command = next_command(command)))
		zsh_command(command);
	fputs("\t\tesac\n\t\t;;\n\tesac\n}\n\n"
	      "if [ \"$funcstack[1]\" = _redial ]; then\n\t_redial \"$@\"\nelse\n"
	      "\tcompdef _redial redial\nfi\n",
	      stdout);
}

int rd_cmd_completion(const struct rd_settings *settings, struct rd_error *error)
{
	const char *shell = settings->name ?: "";

	if (settings->namespace || (strcmp(shell, "bash") && strcmp(shell, "zsh")))
		return rd_error_usage(error, "name a shell: bash or zsh");
	if (!strcmp(shell, "bash"))
		print_bash();
	else
		print_zsh();
	return finish(error);
}
