# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The cluster's DNS, answered on the node (SERVICE-SEMANTICS H10): its clients keep
asking its Service address, and no query is lost while the agent comes and goes.

The cluster's DNS Pods answer 192.0.2.53, or what they are told, to every name.
"""

import functools
import signal
import socket
import struct
import time

import pytest
from harness import SOON, HostNetwork, Load, endpoints, service, wait_until
from test_dns_upstream import PORT, Answer, Upstream, make_query, says

VIP, CLUSTER, MINE = "10.96.0.10", "192.0.2.53", "10.96.0.1"
NAME = "web.shop.svc.cluster.local"
FOR = ("--dns-local-for", "kube-system/kube-dns")


def ask_udp(name, attempts=1, connect=True, seconds=SOON):
    """As a stub resolver asks: a new socket for each attempt. The addresses, or
    None if it has no answer."""
    for _ in range(attempts):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(seconds)
            try:
                if connect:
                    client.connect((VIP, 53))
                    client.send(make_query(name))
                    return Answer(client.recv(4096)).addresses
                client.sendto(make_query(name), (VIP, 53))
                wire, sender = client.recvfrom(4096)
                assert sender == (VIP, 53)
                return Answer(wire).addresses
            except OSError:
                continue
    return None


def ask_tcp(name):
    with socket.create_connection((VIP, 53), timeout=SOON) as client:
        query = make_query(name)
        client.sendall(struct.pack("!H", len(query)) + query)
        (length,) = struct.unpack("!H", client.recv(2, socket.MSG_WAITALL))
        return Answer(client.recv(length, socket.MSG_WAITALL)).addresses


def ask_once(connect, *_):
    return str(ask_udp(NAME, connect=connect))


def ask_again(*_):
    """As resolvers do, after half a second without an answer."""
    return str(ask_udp(NAME, attempts=int(2 * SOON), seconds=0.5))


class Local:
    """A node with an agent beside the cluster's DNS, and clients of that."""

    def __init__(self, node):
        self.node = node
        self.pods, self.clients = [], [node.pod("client"), HostNetwork(node)]
        self.dns = self.add("dns", CLUSTER)
        node.write("services.yaml", service("web", 80, cluster_ip=MINE, namespace="shop"))
        ports = [{"name": kind, "port": 53, "targetPort": PORT, "protocol": kind.upper()} for kind in ("udp", "tcp")]
        node.write("dns.yaml", service("kube-dns", ports, None, VIP, "kube-system"))
        self.lead_to(self.dns)

    def add(self, name, *says_what):
        item = Upstream(self.node.pod(name), says(*says_what))
        self.pods.append(item)
        return item

    def lead_to(self, *pods):
        item = endpoints("kube-dns", [pod.pod.ip for pod in pods], PORT, namespace="kube-system")
        item["subsets"][0]["ports"] = [
            {"name": kind, "port": PORT, "protocol": kind.upper()} for kind in ("udp", "tcp")
        ]
        self.node.write("endpoints.yaml", item)

    def agent(self, *options):
        return self.node.agent("--dns", f"{self.node.GATEWAY}:5353", *FOR, *options)

    def check(self, name, expected):
        """Every kind of client gets this answer."""
        for client in self.clients:
            assert client.call(ask_udp, name) == [expected]
            assert client.call(ask_udp, name, 1, False) == [expected]
            assert client.call(ask_tcp, name) == [expected]

    def close(self):
        for pod in self.pods:
            pod.close()


@pytest.fixture(name="local")
def fixture_local(node):
    item = Local(node)
    yield item
    item.close()


def test_h10_the_clusters_dns_is_answered_on_the_node(local):
    local.agent()
    local.check(NAME, MINE)
    assert not local.dns.queries
    # The rest is for the cluster's DNS, asked without a detour.
    local.check("www.example", CLUSTER)
    assert local.dns.asked("www.example") == 1


def test_h10_programs_from_debian_are_answered(local):
    local.agent()
    for options in ([], ["+tcp"]):
        status, output = local.clients[0].command("dig", "+short", "+tries=1", *options, f"@{VIP}", NAME)
        assert (status, output) == (0, f"{MINE}\n")


def test_h10_new_endpoints_are_asked_from_then_on(local):
    local.agent()
    other = local.add("other", "192.0.2.54")
    local.lead_to(other)
    wait_until(lambda: local.node.backends("kube-dns") and other.pod.ip in str(local.node.backends("kube-dns")))
    wait_until(lambda: local.clients[0].call(ask_udp, f"n{time.monotonic_ns()}.example") == ["192.0.2.54"])


