# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What an answer costs: redial, Unbound and Knot DNS with the same 10,000 names
on this machine, asked by dnsperf over the loopback interface.

Each server has one processor and dnsperf another one. They take turns in an
order of chance, each time as a new process. Prints the medians, the least and
the most of all rounds, and redial's ratio to the best of the others:

  answers/s           as many as it can
  answers/CPU-s       the same, by the server's own processor time: user, system,
                      and the interrupts handled meanwhile, which on the loopback
                      interface are those of its answers' way to dnsperf
  p50, p99            of the time to an answer, at half of the slowest server's
                      answers/s, and with as many as each can; in these runs
                      dnsperf has a line to write about each answer

Run it in scripts/sandbox, on a machine that does nothing else: `make bench-dns`.
"""

import argparse
import contextlib
import os
import pathlib
import random
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "tests/e2e"))

import harness  # noqa: E402 pylint: disable=wrong-import-position

DOMAIN = "cluster.local"
ADDRESS = "127.0.0.1"
SERVER_CPU, CLIENT_CPU = 0, 1
# Of dnsperf: sockets, and queries under way.
CLIENTS, OUTSTANDING = 16, 100
TTL = 30

UNBOUND = """server:
  interface: {address}
  port: {port}
  do-ip6: no
  do-daemonize: no
  num-threads: 1
  username: ""
  chroot: ""
  directory: "{directory}"
  pidfile: ""
  use-syslog: no
  logfile: "{directory}/unbound.log"
  access-control: 127.0.0.0/8 allow
  module-config: "iterator"
  so-rcvbuf: 4m
  so-sndbuf: 4m
  local-zone: "{domain}." static
  include: "{directory}/local-data.conf"
remote-control:
  control-enable: no
"""

KNOT = """server:
  rundir: {directory}/knot
  listen: {address}@{port}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: {directory}/knot
log:
  - target: stderr
    any: warning
zone:
  - domain: {domain}.
    file: {directory}/zone
    zonefile-sync: -1
    journal-content: none
"""


def services(n):
    """{name: address}: the names' order and their addresses have nothing to do with each other."""
    chance = random.Random(1)
    names = [f"svc-{chance.randrange(16**8):08x}.ns-{i % 100}" for i in range(n)]
    return {name: f"10.{96 + i // 65536}.{i // 256 % 256}.{i % 256}" for i, name in enumerate(names, 256)}


