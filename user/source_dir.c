// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "source_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decode.h"
#include "log.h"
#include "tree.h"
#include "yaml.h"

/* The largest manifest that is read: some 20,000 Services. */
#define MAX_FILE_BYTES (8L << 20)
/* How deep directories may nest; links can make circles. */
#define MAX_DEPTH 16

/* A file that disappears is believed after this long, if the directory is still
 * there: many programs replace a file by removing it first, and a directory is
 * removed one file at a time. */
#define GONE_AFTER_NS 200000000ULL
/* The same when the directory has just come back: it may still be filling. */
#define GONE_AFTER_RETURN_NS 2000000000ULL
/* A file that is open for writing this long is worth a line. */
#define BUSY_IS_LONG_NS 1000000000ULL
/* How often a missing directory is looked for. */
#define LOOK_AGAIN_SECONDS 1

struct signature {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified;
	struct timespec changed;
};

struct file {
	RB_ENTRY(file) entry;
	char *path; /* below the directory; also the origin of its objects */
	struct signature signature;
	struct rd_object **objects; /* what it has in the store, which owns them; sorted */
	size_t n_objects;
	bool loaded; /* has objects in the store, or did once */
	bool seen;   /* by the walk under way */
	bool bad;
	bool retry;	      /* bad because of another file: worth another try */
	uint64_t busy_ns;     /* since when it has been open for writing; 0: it is not */
	uint64_t missing_ns;  /* since when it has not been there; 0: it is there */
	struct rd_error said; /* what was last logged of it */
};

RB_HEAD(file_tree, file);

static int compare_files(const struct file *a, const struct file *b)
{
	return strcmp(a->path, b->path);
}

RD_TREE_GENERATE(file_tree, file, entry, compare_files)

struct rd_source_dir {
	char *directory;
	struct rd_store *store;
	int inotify;
	struct event *readable;
	struct event *timer;
	void (*changed)(void *context);
	void *context;
	struct file_tree files;
	bool present;
	bool reread;
	bool walk_failed;
	uint64_t returned_ns; /* when the directory came back; 0: never was away */
};

/* Collect again after this long, at the latest. */
static void arm(struct rd_source_dir *source, uint64_t delay_ns)
{
	struct timeval delay = {.tv_sec = (time_t)(delay_ns / 1000000000U),
				.tv_usec = (suseconds_t)(delay_ns / 1000U % 1000000U)};

	if (!evtimer_pending(source->timer, NULL))
		event_add(source->timer, &delay);
}

/* ---- one file -------------------------------------------------------------------- */

