# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a person meets: help, the man page, completion, log lines, one line for
each mistake, and documents that show what really is printed."""

import json
import os
import pty
import re
import select
import subprocess
import time

import documented
import pytest
from harness import die_with_parent, setns, wait_until
from test_kube import KubeNode

OPTION = re.compile(r"^  (?:-(\w),|   ) --([a-z-]+)(?: (\S+))?", re.MULTILINE)
DOCUMENTS = ["README.md", *(f"docs/{name}.md" for name in ("operations", "kubernetes", "manifests", "dns", "example"))]
# Options of other programs, which the documents mention.
OTHERS = {"cluster-dns", "for", "timeout", "disable-kube-proxy", "cleanup", "no-trailing"}


def output(redial, *arguments):
    done = subprocess.run([redial, *arguments], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout


def commands(redial):
    return re.findall(r"^  ([\w-]+) ", output(redial, "--help"), re.MULTILINE)


def options(redial, command):
    """(letter, name, argument) of each option of a command."""
    return OPTION.findall(output(redial, command, "--help"))


def all_options(redial):
    return {name for command in commands(redial) for _, name, _ in options(redial, command)}


# ---- help and the man page -----------------------------------------------------------


def test_every_command_has_help(redial):
    assert {"run", "status", "man", "completion", "version"} <= set(commands(redial))
    for command in commands(redial):
        text = output(redial, command, "--help")
        assert text.startswith(f"Usage: redial {command} [OPTION...]")
        assert ("h", "help", "") in options(redial, command)
        assert output(redial, command, "-h") == text


@pytest.mark.parametrize("renderer", [["mandoc", "-T", "lint", "-W", "warning"], ["mandoc", "-T", "utf8"]])
def test_man_page_is_well_formed(redial, renderer):
    done = subprocess.run(renderer, input=output(redial, "man"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if "lint" in renderer:
        assert done.stdout == ""


def test_man_page_has_every_command_and_option(redial):
    done = subprocess.run(["mandoc", "-T", "ascii", "-O", "width=200"], input=output(redial, "man"),
                          capture_output=True, text=True, check=True)
    page = re.sub(".\b", "", done.stdout)
    parts = re.split(r"^   ([\w-]+)$", page, flags=re.MULTILINE)[1:]
    sections = dict(zip(parts[::2], parts[1::2]))
    for command in commands(redial):
        for letter, name, argument in options(redial, command):
            line = (f"-{letter}, " if letter else "") + f"--{name}" + (f" {argument}" if argument else "")
            assert line in sections[command], (command, line)


def test_every_option_in_documents_exists(redial, tree):
    known = all_options(redial)
    for document in DOCUMENTS:
        text = (tree / document).read_text(encoding="utf-8")
        # In code that speaks of redial, or stands alone in a sentence.
        for line in re.findall(r"^.*\bredial (?:run|status|services|backends|sockets|dns-config|check|cleanup)\b.*$"
                               r"|`--[a-z-]+[^`]*`", text, re.MULTILINE):
            for name in re.findall(r"(?<![\w-])--([a-z][a-z-]+)", line):
                assert name in known | OTHERS or "no command" in line or name == "wide", (document, line)


def test_every_command_is_in_the_readme(redial, tree):
    text = (tree / "README.md").read_text(encoding="utf-8")
    for command in commands(redial):
        assert re.search(rf"`(redial )?{command}\b", text), command


# ---- completion ------------------------------------------------------------------------


def completed(redial, tmp_path, *words):
    """What bash offers for the last of the words."""
    script = tmp_path / "completion.bash"
    script.write_text(output(redial, "completion", "bash"), encoding="utf-8")
    source = """
        source "$1"; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        [ "$(complete -p redial)" = "complete -F _redial redial" ] || exit 3
        _redial redial "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "--norc", "-c", source, "bash", script, "redial", *words], capture_output=True,
                          text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return set(done.stdout.split())


