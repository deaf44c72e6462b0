// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "watch.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Lock the pin, which can be opened as a file because bpffs prints arrays. */
static int lock(struct rd_watcher *watcher, const char *bpffs, struct rd_error *error)
{
	int length = snprintf(watcher->path, sizeof(watcher->path), "%s/%s", bpffs,
			      rd_map_name(RD_MAP_WATCH));

	if (length >= (int)sizeof(watcher->path))
		return rd_error_set(error, -ENAMETOOLONG, "%s is too long a path", bpffs);
	watcher->lock = open(watcher->path, O_RDONLY | O_CLOEXEC);
	if (watcher->lock >= 0 && !flock(watcher->lock, LOCK_EX | LOCK_NB))
		return 0;
	if (watcher->lock >= 0 && errno == EWOULDBLOCK)
		return rd_error_set(error, -EBUSY,
				    "another monitor is running on %s, and only one can", bpffs);
	return rd_error_set(error, -errno, "cannot lock %s: %s", watcher->path, strerror(errno));
}

/* libbpf's callback; the record counts as taken whatever it returns. */
static int on_record(void *context, void *data, size_t size)
{
	struct rd_watcher *watcher = context;
	const struct rd_event_record *record = data;

	if (size < sizeof(*record) || record->time_ns < watcher->began_ns)
		return 0;
	return watcher->take(watcher->context, record) ? 0 : -EAGAIN;
}

int rd_watcher_open(struct rd_watcher *watcher, const char *bpffs, const struct rd_maps *maps,
		    bool refusals,
		    bool (*take)(void *context, const struct rd_event_record *record),
		    void *context, struct rd_error *error)
{
	void *page;
	int r;

	*watcher = (struct rd_watcher){.lock = -1, .take = take, .context = context};
	r = lock(watcher, bpffs, error);
	if (r)
		return r;
	page = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, maps->fd[RD_MAP_WATCH],
		    0);
	if (page == MAP_FAILED)
		return rd_error_set(error, -errno, "cannot map %s: %s", watcher->path,
				    strerror(errno));
	watcher->page = page;
	watcher->page->refusals = refusals;
	watcher->ring = ring_buffer__new(maps->fd[RD_MAP_EVENTS], on_record, watcher, NULL);
	if (!watcher->ring)
		return rd_error_set(error, -errno, "cannot map the ring of %s: %s", bpffs,
				    strerror(errno));
	watcher->began_ns = rd_monotonic_ns();
	r = rd_watcher_read(watcher);
	watcher->dropped = __atomic_load_n(&watcher->page->dropped, __ATOMIC_RELAXED);
	return r ? rd_error_set(error, r, "cannot read the ring: %s", strerror(-r)) : 0;
}

int rd_watcher_read(struct rd_watcher *watcher)
{
	int r = ring_buffer__consume(watcher->ring);

	return r < 0 && r != -EAGAIN ? r : 0;
}

uint64_t rd_watcher_renew(struct rd_watcher *watcher)
{
	uint64_t now = rd_monotonic_ns();
	uint64_t last = __atomic_load_n(&watcher->page->until_ns, __ATOMIC_RELAXED);
	uint64_t gap = watcher->until_ns && last && last < now ? now - last : 0;

	watcher->until_ns = now + RD_WATCH_NS;
	__atomic_store_n(&watcher->page->until_ns, watcher->until_ns, __ATOMIC_RELAXED);
	return gap;
}

uint64_t rd_watcher_dropped(struct rd_watcher *watcher)
{
	uint64_t dropped = __atomic_load_n(&watcher->page->dropped, __ATOMIC_RELAXED);
	uint64_t more = dropped - watcher->dropped;

	watcher->dropped = dropped;
	return more;
}

bool rd_watcher_is_replaced(const struct rd_watcher *watcher)
{
	struct stat ours, pinned;

	return fstat(watcher->lock, &ours) || stat(watcher->path, &pinned) ||
	       ours.st_ino != pinned.st_ino || ours.st_dev != pinned.st_dev;
}

void rd_watcher_close(struct rd_watcher *watcher)
{
	__u64 until = watcher->until_ns;

	/* Unless it is not ours: somebody else writes there by hand. */
	if (watcher->page && until)
		__atomic_compare_exchange_n(&watcher->page->until_ns, &until, 0, false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	ring_buffer__free(watcher->ring);
	if (watcher->page)
		munmap(watcher->page, page_size());
	rd_close_cleanup(&watcher->lock);
	*watcher = (struct rd_watcher){.lock = -1};
}
