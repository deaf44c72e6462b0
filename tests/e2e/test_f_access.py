# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How the agent reaches the API server and as whom: F14, F15 and F18. No token
and no key is ever in the log."""

import contextlib
import json
import re
import socket
import sys
import threading

import pytest
from harness import Child, service, wait_until
from test_kube import KubeNode

TOKEN, NEXT = "first-token-4c1d", "second-token-77ab"
# What the API server's address looks like in a cluster: a Service's.
KUBERNETES = "10.96.0.1"


@pytest.fixture(name="kube")
def fixture_kube(node):
    with KubeNode(node) as kube:
        yield kube
        for agent in node.agents:
            text = agent.text()
            for secret in (TOKEN, NEXT, "PRIVATE KEY"):
                assert secret not in text, text


def serve(kube, **how):
    """With a kubeconfig that says so; the server knows TOKEN."""
    kube.write_kubeconfig(**how)
    return kube.serve()


# ---- F14: in a cluster ----------------------------------------------------------------

# In a mount namespace of its own, whose /run the machine does not see.
MOUNT = """
set -e
mount -t tmpfs tmpfs "$(readlink -f /var/run)"
mkdir -p /var/run/secrets/kubernetes.io/serviceaccount
mount --bind "$1" /var/run/secrets/kubernetes.io/serviceaccount
shift
exec "$@"
"""


class ServiceAccount:
    """The files that Kubernetes gives a Pod, replaced as it does: a link to a
    directory is moved."""

    def __init__(self, kube, token=TOKEN):
        self.kube, self.directory, self._n = kube, kube.node.directory / "serviceaccount", 0
        self.directory.mkdir()
        self.write(token)
        for name in ("token", "ca.crt"):
            (self.directory / name).symlink_to(f"..data/{name}")
        kube.server.set_tokens({token: "redial"})
        kube.node.source = ("--kubernetes",)

    def write(self, token):
        self._n += 1
        data = self.directory / f"..data-{self._n}"
        data.mkdir()
        (data / "token").write_text(token, encoding="utf-8")
        (data / "ca.crt").write_text(self.kube.server.ca.pem, encoding="utf-8")
        link = self.directory / "..data_tmp"
        link.symlink_to(data.name)
        link.rename(self.directory / "..data")

    def wrapper(self, host=None, port=None):
        server = self.kube.server
        return (
            *("env", f"KUBERNETES_SERVICE_HOST={host or server.address}"),
            f"KUBERNETES_SERVICE_PORT={port or server.port}",
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNT, "sh", self.directory),
        )


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_f14_in_a_cluster(node, address):
    with KubeNode(node, address=address) as kube:
        account = ServiceAccount(kube)
        kube.serve(wrapper=account.wrapper())
        assert {item.user for item in kube.server.requests()} == {"redial"}
        kube.check()


def test_f14_the_servers_own_address_takes_the_place_of_its_services(kube):
    """Nobody but redial makes the Service's address work. It may serve it, too."""
    account = ServiceAccount(kube)
    kube.serve("--server", kube.server.url, wrapper=account.wrapper(KUBERNETES, 443))
    kube.put(service("kubernetes", 443, cluster_ip=KUBERNETES, namespace="default"))
    kube.settle()
    kube.check()


def test_f14_not_in_a_cluster(node):
    node.source = ("--kubernetes",)
    status, lines = node.try_run(wrapper=("env", "-u", "KUBERNETES_SERVICE_HOST"))
    assert status == 1
    (line,) = lines
    assert "not in a cluster" in line and "KUBERNETES_SERVICE_HOST" in line


# ---- F15: tokens that change ----------------------------------------------------------------


def replace_token(kube, write):
    """The server no longer takes the old one; then the file has the new one."""
    kube.server.set_tokens({NEXT: "redial"})
    kube.news()  # what is open goes on
    kube.server.inject("*", then="end")
    refused = kube.requests()[0]
    assert refused.status == 401 and refused.headers["authorization"] == f"Bearer {TOKEN}"
    write(NEXT)
    again = kube.server.wait_request(lambda item: item.status == 200, refused.index, resource="services")
    assert again.headers["authorization"] == f"Bearer {NEXT}"
    kube.check()


def test_f15_a_service_accounts_token_is_replaced(kube):
    account = ServiceAccount(kube)
    kube.serve(wrapper=account.wrapper())
    replace_token(kube, account.write)


def test_f15_a_token_file_is_read_again_after_a_refusal(kube):
    path = kube.node.directory / "token"
    path.write_text(f"\n {TOKEN}\r\n", encoding="utf-8")
    kube.server.set_tokens({TOKEN: "redial"})
    agent = serve(kube, token_file=path)
    replace_token(kube, lambda token: path.write_text(token + "\n", encoding="utf-8"))
    assert len(agent.lines("warn: ", "401", "resource=/api/v1/services")) == 1


