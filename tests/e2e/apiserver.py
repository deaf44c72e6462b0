# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A stand-in for the Kubernetes API server: lists, watches, and every way they fail.

A test makes an ApiServer and calls its methods. The server itself is a process
of its own in the network namespace given, or in a private one; it dies with
the test's. The layers, lowest first:

    Selector, Store     objects and their history; pure
    Watch, Api          a request in, an answer out; pure
    Faults              what is to go wrong, for which requests
    Http1, Http2        the transports, each an "exchange" per request
    Server              the process: connections, live watches, the log
    ApiServer           the test's side of it
    Authority           certificates

What it answers is as tests/data/kube-api recorded it from a kube-apiserver
1.36, whitespace included. Where it differs: it refuses and gives up at once
where a real one waits first; timeoutSeconds may be a fraction, and 0 is the end
of a watch that has caught up; a client certificate of an unknown authority
fails in TLS rather than with 401.
"""

import asyncio
import base64
import bisect
import contextlib
import dataclasses
import datetime
import functools
import gc
import gzip
import ipaddress
import itertools
import json
import os
import pathlib
import pickle
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import traceback
import urllib.parse
import uuid
import zlib

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.frame
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import harness

# ---- resources -------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Kind:
    """A resource. `shell`: what a bookmark's object has besides metadata."""

    resource: str
    kind: str
    api_version: str
    shell: dict
    fields: tuple = ()
    namespaced: bool = True

    @property
    def group(self):
        return self.api_version.rpartition("/")[0]

    @property
    def path(self):
        return f"/{'apis' if self.group else 'api'}/{self.api_version}/{self.resource}"


_NO_INFO = "machineID systemUUID bootID kernelVersion osImage containerRuntimeVersion kubeletVersion kubeProxyVersion"
_NO_INFO += " operatingSystem architecture"

KINDS = {
    kind.resource: kind
    for kind in (
        Kind(
            "services",
            "Service",
            "v1",
            {"spec": {}, "status": {"loadBalancer": {}}},
            ("spec.clusterIP", "spec.type"),
        ),
        Kind(
            "endpointslices",
            "EndpointSlice",
            "discovery.k8s.io/v1",
            {"addressType": "", "endpoints": None, "ports": None},
        ),
        Kind("endpoints", "Endpoints", "v1", {}),
        Kind(
            "nodes",
            "Node",
            "v1",
            {
                "spec": {},
                "status": {
                    "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
                    "nodeInfo": {name: "" for name in _NO_INFO.split()},
                },
            },
            ("spec.unschedulable",),
            namespaced=False,
        ),
    )
}
BY_PATH = {kind.path: kind for kind in KINDS.values()}
BY_KIND = {kind.kind: kind for kind in KINDS.values()}


def render(value):
    """JSON as Go writes it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if "<" in text or ">" in text or "&" in text:
        text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return text.encode("utf-8", "surrogatepass")


def now_text():
    return datetime.datetime.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")


# ---- errors ------------------------------------------------------------------------

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def make_status(code, message, reason=None, details=None, metadata=None):
    """A Status object. `reason` None: the usual one; "": none."""
    reason = REASONS.get(code, "") if reason is None else reason
    result = {"kind": "Status", "apiVersion": "v1", "metadata": metadata or {}, "status": "Failure", "message": message}
    if reason:
        result["reason"] = reason
    if details:
        result["details"] = details
    return {**result, "code": code}


def too_old(asked, oldest):
    return make_status(410, f"too old resource version: {asked} ({oldest})")


def too_large(asked, current):
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return make_status(504, message, details={"causes": causes, "retryAfterSeconds": 1})


def forbidden(kind, verb, user):
    message = (
        f'{kind.resource}{"." if kind.group else ""}{kind.group} is forbidden: User "{user}" cannot {verb} resource '
        f'"{kind.resource}" in API group "{kind.group}" at the cluster scope'
    )
    group = {"group": kind.group} if kind.group else {}
    return make_status(403, message, details={**group, "kind": kind.resource})


def invalid_option(field, message):
    """The refusal of a parameter of a list or watch."""
    cause = {"reason": "FieldValueForbidden", "message": f"Forbidden: {message}", "field": field}
    details = {"group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause]}
    text = f'ListOptions.meta.k8s.io "" is invalid: {field}: Forbidden: {message}'
    return make_status(422, text, details=details)


class Refusal(Exception):
    """An answer that is a Status."""

    def __init__(self, status):
        super().__init__(status["message"])
        self.status = status


# ---- selectors ---------------------------------------------------------------------


class Selector:
    """A label selector and a field selector; matches() is true if both do."""

    def __init__(self, kind, labels="", fields="", known_fields=None):
        known = ("metadata.name", "metadata.namespace") + (kind.fields if known_fields is None else known_fields)
        self._tests = [self._label(part) for part in re.split(r",(?![^(]*\))", labels) if part]
        for part in filter(None, fields.split(",")):
            match = re.fullmatch(r"([^!=]+)(!=|==?)(.*)", part)
            if not match:
                raise Refusal(make_status(400, f"invalid selector: '{part}'; can't understand '{part}'"))
            if match[1] not in known:
                names = ", ".join(f'"{name}"' for name in ("metadata.name", "metadata.namespace"))
                raise Refusal(make_status(400, f'"{match[1]}" is not a known field selector: only {names}'))
            self._tests.append(functools.partial(self._field, match[1].split("."), match[2] == "!=", match[3]))

    def __bool__(self):
        return bool(self._tests)

    def matches(self, item):
        return all(test(item) for test in self._tests)

    @staticmethod
    def _label(text):
        text = text.strip()
        if match := re.fullmatch(r"(!?)\s*([\w./-]+)", text):
            return lambda item: (match[2] in item.labels) != bool(match[1])
        if match := re.fullmatch(r"([\w./-]+)\s*(!=|==?)\s*([\w.-]*)", text):
            return lambda item: (item.labels.get(match[1]) == match[3]) != (match[2] == "!=")
        if match := re.fullmatch(r"([\w./-]+)\s+(in|notin)\s*\(([^)]*)\)", text):
            values = {value.strip() for value in match[3].split(",")}
            return lambda item: (item.labels.get(match[1]) in values) == (match[2] == "in")
        raise Refusal(make_status(400, f"unable to parse requirement: {text}"))

    @staticmethod
    def _field(path, negated, value, item):
        found = item.content
        for name in path:
            found = found.get(name, "") if isinstance(found, dict) else ""
        return (str(found) == value) != negated


# ---- the store ---------------------------------------------------------------------


class Item:
    """A version of an object. `body` is its JSON, without kind and apiVersion."""

    __slots__ = ("content", "rv", "labels", "body")

    def __init__(self, content, rv):
        content.setdefault("metadata", {})["resourceVersion"] = str(rv)
        self.content, self.rv = content, rv
        self.labels = content["metadata"].get("labels") or {}
        self.body = render(content)

    def at(self, rv):
        """The same content with another resourceVersion."""
        return Item({**self.content, "metadata": {**self.content["metadata"]}}, rv)


class Event:
    """A change: `old` is None for a creation, `new` for a deletion."""

    def __init__(self, rv, old, new):
        self.rv, self.old, self.new = rv, old, new

    @functools.cached_property
    def gone(self):
        """The old content with the new version, as a DELETED event shows it."""
        return self.old.at(self.rv)


class Store:
    """The objects of all resources, and what happened to them. Every change has
    a number of its own, the resourceVersion; history before `compacted` is not
    told any more."""

    def __init__(self, rv=1000):
        self.rv = self.compacted = rv
        self.items = {name: {} for name in KINDS}  # "/namespace/name" -> Item
        self.history = {name: [] for name in KINDS}
        self._addresses = itertools.count(1)

    @staticmethod
    def key(kind, meta):
        return f"/{meta['namespace']}/{meta['name']}" if kind.namespaced else f"/{meta['name']}"

    def put(self, content, raw=False):
        """Create or replace an object. `raw`: add no defaults. Returns (kind, rv)."""
        kind = BY_KIND[content["kind"]]
        content = {name: value for name, value in content.items() if name not in ("kind", "apiVersion")}
        meta = content["metadata"] = {**content["metadata"]}
        if kind.namespaced:
            meta.setdefault("namespace", "default")
        key = self.key(kind, meta)
        old = self.items[kind.resource].get(key)
        if not raw:
            before = old.content["metadata"] if old else {}
            meta.setdefault("uid", before.get("uid") or str(uuid.uuid4()))
            meta.setdefault("creationTimestamp", before.get("creationTimestamp") or now_text())
            if kind.kind == "EndpointSlice":
                meta["generation"] = before.get("generation", 0) + 1
            self._fill(kind, content, old)
        self.rv += 1
        new = Item(content, self.rv)
        self.items[kind.resource][key] = new
        self.history[kind.resource].append(Event(self.rv, old, new))
        return kind, self.rv

    def _fill(self, kind, content, old):
        """The defaults that a server writes into a new object."""
        if kind.kind == "EndpointSlice":
            ports = content.get("ports")
            content["ports"] = ports and [{"name": "", "protocol": "TCP", **item} for item in ports]
        if kind.kind != "Service":
            return
        spec = content["spec"] = {**content.get("spec", {})}
        spec.setdefault("type", "ClusterIP")
        spec.setdefault("sessionAffinity", "None")
        content.setdefault("status", {"loadBalancer": {}})
        if spec["type"] == "ExternalName":
            return
        if "ports" in spec:
            spec["ports"] = [{"protocol": "TCP", "targetPort": item["port"], **item} for item in spec["ports"]]
        if not spec.get("clusterIP"):
            before = old.content["spec"].get("clusterIP") if old else None
            spec["clusterIP"] = before or str(ipaddress.ip_address("10.96.128.0") + next(self._addresses))
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
        spec.setdefault("ipFamilies", ["IPv6" if ":" in spec["clusterIP"] else "IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        spec.setdefault("internalTrafficPolicy", "Cluster")

    def delete(self, kind, key):
        old = self.items[kind.resource].pop(key)
        self.rv += 1
        self.history[kind.resource].append(Event(self.rv, old, None))
        return self.rv

    def load(self, recorded):
        """Take over a list as a server sent it, resourceVersions included."""
        kind = BY_KIND[recorded["kind"].removesuffix("List")]
        for content in recorded["items"]:
            rv = int(content["metadata"]["resourceVersion"])
            self.items[kind.resource][self.key(kind, content["metadata"])] = Item(content, rv)
        self.rv = self.compacted = int(recorded["metadata"]["resourceVersion"])

    def compact(self):
        self.compacted = self.rv

    def rewind(self, rv):
        """As if restored from a backup: same objects, but younger versions."""
        self.rv = self.compacted = rv
        self.history = {name: [] for name in KINDS}
        for items in self.items.values():
            for key, item in items.items():
                if item.rv > rv:
                    items[key] = item.at(rv)

    def sorted(self, kind, rv=None):
        """[(key, Item)] now or as of a resourceVersion, in the order of a list."""
        items = self.items[kind.resource]
        if rv is not None and rv < self.rv:
            items = dict(items)
            for event in reversed(self.history[kind.resource]):
                if event.rv <= rv:
                    break
                key = self.key(kind, (event.new or event.old).content["metadata"])
                if event.old:
                    items[key] = event.old
                else:
                    del items[key]
        return sorted(items.items())

    def position(self, kind, rv):
        """Where in the history the first event after a resourceVersion is."""
        return bisect.bisect_right(self.history[kind.resource], rv, key=lambda event: event.rv)


# ---- requests and answers ------------------------------------------------------------


@dataclasses.dataclass
class Request:
    """What was asked; the log's entry."""

    method: str
    path: str
    query: dict
    headers: dict  # lower case
    protocol: str  # "HTTP/1.1" or "HTTP/2"
    connection: int
    index: int = 0
    time: float = 0.0  # monotonic
    user: str = ""
    status: int = 0  # of the answer, once it begins

    @property
    def resource(self):
        kind = BY_PATH.get(self.path)
        return kind.resource if kind else None

    @property
    def verb(self):
        return "watch" if self.query.get("watch") in ("1", "true") else "list"

    @property
    def wants_pretty(self):
        agent = self.headers.get("user-agent", "")
        return self.query.get("pretty") == "true" or agent.startswith(("curl", "Wget", "Mozilla/5.0"))


