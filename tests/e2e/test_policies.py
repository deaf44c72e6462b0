# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Which endpoints, and at which addresses, as hints, source ranges, modes and
the node's addresses say; by the numbers of docs/semantics.md."""

import pytest
from harness import Cluster, ask_sendto, ask_tcp, ask_udp, endpoint_slice, node_manifest, node_port

VIP, VIP6, EXTERNAL = "10.96.0.10", "fd00:96::10", "203.0.113.250"
LB, LB6 = "203.0.113.10", "fd00:203::10"
NODE1_6, NODE2_6 = "fd00:50::1", "fd00:60::2"
NP = 30080
TCP = [node_port(80, 8080, NP, "t")]
BOTH = [*TCP, node_port(80, 8080, NP, "u", "UDP")]
ASKS = (ask_tcp, ask_udp, ask_sendto)
DUAL = {"clusterIPs": [VIP, VIP6]}


@pytest.fixture(name="cluster")
def fixture_cluster(node):
    """Nodes with an address of either family."""
    cluster = Cluster(node)
    node.host.ip(f"addr add {NODE1_6}/128 dev node0 nodad")
    node.write("nodes.yaml", node_manifest("node1", cluster.NODE1, NODE1_6),
               node_manifest("node2", cluster.NODE2, NODE2_6))
    return cluster


def two_pods(cluster):
    """Their names; they have addresses of both families."""
    for name in ("pod1", "pod2"):
        pod = cluster.pod(name)
        cluster.describe(pod, ip6=pod.ip6)
    return {"pod1", "pod2"}


# ---- NodePorts over IPv6 --------------------------------------------------------------------


def test_c6_node_ports_answer_at_the_ipv6_addresses_of_nodes(cluster):
    pods = two_pods(cluster)
    cluster.service("web", BOTH, VIP, type="NodePort", **DUAL)
    cluster.agent()
    for ask in ASKS:
        for address in (NODE1_6, NODE2_6, cluster.node.GATEWAY6, cluster.NODE1, cluster.NODE2):
            cluster.check(pods, address, NP, ask)
    cluster.service("web", [node_port(80, 8080, NP + 1, "t")], VIP, type="NodePort", **DUAL)
    cluster.check(pods, NODE2_6, NP + 1)
    cluster.check_not_ours(NODE2_6, NP)
    cluster.check_refused(NODE1_6, NP, clients=[cluster.host])


def test_c6_ipv6_addresses_of_nodes_are_followed(cluster):
    pods = two_pods(cluster)
    cluster.service("web", TCP, VIP, type="NodePort", **DUAL)
    cluster.agent()
    cluster.check_not_ours("fd00:70::7", NP)
    cluster.node.host.ip("addr add fd00:70::7/128 dev node0 nodad")
    cluster.check(pods, "fd00:70::7", NP)
    cluster.node.host.ip("addr del fd00:70::7/128 dev node0")
    cluster.check_not_ours("fd00:70::7", NP)
    # And other nodes', by their objects.
    cluster.node.write("node3.yaml", node_manifest("node3", "fd00:70::8"))
    cluster.check(pods, "fd00:70::8", NP)
    (cluster.node.manifests / "node3.yaml").unlink()
    cluster.check_not_ours("fd00:70::8", NP)


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_a5_node_ports_answer_in_the_families_of_their_service(cluster, family):
    pods = two_pods(cluster)
    cluster.service("web", TCP, VIP if family == "IPv4" else VIP6, type="NodePort", ipFamilies=[family])
    cluster.agent()
    served, other = (cluster.NODE2, NODE2_6) if family == "IPv4" else (NODE2_6, cluster.NODE2)
    cluster.check(pods, served, NP)
    cluster.check_not_ours(other, NP)


