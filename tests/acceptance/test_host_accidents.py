"""Accidents of the host itself: disk, clock, memory, systemd and journal; and laptops that crowd it."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.sandbox import SandboxHost
from tests.support.faults.accident import Fab, Scene, running
from tests.support.faults.app import APP, SERVER, Parts, WholeSite
from tests.support.faults.bench import Bench, bench_on
from tests.support.faults.injected import HOME
from tests.support.faults.matrix import problems
from tests.support.faults.writes import at_write, spread, writes_of
from tests.support.project import Project
from tests.support.site import CALM, wait_until
from tests.support.tiny import TinySite

pytestmark = pytest.mark.acceptance
DEPLOY = ("deploy", "--json")
HOUR = 3600
PLACES = (f"/srv/{APP}", f"/var/lib/deployer/{APP}")


@pytest.fixture(scope="module")
def _bench(bookworm: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench_on(bookworm, tmp_path_factory.mktemp("accidents")) as made:
        yield made


@pytest.fixture
def bench(_bench: Bench) -> Iterator[Bench]:
    """Two good releases, and nothing else."""
    _bench.site.project.write("server.py", SERVER)
    _bench.ready()
    yield _bench
    _bench.faults.clear()


@contextlib.contextmanager
def loaded(bench: Bench) -> Iterator[None]:
    """Not one request may fail in here."""
    with bench.site.under_load(clients=2):
        yield


@contextlib.contextmanager
def standing(bench: Bench, at: str, *command: str) -> Iterator[Fab]:
    """A command that stands at a boundary, until ``bench.faults.go_on()``."""
    with Scene(bench.site, bench.faults, command or DEPLOY, at, lambda: None).paused() as fab:
        yield fab


def change(bench: Bench) -> Parts:
    """A new commit; what a deploy of it is made of."""
    parts = bench.prepare("deploy", bench.survey())
    assert parts is not None
    return parts


def recovers(bench: Bench, parts: Parts | None = None) -> str:
    """The host comes to rest by itself, on one whole release, which is returned; and the next deploy just works."""
    now = bench.settled(lambda one: one.leftovers(timer=True))
    assert now.leftovers(timer=True) == []
    bench.note(now, parts)
    assert bench.mixed(now) == []
    bench.faults.clear()
    bench.deploy()
    again = bench.settled(lambda one: one.leftovers(timer=True))
    assert again.leftovers(timer=True) + bench.mixed(again) == []
    return now.current


def failed(ended: Any) -> dict[str, Any]:
    event: dict[str, Any] = ended.event("failed")
    return event


# A file system that is read-only.


@pytest.fixture
def mounts(bench: Bench) -> Iterator[Bench]:
    """The app's directories are file systems of their own."""
    for place in PLACES:
        bench.site.host.run(["mount", "--bind", place, place])
    try:
        yield bench
    finally:
        bench.site.host.run(["umount", "-l", *PLACES])


def remount(bench: Bench, mode: str, *places: str) -> None:
    for place in places or PLACES:
        bench.site.host.run(["mount", "-o", f"remount,bind,{mode}", place])


def test_a_read_only_disk_before_a_deploy(mounts: Bench) -> None:
    """The deploy is refused and says why, what can be asked is answered, and with the disk back all is well."""
    parts, before = change(mounts), mounts.survey().current
    with loaded(mounts):
        remount(mounts, "ro")
        ended = mounts.site.deploy(expect=5)
        status = json.loads(mounts.site.expect(0, "status", "--json").out)
        remount(mounts, "rw")
        assert "Read-only file system" in failed(ended)["message"] or "read-only" in failed(ended)["message"]
        assert status["current"] == before
        assert recovers(mounts, parts) == before


