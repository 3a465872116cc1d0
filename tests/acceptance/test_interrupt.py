"""A laptop that stops watching: Ctrl-C, SIGTERM, a network that comes and goes. The host ends what it began."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.delayproxy import DelayProxy
from tests.support.failures import running
from tests.support.site import wait_until
from tests.support.terminal import Terminal
from tests.support.tiny import TinySite

pytestmark = pytest.mark.acceptance

FOR_EVER = "until [ -e $HOME/go ]; do sleep 0.1; done"
QUESTION = b"Stop watching, abort, or keep following?"
CTRL_C = "\x03"


@pytest.fixture
def slow(mini: TinySite) -> Iterator[TinySite]:
    """A site whose next deploy is at its build until :func:`go` says so."""
    mini.host.run("rm -f /var/cache/deployer-mini/go")
    mini.project.write("new.txt", str(time.time()))  # what is built already is not built again
    mini.configure(build=[FOR_EVER])
    yield mini
    go(mini)
    wait_until(lambda: not busy(mini), "the host has ended what it began")


def go(site: TinySite) -> None:
    site.host.run("mkdir -p /var/cache/deployer-mini; touch /var/cache/deployer-mini/go")


def busy(site: TinySite) -> bool:
    shown = site.host.run("systemctl is-active deployer-mini.service", check=False).stdout.strip()
    return shown in ("active", "activating", "deactivating")


def deploying(site: TinySite, phase: str) -> Terminal:
    """``fab deploy`` in a terminal, which has come to a phase."""
    terminal = Terminal(site.argv("deploy"), site.project.path)
    terminal.wait_for(b"connect")
    wait_until(lambda: busy(site), "the host is at work")
    wait_until(lambda: f"at {phase}" in site.expect(0, "status").out, f"it is at {phase}")
    return terminal


def asked(terminal: Terminal) -> Terminal:
    terminal.type(CTRL_C)
    terminal.wait_for(QUESTION)
    terminal.wait_for(b"? ")
    return terminal


# Ctrl-C in a terminal


@pytest.mark.parametrize("answer", ["\n", CTRL_C, "\x04"])
def test_who_leaves_lets_the_host_finish(slow: TinySite, answer: str) -> None:
    """Enter, a second Ctrl-C and the end of the input all leave: exit 130, and the deploy ends well by itself."""
    before = slow.serving
    terminal = asked(deploying(slow, "build"))
    terminal.type(answer)
    assert terminal.end() == 130
    seen = terminal.text
    assert "Traceback" not in seen
    assert seen.count("the host finishes by itself") == 1
    assert "fab attach -H " in seen and "fab abort -H " in seen
    assert slow.serving == before
    go(slow)
    ended = slow.expect(0, "attach", "--json").event("finished")
    assert slow.serving == ended["serving"] != before


@pytest.mark.parametrize(("phase", "exit"), [("build", 5), ("watch", 6)])
def test_who_aborts_sees_it_undone(slow: TinySite, phase: str, exit: int) -> None:
    """The old release serves, under load without one failed request; the command ends with the deploy's own code."""
    if phase == "watch":
        slow.configure(watch=60)
    before = slow.serving
    with slow.under_load("/", clients=2):
        terminal = asked(deploying(slow, phase))
        terminal.type("a\n")
        assert terminal.end() == exit
    seen = terminal.text
    assert "the host was told to abort" in seen
    assert "aborted by " in seen.rpartition("told to abort")[2]
    assert "Traceback" not in seen
    assert slow.serving == before
    assert not busy(slow)


def test_who_follows_on_sees_the_end(slow: TinySite) -> None:
    """Nothing was missed meanwhile, and the command ends as if nothing had been pressed."""
    before = slow.serving
    terminal = asked(deploying(slow, "build"))
    go(slow)
    wait_until(lambda: slow.serving != before, "the host goes on while one is asked")
    terminal.type("f\n")
    assert terminal.end() == 0
    last = terminal.text.rpartition(QUESTION.decode())[2]
    for phase in ("build", "install", "start", "check", "switch", "watch"):
        assert phase in last