class Server:
    """One of those compared. `start` returns the process, which answers soon."""

    def __init__(self, bench, name, port):
        self.bench, self.name, self.port = bench, name, port
        self.process = None

    def command(self):
        raise NotImplementedError

    def start(self):
        with open(self.bench.directory / f"{self.name}.log", "ab") as log:
            self.process = self.bench.popen(SERVER_CPU, self.command(), stdout=log, stderr=log)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)

    def processor_ns(self):
        """Of all its threads. The kernel's interrupts that came meanwhile are
        among it, unless it counts them apart (CONFIG_IRQ_TIME_ACCOUNTING)."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
        return total


class Redial(Server):
    def start(self):
        agent = self.bench.node.launch(
            "--dns", f"{ADDRESS}:{self.port}", "--dns-upstream", "none", wrapper=("taskset", "-c", str(SERVER_CPU))
        )
        agent.await_ready()
        self.agent, self.process = agent, agent.process

    def stop(self):
        self.agent.stop()


class Unbound(Server):
    def command(self):
        directory = self.bench.directory
        config = UNBOUND.format(address=ADDRESS, port=self.port, directory=directory, domain=DOMAIN)
        (directory / "unbound.conf").write_text(config, encoding="ascii")
        lines = [
            f'local-data: "{name}.svc.{DOMAIN}. {TTL} IN A {ip}"\n' for name, ip in self.bench.services.items()
        ]
        (directory / "local-data.conf").write_text("".join(lines), encoding="ascii")
        return ["unbound", "-d", "-c", directory / "unbound.conf"]


class Knot(Server):
    def command(self):
        directory = self.bench.directory
        (directory / "knot").mkdir(exist_ok=True)
        config = KNOT.format(address=ADDRESS, port=self.port, directory=directory, domain=DOMAIN)
        (directory / "knot.conf").write_text(config, encoding="ascii")
        head = f"$ORIGIN {DOMAIN}.\n$TTL {TTL}\n@ SOA ns.dns hostmaster 1 7200 1800 86400 {TTL}\n@ NS ns.dns\n"
        lines = [f"{name}.svc A {ip}\n" for name, ip in self.bench.services.items()]
        (directory / "zone").write_text(head + f"ns.dns A {ADDRESS}\n" + "".join(lines), encoding="ascii")
        return ["knotd", "-c", directory / "knot.conf"]


class Bench:
    def __init__(self, options):
        self.options = options
        self.services = services(options.services)
        self.node = harness.Node(options.redial, pathlib.Path(os.environ["REDIAL_TEST_CGROUP"]))
        self.node.SIZES = self.node.OUTCOMES = ()
        self.directory = self.node.directory
        self.chance = random.Random(options.seed)
        self.servers = [Redial(self, "redial", 5301), Unbound(self, "unbound", 5302), Knot(self, "knot", 5303)]
        self._write_manifests()
        names = list(self.services)
        self.queries = self.directory / "queries"
        with open(self.queries, "w", encoding="ascii") as out:
            for _ in range(20 * len(names)):
                out.write(f"{self.chance.choice(names)}.svc.{DOMAIN} A\n")

    def _write_manifests(self):
        """A file for every namespace."""
        by_namespace = {}
        for name, ip in self.services.items():
            name, namespace = name.split(".")
            by_namespace.setdefault(namespace, []).append(
                harness.service(name, 80, cluster_ip=ip, namespace=namespace)
            )
        for namespace, items in by_namespace.items():
            self.node.write(f"{namespace}.yaml", *items)

    def popen(self, cpu, command, **more):
        def prepare():
            harness.die_with_parent()
            harness.setns(self.node.host.fd)
            os.sched_setaffinity(0, {cpu})

        return subprocess.Popen(  # pylint: disable=consider-using-with
            [str(part) for part in command], stdin=subprocess.DEVNULL, preexec_fn=prepare, **more
        )

    def ask(self, server, name):
        """The address that it answers; None: it does not."""
        labels = b"".join(bytes([len(x)]) + x.encode() for x in f"{name}.svc.{DOMAIN}".split("."))
        query = struct.pack("!6H", 1, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
        with self.node.host.entered():
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with client, contextlib.suppress(OSError):
            client.settimeout(1)
            client.connect((ADDRESS, server.port))
            client.send(query)
            answer = client.recv(2048)
            n_answers = struct.unpack_from("!H", answer, 6)[0]
            return socket.inet_ntoa(answer[len(query) + 12 : len(query) + 16]) if n_answers == 1 else None
        return None

    @contextlib.contextmanager
    def running(self, server):
        """It answers, and rightly."""
        names = self.chance.sample(list(self.services), 50)
        server.start()
        try:
            harness.wait_until(lambda: self.ask(server, names[0]), f"{server.name} answers", 60)
            for name in names:
                assert self.ask(server, name) == self.services[name], (server.name, name)
            yield
        finally:
            server.stop()

    def dnsperf(self, server, *more):
        """(what it says, the server's processor time in seconds). It says it to a
        file: nobody is to read along meanwhile."""
        command = ["dnsperf", "-s", ADDRESS, "-p", server.port, "-d", self.queries, "-l", self.options.seconds]
        command += ["-T", 1, "-c", CLIENTS, "-q", OUTSTANDING, "-b", 2048, *more]
        before = server.processor_ns()
        said = self.directory / "dnsperf.out"
        with open(said, "wb") as out:
            process = self.popen(CLIENT_CPU, command, stdout=out, stderr=out)
            process.wait(self.options.seconds + 60)
        spent = (server.processor_ns() - before) / 1e9
        output = said.read_text(encoding="ascii")
        assert process.returncode == 0, output[-2000:]
        return output, spent

    def capacity(self, server):
        """One round's (answers/s, answers/CPU-s, the percentage of its processor)."""
        with self.running(server):
            self.warm_up(server)
            output, spent = self.dnsperf(server)
        answers = int(re.search(r"Queries completed:\s+(\d+)", output).group(1))
        lost = int(re.search(r"Queries lost:\s+(\d+)", output).group(1))
        seconds = float(re.search(r"Run time \(s\):\s+([\d.]+)", output).group(1))
        codes = re.search(r"Response codes:\s+(.*)", output).group(1)
        assert codes.startswith("NOERROR") and "," not in codes, (server.name, codes)
        assert lost <= answers // 10000, (server.name, lost, "lost")
        return answers / seconds, answers / spent, 100 * spent / seconds

    def warm_up(self, server):
        command = ["dnsperf", "-s", ADDRESS, "-p", server.port, "-d", self.queries, "-n", 1]
        self.popen(CLIENT_CPU, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait(60)

    def latency(self, server, rate=None):
        """One round's (p50, p99, both in µs, and answers/CPU-s)."""
        with self.running(server):
            self.warm_up(server)
            output, spent = self.dnsperf(server, "-v", *(("-Q", int(rate)) if rate else ()))
        times = sorted(float(x) for x in re.findall(r"^> NOERROR \S+ A ([\d.]+)", output, re.MULTILINE))
        assert len(times) > 100, output[-2000:]
        return times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6, len(times) / spent

    def rounds(self, measure, *args):
        """{server's name: a list for each figure}"""
        results = {server.name: [] for server in self.servers}
        for _ in range(self.options.rounds):
            for server in self.chance.sample(self.servers, len(self.servers)):
                results[server.name].append(measure(server, *args))
        return {name: list(zip(*rows)) for name, rows in results.items()}

    def close(self):
        self.node.close()


def table(title, results, at, unit, best_of=None):
    """`best_of`: max or min; None: the figure is not for comparing."""
    medians = {name: statistics.median(figures[at]) for name, figures in results.items()}
    print(f"\n{title}\n  {'':10} {'median':>10} {'least':>10} {'most':>10}")
    for name, figures in results.items():
        values = figures[at]
        print(f"  {name:10} {medians[name]:10.1f} {min(values):10.1f} {max(values):10.1f}  {unit}".rstrip())
    if best_of:
        best = best_of(value for name, value in medians.items() if name != "redial")
        print(f"  redial: {medians['redial'] / best:.2f} of the best other one", flush=True)
    return medians


def version(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines()[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--services", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFF)
    parser.add_argument("--redial", type=pathlib.Path, default=TREE / "build/redial")
    options = parser.parse_args()
    for program in ("dnsperf", "unbound", "knotd", "taskset"):
        if not shutil.which(program):
            sys.exit(f"bench_dns: {program} is missing: scripts/deps bench")
    if not {SERVER_CPU, CLIENT_CPU} <= os.sched_getaffinity(0):
        sys.exit("bench_dns: needs processors 0 and 1")
    bench = Bench(options)
    try:
        measure(bench)
    finally:
        bench.close()


def measure(bench):
    options = bench.options
    others = "Unbound " + version("unbound", "-V"), version("knotd", "--version")
    print(version(options.redial, "version"), *others, sep=", ")
    print(f"{options.services} names, {options.rounds} rounds of {options.seconds} s, seed {options.seed}")
    most = bench.rounds(bench.capacity)
    slowest = min(table("answers a second", most, 0, "/s", max).values())
    table("answers for a second of the server's processor time", most, 1, "/CPU-s", max)
    table("the server's share of its processor meanwhile: well below 100, dnsperf is the limit", most, 2, "%")
    rate = slowest / 2
    steady = bench.rounds(bench.latency, rate)
    table(f"p50 at {rate:.0f} answers a second", steady, 0, "µs", min)
    table(f"p99 at {rate:.0f} answers a second", steady, 1, "µs", min)
    table("answers for a second of the server's processor time, at that rate", steady, 2, "/CPU-s", max)
    full = bench.rounds(bench.latency)
    table(f"p50 with {OUTSTANDING} queries always under way", full, 0, "µs", min)
    table(f"p99 with {OUTSTANDING} queries always under way", full, 1, "µs", min)


if __name__ == "__main__":
    main()