@pytest.mark.parametrize("where", ["all", "localhost,127.0.0.0/8,::1/128"], ids=["all", "named"])
def test_c7_node_ports_never_answer_at_ipv6s_loopback(cluster, where):
    """What listens there itself is reached, as it is in every Pod."""
    pods = two_pods(cluster)
    for client in cluster.clients:
        client.serve((NP,), (NP,))
    cluster.service("web", BOTH, VIP, type="NodePort", **DUAL)
    cluster.agent("--nodeport-addresses", where)
    for ask in ASKS:
        cluster.check(pods, "127.0.0.1", NP, ask, [cluster.host])
        cluster.check("client", "127.0.0.1", NP, ask, [cluster.client])
        for client in cluster.clients:
            cluster.check(client.name, "::1", NP, ask, [client])
    cluster.check(pods, "::ffff:127.0.0.1", NP, clients=[cluster.host])


# ---- topology hints -------------------------------------------------------------------------


def write_nodes(cluster, zone1, zone2="b"):
    cluster.node.write("nodes.yaml", node_manifest("node1", cluster.NODE1, zone=zone1),
                       node_manifest("node2", cluster.NODE2, zone=zone2))


class Hinted:
    """Pods behind an EndpointSlice: "near" and "far", and others on request."""

    def __init__(self, cluster, *more):
        self.cluster = cluster
        self.pods = {name: cluster.node.pod(name).serve() for name in ("near", "far", *more)}
        write_nodes(cluster, "a")
        cluster.service("web", [node_port(80, 8080, NP)], VIP, labels={}, type="NodePort")

    def write(self, hints, **conditions):
        """`hints`: by Pod, zones separated by spaces; a word like node1 is a node."""
        manifest = endpoint_slice("web-1", "web", [self.pods[name].ip for name in hints], 8080)
        for (name, words), item in zip(hints.items(), manifest["endpoints"]):
            item["conditions"] = conditions.get(name, {"ready": True})
            nodes = [{"name": word} for word in words.split() if word.startswith("node")]
            zones = [{"name": word} for word in words.split() if not word.startswith("node")]
            given = {**({"forNodes": nodes} if nodes else {}), **({"forZones": zones} if zones else {})}
            if given:
                item["hints"] = given
        self.cluster.node.write("slice.yaml", manifest)

    def check(self, *names):
        """At the ClusterIP, and at what is the node's own or another's address."""
        for address, number in ((VIP, 80), (self.cluster.NODE1, NP), (self.cluster.NODE2, NP)):
            self.cluster.check(names, address, number)


def test_b5_zone_hints_keep_traffic_in_the_zone(cluster):
    hinted = Hinted(cluster, "both")
    hinted.write({"near": "a", "far": "b", "both": "b a"})
    cluster.agent()
    hinted.check("near", "both")
    # They are followed.
    hinted.write({"near": "b", "far": "a", "both": "b"})
    hinted.check("far")


def test_b6_incomplete_zone_hints_are_ignored(cluster):
    hinted = Hinted(cluster, "unready")
    hinted.write({"near": "a", "far": "b"})
    cluster.agent()
    hinted.check("near")
    hinted.write({"near": "a", "far": ""})
    hinted.check("near", "far")
    hinted.write({"near": "a", "far": "b"})
    hinted.check("near")
    # None for our zone.
    hinted.write({"near": "c", "far": "b"})
    hinted.check("near", "far")
    # One that is not ready is not asked for its hints.
    hinted.write({"near": "a", "far": "b", "unready": ""}, unready={"ready": False})
    hinted.check("near")
    hinted.write({"near": "a", "far": "b", "unready": ""})
    hinted.check("near", "far", "unready")


def test_b5_hints_for_nodes_come_before_those_for_zones(cluster):
    hinted = Hinted(cluster, "here")
    hinted.write({"near": "a node3", "far": "b node2", "here": "b node1"})
    cluster.agent()
    hinted.check("here")
    # Incomplete for nodes, complete for zones.
    hinted.write({"near": "a", "far": "b node2", "here": "b node1"})
    hinted.check("near")


def test_b4_hints_do_not_concern_terminating_endpoints(cluster):
    hinted = Hinted(cluster)
    hinted.write({"near": "a", "far": "b"})
    cluster.agent()
    hinted.check("near")
    going = {"ready": False, "serving": True, "terminating": True}
    hinted.write({"near": "a", "far": "b"}, near=going, far=going)
    hinted.check("near", "far")


