# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The benchmark: Services by redial, by kube-proxy's rules, and none at all.

Builds nodes of network namespaces, gives each its rules, measures what programs
see (load.c) and how long rules take to become effective, and writes results.json;
scripts/bench-report draws and prints it. docs/benchmarks.md says what is
measured, how, and what it does not show. Run it by `make bench`, in
scripts/sandbox.

All paths without rules share one node and differ in their cgroup alone; each
path with rules has a node of its own, alike in everything but the rules.
"""

import argparse
import contextlib
import dataclasses
import datetime
import ipaddress
import json
import os
import pathlib
import random
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TREE / "tests/e2e"), str(TREE / "tests/bench")]

import harness  # noqa: E402 pylint: disable=wrong-import-position
import kube_proxy  # noqa: E402 pylint: disable=wrong-import-position

ENDPOINTS = 10
# Agents of redial for each size, which share the batches.
INSTANCES = 3
# The same in load.c.
SERVICE_FIRST = ipaddress.IPv4Address("10.96.1.0")
SERVICE_PORT = 80
ENDPOINT_FIRST = ipaddress.IPv4Address("10.129.0.0")
ENDPOINT_PORT = 8080
# Where a Service's endpoints go when they change.
OTHER_FIRST = ipaddress.IPv4Address("10.161.0.0")
# All of those, and not the client's.
SERVED = ("10.129.0.0/16", "10.130.0.0/15", "10.160.0.0/11")
CLIENT_IP = "10.128.0.10"
SERVER_IP = "10.128.0.20"
NODE_IP = "10.128.0.1"
CLUSTER = kube_proxy.Cluster(pods="10.128.0.0/9", services="10.96.0.0/16", node_ip=NODE_IP)
# One processor for clients, one for servers and what sets Services up.
CLIENT_CPU, SERVER_CPU = 0, 1
# Until what was set up is effective.
RULES_SECONDS_MAX = 1800
REDIAL_SECONDS_MAX = 60
SERVICES_PER_FILE = 400


@dataclasses.dataclass(frozen=True)
class Work:
    """A case of load.c: operations in a batch, and who takes part."""

    name: str
    work: str
    target: str
    operations: int
    rate: int = 0
    wait: str = "poll"
    is_full_only: bool = False
    is_udp_population: bool = False
    is_pair: bool = False  # of direct and redial with the most Services alone
    times: int = 1  # as many rounds as other cases, in a full run: where little decides


WORKS = (
    Work("tcp-connect", "tcp-connect", "hot", 400, times=3),
    Work("tcp-connect-asleep", "tcp-connect", "hot", 400, wait="sleep", is_full_only=True),
    Work("tcp-connect-random", "tcp-connect", "random", 400),
    Work("tcp-short", "tcp-short", "hot", 1000),
    # The slowest hundredth of these are enough for a p99. In short batches, so that paths share what disturbs them.
    Work("tcp-short-long", "tcp-short", "hot", 3000, is_full_only=True, is_pair=True, times=5),
    Work("tcp-short-random", "tcp-short", "random", 250, is_full_only=True),
    Work("tcp-short-at-rate", "tcp-short", "hot", 100, rate=4000, is_full_only=True),
    Work("tcp-short-asleep", "tcp-short", "hot", 250, wait="sleep", times=3),
    Work("tcp-kept", "tcp-kept", "hot", 1000, times=3),
    Work("tcp-kept-asleep", "tcp-kept", "hot", 500, wait="sleep", is_full_only=True),
    Work("tcp-bulk", "tcp-bulk", "hot", 25, is_full_only=True),
    Work("udp-connect", "udp-connect", "hot", 2000),
    Work("udp-connect-random", "udp-connect", "random", 2000, is_udp_population=True),
    Work("udp-connected", "udp-connected", "hot", 500, is_full_only=True),
    Work("udp-echo", "udp-echo", "hot", 500),
    Work("udp-send", "udp-send", "hot", 1000, is_full_only=True),
    Work("getpeername", "getpeername", "hot", 1000, is_full_only=True),
    Work("bystander-tcp", "tcp-connect", "pod", 400),
    Work("bystander-udp", "udp-connect", "pod", 2000),
)


@dataclasses.dataclass(frozen=True)
class Mode:
    sizes: tuple
    rules: tuple
    works: tuple
    rounds: int
    full_syncs: int  # how often, at most: large ones of iptables once
    changes: int  # even, so that the first state is the last
    wrk_rounds: int
    wrk_seconds: int


RULES = ("iptables-legacy", "iptables-nft", "nftables", "ipvs")
MODES = {
    "quick": Mode((1, 10000), ("iptables-legacy", "nftables"), tuple(w for w in WORKS if not w.is_full_only),
                  40, 3, 4, 3, 1),
    "full": Mode((1, 100, 1000, 10000), RULES, WORKS, 60, 5, 10, 5, 2),
    # What it costs to be watched.
    "observe": Mode((1,), (), tuple(w for w in WORKS if w.name in ("tcp-short", "tcp-short-asleep")), 150, 1, 0, 0, 0),
    "check": Mode((10000,), (), tuple(w for w in WORKS if not w.is_full_only), 60, 1, 0, 0, 0),
    # Does the benchmark itself work?
    "smoke": Mode((1, 100), RULES, WORKS, 3, 1, 2, 1, 1),
}


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- Services ----------------------------------------------------------------------


def endpoint_ips(service, first=ENDPOINT_FIRST):
    return [str(first + service * ENDPOINTS + j) for j in range(ENDPOINTS)]


def port_protocols(service, size, is_udp):
    """The last Service answers on UDP as well, so that UDP has something to dial."""
    if is_udp:
        return ("udp",)
    return ("tcp", "udp") if service == size - 1 else ("tcp",)


def service_ports(service, size, first=ENDPOINT_FIRST):
    """A Service as kube-proxy would have it. The endpoints of the last one are
    on this node."""
    is_local = service == size - 1
    endpoints = [kube_proxy.Endpoint(ip, ENDPOINT_PORT, is_local) for ip in endpoint_ips(service, first)]
    return [
        kube_proxy.ServicePort("bench", f"svc-{service:05}", protocol, protocol, str(SERVICE_FIRST + service),
                               SERVICE_PORT, endpoints)
        for protocol in port_protocols(service, size, False)
    ]


def population(size, first_of_last=ENDPOINT_FIRST):
    return [
        port
        for service in range(size)
        for port in service_ports(service, size, first_of_last if service == size - 1 else ENDPOINT_FIRST)
    ]


def slice_manifest(service, protocols, first=ENDPOINT_FIRST):
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"svc-{service:05}-1",
            "namespace": "bench",
            "labels": {"kubernetes.io/service-name": f"svc-{service:05}"},
        },
        "addressType": "IPv4",
        "ports": [{"name": name, "port": ENDPOINT_PORT, "protocol": name.upper()} for name in protocols],
        "endpoints": [{"addresses": [ip]} for ip in endpoint_ips(service, first)],
    }


def write_manifests(directory, size, is_udp):
    """The last Service's endpoints have a file of their own, to be changed."""
    directory.mkdir()
    for start in range(0, size, SERVICES_PER_FILE):
        items = []
        for service in range(start, min(start + SERVICES_PER_FILE, size)):
            protocols = port_protocols(service, size, is_udp)
            ports = [{"name": name, "port": SERVICE_PORT, "targetPort": ENDPOINT_PORT, "protocol": name.upper()}
                     for name in protocols]
            items.append({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": f"svc-{service:05}", "namespace": "bench"},
                "spec": {"clusterIP": str(SERVICE_FIRST + service), "ports": ports},
            })
            if service < size - 1:
                items.append(slice_manifest(service, protocols))
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        (directory / f"services-{start:05}.json").write_text(text, encoding="ascii")
    last = slice_manifest(size - 1, port_protocols(size - 1, size, is_udp))
    (directory / "last.json").write_text(json.dumps(last), encoding="ascii")


