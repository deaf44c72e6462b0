# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The DNS server and those who mean no good: malformed packets, answers to
answers, floods, connections by the thousand, slow readers. Others are served all
the while, and memory has a bound."""

import random
import resource
import select
import socket
import struct

import pytest
from harness import service, wait_until
from names import Names, headless, named_slice

WEB = "web.default.svc.cluster.local"


@pytest.fixture(name="names")
def fixture_names(node):
    item = Names(node)
    try:
        item.put(service("web", 80, None, "10.96.0.10"))
        yield item
    finally:
        item.close()


def wire_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def query(name=WEB, kind=1, number=0x1234, flags=0x0100, counts=(1, 0, 0, 0), more=b"", klass=1):
    return struct.pack("!6H", number, flags, *counts) + wire_name(name) + struct.pack("!2H", kind, klass) + more


def opt(size, version=0, data=b""):
    return b"\0" + struct.pack("!2HBBHH", 41, size, 0, version, 0, len(data)) + data


def exchange(server, *packets, seconds=5):
    """Send these, then one that has an answer: returns the answers to the others."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    answers = []
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        client.connect((server, 53))
        for packet in packets:
            client.send(packet)
        client.send(query(number=0xfffe))
        while True:
            answer = client.recv(65536)
            if answer[:2] == b"\xff\xfe":
                return answers
            answers.append(answer)


def code(answer):
    return answer[3] & 15


LOOPS = [
    b"\xc0\x0c",  # to itself
    b"\x01a\xc0\x0c",  # to its beginning
    b"\xc0\x0e\xc0\x0c",  # to and fro
    b"\xff\xff",  # to nowhere
    b"\x40",  # a label of no kind
    b"\x80\x00",
    b"\x3f" * 300,
    b"\x01a" * 128 + b"\0",  # longer than a name
    b"\x05ab",  # cut off
    b"",
]


@pytest.mark.parametrize("server", ["10.244.0.1", "fd00:244::1"])
def test_malformed_queries_are_answered_shortly_or_not_at_all(names, server):
    agent = names.agent()
    ask = lambda *packets: names.client.call(exchange, server, *packets)  # noqa: E731
    # No answer: too short for a header, and whatever is an answer itself.
    assert ask(b"", b"x", query()[:11], query(flags=0x8100), query(flags=0x8180) + opt(4096)) == []
    header = struct.pack("!6H", 0x1234, 0x0100, 1, 0, 0, 0)
    loops = ask(*(header + name + b"\0\1\0\1" for name in LOOPS))
    assert [code(answer) for answer in loops] == [1] * len(LOOPS)
    assert all(len(answer) <= 12 for answer in loops)
    wrong = {
        query(counts=(0, 0, 0, 0)): 1,
        query(counts=(2, 0, 0, 0)): 1,
        query(counts=(1, 1, 0, 0)): 1,
        query(counts=(1, 0, 1, 0)): 1,
        query(counts=(1, 0, 0, 1)): 1,
        query(counts=(1, 0, 0, 65535), more=opt(512)): 1,
        query(counts=(1, 0, 0, 2), more=opt(512) * 2): 1,
        query(counts=(1, 0, 0, 1), more=b"\1a\0" + opt(512)[1:]): 1,
        query(counts=(1, 0, 0, 1), more=opt(512, data=b"12345678")[:-1]): 1,
        query(kind=41): 1,
        query(flags=0x2900): 4,  # an update
        query(flags=0x2000): 4,  # a notification
        query(flags=0x1000): 4,  # a server's status
        query(kind=252): 4,  # a transfer
        query(kind=251): 4,
        query(klass=3): 5,
        query(klass=255): 5,
    }
    for packet, expected in wrong.items():
        (answer,) = ask(packet)
        assert code(answer) == expected and answer[2] & 0x80, (packet, answer)
        assert len(answer) <= max(len(packet), 12)
    (answer,) = ask(query(counts=(1, 0, 0, 1), more=opt(512, version=1)))
    assert code(answer) == 0 and answer[-11:-2] == b"\0\0\x29" + struct.pack("!HBBH", 1232, 1, 0, 0)
    assert agent.is_running()


