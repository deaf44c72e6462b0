# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The stand-in API server is what the recordings show, and fails as it is told."""

import base64
import gzip
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

import harness
from apiserver import KINDS, ApiServer, Authority

TREE = pathlib.Path(__file__).resolve().parents[2]
RECORDED = TREE / "tests/data/kube-api"
LISTS = [RECORDED / f"{name}-list.json" for name in KINDS]
SERVICES, SLICES, NODES = "/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices", "/api/v1/nodes"
INITIAL = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"

# curl's exit statuses
REFUSED, PARTIAL, TIMEOUT, TLS_FAILED, NOT_SENT, RESET, UNTRUSTED = 7, 18, 28, 35, 55, 56, 60
STREAM_FAILED = 92


class Curl:
    """A client in the server's namespace."""

    def __init__(self, server, directory):
        self.server, self.ca = server, directory / "ca.pem"
        self.trust(server.ca if server.tls else None)

    def trust(self, ca):
        self.ca.write_text(ca.pem if ca else "", encoding="ascii")

    def start(self, path, *options, agent="redial/test"):
        command = ["curl", "-sS", "-g", "-A", agent, "-w", "\n%{http_code}", "--max-time", "10"]
        command += ["--cacert", str(self.ca)] if self.server.tls else []

        def prepare():
            harness.die_with_parent()
            harness.setns(self.server.netns)

        return subprocess.Popen(
            [*command, *options, self.server.url + path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=prepare,
        )

    @staticmethod
    def finish(process):
        """(curl's exit status, HTTP status, body)"""
        output, errors = process.communicate(timeout=20)
        body, _, code = output.rpartition(b"\n")
        assert process.returncode or not errors, errors
        return process.returncode, int(code), body

    def run(self, path, *options, **more):
        return self.finish(self.start(path, *options, **more))

    def get(self, path, *options, **more):
        """(HTTP status, body)"""
        status, code, body = self.run(path, *options, **more)
        assert status == 0, f"curl ended with {status}"
        return code, body

    def json(self, path, *options):
        code, body = self.get(path, *options)
        assert code == 200, body
        return json.loads(body)

    def events(self, path, *options):
        code, body = self.get(path, *options)
        assert code == 200, body
        return [(event["type"], event["object"]) for event in map(json.loads, body.splitlines())]


@pytest.fixture(scope="module", name="shared_server")
def fixture_shared_server():
    with ApiServer() as server:
        yield server


@pytest.fixture(name="server")
def fixture_server(shared_server):
    shared_server.reset()
    return shared_server.load(*LISTS)


@pytest.fixture(name="curl")
def fixture_curl(server, tmp_path):
    return Curl(server, tmp_path)


@pytest.fixture(name="version", params=["--http1.1", "--http2"])
def fixture_version(request):
    return request.param


def names(objects):
    return [item["metadata"]["name"] for item in objects]


def label(server, resource, name, **labels):
    """Put the object again, with these labels added, or with None, removed."""
    item = server.get(resource, "example", name)
    merged = {**item["metadata"].get("labels", {}), **labels}
    item["metadata"]["labels"] = {key: value for key, value in merged.items() if value is not None}
    return server.put(item)


# ---- lists -------------------------------------------------------------------------------


def test_lists_are_the_recorded_ones_byte_for_byte(curl, version):
    for kind, path in zip(KINDS.values(), LISTS):
        code, body = curl.get(f"{kind.path}?limit=500&resourceVersion=0", version)
        assert (code, body) == (200, path.read_bytes())


def test_a_list_comes_in_pages(curl):
    page = curl.json(SLICES + "?limit=2")
    token = page["metadata"]["continue"]
    assert page["metadata"] == {"resourceVersion": "273", "continue": token, "remainingItemCount": 4}
    # As recorded in endpointslices-page1.json.
    assert token == "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MjczLCJzdGFydCI6Ii9leGFtcGxlL2JhY2tlbmQtc2VydmljZS0xXHUwMDAwIn0"
    curl.server.put(harness.endpoint_slice("a-late-one", "x", ["10.0.0.1"], 80, namespace="example"))
    second = curl.json(f"{SLICES}?limit=2&continue={token}")
    third = curl.json(f"{SLICES}?limit=2&continue={second['metadata']['continue']}")
    whole = json.loads((RECORDED / "endpointslices-list.json").read_bytes())
    assert page["items"] + second["items"] + third["items"] == whole["items"]  # of one moment
    assert third["metadata"] == {"resourceVersion": "273"}
    selected = curl.json(SLICES + "?limit=2&labelSelector=!service.kubernetes.io/headless")
    assert "continue" in selected["metadata"] and "remainingItemCount" not in selected["metadata"]


def test_an_expired_page_is_refused_and_can_go_on_inconsistently(curl):
    token = curl.json(SLICES + "?limit=2")["metadata"]["continue"]
    label(curl.server, "endpointslices", "dns-1", new="x")
    curl.server.compact()
    code, body = curl.get(f"{SLICES}?limit=2&continue={token}")
    status = json.loads(body)
    assert (code, status["reason"]) == (410, "Expired")
    rest = curl.json(f"{SLICES}?continue={status['metadata']['continue']}")
    assert names(rest["items"]) == ["dns-1", "frontend-service-1", "lb-1", "sticky-1"]


def test_selectors(curl):
    def listed(query):
        return names(curl.json(f"{SERVICES}?{query}")["items"])

    label(curl.server, "services", "dns", proxy="other")
    assert len(listed("labelSelector=!proxy")) == 6
    assert listed("labelSelector=proxy") == listed("labelSelector=proxy=other") == ["dns"]
    assert "dns" not in listed("labelSelector=proxy!=other") and len(listed("labelSelector=proxy!=other")) == 6
    assert listed("fieldSelector=metadata.name=dns") == ["dns"]
    curl.server.put(harness.service("headless", cluster_ip="None", namespace="example"))
    assert "headless" not in listed("fieldSelector=spec.clusterIP!=None")
    curl.server.configure(service_fields=False)
    code, body = curl.get(SERVICES + "?fieldSelector=spec.clusterIP!=None")
    assert code == 400 and "is not a known field selector" in json.loads(body)["message"]


def test_lists_are_pretty_or_packed_if_asked(curl):
    _, compact = curl.get(SERVICES)
    _, pretty = curl.get(SERVICES, agent="curl/7.88.1")
    assert json.loads(pretty) == json.loads(compact) and pretty.startswith(b'{\n  "kind": "ServiceList",\n')
    curl.server.load_scale(300, 1)
    _, large = curl.get(SERVICES)
    _, packed = curl.get(SERVICES, "-H", "Accept-Encoding: gzip")
    assert packed[:2] == b"\x1f\x8b" and gzip.decompress(packed) == large
    assert curl.get(SERVICES, "--compressed")[1] == large


# The Status bodies as recorded, and (401) as published.
REFUSALS = {
    "services?resourceVersion=99999999": """504 {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",\
"message":"Timeout: Too large resource version: 99999999, current: 273","reason":"Timeout","details":{"causes":\
[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1},"code":504}""",
    "services?continue=this+is+none": """400 {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",\
"message":"invalid continue token: continue key is not valid: illegal base64 data at input byte 4",\
"reason":"BadRequest","code":400}""",
    "anonymous": """403 {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"services is \
forbidden: User \\"system:anonymous\\" cannot list resource \\"services\\" in API group \\"\\" at the cluster scope",\
"reason":"Forbidden","details":{"kind":"services"},"code":403}""",
    "reader": """403 {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"services is \
forbidden: User \\"reader\\" cannot list resource \\"services\\" in API group \\"\\" at the cluster scope",\
"reason":"Forbidden","details":{"kind":"services"},"code":403}""",
    "expired": """401 {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized",\
"reason":"Unauthorized","code":401}""",
}


def refusal(name):
    code, _, body = REFUSALS[name].partition(" ")
    return int(code), body.encode() + b"\n"


def test_what_cannot_be_listed_is_refused_as_recorded(curl, version):
    for name in REFUSALS:
        if name.startswith("services"):
            assert curl.get("/api/v1/" + name, version) == refusal(name)
    assert curl.get("/api/v1/pods")[0] == 404 and curl.get(SERVICES, "-d", "")[0] == 405
    assert curl.get(SERVICES + "?resourceVersion=x")[0] == 500


def test_tokens_and_permissions(curl):
    def get(token=None):
        return curl.get(SERVICES, *(["-H", f"Authorization: Bearer {token}"] if token else []))

    curl.server.set_tokens({"first": "redial", "weak": "reader"})
    curl.server.configure(forbidden=[("reader", "services")])
    assert get("first")[0] == 200
    assert get() == refusal("anonymous") and get("weak") == refusal("reader") and get("none") == refusal("expired")
    curl.server.set_tokens({"second": "redial"})
    assert get("first") == refusal("expired") and get("second")[0] == 200
    curl.server.configure(anonymous=False)
    assert get() == refusal("expired")
    assert [item.user for item in curl.server.requests(status=200)] == ["redial", "redial"]
    assert curl.server.requests()[0].headers["authorization"] == "Bearer first"


# ---- watches -------------------------------------------------------------------------------


def test_a_watch_tells_what_changes_for_its_selector(curl, version):
    server = curl.server
    before = json.loads((RECORDED / "services-list.json").read_bytes())["items"]
    sticky = next(item for item in before if item["metadata"]["name"] == "sticky")
    query = "?watch=1&resourceVersion=273&timeoutSeconds=0.5&labelSelector=!service.kubernetes.io/service-proxy-name"
    client = curl.start(SERVICES + query, version)
    server.wait_watches("services")
    # What watch-services.ndjson recorded.
    rvs = [
        label(server, "services", "sticky", **{"service.kubernetes.io/service-proxy-name": "other"}),
        label(server, "services", "sticky", **{"service.kubernetes.io/service-proxy-name": None}),
        server.delete("services", "example", "empty"),
        label(server, "services", "backend-service", new="x"),
    ]
    assert rvs == [274, 275, 276, 277]
    assert server.wait_written(277) > server.wait_written(274)
    status, code, body = curl.finish(client)
    events = [json.loads(line) for line in body.splitlines()]
    assert (status, code) == (0, 200)
    assert [event["type"] for event in events] == ["DELETED", "ADDED", "DELETED", "MODIFIED"]
    assert [event["object"]["metadata"]["resourceVersion"] for event in events] == ["274", "275", "276", "277"]
    # Old content, new version.
    sticky["metadata"]["resourceVersion"] = "274"
    assert events[0]["object"] == {"kind": "Service", "apiVersion": "v1", **sticky}
    assert body.startswith(b'{"type":"DELETED","object":{"kind":"Service","apiVersion":"v1","metadata":{"name":')
    # From then on: what came after.
    again = curl.events(SERVICES + "?watch=1&resourceVersion=275&timeoutSeconds=0")
    assert [what for what, _ in again] == ["DELETED", "MODIFIED"]
    assert [item["metadata"]["resourceVersion"] for _, item in again] == ["276", "277"]


# From the recordings; {} is the resourceVersion.
SHELLS = {
    SERVICES: '{"type":"BOOKMARK","object":{"kind":"Service","apiVersion":"v1","metadata":{"resourceVersion":"290"},'
    '"spec":{},"status":{"loadBalancer":{}}}}',
    SLICES: '{"type":"BOOKMARK","object":{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1",'
    '"metadata":{"resourceVersion":"290"},"addressType":"","endpoints":null,"ports":null}}',
}


def test_bookmarks_come_in_intervals_and_before_the_end(curl):
    curl.server.bump(290)
    curl.server.configure(bookmark_lead=0.3)
    query = "?watch=1&resourceVersion=273&timeoutSeconds=0.5&allowWatchBookmarks=true"
    clients = [(curl.start(path + query), shell) for path, shell in SHELLS.items()]
    for client, shell in clients:
        _, _, body = curl.finish(client)
        assert body.decode() == 2 * (shell + "\n")
    curl.server.configure(bookmark_interval=0.1, bookmark_lead=9)
    _, body = curl.get(SERVICES + query)
    assert 4 <= len(body.splitlines()) <= 6
    assert curl.get(SERVICES + query.replace("&allow", "&none"))[1] == b""


def test_initial_events_are_the_recorded_ones(curl, version):
    client = curl.start(f"{SLICES}?{INITIAL}&timeoutSeconds=0.5", version)
    curl.server.wait_watches("endpointslices")
    label(curl.server, "endpointslices", "dns-1", new="x")
    _, _, body = curl.finish(client)
    *added, mark, change = body.splitlines()
    recorded = json.loads((RECORDED / "endpointslices-list.json").read_bytes())["items"]
    head = {"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1"}
    expected = [{"type": "ADDED", "object": {**head, **item}} for item in recorded]
    assert [line.decode() for line in added] == [json.dumps(item, separators=(",", ":")) for item in expected]
    assert mark.decode() == (
        '{"type":"BOOKMARK","object":{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":'
        '{"resourceVersion":"273","annotations":{"k8s.io/initial-events-end":"true"}},'
        '"addressType":"","endpoints":null,"ports":null}}'
    )
    assert json.loads(change)["type"] == "MODIFIED"


def test_older_and_newer_servers(curl):
    curl.server.configure(watch_list="off")
    code, body = curl.get(f"{SLICES}?{INITIAL}")
    status = json.loads(body)
    assert (code, status["reason"]) == (422, "Invalid")
    assert status["message"].endswith(
        "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
    )
    curl.server.configure(watch_list="unknown")
    assert curl.get(f"{SLICES}?{INITIAL}")[0] == 422
    curl.server.configure(watch_list="on", compress_watch_list=True)
    _, packed = curl.get(f"{SLICES}?{INITIAL}&timeoutSeconds=0", "-H", "Accept-Encoding: gzip")
    assert len(gzip.decompress(packed).splitlines()) == 7


def test_a_watch_from_the_past_or_the_future(curl):
    curl.server.compact()
    [(what, status)] = curl.events(SERVICES + "?watch=1&resourceVersion=5")
    assert (what, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
    assert status["message"] == "too old resource version: 5 (273)"
    curl.server.configure(expired_watch="status")
    assert curl.get(SERVICES + "?watch=1&resourceVersion=5")[0] == 410
    assert curl.get(SERVICES + "?watch=1&resourceVersion=999&timeoutSeconds=0") == (200, b"")
    assert curl.get(SERVICES + "?watch=1&resourceVersion=x")[0] == 500


# ---- faults ----------------------------------------------------------------------------------


def test_statuses_for_so_many_requests(curl):
    server = curl.server
    server.fault("services", "list", "status", code=429, retry_after=7, times=2, skip=1)
    server.fault("*", "*", "status", code=200, body={"kind": "Status", "code": 500})
    assert curl.json(SLICES) == {"kind": "Status", "code": 500}
    assert curl.get(SERVICES)[0] == 200
    code, body = curl.get(SERVICES, "-i", "--http2")
    assert code == 429 and b"retry-after: 7" in body
    assert curl.get(SERVICES)[0] == 429 and curl.get(SERVICES)[0] == 200 and server.faults() == []
    server.fault("services", "list", "redirect", location="http://elsewhere.example/")
    assert curl.get(SERVICES)[0] == 302
    server.fault("services", "list", "status", code=401)
    assert curl.get(SERVICES) == refusal("expired")


def test_bodies_that_are_not_what_they_should_be(curl, version):
    def get(what, verb="list", **options):
        curl.server.fault("services", verb, what, **options)
        return curl.get(SERVICES + ("?watch=1&timeoutSeconds=0" if verb == "watch" else ""), version)[1]

    assert json.loads(get("empty"))["items"] == [] and json.loads(get("empty", items=None))["items"] is None
    assert json.loads(get("status-as-list"))["kind"] == "Status"
    for verb in ("list", "watch"):
        with pytest.raises(ValueError):
            json.loads(get("malformed", verb))
        assert len(get("huge", verb, bytes=1 << 20)) > 1 << 20
        assert get("deep", verb, depth=9999).count(b"{") > 9999
    assert len(gzip.decompress(get("gzip-bomb", bytes=8 << 20))) == 8 << 20
    assert get("none", chunk=7) == LISTS[0].read_bytes()
    curl.server.fault("services", "list", "endless")
    status, _, body = curl.run(SERVICES, version, "--max-time", "0.3")
    assert status == TIMEOUT and len(body) > 100000
    curl.server.fault("services", "list", "headers", count=100000 if version == "--http1.1" else 20000)
    assert curl.run(SERVICES, version)[0] != 0  # more than it takes
    assert curl.get(SERVICES, version)[0] == 200


def test_answers_that_break_off(curl, version):
    server, is_http2 = curl.server, version == "--http2"

    def run(path, what, **options):
        server.fault("*", "*", what, **options)
        return curl.run(path, version, "--max-time", "0.3" if what == "stall" else "10")

    watch = SERVICES + "?watch=1&timeoutSeconds=0.2"
    whole = LISTS[0].read_bytes()
    status, _, body = run(SERVICES, "cut", after=1234)
    assert status in (PARTIAL, RESET, STREAM_FAILED) and body == whole[:1234]
    assert run(SERVICES, "cut", after=1234, how="reset", chunk=1)[0] in (PARTIAL, RESET, STREAM_FAILED)
    assert run(SERVICES, "cut", after=1234, how="stream")[0] == (STREAM_FAILED if is_http2 else PARTIAL)
    assert run(SERVICES, "cut")[1:] == (0, b"")
    assert run(SERVICES, "stall") == (TIMEOUT, 0, b"")
    assert run(SERVICES, "stall", after=10) == (TIMEOUT, 200, whole[:10])
    assert run(watch, "end") == (0, 200, b"")
    status, _, body = run(watch, "end", after_events=2)
    assert status == 0 and len(body.splitlines()) == 2 and body.endswith(b"\n")
    status, _, body = run(watch, "error-event", after_events=1, code=410, reason="Gone")
    assert status == 0 and json.loads(body.splitlines()[1])["object"]["reason"] == "Gone"
    assert run(watch, "insert", after_events=1, data=b"{,}\n")[2].splitlines()[1] == b"{,}"


def test_open_watches_can_be_interfered_with(curl):
    path, server = SERVICES + "?watch=1&resourceVersion=273", curl.server

    def interfere(**options):
        client = curl.start(path, "--max-time", "0.3" if options["then"] == "stall" else "10")
        server.wait_watches("services")
        assert server.inject("services", **options) == 1
        status, _, body = curl.finish(client)
        server.wait_watches("services", 0)
        return status, body

    assert interfere(then="end") == (0, b"")
    status, body = interfere(data=b'{"type":', then="cut", how="abort")
    assert status and body == b'{"type":'
    assert interfere(then="stall")[0] == TIMEOUT
    assert b'"code":429' in interfere(then="error-event", code=429)[1]


# ---- connections -------------------------------------------------------------------------------


def test_watches_share_an_http2_connection_and_its_windows(curl):
    server = curl.server
    server.load_scale(1000, 10)
    others = [f"{server.url}{path}?{INITIAL}" for path in (SLICES, NODES)]
    to_null = 3 * ["-o", "/dev/null"]
    client = curl.start(f"{SERVICES}?{INITIAL}&timeoutSeconds=60", "--http2", "--parallel", *to_null, *others)
    for resource in ("services", "endpointslices", "nodes"):
        server.wait_watches(resource)
    assert {live["request"].protocol for live in server.watches()} == {"HTTP/2"}
    assert len({live["request"].connection for live in server.watches()}) == 1 == len(server.connections())
    harness.wait_until(lambda: all(live["events"] for live in server.watches()))
    client.kill()
    client.communicate()
    server.wait_watches(None, 0)


def test_goaway_sends_the_next_request_elsewhere(curl, version):
    curl.server.fault("services", "list", "goaway")
    curl.get(SERVICES, version, curl.server.url + SERVICES, curl.server.url + SERVICES)
    first, second, third = (item.connection for item in curl.server.requests())
    assert first != second == third


def test_certificates_of_servers_and_clients(server, curl, tmp_path):
    def client(**options):
        issued = server.client_certificate("node1", ["system:nodes"], **options)
        (tmp_path / "client.pem").write_text(issued.pem + issued.key, encoding="ascii")
        return curl.get(SERVICES, "--cert", str(tmp_path / "client.pem"))

    server.set_tokens([])
    assert client()[0] == 200 and server.requests()[-1].user == "node1"
    assert client(expired=True) == refusal("expired")
    server.configure(auth=False)
    good = server.ca
    for wrong in ({"sans": ["elsewhere.example"]}, {"expired": True}, {"ca": Authority()}):
        server.use_certificate(**wrong)
        assert curl.run(SERVICES)[0] == UNTRUSTED
    new = server.rotate_ca()
    assert curl.run(SERVICES)[0] == UNTRUSTED
    curl.trust(new)
    assert curl.get(SERVICES)[0] == 200 and good.pem != new.pem
    config = server.kubeconfig(token="secret")
    assert f'server: "{server.url}"' in config and '"secret"' in config
    data = re.search('certificate-authority-data: "(.*)"', config)[1]
    assert base64.b64decode(data).decode() == new.pem


def test_it_goes_away_and_comes_back(server, curl):
    client = curl.start(SERVICES + "?watch=1&resourceVersion=273")
    server.wait_watches("services")
    label(server, "services", "dns", new="x")
    server.wait_written(274)
    server.restart()
    assert curl.finish(client)[0] in (PARTIAL, NOT_SENT, RESET, TLS_FAILED)
    assert curl.json(SERVICES)["metadata"]["resourceVersion"] == "274"
    client = curl.start(SERVICES + "?watch=1&resourceVersion=274")
    server.wait_watches("services")
    server.stop_listening(how="clean")
    assert curl.finish(client) == (0, 200, b"")
    assert curl.run(SERVICES)[0] == REFUSED
    server.listen()
    server.restart(rv=260)
    assert curl.get(SERVICES + "?resourceVersion=274")[0] == 504
    assert curl.json(SERVICES)["metadata"]["resourceVersion"] == "260"
    server.restart(compact=True)
    assert curl.events(SERVICES + "?watch=1&resourceVersion=259")[0][0] == "ERROR"
    server.configure(accept="stall")
    assert curl.run(SERVICES, "--max-time", "0.3")[0] == TIMEOUT
    server.configure(accept="serve")
    server.freeze()
    assert curl.run(SERVICES, "--max-time", "0.3")[0] == TIMEOUT
    server.thaw()
    assert curl.get(SERVICES)[0] == 200


@pytest.fixture(name="plain_server")
def fixture_plain_server():
    with ApiServer(tls=False) as server:
        yield server


def test_ten_thousand_services(plain_server, tmp_path):
    server, curl = plain_server, Curl(plain_server, tmp_path)
    rv = server.load_scale(10000, 10)
    for query in ("?resourceVersion=0", f"?{INITIAL}&timeoutSeconds=0"):
        body = curl.get(SLICES + query, "--http1.1")[1]
        assert body.count(b'"10.1') == 100000
    client = curl.start(f"{SLICES}?watch=1&resourceVersion={rv}&timeoutSeconds=3")
    server.wait_watches("endpointslices")
    server.churn("endpointslices", rate=1000, count=500)
    changes = server.churned()
    server.wait_written(changes[-1][0])
    written = {rv: at for rv, _, _, at in server.written()}
    assert len(changes) == 500 and all(written[rv] >= at for rv, at in changes)
    _, _, body = curl.finish(client)
    assert len(body.splitlines()) == 500


def test_the_server_dies_with_its_test():
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        os.write(writer, str(ApiServer().process.pid).encode())
        signal.pause()
    server = int(os.read(reader, 32))
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    os.close(reader)
    os.close(writer)

    def is_gone():
        try:
            return pathlib.Path(f"/proc/{server}/stat").read_text(encoding="ascii").split(") ")[1][0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    harness.wait_until(is_gone, "the server is gone")
