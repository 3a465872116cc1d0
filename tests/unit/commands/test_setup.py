"""Which public keys `fab setup` gives to the deploy user."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.commands import setup
from deployer.commands.setup import public_keys
from deployer.errors import ConfigError
from deployer.ssh.login.keys import public_blob

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
