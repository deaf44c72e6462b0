// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/objects.h"

#include <errno.h>
#include <stdio.h>

#include "unit/alloc_fail.h"

/* The names of a set in its order, as "ns/name ns/name". */
static const char *names(struct rd_name_set *set)
{
	static char text[1000];
	struct rd_service_name *name;
	size_t used = 0;

	text[0] = '\0';
	for (name = rd_name_set_first(set); name; name = rd_name_set_next(name))
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s/%s",
					 used ? " " : "", name->namespace, name->name);
	return text;
}

/* The Services the last changes may concern, forgetting them. */
static const char *dirty(struct rd_store *store)
{
	const char *text = names(&store->dirty);

	assert_false(store->all_dirty);
	rd_name_set_clear(&store->dirty);
	return text;
}

/* The names of the objects of one kind, as the store iterates them. */
static const char *listed(const struct rd_store *store, enum rd_kind kind, const char *namespace)
{
	static char text[1000];
	struct rd_object *object = NULL;
	size_t used = 0;

	text[0] = '\0';
	while ((object = rd_store_next(store, kind, namespace, object)))
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s/%s",
					 used ? " " : "", object->namespace, object->name);
	return text;
}

static const char *owned(const struct rd_store *store, const char *namespace, const char *service)
{
	static char text[1000];
	struct rd_object *object = NULL;
	size_t used = 0;

	text[0] = '\0';
	while ((object = rd_store_next_slice(store, namespace, service, object)))
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s:%s",
					 used ? " " : "", rd_kind_name(object->kind), object->name);
	return text;
}

TEST(every_kind_has_its_name)
{
	assert_string_equal(rd_kind_name(RD_SERVICE), "Service");
	assert_string_equal(rd_kind_name(RD_SLICE), "EndpointSlice");
	assert_string_equal(rd_kind_name(RD_ENDPOINTS), "Endpoints");
	assert_string_equal(rd_kind_name(RD_POD), "Pod");
	assert_string_equal(rd_kind_name(RD_NODE), "Node");
}

TEST(names_are_ordered_by_namespace_then_name)
{
	assert_true(rd_name_compare("a", "z", "b", "a") < 0);
	assert_true(rd_name_compare("b", "a", "a", "z") > 0);
	assert_true(rd_name_compare("a", "a", "a", "b") < 0);
	assert_true(rd_name_compare("a-b", "c", "a", "b-c") > 0);
	assert_int_equal(rd_name_compare("a", "a", "a", "a"), 0);
}

TEST(a_set_of_names_has_each_once_and_in_order)
{
	struct rd_name_set set = {0};

	assert_null(rd_name_set_first(&set));
	assert_int_equal(rd_name_set_add(&set, "b", "x"), 0);
	assert_int_equal(rd_name_set_add(&set, "a", "y"), 0);
	assert_int_equal(rd_name_set_add(&set, "b", "a"), 0);
	assert_int_equal(rd_name_set_add(&set, "a", "y"), 0);
	assert_string_equal(names(&set), "a/y b/a b/x");
	rd_name_set_drop(&set, rd_name_set_next(rd_name_set_first(&set)));
	assert_string_equal(names(&set), "a/y b/x");
	rd_name_set_clear(&set);
	assert_string_equal(names(&set), "");
	rd_name_set_clear(&set);
}

