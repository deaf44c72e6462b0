// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/objects.h"

#include <stdio.h>

#include "assign.h"

/* A store of Services without an address, and a plan of what is in the maps. */
struct fixture {
	struct rd_cidr cidr;
	struct rd_store store;
	struct rd_plan plan;
	struct rd_assigner assigner;
	struct rd_name_set names;
};

static void begin(struct fixture *f, const char *cidr)
{
	struct rd_limits limits = {.max_services = 8,
				   .max_ports = 8,
				   .max_frontends = 8,
				   .frontend_bits = 4,
				   .multiplier = 1,
				   .max_slots = 8};

	*f = (struct fixture){0};
	f->assigner = (struct rd_assigner){.cidr = &f->cidr, .store = &f->store, .plan = &f->plan};
	if (cidr)
		assert_int_equal(rd_cidr_parse(cidr, &f->cidr), 0);
	rd_store_init(&f->store);
	assert_int_equal(rd_plan_new(&f->plan, &limits), 0);
}

static void end(struct fixture *f)
{
	rd_name_set_clear(&f->names);
	rd_store_free(&f->store);
	rd_plan_free(&f->plan);
}

static void add(struct fixture *f, const char *name, const char *ip4, const char *ip6)
{
	rd_store_put(&f->store,
		     SERVICE(.name = name, .ip4 = ip4, .ip6 = ip6, .ports = {{.port = 80}}));
	assert_int_equal(rd_name_set_add(&f->names, "default", name), 0);
}

/* What a former agent left in the maps. */
static void adopt(struct fixture *f, uint32_t id, const char *name, const char *ip)
{
	struct rd_service record = {.namespace = "default", .port = 80, .protocol = IPPROTO_TCP};
	struct rd_ip address = to_ip(ip);

	snprintf(record.name, sizeof(record.name), "%s", name);
	memcpy(address.family == RD_FAMILY_6 ? record.cluster_ip6 : record.cluster_ip4,
	       address.bytes, address.family == RD_FAMILY_6 ? 16 : 4);
	assert_int_equal(rd_plan_adopt_service(&f->plan, id, &record), 0);
}

static const char *address_of(struct fixture *f, const char *name)
{
	static char text[4][RD_IP_TEXT];
	static unsigned n;
	const struct rd_object *service = rd_store_find(&f->store, RD_SERVICE, "default", name);
	size_t v6 = service->service.cluster_ip[1].family != 0;
	const struct rd_ip *ip = &service->service.cluster_ip[v6];

	return ip->family ? rd_ip_format(ip, text[n++ % 4]) : "none";
}

static bool is_assigned(struct fixture *f, const char *name)
{
	const struct rd_object *service = rd_store_find(&f->store, RD_SERVICE, "default", name);

	return service->service.assigned[0] || service->service.assigned[1];
}

TEST(an_address_is_needed_by_who_is_to_have_one_and_has_none)
{
	struct {
		struct rd_object *service;
		bool needed;
	} rows[] = {
		{SERVICE(.ports = {{.port = 80}}), true},
		{SERVICE(.ip4 = "10.0.0.1", .ports = {{.port = 80}}), false},
		{SERVICE(.ip6 = "fd00::1", .ports = {{.port = 80}}), false},
		{SERVICE(.headless = true, .ports = {{.port = 80}}), false},
		{SERVICE(.not_ours = true, .ports = {{.port = 80}}), false},
		{SERVICE(.type = RD_TYPE_EXTERNAL_NAME), false},
	};
	struct fixture f, without;

	begin(&f, "10.96.0.0/29");
	begin(&without, NULL);
	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		assert_int_equal(rd_assign_is_needed(&f.assigner, rows[i].service), rows[i].needed);
		assert_false(rd_assign_is_needed(&without.assigner, rows[i].service));
		rd_object_free(rows[i].service);
	}
	end(&f);
	end(&without);
}

TEST(who_needs_an_address_gets_one_of_the_range_that_nobody_has)
{
	struct fixture f;

	begin(&f, "10.96.0.0/30");
	add(&f, "a", "10.96.0.1", NULL);
	add(&f, "b", NULL, NULL);
	assert_int_equal(rd_assign(&f.assigner, &f.names), 0);
	assert_string_equal(address_of(&f, "b"), "10.96.0.2");
	assert_true(is_assigned(&f, "b"));
	assert_string_equal(address_of(&f, "a"), "10.96.0.1");
	assert_false(is_assigned(&f, "a"));
	end(&f);
}

