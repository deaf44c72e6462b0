# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The cases of Kubernetes' own "Services" end-to-end tests that dial a
ClusterIP, by their number in section G of the semantics document, through the
manifest source. NodePorts are in test_g_nodeport.py."""

import errno
import signal

import pytest
from harness import Cluster, HostNetwork, ask_sendto, ask_tcp, ask_udp, connect_error, endpoint_slice, port, service

VIP, VIP2, VIP3 = "10.96.0.10", "10.96.0.11", "10.96.0.12"
BOTH = [port(80, 8080, "t"), port(80, 8080, "u", "UDP")]


@pytest.fixture(name="cluster")
def fixture_cluster(node):
    return Cluster(node)


def test_g01_serve_a_basic_endpoint_from_pods(cluster):
    cluster.service("web", BOTH, VIP)
    cluster.agent()
    asks = (ask_tcp, ask_udp, ask_sendto)
    for ask in asks:
        cluster.check_refused(VIP, ask=ask)
    cluster.pod("pod1")
    for ask in asks:
        cluster.check("pod1", VIP, ask=ask)
    cluster.pod("pod2")
    for ask in asks:
        cluster.check({"pod1", "pod2"}, VIP, ask=ask)
    cluster.delete("pod", "pod1")
    for ask in asks:
        cluster.check("pod2", VIP, ask=ask)
    cluster.delete("pod", "pod2")
    for ask in asks:
        cluster.check_refused(VIP, ask=ask)


def test_g02_serve_multiport_endpoints_from_pods(cluster):
    cluster.service("web", [port(80, "portname1", "one"), port(81, "portname2", "two")], VIP)
    cluster.agent()
    cluster.pod("pod1", tcp=(100,), ports={"portname1": 100})
    cluster.check("pod1", VIP, 80)
    cluster.check_refused(VIP, 81)
    cluster.pod("pod2", tcp=(101,), ports={"portname2": 101})
    cluster.check("pod1", VIP, 80)
    cluster.check("pod2", VIP, 81)
    cluster.delete("pod", "pod1")
    cluster.check_refused(VIP, 80)
    cluster.check("pod2", VIP, 81)
    cluster.delete("pod", "pod2")
    cluster.check_refused(VIP, 81)


def test_g03_be_updated_after_adding_or_deleting_ports(cluster):
    cluster.pod("pod1", tcp=(100, 101), ports={"portname1": 100, "portname2": 101})
    cluster.service("web", [port(80, 100, "one")], VIP)
    cluster.agent()
    cluster.check("pod1", VIP, 80)
    cluster.check_not_ours(VIP, 81)
    cluster.service("web", [port(80, 100, "one"), port(81, 101, "two")], VIP)
    cluster.check("pod1", VIP, 81)
    cluster.check("pod1", VIP, 80)
    cluster.service("web", [port(81, 101, "two")], VIP)
    cluster.check_not_ours(VIP, 80)
    cluster.check("pod1", VIP, 81)


def test_g04_preserve_source_pod_ip_for_traffic_thru_service_cluster_ip(cluster):
    cluster.source_pod("echo")
    cluster.service("web", BOTH, VIP)
    cluster.agent()
    others = [cluster.node.pod(f"pause{i}") for i in range(2)]
    for client in (cluster.client, cluster.host, *others):
        for ask in (ask_tcp, ask_udp, ask_sendto):
            cluster.check(client.ip, VIP, ask=ask, clients=[client])


def test_g05_allow_pods_to_hairpin_back_to_themselves(cluster):
    pod = cluster.source_pod("hairpin")
    cluster.service("web", BOTH, VIP)
    cluster.agent()
    for ask in (ask_tcp, ask_udp, ask_sendto):
        cluster.check(pod.ip, VIP, ask=ask, clients=[pod])


def test_g06_be_able_to_up_and_down_services(cluster):
    for i, vip in ((1, VIP), (2, VIP2)):
        for replica in "ab":
            cluster.pod(f"up-down-{i}{replica}", labels={"app": f"up-down-{i}"})
        cluster.service(f"up-down-{i}", cluster_ip=vip, labels={"app": f"up-down-{i}"})
    cluster.agent()
    cluster.check({"up-down-1a", "up-down-1b"}, VIP)
    cluster.check({"up-down-2a", "up-down-2b"}, VIP2)
    cluster.delete("service", "up-down-1")
    for replica in "ab":
        cluster.delete("pod", f"up-down-1{replica}")
    cluster.check_not_ours(VIP)
    cluster.check({"up-down-2a", "up-down-2b"}, VIP2)
    cluster.pod("up-down-3a", labels={"app": "up-down-3"})
    cluster.service("up-down-3", cluster_ip=VIP3, labels={"app": "up-down-3"})
    cluster.check("up-down-3a", VIP3)
    cluster.check({"up-down-2a", "up-down-2b"}, VIP2)


def test_g07_work_after_the_service_has_been_recreated(cluster):
    cluster.pod("pod1")
    cluster.service("web", cluster_ip=VIP)
    cluster.agent()
    cluster.check("pod1", VIP)
    cluster.delete("service", "web")
    cluster.check_not_ours(VIP)
    cluster.service("web", cluster_ip=VIP)
    cluster.check("pod1", VIP)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_g08_work_after_restarting_kube_proxy(cluster, number):
    """Ours is redial; while it is away, what was there goes on."""
    cluster.pod("old", labels={"app": "old"})
    cluster.service("old", BOTH, VIP, labels={"app": "old"}, sessionAffinity="ClientIP")
    agent = cluster.agent()
    cluster.check("old", VIP)
    agent.signal(number)
    agent.wait()
    for ask in (ask_tcp, ask_udp, ask_sendto):
        cluster.check("old", VIP, ask=ask)
    cluster.pod("new", labels={"app": "new"})
    cluster.service("new", BOTH, VIP2, labels={"app": "new"})
    cluster.agent()
    for ask in (ask_tcp, ask_udp, ask_sendto):
        cluster.check("old", VIP, ask=ask)
        cluster.check("new", VIP2, ask=ask)


def test_g09_work_after_restarting_apiserver(cluster):
    """Here: the directory of manifests is away for a while."""
    manifests = cluster.node.manifests
    away = manifests.with_name("away")
    cluster.pod("old", labels={"app": "old"})
    cluster.service("old", cluster_ip=VIP, labels={"app": "old"})
    cluster.agent()
    cluster.check("old", VIP)
    manifests.rename(away)
    cluster.check("old", VIP)
    away.rename(manifests)
    cluster.pod("new", labels={"app": "new"})
    cluster.service("new", cluster_ip=VIP2, labels={"app": "new"})
    cluster.check("new", VIP2)
    cluster.check("old", VIP)


def test_g11_connect_to_a_service_via_external_ip_not_assigned_to_a_node(cluster):
    external = "203.0.113.250"
    cluster.pod("pod1")
    cluster.pod("pod2", node="node2")
    cluster.service("web", BOTH, VIP, externalIPs=[external])
    cluster.agent()
    for ask in (ask_tcp, ask_udp, ask_sendto):
        for address in (VIP, external):
            cluster.check({"pod1", "pod2"}, address, ask=ask)
    cluster.service("web", BOTH, VIP)
    cluster.check_not_ours(external)
    cluster.check({"pod1", "pod2"}, VIP)


def external_name(cluster, **more):
    cluster.service("web", [port(80, 8080)], type="ExternalName", externalName="foo.example.com", **more)


def test_g13_change_the_type_from_external_name_to_cluster_ip(cluster):
    cluster.pod("pod1")
    external_name(cluster)
    cluster.agent()
    cluster.check_not_ours(VIP)
    cluster.service("web", cluster_ip=VIP, type="ClusterIP")
    cluster.check("pod1", VIP)


@pytest.mark.parametrize("leftover", [{}, {"cluster_ip": VIP}], ids=["", "with a clusterIP left over"])
def test_g15_change_the_type_from_cluster_ip_to_external_name(cluster, leftover):
    cluster.pod("pod1")
    cluster.service("web", cluster_ip=VIP)
    cluster.agent()
    cluster.check("pod1", VIP)
    external_name(cluster, **leftover)
    cluster.check_not_ours(VIP)


def test_g20_create_endpoints_for_unready_pods(cluster):
    pod = cluster.pod("pod1", ready=False)
    cluster.service("web", cluster_ip=VIP, publishNotReadyAddresses=True)
    cluster.agent()
    cluster.check("pod1", VIP)
    cluster.service("web", cluster_ip=VIP, publishNotReadyAddresses=False)
    cluster.check_refused(VIP)
    cluster.service("web", cluster_ip=VIP, publishNotReadyAddresses=True)
    cluster.describe(pod, ready=False, deleting=True)
    cluster.check("pod1", VIP)
    cluster.delete("pod", "pod1")
    cluster.check_refused(VIP)


def test_g29_implement_service_proxy_name(cluster):
    label = {"labels": {"service.kubernetes.io/service-proxy-name": "foo-bar"}}
    cluster.pod("pod1")
    cluster.service("toggled", cluster_ip=VIP)
    cluster.service("born", cluster_ip=VIP2, meta=label)
    cluster.agent()
    cluster.check("pod1", VIP)
    cluster.check_not_ours(VIP2)
    cluster.service("toggled", cluster_ip=VIP, meta=label)
    cluster.check_not_ours(VIP)
    cluster.service("toggled", cluster_ip=VIP)
    cluster.check("pod1", VIP)
    cluster.check_not_ours(VIP2)


def test_g30_implement_headless(cluster):
    pod = cluster.node.pod("pod1").serve()
    hand_made = endpoint_slice("web-1", "web", [pod.ip], 8080)
    cluster.node.write("slice.yaml", hand_made)
    cluster.node.write("web.yaml", service("web", cluster_ip=VIP))
    # The same label on the Service itself means nothing.
    cluster.node.write("other.yaml", service("other", cluster_ip=VIP2,
                                             meta={"labels": {"service.kubernetes.io/headless": ""}}),
                       endpoint_slice("other-1", "other", [pod.ip], 8080))
    cluster.agent()
    cluster.check("pod1", VIP)
    cluster.check("pod1", VIP2)
    labelled = endpoint_slice("web-1", "web", [pod.ip], 8080)
    labelled["metadata"]["labels"]["service.kubernetes.io/headless"] = ""
    cluster.node.write("slice.yaml", labelled)
    cluster.check_refused(VIP)
    cluster.node.write("slice.yaml", hand_made)
    cluster.check("pod1", VIP)


def test_g31_be_rejected_when_no_endpoints_exist(cluster):
    cluster.service("web", BOTH, VIP, externalIPs=["203.0.113.250"])
    cluster.agent()
    for address in (VIP, "203.0.113.250"):
        for ask in (ask_tcp, ask_udp, ask_sendto):
            cluster.check_refused(address, ask=ask)


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_g32_be_rejected_for_evicted_pods(cluster, phase):
    pod = cluster.pod("pod1", ready=True)
    cluster.service("web", cluster_ip=VIP, publishNotReadyAddresses=True)
    cluster.agent()
    cluster.check("pod1", VIP)
    cluster.describe(pod, ready=False, phase=phase)
    cluster.check_refused(VIP)


# ---- internalTrafficPolicy ------------------------------------------------------------


def fails_each_time(clients):
    for client in clients:
        for _ in range(5):
            assert client.call(connect_error, VIP, 80) == errno.ECONNREFUSED


def internal_local(cluster, clients):
    """Reaches the endpoint of its own node, five times, and fails where all of
    them are on another one."""
    cluster.service("web", BOTH, VIP, internalTrafficPolicy="Local")
    near, far = cluster.pod("near", node="node1"), cluster.pod("far", node="node2")
    cluster.agent()
    for ask in (ask_tcp, ask_udp, ask_sendto):
        cluster.check("near", VIP, ask=ask, clients=clients)
    cluster.delete("pod", near.name)
    cluster.check_refused(VIP, clients=clients)
    fails_each_time(clients)
    # The policy goes, or the endpoint comes.
    cluster.service("web", BOTH, VIP, internalTrafficPolicy="Cluster")
    cluster.check("far", VIP, clients=clients)
    cluster.service("web", BOTH, VIP, internalTrafficPolicy="Local")
    cluster.check_refused(VIP, clients=clients)
    cluster.describe(far, node="node1")
    cluster.check("far", VIP, clients=clients)


def test_g33_respect_internal_traffic_policy_local_pod_to_pod(cluster):
    internal_local(cluster, [cluster.client])


def test_g34_respect_internal_traffic_policy_local_host_network_pod_to_pod(cluster):
    internal_local(cluster, [cluster.host])


def test_g35_respect_internal_traffic_policy_local_pod_and_node_to_host_network_pod(cluster):
    """The endpoints are the nodes' own addresses."""
    cluster.service("web", cluster_ip=VIP, internalTrafficPolicy="Local")
    near, far = HostNetwork(cluster.node, "near").serve(), HostNetwork(cluster.node, "far")
    cluster.describe(near, ip=cluster.NODE1, node="node1")
    cluster.describe(far, ip=cluster.NODE2, node="node2")
    cluster.agent()
    cluster.check("near", VIP)
    cluster.delete("pod", "near")
    cluster.check_refused(VIP)
    fails_each_time(cluster.clients)


