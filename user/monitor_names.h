/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * monitor_names.h - `redial monitor --names`: queries as they are answered, one
 * line each.
 */
#ifndef REDIAL_MONITOR_NAMES_H
#define REDIAL_MONITOR_NAMES_H

#include "options.h"

/*
 * Print until a signal, --count lines, or nobody reading.
 *
 * @signals: a signalfd; readable means the end
 * Returns 0 or -errno, with @error set.
 */
int rd_monitor_names(const struct rd_settings *settings, int signals, struct rd_error *error);

#endif
