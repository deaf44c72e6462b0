# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Names that are not the cluster's: whom redial asks, what it believes, what it
keeps, and what it does when nobody answers.

The upstreams are this file's own, with sockets in Pods, and tell each query
that they are asked.
"""

import contextlib
import os
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest
from harness import SOON, HostNetwork, endpoints, mount, service, umount, wait_until

A, CNAME, SOA, TXT, AAAA, SRV = 1, 5, 6, 16, 28, 33
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, REFUSED = 0, 1, 2, 3, 5
QR, TC, RD, RA = 0x8000, 0x0200, 0x0100, 0x0080
PORT = 5300
# Of one try, as the agent has it, and what may be added on a busy machine.
TRY = 1.5

# ---- messages ----------------------------------------------------------------------------


def wire_name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + b"\0"


def make_query(name, kind=A, number=0x1234, edns=0, flags=RD):
    opt = b"\0" + struct.pack("!HHIH", 41, edns, 0, 0) if edns else b""
    header = struct.pack("!6H", number, flags, 1, 0, 0, 1 if opt else 0)
    return header + wire_name(name) + struct.pack("!2H", kind, 1) + opt


def record(data, kind=A, ttl=300, name=b"\xc0\x0c"):
    if isinstance(data, str):
        data = socket.inet_pton(socket.AF_INET6 if ":" in data else socket.AF_INET, data)
    return name + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def soa(ttl, minimum):
    """For the authority section, at "example"."""
    numbers = struct.pack("!5I", 1, 2, 3, 4, minimum)
    return record(wire_name("ns.example") + wire_name("me.example") + numbers, SOA, ttl, wire_name("example"))


class Query:
    """One that an upstream has got."""

    def __init__(self, wire, tcp, client):
        self.wire, self.tcp, self.client = wire, tcp, client
        self.id = struct.unpack_from("!H", wire)[0]
        at, labels = 12, []
        while wire[at]:
            labels.append(wire[at + 1 : at + 1 + wire[at]].decode())
            at += 1 + wire[at]
        self.name = ".".join(labels).lower()
        self.kind = struct.unpack_from("!H", wire, at + 1)[0]
        self.question = wire[12 : at + 5]

    def answer(self, *answers, code=NOERROR, authority=(), flags=0, question=None, number=None):
        header = struct.pack(
            "!6H",
            self.id if number is None else number,
            QR | RD | RA | flags | code,
            1,
            len(answers),
            len(authority),
            0,
        )
        return header + (question or self.question) + b"".join(answers) + b"".join(authority)


class Answer:
    """One that a client has got."""

    def __init__(self, wire):
        self.id, self.flags, _, n, n_authority, _ = struct.unpack_from("!6H", wire)
        self.size = len(wire)
        self.code = self.flags & 15
        at = self._skip(wire, 12) + 4
        self.records, self.authority = [], []
        for section, count in ((self.records, n), (self.authority, n_authority)):
            for _ in range(count):
                at = self._skip(wire, at)
                kind, _, ttl, length = struct.unpack_from("!HHIH", wire, at)
                section.append((kind, ttl, wire[at + 10 : at + 10 + length]))
                at += 10 + length

    @staticmethod
    def _skip(wire, at):
        while wire[at]:
            if wire[at] >= 0xC0:
                return at + 2
            at += 1 + wire[at]
        return at + 1

    @property
    def addresses(self):
        return sorted(
            socket.inet_ntop(socket.AF_INET if kind == A else socket.AF_INET6, data)
            for kind, _, data in self.records
            if kind in (A, AAAA)
        )

    @property
    def ttl(self):
        return min(ttl for _, ttl, _ in self.records + self.authority)


# ---- servers and clients ------------------------------------------------------------------


class Upstream:
    """A resolver in a Pod that does with each query what it is told.

    `does` gets a Query and returns the messages to send back, or None. It may
    also be changed while the server runs.
    """

    def __init__(self, pod, does=None, number=PORT, address="", tcp=True):
        self.pod, self.does, self.number = pod, does, number
        self.queries = []
        self.released = threading.Event()  # what hold() waits for
        self._lock = threading.Lock()
        self._udp = pod.listen(socket.SOCK_DGRAM, number, address)
        self._sockets = [self._udp] + ([pod.listen(socket.SOCK_STREAM, number, address)] if tcp else [])
        self._over, self._end = os.pipe()
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    @property
    def at(self):
        return f"{self.pod.ip}:{self.number}"

    def asked(self, name=None, tcp=None):
        with self._lock:
            return sum((name in (None, q.name)) and (tcp in (None, q.tcp)) for q in self.queries)

    def send_from_elsewhere(self, wire, client):
        """As somebody at the same address would, who is not the server."""
        with self.pod.netns.entered(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
            other.sendto(wire, client)

    def hold(self, query):
        """A `does` that answers once it is released."""
        self.released.wait(SOON)
        return [query.answer(record("192.0.2.1"))]

    def _take(self, wire, tcp, client):
        query = Query(wire, tcp, client)
        with self._lock:
            self.queries.append(query)
        return (self.does(query) if self.does else None) or []

    def _serve_datagram(self, wire, client):
        for message in self._take(wire, False, client):
            self._udp.sendto(message, client)

    def _serve_stream(self, connection):
        with connection, contextlib.suppress(OSError, struct.error):
            connection.settimeout(SOON)
            (length,) = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))
            for message in self._take(connection.recv(length, socket.MSG_WAITALL), True, None):
                connection.sendall(struct.pack("!H", len(message)) + message)

    def _serve(self):
        while True:
            readable, _, _ = select.select([*self._sockets, self._over], [], [])
            if self._over in readable:
                return
            for item in readable:
                if item is self._udp:
                    target, args = self._serve_datagram, item.recvfrom(4096)
                else:
                    target, args = self._serve_stream, (item.accept()[0],)
                # Each on its own: a `does` may wait.
                thread = threading.Thread(target=target, args=args, daemon=True)
                self._threads.append(thread)
                thread.start()

    def close(self):
        self.released.set()
        os.write(self._end, b"x")
        for thread in list(self._threads):
            thread.join(SOON)
        for item in self._sockets:
            item.close()
        os.close(self._over)
        os.close(self._end)


def says(*ips, ttl=300):
    """A `does` that answers A with these."""
    return lambda query: [query.answer(*(record(ip, ttl=ttl) for ip in ips))]


def fails(query):
    return [query.answer(code=SERVFAIL)]


class Names:
    """An agent that serves names, its upstreams, and a client of it."""

    AT = ("127.0.0.1", 5353)

    def __init__(self, node):
        self.node = node
        self.upstreams = []
        self._clients = []
        node.write("services.yaml", service("web", 80, cluster_ip="10.96.0.1", namespace="shop"))

    def upstream(self, name, does=None, **more):
        item = Upstream(self.node.pod(name), does, **more)
        self.upstreams.append(item)
        return item

    def start(self, *upstreams, options=()):
        """An agent that asks these: Upstreams, or addresses. None: its default."""
        told = ",".join(getattr(item, "at", item) for item in upstreams)
        dns = ("--dns-upstream", told) if upstreams else ()
        return self.node.agent("--dns", "{}:{}".format(*self.AT), *dns, *options)

    def client(self, kind=socket.SOCK_DGRAM):
        with self.node.host.entered():
            item = socket.socket(socket.AF_INET, kind)
        item.settimeout(SOON)
        item.connect(self.AT)
        self._clients.append(item)
        return item

    def ask(self, name, kind=A, **more):
        client = self.client()
        client.send(make_query(name, kind, **more))
        answer = Answer(client.recv(4096))
        assert answer.id == more.get("number", 0x1234)
        return answer

    def ask_by_tcp(self, name, kind=A, **more):
        client = self.client(socket.SOCK_STREAM)
        query = make_query(name, kind, **more)
        client.sendall(struct.pack("!H", len(query)) + query)
        (length,) = struct.unpack("!H", client.recv(2, socket.MSG_WAITALL))
        return Answer(client.recv(length, socket.MSG_WAITALL))

    def timed(self, name, **more):
        """(the answer, the seconds that it took)"""
        began = time.monotonic()
        answer = self.ask(name, **more)
        return answer, time.monotonic() - began

    def check_alive(self):
        """The cluster's own names are answered, and at once."""
        answer, took = self.timed("web.shop.svc.cluster.local")
        assert answer.addresses == ["10.96.0.1"]
        assert took < TRY

    def close(self):
        for item in self._clients:
            item.close()
        for item in self.upstreams:
            item.close()


