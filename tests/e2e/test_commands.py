# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""status, services, backends, sockets, check, cleanup and version."""

import json
import re
import socket
import subprocess

import pytest
from harness import pod_manifest, port, service, wait_until

WEB = {"app": "web"}
MAP_COMMANDS = ["status", "services", "backends", "sockets"]


def rows(text):
    """A printed table as lists of cells; columns are two spaces apart."""
    return [re.split(r" {2,}", line) for line in text.splitlines()]


@pytest.fixture(name="example")
def fixture_example(node):
    """Two namespaces; web in both, api with two ports in one."""
    node.write("shop.yaml",
               service("web", selector=WEB, cluster_ip="10.96.0.10", namespace="shop"),
               service("api", [port(443, 8443, "https"), port(53, 5353, "dns", "UDP")], WEB, "10.96.0.11", "shop"),
               pod_manifest("a", "10.244.0.50", WEB, namespace="shop"),
               pod_manifest("b", "10.244.0.51", WEB, namespace="shop"))
    node.write("test.yaml", service("web", 81, cluster_ip="10.96.0.20", namespace="test", type="NodePort"))
    return node.agent()


def hold(stop, *targets):
    held = []
    for address, number, kind in targets:
        client = socket.socket(socket.AF_INET, kind)
        client.settimeout(5)
        client.connect((address, number))
        held.append(client)
    while not stop():
        pass


# ---- services ------------------------------------------------------------------


@pytest.mark.usefixtures("example")
def test_services_table(node):
    assert rows(node.command("services", "web").stdout) == [
        ["NAMESPACE", "NAME", "TYPE", "CLUSTER-IP", "PORT", "PROTOCOL", "ENDPOINTS"],
        ["shop", "web", "ClusterIP", "10.96.0.10", "80", "TCP", "2"],
        ["test", "web", "NodePort", "10.96.0.20", "81", "TCP", "0"],
    ]


@pytest.mark.usefixtures("example")
def test_services_wide_has_more_columns(node):
    heading, *others = rows(node.command("services", "api", "-o", "wide").stdout)
    assert heading[-2:] == ["PORT-NAME", "ID"]
    assert {row[-2] for row in others} == {"https", "dns"}
    assert all(row[-1].isdigit() for row in others)


@pytest.mark.usefixtures("example")
def test_services_json(node):
    (row,) = node.services("test/web")
    assert isinstance(row.pop("id"), int)
    assert row == {
        "namespace": "test", "name": "web", "type": "NodePort", "cluster_ip": "10.96.0.20", "port": 81,
        "protocol": "TCP", "endpoints": 0, "port_name": "", "affinity_seconds": 0,
        "frontends": "10.96.0.20:81"}


@pytest.mark.usefixtures("example")
def test_filters_by_name_and_namespace(node):
    def names(*arguments):
        return sorted({(row["namespace"], row["name"]) for row in node.services(*arguments)})

    assert names() == [("shop", "api"), ("shop", "web"), ("test", "web")]
    assert names("web") == [("shop", "web"), ("test", "web")]
    assert names("shop/web") == [("shop", "web")]
    assert names("-n", "shop") == [("shop", "api"), ("shop", "web")]
    assert names("--namespace", "test", "web") == [("test", "web")]
    assert names("nothing") == names("nothing/web") == []
    assert rows(node.command("services", "nothing").stdout)[1:] == []
    assert {row["namespace"] for row in node.json("backends", "-n", "shop")} == {"shop"}
    assert node.json("backends", "test/web") == []


def test_services_lists_the_ports_of_a_service_in_order(node):
    numbers = [1007, 1003, 1001, 1006, 1002, 1005, 1004, 1008]
    node.write("web.yaml", service("web", [port(n, name=f"p{n}") for n in numbers]))
    node.agent()
    listed = [row["port"] for row in node.services("web")]
    assert listed in (sorted(numbers), numbers), "neither by number nor as in the manifest"


# ---- backends --------------------------------------------------------------------


@pytest.mark.usefixtures("example")
def test_backends_table_wide_and_json(node):
    assert rows(node.command("backends", "shop/web").stdout) == [
        ["NAMESPACE", "NAME", "PORT", "PROTOCOL", "BACKEND"],
        ["shop", "web", "80", "TCP", "10.244.0.50:8080"],
        ["shop", "web", "80", "TCP", "10.244.0.51:8080"],
    ]
    heading, *_ = rows(node.command("backends", "-o", "wide").stdout)
    assert heading[-3:] == ["PORT-NAME", "ID", "SLOT"]
    found = {(row["backend"], row["protocol"], row["port_name"]) for row in node.json("backends", "api")}
    assert found == {(f"10.244.0.{n}:{number}", protocol, name)
                     for n in (50, 51) for number, protocol, name in ((8443, "TCP", "https"), (5353, "UDP", "dns"))}


# ---- sockets ----------------------------------------------------------------------


