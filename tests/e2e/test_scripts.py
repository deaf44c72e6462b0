# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The scripts that run the tests keep what they promise: what is started ends,
what is left is seen, what fails is told."""

import os
import pathlib
import select
import signal
import subprocess

import pytest
from harness import cgroup2_mount, die_with_parent, wait_until


@pytest.fixture(name="script")
def fixture_script(tree):
    def run(name, *arguments, **options):
        return subprocess.run([tree / "scripts" / name, *map(str, arguments)], capture_output=True, text=True,
                              check=False, timeout=60, **options)

    return run


def start_sandbox(tree, command):
    """Start a sandbox and return it, when its command has printed a line, with
    the words of that line."""
    process = subprocess.Popen([tree / "scripts/sandbox", "bash", "-c", command], stdout=subprocess.PIPE, text=True,
                               preexec_fn=die_with_parent)
    assert select.select([process.stdout], [], [], 20)[0], "the command said nothing"
    return process, process.stdout.readline().split()


SAY = 'echo "$REDIAL_TEST_CGROUP $TMPDIR"; '


@pytest.mark.parametrize("status", [0, 1, 77])
def test_sandbox_passes_status_input_and_output_on(script, status):
    done = script("sandbox", "bash", "-c", f"cat; exit {status}", input="through")
    assert (done.returncode, done.stdout) == (status, "through")


def test_sandbox_is_private_and_leaves_nothing(script):
    names = pathlib.Path("/run/netns")
    before = sorted(names.iterdir()) if names.exists() else []
    done = script("sandbox", "bash", "-c", SAY + """
        set -e
        ip netns add redial-private
        ip netns list
        mkdir -p "$REDIAL_TEST_CGROUP/a/b" "$TMPDIR/bpf"
        mount -t bpf bpf "$TMPDIR/bpf"
        ip -brief link show up | wc -l
        ps -e -o comm= | grep -c bash
        sleep 1000 & echo $! >"$REDIAL_TEST_CGROUP/a/b/cgroup.procs" """)
    assert done.returncode == 0, done.stderr
    place, name, links, shells = done.stdout.splitlines()
    cgroup, directory = map(pathlib.Path, place.split())
    assert name == "redial-private" and links == "1" and shells == "2"
    assert cgroup.name.startswith("redial-test.") and directory.name == cgroup.name
    assert not cgroup.exists() and not directory.exists()
    assert (sorted(names.iterdir()) if names.exists() else []) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sandbox_ends_with_all_it_started_on_a_signal(tree, number):
    process, (cgroup, directory) = start_sandbox(tree, """
        mkdir "$REDIAL_TEST_CGROUP/child"
        setsid bash -c 'trap "" TERM HUP INT; echo 0 >"$REDIAL_TEST_CGROUP/child/cgroup.procs"; sleep 1000' &
        until grep -q . "$REDIAL_TEST_CGROUP/child/cgroup.procs"; do sleep 0.01; done
        """ + SAY + "exec sleep 1000")
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    process.stdout.close()
    assert not os.path.exists(cgroup) and not os.path.exists(directory)


def test_sandbox_lets_its_command_clean_up_on_ctrl_c(tree):
    """The terminal sends SIGINT to every process of the group."""
    process = subprocess.Popen(
        [tree / "scripts/sandbox", "bash", "-c", 'trap "echo cleaned; exit 3" INT; echo up; while :; do sleep 0.1; done'],
        stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.read() == "cleaned\n"
    assert process.wait(20) == 130
    process.stdout.close()


def test_what_a_killed_sandbox_started_dies_with_it(tree):
    process, (cgroup, directory) = start_sandbox(
        tree, 'echo 0 >"$REDIAL_TEST_CGROUP/cgroup.procs"; ' + SAY + "sleep 1000")
    process.kill()
    process.wait()
    process.stdout.close()
    wait_until(lambda: not pathlib.Path(cgroup, "cgroup.procs").read_text().split())
    # That much is left to see for check-clean.
    os.rmdir(cgroup)
    os.rmdir(directory)


def test_check_clean_sees_what_is_left(node, script):
    snapshot = node.directory / "snapshot"
    assert script("check-clean", "--before", snapshot).returncode == 0
    made = cgroup2_mount() / f"left-behind-by-{node.directory.name}"
    made.mkdir()
    try:
        # Not long: a run beside this one may be looking, too.
        done = script("check-clean", "--after", snapshot, env={**os.environ, "CHECK_CLEAN_SECONDS": "0"})
        assert done.returncode == 1 and f"left: cgroup {made}\n" in done.stdout
        assert "clean\n" not in done.stdout
    finally:
        made.rmdir()


def test_check_clean_sees_pins_programs_and_processes(node, script):
    """In a sandbox's own view: pins at the usual place, and their programs."""
    node.write("web.yaml", "")
    snapshot = node.directory / "snapshot"
    assert script("check-clean", "--before", snapshot).returncode == 0
    agent = node.agent()
    listed = node.directory / "listed"
    assert script("check-clean", "--before", listed).returncode == 0
    new = set(listed.read_text().splitlines()) - set(snapshot.read_text().splitlines())
    text = "\n".join(new)
    for expected in ("BPF program rd_connect4 id", "BPF map rd_frontends id", "BPF link id",
                     f"process redial pid {agent.pid}"):
        assert expected in text, text
    agent.stop()


@pytest.mark.parametrize("arguments", [["--before"], ["--after"], ["--sideways", "x"], ["--before", "a", "b"]])
def test_check_clean_wrong_usage(script, arguments):
    assert script("check-clean", *arguments).returncode == 2


def test_test_script_fails_loudly_where_tests_are_missing(node, script):
    """With empty directories, and a Python that has no pytest."""
    build = node.directory / "build"
    (build / "tests/unit").mkdir(parents=True)
    (build / "tests/unit/test_x.d").write_text("")
    done = script("test", build, "/bin/false")
    assert done.returncode != 0
    assert done.stderr.count("no test programs") == 2
    for part in ("unit tests", "datapath tests", "end-to-end tests"):
        assert f"FAILED  {part}" in done.stdout