@pytest.fixture(name="names")
def fixture_names(node):
    item = Names(node)
    yield item
    item.close()


# ---- whom it asks ---------------------------------------------------------------------------


def test_other_names_are_asked_of_the_upstream(names):
    one = names.upstream("one", says("192.0.2.1", "192.0.2.2"))
    names.start(one)
    answer = names.ask("www.example")
    assert (answer.code, answer.addresses) == (NOERROR, ["192.0.2.1", "192.0.2.2"])
    assert answer.flags & RA and not answer.flags & TC
    assert names.ask_by_tcp("www.example").addresses == ["192.0.2.1", "192.0.2.2"]
    assert names.ask("web.shop.svc.cluster.local").addresses == ["10.96.0.1"]
    assert {query.name for query in one.queries} == {"www.example"}


def test_a_name_of_the_cluster_is_never_asked_outside(names):
    one = names.upstream("one", says("192.0.2.1"))
    names.start(one)
    assert names.ask("nosuch.shop.svc.cluster.local").code == NXDOMAIN
    assert names.ask("cluster.local", AAAA).code == NOERROR
    assert not one.queries


def test_no_upstream_is_asked_if_there_is_to_be_none(names):
    names.start("none")
    answer = names.ask("www.example")
    assert (answer.code, answer.records) == (REFUSED, [])
    assert not answer.flags & RA
    assert names.ask_by_tcp("www.example").code == REFUSED
    names.check_alive()


