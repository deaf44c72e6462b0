# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Whatever the API server says or does not say: what was served goes on being
served, nothing is taken away that is not gone, and a hostile server costs the
agent neither its memory nor its token."""

import re
import signal

import pytest
from apiserver import ApiServer, Authority
from harness import endpoint_slice, node_manifest, port, service, wait_until
from test_kube import PATHS, KubeNode, expected, found

TOKEN = "token-that-nobody-may-see-91f3"
MEMORY_KB = 150 * 1024


@pytest.fixture(name="kube")
def fixture_kube(node):
    with KubeNode(node) as kube:
        yield kube
        for agent in node.agents:
            assert TOKEN not in agent.text(), agent.text()


def wait_lines(agent, n, *fragments):
    wait_until(lambda: len(agent.lines(*fragments)) >= n, f"{n} lines with {fragments}")
    assert len(agent.lines(*fragments)) == n, agent.lines(*fragments)


def empty(kube, resource="services"):
    """Take all objects of a resource away, and forget what was there."""
    kube.server.stop_listening("reset")
    for key in [key for key in kube.objects if key[0] == resource]:
        kube.server.delete(*key)
    kube.server.compact()
    kube.server.listen()


# ---- before all is known ------------------------------------------------------------


@pytest.mark.parametrize("late", ["services", "endpointslices", "nodes"])
def test_nothing_is_written_before_all_first_lists_are_complete(kube, late):
    kube.serve()
    before = found(kube.node)
    kube.node.agents[-1].kill()
    kube.put_news()
    kube.delete("services", "news1")
    kube.server.fault(late, "*", "stall", times=None)
    agent = kube.node.launch("--node-name", "node1", "--stall-timeout", "1")
    for resource in {"services", "endpointslices", "nodes"} - {late}:
        agent.wait_line("listed", f"resource={PATHS[resource]} ")
    kube.server.wait_request(resource=late, after=kube.marked)
    kube.load.more(20)
    assert found(kube.node) == before
    status = kube.node.status()["agent"]
    assert (status["agent"], status["writes"]) == ("starting", 0)
    kube.server.clear_faults()
    agent.await_ready()
    kube.check()


def test_an_agent_that_finds_no_server_leaves_everything_at_work(kube):
    kube.serve()
    before = found(kube.node)
    kube.node.agents[-1].kill()
    kube.server.stop_listening("reset")
    agent = kube.node.launch("--node-name", "node1")
    for path in (PATHS["services"], PATHS["endpointslices"], PATHS["nodes"]):
        agent.wait_line("warn: ", f"resource={path} ")
    kube.load.more(20)
    assert found(kube.node) == before
    kube.server.listen()
    agent.await_ready()
    assert kube.node.writes() == 0
    kube.check()


# ---- nothing, or nonsense, in the place of something --------------------------------------


def test_nothing_after_something_is_believed_when_said_three_times(kube):
    agent = kube.serve()
    before = found(kube.node)
    empty(kube)
    for n in (1, 2):
        wait_lines(agent, n, "not believed, asking again", PATHS["services"])
        kube.load.more(20)
        assert found(kube.node) == before
        if n == 2:
            kube.load.check({"pod1"})
        # Instead of waiting for it.
        agent.signal(signal.SIGHUP)
    wait_until(lambda: found(kube.node) == ([], []))
    kube.put_web()
    wait_until(lambda: kube.node.backends("web"))


def test_nothing_that_turns_out_to_be_wrong(kube):
    kube.server.configure(watch_list="off")
    agent = kube.serve()
    writes = kube.node.writes()
    kube.server.fault("services", "list", "empty")
    kube.server.fault("services", "list", "empty", items=None)
    kube.server.inject("services", then="error-event", code=410)
    for n in (1, 2):
        wait_lines(agent, n, "not believed, asking again", PATHS["services"])
        kube.load.more(20)
        agent.signal(signal.SIGHUP)
    kube.wait_watches()
    assert kube.node.writes() == writes
    kube.check()


def test_nothing_is_not_believed_at_the_start_either(kube):
    """The maps have something."""
    kube.serve()
    before = found(kube.node)
    kube.node.agents[-1].kill()
    kube.server.configure(watch_list="off")
    for resource in ("services", "endpointslices"):
        kube.server.fault(resource, "list", "empty")
    agent = kube.node.launch("--node-name", "node1")
    for resource in ("services", "endpointslices"):
        wait_lines(agent, 1, "not believed, asking again", PATHS[resource])
    kube.load.more(20)
    assert found(kube.node) == before
    agent.signal(signal.SIGHUP)
    agent.await_ready()
    assert kube.node.writes() == 0
    kube.check()


@pytest.mark.parametrize("listing", ["stream", "list"])
def test_an_answer_that_is_none_changes_nothing(kube, listing):
    """A refusal with status 200, a list that is broken, and somebody's web page."""
    kube.put(node_manifest("node1", "192.168.50.1"))
    kube.server.configure(watch_list="on" if listing == "stream" else "off")
    agent = kube.serve()
    writes = kube.node.writes()
    kube.server.fault("services", "*", "status-as-list")
    kube.server.fault("endpointslices", "*", "malformed")
    kube.server.fault("nodes", "*", "status", code=200, body="<html>Please log in</html>")
    for resource in ("services", "endpointslices", "nodes"):
        kube.server.inject(resource, then="error-event", code=410)
    for resource in ("services", "endpointslices", "nodes"):
        agent.wait_line("info: the API server answers", f"resource={PATHS[resource]}")
        assert len(agent.lines("warn: the API server does not answer", f"resource={PATHS[resource]}")) == 1
    assert kube.node.writes() == writes
    kube.check()