TEST(without_room_a_service_needs_an_address_still)
{
	struct fixture f;

	begin(&f, "10.96.0.0/30");
	add(&f, "a", "10.96.0.1", NULL);
	add(&f, "b", "10.96.0.2", NULL);
	add(&f, "c", NULL, NULL);
	assert_int_equal(rd_assign(&f.assigner, &f.names), 0);
	assert_string_equal(address_of(&f, "c"), "none");
	assert_false(is_assigned(&f, "c"));
	end(&f);
}

/* "a" comes first, and would take the one that is free: of b's there is one. */
TEST(an_address_from_before_the_start_is_kept_whoever_comes_first)
{
	struct fixture f;

	begin(&f, "10.96.0.0/30");
	adopt(&f, 0, "b", "10.96.0.1");
	add(&f, "a", NULL, NULL);
	add(&f, "b", NULL, NULL);
	assert_int_equal(rd_assign(&f.assigner, &f.names), 0);
	assert_string_equal(address_of(&f, "b"), "10.96.0.1");
	assert_string_equal(address_of(&f, "a"), "10.96.0.2");
	end(&f);
}

TEST(an_address_in_the_maps_is_not_given_to_another_even_if_its_service_is_not_seen_yet)
{
	struct fixture f;

	begin(&f, "10.96.0.0/30");
	adopt(&f, 0, "gone", "10.96.0.1");
	adopt(&f, 1, "going", "10.96.0.2");
	add(&f, "a", NULL, NULL);
	assert_int_equal(rd_assign(&f.assigner, &f.names), 0);
	assert_string_equal(address_of(&f, "a"), "none");
	end(&f);
}

TEST(an_address_from_before_the_start_is_lost_to_who_names_it_or_if_the_range_is_another)
{
	struct fixture f;

	begin(&f, "10.96.0.0/30");
	adopt(&f, 0, "a", "10.96.0.1");
	adopt(&f, 1, "c", "10.97.0.1");
	add(&f, "a", NULL, NULL);
	add(&f, "b", "10.96.0.1", NULL);
	assert_int_equal(rd_assign(&f.assigner, &f.names), 0);
	assert_string_equal(address_of(&f, "a"), "10.96.0.2");
	add(&f, "c", NULL, NULL);
	assert_int_equal(rd_assign(&f.assigner, &f.names), 0);
	assert_string_equal(address_of(&f, "c"), "none");
	end(&f);
}

TEST(a_range_of_ipv6_gives_ipv6)
{
	struct fixture f;

	begin(&f, "fd00::/112");
	adopt(&f, 0, "a", "fd00::7");
	add(&f, "a", NULL, NULL);
	add(&f, "b", NULL, NULL);
	assert_int_equal(rd_assign(&f.assigner, &f.names), 0);
	assert_string_equal(address_of(&f, "a"), "fd00::7");
	assert_memory_equal(address_of(&f, "b"), "fd00::", 6);
	assert_string_not_equal(address_of(&f, "b"), "fd00::7");
	end(&f);
}

TEST(only_those_that_are_named_get_one)
{
	struct fixture f;

	begin(&f, "10.96.0.0/24");
	add(&f, "a", NULL, NULL);
	rd_name_set_clear(&f.names);
	assert_int_equal(rd_assign(&f.assigner, &f.names), 0);
	assert_string_equal(address_of(&f, "a"), "none");
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_is_needed_by_who_is_to_have_one_and_has_none),
		cmocka_unit_test(who_needs_an_address_gets_one_of_the_range_that_nobody_has),
		cmocka_unit_test(without_room_a_service_needs_an_address_still),
		cmocka_unit_test(an_address_from_before_the_start_is_kept_whoever_comes_first),
		cmocka_unit_test(
			an_address_in_the_maps_is_not_given_to_another_even_if_its_service_is_not_seen_yet),
		cmocka_unit_test(
			an_address_from_before_the_start_is_lost_to_who_names_it_or_if_the_range_is_another),
		cmocka_unit_test(a_range_of_ipv6_gives_ipv6),
		cmocka_unit_test(only_those_that_are_named_get_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