def test_the_first_is_asked_and_the_next_where_it_refuses(names):
    """Nobody listens at the first one's port: the kernel says so, and no time is lost."""
    two = names.upstream("two", says("192.0.2.2"))
    dead = names.node.pod("dead")
    names.start(f"{dead.ip}:{PORT}", two)
    answer, took = names.timed("www.example")
    assert answer.addresses == ["192.0.2.2"]
    assert took < TRY


def test_the_next_is_asked_after_a_silent_one_which_is_then_asked_last(names):
    one, two = names.upstream("one"), names.upstream("two", says("192.0.2.2"))
    names.start(one, two)
    answer, took = names.timed("a.example")
    assert answer.addresses == ["192.0.2.2"]
    assert took >= TRY - 0.05
    answer, took = names.timed("b.example")
    assert answer.addresses == ["192.0.2.2"]
    assert took < TRY
    assert one.asked() == 1


def test_an_address_that_nobody_has_is_passed_over(names):
    two = names.upstream("two", says("192.0.2.2"))
    names.start(f"10.244.0.250:{PORT}", two)
    assert names.ask("www.example").addresses == ["192.0.2.2"]
    answer, took = names.timed("b.example")
    assert answer.addresses == ["192.0.2.2"]
    assert took < TRY


def test_a_network_without_a_route_is_passed_over_at_once(names):
    two = names.upstream("two", says("192.0.2.2"))
    names.start("198.51.100.1:53", two)
    answer, took = names.timed("www.example")
    assert answer.addresses == ["192.0.2.2"]
    assert took < TRY


