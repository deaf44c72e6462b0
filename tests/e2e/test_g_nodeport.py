# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The cases of Kubernetes' own "Services" end-to-end tests that dial a NodePort
or ask for affinity, by their number in section G of the semantics document,
through the manifest source; and some more. See test_g_clusterip.py."""

import http.client
import json
import shutil
import signal
import socket
import time

import pytest
from harness import Child, Cluster, ask_sendto, ask_tcp, ask_udp, connect_error, node_manifest, node_port, port, wait_until

VIP, VIP2, LB, EXTERNAL = "10.96.0.10", "10.96.0.11", "203.0.113.10", "203.0.113.250"
NODES = (Cluster.NODE1, Cluster.NODE2)
NP, HC = 30080, 30999
TCP = [node_port(80, 8080, NP, "t")]
BOTH = [*TCP, node_port(80, 8080, NP, "u", "UDP")]
ASKS = (ask_tcp, ask_udp, ask_sendto)


@pytest.fixture(name="cluster")
def fixture_cluster(node):
    return Cluster(node)


def test_g10_create_a_functioning_nodeport_service(cluster):
    cluster.pod("pod1")
    cluster.pod("pod2", node="node2")
    cluster.service("web", BOTH, VIP, type="NodePort")
    cluster.agent()
    for ask in ASKS:
        cluster.check({"pod1", "pod2"}, VIP, ask=ask)
        for address in (*NODES, cluster.node.GATEWAY):
            cluster.check({"pod1", "pod2"}, address, NP, ask)
        cluster.check({"pod1", "pod2"}, "127.0.0.1", NP, ask, [cluster.host])
    # A Pod's own loopback is its own.
    cluster.check_refused("127.0.0.1", NP, clients=[cluster.client])


def test_g12_update_service_type_to_nodeport_same_port_number_different_protocols(cluster):
    cluster.pod("pod1")
    cluster.service("web", [port(80, 8080, "t")], VIP)
    cluster.agent()
    cluster.check("pod1", VIP)
    cluster.check_not_ours(cluster.NODE2, NP)
    cluster.service("web", BOTH, VIP, type="NodePort")
    for ask in ASKS:
        cluster.check("pod1", VIP, ask=ask)
        for address in NODES:
            cluster.check("pod1", address, NP, ask)


def test_g14_change_the_type_from_external_name_to_nodeport(cluster):
    cluster.pod("pod1")
    cluster.service("web", TCP, type="ExternalName", externalName="foo.example.com")
    cluster.agent()
    cluster.check_not_ours(cluster.NODE2, NP)
    cluster.service("web", TCP, VIP, type="NodePort")
    for address, number in ((VIP, 80), *((item, NP) for item in NODES)):
        cluster.check("pod1", address, number)


def test_g16_change_the_type_from_nodeport_to_external_name(cluster):
    cluster.pod("pod1")
    cluster.service("web", TCP, VIP, type="NodePort")
    cluster.agent()
    cluster.check("pod1", cluster.NODE2, NP)
    cluster.service("web", TCP, type="ExternalName", externalName="foo.example.com")
    cluster.check_not_ours(cluster.NODE2, NP)
    cluster.check_not_ours(VIP)
    cluster.check_refused(cluster.NODE1, NP)


def unready_and_terminating(cluster, publish, expected):
    pod = cluster.pod("pod1", ready=False)
    cluster.service("web", BOTH, VIP, type="NodePort", publishNotReadyAddresses=publish)
    cluster.agent()
    for deleting in (False, True):
        cluster.describe(pod, ready=False, deleting=deleting)
        cluster.node.barrier()
        for address, number in ((VIP, 80), *((item, NP) for item in NODES)):
            cluster.check(expected, address, number)


def test_g21_connect_to_terminating_and_unready_endpoints_if_publish_not_ready(cluster):
    unready_and_terminating(cluster, True, "pod1")


def test_g22_not_connect_to_terminating_and_unready_endpoints_otherwise(cluster):
    unready_and_terminating(cluster, False, "ECONNREFUSED")


# ---- affinity ------------------------------------------------------------------------------


def affine(seconds):
    return {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}}


def four_pods(cluster, **spec):
    for i in range(4):
        cluster.pod(f"pod{i}")
    cluster.service("web", BOTH, VIP, type="NodePort", **spec)
    return {f"pod{i}" for i in range(4)}


def is_sticky(client, address, number, ask=ask_tcp):
    return len({client.call(ask, address, number) for _ in range(15)}) == 1


def affinity_works(cluster, address, number):
    pods = four_pods(cluster, **affine(60))
    cluster.agent()
    for client in cluster.clients:
        for ask in ASKS:
            assert is_sticky(client, address, number, ask)
        # One client of one port, by whichever address.
        assert client.ask(VIP, 80) == client.ask(cluster.NODE1, NP) == client.ask(cluster.NODE2, NP)
        # What it is pinned to goes: another one, and then that.
        (gone,) = {client.ask(address, number)}
        cluster.delete("pod", gone)
        pods.discard(gone)
        left = set(pods)
        wait_until(lambda client=client, left=left: client.ask(address, number) in left, f"{gone} is not asked any more")
        assert is_sticky(client, address, number)


def affinity_switches(cluster, address, number):
    pods = four_pods(cluster)
    cluster.agent()
    cluster.check(pods, address, number)
    cluster.service("web", BOTH, VIP, type="NodePort", **affine(60))
    cluster.node.barrier()
    assert all(is_sticky(client, address, number) for client in cluster.clients)
    cluster.service("web", BOTH, VIP, type="NodePort")
    cluster.check(pods, address, number)


def _changes_after(address, number, seconds):
    """Sticky while asked, however long that takes; another one after a pause."""
    first = ask_tcp(address, number)
    began = last = time.monotonic()
    while time.monotonic() - began < 1.5 * seconds:
        time.sleep(seconds / 5)
        answer, now = ask_tcp(address, number), time.monotonic()
        # On a machine that stalls this long nothing is to be learnt.
        assert answer == first or now - last >= 0.9 * seconds, "the timer does not begin anew"
        first, last = answer, now
    for _ in range(10):
        time.sleep(seconds + 0.1)
        if ask_tcp(address, number) != first:
            return True
    return False


def affinity_times_out(cluster, address, number):
    four_pods(cluster, **affine(1))
    cluster.agent()
    at_once = [
        Child(_changes_after, address, number, 1, netns=client.netns.fd, cgroup=cluster.node.cgroup)
        for client in cluster.clients
    ]
    cluster.node.children.extend(at_once)
    assert [child.result() for child in at_once] == [True, True]


def test_g23_session_affinity_cluster_ip(cluster):
    affinity_works(cluster, VIP, 80)


def test_g24_switch_session_affinity_cluster_ip(cluster):
    affinity_switches(cluster, VIP, 80)


def test_g25_session_affinity_timeout_cluster_ip(cluster):
    affinity_times_out(cluster, VIP, 80)


def test_g26_session_affinity_nodeport(cluster):
    affinity_works(cluster, cluster.NODE1, NP)


def test_g27_switch_session_affinity_nodeport(cluster):
    affinity_switches(cluster, cluster.NODE1, NP)


def test_g28_session_affinity_timeout_nodeport(cluster):
    affinity_times_out(cluster, cluster.NODE1, NP)


# ---- externalTrafficPolicy --------------------------------------------------------------------


def test_g36_support_external_traffic_policy_local_for_nodeport(cluster):
    pod = cluster.source_pod("echo", node="node2")
    cluster.service("web", BOTH, VIP, type="NodePort", externalTrafficPolicy="Local")
    cluster.agent()
    for client in cluster.clients:
        for ask in ASKS:
            # This node's own address has the endpoints of all (C11).
            for address in NODES:
                cluster.check(client.ip, address, NP, ask, [client])
    cluster.describe(pod, node="node1")
    cluster.check_refused(cluster.NODE2, NP)
    for client in cluster.clients:
        cluster.check(client.ip, cluster.NODE1, NP, clients=[client])


def _health(address, number):
    """What a load balancer outside is told: status, weight and body; None from a closed port."""
    connection = http.client.HTTPConnection(address, number, timeout=5)
    try:
        connection.request("GET", "/any")
        answer = connection.getresponse()
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        return answer.status, answer.headers["X-Load-Balancing-Endpoint-Weight"], json.loads(answer.read())
    except ConnectionRefusedError:
        return None
    except ConnectionResetError:
        return "closed meanwhile"
    finally:
        connection.close()


def health(cluster, number=HC, client=None, address=Cluster.NODE1):
    return (client or cluster.host).call(_health, address, number)


def healthy(count, is_healthy=True):
    body = {
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": count,
        "serviceProxyHealthy": is_healthy,
    }
    return (200 if count and is_healthy else 503, str(count), body)


def balanced(cluster, policy, number=HC):
    status = {"loadBalancer": {"ingress": [{"ip": LB}]}}
    more = {"healthCheckNodePort": number} if number else {}
    cluster.service("web", BOTH, VIP, type="LoadBalancer", externalTrafficPolicy=policy, status=status, **more)


def test_g37_fail_health_check_node_port_if_there_are_only_terminating_endpoints(cluster):
    near = cluster.pod("near", node="node1", ready=True)
    cluster.pod("far", node="node2", ready=True)
    balanced(cluster, "Local")
    cluster.agent()
    # An endpoint of two ports counts once; one elsewhere does not count here.
    assert health(cluster) == healthy(1)
    assert health(cluster, client=cluster.client, address=cluster.node.GATEWAY) == healthy(1)
    assert health(cluster, client=cluster.client, address=cluster.node.GATEWAY6) == healthy(0)
    cluster.describe(near, node="node1", ready=True, deleting=True)
    wait_until(lambda: health(cluster) == healthy(0), "503")
    cluster.delete("pod", "far")
    for client in cluster.clients:
        cluster.check("near", cluster.NODE1, NP, clients=[client])


def test_c13_a_health_check_port_is_where_node_ports_are_and_another_owner_is_said(cluster):
    cluster.pod("near", node="node1", ready=True)
    balanced(cluster, "Local")
    taken = cluster.host.listen(socket.SOCK_STREAM, HC, cluster.NODE1)
    agent = cluster.agent("--nodeport-addresses", f"{cluster.NODE1}/32")
    agent.wait_line("health check port not served", "service=web", f"{cluster.NODE1}:{HC}")
    taken.close()
    balanced(cluster, "Local", HC + 1)
    wait_until(lambda: health(cluster, HC + 1) == healthy(1), "the new port answers")
    assert health(cluster, HC + 1, cluster.client, cluster.node.GATEWAY) is None
    agent.stop()
    assert health(cluster, HC + 1) is None


def test_g40_fallback_to_terminating_endpoints_external_traffic_policy_cluster(cluster):
    cluster.pod("near", node="node1", ready=True, deleting=True)
    cluster.pod("far", node="node2", ready=True, deleting=True)
    cluster.service("web", TCP, VIP, type="NodePort", externalTrafficPolicy="Cluster")
    cluster.agent()
    for address in NODES:
        cluster.check({"near", "far"}, address, NP)


def test_g41_fallback_to_local_terminating_endpoints_external_traffic_policy_local(cluster):
    cluster.pod("near", node="node1", ready=True)
    far = cluster.pod("far", node="node2", ready=True, deleting=True)
    cluster.service("web", TCP, VIP, type="NodePort", externalTrafficPolicy="Local")
    cluster.agent()
    cluster.check("near", cluster.NODE1, NP)
    cluster.check("far", cluster.NODE2, NP)
    cluster.describe(far, node="node2", ready=False, deleting=True)
    cluster.check_refused(cluster.NODE2, NP)


def test_g46_same_port_and_different_protocol_for_internal_traffic_on_load_balancer(cluster):
    cluster.pod("pod1")
    cluster.service("web", BOTH, VIP, type="LoadBalancer", status={"loadBalancer": {"ingress": [{"ip": LB}]}})
    cluster.agent()
    for ask in ASKS:
        for address, number in ((VIP, 80), (LB, 80), *((item, NP) for item in NODES)):
            cluster.check("pod1", address, number, ask)


def test_g48_nodeport_when_external_traffic_policy_changes(cluster):
    third = "192.168.60.3"
    cluster.node.write("node3.yaml", node_manifest("node3", third))
    cluster.source_pod("near", node="node1")
    cluster.source_pod("far", node="node2")
    balanced(cluster, "Local")
    cluster.agent()
    assert health(cluster) == healthy(1)
    for client in cluster.clients:
        for address, number in ((LB, 80), *((item, NP) for item in NODES)):
            cluster.check(client.ip, address, number, clients=[client])
    cluster.check_refused(third, NP)
    balanced(cluster, "Cluster", None)
    wait_until(lambda: health(cluster) is None, "the health check port is closed")
    for client in cluster.clients:
        for address in (*NODES, third):
            cluster.check(client.ip, address, NP, clients=[client])


# ---- more ------------------------------------------------------------------------------------


def test_two_services_claim_one_address_the_first_keeps_it(cluster):
    for name in ("first", "second"):
        cluster.pod(name, labels={"app": name})
    cluster.service("first", TCP, VIP, labels={"app": "first"}, type="NodePort", externalIPs=[EXTERNAL])
    agent = cluster.agent()
    cluster.service("a-second", TCP, VIP2, labels={"app": "second"}, type="NodePort", externalIPs=[EXTERNAL])
    cluster.check("second", VIP2)
    agent.wait_line("left out", "a-second")
    for address, number in ((EXTERNAL, 80), *((item, NP) for item in NODES)):
        cluster.check("first", address, number)
    cluster.delete("service", "first")
    for address, number in ((EXTERNAL, 80), *((item, NP) for item in NODES)):
        cluster.check("second", address, number)
    cluster.check_not_ours(VIP)


def test_node_addresses_are_followed(cluster):
    cluster.pod("pod1")
    cluster.service("web", TCP, VIP, type="NodePort")
    cluster.agent()
    cluster.check_not_ours("203.0.113.7", NP)
    cluster.node.host.ip("addr add 203.0.113.7/32 dev node0")
    cluster.check("pod1", "203.0.113.7", NP)
    cluster.node.host.ip("addr del 203.0.113.7/32 dev node0")
    cluster.check_not_ours("203.0.113.7", NP)
    # And other nodes', by their objects.
    cluster.node.write("node3.yaml", node_manifest("node3", "203.0.113.8"))
    cluster.check("pod1", "203.0.113.8", NP)
    (cluster.node.manifests / "node3.yaml").unlink()
    cluster.check_not_ours("203.0.113.8", NP)


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
def test_nodeport_addresses_flag(cluster, policy):
    cluster.pod("pod1", node="node1")
    cluster.pod("pod2", node="node2")
    cluster.service("web", TCP, VIP, type="NodePort", externalTrafficPolicy=policy)
    cluster.agent("--nodeport-addresses", "192.168.50.0/24")
    cluster.check({"pod1", "pod2"}, cluster.NODE1, NP)
    cluster.check_refused(cluster.node.GATEWAY, NP)
    cluster.check_not_ours(cluster.NODE2, NP)


def test_nodeport_addresses_primary(cluster):
    cluster.pod("pod1")
    cluster.service("web", TCP, VIP, type="NodePort")
    cluster.agent("--nodeport-addresses", "primary")
    for address in NODES:
        cluster.check("pod1", address, NP)
    cluster.check_refused(cluster.node.GATEWAY, NP)
    cluster.check_refused("127.0.0.1", NP)


def test_excluded_service_annotation(cluster):
    cluster.pod("pod1")
    cluster.service("web", cluster_ip=VIP)
    cluster.agent()
    cluster.check("pod1", VIP)
    cluster.service("web", cluster_ip=VIP, meta={"annotations": {"redial.io/exclude": "true"}})
    cluster.check_not_ours(VIP)
    cluster.service("web", cluster_ip=VIP, meta={"annotations": {"redial.io/exclude": "false"}})
    cluster.check("pod1", VIP)


def test_exclude_netns_and_cgroup(cluster):
    cluster.pod("pod1")
    cluster.service("web", cluster_ip=VIP)
    inside = cluster.node.cgroup / "excluded" / "below"
    inside.mkdir(parents=True)
    cluster.agent("--exclude-cgroup", inside.parent, "--exclude-netns", cluster.client.netns.path)
    cluster.check_not_ours(VIP, clients=[cluster.client])
    cluster.check("pod1", VIP, clients=[cluster.host])
    assert Child(connect_error, VIP, 80, netns=cluster.host.netns.fd, cgroup=inside).result() != 0
    assert Child(connect_error, VIP, 80, netns=cluster.host.netns.fd, cgroup=cluster.node.cgroup).result() == 0


def test_a19_delete_and_recreate_under_one_name_in_one_window(cluster):
    cluster.pod("pod1")
    cluster.service("web", cluster_ip=VIP)
    agent = cluster.agent()
    cluster.check("pod1", VIP)
    # Nothing is read while the agent stands still.
    agent.signal(signal.SIGSTOP)
    cluster.delete("service", "web")
    cluster.service("web", cluster_ip=VIP2)
    agent.signal(signal.SIGCONT)
    cluster.check("pod1", VIP2)
    cluster.check_not_ours(VIP)


def _keep(stop, address, number):
    """One connection from the beginning to the end; its answer comes last."""
    with socket.create_connection((address, number), 10) as client:
        peer = client.getpeername()
        while not stop():
            time.sleep(0.02)
        client.sendall(b"still here")
        client.shutdown(socket.SHUT_WR)
        return peer, client.makefile("rb").read()


def _echo(stop, listener):
    listener.settimeout(10)
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(10)
        connection.sendall(connection.makefile("rb").read())
    return stop()


@pytest.mark.parametrize("address,number", [(VIP, 80), (Cluster.NODE2, NP)], ids=["clusterip", "nodeport"])
def test_type_changes_leave_established_connections_alone(cluster, address, number):
    pod = cluster.node.pod("echo")
    listener = pod.listen(socket.SOCK_STREAM, 8080)
    pod.servers.append(Child(_echo, listener, netns=pod.netns.fd, stoppable=True))
    listener.close()
    cluster.describe(pod)
    cluster.service("web", TCP, VIP, type="NodePort")
    cluster.agent()
    kept = cluster.client.start(_keep, address, number)
    # It is connected when its record is there.
    wait_until(lambda: cluster.node.json("sockets"))
    cluster.service("web", [port(80, 8080)], VIP, type="ClusterIP")
    cluster.node.barrier()
    cluster.service("web", TCP, type="ExternalName", externalName="foo.example.com")
    # Not by asking: nobody would answer a second connection.
    wait_until(lambda: not cluster.node.services("web"))
    assert kept.stop() == ((address, number), b"still here")


PYTHON = "import urllib.request as u; print(u.urlopen('http://{}/name', timeout=9).read().decode(), end='')"
NODE = "fetch('http://{}/name').then(r => r.text()).then(t => process.stdout.write(t))"
PROGRAMS = {
    "curl": ["curl", "-s", "-m", "9", "--noproxy", "*", "http://{}/name"],
    "wget": ["wget", "-q", "-T", "9", "--no-proxy", "-O", "-", "http://{}/name"],
    "python3": ["/usr/bin/python3", "-c", PYTHON],
    "node": ["node", "-e", NODE],
    "nc": ["sh", "-c", "printf 'GET /name HTTP/1.0\\r\\n\\r\\n' | nc -w 9 {0.host} {0.port} | tail -n 1"],
}


class Where(str):
    host = property(lambda self: self.split(":", maxsplit=1)[0])
    port = property(lambda self: self.split(":")[1])


@pytest.mark.parametrize("program", PROGRAMS)
def test_real_clients(cluster, program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not here")
    pages = cluster.node.directory / "pages"
    pages.mkdir()
    (pages / "name").write_text("pod1")
    pod = cluster.node.pod("pod1")
    pod.serve_http(pages, 8080)
    cluster.describe(pod)
    cluster.service("web", TCP, VIP, type="NodePort", externalIPs=[EXTERNAL])
    cluster.agent()
    for where in (f"{VIP}:80", f"{EXTERNAL}:80", f"{cluster.NODE1}:{NP}", f"{cluster.NODE2}:{NP}"):
        for client in cluster.clients:
            status, output = client.command("env", "-u", "http_proxy", "-u", "HTTP_PROXY",
                                            *(item.format(Where(where)) for item in PROGRAMS[program]))
            assert (status, output) == (0, "pod1"), (program, where, client.name)


def test_getaddrinfo_does_not_refuse_an_address(cluster):
    """It connects UDP sockets to all of them, only to sort them."""
    if not shutil.which("getent"):
        pytest.skip("getent is not here")
    cluster.service("web", TCP, VIP)
    cluster.agent()
    for client in cluster.clients:
        status, output = client.command("getent", "ahosts", VIP)
        assert status == 0 and VIP in output, json.dumps(output)
