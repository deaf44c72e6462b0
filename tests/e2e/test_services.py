# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""From manifests to connections: what each kind of Service does."""

import errno
import json
import socket

import pytest
from harness import (
    Child,
    ask_often,
    ask_tcp,
    ask_udp,
    connect_error,
    documents,
    endpoint_slice,
    endpoints,
    load,
    pod_manifest,
    port,
    service,
    wait_until,
)

WEB = {"app": "web"}


def peer_name(address, number, kind):
    with socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(5)
        client.connect((address, number))
        return client.getpeername()


def two_pods(node):
    a, b = node.pod("a").serve(udp=(8080,)), node.pod("b").serve(udp=(8080,))
    node.write("pods.yaml", pod_manifest("a", a.ip, WEB), pod_manifest("b", b.ip, WEB))
    return a, b


# ---- endpoints of a Service ---------------------------------------------------


def test_service_with_selector_reaches_every_matching_pod_and_no_other(node):
    two_pods(node)
    other = node.pod("other").serve()
    node.write("other.yaml", pod_manifest("other", other.ip, {"app": "other"}))
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="10.96.0.10"))
    node.agent()
    answers = node.pod("client").ask_often("10.96.0.10", times=60)
    assert set(answers) == {"a", "b"}
    assert min(answers.values()) > 10


def test_selector_matches_pods_of_its_own_namespace_only(node):
    a, b = node.pod("a").serve(), node.pod("b").serve()
    node.write("all.yaml", pod_manifest("p", a.ip, WEB, namespace="one"), pod_manifest("p", b.ip, WEB, namespace="two"),
               service("web", selector=WEB, namespace="two", cluster_ip="10.96.0.10"))
    node.agent()
    assert node.pod("client").ask_often("10.96.0.10") == {"b": 40}


def test_named_target_port_is_each_pods_own_number(node):
    a, b = node.pod("a").serve(tcp=(5000,)), node.pod("b").serve(tcp=(6000,))
    node.write("web.yaml", service("web", [port(80, "http")], WEB, "10.96.0.10"),
               pod_manifest("a", a.ip, WEB, {"metrics": 9, "http": 5000}),
               pod_manifest("b", b.ip, WEB, {"http": 6000}),
               pod_manifest("without-that-port", "10.244.0.99", WEB, {"other": 7000}))
    node.agent()
    assert node.backends("web") == [f"{a.ip}:5000", f"{b.ip}:6000"]
    assert set(node.pod("client").ask_often("10.96.0.10")) == {"a", "b"}


def test_several_ports_each_lead_to_their_own_target(node):
    pod = node.pod("pod").serve(tcp=(8080,), name="http").serve(tcp=(9090,), name="metrics")
    node.write("web.yaml", pod_manifest("pod", pod.ip, WEB),
               service("web", [port(80, 8080, "http"), port(81, 9090, "metrics")], WEB, "10.96.0.10"))
    node.agent()
    client = node.pod("client")
    assert client.ask("10.96.0.10", 80) == "http"
    assert client.ask("10.96.0.10", 81) == "metrics"


def test_target_port_defaults_to_the_port(node):
    pod = node.pod("pod").serve(tcp=(8080,))
    node.write("web.yaml", service("web", 8080, WEB, "10.96.0.10"), pod_manifest("pod", pod.ip, WEB))
    node.agent()
    assert node.pod("client").ask("10.96.0.10", 8080) == "pod"


def test_external_database_through_endpoints(node):
    database = node.outsider("database", "192.0.2.10", "192.0.2.1").serve(tcp=(5432,))
    node.write("pg.yaml", service("pg", 5432, cluster_ip="10.96.0.20"), endpoints("pg", [database.ip], 5432))
    node.agent()
    assert node.backends("pg") == ["192.0.2.10:5432"]
    assert node.pod("client").ask("10.96.0.20", 5432) == "database"


def test_external_database_through_endpoint_slices(node):
    one = node.outsider("one", "192.0.2.10", "192.0.2.1").serve(tcp=(5432,))
    two = node.outsider("two", "198.51.100.10", "198.51.100.1").serve(tcp=(5433,))
    node.write("pg.yaml", service("pg", 5432, cluster_ip="10.96.0.20"), endpoint_slice("pg-1", "pg", [one.ip], 5432),
               endpoint_slice("pg-2", "pg", [two.ip], 5433), endpoint_slice("x", "somebody-else", ["192.0.2.77"], 1))
    node.agent()
    assert set(node.pod("client").ask_often("10.96.0.20", 5432)) == {"one", "two"}


