# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A node whose agent serves names, and who asks for them: dig, and programs of
both C libraries in a Pod's namespace, with the Pod's own resolv.conf."""

import contextlib
import pathlib
import re
import subprocess

from apiserver import ApiServer
from harness import SOON, HostNetwork, node_manifest, wait_until

RESOURCES = {"Service": "services", "EndpointSlice": "endpointslices", "Endpoints": "endpoints", "Node": "nodes"}
DOMAIN = "cluster.local"
CLIENTS = pathlib.Path(__file__).parent / "clients"

# What a Pod's C library reads, and nothing of the machine's.
ENTER = """
set -e
mount --bind "$1" /etc/resolv.conf
mount --bind "$2" /etc/nsswitch.conf
shift 2
exec "$@"
"""


def headless(name, ports, namespace="default", **spec):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": "None", "ports": ports, **spec},
    }


def external(name, target, namespace="default"):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "ExternalName", "externalName": target},
    }


def named_slice(name, owner, endpoints, ports, namespace="default", family="IPv4", is_headless=True):
    """`endpoints`: (address, hostname or None, ready)."""
    labels = {"kubernetes.io/service-name": owner}
    if is_headless:
        labels["service.kubernetes.io/headless"] = ""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "addressType": family,
        "ports": ports,
        "endpoints": [
            {
                "addresses": [address],
                "conditions": {"ready": ready, "serving": ready, "terminating": False},
                **({"hostname": hostname} if hostname else {}),
            }
            for address, hostname, ready in endpoints
        ],
    }


class Answer:
    """What dig says of one answer."""

    def __init__(self, output):
        self.output = output
        self.status = re.search(r"status: (\w+)", output)[1] if "status:" in output else None
        self.flags = re.search(r"flags: ([a-z ]*);", output)[1].split() if self.status else []
        self.sections = {}
        section = None
        for line in output.splitlines():
            if line.startswith(";; ") and line.endswith(" SECTION:"):
                section = line[3:-len(" SECTION:")].lower()
                self.sections[section] = []
            elif section and line and not line.startswith(";"):
                self.sections[section].append(tuple(line.split(None, 4)))
            elif not line:
                section = None

    def rows(self, section="answer"):
        """(owner, type, data), sorted."""
        return sorted((row[0], row[3], row[4]) for row in self.sections.get(section, ()))

    def data(self, section="answer"):
        return [row[2] for row in self.rows(section)]

    def ttls(self, section="answer"):
        return [int(row[1]) for row in self.sections.get(section, ())]


class Names:
    """A node, a Pod that asks, and a source of the kind asked for."""

    def __init__(self, node, source="manifests"):
        self.node, self.host = node, HostNetwork(node)
        self.client = self.make_pod("client")
        self.servers = (node.GATEWAY, node.GATEWAY6)
        self._undo = contextlib.ExitStack()
        self._files, self._programs = 0, {}
        self.api = None
        if source == "api":
            self.api = self._undo.enter_context(ApiServer(node.host))
            kubeconfig = node.directory / "kubeconfig"
            kubeconfig.write_text(self.api.kubeconfig(), encoding="utf-8")
            node.source = ("--kubeconfig", kubeconfig, "--node-name", "node1")
            self.put(node_manifest("node1", node.GATEWAY))

    def close(self):
        self._undo.close()

    def make_pod(self, name):
        pod = self.node.pod(name)
        pod.netns.ip(f"route add default via {self.node.GATEWAY6}")
        return pod

    # objects

    def put(self, *items):
        for item in items:
            meta = item["metadata"]
            if item["kind"] != "Node":
                meta.setdefault("namespace", "default")
            if self.api:
                self.api.put(item)
            else:
                name = f"{item['kind']}-{meta.get('namespace', '')}-{meta['name']}.yaml".lower()
                self.node.write(name, item)

    def delete(self, item):
        meta = item["metadata"]
        if self.api:
            self.api.delete(RESOURCES[item["kind"]], meta["namespace"], meta["name"])
        else:
            (self.node.manifests / f"{item['kind']}-{meta['namespace']}-{meta['name']}.yaml".lower()).unlink()

    # the agent

    def launch(self, *options, upstream="none"):
        more = () if upstream is None else ("--dns-upstream", upstream)
        return self.node.launch("--dns", f"{self.servers[0]}:53", "--dns", f"[{self.servers[1]}]:53", *more, *options)

    def agent(self, *options, **how):
        return self.launch(*options, **how).await_ready()

    # dig

    def dig(self, name, kind="A", *options, server=None, client=None):
        _, output = (client or self.client).command(
            "dig", "-r", f"@{server or self.servers[0]}", "+tries=1", "+time=10", "+nosearch", name, kind, *options
        )
        return Answer(output)

    def reverse(self, address, **how):
        name = subprocess.run(
            ["/usr/bin/python3", "-c", "import ipaddress, sys; print(ipaddress.ip_address(sys.argv[1]).reverse_pointer)", address],
            capture_output=True, text=True, check=True,
        ).stdout.strip()
        return self.ask(name, "PTR", **how)

    def ask(self, name, kind="A", *options, **how):
        """Asked over UDP and TCP, in both families: the answer is the same."""
        answers = [
            self.dig(name, kind, *options, *transport, server=server, **how)
            for server in self.servers
            for transport in ((), ("+tcp",))
        ]
        for answer in answers:
            assert answer.status, answer.output
            for section in ("answer", "authority", "additional"):
                assert answer.rows(section) == answers[0].rows(section), (answer.output, answers[0].output)
            assert (answer.status, answer.flags) == (answers[0].status, answers[0].flags)
        return answers[0]

    def wait_for(self, name, data, kind="A"):
        """Until one way of asking says so: then all of them do."""
        try:
            wait_until(lambda: self.dig(name, kind).data() == data, seconds=SOON)
        except AssertionError:
            raise AssertionError(f"{name} {kind} is not {data}:\n{self.dig(name, kind).output}") from None
        answer = self.ask(name, kind)
        assert answer.data() == data
        return answer

    def check_none(self, answer, status="NXDOMAIN"):
        """Nothing, and for how long that may be believed."""
        assert (answer.status, answer.data()) == (status, []), answer.output
        ((owner, kind, data),) = answer.rows("authority")
        assert (owner, kind) == (f"{DOMAIN}.", "SOA"), answer.output
        assert data.endswith(" 5"), answer.output

    # C libraries

    def program(self, library):
        """The client, built with this C library."""
        if library not in self._programs:
            path = self.node.directory / f"resolve-{library}"
            compiler = {"glibc": "gcc", "musl": "musl-gcc"}[library]
            subprocess.run([compiler, "-O1", "-o", path, CLIENTS / "resolve.c"], check=True)
            path.chmod(0o755)
            self._programs[library] = path
        return str(self._programs[library])

    def run(self, *command, client=None, servers=None, namespace="default"):
        """A program in a Pod, with the resolv.conf that the kubelet would give it."""
        self._files += 1
        resolv = self.node.directory / f"resolv-{self._files}.conf"
        resolv.write_text(
            "".join(f"nameserver {server}\n" for server in servers or self.servers[:1])
            + f"search {namespace}.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}\noptions ndots:5\n",
            encoding="utf-8",
        )
        switch = self.node.directory / "nsswitch.conf"
        switch.write_text("hosts: files dns\n", encoding="utf-8")
        return (client or self.client).command(
            "unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "enter", str(resolv), str(switch), *command
        )

    def resolve(self, library, name, **how):
        """The addresses that getaddrinfo gives, sorted; [] if there are none."""
        status, output = self.run(self.program(library), name, **how)
        assert status in (0, 1), output
        return sorted(output.split()) if status == 0 else []

    def name_of(self, library, address, **how):
        """What getnameinfo gives; None if there is no name."""
        status, output = self.run(self.program(library), "-r", address, **how)
        assert status in (0, 1), output
        return output.strip() if status == 0 else None