def test_g38_fallback_to_terminating_endpoints_internal_traffic_policy_cluster(cluster):
    near = cluster.pod("near", node="node1", ready=True)
    far = cluster.pod("far", node="node2", ready=True)
    cluster.service("web", cluster_ip=VIP, internalTrafficPolicy="Cluster")
    cluster.agent()
    cluster.check({"near", "far"}, VIP)
    cluster.describe(near, node="node1", ready=True, deleting=True)
    cluster.check("far", VIP)
    cluster.describe(far, node="node2", ready=True, deleting=True)
    cluster.check({"near", "far"}, VIP)
    # Terminating, but no longer serving.
    cluster.describe(near, node="node1", ready=False, deleting=True)
    cluster.check("far", VIP)
    cluster.describe(far, node="node2", ready=False, deleting=True)
    cluster.check_refused(VIP)


def test_g39_fallback_to_local_terminating_endpoints_internal_traffic_policy_local(cluster):
    near = cluster.pod("near", node="node1", ready=True)
    cluster.pod("leaving", node="node1", ready=True, deleting=True)
    cluster.pod("far", node="node2", ready=True)
    cluster.service("web", cluster_ip=VIP, internalTrafficPolicy="Local")
    cluster.agent()
    cluster.check("near", VIP)
    # Rather one that is leaving here than one that is ready elsewhere.
    cluster.describe(near, node="node1", ready=True, deleting=True)
    cluster.check({"near", "leaving"}, VIP)
    cluster.delete("pod", "near")
    cluster.delete("pod", "leaving")
    cluster.check_refused(VIP)