@dataclasses.dataclass
class Reply:
    """A whole answer. `parts`: any iterable of bytes; a list has a known length."""

    status: int
    parts: object
    headers: list = dataclasses.field(default_factory=list)

    @property
    def length(self):
        return sum(map(len, self.parts)) if isinstance(self.parts, list) else None


def status_reply(status, request, headers=()):
    retry = (status.get("details") or {}).get("retryAfterSeconds")
    more = [("Retry-After", str(retry))] if retry else []
    return json_reply(status, request, status["code"], [*headers, *more])


def json_reply(value, request, code=200, headers=()):
    body = json.dumps(value, indent=2, ensure_ascii=False).encode() if request.wants_pretty else render(value)
    return Reply(code, [body + b"\n"], list(headers))


def list_parts(kind, metadata, bodies):
    head = {"kind": kind.kind + "List", "apiVersion": kind.api_version, "metadata": metadata, "items": []}
    return [render(head)[:-2], b",".join(bodies), b"]}\n"]


def event_bytes(what, kind, body):
    head = f'{{"type":"{what}","object":{{"kind":"{kind.kind}","apiVersion":"{kind.api_version}",'
    return head.encode() + body[1:] + b"}\n"


def error_event(code, message=None, reason=None):
    """The bytes of an ERROR event."""
    status = make_status(code, message or f"stand-in: {code}", reason)
    return b'{"type":"ERROR","object":' + render(status) + b"}\n"


def make_token(rv, last):
    value = {"v": "meta.k8s.io/v1", "rv": rv, "start": last + "\0"}
    return base64.urlsafe_b64encode(render(value)).rstrip(b"=").decode()


def parse_token(text):
    """(rv, key after which to go on)"""
    bad = re.search(r"[^A-Za-z0-9_-]", text)
    at = bad.start() if bad else len(text) if len(text) % 4 == 1 else None
    if at is not None:
        why = f"illegal base64 data at input byte {at}"
    else:
        try:
            value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            return value["rv"], value["start"].rstrip("\0")
        except (ValueError, KeyError, TypeError):
            why = "invalid character"
    raise Refusal(make_status(400, f"invalid continue token: continue key is not valid: {why}"))


def parse_rv(text):
    if not text.isascii() or not text.isdigit():
        why = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise Refusal(make_status(500, why, reason=""))
    return int(text)


class Watch:
    """The events that one watch is to be sent; pure.

    `since`: the resourceVersion to begin after. `initial`: first the objects
    that are there; `marks_end`: and a bookmark behind them."""

    def __init__(self, store, kind, selector, since, initial=False, marks_end=False, bookmarks=False):
        self.kind, self.bookmarks = kind, bookmarks
        self._store, self._selector, self._since = store, selector, since
        self._position = store.position(kind, since)
        self._initial, self._marks_end = initial, marks_end

    def initial(self):
        if not self._initial:
            return []
        items = self._store.sorted(self.kind)
        result = [event_bytes("ADDED", self.kind, item.body) for _, item in items if self._selector.matches(item)]
        if self._marks_end:
            result.append(self.bookmark(annotations={"k8s.io/initial-events-end": "true"}))
        return result

    def pending(self):
        """[(rv, bytes)] of what happened since the last call."""
        history = self._store.history[self.kind.resource]
        events, self._position = history[self._position :], len(history)
        result = []
        for event in events:
            was = event.old is not None and self._selector.matches(event.old)
            is_so = event.new is not None and self._selector.matches(event.new)
            if event.rv <= self._since or not (was or is_so):
                continue
            what, item = (("MODIFIED" if was else "ADDED"), event.new) if is_so else ("DELETED", event.gone)
            result.append((event.rv, event_bytes(what, self.kind, item.body)))
        return result

    def bookmark(self, **more):
        rv = str(max(self._store.rv, self._since))
        shell = {"metadata": {"resourceVersion": rv, **more}, **self.kind.shell}
        return event_bytes("BOOKMARK", self.kind, render(shell))