def test_noise_is_survived(names):
    """Packets of chance, and queries with some bytes changed."""
    names.agent()
    chance = random.Random(53)

    def noise(server):
        good = [query(), query(counts=(1, 0, 0, 1), more=opt(4096)), query("a.b.c", 33)]
        for _ in range(40):
            packets = [chance.randbytes(chance.randrange(600)) for _ in range(20)]
            for _ in range(40):
                packet = bytearray(chance.choice(good))
                for _ in range(chance.randrange(1, 5)):
                    packet[chance.randrange(len(packet))] = chance.randrange(256)
                packets.append(bytes(packet))
            for answer in exchange(server, *packets):
                assert len(answer) <= 1232 and answer[2] & 0x80

    for server in names.servers:
        names.client.call(noise, server)
    assert names.ask(WEB).data() == ["10.96.0.10"]


def test_answers_are_never_longer_than_allowed(names):
    names.put(headless("db", [{"port": 80, "name": "http"}]),
              named_slice("db-1", "db", [(f"10.244.9.{i}", f"a-long-hostname-of-this-endpoint-{i}", True) for i in range(1, 200)],
                          [{"name": "http", "port": 80}]))
    names.agent()

    def sizes(server):
        result = {}
        for kind, name in ((1, "db.default.svc.cluster.local"), (33, "_http._tcp.db.default.svc.cluster.local"),
                           (255, "db.default.svc.cluster.local")):
            for size in (None, 0, 1, 511, 512, 513, 600, 1231, 1232, 1233, 4096, 65535):
                packet = query(name, kind) if size is None else query(name, kind, counts=(1, 0, 0, 1), more=opt(size))
                (answer,) = exchange(server, packet)
                result[kind, size] = len(answer)
        return result

    for (_, size), length in names.client.call(sizes, names.servers[0]).items():
        assert length <= min(max(size or 0, 512), 1232), (size, length)


# ---- TCP --------------------------------------------------------------------------------------


def framed(packet):
    return struct.pack("!H", len(packet)) + packet


def connect(server):
    client = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(10)
    client.connect((server, 53))
    return client


def receive(client):
    """One answer; None at the connection's end."""
    data = b""
    while len(data) < 2 or len(data) < 2 + struct.unpack("!H", data[:2])[0]:
        wanted = 2 if len(data) < 2 else 2 + struct.unpack("!H", data[:2])[0]
        piece = client.recv(wanted - len(data))
        if not piece:
            return None
        data += piece
    return data[2:]


def test_a_connection_carries_many_queries_in_pieces_of_any_size(names):
    names.agent()

    def many(server):
        with connect(server) as client:
            stream = b"".join(framed(query(number=i)) for i in range(200))
            for i in range(0, len(stream), 7):
                client.sendall(stream[i:i + 7])
            first = sorted(struct.unpack("!H", receive(client)[:2])[0] for _ in range(200))
            client.sendall(stream)
            client.shutdown(socket.SHUT_WR)
            second = sorted(struct.unpack("!H", receive(client)[:2])[0] for _ in range(200))
            return first, second, receive(client)

    for server in names.servers:
        assert names.client.call(many, server) == (list(range(200)), list(range(200)), None)


def test_a_connection_that_says_nonsense_is_closed(names):
    names.agent()

    def end(server, data):
        with connect(server) as client:
            client.sendall(data)
            try:
                return client.recv(100)
            except ConnectionResetError:
                return b""

    for data in (b"\0\0", b"\0\x0b" + b"x" * 11, b"\xff\xff" + b"x" * 100, framed(query(flags=0x8000))):
        assert names.client.call(end, names.servers[0], data) == b""


def test_ten_thousand_idle_connections_are_not_kept(names):
    agent = names.agent()

    def crowd(server):
        resource.setrlimit(resource.RLIMIT_NOFILE, (11000, 11000))
        clients = []
        for i in range(10000):
            clients.append(connect(server))
            if i % 1000 == 999:
                # The last who came is served, and who comes over UDP.
                clients[-1].sendall(framed(query(number=i)))
                assert receive(clients[-1])[:2] == struct.pack("!H", i)
                assert exchange(server) == []
        poll = select.poll()
        for client in clients:
            poll.register(client, select.POLLIN)
        return len(clients), len(poll.poll(5000))

    before = memory(agent)
    there, ended = names.client.call(crowd, names.servers[0])
    assert there == 10000 and ended >= 10000 - 1024
    assert memory(agent) - before < 64 << 20
    assert names.ask(WEB).data() == ["10.96.0.10"]