TEST(the_longest_names_fit_into_a_set)
{
	char longest[RD_LABEL_MAX], expected[2 * RD_LABEL_MAX + 1];
	struct rd_name_set set = {0};

	memset(longest, 'n', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	snprintf(expected, sizeof(expected), "%s/%s", longest, longest);
	assert_int_equal(rd_name_set_add(&set, longest, longest), 0);
	assert_string_equal(names(&set), expected);
	rd_name_set_clear(&set);
}

TEST(out_of_memory_leaves_a_set_of_names_as_it_was)
{
	struct rd_name_set set = {0};

	assert_int_equal(rd_name_set_add(&set, "a", "a"), 0);
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		int r = rd_name_set_add(&set, "b", "b");

		if (!alloc_fail_end()) {
			assert_int_equal(r, 0);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_string_equal(names(&set), "a/a");
	}
	assert_string_equal(names(&set), "a/a b/b");
	rd_name_set_clear(&set);
}

TEST(what_is_put_is_found_by_kind_namespace_and_name)
{
	struct rd_store store;
	struct rd_object *service = SERVICE(.name = "web", .ip4 = "10.96.0.1");
	struct rd_object *slice = SLICE(.name = "web");

	rd_store_init(&store);
	assert_null(rd_store_find(&store, RD_SERVICE, "default", "web"));
	rd_store_put(&store, service);
	rd_store_put(&store, slice);
	assert_ptr_equal(rd_store_find(&store, RD_SERVICE, "default", "web"), service);
	assert_ptr_equal(rd_store_find(&store, RD_SLICE, "default", "web"), slice);
	assert_null(rd_store_find(&store, RD_ENDPOINTS, "default", "web"));
	assert_null(rd_store_find(&store, RD_SERVICE, "shop", "web"));
	assert_null(rd_store_find(&store, RD_SERVICE, "default", "we"));
	assert_int_equal(store.count[RD_SERVICE], 1);
	assert_int_equal(store.count[RD_SLICE], 1);
	assert_int_equal(store.count[RD_POD], 0);
	rd_store_free(&store);
}

TEST(a_second_of_the_same_name_replaces_the_first)
{
	struct rd_store store;
	struct rd_object *second = SERVICE(.ip4 = "10.96.0.2");

	rd_store_init(&store);
	rd_store_put(&store, SERVICE(.ip4 = "10.96.0.1"));
	rd_store_put(&store, second);
	assert_int_equal(store.count[RD_SERVICE], 1);
	assert_ptr_equal(rd_store_find(&store, RD_SERVICE, "default", "web"), second);
	rd_store_free(&store);
}

TEST(what_is_removed_is_gone_and_removing_nothing_is_no_mistake)
{
	struct rd_store store;

	rd_store_init(&store);
	rd_store_put(&store, SERVICE(.name = "web"));
	rd_store_put(&store, SLICE(.name = "web-1"));
	rd_store_remove(&store, RD_SERVICE, "default", "db");
	rd_store_remove(&store, RD_SLICE, "default", "web");
	assert_int_equal(store.count[RD_SERVICE], 1);
	rd_store_remove(&store, RD_SERVICE, "default", "web");
	rd_store_remove(&store, RD_SLICE, "default", "web-1");
	assert_null(rd_store_find(&store, RD_SERVICE, "default", "web"));
	assert_string_equal(owned(&store, "default", "web"), "");
	assert_int_equal(store.count[RD_SERVICE], 0);
	assert_int_equal(store.count[RD_SLICE], 0);
	rd_store_free(&store);
}

TEST(objects_of_a_kind_are_iterated_in_order_of_namespace_and_name)
{
	struct rd_store store;

	rd_store_init(&store);
	rd_store_put(&store, SERVICE(.namespace = "shop", .name = "b"));
	rd_store_put(&store, SERVICE(.namespace = "shop", .name = "a"));
	rd_store_put(&store, SERVICE(.namespace = "shop-2", .name = "a"));
	rd_store_put(&store, SERVICE(.namespace = "infra", .name = "z"));
	rd_store_put(&store, POD(.namespace = "shop", .name = "p"));
	rd_store_put(&store, SLICE(.namespace = "infra", .name = "s"));
	rd_store_put(&store, make_object(RD_NODE, "", "node1"));
	assert_string_equal(listed(&store, RD_SERVICE, NULL), "infra/z shop/a shop/b shop-2/a");
	assert_string_equal(listed(&store, RD_SERVICE, "shop"), "shop/a shop/b");
	assert_string_equal(listed(&store, RD_SERVICE, "sho"), "");
	assert_string_equal(listed(&store, RD_POD, NULL), "shop/p");
	assert_string_equal(listed(&store, RD_ENDPOINTS, NULL), "");
	assert_string_equal(listed(&store, RD_NODE, NULL), "/node1");
	assert_string_equal(listed(&store, RD_NODE, ""), "/node1");
	rd_store_free(&store);
}

TEST(slices_and_endpoints_are_iterated_by_the_service_that_owns_them)
{
	struct rd_store store;

	rd_store_init(&store);
	rd_store_put(&store, SLICE(.name = "zzz", .owner = "web"));
	rd_store_put(&store, SLICE(.name = "aaa", .owner = "web"));
	rd_store_put(&store, SLICE(.name = "mmm", .owner = "web-2"));
	rd_store_put(&store, SLICE(.name = "none", .owner = ""));
	rd_store_put(&store, SLICE(.namespace = "shop", .name = "web", .owner = "web"));
	rd_store_put(&store, SLICE(.kind = RD_ENDPOINTS, .name = "web", .owner = "web"));
	assert_string_equal(owned(&store, "default", "web"),
			    "EndpointSlice:aaa EndpointSlice:zzz Endpoints:web");
	assert_string_equal(owned(&store, "default", "web-2"), "EndpointSlice:mmm");
	assert_string_equal(owned(&store, "shop", "web"), "EndpointSlice:web");
	assert_string_equal(owned(&store, "shop", "web-2"), "");
	assert_string_equal(owned(&store, "default", ""), "EndpointSlice:none");
	rd_store_free(&store);
}

TEST(a_slice_can_move_to_another_service)
{
	struct rd_store store;

	rd_store_init(&store);
	rd_store_put(&store, SLICE(.name = "s", .owner = "old"));
	dirty(&store);
	rd_store_put(&store, SLICE(.name = "s", .owner = "new"));
	assert_string_equal(owned(&store, "default", "old"), "");
	assert_string_equal(owned(&store, "default", "new"), "EndpointSlice:s");
	assert_string_equal(dirty(&store), "default/new default/old");
	rd_store_free(&store);
}

TEST(a_change_marks_the_services_it_concerns)
{
	struct rd_store store;

	rd_store_init(&store);
	rd_store_put(&store, SERVICE(.name = "web", .selector = {"app", "web"}));
	assert_string_equal(dirty(&store), "default/web");
	rd_store_put(&store, SERVICE(.name = "all", .selector = {"team", "a"}));
	rd_store_put(&store, SERVICE(.namespace = "shop", .name = "x", .selector = {"app", "web"}));
	rd_store_put(&store, SERVICE(.name = "by-hand"));
	assert_string_equal(dirty(&store), "default/all default/by-hand shop/x");

	rd_store_put(&store, POD(.name = "p", .labels = {"app", "web", "team", "a"}));
	assert_string_equal(dirty(&store), "default/all default/web");
	/* A label changes: who had it is concerned, and who has it now. */
	rd_store_put(&store, POD(.name = "p", .labels = {"app", "web"}));
	assert_string_equal(dirty(&store), "default/all default/web");
	rd_store_put(&store, POD(.name = "p", .labels = {"app", "db"}));
	assert_string_equal(dirty(&store), "default/web");
	rd_store_remove(&store, RD_POD, "default", "p");
	assert_string_equal(dirty(&store), "");

	rd_store_put(&store, SLICE(.name = "s", .owner = "by-hand"));
	assert_string_equal(dirty(&store), "default/by-hand");
	rd_store_remove(&store, RD_SLICE, "default", "s");
	assert_string_equal(dirty(&store), "default/by-hand");
	rd_store_put(&store, make_object(RD_NODE, "", "node1"));
	rd_store_remove(&store, RD_NODE, "", "node1");
	assert_string_equal(dirty(&store), "");
	rd_store_remove(&store, RD_SERVICE, "default", "web");
	assert_string_equal(dirty(&store), "default/web");
	rd_store_free(&store);
}

/* Is a Node's change one that the Services should know of? Forgets it. */
static bool nodes_changed(struct rd_store *store)
{
	bool changed = store->nodes_changed;

	assert_string_equal(dirty(store), "");
	store->nodes_changed = false;
	return changed;
}

TEST(B7_a_node_that_says_something_new_is_a_change_and_the_same_again_is_none)
{
	struct rd_store store;

	rd_store_init(&store);
	assert_false(store.nodes_changed);
	rd_store_put(&store, NODE(.zone = "z1", .addresses = {"172.18.0.1"}));
	assert_true(nodes_changed(&store));
	rd_store_put(&store, NODE(.zone = "z1", .addresses = {"172.18.0.1"}));
	assert_false(nodes_changed(&store));
	rd_store_put(&store, NODE(.zone = "z2", .addresses = {"172.18.0.1"}));
	assert_true(nodes_changed(&store));
	rd_store_put(&store, NODE(.addresses = {"172.18.0.1"}));
	assert_true(nodes_changed(&store));
	rd_store_put(&store, NODE(.addresses = {"172.18.0.1"}));
	assert_false(nodes_changed(&store));
	rd_store_put(&store, NODE(.zone = "z2", .addresses = {"172.18.0.1"}));
	assert_true(nodes_changed(&store));
	rd_store_free(&store);
}

TEST(a_node_whose_addresses_change_is_a_change)
{
	static const char *const rows[][MOST] = {
		{"172.18.0.1"}, {"172.18.0.2"}, {"172.18.0.2", "fc00::2"}, {"fc00::2"}, {NULL},
	};
	struct rd_store store;

	rd_store_init(&store);
	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct node_args args = {.zone = "z1"};

		memcpy(args.addresses, rows[i], sizeof(args.addresses));
		rd_store_put(&store, make_node(args));
		assert_true(nodes_changed(&store));
		rd_store_put(&store, make_node(args));
		assert_false(nodes_changed(&store));
	}
	rd_store_free(&store);
}