@pytest.mark.parametrize("code", [SERVFAIL, REFUSED, FORMERR])
def test_the_next_is_asked_where_one_has_no_answer(names, code):
    one = names.upstream("one", lambda query: [query.answer(code=code)])
    two = names.upstream("two", says("192.0.2.2"))
    names.start(one, two)
    for name in ("a.example", "b.example"):
        answer, took = names.timed(name)
        assert answer.addresses == ["192.0.2.2"]
        assert took < TRY
        assert one.asked(name) == 1


def test_nobody_is_asked_where_a_name_does_not_exist(names):
    one = names.upstream("one", lambda query: [query.answer(code=NXDOMAIN, authority=[soa(60, 60)])])
    two = names.upstream("two", says("192.0.2.2"))
    names.start(one, two)
    assert names.ask("nosuch.example").code == NXDOMAIN
    assert not two.queries


def test_a_failure_is_what_there_is_when_all_fail(names):
    one, two = names.upstream("one", fails), names.upstream("two", fails)
    names.start(one, two)
    answer, took = names.timed("www.example")
    assert answer.code == SERVFAIL
    assert took < TRY
    assert (one.asked(), two.asked()) == (1, 1)


def test_silence_ends_in_a_failure_and_keeps_nobody_waiting(names):
    one = names.upstream("one")
    names.start(one)
    waiting = names.client()
    waiting.send(make_query("www.example"))
    wait_until(one.asked, "the upstream is asked")
    names.check_alive()
    assert Answer(waiting.recv(4096)).code == SERVFAIL
    # Once more, as a datagram may be lost.
    assert one.asked() == 2


def test_ipv6_upstreams_are_asked(names):
    one = names.upstream("one", says("192.0.2.6"))
    names.start(f"[{one.pod.ip6}]:{PORT}")
    assert names.ask("www.example").addresses == ["192.0.2.6"]
    assert ":" in one.queries[0].client[0].replace("::ffff:", "")


def test_an_upstream_whose_address_is_a_services_is_asked_itself(names):
    """The agent is in the cgroup that it serves; its own sockets are left alone."""

    def does(query):
        return says("192.0.2.1")(query) if query.tcp or query.name != "big.example" else [query.answer(flags=TC)]

    one, other = names.upstream("one", does), names.upstream("other", says("203.0.113.66"))
    ports = [{"name": name, "port": PORT, "protocol": name.upper()} for name in ("udp", "tcp")]
    names.node.write("dns.yaml", service("dns", ports, cluster_ip=one.pod.ip), _endpoints("dns", other.pod.ip))
    agent = names.start(one)
    (names.node.cgroup / "cgroup.procs").write_text(str(agent.pid))
    # A client in the cgroup does get the Service.
    wait_until(lambda: _ask_directly(names, one.pod.ip) == ["203.0.113.66"], "the Service is served")
    assert names.ask("www.example").addresses == ["192.0.2.1"]
    assert names.ask("big.example").addresses == ["192.0.2.1"]
    assert (one.asked(tcp=False), one.asked(tcp=True)) == (2, 1)


def _endpoints(name, ip):
    item = endpoints(name, [ip], PORT)
    item["subsets"][0]["ports"] = [
        {"name": name, "port": PORT, "protocol": name.upper()} for name in ("udp", "tcp")
    ]
    return item


def _ask_directly(names, ip):
    def ask():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(SOON)
            client.connect((ip, PORT))
            client.send(make_query("www.example"))
            return Answer(client.recv(2048)).addresses

    return HostNetwork(names.node).call(ask)


def test_truncated_answers_are_asked_for_by_tcp(names):
    ips = [f"192.0.2.{i}" for i in range(1, 200)]

    def does(query):
        return says(*ips)(query) if query.tcp else [query.answer(flags=TC)]

    one = names.upstream("one", does)
    names.start(one)
    assert names.ask_by_tcp("big.example").addresses == sorted(ips)
    assert (one.asked(tcp=False), one.asked(tcp=True)) == (1, 1)
    # A client that takes no more than a datagram is told to come by TCP.
    answer = names.ask("big.example")
    assert answer.flags & TC and answer.size <= 512
    answer = names.ask("big.example", edns=4096)
    assert answer.flags & TC and answer.size <= 4096