def test_h10_an_upstream_of_ones_own_is_kept(local):
    other = local.add("other", "192.0.2.54")
    local.agent("--dns-upstream", other.at)
    assert local.clients[0].call(ask_udp, "www.example") == ["192.0.2.54"]
    assert not local.dns.queries


def test_h10_without_endpoints_the_node_still_answers(local):
    local.lead_to()
    agent = local.agent("--dns-upstream", "none")
    local.check(NAME, MINE)
    agent.stop()
    assert local.clients[0].call(ask_udp, NAME) is None


def test_h10_an_agent_that_hangs_is_passed_over(local):
    agent = local.agent()
    local.check(NAME, MINE)
    agent.signal(signal.SIGSTOP)
    wait_until(lambda: local.clients[0].call(ask_udp, NAME, 1, True, 0.2) == [CLUSTER])
    local.check(NAME, CLUSTER)
    agent.signal(signal.SIGCONT)
    wait_until(lambda: local.clients[0].call(ask_udp, NAME) == [MINE])


def come_and_go(local, ask, end):
    """No client is without an answer, and each has them from the node and from the
    cluster's DNS in turn."""
    agent = local.agent()
    loads = [Load(client, VIP, 53, ask) for client in local.clients]
    for _ in range(3):
        end(agent)
        local.check(NAME, CLUSTER)
        for load in loads:
            load.more()
        agent = local.agent()
        local.check(NAME, MINE)
        for load in loads:
            load.more()
    for load in loads:
        load.check({str([MINE]), str([CLUSTER])})


@pytest.mark.parametrize("connect", [True, False], ids=["connected", "unconnected"])
def test_h10_no_query_is_lost_while_the_agent_comes_and_goes(local, connect):
    """An agent that ends in order needs no second attempt of anybody."""
    come_and_go(local, functools.partial(ask_once, connect), lambda agent: agent.stop())


def test_h10_no_query_is_lost_when_the_agent_dies(local):
    """What was on its way to it is asked again, as every resolver does, and that
    goes to the cluster's DNS at once."""

    def die(agent):
        agent.signal(signal.SIGKILL)
        agent.wait()

    come_and_go(local, ask_again, die)


def ask_over_the_end(_, teller):
    """With one connected socket, before and after the agent's end: the second query
    is refused, and the next socket gets the addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(SOON)
        client.connect((VIP, 53))
        client.send(make_query(NAME))
        assert Answer(client.recv(4096)).addresses == [MINE]
        teller.send(b"asked")
        teller.recv(1)
        client.send(make_query(NAME))
        with pytest.raises(ConnectionRefusedError):
            client.recv(4096)
        return ask_udp(NAME)


def test_h10_a_socket_that_is_kept_over_the_agents_end_is_told(local):
    for client in local.clients:
        agent = local.agent()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(SOON)
            child = client.start(ask_over_the_end, theirs)
            assert ours.recv(5) == b"asked"
            agent.stop()
            ours.send(b"x")
            assert child.stop() == [CLUSTER]


def test_h10_explain_says_who_answers(local):
    def explain():
        return local.node.command("explain", f"{VIP}:53", "--udp").stdout

    agent = local.agent()
    assert f"by the agent's DNS server at {local.node.GATEWAY}:5353" in explain()
    agent.stop()
    assert "not now: the agent's DNS server is not there" in explain()


@pytest.mark.parametrize(
    "options, said",
    [
        (FOR, "--dns-local-for needs --dns"),
        (("--dns", "127.0.0.1:5353", *FOR), "an address of this node that Pods reach, not loopback or any"),
        (("--dns", "0.0.0.0:5353", *FOR), "an address of this node that Pods reach, not loopback or any"),
        (("--dns", "127.0.0.1:5353", "--dns-local-for", "kube-dns"), "NAMESPACE/NAME such as kube-system/kube-dns"),
        (("--dns", "127.0.0.1:5353", "--dns-local-for", "a/b/c"), "NAMESPACE/NAME such as kube-system/kube-dns"),
    ],
)
def test_h10_what_cannot_work_is_refused(node, options, said):
    status, lines = node.try_run(*options)
    assert status == 2 and said in lines[-1], lines