def test_endpoints_that_are_not_ready_are_left_out(node):
    node.write("pg.yaml", service("pg", 5432, cluster_ip="10.96.0.20"),
               endpoints("pg", ["192.0.2.10"], 5432, not_ready=["192.0.2.11"]))
    node.agent()
    assert node.backends("pg") == ["192.0.2.10:5432"]


def test_pod_that_is_not_ready_is_left_out_until_it_is(node):
    a, b = node.pod("a").serve(), node.pod("b").serve()
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="10.96.0.10"), pod_manifest("a", a.ip, WEB, ready=True))
    node.write("b.yaml", pod_manifest("b", b.ip, WEB, ready=False))
    node.agent()
    client = node.pod("client")
    assert client.ask_often("10.96.0.10") == {"a": 40}
    node.write("b.yaml", pod_manifest("b", b.ip, WEB, ready=True))
    node.wait_backends("web", f"{a.ip}:8080", f"{b.ip}:8080")
    assert set(client.ask_often("10.96.0.10")) == {"a", "b"}


def test_pod_without_conditions_counts_as_ready(node):
    node.write("web.yaml", service("web", selector=WEB), pod_manifest("a", "10.244.0.50", WEB, ready=None))
    node.agent()
    assert node.backends("web") == ["10.244.0.50:8080"]


def test_terminating_pods_serve_only_while_no_other_is_ready(node):
    a, b = node.pod("a").serve(), node.pod("b").serve()
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="10.96.0.10"))
    node.write("a.yaml", pod_manifest("a", a.ip, WEB, ready=True, deleting=True))
    node.write("b.yaml", pod_manifest("b", b.ip, WEB, ready=True))
    node.agent()
    client = node.pod("client")
    assert client.ask_often("10.96.0.10") == {"b": 40}
    node.write("b.yaml", pod_manifest("b", b.ip, WEB, ready=False))
    node.wait_backends("web", f"{a.ip}:8080")
    assert client.ask_often("10.96.0.10") == {"a": 40}


def test_pod_replaced_under_another_address_while_requests_go_on(node):
    """Each request succeeds, though no Pod lives through the test."""
    pods = [node.pod(f"generation-{i}").serve() for i in range(4)]
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="10.96.0.10"))
    node.write("pod-0.yaml", pod_manifest("generation-0", pods[0].ip, WEB))
    node.agent()
    requests = node.pod("client").start(load, "10.96.0.10", 80)
    for old, new in zip(range(3), range(1, 4)):
        node.write(f"pod-{new}.yaml", pod_manifest(f"generation-{new}", pods[new].ip, WEB))
        node.wait_backends("web", f"{pods[old].ip}:8080", f"{pods[new].ip}:8080")
        (node.manifests / f"pod-{old}.yaml").unlink()
        node.wait_backends("web", f"{pods[new].ip}:8080")
        pods[old].stop_serving()
    answers, failures = requests.stop()
    assert not failures
    assert set(answers) == {pod.name for pod in pods}
    assert node.pod("another-client").ask_often("10.96.0.10") == {"generation-3": 40}


# ---- what the application sees ----------------------------------------------------


def test_connected_udp_reaches_the_pods(node):
    two_pods(node)
    node.write("dns.yaml", service("dns", [port(53, 8080, protocol="UDP")], WEB, "10.96.0.10"))
    node.agent()
    client = node.pod("client")
    assert set(client.call(ask_often, ask_udp, "10.96.0.10", 53, 40)) == {"a", "b"}


def test_tcp_and_udp_of_one_number_are_two_ports(node):
    pod = node.pod("pod").serve(tcp=(1001,), name="stream").serve(tcp=(), udp=(1002,), name="datagram")
    node.write("dns.yaml", pod_manifest("pod", pod.ip, WEB),
               service("dns", [port(53, 1001, "t"), port(53, 1002, "u", "UDP")], WEB, "10.96.0.10"))
    node.agent()
    client = node.pod("client")
    assert client.call(ask_tcp, "10.96.0.10", 53) == "stream"
    assert client.call(ask_udp, "10.96.0.10", 53) == "datagram"


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_getpeername_shows_the_service(node, kind):
    two_pods(node)
    node.write("web.yaml", service("web", [port(80, 8080, "t"), port(80, 8080, "u", "UDP")], WEB, "10.96.0.10"))
    node.agent()
    assert node.pod("client").call(peer_name, "10.96.0.10", 80, kind) == ("10.96.0.10", 80)


