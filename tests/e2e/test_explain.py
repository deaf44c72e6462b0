# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""explain: what a connect would do and why, and where a socket went. What it
says is held against what then happens."""

import json
import os
import re
import resource
import socket
import time

import pytest
from harness import (
    Cluster, ask_tcp, connect_error, endpoint_slice, node_manifest, pod_manifest, port, service, wait_until)

WEB = {"app": "web"}
ADDRESS = "10.96.0.10"


def explain(node, *arguments):
    return node.json("explain", *arguments)


def found(answer, name):
    """What the steps of that name found, as one text."""
    return "\n".join(row["found"] for row in answer["steps"] if row["step"] == name)


def linger(stop):
    while not stop():
        time.sleep(0.01)


@pytest.fixture(name="client")
def fixture_client(node):
    """A process in a Pod, in the cgroup that is served."""
    pod = node.pod("client")
    child = pod.start(linger)
    wait_until(lambda: str(child.pid) in (node.cgroup / "cgroup.procs").read_text().split())
    wait_until(lambda: os.stat(f"/proc/{child.pid}/ns/net").st_ino == os.fstat(pod.netns.fd).st_ino)
    child.pod = pod
    return child


def test_explain_a_service_with_backends(node, client):
    web = node.pod("web").serve()
    node.write("web.yaml", service("web", selector=WEB, cluster_ip=ADDRESS, namespace="shop"),
               pod_manifest("web", web.ip, WEB, namespace="shop"))
    node.agent()
    client.pod.ask_often(ADDRESS, times=5)
    answer = explain(node, f"{ADDRESS}:80", "--pid", client.pid)
    assert answer["result"]["verdict"] == "redialled"
    assert {key: answer["result"][key] for key in ("address", "protocol", "namespace", "name", "port", "backends")} == {
        "address": f"{ADDRESS}:80", "protocol": "TCP", "namespace": "shop", "name": "web", "port": 80, "backends": 1}
    (backend,) = answer["backends"]
    assert (backend["backend"], backend["chosen"], backend["open"]) == (f"{web.ip}:8080", 5, 0)
    assert found(answer, "hook").startswith("connect4: program ")
    assert f"{node.cgroup}, which is in the cgroup" in found(answer, "cgroup")
    assert found(answer, "filter").startswith("the address may be")
    assert found(answer, "frontend") == "Service shop/web, port 80, by its address"
    assert found(answer, "excluded").startswith("no,")
    assert found(answer, "affinity").startswith("the Service has none")
    assert "--manifests DIR" in found(answer, "endpoints") and "not looked at" in found(answer, "kube-proxy")
    assert answer["endpoints"] == []
    steps = [row["step"] for row in answer["steps"]]
    assert steps.index("hook") < steps.index("filter") < steps.index("frontend") < steps.index("backends")


def test_explain_a_refusal(node, client):
    node.write("web.yaml", service("web", cluster_ip=ADDRESS))
    node.agent()
    answer = explain(node, f"{ADDRESS}:80", "--pid", client.pid)
    assert answer["result"]["verdict"] == "refused" and answer["result"]["backends"] == 0
    assert "ECONNREFUSED" in found(answer, "backends")
    assert client.pod.call(connect_error, ADDRESS, 80) == 111


@pytest.mark.parametrize("what", [f"{ADDRESS}:81", "192.0.2.1:80", "[fd00::7]:80"])
def test_explain_what_is_no_service(node, client, what):
    node.write("web.yaml", service("web", cluster_ip=ADDRESS))
    node.agent()
    answer = explain(node, what, "--pid", client.pid)
    assert answer["result"]["verdict"] == "left alone" and answer["result"]["name"] == ""
    assert "none for TCP" in found(answer, "frontend")
    assert found(answer, "hook").startswith("connect6" if what[0] == "[" else "connect4")


def test_explain_udp_is_another_frontend(node, client):
    node.write("dns.yaml", service("dns", [port(53, protocol="UDP")], cluster_ip=ADDRESS))
    node.agent()
    assert explain(node, f"{ADDRESS}:53", "--pid", client.pid)["result"]["verdict"] == "left alone"
    assert explain(node, f"{ADDRESS}:53", "--pid", client.pid, "--udp")["result"]["verdict"] == "refused"


def test_explain_ipv6(node, client):
    web = node.pod("web")
    node.write("web.yaml", service("web", selector=WEB, cluster_ip="fd00:96::10", ipFamilies=["IPv6"]),
               pod_manifest("web", web.ip, WEB, ip6=web.ip6))
    node.agent()
    answer = explain(node, "[fd00:96::10]:80", "--pid", client.pid)
    assert answer["result"]["verdict"] == "redialled"
    assert answer["backends"][0]["backend"] == f"[{web.ip6}]:8080"


def test_explain_affinity(node, client):
    pods = [node.pod(f"web{i}").serve() for i in range(3)]
    node.write("web.yaml", service("web", selector=WEB, cluster_ip=ADDRESS, sessionAffinity="ClientIP"),
               *(pod_manifest(pod.name, pod.ip, WEB) for pod in pods))
    node.agent()
    assert "10800 s, and no entry" in found(explain(node, f"{ADDRESS}:80", "--pid", client.pid), "affinity")
    chosen = client.pod.call(ask_tcp, ADDRESS, 80)
    ip = next(pod.ip for pod in pods if pod.name == chosen)
    for where in (("--pid", client.pid), ("--netns", client.pod.netns.path)):
        text = found(explain(node, f"{ADDRESS}:80", *where), "affinity")
        assert f"this client has {ip}:8080: entry " in text and "left" in text
    other = node.pod("other").start(linger)
    wait_until(lambda: os.stat(f"/proc/{other.pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino)
    assert "no entry for this" in found(explain(node, f"{ADDRESS}:80", "--pid", other.pid), "affinity")


def test_explain_who_is_not_served(node, client):
    node.write("web.yaml", service("web", cluster_ip=ADDRESS))
    node.agent()
    # This process is in another cgroup.
    answer = explain(node, f"{ADDRESS}:80")
    assert answer["result"]["verdict"] == "left alone" and answer["result"]["pid"] > 0
    assert "NOT in the cgroup" in found(answer, "cgroup")
    # Of a network namespace alone the cgroup is not known.
    answer = explain(node, f"{ADDRESS}:80", "--netns", client.pod.netns.path)
    assert answer["result"]["verdict"] == "refused" and answer["result"]["pid"] == 0


@pytest.mark.parametrize("kind", ["cgroup", "netns"])
def test_explain_who_is_excluded(node, client, kind):
    inner = node.cgroup / "excluded"
    inner.mkdir()
    (inner / "cgroup.procs").write_text(str(client.pid))
    node.write("web.yaml", service("web", cluster_ip=ADDRESS))
    node.agent(f"--exclude-{kind}", inner if kind == "cgroup" else client.pod.netns.path)
    answer = explain(node, f"{ADDRESS}:80", "--pid", client.pid)
    assert answer["result"]["verdict"] == "left alone"
    assert found(answer, "excluded") == f"yes, by --exclude-{kind}"


def test_explain_other_programs_on_the_hook(node, client, bpftool):
    node.write("web.yaml", service("web", cluster_ip=ADDRESS))
    node.agent()
    answer = explain(node, f"{ADDRESS}:80", "--pid", client.pid)
    assert "runs" not in found(answer, "other program")
    inner = node.cgroup / "inner"
    inner.mkdir()
    (inner / "cgroup.procs").write_text(str(client.pid))
    # A program of that type: that of another redial, on another cgroup.
    other = node.bpffs_mount / "second"
    second = node.cgroup.parent / f"{node.cgroup.name}-second"
    second.mkdir()
    try:
        run = node.launch("--bpffs", other, "--cgroup", second)
        node.other_bpffs.append(other)
        run.await_ready()
        status = json.loads(node.command("status", "-o", "json", bpffs=other).stdout)
        theirs = next(row["program_id"] for row in status["hooks"] if row["hook"] == "connect4")
        bpftool("cgroup", "attach", inner, "cgroup_inet4_connect", "id", theirs, "multi")
        text = found(explain(node, f"{ADDRESS}:80", "--pid", client.pid), "other program")
        assert f"rd_connect4 (id {theirs}) runs before redial's" in text
        bpftool("cgroup", "detach", inner, "cgroup_inet4_connect", "id", theirs)
    finally:
        for agent in node.agents[1:]:
            agent.close()
        node.command("cleanup", bpffs=other)
        second.rmdir()


def test_explain_node_ports(node):
    cluster = Cluster(node)
    cluster.service("web", [{"port": 80, "targetPort": 8080, "nodePort": 30080}], type="NodePort",
                    externalTrafficPolicy="Local")
    cluster.pod("web")
    cluster.agent()
    child = cluster.client.start(linger)
    wait_until(lambda: str(child.pid) in (node.cgroup / "cgroup.procs").read_text().split())
    where = ("--pid", child.pid)
    answer = explain(node, f"{cluster.NODE1}:30080", *where)
    assert answer["result"]["verdict"] == "redialled"
    assert "this node's" in found(answer, "node address") and "by its NodePort" in found(answer, "frontend")
    answer = explain(node, f"{cluster.NODE2}:30080", *where, "--manifests", node.manifests, "--node-name", "node1")
    assert answer["result"]["verdict"] == "refused" and "Local" in answer["result"]["because"]
    assert "another node's" in found(answer, "node address")
    assert [row["state"] for row in answer["endpoints"]] == ["on another node, and the policy is Local"]
    answer = explain(node, "192.0.2.1:30080", *where)
    assert answer["result"]["verdict"] == "left alone" and "no node's" in found(answer, "node address")


# ---- why endpoints are left out -----------------------------------------------------


def states(node, *arguments, address=f"{ADDRESS}:80"):
    answer = explain(node, address, "--manifests", node.manifests, "--node-name", "node1", *arguments)
    used = {row["endpoint"] for row in answer["endpoints"] if row["state"] == "used"}
    assert used == {row["backend"] for row in answer["backends"]}, "what it says is used is what is"
    return {(row["object"], row["endpoint"]): row["state"] for row in answer["endpoints"]}


def test_explain_endpoints_by_their_state(node):
    def pod(name, number, **more):
        return pod_manifest(name, f"10.244.0.{number}", WEB, **more)

    ended = pod("ended", 54)
    ended["status"]["phase"] = "Succeeded"
    node.write("web.yaml", service("web", [port(80, "http")], WEB),
               pod("good", 50, ports={"http": 8080}),
               pod("unready", 51, ports={"http": 8080}, ready=False),
               pod("going", 52, ports={"http": 8080}, ready=True, deleting=True),
               pod("gone", 53, ports={"http": 8080}, ready=False, deleting=True),
               ended, pod("portless", 55),
               endpoint_slice("late", "web", ["10.244.0.60"], 8080, {"ready": False}),
               pod_manifest("other", "10.244.0.70", {"app": "other"}))
    node.agent("--node-name", "node1")
    # The address is one that redial assigned.
    address = f"{node.cluster_ip('web')}:80"
    assert states(node, address=address) == {
        ("late", "10.244.0.60:8080"): "not ready",
        ("good", "10.244.0.50:8080"): "used",
        ("unready", "10.244.0.51:8080"): "not ready",
        ("going", "10.244.0.52:8080"): "terminating, while others are ready",
        ("gone", "10.244.0.53:8080"): "terminating, and not serving",
        ("ended", "10.244.0.54"): "its Pod has ended",
        ("portless", "10.244.0.55"): "has no port of that name and protocol"}


def test_explain_endpoints_of_other_zones_and_nodes(node):
    def hinted(name, ip, zone, on):
        item = endpoint_slice(name, "web", [ip], 8080)
        item["endpoints"][0].update(hints={"forZones": [{"name": zone}]}, nodeName=on)
        return item

    node.write("nodes.yaml", node_manifest("node1", "192.168.50.1", zone="a"),
               node_manifest("node2", "192.168.60.2", zone="b"))
    slices = [hinted("here", "10.244.0.50", "a", "node1"), hinted("there", "10.244.1.50", "b", "node2")]
    node.write("web.yaml", service("web", cluster_ip=ADDRESS), *slices)
    node.agent("--node-name", "node1")
    assert states(node) == {("here", "10.244.0.50:8080"): "used",
                            ("there", "10.244.1.50:8080"): "for another zone or node, by its hints"}
    node.write("web.yaml", service("web", cluster_ip=ADDRESS, internalTrafficPolicy="Local"), *slices)
    node.barrier()
    assert states(node)[("there", "10.244.1.50:8080")] == "on another node, and the policy is Local"


def test_explain_what_the_source_does_not_have(node, client):
    path = node.write("web.yaml", service("web", cluster_ip=ADDRESS))
    node.agent().stop()
    path.unlink()
    answer = explain(node, f"{ADDRESS}:80", "--pid", client.pid, "--manifests", node.manifests)
    assert "no such Service" in found(answer, "endpoints") and answer["result"]["verdict"] == "refused"
    node.write("web.yaml", service("web", 81, cluster_ip=ADDRESS))
    answer = explain(node, f"{ADDRESS}:80", "--pid", client.pid, "--manifests", node.manifests)
    assert "not at this address" in found(answer, "endpoints")


# ---- sockets ---------------------------------------------------------------------------


def hold(stop, out, kind, address, number, first=None):
    with socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(5)
        if first:
            client.sendto(b"x", first)
        else:
            client.connect((address, number))
        os.write(out, b"%d\n" % client.fileno())
        while not stop():
            time.sleep(0.01)


def held(pod, *arguments):
    """Start hold(); returns (process, descriptor there)."""
    read, write = os.pipe()
    child = pod.start(hold, write, *arguments)
    os.close(write)
    with os.fdopen(read) as answers:
        return child.pid, int(answers.readline())


def test_explain_a_socket(node, client):
    web = node.pod("web")
    listener = web.listen(socket.SOCK_STREAM, 8080)
    node.write("web.yaml", service("web", selector=WEB, cluster_ip=ADDRESS), pod_manifest("web", web.ip, WEB))
    node.agent()
    pid, descriptor = held(client.pod, socket.SOCK_STREAM, ADDRESS, 80)
    answer = explain(node, "--pid", pid, "--fd", descriptor)
    item = answer["socket"]
    assert item.pop("local").startswith(f"{client.pod.ip}:")
    assert item == {
        "verdict": "redialled", "record": "rd_sockets", "protocol": "TCP", "state": "ESTABLISHED",
        "dialled": f"{ADDRESS}:80", "backend": f"{web.ip}:8080", "namespace": "default", "name": "web",
        "peer": f"{ADDRESS}:80", "inode": node.json("sockets")[0]["inode"]}
    assert answer["flows"] == []
    # One that dialled the Pod itself.
    pid, descriptor = held(client.pod, socket.SOCK_STREAM, web.ip, 8080)
    item = explain(node, "--pid", pid, "--fd", descriptor)["socket"]
    assert (item["verdict"], item["dialled"], item["peer"]) == ("left alone", "", f"{web.ip}:8080")
    listener.close()


def test_explain_an_unconnected_udp_socket(node, client):
    node.write("dns.yaml", service("dns", [port(53, 5353, protocol="UDP")], WEB, ADDRESS),
               pod_manifest("dns", "10.244.0.99", WEB))
    node.agent()
    pid, descriptor = held(client.pod, socket.SOCK_DGRAM, "", 0, (ADDRESS, 53))
    answer = explain(node, "--pid", pid, "--fd", descriptor)
    assert answer["flows"] == [{"dialled": f"{ADDRESS}:53", "backend": "10.244.0.99:5353"}]
    assert answer["socket"]["verdict"] == "redialled"


def hold_many(stop, out, count, address, number):
    """So many sockets; tells the descriptor and the inode's number of each."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    held = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for item in held:
        item.connect((address, number))
    with os.fdopen(out, "w") as told:
        told.writelines(f"{item.fileno()} {os.fstat(item.fileno()).st_ino}\n" for item in held)
    while not stop():
        time.sleep(0.01)


