// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * UDP as applications use it: sendto and recvfrom without connect, and with.
 * The numbers in the names are those of the statements they prove.
 */
#include "sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PODS 4

static struct node node;

static int open_node(void **state)
{
	(void)state;
	node_open(&node, &(struct node_config){0});
	return 0;
}

static int close_node(void **state)
{
	(void)state;
	node_close(&node);
	return 0;
}

static const struct form {
	const char *name;
	int family; /* of the client's socket */
	const char *address, *dial;
	const char *direct; /* the first Pod, as the client dials it */
	const char *pods[PODS];
} forms[] = {
	{.name = "IPv4",
	 .family = AF_INET,
	 .address = "10.96.0.1:53",
	 .dial = "10.96.0.1:53",
	 .direct = "10.244.0.1:5353",
	 .pods = {"10.244.0.1:5353", "10.244.0.2:5353", "10.244.0.3:5353", "10.244.0.4:5353"}},
	{.name = "IPv6",
	 .family = AF_INET6,
	 .address = "[fd00:96::1]:53",
	 .dial = "[fd00:96::1]:53",
	 .direct = "[fd00:244::1]:5353",
	 .pods = {"[fd00:244::1]:5353", "[fd00:244::2]:5353", "[fd00:244::3]:5353",
		  "[fd00:244::4]:5353"}},
	{.name = "IPv4 by an IPv6 socket",
	 .family = AF_INET6,
	 .address = "10.96.0.1:53",
	 .dial = "[::ffff:10.96.0.1]:53",
	 .direct = "[::ffff:10.244.0.1]:5353",
	 .pods = {"10.244.0.1:5353", "10.244.0.2:5353", "10.244.0.3:5353", "10.244.0.4:5353"}},
};

/* The Service with the Pods whose bits are set. */
static void serve(const struct form *form, unsigned pods)
{
	struct service service = {.name = "dns", .address = form->address, .protocol = IPPROTO_UDP};
	size_t n = 0;

	for (int pod = 0; pod < PODS; pod++)
		if (pods >> pod & 1)
			service.backends[n++] = form->pods[pod];
	node_serve(&node, &service);
}