def test_bash_completes_commands_options_and_values(redial, tmp_path):
    assert completed(redial, tmp_path, "ru") == {"run"}
    assert completed(redial, tmp_path, "") == {*commands(redial), "--help"}
    for command in commands(redial):
        wanted = {f"--{name}" for _, name, _ in options(redial, command)}
        assert {word for word in completed(redial, tmp_path, command, "--")} == wanted
    assert completed(redial, tmp_path, "services", "-o", "") == {"table", "wide", "json"}
    assert completed(redial, tmp_path, "services", "--output", "=", "w") == {"wide"}
    assert completed(redial, tmp_path, "run", "--log-level", "") == {"error", "warn", "info", "debug"}
    assert completed(redial, tmp_path, "run", "--log-format", "=") == {"text", "json"}
    assert completed(redial, tmp_path, "run", "--node-name", "") == set()
    assert completed(redial, tmp_path, "completion", "") >= {"bash", "zsh"}


def test_bash_completes_files_and_directories(redial, tmp_path):
    (tmp_path / "config").write_text("")
    (tmp_path / "conf.d").mkdir()
    assert completed(redial, tmp_path, "run", "--kubeconfig", "conf") == {"config", "conf.d"}
    assert completed(redial, tmp_path, "run", "--manifests", "conf") == {"conf.d"}


