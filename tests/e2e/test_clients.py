# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Programs of Debian's as clients and servers of Services: each does something
with its sockets that the tests' own clients do not.

dig         UDP, connected; TCP
dnsmasq     as a forwarder: an unconnected UDP socket, sendto and recvmsg; an
            answer from an address that it did not ask does not count
nginx       as a proxy: connects that do not block
redis-cli   TCP, kept
gtlsclient  QUIC over an unconnected UDP socket (there is no connect in the
            program), sendmsg with an address and recvmsg; a packet from
            elsewhere does not count
java        AF_INET6 sockets for everything, IPv4 as ::ffff:a.b.c.d
getent      getaddrinfo's connects of UDP sockets, with port 0

Clients are told the address of a Service and nothing else, and what answers
says the name of its Pod.
"""

import collections
import ipaddress
import json
import pathlib
import re
import subprocess

import pytest
from harness import Child, HostNetwork, ask_udp, pod_manifest, port, service, wait_until

VIPS = VIP, VIP6 = "10.96.0.10", "fd00:96::10"
OTHER_VIPS = OTHER_VIP, OTHER_VIP6 = "10.96.0.11", "fd00:96::11"
APP = {"app": "app"}


def make_pod(node, name):
    """A Pod with a route to everywhere in IPv6 as well."""
    pod = node.pod(name)
    pod.netns.ip(f"route add default via {node.GATEWAY6}")
    return pod


@pytest.fixture(name="clients")
def fixture_clients(node):
    """A Pod and the node itself. Both have a route to everywhere, as they do in
    a cluster, which some programs look at: the node's leads into the void."""
    pod, host = make_pod(node, "client"), HostNetwork(node)
    host.netns.ip(
        "link add uplink type veth peer name void",
        "addr add 192.168.50.1/24 dev uplink",
        "addr add fd00:50::1/64 dev uplink nodad",
        "link set uplink up",
        "link set void up",
        "route add default via 192.168.50.254",
        "route add default via fd00:50::fe",
    )
    return pod, host


def dual_stack(name, ports, labels=None, addresses=VIPS, **spec):
    return service(name, ports, labels or APP, addresses[0], clusterIPs=list(addresses),
                   ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="RequireDualStack", **spec)


def describe(node, *pods, labels=None):
    for pod in pods:
        node.write(f"pod-{pod.name}.yaml", pod_manifest(pod.name, pod.ip, labels or APP, ip6=pod.ip6))


def is_bound(number, tables):
    return all(f":{number:04X} " in pathlib.Path(f"/proc/self/net/{table}").read_text() for table in tables)


def start_server(pod, command, number, tables, **options):
    """A program in a Pod, up when its port is in each of these tables of the kernel."""
    log = pod.node.directory / f"{pod.name}.log"
    with open(log, "wb") as out:
        process = pod.popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options)

    def is_up():
        assert process.poll() is None, f"{command[0]} ended:\n{log.read_text()}"
        return Child(is_bound, number, tables, netns=pod.netns.fd).result()

    wait_until(is_up, f"{command[0]} listens")


def run(client, *command):
    status, output = client.command(*command)
    assert status == 0, f"{command[0]} in {client.name}: {status}\n{output}"
    return output


# ---- DNS -------------------------------------------------------------------------


def dnsmasq(pod, *options):
    start_server(pod, ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root",
                       "--log-facility=-", "--port=5353", "--no-resolv", "--no-hosts", "--cache-size=0", *options],
                 5353, ("tcp", "tcp6", "udp", "udp6"))


def dns(node):
    """Two Pods that answer who.test with their names."""
    pods = [make_pod(node, name) for name in "ab"]
    for pod in pods:
        dnsmasq(pod, f"--txt-record=who.test,{pod.name}")
    describe(node, *pods)
    node.write("dns.yaml", dual_stack("dns", [port(53, 5353, "u", "UDP"), port(53, 5353, "t")]))