static bool same_signature(const struct signature *a, const struct signature *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       a->modified.tv_sec == b->modified.tv_sec &&
	       a->modified.tv_nsec == b->modified.tv_nsec &&
	       a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static struct signature signature_of(const struct stat *st)
{
	return (struct signature){.device = st->st_dev,
				  .inode = st->st_ino,
				  .size = st->st_size,
				  .modified = st->st_mtim,
				  .changed = st->st_ctim};
}

/* Is some process writing it? The kernel refuses a read lease then; its close
 * will be an event. File systems without leases tell nothing. */
static bool is_being_written(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_RDLCK))
		return errno == EAGAIN;
	(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

/* Returns the text, to be freed, of a file of `size` bytes, or NULL. */
static char *read_text(int fd, size_t size, struct rd_error *error)
{
	_rd_free_ char *text = malloc(size + 1);
	size_t got = 0;

	if (!text) {
		rd_error_set(error, -ENOMEM, "out of memory");
		return NULL;
	}
	while (got < size) {
		ssize_t n = read(fd, text + got, size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			rd_error_set(error, -EIO, "cannot be read: %s",
				     n ? strerror(errno) : "it became shorter");
			return NULL;
		}
		got += (size_t)n;
	}
	text[size] = '\0';
	return rd_take(text);
}

struct decoding {
	struct rd_decoded decoded;
	const char *origin;
	struct rd_error *error;
};

static int decode_document(void *context, const char *json)
{
	struct decoding *decoding = context;

	return rd_decode(json, decoding->origin, &decoding->decoded, decoding->error);
}

static int compare_objects(const void *a, const void *b)
{
	const struct rd_object *x = *(struct rd_object *const *)a;
	const struct rd_object *y = *(struct rd_object *const *)b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return rd_name_compare(x->namespace, x->name, y->namespace, y->name);
}

/* Each object has one definition. Sorts the objects.
 * Returns 0, -EINVAL or -EEXIST: another file has it. */
static int check_unique(const struct rd_source_dir *source, const struct file *file,
			struct rd_decoded *decoded, struct rd_error *error)
{
	if (decoded->n)
		qsort(decoded->objects, decoded->n, sizeof(*decoded->objects), compare_objects);
	for (size_t i = 0; i < decoded->n; i++) {
		const struct rd_object *object = decoded->objects[i];
		const struct rd_object *other =
			rd_store_find(source->store, object->kind, object->namespace, object->name);

		if (i && !compare_objects(&decoded->objects[i - 1], &decoded->objects[i]))
			return rd_error_set(error, -EINVAL, "%s %s/%s is defined twice",
					    rd_kind_name(object->kind), object->namespace,
					    object->name);
		if (other && other->origin != file->path)
			return rd_error_set(error, -EEXIST, "%s %s/%s is already defined in %s",
					    rd_kind_name(object->kind), object->namespace,
					    object->name, other->origin);
	}
	return 0;
}

/* Remove from the store what the file said, except what is in `keep`. */
static void withdraw(struct rd_source_dir *source, struct file *file, const struct rd_decoded *keep)
{
	for (size_t i = 0; i < file->n_objects; i++) {
		const struct rd_object *object = file->objects[i];

		if (keep->n && bsearch(&object, keep->objects, keep->n, sizeof(*keep->objects),
				       compare_objects))
			continue;
		rd_store_remove(source->store, object->kind, object->namespace, object->name);
	}
	free(rd_take(file->objects));
	file->n_objects = 0;
}

static void put_all(struct rd_source_dir *source, struct file *file, struct rd_decoded *decoded)
{
	withdraw(source, file, decoded);
	file->n_objects = decoded->n;
	file->objects = rd_take(decoded->objects);
	decoded->n = 0;
	for (size_t i = 0; i < file->n_objects; i++)
		rd_store_put(source->store, file->objects[i]);
	file->loaded = true;
}

static void say_skipped(const struct file *file, const struct rd_decoded *decoded)
{
	if (decoded->skipped)
		rd_log(RD_LOG_INFO, "skipped objects of kinds redial does not use",
		       RD_TEXT("file", file->path), RD_NUMBER("count", decoded->skipped),
		       RD_TEXT("kinds", decoded->skipped_kinds));
}

/* Bring the file's objects into the store, all of them or none.
 * Returns 0, -EAGAIN while somebody writes it, or -errno with @error. */
static int load(struct rd_source_dir *source, struct file *file, int directory,
		struct rd_error *error)
{
	_rd_close_ int fd = openat(directory, file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct decoding decoding = {.origin = file->path, .error = error};
	_rd_free_ char *text = NULL;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st))
		return rd_error_set(error, -errno, "cannot be opened: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return rd_error_set(error, -EINVAL, "is not a regular file");
	if (is_being_written(fd))
		return rd_error_set(error, -EAGAIN, "is open for writing: waiting for its writer");
	file->signature = signature_of(&st);
	if (st.st_size > MAX_FILE_BYTES)
		return rd_error_set(error, -EFBIG, "has %lld bytes and the limit is %ld: split it",
				    (long long)st.st_size, MAX_FILE_BYTES);
	text = read_text(fd, (size_t)st.st_size, error);
	if (!text)
		return -EIO;
	r = rd_yaml_documents(text, (size_t)st.st_size, decode_document, &decoding, error);
	r = r ?: check_unique(source, file, &decoding.decoded, error);
	if (!r) {
		say_skipped(file, &decoding.decoded);
		put_all(source, file, &decoding.decoded);
	}
	rd_decoded_clear(&decoding.decoded);
	return r;
}

/* A file that is being written is nothing to speak of, unless it lasts. */
static bool is_early(struct rd_source_dir *source, struct file *file)
{
	uint64_t now = rd_monotonic_ns();

	if (!file->busy_ns)
		file->busy_ns = now;
	if (now - file->busy_ns >= BUSY_IS_LONG_NS)
		return false;
	arm(source, BUSY_IS_LONG_NS);
	return true;
}

/* Load and say what there is to say, once. Returns whether it succeeded. */
static bool try_load(struct rd_source_dir *source, struct file *file, int directory)
{
	struct rd_error error = {0};
	bool was_bad = file->bad;
	int r = load(source, file, directory, &error);

	file->bad = r != 0;
	file->retry = r == -EEXIST || r == -EAGAIN;
	if (r == -EAGAIN && is_early(source, file))
		return false;
	file->busy_ns = 0;
	if (!r && was_bad)
		rd_log(RD_LOG_INFO, "manifest is good again", RD_TEXT("file", file->path));
	if (r && strcmp(error.text, file->said.text))
		rd_log(RD_LOG_WARN,
		       file->loaded ? "manifest not used, what it said before stays in force"
				    : "manifest not used",
		       RD_TEXT("file", file->path), RD_TEXT("error", error.text));
	file->said = error;
	return !r;
}

/* ---- the tree ------------------------------------------------------------------------ */

static bool is_manifest(const char *name)
{
	static const char *const endings[] = {".yaml", ".yml", ".json"};
	size_t n = strlen(name);

	for (size_t i = 0; i < RD_ARRAY_SIZE(endings); i++) {
		size_t e = strlen(endings[i]);

		if (n > e && !strcmp(name + n - e, endings[i]))
			return true;
	}
	return false;
}

static struct file *find_or_add_file(struct rd_source_dir *source, const char *path)
{
	struct file probe = {.path = (char *)path};
	struct file *file = RB_FIND(file_tree, &source->files, &probe);

	if (file)
		return file;
	file = calloc(1, sizeof(*file));
	if (!file)
		return NULL;
	file->path = strdup(path);
	if (!file->path) {
		free(file);
		return NULL;
	}
	RB_INSERT(file_tree, &source->files, file);
	return file;
}

static void watch(struct rd_source_dir *source, const char *path)
{
	uint32_t events = IN_CREATE | IN_DELETE | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO |
			  IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB | IN_ONLYDIR;

	if (inotify_add_watch(source->inotify, path, events) < 0)
		rd_log(RD_LOG_WARN, "cannot watch a directory, its changes need SIGHUP",
		       RD_TEXT("directory", path), RD_TEXT("error", strerror(errno)));
}

/* Mark every manifest below `relative` ("" for the top) as seen. */
static void walk(struct rd_source_dir *source, const char *relative, int depth)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *directory;

	if (depth > MAX_DEPTH ||
	    snprintf(path, sizeof(path), "%s/%s", source->directory, relative) >= (int)sizeof(path))
		return;
	/* Watch first, then read: what comes in between is an event. */
	watch(source, path);
	directory = opendir(path);
	if (!directory) {
		source->walk_failed |= errno != ENOENT;
		return;
	}
	while ((entry = readdir(directory))) {
		struct file *file;
		struct stat st;

		if (*entry->d_name == '.' ||
		    snprintf(path, sizeof(path), "%s%s%s", relative, *relative ? "/" : "",
			     entry->d_name) >= (int)sizeof(path) ||
		    fstatat(dirfd(directory), entry->d_name, &st, 0))
			continue;
		if (S_ISDIR(st.st_mode)) {
			walk(source, path, depth + 1);
			continue;
		}
		if (!is_manifest(entry->d_name))
			continue;
		file = find_or_add_file(source, path);
		if (file)
			file->seen = true;
		else
			source->walk_failed = true;
	}
	closedir(directory);
}