static int client_of(const struct form *form)
{
	int fd = socket(form->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

/* What a test has between begin and end: a socket, and one of each Pod. */
static int client, servers[PODS];

static void begin(const struct form *form, unsigned pods)
{
	client = client_of(form);
	for (int pod = 0; pod < PODS; pod++)
		servers[pod] = listen_on(form->pods[pod], SOCK_DGRAM);
	serve(form, pods);
}

static void end(void)
{
	close(client);
	for (int pod = 0; pod < PODS; pod++)
		close(servers[pod]);
	node_remove(&node, "dns");
}

/* Which server has a datagram; consumes it. */
static int which(void)
{
	struct pollfd ready[PODS];

	for (int pod = 0; pod < PODS; pod++)
		ready[pod] = (struct pollfd){.fd = servers[pod], .events = POLLIN};
	assert_int_equal(poll(ready, PODS, 5000), 1);
	for (int pod = 0; pod < PODS; pod++) {
		char byte;

		if (!(ready[pod].revents & POLLIN))
			continue;
		assert_int_equal(recv(servers[pod], &byte, 1, 0), 1);
		return pod;
	}
	return -1;
}

#define FOR_EACH_FORM(form)                                                                        \
	for (const struct form *form = forms;                                                      \
	     form < forms + RD_ARRAY_SIZE(forms) && (print_message("  %s\n", form->name), true);   \
	     form++)

static void C16_C17_H9_a_reply_shows_the_service(void **state)
{
	(void)state;
	FOR_EACH_FORM(form)
	{
		begin(form, 1);
		for (int i = 0; i < 3; i++) {
			assert_int_equal(send_to(client, form->dial), 0);
			echo(servers[0]);
			assert_string_equal(receive_from(client), form->dial);
		}
		end();
	}
}

static void C16_a_connected_socket_receives_from_the_service(void **state)
{
	(void)state;
	FOR_EACH_FORM(form)
	{
		begin(form, 1);
		assert_int_equal(dial(client, form->dial), 0);
		assert_int_equal(send(client, "x", 1, 0), 1);
		echo(servers[0]);
		assert_string_equal(receive_from(client), form->dial);
		end();
	}
}

static void a_disconnected_socket_receives_from_the_backend_it_sent_to(void **state)
{
	const struct sockaddr unspec = {.sa_family = AF_UNSPEC};

	(void)state;
	FOR_EACH_FORM(form)
	{
		begin(form, 1);
		assert_int_equal(dial(client, form->dial), 0);
		assert_int_equal(connect(client, &unspec, sizeof(unspec)), 0);
		assert_int_equal(send_to(client, form->direct), 0);
		echo(servers[0]);
		assert_string_equal(receive_from(client), form->direct);
		end();
	}
}

static void B11_a_socket_stays_with_its_backend_however_the_set_changes(void **state)
{
	(void)state;
	FOR_EACH_FORM(form)
	{
		int first, second;

		begin(form, 0xf);
		assert_int_equal(send_to(client, form->dial), 0);
		first = which();
		for (int i = 0; i < 40; i++) {
			/* Any set in which the socket's backend is. */
			serve(form, 1U << first | ((unsigned)i * 7 & 0xf));
			assert_int_equal(send_to(client, form->dial), 0);
			assert_int_equal(which(), first);
		}
		/* It leaves: another one takes its place, and keeps it. */
		serve(form, 0xfU & ~(1U << first));
		assert_int_equal(send_to(client, form->dial), 0);
		second = which();
		assert_int_not_equal(first, second);
		serve(form, 0xf);
		for (int i = 0; i < 10; i++) {
			assert_int_equal(send_to(client, form->dial), 0);
			assert_int_equal(which(), second);
		}
		end();
	}
}

static void B10_new_sockets_reach_every_backend(void **state)
{
	(void)state;
	FOR_EACH_FORM(form)
	{
		unsigned reached = 0;

		begin(form, 0xf);
		for (int i = 0; i < 200; i++) {
			int another = client_of(form);

			assert_int_equal(send_to(another, form->dial), 0);
			reached |= 1U << which();
			close(another);
		}
		assert_int_equal(reached, 0xf);
		end();
	}
}

static void C2_E3_a_send_is_refused_without_endpoints_and_works_with_the_first(void **state)
{
	(void)state;
	FOR_EACH_FORM(form)
	{
		begin(form, 0);
		assert_int_equal(send_to(client, form->dial), -ECONNREFUSED);
		serve(form, 1);
		assert_int_equal(send_to(client, form->dial), 0);
		assert_int_equal(which(), 0);
		serve(form, 0);
		assert_int_equal(send_to(client, form->dial), -ECONNREFUSED);
		serve(form, 2);
		assert_int_equal(send_to(client, form->dial), 0);
		assert_int_equal(which(), 1);
		end();
	}
}

static void E2_a_connected_socket_may_send_to_another_service(void **state)
{
	static const struct service other = {.name = "other",
					     .address = "10.96.0.2:53",
					     .protocol = IPPROTO_UDP,
					     .backends = {"10.244.0.2:5353"}};
	const struct form *form = &forms[0];

	(void)state;
	begin(form, 1);
	node_serve(&node, &other);
	assert_int_equal(dial(client, form->dial), 0);
	assert_int_equal(send_to(client, "10.96.0.2:53"), 0);
	assert_int_equal(which(), 1);
	assert_int_equal(send(client, "x", 1, 0), 1);
	assert_int_equal(which(), 0);
	assert_string_equal(peer_of(client), form->dial);
	end();
	node_remove(&node, "other");
}

#define SERVICES 30

static void one_socket_talks_to_many_services(void **state)
{
	char names[SERVICES][32], fronts[SERVICES][32], backs[SERVICES][32];
	int one = client_of(&forms[0]), pods[SERVICES];

	(void)state;
	for (int i = 0; i < SERVICES; i++) {
		struct service service = {.protocol = IPPROTO_UDP};

		snprintf(names[i], sizeof(names[i]), "many-%d", i);
		snprintf(fronts[i], sizeof(fronts[i]), "10.96.1.%d:53", i + 1);
		snprintf(backs[i], sizeof(backs[i]), "10.244.0.1:%d", 6000 + i);
		service.name = names[i];
		service.address = fronts[i];
		service.backends[0] = backs[i];
		pods[i] = listen_on(backs[i], SOCK_DGRAM);
		node_serve(&node, &service);
	}
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < SERVICES; i++)
			assert_int_equal(send_to(one, fronts[i]), 0);
		for (int i = 0; i < SERVICES; i++) {
			echo(pods[i]);
			assert_string_equal(receive_from(one), fronts[i]);
		}
	}
	for (int i = 0; i < SERVICES; i++) {
		node_remove(&node, names[i]);
		close(pods[i]);
	}
	close(one);
}

