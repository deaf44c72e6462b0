# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Starting, stopping, dying and starting again: the datapath does not notice."""

import os
import signal
import socket

import pytest
from harness import REPORT, Load, connect_error, endpoints, load, pod_manifest, port, service, wait_until

WEB = {"app": "web"}


def web_with_pods(node, n=2):
    """Service web at 10.96.0.10 with n Pods that serve; returns a client Pod."""
    for i in range(n):
        pod = node.pod(f"pod-{i}").serve()
        node.write(f"pod-{i}.yaml", pod_manifest(f"pod-{i}", pod.ip, WEB))
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="10.96.0.10"))
    return node.pod("client")


def hold_connection(stop, address, number):
    """Keep one connection open until told to stop; who is its peer at the end?"""
    with socket.create_connection((address, number), 5) as client:
        while not stop():
            signal.sigtimedwait([], 0.01)
        return client.getpeername()


def test_ready_is_told_when_everything_is_in_force(node):
    client = web_with_pods(node)
    agent = node.agent()
    # From here on it does nothing more.
    agent.signal(signal.SIGSTOP)
    assert client.call(connect_error, "10.96.0.10", 80) == 0
    assert set(node.hooks().values()) == {"attached"}
    agent.signal(signal.SIGCONT)
    wait_until(lambda: node.status()["agent"]["agent"] == "ready")
    assert node.status()["agent"]["cgroup"] == str(node.cgroup)


def test_sigterm_leaves_the_datapath_working(node):
    client = web_with_pods(node)
    agent = node.agent()
    agent.stop()
    assert "goes on working" in agent.text()
    assert sum(client.ask_often("10.96.0.10").values()) == 40
    assert node.status()["agent"]["agent"].startswith("not running")
    assert set(node.hooks().values()) == {"attached"}


def test_sigint_stops_it_too(node):
    agent = node.agent()
    agent.signal(signal.SIGINT)
    assert agent.wait() == 0


def test_kill_9_leaves_the_datapath_working(node):
    client = web_with_pods(node)
    node.agent().kill()
    assert sum(client.ask_often("10.96.0.10").values()) == 40
    assert node.status()["agent"]["agent"].startswith("not running")


def test_detach_on_exit_removes_everything(node):
    client = web_with_pods(node)
    agent = node.agent("--detach-on-exit")
    assert client.call(connect_error, "10.96.0.10", 80) == 0
    agent.stop()
    assert not node.bpffs.exists()
    assert client.call(connect_error, "10.96.0.10", 80) != 0
    assert node.command("status").returncode == 1


def test_detach_on_exit_that_was_killed_leaves_the_datapath_working(node):
    client = web_with_pods(node)
    node.agent("--detach-on-exit").kill()
    assert client.call(connect_error, "10.96.0.10", 80) == 0


def test_sighup_reads_all_manifests_again(node):
    node.write("web.yaml", service("web"))
    agent = node.agent()
    writes = node.writes()
    agent.signal(signal.SIGHUP)
    agent.wait_line("reading everything again")
    node.barrier()
    assert agent.is_running()
    assert node.services("web") and node.writes() == writes + 2  # the barrier's own


def test_restart_finds_what_changed_while_it_was_down(node):
    old, new = node.pod("old").serve(), node.pod("new").serve()
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="10.96.0.10"))
    node.write("pod.yaml", pod_manifest("pod", old.ip, WEB))
    node.write("gone.yaml", service("gone", cluster_ip="10.96.0.11"))
    node.agent().kill()
    node.write("pod.yaml", pod_manifest("pod", new.ip, WEB))
    (node.manifests / "gone.yaml").unlink()
    node.write("added.yaml", service("added", selector=WEB, cluster_ip="10.96.0.12"))
    node.agent()
    client = node.pod("client")
    assert {row["name"] for row in node.services()} == {"web", "added"}
    assert client.ask_often("10.96.0.10") == {"new": 40}
    assert client.ask_often("10.96.0.12") == {"new": 40}


def test_restart_writes_only_what_changed(node):
    for i in range(8):
        node.write(f"s{i}.yaml", service(f"s{i}", 5432), endpoints(f"s{i}", ["192.0.2.1", "192.0.2.2"], 5432))
    node.agent()
    addresses = next(row["used"] for row in node.status()["maps"] if row["map"] == "rd_nodeaddrs")
    assert node.writes() == 8 * 4 + addresses
    node.agents[-1].stop()
    node.write("s3.yaml", service("s3", 5432), endpoints("s3", ["192.0.2.1", "192.0.2.3"], 5432))
    node.agent()
    assert node.writes() == 3  # the new set's two slots, and the word


def test_connection_opened_before_a_restart_is_still_the_services(node):
    client = web_with_pods(node, 0)
    pod = node.pod("silent")
    listener = pod.listen(socket.SOCK_STREAM, 8080)
    node.write("pod.yaml", pod_manifest("silent", pod.ip, WEB))
    agent = node.agent()
    held = client.start(hold_connection, "10.96.0.10", 80)
    wait_until(lambda: node.json("sockets"))
    agent.kill()
    agent = node.agent()
    assert [(row["dialled"], row["name"]) for row in node.json("sockets")] == [("10.96.0.10:80", "web")]
    assert held.stop() == ("10.96.0.10", 80)
    wait_until(lambda: not node.json("sockets"), "the record goes with the socket")
    listener.close()


