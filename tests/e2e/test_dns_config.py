# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`redial dns-config`: what a Pod or container is told, that it asks redial for
names."""

import json
import os
import subprocess
import sys

import pytest
from harness import mount, umount

MS_BIND = 0x1000


@pytest.fixture(name="config")
def fixture_config(redial, tmp_path):
    """Run it, where /etc/resolv.conf has this text."""
    path = tmp_path / "resolv.conf"

    def run(*arguments, host=""):
        path.write_text(host, encoding="ascii")
        return subprocess.run(
            [str(redial), "dns-config", *arguments], capture_output=True, text=True, check=False, timeout=60
        )

    path.write_text("", encoding="ascii")
    target = os.path.realpath("/etc/resolv.conf")
    mount(str(path), target, "none", MS_BIND)
    try:
        yield run
    finally:
        umount(target)


def test_it_prints_a_resolv_conf(config):
    done = config("--namespace", "shop", "--dns", "10.96.0.10")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
    )


def test_it_adds_what_the_node_searches(config):
    done = config("-n", "shop", "--dns", "10.96.0.10", "--cluster-domain", "k.example", host="search corp.example b\n")
    assert done.stdout.splitlines()[0] == "search shop.svc.k.example svc.k.example k.example corp.example b"
    # Nor does the node's own resolver appear, nor its options.
    done = config("--dns", "10.96.0.10", host="nameserver 192.0.2.53\noptions ndots:1 rotate\ndomain corp.example\n")
    assert done.stdout == (
        "search default.svc.cluster.local svc.cluster.local cluster.local corp.example\n"
        "nameserver 10.96.0.10\noptions ndots:5\n"
    )


def test_it_takes_several_addresses(config):
    done = config("--dns", "10.96.0.10:53", "--dns", "fd00:96::a")
    assert "nameserver 10.96.0.10\nnameserver fd00:96::a\n" in done.stdout


def test_it_prints_a_pods_dns_config(config):
    done = config("-n", "shop", "--dns", "10.96.0.10", "-o", "json", host="search corp.example\n")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "nameservers": ["10.96.0.10"],
        "searches": ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"],
        "options": [{"name": "ndots", "value": "5"}],
    }


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "--dns ADDRESS"),
        (["--dns", "nonsense"], "nonsense"),
        (["--dns", "10.96.0.10:5353"], "5353"),
        (["--dns", "10.96.0.10", "-n", "a.b"], "a.b"),
        (["--dns", "10.96.0.10", "-n", "a b"], "a b"),
        (["--dns", "10.96.0.10", "--cluster-domain", "..x"], "..x"),
        (["--dns", "0.0.0.0"], "0.0.0.0"),
        (["--dns", "10.0.0.1"] * 4, "3"),
        (["name"], "name"),
    ],
)
def test_wrong_usage_is_said_in_one_line(config, arguments, said):
    done = config(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_program_finds_a_service_with_it(node, config):
    """Python, with what is printed as its resolv.conf, in a Pod: by each of the names."""
    from harness import service  # pylint: disable=import-outside-toplevel

    node.write("services.yaml", service("web", 80, cluster_ip="10.96.0.1", namespace="shop"))
    node.agent("--dns", f"{node.GATEWAY}:53", "--dns-upstream", "none")
    done = config("-n", "shop", "--dns", node.GATEWAY)
    told = node.directory / "pod-resolv.conf"
    told.write_text(done.stdout, encoding="ascii")
    target = os.path.realpath("/etc/resolv.conf")
    program = "import socket, sys; print(*(socket.gethostbyname(name) for name in sys.argv[1:]))"
    client = node.pod("client")
    status, output = client.command(
        "unshare", "--mount", "sh", "-c", f'mount --bind {told} {target} && exec "$@"', "sh",
        sys.executable, "-c", program, "web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local",
        "web.shop.svc.cluster.local.",
    )  # fmt: skip
    assert (status, output.split()) == (0, ["10.96.0.1"] * 5), output
