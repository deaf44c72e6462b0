/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reason.h - why an endpoint is used at an address, or is not. What is used is
 * rd_resolve's word; this names the statement that left the others out. Pure.
 */
#ifndef REDIAL_REASON_H
#define REDIAL_REASON_H

#include "resolve.h"

enum rd_reason {
	RD_REASON_USED,
	RD_REASON_NOT_READY,
	RD_REASON_NOT_SERVING, /* it terminates, and says that it does not serve */
	RD_REASON_TERMINATING, /* while others are ready */
	RD_REASON_OTHER_NODE,  /* the policy Local */
	RD_REASON_HINTS,       /* it is for another zone or node */
	RD_REASON_NO_PORT,     /* of the Service port's name and protocol */
	RD_REASON_OTHER_FAMILY,
	RD_REASON_ENDED,       /* a Pod that succeeded or failed */
	RD_REASON_NOT_COUNTED, /* its object is not the Service's endpoints: A4, A18 */
	RD_REASONS
};

/* In words. */
const char *rd_reason_text(enum rd_reason reason);

/* One endpoint of one object. */
struct rd_reasoned {
	const struct rd_object *object; /* borrowed from the store */
	struct rd_ip ip;
	uint16_t port;	  /* 0: it has no such port */
	const char *node; /* borrowed; NULL: not known */
	enum rd_reason reason;
};

/* What was dialled: an address and port, or a port at a node's address. */
struct rd_dialled {
	struct rd_ip ip;
	uint16_t port; /* host order */
	uint8_t protocol;
	uint8_t scope; /* enum rd_scope */
	bool refused;  /* RD_FLAG_LOCAL, at another node's address: none is used */
};

/*
 * Look at every endpoint that the objects in the store give a Service.
 *
 * @ret_reasoned: the caller frees it; in order of slices, then Pods
 * Returns 0; -ENOENT if the Service does not answer at that address by what is
 * in the store; -ENOMEM.
 */
int rd_reason(const struct rd_store *store, const struct rd_locale *locale,
	      const struct rd_object *service, const struct rd_dialled *dialled,
	      struct rd_reasoned **ret_reasoned, size_t *ret_n);

#endif
