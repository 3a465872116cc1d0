"""What goes into images and hosts, and how it gets there."""

from __future__ import annotations

import io
import tarfile
import threading
from pathlib import Path

import pytest

from deployer.sandbox.backends import image, mounts
from deployer.sandbox.contents.content import PACKAGES, HostIdentity, host_files, recipe_digest
from deployer.sandbox.contents.files import File, as_tar, write_into
from deployer.sandbox.errors import SandboxCommandError, SandboxError
from deployer.sandbox.machine.commands import run


def identity() -> HostIdentity:
    return HostIdentity(
        name="box1",
        listen="127.0.10.1",
        host_key=b"private",
        host_key_public=b"public",
        authorized_key=b"authorized",
    )


def test_a_host_binds_its_own_address_only() -> None:
    """sshd listens on the host's address, because hosts share the machine's network."""
    files = {file.path: file for file in host_files(identity())}
    assert b"ListenAddress 127.0.10.1\n" in files["/etc/ssh/sshd_config.d/00-sandbox.conf"].content
    assert files["/etc/deployer-sandbox-address"].content == b"127.0.10.1\n"
    assert files["/etc/hostname"].content == b"box1\n"


def test_private_files_are_private() -> None:
    """The host key and the authorized keys are root's alone."""
    modes = {file.path: file.mode for file in host_files(identity())}
    assert modes["/etc/ssh/ssh_host_ed25519_key"] == 0o600
    assert modes["/root/.ssh/authorized_keys"] == 0o600


def test_every_host_is_another_machine() -> None:
    """Machine ids are never empty (that would be a first boot, which enables every unit) and never shared."""
    ids = [{file.path: file.content for file in host_files(identity())}["/etc/machine-id"] for _ in range(2)]
    assert [len(text) for text in ids] == [33, 33]
    assert ids[0] != ids[1]


def test_an_image_is_keyed_by_all_that_shapes_it() -> None:
    """Another distribution or another trust store is another image; the same recipe is the same one."""
    digest = recipe_digest("bookworm", "bundle")
    assert digest == recipe_digest("bookworm", "bundle")
    assert len({digest, recipe_digest("trixie", "bundle"), recipe_digest("bookworm", "other")}) == 3


def test_mmdebstrap_is_asked_for_every_package() -> None:
    """The image holds what hosts are promised to have."""
    command = image.mmdebstrap_command("trixie", Path("/target"))
    assert command[-2:] == ["trixie", "/target"]
    assert f"--include={','.join(PACKAGES)}" in command


def test_a_failed_build_leaves_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a half-made tree nor its temporary one stays when mmdebstrap fails."""

    def fail(argv: list[str], **_: object) -> None:
        Path(argv[-1]).mkdir()
        raise SandboxError("no mirror")

    monkeypatch.setattr(image, "run_long", fail)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/mmdebstrap")
    with pytest.raises(SandboxError, match="no mirror"):
        image.ensure_tree(tmp_path, "bookworm", environment={}, progress=lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["bookworm.lock"]


def test_two_builders_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes second waits for the first one's image, and clears what a killed builder left."""
    built = []

    def build(tree: Path, *_: object) -> None:
        built.append(tree)
        tree.mkdir()

    monkeypatch.setattr(image, "_build", build)
    leftover = tmp_path / ".bookworm-0123.4567"
    leftover.mkdir()

    def ensure() -> None:
        image.ensure_tree(tmp_path, "bookworm", environment={}, progress=lambda _: None)

    threads = [threading.Thread(target=ensure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(built) == 1
    assert not leftover.exists()


def test_a_missing_mmdebstrap_is_answered_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lacks the tool is told what to install."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(SandboxError, match="apt-get install mmdebstrap"):
        image.ensure_tree(tmp_path, "bookworm", environment={}, progress=lambda _: None)


def test_files_never_follow_a_link_out_of_the_root(tmp_path: Path) -> None:
    """A link in the image that points to this machine's own file is replaced, not written through."""
    outside = tmp_path / "outside"
    outside.write_text("ours")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/file").symlink_to(outside)
    write_into(root, [File(path="/etc/file", content=b"theirs", mode=0o640)])
    assert outside.read_text() == "ours"
    assert (root / "etc/file").read_bytes() == b"theirs"
    assert (root / "etc/file").stat().st_mode & 0o777 == 0o640


def test_a_tar_holds_the_same_files() -> None:
    """Content, mode and root's ownership arrive, by relative paths."""
    stream = as_tar([File(path="/etc/file", content=b"text", mode=0o600)])
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        member = archive.getmember("etc/file")
        content = archive.extractfile(member)
        assert content is not None
        assert (content.read(), member.mode, member.uid) == (b"text", 0o600, 0)


def test_mounts_are_found_the_deepest_first() -> None:
    """What is mounted at or below a directory is found, its neighbours are not, and spaces survive."""
    table = (
        "1 0 0:1 / / rw - ext4 /dev/a rw\n"
        "2 1 0:2 / /hosts/box1/merged rw - overlay overlay rw\n"
        "3 2 0:3 / /hosts/box1/merged/a\\040b rw - tmpfs tmpfs rw\n"
        "4 1 0:4 / /hosts/box10/merged rw - overlay overlay rw\n"
    )
    found = mounts.parse_mountinfo(table, Path("/hosts/box1"))
    assert found == [Path("/hosts/box1/merged/a b"), Path("/hosts/box1/merged")]


def test_commands_fail_with_words() -> None:
    """A missing program, a failure and a time-out each become one clear error."""
    with pytest.raises(SandboxError, match="'no-such-program' is not installed"):
        run(["no-such-program"])
    with pytest.raises(SandboxError, match=r"status 3[\s\S]*why it failed"):
        run(["sh", "-c", "echo why it failed >&2; exit 3"])
    with pytest.raises(SandboxError, match=r"within 0\.1 s"):
        run(["sleep", "10"], timeout=0.1)


def test_an_error_says_what_state_and_what_next() -> None:
    """Every part of an error is shown, the console's last lines too."""
    error = SandboxError("It broke.", state="Nothing is left.", hint="deployer sandbox up", console="a\nb")
    shown = str(error).splitlines()
    assert shown[0] == "It broke."
    assert shown[-2:] == ["Nothing is left.", "Next: deployer sandbox up"]
    assert "  b" in shown
    failed = SandboxCommandError("`x` failed.", returncode=1, stdout="", stderr="the reason\n")
    assert "the reason" in str(failed)