@pytest.mark.parametrize(("at", "exit"), [("phase.done install", 5), ("switched", 0)])
def test_a_disk_that_turns_read_only_during_a_deploy(mounts: Bench, at: str, exit: int) -> None:
    """Before the switch the deploy is refused; after it, what is healthy stays; what cannot be written down waits."""
    parts, before = change(mounts), mounts.survey().current
    with loaded(mounts):
        with standing(mounts, at) as fab:
            remount(mounts, "ro", PLACES[0])
            mounts.faults.go_on()
            assert fab.end() == exit, fab.said
        remount(mounts, "rw", PLACES[0])
        assert (recovers(mounts, parts) == before) is (exit == 5)


# A disk that is full, at any moment.


def test_a_disk_that_fills_up_during_a_deploy(bench: Bench) -> None:
    """Wherever it is that nothing can be written any more, one whole release serves, and with room all goes on.

    At some writes of a deploy; ``make test-faults`` tries each of them.
    """
    moments = spread(writes_of(bench, "deploy"), 4)
    assert len(set(moments)) == 4
    for what in moments:
        cell = at_write(bench, "deploy", what, "full")
        assert not cell.problems, problems([cell])


def test_a_disk_that_was_full_is_cleared_up_by_the_host(bench: Bench) -> None:
    """What a deploy could neither do nor undo is put right when there is room again, with nobody connected."""
    cell = at_write(bench, "deploy", f"symlink /srv/{APP}/.current.tmp", "full", at_once=False)
    assert not cell.problems, problems([cell])


# A clock that is set.


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_clock_that_is_set_between_two_deploys(bench: Bench, step: int) -> None:
    """The newest release and the newest job are those that came last, whatever the clock says."""
    with loaded(bench):
        bench.faults.clock(step)
        bench.deploy()
        bench.faults.clock(-step)
        bench.deploy()
        now = bench.settled(lambda one: one.leftovers(timer=True))
        newest = f"v{now.newest}"
        attached = bench.site.expect(0, "attach", "--json").event("finished")
        assert attached["release"] == attached["serving"] == now.current == newest
        status = json.loads(bench.site.expect(0, "status", "--json").out)
        assert (status["current"], status["busy"]) == (newest, None)
        listed = json.loads(bench.site.expect(0, "releases", "--json").out)["releases"]
        assert [int(row["number"][1:]) for row in listed] == sorted(map(int_of, now.records), reverse=True)
        assert now.leftovers(timer=True) == []


def int_of(release: str) -> int:
    return int(release[1:])


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_clock_that_is_set_during_a_deploy(bench: Bench, step: int) -> None:
    """Nothing waits for the clock: no deadline comes too early or too late."""
    parts = change(bench)
    with loaded(bench):
        bench.faults.boundary("phase.done install", "pass", clock=step)
        ended = bench.site.deploy()
        assert ended.event("finished")["seconds"] < HOUR / 2
        assert recovers(bench, parts) == ended.event("finished")["release"]


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_who_is_told_to_be_at_work_after_the_clock_was_set(bench: Bench, step: int) -> None:
    """The busy message and ``fab attach`` mean the job that runs, not one that seems to be younger."""
    bench.faults.clock(step)
    bench.deploy()
    bench.faults.clock(-step)
    parts = change(bench)
    with loaded(bench), standing(bench, "phase.started check") as first:
        busy = failed(bench.site.deploy(expect=4))["message"]
        with running(bench.site, "attach", "--json") as attached:
            bench.faults.go_on()
            assert (first.end(), attached.end()) == (0, 0), attached.said
            assert attached.event("finished")["release"] == first.event("finished")["release"]
    assert busy.startswith("busy: a deploy by ")
    assert busy.endswith(", at check")
    bench.note(bench.survey(), parts)
    bench.faults.clear()


# A process that the kernel ends for its memory.