TEST(a_node_that_goes_is_a_change_and_another_kind_is_none)
{
	struct rd_store store;

	rd_store_init(&store);
	rd_store_put(&store, NODE(.name = "n1"));
	rd_store_put(&store, NODE(.name = "n2"));
	assert_true(nodes_changed(&store));
	rd_store_remove(&store, RD_NODE, "", "n3");
	assert_false(nodes_changed(&store));
	rd_store_remove(&store, RD_NODE, "", "n2");
	assert_true(nodes_changed(&store));
	rd_store_put(&store, SERVICE(.name = "n1"));
	rd_store_remove(&store, RD_SERVICE, "default", "n1");
	rd_store_put(&store, POD(.name = "n1"));
	rd_name_set_clear(&store.dirty);
	assert_false(nodes_changed(&store));
	rd_store_free(&store);
}

TEST(a_node_that_says_the_same_does_not_hide_a_change_before)
{
	struct rd_store store;

	rd_store_init(&store);
	rd_store_put(&store, NODE(.name = "n1", .zone = "z1"));
	rd_store_put(&store, NODE(.name = "n1", .zone = "z1"));
	assert_true(nodes_changed(&store));
	rd_store_free(&store);
}

TEST(without_memory_for_a_mark_every_service_is_marked)
{
	struct rd_store store;
	struct rd_object *service = SERVICE(.name = "web");

	rd_store_init(&store);
	alloc_fail_at(1);
	rd_store_put(&store, service);
	assert_true(alloc_fail_end());
	assert_true(store.all_dirty);
	assert_ptr_equal(rd_store_find(&store, RD_SERVICE, "default", "web"), service);
	rd_store_free(&store);
	assert_false(store.all_dirty);

	service = SERVICE(.name = "web");
	rd_store_put(&store, service);
	alloc_fail_at(1);
	rd_store_remove(&store, RD_SERVICE, "default", "web");
	assert_true(alloc_fail_end());
	assert_true(store.all_dirty);
	assert_null(rd_store_find(&store, RD_SERVICE, "default", "web"));
	rd_store_free(&store);
}

