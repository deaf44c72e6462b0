# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""An agent that finds maps of another layout or size fills new ones beside them
and switches, while clients go on: no connect fails, and nothing is left."""

import json
import socket
import time

import pytest
from harness import Load, ask_tcp, connect_error, pod_manifest, port, service, wait_until

VIP = "10.96.0.10"


def served(node):
    """A Service with two Pods, and a client under load."""
    pods = [node.pod(name).serve() for name in ("pod1", "pod2")]
    web = {"app": "web"}
    node.write("web.yaml", service("web", [port(80, 8080, "t"), port(53, 8080, "u", "UDP")], web, VIP), *(pod_manifest(p.name, p.ip, web) for p in pods))
    node.agent()
    return Load(node.pod("client"), VIP)


def map_ids(node, bpftool):
    return {pin.name: json.loads(bpftool("-j", "map", "show", "pinned", pin))["id"] for pin in node.bpffs.glob("rd_*")}


def make_old(node, bpftool):
    """Another version of redial left these."""
    pin = node.bpffs / "rd_agent"
    value = json.loads(bpftool("-j", "map", "lookup", "pinned", pin, "key", "0", "0", "0", "0"))["value"]
    value[:4] = ["0x4d", "0x01", "0x00", "0x00"]
    bpftool("map", "update", "pinned", pin, "key", "0", "0", "0", "0", "value", *value)


def test_maps_of_another_layout_are_replaced_under_load(node, bpftool):
    load = served(node)
    node.agents[-1].kill()
    make_old(node, bpftool)
    # One that this version does not know.
    bpftool("map", "pin", "pinned", node.bpffs / "rd_services", node.bpffs / "rd_former")
    for command in ("status", "services", "backends", "sockets"):
        done = node.command(command)
        assert done.returncode == 1 and "layout 333" in done.stderr
        assert len(done.stderr.splitlines()) == 1 and not done.stdout
    before = map_ids(node, bpftool)
    load.more()
    node.agent().wait_line("of another layout or size")
    load.more()
    load.check({"pod1", "pod2"})
    after = map_ids(node, bpftool)
    assert after.keys() == before.keys() - {"rd_former"} and not set(after.values()) & set(before.values())
    assert set(node.hooks().values()) == {"attached"}
    node.agents[-1].stop()
    node.agent()
    assert node.writes() == 0 and map_ids(node, bpftool) == after


@pytest.mark.parametrize("flag", ["--max-services", "--max-backends"])
def test_maps_of_another_size_are_replaced_under_load(node, bpftool, flag):
    load = served(node)
    node.agents[-1].kill()
    before = map_ids(node, bpftool)
    load.more()
    node.agent(flag, 32)
    load.more()
    load.check({"pod1", "pod2"})
    after = map_ids(node, bpftool)
    # What sockets dialled is not forgotten.
    kept = {"rd_sockets", "rd_spill", "rd_udp_flows"}
    assert {name for name in after if after[name] == before[name]} == kept


def _peer_after(stop, address, number):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((address, number))
        while not stop():
            time.sleep(0.01)
        return client.getpeername()


def _hold(stop, address, number):
    with socket.create_connection((address, number)):
        while not stop():
            time.sleep(0.01)


def test_outcomes_that_are_asked_for_later_are_counted_from_then_on(node, bpftool):
    """Their maps have no room for anything as long as nobody asks."""

    def entries(name):
        return json.loads(bpftool("-j", "map", "show", "pinned", node.bpffs / name))["max_entries"]

    def open_now():
        return sum(row["open"] for row in node.json("backends"))

    node.OUTCOMES = ()
    load = served(node)
    assert entries("rd_backend_stats") == entries("rd_latency") == 1
    node.agents[-1].stop()
    node.agent("--track-outcomes", "on")
    assert entries("rd_backend_stats") == entries("rd_backends")
    held = node.pod("holder").start(_hold, VIP, 80)
    wait_until(open_now, "the connection is counted")
    held.stop()
    # Nobody asks any more: the counts stay.
    before = map_ids(node, bpftool)
    node.agents[-1].stop()
    node.agent()
    load.more()
    load.check({"pod1", "pod2"})
    assert node.writes() == 0 and map_ids(node, bpftool) == before


def test_a_connection_from_before_still_shows_the_service(node):
    served(node)
    child = node.pod("other").start(_peer_after, VIP, 53)
    wait_until(lambda: len(node.json("sockets")) == 1, "the socket is there")
    node.agents[-1].stop()
    node.agent("--max-services", 32)
    assert child.stop()[:2] == (VIP, 53)


def test_a_switch_that_was_cut_short_is_made_again(node, bpftool):
    """The agent's own map is unpinned first and pinned last."""
    load = served(node)
    node.agents[-1].kill()
    before = map_ids(node, bpftool)
    (node.bpffs / "rd_agent").unlink()
    node.agent().wait_line("of another layout or size")
    load.more()
    load.check({"pod1", "pod2"})
    assert not set(map_ids(node, bpftool).values()) & set(before.values())


def test_a_doubtful_manifest_holds_the_switch_back(node):
    load = served(node)
    node.agents[-1].stop()
    good = (node.manifests / "web.yaml").read_bytes()
    node.write("web.yaml", "kind: Service\nmetadata: {name: [}\n")
    agent = node.launch("--max-services", 32)
    agent.wait_line("manifest not used")
    load.more()
    node.write("web.yaml", good)
    agent.await_ready()
    load.more()
    load.check({"pod1", "pod2"})
    assert node.pod("late").call(connect_error, VIP, 80) == 0
    assert node.pod("later").call(ask_tcp, VIP, 80) in {"pod1", "pod2"}
