# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""redial top: the busiest Services, again and again."""

import contextlib
import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time

from harness import SOON, Load, die_with_parent, pod_manifest, service

WEB = {"app": "web"}


def test_top_sorts_by_connects_and_ends(node):
    pod = node.pod("pod")
    node.write("all.yaml", service("busy", selector=WEB, cluster_ip="10.96.0.10", namespace="shop"),
               service("idle", selector=WEB, cluster_ip="10.96.0.11", namespace="shop"),
               service("other", 80, cluster_ip="10.96.0.12", namespace="test"),
               pod_manifest("pod", pod.ip, WEB, namespace="shop"))
    node.agent()
    pod.serve()
    load = Load(node.pod("client"), "10.96.0.10")
    load.more()
    done = node.command("top", "--count", 2, "-n", "shop", "-o", "json")
    assert done.returncode == 0 and done.stderr == ""
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["name"] for row in rows] == ["busy", "idle"] * 2
    assert all(row["connects_per_s"] > 0 for row in rows[::2]) and rows[1]["connects_per_s"] == 0
    text = node.command("top", "--count", 1).stdout.splitlines()
    assert text[0].split()[:2] == ["NAMESPACE", "NAME"] and text[1].split()[1] == "busy" and len(text) == 4
    load.check({"pod"})
    with subprocess.Popen([str(node.redial), "top", "--bpffs", str(node.bpffs)], stdout=subprocess.PIPE,
                          preexec_fn=die_with_parent) as process:
        assert process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0

# ---- on a terminal -------------------------------------------------------------------


class Terminal:
    """A command on a terminal of its own, and what it has printed there."""

    def __init__(self, node, *arguments, rows, columns):
        self.master, slave = os.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.text = ""

        def prepare():
            die_with_parent()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [str(node.redial), *map(str, arguments), "--bpffs", str(node.bpffs)],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=prepare)
        node.processes.append(self.process)
        self.slave = slave

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, predicate):
        """Read on until the predicate is true of what was printed."""
        end = time.monotonic() + SOON
        while not predicate():
            left = end - time.monotonic()
            assert left > 0 and select.select([self.master], [], [], left)[0], repr(self.text)
            self.text += os.read(self.master, 65536).decode()

    def type(self, keys):
        os.write(self.master, keys)

    def finish(self):
        """It has ended: returns its status. The terminal is as it was."""
        status = self.process.wait(SOON)
        assert termios.tcgetattr(self.slave) == self.before
        os.set_blocking(self.master, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.text += os.read(self.master, 65536).decode()
        os.close(self.slave)
        os.close(self.master)
        return status


CLEAR, WRAP, NO_WRAP = "\033[H\033[2J", "\033[?7h", "\033[?7l"


def tables(terminal):
    """Those that are there as a whole, each as the lines that it has."""
    return [part.split(WRAP)[0].splitlines() for part in terminal.text.split(CLEAR)[1:] if WRAP in part]


def test_top_on_a_terminal_fits_follows_its_size_and_leaves_it_as_it_was(node):
    for i in range(20):
        node.write(f"{i}.yaml", service(f"a-service-with-a-long-name-{i}", cluster_ip=f"10.96.0.{10 + i}"))
    node.agent()
    terminal = Terminal(node, "top", rows=8, columns=40)
    terminal.read_until(lambda: tables(terminal))
    assert re.sub("\033[^m]*m", "", tables(terminal)[0][0]).startswith("NAMESPACE")
    # A heading, what fits below it, and the line where the cursor is.
    assert len(tables(terminal)[0]) == 7
    terminal.resize(12, 40)
    terminal.read_until(lambda: len(tables(terminal)[-1]) != 7)
    assert len(tables(terminal)[-1]) == 11
    terminal.resize(100, 200)
    terminal.read_until(lambda: len(tables(terminal)[-1]) > 11)
    assert len(tables(terminal)[-1]) == 21
    terminal.type(b"\003")
    assert terminal.finish() == 0
    # Long lines are wrapped again, and nothing is between two tables.
    assert terminal.text.count(NO_WRAP) == terminal.text.count(WRAP) == len(tables(terminal))
    assert terminal.text.rindex(WRAP) > terminal.text.rindex(NO_WRAP)


def test_top_on_a_terminal_counts_and_as_json_does_not_touch_it(node):
    node.write("web.yaml", service("web", cluster_ip="10.96.0.10"))
    node.agent()
    terminal = Terminal(node, "top", "--count", 1, rows=24, columns=80)
    terminal.read_until(lambda: tables(terminal))
    assert terminal.finish() == 0 and len(tables(terminal)) == 1
    terminal = Terminal(node, "top", "--count", 1, "-o", "json", rows=3, columns=10)
    terminal.read_until(lambda: "\n" in terminal.text)
    assert terminal.finish() == 0 and "\033" not in terminal.text
    assert json.loads(terminal.text)["name"] == "web"


def test_top_ends_when_its_terminal_goes(node):
    node.write("web.yaml", service("web", cluster_ip="10.96.0.10"))
    node.agent()
    terminal = Terminal(node, "top", rows=24, columns=80)
    terminal.read_until(lambda: tables(terminal))
    os.close(terminal.slave)
    os.close(terminal.master)
    assert terminal.process.wait(SOON) == -signal.SIGHUP
