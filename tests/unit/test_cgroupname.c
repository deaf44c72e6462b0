// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "cgroupname.h"
#include "util.h"

#define UID "5fa1a6c9-3c4d-4a0e-8f6b-0123456789ab"
#define UID_ "5fa1a6c9_3c4d_4a0e_8f6b_0123456789ab"
#define OTHER "00000000-1111-2222-3333-444444444444"
#define STATIC "5fa1a6c93c4d4a0e8f6b0123456789ab"
#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID2 "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

struct row {
	const char *path;
	const char *pod_uid;
	const char *container;
};

static void check(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct rd_cgroup_owner owner;

		memset(&owner, 'x', sizeof(owner));
		rd_cgroup_owner_parse(rows[i].path, &owner);
		if (strcmp(owner.pod_uid, rows[i].pod_uid) ||
		    strcmp(owner.container, rows[i].container))
			fail_msg("\"%s\" is of Pod \"%s\", container \"%s\"", rows[i].path,
				 owner.pod_uid, owner.container);
	}
}
#define CHECK(rows) check((rows), RD_ARRAY_SIZE(rows))

TEST(the_cgroupfs_driver)
{
	static const struct row rows[] = {
		{"/kubepods/pod" UID "/" ID, UID, ID},
		{"/kubepods/burstable/pod" UID "/" ID, UID, ID},
		{"/kubepods/besteffort/pod" UID "/" ID, UID, ID},
		{"/kubepods/besteffort/pod" UID, UID, ""},
		{"/kubepods/besteffort", "", ""},
		/* CRI-O names its cgroups alike with both drivers. */
		{"/kubepods/burstable/pod" UID "/crio-" ID, UID, ID},
		/* A static Pod's is a hash. */
		{"/kubepods/burstable/pod" STATIC "/" ID, STATIC, ID},
	};

	CHECK(rows);
}

TEST(the_systemd_driver)
{
	static const struct row rows[] = {
		{"/kubepods.slice/kubepods-pod" UID_ ".slice/cri-containerd-" ID ".scope", UID, ID},
		{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_
		 ".slice/cri-containerd-" ID ".scope",
		 UID, ID},
		{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_
		 ".slice/crio-" ID ".scope",
		 UID, ID},
		{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_
		 ".slice/docker-" ID ".scope",
		 UID, ID},
		{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" STATIC
		 ".slice/docker-" ID ".scope",
		 STATIC, ID},
		{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice",
		 UID, ""},
		{"/kubepods.slice/kubepods-burstable.slice", "", ""},
	};

	CHECK(rows);
}

TEST(containers_that_are_no_pods)
{
	static const struct row rows[] = {
		{"/system.slice/docker-" ID ".scope", "", ID},
		{"/docker/" ID, "", ID},
		{"/system.slice/crio-" ID ".scope", "", ID},
		{"/machine.slice/libpod-" ID ".scope/container", "", ID},
		{"/system.slice/sshd.service", "", ""},
		{"/user.slice/user-1000.slice/session-1.scope", "", ""},
		{"/", "", ""},
		{"", "", ""},
	};

	CHECK(rows);
}

/* kind runs kubelets in containers; a container may have cgroups of its own, and
 * containers in it. The innermost counts. */
TEST(what_is_nested_is_who_it_is_innermost)
{
	static const struct row rows[] = {
		{"/docker/" ID "/kubelet.slice/kubelet-kubepods.slice/"
		 "kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" UID_
		 ".slice/cri-containerd-" ID2 ".scope",
		 UID, ID2},
		{"/kubepods/pod" UID "/" ID "/init.scope", UID, ID},
		{"/kubepods/pod" UID "/" ID "/docker/" ID2, UID, ID2},
		{"/kubepods/pod" UID "/" ID "/kubepods/pod" OTHER "/" ID2, OTHER, ID2},
		{"kubepods//pod" UID "//" ID "/", UID, ID},
	};

	CHECK(rows);
}

