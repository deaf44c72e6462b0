# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""redial monitor: decisions as they happen, one line each."""

import contextlib
import errno
import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest
from harness import connect_error, die_with_parent, family_of, pod_manifest, port, service, wait_until

WEB = {"app": "web"}
WEB4, WEB6, DNS, NOBODY = "10.96.0.10", "fd00:96::10", "10.96.0.11", "10.96.0.12"
UID = "0d3c8f1e-6a52-4b0e-9d27-1f2e3a4b5c6d"
CONTAINER = "5b" * 32


class Monitor:
    """A running `redial monitor`, and what it has printed."""

    def __init__(self, node, *arguments, json_lines=True, stdout=subprocess.PIPE):
        self.node = node
        self.stderr_path = node.directory / f"monitor-{len(node.processes)}.err"
        before = watch_of(node)[0]
        output = ("-o", "json") if json_lines else ()
        with open(self.stderr_path, "wb") as stderr:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [str(node.redial), "monitor", "--bpffs", str(node.bpffs), *output, *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, text=True, preexec_fn=die_with_parent)
        node.processes.append(self.process)
        wait_until(lambda: watch_of(node)[0] not in (0, before) or self.process.poll() is not None, "it watches")

    def stderr(self):
        return self.stderr_path.read_text(encoding="utf-8")

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def event(self):
        return json.loads(self.line())

    def end(self, number=signal.SIGTERM):
        """Signal it; returns the rest of what it printed."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.stderr()
        return rest.splitlines()


def watch_of(node):
    """rd_watch[0]: until when records are written (ns), and the drops."""
    done = subprocess.run(["bpftool", "-j", "map", "lookup", "pinned", str(node.bpffs / "rd_watch"),
                           "key", "0", "0", "0", "0"], capture_output=True, text=True, check=True,
                          env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"})
    value = bytes(int(byte, 16) for byte in json.loads(done.stdout)["value"])
    return struct.unpack("=QQ8x", value)


def watch_until(node, until, dropped):
    """Write rd_watch[0]."""
    value = [str(byte) for byte in struct.pack("=QQ8x", until, dropped)]
    subprocess.run(["bpftool", "map", "update", "pinned", str(node.bpffs / "rd_watch"), "key", "0", "0", "0", "0",
                    "value", *value], check=True,
                   env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"})


def is_watched(node):
    return watch_of(node)[0] > time.monotonic_ns()


@pytest.fixture(name="example")
def fixture_example(node):
    """shop/web, IPv4 and IPv6; shop/dns, UDP; test/nobody, without a backend."""
    pod = node.pod("pod")
    node.write("all.yaml",
               service("web", [port(80, 8080, "http")], WEB, namespace="shop", clusterIPs=[WEB4, WEB6],
                       ipFamilyPolicy="RequireDualStack", ipFamilies=["IPv4", "IPv6"], clusterIP=WEB4),
               service("dns", [port(53, 5353, None, "UDP")], WEB, DNS, "shop"),
               service("nobody", 80, cluster_ip=NOBODY, namespace="test"),
               pod_manifest("pod", pod.ip, WEB, namespace="shop", ip6=pod.ip6))
    node.agent()
    pod.serve(udp=(5353,))
    return pod


def send_udp(address, number):
    """One datagram of an unconnected socket, and the answer."""
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(b"who are you?", (address, number))
        return client.recv(2048).decode()


def connect_often(address, number, times):
    """Connect so often; returns how many succeeded."""
    done = 0
    for _ in range(times):
        with socket.socket(family_of(address), socket.SOCK_DGRAM) as client:
            done += client.connect_ex((address, number)) == 0
    return done


def name_and_pid(function, *args):
    """Call the function under another program name; returns that process's id
    in its own pid namespace."""
    with open("/proc/self/comm", "w", encoding="utf-8") as comm:
        comm.write("wget")
    function(*args)
    return os.getpid()


# ---- what a line says -----------------------------------------------------------------


def test_json_line_of_each_kind(node, example):
    monitor, client = Monitor(node), node.pod("client")
    client.ask(WEB4)
    event = monitor.event()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])
    assert event["pid"] > 0 and event["netns"] > 0 and event["command"]
    assert event["cgroup_id"] == node.cgroup.stat().st_ino and event["cgroup"].endswith("/" + node.cgroup.name)
    assert (event["pod"], event["pod_uid"], event["container"]) == ("", "", "")

    def said(event):
        return tuple(event[key] for key in ("result", "protocol", "namespace", "name", "port_name", "address",
                                            "backend"))

    assert said(event) == ("redialled", "TCP", "shop", "web", "http", f"{WEB4}:80", f"{example.ip}:8080")
    client.ask(WEB6)
    assert said(monitor.event()) == ("redialled", "TCP", "shop", "web", "http", f"[{WEB6}]:80",
                                     f"[{example.ip6}]:8080")
    assert client.call(send_udp, DNS, 53) == "pod"
    assert said(monitor.event()) == ("flow", "UDP", "shop", "dns", "", f"{DNS}:53", f"{example.ip}:5353")
    assert client.call(connect_error, NOBODY, 80) == errno.ECONNREFUSED
    assert said(monitor.event()) == ("refused", "TCP", "test", "nobody", "", f"{NOBODY}:80", "")
    assert monitor.end() == [] and monitor.stderr() == ""


def columns(line):
    return re.split(r" {2,}", line)


def test_text_lines(node, example):
    monitor, client = Monitor(node, json_lines=False), node.pod("client")
    client.ask(WEB4)
    _, who, process, *rest = columns(monitor.line())
    assert who == node.cgroup.name and re.fullmatch(r"\S+\[\d+\]", process)
    assert rest == ["TCP", "shop/web:http", f"{WEB4}:80", f"{example.ip}:8080", "redialled"]
    client.call(connect_error, NOBODY, 80)
    assert columns(monitor.line())[3:] == ["TCP", "test/nobody", f"{NOBODY}:80", "-", "refused"]
    monitor.end()
    monitor = Monitor(node, "-o", "wide", json_lines=False)
    client.ask(WEB4)
    *_, netns, path = columns(monitor.line())
    assert re.fullmatch(r"netns:\d+", netns) and path.endswith("/" + node.cgroup.name)


SYSTEMD = (f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice/"
           f"cri-containerd-{CONTAINER}.scope")
CGROUPFS = f"kubepods/besteffort/pod{UID}/{CONTAINER}"


@pytest.mark.parametrize("handle", ["by-id", "by-walk"])
@pytest.mark.parametrize("below", [SYSTEMD, CGROUPFS, SYSTEMD.replace("cri-containerd", "crio") + "/container"])
@pytest.mark.usefixtures("example")
def test_kubelets_cgroups_name_pod_and_container(node, below, handle):
    cgroup = node.cgroup / below
    cgroup.mkdir(parents=True)
    # CAP_DAC_READ_SEARCH (2) opens a cgroup by its id; the agent's Pod has not got it.
    wrapper = ["setpriv", "--bounding-set=-dac_read_search"] if handle == "by-walk" else []
    monitor = WrappedMonitor(node, wrapper)
    client = node.pod("client")
    client.node = Elsewhere(cgroup)
    client.ask(WEB4)
    event = monitor.event()
    assert (event["pod_uid"], event["container"]) == (UID, CONTAINER)
    assert event["cgroup"].endswith("/" + below)
    monitor.end()


class Elsewhere:  # pylint: disable=too-few-public-methods
    """In the place of a Node: another cgroup for a Pod's clients."""

    def __init__(self, cgroup):
        self.cgroup, self.children, self.processes = cgroup, [], []


