# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The generated rules are those that a real kube-proxy 1.36 wrote for the
Services of tests/data/kube-proxy/services.yaml, chain by chain.

Not in that file: the Service of the API server, what the cluster added to the
one named lb, and the endpoints, three to each Service but `empty`, of which two
were on the node.
"""

import pathlib
import re
import sys

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import kube_proxy  # noqa: E402 pylint: disable=wrong-import-position
from kube_proxy import Cluster, Endpoint, ServicePort  # noqa: E402 pylint: disable=wrong-import-position

RECORDED = pathlib.Path(__file__).resolve().parents[1] / "data/kube-proxy"
CLUSTER = Cluster()


def service_ports():
    yield ServicePort(
        "default", "kubernetes", "https", "tcp", "10.96.0.1", 443, [Endpoint("192.0.2.10", 16443)]
    )
    for item in yaml.safe_load_all((RECORDED / "services.yaml").read_text(encoding="ascii")):
        name, spec = item["metadata"]["name"], item["spec"]
        affinity = spec.get("sessionAffinityConfig", {}).get("clientIP", {}).get("timeoutSeconds", 0)
        for port in spec["ports"]:
            target = port["targetPort"]
            endpoints = [
                Endpoint("10.244.0.5", target, is_local=True),
                Endpoint("10.244.0.6", target, is_local=True),
                Endpoint("10.244.1.9", target),
            ]
            yield ServicePort(
                "example",
                name,
                port.get("name", ""),
                port.get("protocol", "TCP").lower(),
                spec["clusterIP"],
                port["port"],
                [] if name == "empty" else endpoints,
                node_port=port.get("nodePort", 0),
                affinity_seconds=affinity,
                external_ips=tuple(spec.get("externalIPs", ())),
                load_balancer_ips=("203.0.113.9",) if name == "lb" else (),
                source_ranges=tuple(spec.get("loadBalancerSourceRanges", ())),
                is_external_local=spec.get("externalTrafficPolicy") == "Local",
                health_node_port=30351 if name == "lb" else 0,
            )


@pytest.fixture(name="services")
def fixture_services():
    return list(service_ports())


def iptables_chains(text):
    """{chain: [rule]} of what iptables-save or our generator has written."""
    chains = {}
    for line in text.splitlines():
        if line.startswith(":"):
            chains[line[1:].split()[0]] = []
        elif line.startswith("-A "):
            _, chain, rule = line.split(" ", 2)
            chains[chain].append(rule)
    return chains


def without_order(chains):
    """The order of Services in the shared chains is none: kube-proxy keeps them
    in a map. The order of one Service's rules, and which rule is the last, are."""
    for name, rules in chains.items():
        if name in ("KUBE-SERVICES", "KUBE-NODEPORTS"):
            last = [rule for rule in rules if "must be the last" in rule]
            assert last == rules[-1:] or not last
            rules.sort()
    return chains


@pytest.mark.parametrize("table", ["nat", "filter"])
def test_iptables_chain_by_chain(services, table):
    recorded = (RECORDED / f"iptables-{table}.rules").read_text(encoding="ascii")
    tables = kube_proxy.iptables_tables(services, CLUSTER)
    generated = kube_proxy.iptables_text({table: tables[table]})
    assert without_order(iptables_chains(generated)) == without_order(iptables_chains(recorded))


def nftables_objects(text):
    """{"chain NAME": [line]}; a set's elements are sorted."""
    objects = {}
    text = re.sub(r",\n\s*", ", ", text)
    for name, body in re.findall(r"^\t((?:set|map|chain) \S+) \{\n(.*?)^\t\}", text, re.MULTILINE | re.DOTALL):
        lines = objects.setdefault(name, [])
        for line in body.splitlines():
            elements = re.fullmatch(r"\s*elements = \{ (.*) \}", line)
            lines.append(sorted(elements.group(1).split(", ")) if elements else line.strip())
    return objects