@pytest.mark.parametrize(("at", "exit"), [("phase.done start", 5), ("switched", 6)])
def test_a_release_that_is_killed(bench: Bench, at: str, exit: int) -> None:
    """A candidate that the kernel kills is refused, a release with traffic taken back; both say what ended it."""
    change(bench)
    before = bench.survey().current
    with bench.site.load(clients=2, pause=CALM) as load, standing(bench, at) as fab:
        unit = f"{APP}-web@v{bench.survey().newest}.service"
        bench.site.host.run(f"kill -KILL $(systemctl show -p MainPID --value {unit})")
        bench.faults.go_on()
        assert fab.end() == exit, fab.said
        # on a busy machine systemd may have started it again, and forgotten the signal, before anybody looked
        assert "the process ended" in failed(fab)["message"]
        assert recovers(bench, Parts(0, 0)) == before
    lost = load.stop().failed
    assert lost <= (0 if exit == 5 else 2), "more was lost than what was inside the process that was killed"


# A systemd that does not do as it is told.

STUBBORN = """#!/bin/sh
for word in "$@"; do test "$word" = daemon-reload && echo 'Failed to reload daemon' >&2 && exit 1; done
exec /usr/bin/systemctl "$@"
"""


@pytest.fixture
def stubborn(bench: Bench) -> Iterator[Bench]:
    """A host on which ``systemctl daemon-reload`` fails."""
    path = "/usr/local/sbin/systemctl"
    bench.site.host.run(f"cat > {path} && chmod 755 {path}", input=STUBBORN.encode())
    try:
        yield bench
    finally:
        bench.site.host.run(["rm", "-f", path])


def test_a_daemon_reload_that_fails(stubborn: Bench) -> None:
    """A deploy needs none; a release that goes bad after the switch is taken back without one."""
    with loaded(stubborn):
        stubborn.deploy()
    change(stubborn)
    before = stubborn.survey().current
    with stubborn.site.load(clients=2, pause=CALM) as load, standing(stubborn, "switched") as fab:
        unit = f"{APP}-web@v{stubborn.survey().newest}.service"
        stubborn.site.host.run(f"kill -KILL $(systemctl show -p MainPID --value {unit})")
        stubborn.faults.go_on()
        assert fab.end() == 6, fab.said
        assert stubborn.site.serving == before
    assert load.stop().failed <= 2
    stubborn.site.host.run(["rm", "-f", "/usr/local/sbin/systemctl"])
    assert recovers(stubborn, Parts(0, 0)) == before


# A journal that takes nothing.

JOURNAL = ("systemd-journald.socket", "systemd-journald-dev-log.socket", "systemd-journald-audit.socket")
STALL = """
pid=$(systemctl show -p MainPID --value systemd-journald.service)
kill -STOP $pid && touch {go}
i=0
while test $i -lt 600 && systemctl -q is-active {job}; do i=$((i + 1)); sleep 0.1; done
kill -CONT $pid
"""
"""The journal stands still for as long as a job runs, and at most for a minute."""


def break_server(bench: Bench) -> None:
    bench.site.project.write("server.py", "import nothing_like_that\n")
    bench.site.project.commit("does not import")


def test_a_journal_that_is_not_there(bench: Bench) -> None:
    """Logs are for people: without them a good release gets through, and a bad one is refused."""
    host = bench.site.host
    with loaded(bench):
        host.run(["systemctl", "stop", *JOURNAL, "systemd-journald.service"], check=False)
        try:
            bench.deploy()
            before = bench.survey().current
            change(bench)
            break_server(bench)
            ended = bench.site.deploy(expect=5)
        finally:
            host.run(["systemctl", "start", *JOURNAL, "systemd-journald.service"])
        assert failed(ended)["state"].startswith(f"{before} serves, uninterrupted")
        bench.site.project.write("server.py", SERVER)
        assert recovers(bench, Parts(0, 0)) == before