@pytest.mark.parametrize("text", [None, "two\nlines\n"], ids=["gone", "no-token"])
def test_f15_a_token_file_that_cannot_be_used_for_a_while(kube, text):
    path = kube.node.directory / "token"
    path.write_text(TOKEN, encoding="utf-8")
    kube.server.set_tokens({TOKEN: "redial"})
    agent = serve(kube, token_file=path)
    kube.server.set_tokens({NEXT: "redial"})
    if text is None:
        path.unlink()
    else:
        path.write_text(text, encoding="utf-8")
    kube.server.inject("services", then="end")
    agent.wait_line("warn: ", "token", "resource=/api/v1/services", str(path))
    kube.load.more(20)
    path.write_text(NEXT, encoding="utf-8")
    kube.check()


def test_f15_a_token_file_at_the_start_may_be_late(kube):
    """Until it can be read the kubeconfig's own token is used."""
    path = kube.node.directory / "token"
    kube.server.set_tokens({TOKEN: "redial"})
    serve(kube, token_file=path, token=TOKEN)
    assert {item.headers["authorization"] for item in kube.server.requests()} == {f"Bearer {TOKEN}"}
    kube.check()


# ---- F18: kubeconfigs --------------------------------------------------------------------------


def test_f18_a_token(kube):
    kube.server.set_tokens({TOKEN: "redial"})
    serve(kube, token=TOKEN)
    assert {item.user for item in kube.server.requests()} == {"redial"}
    kube.check()


def test_f18_a_client_certificate(kube):
    kube.server.set_tokens({})
    serve(kube, certificate=kube.server.client_certificate("redial"))
    assert {item.user for item in kube.server.requests()} == {"redial"}
    kube.check()


def write_files(kube, directory):
    """A CA, a certificate and a key as files."""
    issued = kube.server.client_certificate("redial")
    for name, text in (("ca.crt", kube.server.ca.pem), ("tls.crt", issued.pem), ("tls.key", issued.key)):
        (directory / name).write_text(text, encoding="utf-8")


def test_f18_files_are_beside_the_kubeconfig(kube):
    directory = kube.node.directory / "below"
    directory.mkdir()
    write_files(kube, directory)
    kube.server.set_tokens({})
    serve(kube, ca="below/ca.crt", certificate_files=("below/tls.crt", "below/tls.key"))
    assert {item.user for item in kube.server.requests()} == {"redial"}
    kube.check()


def test_f18_another_name_in_the_servers_certificate(kube):
    kube.server.use_certificate(sans=["api.example"])
    agent = serve(kube, tls_server_name="api.example")
    assert not agent.lines("warn: ", "certificate")
    kube.check()


def test_f18_a_certificate_that_is_not_verified(kube):
    kube.server.use_certificate(sans=["api.example"])
    serve(kube, insecure=True)
    kube.check()


def test_f18_another_context(kube):
    text = kube.server.kubeconfig().replace('current-context: "main"', 'current-context: "none"')
    assert "none" in text
    kube.kubeconfig.write_text(text, encoding="utf-8")
    kube.serve("--context", "main")
    kube.check()


PLUGIN = r"""
import json, os, pathlib, sys
directory = pathlib.Path(sys.argv[1])
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
with open(directory / "runs", "a", encoding="utf-8") as runs:
    runs.write(json.dumps({"info": info, "extra": os.environ.get("EXTRA")}) + "\n")
print((directory / "credential").read_text(encoding="utf-8"))
"""


class Plugin:
    """An exec credential plugin, and what it was told."""

    def __init__(self, kube):
        self.directory = kube.node.directory / "plugin"
        self.directory.mkdir()
        (self.directory / "plugin.py").write_text(PLUGIN, encoding="utf-8")
        self.config = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(self.directory / "plugin.py"), str(self.directory)],
            "env": [{"name": "EXTRA", "value": "more"}],
            "interactiveMode": "Never",
            "provideClusterInfo": True,
        }

    def say(self, **status):
        content = {"apiVersion": self.config["apiVersion"], "kind": "ExecCredential", "status": status}
        (self.directory / "credential").write_text(json.dumps(content), encoding="utf-8")

    def runs(self):
        with contextlib.suppress(FileNotFoundError):
            return [json.loads(line) for line in (self.directory / "runs").read_text(encoding="utf-8").splitlines()]
        return []