/* A file was not seen. Returns true if it is to be forgotten now. */
static bool is_gone(struct rd_source_dir *source, struct file *file, uint64_t now)
{
	bool returning = source->returned_ns && now - source->returned_ns < GONE_AFTER_RETURN_NS;
	uint64_t patience = returning ? GONE_AFTER_RETURN_NS : GONE_AFTER_NS;

	if (!file->loaded)
		return true;
	if (!file->missing_ns)
		file->missing_ns = now;
	if (now - file->missing_ns >= patience)
		return true;
	arm(source, patience - (now - file->missing_ns));
	return false;
}

static void forget(struct rd_source_dir *source, struct file *file)
{
	static const struct rd_decoded nothing;

	if (file->loaded) {
		withdraw(source, file, &nothing);
		rd_log(RD_LOG_INFO, "manifest removed", RD_TEXT("file", file->path));
	}
	RB_REMOVE(file_tree, &source->files, file);
	free(file->objects);
	free(file->path);
	free(file);
}

/* Load a seen file if it has changed. */
static void refresh(struct rd_source_dir *source, struct file *file, int directory)
{
	struct signature now;
	struct stat st;

	file->missing_ns = 0;
	if (fstatat(directory, file->path, &st, 0))
		return;
	now = signature_of(&st);
	if (!same_signature(&now, &file->signature) || file->retry || source->reread)
		try_load(source, file, directory);
}

static bool any_seen(const struct rd_source_dir *source)
{
	struct file *file;

	RB_FOREACH(file, file_tree, (struct file_tree *)&source->files)
		if (file->seen)
			return true;
	return false;
}

/* Note that the directory is, or is not, there. A directory that comes back
 * empty counts as still away: something is about to fill it. */