/* The address of the Service that replaces one with an assigned address, or
 * "-", and whether it is an assigned one. */
static void succeed(struct rd_object *former, struct rd_object *successor, const char *ip4,
		    bool assigned4, const char *ip6, bool assigned6)
{
	struct rd_store store;
	char text[RD_IP_TEXT];

	rd_store_init(&store);
	rd_store_put(&store, former);
	rd_store_put(&store, successor);
	assert_string_equal(rd_ip_format(&successor->service.cluster_ip[0], text), ip4);
	assert_string_equal(rd_ip_format(&successor->service.cluster_ip[1], text), ip6);
	assert_int_equal(successor->service.assigned[0], assigned4);
	assert_int_equal(successor->service.assigned[1], assigned6);
	rd_store_free(&store);
}

TEST(a_service_keeps_the_address_it_was_assigned)
{
	succeed(SERVICE(.ip4 = "10.96.0.1", .assigned = true), SERVICE(.name = "web"), "10.96.0.1",
		true, "-", false);
	succeed(SERVICE(.ip6 = "fd00::1", .assigned = true), SERVICE(.name = "web"), "-", false,
		"fd00::1", true);
	succeed(SERVICE(.ip4 = "10.96.0.1", .assigned = true),
		SERVICE(.type = RD_TYPE_NODE_PORT, .publish_not_ready = true), "10.96.0.1", true,
		"-", false);
}

