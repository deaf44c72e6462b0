# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How the agent lists and watches, statement by statement: F1 to F9; the others
are in test_f_stream.py and test_f_access.py. Each test has the server do
something, and looks at what it is asked next, at the maps, and at a client that
connects all the while."""

import pytest
from apiserver import error_event, make_token
from harness import wait_until
from test_kube import PATHS, KubeNode, strays

FIRST_MS, MOST_MS = 800, 1600


@pytest.fixture(name="kube")
def fixture_kube(node):
    with KubeNode(node) as kube:
        yield kube


def partial_event(kube):
    """The first half of an event that would send "web" elsewhere."""
    data = (
        '{"type":"MODIFIED","object":{"kind":"Service","apiVersion":"v1","metadata":{"name":"web",'
        f'"namespace":"default","resourceVersion":"{kube.server.rv() + 1}"}},"spec":{{"clusterIP":"10.96.0.99"'
    )
    return data.encode()


# ---- F1, F2: lists ---------------------------------------------------------------------


def test_f01_the_first_list_may_be_old(kube):
    kube.server.configure(watch_list="off")
    kube.serve()
    stream, first, watch = kube.first_requests(n=3)
    assert stream.status == 422
    assert (first.verb, first.query["resourceVersion"], first.query["limit"]) == ("list", "0", "500")
    assert watch.verb == "watch" and watch.query["resourceVersion"] not in ("", "0")
    kube.check()


def test_f01_a_relist_is_as_fresh_as_what_is_known(kube):
    kube.server.configure(watch_list="off")
    kube.serve()
    kube.server.inject("services", then="error-event", code=410)
    relist, watch = kube.requests(n=2)
    assert (relist.verb, relist.query["resourceVersion"]) == ("list", kube.version())
    assert "limit" not in relist.query and "resourceVersionMatch" not in relist.query
    assert watch.verb == "watch"
    kube.check()


@pytest.mark.parametrize("code", [410, 504])
def test_f01_a_list_that_is_refused_for_its_version_is_asked_without_one(kube, code):
    kube.server.configure(watch_list="off")
    kube.serve()
    kube.server.fault("services", "list", "status", code=code)
    kube.server.inject("services", then="error-event", code=410)
    assert kube.asked(n=2) == [("list", kube.version()), ("list", "")]
    assert kube.delays(n=2) == [0, 0]
    kube.check()


def paged(kube, *options):
    """Start with a server that has 1,200 slices and gives them in pages."""
    kube.server.configure(watch_list="off")
    kube.put(*strays(1200))
    kube.server.fault("endpointslices", "list", "status", code=410)
    kube.serve(*options)
    return kube.server.requests(resource="endpointslices", verb="list")


def test_f02_pages_repeat_the_query_without_the_version(kube):
    _, *pages = paged(kube)
    assert len(pages) == 3
    assert "resourceVersion" not in pages[0].query and pages[0].query["limit"] == "500"
    for page in pages[1:]:
        query = dict(page.query)
        assert query.pop("continue")
        assert query == pages[0].query
    kube.check()


def test_f02_an_expired_page_leads_to_one_whole_list(kube):
    kube.server.fault("endpointslices", "list", "status", skip=2, code=410)
    _, first, second, whole = paged(kube)
    assert "continue" not in first.query and "continue" in second.query
    assert "continue" not in whole.query and "limit" not in whole.query
    assert whole.query.get("resourceVersion") == first.query.get("resourceVersion")
    kube.check()


def test_f02_pages_may_be_empty(kube):
    kube.put_web()
    kube.server.configure(watch_list="off")
    rv = kube.server.rv()
    page = {
        "kind": "EndpointSliceList",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"resourceVersion": str(rv), "continue": make_token(rv, "")},
        "items": [],
    }
    kube.server.fault("endpointslices", "list", "status", times=2, code=200, body=page)
    kube.serve()
    lists = kube.server.requests(resource="endpointslices", verb="list")
    assert ["continue" in item.query for item in lists] == [False, True, True]
    kube.check()


def test_f02_a_broken_page_deletes_nothing(kube):
    """What was on no page yet stays; the list is begun anew."""
    kube.put(*strays(1200))
    kube.serve()
    kube.server.configure(watch_list="off")
    for code in (422, 410):  # no stream; a list without a version, and so with pages
        kube.server.fault("endpointslices", "watch" if code == 422 else "list", "status", code=code)
    kube.server.fault("endpointslices", "list", "cut", skip=1, after=1000, how="stream")
    kube.server.inject("endpointslices", then="error-event", code=410)
    asked = kube.asked("endpointslices", 5)
    assert asked[:4] == [
        ("stream", kube.version("endpointslices")),
        ("list", kube.version("endpointslices")),
        ("list", ""),
        ("list", ""),
    ], asked
    kube.check()


# ---- F3 to F6: versions -------------------------------------------------------------------


def test_f03_a_watch_asks_for_bookmarks_and_an_end(kube):
    kube.serve()
    for resource in ("services", "endpointslices", "nodes"):
        kube.server.inject(resource, then="end")
    for resource in ("services", "endpointslices"):
        (watch,) = kube.requests(resource)
        assert watch.query["watch"] == "1" and watch.query["allowWatchBookmarks"] == "true"
        assert watch.query["resourceVersion"] == kube.version(resource)
        assert 300 <= int(watch.query["timeoutSeconds"]) <= 600
        assert not {"resourceVersionMatch", "sendInitialEvents", "limit"} & set(watch.query)
    kube.check()


def test_f03_watches_do_not_end_all_at_once(kube):
    kube.serve()
    for resource in ("services", "endpointslices"):
        kube.server.inject(resource, then="end")
        kube.requests(resource)
    seconds = {item.query["timeoutSeconds"] for item in kube.server.requests(verb="watch")}
    assert len(seconds) > 1, seconds
    kube.check()


def test_f04_a_bookmark_counts_as_a_version(kube):
    kube.serve()
    rv = kube.server.rv() + 500
    kube.server.bump(rv)
    kube.server.bookmark("services")
    kube.server.inject("services", then="end")
    assert kube.asked() == [("watch", str(rv))]
    kube.check()


def test_f04_a_bookmark_is_no_object(kube):
    """Not even one that has a Service's name."""
    kube.serve()
    writes = kube.node.writes()
    rv = kube.server.rv() + 500
    kube.server.bump(rv)
    for resource, kind, version, name in (
        ("services", "Service", "v1", "web"),
        ("endpointslices", "EndpointSlice", "discovery.k8s.io/v1", "web-1"),
    ):
        shell = (
            f'{{"type":"BOOKMARK","object":{{"kind":"{kind}","apiVersion":"{version}","metadata":{{"name":"{name}",'
            f'"namespace":"default","resourceVersion":"{rv}"}},"spec":{{}},"endpoints":null,"ports":null}}}}\n'
        )
        kube.server.inject(resource, shell.encode(), then="end")
        assert kube.asked(resource) == [("watch", str(rv))]
    assert kube.node.writes() == writes
    kube.check()