def held_many(pod, address, number):
    """The process, and its sockets' descriptors by their inodes' numbers. Of 3,900 sockets
    some fifty find both their slots taken."""
    read, write = os.pipe()
    holder = pod.start(hold_many, write, 3900, address, number)
    os.close(write)
    with os.fdopen(read) as told:
        return holder, {int(inode): descriptor for descriptor, inode in map(str.split, told)}


def serve_dns(node):
    node.write("dns.yaml", service("dns", [port(53, 5353, protocol="UDP")], WEB, ADDRESS),
               pod_manifest("dns", "10.244.0.99", WEB))


def test_explain_a_socket_whose_slots_others_have(node, client):
    serve_dns(node)
    node.agent()
    holder, descriptors = held_many(client.pod, ADDRESS, 53)
    listed = {row["inode"] for row in node.json("sockets")}
    assert listed < set(descriptors)
    for inode, record in ((min(listed), "rd_sockets"), (min(set(descriptors) - listed), "rd_spill")):
        item = explain(node, "--pid", holder.pid, "--fd", descriptors[inode])["socket"]
        assert (item["record"], item["inode"]) == (record, inode)
        assert (item["verdict"], item["dialled"], item["backend"]) == (
            "redialled", f"{ADDRESS}:53", "10.244.0.99:5353")
        assert (item["namespace"], item["name"], item["peer"]) == ("default", "dns", f"{ADDRESS}:53")
    assert node.status()["totals"]["spills"] == len(descriptors) - len(listed)


