"""Each way in which a host does not let us in, or does not start our program, is told as what it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from deployer.sandbox import SandboxHost, up
from tests.support.tiny import TinySite, make_tiny

pytestmark = pytest.mark.acceptance

SSHD = "/etc/ssh/sshd_config.d/00-test.conf"
RC = "/home/deploy/.bashrc"
cause = pytest.mark.cause


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinySite]:
    """A host of this module's own, set up for a tiny app: its sshd and its accounts are changed."""
    with up(distribution="bookworm") as host:
        site = make_tiny(host, tmp_path_factory.mktemp("connect") / "mini")
        site.expect(0, "setup", user="root")
        host.run(f"touch {RC}; cp {RC} /root/bashrc; getent passwd deploy | cut -d: -f7 > /root/shell")
        yield site


@contextmanager
def changed(host: SandboxHost, do: str, undo: str) -> Iterator[None]:
    host.run(do)
    try:
        yield
    finally:
        host.run(undo)


def refused(site: TinySite, exit: int, *arguments: str) -> dict[str, Any]:
    ended = site.fab(*(arguments or ("status",)), "--json")
    assert ended.exit == exit, ended.text
    assert "Traceback" not in ended.err
    failed = ended.event("failed")
    assert failed["state"] == "nothing was touched"
    return failed


def sshd(lines: str) -> tuple[str, str]:
    text = f"Match User deploy\\n{lines}\\n"
    return f"printf '{text}' > {SSHD} && sshd -t && systemctl reload ssh", f"rm {SSHD}; systemctl reload ssh"


def login(script: str) -> tuple[str, str]:
    """What the deploy user's shell runs at each login; bash reads it though it is not interactive."""
    return (
        f"cat > {RC} <<'END'\n{script}\nEND\nchsh -s /bin/bash deploy",
        f"cp /root/bashrc {RC}; chsh -s $(cat /root/shell) deploy",
    )


@pytest.mark.parametrize(
    "script",
    [
        "printf 'loading… '",
        "printf '\\033]0;title\\007'",
        "printf '\\377\\000\\001 {\"event\": '",
        "echo '{\"level\": \"info\"}'; printf '{}'",
        "head -c 1000000 /dev/urandom",
        "yes 2>/dev/null | head -c 1000000",
    ],
    ids=["no newline", "title", "bytes", "JSON", "binary megabyte", "lines megabyte"],
)
def test_what_a_login_prints_is_skipped(mini: TinySite, script: str) -> None:
    """Noise before our program, with or without an end of line, of any bytes: the answer is found behind it."""
    with changed(mini.host, *login(script)):
        mini.expect(0, "status")


def away(*paths: str) -> tuple[str, str]:
    """What is moved out of the way, and back."""
    return "; ".join(f"mv {path} {path}-gone" for path in paths), "; ".join(f"mv {path}-gone {path}" for path in paths)


def both(*parts: tuple[str, str]) -> tuple[str, str]:
    return "; ".join(do for do, _ in parts), "; ".join(undo for _, undo in parts)


SUDOERS, SETTINGS = "/etc/sudoers.d/deployer-mini", "/etc/deployer/mini.json"
LAUNCHER = "/usr/local/lib/deployer/deployer-host"
CODE = "AuthenticationMethods publickey,keyboard-interactive\\n  KbdInteractiveAuthentication yes"
TTY = (  # setup exempts its own program: here an admin has taken that out
    f"cp -p {SUDOERS} /root/sudoers; sed -i '/^Defaults/d' {SUDOERS}; echo 'Defaults requiretty' > /etc/sudoers.d/tty",
    f"cp -p /root/sudoers {SUDOERS}; rm /etc/sudoers.d/tty",
)
ADA = (f'sed -i \'s/"deploy"/"ada"/\' {SETTINGS}', f'sed -i \'s/"ada"/"deploy"/\' {SETTINGS}')
BROKEN = f"printf '#!/usr/bin/python3\\nimport nothing\\n' > {LAUNCHER} && chmod 755 {LAUNCHER}"
NO_SUDOERS = (f"mv {SUDOERS} /root/", f"mv /root/deployer-mini {SUDOERS}")

CASES = [
    pytest.param(login("yes"), 3, "does not end", marks=cause("login-noise")),
    pytest.param(sshd("  ForceCommand echo only git"), 3, "it said: only git", marks=cause("other-command")),
    pytest.param(("chage -d 0 deploy", "chage -d -1 deploy"), 3, "expired", marks=cause("other-command")),
    pytest.param(TTY, 2, "requiretty", marks=cause("needs-terminal")),
    pytest.param(sshd("  AuthorizedKeysFile /etc/keys/%u"), 3, "tried: ", marks=cause("key-refused")),
    pytest.param(sshd(f"  {CODE}"), 3, "asks for more: keyboard-interactive", marks=cause("second-factor")),
    pytest.param(sshd("  PasswordAuthentication yes\\n  PubkeyAuthentication no"), 3, "it takes password only",
                 marks=cause("password-only")),
    pytest.param(("chage -E 1 deploy", "chage -E -1 deploy"), 3, "has expired", marks=cause("login-closed")),
    pytest.param(away("/usr/bin/sudo"), 2, "has no sudo", marks=cause("no-sudo")),
    pytest.param(away("/usr/bin/python3"), 2, "no /usr/bin/python3", marks=cause("no-python")),
    pytest.param(away("/usr/local/lib/deployer"), 2, "never set up", marks=cause("not-set-up")),
    pytest.param(both(away(SETTINGS), NO_SUDOERS), 2, "not set up for this app", marks=cause("not-this-app")),
    pytest.param(both(ADA, NO_SUDOERS), 2, "set up for ada", marks=cause("not-this-user")),
    pytest.param(NO_SUDOERS, 2, "sudo refuses; it said: sudo:", marks=cause("sudo-refuses")),
    pytest.param(both((f"cp {LAUNCHER} /root/", f"mv /root/deployer-host {LAUNCHER}"), (BROKEN, ":")), 2,
                 "ends at once", marks=cause("program-damaged")),
]  # fmt: skip


@pytest.mark.parametrize(("change", "exit", "words"), CASES)
def test_a_cause_is_told_as_what_it_is(mini: TinySite, change: tuple[str, str], exit: int, words: str) -> None:
    """The message says what was observed, in the host's words where it has some; then what to type."""
    with changed(mini.host, *change):
        failed = refused(mini, exit)
    assert words in " ".join([failed["message"], *failed["logs"]])
    assert failed["commands"]
    mini.expect(0, "status")