def test_another_kinds_list_changes_nothing(kube):
    kube.server.configure(watch_list="off")
    kube.serve()
    writes = kube.node.writes()
    body = {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "5"}, "items": []}
    kube.server.fault("services", "list", "status", code=200, body=body)
    kube.server.inject("services", then="error-event", code=410)
    assert [what for what, _ in kube.asked(n=3)] == ["list", "list", "watch"]
    assert kube.node.writes() == writes
    kube.check()


# ---- servers that go and come ----------------------------------------------------------------


@pytest.mark.parametrize("how", ["reset", "abort", "close", "clean"])
def test_the_server_is_restarted(kube, how):
    kube.serve()
    kube.server.restart(how=how, compact=how == "reset")
    kube.check()


def test_the_server_is_gone_for_a_while(kube):
    agent = kube.serve()
    writes, before = kube.node.writes(), found(kube.node)
    kube.server.stop_listening("reset")
    for resource in ("services", "endpointslices", "nodes"):
        agent.wait_line("warn: the API server does not answer", f"resource={PATHS[resource]}")
    kube.load.more(20)
    assert (kube.node.writes(), found(kube.node)) == (writes, before)
    assert kube.node.status()["agent"]["agent"] == "ready"
    kube.put_news()
    kube.delete("services", "news1")
    kube.server.listen()
    kube.check()
    for resource in ("services", "endpointslices"):
        agent.wait_line("info: the API server answers", f"resource={PATHS[resource]}")


def test_the_certificate_authority_is_replaced(kube):
    """In its file; the server then shows a certificate of the new one."""
    path = kube.node.directory / "ca.crt"
    path.write_text(kube.server.ca.pem, encoding="utf-8")
    kube.write_kubeconfig(ca=path)
    agent = kube.serve()
    kube.server.rotate_ca()
    kube.server.close_connections("reset")
    agent.wait_line("warn: ", "certificate", f"resource={PATHS['services']}")
    kube.load.more(20)
    path.write_text(kube.server.ca.pem, encoding="utf-8")
    kube.check()


# ---- bad objects -------------------------------------------------------------------------------


def bad_service(name):
    return service(name, [port(99999999)], cluster_ip="10.96.0.66", namespace="default")


@pytest.mark.parametrize("when", ["listed", "watched"])
def test_a_bad_object_is_left_out_and_said(kube, when):
    if when == "listed":
        kube.server.put(bad_service("bad"), raw=True)
    agent = kube.serve()
    if when == "watched":
        kube.server.put(bad_service("bad"), raw=True)
    line = agent.wait_line("warn: object not used")
    assert "default/bad" in line or ("default" in line and "bad" in line), line
    kube.check()


def test_an_object_that_turns_bad_stays_as_it_was(kube):
    """Also when it is listed."""
    agent = kube.serve()
    writes = kube.node.writes()
    kube.server.put(bad_service("web"), raw=True)
    kube.server.put(
        {**endpoint_slice("web-1", "web", ["no address"], 8080, namespace="default"), "ports": [{"port": -1}]}, raw=True
    )
    wait_lines(agent, 2, "warn: object not used")
    for resource in ("services", "endpointslices"):
        kube.server.inject(resource, then="error-event", code=410)
        kube.server.wait_watches(resource)
    # What has been said is not repeated.
    wait_lines(agent, 2, "warn: object not used")
    assert kube.node.writes() == writes
    kube.put_web()
    kube.check()


def test_nodes_that_we_may_not_see(kube):
    kube.server.configure(forbidden=(("*", "nodes"),))
    kube.put_web()
    agent = kube.agent()
    assert kube.client.ask(kube.VIP) == "pod1"
    assert "nodes is forbidden" in agent.wait_line("warn: ", f"resource={PATHS['nodes']}")


def test_services_that_we_may_not_see(kube):
    """They are needed."""
    kube.server.configure(forbidden=(("*", "services"),))
    kube.put_web()
    agent = kube.node.launch("--node-name", "node1")
    assert "services is forbidden" in agent.wait_line("warn: ", f"resource={PATHS['services']}")
    assert kube.node.status()["agent"]["agent"] == "starting"
    kube.server.configure(forbidden=())
    agent.await_ready()
    assert kube.client.ask(kube.VIP) == "pod1"


# ---- hostile servers ---------------------------------------------------------------------------


def peak_kb(agent):
    with open(f"/proc/{agent.pid}/status", encoding="utf-8") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1])