def test_slots_of_closed_sockets_are_taken_back_when_records_spill(node, client):
    serve_dns(node)
    agent = node.agent("--log-level", "debug")

    def taken_back():
        held_many(client.pod, ADDRESS, 53)[0].stop()
        return re.search(r"took back slots of closed sockets slots=\d{4}", agent.text())

    wait_until(taken_back)
    assert node.json("sockets") == []


# ---- wrong use, and text ------------------------------------------------------------------


@pytest.mark.parametrize("arguments, says", [
    ((), "ADDRESS:PORT"), (("web",), "ADDRESS:PORT"), (("default/web",), "ADDRESS:PORT"),
    (("10.96.0.10",), "ADDRESS:PORT"), (("10.96.0.10:0x50",), "ADDRESS:PORT"),
    (("10.96.0.10:80", "--pid", "1", "--netns", "/proc/self/ns/net"), "not both"),
    (("--fd", "3"), "goes with --pid"), (("--fd", "x", "--pid", "1"), "descriptor's number"),
    (("10.96.0.10:80", "--fd", "3", "--pid", "1"), "goes with --pid"),
])
def test_explain_used_wrongly(node, arguments, says):
    done = node.command("explain", *arguments)
    assert done.returncode == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1


def test_explain_what_is_not_there(node, client):
    node.agent()
    for arguments, says in (
            (("10.96.0.10:80", "--pid", 4194303), "no process 4194303"),
            (("--pid", 4194303, "--fd", 1), "no process 4194303"),
            (("--pid", client.pid, "--fd", 9999), "has no descriptor 9999"),
            (("10.96.0.10:80", "--netns", "/dev/null"), "not a network namespace")):
        done = node.command("explain", *arguments)
        assert done.returncode == 1 and says in done.stderr, done.stderr
    path = os.open("/dev/null", os.O_RDONLY)
    done = node.command("explain", "--pid", os.getpid(), "--fd", path)
    os.close(path)
    assert done.returncode == 1 and "no socket" in done.stderr


def test_explain_as_text(node, client):
    node.write("web.yaml", service("web", cluster_ip=ADDRESS))
    node.agent()
    text = node.command("explain", f"{ADDRESS}:80", "--pid", client.pid).stdout
    assert text.startswith("VERDICT") and "refused" in text.splitlines()[0]
    assert "STEP" in text and "kube-proxy" in text
