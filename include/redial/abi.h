/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * abi.h - every key and value of redial's BPF maps: the contract between the
 * BPF programs, the agent, and whoever reads the maps with bpftool.
 *
 * Both sides include this file and nothing else of each other. An address is
 * an array of bytes in network order, so that bpftool prints it as people write
 * it; an IPv4 address in a field for either family stands in the first four and
 * the others are zero. All numbers, ports too, are in host order.
 *
 * Change a size, an offset or a meaning: raise RD_LAYOUT_VERSION. An agent
 * does not adopt pinned maps of another layout version.
 */
#ifndef REDIAL_ABI_H
#define REDIAL_ABI_H

#include <linux/types.h>

#define RD_LAYOUT_VERSION 9

/* Longest object name that Kubernetes allows for a namespace, a Service or a
 * port (RFC 1123 label), with its NUL. */
#define RD_LABEL_MAX 64

/* ---- frontends: the addresses that applications dial ------------------- */

/* What a frontend's address stands for. */
enum rd_scope {
	RD_SCOPE_ADDRESS = 0,	/* exactly this address */
	RD_SCOPE_NODE_PORT = 1, /* any address of rd_nodeaddrs; the key's is zero */
};

/* Bits of a frontend's flags. */
enum rd_flag {
	RD_FLAG_LOCAL = 1 << 0, /* RD_SCOPE_NODE_PORT: refuse at other nodes' addresses; where
				 * one has endpoints, its address is a frontend of its own */
	RD_FLAG_DNS = 1 << 1,	/* answered on this node: see rd_dns */
};

#define RD_IPV4 4
#define RD_IPV6 6

/* What is dialled. Without padding; all zero: nothing. */
struct rd_key {
	__u8 addr[16];
	union {
		__u32 tail; /* the rest in one word; 0: nothing */
		struct {
			__u16 port;
			__u8 protocol;	 /* IPPROTO_TCP or IPPROTO_UDP */
			__u8 family : 4; /* RD_IPV4 or RD_IPV6 */
			__u8 scope : 4;	 /* enum rd_scope */
		};
	};
} __attribute__((aligned(4)));

/*
 * rd_frontends: one place, half a cache line. The map is a hash table with open
 * addresses: a frontend is at its key's home (rd_key_home) or, if that is taken,
 * as soon after it as there was room, less than RD_PROBES places away. A look-up
 * goes from the home on until it finds the key with a word, or a place that has
 * never had a key.
 *
 * `word` says all that a connect needs, in one 64-bit load, so that a reader sees
 * the old endpoint set or the new one, whole:
 *
 *   bits  0..23  first     slot of the first backend in rd_backends
 *   bits 24..39  count     backends in the range; 0: connects are refused
 *   bits 40..56  affinity  seconds, of ClientIP session affinity; 0: none
 *   bits 57..62  flags     enum rd_flag
 *   bit  63                always set; the word 0 belongs to nobody
 *
 * Key and service are written while the word is 0 and stay for as long as any
 * program could still be reading it: another key comes into the place, or
 * another Service port to the key, only after a grace period. An address that
 * goes from one Service port to another is in two places for a moment. Whoever
 * found it in neither looks again if the epoch of rd_filter has changed.
 */
#define RD_FIRST_BITS 24
#define RD_COUNT_BITS 16
#define RD_AFFINITY_BITS 17
#define RD_FLAG_BITS 6
#define RD_PROBES 512

struct rd_frontend {
	struct rd_key key;
	__u32 service; /* key into rd_services */
	union {
		__u64 word;
		struct { /* for bpftool's sake; the functions below read and write them */
			__u64 first : RD_FIRST_BITS;
			__u64 count : RD_COUNT_BITS;
			__u64 affinity_seconds : RD_AFFINITY_BITS;
			__u64 flags : RD_FLAG_BITS;
			__u64 live : 1;
		};
	};
};

#define RD_MAX_SLOTS (1U << RD_FIRST_BITS)
#define RD_MAX_COUNT ((1U << RD_COUNT_BITS) - 1)
#define RD_MAX_AFFINITY ((1U << RD_AFFINITY_BITS) - 1)