class WrappedMonitor(Monitor):
    def __init__(self, node, wrapper):
        redial = node.redial
        script = node.directory / "wrapped-redial"
        script.write_text("#!/bin/sh\nexec " + " ".join([*wrapper, str(redial)]) + ' "$@"\n')
        script.chmod(0o755)
        node.redial = script
        try:
            super().__init__(node)
        finally:
            node.redial = redial


def pause_as(name):
    """A process of a container: with a root whose /etc/hostname is `name`."""
    import harness  # pylint: disable=import-outside-toplevel

    root = f"/tmp/{name}"
    os.makedirs(root, exist_ok=True)
    harness.unshare(harness.CLONE_NEWNS)
    harness.mount("none", "/", "none", harness.MS_REC | harness.MS_PRIVATE)
    harness.mount("tmpfs", root, "tmpfs")
    os.mkdir(f"{root}/etc")
    with open(f"{root}/etc/hostname", "w", encoding="utf-8") as file:
        file.write(name + "\n")
    os.chroot(root)


def ask_in_container(stop, name, ready_address):
    pause_as(name)
    code = connect_error(ready_address, 80)
    while not stop():
        time.sleep(0.01)
    return code


@pytest.mark.usefixtures("example")
def test_the_pods_name_is_the_containers_host_name(node):
    cgroup = node.cgroup / SYSTEMD
    cgroup.mkdir(parents=True)
    monitor, text = Monitor(node), node.pod("client")
    text.node = Elsewhere(cgroup)
    client = text.start(ask_in_container, "checkout-7d9f8", WEB4)
    event = monitor.event()
    assert (event["pod"], event["pod_uid"]) == ("checkout-7d9f8", UID)
    monitor.end()
    assert client.stop() == 0
    monitor = Monitor(node, "--process", "checkout-7d9f8", json_lines=False)
    client = text.start(ask_in_container, "checkout-7d9f8", WEB4)
    assert columns(monitor.line())[1] == "checkout-7d9f8"
    monitor.end()
    client.stop()
    os.rmdir("/tmp/checkout-7d9f8")