def test_truncated_and_no_tcp_leads_to_the_next(names):
    one = names.upstream("one", lambda query: [query.answer(flags=TC)], tcp=False)
    two = names.upstream("two", says("192.0.2.2"))
    names.start(one, two)
    answer, took = names.timed("www.example")
    assert answer.addresses == ["192.0.2.2"]
    assert took < TRY


# ---- what it believes ------------------------------------------------------------------------


def test_what_is_no_answer_to_the_question_is_not_believed(names):
    """Answers with another id, of another name, and from elsewhere; the right one last."""

    def does(query):
        false = record("203.0.113.66")
        one.send_from_elsewhere(query.answer(false), query.client)
        yield query.answer(false, number=query.id ^ 1)
        yield query.answer(false, question=wire_name("other.example") + query.question[-4:])
        yield query.answer(false, question=query.question[:-3] + b"\x1c\0\x01")
        yield query.wire
        yield query.answer(false)[:15]
        yield b"\0"
        yield query.answer(record("192.0.2.1"))

    one = names.upstream("one", does)
    names.start(one)
    for i in range(20):
        assert names.ask(f"n{i}.example").addresses == ["192.0.2.1"]
    assert one.asked() == 20


def test_ids_and_ports_cannot_be_foreseen(names):
    one = names.upstream("one", says("192.0.2.1"))
    names.start(one)
    for i in range(64):
        names.ask(f"n{i}.example", number=7)
    ids, ports = [q.id for q in one.queries], [q.client[1] for q in one.queries]
    assert len(set(ids)) >= 60 and len(set(ports)) >= 48
    for numbers in (ids, ports):
        steps = [b - a for a, b in zip(numbers, numbers[1:])]
        assert max(steps.count(step) for step in steps) <= 4


def test_one_who_guesses_is_answered_by_asking_by_tcp(names):
    def does(query):
        if query.tcp:
            return [query.answer(record("192.0.2.1"))]
        return [query.answer(record("203.0.113.66"), number=query.id ^ (i + 1)) for i in range(64)]

    one = names.upstream("one", does)
    names.start(one)
    answer, took = names.timed("www.example")
    assert answer.addresses == ["192.0.2.1"]
    assert took < TRY


# ---- what it keeps ------------------------------------------------------------------------------


def test_an_answer_is_kept_as_long_as_it_says(names):
    one = names.upstream("one", says("192.0.2.1", ttl=2))
    names.start(one)
    began = time.monotonic()
    assert names.ask("www.example").ttl == 2
    ttls = []

    def asked_again():
        ttls.append(names.ask("WWW.Example").ttl)
        return one.asked() == 2

    wait_until(asked_again, "the answer has expired")
    assert time.monotonic() - began >= 1.9
    # It was given out until then, for what was left of its time.
    assert ttls[:-1] == sorted(ttls[:-1], reverse=True) and set(ttls) <= {0, 1, 2}
    assert 1 in ttls


def test_an_answer_that_is_not_to_be_kept_is_not_kept(names):
    one = names.upstream("one", says("192.0.2.1", ttl=0))
    names.start(one)
    for _ in range(3):
        assert names.ask("www.example").addresses == ["192.0.2.1"]
    assert one.asked() == 3


def _check_negative(names, one, code):
    began = time.monotonic()
    answer = names.ask("nosuch.example")
    assert (answer.code, answer.records) == (code, [])
    assert [kind for kind, _, _ in answer.authority] == [SOA]
    assert one.asked() == 1

    def asked_again():
        assert names.ask("nosuch.example").code == code
        return one.asked() == 2

    wait_until(asked_again, "the answer has expired")
    assert time.monotonic() - began >= 1.9


