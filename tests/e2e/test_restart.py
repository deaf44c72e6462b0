# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The agent is killed and started again while sockets of every kind are used:
no request fails, and none is answered by anybody else. TCP to an IPv4 ClusterIP
is in test_lifecycle.py."""

import socket

import pytest
from harness import Cluster, Load, ask_sendto, ask_tcp, ask_udp, family_of, node_port, port

VIP, VIP6, OTHER, OTHER6 = "10.96.0.10", "fd00:96::10", "10.96.0.11", "fd00:96::11"
NP = 30080
TIMES = 5
PODS, STRAYS = {"pod0", "pod1", "pod2"}, {"stray0", "stray1"}
BOTH = [node_port(80, 8080, NP, "t"), node_port(80, 8080, NP, "u", "UDP")]


class Kept:
    """Asks over UDP sockets that stay open, one after the other. Each stays with
    the backend that it was given, and its answers come from the Service."""

    def __init__(self, connected, n=40):
        self._connected, self._left, self._sockets = connected, n, []

    def __repr__(self):
        return f"{'connected' if self._connected else 'unconnected'} UDP sockets that stay open"

    def _open(self, address, number):
        client = socket.socket(family_of(address), socket.SOCK_DGRAM)
        client.settimeout(5)
        if self._connected:
            client.connect((address, number))
        return client

    def __call__(self, address, number):
        if self._left or not self._sockets:
            self._left -= 1
            client, backend = self._open(address, number), None
        else:
            client, backend = self._sockets.pop(0)
        if self._connected:
            client.send(b"who are you?")
        else:
            client.sendto(b"who are you?", (address, number))
        # Without an answer it is closed: a late one would be taken for the next.
        answer, source = client.recvfrom(2048)
        answer = answer.decode()
        self._sockets.append((client, backend or answer))
        assert source[:2] == (address, number), f"the answer comes from {source}"
        assert not self._connected or client.getpeername()[:2] == (address, number), client.getpeername()
        assert backend in (None, answer), f"{backend} was asked, {answer} answers"
        return answer


@pytest.fixture(name="cluster")
def fixture_cluster(node):
    """Two Services of both families, the same but for their addresses."""
    cluster = Cluster(node)
    for name in sorted(PODS | STRAYS):
        pod = cluster.node.pod(name).serve(udp=(8080,))
        cluster.describe(pod, cluster.LABELS if name in PODS else {"app": "other"}, ip6=pod.ip6)
    other = [node_port(80, 8080, NP + 1, "t"), node_port(80, 8080, NP + 1, "u", "UDP"), port(81, 8080, "more")]
    cluster.service("a-other", other, OTHER, labels={"app": "other"}, type="NodePort", clusterIPs=[OTHER, OTHER6])
    return cluster


def serve(cluster, **spec):
    cluster.service("web", BOTH, VIP, type="NodePort", clusterIPs=[VIP, VIP6], **spec)
    cluster.agent()
    for address in (OTHER, OTHER6):
        cluster.check(STRAYS, address, clients=[cluster.client])


def restart(cluster, loads):
    cluster.node.restart_under(loads, TIMES, cluster.agent)


def test_restart_under_load_tcp_over_ipv6(cluster):
    serve(cluster)
    loads = [Load(client, VIP6) for client in cluster.clients]
    loads.append(Load(cluster.client, f"::ffff:{VIP}"))
    restart(cluster, loads)
    for item in loads:
        item.check(PODS)


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "unconnected"])
def test_restart_under_load_udp(cluster, connected):
    serve(cluster)
    asks = [ask_udp if connected else ask_sendto, Kept(connected)]
    loads = [Load(cluster.client, address, ask=ask) for address in (VIP, VIP6) for ask in asks]
    restart(cluster, loads)
    for item in loads:
        item.check(PODS)


def test_restart_under_load_affinity(cluster):
    serve(cluster, sessionAffinity="ClientIP")
    # What a client is pinned to is its Service port's, and so the protocol's.
    pinned = [(client, ask, client.call(ask, VIP, 80)) for client in cluster.clients for ask in (ask_tcp, ask_udp)]
    loads = [(Load(client, VIP, ask=ask), backend) for client, ask, backend in pinned]
    restart(cluster, [item for item, _ in loads])
    for item, backend in loads:
        item.check({backend})
    for client, ask, backend in pinned:
        assert client.call(ask, cluster.NODE2, NP) == backend


def test_restart_under_load_nodeport(cluster):
    serve(cluster)
    addresses = [(client, address) for client in cluster.clients for address in (cluster.NODE1, cluster.NODE2)]
    loads = [Load(client, address, NP) for client, address in (*addresses, (cluster.host, "127.0.0.1"))]
    restart(cluster, loads)
    for item in loads:
        item.check(PODS)