# ---- nodes ---------------------------------------------------------------------------


def in_netns(netns, cgroup=None, cpu=None):
    """For a process about to become another program."""

    def prepare():
        harness.die_with_parent()
        if cgroup:
            (cgroup / "cgroup.procs").write_text("0")
        harness.setns(netns.fd)
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})

    return prepare


def read_line(process, seconds):
    assert select.select([process.stdout], [], [], seconds)[0], f"{process.args} said nothing within {seconds} s"
    line = process.stdout.readline()
    assert line, f"{process.args} ended with {process.wait()}"
    return line.strip()


class Node:
    """A node with two Pods behind routed veths: one with clients, one that
    answers at every other Pod's address."""

    def __init__(self, bench, name):
        self.bench, self.name = bench, name
        self.host, self.client, self.server_pod = harness.Netns(), harness.Netns(), harness.Netns()
        for netns in (self.host, self.client, self.server_pod):
            with netns.entered():
                for key, value in (
                    ("net/ipv6/conf/all/disable_ipv6", 1),
                    ("net/ipv4/ip_forward", int(netns is self.host)),
                    # What is remembered of peers is remembered by address: a
                    # Service's one, or ten Pods'.
                    ("net/ipv4/tcp_no_metrics_save", 1),
                    # A connect that gets no answer fails within the run.
                    ("net/ipv4/tcp_syn_retries", 3),
                ):
                    pathlib.Path("/proc/sys", key).write_text(str(value), encoding="ascii")
        for pod, link, ip in ((self.client, "client", CLIENT_IP), (self.server_pod, "server", SERVER_IP)):
            self.host.ip(f"link add {link} type veth peer name eth0 netns {pod.path}",
                         f"addr add {NODE_IP}/32 dev {link}", f"link set {link} up")
            pod.ip(f"addr add {ip}/32 dev eth0", "link set eth0 up", f"route add {NODE_IP} dev eth0 scope link",
                   f"route add default via {NODE_IP} dev eth0 onlink")
            self.host.ip(f"route add {ip} dev {link} scope link")
        self.server_pod.ip(*(f"route add local {network} dev lo" for network in SERVED))
        self.host.ip(
            f"route add {CLUSTER.pods} via {SERVER_IP} dev server onlink",
            # The way out: a bridge that leads nowhere.
            "link add out type bridge", "link set out arp off up", "route add default dev out",
        )
        self.server = self.start([bench.load, "serve", name, str(SERVER_CPU)], self.server_pod)
        read_line(self.server, 10)

    def start(self, command, netns, **options):
        """Start a program whose output is read line by line."""
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            list(map(str, command)), stdout=subprocess.PIPE, text=True, preexec_fn=in_netns(netns, **options)
        )
        self.bench.undo.callback(end, process)
        return process

    def clients(self):
        return self.host if self.bench.client == "host" else self.client

    def relax_conntrack(self):
        """Forget what was dialled when the rules were not all there, which would
        stay untranslated; and from now on closed connections before they fill
        the table, which is in favour of the rules."""
        subprocess.run(["conntrack", "-F"], check=True, stderr=subprocess.DEVNULL, preexec_fn=in_netns(self.host))
        with self.host.entered():
            for state in ("close", "time_wait"):
                path = pathlib.Path(f"/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_{state}")
                path.write_text("1", encoding="ascii")

    def tracked(self):
        with self.host.entered():
            return int(pathlib.Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text(encoding="ascii"))

    def close(self):
        end(self.server)
        for netns in (self.host, self.client, self.server_pod):
            netns.close()