# IPv6, UDP, affinity and NodePorts are in test_restart.py.
def test_restart_under_load_ten_times_fails_no_connect_and_rewrites_nothing(node):
    clients = [web_with_pods(node, 3), node.pod("client-2")]
    node.write("pg.yaml", service("pg", [port(5432, name="a"), port(5433, name="b")]), endpoints("pg", ["192.0.2.1"], 1))
    node.agent()
    loads = [Load(client, "10.96.0.10") for client in clients]
    node.restart_under(loads, 10)
    for item in loads:
        item.check({"pod-0", "pod-1", "pod-2"})


def test_stop_and_start_under_load_fails_no_connect(node):
    """SIGTERM while requests run; and while manifests change."""
    client = web_with_pods(node)
    agent = node.agent()
    requests = client.start(load, "10.96.0.10", 80)
    for turn in range(5):
        node.write("other.yaml", *(service(f"other-{turn}-{i}") for i in range(20)))
        agent.stop()
        agent = node.agent()
        assert node.services(f"other-{turn}-0")
    _, failures = requests.stop()
    assert not failures, failures[:10]


def test_killed_at_any_moment_of_its_start_it_leaves_a_working_datapath(node):
    client = web_with_pods(node)
    node.agent().kill()
    requests = client.start(load, "10.96.0.10", 80)
    for i in range(20):
        agent = node.launch()
        # At another moment each time, over the whole start and beyond.
        signal.sigtimedwait([], i * 0.004)
        agent.kill()
    node.agent()
    assert node.writes() == 0
    _, failures = requests.stop()
    assert not failures, failures[:10]


def test_killed_at_any_moment_of_its_very_first_start_the_next_one_works(node):
    client = web_with_pods(node)
    for i in range(15):
        agent = node.launch()
        signal.sigtimedwait([], i * 0.004)
        agent.kill()
        agent = node.agent()
        assert client.call(connect_error, "10.96.0.10", 80) == 0
        agent.stop()
        assert node.command("cleanup").returncode == 0


def test_programs_are_attached_once_whatever_the_number_of_restarts(node, bpftool):
    for _ in range(3):
        node.agent().kill()
    node.agent()
    shown = bpftool("-j", "cgroup", "show", node.cgroup)
    assert shown.count("rd_connect4") == 1 and shown.count("rd_getpeername4") == 1


def test_cgroup_removed_and_made_again_is_attached_again(node):
    client = web_with_pods(node)
    agent = node.agent()
    agent.stop()
    node.cgroup.rmdir()
    wait_until(lambda: set(node.hooks().values()) == {"its cgroup is gone"})
    node.cgroup.mkdir()
    node.agent()
    assert set(node.hooks().values()) == {"attached"}
    assert client.call(connect_error, "10.96.0.10", 80) == 0


def test_no_descriptor_is_lost_over_many_changes(node):
    agent = node.agent()

    def count():
        return len(os.listdir(f"/proc/{agent.pid}/fd"))

    node.barrier()
    before = count()
    for i in range(10):
        node.write(f"d{i}/web.yaml", service("web", 80 + i))
        wait_until(lambda i=i: (node.services("web") or [{}])[0].get("port") == 80 + i)
        (node.manifests / f"d{i}/web.yaml").unlink()
        wait_until(lambda: not node.services("web"))
    assert count() == before


def test_valgrind_finds_no_leak_and_no_invalid_access(node, is_asan):
    if is_asan:
        pytest.skip("the binary has ASan, which valgrind cannot run; ASan looks for the same")
    node.write("web.yaml", service("web", selector=WEB), pod_manifest("p", "10.244.0.50", WEB))
    node.write("pg.yaml", service("pg", 5432), endpoints("pg", ["192.0.2.1"], 5432))
    node.write("bad.yaml", "kind: [")
    # It does not know what the kernel fills in through bpf(), so it is not asked
    # about undefined values.
    valgrind = ("valgrind", "--quiet", "--leak-check=full", "--undef-value-errors=no", "--error-exitcode=99",
                "--show-leak-kinds=definite,possible,indirect", "--errors-for-leak-kinds=definite,possible,indirect")
    agent = node.agent("--max-services", "8", "--max-backends", "32", wrapper=valgrind, seconds=120)
    node.write("bad.yaml", service("mended"))
    wait_until(lambda: node.services("mended"), seconds=60)
    node.write("web.yaml", service("web", [port(81, 8080)], WEB), pod_manifest("p", "10.244.0.51", WEB))
    node.wait_backends("web", "10.244.0.51:8080")
    node.write("pg.yaml", service("pg", 0))
    agent.wait_line("pg.yaml", "manifest not used", seconds=60)
    node.write("more.yaml", *(service(f"s{i}") for i in range(10)))
    wait_until(lambda: agent.lines("Service refused"), seconds=60)
    (node.manifests / "more.yaml").unlink()
    agent.wait_line("manifest removed", "more.yaml", seconds=60)
    agent.signal(signal.SIGHUP)
    agent.wait_line("reading everything again", seconds=60)
    node.barrier()
    agent.stop()
    said = [line for line in agent.text().splitlines() if line.startswith(("==", "--"))]
    # Not knowing each command of bpf() is the only thing valgrind may say.
    assert not [line for line in said if "eBPF command" not in line], agent.text()
    assert not REPORT.search(agent.text())