def test_sockets_shows_who_dialled_what_and_got_whom(node):
    pod = node.pod("pod")
    listener = pod.listen(socket.SOCK_STREAM, 8080)
    node.write("web.yaml", service("web", [port(80, 8080, "t"), port(53, 5353, "u", "UDP")], WEB, "10.96.0.10"),
               service("other", [port(80, 8080)], WEB, "10.96.0.11"), pod_manifest("pod", pod.ip, WEB))
    node.agent()
    assert node.json("sockets") == []
    client = node.pod("client").start(
        hold, ("10.96.0.10", 80, socket.SOCK_STREAM), ("10.96.0.10", 53, socket.SOCK_DGRAM),
        ("10.96.0.11", 80, socket.SOCK_STREAM), (pod.ip, 8080, socket.SOCK_STREAM))
    wait_until(lambda: len(node.json("sockets")) == 3)
    assert sorted(rows(node.command("sockets").stdout)[1:]) == sorted([
        ["TCP", "10.96.0.10:80", f"{pod.ip}:8080", "default", "web"],
        ["UDP", "10.96.0.10:53", f"{pod.ip}:5353", "default", "web"],
        ["TCP", "10.96.0.11:80", f"{pod.ip}:8080", "default", "other"]])
    assert len(node.json("sockets", "default/web")) == 2
    assert len(node.json("sockets", "-n", "elsewhere")) == 0
    heading, row = rows(node.command("sockets", "other", "-o", "wide").stdout)
    assert heading[-1] == "COOKIE" and int(row[-1]) > 0
    used = {row["map"]: row["used"] for row in node.status()["maps"]}
    assert used["rd_sockets"] == 3
    client.stop()
    wait_until(lambda: node.json("sockets") == [])
    listener.close()


def test_socket_of_a_deleted_service_is_shown_without_its_name(node):
    pod = node.pod("pod")
    listener = pod.listen(socket.SOCK_STREAM, 8080)
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="10.96.0.10"), pod_manifest("pod", pod.ip, WEB))
    node.agent()
    client = node.pod("client").start(hold, ("10.96.0.10", 80, socket.SOCK_STREAM))
    wait_until(lambda: node.json("sockets"))
    (node.manifests / "web.yaml").unlink()
    wait_until(lambda: not node.services())
    ((_, dialled, backend, *_),) = rows(node.command("sockets").stdout)[1:]
    assert (dialled, backend) == ("10.96.0.10:80", f"{pod.ip}:8080")
    client.stop()
    listener.close()


# ---- status -------------------------------------------------------------------------


def test_status_json(node, example):
    status = node.status()
    agent = status["agent"]
    assert agent["agent"] == "ready" and agent["pid"] == example.pid
    assert agent["source"] == str(node.manifests) and agent["cgroup"] == str(node.cgroup)
    assert agent["files_not_used"] == 0 and agent["services_refused"] == 0 and agent["writes"] > 0
    for key in ("started", "last_change", "source_seen"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", agent[key]), key
    assert {row["kind"]: row["objects"] for row in status["objects"]} == {
        "Service": 3, "EndpointSlice": 0, "Endpoints": 0, "Pod": 2, "Node": 0}
    assert {row["hook"]: row["state"] for row in status["hooks"]} == dict.fromkeys(
        ("connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6",
         "getpeername4", "getpeername6", "sock_release", "sockops"), "attached")
    assert {row["cgroup_id"] for row in status["hooks"]} == {node.cgroup.stat().st_ino}
    used = {row["map"]: row["used"] for row in status["maps"]}
    assert used["rd_frontends4"] == 4 and used["rd_services"] == 4 and used["rd_backends4"] == 6
    assert status["refused"] == []


def test_status_table_and_wide(node, example):
    for output in ("table", "wide"):
        text = node.command("status", "-o", output).stdout
        assert re.search(r"^AGENT +ready$", text, re.MULTILINE)
        assert re.search(rf"^PID +{example.pid}$", text, re.MULTILINE)
        assert re.search(r"^Service +3 +20\d\d-", text, re.MULTILINE)
        assert re.search(r"^connect4 +attached +\d+ +\d+$", text, re.MULTILINE)
        assert re.search(r"^rd_frontends4 +4 +128 +3.1%$", text, re.MULTILINE)
        assert not re.search("^REFUSED", text, re.MULTILINE)


def test_status_counts_files_that_are_not_used(node):
    node.write("bad.yaml", "{")
    node.write("worse.yaml", "[")
    node.agent()
    assert node.status()["agent"]["files_not_used"] == 2


# ---- without an agent, and without pins ------------------------------------------------


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_all_commands_work_with_the_agent_down(node, example, how):
    before = {command: node.json(command) for command in MAP_COMMANDS[1:]}
    getattr(example, how)()
    assert {command: node.json(command) for command in MAP_COMMANDS[1:]} == before
    status = node.status()["agent"]
    assert status["agent"].startswith("not running") and status["pid"] == 0
    for command in MAP_COMMANDS:
        for output in ("table", "wide"):
            assert node.command(command, "-o", output).returncode == 0


@pytest.mark.parametrize("place", ["never-run", "cleaned-up", "no-such-directory", "not-a-bpffs"])
@pytest.mark.parametrize("command", MAP_COMMANDS)
def test_without_pins_one_line_and_status_1(node, command, place):
    bpffs = {"no-such-directory": "/nonexistent/redial", "not-a-bpffs": node.directory}.get(place, node.bpffs)
    if place == "cleaned-up":
        node.agent().stop()
        assert node.command("cleanup").returncode == 0
    done = node.command(command, "-o", "json", bpffs=bpffs)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"redial {command}: ") and str(bpffs) in line