@pytest.mark.parametrize("ttl, minimum", [(2, 300), (300, 2)])
def test_that_a_name_does_not_exist_is_kept_as_long_as_its_zone_says(names, ttl, minimum):
    one = names.upstream("one", lambda query: [query.answer(code=NXDOMAIN, authority=[soa(ttl, minimum)])])
    names.start(one)
    _check_negative(names, one, NXDOMAIN)


def test_that_a_name_has_no_such_record_is_kept_as_long_as_its_zone_says(names):
    one = names.upstream("one", lambda query: [query.answer(authority=[soa(2, 2)])])
    names.start(one)
    _check_negative(names, one, NOERROR)
    # Of another type nothing is known.
    before = one.asked()
    names.ask("nosuch.example", AAAA)
    assert one.asked() == before + 1


def test_a_failure_is_not_kept(names):
    one = names.upstream("one", fails)
    names.start(one)
    assert names.ask("www.example").code == SERVFAIL
    one.does = says("192.0.2.1")
    assert names.ask("www.example").addresses == ["192.0.2.1"]


def _expire(names, one):
    """Ask, and come back once the answer is out of date and its upstream fails."""
    assert names.ask("www.example").addresses == ["192.0.2.1"]
    one.does = fails
    wait_until(lambda: names.ask("www.example").addresses and one.asked() > 1, "the answer has expired")


def test_an_answer_out_of_date_is_better_than_none(names):
    one = names.upstream("one", says("192.0.2.1", ttl=1))
    names.start(one)
    _expire(names, one)
    # For a while nobody is even asked.
    asked = one.asked()
    answer, took = names.timed("www.example")
    assert (answer.code, answer.addresses) == (NOERROR, ["192.0.2.1"])
    assert answer.ttl <= 30
    assert took < TRY
    assert one.asked() == asked
    # A name that was never known fails.
    assert names.ask("other.example").code == SERVFAIL


def test_what_was_out_of_date_is_new_again_when_upstreams_are_back(names):
    one = names.upstream("one", says("192.0.2.1", ttl=1))
    names.start(one)
    _expire(names, one)
    one.does = says("192.0.2.9")
    wait_until(lambda: names.ask("www.example").addresses == ["192.0.2.9"], "the new answer is there")


def test_an_upstream_that_falls_silent_delays_what_is_out_of_date_only(names):
    one = names.upstream("one", says("192.0.2.1", ttl=1))
    names.start(one)
    assert names.ask("www.example").addresses == ["192.0.2.1"]
    one.does = None
    wait_until(lambda: names.ask("www.example").addresses and one.asked() > 1, "the answer has expired")
    answer, took = names.timed("www.example")
    assert answer.addresses == ["192.0.2.1"]
    assert took < 2 * TRY


# ---- many at once ----------------------------------------------------------------------------------


def test_the_same_question_at_once_is_asked_once(names):
    one = names.upstream("one")
    one.does = one.hold
    names.start(one)
    clients = [names.client() for _ in range(40)]
    for i, client in enumerate(clients):
        client.send(make_query("www.example" if i % 2 else "WWW.example", number=i))
    # Answered after all before it have been read.
    names.check_alive()
    wait_until(one.asked, "the upstream is asked")
    one.released.set()
    for i, client in enumerate(clients):
        answer = Answer(client.recv(4096))
        assert (answer.id, answer.addresses) == (i, ["192.0.2.1"])
    assert one.asked() == 1


def test_different_questions_at_once_are_kept_apart(names):
    def does(query):
        if len(one.queries) >= 60:
            one.released.set()
        one.released.wait(SOON)
        return [query.answer(record(f"192.0.2.{query.name.split('.')[0]}"))]

    one = names.upstream("one", does)
    names.start(one)
    clients = [names.client() for _ in range(60)]
    for i, client in enumerate(clients):
        client.send(make_query(f"{i}.example"))
    for i, client in enumerate(clients):
        assert Answer(client.recv(4096)).addresses == [f"192.0.2.{i}"]
    assert one.asked() == 60