static inline __u64 rd_word(__u32 first, __u32 count, __u32 affinity_seconds, __u8 flags)
{
	return (__u64)first | (__u64)count << RD_FIRST_BITS | (__u64)affinity_seconds << 40 |
	       (__u64)flags << 57 | 1ULL << 63;
}

static inline __u32 rd_word_first(__u64 word)
{
	return word & (RD_MAX_SLOTS - 1);
}

static inline __u32 rd_word_count(__u64 word)
{
	return word >> RD_FIRST_BITS & RD_MAX_COUNT;
}

static inline __u32 rd_word_affinity(__u64 word)
{
	return word >> 40 & RD_MAX_AFFINITY;
}

static inline __u8 rd_word_flags(__u64 word)
{
	return word >> 57 & ((1U << RD_FLAG_BITS) - 1);
}

/*
 * The place where the search for a key begins, in a table of 2^bits places and
 * RD_PROBES more: by multiplication with a random number (Dietzfelbinger and
 * others, 1997), so that nobody can choose addresses that all begin at one.
 *
 * @multiplier: of rd_filter
 * @addr: the address's words as they lie in memory; of IPv4 one is read
 */
static inline __u32 rd_key_home(__u64 multiplier, __u32 bits, const __u32 *addr, __u32 tail,
				__u8 family)
{
	__u64 hash = ((__u64)addr[0] << 32 | tail) * multiplier;

	if (family == RD_IPV6) {
		hash = (hash ^ hash >> 32 ^ ((__u64)addr[2] << 32 | addr[1])) * multiplier;
		hash = (hash ^ hash >> 32 ^ (__u64)addr[3] << 32) * multiplier;
	}
	return hash >> (64 - bits);
}

/* ---- backends: where connections really go ----------------------------- */

/*
 * rd_backends: one slot, for an endpoint of either family. Two share a cache
 * line. A Service port's endpoint set is one contiguous range of slots, all of
 * one family, sorted by address, then port.
 *
 * A connect counts here, in the line that it has just read. When a slot is given
 * up, the agent adds what it has counted to the endpoint's new slot, or to
 * rd_service_stats if the endpoint is gone.
 */
struct rd_slot {
	__u8 addr[16];
	__u16 port;
	__u16 pad;
	__u32 id;     /* this endpoint of this Service port, for as long as it lives */
	__u64 chosen; /* connects and flows it was given to */
};

/* In the place of a slot's id: the connection goes to no endpoint. */
#define RD_NO_BACKEND 0xffffffffU

/* ---- the responder on this node -------------------------------------------- */

/*
 * rd_dns[0]: where the agent answers DNS. A frontend with RD_FLAG_DNS leads there
 * instead of to its endpoints, as long as until_ns has not passed and the agent's
 * socket is in rd_dns_life, out of which the kernel takes it when the agent dies.
 */
struct rd_dns {
	__u64 until_ns; /* CLOCK_MONOTONIC, coarse; 0: not served */
	__u8 addr4[4];
	__u8 addr6[16];
	__u16 port4; /* 0: not in this family */
	__u16 port6;
};

/* ---- node addresses: where NodePorts answer ------------------------------- */

/* rd_nodeaddrs: value. */
enum rd_node {
	RD_NODE_THIS = 0,
	RD_NODE_OTHER = 1,
	RD_NODE_LOOPBACK = 2, /* this node, but only in its own network namespace */
};

/* rd_nodeaddrs: key. Value: __u32, enum rd_node. */
struct rd_nodeaddr {
	__u8 addr[16];
	__u32 family; /* RD_IPV4 or RD_IPV6 */
};

/* ---- the filter: what is certainly no Service ------------------------------ */

/* Bits for hashes of addresses; one for every port follows. So few that they stay
 * in a processor's cache: with 10,000 addresses one in 14 of what is no Service is
 * looked up in vain, which costs less than a cold line for every Service. */