TEST(an_address_that_was_not_assigned_is_not_kept)
{
	succeed(SERVICE(.ip4 = "10.96.0.1"), SERVICE(.name = "web"), "-", false, "-", false);
}

TEST(an_address_of_its_own_beats_the_assigned_one)
{
	succeed(SERVICE(.ip4 = "10.96.0.1", .assigned = true), SERVICE(.ip4 = "10.96.0.2"),
		"10.96.0.2", false, "-", false);
}

TEST(an_address_of_its_own_beats_the_assigned_one_of_the_other_family)
{
	succeed(SERVICE(.ip4 = "10.96.0.1", .assigned = true), SERVICE(.ip6 = "fd00::2"), "-",
		false, "fd00::2", false);
}

TEST(a_service_that_wants_no_address_gets_none)
{
	succeed(SERVICE(.ip4 = "10.96.0.1", .assigned = true), SERVICE(.headless = true), "-",
		false, "-", false);
	succeed(SERVICE(.ip4 = "10.96.0.1", .assigned = true),
		SERVICE(.type = RD_TYPE_EXTERNAL_NAME), "-", false, "-", false);
}

/* What is pending of the slice "web" after a change to it. */
static int64_t pending_after(struct rd_store *store, int64_t triggered_ns)
{
	rd_store_put(store, SLICE(.triggered_ns = triggered_ns));
	return rd_store_find(store, RD_SLICE, "default", "web")->slice.pending_ns;
}

/* As the agent does when the maps have it. */
static void take_pending(struct rd_store *store)
{
	rd_store_find(store, RD_SLICE, "default", "web")->slice.pending_ns = 0;
}

TEST(I3_the_earliest_trigger_time_is_pending_until_it_is_taken)
{
	struct rd_store store;

	rd_store_init(&store);
	store.started_ns = 100;
	assert_int_equal(pending_after(&store, 101), 101);
	assert_int_equal(pending_after(&store, 102), 101);
	assert_int_equal(pending_after(&store, 0), 101);
	take_pending(&store);
	assert_int_equal(pending_after(&store, 102), 102);
	take_pending(&store);
	rd_store_free(&store);
}