def memory(agent):
    with open(f"/proc/{agent.pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def test_who_does_not_read_is_not_answered_for_ever(names):
    """A client asks for large answers and reads none: what waits for it has a
    bound, and others are served."""
    names.put(headless("db", [{"port": 80, "name": "http"}]),
              named_slice("db-1", "db", [(f"10.{244 + i // 250 // 250}.{i // 250 % 250}.{1 + i % 250}", None, True) for i in range(900)],
                          [{"name": "http", "port": 80}]))
    agent = names.agent()
    names.wait_for(WEB, ["10.96.0.10"])

    def greedy(stop, server):
        clients = [connect(server) for _ in range(50)]
        packet = framed(query("db.default.svc.cluster.local")) * 100
        sent = 0
        for client in clients:
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle = 0
        while not stop():
            _, writable, _ = select.select([], clients, [], 0.1)
            for client in writable:
                try:
                    sent += client.send(packet)
                except BlockingIOError:
                    pass
                except OSError:
                    clients.remove(client)
            idle = 0 if writable else idle + 1
        return sent, idle

    before = memory(agent)
    child = names.client.start(greedy, names.servers[0])
    for _ in range(20):
        assert names.ask(WEB).data() == ["10.96.0.10"]
    # 50 connections with 32 kB and one answer each, and what the library holds.
    assert memory(agent) - before < 50 * (256 << 10)
    sent, _ = child.stop()
    assert sent > 0
    assert names.ask(WEB).data() == ["10.96.0.10"]


# ---- floods -----------------------------------------------------------------------------------------


def test_a_flood_from_one_client_leaves_the_others_their_answers(names):
    names.agent()
    flooder = names.make_pod("flooder")

    def flood(stop, server):
        packets = [query(f"x{i}.default.svc.cluster.local", number=i) for i in range(1000)]
        sent = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect((server, 53))
            while not stop():
                for packet in packets:
                    try:
                        client.send(packet)
                        sent += 1
                    except OSError:
                        pass
        return sent

    children = [flooder.start(flood, names.servers[0]) for _ in range(2)]
    for _ in range(50):
        assert names.dig(WEB).data() == ["10.96.0.10"]
    assert sum(child.stop() for child in children) > 10000


def test_one_client_cannot_take_all_the_places_of_those_who_wait(names):
    """An upstream that never answers, and a client that asks it for everything."""
    silent = names.make_pod("silent")
    hole = silent.listen(socket.SOCK_DGRAM, 53)
    agent = names.agent(upstream=silent.ip)
    flooder = names.make_pod("flooder")

    def waste(server):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            client.connect((server, 53))
            client.settimeout(10)
            for i in range(3000):
                client.send(query(f"x{i}.example.org", number=i))
                if i % 100 == 99:
                    exchange(server)
            refused = 0
            while refused < 2000:
                refused += code(client.recv(2000)) == 2
            return refused

    # More than 512 at once are not waited for: they are told so now.
    before = memory(agent)
    assert flooder.call(waste, names.servers[0]) == 2000
    assert memory(agent) - before < 16 << 20
    assert names.ask(WEB).data() == ["10.96.0.10"]
    hole.close()


def test_many_names_take_no_more_than_the_cache_has(names):
    """Of names that do not exist there are as many as anybody likes."""
    agent = names.agent()

    def invent(server):
        for i in range(0, 60000, 50):
            exchange(server, *(query(f"{'x' * 40}{j}.{'y' * 50}.svc.cluster.local", number=0) for j in range(i, i + 50)))

    names.client.call(invent, names.servers[0])
    assert memory(agent) < 256 << 20
    wait_until(lambda: names.dig(WEB).data() == ["10.96.0.10"])
