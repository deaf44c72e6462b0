# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""deploy/ and the image: what they say, and the agent run as they say.

No cluster and no container runtime is at hand. The manifests are read as
kustomize would, and the container that they describe is made here, by this file
run as a program: it is the wrapper that puts an agent into a root directory,
read-only, with the mounts, capabilities and environment that it is told.

REDIAL_IMAGE_ROOT   an image's root tree to test; default one made of the binary
"""

import ctypes
import http.client
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys

import harness
import pytest
import yaml
from apiserver import ApiServer
from harness import Child, HostNetwork, Load, endpoint_slice, service, wait_until
from test_dns_local import VIP, ask_tcp, ask_udp
from test_dns_upstream import PORT, Upstream, says

TREE = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = TREE / "deploy"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

# ---- the container: what a runtime does between fork and exec ------------------------------

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
# linux/capability.h
CAPABILITIES = {"NET_ADMIN": 12, "PERFMON": 38, "BPF": 39}


def enter(root, binds, capabilities, argv, env):
    """Become the container's process.

    binds: [(from, to, read-only)]. As root, a program has what is in the
    bounding set.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def checked(result):
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    # While Python's own files are there.
    last = int(pathlib.Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="utf-8"))
    harness.unshare(harness.CLONE_NEWNS)
    harness.mount("none", "/", "none", harness.MS_REC | harness.MS_PRIVATE)
    harness.mount(root, root, "none", MS_BIND)
    harness.mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    harness.mount("sysfs", f"{root}/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)
    harness.mount("tmpfs", f"{root}/dev", "tmpfs", MS_NOSUID)
    os.mknod(f"{root}/dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    for source, target, read_only in binds:
        harness.mount(source, root + target, "none", MS_BIND)
        if read_only:
            harness.mount("none", root + target, "none", MS_BIND | MS_REMOUNT | MS_RDONLY)
    os.chdir(root)
    checked(libc.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."))
    harness.umount(".")
    os.chdir("/")
    harness.mount("none", "/", "none", MS_BIND | MS_REMOUNT | MS_RDONLY)
    for number in set(range(last + 1)) - {CAPABILITIES[name] for name in capabilities}:
        checked(libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0))
    checked(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    os.execve(argv[0], argv, env)


# ---- kustomize, as far as deploy/ uses it ----------------------------------------------------


def read(path):
    with open(path, encoding="utf-8") as file:
        return [item for item in yaml.safe_load_all(file) if item]


def at(value, path):
    """The container of a JSON patch's place, and the key in it."""
    *parents, last = path.strip("/").split("/")
    for part in parents:
        value = value[int(part) if isinstance(value, list) else part]
    return value, last


def apply_patch(item, operations):
    for operation in operations:
        place, key = at(item, operation["path"])
        if key == "-":
            assert operation["op"] == "add" and isinstance(place, list), operation
            place.append(operation["value"])
            continue
        if operation["op"] in ("replace", "remove"):
            assert key in place, f"{operation['path']} is not there"
        if operation["op"] == "remove":
            del place[key]
        else:
            place[key] = operation["value"]


def build(directory):
    """The objects of a kustomization; of a component, what it does to objects."""
    (kustomization,) = read(directory / "kustomization.yaml")
    known = {"apiVersion", "kind", "namespace", "resources", "components", "images", "configMapGenerator", "patches"}
    assert not set(kustomization) - known, f"{directory}: teach this test {set(kustomization) - known}"
    objects = []
    for name in kustomization.get("resources", []):
        path = directory / name
        objects += build(path) if path.is_dir() else read(path)
    for generator in kustomization.get("configMapGenerator", []):
        data = dict(literal.split("=", 1) for literal in generator["literals"])
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data})
    for patch in kustomization.get("patches", []):
        if kustomization["kind"] == "Kustomization":
            patch_objects(objects, patch)
    return objects


def patch_objects(objects, patch):
    target = patch["target"]
    found = [item for item in objects if item["kind"] == target["kind"] and item["metadata"]["name"] == target["name"]]
    assert len(found) == 1, f"{target} is {len(found)} objects"
    apply_patch(found[0], yaml.safe_load(patch["patch"]))


def only(objects, kind):
    (found,) = (item for item in objects if item["kind"] == kind)
    return found


OVERLAYS = ("accelerator", "replacement")


@pytest.fixture(name="objects", params=OVERLAYS)
def fixture_objects(request):
    return build(DEPLOY / "overlays" / request.param)


@pytest.fixture(name="daemonset")
def fixture_daemonset(objects):
    return only(objects, "DaemonSet")


def the_container(pod):
    (container,) = pod["containers"]
    return container


def listed_capabilities(pod):
    capabilities = the_container(pod)["securityContext"]["capabilities"]
    assert capabilities["drop"] == ["ALL"]
    return capabilities["add"]


def accelerator():
    return only(build(DEPLOY / "overlays/accelerator"), "DaemonSet")["spec"]["template"]["spec"]


# ---- what deploy/ says -----------------------------------------------------------------------


def test_every_file_of_deploy_is_yaml_without_a_repeated_key():
    class Strict(yaml.SafeLoader):  # pylint: disable=too-many-ancestors
        def construct_mapping(self, node, deep=False):
            keys = [self.construct_object(key) for key, _ in node.value]
            assert len(keys) == len(set(keys)), f"a key twice in {node.start_mark}"
            return super().construct_mapping(node, deep)

    files = sorted(DEPLOY.rglob("*.yaml"))
    assert len(files) >= 7
    for file in files:
        with open(file, encoding="utf-8") as stream:
            documents = list(yaml.load_all(stream, Strict))
        assert all(item["apiVersion"] and item["kind"] for item in documents), file


def test_the_role_reads_four_resources_and_writes_nothing(objects):
    role = only(objects, "ClusterRole")
    allowed = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    resources = {("", "services"), ("", "endpoints"), ("", "nodes"), ("discovery.k8s.io", "endpointslices")}
    assert allowed == {(*item, verb) for item in resources for verb in ("get", "list", "watch")}
    assert not {"resourceNames", "nonResourceURLs"} & {key for rule in role["rules"] for key in rule}
    account, binding = only(objects, "ServiceAccount"), only(objects, "ClusterRoleBinding")
    assert binding["roleRef"]["kind"] == "ClusterRole" and binding["roleRef"]["name"] == role["metadata"]["name"]
    (subject,) = binding["subjects"]
    assert (subject["kind"], subject["name"]) == ("ServiceAccount", account["metadata"]["name"])
    assert subject["namespace"] == account["metadata"]["namespace"] == "kube-system"
    pod = only(objects, "DaemonSet")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == account["metadata"]["name"] and pod["automountServiceAccountToken"]
    assert not {item["kind"] for item in objects} & {"Role", "RoleBinding", "Secret"}


def test_the_pod_is_not_privileged_and_cannot_write_to_its_root(daemonset):
    pod = daemonset["spec"]["template"]["spec"]
    security = the_container(pod)["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["privileged"] is False and security["allowPrivilegeEscalation"] is False
    assert listed_capabilities(pod) == ["BPF", "NET_ADMIN", "PERFMON"]
    assert pod["hostNetwork"] is True and not pod.get("hostPID") and not pod.get("hostIPC")
    # Nothing of the node but these two, and what names them is there.
    volumes = {item["name"]: item["hostPath"]["path"] for item in pod["volumes"]}
    mounts = {item["name"]: item for item in the_container(pod)["volumeMounts"]}
    assert volumes == {"cgroup": "/sys/fs/cgroup", "bpffs": "/sys/fs/bpf"} and set(mounts) == set(volumes)
    assert mounts["cgroup"]["readOnly"] is True


def test_every_capability_listed_has_its_reason_above_it():
    for path in ("base/daemonset.yaml", "cleanup/pod.yaml"):
        text = (DEPLOY / path).read_text(encoding="utf-8")
        assert re.search(r"#[^\n]*\n\s+(add: \[BPF\]|- BPF)", text), path
    for name in CAPABILITIES:
        assert re.search(rf"#[^\n]*\n +- {name}\n", (DEPLOY / "base/daemonset.yaml").read_text(encoding="utf-8")), name


def options_of(container, redial):
    """Those of its arguments, which this version knows: {name: value}."""
    command, *options = container["args"]
    help_text = subprocess.run([redial, command, "--help"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", help_text, re.M))
    given = dict((option.split("=", 1) + [None])[:2] for option in options)
    assert set(given) <= known, set(given) - known
    names = {item["name"] for item in container["env"]}
    assert set(re.findall(r"\$\((\w+)\)", " ".join(options))) == names
    return given


def test_the_arguments_are_options_and_lead_to_what_is_mounted(daemonset, redial):
    container = the_container(daemonset["spec"]["template"]["spec"])
    given = options_of(container, redial)
    mounts = {item["name"]: item["mountPath"] for item in container["volumeMounts"]}
    assert given["--cgroup"] == mounts["cgroup"]
    assert pathlib.PurePath(given["--bpffs"]).parent == pathlib.PurePath(mounts["bpffs"])
    # AppArmor's default profile keeps containers from writing there.
    assert not mounts["bpffs"].startswith("/sys/")
    for name, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        probe = container[name]["httpGet"]
        assert given["--http-bind-address"] == f"{probe['host']}:{probe['port']}" == "127.0.0.1:10299"
        assert probe["path"] == path


def test_an_update_ends_the_old_pod_before_it_starts_the_new_one(daemonset):
    rolling = daemonset["spec"]["updateStrategy"]
    assert rolling["type"] == "RollingUpdate" and rolling["rollingUpdate"]["maxSurge"] == 0
    assert rolling["rollingUpdate"]["maxUnavailable"] in ("10%", 1)
    pod = daemonset["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "system-node-critical" and {"operator": "Exists"} in pod["tolerations"]
    labels = daemonset["spec"]["template"]["metadata"]["labels"]
    assert daemonset["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_only_the_replacement_names_the_server_and_takes_it_from_its_config_map():
    assert not any(arg.startswith("--server") for arg in the_container(accelerator())["args"])
    objects = build(DEPLOY / "overlays/replacement")
    container = the_container(only(objects, "DaemonSet")["spec"]["template"]["spec"])
    assert container["args"][-1] == "--server=$(REDIAL_SERVER)"
    reference = container["env"][-1]["valueFrom"]["configMapKeyRef"]
    config = only(objects, "ConfigMap")
    assert reference == {"name": config["metadata"]["name"], "key": "server"}
    # Not to be found by accident.
    assert ".invalid:" in config["data"]["server"]


def with_component(name, overlay="accelerator"):
    """The agent's Pod, where an overlay has this component as well."""
    (component,) = read(DEPLOY / "components" / name / "kustomization.yaml")
    assert component["kind"] == "Component"
    objects = build(DEPLOY / "overlays" / overlay)
    for patch in component["patches"]:
        patch_objects(objects, patch)
    return only(objects, "DaemonSet")["spec"]["template"]["spec"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_component_is_offered_by_every_overlay(overlay):
    text = (DEPLOY / "overlays" / overlay / "kustomization.yaml").read_text(encoding="utf-8")
    offered = re.findall(r"^# +- \.\./\.\./components/(\S+)$", text, re.M)
    assert sorted(offered) == sorted(path.name for path in (DEPLOY / "components").iterdir())
    assert all(with_component(name, overlay) for name in offered)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_dns_component_answers_at_the_nodes_own_address(overlay, redial):
    container = the_container(with_component("dns-local", overlay))
    given = options_of(container, redial)
    assert (given["--dns"], given["--dns-local-for"]) == ("$(HOST_IP):10053", "kube-system/kube-dns")
    (host_ip,) = (item for item in container["env"] if item["name"] == "HOST_IP")
    assert host_ip["valueFrom"] == {"fieldRef": {"fieldPath": "status.hostIP"}}


def test_the_privileged_component_fits_the_overlay():
    pod = with_component("privileged")
    security = the_container(pod)["securityContext"]
    assert security["privileged"] is True and security["readOnlyRootFilesystem"] is True
    assert "capabilities" not in security and "seccompProfile" not in pod["securityContext"]


def test_the_cleanup_pod_is_of_the_same_image_and_place(redial):
    (cleanup,) = read(DEPLOY / "cleanup/pod.yaml")
    pod, agent = cleanup["spec"], accelerator()
    assert the_container(pod)["image"] == the_container(agent)["image"]
    command, bpffs = the_container(pod)["args"]
    assert command == "cleanup" and bpffs in the_container(agent)["args"]
    assert [item for item in agent["volumes"] if item["name"] == "bpffs"] == pod["volumes"]
    assert cleanup["metadata"]["name"].endswith(pod["nodeName"]) and pod["restartPolicy"] == "OnFailure"
    version = subprocess.run([redial, "version"], capture_output=True, text=True, check=True).stdout
    assert the_container(pod)["image"].split(":")[1] in version


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not here: kustomize's part is played by this test")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_builds_the_same(overlay, tmp_path):
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    directory = tmp_path / "deploy/overlays" / overlay
    text = subprocess.run(["kubectl", "kustomize", directory], capture_output=True, text=True, check=True).stdout
    theirs = list(yaml.safe_load_all(re.sub(r"\bredial-[0-9a-z]{10}\b", "redial", text)))
    for item in build(directory):
        item["metadata"].setdefault("namespace", "kube-system")
        twin = only(theirs, item["kind"])
        twin["metadata"].setdefault("namespace", "kube-system")
        assert twin == item
    assert len(theirs) == len(build(directory))


def test_what_the_document_names_is_there(tmp_path):
    text = (TREE / "docs/operations.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"\b(?:deploy|scripts|tests)/[\w./-]*\w", text)):
        assert (TREE / name).exists(), name
    # C joins adjacent literals.
    sources = "".join(path.read_text(encoding="utf-8") for path in sorted((TREE / "user").glob("*.c")))
    sources = re.sub(r'"\s*\n\s*"', "", sources)
    lines = re.findall(r"^\| `(.*?)` \|", text.split("## What the log says")[1], re.M)
    assert len(lines) > 15 and not [line for line in lines if line not in sources]
    commands = re.findall(r"-- redial (\w+) --bpffs (\S+)", text)
    assert {name for name, _ in commands} == {"status", "services", "backends", "sockets"}
    assert {f"--bpffs={path}" for _, path in commands} <= set(the_container(accelerator())["args"])
    # "Remove", with a kubectl that knows two nodes and keeps what it is told.
    (removal,) = re.findall(r"^```\n(kubectl delete -k.*?)^```", text, re.M | re.S)
    kubectl = tmp_path / "kubectl"
    script = '#!/bin/sh\ncase $1 in get) printf "node/a.b\\nnode/c\\n" ;; apply) cat >>"$OUT" ;; esac\n'
    kubectl.write_text(script, encoding="utf-8")
    kubectl.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "OUT": str(tmp_path / "out")}
    subprocess.run(["bash", "-euo", "pipefail", "-c", removal], cwd=TREE, env=env, check=True)
    pods = read(tmp_path / "out")
    assert [(pod["metadata"]["name"], pod["spec"]["nodeName"]) for pod in pods] == [
        ("redial-cleanup-a.b", "a.b"),
        ("redial-cleanup-c", "c"),
    ]


# ---- the image ------------------------------------------------------------------------------


@pytest.fixture(scope="module", name="image_text")
def fixture_image_text(redial, tmp_path_factory):
    """(the image's root tree, what making it printed)"""
    given = os.environ.get("REDIAL_IMAGE_ROOT")
    if given:
        return pathlib.Path(given), None
    root = tmp_path_factory.mktemp("image") / "root"
    done = subprocess.run([TREE / "scripts/image-root", root, redial], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return root, done.stdout


@pytest.fixture(name="image")
def fixture_image(image_text):
    return image_text[0]


def test_the_image_holds_what_redial_loads_and_no_shell(image_text, redial, is_asan):
    image, text = image_text
    files = [path for path in image.rglob("*") if not path.is_dir()]
    assert not [path for path in files if path.is_symlink()]
    modes = {path: path.stat().st_mode for path in files}
    never = stat.S_ISUID | stat.S_ISGID | stat.S_IWGRP | stat.S_IWOTH
    assert not [path for path, mode in modes.items() if mode & never]
    programs = {path.name.partition("-")[0] for path, mode in modes.items() if mode & 0o111}
    assert programs == {"redial", "ld"}
    libraries = {path.name for path in files if ".so" in path.name}
    assert {"libc.so.6", "libbpf.so.1", "libcurl.so.4"} <= libraries
    # A tree made elsewhere has that machine's.
    ldd = subprocess.run(["ldd", redial], capture_output=True, text=True, check=True).stdout
    needed = {os.path.basename(name) for name in re.findall(r"^\s+(\S+)", ldd, re.M)} - {"linux-vdso.so.1"}
    assert libraries == needed or text is None
    size = sum(path.stat().st_size for path in files)
    assert is_asan or size < 25e6, size
    # Nothing of the machine that made it.
    assert not [path for path in files if path.suffix in (".pem", ".crt", ".key", ".sh")]
    assert (image / "usr/share/doc/redial/copyright").read_text(encoding="utf-8").strip()


def test_the_same_binary_gives_the_same_image(image_text, redial, tmp_path):
    root, text = image_text
    if text is None:
        pytest.skip("the tree was given")
    assert re.fullmatch(r"image root: [\d.]+ MB in \d+ files, \d+ libraries; [\d.]+ MB as a compressed layer\n", text)
    print(text)
    again = subprocess.run(
        [TREE / "scripts/image-root", tmp_path / "again", redial], capture_output=True, text=True, check=True
    )
    assert again.stdout == text

    def listing(directory):
        def describe(path):
            return path.stat().st_mode, path.stat().st_mtime, path.is_dir() or path.read_bytes()

        return {str(path.relative_to(directory)): describe(path) for path in directory.rglob("*")}

    # Mounting on a directory, which other tests do, does not change it.
    assert listing(root) == listing(tmp_path / "again")


def test_a_full_directory_and_a_missing_binary_are_refused(tmp_path):
    def run(*arguments):
        done = subprocess.run([TREE / "scripts/image-root", *arguments], capture_output=True, text=True, check=False)
        return done.returncode, done.stderr.strip()

    (tmp_path / "file").touch()
    assert run(tmp_path, "/bin/true") == (1, f"scripts/image-root: {tmp_path} is not empty")
    missing = tmp_path / "missing"
    assert run(tmp_path / "new", missing) == (1, f"scripts/image-root: {missing} is not there: build it first")
    assert run()[0] == 2


def test_the_dockerfile_runs_the_scripts_that_are_tested():
    text = (TREE / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^FROM (.*)$", text, re.M) == ["debian:bookworm AS build", "scratch"]
    assert "RUN scripts/image-build && scripts/image-root /image build/image/redial" in text
    assert 'ENTRYPOINT ["/usr/local/sbin/redial"]' in text
    ignored = (TREE / ".dockerignore").read_text(encoding="utf-8").split()
    for needed in ("bpf", "include", "scripts", "user", "LICENSE", "Makefile"):
        assert f"!{needed}" in ignored and (TREE / needed).exists()


# ---- the agent, run as deploy/ says -----------------------------------------------------------


def probe(path, port):
    """What the kubelet does. Returns the status, 0 for no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


class Deployed:
    """A node with an API server, on which the image runs as the manifests say."""

    ADDRESS = "10.96.0.11"

    def __init__(self, node, image):
        self.node, self.image = node, image
        HostNetwork(node)
        self.server = ApiServer(node.host)
        self.server.set_tokens(["the-token"])
        account = node.directory / "account"
        account.mkdir()
        (account / "token").write_text("the-token", encoding="utf-8")
        (account / "ca.crt").write_text(self.server.ca.pem, encoding="utf-8")
        self.binds = {"cgroup": node.cgroup, "bpffs": node.bpffs_mount, "account": account}
        self.client, self.pod = node.pod("client"), node.pod("pod1").serve()
        self.server.put(service("web", cluster_ip=self.ADDRESS, namespace="default"))
        self.server.put(endpoint_slice("web-1", "web", [self.pod.ip], 8080, namespace="default"))

    def wrapper(self, pod, capabilities=None, **env):
        """The program that becomes the container of a Pod."""
        container = the_container(pod)
        values = {"NODE_NAME": "node1", "REDIAL_SERVER": self.server.url, "HOST_IP": self.node.GATEWAY}
        args = [re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], text) for text in container["args"]]
        binds = [
            (str(self.binds[item["name"]]), item["mountPath"], item.get("readOnly", False))
            for item in container["volumeMounts"]
        ]
        binds.append((str(self.binds["account"]), SERVICE_ACCOUNT, True))
        what = {
            "root": str(self.image),
            "binds": binds,
            "capabilities": listed_capabilities(pod) if capabilities is None else capabilities,
            "argv": ["/usr/local/sbin/redial", *args],
            "env": {"PATH": "/usr/local/sbin", "KUBERNETES_SERVICE_PORT": str(self.server.port), **env},
        }
        return [sys.executable, __file__, json.dumps(what)]

    def launch(self, pod=None, capabilities=None, host="127.0.0.1"):
        return self.node.launch(wrapper=self.wrapper(pod or accelerator(), capabilities, KUBERNETES_SERVICE_HOST=host))

    def probe(self, name, pod=None):
        http_get = the_container(pod or accelerator())[name]["httpGet"]
        return Child(probe, http_get["path"], http_get["port"], netns=self.node.host.fd).result()

    def agent(self, **how):
        """Start one, and wait as the kubelet does."""
        agent = self.launch(**how)
        wait_until(lambda: self.probe("readinessProbe") == 200 or not agent.is_running(), "ready", 60)
        assert agent.is_running(), agent.text()
        return agent


@pytest.fixture(name="deployed")
def fixture_deployed(node, image):
    item = Deployed(node, image)
    try:
        yield item
    finally:
        item.server.close()


def capability_sets(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    sets = dict(re.findall(r"^(Cap\w+|NoNewPrivs):\s+(\w+)$", status, re.M))
    return {name: int(value, 16) for name, value in sets.items()}


def test_the_image_serves_with_three_capabilities_and_a_read_only_root(deployed):
    agent = deployed.agent()
    mask = sum(1 << CAPABILITIES[name] for name in ("BPF", "NET_ADMIN", "PERFMON"))
    sets = capability_sets(agent.pid)
    assert {sets[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {mask}
    assert not sets["CapInh"] and not sets["CapAmb"] and sets["NoNewPrivs"]
    text = pathlib.Path(f"/proc/{agent.pid}/mounts").read_text(encoding="utf-8")
    mounts = [line.split() for line in text.splitlines()]
    writable = {fields[1] for fields in mounts if "rw" in fields[3].split(",")}
    assert writable == {"/proc", "/dev", "/bpf"}
    root = pathlib.Path(f"/proc/{agent.pid}/root")
    assert (root / "usr/local/sbin/redial").exists() and not (root / "usr/bin").exists()
    assert deployed.probe("livenessProbe") == 200
    assert deployed.client.ask(deployed.ADDRESS) == "pod1"
    asked = {(item.resource, item.verb) for item in deployed.server.requests()}
    assert asked <= {(name, verb) for name in ("services", "endpointslices", "nodes") for verb in ("list", "watch")}


def test_a_new_pod_adopts_what_the_old_one_left_and_no_connect_fails(deployed):
    first = deployed.agent()
    load = Load(deployed.client, deployed.ADDRESS)
    load.more()
    for end in (first.stop, lambda: deployed.node.agents[-1].kill()):
        end()
        # While no agent runs.
        load.more()
        assert deployed.client.ask(deployed.ADDRESS) == "pod1"
        deployed.agent()
        assert deployed.node.writes() == 0 and set(deployed.node.hooks().values()) == {"attached", "off"}
        load.more()
    load.check({"pod1"})


def test_the_replacement_needs_no_service_to_reach_the_server(deployed):
    pod = only(build(DEPLOY / "overlays/replacement"), "DaemonSet")["spec"]["template"]["spec"]
    # The address of the Service "kubernetes" leads nowhere.
    deployed.agent(pod=pod, host="10.96.0.1")
    assert deployed.client.ask(deployed.ADDRESS) == "pod1"


def test_h10_the_dns_component_answers_for_kube_dns_and_asks_it_for_the_rest(deployed):
    """With the three capabilities, as the manifests say."""
    kube_dns = Upstream(deployed.node.pod("kube-dns"), says("192.0.2.53"))
    ports = [{"name": kind, "port": 53, "targetPort": PORT, "protocol": kind.upper()} for kind in ("udp", "tcp")]
    item = endpoint_slice("kube-dns-1", "kube-dns", [kube_dns.pod.ip], PORT, namespace="kube-system")
    item["ports"] = [{"name": port["name"], "port": PORT, "protocol": port["protocol"]} for port in ports]
    deployed.server.put(service("kube-dns", ports, cluster_ip=VIP, namespace="kube-system"))
    deployed.server.put(item)
    try:
        agent = deployed.agent(pod=with_component("dns-local"))
        agent.wait_line("answering on this node", "kube-system/kube-dns")
        for ask in (ask_udp, ask_tcp):
            assert deployed.client.call(ask, "web.default.svc.cluster.local") == [deployed.ADDRESS]
            assert deployed.client.call(ask, "www.example") == ["192.0.2.53"]
        assert kube_dns.asked() == kube_dns.asked("www.example") == 1
        agent.stop()
        assert deployed.client.call(ask_udp, "web.default.svc.cluster.local") == ["192.0.2.53"]
    finally:
        kube_dns.close()


@pytest.mark.parametrize("without", sorted(CAPABILITIES))
def test_with_a_capability_less_it_says_so_in_one_line(deployed, without):
    agent = deployed.launch(capabilities=sorted(set(CAPABILITIES) - {without}))
    assert agent.wait() == 1
    (line,) = agent.text().splitlines()
    assert re.match(r"redial run: not permitted to load BPF programs", line), line
    assert not list(deployed.node.bpffs_mount.glob("redial*"))


def test_the_cleanup_pod_waits_for_the_agent_and_leaves_nothing(deployed):
    (cleanup,) = read(DEPLOY / "cleanup/pod.yaml")
    wrapper = deployed.wrapper(cleanup["spec"])

    def clean():
        return subprocess.run(wrapper, capture_output=True, text=True, check=False)

    agent = deployed.agent()
    busy = clean()
    assert busy.returncode == 1 and "an agent is running on /bpf/redial" in busy.stderr, busy
    agent.stop()
    done = clean()
    assert done.returncode == 0, done
    assert done.stdout == "detached and unpinned what was in /bpf/redial\n"
    assert not list(deployed.node.bpffs_mount.glob("redial*"))
    # Again, where nothing is: a node that never had an agent.
    assert clean().returncode == 0


if __name__ == "__main__":
    # This file, run as a program, becomes the container. What follows is the
    # command that the harness would have run.
    enter(**json.loads(sys.argv[1]))
