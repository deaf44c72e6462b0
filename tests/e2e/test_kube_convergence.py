# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Random histories of objects and faults, each a short burst: afterwards the
maps are as a naive model of the server's objects has it (test_kube.py).

REDIAL_TEST_SEED       begin with this one
REDIAL_TEST_HISTORIES  how many; default 1000.

Several nodes with a server each take turns, because what takes time is waiting.
"""

import contextlib
import os
import random
import re
import time

import harness
from harness import endpoint_slice, node_manifest, node_port, port, service
from test_kube import KubeNode, expected, found

WORLDS = 8
SECONDS = 60  # for one history
# What is waited for between two questions doubles with each failure, to a
# minute (F9): one who has waited this long makes room for a new agent.
LONG_MS = 3000
RESOURCES = ("services", "endpointslices", "nodes")
ENDS = ("close", "abort", "reset")
NAMES = [(namespace, f"s{i}") for namespace in ("default", "other") for i in range(4)]
PORTS = [port(80, name="a"), port(81, name="b"), port(80, name="c", protocol="UDP")]


class World:
    """A node, an agent, a server, and what is done to them."""

    def __init__(self, kube, seed):
        self.kube, self.server, self.seed = kube, kube.server, seed
        self.random = random.Random(seed)
        self.trail = []  # of this history
        self.histories, self.deadline = 0, None
        # With a NodePort all nodes are watched.
        ports = [node_port(80, 8080, 30080)]
        kube.put(service("np", ports, cluster_ip="10.96.9.9", namespace="default", type="NodePort"))
        self.change_node()
        kube.agent("--log-level", "debug")

    # changes

    def change_service(self):
        namespace, name = self.random.choice(NAMES)
        if ("services", namespace, name) in self.kube.objects and self.random.random() < 0.3:
            self.trail.append(f"delete service {namespace}/{name}")
            self.kube.delete("services", name, namespace)
            return
        address = f"10.96.2.{NAMES.index((namespace, name)) + 1}"
        kind = self.random.choice(["", "", "", "", "another's", "headless", "external"])
        meta = {"labels": {"service.kubernetes.io/service-proxy-name": "other"}} if kind == "another's" else None
        more = {"type": "ExternalName", "externalName": "example.org"} if kind == "external" else {}
        cluster_ip = {"headless": "None", "external": None}.get(kind, address)
        ports = self.random.sample(PORTS, self.random.randint(1, len(PORTS)))
        self.trail.append(f"put service {namespace}/{name} {kind} {[item['name'] for item in ports]}")
        self.kube.put(service(name, ports, cluster_ip=cluster_ip, namespace=namespace, meta=meta, **more))

    def change_slice(self):
        chance = self.random
        namespace, owner = chance.choice(NAMES)
        number = chance.randrange(3)
        name = f"{owner}-{number}"
        # No endpoint is in two slices: what is true of it then is another matter.
        net = f"10.244.{20 + 3 * NAMES.index((namespace, owner)) + number}"
        if ("endpointslices", namespace, name) in self.kube.objects and chance.random() < 0.3:
            self.trail.append(f"delete slice {namespace}/{name}")
            self.kube.delete("endpointslices", name, namespace)
            return
        if chance.random() < 0.1:  # it is another Service's from now on
            owner = chance.choice(NAMES)[1]
        item = endpoint_slice(name, owner, [], 8080, namespace=namespace)
        item["ports"] = [
            {"name": given["name"], "protocol": given.get("protocol", "TCP"), "port": 8000 + chance.randrange(3)}
            for given in chance.sample(PORTS, chance.randrange(len(PORTS) + 1))
        ]
        item["endpoints"] = [
            {
                "addresses": [f"{net}.{i}"],
                "conditions": chance.choice(
                    [{}, {"ready": True}, {"ready": False}, {"ready": False, "serving": True, "terminating": True}]
                ),
            }
            for i in chance.sample(range(1, 20), chance.randrange(6))
        ]
        if chance.random() < 0.1:
            item["metadata"]["labels"]["service.kubernetes.io/headless"] = ""
        self.trail.append(f"put slice {namespace}/{name} of {owner} {len(item['ports'])}x{len(item['endpoints'])}")
        self.kube.put(item)

    def change_node(self):
        name = f"node{self.random.randrange(1, 5)}"
        if ("nodes", "", name) in self.kube.objects and self.random.random() < 0.3:
            self.trail.append(f"delete {name}")
            self.kube.delete("nodes", name, "")
            return
        self.trail.append(f"put {name}")
        self.kube.put(node_manifest(name, f"192.168.{name[4:]}.{self.random.randrange(1, 250)}"))

    def change(self, resource=None):
        resource = resource or self.random.choices(RESOURCES, (4, 6, 1))[0]
        {"services": self.change_service, "endpointslices": self.change_slice, "nodes": self.change_node}[resource]()

    def touch(self, resource):
        """An event in a watch, without which its end would be a failure."""
        self.change(resource)
        return resource

    # what goes wrong and is made good at once

    def any_touched(self):
        return self.touch(self.random.choice(RESOURCES))

    def nothing(self):
        pass

    def watch_ends(self):
        self.server.inject(self.any_touched(), then="end")

    def watch_breaks(self):
        data = self.random.choice([b"", b'{"type":"DELETED","object":{"kind":"Service","metadata":{"name":"s1"'])
        self.server.inject(self.any_touched(), data, then="cut", how="stream")

    def connection_breaks(self):
        for resource in RESOURCES:
            self.touch(resource)
        self.server.close_connections(self.random.choice(ENDS))

    def version_expires(self):
        self.server.inject(self.random.choice([*RESOURCES, "*"]), then="error-event", code=410)

    def history_is_forgotten(self):
        self.server.configure(expired_watch=self.random.choice(["event", "status"]))
        resource = self.any_touched()
        self.server.inject(resource, then="end")
        self.server.bump(self.server.rv() + self.random.randrange(5))
        self.server.compact()

    def relist_has_no_version(self):
        resource = self.random.choice(RESOURCES)
        self.server.fault(resource, "*", "status", code=self.random.choice([410, 504]))
        self.server.inject(resource, then="error-event", code=410)

    def bookmarks(self):
        self.server.bump(self.server.rv() + self.random.randrange(5))
        self.server.bookmark("*")

    def answers_come_in_pieces(self):
        self.server.fault("*", "*", "none", times=self.random.randint(1, 3), chunk=self.random.randint(1, 9))
        self.version_expires()

    def server_says_goodbye(self):
        self.server.configure(goaway_every=self.random.choice([0, 1, 3]))

    def agent_is_killed(self):
        """And begins anew, with a server of another kind."""
        self.kube.node.agents[-1].kill()
        self.server.configure(watch_list=self.random.choice(["on", "on", "off", "unknown"]))
        self.server.configure(http2=self.random.random() < 0.7, service_fields=self.random.random() < 0.8)
        self.kube.node.launch("--node-name", "node1", "--log-level", "debug")

    QUICK = {
        nothing: 4,
        watch_ends: 3,
        watch_breaks: 3,
        connection_breaks: 2,
        version_expires: 3,
        history_is_forgotten: 3,
        relist_has_no_version: 2,
        bookmarks: 2,
        answers_come_in_pieces: 2,
        server_says_goodbye: 1,
        agent_is_killed: 1,
    }

    # what is waited for

    def refusal(self):
        code = self.random.choice([400, 401, 403, 429, 500, 503])
        self.server.fault(self.random.choice(RESOURCES), "*", "status", code=code)
        self.watch_ends()

    def later(self):
        resource = self.any_touched()
        self.server.fault(resource, "*", "status", code=self.random.choice([429, 503]), retry_after=1)
        self.server.inject(resource, then="end")

    def nonsense(self):
        resource = self.random.choice(RESOURCES)
        if self.random.random() < 0.5:
            self.server.inject(resource, b'{"type":"ADDED","object":{"metadata":{]}}\n')
            return
        self.server.fault(resource, "*", self.random.choice(["malformed", "status-as-list", "deep"]))
        self.server.inject(resource, then="error-event", code=410)

    def list_breaks(self):
        resource = self.random.choice(RESOURCES)
        how = self.random.choice([*ENDS, "stream"])
        self.server.fault(resource, "*", "cut", after=self.random.randrange(2000), how=how)
        self.server.inject(resource, then="error-event", code=410)

    def server_restarts(self):
        self.server.restart(compact=self.random.random() < 0.5, how=self.random.choice([*ENDS, "clean"]))

    def server_is_away(self):
        self.server.stop_listening(self.random.choice(ENDS))
        for _ in range(self.random.randrange(4)):
            self.change()
        self.server.listen()

    SLOW = (refusal, later, nonsense, list_breaks, server_restarts, server_is_away)

    # a history

    def longest_wait(self):
        """Of this agent, between two of its questions; milliseconds."""
        waits = re.findall(r"asking again .* ms=(\d+)$", self.kube.node.agents[-1].text(), re.MULTILINE)
        return max(map(int, waits), default=0)

    def begin(self):
        self.trail = []
        for _ in range(self.random.randrange(3)):
            self.change()
        if self.longest_wait() > LONG_MS:
            fault = World.agent_is_killed
        elif self.random.random() < 0.03:
            fault = self.random.choice(World.SLOW)
        else:
            fault = self.random.choices(list(World.QUICK), World.QUICK.values())[0]
        self.trail.append(f"--- {fault.__name__}")
        fault(self)
        for _ in range(self.random.randrange(3)):
            self.change()
        self.deadline = time.monotonic() + SECONDS

    def nodes(self):
        rows = self.kube.node.status()["objects"]
        wanted = sum(resource == "nodes" for resource, _, _ in self.kube.objects)
        return next(row["objects"] for row in rows if row["kind"] == "Node"), wanted

    def goes_on(self):
        """Look; begin the next history if the last one has come to its end."""
        if self.deadline:
            wanted = expected(self.kube.objects.values())
            nodes, wanted_nodes = None, None
            is_so = found(self.kube.node) == wanted
            if is_so:
                nodes, wanted_nodes = self.nodes()
            if not is_so or nodes != wanted_nodes:
                if time.monotonic() < self.deadline:
                    return False
                log = "\n".join(self.kube.node.agents[-1].text().splitlines()[-20:])
                raise AssertionError(
                    f"REDIAL_TEST_SEED={self.seed}, history {self.histories}:\n" + "\n".join(self.trail) + "\n"
                    f"found:  {nodes} nodes, {found(self.kube.node)}\nwanted: {wanted_nodes} nodes, {wanted}\n{log}"
                )
            self.histories += 1
            self.server.clear_faults()
        self.begin()
        return True


def test_random_histories_converge(redial, parent_cgroup):
    seed = int(os.environ.get("REDIAL_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    histories = int(os.environ.get("REDIAL_TEST_HISTORIES") or 1000)
    print(f"REDIAL_TEST_SEED={seed}")
    with contextlib.ExitStack() as undo:
        worlds = []
        for i in range(WORLDS):
            node = harness.Node(redial, parent_cgroup)
            undo.callback(node.close)
            worlds.append(World(undo.enter_context(KubeNode(node)), seed + i))
        while sum(world.histories for world in worlds) < histories:
            if not any([world.goes_on() for world in worlds]):
                time.sleep(0.002)
        for world in worlds:
            # Some are in the middle of a history.
            world.server.clear_faults()
            world.kube.put_web()
        for world in worlds:
            world.kube.wait_in_sync(SECONDS)
            assert world.kube.client.ask(world.kube.VIP) == "pod1"