def expire_by_event(kube):
    kube.server.inject("services", then="error-event", code=410)


def expire_as_old_servers_do(kube):
    message = "too old resource version: 1 (2)"
    kube.server.inject("services", then="error-event", code=410, reason="Gone", message=message)


def expire_at_the_next_watch(kube):
    kube.server.bump(kube.server.rv() + 500)
    kube.server.compact()
    kube.server.inject("services", then="end")
    assert kube.asked() == [("watch", kube.version())]
    kube.mark(kube.requests(n=2)[1])


def expire_by_status(kube):
    kube.server.configure(expired_watch="status")
    expire_at_the_next_watch(kube)


def test_f05_an_expired_watch_leads_to_a_relist(kube):
    kube.serve()
    for expire in (expire_by_event, expire_as_old_servers_do, expire_at_the_next_watch, expire_by_status):
        writes, version = kube.node.writes(), kube.version()
        expire(kube)
        assert kube.asked() == [("stream", version)], expire
        kube.server.wait_watches("services")
        assert kube.node.writes() == writes, expire
        kube.news()
    kube.check()


def test_f05_what_happened_in_the_meantime_is_learnt_from_the_relist(kube):
    kube.serve()
    kube.put_news()
    kube.wait_in_sync()
    kube.server.stop_listening("reset")
    kube.delete("services", "news1")
    kube.put_news()
    kube.server.compact()
    kube.server.listen()
    kube.check()


