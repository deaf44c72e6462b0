# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The names of Services, statement by statement (SERVICE-SEMANTICS H), asked with
dig and through both C libraries in a Pod's namespace, over UDP and TCP, in both
families, and from both sources."""

import collections
import contextlib
import json
import re
import signal
import socket
import subprocess

import pytest
from harness import connect_error, die_with_parent, port, service, setns, wait_until
from names import Names, external, headless, named_slice

LIBRARIES = ("glibc", "musl")
HTTP = [port(80, name="http")]


@pytest.fixture(name="names", params=["manifests", "api"])
def fixture_names(node, request):
    item = Names(node, request.param)
    try:
        yield item
    finally:
        item.close()


@pytest.fixture(name="local")
def fixture_local(node):
    item = Names(node)
    try:
        yield item
    finally:
        item.close()


def dual(name, addresses=("10.96.0.10", "fd00:96::10"), ports=None, **spec):
    return service(name, ports or HTTP, None, addresses[0], clusterIPs=list(addresses), ipFamilies=["IPv4", "IPv6"],
                   ipFamilyPolicy="RequireDualStack", **spec)


def db(names, *endpoints_of, ports=None):
    """A headless Service, and the endpoints in its slice."""
    numbers = ports or [{"name": "sql", "port": 15432, "protocol": "TCP"}]
    names.put(headless("db", [port(5432, name="sql")]), named_slice("db-1", "db", endpoints_of, numbers))


# ---- H1 to H4 ---------------------------------------------------------------------------


def test_h1_a_service_is_its_cluster_ips(names):
    names.put(dual("web"), service("four", 80, None, "10.96.0.11"))
    names.agent()
    answer = names.wait_for("web.default.svc.cluster.local", ["10.96.0.10"])
    assert answer.flags[:2] == ["qr", "aa"] and answer.ttls() == [5]
    assert names.ask("web.default.svc.cluster.local", "AAAA").data() == ["fd00:96::10"]
    assert names.ask("four.default.svc.cluster.local").data() == ["10.96.0.11"]
    names.check_none(names.ask("four.default.svc.cluster.local", "AAAA"), "NOERROR")
    names.check_none(names.ask("five.default.svc.cluster.local"))
    for library in LIBRARIES:
        for server in names.servers:
            how = {"servers": [server]}
            assert names.resolve(library, "web.default.svc.cluster.local", **how) == ["10.96.0.10", "fd00:96::10"]
            assert names.resolve(library, "four.default.svc.cluster.local", **how) == ["10.96.0.11"]
            assert names.resolve(library, "five.default.svc.cluster.local", **how) == []


def test_h1_a_service_is_followed(names):
    names.put(service("web", 80, None, "10.96.0.10"))
    names.agent()
    names.wait_for("web.default.svc.cluster.local", ["10.96.0.10"])
    names.put(service("web", 80, None, "10.96.0.20"))
    names.wait_for("web.default.svc.cluster.local", ["10.96.0.20"])
    names.delete(service("web", namespace="default"))
    wait_until(lambda: names.dig("web.default.svc.cluster.local").status == "NXDOMAIN")
    names.check_none(names.ask("web.default.svc.cluster.local"))


def test_h1_who_is_served_by_another_proxy_has_a_name(names):
    names.put(service("web", 80, None, "10.96.0.10", meta={"labels": {"service.kubernetes.io/service-proxy-name": "x"}}))
    names.agent()
    names.wait_for("web.default.svc.cluster.local", ["10.96.0.10"])
    assert names.node.services() == []


def test_h1_an_address_that_redial_gives_has_its_name(local):
    local.put(service("web", 80))
    local.agent()
    local.wait_for("web.default.svc.cluster.local", [local.node.cluster_ip("web")])


def test_h2_named_ports_have_srv_records(names):
    names.put(dual("web", ports=[port(80, name="http"), port(53, name="dns", protocol="UDP")]))
    names.put(service("bare", 80, None, "10.96.0.11"))
    names.agent()
    name = "web.default.svc.cluster.local."
    answer = names.wait_for("_http._tcp.web.default.svc.cluster.local", [f"0 100 80 {name}"], "SRV")
    assert answer.rows("additional") == [(name, "A", "10.96.0.10"), (name, "AAAA", "fd00:96::10")]
    assert names.ask("_dns._udp.web.default.svc.cluster.local", "SRV").data() == [f"0 100 53 {name}"]
    names.check_none(names.ask("_dns._tcp.web.default.svc.cluster.local", "SRV"))
    names.check_none(names.ask("_tcp.web.default.svc.cluster.local", "SRV"), "NOERROR")
    names.check_none(names.ask("_http._tcp.bare.default.svc.cluster.local", "SRV"))


def test_h3_addresses_lead_to_services(names):
    names.put(dual("web"))
    names.agent()
    names.wait_for("web.default.svc.cluster.local", ["10.96.0.10"])
    for address in ("10.96.0.10", "fd00:96::10"):
        assert names.reverse(address).data() == ["web.default.svc.cluster.local."]
        for library in LIBRARIES:
            assert names.name_of(library, address) == "web.default.svc.cluster.local"
    # What is nobody's is not ours to deny.
    assert names.reverse("10.96.0.99").status == "REFUSED"


def test_h4_the_zone_says_its_version_and_case_does_not_matter(names):
    names.put(service("web", 80, None, "10.96.0.10"))
    names.agent()
    assert names.ask("dns-version.cluster.local", "TXT").data() == ['"1.1.0"']
    names.wait_for("web.default.svc.cluster.local", ["10.96.0.10"])
    # The letters of the question come back, and with them the answer's owner.
    assert names.ask("WEB.Default.svc.CLUSTER.local").rows() == [("WEB.Default.svc.CLUSTER.local.", "A", "10.96.0.10")]
    for library in LIBRARIES:
        assert names.resolve(library, "WEB.Default.SVC.Cluster.Local") == ["10.96.0.10"]


# ---- H5 -------------------------------------------------------------------------------------


def test_h5_a_headless_service_is_its_ready_endpoints(names):
    pods = [names.make_pod(name).serve((15432,)) for name in "ab"]
    db(names, (pods[0].ip, "db-0", True), (pods[1].ip, None, True), ("10.244.0.99", "db-9", False))
    names.put(named_slice("db-2", "db", [(pods[0].ip6, "db-0", True)], [{"name": "sql", "port": 15432}], family="IPv6"))
    names.agent()
    both = sorted(pod.ip for pod in pods)
    dashed = pods[1].ip.replace(".", "-")
    names.wait_for("db.default.svc.cluster.local", both)
    names.wait_for("db.default.svc.cluster.local", [pods[0].ip6], "AAAA")
    assert names.ask("db-0.db.default.svc.cluster.local").data() == [pods[0].ip]
    assert names.ask("db-0.db.default.svc.cluster.local", "AAAA").data() == [pods[0].ip6]
    assert names.ask(f"{dashed}.db.default.svc.cluster.local").data() == [pods[1].ip]
    names.check_none(names.ask("db-9.db.default.svc.cluster.local"))
    answer = names.ask("_sql._tcp.db.default.svc.cluster.local", "SRV")
    assert answer.data() == [f"0 100 15432 {dashed}.db.default.svc.cluster.local.",
                             "0 100 15432 db-0.db.default.svc.cluster.local."]
    assert names.reverse(pods[0].ip).data() == ["db-0.db.default.svc.cluster.local."]
    assert names.reverse(pods[0].ip6).data() == ["db-0.db.default.svc.cluster.local."]
    for library in LIBRARIES:
        assert names.resolve(library, "db") == sorted([*both, pods[0].ip6])
        assert names.resolve(library, "db-0.db") == sorted([pods[0].ip, pods[0].ip6])
        assert names.name_of(library, pods[0].ip) == "db-0.db.default.svc.cluster.local"


def test_h5_the_addresses_of_pods_are_dialled_as_they_are(names):
    pod = names.make_pod("a").serve((15432,))
    db(names, (pod.ip, "db-0", True))
    names.agent("--log-level", "debug")
    names.wait_for("db.default.svc.cluster.local", [pod.ip])
    assert names.node.services() == [] and names.node.backends() == []
    assert names.client.ask(pod.ip, 15432) == "a"
    # A port that only the Service has is the Pod's to refuse.
    assert names.client.call(connect_error, pod.ip, 5432) != 0


def test_h5_without_ready_endpoints_there_is_no_name(names):
    db(names, ("10.244.0.98", "db-0", False))
    names.put(service("web", 80, None, "10.96.0.10"))
    names.agent()
    names.wait_for("web.default.svc.cluster.local", ["10.96.0.10"])
    names.check_none(names.ask("db.default.svc.cluster.local"))
    for library in LIBRARIES:
        assert names.resolve(library, "db") == []
    db(names, ("10.244.0.98", "db-0", True))
    names.wait_for("db.default.svc.cluster.local", ["10.244.0.98"])
    db(names)
    wait_until(lambda: names.dig("db.default.svc.cluster.local").status == "NXDOMAIN")


def test_h5_unready_endpoints_are_published_where_asked_for(names):
    names.put(headless("db", HTTP, publishNotReadyAddresses=True),
              named_slice("db-1", "db", [("10.244.0.98", "db-0", False)], [{"name": "http", "port": 80}]))
    names.agent()
    names.wait_for("db.default.svc.cluster.local", ["10.244.0.98"])


def test_h5_endpoints_come_in_any_order(local):
    db(local, *((f"10.244.0.{i}", None, True) for i in range(100, 110)))
    local.agent()
    orders = collections.Counter()
    for _ in range(8):
        _, output = local.client.command("dig", "-r", f"@{local.servers[0]}", "+short", "+nosearch",
                                         *["db.default.svc.cluster.local"] * 10)
        lines = output.split()
        assert len(lines) == 100
        for i in range(10):
            orders[lines[10 * i]] += 1
    # 80 answers begin with one of 10 addresses: all but never with fewer than 5.
    assert len(orders) >= 5, orders


# ---- H6 --------------------------------------------------------------------------------------------


def test_h6_an_external_name_is_a_cname_that_is_followed_in_the_zone(names):
    pod = names.make_pod("a").serve((8080,))
    names.put(service("web", [port(80, 8080)], None, "10.96.0.10"),
              named_slice("web-1", "web", [(pod.ip, None, True)], [{"name": "", "port": 8080}], is_headless=False),
              external("ext", "web.default.svc.cluster.local"), external("out", "www.example.org"))
    names.agent()
    names.wait_for("web.default.svc.cluster.local", ["10.96.0.10"])
    wait_until(lambda: names.dig("out.default.svc.cluster.local", "CNAME").data())
    rows = names.ask("ext.default.svc.cluster.local").rows()
    assert rows == [("ext.default.svc.cluster.local.", "CNAME", "web.default.svc.cluster.local."),
                    ("web.default.svc.cluster.local.", "A", "10.96.0.10")]
    assert names.ask("out.default.svc.cluster.local").data() == ["www.example.org."]
    assert names.ask("ext.default.svc.cluster.local", "CNAME").data() == ["web.default.svc.cluster.local."]
    for library in LIBRARIES:
        assert names.resolve(library, "ext") == ["10.96.0.10"]
    # The name leads to the Service's address, and that to its Pod.
    wait_until(lambda: names.client.call(connect_error, "10.96.0.10", 80) == 0)
    status, output = names.run("/usr/bin/python3", "-c",
                               "import socket; print(socket.create_connection(('ext', 80)).makefile().read())")
    assert (status, output.strip()) == (0, "a")


def upstream(names, *records):
    """A resolver in a Pod that knows these records, for dnsmasq."""
    pod = names.make_pod("upstream")
    log = names.node.directory / "dnsmasq.log"
    with open(log, "wb") as out:
        pod.popen(["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--log-queries",
                   "--log-facility=-", "--port=53", "--no-resolv", "--no-hosts", "--cache-size=0", "--local=/#/",
                   *records], cgroup=False, stdout=out, stderr=out)
    def is_up():
        status, output = names.host.command("dig", "-r", f"@{pod.ip}", "+tries=1", "+time=1", "up.test", "A")
        return status == 0 and "status:" in output
    wait_until(is_up, "the upstream answers")
    return pod, log


def test_h6_an_external_name_outside_is_followed_at_the_upstream(local):
    pod, _ = upstream(local, "--host-record=www.example.org,192.0.2.7,2001:db8::7", "--cname=w.example.org,www.example.org")
    local.put(external("out", "www.example.org"), external("far", "w.example.org"), external("gone", "gone.example.org"))
    local.agent(upstream=pod.ip)
    assert local.ask("out.default.svc.cluster.local").data() == ["www.example.org.", "192.0.2.7"] or \
        sorted(local.ask("out.default.svc.cluster.local").data()) == ["192.0.2.7", "www.example.org."]
    assert sorted(local.ask("far.default.svc.cluster.local", "AAAA").data()) == ["2001:db8::7", "w.example.org.", "www.example.org."]
    assert local.ask("gone.default.svc.cluster.local").status == "NXDOMAIN"
    for library in LIBRARIES:
        assert local.resolve(library, "out") == ["192.0.2.7", "2001:db8::7"]


# ---- H7 to H10 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", LIBRARIES)
def test_h7_a_pods_search_list_finds_services(names, library):
    names.put(service("web", 80, None, "10.96.0.10"), service("web", 80, None, "10.96.0.11", namespace="other"))
    names.agent()
    names.wait_for("web.other.svc.cluster.local", ["10.96.0.11"])
    host = {"client": names.host}
    for how in ({}, host, {"servers": [names.servers[1]]}):
        assert names.resolve(library, "web", **how) == ["10.96.0.10"]
        assert names.resolve(library, "web", namespace="other", **how) == ["10.96.0.11"]
        assert names.resolve(library, "web.other", **how) == ["10.96.0.11"]
        assert names.resolve(library, "web.other.svc", **how) == ["10.96.0.11"]
        assert names.resolve(library, "web.other.svc.cluster.local.", **how) == ["10.96.0.11"]
        assert names.resolve(library, "web.third", **how) == []


def test_h7_names_of_the_world_are_found_behind_the_search_list(local):
    pod, _ = upstream(local, "--host-record=www.example.org,192.0.2.7")
    local.put(service("web", 80, None, "10.96.0.10"))
    local.agent(upstream=pod.ip)
    for library in LIBRARIES:
        assert local.resolve(library, "www.example.org") == ["192.0.2.7"]
        assert local.resolve(library, "nothing.example.org") == []


def test_h8_a_service_for_a_database_outside(names):
    outside = names.node.outsider("outside", "192.168.60.2", "192.168.60.1").serve((8080,))
    names.put(service("db", [port(5432, 8080)], None, "10.96.0.10"),
              named_slice("db-1", "db", [(outside.ip, None, True)], [{"name": "", "port": 8080}], is_headless=False))
    names.agent()
    names.wait_for("db.default.svc.cluster.local", ["10.96.0.10"])
    for library in LIBRARIES:
        assert names.resolve(library, "db") == ["10.96.0.10"]
    wait_until(lambda: names.client.call(connect_error, "10.96.0.10", 5432) == 0)
    status, output = names.run("/usr/bin/python3", "-c",
                               "import socket; print(socket.create_connection(('db', 5432)).makefile().read())")
    assert (status, output.strip()) == (0, "outside")
    assert names.reverse(outside.ip).status == "REFUSED"


def test_h9_dns_is_a_service_itself(names):
    """Asked at the Service's address, in both families, over UDP and TCP, with
    connected sockets (dig, glibc) and others (musl, which looks where an answer
    comes from)."""
    vips = ("10.96.0.53", "fd00:96::53")
    ports = [port(53, name="dns", protocol="UDP"), port(53, name="dns-tcp")]
    numbers = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    kube_dns = dual("kube-dns", vips, ports)
    kube_dns["metadata"]["namespace"] = "kube-system"
    names.put(kube_dns, dual("web"))
    for server, family in zip(names.servers, ("IPv4", "IPv6")):
        names.put(named_slice(f"kube-dns-{family.lower()}", "kube-dns", [(server, None, True)], numbers,
                              "kube-system", family, is_headless=False))
    names.agent()
    names.wait_for("web.default.svc.cluster.local", ["10.96.0.10"])
    wait_until(lambda: all(row["endpoints"] for row in names.node.services("kube-system/kube-dns") or [{"endpoints": 0}]))
    for vip in vips:
        for options in ((), ("+tcp",)):
            answer = names.dig("web.default.svc.cluster.local", "A", *options, server=vip)
            assert answer.data() == ["10.96.0.10"], answer.output
            assert f"SERVER: {vip}#53" in answer.output and "unexpected source" not in answer.output
        for library in LIBRARIES:
            assert names.resolve(library, "web", servers=[vip]) == ["10.96.0.10", "fd00:96::10"]
            assert names.name_of(library, "10.96.0.53", servers=[vip]) == "kube-dns.kube-system.svc.cluster.local"


def test_h10_a_cache_on_the_node_is_reached_as_it_is(names):
    """At a link-local address, as the kubelet's --cluster-dns names it: no Service
    has it, so nothing is translated."""
    names.node.host.ip("link add nodelocaldns type bridge", "addr add 169.254.20.10/32 dev nodelocaldns",
                       "link set nodelocaldns up")
    names.put(dual("web"))
    names.node.agent("--dns", "169.254.20.10:53", "--dns-upstream", "none")
    names.servers = ("169.254.20.10", "169.254.20.10")
    names.wait_for("web.default.svc.cluster.local", ["10.96.0.10"])
    for library in LIBRARIES:
        assert names.resolve(library, "web") == ["10.96.0.10", "fd00:96::10"]


# ---- the zone -------------------------------------------------------------------------------------------


def test_the_zone_has_a_soa_and_a_name_server(local):
    local.put(service("web", 80, None, "10.96.0.10"))
    local.agent()
    (soa,) = local.ask("cluster.local", "SOA").data()
    assert re.fullmatch(r"ns\.dns\.cluster\.local\. hostmaster\.cluster\.local\. \d+ 7200 1800 86400 5", soa)
    assert local.ask("cluster.local", "NS").data() == ["ns.dns.cluster.local."]
    assert local.ask("ns.dns.cluster.local").data() == [local.servers[0]]
    assert local.ask("ns.dns.cluster.local", "AAAA").data() == [local.servers[1]]
    local.check_none(local.ask("svc.cluster.local"), "NOERROR")
    local.check_none(local.ask("default.svc.cluster.local"), "NOERROR")
    local.check_none(local.ask("nobody.svc.cluster.local"))
    assert local.ask("web.default.svc.cluster.local", "ANY").data() == ['"RFC8482" ""']


def test_the_zone_can_have_another_name(local):
    local.put(service("web", 80, None, "10.96.0.10"))
    local.agent("--cluster-domain", "k8s.example.org.")
    assert local.ask("web.default.svc.k8s.example.org").data() == ["10.96.0.10"]
    assert local.ask("web.default.svc.cluster.local").status == "REFUSED"


def test_every_address_is_one_to_serve_at(local):
    """An answer comes from the address that was asked, of however many."""
    local.node.host.ip("addr add 10.244.0.2/24 dev br0", "addr add fd00:244::2/64 dev br0 nodad")
    local.put(service("web", 80, None, "10.96.0.10"))
    local.node.agent("--dns", "0.0.0.0:53", "--dns", "[::]:53", "--dns-upstream", "none")
    for server in ("10.244.0.2", "fd00:244::2", *local.servers):
        for options in ((), ("+tcp",)):
            answer = local.dig("web.default.svc.cluster.local", "A", *options, server=server)
            assert answer.data() == ["10.96.0.10"] and "unexpected source" not in answer.output
        assert local.resolve("musl", "web", servers=[server]) == ["10.96.0.10"]
    assert local.dig("ns.dns.cluster.local").data() != []


def test_large_answers_are_cut_and_whole_over_tcp(local):
    many = [f"10.244.{1 + i // 200}.{1 + i % 200}" for i in range(400)]
    db(local, *((ip, None, True) for ip in many))
    local.agent()
    name = "db.default.svc.cluster.local"
    assert local.dig(name, "A", "+tcp").data() == sorted(many)
    for options, most in (((), 1232), (("+noedns",), 512), (("+bufsize=4096",), 1232), (("+bufsize=600",), 600)):
        answer = local.dig(name, "A", "+ignore", *options)
        size = int(re.search(r"MSG SIZE\s+rcvd: (\d+)", answer.output)[1])
        assert "tc" in answer.flags and most - 40 < size <= most, answer.output
        assert len(answer.data()) == len(set(answer.data())) and set(answer.data()) <= set(many)
    # dig goes on over TCP by itself, and so does glibc.
    assert local.dig(name).data() == sorted(many)
    assert len(local.resolve("glibc", "db")) == 400


def test_nothing_is_denied_before_all_is_known(node):
    names = Names(node, "api")
    try:
        names.put(service("web", 80, None, "10.96.0.10"))
        names.api.fault("endpointslices", "*", "status", times=None, code=503)
        agent = names.launch()
        wait_until(lambda: names.dig("cluster.local", "SOA").data())
        wait_until(lambda: agent.lines("listed", "/api/v1/services"))
        for name in ("web", "gone"):
            assert names.ask(f"{name}.default.svc.cluster.local").status == "SERVFAIL"
        names.api.clear_faults()
        agent.await_ready()
        names.wait_for("web.default.svc.cluster.local", ["10.96.0.10"])
        names.check_none(names.ask("gone.default.svc.cluster.local"))
    finally:
        names.close()


def test_nothing_is_denied_while_a_manifest_cannot_be_read(local):
    local.put(service("web", 80, None, "10.96.0.10"))
    local.node.write("bad.yaml", "kind: [")
    local.agent()
    assert local.ask("web.default.svc.cluster.local").data() == ["10.96.0.10"]
    assert local.ask("gone.default.svc.cluster.local").status == "SERVFAIL"
    local.node.write("bad.yaml", service("gone", 80, None, "10.96.0.11"))
    local.wait_for("gone.default.svc.cluster.local", ["10.96.0.11"])


# ---- upstreams --------------------------------------------------------------------------------------------


def test_other_names_go_to_upstreams_and_are_kept(local):
    pod, log = upstream(local, "--host-record=www.example.org,192.0.2.7,60", "--txt-record=t.example.org,hello")
    local.put(service("web", 80, None, "10.96.0.10"))
    local.agent(upstream=pod.ip)
    answer = local.ask("www.example.org")
    assert answer.data() == ["192.0.2.7"] and "ra" in answer.flags and "aa" not in answer.flags
    assert local.ask("WWW.Example.org").rows() == [("WWW.Example.org.", "A", "192.0.2.7")]
    assert log.read_text().count("query[A] www.example.org") == 1
    assert local.ask("t.example.org", "TXT").data() == ['"hello"']
    assert local.ask("gone.example.org").status == "NXDOMAIN"
    assert local.ask("www.example.org", "A", "+norecurse").data() == ["192.0.2.7"]
    assert local.ask("new.example.org", "A", "+norecurse").status == "REFUSED"


def test_stale_answers_are_given_when_no_upstream_answers(local):
    pod, _ = upstream(local, "--host-record=www.example.org,192.0.2.7,1")
    local.put(service("web", 80, None, "10.96.0.10"))
    local.agent(upstream=pod.ip)
    assert local.dig("www.example.org").data() == ["192.0.2.7"]
    for process in local.node.processes:
        if process.args[0] == "dnsmasq":
            process.kill()
            process.wait()
    # Its second passes: then the upstream is asked, in vain.
    wait_until(lambda: local.dig("www.example.org").ttls() == [30])
    assert local.dig("www.example.org").data() == ["192.0.2.7"]
    assert local.dig("other.example.org").status == "SERVFAIL"


def test_other_names_are_refused_without_upstreams(local):
    local.put(service("web", 80, None, "10.96.0.10"))
    local.agent()
    answer = local.ask("www.example.org")
    assert answer.status == "REFUSED" and "ra" not in answer.flags


# ---- numbers ------------------------------------------------------------------------------------------------


def numbers(names):
    status, text = names.host.command("curl", "-s", "http://127.0.0.1:10299/metrics")
    assert status == 0
    assert subprocess.run(["promtool", "check", "metrics"], input=text, text=True, check=False).returncode == 0
    return {key: float(value) for key, value in re.findall(r"^(redial_dns_\S+) (\S+)$", text, re.MULTILINE)}


def test_what_is_asked_is_counted(local):
    local.put(service("web", 80, None, "10.96.0.10"))
    local.agent("--http-bind-address", "127.0.0.1:10299")
    assert not [key for key in numbers(local) if "queries_total{" in key]
    for _ in range(3):
        local.ask("web.default.svc.cluster.local")
    local.dig("gone.default.svc.cluster.local", "SRV", "+tcp")
    local.dig("example.org", "TXT")
    found = numbers(local)
    assert found['redial_dns_queries_total{proto="udp",type="A",result="NOERROR"}'] == 6
    assert found['redial_dns_queries_total{proto="tcp",type="A",result="NOERROR"}'] == 6
    assert found['redial_dns_queries_total{proto="tcp",type="SRV",result="NXDOMAIN"}'] == 1
    assert found['redial_dns_queries_total{proto="udp",type="other",result="REFUSED"}'] == 1
    assert found["redial_dns_duration_seconds_count"] == found['redial_dns_duration_seconds_bucket{le="+Inf"}'] == 14
    assert (found["redial_dns_cache_hits_total"], found["redial_dns_cache_misses_total"]) == (11, 3)
    assert found["redial_dns_cache_entries"] == 2


# ---- who watches --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def watching(names, *options):
    """`redial monitor --names` beside the agent, once it is connected."""

    def prepare():
        die_with_parent()
        setns(names.node.host.fd)

    def sockets():
        _, output = names.host.command("ss", "--no-header", "-xa", "src", "@redial-names-*")
        return output.count("ESTAB")

    before = sockets()
    command = [str(names.node.redial), "monitor", "--names", "--bpffs", str(names.node.bpffs), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=prepare) as process:
        wait_until(lambda: sockets() > before or process.poll() is not None)
        try:
            yield process
        finally:
            process.kill()


def test_queries_can_be_watched(local):
    local.put(service("web", 80, None, "10.96.0.10"))
    local.agent()
    with watching(local, "--count", "4", "-o", "json") as process:
        local.dig("Web.default.svc.cluster.local")
        local.dig("gone.default.svc.cluster.local", "SRV", "+tcp")
        local.dig("example.org", "TYPE999", server=local.servers[1])
        local.dig("web.default.svc.cluster.local", "AAAA")
        rows = [json.loads(line) for line in process.communicate(timeout=60)[0].splitlines()]
        assert process.returncode == 0
    assert [(row["transport"], row["type"], row["name"], row["result"], row["records"]) for row in rows] == [
        ("udp", "A", "Web.default.svc.cluster.local", "NOERROR", 1),
        ("tcp", "SRV", "gone.default.svc.cluster.local", "NXDOMAIN", 0),
        ("udp", "TYPE999", "example.org", "REFUSED", 0),
        ("udp", "AAAA", "web.default.svc.cluster.local", "NOERROR", 0),
    ]
    assert rows[0]["client"].startswith(f"{local.client.ip}:") and rows[2]["client"].startswith(f"[{local.client.ip6}]:")


def test_a_watcher_that_does_not_read_keeps_nobody_waiting(local):
    local.put(service("web", 80, None, "10.96.0.10"))
    agent = local.agent()
    with watching(local) as process:
        process.send_signal(signal.SIGSTOP)
        _, output = local.client.command("dig", "-r", f"@{local.servers[0]}", "+short", "+nosearch", *["web.default.svc.cluster.local"] * 2000)
        assert output.split() == ["10.96.0.10"] * 2000
        process.send_signal(signal.SIGCONT)
        local.dig("last.default.svc.cluster.local")
        lines = 0
        for line in process.stdout:
            lines += 1
            if " last.default.svc.cluster.local " in line:
                break
        agent.stop()
        _, stderr = process.communicate(timeout=60)
    dropped = sum(int(count) for count in re.findall(r"redial monitor: (\d+) dropped", stderr))
    assert dropped > 0 and lines + dropped == 2001, (lines, stderr)
    assert "the agent has ended" in stderr


def test_who_cannot_watch_is_told_why(local):
    local.put(service("web", 80, None, "10.96.0.10"))
    local.node.agent()
    done = local.node.command("monitor", "--names")
    assert done.returncode == 1 and "no agent serves names" in done.stderr
    done = local.node.command("monitor", "--names", "--refused")
    assert done.returncode == 2 and "--names goes with" in done.stderr


# ---- the command line --------------------------------------------------------------------------------------


@pytest.mark.parametrize("options, words", [
    (("--dns", "10.244.0.1"), "--dns takes ADDRESS:PORT"),
    (("--dns", "10.244.0.1:53", "--dns-upstream", "x"), "--dns-upstream takes none, or addresses"),
    (("--dns", "10.244.0.1:53", "--cluster-domain", "a..b"), "--cluster-domain takes a domain"),
    (("--dns", "10.244.0.99:53"), "cannot serve DNS at 10.244.0.99:53"),
])
def test_what_cannot_be_is_said_at_once(node, options, words):
    status, lines = node.try_run(*options)
    assert status in (1, 2) and words in lines[-1], lines


def test_a_port_that_is_taken_is_not_shared(local):
    with local.node.host.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind((local.servers[0], 53))
        status, lines = local.node.try_run("--dns", f"{local.servers[0]}:53")
        assert status == 1 and "Address already in use" in lines[-1], lines