def test_f18_a_plugins_token(kube):
    """It is run once for all, and again after a refusal."""
    plugin = Plugin(kube)
    plugin.say(token=TOKEN)
    kube.server.set_tokens({TOKEN: "redial"})
    serve(kube, exec_plugin=plugin.config)
    (run,) = plugin.runs()
    assert run["extra"] == "more"
    assert run["info"]["kind"] == "ExecCredential" and run["info"]["apiVersion"] == plugin.config["apiVersion"]
    assert run["info"]["spec"]["cluster"]["server"] == kube.server.url
    assert run["info"]["spec"]["interactive"] is False
    plugin.say(token=NEXT)
    kube.server.set_tokens({NEXT: "redial"})
    kube.server.inject("services", then="end")
    kube.server.wait_request(lambda item: item.status == 200, kube.marked, resource="services")
    assert len(plugin.runs()) == 2
    kube.check()


def test_f18_a_plugins_certificate(kube):
    plugin = Plugin(kube)
    issued = kube.server.client_certificate("redial")
    plugin.say(clientCertificateData=issued.pem, clientKeyData=issued.key)
    kube.server.set_tokens({})
    serve(kube, exec_plugin=plugin.config)
    assert {item.user for item in kube.server.requests()} == {"redial"}
    kube.check()


def test_f18_what_a_plugin_gave_expires(kube):
    plugin = Plugin(kube)
    plugin.say(token=TOKEN, expirationTimestamp="2020-01-01T00:00:00Z")
    kube.server.set_tokens({TOKEN: "redial"})
    serve(kube, exec_plugin=plugin.config)
    runs = len(plugin.runs())
    kube.server.inject("services", then="end")
    kube.requests()
    wait_until(lambda: len(plugin.runs()) > runs)
    kube.check()


def test_f18_a_plugin_that_fails_for_a_while(kube):
    plugin = Plugin(kube)
    kube.server.set_tokens({TOKEN: "redial"})
    kube.put_web()
    kube.write_kubeconfig(exec_plugin=plugin.config)
    agent = kube.node.launch("--node-name", "node1")
    wait_until(lambda: agent.lines("warn: ", "exec plugin", "resource=/api/v1/services"))
    plugin.say(token=TOKEN)
    agent.await_ready()
    assert kube.client.ask(kube.VIP) == "pod1"


# ---- F18: through a proxy -----------------------------------------------------------------------


def _pump(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for item in (source, target):
        with contextlib.suppress(OSError):
            item.shutdown(socket.SHUT_RDWR)


def _read_target(client):
    """Of a CONNECT, or of a SOCKS 5 request, answered up to the connection."""
    stream = client.makefile("rb")
    first = stream.read(1)
    if first == b"C":
        head = first + stream.readline()
        while stream.readline().strip():
            pass
        host, _, number = re.match(rb"CONNECT (\S+) ", head)[1].decode().rpartition(":")
        return (host, int(number)), b"HTTP/1.1 200 OK\r\n\r\n"
    assert first == b"\5"
    stream.read(stream.read(1)[0])
    client.sendall(b"\5\0")
    kind = stream.read(4)[3]
    host = socket.inet_ntoa(stream.read(4)) if kind == 1 else stream.read(stream.read(1)[0]).decode()
    return (host, int.from_bytes(stream.read(2), "big")), b"\5\0\0\1" + bytes(6)


def _proxy(stop, listener):
    """Returns where it was asked to connect to."""
    asked = []
    listener.settimeout(0.05)

    def serve_one(client):
        with contextlib.suppress(OSError):
            target, answer = _read_target(client)
            asked.append(target)
            server = socket.create_connection(target)
            client.sendall(answer)
            threading.Thread(target=_pump, args=(server, client), daemon=True).start()
            _pump(client, server)

    while not stop():
        with contextlib.suppress(TimeoutError):
            client, _ = listener.accept()
            client.settimeout(None)
            threading.Thread(target=serve_one, args=(client,), daemon=True).start()
    return asked


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_f18_through_a_proxy(kube, scheme):
    with kube.node.host.entered():
        listener = socket.create_server(("127.0.0.1", 0))
    proxy = Child(_proxy, listener, netns=kube.node.host.fd, stoppable=True)
    kube.node.children.append(proxy)
    with listener:
        serve(kube, proxy_url=f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
    kube.check()
    assert set(proxy.stop()) == {("127.0.0.1", kube.server.port)}


# ---- F18: what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how, fragments",
    [
        ({"server": "http://127.0.0.1:1", "token": TOKEN}, ("http://", "credentials")),
        ({"server": "https://redial:secret@127.0.0.1:1"}, ("https:// URL",)),
        ({"certificate_files": ("tls.crt", "")}, ("client-key",)),
        ({"token": "two\nlines " + TOKEN}, ("token",)),
    ],
    ids=["token-without-tls", "password", "certificate-without-key", "no-token"],
)
def test_f18_what_cannot_be_right_is_refused_at_once(kube, how, fragments):
    kube.write_kubeconfig(**how)
    status, lines = kube.node.try_run()
    assert status == 1
    (line,) = lines
    for fragment in (*fragments, "kubeconfig" if "token" not in fragments else ""):
        assert fragment in line
    assert "secret" not in line
