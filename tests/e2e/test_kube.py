# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The whole agent against a stand-in API server."""

import pytest
from apiserver import ApiServer
from harness import HostNetwork, endpoint_slice, service


class KubeNode:
    """A node, a server on it, and a client and a backend."""

    def __init__(self, node):
        self.node = node
        self.host = HostNetwork(node)
        self.server = ApiServer(node.host)
        self.kubeconfig = node.directory / "kubeconfig"
        self.write_kubeconfig()
        self.client, self.pod = node.pod("client"), node.pod("pod1").serve()
        node.source = ("--kubeconfig", self.kubeconfig)

    def write_kubeconfig(self, **how):
        self.kubeconfig.write_text(self.server.kubeconfig(**how), encoding="utf-8")

    def agent(self, *options):
        return self.node.agent("--node-name", "node1", *options)

    def put_web(self, *pods):
        self.server.put(service("web", cluster_ip="10.96.0.10", namespace="default"))
        self.put_slice(*(pods or (self.pod,)))

    def put_slice(self, *pods):
        self.server.put(endpoint_slice("web-1", "web", [pod.ip for pod in pods], 8080, namespace="default"))


@pytest.fixture(name="kube")
def fixture_kube(node):
    kube = KubeNode(node)
    try:
        yield kube
    finally:
        kube.server.close()


def test_a_service_of_the_server_is_served(kube):
    kube.put_web()
    kube.agent()
    assert kube.client.ask("10.96.0.10") == "pod1"
