"""``--dry`` in every way it can be said: every task tells what it would do, and the host is what it was."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deployer.cli.fleettask import Dry
from deployer.tasks import namespace
from tests.support.failures import running
from tests.support.site import FAB, FABFILE, Ended
from tests.support.tiny import TinySite

pytestmark = pytest.mark.acceptance

STATE = r"""
find /srv/mini /var/lib/deployer/mini /var/lib/mini /etc/systemd/system /etc/deployer /etc/sudoers.d /etc/nginx \
  /usr/local /opt /home ! -name '*.pyc' ! -path '*/releases/*/run' -printf '%p %T@ %s %m %U %l\n' 2>/dev/null | sort
cat /etc/passwd /etc/group
systemctl list-units --all --plain --no-legend 'mini*' deployer-mini.service 'deployer-mini-run*' |
  awk '{print $1, $3, $4}'
journalctl --quiet --output=cat -u deployer-mini.service | grep -c ^Started
"""
"""All that a task could have changed: files and links with times, accounts, units, what the unit of the lock did.

Beside an app's socket ``fab doctor`` listens for a moment, to see whether the proxy leads there: that directory's time
changes.
"""

WORDS = {
    "run": ("--", "touch", "/var/lib/mini/ran"),
    "doctor": ("--fix",),
    "setup": ("--allow-unit", "Nice"),
    "env.set": ("A=1",),
    "env.unset": ("A",),
    "env.pull": ("pulled.env", "--yes"),
    "env.push": ("deploy.env",),
    "lock": ("-m", "a freeze"),
    "scale": ("web=2",),
    "timer.run": ("tick",),
    "manage": ("--", "flush"),
}
CHANGES = sorted(name for name in namespace.task_names if namespace[name].dry is not Dry.SAME)
REFUSES = {
    **dict.fromkeys(("preview", "promote"), "no release is held"),
    "abort": "no deploy is running",
    "scale": "runs no process web that can be scaled",
    "env.unset": "A is not set on the hosts",
}
"""What has nothing to do here says so."""


def state(site: TinySite) -> list[str]:
    return site.host.run(STATE).stdout.splitlines()


def dry(site: TinySite, name: str, *before: str, cwd: Path | None = None, **env: str) -> Ended:
    words = WORDS.get(name, ())
    at = words.index("--") if "--" in words else len(words)
    argv = [*site.argv(*before, name, *words[:at], user="root" if name == "setup" else ""), *words[at:]]
    done = subprocess.run(
        argv if name != "init" else [FAB, *before, name],
        cwd=cwd or site.project.path,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "EDITOR": "true", **env},
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def test_every_task_that_changes_something_tells_and_touches_nothing(mini: TinySite) -> None:
    """Each with --dry: files, units, accounts and the journal of the lock's unit are what they were; and it says so."""
    mini.deploy()
    mini.project.change(files={"new.txt": "not shipped"})
    mini.project.write("deploy.env", "A=1\n")
    assert {"deploy", "reload", "rollback", "setup", "abort", "run", "doctor", "init", "phase.switch"} <= set(CHANGES)
    before = state(mini)
    for name in CHANGES:
        ended = dry(mini, name, "--dry")
        assert "nothing was touched" in ended.err, (name, ended.text)
        assert "Traceback" not in ended.err
        assert ended.exit == (2 if name in REFUSES else 0), (name, ended.text)
        assert REFUSES.get(name, "") in ended.err
    assert state(mini) == before
    assert not (mini.project.path / "pulled.env").exists()


def test_what_dry_tells_is_what_would_be_done(mini: TinySite) -> None:
    """Of which release, and as which; the plan of a deploy is that of fab plan."""
    serving = mini.serving
    mini.deploy()
    next = f"v{int(mini.serving[1:]) + 1}"
    assert dry(mini, "deploy", "--dry").out == mini.expect(0, "plan").out
    told = dry(mini, "reload", "--dry").out
    assert f"{mini.serving} serves; would make {next} with the code and dependencies of {mini.serving}" in told
    assert (
        f"would make {next} with the code, dependencies, environment and units of {serving}"
        in dry(mini, "rollback", "--dry").out
    )
    told = dry(mini, "env.set", "--dry").out
    assert f"{mini.serving} serves; would make a new release of it that sets A" in told
    told = dry(mini, "run", "--dry").out
    assert f"would run in {mini.serving}, as the app: touch /var/lib/mini/ran" in told


def test_a_deploy_is_dry_however_that_is_said(mini: TinySite) -> None:
    """On the command line, before the task or behind it, by a variable, by a file."""
    mini.project.change(files={"new.txt": "not shipped"})
    before = state(mini)
    ways = [dry(mini, "deploy", "-R"), mini.fab("deploy", "--dry")]
    ways += [dry(mini, "deploy", **{name: "1"}) for name in ("FABRIC_RUN_DRY", "INVOKE_RUN_DRY")]
    mini.project.write("fabric.yaml", FABFILE["fabric.yaml"] + "run: {dry: true}\n")
    mini.project.commit("dry")
    for ended in (*ways, dry(mini, "deploy")):
        assert (ended.exit, ended.err) == (0, "dry run: nothing was touched\n")
        assert f"{mini.serving} serves; a deploy makes " in ended.out
    assert state(mini) == before


def test_the_deployer_command_is_dry_too(mini: TinySite) -> None:
    """It has no fabric.yaml, and the same tasks."""
    before = state(mini)
    argv = [str(Path(FAB).with_name("deployer")), *mini.argv("--dry", "deploy")[1:]]
    done = subprocess.run(argv, cwd=mini.project.path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "dry run: nothing was touched\n")
    assert state(mini) == before


def test_a_deploy_that_runs_goes_on_when_its_abort_is_dry(mini: TinySite) -> None:
    """It is named, and ends as it would have ended; a dry deploy meanwhile names it as well."""
    mini.project.change(files={"new.txt": "slow"})
    mini.host.run("rm -f /var/cache/deployer-mini/go")
    mini.configure(build=["until [ -e $HOME/go ]; do sleep 0.1; done"])
    with running(mini, "deploy", "--json") as deploying:
        deploying.until("phase.started", phase="build")
        for name, told in (
            ("abort", "would end what runs"),
            ("deploy", "a deploy by"),
            ("reload", "would be refused now"),
        ):
            ended = dry(mini, name, "--dry")
            assert (ended.exit, ended.err) == (0, "dry run: nothing was touched\n"), name
            assert told in ended.out
        mini.host.run("mkdir -p /var/cache/deployer-mini; touch /var/cache/deployer-mini/go")
        assert deploying.end().exit == 0


@pytest.mark.parametrize("name", ["up", "down", "ssh"])
def test_no_throwaway_host_comes_or_goes(mini: TinySite, name: str) -> None:
    """The hosts on this machine stay what they are, the one of this test among them."""
    words = [] if name == "up" else [mini.host.name]
    argv = [str(Path(FAB).with_name("deployer")), "--dry", "sandbox", name, *words]
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 0, done.stderr
    assert mini.host.is_on()
    assert done.stdout.startswith("would ")