HOSTILE = [
    ("huge", {"bytes": 64 << 20}),
    ("deep", {"depth": 100000}),
    ("gzip-bomb", {"bytes": 256 << 20}),
    ("headers", {"count": 100000, "times": None}),  # libcurl itself asks again
    ("status", {"code": 500, "body": "x" * (4 << 20)}),
    ("status", {"code": 503, "body": b"\0\xff" * 1000}),
]
RESOURCES = ("services", "endpointslices", "nodes")


def wait_complaint(agent, resource, what, seconds=30, others=0):
    """One line says that something is wrong with a resource, and there is no
    flood of others."""

    def is_said():
        assert agent.log.stat().st_size < 1 << 20, "the log is full"
        return agent.lines("warn: the API server does not answer", f"resource={PATHS[resource]} ")

    wait_until(is_said, f"something is said of {what}", seconds)
    assert len(is_said()) == 1, is_said()
    assert len(agent.lines("warn: ", f"resource={PATHS[resource]} ")) <= 1 + others, agent.lines("warn: ")


@pytest.mark.parametrize("hostile", [HOSTILE[:3], HOSTILE[3:]], ids=["bodies", "others"])
@pytest.mark.parametrize("listing, http2", [("stream", True), ("list", False)], ids=["stream-http2", "list-http1"])
def test_a_hostile_answer_costs_little(kube, listing, http2, hostile, is_asan):
    """One for each resource."""
    kube.server.set_tokens({TOKEN: "redial"})
    kube.write_kubeconfig(token=TOKEN)
    kube.server.configure(watch_list="on" if listing == "stream" else "off", http2=http2)
    agent = kube.serve()
    # The headers last: they end a connection, with what others are answered on it.
    for resource, (what, options) in reversed(list(zip(RESOURCES, hostile))):
        kube.server.fault(resource, "*", what, **options)
        kube.server.inject(resource, then="error-event", code=410)
        wait_complaint(agent, resource, what)
    kube.server.clear_faults()
    assert is_asan or peak_kb(agent) < MEMORY_KB
    kube.check()


@pytest.mark.parametrize("listing", ["stream", "list"])
def test_an_endless_answer_is_given_up(kube, listing, is_asan):
    kube.server.configure(watch_list="on" if listing == "stream" else "off")
    agent = kube.serve()
    kube.server.fault("services", "*", "endless")
    kube.server.inject("services", then="error-event", code=410)
    # The list's objects are not usable either.
    wait_complaint(agent, "services", "endless", 60, 20)
    assert is_asan or peak_kb(agent) < MEMORY_KB
    kube.check()


@pytest.mark.parametrize("code", [302, 308])
def test_a_redirect_is_not_followed(kube, code):
    kube.server.set_tokens({TOKEN: "redial"})
    kube.write_kubeconfig(token=TOKEN)
    with ApiServer(kube.node.host, tls=False) as other:
        agent = kube.serve()
        kube.server.fault("services", "*", "redirect", code=code, location=other.url + PATHS["services"])
        kube.server.inject("services", then="error-event", code=410)
        assert "redirect" in agent.wait_line("warn: ", PATHS["services"])
        kube.check()
        assert not other.requests() and not other.accepted()


def test_a_server_that_cannot_be_trusted_gets_nothing(kube):
    """Neither a token nor belief; one line says why."""
    kube.server.set_tokens({TOKEN: "redial"})
    kube.write_kubeconfig(token=TOKEN)
    agent = kube.serve()
    path = PATHS["services"]
    for n, (what, why) in enumerate(
        (
            ({"sans": ["another.example"]}, "name"),
            ({"expired": True}, "expired"),
            ({"ca": Authority()}, "certificate"),
        ),
        1,
    ):
        kube.server.use_certificate(**what)
        kube.mark()
        kube.server.close_connections("reset")
        wait_lines(agent, n, "warn: the API server does not answer", f"resource={path}")
        assert why in agent.lines("warn: the API server does not answer", f"resource={path}")[-1]
        kube.load.more(20)
        assert not kube.server.requests(kube.marked)
        kube.server.use_certificate()
        # Instead of waiting for it.
        agent.signal(signal.SIGHUP)
        wait_lines(agent, n, "info: the API server answers", f"resource={path}")
        kube.news()
    kube.check()


@pytest.mark.parametrize("accept", ["stall", "close"])
def test_a_server_that_only_accepts(kube, accept):
    agent = kube.serve("--stall-timeout", "1")
    kube.server.configure(accept=accept)
    kube.server.close_connections("reset")
    agent.wait_line("warn: the API server does not answer", PATHS["services"])
    kube.load.more(20)
    kube.server.configure(accept="serve")
    kube.check()


def test_a_token_that_has_expired(kube):
    kube.server.set_tokens({TOKEN: "redial"})
    kube.write_kubeconfig(token=TOKEN)
    agent = kube.serve()
    kube.server.set_tokens({})
    kube.server.inject("*", then="end")
    for resource in ("services", "endpointslices", "nodes"):
        assert "401" in agent.wait_line("warn: the API server does not answer", f"resource={PATHS[resource]}")
    kube.load.more(20)
    assert found(kube.node) == expected(kube.objects.values())
    kube.server.set_tokens({TOKEN: "redial"})
    kube.check()
