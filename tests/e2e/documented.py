# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The output that documents show: where it is, and what really is printed.

A block is marked by the comment before it:

    <!-- shown by test_documented_output: SETTING -->
    ```
    $ redial services
    what it prints
    ```

and is run in the setting of that name, see test_conventions.py. A block marked
`read by` is what the setting is made of.
"""

import re
import socket
import time

from harness import wait_until

SHOWN = re.compile(r"(<!-- shown by test_documented_output: (\w+) -->\n```\n)(.*?)(```\n)", re.DOTALL)
READ = re.compile(r"<!-- read by test_documented_output: \w+ -->\n```yaml\n(.*?)```\n", re.DOTALL)

# What is another at each run or machine, and what a document has in its place.
# Columns follow: two spaces or more between them are two.
VARIABLE = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "2026-11-22T20:00:00Z"),
    (re.compile(r"^(PID +)\d+", re.MULTILINE), r"\g<1>4242"),
    (re.compile(r"^(WRITES +)\d+", re.MULTILINE), r"\g<1>20"),
    (re.compile(r"^(kernel +)\S+", re.MULTILINE), r"\g<1>6.1.0"),
    (re.compile(r"^(libbpf )\S+", re.MULTILINE), r"\g<1>1.1"),
    (re.compile(r'("inode":\s*)\d+'), r"\g<1>8193"),
    # The row of a hook: its program's id, and the cgroup's.
    (re.compile(r"^(\S+ +attached +)\d+( +)\d+", re.MULTILINE), r"\g<1>101\g<2>2001"),
    # Behind the cluster's three domains, those that the machine searches.
    (re.compile(r"^(search \S+ \S+ \S+) .*", re.MULTILINE), r"\1"),
    # Either of the two is chosen.
    (re.compile(r"10\.244\.0\.1[12]:8080(?= +shop +web$|\",$)", re.MULTILINE), "10.244.0.12:8080"),
]


def normalise(text):
    for pattern, replacement in VARIABLE:
        text = pattern.sub(replacement, text)
    return text


def aligned(text):
    """Columns at their narrowest: how wide they are depends on what varies."""
    lines = [[re.split(r" {2,}", line) for line in part.split("\n")] for part in text.split("\n\n")]
    return "\n\n".join("\n".join(_rows(part)) for part in lines)


def _rows(part):
    if len({len(row) for row in part if row != [""]}) != 1 or len(part[0]) < 2:
        return ["  ".join(row) for row in part]
    widths = [max(len(row[i]) for row in part if row != [""]) for i in range(len(part[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in part]


def hold(stop, address, number):
    with socket.create_connection((address, number), timeout=5):
        while not stop():
            time.sleep(0.01)


def example(node, tree):
    """docs/example.md as it says: its manifest, and a client that is connected."""
    (manifest,) = READ.findall((tree / "docs/example.md").read_text(encoding="utf-8"))
    for name in ("web-0", "web-1"):
        pod = node.pod(name)
        pod.serve()
        assert f"podIP: {pod.ip}," in manifest
    node.write("shop.yaml", manifest)
    node.agent("--max-services", "16384", "--max-backends", "114688")
    node.pod("client").start(hold, "10.96.0.10", 80)
    wait_until(lambda: node.json("sockets"), "the client is connected")


SETTINGS = {"example": example}


def run(node, command):
    """What a shell shows for `$ redial ...`, with the names a person would have."""
    redial, *arguments = command.split()
    assert redial == "redial"
    options = ["--cgroup", node.cgroup] if arguments[0] == "check" else []
    if arguments[0] in ("version", "dns-config"):
        done = node.plain(*arguments)
    elif "--bpffs" in arguments:
        at = arguments.index("--bpffs")
        done = node.command(*arguments[:at], *arguments[at + 2 :], bpffs=arguments[at + 1])
    else:
        done = node.command(*arguments, *options)
    text = done.stdout + done.stderr
    for real, shown in (
        (node.bpffs, "/sys/fs/bpf/redial"),
        (node.manifests, "/etc/redial"),
        (node.cgroup, "/sys/fs/cgroup"),
    ):
        text = text.replace(str(real), shown)
    return text


def refreshed(node, text, setting):
    """The document's text with what the commands print now."""

    def block(match):
        if match[2] != setting:
            return match[0]
        parts = []
        for line in match[3].splitlines():
            if line.startswith("$ "):
                parts.append(f"{line}\n{aligned(normalise(run(node, line[2:])))}")
        return match[1] + "".join(parts) + match[4]

    return SHOWN.sub(block, text)
