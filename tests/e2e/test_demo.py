# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`make demo`: what it shows is so, and nothing of it stays.

In a sandbox of its own, as anywhere; here that is below the one of the tests.
"""

import os
import re
import signal
import subprocess

import pytest


@pytest.fixture(name="demo")
def fixture_demo(tree, redial, parent_cgroup, tmp_path):
    """A function that starts it; nothing may be left at the end."""
    started = []
    env = {**os.environ, "DEMO_PAUSE": "0", "TMPDIR": str(tmp_path), "REDIAL_TEST_CGROUP": str(parent_cgroup)}

    def start():
        process = subprocess.Popen(
            [tree / "scripts/sandbox", tree / "scripts/demo", redial],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)
        name = f"redial-test.{process.pid}"
        assert not (parent_cgroup / name).exists()
    assert not list(tmp_path.iterdir())


def section(text, title):
    """The lines that are shown below a title that begins so."""
    (found,) = re.findall(rf"^\d+\. {title}.*\n((?:.+\n)+)", text, re.M)
    return found


def test_the_demo_shows_services_by_their_names(demo):
    process = demo()
    text, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, ""), text
    own = section(text, "The frontend calls the Service by its name")
    assert (
        "    search example.svc.cluster.local svc.cluster.local cluster.local\n"
        "    nameserver 169.254.1.1\n    options ndots:5\n"
    ) in own
    assert "curl http://backend-service:5000/host_name" in own
    assert len(re.findall(r'^    {"host_name": "backend-[12]"}$', own, re.M)) == 8
    other = section(text, "Other names of it")
    lines = re.findall(r'^    curl http://(\S+):5000/host_name +{"host_name": "backend-[12]"}$', other, re.M)
    full = "backend-service.example.svc.cluster.local"
    assert lines == ["backend-service.example", full, "backend-elsewhere"]
    assert other.endswith("    10.244.0.11\n    10.244.0.12\n")
    replaced = section(text, "A Pod is replaced")
    assert re.search(r"^    [1-9]\d* requests succeeded, 0 failed$", replaced, re.M)
    assert replaced.endswith("    10.244.0.12\n    10.244.0.13\n")
    assert "    database at 192.0.2.50:5432, ready\n" in section(text, "A database outside")
    assert re.search(r"^    10\.96\.\d+\.\d+:5000$", section(text, "The socket knows"), re.M)
    assert re.search(r"^    WRITES +0$", section(text, "The agent is killed"), re.M)
    assert section(text, "Gone").strip() == "detached and unpinned what was in the pins' directory"


def test_the_demo_ends_on_ctrl_c_and_leaves_nothing(demo):
    """In the middle of requests. The fixture looks what is left."""
    process = demo()
    for line in process.stdout:
        if line.startswith("4. A Pod is replaced"):
            break
    os.killpg(process.pid, signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "requests succeeded" not in text