#define RD_FILTER_HASH_BITS 17
#define RD_FILTER_BITS ((1U << RD_FILTER_HASH_BITS) + 65536U)

/*
 * rd_filter[0]. If the bit of an address's hash is clear, no frontend has that
 * address; if the bit of a port is clear, it is no NodePort. Most of what a
 * node dials ends here. A bit is set before the first frontend that needs it is
 * written and cleared after the last one is deleted.
 */
struct rd_filter {
	__u64 epoch;	  /* changes after every change of a frontend */
	__u64 multiplier; /* of rd_key_home; odd */
	__u64 bits[RD_FILTER_BITS / 64];
};

/* The number of an address's bit.
 * @addr_fold: the address's 32-bit words, XORed together, as they lie in memory */
static inline __u32 rd_filter_address_bit(__u32 addr_fold)
{
	return addr_fold * 0x9e3779b1U >> (32 - RD_FILTER_HASH_BITS);
}

static inline __u32 rd_filter_port_bit(__u16 port)
{
	return (1U << RD_FILTER_HASH_BITS) + port;
}

/* ---- session affinity ------------------------------------------------------- */

/* rd_affinity: key. The client is a network namespace (SERVICE-SEMANTICS D6). */
struct rd_client {
	__u64 netns; /* cookie */
	__u32 service;
	__u32 family; /* of the backend */
};

/* rd_affinity: value. */
struct rd_pinned {
	__u64 used_ns; /* CLOCK_MONOTONIC, coarse; of the last new connection */
	__u64 netns;   /* the key's: the kernel recycles values */
	__u8 addr[16];
	__u16 port;
	__u16 pad1;
	__u32 service; /* the key's */
};

/* ---- flows of unconnected UDP sockets ---------------------------------------- */

/* So many Services a socket can talk to at once; the next one takes the place
 * of the one that was taken up first. */
#define RD_FLOWS 32

/* No epoch: it is to be looked at with every datagram. */
#define RD_ASK_AGAIN 0xffffffffffffffffULL

struct rd_flow {
	__u64 epoch; /* of rd_filter, when the backend was last found eligible; or RD_ASK_AGAIN */
	__u8 dialled_addr[16];
	__u8 backend_addr[16];
	union {
		__u64 rest; /* in one word */
		struct {
			__u16 dialled_port;
			__u16 backend_port;
			__u8 family; /* RD_IPV4 or RD_IPV6; 0: unused */
			__u8 pad1;
			__u16 pad2;
		};
	};
};

/* rd_udp_flows: value. */
struct rd_flows {
	__u32 next; /* the flow to be replaced next */
	__u32 last; /* the flow last sent on */
	struct rd_flow flow[RD_FLOWS];
};

/* ---- sockets: what a redialled socket dialled --------------------------- */

/* SO_MARK of the agent's own connections to the API server: they are left
 * alone, since the agent must not depend on what it keeps. */
#define RD_MARK 0x52440000U

/*
 * A socket's record is in one of two slots of rd_sockets, side by side; or in
 * rd_spill, if others have both. A slot belongs to a dentry's address, whose hash
 * leads to it: every socket that a program opens has a file and that a dentry of its
 * own. When it is closed that memory is the next one to be used, so that sockets
 * that do not live long share a few slots, one after the other, and these stay in
 * the processor's first cache.
 *
 * Nobody tells when a socket is closed. Its record stays until another socket with the
 * dentry is connected; until then it says by its inode's number that it is not that
 * socket's. Slots of dentries that are not used any more are taken back by the agent
 * when records spill, after a grace period, for which it sets RD_SLOT_LEAVING. Only
 * programs give a slot that is free (dentry 0) to a dentry, by compare and exchange,
 * and only the agent takes it away.
 *
 * One cache line.
 */