def test_getpeername_of_a_direct_connection_shows_the_pod(node):
    a, _ = two_pods(node)
    node.write("web.yaml", service("web", selector=WEB))
    node.agent()
    assert node.pod("client").call(peer_name, a.ip, 8080, socket.SOCK_STREAM) == (a.ip, 8080)


def test_ipv4_mapped_address_on_an_ipv6_socket(node):
    pod = node.pod("pod").serve()
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="10.96.0.10"), pod_manifest("pod", pod.ip, WEB))
    node.agent()
    assert node.pod("client").ask("::ffff:10.96.0.10") == "pod"


def test_ipv6_service(node):
    pod = node.pod("pod").serve()
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="fd00:96::10"),
               pod_manifest("pod", pod.ip, WEB, ip6=pod.ip6))
    node.agent()
    assert node.backends("web") == [f"[{pod.ip6}]:8080"]
    assert node.pod("client").ask("fd00:96::10") == "pod"


def test_curl_and_a_web_server(node):
    pod = node.pod("pod")
    pages = node.directory / "pages"
    pages.mkdir()
    (pages / "healthy").write_text('{"healthy": true}\n')
    pod.serve_http(pages, 5000)
    node.write("web.yaml", service("web", [port(80, 5000)], WEB, "10.96.0.10"), pod_manifest("pod", pod.ip, WEB))
    node.agent()
    status, output = node.pod("client").command(
        "curl", "--silent", "--show-error", "--max-time", "10", "--noproxy", "*", "--write-out", " %{remote_ip}",
        "http://10.96.0.10/healthy")
    assert (status, output) == (0, '{"healthy": true}\n 10.96.0.10')


def test_address_that_is_no_service_is_left_alone(node):
    a, _ = two_pods(node)
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="10.96.0.10"))
    node.agent()
    client = node.pod("client")
    assert client.call(ask_tcp, a.ip, 8080) == "a"
    assert client.call(connect_error, a.ip, 9999) == errno.ECONNREFUSED
    # No Service, though the Service next to it is one; the node has no route.
    for address, number in (("10.96.0.11", 80), ("10.96.0.10", 81)):
        assert client.call(connect_error, address, number) in (errno.ENETUNREACH, errno.EHOSTUNREACH)


def test_process_outside_the_cgroup_is_left_alone(node):
    two_pods(node)
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="10.96.0.10"))
    node.agent()
    client = node.pod("client")
    assert client.call(connect_error, "10.96.0.10", 80) == 0
    outside = Child(connect_error, "10.96.0.10", 80, netns=client.netns.fd).result()
    assert outside in (errno.ENETUNREACH, errno.EHOSTUNREACH)


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "nonblocking"])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_service_without_endpoints_refuses(node, kind, blocking):
    node.write("web.yaml", service("web", [port(80, 8080, "t"), port(80, 8080, "u", "UDP")], WEB, "10.96.0.10"))
    node.agent()
    assert node.pod("client").call(connect_error, "10.96.0.10", 80, kind, blocking) == errno.ECONNREFUSED


def test_service_refuses_when_its_last_pod_goes_and_serves_when_one_comes(node):
    pod = node.pod("pod").serve()
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="10.96.0.10"))
    node.write("pod.yaml", pod_manifest("pod", pod.ip, WEB))
    node.agent()
    client = node.pod("client")
    assert client.ask("10.96.0.10") == "pod"
    (node.manifests / "pod.yaml").unlink()
    node.wait_backends("web")
    assert client.call(connect_error, "10.96.0.10", 80) == errno.ECONNREFUSED
    node.write("pod.yaml", pod_manifest("pod", pod.ip, WEB))
    node.wait_backends("web", f"{pod.ip}:8080")
    assert client.ask("10.96.0.10") == "pod"


def test_deleted_service_is_no_service_any_more(node):
    two_pods(node)
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="10.96.0.10"))
    node.agent()
    client = node.pod("client")
    assert client.call(connect_error, "10.96.0.10", 80) == 0
    (node.manifests / "web.yaml").unlink()
    wait_until(lambda: not node.services("web"))
    assert client.call(connect_error, "10.96.0.10", 80) in (errno.ENETUNREACH, errno.EHOSTUNREACH)


