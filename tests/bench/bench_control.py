# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The control plane's cost, against the stand-in API server on this machine:
10,000 Services with 10 endpoints each, over TLS and HTTP/2.

Prints the medians and ranges of: the time from start to ready and what it
consists of, memory, the processor time of 1,000 changes, and how long a change
takes from the last byte of its event to the map. Run it in scripts/sandbox, on
a machine that does nothing else: `make bench-control`.
"""

import ctypes
import http.client
import json
import mmap
import os
import pathlib
import re
import resource
import statistics
import struct
import subprocess
import threading
import time

from scale import ENDPOINTS, SERVICES, harness, node_and_server

STARTS = 7
CHANGES = 1000
CHANGES_A_SECOND = 100
SINGLE_CHANGES = 200
# Longer than the agent's coalescing interval.
APART_SECONDS = 0.15

BPF_OBJ_GET, SYS_BPF = 7, 321
# Of struct rd_agent, include/redial/abi.h.
SYNCED_NS, WRITES = 24, 24 + 8 + 5 * 8


class AgentMap:
    """What the agent says of itself, read in place."""

    def __init__(self, pin):
        path = ctypes.create_string_buffer(str(pin).encode())
        attributes = struct.pack("QII", ctypes.addressof(path), 0, 0)
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = libc.syscall(SYS_BPF, BPF_OBJ_GET, attributes, len(attributes))
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), f"cannot open {pin}")
        self._memory = mmap.mmap(descriptor, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        os.close(descriptor)

    def read(self):
        """(realtime ns of the last write, writes so far)"""
        return tuple(struct.unpack_from("=Q", self._memory, at)[0] for at in (SYNCED_NS, WRITES))


def row(what, values, unit, target=""):
    values = sorted(values)
    print(
        f"{what:44} {statistics.median(values):10.2f} {values[0]:10.2f} {values[-1]:10.2f}  {unit:4} {target}", flush=True
    )


def memory(agent):
    status = pathlib.Path(f"/proc/{agent.process.pid}/status").read_text(encoding="ascii")
    return [int(re.search(rf"{key}:\s+(\d+)", status).group(1)) / 1024 for key in ("VmHWM", "VmRSS")]


def maps_memory(node):
    """Of each pinned map: its name and the bytes that the kernel accounts to it."""
    bpftool = next((path for path in ("/usr/sbin/bpftool", "/sbin/bpftool") if os.access(path, os.X_OK)), "bpftool")
    for pin in sorted(node.bpffs.glob("rd_*")):
        shown = subprocess.run([bpftool, "-j", "map", "show", "pinned", pin], capture_output=True, check=True)
        yield pin.name, json.loads(shown.stdout)["bytes_memlock"]


def processor_seconds(agent):
    fields = pathlib.Path(f"/proc/{agent.process.pid}/stat").read_text(encoding="ascii").split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def numbers(agent, *fragments):
    (line,) = agent.lines(*fragments)
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)\b", line)}


def start(node, results):
    began = time.monotonic()
    agent = node.agent("--node-name", "node1", "--http-bind-address", "127.0.0.1:10299")
    ready = (time.monotonic() - began) * 1000
    sync = numbers(agent, "in sync")
    services, slices = numbers(agent, "listed", "/services"), numbers(agent, "listed", "/endpointslices")
    results["ready"].append(ready)
    results["transfer"].append(max(services["us"], slices["us"]) / 1000)
    results["decode"].append((services["decode_us"] + slices["decode_us"]) / 1000)
    for key in ("resolve", "plan", "apply"):
        results[key].append(sync[f"{key}_us"] / 1000)
    results["three"].append(sum(sync[f"{key}_us"] for key in ("resolve", "plan", "apply")) / 1000)
    results["sync"].append(sync["us"] / 1000)
    peak, settled = memory(agent)
    results["peak"].append(peak)
    results["settled"].append(settled)
    return agent


def change_latency(server, agent_map, i):
    """From the last byte of one change's event to the map, in ms."""
    name = f"svc-{i:05}-1"
    content = server.get("endpointslices", "scale", name)
    content["endpoints"][0]["conditions"] = {"ready": False}
    offset = time.time_ns() - time.monotonic_ns()
    _, before = agent_map.read()
    rv = server.put({"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", **content})
    harness.wait_until(lambda: agent_map.read()[1] != before, "the change is in the maps")
    written = server.wait_written(rv)
    synced, _ = agent_map.read()
    return (synced - offset) / 1e6 - written * 1000