@dataclasses.dataclass
class Settings:
    """What kind of server it is; see ApiServer.configure."""

    accept: str = "serve"  # or "stall": no TLS, no answer; or "close"
    http2: bool = True
    auth: bool = False  # ask for a token or a certificate
    anonymous: bool = True  # without either: 403 rather than 401
    forbidden: tuple = ()  # of (user, resource), either may be "*"
    watch_list: str = "on"  # sendInitialEvents; or "off": refused; or "unknown": older still
    compress_watch_list: bool = False  # as 1.37 does: a gzip member per write
    service_fields: bool = True  # spec.clusterIP in a field selector
    expired_watch: str = "event"  # or "status": HTTP 410
    bookmark_interval: float = 60.0
    bookmark_lead: float = 2.0  # before the timeout
    watch_timeout: float = 1800.0  # where the client names none
    gzip_above: int = 128 * 1024
    goaway_every: int = 0  # requests; 0: never
    max_streams: int = 100
    version: str = "v1.36.0"


class Api:
    """Answers requests from the store; pure but for changing nothing."""

    def __init__(self, store, settings):
        self.store, self.settings = store, settings

    def respond(self, request):
        """A Reply or a Watch."""
        try:
            kind = BY_PATH.get(request.path)
            if request.method != "GET":
                raise Refusal(make_status(405, "the server does not allow this method on the requested resource"))
            if kind:
                return (self._watch if request.verb == "watch" else self._list)(request, kind)
            if request.path in ("/healthz", "/livez", "/readyz"):
                return Reply(200, [b"ok"], [("Content-Type", "text/plain; charset=utf-8")])
            if request.path == "/version":
                return json_reply({"major": "1", "minor": "36", "gitVersion": self.settings.version}, request)
            raise Refusal(make_status(404, "the server could not find the requested resource", details={}))
        except Refusal as refusal:
            return status_reply(refusal.status, request)

    def _selector(self, request, kind):
        fields = None if self.settings.service_fields else ()
        return Selector(kind, request.query.get("labelSelector", ""), request.query.get("fieldSelector", ""), fields)

    def _list(self, request, kind):
        query, store = request.query, self.store
        selector = self._selector(request, kind)
        limit = int(query.get("limit") or 0)
        token, rv, match = (query.get(name, "") for name in ("continue", "resourceVersion", "resourceVersionMatch"))
        at, after = store.rv, ""
        if match and (token or not rv):
            why = "when continue is provided" if token else "unless resourceVersion is provided"
            raise Refusal(invalid_option("resourceVersionMatch", f"resourceVersionMatch is forbidden {why}"))
        if token:
            if rv not in ("", "0"):
                raise Refusal(make_status(400, "specifying resource version is not allowed when using continue"))
            at, after = self._go_on(token)
        elif rv == "0":
            limit = 0  # from the watch cache, which knows no pages
        elif rv:
            asked = parse_rv(rv)
            if asked > store.rv:
                raise Refusal(too_large(asked, store.rv))
            if match == "Exact" or (limit and match != "NotOlderThan"):
                if asked < store.compacted:
                    raise Refusal(make_status(410, "The resourceVersion for the provided list is too old."))
                at = asked
        items = [(key, item) for key, item in store.sorted(kind, at) if key > after and selector.matches(item)]
        metadata = {"resourceVersion": str(at)}
        if limit and len(items) > limit:
            metadata["continue"] = make_token(at, items[limit - 1][0])
            if not selector:
                metadata["remainingItemCount"] = len(items) - limit
            items = items[:limit]
        parts = list_parts(kind, metadata, [item.body for _, item in items])
        if request.wants_pretty:
            return json_reply(json.loads(b"".join(parts)), request)
        reply = Reply(200, parts)
        if reply.length > self.settings.gzip_above and "gzip" in request.headers.get("accept-encoding", ""):
            body = gzip.compress(b"".join(parts), compresslevel=1)
            return Reply(200, [body], [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")])
        return reply

    def _go_on(self, token):
        at, after = parse_token(token)
        if at == -1:  # inconsistent, as the refusal below offers it
            return self.store.rv, after
        if at < self.store.compacted:
            message = (
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter, or use the continue token in this response to retrieve the "
                "remainder of the results. Continuing with the provided token results in an inconsistent list - "
                "objects that were created, modified, or deleted between the time the first chunk was returned and "
                "now may show up in the list."
            )
            raise Refusal(make_status(410, message, metadata={"continue": make_token(-1, after)}))
        return at, after

    def _watch(self, request, kind):
        query, store = request.query, self.store
        selector = self._selector(request, kind)
        rv, match, initial = (
            query.get(name, "") for name in ("resourceVersion", "resourceVersionMatch", "sendInitialEvents")
        )
        bookmarks = query.get("allowWatchBookmarks") in ("1", "true")
        if self.settings.watch_list == "unknown":
            initial = ""
        if initial and self.settings.watch_list == "off":
            why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
            raise Refusal(invalid_option("sendInitialEvents", why))
        if match and not initial:
            why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            raise Refusal(invalid_option("resourceVersionMatch", why))
        if initial and match != "NotOlderThan":
            why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            raise Refusal(invalid_option("resourceVersionMatch", why))
        asked = parse_rv(rv) if rv else 0
        if initial in ("1", "true"):
            if asked > store.rv:
                raise Refusal(too_large(asked, store.rv))
            return Watch(store, kind, selector, store.rv, True, bookmarks, bookmarks)
        if asked == 0:
            return Watch(store, kind, selector, store.rv, not initial, False, bookmarks)
        if asked < store.compacted:
            status = too_old(asked, store.compacted)
            if self.settings.expired_watch == "status":
                raise Refusal(status)
            return Reply(200, [b'{"type":"ERROR","object":' + render(status) + b"}\n"])
        return Watch(store, kind, selector, asked, False, False, bookmarks)


# ---- faults ------------------------------------------------------------------------------


class Done(Exception):
    """The exchange was ended early, on purpose."""


@dataclasses.dataclass
class Fault:
    """What is to go wrong, with the requests that match. See ApiServer.fault."""

    resource: str
    verb: str
    what: str
    times: object  # None: for ever
    skip: int
    options: dict

    # Before there is an answer, in place of it, or at a point in its body.
    EARLY = ("cut", "stall")
    INSTEAD = ("status", "redirect", "empty", "status-as-list", "malformed", "endless", "huge", "deep", "gzip-bomb")
    IN_BODY = ("cut", "stall", "end", "error-event", "insert")
    BESIDE = ("none", "headers", "goaway")
    OPTIONS = (
        "after after_events body bytes chunk code count data delay depth goaway headers how items location message "
        "reason retry_after"
    ).split()

    def __post_init__(self):
        assert self.what in {*self.INSTEAD, *self.IN_BODY, *self.BESIDE}, f"no such fault: {self.what}"
        assert self.resource in ("*", *KINDS) and self.verb in ("*", "list", "watch"), (self.resource, self.verb)
        unknown = set(self.options) - set(self.OPTIONS)
        assert not unknown, f"no such options of a fault: {unknown}"

    def get(self, name, default=None):
        return self.options.get(name, default)

    @property
    def has_place(self):
        return "after" in self.options or "after_events" in self.options

    def matches(self, request):
        return self.resource in ("*", request.resource) and self.verb in ("*", request.verb) and bool(request.resource)

    # in place of the answer

    def instead(self, request, store):
        kind = KINDS[request.resource]
        make = getattr(self, "_" + self.what.replace("-", "_"))
        return make(request, kind, {"resourceVersion": str(store.rv)})

    def _status(self, request, kind, metadata):
        code, body = self.get("code", 500), self.get("body")
        headers = list((self.get("headers") or {}).items())
        if self.get("retry_after") is not None:
            headers.append(("Retry-After", str(self.get("retry_after"))))
        if isinstance(body, dict):
            body = render(body) + b"\n"
        if body is not None:
            return Reply(code, [body.encode() if isinstance(body, str) else body], headers)
        status = make_status(code, self.get("message", f"stand-in: {code}"), self.get("reason"))
        if code == 401:
            status = make_status(401, "Unauthorized")
        elif code == 403:
            status = forbidden(kind, request.verb, "system:anonymous")
        elif code == 504:
            status = too_large(99999999, metadata["resourceVersion"])
        return status_reply(status, request, headers)

    def _redirect(self, _, __, ___):
        return Reply(self.get("code", 302), [b""], [("Location", self.get("location"))])

    def _empty(self, _, kind, metadata):
        if self.get("items", []) is None:
            return Reply(200, [b"".join(list_parts(kind, metadata, [])).replace(b"[]", b"null")])
        return Reply(200, list_parts(kind, metadata, []))

    def _status_as_list(self, _, __, ___):
        return Reply(200, [render(make_status(500, "stand-in: a Status and no list")) + b"\n"])

    def _malformed(self, request, kind, metadata):
        if request.verb == "watch":
            return Reply(200, [b'{"type":"ADDED","object":{"metadata":{"name":,}}}\n'])
        return Reply(200, [b"".join(list_parts(kind, metadata, [b'{"metadata":{"name":,}}']))])

    def _endless(self, request, kind, metadata):
        if request.verb == "watch":
            head = event_bytes("ADDED", kind, b'{"metadata":{"name":"')[:-2]
            return Reply(200, itertools.chain([head], itertools.repeat(b"x" * 65536)))
        item = render({"metadata": {"name": "endless", "namespace": "default", **metadata}, **kind.shell}) + b","
        return Reply(200, itertools.chain([list_parts(kind, metadata, [])[0]], itertools.repeat(item * 256)))

    def _filled(self, request, kind, metadata, filling):
        """A list, or an event, of one object with such an annotation."""
        meta = {"name": "filled", "namespace": "default", **metadata, "annotations": {"filling": "FILLING"}}
        before, after = render({"metadata": meta, **kind.shell}).split(b'"FILLING"')
        body = before + filling + after
        if request.verb == "watch":
            return Reply(200, [event_bytes("ADDED", kind, body)])
        return Reply(200, list_parts(kind, metadata, [body]))

    def _huge(self, *where):
        return self._filled(*where, b'"' + b"x" * self.get("bytes", 64 << 20) + b'"')

    def _deep(self, *where):
        depth = self.get("depth", 100000)
        return self._filled(*where, b'{"a":' * depth + b"1" + b"}" * depth)

    def _gzip_bomb(self, *_):
        """Spaces that pass for JSON up to the end; `bytes` once unpacked."""
        megabytes = max(1, self.get("bytes", 256 << 20) >> 20)
        spaces = b" " * (1 << 20)

        def parts():
            packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
            block = packer.compress(spaces) + packer.flush(zlib.Z_FULL_FLUSH)
            yield b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
            checksum = 0
            for _ in range(megabytes):
                checksum = zlib.crc32(spaces, checksum)
                yield block
            yield b"\x03\x00" + struct.pack("<II", checksum, (megabytes << 20) & 0xFFFFFFFF)

        return Reply(200, parts(), [("Content-Encoding", "gzip")])


class Body:
    """Where an answer's body goes: to the exchange, up to where a fault strikes."""

    def __init__(self, exchange, fault):
        self._exchange, self._fault = exchange, fault if fault and fault.what in Fault.IN_BODY else None
        self._bytes = fault.get("after") if fault else None
        self._events = fault.get("after_events") if fault else None
        if self._fault and self._bytes is None and self._events is None:
            self._bytes = 0

    async def begin(self):
        """The head is out."""
        if self._fault and 0 in (self._bytes, self._events):
            await self._strike()

    async def write(self, data):
        if self._fault:
            at = self._point(data)
            if at is not None:
                await self._exchange.write(data[:at])
                await self._strike()
                data = data[at:]
        if data:
            await self._exchange.write(data)

    def _point(self, data):
        """How much of this is before the fault; None: all."""
        if self._bytes is not None:
            if len(data) >= self._bytes:
                return self._bytes
            self._bytes -= len(data)
            return None
        count = data.count(b"\n")
        if count < self._events:
            self._events -= count
            return None
        at = -1
        for _ in range(self._events):
            at = data.index(b"\n", at + 1)
        return at + 1

    async def _strike(self):
        fault, self._fault = self._fault, None
        await perform(self._exchange, fault.what, fault.get)


async def perform(exchange, what, get):
    """What happens at the point of a fault."""
    if what == "insert":
        await exchange.write(get("data"))
        return
    if what == "error-event":
        await exchange.write(error_event(get("code", 410), get("message"), get("reason")))
    if what == "stall":
        await exchange.gone.wait()
    elif what == "cut":
        exchange.cut(get("how", "close"))
    else:
        await exchange.finish()
    raise Done


# ---- transports ----------------------------------------------------------------------------

PIECE = 256 * 1024


class Protocol(asyncio.StreamReaderProtocol):
    """Tells when the peer is gone, without reading."""

    def __init__(self, reader):
        super().__init__(reader)
        self.gone = asyncio.Event()

    def eof_received(self):
        self.gone.set()
        return super().eof_received()

    def connection_lost(self, exc):
        self.gone.set()
        super().connection_lost(exc)


class Connection:
    """An accepted connection. Its requests go to `server.handle`."""

    def __init__(self, server, number, reader, writer, gone):
        self.server, self.number, self.reader, self.writer, self.gone = server, number, reader, writer, gone
        self.protocol = "HTTP/1.1"
        tls = writer.get_extra_info("ssl_object")
        self.alpn = tls.selected_alpn_protocol() if tls else None
        self.certificate = tls.getpeercert() if tls else None
        # drain() then returns when all is the kernel's.
        writer.transport.set_write_buffer_limits(high=1 if tls else 0, low=0)

    async def run(self):
        if self.alpn == "h2":
            await Http2(self).run(b"")
            return
        while not self.gone.is_set():
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                return
            if head.startswith(b"PRI * HTTP/2.0"):
                await Http2(self).run(head)
                return
            if not await self._http1(head):
                return

    async def _http1(self, head):
        """Serve one request; false: the connection is at its end."""
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        fields = (line.partition(":") for line in lines[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        exchange = Http1(self)
        exchange.closes = method != "GET"  # for a body that is not read
        work = asyncio.ensure_future(self.server.handle(exchange, self.request(method, target, headers), self))
        gone = asyncio.ensure_future(self.gone.wait())
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        return exchange.is_finished and not exchange.closes and headers.get("connection", "").lower() != "close"

    def request(self, method, target, headers):
        path, _, query = target.partition("?")
        query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        return Request(method, urllib.parse.unquote(path), query, headers, self.protocol, self.number)

    async def send(self, data):
        """Returns when all is written; gives way to others every time."""
        if self.gone.is_set():
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)

    def cut(self, how):
        """ "close": as one who is done; "abort": FIN at once; "reset": RST."""
        transport = self.writer.transport
        if how == "close":
            transport.close()
            return
        item = self.writer.get_extra_info("socket")
        if how == "reset" and item:  # none: closed by now
            item.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


class Http1:
    """An exchange over HTTP/1.1."""

    def __init__(self, connection):
        self.connection, self.gone, self.piece = connection, connection.gone, PIECE
        self.is_finished = self.closes = self._chunked = False

    async def start(self, status, headers, length=None):
        if length is None or self.piece != PIECE:
            self._chunked = True
            headers = [*headers, ("Transfer-Encoding", "chunked")]
        else:
            headers = [*headers, ("Content-Length", str(length))]
        if self.closes:
            headers.append(("Connection", "close"))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        await self.connection.send(f"HTTP/1.1 {status} {status}\r\n{lines}\r\n".encode("latin-1"))

    async def write(self, data):
        data = memoryview(data)
        for at in range(0, len(data), self.piece):
            part = data[at : at + self.piece]
            await self.connection.send(b"%x\r\n%b\r\n" % (len(part), part) if self._chunked else part)

    async def finish(self):
        if self._chunked:
            await self.connection.send(b"0\r\n\r\n")
        self.is_finished = True
        if self.closes:
            self.connection.cut("close")

    def cut(self, how):
        self.connection.cut("abort" if how == "stream" else how)

    def goaway(self):
        self.closes = True


class Http2:
    """An HTTP/2 connection: reads frames, and runs a task per stream."""

    def __init__(self, connection):
        self.connection = connection
        connection.protocol = "HTTP/2"
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.window = asyncio.Event()  # set when some window was opened
        self._tasks, self._last, self._leaving = {}, 0, False

    async def run(self, received):
        most = self.connection.server.settings.max_streams
        self.h2.local_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = most
        self.h2.initiate_connection()
        try:
            await self.flush()
            received = received or await self.connection.reader.read(65536)
            while received:
                for event in self.h2.receive_data(received):
                    self._event(event)
                await self.flush()
                received = await self.connection.reader.read(65536)
        except h2.exceptions.ProtocolError:
            await self.flush()
        finally:
            for task, _ in self._tasks.values():
                task.cancel()
            await asyncio.gather(*(task for task, _ in self._tasks.values()), return_exceptions=True)

    def _event(self, event):
        if isinstance(event, h2.events.RequestReceived):
            if self._leaving:
                return  # the client has to ask another connection
            self._last = event.stream_id
            headers = dict(event.headers)
            request = self.connection.request(headers.pop(":method"), headers.pop(":path"), headers)
            exchange = Stream(self, event.stream_id)
            task = asyncio.ensure_future(self.connection.server.handle(exchange, request, self.connection))
            self._tasks[event.stream_id] = task, exchange
            task.add_done_callback(functools.partial(self._done, event.stream_id))
        elif isinstance(event, h2.events.StreamReset):
            if event.stream_id in self._tasks:
                task, exchange = self._tasks[event.stream_id]
                exchange.gone.set()
                task.cancel()
        elif isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            self.window.set()
        elif isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def _done(self, stream, _):
        del self._tasks[stream]
        if self._leaving and not self._tasks:
            self.connection.cut("close")

    async def flush(self):
        await self.connection.send(self.h2.data_to_send())

    def goaway(self):
        """What runs may finish; nothing new. (The library's own would end all.)"""
        if not self._leaving:
            self._leaving = True
            frame = hyperframe.frame.GoAwayFrame(0, last_stream_id=self._last, error_code=0)
            self.connection.writer.write(self.h2.data_to_send() + frame.serialize())


class Stream:
    """An exchange over HTTP/2."""

    def __init__(self, http2, number):
        self._http2, self._number = http2, number
        self.connection, self.piece, self.gone = http2.connection, PIECE, asyncio.Event()

    async def start(self, status, headers, length=None):
        if length is not None and self.piece == PIECE:
            headers = [*headers, ("content-length", str(length))]
        headers = [(":status", str(status)), *((name.lower(), value) for name, value in headers)]
        self._http2.h2.send_headers(self._number, headers)
        await self._http2.flush()

    async def write(self, data):
        data, conn = memoryview(data), self._http2.h2
        at = 0
        while at < len(data):
            size = min(conn.local_flow_control_window(self._number), conn.max_outbound_frame_size, self.piece)
            if size <= 0:
                self._http2.window.clear()
                await self._http2.window.wait()
                continue
            conn.send_data(self._number, data[at : at + size])
            at += size
            await self._http2.flush()

    async def finish(self):
        self._http2.h2.end_stream(self._number)
        await self._http2.flush()

    def cut(self, how):
        if how == "stream":
            self._http2.h2.reset_stream(self._number, h2.errors.ErrorCodes.INTERNAL_ERROR)
            self.connection.writer.write(self._http2.h2.data_to_send())
        else:
            self.connection.cut(how)

    def goaway(self):
        self._http2.goaway()


# ---- the process -----------------------------------------------------------------------------


@dataclasses.dataclass
class LiveWatch:
    """A watch that is being sent."""

    watch: Watch
    request: Request
    wake: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    injected: list = dataclasses.field(default_factory=list)
    events: int = 0


class Server:
    """The process. Methods named do_* are the commands of ApiServer."""

    def __init__(self, address, port):
        self.live, self.connections, self._stalled, self._tasks = [], {}, [], set()
        self._address, self._port = address, port
        self._context = None  # of TLS
        self._listener = self._accepting = self._churning = None
        self._numbers = itertools.count(1)
        self.do_clear()

    def do_clear(self):
        self.settings, self.store = Settings(), Store()
        self.api = Api(self.store, self.settings)
        self.log, self.faults, self.tokens, self.written = [], [], {}, []
        self._accepted, self._handshakes = 0, []

    async def do_reset(self):
        await self.do_stop_listening("reset")
        await self._await_no_connections()
        self.do_clear()
        self.do_listen()

    async def _await_no_connections(self):
        end = time.monotonic() + 1
        while self.connections:
            await asyncio.sleep(0.001)
            if time.monotonic() > end:  # a client that does not read
                self.do_close_connections("abort")

    # connections

    def do_listen(self):
        if self._listener:
            return self._port
        self._listener = socket.create_server(
            (self._address, self._port), family=harness.family_of(self._address), backlog=1024
        )
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]
        self._accepting = asyncio.ensure_future(self._accept(self._listener))
        return self._port

    async def _accept(self, listener):
        while True:
            item, _ = await asyncio.get_running_loop().sock_accept(listener)
            item.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._accepted += 1
            if self.settings.accept == "stall":
                self._stalled.append(item)
            elif self.settings.accept == "close":
                item.close()
            else:
                task = asyncio.ensure_future(self._connection(item))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _connection(self, item):
        reader = asyncio.StreamReader(limit=1 << 20)
        protocol = Protocol(reader)
        loop = asyncio.get_running_loop()
        if self._context:
            self._context.set_alpn_protocols(["h2", "http/1.1"] if self.settings.http2 else ["http/1.1"])
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, item, ssl=self._context)
        except OSError as error:  # ssl.SSLError is one
            self._handshakes.append(str(error))
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        connection = Connection(self, next(self._numbers), reader, writer, protocol.gone)
        self.connections[connection.number] = connection
        try:
            await connection.run()
        except (OSError, ValueError, asyncio.CancelledError):
            pass  # gone, or no HTTP
        finally:
            del self.connections[connection.number]
            connection.cut("close")

    async def do_stop_listening(self, how=None):
        """`how`: cut the open connections so, see Connection.cut; "clean": end
        their watches well; None: leave them."""
        if self._listener:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._listener.close()
            self._listener = None
        if how == "clean":
            how = "close"
            self.do_inject("*", b"", "end", {})
            for _ in range(100):
                if self.live:
                    await asyncio.sleep(0.01)
        if how:
            self.do_close_connections(how)

    def do_close_connections(self, how="close"):
        for connection in list(self.connections.values()):
            connection.cut(how)
        for item in self._stalled:
            item.close()
        self._stalled.clear()

    async def do_restart(self, compact=False, rv=None, how="reset"):
        await self.do_stop_listening(how)
        await self._await_no_connections()
        if compact:
            self.store.compact()
        if rv is not None:
            self.store.rewind(rv)
        self.do_listen()

    def do_use_certificate(self, pem, key, client_ca):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with memory_file(pem) as certificate, memory_file(key) as secret:
            context.load_cert_chain(certificate, secret)
        context.load_verify_locations(cadata=client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        # An expired certificate is refused with 401, as the real one does.
        context.verify_flags |= 0x200000  # X509_V_FLAG_NO_CHECK_TIME
        self._context = context

    # requests

    def _user(self, request, certificate):
        if not self.settings.auth:
            return "admin"
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if token not in self.tokens:
                raise Refusal(make_status(401, "Unauthorized"))
            return self.tokens[token]
        if certificate:
            if ssl.cert_time_to_seconds(certificate["notAfter"]) < time.time():
                raise Refusal(make_status(401, "Unauthorized"))
            return next(value for part in certificate["subject"] for name, value in part if name == "commonName")
        if not self.settings.anonymous:
            raise Refusal(make_status(401, "Unauthorized"))
        return "system:anonymous"

    def _admit(self, request, certificate):
        request.user = self._user(request, certificate)
        kind = BY_PATH.get(request.path)
        denied = any(
            user in ("*", request.user) and resource in ("*", request.resource)
            for user, resource in self.settings.forbidden
        )
        if kind and (denied or request.user == "system:anonymous"):
            raise Refusal(forbidden(kind, request.verb, request.user))

    def _take_fault(self, request):
        for fault in self.faults:
            if not fault.matches(request):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if not fault.times:
                    self.faults.remove(fault)
            return fault
        return None

    async def handle(self, exchange, request, connection):
        """Answer one request."""
        request.index, request.time = len(self.log), time.monotonic()
        self.log.append(request)
        fault = self._take_fault(request)
        every = self.settings.goaway_every
        try:
            if every and len(self.log) % every == 0:
                exchange.goaway()
            if fault:
                await self._begin_fault(exchange, fault)
            await self._answer(exchange, request, connection, fault)
        except (Done, OSError, h2.exceptions.H2Error):
            pass  # ended by a fault, or by the client
        except Exception:
            traceback.print_exc()
            exchange.cut("reset")

    @staticmethod
    async def _begin_fault(exchange, fault):
        if fault.get("delay"):
            await asyncio.sleep(fault.get("delay"))
        if fault.what in fault.EARLY and not fault.has_place:
            await perform(exchange, fault.what, fault.get)
        if fault.what == "goaway" or fault.get("goaway"):
            exchange.goaway()
        exchange.piece = fault.get("chunk", exchange.piece)

    async def _answer(self, exchange, request, connection, fault):
        if fault and fault.what in Fault.INSTEAD:
            answer = fault.instead(request, self.store)
        else:
            try:
                self._admit(request, connection.certificate)
                answer = self.api.respond(request)
            except Refusal as refusal:
                answer = status_reply(refusal.status, request)
        is_watch = isinstance(answer, Watch)
        headers = [
            ("Audit-Id", str(uuid.uuid4())),
            ("Cache-Control", "no-cache, private"),
            ("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())),
            *([] if is_watch else answer.headers),
        ]
        if not any(name == "Content-Type" for name, _ in headers):
            headers.append(("Content-Type", "application/json"))
        if fault and fault.what == "headers":
            headers += [(f"X-Filler-{i}", "filler") for i in range(fault.get("count", 100000))]
        body = Body(exchange, fault)
        request.status = 200 if is_watch else answer.status
        if is_watch:
            await self._stream(exchange, body, request, answer, headers)
            return
        # What is small is sent with its length, as Go does.
        length = answer.length
        if length is not None and (length > 2048 or (fault and fault.what in Fault.IN_BODY)):
            length = None
        await exchange.start(answer.status, headers, length)
        await body.begin()
        for part in answer.parts:
            await body.write(part)
        await exchange.finish()

    async def _stream(self, exchange, body, request, watch, headers):
        """Send a watch until its end."""
        live = LiveWatch(watch, request)
        # Registered before anything is awaited: no event is missed.
        first = watch.initial()
        self.live.append(live)
        squeeze = (
            first and self.settings.compress_watch_list and "gzip" in request.headers.get("accept-encoding", "")
        )
        if squeeze:
            headers = [*headers, ("Content-Encoding", "gzip")]

        async def write(data):
            await body.write(gzip.compress(data) if squeeze else data)

        try:
            await exchange.start(200, headers)
            await body.begin()
            if first:
                await write(b"".join(first))
            live.events = len(first)
            await self._events(live, write, exchange)
            await exchange.finish()
        finally:
            self.live.remove(live)

    async def _events(self, live, write, exchange):
        settings, watch, begun = self.settings, live.watch, time.monotonic()
        end = begun + float(live.request.query.get("timeoutSeconds") or settings.watch_timeout)
        last_ones = [end - settings.bookmark_lead, end - settings.bookmark_lead / 2]
        last_ones = [due for due in last_ones if due > begun]
        bookmarked = begun
        while True:
            live.wake.clear()
            for rv, data in watch.pending():
                await write(data)
                self.written.append((rv, watch.kind.resource, live.request.index, time.monotonic()))
                live.events += 1
            while live.injected:
                data, then, options = live.injected.pop(0)
                if data:
                    await write(data)
                if then:
                    await perform(exchange, then, options.get)
            now = time.monotonic()
            if now >= end:
                return
            due = min([bookmarked + settings.bookmark_interval, *last_ones[:1]])
            if watch.bookmarks and now >= due:
                if last_ones and now >= last_ones[0]:
                    last_ones.pop(0)
                bookmarked = now
                await write(watch.bookmark())
                continue
            until = min(due, end) if watch.bookmarks else end
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(live.wake.wait(), max(0, until - now))

    def _changed(self, kind):
        for live in self.live:
            if live.watch.kind is kind:
                live.wake.set()

    # commands

    def do_put(self, content, raw=False):
        kind, rv = self.store.put(content, raw)
        self._changed(kind)
        return rv

    def do_put_many(self, contents, raw=False):
        return [self.do_put(content, raw) for content in contents]

    def do_delete(self, resource, namespace, name):
        kind = KINDS[resource]
        rv = self.store.delete(kind, self.store.key(kind, {"namespace": namespace, "name": name}))
        self._changed(kind)
        return rv

    def do_get(self, resource, namespace, name):
        kind = KINDS[resource]
        item = self.store.items[resource].get(self.store.key(kind, {"namespace": namespace, "name": name}))
        return item and {"kind": kind.kind, "apiVersion": kind.api_version, **item.content}

    def do_load(self, recorded):
        self.store.load(recorded)

    def do_load_scale(self, services, endpoints):
        """`services` Services of `endpoints` endpoints each. Returns the rv."""
        backend, vip = ipaddress.ip_address("10.128.0.0"), ipaddress.ip_address("10.96.0.0")
        for i in range(services):
            name, ips = f"svc-{i:05}", (str(backend + 1 + i * endpoints + j) for j in range(endpoints))
            self.store.put(harness.service(name, namespace="scale", cluster_ip=str(vip + 1 + i)))
            item = harness.endpoint_slice(name + "-1", name, ips, 8080, {"ready": True}, "scale")
            self.store.put(item)
        for kind in KINDS.values():
            self._changed(kind)
        gc.collect()
        gc.freeze()  # so many objects would make every later collection long
        return self.store.rv

    def do_churn(self, resource, rate, count):
        """Change objects in turn, `rate` a second, `count` in all."""
        self._churning = asyncio.ensure_future(self._churn(resource, rate, count))

    async def _churn(self, resource, rate, count):
        keys, begun, result = sorted(self.store.items[resource]), time.monotonic(), []
        for i in range(count):
            await asyncio.sleep(max(0, begun + i / rate - time.monotonic()))
            old = self.store.items[resource][keys[i * 7919 % len(keys)]].content
            new = {"kind": KINDS[resource].kind, **old, "metadata": {**old["metadata"]}}
            if resource == "endpointslices" and new.get("endpoints"):
                # The first endpoint comes and goes.
                first, *rest = new["endpoints"]
                is_ready = first.get("conditions", {}).get("ready", True)
                new["endpoints"] = [{**first, "conditions": {"ready": not is_ready}}, *rest]
            else:
                new["metadata"]["annotations"] = {**(old["metadata"].get("annotations") or {}), "churn": str(i)}
            put_at = time.monotonic()
            result.append((self.do_put(new), put_at))
        return result

    async def do_churned(self):
        """[(rv, monotonic time)] of the changes, once all are made."""
        return await self._churning

    def do_compact(self):
        self.store.compact()

    def do_rv(self):
        return self.store.rv

    def do_bump(self, rv):
        """As if other resources had changed: a version without an event here."""
        self.store.rv = max(self.store.rv, rv)

    def do_bookmark(self, resource):
        self.do_inject(resource, None, None, {})

    def do_configure(self, **settings):
        for name, value in settings.items():
            assert hasattr(self.settings, name), f"no such setting: {name}"
            setattr(self.settings, name, value)

    def do_set_tokens(self, tokens):
        self.tokens = tokens

    def do_fault(self, resource, verb, what, times, skip, options):
        self.faults.append(Fault(resource, verb, what, times, skip, options))

    def do_faults(self):
        return [(fault.resource, fault.verb, fault.what, fault.times) for fault in self.faults]

    def do_clear_faults(self):
        self.faults.clear()

    def do_inject(self, resource, data, then, options):
        """Returns how many watches it went to."""
        hit = [live for live in self.live if resource in ("*", live.watch.kind.resource)]
        for live in hit:
            live.injected.append((live.watch.bookmark() if data is None else data, then, options))
            live.wake.set()
        return len(hit)

    def do_requests(self, after=0):
        return self.log[after:]

    def do_watches(self):
        return [
            {"resource": live.watch.kind.resource, "request": live.request, "events": live.events} for live in self.live
        ]

    def do_written(self, after=0):
        return self.written[after:]

    def do_connections(self):
        return [(connection.number, connection.protocol) for connection in self.connections.values()]

    def do_accepted(self):
        return self._accepted

    def do_handshake_errors(self):
        return list(self._handshakes)

    async def control(self, channel):
        """Obey commands until the other side is gone."""
        reader, writer = await asyncio.open_connection(sock=channel)
        while True:
            try:
                (size,) = struct.unpack("!I", await reader.readexactly(4))
                name, args, kwargs = pickle.loads(await reader.readexactly(size))
            except (asyncio.IncompleteReadError, OSError):
                return
            try:
                value = getattr(self, "do_" + name)(*args, **kwargs)
                answer = (True, await value if asyncio.iscoroutine(value) else value)
            except Exception:  # pylint: disable=broad-except
                answer = (False, traceback.format_exc())
            data = pickle.dumps(answer)
            writer.write(struct.pack("!I", len(data)) + data)
            await writer.drain()


@contextlib.contextmanager
def memory_file(text):
    """A path that holds this text, for a library that takes only paths."""
    descriptor = os.memfd_create("apiserver")
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def main(channel, address, port):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the test's own matter
    server = Server(address, port)
    asyncio.run(server.control(socket.socket(fileno=channel)))
    os._exit(0)


# ---- certificates --------------------------------------------------------------------------------


@dataclasses.dataclass
class Certificate:
    """Both in PEM."""

    pem: str
    key: str


class Authority:
    """A certificate authority."""

    def __init__(self):
        self._key = ec.generate_private_key(ec.SECP256R1())
        # Names of their own: a client does not try the key of one on the other's.
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"stand-in {uuid.uuid4()}")])
        self._certificate = self._sign(self._name, self._key, False, x509.BasicConstraints(True, None))
        self.pem = self._pem(self._certificate)

    @staticmethod
    def _pem(certificate):
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def _sign(self, name, key, expired, *extensions):
        now = datetime.datetime.utcnow()
        hour = datetime.timedelta(hours=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 48 * hour)
            .not_valid_after(now - hour if expired else now + 48 * hour)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())

    def issue(self, name, sans=(), groups=(), expired=False):
        """A certificate for a server, with `sans`, or for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, group) for group in groups]
        parts.append(x509.NameAttribute(x509.NameOID.COMMON_NAME, name))
        usage = x509.ExtendedKeyUsageOID.SERVER_AUTH if sans else x509.ExtendedKeyUsageOID.CLIENT_AUTH
        extensions = [x509.BasicConstraints(False, None), x509.ExtendedKeyUsage([usage])]
        if sans:
            extensions.append(x509.SubjectAlternativeName(list(map(self._san, sans))))
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Certificate(self._pem(self._sign(x509.Name(parts), key, expired, *extensions)), secret.decode())

    @staticmethod
    def _san(text):
        try:
            return x509.IPAddress(ipaddress.ip_address(text))
        except ValueError:
            return x509.DNSName(text)


# ---- the test's side -------------------------------------------------------------------------------


class ApiServer:
    """An API server in a process of its own.

    `netns`: the descriptor of a network namespace, or what has one as `.fd`;
    None: a private one, with nothing but its loopback, made here. `address`:
    what it listens on there. Use it as a context manager, or call close().

    Plain HTTP knows HTTP/2 by prior knowledge only; over TLS, ALPN decides.
    """

    def __init__(self, netns=None, address="127.0.0.1", port=0, tls=True, **settings):
        self._undo = contextlib.ExitStack()
        self._lock = threading.Lock()
        self.address, self.tls = address, tls
        with self._undo:
            if netns is None:
                netns = harness.Netns()
                self._undo.callback(netns.close)
            self.netns = getattr(netns, "fd", netns)
            self._start(port)
            self._undo.callback(self._stop)
            if tls:
                self.ca = self.client_ca = Authority()
                self.sans = [address, "localhost", "kubernetes.default.svc"]
                self.use_certificate()
            self.configure(**settings)
            self.port = self._call("listen")
            self._undo = self._undo.pop_all()

    def _start(self, port):
        self._control, theirs = socket.socketpair()
        self._undo.callback(self._control.close)

        def prepare():
            harness.die_with_parent()
            harness.setns(self.netns)

        code = "import sys; sys.path.insert(0, sys.argv[1]); import apiserver; apiserver.main(*map(eval, sys.argv[2:]))"
        here = str(pathlib.Path(__file__).parent)
        with theirs:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [sys.executable, "-c", code, here, str(theirs.fileno()), repr(self.address), str(port)],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                preexec_fn=prepare,
            )

    def _stop(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self._undo.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _call(self, name, *args, **kwargs):
        with self._lock:
            data = pickle.dumps((name, args, kwargs))
            self._control.sendall(struct.pack("!I", len(data)) + data)
            (size,) = struct.unpack("!I", self._receive(4))
            done, value = pickle.loads(self._receive(size))
        if not done:
            raise RuntimeError(f"the API server's {name}:\n{value}")
        return value

    def _receive(self, size):
        result = bytearray()
        while len(result) < size:
            data = self._control.recv(min(size - len(result), 1 << 20))
            assert data, "the API server has died"
            result += data
        return bytes(result)

    @property
    def url(self):
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"

    def reset(self):
        """As new, but for the port and the certificates: for the next test."""
        self._call("reset")

    # objects; each change returns its resourceVersion

    def put(self, content, raw=False):
        """Create or replace an object, with a server's defaults unless raw."""
        return self._call("put", content, raw)

    def put_many(self, contents, raw=False):
        return self._call("put_many", contents, raw)

    def delete(self, resource, namespace, name):
        return self._call("delete", resource, namespace, name)

    def get(self, resource, namespace, name):
        """The object as it is now, or None."""
        return self._call("get", resource, namespace, name)

    def load(self, *paths):
        """Begin with recorded lists."""
        for path in paths:
            self._call("load", json.loads(pathlib.Path(path).read_text(encoding="utf-8")))
        return self

    def load_scale(self, services=10000, endpoints=10):
        """Services "scale/svc-00000" and on, with a slice each."""
        return self._call("load_scale", services, endpoints)

    def churn(self, resource, rate, count):
        """Begin to change objects, `rate` a second; see churned()."""
        self._call("churn", resource, rate, count)

    def churned(self):
        """[(rv, monotonic time of the change)], once all are made."""
        return self._call("churned")

    def rv(self):
        return self._call("rv")

    def bump(self, rv):
        """Raise the resourceVersion, as changes of other resources do."""
        self._call("bump", rv)

    def compact(self):
        """Forget history: every older resourceVersion is expired."""
        self._call("compact")

    # what is to go wrong

    def fault(self, resource, verb, what, times=1, skip=0, **options):
        """For the next `times` requests (None: all) that match, after `skip`.

        resource: a name or "*"; verb: "list", "watch" or "*"; what:
          in place of the answer
            status          code, headers={}, retry_after, reason, message, body (a
                            dict, text or bytes; none: the Status of that code)
            redirect        location, code=302
            empty           items=None: "items":null
            status-as-list  200 with a Status
            malformed, endless, huge (bytes), deep (depth), gzip-bomb (bytes)
          in its body, `after` bytes or `after_events` events (or lines)
            cut             how="close", "abort", "reset" or, of HTTP/2, "stream"
            stall           silence, the connection left open
            end             well, but early
            error-event     code=410, reason, message; then the end
            insert          data (bytes), and on
          cut and stall without such a place: before any answer
          beside it
            headers (count=100000), goaway, none
        with any of them: delay (seconds), chunk (write so many bytes at a time),
        goaway=True (of HTTP/1.1: Connection: close).
        """
        self._call("fault", resource, verb, what, times, skip, options)

    def faults(self):
        """Those not used up."""
        return self._call("faults")

    def clear_faults(self):
        self._call("clear_faults")

    def inject(self, resource, data=b"", then=None, **options):
        """Write bytes into the open watches; then "end", "cut", "stall" or
        "error-event" them, with the options of fault(). Returns how many."""
        return self._call("inject", resource, data, then, options)

    def bookmark(self, resource):
        """Send bookmarks now."""
        self._call("bookmark", resource)

    def configure(self, **settings):
        """Change what is in Settings."""
        self._call("configure", **settings)

    def stop_listening(self, how=None):
        """Refuse connections. `how`: "close", "abort", "reset" or "clean" also
        ends those that are open, "clean" their watches first."""
        self._call("stop_listening", how)

    def listen(self):
        self._call("listen")

    def close_connections(self, how="close"):
        self._call("close_connections", how)

    def restart(self, compact=False, rv=None, how="reset"):
        """End all connections and come back, on the same port. `rv`: with an
        older history, that ends there."""
        self._call("restart", compact, rv, how)

    def freeze(self):
        """Stop the process: only its kernel answers."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    # who may ask

    def set_tokens(self, tokens):
        """The valid bearer tokens, {token: user} or names. Asks for credentials
        from now on."""
        self._call("set_tokens", tokens if isinstance(tokens, dict) else {token: token for token in tokens})
        self.configure(auth=True)

    def use_certificate(self, sans=None, expired=False, ca=None):
        """Show a certificate of other names, or expired, or of another Authority
        (whose `pem` clients do not know), to new connections."""
        issued = (ca or self.ca).issue("kube-apiserver", sans or self.sans, expired=expired)
        self._call("use_certificate", issued.pem, issued.key, self.client_ca.pem)

    def rotate_ca(self):
        """From now on another authority signs; kubeconfig() tells the new one."""
        self.ca = Authority()
        self.use_certificate()
        return self.ca

    def client_certificate(self, user, groups=(), expired=False):
        return self.client_ca.issue(user, groups=groups, expired=expired)

    def kubeconfig(
        self,
        server=None,
        ca="data",
        insecure=False,
        tls_server_name=None,
        token=None,
        token_file=None,
        certificate=None,
        certificate_files=None,
        proxy_url=None,
        exec_plugin=None,
        **cluster,
    ):
        """The text of a kubeconfig. `ca`: "data", None, a path or an Authority;
        `certificate`: as client_certificate() gives it; `certificate_files`: the
        paths (certificate, key); `cluster`: more of a cluster's fields, with _
        for -."""
        cluster = {name.replace("_", "-"): value for name, value in cluster.items()}
        cluster["server"] = server or self.url
        if isinstance(ca, Authority) or (ca == "data" and self.tls and not insecure):
            pem = ca.pem if isinstance(ca, Authority) else self.ca.pem
            cluster["certificate-authority-data"] = base64.b64encode(pem.encode()).decode()
        elif ca and ca != "data":
            cluster["certificate-authority"] = str(ca)
        user = {
            "token": token,
            "tokenFile": token_file and str(token_file),
            "exec": exec_plugin,
            "client-certificate-data": certificate and base64.b64encode(certificate.pem.encode()).decode(),
            "client-key-data": certificate and base64.b64encode(certificate.key.encode()).decode(),
            "client-certificate": certificate_files and str(certificate_files[0]),
            "client-key": certificate_files and str(certificate_files[1]),
        }
        more = {"insecure-skip-tls-verify": insecure, "tls-server-name": tls_server_name, "proxy-url": proxy_url}
        cluster.update({name: value for name, value in more.items() if value})
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "stand-in", "cluster": cluster}],
            "users": [{"name": "redial", "user": {name: value for name, value in user.items() if value}}],
            "contexts": [{"name": "main", "context": {"cluster": "stand-in", "user": "redial"}}],
            "current-context": "main",
        }
        return harness.to_yaml(content) + "\n"

    # what happened

    def requests(self, after=0, **fields):
        """The Requests so far, from index `after`; `fields`: only those with such
        values, as in requests(resource="services", verb="watch")."""
        found = self._call("requests", after)
        return [item for item in found if all(getattr(item, name) == value for name, value in fields.items())]

    def wait_request(self, predicate=lambda request: True, after=0, seconds=harness.SOON, **fields):
        """The first Request for which the predicate is true."""

        def find():
            return next(filter(predicate, self.requests(after, **fields)), None)

        return harness.wait_until(find, f"a request {fields or ''}", seconds)

    def watches(self, resource=None):
        """The open watches: [{"resource", "request", "events": sent so far}]."""
        return [live for live in self._call("watches") if resource in (None, live["resource"])]

    def wait_watches(self, resource, count=1, seconds=harness.SOON):
        return harness.wait_until(
            lambda: len(self.watches(resource)) == count and (self.watches(resource) or True),
            f"{count} watches of {resource}",
            seconds,
        )

    def written(self, after=0):
        """[(rv, resource, index of the request, monotonic time)] of each event:
        when its last byte was the kernel's."""
        return self._call("written", after)

    def wait_written(self, rv, seconds=harness.SOON):
        """When an event was written to the first watch."""
        found = harness.wait_until(
            lambda: [item for item in self.written() if item[0] == rv], f"the event {rv} is written", seconds
        )
        return found[0][3]

    def connections(self):
        """[(number, protocol)] of those open."""
        return self._call("connections")

    def accepted(self):
        """How many connections there ever were."""
        return self._call("accepted")

    def handshake_errors(self):
        return self._call("handshake_errors")
