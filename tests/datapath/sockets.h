/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef REDIAL_SOCKETS_H
#define REDIAL_SOCKETS_H

/* SO_MARK of a listening socket, which those it accepts inherit. */
#define SERVERS_MARK 0x5e12

#endif