@pytest.mark.parametrize("exit", [0, 5])
def test_a_journal_that_stands_still(bench: Bench, exit: int) -> None:
    """Who writes to it may have to wait for ever: a deploy does not."""
    parts, before = change(bench), bench.survey().current
    if exit == 5:
        break_server(bench)
    with loaded(bench):
        with standing(bench, "phase.done build") as fab:
            script = STALL.format(go=f"{HOME}/go", job=f"deployer-{APP}.service")
            bench.site.host.run(f"cat > {HOME}/stall", input=script.encode())
            bench.site.host.run(f"setsid sh {HOME}/stall > /dev/null 2>&1 < /dev/null &")
            assert fab.end() == exit, fab.said
        bench.site.project.write("server.py", SERVER)
        assert (recovers(bench, parts) == before) is (exit == 5)


# Many laptops at once.


@pytest.fixture
def laptops(bench: Bench, tmp_path: Path) -> list[WholeSite]:
    """Five checkouts, each with a commit of its own."""
    found = []
    for number in range(5):
        path = tmp_path / str(number)
        shutil.copytree(bench.site.project.path, path)
        site = replace(bench.site, project=Project(path))
        bench.turn += 1
        site.write(Parts(bench.turn, bench.turn))
        found.append(site)
    return found


@pytest.mark.parametrize("count", [2, 5])
def test_laptops_that_deploy_at_once(bench: Bench, laptops: list[WholeSite], count: int) -> None:
    """Exactly one gets through; all others hear who it is, and have touched nothing."""
    bench.faults.boundary("phase.started check", "pause")
    with loaded(bench), contextlib.ExitStack() as stack:
        fabs = [stack.enter_context(running(site, *DEPLOY)) for site in laptops[:count]]
        bench.faults.wait_until_reached()
        wait_until(lambda: sum(fab.process.poll() is None for fab in fabs) == 1, "all but one are sent away")
        told = [failed(fab)["message"] for fab in fabs if fab.process.poll() is not None]
        bench.faults.go_on()
        exits = [fab.end() for fab in fabs]
    assert sorted(map(str, exits)) == ["0"] + ["4"] * (count - 1), [fab.said[-300:] for fab in fabs]
    assert all(text.startswith("busy: a deploy by ") for text in told)
    bench.releases.clear()


def test_five_laptops_that_wait_for_their_turn(bench: Bench, laptops: list[WholeSite]) -> None:
    """With --wait all of them get through, one after the other, each as a release of its own; the ledger agrees."""
    before = bench.survey().newest
    with loaded(bench), contextlib.ExitStack() as stack:
        fabs = [stack.enter_context(running(site, *DEPLOY, "--wait")) for site in laptops]
        assert [fab.end() for fab in fabs] == [0] * 5, [fab.said[-300:] for fab in fabs]
        made = sorted(int_of(fab.event("finished")["release"]) for fab in fabs)
    assert made == list(range(before + 1, before + 6))
    listed = json.loads(bench.site.expect(0, "releases", "--all", "--json").out)["releases"]
    assert [int_of(row["number"]) for row in listed][:5] == made[::-1]
    assert {row["state"] for row in listed[:5]} <= {"current", "standby", "retired", "pruned"}
    now = bench.settled(lambda one: one.leftovers(timer=True))
    assert (now.current, now.leftovers(timer=True)) == (f"v{made[-1]}", [])
    bench.releases.clear()


# A disk that forgets.


FLIP = """
import os, sys
path = sys.argv[1]
before = os.stat(path)
with open(path, "r+b") as file:
    text = file.read()
    place = max(place for place, byte in enumerate(text) if chr(byte).isdigit())
    file.seek(place)
    file.write(bytes([text[place] ^ 1]))
if len(sys.argv) > 2:
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
"""
"""Makes the last digit of a file another one; with a second argument neither its size nor its times tell, as when a
disk has lost it."""
MEDIUM, PROGRAM = ["as a disk loses it"], list[str]()
OWN = "find {} -type f -links 1 ! -name '*.pyc' | xargs grep -l '[0-9]' | head -n 1"
"""A file that the environment of no other release has as well."""