def test_headless_and_external_name_services_are_not_served(node):
    node.write("all.yaml", service("headless", selector=WEB, cluster_ip="None"),
               service("elsewhere", [], type="ExternalName", externalName="example.org"), service("web", selector=WEB))
    node.agent()
    assert {row["name"] for row in node.services()} == {"web"}


# ---- how manifests are written --------------------------------------------------------


def test_several_documents_in_one_file(node):
    node.write("all.yaml", "# a comment\n---\n" + documents(service("one"), service("two")) + "---\n\n---\n"
               + documents(service("three")))
    node.agent()
    assert {row["name"] for row in node.services()} == {"one", "two", "three"}


def test_kind_list(node):
    node.write("all.yaml", {"apiVersion": "v1", "kind": "List",
                            "items": [service("web", selector=WEB), pod_manifest("p", "10.244.0.50", WEB)]})
    node.agent()
    assert node.backends("web") == ["10.244.0.50:8080"]


def test_kind_service_list_as_the_api_answers(node):
    item = service("web", selector=WEB)
    del item["kind"], item["apiVersion"]
    node.write("all.json", json.dumps({"apiVersion": "v1", "kind": "ServiceList", "items": [item]}))
    node.agent()
    assert [row["name"] for row in node.services()] == ["web"]


def test_json_file(node):
    node.write("web.json", json.dumps(service("web", selector=WEB)))
    node.write("pod.json", json.dumps(pod_manifest("p", "10.244.0.50", WEB), indent="\t"))
    node.agent()
    assert node.backends("web") == ["10.244.0.50:8080"]


def test_subdirectories_are_read_and_followed(node):
    node.write("a/b/web.yaml", service("web"))
    node.agent()
    assert node.services("web")
    node.write("a/b/second.yml", service("second"))
    assert node.cluster_ip("second")
    node.write("c/d/e/third.yaml", service("third"))
    assert node.cluster_ip("third")
    node.write("c/d/e/fourth.yaml", service("fourth"))
    assert node.cluster_ip("fourth")


def test_names_that_are_no_manifests_are_passed_over(node):
    for name in (".hidden.yaml", "notes.txt", "web.yaml~", ".git/x.yaml"):
        (node.manifests / name).parent.mkdir(exist_ok=True)
        (node.manifests / name).write_text(documents(service("wrong")))
    node.write("web.yaml", service("web"))
    agent = node.agent()
    assert [row["name"] for row in node.services()] == ["web"]
    assert not agent.lines("manifest")


