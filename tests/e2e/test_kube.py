# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The whole agent against a stand-in API server.

Here is also what the other tests of it share: a node with a server, and a naive
model of what the agent's maps are to hold.
"""

import re
import time

import pytest
from apiserver import ApiServer
from harness import SOON, HostNetwork, Load, ask_tcp, endpoint_slice, node_manifest, service, wait_until

# ---- the model: for each Service, look at every slice there is ---------------------


def _is_served(item):
    spec = item["spec"]
    return (
        spec.get("clusterIP") not in (None, "", "None")
        and spec.get("type") != "ExternalName"
        and "service.kubernetes.io/service-proxy-name" not in item["metadata"].get("labels", {})
    )


def _endpoints(item, port, slices):
    """ip:port of the ready ones; if there are none, of those that serve until
    they end."""
    ready, ending = set(), set()
    for other in slices:
        meta = other["metadata"]
        labels = meta.get("labels", {})
        if (
            meta["namespace"] != item["metadata"]["namespace"]
            or labels.get("kubernetes.io/service-name") != item["metadata"]["name"]
            or "service.kubernetes.io/headless" in labels
        ):
            continue
        for number in other["ports"] or []:
            if (number.get("name", ""), number.get("protocol", "TCP")) != (
                port.get("name", ""),
                port.get("protocol", "TCP"),
            ):
                continue
            for endpoint in other["endpoints"] or []:
                conditions = endpoint.get("conditions") or {}
                name = f"{endpoint['addresses'][0]}:{number['port']}"
                if conditions.get("ready", True):
                    ready.add(name)
                elif conditions.get("serving", True) and conditions.get("terminating", False):
                    ending.add(name)
    return ready or ending


def expected(objects):
    """(rows of `redial services`, rows of `redial backends`) for the objects of a
    server, each as a sorted list of tuples."""
    services, backends = [], []
    slices = [item for item in objects if item["kind"] == "EndpointSlice"]
    for item in objects:
        if item["kind"] != "Service" or not _is_served(item):
            continue
        meta, spec = item["metadata"], item["spec"]
        for port in spec["ports"]:
            where = (meta["namespace"], meta["name"], port["port"], port.get("protocol", "TCP"))
            found = _endpoints(item, port, slices)
            services.append((*where, spec["clusterIP"], len(found)))
            backends += [(*where, name) for name in found]
    return sorted(services), sorted(backends)


def found(node):
    """The same, as the maps have it."""

    def rows(command, *keys):
        return sorted(tuple(row[key] for key in keys) for row in node.json(command))

    where = ("namespace", "name", "port", "protocol")
    return rows("services", *where, "cluster_ip", "endpoints"), rows("backends", *where, "backend")


# ---- the node ------------------------------------------------------------------------

PATHS = {
    "services": "/api/v1/services",
    "endpointslices": "/apis/discovery.k8s.io/v1/endpointslices",
    "endpoints": "/api/v1/endpoints",
    "nodes": "/api/v1/nodes",
}
RESOURCES = {"Service": "services", "EndpointSlice": "endpointslices", "Endpoints": "endpoints", "Node": "nodes"}


def asking(request):
    """A request in short: ("stream", "list" or "watch", resourceVersion)."""
    what = "stream" if "sendInitialEvents" in request.query else request.verb
    return what, request.query.get("resourceVersion", "")


def ask_calmly(address, number):
    """As people do; else the client takes a processor for itself."""
    time.sleep(0.002)
    return ask_tcp(address, number)


def strays(n):
    """Slices of no Service, sorted before those of the others."""
    return [endpoint_slice(f"a-{i:04}", "none", ["10.244.9.9"], 8080, namespace="default") for i in range(n)]


class KubeNode:
    """A node, a server on it, a client and a backend; and the objects that were
    put, from which it is known what the maps are to hold."""

    VIP = "10.96.0.10"

    def __init__(self, node, **server):
        self.node = node
        self.host = HostNetwork(node)
        self.server = ApiServer(node.host, **server)
        self.kubeconfig = node.directory / "kubeconfig"
        self.write_kubeconfig()
        self.client, self.pod = node.pod("client"), node.pod("pod1").serve()
        node.source = ("--kubeconfig", self.kubeconfig)
        self.objects = {}  # (resource, namespace, name) -> as the server has it
        self.load, self._news, self._mark, self._seen, self._delayed = None, 0, 0, {}, {}

    def close(self):
        self.server.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def write_kubeconfig(self, **how):
        self.kubeconfig.write_text(self.server.kubeconfig(**how), encoding="utf-8")

    # objects

    def put(self, *items):
        for item in items:
            resource, meta = RESOURCES[item["kind"]], item["metadata"]
            rv = self.server.put(item)
            namespace = "" if resource == "nodes" else meta.get("namespace", "default")
            key = resource, namespace, meta["name"]
            self.objects[key] = self.server.get(*key)
            self._seen[resource] = str(rv)

    def delete(self, resource, name, namespace="default"):
        rv = self.server.delete(resource, namespace, name)
        del self.objects[resource, namespace, name]
        self._seen[resource] = str(rv)

    def put_web(self, *pods):
        self.put(service("web", cluster_ip=self.VIP, namespace="default"))
        self.put_slice(*(pods or (self.pod,)))

    def put_slice(self, *pods):
        self.put(endpoint_slice("web-1", "web", [pod.ip for pod in pods], 8080, namespace="default"))

    def put_news(self):
        """Another Service of the same backend, and another zone: an event for each
        watch. Returns the Service's address."""
        self._news += 1
        address = f"10.96.1.{self._news}"
        name = f"news{self._news}"
        self.put(
            service(name, cluster_ip=address, namespace="default"),
            endpoint_slice(f"{name}-1", name, [self.pod.ip], 8080, namespace="default"),
            node_manifest("node1", "192.168.50.1", zone=f"zone{self._news}"),
        )
        return address

    # the agent

    def agent(self, *options, **how):
        return self.node.agent("--node-name", "node1", *options, **how)

    def serve(self, *options, **how):
        """Have an agent serve a Service, and a client that never rests."""
        self.put_web()
        agent = self.agent("--log-level", "debug", *options, **how)
        self.load = Load(self.client, self.VIP, ask=ask_calmly)
        self.load.more(1)
        self.news()
        return agent

    def settle(self):
        """The agent knows everything: what it asks from now on is asked()."""
        self.wait_in_sync()
        self.wait_watches()
        self.mark()

    def wait_watches(self):
        for resource in ("services", "endpointslices", "nodes"):
            self.server.wait_watches(resource)

    def news(self):
        """Every watch has told something, and the agent has heard it."""
        self.put_news()
        self.settle()

    def version(self, resource="services"):
        """The resourceVersion of the last event of a resource."""
        return self._seen[resource]

    def wait_in_sync(self, seconds=SOON):
        wanted = expected(self.objects.values())
        try:
            wait_until(lambda: found(self.node) == wanted, seconds=seconds)
        except AssertionError:
            raise AssertionError(f"the maps have {found(self.node)}, not {wanted}") from None

    def check(self, names=("pod1",)):
        """News still come through, all is as the server says, and no connect has
        failed all the while."""
        address = self.put_news()
        self.wait_in_sync()
        assert self.client.ask(address) == "pod1"
        self.load.more(20)
        self.load.check(names)

    # what was asked

    def mark(self, request=None):
        """Forget what was asked, up to a request if one is given."""
        self._mark = request.index if request else len(self.server.requests())
        self._delayed = {resource: len(self._delays(resource)) for resource in PATHS}

    @property
    def marked(self):
        return self._mark

    def requests(self, resource="services", n=1):
        """The first n requests since the last mark, once they were sent."""
        wait_until(
            lambda: len(self.server.requests(self._mark, resource=resource)) >= n, f"{n} requests for {resource}"
        )
        return self.server.requests(self._mark, resource=resource)[:n]

    def first_requests(self, resource="services", n=1):
        """The first n requests ever."""
        wait_until(lambda: len(self.server.requests(resource=resource)) >= n, f"{n} requests for {resource}")
        return self.server.requests(resource=resource)[:n]

    def asked(self, resource="services", n=1):
        return list(map(asking, self.requests(resource, n)))

    def _delays(self, resource):
        if not self.node.agents:
            return []
        lines = self.node.agents[-1].lines("asking again", f"resource={PATHS[resource]} ")
        return [int(re.search(r" ms=(\d+)", line)[1]) for line in lines]

    def delays_so_far(self, resource="services"):
        return self._delays(resource)

    def delays(self, resource="services", n=1):
        """The first n delays in ms since the last mark, as the agent's log has them."""
        before = self._delayed[resource]
        return wait_until(lambda: self._delays(resource)[before:][:n][n - 1 :] and self._delays(resource))[before:][:n]


@pytest.fixture(name="kube")
def fixture_kube(node):
    with KubeNode(node) as kube:
        yield kube


def test_a_service_of_the_server_is_served(kube):
    kube.put_web()
    kube.agent()
    assert kube.client.ask(kube.VIP) == "pod1"


def test_changes_of_the_server_are_followed(kube):
    kube.serve()
    other = kube.node.pod("pod2").serve()
    kube.put_slice(kube.pod, other)
    kube.wait_in_sync()
    assert set(kube.client.ask_often(kube.VIP)) == {"pod1", "pod2"}
    kube.check(("pod1", "pod2"))
    kube.delete("services", "news1")
    kube.delete("endpointslices", "news1-1")
    kube.wait_in_sync()
