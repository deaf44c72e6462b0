# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A node with Pods, made of network namespaces, for tests of the real binary.

Nothing here has a name outside this process: network namespaces are held by
descriptors, mounts are in a mount namespace of our own (see conftest.py), and
every process started gets SIGKILL when its parent dies. What has a name is a
cgroup and a directory below the temporary one; Node.close removes both.
"""

import collections
import contextlib
import ctypes
import errno
import json
import mmap
import os
import pathlib
import pickle
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1

# How long an effect may take. Generous: a loaded machine under ASan.
SOON = 15.0

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result):
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unshare(flags):
    _checked(_libc.unshare(flags))


def setns(descriptor):
    _checked(_libc.setns(descriptor, CLONE_NEWNET))


def mount(source, target, kind, flags=0):
    _checked(_libc.mount(source.encode(), str(target).encode(), kind.encode(), flags, None))


def umount(target):
    _checked(_libc.umount2(str(target).encode(), MNT_DETACH))


def die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def cgroup2_mount():
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[2] == "cgroup2":
                return pathlib.Path(fields[1])
    raise RuntimeError("no cgroup2 is mounted")


def remove_cgroup(path):
    """Remove a cgroup and those below it, waiting for their last processes."""
    for directory, _, _ in os.walk(path, topdown=False):

        def removed(directory=directory):
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                return False
            return True

        wait_until(removed, f"{directory} can be removed")


def wait_until(predicate, what=None, seconds=SOON):
    """Poll until the predicate is true; returns what it returned."""
    end = time.monotonic() + seconds
    while True:
        result = predicate()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not so within {seconds} s: {what or predicate}")
        time.sleep(0.01)


# ---- manifests ---------------------------------------------------------------


def to_yaml(value, indent=0):
    """YAML in block style, as people write it. Scalars are JSON's."""
    pad = " " * indent
    if isinstance(value, dict) and value:
        lines = []
        for key, item in value.items():
            nested = isinstance(item, (dict, list)) and item
            text = to_yaml(item, indent + 2)
            lines.append(f"{pad}{key}:\n{text}" if nested else f"{pad}{key}: {text}")
        return "\n".join(lines)
    if isinstance(value, list) and value:
        return "\n".join(f"{pad}- {to_yaml(item, indent + 2).lstrip()}" for item in value)
    return json.dumps(value)


def documents(*objects):
    return "---\n".join(to_yaml(item) + "\n" for item in objects)


def _meta(name, namespace, labels=None, **more):
    meta = {"name": name, **more}
    if namespace:
        meta["namespace"] = namespace
    if labels:
        meta["labels"] = labels
    return meta


def port(number, target=None, name=None, protocol=None):
    """A Service's port."""
    result = {"port": number}
    if target is not None:
        result["targetPort"] = target
    if name:
        result["name"] = name
    if protocol:
        result["protocol"] = protocol
    return result


def service(name, ports=None, selector=None, cluster_ip=None, namespace=None, meta=None, **spec):
    """`ports`: port() values, or one number; default 80 to 8080."""
    if ports is None:
        ports = [port(80, 8080)]
    elif isinstance(ports, int):
        ports = [port(ports)]
    spec["ports"] = ports
    if selector:
        spec["selector"] = selector
    if cluster_ip:
        spec["clusterIP"] = cluster_ip
    return {"apiVersion": "v1", "kind": "Service", "metadata": _meta(name, namespace, **(meta or {})), "spec": spec}


def pod_manifest(name, ip, labels, ports=None, ready=None, deleting=False, namespace=None, ip6=None):
    """`ports`: named container ports. `ready` None: a Pod without conditions."""
    meta = _meta(name, namespace, labels)
    if deleting:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    container = {"name": "main"}
    if ports:
        container["ports"] = [{"name": key, "containerPort": number} for key, number in ports.items()]
    status = {"podIP": ip}
    if ip6:
        status["podIPs"] = [{"ip": ip}, {"ip": ip6}]
    if ready is not None:
        status["conditions"] = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {"containers": [container]},
        "status": status,
    }


def endpoints(name, ips, number, namespace=None, not_ready=()):
    subset = {"addresses": [{"ip": ip} for ip in ips], "ports": [{"port": number}]}
    if not_ready:
        subset["notReadyAddresses"] = [{"ip": ip} for ip in not_ready]
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": _meta(name, namespace), "subsets": [subset]}