@pytest.mark.parametrize("how", ["status", "event"])
def test_f06_a_stream_from_the_future_leads_to_a_list_of_the_latest(kube, how):
    kube.serve()
    if how == "status":
        kube.server.fault("services", "watch", "status", code=504)
    else:
        kube.server.fault("services", "watch", "error-event", code=504, message="Too large resource version")
    kube.server.fault("services", "list", "status", code=504)
    kube.server.inject("services", then="error-event", code=410)
    asked = kube.asked(n=4)
    assert asked[:3] == [("stream", kube.version()), ("list", kube.version()), ("list", "")], asked
    assert asked[3][0] == "watch"
    assert kube.delays(n=4) == [0, 0, 0, 0]
    kube.check()


def test_f06_a_server_restored_from_a_backup(kube):
    """Its versions are younger than what the agent has seen."""
    kube.serve()
    kube.server.restart(rv=900)
    kube.wait_watches()
    kube.mark()
    for resource in ("services", "endpointslices"):
        kube.server.inject(resource, then="error-event", code=410)
        asked = kube.asked(resource, 4)
        assert [what for what, _ in asked] == ["stream", "list", "list", "watch"]
        assert asked[2:] == [("list", ""), ("watch", "900")]
    kube.check()


# ---- F7 to F9: refusals, ends, patience --------------------------------------------------------


@pytest.mark.parametrize("how", ["status", "event"])
def test_f07_too_many_requests_leads_to_the_same_watch_later(kube, how):
    kube.serve()
    if how == "status":
        kube.server.fault("services", "watch", "status", code=429)
        kube.server.inject("services", then="end")
        expected = [("watch", kube.version())] * 2
    else:
        kube.server.inject("services", then="error-event", code=429)
        expected = [("watch", kube.version())]
    assert kube.asked(n=len(expected)) == expected
    assert FIRST_MS <= kube.delays(n=len(expected))[-1] <= MOST_MS
    kube.check()


def test_f07_a_server_that_is_away_is_asked_for_no_list(kube):
    kube.serve()
    kube.server.stop_listening("reset")
    for resource in ("services", "endpointslices"):
        kube.delays(resource, 2)
    kube.server.listen()
    for resource in ("services", "endpointslices"):
        assert kube.asked(resource) == [("watch", kube.version(resource))]
    kube.check()
    assert not kube.server.requests(kube.marked, verb="list")


def test_f07_any_other_refusal_leads_to_a_relist_later(kube):
    kube.serve()
    kube.server.fault("services", "watch", "status", code=500)
    kube.server.inject("services", then="end")
    assert kube.asked(n=2) == [("watch", kube.version()), ("stream", kube.version())]
    first, second = kube.delays(n=2)
    assert first == 0 and FIRST_MS <= second <= MOST_MS
    kube.check()


def test_f08_a_watch_that_ends_is_resumed_at_once(kube):
    kube.serve()
    for _ in range(3):
        kube.server.inject("services", then="end")
        assert kube.asked() == [("watch", kube.version())]
        assert kube.delays() == [0]
        kube.news()
    kube.check()


def test_f08_a_very_short_watch_leads_to_a_relist_later(kube):
    kube.serve()
    kube.server.fault("services", "watch", "end", after_events=0)
    kube.server.inject("services", then="end")
    assert kube.asked(n=2) == [("watch", kube.version()), ("stream", kube.version())]
    first, second = kube.delays(n=2)
    assert first == 0 and FIRST_MS <= second <= MOST_MS
    kube.check()


