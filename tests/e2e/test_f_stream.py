# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How the agent lists and watches, further statements: F10 to F13, streams and
what they are made of; F16 and F17, servers that die and that leave; F19,
selectors. See test_f_watch.py."""

import pytest
from harness import Load, endpoint_slice, endpoints, node_manifest, node_port, port, service, wait_until
from test_kube import KubeNode, asking, expected, found, strays


@pytest.fixture(name="kube")
def fixture_kube(node):
    with KubeNode(node) as kube:
        yield kube


# ---- F10 to F13: streams, and what they are made of ----------------------------------------------


def test_f10_what_there_is_and_what_comes_are_one_stream(kube):
    kube.serve()
    (stream,) = kube.first_requests()
    query = stream.query
    assert query["sendInitialEvents"] == "true" and query["resourceVersionMatch"] == "NotOlderThan"
    assert query["allowWatchBookmarks"] == "true" and "resourceVersion" not in query and "limit" not in query
    kube.news()
    assert len(kube.server.requests(resource="services")) == 1
    kube.check()


@pytest.mark.parametrize("server", ["off", "unknown"])
def test_f10_a_server_that_refuses_streams_is_asked_for_lists_from_then_on(kube, server):
    kube.server.configure(watch_list=server)
    kube.serve()
    first = kube.first_requests(n=3)
    assert [what for what, _ in map(asking, first)] == ["stream", "list", "watch"] and first[0].status == 422
    for _ in range(2):
        kube.server.inject("services", then="error-event", code=410)
        assert kube.asked(n=2) == [("list", kube.version()), ("watch", str(kube.server.rv()))]
        kube.news()
    kube.check()


def test_f10_a_stream_that_does_not_come_to_its_point_leads_to_a_list(kube):
    """As from a server that takes it for a watch: what there is never ends."""
    kube.server.fault("endpointslices", "watch", "stall", after_events=1)
    kube.serve("--stall-timeout", "1")
    first = list(map(asking, kube.first_requests("endpointslices", n=3)))
    assert first[:2] == [("stream", ""), ("list", "0")] and first[2][0] == "watch", first
    kube.check()


@pytest.mark.parametrize("after_events", [0, 2], ids=["at-once", "in-the-middle"])
def test_f10_a_stream_that_fails_leads_to_a_list(kube, after_events):
    kube.put(*strays(5))
    kube.serve()
    writes = kube.node.writes()
    kube.server.fault("endpointslices", "watch", "error-event", after_events=after_events, code=500)
    version = kube.version("endpointslices")
    kube.server.inject("endpointslices", then="error-event", code=410)
    assert kube.asked("endpointslices", 2) == [("stream", version), ("list", version)]
    assert kube.node.writes() == writes
    kube.check()


def test_f10_a_stream_deletes_only_at_its_end(kube):
    """What the stream has not named yet stays until it says that this was all."""
    kube.put(*strays(5))
    kube.serve()
    kube.server.fault("endpointslices", "watch", "stall", after_events=2)
    kube.server.inject("endpointslices", then="error-event", code=410)
    kube.requests("endpointslices")
    assert kube.put_news()
    # The Service has arrived, its slice cannot.
    wait_until(lambda: kube.node.services("news2"))
    assert kube.node.backends("web") == [f"{kube.pod.ip}:8080"]
    kube.load.more()
    kube.server.close_connections("reset")
    kube.check()


def test_f11_a_relist_deletes_what_is_gone_and_leaves_the_rest_alone(kube):
    kube.serve()
    before = {row["name"]: row["id"] for row in kube.node.services()}
    kube.server.stop_listening("reset")
    kube.put(*strays(3))
    kube.delete("services", "news1")
    kube.delete("endpointslices", "news1-1")
    kube.server.compact()
    kube.mark()
    kube.server.listen()
    kube.settle()
    assert {row["name"]: row["id"] for row in kube.node.services()} == {"web": before["web"]}
    kube.check()


@pytest.mark.parametrize("listing", ["stream", "list"])
def test_f11_an_identical_relist_writes_nothing(kube, listing):
    kube.server.configure(watch_list="on" if listing == "stream" else "off")
    kube.put(*strays(30))
    kube.serve()
    writes = kube.node.writes()
    for resource in ("services", "endpointslices", "nodes"):
        kube.server.inject(resource, then="error-event", code=410)
        assert kube.asked(resource)[0][0] == listing
        kube.server.wait_watches(resource)
    assert kube.node.writes() == writes
    kube.check()


SPECIAL = {"note": "žluťoučký kůň 🐴 \\u00e9 \" \\ {[}] \n\t \u2028", "ünïcödé": "\x7f"}


@pytest.mark.parametrize("listing, chunk", [("stream", 1), ("stream", 7), ("list", 1), ("list", 2)])
def test_f12_chunks_have_nothing_to_do_with_objects(kube, chunk, listing):
    kube.server.configure(watch_list="on" if listing == "stream" else "off", http2=chunk != 2)
    kube.server.fault("*", "*", "none", times=None, chunk=chunk)
    kube.put(service("special", cluster_ip="10.96.0.77", namespace="default", meta={"annotations": SPECIAL}))
    kube.serve()
    kube.put(service("special", cluster_ip="10.96.0.78", namespace="default", meta={"annotations": SPECIAL}))
    kube.settle()
    kube.check()


def test_f12_space_between_events_means_nothing(kube):
    kube.serve()
    kube.server.inject("services", b" \r\n\t\n")
    kube.news()
    assert len(kube.server.requests(resource="services")) == 1
    kube.check()


def test_f12_an_object_may_be_large(kube):
    """A slice of 1,000 endpoints and 100 ports."""
    ips = [f"10.244.{i // 250}.{i % 250 + 1}" for i in range(1000)]
    slice_ = endpoint_slice("big-1", "big", ips, 1000, namespace="default")
    slice_["ports"] = [{"name": f"port-{i}", "port": 1000 + i, "protocol": "TCP"} for i in range(100)]
    kube.put(service("big", [port(80, name="port-7")], cluster_ip="10.96.0.80", namespace="default"), slice_)
    kube.serve("--max-backends", "4096")
    assert len(kube.node.backends("big")) == 1000
    kube.check()


def test_f12_nobody_prints_prettily_for_us(kube):
    kube.server.configure(watch_list="off")
    kube.serve()
    for item in kube.server.requests():
        assert item.headers["user-agent"].startswith("redial/") and not item.wants_pretty
        assert item.headers["accept"] == "application/json"
    kube.check()


@pytest.mark.parametrize("listing", ["stream", "list"])
def test_f13_nothing_compressed_is_asked_for(kube, listing):
    kube.server.configure(
        watch_list="on" if listing == "stream" else "off", compress_watch_list=True, gzip_above=100
    )
    kube.serve()
    assert not [item for item in kube.server.requests() if "accept-encoding" in item.headers]
    kube.check()


# ---- F16, F17: servers that die, and that leave -----------------------------------------------------


def test_f16_a_frozen_server_is_left(kube):
    kube.serve("--stall-timeout", "1")
    before = kube.server.connections()
    agent = kube.node.agents[-1]
    kube.server.freeze()
    try:
        wait_until(lambda: agent.lines("fallen silent", "resource=/api/v1/services"))
        kube.load.more()
        assert found(kube.node) == expected(kube.objects.values())
    finally:
        kube.server.thaw()
    assert kube.asked()[0] == ("watch", kube.version())
    wait_until(lambda: not set(before) & set(kube.server.connections()), "the old connection is gone")
    kube.check()


def test_f16_a_frozen_watch_is_left(kube):
    """The server is well, but this one watch is not."""
    kube.serve("--stall-timeout", "1")
    kube.server.inject("services", then="stall")
    old = kube.server.watches("services")[0]["request"]
    kube.put_news()
    new = kube.requests()[0]
    assert asking(new)[0] == "watch" and new.connection != old.connection
    kube.check()


def test_f17_after_a_goaway_the_next_request_has_another_connection(kube):
    kube.serve()
    kube.server.configure(goaway_every=1)
    kube.server.inject("services", then="end")
    (first,) = kube.requests()
    # The watch in which it was said goes on.
    kube.news()
    assert [item["request"].index for item in kube.server.watches("services")] == [first.index]
    kube.server.inject("services", then="end")
    (second,) = kube.requests()
    assert second.connection != first.connection
    assert asking(second) == ("watch", kube.version())
    kube.check()


def test_f17_a_server_that_leaves_ends_its_watches(kube):
    kube.serve()
    kube.server.restart(how="clean")
    for resource in ("services", "endpointslices"):
        assert {what for what in kube.asked(resource)} == {("watch", kube.version(resource))}
    kube.check()


# ---- F19: selectors ----------------------------------------------------------------------------------


def test_f19_only_what_is_ours_is_asked_for(kube):
    kube.serve()
    for resource, labels, fields in (
        ("services", "!service.kubernetes.io/service-proxy-name", "spec.clusterIP!=None"),
        ("endpointslices", "!service.kubernetes.io/headless", None),
        ("nodes", None, "metadata.name=node1"),
    ):
        for item in kube.server.requests(resource=resource):
            assert (item.query.get("labelSelector"), item.query.get("fieldSelector")) == (labels, fields)
    kube.check()


def test_f19_a_label_takes_a_service_away_and_gives_it_back(kube):
    kube.serve()
    label = {"labels": {"service.kubernetes.io/service-proxy-name": "another"}}
    other = service("news1", cluster_ip="10.96.1.1", namespace="default", meta=label)
    kube.put(other)
    kube.wait_in_sync()
    assert not kube.node.services("news1")
    del other["metadata"]["labels"]
    kube.put(other)
    kube.wait_in_sync()
    assert kube.client.ask("10.96.1.1") == "pod1"
    kube.check()


def test_f19_a_server_that_does_not_know_the_field_is_asked_without_it(kube):
    kube.server.configure(service_fields=False)
    kube.put(service("headless", cluster_ip="None", namespace="default"))
    kube.put(endpoint_slice("headless-1", "headless", [kube.pod.ip], 8080, namespace="default"))
    kube.serve()
    assert "fieldSelector" not in kube.server.requests(resource="services")[-1].query
    assert not kube.node.services("headless")
    assert not any(kube.delays_so_far()), kube.delays_so_far()
    kube.check()


def test_f19_other_nodes_are_asked_for_when_there_is_a_nodeport(kube):
    kube.put(node_manifest("node1", "192.168.50.1"), node_manifest("node2", "192.168.60.2"))
    kube.serve()
    kube.put(service("web", [node_port(80, 8080, 30080)], cluster_ip=kube.VIP, namespace="default", type="NodePort"))
    wait_until(lambda: kube.requests("nodes"))
    assert "fieldSelector" not in kube.requests("nodes")[0].query
    wait_until(lambda: {row["kind"]: row["objects"] for row in kube.node.status()["objects"]}["Node"] == 2)
    load = Load(kube.client, "192.168.60.2", 30080)
    load.more()
    load.check({"pod1"})
    kube.check()


def test_f19_a_cluster_without_slices(kube):
    kube.put(endpoints("web", [kube.pod.ip], 8080, namespace="default"))
    kube.put(service("web", cluster_ip=kube.VIP, namespace="default"))
    kube.agent("--endpoints-api", "endpoints")
    assert kube.client.ask(kube.VIP) == "pod1"
    kube.server.wait_watches("endpoints")
    assert not kube.server.requests(resource="endpointslices")