# ---- filters ------------------------------------------------------------------------


@pytest.mark.parametrize("arguments, expected", [
    ((), ["web", "web6", "dns", "nobody"]),
    (("-n", "shop"), ["web", "web6", "dns"]),
    (("dns",), ["dns"]),
    (("test/nobody",), ["nobody"]),
    (("--refused",), ["nobody"]),
    (("--refused", "-n", "shop"), []),
    (("--backend", "POD"), ["web", "dns"]),
    (("--backend", "POD:5353"), ["dns"]),
    (("--backend", "POD6"), ["web6"]),
    (("--backend", "[POD6]:8080"), ["web6"]),
    (("--backend", "10.244.0.99"), []),
    (("--process", "wget"), ["last"]),
])
def test_filters(node, example, arguments, expected):
    given = [text.replace("POD6", example.ip6).replace("POD", example.ip) for text in arguments]
    monitor, client = Monitor(node, *given), node.pod("client")
    addresses = {"web": (WEB4, 80), "web6": (WEB6, 80), "dns": (DNS, 53), "nobody": (NOBODY, 80)}
    for name, (address, number) in addresses.items():
        client.call(*((send_udp,) if name == "dns" else (connect_error,)), address, number)
    # Comes last, and is wanted in one case only.
    if "--process" in arguments:
        client.call(name_and_pid, connect_error, WEB4, 80)
        addresses["last"] = addresses["web"]
    lines = [monitor.event() for _ in expected] + [json.loads(line) for line in monitor.end()]
    rendered = [f"[{addresses[name][0]}]" if ":" in addresses[name][0] else addresses[name][0] for name in expected]
    assert [event["address"].rsplit(":", 1)[0] for event in lines] == rendered


@pytest.mark.usefixtures("example")
def test_process_by_its_id(node):
    monitor, client = Monitor(node, "--count", "1"), node.pod("client")
    held = client.start(ask_on_request, WEB4)
    pid = monitor.event()["pid"]
    monitor.process.wait(60)
    monitor = Monitor(node, "--process", pid, "--count", "2")
    client.ask(WEB4)
    assert [monitor.event()["pid"] for _ in range(2)] == [pid, pid]
    held.stop()


def ask_on_request(stop, address):
    while not stop():
        connect_error(address, 80)
        time.sleep(0.01)


@pytest.mark.parametrize("text", ["nobody", "10.96.0.10:", "10.96.0.10:http", "10.96.0.10:0x50"])
def test_backend_must_be_an_address(node, text):
    done = node.command("monitor", "--backend", text)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


# ---- how it ends --------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("example")
def test_ends_on_a_signal_and_nobody_watches(node, number):
    monitor = Monitor(node)
    assert is_watched(node)
    assert monitor.end(number) == []
    assert watch_of(node)[0] == 0 and monitor.stderr() == ""


@pytest.mark.usefixtures("example")
def test_count(node):
    monitor, client = Monitor(node, "--count", "3"), node.pod("client")
    assert client.call(connect_often, WEB4, 80, 1) == 1, "not watched: web is TCP"
    for _ in range(5):
        client.ask(WEB4)
    rest, _ = monitor.process.communicate(timeout=60)
    assert monitor.process.returncode == 0 and len(rest.splitlines()) == 3
    assert watch_of(node)[0] == 0


@pytest.mark.usefixtures("example")
def test_ends_quietly_when_nobody_reads(node):
    monitor = Monitor(node)
    monitor.process.stdout.close()
    assert monitor.process.wait(60) == 0, "without a line to print"
    assert monitor.stderr() == "" and watch_of(node)[0] == 0


@pytest.mark.usefixtures("example")
def test_a_killed_monitor_is_forgotten(node):
    monitor, client = Monitor(node), node.pod("client")
    monitor.process.kill()
    monitor.process.wait()
    client.ask(WEB4)
    wait_until(lambda: not is_watched(node), "no records any more")
    client.ask(WEB4)
    monitor = Monitor(node, "--refused")
    monitor.end()
    # Neither what the other one left behind.
    monitor = Monitor(node, "--count", "1")
    client.ask(WEB6)
    assert monitor.event()["address"] == f"[{WEB6}]:80"


@pytest.mark.usefixtures("example")
def test_output_to_a_full_disk_is_a_failure(node):
    with open("/dev/full", "w", encoding="utf-8") as full:
        monitor = Monitor(node, stdout=full)
    node.pod("client").ask(WEB4)
    assert monitor.process.wait(60) == 1
    (line,) = monitor.stderr().splitlines()
    assert line.startswith("redial monitor: ") and watch_of(node)[0] == 0