def end(process):
    if process.poll() is None:
        process.kill()
        process.wait()


class Probe:
    """A client that dials the last Service until it gets to certain endpoints."""

    def __init__(self, node, netns, cgroup, size, first=ENDPOINT_FIRST):
        # Servers make room for what sets the Services up.
        os.sched_setaffinity(node.server.pid, {CLIENT_CPU})
        last = size - 1
        self.process = node.start(
            [node.bench.load, "probe", CLIENT_CPU, SERVICE_FIRST + last, SERVICE_PORT,
             first + last * ENDPOINTS, ENDPOINTS],
            netns, cgroup=cgroup,
        )
        self.node = node
        read_line(self.process, 10)

    def effective(self, seconds_max):
        """(when, how far apart the last attempts were) in ns, CLOCK_MONOTONIC"""
        when, apart = map(int, read_line(self.process, seconds_max).split())
        end(self.process)
        os.sched_setaffinity(self.node.server.pid, {SERVER_CPU})
        return when, apart


# ---- what makes Services work ------------------------------------------------------------


@dataclasses.dataclass
class Path:
    """What load.c and the report know of a way to a Service."""

    name: str
    kind: str
    size: int
    node: Node
    cgroups: tuple  # of which a batch has one
    is_service: bool = True
    is_udp: bool = False

    def plan_line(self):
        kind = ("udp-service" if self.is_udp else "service") if self.is_service else "direct"
        netns = self.node.clients().path
        cgroups = ",".join(map(str, self.cgroups))
        return f"path {self.name} {netns} {cgroups} {self.node.server.pid} {self.node.name} {kind} {self.size} {ENDPOINTS}"