def test_what_waits_is_bounded(names):
    """One client has 512 questions under way at most; more fail at once."""
    one = names.upstream("one")
    agent = names.start(one)
    client = names.client()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    client.setblocking(False)
    failed = 0
    for i in range(700):
        client.send(make_query(f"n{i}.example", number=i))
        if i % 50 == 49:
            names.check_alive()
    deadline = time.monotonic() + TRY / 2
    while time.monotonic() < deadline and failed < 700 - 512:
        if select.select([client], [], [], 0.1)[0]:
            assert Answer(client.recv(4096)).code == SERVFAIL
            failed += 1
    assert failed >= 700 - 512
    limit = resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)[0]
    assert len(os.listdir(f"/proc/{agent.pid}/fd")) < min(limit, 900)
    # The others end as well, and then all is as before.
    client.settimeout(SOON)
    for _ in range(700 - failed):
        assert Answer(client.recv(4096)).code == SERVFAIL
    one.does = says("192.0.2.1")
    assert names.ask("www.example").addresses == ["192.0.2.1"]
    wait_until(lambda: len(os.listdir(f"/proc/{agent.pid}/fd")) < 100, "the sockets are closed")


def test_a_client_that_does_not_wait_is_no_harm(names):
    one = names.upstream("one")
    one.does = one.hold
    names.start(one)
    for i in range(20):
        client = names.client(socket.SOCK_STREAM)
        query = make_query(f"n{i}.example")
        client.sendall(struct.pack("!H", len(query)) + query)
        wait_until(lambda name=f"n{i}.example": one.asked(name), "the upstream is asked")
        client.close()
    one.released.set()
    assert names.ask("www.example").addresses == ["192.0.2.1"]


# ---- the node's resolv.conf -----------------------------------------------------------------------


@pytest.fixture(name="resolv_conf")
def fixture_resolv_conf(node):
    """A function that puts a text in the place of /etc/resolv.conf, for us alone."""
    path = node.directory / "resolv.conf"
    path.write_text("", encoding="ascii")
    target = os.path.realpath("/etc/resolv.conf")
    mount(str(path), target, "none", 0x1000)  # MS_BIND
    try:
        yield lambda text: path.write_text(text, encoding="ascii")
    finally:
        umount(target)


def test_the_nodes_resolvers_are_asked_by_default(names, resolv_conf):
    one, two = (names.upstream(name, number=53) for name in ("one", "two"))
    two.does = says("192.0.2.2")
    one.does = fails
    resolv_conf(f"# the site's\nnameserver {one.pod.ip}\nnameserver nonsense\nnameserver {two.pod.ip}\n")
    names.start()
    assert names.ask("www.example").addresses == ["192.0.2.2"]
    assert (one.asked(), two.asked()) == (1, 1)


def test_redial_does_not_ask_itself(names, resolv_conf):
    """Its own address is in resolv.conf, as where the node itself asks redial."""
    one = names.upstream("one", says("192.0.2.1"), number=53)
    names.AT = (names.node.GATEWAY, 53)
    resolv_conf(f"nameserver {names.node.GATEWAY}\nnameserver {one.pod.ip}\n")
    names.start()
    answer, took = names.timed("www.example")
    assert answer.addresses == ["192.0.2.1"]
    assert took < TRY
    assert one.asked() == 1


def test_new_resolvers_of_the_node_are_asked_after_sighup(names, resolv_conf):
    one, two = (names.upstream(name, says(ip), number=53) for name, ip in (("one", "192.0.2.1"), ("two", "192.0.2.2")))
    resolv_conf(f"nameserver {one.pod.ip}\n")
    agent = names.start()
    assert names.ask("a.example").addresses == ["192.0.2.1"]
    resolv_conf(f"nameserver {two.pod.ip}\n")
    agent.signal(signal.SIGHUP)
    wait_until(lambda: agent.lines("resolvers read"))
    assert names.ask("b.example").addresses == ["192.0.2.2"]
    assert one.asked() == 1


