# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""/metrics, /healthz, /livez and /readyz: a real agent, real traffic, and a real
Prometheus that scrapes it."""

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import time
import urllib.parse

import pytest
from harness import (
    HostNetwork,
    ask_sendto,
    ask_tcp,
    connect_error,
    endpoint_slice,
    endpoints,
    node_manifest,
    pod_manifest,
    port,
    service,
    wait_until,
)
from test_kube import KubeNode

WEB = {"app": "web"}
VIP, DNS, EMPTY, BROKEN = "10.96.0.10", "10.96.0.53", "10.96.0.11", "10.96.0.12"
BIND = ("--http-bind-address", "127.0.0.1:10299", "--node-name", "node1")
SERIES = re.compile(r"^([a-z_0-9]+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def get(node, path, method="GET"):
    """(status, headers, body) of the agent's own server."""
    with node.host.entered():
        connection = http.client.HTTPConnection("127.0.0.1", 10299, timeout=20)
        connection.connect()
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body.decode()


def scrape(node):
    status, headers, body = get(node, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert body.endswith("\n")
    return body


def parse(text):
    """{(name, labels): value}; no series is there twice."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        match = SERIES.match(line)
        assert match, line
        key = match[1], frozenset(LABEL.findall(match[2] or ""))
        assert key not in found, line
        found[key] = float(match[3])
    return found


def value(node, name, **labels):
    """The one series of that name with these labels; None if there is none."""
    rows = [
        number
        for (found, having), number in parse(scrape(node)).items()
        if found == name and set(labels.items()) <= having
    ]
    assert len(rows) <= 1, (name, labels, rows)
    return rows[0] if rows else None


def check(node, expected, name, **labels):
    wait_until(lambda: value(node, name, **labels) == expected, f"{name} {labels} is {expected}")


def promtool_check(text):
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stdout and not done.stderr, done.stdout + done.stderr


def hold(stop, address, number):
    """Keep a connection open until told to stop."""
    with socket.socket() as client:
        client.connect((address, number))
        while not stop():
            time.sleep(0.02)


def hold_server(pod, number):
    """A port whose connections are accepted by the kernel and stay."""
    return pod.listen(socket.SOCK_STREAM, number)


@pytest.fixture(name="client")
def fixture_client(node):
    pod = node.pod("a").serve(udp=(8080,))
    node.write("pods.yaml", pod_manifest("a", pod.ip, WEB))
    node.write("web.yaml", service("web", [port(80, 8080, "http"), port(81, 9090, "held")], WEB, VIP,
                                   sessionAffinity="ClientIP"))
    node.write("dns.yaml", service("dns", [port(53, 8080, protocol="UDP")], WEB, DNS))
    node.write("empty.yaml", service("empty", 80, cluster_ip=EMPTY))
    # Nothing listens there.
    node.write("broken.yaml", service("broken", 80, cluster_ip=BROKEN), endpoints("broken", [pod.ip], 9))
    return node.pod("client")


def traffic(node, client):
    """Of every kind; the counters after it are checked."""
    held = hold_server(node.pods[0], 9090)
    for _ in range(7):
        client.call(ask_tcp, VIP, 80)
    for _ in range(3):
        client.call(ask_sendto, DNS, 53)
    for _ in range(4):
        assert client.call(connect_error, EMPTY, 80)
    for _ in range(2):
        assert client.call(connect_error, BROKEN, 80)
    holding = client.start(hold, VIP, 81)
    check(node, 1, "redial_service_tcp_open", service="web", port="81")
    return held, holding


def check_traffic(node):
    web = {"namespace": "default", "service": "web", "port": "80", "protocol": "TCP"}
    check(node, 7, "redial_service_connects_total", **web)
    check(node, 7, "redial_service_tcp_established_total", **web)
    check(node, 0, "redial_service_tcp_open", **web)
    check(node, 0, "redial_service_tcp_failed_total", **web)
    check(node, 0, "redial_service_tcp_timed_out_total", **web)
    check(node, 6, "redial_service_affinity_hits_total", **web)
    check(node, 7, "redial_service_tcp_connect_duration_seconds_count", **web)
    check(node, 7, "redial_service_tcp_connect_duration_seconds_bucket", le="+Inf", **web)
    check(node, 1, "redial_service_endpoints", **web)
    check(node, 0, "redial_service_connects_total", service="dns")
    check(node, 3, "redial_service_flows_total", service="dns", protocol="UDP")
    check(node, 4, "redial_service_refused_total", service="empty", reason="no_endpoints")
    check(node, 0, "redial_service_connects_total", service="empty")
    check(node, 0, "redial_service_endpoints", service="empty")
    check(node, 2, "redial_service_connects_total", service="broken")
    check(node, 2, "redial_service_tcp_failed_total", service="broken")
    check(node, None, "redial_service_flows_total", service="web", port="80")


def test_counters_are_right_survive_a_restart_and_end_with_their_object(node, client):
    node.agent(*BIND)
    check(node, 0, "redial_service_connects_total", service="web", port="80")
    check(node, None, "redial_service_tcp_established_total", service="web")
    _held, holding = traffic(node, client)
    check_traffic(node)
    promtool_check(scrape(node))
    assert not [name for name, _ in parse(scrape(node)) if name.startswith("redial_backend")]
    node.agents[-1].kill()
    agent = node.agent(*BIND, "--metrics-backends")
    check_traffic(node)
    check(node, 1, "redial_service_tcp_open", service="web", port="81")
    backend = f"{node.pods[0].ip}:8080"
    check(node, 7, "redial_backend_chosen_total", service="web", port="80", backend=backend)
    check(node, 0, "redial_backend_tcp_open", service="web", port="80", backend=backend)
    check(node, 1, "redial_backend_tcp_open", service="web", port="81")
    check(node, 2, "redial_backend_tcp_failed_total", service="broken")
    check(node, 3, "redial_backend_chosen_total", service="dns", backend=backend)
    check(node, None, "redial_backend_tcp_open", service="dns")
    promtool_check(scrape(node))
    holding.stop()
    check(node, 0, "redial_service_tcp_open", service="web", port="81")
    (node.manifests / "web.yaml").unlink()
    check(node, None, "redial_service_connects_total", service="web", port="80")
    node.write("web.yaml", service("web", [port(80, 8080)], WEB, VIP))
    check(node, 0, "redial_service_connects_total", service="web", port="80")
    check(node, None, "redial_service_tcp_established_total", service="web")
    assert agent.is_running()


def test_what_is_not_counted_is_not_listed(node, client):
    node.agent(*BIND, "--track-outcomes", "off")
    client.call(ask_tcp, VIP, 80)
    check(node, 1, "redial_service_connects_total", service="web", port="80")
    assert not [name for name, _ in parse(scrape(node)) if name.startswith("redial_service_tcp")]
    promtool_check(scrape(node))


def test_the_agents_own_numbers(node, client):
    assert client
    agent = node.agent(*BIND)
    found = {name: number for (name, labels), number in parse(scrape(node)).items() if not labels}
    assert found["redial_ready"] == 1
    assert found["redial_services_refused"] == 0
    assert found["redial_map_writes_total"] > 0
    assert found["redial_sync_duration_seconds_count"] >= 1
    assert 0 < found["redial_sync_duration_seconds_sum"] < 60
    assert found["kubeproxy_sync_proxy_rules_duration_seconds_count"] >= 1
    assert abs(found["kubeproxy_sync_proxy_rules_last_timestamp_seconds"] - time.time()) < 60
    assert abs(found["process_start_time_seconds"] - time.time()) < 60
    assert found["process_resident_memory_bytes"] > 2**20
    # The connection of the scrape is one, and closed since.
    assert 0 <= found["process_open_fds"] - len(os.listdir(f"/proc/{agent.pid}/fd")) <= 1
    assert value(node, "redial_source_objects", kind="Service") == 4
    assert abs(value(node, "redial_source_last_seen_timestamp_seconds", kind="Service") - time.time()) < 60
    assert value(node, "redial_map_entries", map="rd_services") == 5
    assert value(node, "redial_map_entries", map="rd_frontends") == 5
    assert value(node, "redial_map_capacity", map="rd_frontends") >= 64
    assert value(node, "redial_build_info") == 1


# ---- how long endpoints take -----------------------------------------------------------------

@pytest.fixture(name="kube")
def fixture_kube(node):
    with KubeNode(node) as kube:
        yield kube


PROGRAMMING = "kubeproxy_network_programming_duration_seconds"


def triggered_slice(kube, name, trigger, *ips):
    """A slice whose endpoints follow from something at that time, or 0 for none."""
    item = endpoint_slice(f"{name}-1", name, ips, 8080, namespace="default")
    if trigger:
        whole, ns = divmod(trigger, 10**9)
        text = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{ns:09}Z"
        item["metadata"]["annotations"] = {"endpoints.kubernetes.io/last-change-trigger-time": text}
    kube.put(item)


def test_i3_how_long_endpoints_took_is_observed_once(kube):
    node, ip = kube.node, kube.pod.ip
    before = time.time_ns()
    kube.put(service("web", cluster_ip=kube.VIP, namespace="default"))
    triggered_slice(kube, "web", before, ip)
    kube.agent(*BIND[:2])
    kube.wait_in_sync()
    # From before the agent started.
    check(node, 0, f"{PROGRAMMING}_count")
    trigger = time.time_ns()
    triggered_slice(kube, "web", trigger, ip, "10.244.9.1")
    check(node, 1, f"{PROGRAMMING}_count")
    assert 0 < value(node, f"{PROGRAMMING}_sum") <= (time.time_ns() - trigger) / 1e9
    # The same trigger again, none, and a slice that goes.
    triggered_slice(kube, "web", trigger, ip)
    kube.wait_in_sync()
    triggered_slice(kube, "web", 0, ip, "10.244.9.1")
    kube.wait_in_sync()
    check(node, 1, f"{PROGRAMMING}_count")
    kube.delete("endpointslices", "web-1")
    kube.wait_in_sync()
    triggered_slice(kube, "web", time.time_ns(), ip)
    check(node, 2, f"{PROGRAMMING}_count")
    check(node, 2, f"{PROGRAMMING}_bucket", le="+Inf")
    promtool_check(scrape(node))


def test_i3_endpoints_count_when_they_are_in_the_maps(kube):
    node, ip = kube.node, kube.pod.ip
    kube.agent(*BIND[:2])
    # One that no Service has, one of a Service that has no room, one of a headless one.
    triggered_slice(kube, "later", time.time_ns(), ip)
    kube.put(service("large", cluster_ip="10.96.0.21", namespace="default"))
    for i in range(5):
        many_ips = [f"10.244.{10 + i}.{n}" for n in range(1, 101)]
        kube.put(endpoint_slice(f"large-more{i}", "large", many_ips, 8080, namespace="default"))
    wait_until(lambda: value(node, "redial_services_refused") == 1, "there is no room for it")
    triggered_slice(kube, "large", time.time_ns(), ip)
    kube.put(service("headless", cluster_ip="None", namespace="default"))
    triggered_slice(kube, "headless", time.time_ns(), ip)
    kube.put_web()
    wait_until(lambda: [row["name"] for row in node.json("backends")] == ["web"], "all of it was seen")
    check(node, 0, f"{PROGRAMMING}_count")
    kube.put(service("later", cluster_ip="10.96.0.22", namespace="default"))
    check(node, 1, f"{PROGRAMMING}_count")
    for i in range(5):
        kube.delete("endpointslices", f"large-more{i}")
    check(node, 2, f"{PROGRAMMING}_count")
    kube.wait_in_sync()
    check(node, 2, f"{PROGRAMMING}_count")


# ---- probes -------------------------------------------------------------------------------


def node1(node, **more):
    manifest = node_manifest("node1", "192.168.50.1")
    manifest["metadata"].update(more.get("meta", {}))
    manifest["spec"] = more.get("spec", {})
    node.write("node1.yaml", manifest)


def test_probes_say_what_load_balancers_ask(node):
    node1(node)
    node.agent(*BIND)
    for path in ("/healthz", "/livez"):
        status, headers, body = get(node, path)
        answer = json.loads(body)
        assert (status, headers["Content-Type"], answer["healthy"]) == (200, "application/json", True)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer["currentTime"])
        assert answer["lastUpdated"] == answer["currentTime"]
        assert answer["status"]["IPv4"]["healthy"] and answer["status"]["IPv6"]["healthy"]
        assert answer.get("nodeEligible") == (True if path == "/healthz" else None)
    assert get(node, "/readyz")[0] == 200
    assert get(node, "/nothing")[0] == 404
    status, _, body = get(node, "/metrics", "HEAD")
    assert (status, body) == (200, "")


@pytest.mark.parametrize(
    "more",
    [{"meta": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
     {"spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}}],
    ids=["deleted", "tainted"],
)
def test_a_node_that_leaves_is_not_healthy_and_alive(node, more):
    node1(node, spec={"taints": [{"key": "other", "effect": "NoSchedule"}]})
    node.agent(*BIND)
    assert get(node, "/healthz")[0] == 200
    node1(node, **more)
    wait_until(lambda: get(node, "/healthz")[0] == 503, "the node is leaving")
    answer = json.loads(get(node, "/healthz")[2])
    assert (answer["healthy"], answer["nodeEligible"]) == (False, False)
    assert answer["status"]["IPv4"]["healthy"]
    assert get(node, "/livez")[0] == 200
    node1(node)
    wait_until(lambda: get(node, "/healthz")[0] == 200, "it stays")


def test_i1_a_node_that_the_server_does_not_have_is_not_healthy_and_alive(kube):
    node = kube.node

    def becomes(status):
        wait_until(lambda: get(node, "/healthz")[0] == status, f"/healthz is {status}")
        assert json.loads(get(node, "/healthz")[2])["nodeEligible"] == (status == 200)
        assert get(node, "/livez")[0] == 200 and get(node, "/readyz")[0] == 200

    kube.put(node_manifest("other", "192.168.50.2"))
    kube.agent(*BIND[:2])
    becomes(503)
    here = node_manifest("node1", "192.168.50.1")
    kube.put(here)
    becomes(200)
    kube.put({**here, "spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}})
    becomes(503)
    kube.put(here)
    becomes(200)
    meta = {**here["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    kube.put({**here, "metadata": meta})
    becomes(503)
    kube.put(here)
    becomes(200)
    kube.delete("nodes", "node1", "")
    becomes(503)


# ---- many Services, and clients that misbehave ------------------------------------------------


def many(node, n):
    node.SIZES = ("--max-services", str(n + 64), "--max-backends", str(2 * n))
    node.write("many.yaml", json.dumps({"apiVersion": "v1", "kind": "List", "items": [
        service(f"svc-{i:05}", 80, cluster_ip=f"10.97.{i // 250}.{i % 250 + 1}") for i in range(n)]}))


def test_ten_thousand_services_are_below_ten_megabytes(node):
    many(node, 10000)
    node.agent(*BIND, seconds=120)
    text = scrape(node)
    assert len(text) < 10e6
    assert sum(name == "redial_service_connects_total" for name, _ in parse(text)) == 10000
    promtool_check(text)


def test_clients_that_go_away_in_the_middle_harm_nobody(node):
    many(node, 5000)
    agent = node.agent(*BIND, seconds=120)
    before = value(node, "process_open_fds")
    for i in range(40):
        with node.host.entered():
            client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", 10299))
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        if i % 2:
            # The agent may have as many as it takes.
            with contextlib.suppress(ConnectionResetError):
                client.recv(1000)
        client.close()
    wait_until(lambda: get(node, "/metrics")[0] == 200, "the others are served")
    wait_until(lambda: value(node, "process_open_fds") <= before, "nothing is left of them")
    # One that does not read is cut off; the agent may end meanwhile.
    with node.host.entered():
        client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", 10299))
    client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.recv(100)
    agent.stop()
    client.close()


# ---- a real Prometheus, and the dashboard's queries ------------------------------------------------


def queries(tree):
    dashboard = json.loads((tree / "deploy/grafana-dashboard.json").read_text())
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expr = target["expr"].replace("$__rate_interval", "10s").replace("$instance", ".*")
            yield f"{panel['title']} {target['refId']}", expr


def ask_prometheus(node, expr):
    with node.host.entered():
        connection = http.client.HTTPConnection("127.0.0.1", 9090, timeout=10)
        connection.connect()
    connection.request("GET", "/api/v1/query?" + urllib.parse.urlencode({"query": expr}))
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer["status"] == "success", (expr, answer)
    return answer["data"]["result"]


def test_prometheus_scrapes_it_and_the_dashboards_queries_have_data(node, client, tree):
    node.agent(*BIND, "--metrics-backends")
    _held, holding = traffic(node, client)
    rules = node.directory / "rules.yml"
    rules.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": [
        {"record": f"panel:{i}", "expr": expr} for i, (_, expr) in enumerate(queries(tree))]}]}))
    done = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    config = node.directory / "prometheus.yml"
    config.write_text(json.dumps({
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "redial", "static_configs": [{"targets": ["127.0.0.1:10299"]}]}]}))
    log = open(node.directory / "prometheus.log", "wb")  # pylint: disable=consider-using-with
    HostNetwork(node).popen(
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={node.directory}/tsdb",
         "--web.listen-address=127.0.0.1:9090"], cgroup=False, stdout=log, stderr=log)
    log.close()

    def is_up():
        try:
            return [row["value"][1] for row in ask_prometheus(node, 'up{job="redial"}')] == ["1"]
        except (OSError, ValueError):
            return False  # it starts

    wait_until(is_up, "Prometheus has scraped the agent", 60)

    def missing():
        client.call(ask_tcp, VIP, 80)
        client.call(ask_sendto, DNS, 53)
        client.call(connect_error, EMPTY, 80)
        client.call(connect_error, BROKEN, 80)
        node.write("sync.yaml", service("sync", 80, cluster_ip=f"10.96.1.{int(time.time()) % 200 + 1}"))
        # In this traffic nothing times out.
        return [name for name, expr in queries(tree)
                if "timed_out" not in expr and not ask_prometheus(node, expr)]

    wait_until(lambda: not missing(), "each query of the dashboard returns something", 60)
    p99 = next(expr for _, expr in queries(tree) if expr.startswith("histogram_quantile(0.99, sum by (le) (rate(redial_service"))
    assert 0 < float(ask_prometheus(node, p99)[0]["value"][1]) < 2
    holding.stop()


def test_maps_that_cannot_be_written_make_it_unready_and_nothing_worse(node, bpftool):
    """Frozen, a map takes no more entries. The last good state goes on, and it is tried again."""
    node1(node)
    pod = node.pod("pod").serve()
    node.write("pod.yaml", pod_manifest("pod", pod.ip, WEB))
    node.write("web.yaml", service("web", selector=WEB, cluster_ip=VIP))
    client = node.pod("client")
    agent = node.agent(*BIND)
    assert get(node, "/readyz")[0] == 200
    bpftool("map", "freeze", "pinned", node.bpffs / "rd_services")
    node.write("more.yaml", service("more", selector=WEB, cluster_ip=EMPTY))
    wait_until(lambda: agent.text().count("cannot write the maps, retrying") >= 2, "it has tried again", 30)
    assert get(node, "/readyz")[0] == 503
    assert client.call(connect_error, VIP, 80) == 0
    agent.stop()
    assert client.call(connect_error, VIP, 80) == 0