static bool note_presence(struct rd_source_dir *source, bool there)
{
	if (there && !source->present && any_seen(source)) {
		source->present = true;
		source->returned_ns = rd_monotonic_ns();
		rd_log(RD_LOG_INFO, "manifest directory is back",
		       RD_TEXT("directory", source->directory));
	} else if (!there && source->present) {
		source->present = false;
		rd_log(RD_LOG_WARN, "manifest directory is gone, what it said stays in force",
		       RD_TEXT("directory", source->directory));
	}
	if (!source->present)
		arm(source, LOOK_AGAIN_SECONDS * 1000000000ULL);
	return source->present;
}

void rd_source_dir_collect(struct rd_source_dir *source)
{
	_rd_close_ int directory = open(source->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t now = rd_monotonic_ns();
	struct file *file, *next;
	bool progress;

	RB_FOREACH(file, file_tree, &source->files)
		file->seen = false;
	source->walk_failed = false;
	if (directory >= 0)
		walk(source, "", 0);
	if (!note_presence(source, directory >= 0))
		return;
	/* First what is gone, so that an object can move from one file to another;
	 * then, while that helps, the files that waited for another. */
	for (file = RB_MIN(file_tree, &source->files); file; file = next) {
		next = RB_NEXT(file_tree, &source->files, file);
		if (!file->seen && !source->walk_failed && is_gone(source, file, now))
			forget(source, file);
	}
	RB_FOREACH(file, file_tree, &source->files)
		if (file->seen)
			refresh(source, file, directory);
	source->reread = false;
	do {
		progress = false;
		RB_FOREACH(file, file_tree, &source->files)
			if (file->seen && file->retry)
				progress |= try_load(source, file, directory);
	} while (progress);
}

void rd_source_dir_reread(struct rd_source_dir *source)
{
	source->reread = true;
}

uint32_t rd_source_dir_bad(const struct rd_source_dir *source)
{
	struct file *file;
	uint32_t bad = 0;

	RB_FOREACH(file, file_tree, (struct file_tree *)&source->files)
		bad += file->bad;
	return bad;
}

uint32_t rd_source_dir_unknown(const struct rd_source_dir *source)
{
	struct file *file;
	uint32_t unknown = 0;

	RB_FOREACH(file, file_tree, (struct file_tree *)&source->files)
		unknown += file->bad && !file->loaded;
	return unknown;
}

bool rd_source_dir_present(const struct rd_source_dir *source)
{
	return source->present;
}

/* ---- events --------------------------------------------------------------------------- */

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	struct rd_source_dir *source = context;
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

	(void)what;
	/* What happened does not matter: the walk finds it out. */
	while (read(fd, buffer, sizeof(buffer)) > 0)
		continue;
	source->changed(source->context);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct rd_source_dir *source = context;

	(void)fd;
	(void)what;
	source->changed(source->context);
}

int rd_source_dir_new(const char *directory, struct rd_store *store, struct event_base *base,
		      void (*changed)(void *context), void *context,
		      struct rd_source_dir **ret_source, struct rd_error *error)
{
	struct rd_source_dir *source = calloc(1, sizeof(*source));
	struct stat st;
	int r = 0;

	if (!source)
		return rd_error_set(error, -ENOMEM, "out of memory");
	source->store = store;
	source->changed = changed;
	source->context = context;
	source->present = true;
	/* A writer that meets our lease in the moment we hold it makes the kernel
	 * send SIGIO, whose default is to kill. */
	signal(SIGIO, SIG_IGN);
	source->directory = strdup(directory);
	source->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (stat(directory, &st))
		r = rd_error_set(error, -errno, "cannot open %s: %s", directory, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		r = rd_error_set(error, -ENOTDIR, "%s is not a directory", directory);
	else if (source->inotify < 0)
		r = rd_error_set(error, -errno, "cannot watch %s: %s", directory, strerror(errno));
	if (!r) {
		source->readable =
			event_new(base, source->inotify, EV_READ | EV_PERSIST, on_readable, source);
		source->timer = evtimer_new(base, on_timer, source);
		if (!source->directory || !source->readable || !source->timer ||
		    event_add(source->readable, NULL))
			r = rd_error_set(error, -ENOMEM, "out of memory");
	}
	if (r) {
		rd_source_dir_free(source);
		return r;
	}
	*ret_source = source;
	return 0;
}

void rd_source_dir_free(struct rd_source_dir *source)
{
	struct file *file;

	if (!source)
		return;
	while ((file = RB_ROOT(&source->files))) {
		RB_REMOVE(file_tree, &source->files, file);
		free(file->objects);
		free(file->path);
		free(file);
	}
	if (source->readable)
		event_free(source->readable);
	if (source->timer)
		event_free(source->timer);
	rd_close_cleanup(&source->inotify);
	free(source->directory);
	free(source);
}
