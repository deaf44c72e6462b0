# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""redial top: the busiest Services, again and again."""

import json
import signal
import subprocess

from harness import Load, die_with_parent, pod_manifest, service

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