def test_other_kinds_are_skipped_with_one_line(node):
    others = [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": f"d{i}"}} for i in range(3)]
    others.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
    node.write("web.yaml", *others, service("web"))
    agent = node.agent()
    assert node.services("web")
    line = agent.wait_line("skipped")
    assert "file=web.yaml" in line and "count=4" in line and "Deployment" in line and "ConfigMap" in line
    node.barrier()
    assert len(agent.lines("skipped")) == 1


def test_kind_of_another_group_is_not_taken_for_ours(node):
    knative = service("web")
    knative["apiVersion"] = "serving.knative.dev/v1"
    node.write("web.yaml", knative)
    node.agent()
    assert node.services() == []


def test_changed_manifest_takes_effect(node):
    pod = node.pod("pod").serve(tcp=(8080,), name="old").serve(tcp=(9090,), name="new")
    node.write("pod.yaml", pod_manifest("pod", pod.ip, WEB))
    node.write("web.yaml", service("web", [port(80, 8080)], WEB, "10.96.0.10"))
    node.agent()
    client = node.pod("client")
    assert client.ask("10.96.0.10") == "old"
    node.write("web.yaml", service("web", [port(80, 9090)], WEB, "10.96.0.10"))
    node.wait_backends("web", f"{pod.ip}:9090")
    assert client.ask("10.96.0.10") == "new"


# ---- addresses -----------------------------------------------------------------------------


def test_service_without_address_gets_one_of_the_range(node):
    pod = node.pod("pod").serve()
    node.write("web.yaml", service("web", selector=WEB), pod_manifest("pod", pod.ip, WEB))
    node.agent("--service-cidr", "10.111.7.0/28")
    address = node.cluster_ip("web")
    assert address.startswith("10.111.7.") and 1 <= int(address.split(".")[3]) <= 14
    assert node.pod("client").ask(address) == "pod"


def test_assigned_addresses_differ(node):
    node.write("all.yaml", *(service(f"s{i}") for i in range(6)))
    node.agent("--service-cidr", "10.111.7.0/29")
    assert sorted(row["cluster_ip"] for row in node.services()) == [f"10.111.7.{i}" for i in range(1, 7)]


def test_service_for_which_no_address_is_left_is_refused_and_gets_the_next_free_one(node):
    for i in range(6):
        node.write(f"s{i}.yaml", service(f"s{i}"))
    node.write("web.yaml", service("web", selector=WEB))
    agent = node.agent("--service-cidr", "10.111.7.0/29")
    served = {row["name"]: row["cluster_ip"] for row in node.services() if row["cluster_ip"]}
    assert sorted(served.values()) == [f"10.111.7.{i}" for i in range(1, 7)]
    (late,) = ({f"s{i}" for i in range(6)} | {"web"}) - set(served)
    assert f"service={late}" in agent.wait_line("--service-cidr")
    # A change that concerns it is no reason to say so again.
    node.write("pod.yaml", pod_manifest("a", "10.244.0.50", WEB))
    node.barrier()
    assert len(agent.lines(f"service={late}", "--service-cidr")) == 1
    # Refused whole, and to be seen as such.
    assert [row["refused"] for row in node.status()["refused"]] == [f"default/{late}"]
    assert not node.services(late)
    gone, address = sorted(served.items())[0]
    (node.manifests / f"{gone}.yaml").unlink()
    assert node.cluster_ip(late) == address


def test_assigned_address_stays_over_a_restart_with_pins(node):
    node.write("all.yaml", *(service(f"s{i}") for i in range(8)))
    agent = node.agent("--service-cidr", "10.111.7.0/28")
    before = node.services()
    agent.stop()
    node.agent("--service-cidr", "10.111.7.0/28")
    assert node.services() == before
    assert node.writes() == 0


def test_assigned_address_stays_over_a_restart_without_pins(node):
    node.write("web.yaml", service("web"))
    node.write("api.yaml", service("api"))
    agent = node.agent()
    before = {row["name"]: row["cluster_ip"] for row in node.services()}
    agent.stop()
    assert node.command("cleanup").returncode == 0
    node.agent()
    assert {row["name"]: row["cluster_ip"] for row in node.services()} == before


def test_assigned_address_stays_while_other_services_come_and_go(node):
    node.write("web.yaml", service("web"))
    agent = node.agent("--service-cidr", "10.111.7.0/28")
    address = node.cluster_ip("web")
    for name in ("aaa", "zzz", "mmm"):
        node.write("other.yaml", *(service(f"{name}-{i}") for i in range(13)))
        wait_until(lambda name=name: node.services(f"{name}-12"))
        assert node.cluster_ip("web") == address
    agent.stop()
    node.agent("--service-cidr", "10.111.7.0/28")
    assert node.cluster_ip("web") == address
    # Edited in other respects, it is still the same Service.
    node.write("web.yaml", service("web", 8888))
    wait_until(lambda: node.services("web")[0]["port"] == 8888)
    assert node.cluster_ip("web") == address


def test_assigned_address_avoids_one_named_by_another_service(node):
    """Whichever of the two is seen first."""
    node.write("named.yaml", *(service(f"named-{i}", cluster_ip=f"10.111.7.{i}") for i in range(1, 6)))
    node.write("web.yaml", service("web"))
    node.agent("--service-cidr", "10.111.7.0/29")
    assert node.cluster_ip("web") == "10.111.7.6"


def test_two_services_of_one_address_the_first_keeps_it_and_the_second_takes_over(node):
    first, second = node.pod("first").serve(), node.pod("second").serve()
    node.write("pods.yaml", pod_manifest("first", first.ip, {"app": "first"}),
               pod_manifest("second", second.ip, {"app": "second"}))
    node.write("first.yaml", service("first", selector={"app": "first"}, cluster_ip="10.96.0.10"))
    agent = node.agent()
    client = node.pod("client")
    # Earlier by name, later in time.
    node.write("second.yaml", service("a-second", selector={"app": "second"}, cluster_ip="10.96.0.10"))
    line = agent.wait_line("left out")
    assert "service=a-second" in line and "10.96.0.10" in line and "first" in line
    assert client.ask_often("10.96.0.10") == {"first": 40}
    assert [row["refused"] for row in node.status()["refused"]] == ["default/a-second"]
    node.barrier()
    assert len(agent.lines("left out")) == 1
    (node.manifests / "first.yaml").unlink()
    agent.wait_line("served now", "a-second")
    assert client.ask_often("10.96.0.10") == {"second": 40}
    assert node.status()["refused"] == []
