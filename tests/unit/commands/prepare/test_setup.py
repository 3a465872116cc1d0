"""What `fab setup` finds out on this machine: the public keys, and which Python the project needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer import events
from deployer.cli import task
from deployer.commands.prepare import setup
from deployer.commands.prepare.setup import public_keys
from deployer.config import load
from deployer.errors import ConfigError
from deployer.events import Event
from deployer.fleet.hosts import Fleet
from deployer.remote.site import Site
from deployer.ssh.login.keys import public_blob
from deployer.ssh.options import SshOptions

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{} ada@laptop"


def key(path: Path, name: str) -> Path:
    path.with_name(path.name + ".pub").write_text(KEY.format(name) + "\n")
    return path


def test_a_named_file_is_all_that_counts(tmp_path: Path) -> None:
    """--key names the key of somebody else, or of a CI system: no other is added."""
    own, named = key(tmp_path / "own", "own"), key(tmp_path / "ci", "ci")
    assert public_keys([f"{named}.pub"], [own]) == (KEY.format("ci"),)


def test_the_keys_ssh_would_offer_are_the_default(tmp_path: Path) -> None:
    """Whoever sets up can deploy with the same ssh_config; identities without a public half are passed over."""
    first, second = key(tmp_path / "a", "a"), key(tmp_path / "b", "b")
    assert public_keys([], [first, tmp_path / "missing", second]) == (KEY.format("a"), KEY.format("b"))


def test_the_agents_keys_serve_where_there_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that lives only in the agent, or on a hardware token."""
    monkeypatch.setattr(setup, "_agent_keys", lambda: [KEY.format("agent")])
    assert public_keys([], [tmp_path / "missing"]) == (KEY.format("agent"),)


def test_no_key_at_all_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set-up that would lock the deploy user out is refused."""
    monkeypatch.setattr(setup, "_agent_keys", list)
    with pytest.raises(ConfigError) as caught:
        public_keys([], [])
    assert "ssh-keygen" in str(caught.value.next)


def test_a_private_key_is_never_sent(tmp_path: Path) -> None:
    """A slip of the finger must not put it on a host."""
    private = tmp_path / "id"
    private.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n")
    with pytest.raises(ConfigError):
        public_keys([str(private)], [])


def test_a_comment_may_be_of_any_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file, and of a key in the agent: the key is what counts."""
    line = KEY.format("x").replace("ada", "J\xfcrgen").encode("latin-1") + b"\n"
    (tmp_path / "id.pub").write_bytes(line)
    told = KEY.format("x").replace("ada", "J\ufffdrgen")
    assert public_keys([str(tmp_path / "id.pub")], []) == (told,)
    agent = tmp_path / "ssh-add"
    agent.write_bytes(b"#!/bin/sh\ncat <<'EOF'\n" + line + b"EOF\n")
    agent.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert public_keys([], []) == (told,)
    (tmp_path / "key.pub").write_bytes(b"ssh-ed25519 AAAA J\xfcrgen\n")
    assert public_blob(tmp_path / "key") == bytes(3)


def fleet(root: Path, heard: list[Event], text: str = "", hosts: str = "web1") -> Fleet:
    """The hosts of a command, for the project in ``root``."""
    (root / "deploy.toml").write_text(f'app = "shop"\n{text}')
    config = load(root / "deploy.toml")
    sites = tuple(
        Site(root=root, config=own, target=target, ssh=SshOptions(), report=heard.append)
        for target, own in task._places(config, hosts.split(","))
    )
    return Fleet(sites=sites, config=config, report=heard.append)


def test_the_working_tree_says_which_python_a_host_needs(tmp_path: Path) -> None:
    """Nothing need be committed for that, and no lock need be there yet."""
    heard: list[Event] = []
    (tmp_path / "requirements.txt").write_text("django==6.0\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "shop"\nrequires-python = ">=3.12"\n')
    lock = setup._lock(fleet(tmp_path, heard))
    assert lock is not None and lock.requires == ">=3.12" and heard == []
    (tmp_path / "requirements.txt").unlink()
    lock = setup._lock(fleet(tmp_path, heard))
    assert lock is not None and lock.kind == "none"


def test_a_project_that_cannot_be_read_does_not_keep_a_host_from_being_set_up(tmp_path: Path) -> None:
    """Each host is told that no Python is installed for it, and why."""
    heard: list[Event] = []
    (tmp_path / "uv.lock").write_text("this is not TOML")
    assert setup._lock(fleet(tmp_path, heard, hosts="web1,web2")) is None
    warned = [(event.host, event.text) for event in heard if isinstance(event, events.Warn)]
    assert [host for host, _ in warned] == ["web1", "web2"]
    assert all(text.startswith("which Python the project needs is not known") for _, text in warned)


def test_a_database_on_several_hosts_is_refused_before_anything_is_connected(tmp_path: Path) -> None:
    """Also where -H names them, and deploy.toml does not."""
    several = fleet(tmp_path, [], "[host.postgresql]\n", hosts="web1,web2")
    with pytest.raises(ConfigError, match="is for a single host, and these are 2"):
        setup.setup(several)
    setup.refuse_several(fleet(tmp_path, [], "[host.postgresql]\n"))