struct rd_socket {
	__u64 inode;  /* number of the socket's; 0: no record; RD_SOCKET_WRITTEN: not yet */
	__u64 dentry; /* the slot's owner, an address in the kernel; 0: the slot is free */
	__u8 dialled_addr[16];
	__u8 backend_addr[16];
	__u16 dialled_port;
	__u16 backend_port;
	__u32 began_us; /* TCP: CLOCK_MONOTONIC, when the first packet was sent; 0: not noted */
	union {
		__u64 rest; /* in one word */
		struct {
			__u64 backend : 24; /* id of its slot, at the time of the connect */
			__u64 protocol : 8;
			__u64 service : 24;    /* key into rd_services, at the same time */
			__u64 family : 7;      /* RD_IPV4 or RD_IPV6, also for a mapped socket */
			__u64 established : 1; /* TCP: it is */
		};
	};
};

#define RD_SOCKET_WRITTEN 0xffffffffffffffffULL
#define RD_SLOT_LEAVING 1ULL /* of `dentry`: the slot is its owner's no longer */

/* The first of a socket's two slots; the other one's last bit is turned.
 * @dentry: the low half of the address. @shift: 32 less the bits of a number */
static inline __u32 rd_socket_slot(__u32 dentry, __u32 shift)
{
	return dentry * 0x9e3779b1U >> shift;
}

/* The list of sockets, a file beside the maps. Who reads it gets one of these for
 * each slot that is not free; the kernel makes them at that moment. */
#define RD_SOCKETS_LINK "links/sockets"

struct rd_socket_state {
	__u32 slot;
	__u32 is_open; /* the record is of a socket that is not closed */
	__u64 inode;   /* of the record, when it was looked at */
};

/* ---- names: the maps explain themselves --------------------------------- */

enum rd_service_type {
	RD_TYPE_CLUSTER_IP = 0,
	RD_TYPE_NODE_PORT = 1,
	RD_TYPE_LOAD_BALANCER = 2,
	RD_TYPE_EXTERNAL_NAME = 3,
};

/* rd_services: key __u32 id, one per Service port. */
struct rd_service {
	char namespace[RD_LABEL_MAX];
	char name[RD_LABEL_MAX];
	char port_name[RD_LABEL_MAX]; /* "" for an unnamed port */
	__u8 cluster_ip4[4];	      /* 0: none */
	__u8 cluster_ip6[16];	      /* 0: none */
	__u16 port;
	__u8 protocol;
	__u8 type; /* enum rd_service_type */
};

/* ---- counters ------------------------------------------------------------ */

/*
 * rd_service_stats[id of a Service port]: what happened at its addresses, since
 * it was first served. One cache line. What is 32 bits wide wraps.
 */
struct rd_service_stats {
	__u64 chosen;	     /* connects and flows; those of its present slots are counted there */
	__u64 flows;	     /* taken up by unconnected UDP sockets */
	__u64 refused;	     /* no endpoint can be used */
	__u64 affinity_hits; /* of connects and flows: the client's backend of before */
	__u64 established;   /* TCP */
	__u64 latency_us;    /* TCP: the sum of what rd_latency counts */
	__u32 refused_local; /* the policy Local, and none on the node that was dialled */
	__u32 failed;	     /* TCP: refused, reset or unreachable */
	__u32 timed_out;     /* TCP: no answer */
	__s32 open;	     /* TCP: established now */
};

/* rd_backend_stats[id of a slot]. */
struct rd_backend_stats {
	__u32 failed; /* TCP connects that failed or timed out; wraps */
	__s32 open;   /* TCP connections established now */
};

/*
 * rd_latency[id of a Service port]: how long TCP took to connect, from the first
 * packet to the answer. Bucket i counts what took less than 2^(2i+7) us, and not
 * less than a quarter of that; the last one the rest.
 */
#define RD_LATENCY_BUCKETS 8
struct rd_latency {
	__u32 bucket[RD_LATENCY_BUCKETS];
};

/* rd_totals[0], for each processor. */
struct rd_totals {
	__u64 misses; /* connects that are no Service's */
	__u64 spills; /* records of sockets whose slots others had */
};

/* ---- chance ---------------------------------------------------------------- */