TEST(I3_a_trigger_time_seen_before_or_from_before_the_start_is_not_pending)
{
	struct rd_store store;

	rd_store_init(&store);
	store.started_ns = 100;
	assert_int_equal(pending_after(&store, 0), 0);
	assert_int_equal(pending_after(&store, 99), 0);
	assert_int_equal(pending_after(&store, 100), 0);
	assert_int_equal(pending_after(&store, 101), 101);
	take_pending(&store);
	assert_int_equal(pending_after(&store, 101), 0);
	rd_store_remove(&store, RD_SLICE, "default", "web");
	assert_int_equal(pending_after(&store, 102), 102);
	rd_store_free(&store);
}

TEST(a_selector_matches_pods_that_have_all_its_labels)
{
	static const struct {
		const char *selector[MOST], *labels[MOST];
		bool matches;
	} rows[] = {
		{.selector = {"app", "web"}, .labels = {"app", "web"}, .matches = true},
		{.selector = {"app", "web"}, .labels = {"x", "y", "app", "web"}, .matches = true},
		{.selector = {"app", "web", "tier", "1"},
		 .labels = {"tier", "1", "app", "web"},
		 .matches = true},
		{.selector = {"app", "web", "tier", "1"}, .labels = {"app", "web"}},
		{.selector = {"app", "web"}, .labels = {"app", "db"}},
		{.selector = {"app", "web"}, .labels = {"app", "webs"}},
		{.selector = {"app", "web"}, .labels = {"App", "web"}},
		{.selector = {"app", "web"}, .labels = {"web", "app"}},
		{.selector = {"app", ""}, .labels = {"app", ""}, .matches = true},
		{.selector = {"app", ""}, .labels = {"x", "y"}},
		{.selector = {"app", "web"}},
		/* An empty selector: endpoints are written by hand. */
		{.labels = {"app", "web"}},
		{.matches = false},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct service_args service = {0};
		struct pod_args pod = {0};
		_rd_object_ struct rd_object *a = NULL;
		_rd_object_ struct rd_object *b = NULL;

		memcpy(service.selector, rows[i].selector, sizeof(service.selector));
		memcpy(pod.labels, rows[i].labels, sizeof(pod.labels));
		a = make_service(service);
		b = make_pod(pod);
		if (rd_selector_matches(&a->service, &b->pod) != rows[i].matches)
			fail_msg("row %zu", i);
	}
}

/* Whether a change has given a Service, or another's, another stamp. */
struct stamps {
	uint64_t web, other, namespace, any, addresses;
};

static struct stamps stamps_of(const struct rd_store *store)
{
	return (struct stamps){
		.web = *rd_store_stamp(store, "default", "web"),
		.other = *rd_store_stamp(store, "default", "other"),
		.namespace = *rd_store_stamp(store, "default", ""),
		.any = store->stamp,
		.addresses = store->addresses_stamp,
	};
}

/* Which of them a change has moved on: w, o, n, a and d in their order. */
static const char *moved(const struct rd_store *store, struct stamps *before)
{
	static char text[8];
	struct stamps now = stamps_of(store);

	snprintf(text, sizeof(text), "%s%s%s%s%s", now.web != before->web ? "w" : "",
		 now.other != before->other ? "o" : "",
		 now.namespace != before->namespace ? "n" : "", now.any != before->any ? "a" : "",
		 now.addresses != before->addresses ? "d" : "");
	*before = now;
	return text;
}