def dig(client, address, *options, times=30):
    """Ask who.test, with a new socket each time. Returns the names that answered."""
    query = ["who.test", "TXT"] * times
    output = run(client, "dig", "-r", f"@{address}", "+tries=1", "+time=10", *options, *query)
    kind = "TCP" if "+tcp" in options else "UDP"
    assert "unexpected source" not in output, output
    assert output.count("status: NOERROR") == times, output
    assert output.count(f";; SERVER: {address}#53({address}) ({kind})") == times, output
    return collections.Counter(re.findall(r'^who\.test\.\s+\d+\s+IN\s+TXT\s+"(\w+)"$', output, re.MULTILINE))


@pytest.mark.parametrize("address", VIPS, ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("options", [(), ("+tcp",)], ids=["udp", "tcp"])
def test_dig_asks_a_dns_service(node, clients, address, options):
    dns(node)
    node.agent()
    for client in clients:
        answers = dig(client, address, *options)
        assert set(answers) == {"a", "b"} and answers.total() == 30, answers


def test_dig_is_refused_by_a_service_without_endpoints(node, clients):
    node.write("dns.yaml", dual_stack("dns", [port(53, 5353, "u", "UDP"), port(53, 5353, "t")]))
    node.agent()
    for client in clients:
        for address in VIPS:
            for options in ([], ["+tcp"]):
                status, output = client.command("dig", "-r", f"@{address}", "+tries=1", "+time=10", *options,
                                                "who.test")
                assert (status, "connection refused" in output) == (9, True), output
                assert "timed out" not in output, output


@pytest.mark.parametrize("upstream", VIPS, ids=["ipv4", "ipv6"])
def test_dnsmasq_forwards_to_a_dns_service(node, clients, upstream):
    dns(node)
    node.agent()
    cache = make_pod(node, "cache")
    dnsmasq(cache, f"--server={upstream}")
    describe(node, cache, labels={"app": "cache"})
    node.write("cache.yaml", dual_stack("cache", [port(53, 5353, protocol="UDP")], {"app": "cache"}, OTHER_VIPS))
    node.wait_backends("cache", f"{cache.ip}:5353", f"[{cache.ip6}]:5353")
    for client in clients:
        for address in OTHER_VIPS:
            answers = dig(client, address, times=20)
            assert set(answers) <= {"a", "b"} and answers.total() == 20, answers


# ---- nginx -----------------------------------------------------------------------

NGINX_CONF = """
daemon off;
master_process off;
pid {directory}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/1;
    proxy_temp_path {directory}/2;
    fastcgi_temp_path {directory}/3;
    uwsgi_temp_path {directory}/4;
    scgi_temp_path {directory}/5;
    server {{
        listen 8080;
        listen [::]:8080;
        {content}
    }}
}}
"""


def nginx(pod, content):
    directory = pod.node.directory / f"nginx-{pod.name}"
    directory.mkdir()
    conf = directory / "nginx.conf"
    conf.write_text(NGINX_CONF.format(directory=directory, content=content))
    start_server(pod, ["nginx", "-e", "stderr", "-p", str(directory), "-c", str(conf)], 8080, ("tcp", "tcp6"))


def curl(client, url, times):
    """Returns, for each request, (what the page says, status, X-Upstream)."""
    output = run(client, "curl", "--silent", "--show-error", "--globoff", "--noproxy", "*", "--max-time", "30",
                 "--write-out", "\n%{http_code} %header{x-upstream}\n", *[url] * times)
    return re.findall(r"^(.*)\n(\d+) (\S+)$", output, re.MULTILINE)


def test_nginx_proxies_to_a_service(node, clients):
    pods = [make_pod(node, name) for name in "ab"]
    for pod in pods:
        nginx(pod, f"return 200 {pod.name};")
    describe(node, *pods)
    node.write("web.yaml", dual_stack("web", [port(80, 8080)]))
    proxy = make_pod(node, "proxy")
    nginx(proxy, f"""
        add_header X-Upstream $upstream_addr always;
        location /4/ {{ proxy_pass http://{VIP}/; }}
        location /6/ {{ proxy_pass http://[{VIP6}]/; }}""")
    describe(node, proxy, labels={"app": "proxy"})
    node.write("proxy.yaml", dual_stack("proxy", [port(80, 8080)], {"app": "proxy"}, OTHER_VIPS))
    node.agent()
    ways = [(f"http://{front}/{path}/", upstream) for front in (OTHER_VIP, f"[{OTHER_VIP6}]")
            for path, upstream in ((4, f"{VIP}:80"), (6, f"[{VIP6}]:80"))]
    for client in clients:
        for url, upstream in ways:
            answers = curl(client, url, 30)
            assert len(answers) == 30
            assert set(answers) == {(name, "200", upstream) for name in "ab"}
    for pod in pods:
        (node.manifests / f"pod-{pod.name}.yaml").unlink()
    node.wait_backends("web")
    for url, upstream in ways:
        assert {item[1:] for item in curl(clients[0], url, 2)} == {("502", upstream)}


# ---- redis -----------------------------------------------------------------------


def redis(pod, number=6379):
    """redis-tools has the server as well, under another name: what it does
    depends on the name it is called by. redis-server would start a daemon."""
    start_server(pod, ["redis-server", "--port", str(number), "--save", "", "--dir", str(pod.node.directory),
                       "--protected-mode", "no"], number, ("tcp", "tcp6"), executable="/usr/bin/redis-check-rdb")


@pytest.mark.parametrize("address", VIPS, ids=["ipv4", "ipv6"])
def test_redis_cli_sets_and_gets(node, clients, address):
    pod = make_pod(node, "redis")
    redis(pod)
    describe(node, pod)
    node.write("redis.yaml", dual_stack("redis", [port(7000, 6379)]))
    node.agent()
    for client in clients:
        cli = ["redis-cli", "-h", address, "-p", "7000"]
        assert run(client, *cli, "SET", "from", client.name) == "OK\n"
        assert run(client, *cli, "GET", "from") == f"{client.name}\n"
        # Asked directly: it is that Pod's.
        assert run(pod, "redis-cli", "-h", "127.0.0.1", "GET", "from") == f"{client.name}\n"
        # The client shows the server its own address.
        (source,) = re.findall(r" addr=(\S+):\d+ ", run(client, *cli, "CLIENT", "LIST"))
        assert source.strip("[]") == (client.ip if address == VIP else client.ip6)


def start_redis_cli(client):
    """One that stays. Returns a function that has it do commands, and the process."""
    said = client.node.directory / f"redis-cli-{client.name}"
    with open(said, "wb") as out:
        process = client.popen(["redis-cli", "-h", VIP, "-p", "7000"], text=True, bufsize=1,
                               stdin=subprocess.PIPE, stdout=out, stderr=out)

    def tell(*commands):
        count = len(said.read_text().splitlines())
        process.stdin.writelines(f"{command}\n" for command in commands)
        wait_until(lambda: len(said.read_text().splitlines()) >= count + len(commands), f"answers to {commands}")
        return said.read_text().splitlines()[count:]

    return tell, process


def test_redis_cli_keeps_its_connection(node, clients):
    """Also when the Pod is no longer the Service's, which has another by then."""
    pods = [make_pod(node, f"redis-{i}") for i in range(3)]
    for pod in pods:
        redis(pod)
    node.write("redis.yaml", dual_stack("redis", [port(7000, 6379)]))
    node.agent()
    for client, old, new in zip(clients, pods, pods[1:]):
        describe(node, old)
        node.wait_backends("redis", f"{old.ip}:6379", f"[{old.ip6}]:6379")
        tell, kept = start_redis_cli(client)
        before = tell("SET held by", "CLIENT ID")
        assert before[0] == "OK" and int(before[1]) > 0
        (row,) = node.json("sockets")
        assert (row["dialled"], row["backend"]) == (f"{VIP}:7000", f"{old.ip}:6379")
        (node.manifests / f"pod-{old.name}.yaml").unlink()
        describe(node, new)
        node.wait_backends("redis", f"{new.ip}:6379", f"[{new.ip6}]:6379")
        assert tell("GET held", "CLIENT ID") == ["by", before[1]]
        assert run(client, "redis-cli", "-h", VIP, "-p", "7000", "GET", "held") == "\n"
        kept.stdin.close()
        assert kept.wait(60) == 0
        wait_until(lambda: node.json("sockets") == [], "its record is gone")
        (node.manifests / f"pod-{new.name}.yaml").unlink()


# ---- QUIC ------------------------------------------------------------------------


class QuicServer:
    """A Pod that serves a page full of its name over HTTP/3, and knows who sent it packets."""

    def __init__(self, node, name, *key_and_certificate):
        pages = node.directory / name
        pages.mkdir()
        self.name, self.page = name, name * 100_000
        (pages / "page").write_text(self.page)
        self.pod = make_pod(node, name)
        start_server(self.pod, ["gtlsserver", "--no-quic-dump", "--no-http-dump", "--htdocs", str(pages), "*", "4433",
                                *map(str, key_and_certificate)], 4433, ("udp", "udp6"))
        self._log, self._read = node.directory / f"{name}.log", 0

    def sources(self):
        """From which sockets packets came since it was asked last."""
        text = self._log.read_text()[self._read:]
        self._read += len(text)
        return set(re.findall(r"^Received packet: .* remote=(\S+) ", text, re.MULTILINE))


@pytest.mark.parametrize("address", VIPS, ids=["ipv4", "ipv6"])
def test_quic_over_an_unconnected_socket(node, clients, address):
    """ngtcp2's client. All packets of a connection go to one Pod, and all its
    answers come from the Service."""
    files = key, certificate = node.directory / "key", node.directory / "certificate"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", "/CN=quic.test", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    servers = [QuicServer(node, name, *files) for name in "ab"]
    describe(node, *(server.pod for server in servers))
    node.write("quic.yaml", dual_stack("quic", [port(443, 4433, protocol="UDP")]))
    node.agent()
    for client in clients:
        names = set()
        for i in range(30):
            into = node.directory / f"{client.name}-{i}"
            into.mkdir()
            output = run(client, "gtlsclient", "--no-quic-dump", "--no-http-dump", "--exit-on-all-streams-close",
                         "--timeout=20s", f"--download={into}", address, "443", "https://quic.test/page")
            assert (into / "page").exists(), output
            packets = re.findall(r"^Received packet: local=(\S+) remote=(\S+) ", output, re.MULTILINE)
            assert len(packets) > 50
            ((local, remote),) = set(packets)
            assert remote == f"[{address}]:443"
            (server,) = [server for server in servers if local in server.sources()]
            assert (into / "page").read_text() == server.page
            names.add(server.name)
            if len(names) == len(servers):
                break
        assert names == {"a", "b"}


# ---- Java ------------------------------------------------------------------------

JAVA = """
import java.net.*;
import java.nio.channels.SocketChannel;
import java.nio.file.*;

public class Ask {
    static final byte[] QUESTION = "who are you?".getBytes();

    /* Whether the socket with this local port is an AF_INET6 one. */
    static boolean isInet6(String table, int port) throws Exception {
        var local = String.format(":%04X ", port);
        return Files.lines(Path.of("/proc/self/net/" + table)).anyMatch(
                line -> line.trim().split("\\\\s+")[1].concat(" ").endsWith(local));
    }

    static void say(String what, String answer, SocketAddress from, boolean inet6) {
        var address = (InetSocketAddress) from;
        System.out.println(String.join(" ", what, answer, address.getAddress().getHostAddress(),
                String.valueOf(address.getPort()), String.valueOf(inet6)));
    }

    static void datagram(String what, DatagramSocket socket, SocketAddress to) throws Exception {
        socket.setSoTimeout(20000);
        var question = new DatagramPacket(QUESTION, QUESTION.length);
        if (to != null)
            question.setSocketAddress(to);
        socket.send(question);
        var answer = new DatagramPacket(new byte[100], 100);
        socket.receive(answer);
        say(what, new String(answer.getData(), 0, answer.getLength()), answer.getSocketAddress(),
            isInet6("udp6", socket.getLocalPort()));
    }

    public static void main(String[] args) throws Exception {
        for (var address : args) {
            var service = new InetSocketAddress(InetAddress.getByName(address), 80);
            try (var socket = new Socket()) {
                socket.connect(service, 20000);
                socket.setSoTimeout(20000);
                say("Socket", new String(socket.getInputStream().readAllBytes()),
                    socket.getRemoteSocketAddress(), isInet6("tcp6", socket.getLocalPort()));
            }
            try (var channel = SocketChannel.open(service)) {
                say("SocketChannel", new String(channel.socket().getInputStream().readAllBytes()),
                    channel.getRemoteAddress(), isInet6("tcp6", channel.socket().getLocalPort()));
            }
            try (var socket = new DatagramSocket()) {
                datagram("unconnected", socket, service);
                datagram("unconnected", socket, service);
            }
            try (var socket = new DatagramSocket()) {
                socket.connect(service);
                datagram("connected", socket, null);
            }
        }
    }
}
"""


def test_java_with_mapped_sockets(node, clients):
    """Java's default: every socket is an AF_INET6 one, an IPv4 destination is ::ffff:a.b.c.d."""
    pod = make_pod(node, "pod").serve(tcp=(8080,), udp=(8080,))
    describe(node, pod)
    node.write("web.yaml", dual_stack("web", [port(80, 8080, "t"), port(80, 8080, "u", "UDP")]))
    node.agent()
    source = node.directory / "Ask.java"
    source.write_text(JAVA)
    for client in clients:
        output = run(client, "java", "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1", str(source), VIP, VIP6)
        seen = [(what, answer, str(ipaddress.ip_address(address)), *rest)
                for what, answer, address, *rest in map(str.split, output.splitlines())]
        assert seen == [(what, "pod", address, "80", "true") for address in VIPS
                        for what in ("Socket", "SocketChannel", "unconnected", "unconnected", "connected")]


# ---- names -----------------------------------------------------------------------


def test_getent_orders_addresses_as_without_redial(node, clients, bpftool):
    """getaddrinfo connects a UDP socket, with port 0, to each address that a
    name has, to see from which of ours it would go there, and how far it is."""
    pod = make_pod(node, "pod").serve(tcp=(8080,), udp=(8080,))
    describe(node, pod)
    ports = [port(80, 8080, "t"), port(80, 8080, "u", "UDP")]
    node.write("all.yaml", dual_stack("web", ports, sessionAffinity="ClientIP"),
               dual_stack("empty", ports, {"app": "nobody"}, OTHER_VIPS, sessionAffinity="ClientIP"))
    node.agent()
    hosts, nsswitch = node.directory / "hosts", node.directory / "nsswitch.conf"
    unreachable = ["198.51.100.1", "2001:db8::1"]
    names = {
        "all.test": [*unreachable, OTHER_VIP, OTHER_VIP6, VIP, pod.ip, VIP6, pod.ip6],
        "served.test": [VIP6, VIP],
        "empty.test": [OTHER_VIP, OTHER_VIP6],
    }
    hosts.write_text("".join(f"{address} {name}\n" for name, items in names.items() for address in items))
    nsswitch.write_text("hosts: files\n")
    script = 'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/nsswitch.conf && exec getent ahosts "$3"'

    def addresses(client, name, cgroup):
        process = client.popen(["unshare", "--mount", "sh", "-c", script, "sh", str(hosts), str(nsswitch), name],
                               cgroup, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        return [line.split()[0] for line in output.splitlines() if " STREAM" in line]

    def affinities():
        return json.loads(bpftool("-j", "map", "dump", "pinned", node.bpffs / "rd_affinity"))

    for client in clients:
        client.netns.ip("route add unreachable 198.51.100.0/24", "route add unreachable 2001:db8::/32")
        for name, items in names.items():
            found = addresses(client, name, True)
            assert found == addresses(client, name, False)
            assert sorted(found) == sorted(items)
            if name == "all.test":
                # It did connect: what has no route comes last.
                assert set(found[-2:]) == set(unreachable)
        assert node.json("sockets") == []
        assert {row["map"]: row["used"] for row in node.status()["maps"]}["rd_sockets"] == 0
        assert affinities() == []
    # There would be something to see.
    assert clients[0].call(ask_udp, VIP, 80) == "pod"
    assert len(affinities()) == 1
