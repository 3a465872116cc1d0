"""Links in the place of what the app writes: whatever a build left there, and whatever a tree holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployer.host.build.code.shared import link, prepare
from deployer.host.errors import HostError
from deployer.wire.release.shared import SEEDS, Shared
from deployer.wire.release.spec import Spec
from tests.host.asking import SPEC

MEDIA = Shared("site/media", "media", directory=True)
DATABASE = Shared("db.sqlite3", "data/db.sqlite3", directory=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Code with nothing at the shared paths, and a link that leads out of it."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "tree/out").symlink_to(tmp_path / "outside")
    return tmp_path / "tree"


def test_a_build_finds_directories_and_a_release_links(tree: Path, tmp_path: Path) -> None:
    """A directory is there, empty, for the build; afterwards both are links, and what the build wrote is kept."""
    prepare(tree, [MEDIA, DATABASE])
    assert list((tree / "site/media").iterdir()) == []
    (tree / "site/media/a.png").write_text("a")
    (tree / "db.sqlite3").write_text("of a build")
    link(tree, tmp_path / "state", [MEDIA, DATABASE])
    assert (tree / "site/media").readlink() == tmp_path / "state/media"
    assert (tree / "db.sqlite3").readlink() == tmp_path / "state/data/db.sqlite3"
    assert (tree / SEEDS / "media/a.png").read_text() == "a"


def test_what_a_build_removed_is_linked_all_the_same(tree: Path, tmp_path: Path) -> None:
    """The directories above it are made again."""
    prepare(tree, [MEDIA])
    (tree / "site/media").rmdir()
    (tree / "site").rmdir()
    link(tree, tmp_path / "state", [MEDIA])
    assert (tree / "site/media").is_symlink()


@pytest.mark.parametrize("step", ["prepare", "link"])
def test_no_link_of_the_code_is_followed(tree: Path, tmp_path: Path, step: str) -> None:
    """Root would write outside the tree; it is refused with the key, and nothing is written there."""
    away = [Shared("out/media", "media", directory=True)]
    with pytest.raises(HostError, match=r"out/media/, which .release. shared in deploy.toml names"):
        prepare(tree, away) if step == "prepare" else link(tree, tmp_path / "state", away)
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_file_is_no_directory(tree: Path, tmp_path: Path) -> None:
    """The reverse neither: the message says what to write."""
    (tree / "media").write_text("x")
    with pytest.raises(HostError, match="media is a file in the code"):
        link(tree, tmp_path, [Shared("media", "media", directory=True)])
    (tree / "db").mkdir()
    with pytest.raises(HostError, match="db is a directory in the code"):
        link(tree, tmp_path, [Shared("db", "db", directory=False)])


@pytest.mark.parametrize(
    "value",
    [
        "media", [1], [{"path": "a"}],
        *([{"path": path, "target": "m", "directory": True}] for path in ("../x", "/etc", "a/", ".git/x", SEEDS)),
        *([{"path": "m", "target": place, "directory": True}] for place in ("../x", "/etc", "", "a" * 256)),
        [{"path": "a", "target": "m", "directory": True}, {"path": "a/b", "target": "n", "directory": True}],
        [{"path": "a", "target": "m", "directory": True}, {"path": "b", "target": "m", "directory": False}],
        [{"path": "a", "target": "m", "directory": True}, {"path": "b", "target": "m/b", "directory": False}],
        [{"path": f"a{one}", "target": f"m{one}", "directory": True} for one in range(65)],
    ],
)  # fmt: skip
def test_what_no_laptop_sends(value: Any) -> None:
    """Root makes links of it."""
    with pytest.raises(ValueError, match="shared"):
        Spec.parse({**SPEC, "shared": value})


def test_records_from_before_have_none() -> None:
    """A release that was made then can be rolled back to."""
    assert Spec.parse(SPEC).shared == ()
