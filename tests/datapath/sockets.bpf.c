// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sockets.bpf.c - counts the clients' sockets that the kernel says are released.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "sockets.h"

unsigned long long released;

SEC("cgroup/sock_release")
int count_released(struct bpf_sock *sk)
{
	if (sk->mark != SERVERS_MARK)
		__sync_fetch_and_add(&released, 1);
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
