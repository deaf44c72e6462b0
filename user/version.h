/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef REDIAL_VERSION_H
#define REDIAL_VERSION_H

#define REDIAL_VERSION "0.1.0"
/* Of this version, for the man page. */
#define REDIAL_DATE "2026-11-22"

#endif