def test_b7_a_nodes_zone_is_followed(cluster):
    hinted = Hinted(cluster)
    hinted.write({"near": "a", "far": "b"})
    cluster.agent()
    hinted.check("near")
    write_nodes(cluster, "b")
    hinted.check("far")
    write_nodes(cluster, None)
    hinted.check("near", "far")
    # The other node's is not ours.
    write_nodes(cluster, "a", "a")
    hinted.check("near")


# ---- load balancers' addresses ---------------------------------------------------------------


@pytest.fixture(name="balanced")
def fixture_balanced(cluster):
    """A load balancer that has its addresses itself: what is left alone gets there."""
    two_pods(cluster)
    balancer = cluster.node.pod("balancer").serve((80,))
    balancer.netns.ip(f"addr add {LB}/32 dev lo", f"addr add {LB6}/128 dev lo nodad")
    for client in cluster.clients:
        client.netns.ip(f"route add {LB}/32 via {balancer.ip}", f"route add {LB6}/128 via {balancer.ip6}")
    return cluster


def load_balancer(cluster, mode=None, mode6=None, ranges=None):
    ingress = [{"ip": LB, "ipMode": mode}, {"ip": LB6, "ipMode": mode6}, {"hostname": "lb.example"}]
    ingress = [{key: value for key, value in item.items() if value} for item in ingress]
    spec = {"loadBalancerSourceRanges": ranges} if ranges else {}
    cluster.service("web", BOTH, VIP, type="LoadBalancer", externalIPs=[EXTERNAL],
                    status={"loadBalancer": {"ingress": ingress}}, **spec, **DUAL)


def check_balanced(cluster, who, who6):
    """Who answers at the load balancer's addresses; elsewhere the Pods do."""
    pods = {"pod1", "pod2"}
    for address, expected in ((LB, who), (LB6, who6)):
        for ask in ASKS if expected == pods else [ask_tcp]:
            cluster.check(expected, address, ask=ask)
    for address, number in ((VIP, 80), (VIP6, 80), (EXTERNAL, 80), (cluster.NODE2, NP), (NODE1_6, NP)):
        cluster.check(pods, address, number)


def test_c9_a_load_balancer_of_mode_proxy_is_left_alone(balanced):
    pods, proxy = {"pod1", "pod2"}, "balancer"
    load_balancer(balanced, "Proxy", "Proxy")
    balanced.agent()
    check_balanced(balanced, proxy, proxy)
    load_balancer(balanced, "VIP", "Proxy")
    check_balanced(balanced, pods, proxy)
    load_balancer(balanced, "Proxy", "VIP")
    check_balanced(balanced, proxy, pods)
    # VIP is what it is if it is not said.
    load_balancer(balanced)
    check_balanced(balanced, pods, pods)


def test_c10_source_ranges_concern_load_balancer_addresses_alone(balanced):
    pods, elsewhere = {"pod1", "pod2"}, "balancer"
    load_balancer(balanced, ranges=["172.16.0.0/12"])
    balanced.agent()
    # No range of a family is no restriction of it.
    check_balanced(balanced, elsewhere, pods)
    load_balancer(balanced, ranges=["172.16.0.0/12", f" {balanced.NODE1}/32 "])
    check_balanced(balanced, pods, pods)
    load_balancer(balanced, ranges=["172.16.0.0/12", "fd00:99::/64"])
    check_balanced(balanced, elsewhere, elsewhere)
    load_balancer(balanced, ranges=["172.16.0.0/12", "fd00:50::/32"])
    check_balanced(balanced, elsewhere, pods)
    load_balancer(balanced)
    check_balanced(balanced, pods, pods)


def test_c10_the_nodes_addresses_are_followed_into_source_ranges(balanced):
    pods, elsewhere = {"pod1", "pod2"}, "balancer"
    load_balancer(balanced, ranges=["172.16.0.0/12"])
    balanced.agent()
    balanced.check(elsewhere, LB)
    balanced.node.host.ip("addr add 172.20.0.7/32 dev node0")
    balanced.check(pods, LB)
    balanced.node.host.ip("addr del 172.20.0.7/32 dev node0")
    balanced.check(elsewhere, LB)