TEST(a_change_gives_the_services_it_concerns_another_stamp)
{
	struct rd_store store;
	struct stamps before;

	rd_store_init(&store);
	before = stamps_of(&store);
	rd_store_put(&store, SERVICE(.name = "web", .selector = {"app", "web"}));
	assert_string_equal(moved(&store, &before), "wnad");
	rd_store_put(&store, SLICE(.name = "web", .owner = "web"));
	assert_string_equal(moved(&store, &before), "wna");
	rd_store_put(&store, POD(.labels = {"app", "web"}));
	assert_string_equal(moved(&store, &before), "wna");
	rd_store_put(&store, POD(.name = "no", .labels = {"app", "no"}));
	assert_string_equal(moved(&store, &before), "");
	rd_store_put(&store, NODE(.name = "n1"));
	assert_string_equal(moved(&store, &before), "");
	/* Addresses of a headless Service's endpoints have names, and so may have those
	 * of a Service that is not there yet. */
	rd_store_put(&store, SLICE(.name = "other", .owner = "other"));
	assert_string_equal(moved(&store, &before), "onad");
	rd_store_put(&store, SERVICE(.name = "other", .headless = true));
	assert_string_equal(moved(&store, &before), "onad");
	rd_store_put(&store, SLICE(.name = "other", .owner = "other"));
	assert_string_equal(moved(&store, &before), "onad");
	rd_store_remove(&store, RD_SERVICE, "default", "other");
	assert_string_equal(moved(&store, &before), "onad");
	rd_store_touch(&store, rd_store_find(&store, RD_SERVICE, "default", "web"));
	assert_string_equal(moved(&store, &before), "wnad");
	rd_store_put(&store, SERVICE(.namespace = "far", .name = "web"));
	assert_string_equal(moved(&store, &before), "ad");
	rd_store_free(&store);
}

TEST(freeing_no_object_is_no_mistake)
{
	struct rd_store store;

	rd_object_free(NULL);
	rd_store_init(&store);
	rd_store_free(&store);
	rd_store_free(&store);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_has_its_name),
		cmocka_unit_test(names_are_ordered_by_namespace_then_name),
		cmocka_unit_test(a_set_of_names_has_each_once_and_in_order),
		cmocka_unit_test(the_longest_names_fit_into_a_set),
		cmocka_unit_test(out_of_memory_leaves_a_set_of_names_as_it_was),
		cmocka_unit_test(what_is_put_is_found_by_kind_namespace_and_name),
		cmocka_unit_test(a_second_of_the_same_name_replaces_the_first),
		cmocka_unit_test(what_is_removed_is_gone_and_removing_nothing_is_no_mistake),
		cmocka_unit_test(objects_of_a_kind_are_iterated_in_order_of_namespace_and_name),
		cmocka_unit_test(slices_and_endpoints_are_iterated_by_the_service_that_owns_them),
		cmocka_unit_test(a_slice_can_move_to_another_service),
		cmocka_unit_test(a_change_marks_the_services_it_concerns),
		cmocka_unit_test(
			B7_a_node_that_says_something_new_is_a_change_and_the_same_again_is_none),
		cmocka_unit_test(a_node_whose_addresses_change_is_a_change),
		cmocka_unit_test(a_node_that_goes_is_a_change_and_another_kind_is_none),
		cmocka_unit_test(a_node_that_says_the_same_does_not_hide_a_change_before),
		cmocka_unit_test(without_memory_for_a_mark_every_service_is_marked),
		cmocka_unit_test(a_service_keeps_the_address_it_was_assigned),
		cmocka_unit_test(an_address_that_was_not_assigned_is_not_kept),
		cmocka_unit_test(an_address_of_its_own_beats_the_assigned_one),
		cmocka_unit_test(an_address_of_its_own_beats_the_assigned_one_of_the_other_family),
		cmocka_unit_test(a_service_that_wants_no_address_gets_none),
		cmocka_unit_test(I3_the_earliest_trigger_time_is_pending_until_it_is_taken),
		cmocka_unit_test(
			I3_a_trigger_time_seen_before_or_from_before_the_start_is_not_pending),
		cmocka_unit_test(a_selector_matches_pods_that_have_all_its_labels),
		cmocka_unit_test(a_change_gives_the_services_it_concerns_another_stamp),
		cmocka_unit_test(freeing_no_object_is_no_mistake),
	};

	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