# ---- ports --------------------------------------------------------------------------------


def test_g45_serve_endpoints_on_same_port_and_different_protocols(cluster):
    cluster.pod("pod1")
    cluster.service("web", BOTH, VIP)
    cluster.agent()
    for ask in (ask_tcp, ask_udp, ask_sendto):
        cluster.check("pod1", VIP, ask=ask)
    cluster.service("web", BOTH[:1], VIP)
    # From the host there is no way at all; in a Pod a datagram would be lost in silence.
    cluster.check("ENETUNREACH", VIP, ask=ask_sendto, clients=[cluster.host])
    cluster.check("pod1", VIP)
    cluster.service("web", BOTH[1:], VIP)
    cluster.check_not_ours(VIP)
    for ask in (ask_udp, ask_sendto):
        cluster.check("pod1", VIP, ask=ask)


@pytest.mark.parametrize("target", [9090, "http"], ids=["number", "name"])
def test_g49_connect_to_the_ports_exposed_by_restartable_init_containers(cluster, target):
    init = {"name": "sidecar", "restartPolicy": "Always", "ports": [{"name": "http", "containerPort": 9090}]}
    # One that only runs before the others does not count.
    once = {"name": "once", "ports": [{"name": "http", "containerPort": 1234}]}
    cluster.pod("pod1", tcp=(9090,), spec={"initContainers": [once, init]})
    cluster.service("web", [port(80, target)], VIP)
    cluster.agent()
    cluster.check("pod1", VIP)
    assert cluster.node.backends("web") == [f"{cluster.node.pods[-1].ip}:9090"]


def test_g50_support_named_target_ports_that_resolve_to_different_ports_on_different_endpoints(cluster):
    cluster.pod("pod1", tcp=(8080, 8090), ports={"http": 8080, "admin": 8090})
    cluster.pod("pod2", tcp=(9080, 9090), ports={"http": 9080, "admin": 9090})
    cluster.service("web", [port(80, "http", "http"), port(81, "admin", "admin")], VIP)
    cluster.agent()
    cluster.check({"pod1", "pod2"}, VIP, 80)
    cluster.check({"pod1", "pod2"}, VIP, 81)