@pytest.mark.parametrize(
    ("command", "part", "how"),
    [
        ("rollback", "code/server.py", MEDIUM),
        ("rollback", "venv", MEDIUM),
        ("rollback", "env.json", MEDIUM),
        ("reload", "code/server.py", PROGRAM),
        ("reload", "venv/pyvenv.cfg", PROGRAM),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_byte_that_changed_on_the_disk(bench: Bench, command: str, part: str, how: list[str]) -> None:
    """What is no longer what was built is found before the switch: what it is, is told, and how to go on."""
    now = bench.survey()
    source = now.current if command == "reload" else f"v{now.records[now.current]['previous']}"
    path = bench.site.host.run(["readlink", "-f", f"/srv/{APP}/releases/{source}/{part}"]).stdout.strip()
    if part == "venv":
        path = bench.site.host.run(OWN.format(path)).stdout.strip()
    with loaded(bench):
        bench.site.host.run(["python3", "-c", FLIP, path, *how])
        bench.prepare(command, now)
        extra = ["--yes", "--to", source] if command == "rollback" else []
        ended = bench.site.expect(5, command, "--json", *extra)
        assert bench.site.serving == now.current
        assert Path(path).name in failed(ended)["message"], failed(ended)
        assert "fab deploy" in failed(ended)["next"] or "fab doctor" in failed(ended)["next"]
        bench.deploy()
    bench.releases.clear()


def test_what_a_disk_loses_of_what_serves_is_found_by_a_look(bench: Bench) -> None:
    """``fab doctor`` reads all of it from the disk; the next deploy then builds anew what is damaged."""
    now = bench.survey()
    path = bench.site.host.run(["readlink", "-f", f"/srv/{APP}/releases/{now.current}/code/server.py"]).stdout.strip()
    bench.site.host.run(["python3", "-c", FLIP, path, *MEDIUM])
    assert "server.py" in bench.site.fab("doctor").text
    bench.deploy()
    fresh = bench.site.host.run(["readlink", "-f", f"/srv/{APP}/current/code/server.py"]).stdout.strip()
    assert bench.site.host.run(["test", fresh, "-ef", path], check=False).returncode == 1
    bench.releases.clear()


def test_what_a_disk_loses_is_found_once_a_week(bench: Bench) -> None:
    """The scrub's timer is active; its service fails, names file and release, and no rollback takes what is damaged."""
    unit = f"deployer-scrub@{APP}"
    bench.site.project.write("change.txt", "for the scrub")
    bench.site.project.commit("change")
    bench.deploy()
    now = bench.survey()
    older = f"v{now.records[now.current]['previous']}"
    host = bench.site.host
    assert host.run(f"systemctl is-active {unit}.timer").stdout == "active\n"
    host.run(f"systemctl start {unit}.service")
    path = host.run(["readlink", "-f", f"/srv/{APP}/releases/{older}/code/server.py"]).stdout.strip()
    host.run(["python3", "-c", FLIP, path, *MEDIUM])
    since = host.run("date +%s").stdout.strip()
    assert host.run(f"systemctl start {unit}.service", check=False).returncode
    told = host.run(f"journalctl -o cat -u {unit} --since @{since}").stdout
    assert "server.py" in told and older in told and "fab deploy" in told, told
    refused = bench.site.expect(5, "rollback", "--yes", "--to", older)
    assert "damaged" in refused.text
    bench.deploy()
    host.run(f"systemctl reset-failed {unit}.service; systemctl stop {unit}.timer")
    assert f"systemctl enable --now {unit}.timer" in bench.site.fab("doctor").text
    host.run(f"systemctl enable --now {unit}.timer")
    bench.releases.clear()


# Neighbours, and systemd itself


ODD = r"""
import ctypes, time
assert ctypes.CDLL(None).prctl(15, b"\xff\xfe) S 1", 0, 0, 0) == 0
time.sleep(600)
"""
"""A process that calls itself so: neither UTF-8, nor easy to tell from what follows it in /proc/PID/stat."""


@contextlib.contextmanager
def odd_process(host: SandboxHost, name: str) -> Iterator[None]:
    """In a unit of somebody else's."""
    host.run("cat > /run/odd.py", input=ODD.encode())
    host.run(f"systemd-run --quiet --unit={name} -p User=nobody /usr/bin/python3 /run/odd.py")
    called = f"od -An -tx1 /proc/$(systemctl show -p MainPID --value {name})/comm"
    try:
        wait_until(lambda: host.run(called, check=False).stdout.split()[:2] == ["ff", "fe"], "it has its name")
        yield
    finally:
        host.run(f"systemctl stop {name}", check=False)


def test_a_process_whose_name_is_no_text(mini: TinySite) -> None:
    """Somebody else's, there before a deploy or come during its watch: nothing is refused, nothing is taken back."""
    mini.configure(watch=3)
    with odd_process(mini.host, "odd"):
        mini.expect(0, "deploy")
    before = mini.serving
    mini.project.write("change.txt", "1")
    mini.project.commit("change")
    with running(mini, "deploy", "--json") as deploy:
        wait_until(lambda: mini.serving != before, "it has switched")
        with odd_process(mini.host, "odd"):
            assert deploy.end() == 0, deploy.said
    mini.expect(0, "reload")


SLOW = "sh -c 'for i in $(seq 25); do echo step $i; sleep 0.1; done'"
"""Takes longer than it takes until systemd is executed again, and prints all the while."""


@contextlib.contextmanager
def again_and_again(host: SandboxHost, command: str) -> Iterator[None]:
    """``systemctl COMMAND`` every 0.7 s, at most for some minutes."""
    loop = f"for i in $(seq 400); do test -e /run/again || exit 0; systemctl {command}; sleep 0.7; done"
    host.run(f"touch /run/again; systemd-run --quiet --unit=again /bin/sh -c '{loop}'")
    state = ["systemctl", "show", "-p", "ActiveState", "--value", "again"]
    try:
        yield
    finally:
        host.run(["rm", "/run/again"])
        wait_until(lambda: host.run(state, check=False).stdout.strip() == "inactive", "systemd is left alone")


@pytest.mark.parametrize("command", ["daemon-reexec", "daemon-reload"])
def test_systemd_is_executed_or_loaded_again_and_again(mini: TinySite, command: str) -> None:
    """As updates of packages and set-ups of other apps do it: whatever systemd did not hear, it is told again, what it
    forgets to report is waited for, what has succeeded is a success, and no request is lost."""
    mini.configure(build=[SLOW], release=f'migrate = "{SLOW}"')
    mini.expect(0, "deploy")
    mini.project.write("change.txt", command)
    mini.project.commit("change")
    with again_and_again(mini.host, command), mini.under_load("/", clients=2):
        ended = mini.expect(0, "deploy", "--json")
        for phase in ("build", "migrate"):
            said = [event["line"] for event in ended.events if event["event"] == "output" and event["phase"] == phase]
            assert "step 25" in said, f"the {phase} ran to its end, and was heard to the end"
        mini.expect(0, "reload")
        mini.expect(0, "rollback")
        host = f"{mini.user}@{mini.host.name}"
        ran = mini.fab(
            "run", "-H", host, "--", "sh", "-c", "for i in $(seq 25); do echo step $i; sleep 0.1; done; exit 3"
        )
        assert (ran.exit, "step 25" in ran.out) == (3, True), ran.text
    mini.expect(0, "doctor")


LINE = """echo "${HOME:+set}; it's $(echo 100%) \\$X `echo ';'` é %h"; false || echo 'a;b $$ \\; \\$'"""
SAID = ["set; it's 100% $X ; é %h", "a;b $$ \\; \\$"]
"""What the shell makes of it, if nothing else reads it before."""


@contextlib.contextmanager
def before_each_command(host: SandboxHost, command: str) -> Iterator[None]:
    """``systemctl COMMAND`` in every transient unit of ours, once the unit is there and before its own command runs."""
    drop_in = "/run/systemd/system/deployer-.service.d"
    text = f"[Service]\nExecStartPre=+/usr/bin/systemctl {command}\n"
    host.run(f"mkdir -p {drop_in} && cat > {drop_in}/again.conf", input=text.encode())
    try:
        yield
    finally:
        host.run(f"rm -r {drop_in} && systemctl daemon-reload")


@pytest.mark.parametrize("command", ["daemon-reexec", "daemon-reload"])
def test_systemd_reads_the_units_again_before_it_runs_their_commands(mini: TinySite, command: str) -> None:
    """systemd writes transient units down, and does not read what it wrote: each command is run as it was written all
    the same."""
    site, line = mini, json.dumps(LINE)
    site.configure(
        build=[LINE],
        release=f"migrate = {line}",
        env=f"[processes.w]\ncommand = \"python3 -c 'import time; time.sleep(999)'\"\ncheck = {line}\n",
    )
    site.project.change(files={"change.txt": f"before each {command}"})
    with before_each_command(site.host, command), site.under_load("/", clients=2):
        ended = site.expect(0, "deploy", "--json")
        said: dict[str, list[str]] = {}
        for event in ended.events:
            if event["event"] == "output" and "message bus" not in event["line"]:  # what systemd-run says itself
                said.setdefault(event["phase"], []).append(event["line"])
        ran = site.fab("run", "-H", f"{site.user}@{site.host.name}", "--", "sh", "-c", LINE)
    assert said == dict.fromkeys(("build", "migrate", "check"), SAID)
    assert (ran.exit, [line for line in ran.out.splitlines() if "message bus" not in line]) == (0, SAID)


def test_a_dead_unit_has_the_name_of_the_jobs(mini: TinySite) -> None:
    """One that has failed, or is held because another unit names it: doctor tells, and the next deploy frees it."""
    mini.configure()
    mini.host.run("systemd-run --quiet --unit=deployer-mini.service /bin/false")
    wait_until(lambda: "leftover" in mini.fab("doctor").text, "doctor sees it")
    mini.expect(0, "deploy")
    mini.expect(0, "doctor")
    other = "[Unit]\nAfter=deployer-mini.service\n[Service]\nExecStart=/bin/sleep 600\n"
    mini.host.run("cat > /run/systemd/system/look.service", input=other.encode())
    mini.host.run("systemctl daemon-reload; systemctl start look")
    mini.host.run("systemd-run --quiet --unit=deployer-mini.service /bin/true")
    try:
        for number in range(2):
            mini.project.write("change.txt", f"{number}")
            mini.project.commit("change")
            mini.expect(0, "deploy")
    finally:
        mini.host.run("systemctl stop look; rm /run/systemd/system/look.service; systemctl daemon-reload")


def test_a_job_whose_unit_stays_active_does_not_block_the_next(mini: TinySite) -> None:
    """An admin's drop-in for all services keeps a unit active when its process has ended: each deploy makes way."""
    mini.configure()
    unit = f"deployer-{mini.app}.service"
    drop_in = f"/run/systemd/system/{unit}.d"
    mini.host.run(f"mkdir -p {drop_in}")
    mini.host.run(f"cat > {drop_in}/admin.conf", input=b"[Service]\nRemainAfterExit=yes\n")
    try:
        mini.expect(0, "deploy")
        shown = ["systemctl", "show", "-p", "SubState", "--value", unit]
        wait_until(lambda: mini.host.run(shown).stdout.strip() == "exited", "the job has ended, and its unit stays")
        assert "stays active though its job has ended" in mini.expect(7, "doctor").text
        mini.expect(0, "reload")
    finally:
        mini.host.run(f"rm -r {drop_in}; systemctl daemon-reload; systemctl stop {unit}", check=False)