@pytest.mark.parametrize("http2", [True, False], ids=["http2", "http1"])
def test_f08_half_an_event_is_never_applied(kube, http2):
    kube.server.configure(http2=http2)
    kube.serve()
    for how in ("end", "stream", "abort", "reset", "close"):
        writes = kube.node.writes()
        then, options = ("end", {}) if how == "end" else ("cut", {"how": how})
        kube.server.inject("services", partial_event(kube), then, **options)
        assert kube.asked() == [("watch", kube.version())], how
        assert kube.node.writes() == writes
        kube.news()
    assert not any(kube.delays_so_far()), kube.delays_so_far()
    kube.check()


@pytest.mark.parametrize("how", ["close", "abort", "reset"])
def test_f08_a_cut_connection_is_noticed_by_all_watches(kube, how):
    kube.serve()
    kube.server.close_connections(how)
    for resource in ("services", "endpointslices"):
        assert kube.asked(resource) == [("watch", kube.version(resource))]
    kube.requests("nodes")
    kube.check()


def test_f08_half_a_list_deletes_nothing(kube):
    kube.serve()
    kube.server.configure(watch_list="off")
    kube.server.fault("services", "list", "cut", after=300, how="stream", times=2)
    writes = kube.node.writes()
    kube.server.inject("services", then="error-event", code=410)
    wait_until(lambda: not kube.server.faults())
    kube.wait_watches()
    assert kube.node.writes() == writes
    kube.check()


NONSENSE = {
    "no JSON": b'{"type":"ADDED","object":{"kind":"Service","metadata":{"name":,}}}\n',
    "another kind": b'{"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"web","resourceVersion":"1"}}}\n',
    "another type": b'{"type":"PERHAPS","object":{"kind":"Service","metadata":{"name":"web","resourceVersion":"1"}}}\n',
    "no version": b'{"type":"DELETED","object":{"kind":"Service","metadata":{"name":"web","namespace":"default"}}}\n',
    "no object": b'{"type":"MODIFIED"}\n',
    "no event": b"<html>a proxy's page</html>\n",
}


@pytest.mark.parametrize("kinds", [list(NONSENSE)[:3], list(NONSENSE)[3:]], ids=["first", "second"])
def test_f08_what_makes_no_sense_leads_to_a_relist_later(kube, kinds):
    """Said once. Each to a watch of its own."""
    agent = kube.serve()
    writes = kube.node.writes()
    for resource, kind in zip(("services", "endpointslices", "nodes"), kinds):
        data = NONSENSE[kind]
        if kind == "no version":
            of = {"services": "Service", "endpointslices": "EndpointSlice"}[resource]
            data = data.replace(b"Service", of.encode())
        kube.server.inject(resource, data)
    for resource, kind in zip(("services", "endpointslices", "nodes"), kinds):
        assert kube.asked(resource) == [("stream", kube.version(resource))], kind
        assert FIRST_MS <= kube.delays(resource)[0] <= MOST_MS
        assert len(agent.lines("warn: ", f"resource={PATHS[resource]} ")) == 1
    assert kube.node.writes() == writes
    kube.check()


def test_f09_a_failure_after_the_other_is_waited_for_longer(kube):
    kube.serve()
    kube.server.fault("services", "*", "status", times=2, code=500)
    kube.server.inject("services", then="end")
    kube.requests(n=3)
    _, first, second = kube.delays(n=3)
    assert FIRST_MS <= first <= MOST_MS
    assert 2 * FIRST_MS <= second <= 2 * MOST_MS
    kube.check()


@pytest.mark.parametrize("code", [429, 503])
def test_f09_a_server_is_asked_again_when_it_says(kube, code):
    kube.serve()
    kube.server.fault("services", "watch", "status", code=code, retry_after=1)
    kube.server.inject("services", then="end")
    assert kube.asked(n=2) == [("watch", kube.version())] * 2
    assert kube.delays(n=2) == [0, 1000]
    kube.check()


def test_f09_so_says_an_event_too(kube):
    kube.serve()
    event = error_event(429).replace(b'"code":429', b'"details":{"retryAfterSeconds":1},"code":429')
    kube.server.inject("services", event, then="end")
    assert kube.asked() == [("watch", kube.version())]
    assert kube.delays() == [1000]
    kube.check()