/* rd_random[0], for each processor: __u64, the state of the generator that chooses
 * among backends. The agent draws the first one. */

/* ---- events: decisions as they happen, while somebody watches ------------- */

enum rd_decision {
	RD_CONNECTED = 0, /* connect() was redialled */
	RD_FLOW = 1,	  /* an unconnected UDP socket was given a backend */
	RD_REFUSED = 2,
};

/* rd_events: one record. */
struct rd_event_record {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 cgroup;  /* id of the process's cgroup */
	__u64 netns;   /* cookie */
	__u32 pid;
	__u32 service; /* key into rd_services */
	__u8 dialled_addr[16];
	__u8 backend_addr[16];
	__u16 dialled_port;
	__u16 backend_port; /* 0: refused */
	__u8 family;	    /* RD_IPV4 or RD_IPV6 */
	__u8 protocol;
	__u8 decision; /* enum rd_decision */
	__u8 pad;
	char command[16];
};

/* rd_watch[0]. Records are written as long as it says so: a watcher that dies
 * is forgotten after a moment. */
struct rd_watch {
	__u64 until_ns; /* CLOCK_MONOTONIC, coarse; 0: nobody watches */
	__u64 dropped;	/* records for which there was no room */
	__u32 refusals; /* not 0: only of those */
	__u32 pad;
};

/* ---- the agent's own words ---------------------------------------------- */

#define RD_REFUSED_SHOWN 16

/* A Service that is in the source and not, or not wholly, in the maps. */
struct rd_refused {
	char service[2 * RD_LABEL_MAX]; /* namespace/name */
	char reason[128];
};

/*
 * rd_agent[0]: what the agent last said of itself, for `redial status`. The
 * first two fields keep their place in every layout version. `sequence` is odd
 * while the agent writes.
 */
struct rd_agent {
	__u32 layout; /* RD_LAYOUT_VERSION; 0: not yet written */
	__u32 sequence;
	__u32 pid;
	__u32 ready;	    /* 1 once the first complete state is in the maps */
	__u64 started_ns;   /* CLOCK_REALTIME */
	__u64 synced_ns;    /* when the source's last change was in the maps */
	__u64 seen_ns[5];   /* when the source last proved to be alive, by kind as below;
			     * 0: never, or it is not asked for that */
	__u64 writes;	    /* map elements written or deleted by this agent */
	__u32 max_services; /* capacities the maps were made for */
	__u32 max_backends;
	__u32 objects[5];    /* in the source, by enum rd_kind of user/model.h */
	__u32 files_bad;     /* manifests whose last good state stands in */
	__u32 refused_count; /* may exceed RD_REFUSED_SHOWN */
	__u32 outcomes_off;  /* 1: nobody asked for what becomes of TCP connects, and
			      * nothing is at sockops */
	char version[32];
	char source[256];
	char cgroup[256];
	struct rd_refused refused[RD_REFUSED_SHOWN];
};

_Static_assert(sizeof(struct rd_key) == 20, "no padding");
_Static_assert(sizeof(struct rd_frontend) == 32, "half a cache line");
_Static_assert(sizeof(struct rd_slot) == 32, "two to a cache line");
_Static_assert(sizeof(struct rd_dns) == 32, "no padding");
_Static_assert(sizeof(struct rd_socket) == 64, "one cache line");
_Static_assert(sizeof(struct rd_socket_state) == 16, "no padding");
_Static_assert(sizeof(struct rd_service_stats) == 64, "one cache line");
_Static_assert(sizeof(struct rd_backend_stats) == 8, "no padding");
_Static_assert(sizeof(struct rd_nodeaddr) == 20, "no padding");
_Static_assert(sizeof(struct rd_client) == 16, "no padding");
_Static_assert(sizeof(struct rd_pinned) == 40, "no padding");
_Static_assert(sizeof(struct rd_flow) == 48, "no padding");
_Static_assert(sizeof(struct rd_service) == 216, "no padding");
_Static_assert(sizeof(struct rd_agent) % 8 == 0, "mmapable arrays round up to 8");

#endif