static void C16_of_two_services_with_one_backend_the_one_asked_answers(void **state)
{
	static const struct service other = {.name = "other",
					     .address = "10.96.0.2:53",
					     .protocol = IPPROTO_UDP,
					     .backends = {"10.244.0.1:5353"}};
	const struct form *form = &forms[0];

	(void)state;
	begin(form, 1);
	node_serve(&node, &other);
	for (int i = 0; i < 6; i++) {
		const char *asked = i % 2 ? form->dial : "10.96.0.2:53";

		assert_int_equal(send_to(client, asked), 0);
		echo(servers[0]);
		assert_string_equal(receive_from(client), asked);
	}
	end();
	node_remove(&node, "other");
}

static void sendmmsg_and_recvmmsg_work(void **state)
{
	const struct form *form = &forms[0];
	socklen_t length;
	struct sockaddr_storage to = address_of(form->dial, &length);
	char bytes[4] = "abc";
	struct iovec parts[3];
	struct sockaddr_in from[3];
	struct mmsghdr messages[3] = {0};

	(void)state;
	begin(form, 1);
	for (int i = 0; i < 3; i++) {
		parts[i] = (struct iovec){.iov_base = &bytes[i], .iov_len = 1};
		messages[i].msg_hdr = (struct msghdr){.msg_name = &to,
						      .msg_namelen = length,
						      .msg_iov = &parts[i],
						      .msg_iovlen = 1};
	}
	assert_int_equal(sendmmsg(client, messages, 3, 0), 3);
	for (int i = 0; i < 3; i++) {
		echo(servers[0]);
		messages[i].msg_hdr.msg_name = &from[i];
		messages[i].msg_hdr.msg_namelen = sizeof(from[i]);
	}
	assert_int_equal(recvmmsg(client, messages, 3, 0, NULL), 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(from[i].sin_addr.s_addr, inet_addr("10.96.0.1"));
		assert_int_equal(ntohs(from[i].sin_port), 53);
	}
	end();
}

static void H5_what_a_pod_sends_by_itself_is_shown_as_the_pod(void **state)
{
	const struct form *form = &forms[0];

	(void)state;
	begin(form, 1);
	/* Another Pod, never a backend. */
	assert_int_equal(send_to(client, form->pods[1]), 0);
	echo(servers[1]);
	assert_string_equal(receive_from(client), form->pods[1]);
	/* The backend itself, after the Service and then directly. */
	assert_int_equal(send_to(client, form->dial), 0);
	echo(servers[0]);
	assert_string_equal(receive_from(client), form->dial);
	assert_int_equal(send_to(client, form->pods[0]), 0);
	echo(servers[0]);
	assert_string_equal(receive_from(client), form->pods[0]);
	/* And the Service again. */
	assert_int_equal(send_to(client, form->dial), 0);
	echo(servers[0]);
	assert_string_equal(receive_from(client), form->dial);
	end();
}

static void a_removed_service_is_untouched_at_the_next_send(void **state)
{
	const struct form *form = &forms[0];

	(void)state;
	begin(form, 1);
	assert_int_equal(send_to(client, form->dial), 0);
	assert_int_equal(which(), 0);
	node_remove(&node, "dns");
	assert_int_equal(send_to(client, form->dial), -ENETUNREACH);
	serve(form, 1);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(C16_C17_H9_a_reply_shows_the_service),
		cmocka_unit_test(C16_a_connected_socket_receives_from_the_service),
		cmocka_unit_test(a_disconnected_socket_receives_from_the_backend_it_sent_to),
		cmocka_unit_test(B11_a_socket_stays_with_its_backend_however_the_set_changes),
		cmocka_unit_test(B10_new_sockets_reach_every_backend),
		cmocka_unit_test(
			C2_E3_a_send_is_refused_without_endpoints_and_works_with_the_first),
		cmocka_unit_test(E2_a_connected_socket_may_send_to_another_service),
		cmocka_unit_test(one_socket_talks_to_many_services),
		cmocka_unit_test(C16_of_two_services_with_one_backend_the_one_asked_answers),
		cmocka_unit_test(sendmmsg_and_recvmmsg_work),
		cmocka_unit_test(H5_what_a_pod_sends_by_itself_is_shown_as_the_pod),
		cmocka_unit_test(a_removed_service_is_untouched_at_the_next_send),
	};

	sandbox_enter();
	return run_on_each_kernel(tests, open_node, close_node);
}