@pytest.mark.usefixtures("example")
def test_ends_when_the_maps_are_removed(node):
    monitor = Monitor(node)
    node.agents[-1].stop()
    assert node.command("cleanup").returncode == 0
    assert monitor.process.wait(60) == 1
    (line,) = monitor.stderr().splitlines()
    assert "removed or replaced" in line


# ---- who may -------------------------------------------------------------------------


@pytest.mark.usefixtures("example")
def test_a_second_monitor_is_refused(node):
    monitor = Monitor(node)
    done = node.command("monitor")
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("redial monitor: another monitor is running") and str(node.bpffs) in line
    node.pod("client").ask(WEB4)
    assert monitor.event()["name"] == "web", "the first one goes on"
    # It keeps no agent from starting, and the agent's lock no monitor.
    node.agents[-1].kill()
    node.agent()
    node.pod("other").ask(WEB4)
    assert monitor.event()["name"] == "web"
    monitor.end()
    Monitor(node).end()


@pytest.mark.usefixtures("example")
def test_works_without_an_agent(node):
    node.agents[-1].kill()
    monitor = Monitor(node)
    node.pod("client").ask(WEB4)
    assert monitor.event()["name"] == "web"
    monitor.end()


@pytest.mark.parametrize("command", ["monitor", "top"])
def test_without_pins_one_line_and_status_1(node, command):
    done = node.command(command)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"redial {command}: ") and str(node.bpffs) in line


@pytest.mark.parametrize("command", ["monitor", "top"])
@pytest.mark.usefixtures("example")
def test_without_permission_one_line_and_status_1(node, command):
    node.bpffs_mount.chmod(0o755)
    node.bpffs.chmod(0o755)
    done = node.command(command, wrapper=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"redial {command}: ")


@pytest.mark.usefixtures("example")
def test_a_service_made_and_deleted_meanwhile(node):
    monitor, client = Monitor(node), node.pod("client")
    node.write("new.yaml", service("new", 80, cluster_ip="10.96.0.77", namespace="shop"))
    wait_until(lambda: node.services("new"))
    client.call(connect_error, "10.96.0.77", 80)
    assert monitor.event()["name"] == "new"
    monitor.end()


# ---- one that is not read harms nobody -------------------------------------------------


def fill(node, client, held=None):
    """So many connects that no ring holds them all; every one succeeds. They are
    watched throughout, however long it takes."""
    watch_until(node, 1 << 62, watch_of(node)[1])
    assert client.call(connect_often, DNS, 53, 20000) == 20000
    if held:
        held()


@pytest.mark.usefixtures("example")
def test_a_stopped_monitor_slows_nobody_and_says_what_it_missed(node):
    monitor, client = Monitor(node, "--refused"), node.pod("client")
    monitor.process.send_signal(signal.SIGSTOP)
    fill(node, client)
    dropped = watch_of(node)[1]
    assert dropped > 0
    monitor.process.send_signal(signal.SIGCONT)
    wait_until(lambda: "dropped" in monitor.stderr(), "it says so")
    (said,) = re.findall(r"redial monitor: (\d+) dropped", monitor.stderr())
    assert int(said) == dropped
    client.call(connect_error, NOBODY, 80)
    assert monitor.event()["result"] == "refused", "it goes on"
    monitor.end()


@pytest.mark.usefixtures("example")
def test_a_monitor_stopped_for_long_says_that_nothing_was_recorded(node):
    monitor = Monitor(node)
    monitor.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: not is_watched(node), "nobody watches")
    monitor.process.send_signal(signal.SIGCONT)
    wait_until(lambda: "nothing was recorded" in monitor.stderr(), "it says so")
    monitor.end()


def unread(descriptor):
    number = struct.pack("i", 0)
    return struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, number))[0]


@pytest.mark.usefixtures("example")
def test_a_monitor_that_nobody_reads_slows_nobody_and_is_read_later(node):
    monitor, client = Monitor(node), node.pod("client")
    # First the pipe fills, then the monitor's buffer, then the ring.
    assert client.call(connect_often, DNS, 53, 20000) == 20000
    wait_until(lambda: watch_of(node)[1] > 0, "records are dropped")
    assert unread(monitor.process.stdout.fileno()) > 0 and is_watched(node)
    assert monitor.stderr() == "", "there is nobody to read it"
    descriptor = monitor.process.stdout.fileno()
    os.set_blocking(descriptor, False)

    def drained():
        with contextlib.suppress(BlockingIOError):
            while os.read(descriptor, 65536):
                pass
        return "dropped" in monitor.stderr()

    wait_until(drained, "it says so")
    os.set_blocking(descriptor, True)
    monitor.end()
