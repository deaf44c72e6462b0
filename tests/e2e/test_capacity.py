# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Each map has a size. A Service that does not fit is refused whole, and enters
when there is room."""

import errno
import re

from harness import connect_error, endpoints, pod_manifest, port, service, wait_until

WEB = {"app": "web"}


def test_fifth_of_four_services_is_refused_whole_and_enters_when_one_goes(node):
    pod = node.pod("pod").serve()
    node.write("pod.yaml", pod_manifest("pod", pod.ip, WEB))
    for i in range(1, 5):
        node.write(f"s{i}.yaml", service(f"s{i}", selector=WEB, cluster_ip=f"10.96.0.{i}"))
    agent = node.agent("--max-services", "4")
    client = node.pod("client")
    # It would be the first by name, and those that are served stay.
    node.write("s0.yaml", service("s0", [port(80, 8080, "a"), port(81, 8080, "b")], WEB, "10.96.0.100"))
    line = agent.wait_line("refused")
    assert "namespace=default" in line and "service=s0" in line and "reason=" in line
    assert {row["name"] for row in node.services()} == {"s1", "s2", "s3", "s4"}
    for number in (80, 81):
        assert client.call(connect_error, "10.96.0.100", number) in (errno.ENETUNREACH, errno.EHOSTUNREACH)

    status = node.status()
    (refused,) = status["refused"]
    assert refused["refused"] == "default/s0" and refused["reason"]
    assert status["agent"]["services_refused"] == 1
    table = node.command("status").stdout
    assert re.search(r"^REFUSED +REASON$", table, re.MULTILINE) and "default/s0" in table and refused["reason"] in table
    assert refused["reason"] in line

    # Changes of others are no reason to say it again.
    for ready in (False, True):
        node.write("pod.yaml", pod_manifest("pod", pod.ip, WEB, ready=ready))
        node.wait_backends("s1", *([f"{pod.ip}:8080"] if ready else []))
    assert len(agent.lines("Service refused")) == 1

    (node.manifests / "s2.yaml").unlink()
    agent.wait_line("Service is served now", "s0")
    assert {row["name"] for row in node.services()} == {"s0", "s1", "s3", "s4"}
    assert client.ask("10.96.0.100", 80) == "pod" and client.ask("10.96.0.100", 81) == "pod"
    assert node.status()["refused"] == []
    assert not re.search("^REFUSED +REASON", node.command("status").stdout, re.MULTILINE)


def test_refused_service_is_spoken_of_once_and_not_as_if_it_were_served(node):
    for i in range(1, 5):
        node.write(f"s{i}.yaml", service(f"s{i}"))
    agent = node.agent("--max-services", "4")
    node.write("s5.yaml", service("s5"))
    agent.wait_line("Service refused", "service=s5")
    for ips in (["192.0.2.1"], ["192.0.2.2"], ["192.0.2.3"]):
        node.write("e.yaml", endpoints("s1", ips, 1))
        node.wait_backends("s1", f"{ips[0]}:1")
    # It has no endpoints, but nobody's connects are refused for that.
    assert len(agent.lines("service=s5")) == 1


def test_refused_service_that_is_deleted_is_not_refused_any_more(node):
    for i in range(5):
        node.write(f"s{i}.yaml", service(f"s{i}"))
    node.agent("--max-services", "4")
    (refused,) = node.status()["refused"]
    (node.manifests / f"{refused['refused'].split('/')[1]}.yaml").unlink()
    wait_until(lambda: node.status()["refused"] == [])
    assert len(node.services()) == 4


def test_of_services_seen_at_once_the_older_have_the_room(node):
    node.write("all.yaml", *(service(f"s{i}", meta={"creationTimestamp": f"2026-01-0{9 - i}T00:00:00Z"}) for i in range(5)))
    node.agent("--max-services", "4")
    assert [row["refused"] for row in node.status()["refused"]] == ["default/s0"]


def test_restart_when_full_keeps_those_that_are_served(node):
    for i in range(1, 5):
        node.write(f"s{i}.yaml", service(f"s{i}"))
    agent = node.agent("--max-services", "4")
    node.write("s0.yaml", service("s0"))
    agent.wait_line("Service refused")
    agent.kill()
    agent = node.agent("--max-services", "4")
    assert node.writes() == 0
    assert {row["name"] for row in node.services()} == {"s1", "s2", "s3", "s4"}
    assert "service=s0" in agent.wait_line("Service refused")


def test_service_with_more_endpoints_than_there_is_room_for_keeps_those_it_has(node):
    node.write("big.yaml", service("big", 5432), endpoints("big", ["192.0.2.1"], 5432))
    node.write("small.yaml", service("small", 5432))
    agent = node.agent("--max-backends", "16")
    node.write("big.yaml", service("big", 5432), endpoints("big", [f"192.0.2.{i}" for i in range(1, 201)], 5432))
    assert "service=big" in agent.wait_line("Service refused")
    assert node.backends("big") == ["192.0.2.1:5432"]
    node.write("small.yaml", service("small", 5433), endpoints("small", ["192.0.2.9"], 5433))
    node.wait_backends("small", "192.0.2.9:5433")
    node.write("big.yaml", service("big", 5432), endpoints("big", [f"192.0.2.{i}" for i in range(1, 11)], 5432))
    agent.wait_line("served now", "big")
    assert len(node.backends("big")) == 10


def test_room_is_reused_for_as_long_as_one_likes(node):
    """Ranges and ids wait for a grace period, and come back."""
    agent = node.agent("--max-services", "4", "--max-backends", "16")
    for turn in range(40):
        ips = [f"192.0.2.{turn + i}" for i in range(1, 13)]
        node.write("s.yaml", service(f"s{turn % 5}", 5432), endpoints(f"s{turn % 5}", ips, 5432))
        node.wait_backends(f"s{turn % 5}", *(f"{ip}:5432" for ip in ips))
    assert not agent.lines("refused,")
