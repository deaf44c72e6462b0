/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sandbox.h - a node of one's own for a datapath test: a network namespace
 * with nothing but loopback, a child cgroup, a bpffs, and the datapath loaded
 * there. All of it goes with the process, however that ends.
 */
#ifndef REDIAL_SANDBOX_H
#define REDIAL_SANDBOX_H

#include <netinet/in.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "datapath.h"
#include "plan.h"

/*
 * Continue in a child process that is inside a new sandbox; the parent waits
 * for it, removes the cgroup, and exits with its status. Addresses 10.244.0.1
 * to .8 and fd00:244::1 to ::8 are on loopback: the "Pods".
 */
void sandbox_enter(void);

/* From now on the kernel has no bpf_rdonly_cast, as before Linux 6.2. */
void sandbox_old_kernel(void);

/* cmocka_run_group_tests, as main returns it: on this kernel and on an old one. */
#define run_on_each_kernel(tests, setup, teardown)                                                 \
	(cmocka_run_group_tests_name("this kernel", tests, setup, teardown) ||                     \
	 (sandbox_old_kernel(),                                                                    \
	  cmocka_run_group_tests_name("an old kernel", tests, setup, teardown)))

/* ---- the datapath -------------------------------------------------------------- */

struct node {
	struct rd_datapath *datapath;
	struct rd_plan plan;
};

struct node_config {
	uint32_t max_services; /* 0: 64 */
	uint32_t max_backends; /* 0: 256 */
	uint32_t socket_slots; /* 0: 1024 */
	bool track_outcomes;
	const char *exclude_cgroup;
	const char *exclude_netns;
};

/* Load, adopt and attach in the sandbox's cgroup. Fails the test if it cannot. */
void node_open(struct node *node, const struct node_config *config);
/* Detach, unpin, free. */
void node_close(struct node *node);
/* Let go without detaching, as a dying agent does. */
void node_abandon(struct node *node);

/* The sandbox's cgroup. */
const char *sandbox_cgroup(void);
/* Move this process into a cgroup. */
void join_cgroup(const char *path);
/* Go on in a new network namespace with the same "Pods"; other threads stay. */
void sandbox_new_netns(void);

/* Take operations from the plan and apply them; returns how many elements were
 * written. */
uint64_t node_apply(struct node *node);
/* A grace period, as the agent takes it. */
void node_grace(struct node *node);

/* One Service port and its endpoints, as text: "10.96.0.1:80". */
struct service {
	const char *name;
	const char *address;
	uint8_t protocol;	   /* 0: TCP */
	uint8_t scope;		   /* enum rd_scope; RD_SCOPE_NODE_PORT: of `address` only the
				    * family and the port count */
	uint8_t flags;		   /* enum rd_flag */
	uint32_t affinity_seconds; /* 0: none */
	const char *also;	   /* a second address with the same endpoints; NULL: none */
	const char *backends[9];   /* up to the first NULL */
};

/* State what the Service should be; the next node_apply makes it so. Takes a
 * grace period when room is short, as the agent does. Returns what rd_plan_service returned. */
int node_plan(struct node *node, const struct service *service);
/* State the only node address there is besides others stated so since the node
 * was opened, and apply. */
void node_add_address(struct node *node, const char *address, enum rd_node what);
/* node_plan and node_apply, and both must work. */
void node_serve(struct node *node, const struct service *service);
void node_remove(struct node *node, const char *name);

/* Records of open sockets in rd_sockets. */
uint32_t node_count_records(struct node *node);
/* Take back the slots of closed sockets, as the agent does; returns how many. */
uint32_t node_sweep(struct node *node);

/* ---- sockets ----------------------------------------------------------------------- */

/* An address from "1.2.3.4:80" or "[::1]:80". */
struct sockaddr_storage address_of(const char *text, socklen_t *ret_length);

/* Sockets with the given type; they fail the test only where said so. */
int listen_on(const char *address, int type); /* must work */
/* 0 or -errno. @fd: a socket of the address's family */
int dial(int fd, const char *address);
/* A new socket connected to `address`: must work. */
int dialled(const char *address, int type);

/* Send one byte to an address. 0 or -errno. */
int send_to(int fd, const char *address);
/* Receive one datagram, within five seconds; returns the sender as text. */
const char *receive_from(int fd);
/* Receive a datagram at a server and send it back to its sender. */
void echo(int server);

/* getpeername as text, mapped addresses as "[::ffff:…]:80"; "" if it fails. */
const char *peer_of(int fd);
/* Where the kernel has really connected the socket: its record or, lacking one,
 * what getpeername says. */
const char *backend_of(struct node *node, int fd);

/* Close descriptors, up to a -1. */
void close_all(int fd, ...);

#endif
