# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What keeps redial from starting is said in one line that says what to do."""

import shutil
import subprocess

import pytest
from harness import connect_error, pod_manifest, service

WEB = {"app": "web"}
UNPRIVILEGED = (
    "setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")


def served(node):
    pod = node.pod("pod").serve()
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="10.96.0.10"), pod_manifest("pod", pod.ip, WEB))
    return node.pod("client")


def one_line(result, *fragments):
    """A failed start: status 1 and exactly one line on what is wrong, with all
    the fragments."""
    status, lines = result
    assert status == 1, lines
    said = [line for line in lines if line.startswith("redial run: ")]
    assert len(said) == 1 and lines[-1] == said[0], lines
    # What the agent noticed of the manifests by then aside.
    assert all(line.startswith(("info: ", "warn: Service")) for line in lines[:-1]), lines
    for fragment in fragments:
        assert str(fragment) in said[0], said[0]


@pytest.fixture(name="public_redial")
def fixture_public_redial(node):
    """A copy that anybody may execute, wherever the tree lies."""
    shutil.copy(node.redial, node.directory / "redial")
    (node.directory / "redial").chmod(0o755)
    node.redial = node.directory / "redial"


@pytest.mark.usefixtures("public_redial")
def test_not_root(node):
    node.bpffs_mount.chmod(0o777)
    one_line(node.try_run(wrapper=UNPRIVILEGED), "root")


@pytest.mark.usefixtures("public_redial")
def test_not_root_beside_what_root_has_pinned(node):
    client = served(node)
    node.agent().stop()
    one_line(node.try_run(wrapper=UNPRIVILEGED), node.bpffs)
    assert client.call(connect_error, "10.96.0.10", 80) == 0


@pytest.mark.usefixtures("public_redial")
@pytest.mark.parametrize("command", ["status", "services", "backends", "sockets", "cleanup"])
def test_commands_not_as_root(node, command):
    node.agent().stop()
    done = node.command(command, wrapper=UNPRIVILEGED)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"redial {command}: ") and str(node.bpffs) in line
    assert node.status()["agent"]["agent"].startswith("not running")


@pytest.mark.usefixtures("public_redial")
def test_check_not_as_root_says_what_is_missing(node):
    done = node.command("check", wrapper=UNPRIVILEGED)
    assert done.returncode == 1
    assert "CAP_BPF" in done.stderr and len(done.stderr.splitlines()) == 1


def test_no_bpffs(node):
    plain = node.directory / "plain"
    plain.mkdir()
    one_line(node.try_run("--bpffs", plain), plain, "mount -t bpf", "--bpffs")
    one_line(node.try_run("--bpffs", plain / "redial"), plain, "mount -t bpf")
    assert not list(plain.iterdir())


def test_bpffs_whose_parent_is_missing(node):
    one_line(node.try_run("--bpffs", node.bpffs_mount / "no/such/place"), node.bpffs_mount)


def test_not_a_cgroup2(node):
    one_line(node.try_run("--cgroup", node.directory), node.directory, "cgroup2", "--cgroup")
    one_line(node.try_run("--cgroup", node.directory / "none"), node.directory / "none", "--cgroup")


def test_no_manifest_directory(node):
    one_line(node.try_run("--manifests", "/nonexistent/dir"), "/nonexistent/dir")
    (node.directory / "file").write_text("")
    one_line(node.try_run("--manifests", node.directory / "file"), node.directory / "file", "directory")


def test_second_agent_on_the_same_bpffs(node):
    first = node.agent()
    one_line(node.try_run(), node.bpffs, "another agent is running", "--bpffs")
    assert first.is_running()
    node.write("web.yaml", service("web"))
    assert node.cluster_ip("web")


def test_second_agent_on_the_same_cgroup(node):
    client = served(node)
    node.agent()
    other = node.bpffs_mount / "other"
    node.other_bpffs.append(other)
    one_line(node.try_run("--bpffs", other), node.cgroup, "another redial", "redial cleanup")
    assert client.call(connect_error, "10.96.0.10", 80) == 0


def test_agent_that_could_not_attach_leaves_no_pins(node):
    node.agent()
    other = node.bpffs_mount / "other"
    node.other_bpffs.append(other)
    status, _ = node.try_run("--bpffs", other)
    assert status == 1
    assert not other.exists() or not list(other.rglob("rd_*"))


def test_other_cgroup_than_that_of_the_pinned_programs(node):
    client = served(node)
    node.agent().stop()
    other = node.cgroup / "other"
    other.mkdir()
    one_line(node.try_run("--cgroup", other), other, "redial cleanup")
    assert client.call(connect_error, "10.96.0.10", 80) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("fly",),
        ("run", "--no-such-option"),
        ("run", "--manifests"),
        ("run", "--manifests", ""),
        ("run", "--max-services", "0"),
        ("run", "--max-services", "many"),
        ("run", "--max-services", "-1"),
        ("run", "--max-services", "99999999999999999999"),
        ("run", "--max-backends", "1e3"),
        ("run", "-o", "json"),
        ("run", "extra"),
        ("services", "a", "b"),
        ("services", "/web"),
        ("services", "ns/"),
        ("services", "-o", "xml"),
        ("status", "web"),
        ("status", "-x"),
        ("check", "--manifests", "/tmp"),
        # Values that only `run` can judge, but wrong usage all the same.
        ("run",),
        ("run", "--manifests", "/tmp", "--service-cidr", "10.96.0.0"),
        ("run", "--manifests", "/tmp", "--service-cidr", "10.96.0.1/16"),
        ("run", "--manifests", "/tmp", "--service-cidr", "10.96.0.0/33"),
        ("run", "--manifests", "/tmp", "--log-level", "loud"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(node, arguments):
    """Run without --bpffs and --cgroup: it must not come so far as to need them."""
    done = subprocess.run([node.redial, *arguments], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 2, done.stderr
    assert done.stdout == "" and "redial" in done.stderr
    if arguments:
        assert len(done.stderr.splitlines()) == 1