TEST(names_that_only_look_like_it)
{
	static const struct row rows[] = {
		/* A digit less, a digit more, no digit, dashes elsewhere. */
		{"/kubepods/pod5fa1a6c9-3c4d-4a0e-8f6b-0123456789a", "", ""},
		{"/kubepods/pod5fa1a6c9-3c4d-4a0e-8f6b-0123456789abc", "", ""},
		{"/kubepods/pod5fa1a6c9-3c4d-4a0e-8f6b-0123456789ag", "", ""},
		{"/kubepods/pod5fa1a6c93-c4d-4a0e-8f6b-0123456789ab", "", ""},
		{"/kubepods/pod" STATIC "0", "", ""},
		{"/kubepods/pod", "", ""},
		{"/kubepods/mypod" UID, "", ""},
		{"/kubepods/" UID, "", ""},
		{"/pod" UID ".slice.slice", "", ""},
		{"/pod" UID ".scope", "", ""},
		{"/.slice/.scope/pod.slice", "", ""},
		/* A container's id with something before it that is no prefix. */
		{"/docker/x" ID, "", ""},
		{"/docker/0" ID, "", ""},
		{"/docker/" ID "0", "", ""},
		{"/docker/" ID ".service", "", ""},
		{"/docker/g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "",
		 ""},
		{"/docker/" ID "\n", "", ""},
		{"/docker/" ID ".scope ", "", ""},
	};

	CHECK(rows);
}

/* Whoever may make cgroups names them as they like; what is taken is digits and
 * dashes, and the rest is ignored. */
TEST(hostile_names_are_nobodys)
{
	static const struct row rows[] = {
		{"/pod" UID "\033[2J", "", ""},
		{"/pod\xff\xfe-4d-4a0e-8f6b-0123456789ab", "", ""},
		{"/pod\xd9\xa0\xd9\xa1-3c4d-4a0e-8f6b-0123456789ab", "", ""},
		{"/%s%n%n%n/pod%s", "", ""},
		{"/podpodpodpodpodpodpodpodpodpodpodpod" UID, "", ""},
		{"/pod-pod-pod" UID, UID, ""},
		{"/../../pod" UID "/..", UID, ""},
	};
	static char path[70000];
	struct rd_cgroup_owner owner;

	CHECK(rows);
	memset(path, 'a', sizeof(path) - 1);
	rd_cgroup_owner_parse(path, &owner);
	assert_string_equal(owner.pod_uid, "");
	assert_string_equal(owner.container, "");
	memset(path, '/', sizeof(path) - 1);
	rd_cgroup_owner_parse(path, &owner);
	for (size_t i = 0; i + 4 < sizeof(path); i += 4)
		memcpy(path + i, "pod-", 4);
	rd_cgroup_owner_parse(path, &owner);
	assert_string_equal(owner.pod_uid, "");
}

TEST(what_is_not_printable_is_a_question_mark)
{
	static const struct {
		const char *from;
		size_t size;
		const char *expected;
	} rows[] = {
		{"plain text~", 32, "plain text~"},
		{"\033[31mred\a\n\t\x7f", 32, "?[31mred????"},
		{"caf\xc3\xa9", 32, "caf??"},
		{"", 32, ""},
		{"abc", 4, "abc"},
		{"abc", 3, "ab"},
		{"abc", 1, ""},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		char to[32];

		memset(to, 'x', sizeof(to));
		rd_copy_printable(to, rows[i].size, rows[i].from);
		assert_string_equal(to, rows[i].expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_cgroupfs_driver),
		cmocka_unit_test(the_systemd_driver),
		cmocka_unit_test(containers_that_are_no_pods),
		cmocka_unit_test(what_is_nested_is_who_it_is_innermost),
		cmocka_unit_test(names_that_only_look_like_it),
		cmocka_unit_test(hostile_names_are_nobodys),
		cmocka_unit_test(what_is_not_printable_is_a_question_mark),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
