# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""status, services, backends, sockets, check, cleanup and version."""

import errno
import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios

import pytest
from harness import connect_error, pod_manifest, port, service, wait_until

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
    assert heading[-7:] == ["PORT-NAME", "ID", "CONNECTS", "FLOWS", "REFUSED", "FAILED", "OPEN"]
    assert {row[-7] for row in others} == {"https", "dns"}
    assert all(cell.isdigit() for row in others for cell in row[-6:])


@pytest.mark.usefixtures("example")
def test_services_json(node):
    (row,) = node.services("test/web")
    assert isinstance(row.pop("id"), int)
    assert row == {
        "namespace": "test", "name": "web", "type": "NodePort", "cluster_ip": "10.96.0.20", "port": 81,
        "protocol": "TCP", "endpoints": 0, "port_name": "", "affinity_seconds": 0,
        "frontends": "10.96.0.20:81", "connects": 0, "flows": 0, "refused": 0, "failed": 0, "open": 0}


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
    assert heading[-6:] == ["PORT-NAME", "ID", "SLOT", "CHOSEN", "FAILED", "OPEN"]
    found = {(row["backend"], row["protocol"], row["port_name"]) for row in node.json("backends", "api")}
    assert found == {(f"10.244.0.{n}:{number}", protocol, name)
                     for n in (50, 51) for number, protocol, name in ((8443, "TCP", "https"), (5353, "UDP", "dns"))}


# ---- what is counted -----------------------------------------------------------


def test_services_backends_and_status_count_connects(node):
    pod, client = node.pod("pod"), node.pod("client")
    listener = pod.listen(socket.SOCK_STREAM, 8080)
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="10.96.0.10"), pod_manifest("pod", pod.ip, WEB),
               service("none", cluster_ip="10.96.0.11"))
    node.agent()
    holder = client.start(hold, *[("10.96.0.10", 80, socket.SOCK_STREAM)] * 3)
    for _ in range(2):
        assert client.call(connect_error, "10.96.0.11", 80) == errno.ECONNREFUSED

    def counts():
        return {row["name"]: [row[key] for key in ("connects", "flows", "refused", "failed", "open")]
                for row in node.services()}

    wait_until(lambda: counts() == {"web": [3, 0, 0, 0, 3], "none": [0, 0, 2, 0, 0]}, "all have connected")
    (backend,) = node.json("backends", "web")
    assert (backend["chosen"], backend["failed"], backend["open"]) == (3, 0, 3)
    totals = node.status()["totals"]
    assert {key: totals[key] for key in ("connects", "refused", "open")} == {"connects": 3, "refused": 2, "open": 3}
    holder.stop()
    wait_until(lambda: counts()["web"] == [3, 0, 0, 0, 0])
    listener.close()
    assert client.call(connect_error, "10.96.0.10", 80) == errno.ECONNREFUSED
    wait_until(lambda: counts()["web"] == [4, 0, 0, 1, 0])
    assert node.json("backends", "web")[0]["failed"] == 1


# ---- on a terminal ----------------------------------------------------------------