def test_new_resolvers_of_the_node_are_asked_without_a_word(names, resolv_conf):
    one, two = (names.upstream(name, says(ip), number=53) for name, ip in (("one", "192.0.2.1"), ("two", "192.0.2.2")))
    resolv_conf(f"nameserver {one.pod.ip}\n")
    agent = names.start()
    resolv_conf(f"nameserver {two.pod.ip}\n")
    wait_until(lambda: agent.lines("resolvers read"))
    assert names.ask("a.example").addresses == ["192.0.2.2"]
    assert not one.queries


def test_resolvers_are_kept_while_the_nodes_file_says_nothing(names, resolv_conf):
    """It names nobody, or cannot be read: reading a process's memory at 0 is an error."""
    one = names.upstream("one", says("192.0.2.1"), number=53)
    resolv_conf(f"nameserver {one.pod.ip}\n")
    agent = names.start()
    resolv_conf("# being written\n")
    agent.signal(signal.SIGHUP)
    wait_until(lambda: agent.lines("asked so far are kept", "names no other"))
    assert names.ask("a.example").addresses == ["192.0.2.1"]
    target = os.path.realpath("/etc/resolv.conf")
    mount("/proc/self/mem", target, "none", 0x1000)  # MS_BIND
    try:
        agent.signal(signal.SIGHUP)
        wait_until(lambda: agent.lines("asked so far are kept", "cannot read /etc/resolv.conf"))
    finally:
        umount(target)
    assert names.ask("b.example").addresses == ["192.0.2.1"]


def test_upstreams_that_were_named_are_not_the_files(names, resolv_conf):
    one, two = names.upstream("one", says("192.0.2.1")), names.upstream("two", says("192.0.2.2"), number=53)
    resolv_conf(f"nameserver {two.pod.ip}\n")
    agent = names.start(one)
    agent.signal(signal.SIGHUP)
    assert agent.wait_line("reading everything again")
    assert names.ask("a.example").addresses == ["192.0.2.1"]
    assert not two.queries


# ---- a real one --------------------------------------------------------------------------------------


def test_dnsmasq_is_asked(names):
    """What dig gets through redial is what it gets from dnsmasq itself."""
    pod = names.node.pod("dnsmasq")
    directory = names.node.directory
    pod.popen(
        [
            "/usr/sbin/dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--group=root",
            "--conf-file=/dev/null", "--pid-file=", "--bind-interfaces", f"--listen-address={pod.ip}", f"--port={PORT}",
            "--local=/example/", "--host-record=www.example,192.0.2.1,2001:db8::1", "--cname=alias.example,www.example",
            "--txt-record=text.example,one,two", "--srv-host=_http._tcp.example,www.example,80,10,20",
            "--auth-ttl=60", "--local-ttl=60",
        ],
        cgroup=False,
        stdout=open(directory / "dnsmasq.log", "wb"),
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    names.start(f"{pod.ip}:{PORT}")

    def dig(server, number, *what):
        done = subprocess.run(
            ["nsenter", f"--net={names.node.host.path}", "dig", f"@{server}", "-p", str(number), "+tries=1", *what],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        found = re.search(r"status: (\w+)", done.stdout)
        records = [line.split() for line in done.stdout.splitlines() if line and not line.startswith(";")]
        # All but the TTL.
        return found and found.group(1), sorted(row[:1] + row[2:] for row in records)

    wait_until(lambda: dig(pod.ip, PORT, "www.example")[0], "dnsmasq answers")
    for what in (
        ["www.example", "A"],
        ["www.example", "AAAA"],
        ["alias.example", "A"],
        ["text.example", "TXT"],
        ["_http._tcp.example", "SRV"],
        ["-x", "192.0.2.1"],
        ["www.example", "MX"],
        ["nosuch.example", "A"],
    ):
        expected = dig(pod.ip, PORT, *what)
        for options in ([], ["+tcp"], ["+noedns"]):
            assert dig(*names.AT, *options, *what) == expected, what
