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

/* ---- the datapath -------------------------------------------------------------- */

struct node {
	struct rd_datapath *datapath;
	struct rd_plan plan;
};

struct node_config {
	uint32_t max_services; /* 0: 64 */
	uint32_t max_backends; /* 0: 256 */
	uint32_t socket_slots; /* 0: 1024 */
};

/* Load, adopt and attach in the sandbox's cgroup. Fails the test if it cannot. */
void node_open(struct node *node, const struct node_config *config);
/* Detach, unpin, free. */
void node_close(struct node *node);
/* Let go without detaching, as a dying agent does. */
void node_abandon(struct node *node);

/* Take operations from the plan and apply them; returns how many elements were
 * written. */
uint64_t node_apply(struct node *node);
/* A grace period, as the agent takes it. */
void node_grace(struct node *node);

/* One Service port and its endpoints, as text: "10.96.0.1:80". */
struct service {
	const char *name;
	const char *address;
	uint8_t protocol;	 /* 0: TCP */
	const char *backends[9]; /* up to the first NULL */
};

/* State what the Service should be; the next node_apply makes it so.
 * Returns what rd_plan_service returned. */
int node_plan(struct node *node, const struct service *service);
/* node_plan and node_apply, and both must work. */
void node_serve(struct node *node, const struct service *service);
void node_remove(struct node *node, const char *name);

/* Records in rd_sockets. */
uint32_t node_count_records(struct node *node);

/* ---- sockets ----------------------------------------------------------------------- */

/* An address from "1.2.3.4:80" or "[::1]:80". */
struct sockaddr_storage address_of(const char *text, socklen_t *ret_length);

/* Sockets with the given type; they fail the test only where said so. */
int listen_on(const char *address, int type); /* must work */
/* 0 or -errno. @fd: a socket of the address's family */
int dial(int fd, const char *address);
/* A new socket connected to `address`: must work. */
int dialled(const char *address, int type);

/* getpeername as text in a static buffer, mapped addresses as "[::ffff:…]:80"; "" if it fails. */
const char *peer_of(int fd);
/* Where the kernel has really connected the socket: its record or, lacking one,
 * what getpeername says. */
const char *backend_of(struct node *node, int fd);

/* Close all of a NULL… rather: -1-terminated list. */
void close_all(int fd, ...);

#endif
