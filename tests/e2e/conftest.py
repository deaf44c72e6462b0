# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Fixtures of the end-to-end tests, which run the real binary.

REDIAL              the binary; default build/redial of this tree
REDIAL_TEST_CGROUP  where to make cgroups, as scripts/sandbox sets it; default
                    a directory of our own below the cgroup2 mount
"""

import os
import pathlib
import subprocess
import sys

import pytest

# `import harness` works from any directory and with any import mode.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import harness  # noqa: E402 pylint: disable=wrong-import-position

TREE = pathlib.Path(__file__).resolve().parents[2]


def pytest_configure():
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests need root: they make namespaces, cgroups and BPF programs", 1)
    # Mounts of ours are seen by us alone and go when we go.
    harness.unshare(harness.CLONE_NEWNS)
    harness.mount("none", "/", "none", harness.MS_REC | harness.MS_PRIVATE)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that fails shows what its agents said last."""
    report = (yield).get_result()
    if report.failed and call.when == "call":
        for value in item.funcargs.values():
            for agent in getattr(getattr(value, "node", value), "agents", []):
                report.sections.append((f"agent {agent.pid}", agent.text()[-8000:]))


@pytest.fixture(scope="session", name="redial")
def fixture_redial():
    binary = pathlib.Path(os.environ.get("REDIAL", TREE / "build/redial")).resolve()
    assert os.access(binary, os.X_OK), f"{binary} is not there: build it first"
    return binary


@pytest.fixture(scope="session", name="parent_cgroup")
def fixture_parent_cgroup():
    given = os.environ.get("REDIAL_TEST_CGROUP")
    if given:
        yield pathlib.Path(given)
        return
    path = harness.cgroup2_mount() / f"redial-pytest.{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        harness.remove_cgroup(path)


@pytest.fixture(name="node")
def fixture_node(redial, parent_cgroup):
    item = harness.Node(redial, parent_cgroup)
    try:
        yield item
    finally:
        item.close()


@pytest.fixture(scope="session", name="is_asan")
def fixture_is_asan(redial):
    return b"__asan_init" in redial.read_bytes()


@pytest.fixture(scope="session", name="tree")
def fixture_tree():
    return TREE


@pytest.fixture(scope="session", name="bpftool")
def fixture_bpftool():
    for path in ("/usr/sbin/bpftool", "/sbin/bpftool"):
        if os.access(path, os.X_OK):
            break
    else:
        path = "bpftool"

    def run(*arguments):
        done = subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