def test_who_only_watches_is_not_asked(slow: TinySite) -> None:
    """``fab attach`` follows a deploy that may be anybody's: Ctrl-C ends the following, and the deploy goes on."""
    with running(slow, "deploy", "--json") as command:
        command.until("phase.started", phase="build")
        terminal = Terminal(slow.argv("attach"), slow.project.path)
        terminal.wait_for(b"build")
        terminal.type(CTRL_C)
        assert terminal.end() == 130
        assert QUESTION not in terminal.seen
        go(slow)
        assert command.end().exit == 0


# Where nobody can be asked


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_without_a_terminal_nobody_is_asked(slow: TinySite, number: int) -> None:
    """Exit 130 and one explanation at once; the host finishes."""
    before = slow.serving
    with running(slow, "deploy", "--json") as command:
        command.until("phase.started", phase="build")
        command.process.send_signal(number)
        ended = command.end()
    assert ended.exit == 130
    assert "the host finishes by itself" in ended.event("failed")["state"]
    assert "Traceback" not in ended.text and QUESTION.decode() not in ended.text
    go(slow)
    assert slow.expect(0, "attach", "--json").event("finished")["serving"] == slow.serving != before


def test_a_terminal_that_is_closed_leaves_the_host_to_finish(slow: TinySite) -> None:
    """SIGHUP ends the command, and the deploy goes on to its end."""
    before = slow.serving
    with running(slow, "deploy", "--json") as command:
        command.until("phase.started", phase="build")
        command.process.send_signal(signal.SIGHUP)
        ended = command.end()
    assert ended.exit == -signal.SIGHUP
    assert "Traceback" not in ended.text
    go(slow)
    assert slow.expect(0, "attach", "--json").event("finished")["serving"] == slow.serving != before


# A network that comes and goes


def through(site: TinySite, proxy: DelayProxy, directory: Path) -> list[str]:
    """``fab deploy --json`` by way of the proxy, by an ssh_config that notices a silent host soon."""
    keys = site.host.known_hosts.read_text().splitlines()
    theirs = next(line for line in keys if line.startswith(site.host.address)).split(" ", 1)[1]
    known = directory / "known_hosts"
    known.write_text(f"[{proxy.host}]:{proxy.port} {theirs}\n")
    config = directory / "ssh_config"
    config.write_text(
        f"Host box\n HostName {proxy.host}\n Port {proxy.port}\n User deploy\n IdentityFile {site.host.identity}\n"
        f" IdentitiesOnly yes\n UserKnownHostsFile {known}\n ServerAliveInterval 1\n ServerAliveCountMax 2\n"
    )
    return ["-S", str(config), "deploy", "--json", "-H", "box"]


class Away(TinySite):
    """The same site, whose commands are typed as they are."""

    def argv(self, *arguments: str, user: str = "") -> list[str]:
        return [super().argv()[0], *arguments]


def test_a_network_that_comes_back_is_not_even_an_interruption(slow: TinySite, tmp_path: Path) -> None:
    """The loss is noticed without a word from the network; then every event is told once, and the deploy ends well."""
    before = slow.serving
    away = Away(slow.host, slow.project)
    with (
        DelayProxy(slow.host.address, 22, rtt_ms=2) as proxy,
        running(away, *through(slow, proxy, tmp_path)) as command,
    ):
        command.until("phase.started", phase="build")
        proxy.blackhole()
        lost = command.until("warn")
        go(slow)
        proxy.restore()
        ended = command.end()
    assert "was lost; the host goes on" in lost["text"]
    assert ended.exit == 0, ended.text
    assert ended.event("finished")["serving"] == slow.serving != before
    starts = [event["phase"] for event in ended.events if event["event"] == "phase.started" and event["release"]]
    assert starts == ["build", "install", "start", "check", "switch", "drain", "watch"]


def test_a_host_program_that_is_killed_is_not_even_an_interruption(slow: TinySite) -> None:
    """The program that tells of the deploy may die, too: the deploy does not depend on it."""
    with running(slow, "deploy", "--json") as command:
        command.until("phase.started", phase="build")
        slow.host.run("kill -9 $(pgrep -f 'deployer-host [s]ession mini')")
        command.until("warn")
        go(slow)
        ended = command.end()
    assert ended.exit == 0, ended.text
    assert ended.event("finished")["serving"] == slow.serving