def endpoint_slice(name, owner, ips, number, conditions=None, namespace=None):
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _meta(name, namespace, {"kubernetes.io/service-name": owner}),
        "addressType": "IPv4",
        "ports": [{"port": number}],
        "endpoints": [{"addresses": [ip], "conditions": conditions or {}} for ip in ips],
    }


# ---- processes -----------------------------------------------------------------


class Child:
    """A forked copy of this process that runs one function and tells its result.

    It is put into a cgroup and a network namespace first. Its stop() predicate,
    passed to the function on request, turns true when the parent asks for the
    end.
    """

    def __init__(self, function, *args, netns=None, cgroup=None, stoppable=False):
        self._result, write = os.pipe()
        read_stop, self._stop = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._result)
                os.close(self._stop)
                self._run(function, args, netns, cgroup, write, read_stop if stoppable else None)
            finally:
                os._exit(0)
        os.close(write)
        os.close(read_stop)

    @staticmethod
    def _run(function, args, netns, cgroup, write, read_stop):
        die_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            if cgroup:
                (cgroup / "cgroup.procs").write_text("0")
            if netns is not None:
                setns(netns)
            if read_stop is not None:
                args = (lambda: bool(select.select([read_stop], [], [], 0)[0]), *args)
            answer = (True, function(*args))
        except BaseException as error:  # pylint: disable=broad-except
            answer = (False, error)
            try:
                pickle.dumps(error)
            except Exception:  # pylint: disable=broad-except
                answer = (False, RuntimeError(traceback.format_exc()))
        with os.fdopen(write, "wb") as out:
            pickle.dump(answer, out)

    def result(self, seconds=60):
        """The function's value, or its exception raised here."""
        data = b""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._result], [], [], left)[0]:
                self.kill()
                raise AssertionError(f"no result within {seconds} s")
            chunk = os.read(self._result, 65536)
            if not chunk:
                break
            data += chunk
        self.kill()
        assert data, "the child died without a result"
        done, value = pickle.loads(data)
        if done:
            return value
        raise value

    def stop(self, seconds=60):
        """Ask for the end, and wait for the result."""
        # Not by closing it: children forked since hold it open as well.
        # It may have ended by itself.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._stop, b"x")
        return self.result(seconds)

    def kill(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
            os.close(self._result)
            os.close(self._stop)


def _serve(stop, answer, streams, datagrams):
    """Say what `answer` makes of the client's address to whoever connects or sends."""
    poll = select.poll()
    sockets = {}
    for item in streams + datagrams:
        item.setblocking(False)
        poll.register(item, select.POLLIN)
        sockets[item.fileno()] = item
    while not stop():
        for descriptor, _ in poll.poll(20):
            item = sockets[descriptor]
            with contextlib.suppress(OSError):
                if item in datagrams:
                    _, client = item.recvfrom(2048)
                    item.sendto(answer(client).encode(), client)
                    continue
                connection, client = item.accept()
                with connection:
                    connection.setblocking(True)
                    connection.sendall(answer(client).encode())
    # Serve on until nobody comes any more.
    quiet = time.monotonic()
    while time.monotonic() - quiet < 0.1:
        for descriptor, _ in poll.poll(20):
            item = sockets[descriptor]
            if item in datagrams:
                continue
            with contextlib.suppress(OSError):
                connection, client = item.accept()
                quiet = time.monotonic()
                with connection:
                    connection.sendall(answer(client).encode())


# ---- what clients do: these run in a Pod ------------------------------------------


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def ask_tcp(address, number, seconds=5):
    """Connect, and return the name that the server says."""
    with socket.socket(family_of(address), socket.SOCK_STREAM) as client:
        client.settimeout(seconds)
        client.connect((address, number))
        return client.makefile("rb").read().decode()


def ask_udp(address, number, seconds=5):
    """The same over a connected UDP socket."""
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        client.connect((address, number))
        client.send(b"who are you?")
        return client.recv(2048).decode()


def ask_often(ask, address, number, times):
    return collections.Counter(ask(address, number) for _ in range(times))


def connect_error(address, number, kind=socket.SOCK_STREAM, blocking=True):
    """The errno of one connect, 0 for none."""
    with socket.socket(family_of(address), kind) as client:
        client.settimeout(5)
        if not blocking:
            client.setblocking(False)
        return client.connect_ex((address, number))


def load(stop, address, number, ask=ask_tcp, progress=None, most=500000):
    """Ask until told to stop. Returns (answers by name, failures)."""
    answers, failures = collections.Counter(), []
    for _ in range(most):
        if stop():
            break
        try:
            answers[ask(address, number)] += 1
        except (OSError, AssertionError) as error:
            failures.append(f"{time.time():.3f} {error!r}")
        if progress is not None:
            progress.value += 1
    return answers, failures


class Load:
    """A client that asks without a pause, and is seen to do so."""

    def __init__(self, client, address, number=80, ask=ask_tcp):
        self.what = f"{getattr(ask, '__name__', ask)} of {address}:{number} from {client.name}"
        self._progress = ctypes.c_long.from_buffer(mmap.mmap(-1, mmap.PAGESIZE))
        self._child = client.start(load, address, number, ask, self._progress)

    def more(self, requests=50):
        """Wait until it has asked so often from now on."""
        goal = self._progress.value + requests
        wait_until(lambda: self._progress.value >= goal, f"{self.what} goes on")

    def check(self, expected):
        """Stop it: no request failed, and these names answered, each of them."""
        answers, failures = self._child.stop()
        assert not failures, (self.what, len(failures), failures[:10])
        assert set(answers) == set(expected), (self.what, answers)


# ---- namespaces ----------------------------------------------------------------------


class Netns:
    """A network namespace that lives as long as its descriptor."""

    def __init__(self):
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            unshare(CLONE_NEWNET)
            try:
                self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            finally:
                setns(here)
        finally:
            os.close(here)
        self.ip("link set lo up")

    @property
    def path(self):
        """By which `ip` finds it."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @contextlib.contextmanager
    def entered(self):
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(self.fd)
            try:
                yield
            finally:
                setns(here)
        finally:
            os.close(here)

    def ip(self, *lines):
        subprocess.run(
            ["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, preexec_fn=lambda: setns(self.fd)
        )

    def close(self):
        os.close(self.fd)


class Pod:
    """A network namespace with an address, and clients and servers in it."""

    def __init__(self, node, name, ip, ip6, route_to=None):
        self.node, self.name, self.ip, self.ip6 = node, name, ip, ip6
        self.netns = Netns()
        self.servers = []
        link = f"v{node.next_link()}"
        node.host.ip(
            f"link add {link} type veth peer name eth0 netns {self.netns.path}",
            f"link set {link} up" + ("" if route_to else " master br0"),
            *([f"addr add {route_to}/24 dev {link}"] if route_to else []),
        )
        gateway = route_to or node.GATEWAY
        self.netns.ip(
            f"addr add {ip}/24 dev eth0",
            *([f"addr add {ip6}/64 dev eth0 nodad"] if ip6 else []),
            "link set eth0 up",
            # A way to the node and no further: what is not translated comes
            # back as "unreachable".
            f"route add default via {gateway}",
        )

    # servers

    def listen(self, kind, number, address=""):
        with self.netns.entered():
            family = family_of(address) if address else socket.AF_INET6
            item = socket.socket(family, kind)
            item.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                item.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            item.bind((address, number))
            if kind == socket.SOCK_STREAM:
                item.listen(4096)
            return item

    def serve(self, tcp=(8080,), udp=(), name=None):
        """Answer with a name, by default the Pod's, on each of the ports."""
        return self._serve_with(lambda client: name or self.name, tcp, udp)

    def serve_source(self, number):
        """Answer with the client's address, on a port of TCP and of UDP."""
        return self._serve_with(lambda client: client[0].removeprefix("::ffff:"), (number,), (number,))

    def _serve_with(self, answer, tcp, udp):
        streams = [self.listen(socket.SOCK_STREAM, number) for number in tcp]
        datagrams = [self.listen(socket.SOCK_DGRAM, number) for number in udp]
        # The function stays in a fork of this process: it is not pickled.
        server = Child(_serve, answer, streams, datagrams, netns=self.netns.fd, stoppable=True)
        for item in streams + datagrams:
            item.close()
        self.servers.append(server)
        return self

    def stop_serving(self):
        """Stop, once nobody comes any more."""
        for server in self.servers:
            server.stop()
        self.servers.clear()

    def serve_http(self, directory, number):
        """Python's own web server, as a program of its own."""
        self.popen(
            [sys.executable, "-m", "http.server", "--directory", str(directory), str(number)],
            cgroup=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # Asked directly, and outside the cgroup: no redial is involved.
        wait_until(
            lambda: Child(connect_error, self.ip, number, netns=self.netns.fd).result() == 0, "the web server listens"
        )

    # clients: in the Pod's namespace and in the cgroup that is served

    def start(self, function, *args):
        """Run a function whose first argument is a stop() predicate; see Child."""
        child = Child(function, *args, netns=self.netns.fd, cgroup=self.node.cgroup, stoppable=True)
        self.node.children.append(child)
        return child

    def call(self, function, *args):
        return Child(function, *args, netns=self.netns.fd, cgroup=self.node.cgroup).result()

    def ask(self, address, number=80):
        return self.call(ask_tcp, address, number)

    def ask_often(self, address, number=80, times=40):
        return self.call(ask_often, ask_tcp, address, number, times)

    def popen(self, command, cgroup=True, **options):
        def prepare():
            die_with_parent()
            if cgroup:
                (self.node.cgroup / "cgroup.procs").write_text("0")
            setns(self.netns.fd)

        process = subprocess.Popen(command, preexec_fn=prepare, **options)  # pylint: disable=consider-using-with
        self.node.processes.append(process)
        return process

    def command(self, *command):
        """Run a program as a client; returns its (status, stdout)."""
        process = self.popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def close(self):
        for server in self.servers:
            server.kill()
        self.netns.close()


class Agent:
    """A running `redial run`."""

    def __init__(self, node, options, wrapper=()):
        self.node = node
        self.log = node.directory / f"agent-{len(node.agents)}.log"
        notify_path = node.directory / f"notify-{len(node.agents)}"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(notify_path))
        command = [*wrapper, str(node.redial), "run", *node.run_options(options)]
        self.is_verbose = "debug" in command

        def prepare():
            die_with_parent()
            setns(node.host.fd)

        # Appended to: a test may empty it.
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": str(notify_path)},
                preexec_fn=prepare,
            )
        self.pid = self.process.pid

    def await_ready(self, seconds=60):
        pidfd = os.pidfd_open(self.pid)
        try:
            readable, _, _ = select.select([self._notify, pidfd], [], [], seconds)
        finally:
            os.close(pidfd)
        assert self._notify in readable, f"the agent did not become ready:\n{self.text()}"
        assert self._notify.recv(256) == b"READY=1"
        return self

    def text(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def lines(self, *fragments):
        """The log's lines that hold each of the fragments."""
        return [line for line in self.text().splitlines() if all(part in line for part in fragments)]

    def wait_line(self, *fragments, seconds=SOON):
        """The one line that holds each of the fragments, once it is there."""
        try:
            wait_until(lambda: self.lines(*fragments) or self.process.poll() is not None, seconds=seconds)
            found = self.lines(*fragments)
            assert found
        except AssertionError:
            raise AssertionError(f"no line with {fragments} in:\n{self.text()}") from None
        assert len(found) == 1, found
        return found[0]

    def is_running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=60):
        status = self.process.wait(seconds)
        self._notify.close()
        return status

    def stop(self):
        """SIGTERM; it must end well."""
        self.signal(signal.SIGTERM)
        status = self.wait()
        assert status == 0, f"the agent ended with {status}:\n{self.text()}"

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait()

    def close(self):
        if self.is_running():
            self.signal(signal.SIGCONT)
            self.stop()
        elif self._notify.fileno() >= 0:
            self._notify.close()


