# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A node beside an API server with 10,000 Services of 10 endpoints: what the
benchmarks of the control plane begin with."""

import contextlib
import os
import pathlib
import sys

TREE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "tests/e2e"))

import harness  # noqa: E402 pylint: disable=wrong-import-position
from apiserver import ApiServer  # noqa: E402 pylint: disable=wrong-import-position

SERVICES, ENDPOINTS = 10000, 10


@contextlib.contextmanager
def node_and_server():
    """No agent runs there yet."""
    node = harness.Node(TREE / "build/redial", pathlib.Path(os.environ["REDIAL_TEST_CGROUP"]))
    node.SIZES = node.OUTCOMES = ()
    with contextlib.closing(node), ApiServer(node.host) as server:
        server.load_scale(SERVICES, ENDPOINTS)
        kubeconfig = node.directory / "kubeconfig"
        kubeconfig.write_text(server.kubeconfig(), encoding="utf-8")
        node.source = ("--kubeconfig", kubeconfig)
        yield node, server