def test_nftables_object_by_object(services):
    recorded = (RECORDED / "nftables.rules").read_text(encoding="ascii").split("table ip6 ")[0]
    generated = kube_proxy.nftables_text(kube_proxy.nftables_objects(services, CLUSTER))
    assert nftables_objects(generated) == nftables_objects(recorded)


def test_a_change_writes_what_a_full_sync_would_have_written(services):
    before = next(service for service in services if service.name == "backend-service")
    after = ServicePort(**{**vars(before), "endpoints": [Endpoint("10.244.0.7", 5000, is_local=True)]})
    services = [after if service is before else service for service in services]
    full = kube_proxy.iptables_tables(services, CLUSTER)
    change = kube_proxy.iptables_change(services, [after], CLUSTER)
    for table, chains in change.items():
        for chain, rules in chains.items():
            assert rules == full[table][chain]
    assert set(kube_proxy.service_chains(after, CLUSTER)) < set(change["nat"])

    lines = kube_proxy.nftables_change(before, after).splitlines()
    chain = "service-I4T7RZX7-example/backend-service/tcp/"
    (rule,) = kube_proxy.nftables_objects(services, CLUSTER)[f"chain {chain}"]
    assert lines[:2] == [f"flush chain ip kube-proxy {chain}", f"add rule ip kube-proxy {chain} {rule}"]
    assert sorted(line.split()[0] for line in lines[2:]) == ["add", "delete", "delete"]


def test_ipvs_has_a_virtual_server_for_each_service_and_as_many_rules_for_any_number():
    """There is no recording of that mode; this is what kube-proxy's source says."""
    near, far = Endpoint("10.244.0.5", 8080, is_local=True), Endpoint("10.244.1.9", 8080)
    web = ServicePort("example", "web", "", "tcp", "10.96.1.1", 80, [near, far])
    dns = ServicePort("example", "dns", "", "udp", "10.96.1.2", 53, [near], affinity_seconds=60)
    assert kube_proxy.ipvs_text([web, dns]).splitlines() == [
        "-A -t 10.96.1.1:80 -s rr",
        "-a -t 10.96.1.1:80 -r 10.244.0.5:8080 -m -w 1",
        "-a -t 10.96.1.1:80 -r 10.244.1.9:8080 -m -w 1",
        "-A -u 10.96.1.2:53 -s rr -p 60",
        "-a -u 10.96.1.2:53 -r 10.244.0.5:8080 -m -w 1",
    ]
    assert [line for line in kube_proxy.ipvs_sets_text([web, dns]).splitlines() if line.startswith("add ")] == [
        "add KUBE-LOOP-BACK 10.244.0.5,tcp:8080,10.244.0.5",
        "add KUBE-LOOP-BACK 10.244.0.5,udp:8080,10.244.0.5",
        "add KUBE-CLUSTER-IP 10.96.1.1,tcp:80",
        "add KUBE-CLUSTER-IP 10.96.1.2,udp:53",
        "add KUBE-IPVS-IPS 10.96.1.1",
        "add KUBE-IPVS-IPS 10.96.1.2",
    ]
    moved = ServicePort("example", "web", "", "tcp", "10.96.1.1", 80, [far, Endpoint("10.244.1.10", 8080)])
    assert kube_proxy.ipvs_change(web, moved).splitlines() == [
        "-a -t 10.96.1.1:80 -r 10.244.1.10:8080 -m -w 1",
        "-d -t 10.96.1.1:80 -r 10.244.0.5:8080",
    ]
    rules = kube_proxy.iptables_text(kube_proxy.ipvs_tables(CLUSTER))
    # Every set that a rule matches is made, and every chain that one leads to is there.
    sets = set(re.findall(r"^create (\S+)", kube_proxy.ipvs_sets_text([]), re.MULTILINE))
    assert set(re.findall(r"--match-set (\S+)", rules)) == sets
    assert set(re.findall(r"-j (KUBE-\S+)", rules)) <= set(re.findall(r"^:(KUBE-\S+)", rules, re.MULTILINE))