class Rules:
    """kube-proxy's rules, loaded by a tool of the node's netfilter."""

    def __init__(self, bench, kind, size):
        self.bench, self.kind, self.size = bench, kind, size
        self.directory = bench.directory / f"{kind}-{size}"
        if not self.directory.exists():
            self.directory.mkdir()
            self._write()

    def _write(self):
        """The inputs of a full sync, and of a change to the other endpoints and back."""
        before, after = (population(self.size, first) for first in (ENDPOINT_FIRST, OTHER_FIRST))
        was, becomes = (service_ports(self.size - 1, self.size, first) for first in (ENDPOINT_FIRST, OTHER_FIRST))
        if self.kind == "ipvs":
            texts = {
                "sets": kube_proxy.ipvs_sets_text(before),
                "rules": kube_proxy.iptables_text(kube_proxy.ipvs_tables(CLUSTER)),
                "addresses": kube_proxy.ipvs_addresses_text(before),
                "full": kube_proxy.ipvs_text(before),
                "there": "".join(map(kube_proxy.ipvs_change, was, becomes)),
                "back": "".join(map(kube_proxy.ipvs_change, becomes, was)),
            }
        elif self.kind == "nftables":
            texts = {
                "full": kube_proxy.nftables_text(kube_proxy.nftables_objects(before, CLUSTER)),
                "there": "".join(map(kube_proxy.nftables_change, was, becomes)),
                "back": "".join(map(kube_proxy.nftables_change, becomes, was)),
            }
        else:
            texts = {
                "full": kube_proxy.iptables_text(kube_proxy.iptables_tables(before, CLUSTER)),
                "there": kube_proxy.iptables_text(kube_proxy.iptables_change(after, becomes, CLUSTER)),
                "back": kube_proxy.iptables_text(kube_proxy.iptables_change(before, was, CLUSTER)),
            }
        for name, text in texts.items():
            (self.directory / name).write_text(text, encoding="ascii")

    def _commands(self, name):
        """[(command, what it reads)]"""
        if self.kind == "nftables":
            return [(["nft", "-f", "-"], name)]
        if self.kind == "ipvs":
            servers = [(["ipvsadm", "--restore"], name)]
            if name != "full":
                return servers
            return [(["ipset", "restore"], "sets"), (["iptables-legacy-restore", "-w"], "rules"),
                    (["ip", "-batch", "-"], "addresses"), *servers]
        # kube-proxy never flushes. With thousands of new chains iptables-nft 1.8.9
        # would take hours to find that they are new; there is nothing to flush.
        flush = [] if self.kind == "iptables-nft" and name == "full" else ["--noflush"]
        return [([f"{self.kind}-restore", "-w", *flush, "--counters"], name)]

    def load(self, node, name):
        """Run the tools; returns (when they began, when they ended, ms of processor, MB at most)."""
        cpu_ms, peak_mb, began = 0, 0, time.monotonic_ns()
        for command, read in self._commands(name):
            with open(self.directory / read, "rb") as text:
                process = subprocess.Popen(  # pylint: disable=consider-using-with
                    command, stdin=text, preexec_fn=in_netns(node.host, cpu=SERVER_CPU)
                )
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0, f"{self.kind} could not load {read} of {self.size} Services"
            cpu_ms += (used.ru_utime + used.ru_stime) * 1e3
            peak_mb = max(peak_mb, used.ru_maxrss / 1024)
        return began, time.monotonic_ns(), cpu_ms, peak_mb

    def node(self):
        node = Node(self.bench, f"{self.kind}-{self.size}")
        for counter in ("ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts"):
            subprocess.run(["nfacct", "add", counter], check=True, preexec_fn=in_netns(node.host))
        if self.kind == "ipvs":
            node.host.ip(f"link add {kube_proxy.IPVS_DEVICE} type dummy")
            with node.host.entered():
                for key, value in kube_proxy.IPVS_SETTINGS.items():
                    pathlib.Path("/proc/sys/net/ipv4/vs", key).write_text(str(value), encoding="ascii")
        return node

    def _step(self, node, name, first):
        cgroup = self.bench.plain_cgroup
        probe = Probe(node, node.clients(), cgroup, self.size, first)
        began, ended, cpu_ms, peak_mb = self.load(node, name)
        when, apart = probe.effective(RULES_SECONDS_MAX)
        return {
            "effective_ms": (when - began) / 1e6,
            "returned_ms": (ended - began) / 1e6,
            "probe_us": apart / 1e3,
            "cpu_ms": cpu_ms,
            "peak_mb": peak_mb,
        }

    def measure(self):
        """Sync and change; returns (path, figures of each full sync, of each change)."""
        mode = self.bench.mode
        # Seconds each: once is enough to see that.
        times = 1 if self.size >= 10000 or self.kind == "iptables-nft" and self.size >= 1000 else mode.full_syncs
        syncs, changes, node = [], [], None
        for _ in range(times):
            if node:
                node.close()
            node = self.node()
            syncs.append(self._step(node, "full", ENDPOINT_FIRST))
        changes_wanted = mode.changes if syncs[-1]["effective_ms"] < 2000 else min(mode.changes, 2)
        for i in range(changes_wanted):
            name, first = (("there", OTHER_FIRST), ("back", ENDPOINT_FIRST))[i % 2]
            changes.append(self._step(node, name, first))
        node.relax_conntrack()
        return Path(f"{self.kind}@{self.size}", self.kind, self.size, node, (self.bench.plain_cgroup,)), syncs, changes