REPORT = re.compile(r"Sanitizer|runtime error:")
LOG_LINE = re.compile(r"(error|warn|info|debug): |redial run: |\{\"time\":\".*\}$")


class Node:
    """A node: a "host" namespace with a bridge that leads to its Pods and
    nowhere else, a cgroup, a bpffs, and a directory of manifests."""

    GATEWAY = "10.244.0.1"
    GATEWAY6 = "fd00:244::1"
    # Every program there is.
    OUTCOMES = ("--track-outcomes", "on")
    # Small maps are made, and read by commands, in no time.
    SIZES = ("--max-services", "64", "--max-backends", "256")

    def __init__(self, redial, parent_cgroup):
        self.redial = redial
        self.agents, self.children, self.processes, self.pods = [], [], [], []
        self.other_bpffs = []
        self._links = self._ips = self._barriers = 0
        self._undo = contextlib.ExitStack()
        with self._undo:
            self.directory = pathlib.Path(tempfile.mkdtemp(prefix="redial-e2e-"))
            self._undo.callback(shutil.rmtree, self.directory)
            self.directory.chmod(0o755)
            mount("tmpfs", self.directory, "tmpfs")
            self._undo.callback(umount, self.directory)
            self.manifests = self.directory / "manifests"
            self.manifests.mkdir()
            self.source = ("--manifests", self.manifests)
            self.bpffs_mount = self.directory / "bpf"
            self.bpffs_mount.mkdir()
            mount("bpf", self.bpffs_mount, "bpf")
            self._undo.callback(umount, self.bpffs_mount)
            self.bpffs = self.bpffs_mount / "redial"
            self.cgroup = parent_cgroup / self.directory.name
            self.cgroup.mkdir()
            self._undo.callback(remove_cgroup, self.cgroup)
            self.host = Netns()
            self._undo.callback(self.host.close)
            self.host.ip(
                "link add br0 type bridge",
                f"addr add {self.GATEWAY}/24 dev br0",
                f"addr add {self.GATEWAY6}/64 dev br0 nodad",
                "link set br0 up",
            )
            with self.host.entered():
                pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            self._undo = self._undo.pop_all()

    def next_link(self):
        self._links += 1
        return self._links

    def pod(self, name, ip=None):
        self._ips += 1
        item = Pod(self, name, ip or f"10.244.0.{10 + self._ips}", f"fd00:244::{10 + self._ips}")
        self.pods.append(item)
        return item

    def outsider(self, name, ip, gateway):
        """A machine outside the cluster, behind the node's other link."""
        item = Pod(self, name, ip, None, route_to=gateway)
        self.pods.append(item)
        return item

    # manifests

    def write(self, name, *content):
        """Put a manifest in place at once. `content`: objects, or text, or bytes."""
        if len(content) == 1 and isinstance(content[0], str):
            content = content[0].encode()
        elif len(content) == 1 and isinstance(content[0], bytes):
            content = content[0]
        else:
            content = documents(*content).encode()
        path = self.manifests / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name}.new"
        temporary.write_bytes(content)
        temporary.rename(path)
        return path

    def barrier(self):
        """Wait until the agent has looked at everything written before this."""
        self._barriers += 1
        name = f"barrier-{self._barriers}"
        self.write("zz-barrier.yaml", service(name, cluster_ip="10.99.99.99"))
        wait_until(lambda: self.services(name), "the agent has read the barrier")

    # redial

    def run_options(self, options=()):
        """The options of `redial run`; those given here win, as the last does."""
        return [
            *map(str, self.source),
            "--bpffs",
            str(self.bpffs),
            "--cgroup",
            str(self.cgroup),
            *self.SIZES,
            *self.OUTCOMES,
            *map(str, options),
        ]

    def launch(self, *options, wrapper=()):
        """Start an agent and do not wait for it."""
        agent = Agent(self, options, wrapper)
        self.agents.append(agent)
        return agent

    def agent(self, *options, wrapper=(), seconds=60):
        """Start an agent; returns when it is ready."""
        return self.launch(*options, wrapper=wrapper).await_ready(seconds)

    def try_run(self, *options, wrapper=()):
        """Run an agent that is expected to give up. Returns (status, lines)."""
        agent = self.launch(*options, wrapper=wrapper)
        status = agent.wait()
        return status, agent.text().splitlines()

    def command(self, *arguments, bpffs=None, wrapper=()):
        """Run one of the other commands; returns a CompletedProcess."""
        done = subprocess.run(
            [*wrapper, str(self.redial), *map(str, arguments), "--bpffs", str(bpffs or self.bpffs)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not REPORT.search(done.stderr), done.stderr
        return done

    def plain(self, *arguments):
        """Run redial with these arguments and no others."""
        return subprocess.run(
            [str(self.redial), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
        )

    def json(self, *arguments):
        done = self.command(*arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def status(self):
        return self.json("status")

    def objects(self, kind):
        """How many of that kind the source has."""
        return {row["kind"]: row["objects"] for row in self.status()["objects"]}[kind]

    def writes(self):
        return self.status()["agent"]["writes"]

    def services(self, *name):
        return self.json("services", *name)

    def served(self):
        """The Services without their counters, which go on."""
        counters = ("connects", "flows", "refused", "failed", "open")
        return [{key: value for key, value in row.items() if key not in counters} for row in self.services()]

    def cluster_ip(self, name):
        """The address of a Service, once it has one."""
        rows = wait_until(lambda: self.services(name), f"{name} is served")
        return rows[0]["cluster_ip"]

    def backends(self, *name):
        return sorted(row["backend"] for row in self.json("backends", *name))

    def wait_backends(self, name, *expected):
        try:
            wait_until(lambda: self.backends(name) == sorted(expected))
        except AssertionError:
            raise AssertionError(f"{name} has {self.backends(name)}, not {sorted(expected)}") from None

    def hooks(self):
        return {row["hook"]: row["state"] for row in self.status()["hooks"]}

    def restart_under(self, loads, times, start=None):
        """Kill the agent and start it anew, with requests before, between and
        after; it finds all as it should be."""
        for item in loads:
            item.more()
        for _ in range(times):
            self.agents[-1].kill()
            for item in loads:
                item.more()
            (start or self.agent)()
            assert self.writes() == 0
            assert set(self.hooks().values()) == {"attached"}
            for item in loads:
                item.more()

    # the end

    def _check_logs(self):
        for agent in self.agents:
            text = agent.text()
            assert not REPORT.search(text), text
            for line in text.splitlines():
                # What valgrind says of itself aside, and libbpf at --log-level debug.
                others = ("==", "--", "libbpf: ") if agent.is_verbose else ("==", "--")
                is_other = line.startswith(others) or (agent.is_verbose and not line)
                assert LOG_LINE.match(line) or is_other, f"not a log line: {line!r}"

    def _check_cleanup(self):
        for bpffs in (self.bpffs, *self.other_bpffs):
            done = self.command("cleanup", bpffs=bpffs)
            assert done.returncode == 0, done.stderr
        # The kernel itself puts iterators there: maps.debug and progs.debug.
        left = [str(path) for path in self.bpffs_mount.rglob("*") if path.suffix != ".debug"]
        assert not left, f"left by 'redial cleanup': {left}"

    def close(self):
        """Stop and remove everything, whatever of it fails."""
        undo = self._undo
        undo.callback(self._check_logs)
        undo.callback(self._check_cleanup)
        for item in self.pods:
            undo.callback(item.close)
        for process in self.processes:
            undo.callback(process.wait)
            undo.callback(process.kill)
        for item in self.children:
            undo.callback(item.kill)
        for agent in self.agents:
            undo.callback(agent.close)
        undo.close()


# ---- a cluster of two nodes, for the tests of Services (test_g_*.py) --------------------


def node_manifest(name, *addresses, zone=None):
    labels = {"topology.kubernetes.io/zone": zone} if zone else None
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": _meta(name, None, labels),
        "status": {"addresses": [{"type": "InternalIP", "address": item} for item in addresses]},
    }


def node_port(number, target, at, name=None, protocol=None):
    """A Service's port with a NodePort."""
    return {**port(number, target, name, protocol), "nodePort": at}


def ask_sendto(address, number, seconds=5):
    """Over an unconnected UDP socket; the answer must come from whom was asked."""
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        client.sendto(b"who are you?", (address, number))
        answer, source = client.recvfrom(2048)
        assert source[:2] == (address, number), source
        return answer.decode()


def ask_each(ask, address, number, times=30):
    """The set of the names that answer, and of the errors by name."""
    answers = set()
    for _ in range(times):
        try:
            answers.add(ask(address, number))
        except TimeoutError as error:
            answers.add(errno.errorcode[error.errno] if error.errno else "timeout")
        except OSError as error:
            answers.add(errno.errorcode[error.errno])
    return answers


def _await_each(is_so, ask, address, number, times, seconds):
    end = time.monotonic() + seconds
    while True:
        answers = ask_each(ask, address, number, times)
        if is_so(answers) or time.monotonic() > end:
            return answers
        time.sleep(0.01)


class HostNetwork(Pod):
    """Clients and servers on the node itself, as Pods with hostNetwork are."""

    def __init__(self, node, name="host"):  # pylint: disable=super-init-not-called
        self.node, self.name, self.ip, self.ip6 = node, name, node.GATEWAY, node.GATEWAY6
        self.netns = node.host
        self.servers = []
        node.pods.append(self)

    def close(self):
        for server in self.servers:
            server.kill()


class Cluster:
    """This node as "node1", and "node2", of which there is only the object and
    an address that no route leads to. Pods "on" node2 are reached as those of
    this node are."""

    NODE1, NODE2 = "192.168.50.1", "192.168.60.2"
    LABELS = {"app": "web"}
    NO_ROUTE = {"ENETUNREACH", "EHOSTUNREACH"}

    def __init__(self, node):
        self.node = node
        node.host.ip("link add node0 type bridge", f"addr add {self.NODE1}/32 dev node0", "link set node0 up")
        node.write("nodes.yaml", node_manifest("node1", self.NODE1), node_manifest("node2", self.NODE2))
        self.client, self.host = node.pod("client"), HostNetwork(node)
        # At once, not by the node's ICMP, of which there is only so much a second.
        self.client.netns.ip(
            *(f"route add unreachable {net}" for net in ("10.96.0.0/16", "203.0.113.0/24", "192.168.60.0/24"))
        )
        self.clients = (self.client, self.host)

    def agent(self, *options):
        return self.node.agent("--node-name", "node1", *options)

    def describe(self, pod, labels=None, node="node1", ip=None, phase=None, spec=None, **more):
        """Write, or write anew, the manifest of a Pod."""
        manifest = pod_manifest(pod.name, ip or pod.ip, self.LABELS if labels is None else labels, **more)
        manifest["spec"]["nodeName"] = node
        manifest["spec"].update(spec or {})
        if phase:
            manifest["status"]["phase"] = phase
        self.node.write(f"pod-{pod.name}.yaml", manifest)
        return pod

    def pod(self, name, tcp=(8080,), udp=(8080,), **more):
        """A Pod that says its name, and its manifest."""
        return self.describe(self.node.pod(name).serve(tcp, udp), **more)

    def source_pod(self, name, number=8080, **more):
        """A Pod that says whom it sees."""
        pod = self.node.pod(name)
        pod.serve_source(number)
        return self.describe(pod, **more)

    def service(self, name, ports=None, cluster_ip=None, meta=None, status=None, labels=None, **spec):
        selector = self.LABELS if labels is None else labels
        manifest = service(name, ports, selector, cluster_ip, meta=meta, **spec)
        if status:
            manifest["status"] = status
        self.node.write(f"service-{name}.yaml", manifest)

    def delete(self, what, name):
        (self.node.manifests / f"{what}-{name}.yaml").unlink()

    # what clients find; each waits until it is so

    def check(self, expected, address, number=80, ask=ask_tcp, clients=None, seconds=SOON):
        """Exactly these names answer. A refusal is the name "ECONNREFUSED"."""
        expected = {expected} if isinstance(expected, str) else set(expected)
        self._check(lambda answers: answers == expected, expected, address, number, ask, clients, seconds)

    def check_refused(self, address, number=80, ask=ask_tcp, clients=None):
        self.check("ECONNREFUSED", address, number, ask, clients)

    def check_not_ours(self, address, number=80, clients=None):
        """Left alone: what is behind that address is not there."""
        self._check(self.NO_ROUTE.issuperset, "no route", address, number, ask_tcp, clients, 5)

    def _check(self, is_so, expected, address, number, ask, clients, seconds):
        for client in clients or self.clients:
            # The predicate stays in a fork of this process: it is not pickled.
            answers = client.call(_await_each, is_so, ask, address, number, 30, seconds)
            assert is_so(answers), f"{ask.__name__} of {address}:{number} from {client.name}: {answers}, not {expected}"