def on_terminal(node, *arguments, columns=80, stop=None, **environment):
    """What a command writes to a terminal so wide. `stop`: given the text so
    far, whether to send SIGINT. Returns (status, text)."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    base = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    command = [str(node.redial), *arguments, "--bpffs", str(node.bpffs)]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL,
                          env={**base, "TERM": "xterm", **environment}) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:
                break
            text += chunk
            if stop and stop(text.decode(errors="replace")):
                process.send_signal(signal.SIGINT)
                stop = None
            if not chunk:
                break
        os.close(ours)
    return process.returncode, text.decode().replace("\r\n", "\n")


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


@pytest.mark.usefixtures("example")
def test_a_table_fits_the_terminal(node):
    name = "a-service-with-a-name-that-is-rather-long-for-a-terminal"
    node.write("long.yaml", service(name, cluster_ip="10.96.0.30"))
    node.barrier()
    for columns in (72, 80, 100):
        status, text = on_terminal(node, "services", columns=columns)
        lines = plain(text).splitlines()
        assert status == 0 and all(len(line) <= columns for line in lines), lines
        (line,) = [line for line in lines if "10.96.0.30" in line]
        assert "…" in line and name not in line and line.index("10.96.0.30") == lines[0].index("CLUSTER-IP")
    # All of it where there is room, in the wide format, and where there is no terminal.
    for text in (on_terminal(node, "services", columns=200)[1], on_terminal(node, "services", "-o", "wide")[1],
                 node.command("services").stdout):
        assert name in text and "…" not in text


@pytest.mark.usefixtures("example")
def test_colours_on_a_terminal_only(node):
    _, text = on_terminal(node, "services")
    assert "\x1b[1mNAMESPACE\x1b[0m" in text
    assert "\x1b[33m0\x1b[0m" in text, "a Service without endpoints"
    assert plain(text) == node.command("services").stdout
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in on_terminal(node, "services", **environment)[1]
    assert "\x1b" in on_terminal(node, "services", NO_COLOR="")[1], "an empty one is none, no-color.org"
    assert "\x1b" not in on_terminal(node, "services", "-o", "json")[1]
    for command in MAP_COMMANDS:
        assert "\x1b" not in node.command(command).stdout
    node.agents[0].stop()
    assert "\x1b[31mnot running" in on_terminal(node, "status")[1]


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("command", MAP_COMMANDS)
def test_watch_prints_anew_until_sigint(node, command):
    clear = "\x1b[H\x1b[2J"
    status, text = on_terminal(node, command, "--watch", stop=lambda text: text.count(clear) >= 2)
    assert status == 0 and text.startswith(clear) and text.count(clear) == 2


@pytest.mark.usefixtures("example")
def test_watch_without_a_terminal_sees_changes(node):
    with subprocess.Popen([node.redial, "services", "-w", "-n", "later", "--bpffs", node.bpffs],
                          stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("NAMESPACE")
        node.write("later.yaml", service("web", cluster_ip="10.96.0.40", namespace="later"))
        lines = iter(process.stdout.readline, "")
        assert next(line for line in lines if line.startswith("later ")).split()[3] == "10.96.0.40"
        process.send_signal(signal.SIGINT)
        assert "\x1b" not in process.stdout.read()
    assert process.returncode == 0


# ---- the schema of -o json -----------------------------------------------------------


def keys_of(value):
    """{table: keys} of what a command prints, which is a list, or an object of
    lists and objects."""
    if isinstance(value, list):
        return {"": set().union(*(row.keys() for row in value))}
    return {key: next(iter(keys_of([item] if isinstance(item, dict) else item).values()))
            for key, item in value.items()}


def documented(tree, command):
    """The same as docs/commands.md has it, with the types."""
    text = (tree / "docs/commands.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {command}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL).group(1)
    tables = {}
    for part in re.split(r"^### ", section, flags=re.MULTILINE):
        name = re.match(r"`(\w*)`", part)
        rows_ = re.findall(r"^\| `(\w+)` \| (string|number) \|", part, re.MULTILINE)
        if rows_:
            tables[name.group(1) if name else ""] = dict(rows_)
    return tables


def check_schema(tree, command, value):
    tables = documented(tree, command)
    assert {name: set(keys) for name, keys in tables.items()} == keys_of(value), command
    kinds = {"string": str, "number": (int, float)}
    for name, types in tables.items():
        found = value[name] if name else value
        for row in [found] if isinstance(found, dict) else found:
            assert all(isinstance(row[key], kinds[kind]) for key, kind in types.items()), row


def test_every_key_of_json_is_documented_and_none_else(node, tree):
    pod = node.pod("pod")
    listener = pod.listen(socket.SOCK_STREAM, 8080)
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="10.96.0.10"), pod_manifest("pod", pod.ip, WEB),
               # One address for two: the second is refused.
               service("zweb", cluster_ip="10.96.0.10"))
    node.agent()
    client = node.pod("client").start(hold, ("10.96.0.10", 80, socket.SOCK_STREAM))
    wait_until(lambda: node.json("sockets"))
    for command in MAP_COMMANDS:
        check_schema(tree, command, node.json(command))
    check_schema(tree, "check", node.json("check", "--cgroup", node.cgroup))
    check_schema(tree, "explain ADDRESS:PORT", node.json("explain", "10.96.0.10:80", "--manifests", node.manifests))
    flow, name = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), documented(tree, "explain --pid N --fd M")
    with flow:
        answer = node.json("explain", "--pid", os.getpid(), "--fd", flow.fileno())
    assert set(answer["socket"]) == set(name["socket"]) and set(name["flows"]) == {"dialled", "backend"}
    client.stop()
    listener.close()


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
    assert heading[-1] == "INODE" and int(row[-1]) > 0
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
         "getpeername4", "getpeername6", "sockops"), "attached")
    assert {row["cgroup_id"] for row in status["hooks"]} == {node.cgroup.stat().st_ino}
    used = {row["map"]: row["used"] for row in status["maps"]}
    assert used["rd_frontends"] == 4 and used["rd_services"] == 4 and used["rd_backends"] == 6
    assert status["refused"] == []


def test_status_table_and_wide(node, example):
    for output in ("table", "wide"):
        text = node.command("status", "-o", output).stdout
        assert re.search(r"^AGENT +ready$", text, re.MULTILINE)
        assert re.search(rf"^PID +{example.pid}$", text, re.MULTILINE)
        assert re.search(r"^Service +3 +20\d\d-", text, re.MULTILINE)
        assert re.search(r"^connect4 +attached +\d+ +\d+$", text, re.MULTILINE)
        assert re.search(r"^rd_frontends +4 +192 +2.1%$", text, re.MULTILINE)
        assert not re.search("^REFUSED +REASON", text, re.MULTILINE)


def test_status_says_off_of_what_nobody_asked_for(node):
    def outcomes():
        (line,) = [line for line in on_terminal(node, "status")[1].splitlines() if line.startswith("sockops")]
        return node.hooks()["sockops"], line

    red = "\x1b[31m"
    node.OUTCOMES = ()
    agent = node.agent()
    state, line = outcomes()
    assert state == "off" and red not in line and line.split()[:2] == ["sockops", "off"]
    assert {value for hook, value in node.hooks().items() if hook != "sockops"} == {"attached"}
    # It is known without the agent, and forgotten when another one is asked to.
    agent.kill()
    assert outcomes()[0] == "off"
    agent = node.agent("--track-outcomes", "on")
    assert outcomes()[0] == "attached"
    (node.bpffs / "links" / "sockops").unlink()
    state, line = outcomes()
    assert state == "not attached" and red in line
    agent.stop()
    agent = node.agent("--track-outcomes", "off")
    assert outcomes()[0] == "off"
    (node.bpffs / "links" / "connect4").unlink()
    assert node.hooks()["connect4"] == "not attached"


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
    # Another version's, as well.
    bpftool("map", "pin", "pinned", node.bpffs / "rd_services", node.bpffs / "rd_former")
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


@pytest.mark.parametrize("command", [*MAP_COMMANDS, "explain", "run", "check", "cleanup", "version"])
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