class Redial:
    """An agent with a bpffs and a cgroup of its own; on the node without rules."""

    # What is watched besides, and by which options of `run` or command.
    VARIANTS = {
        "redial": ((), ()),
        "redial-outcomes": (("--track-outcomes", "on"), ()),
        "redial-monitor-refused": ((), ("monitor", "--refused")),
        "redial-monitor": ((), ("monitor",)),
    }

    def __init__(self, bench, size, is_udp=False, variant="redial"):
        self.bench, self.size, self.is_udp = bench, size, is_udp
        self.kind = "redial-udp" if is_udp else variant
        self.options, self.watcher = self.VARIANTS[variant]
        self.name = f"{self.kind}@{size}"
        self.directory = bench.directory / self.name
        self.directory.mkdir()
        self.manifests = self.directory / "manifests"
        write_manifests(self.manifests, size, is_udp)
        self.bpffs = bench.bpffs_mount / self.name
        # Programs at the parent; clients below it, as deep as all others.
        self.parent_cgroup, self.cgroup = bench.new_cgroup(self.name)
        self.log = self.directory / "log"
        self.process = None

    def _run(self, bpffs, cgroup, log_path):
        command = [
            self.bench.redial, "run", "--manifests", self.manifests, "--bpffs", bpffs,
            "--cgroup", cgroup, "--node-name", "node1", *self.options,
        ]
        with open(log_path, "wb") as log:
            process = subprocess.Popen(  # pylint: disable=consider-using-with
                list(map(str, command)), stdout=log, stderr=log, preexec_fn=in_netns(self.bench.plain.host, cpu=SERVER_CPU)
            )
        self.bench.undo.callback(end, process)
        return process

    def start(self):
        began = time.monotonic_ns()
        self.process = self._run(self.bpffs, self.parent_cgroup, self.log)
        return began

    @staticmethod
    def _wait_in_sync(log):
        harness.wait_until(lambda: "in sync" in log.read_text(encoding="utf-8"), f"in {log}: redial is in sync", 60)

    def start_another(self, number):
        """One like it, with programs and maps at other places in memory. Returns its clients' cgroup."""
        name = f"{self.name}-{number}"
        parent, child = self.bench.new_cgroup(name)
        log = self.directory / f"log.{number}"
        self._run(self.bench.bpffs_mount / name, parent, log)
        self._wait_in_sync(log)
        if self.watcher:
            self._watch(self.bench.bpffs_mount / name)
        return child

    def stop(self):
        self.process.terminate()
        assert self.process.wait(30) == 0, self.log.read_text(encoding="utf-8")
        subprocess.run([self.bench.redial, "cleanup", "--bpffs", self.bpffs], check=True, stdout=subprocess.DEVNULL)

    def _cpu_ms(self):
        """Of its one thread, the libraries' included."""
        total = 0
        for path in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"):
            total += int(path.read_text(encoding="ascii").split()[0])
        return total / 1e6

    def _peak_mb(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024

    def _figures(self, began, probe, cpu_before):
        try:
            when, apart = probe.effective(REDIAL_SECONDS_MAX)
        except AssertionError:
            say(self.log.read_text(encoding="utf-8"))
            raise
        # What it does after that is its work as well.
        time.sleep(0.2)
        return {
            "effective_ms": (when - began) / 1e6,
            "probe_us": apart / 1e3,
            "cpu_ms": self._cpu_ms() - cpu_before,
            "peak_mb": self._peak_mb(),
        }

    def _watch(self, bpffs):
        """Its output is read, and thrown away, on the servers' processor."""
        watcher = subprocess.Popen(  # pylint: disable=consider-using-with
            [str(self.bench.redial), *self.watcher, "--bpffs", str(bpffs)], stdout=subprocess.DEVNULL,
            preexec_fn=in_netns(self.bench.plain.host, cpu=SERVER_CPU),
        )
        self.bench.undo.callback(end, watcher)

    def _sync(self):
        probe = Probe(self.bench.plain, self.bench.plain.clients(), self.cgroup, self.size)
        figures = self._figures(self.start(), probe, 0)
        self._wait_in_sync(self.log)
        (line,) = [line for line in self.log.read_text(encoding="utf-8").splitlines() if "in sync" in line]
        if self.watcher:
            self._watch(self.bpffs)
        # From its store to the maps, without reading files.
        figures["store_ms"] = sum(int(value) for value in re.findall(r"(?:resolve|plan|apply)_us=(\d+)", line)) / 1e3
        return figures

    def _change(self, first):
        new = self.directory / "new.json"
        content = slice_manifest(self.size - 1, port_protocols(self.size - 1, self.size, self.is_udp), first)
        new.write_text(json.dumps(content), encoding="ascii")
        probe = Probe(self.bench.plain, self.bench.plain.clients(), self.cgroup, self.size, first)
        cpu = self._cpu_ms()
        began = time.monotonic_ns()
        new.rename(self.manifests / "last.json")
        return self._figures(began, probe, cpu)

    def measure(self):
        syncs, changes = [], []
        if self.is_udp:
            self.start()
            self._wait_in_sync(self.log)
        for i in range(0 if self.is_udp else self.bench.mode.full_syncs):
            if i:
                self.stop()
            syncs.append(self._sync())
        for i in range(0 if self.is_udp else self.bench.mode.changes):
            changes.append(self._change((OTHER_FIRST, ENDPOINT_FIRST)[i % 2]))
        path = Path(self.name, self.kind, self.size, self.bench.plain, (self.cgroup,), is_udp=self.is_udp)
        return path, syncs, changes

    def bpf(self):
        """Memory of the maps, and the size of the programs."""
        maps = {}
        for pin in sorted(self.bpffs.rglob("rd_*")):
            done = subprocess.run(["bpftool", "-j", "map", "show", "pinned", pin], capture_output=True, text=True,
                                  check=False)
            if done.returncode == 0:
                shown = json.loads(done.stdout)
                maps[shown["name"]] = shown["bytes_memlock"]
        done = subprocess.run(["bpftool", "-j", "cgroup", "show", self.parent_cgroup], capture_output=True, text=True,
                              check=True)
        programs = {}
        for attached in json.loads(done.stdout):
            shown = json.loads(subprocess.run(["bpftool", "-j", "prog", "show", "id", str(attached["id"])],
                                              capture_output=True, text=True, check=True).stdout)
            programs[shown["name"]] = {"xlated": shown["bytes_xlated"] // 8, "jited": shown["bytes_jited"]}
        assert maps and programs
        return {"maps": maps, "memlock": sum(maps.values()), "programs": programs}


# ---- the machine ---------------------------------------------------------------------------


def first_line(*command):
    with contextlib.suppress(OSError):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        lines = (done.stdout or done.stderr).strip().splitlines()
        return lines[0] if lines else ""
    return "not here"


def file_text(path, default="not here"):
    with contextlib.suppress(OSError):
        return pathlib.Path(path).read_text(encoding="utf-8").strip()
    return default


def counts_instructions():
    done = subprocess.run(["perf", "stat", "-x,", "-e", "instructions", "true"], capture_output=True, text=True,
                          check=False) if shutil.which("perf") else None
    return bool(done and re.match(r"\d", done.stderr.strip()))


def environment(bench):
    cpu = file_text("/proc/cpuinfo")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "kernel": os.uname().release,
        "cpu": (re.search(r"model name\s*: (.*)", cpu) or [0, os.uname().machine])[1],
        "processors": os.cpu_count(),
        "virtual": "hypervisor" in cpu,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "governor": file_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "clock": file_text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "mitigations": {
            path.name: path.read_text(encoding="ascii").strip()
            for path in sorted(pathlib.Path("/sys/devices/system/cpu/vulnerabilities").glob("*"))
        },
        "counts_instructions": counts_instructions(),
        "versions": {
            "redial": first_line(bench.redial, "version"),
            "revision": first_line("git", "-C", TREE, "describe", "--always", "--dirty"),
            "iptables": first_line("iptables-legacy", "--version"),
            "nftables": first_line("nft", "--version"),
            "wrk": first_line("wrk", "--version"),
            "nginx": first_line("nginx", "-v"),
            "compiler": first_line("gcc", "--version"),
        },
        "load_average": file_text("/proc/loadavg").split()[:3],
    }


# ---- the whole ---------------------------------------------------------------------------------


class Bench:
    def __init__(self, mode, client, load, redial):
        self.mode, self.client, self.load, self.redial = mode, client, load, redial
        self.undo = contextlib.ExitStack()
        self.paths, self.redials, self.control, self.bpf, self.absent = [], [], [], {}, {}
        with self.undo:
            self.directory = pathlib.Path(tempfile.mkdtemp(prefix="redial-bench-"))
            self.undo.callback(shutil.rmtree, self.directory)
            # In memory: renaming a file on a disk takes longer than what follows.
            harness.mount("tmpfs", self.directory, "tmpfs")
            self.undo.callback(harness.umount, self.directory)
            # As long-lived as we are; in the sandbox's own mount namespace.
            self.bpffs_mount = self.directory / "bpf"
            self.bpffs_mount.mkdir()
            harness.mount("bpf", self.bpffs_mount, "bpf")
            self.undo.callback(harness.umount, self.bpffs_mount)
            self.cgroups = pathlib.Path(os.environ["REDIAL_TEST_CGROUP"]) / "bench"
            self.cgroups.mkdir()
            self.undo.callback(harness.remove_cgroup, self.cgroups)
            _, self.plain_cgroup = self.new_cgroup("plain")
            self.plain = Node(self, "plain")
            self.undo = self.undo.pop_all()

    def new_cgroup(self, name):
        parent = self.cgroups / name
        child = parent / "clients"
        child.mkdir(parents=True)
        return parent, child

    def prepare(self):
        """Build all paths. What sets them up is measured on the way."""
        largest = max(self.mode.sizes)
        for name in ("direct", "direct-again"):
            self.paths.append(Path(name, name, largest, self.plain, (self.plain_cgroup,), is_service=False))
        self.paths.append(self._conntrack(largest))
        kinds = [kind for kind in self.mode.rules if kind != "ipvs" or self._has_ipvs()]
        for size in self.mode.sizes:
            for kind in (*kinds, "redial"):
                self._add(Redial(self, size) if kind == "redial" else Rules(self, kind, size))
        for variant in Redial.VARIANTS if self.mode is MODES["observe"] else ():
            if variant != "redial":
                self._add(Redial(self, largest, variant=variant))
        if any(work.is_udp_population for work in self.mode.works):
            self._add(Redial(self, largest, is_udp=True))
        # In turn: programs that are loaded first may lie where TCP's are slower.
        for number in range(1, INSTANCES):
            for path, redial in self.redials:
                path.cgroups += (redial.start_another(number),)

    def _add(self, what):
        say(f"  {what.kind}, {what.size} Services")
        path, syncs, changes = what.measure()
        self.paths.append(path)
        if syncs:
            self.control.append({"kind": what.kind, "size": what.size, "syncs": syncs, "changes": changes})
        if isinstance(what, Redial):
            self.redials.append((path, what))
            self.bpf[what.name] = what.bpf()

    def _conntrack(self, size):
        """No translation, but every connection is tracked."""
        node = Node(self, "conntrack")
        rules = "table ip t { chain c { type filter hook prerouting priority 0; ct state new counter; }; " \
                "chain o { type filter hook output priority 0; ct state new counter; }; }"
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True, preexec_fn=in_netns(node.host))
        node.relax_conntrack()
        return Path("direct-conntrack", "direct-conntrack", size, node, (self.plain_cgroup,), is_service=False)

    def _has_ipvs(self):
        """Asking for it loads the module, if there is one."""
        for command in (["ipvsadm", "--list"], ["ip", "link", "add", kube_proxy.IPVS_DEVICE, "type", "dummy"]):
            done = subprocess.run(command, capture_output=True, text=True, check=False,
                                  preexec_fn=in_netns(self.plain.host))
            if done.returncode:
                self.absent["ipvs"] = f"this kernel does not have it ({done.stderr.splitlines()[0]})"
                return False
        self.plain.host.ip(f"link del {kube_proxy.IPVS_DEVICE}")
        return True

    def _takes_part(self, work, path):
        if path.kind == "redial-udp":
            return work.is_udp_population
        if work.is_udp_population:
            return path.name in ("direct", "direct-again")
        if work.is_pair:
            return path.name in ("direct", "direct-again", f"redial@{max(self.mode.sizes)}")
        # As many destinations for all.
        return work.target != "random" or path.size == max(self.mode.sizes)

    def run_load(self):
        lines = [path.plan_line() for path in self.paths]
        for work in self.mode.works:
            names = ",".join(path.name for path in self.paths if self._takes_part(work, path))
            rounds = self.mode.rounds * (work.times if self.mode is MODES["full"] else 1)
            lines.append(f"case {work.name} {work.work} {work.target} {work.wait} {work.operations} {rounds} "
                         f"{work.rate} {names}")
        plan, results = self.directory / "plan", self.directory / "load.json"
        plan.write_text("\n".join(lines) + "\n", encoding="ascii")
        with open(results, "wb") as out:
            status = subprocess.run([self.load, "run", plan, str(CLIENT_CPU), str(SERVER_CPU)], stdout=out,
                                    check=False).returncode
        assert status == 0, "the load generator failed, or operations did"
        self._check_tracking()
        return json.loads(results.read_text(encoding="ascii"))

    def _check_tracking(self):
        """Only where there are rules is anything tracked."""
        for path in self.paths:
            tracked = path.node.tracked()
            assert bool(tracked) == (path.node is not self.plain), f"{path.name}: {tracked} connections are tracked"

    # a second opinion

    def run_wrk(self):
        """HTTP from nginx, by wrk: a new connection for each request, and kept ones."""
        largest = max(self.mode.sizes)
        chosen = [path for path in self.paths if path.size == largest and not path.is_udp]
        for node in {id(path.node): path.node for path in chosen}.values():
            self._start_nginx(node)
        figures = []
        for kept in (False, True):
            rows = {path.name: [] for path in chosen}
            for _ in range(self.mode.wrk_rounds):
                for path in random.sample(chosen, len(chosen)):
                    rows[path.name].append(self._wrk(path, kept))
            figures.append({"connections": "kept" if kept else "new",
                            "paths": [{"path": name, "runs": runs} for name, runs in rows.items()]})
        return figures

    def _start_nginx(self, node):
        end(node.server)
        directory = self.directory / f"nginx-{node.name}"
        directory.mkdir()
        (directory / "nginx.conf").write_text(
            "daemon off; master_process off; error_log stderr crit; pid nginx.pid; "
            "events { worker_connections 4096; } http { access_log off; keepalive_requests 1000000000; "
            + "".join(f"{kind}_temp_path {kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            + f"server {{ listen {ENDPOINT_PORT} backlog=4096; location / {{ return 200 'ok'; }} }} }}",
            encoding="ascii",
        )
        node.start(["nginx", "-p", directory, "-c", "nginx.conf", "-e", "stderr"], node.server_pod, cpu=SERVER_CPU)

        def answers():
            return harness.Child(harness.connect_error, SERVER_IP, ENDPOINT_PORT, netns=node.server_pod.fd).result() == 0

        harness.wait_until(answers, "nginx answers")

    def _wrk(self, path, kept):
        last = max(self.mode.sizes) - 1
        to = (f"{SERVICE_FIRST + last}:{SERVICE_PORT}" if path.is_service
              else f"{ENDPOINT_FIRST + last * ENDPOINTS}:{ENDPOINT_PORT}")
        command = ["wrk", "-t1", "-c32", f"-d{self.mode.wrk_seconds}s", "--latency",
                   *([] if kept else ["-H", "Connection: close"]), f"http://{to}/"]
        done = subprocess.run(command, capture_output=True, text=True, check=True,
                              preexec_fn=in_netns(path.node.clients(), random.choice(path.cgroups), CLIENT_CPU))
        # A virtual machine may stand still for as long as that.
        assert float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout).group(1)), f"{path.name}: no request was answered"
        assert "Socket errors" not in done.stdout and "Non-2xx" not in done.stdout, f"{path.name}: {done.stdout}"
        scale = {"us": 1.0, "ms": 1e3, "s": 1e6}
        p50, p99 = (
            float(value) * scale[unit]
            for value, unit in (re.search(rf"^\s+{at}%\s+([\d.]+)(us|ms|s)$", done.stdout, re.MULTILINE).groups()
                                for at in (50, 99))
        )
        return {"per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout).group(1)),
                "p50_us": p50, "p99_us": p99}

    def close(self):
        self.undo.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--client", choices=("pod", "host"), default="pod", help="where clients are")
    parser.add_argument("--load", type=pathlib.Path, default=TREE / "build/tests/bench/load")
    parser.add_argument("--redial", type=pathlib.Path, default=TREE / "build/redial")
    parser.add_argument("--out", type=pathlib.Path, default=TREE / "bench-results/results.json")
    arguments = parser.parse_args()
    if os.cpu_count() < 2:
        sys.exit("the benchmark needs two processors: one for clients, one for servers")
    began = time.monotonic()
    mode = MODES[arguments.mode]
    bench = Bench(mode, arguments.client, arguments.load.resolve(), arguments.redial.resolve())
    try:
        results = {"mode": arguments.mode, "client": arguments.client, "endpoints": ENDPOINTS,
                   "environment": environment(bench)}
        say("setting up:")
        bench.prepare()
        results["control"], results["bpf"], results["absent"] = bench.control, bench.bpf, bench.absent
        results["paths"] = [
            {"name": path.name, "kind": path.kind, "size": path.size} for path in bench.paths
        ]
        say(f"measuring ({time.monotonic() - began:.0f} s so far):")
        results["cases"] = bench.run_load()
        results["wrk"] = bench.run_wrk() if mode.wrk_rounds else []
    finally:
        bench.close()
    results["environment"]["load_average_after"] = file_text("/proc/loadavg").split()[:3]
    results["seconds"] = round(time.monotonic() - began)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="ascii")
    say(f"{arguments.out} is written, after {results['seconds']} s")


if __name__ == "__main__":
    main()