# ---- cleanup -----------------------------------------------------------------------------


def test_cleanup_refuses_while_an_agent_runs(node, example):
    done = node.command("cleanup")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "stop it first" in line and str(node.bpffs) in line
    assert example.is_running() and node.status()["agent"]["agent"] == "ready"


def test_cleanup_removes_all_pins_and_programs_and_says_so(node, example, bpftool):
    ids = [row["program_id"] for row in node.status()["hooks"]]
    example.stop()
    done = node.command("cleanup")
    assert done.returncode == 0 and str(node.bpffs) in done.stdout and not done.stderr
    assert not node.bpffs.exists()
    assert "rd_" not in bpftool("cgroup", "show", node.cgroup)
    wait_until(lambda: not set(ids) & {prog["id"] for prog in json.loads(bpftool("-j", "prog", "show"))})


def test_cleanup_twice_is_no_failure(node, example):
    example.stop()
    assert node.command("cleanup").returncode == 0
    done = node.command("cleanup")
    assert done.returncode == 0 and "nothing" in done.stdout


def test_cleanup_leaves_what_is_not_redials(node, example):
    example.stop()
    (node.bpffs / "somebody-elses").mkdir()
    assert node.command("cleanup").returncode == 0
    assert [path.name for path in node.bpffs.iterdir()] == ["somebody-elses"]
    (node.bpffs / "somebody-elses").rmdir()


def test_cleanup_on_a_mount_point_itself(node):
    """--bpffs may be the mount; then it stays."""
    agent = node.agent("--bpffs", node.bpffs_mount)
    agent.stop()
    assert node.command("cleanup", bpffs=node.bpffs_mount).returncode == 0
    assert not [path for path in node.bpffs_mount.iterdir() if path.suffix != ".debug"]


# ---- check, version, help -------------------------------------------------------------------


def test_check(node):
    done = node.command("check", "--cgroup", node.cgroup)
    assert done.returncode == 0, done.stdout + done.stderr
    heading, *others = rows(done.stdout)
    assert heading == ["FEATURE", "STATE", "REMEDY"]
    assert {row[0] for row in others} >= {"kernel", "CAP_BPF", "cgroup2", "bpffs", "membarrier"}
    states = {row["feature"]: row["state"] for row in node.json("check", "--cgroup", node.cgroup)}
    assert states["bpffs"] == "ok"


@pytest.mark.parametrize("missing", ["bpffs", "cgroup2"])
def test_check_names_what_is_missing_and_how_to_mend_it(node, missing):
    cgroup = node.directory if missing == "cgroup2" else node.cgroup
    bpffs = node.directory if missing == "bpffs" else node.bpffs
    done = node.command("check", "--cgroup", cgroup, bpffs=bpffs)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"redial check: redial cannot run here: {missing}: mount -t ")
    (row,) = [row for row in rows(done.stdout) if row[0] == missing]
    assert row[1] == "missing" and row[2].startswith("mount -t ")


def run(node, *arguments):
    return subprocess.run([node.redial, *arguments], capture_output=True, text=True, check=False, timeout=20)


def test_version(node, tree):
    version = re.search(r'"(.*)"', (tree / "user/version.h").read_text()).group(1)
    layout = re.search(r"RD_LAYOUT_VERSION (\d+)", (tree / "include/redial/abi.h").read_text()).group(1)
    done = run(node, "version")
    assert done.returncode == 0
    first, second, third = done.stdout.splitlines()
    assert (first, third) == (f"redial {version}", f"map layout {layout}")
    assert re.fullmatch(r"libbpf \d+\.\d+", second)


@pytest.mark.parametrize("command", [*MAP_COMMANDS, "run", "check", "cleanup", "version"])
def test_help_of_each_command(node, command):
    assert command in run(node, "--help").stdout
    done = run(node, command, "--help")
    assert done.returncode == 0 and f"Usage: redial {command}" in done.stdout and not done.stderr
    assert all(len(line) <= 90 for line in done.stdout.splitlines())


def test_output_to_a_full_disk_is_a_failure(node):
    node.agent()
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([node.redial, "status", "--bpffs", node.bpffs], stdout=full, stderr=subprocess.PIPE,
                              text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