def test_completion_scripts_are_well_formed(redial, tmp_path):
    for shell in ("bash", "zsh"):
        script = tmp_path / shell
        script.write_text(output(redial, "completion", shell), encoding="utf-8")
        done = subprocess.run([shell, "-n", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and not done.stderr, done.stderr
    done = subprocess.run(["shellcheck", "-s", "bash", tmp_path / "bash"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_zsh_completes_every_command_and_option(redial, tmp_path):
    """_arguments and its kind in the place of zsh's own say what they were given."""
    script = tmp_path / "_redial"
    script.write_text(output(redial, "completion", "zsh"), encoding="utf-8")
    source = """
        compdef() { :; }
        _describe() { print -rl -- "${commands[@]}"; }
        _arguments() {
            if [[ $1 == -C ]]; then [[ -n $given ]] && state=rest words=($given) || state=command
            else print -rl -- "$@"; fi
        }
        given=$2; source $1; _redial
    """

    def ask(command=""):
        done = subprocess.run(["zsh", "-f", "-c", source, "zsh", script, command], capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0 and not done.stderr, done.stderr
        return done.stdout

    assert re.findall(r"^([\w-]+):", ask(), re.MULTILINE) == commands(redial)
    for command in commands(redial):
        found = re.findall(r"^(?:\*|\(-\w --[a-z-]+\))?--([a-z-]+)\[", ask(command), re.MULTILINE)
        assert found == [name for _, name, _ in options(redial, command)]


# ---- mistakes ------------------------------------------------------------------------------

NAMES = ["run", "status", "services", "backends", "sockets", "monitor", "top", "explain", "dns-config", "check",
         "cleanup", "version", "man", "completion"]


def one_line(done, status):
    assert done.returncode == status and not done.stdout, done
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("command", NAMES)
def test_a_slip_is_one_line_and_status_2(node, command):
    line = one_line(node.plain(command, "--no-such-option"), 2)
    assert line == f"redial {command}: unknown option --no-such-option, see 'redial {command} --help'"
    assert "unknown option -Z" in one_line(node.plain(command, "-Z"), 2)
    for letter, name, argument in options(node.redial, command):
        if not argument:
            continue
        given = f"-{letter}" if letter else f"--{name}"
        assert f"a value is missing after {given}" in one_line(node.plain(command, given), 2)
    one_line(node.plain(command, "a/b", "c", "d/e"), 2)


def test_these_are_all_commands(redial):
    assert set(NAMES) == set(commands(redial))


@pytest.mark.parametrize("command", ["status", "services", "backends", "sockets", "monitor", "top"])
def test_no_pinned_maps_is_one_line_and_status_1(node, command):
    line = one_line(node.command(command), 1)
    assert line.startswith(f"redial {command}: ") and str(node.bpffs) in line


@pytest.mark.parametrize("command", ["status", "services", "backends", "sockets", "monitor", "top", "cleanup"])
def test_no_permission_is_one_line_and_status_1(node, command):
    node.agent().stop()
    unprivileged = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", "-all"]
    line = one_line(node.command(command, wrapper=unprivileged), 1)
    assert line.startswith(f"redial {command}: ")


@pytest.mark.parametrize("arguments", [["man"], ["completion", "bash"], ["completion", "zsh"]])
def test_a_full_disk_is_one_line_and_status_1(redial, arguments):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([redial, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1


# ---- the log ---------------------------------------------------------------------------------


def test_json_log(node):
    name = 'we"b\\.yaml'
    node.write(name, "{")
    agent = node.agent("--log-format", "json")
    agent.stop()
    lines = [json.loads(line) for line in agent.text().splitlines()]
    for line in lines:
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert line["level"] in ("error", "warn", "info") and line["event"]
    (ready,) = [line for line in lines if line["event"] == "ready"]
    assert ready["services"] == 0 and ready["bpffs"] == str(node.bpffs)
    assert [line for line in lines if line.get("file", "").endswith(name) or name in line.get("error", "")]


def test_json_log_of_a_failure(node):
    status, (line,) = node.try_run("--log-format", "json", "--cgroup", "/nonexistent")
    assert status == 1
    line = json.loads(line)
    assert (line["level"], line["event"], line["command"]) == ("error", "failed", "run")
    assert "/nonexistent" in line["error"]


def test_repeats_are_counted_instead(node):
    agent = node.agent()
    for n in range(25):
        agent.signal(1)
        time.sleep(0.02)
        assert agent.is_running(), n
    wait_until(lambda: len(agent.lines("reading everything again")) >= 10)
    agent.stop()
    *written, summary = agent.lines("reading everything again")
    assert written == ["info: reading everything again"] * 10
    # Signals that come at once are one.
    left_out = int(re.fullmatch(r"info: reading everything again \(repeated (\d+) times\)", summary)[1])
    assert 1 <= left_out <= 15


# ---- progress ----------------------------------------------------------------------------------


def read_terminal(descriptor, until, seconds=30):
    text = b""
    end = time.monotonic() + seconds
    while until not in text and time.monotonic() < end:
        if select.select([descriptor], [], [], 0.2)[0]:
            try:
                text += os.read(descriptor, 65536)
            except OSError:
                break
    return text.decode()


def test_progress_of_the_first_lists_on_a_terminal(node):
    def prepare():
        die_with_parent()
        setns(node.host.fd)

    terminal, its_end = pty.openpty()
    with KubeNode(node) as kube:
        kube.put_web()
        kube.server.fault("nodes", "*", "none", delay=0.7)
        with subprocess.Popen([node.redial, "run", *node.run_options(["--node-name", "node1"])], stderr=its_end,
                              stdout=subprocess.DEVNULL, preexec_fn=prepare) as process:
            os.close(its_end)
            text = read_terminal(terminal, b"info: ready")
            process.terminate()
            assert process.wait(20) == 0
    os.close(terminal)
    shown = re.findall(r"\r([a-z][^\r\n\x1b]*)\x1b\[K", text)
    assert "services 1, endpointslices 1, nodes 0" in shown
    assert len(shown) <= 12, "more than ten times a second"
    # Every line of the log begins at the beginning of a line.
    assert len(re.findall("(?:info|warn|error): ", text)) == len(re.findall("^(?:info|warn|error): ", text, re.MULTILINE))


def test_no_progress_where_the_log_is_a_file(node):
    with KubeNode(node) as kube:
        kube.put_web()
        kube.server.fault("nodes", "*", "none", delay=0.5)
        agent = kube.agent()
        assert "\r" not in agent.text() and "services 1," not in agent.text()


# ---- documents -----------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", sorted(documented.SETTINGS))
def test_documented_output(node, tree, setting):
    """`scripts/doc-output` mends it."""
    paths = [tree / "README.md", *sorted((tree / "docs").glob("*.md"))]
    shown = [path for path in paths if setting in {name for _, name, *_ in
                                                   documented.SHOWN.findall(path.read_text(encoding="utf-8"))}]
    assert shown
    documented.SETTINGS[setting](node, tree)
    for path in shown:
        text = path.read_text(encoding="utf-8")
        now = documented.refreshed(node, text, setting)
        if os.environ.get("REDIAL_DOC_OUTPUT") == "write":
            path.write_text(now, encoding="utf-8")
        else:
            assert now == text, f"{path.name} is stale: run scripts/doc-output"
