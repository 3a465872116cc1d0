"""What is asked at the terminal while the live view is on: passphrases, and an admin's sudo password."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.screen import ANSI
from tests.support.site import Site
from tests.support.terminal import Terminal

pytestmark = pytest.mark.acceptance

ADMIN = """
(id ada >&2 || useradd -m -s /bin/bash -G sudo ada) && echo ada:hunter2 | chpasswd &&
install -d -m 700 -o ada ~ada/.ssh &&
cat > ~ada/.ssh/authorized_keys
"""


@pytest.fixture
def key(site: Site, tmp_path: Path) -> Iterator[Path]:
    """An encrypted key with which the admin ``ada`` logs in, whom sudo asks for a password."""
    path = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "sesame", "-f", path], check=True)
    site.host.run(ADMIN, input=Path(f"{path}.pub").read_bytes())
    try:
        yield path
    finally:
        site.host.run("userdel -rf ada", check=False)


def argv(site: Site, key: Path, config: Path) -> list[str]:
    """``fab setup`` as ada, with that key alone."""
    shutil.copy(site.host.ssh_config, config)
    config.write_text(f"IdentitiesOnly yes\n{config.read_text()}".replace(str(site.host.identity), str(key)))
    fab = site.argv("setup", user="ada")
    return [*fab[:2], str(config), "-i", str(key), *fab[5:]]


def test_a_person_is_asked_and_the_live_view_waits(site: Site, key: Path, tmp_path: Path) -> None:
    """The question stands on a line of its own, names the host and what is asked, and nothing is drawn over it; what
    was typed is not shown. A wrong answer is asked for again, and the set-up goes on to its end."""
    name = f"ada@{site.host.name}"
    terminal = Terminal(argv(site, key, tmp_path / "config"), site.project.path, SSH_AUTH_SOCK="")
    for question, answer in (
        (f"{name}: passphrase for {key}: ", "wrong"),
        (f"{name}: wrong, once more: passphrase for {key}: ", "sesame"),
        (f"{name}: sudo password of ada: ", "nope"),
        (f"{name}: sudo password of ada (that was not it): ", "hunter2"),
    ):
        terminal.wait_for(question.encode())
        terminal.read_until(lambda: True)
        assert ANSI.sub("", terminal.text).endswith(question), "something was drawn over the question"
        terminal.type(f"{answer}\n")
    assert terminal.end() == 0
    assert "is set up" in terminal.text or "was set up already" in terminal.text
    assert not any(secret in terminal.text for secret in ("sesame", "hunter2", "nope"))


def test_without_a_terminal_nobody_is_asked(site: Site, key: Path, tmp_path: Path) -> None:
    """A pipe ends at once, and the message says what is missing and how to do without it."""
    done = subprocess.run(
        argv(site, key, tmp_path / "config"),
        cwd=site.project.path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        start_new_session=True,
    )
    assert done.returncode == 3
    assert f"{key} is encrypted, and there is no terminal to ask for its passphrase" in done.stderr
    assert "ssh-add" in done.stderr