def fetch(node, path):
    """(bytes of the answer, ms)"""
    with node.host.entered():
        connection = http.client.HTTPConnection("127.0.0.1", 10299, timeout=20)
        connection.connect()
    began = time.monotonic()
    connection.request("GET", path)
    size = len(connection.getresponse().read())
    took = (time.monotonic() - began) * 1000
    connection.close()
    return size, took


def scrapes(node):
    """What /metrics costs, and how long another request waits meanwhile."""
    times, waits, over = [], [], threading.Event()

    def probe():
        while not over.is_set():
            waits.append(fetch(node, "/livez")[1])

    prober = threading.Thread(target=probe)
    prober.start()
    for _ in range(20):
        size, took = fetch(node, "/metrics")
        times.append(took)
    over.set()
    prober.join()
    row("/metrics", times, "ms", "200")
    print(f"  {size / 1e6:.2f} MB, target 10")
    row("  /livez meanwhile", waits, "ms", "20")


def main():
    with node_and_server() as (node, server):
        measure(node, server)


def measure(node, server):
    results = {
        key: []
        for key in ("ready", "transfer", "decode", "resolve", "plan", "apply", "three", "sync", "peak", "settled")
    }
    for i in range(STARTS):
        agent = start(node, results)
        if i < STARTS - 1:
            agent.stop()
            assert node.command("cleanup").returncode == 0
    print(f"{SERVICES} Services with {ENDPOINTS} endpoints each, {STARTS} starts with empty maps")
    print(f"{'':44} {'median':>10} {'least':>10} {'most':>10}       target")
    row("start to ready", results["ready"], "ms", "1500")
    row("  lists, transfer and decoding", results["transfer"], "ms")
    row("    decoding alone", results["decode"], "ms")
    row("  first sync", results["sync"], "ms")
    row("    resolve", results["resolve"], "ms")
    row("    plan", results["plan"], "ms")
    row("    apply", results["apply"], "ms")
    row("    the three", results["three"], "ms", "50")
    row("peak resident memory", results["peak"], "MB")
    row("settled resident memory", results["settled"], "MB", "96")
    each = list(maps_memory(node))
    print(f"memory of the maps, memlock: {sum(size for _, size in each) / 2**20:.1f} MiB, target 16: ", end="")
    print(", ".join(f"{name[3:]} {size / 2**20:.1f}" for name, size in each if size >= 2**18))
    scrapes(node)
    agent_map = AgentMap(node.bpffs / "rd_agent")
    latencies = []
    for i in range(SINGLE_CHANGES):
        latencies.append(change_latency(server, agent_map, i * 37))
        time.sleep(APART_SECONDS)
    latencies.sort()
    print(f"one change, event received to map written: {SINGLE_CHANGES} changes, {APART_SECONDS} s apart")
    for name, at in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        print(f"  {name} {latencies[int(at * len(latencies))]:.3f} ms{'  target 1' if name == 'p99' else ''}")
    before = processor_seconds(agent)
    server.churn("endpointslices", CHANGES_A_SECOND, CHANGES)
    last = server.churned()[-1][0]
    server.wait_written(last)
    synced = time.time_ns()
    harness.wait_until(lambda: agent_map.read()[0] >= synced - 10**9, "the last change is in the maps")
    print(f"{CHANGES} changes at {CHANGES_A_SECOND}/s: {(processor_seconds(agent) - before) * 1000:.0f} ms of processor time")
    print(f"settled resident memory after them: {memory(agent)[1]:.1f} MB")
    print(f"processor time of this benchmark itself: {resource.getrusage(resource.RUSAGE_SELF).ru_utime:.1f} s")


if __name__ == "__main__":
    main()
