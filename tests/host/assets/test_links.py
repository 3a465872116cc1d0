"""Hashed assets on a real disk: linked or copied, never replaced, removed when no release names them."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.host.assets import links
from deployer.host.errors import HostError
from deployer.host.state.app import Context
from deployer.host.state.releases import GOOD, Release
from tests.host.simulation.host import SimulatedHost

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees change hands: that needs root")
HASHED = "css/a.0123456789ab.css"


@pytest.fixture
def told() -> list[dict[str, Any]]:
    """What is emitted."""
    return []


@pytest.fixture
def ctx(tmp_path: Path, told: list[dict[str, Any]]) -> Iterator[Context]:
    """A host on which v1 serves; its clock is far from that of the disk."""
    host = SimulatedHost(tmp_path / "disk")
    host.set_up()
    with host.in_place():
        assert host.deploy(text="one").exit == 0
    yield replace(host.context(lambda name, **fields: told.append({"event": name, **fields})), clock=lambda: 1e12)


def release(ctx: Context, tree: str, files: dict[str, str], manifest: Any = None) -> Release:
    """A release of its own code."""
    static = ctx.trees.path(tree) / "static"
    for name, text in files.items():
        path = static / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    plain = {name: name.rpartition(".0123456789ab") for name in files}
    named = {"paths": {head + end: name for name, (head, _, end) in plain.items()}} if manifest is None else manifest
    static.mkdir(parents=True, exist_ok=True)
    (static / "staticfiles.json").write_text(named if isinstance(named, str) else json.dumps(named))
    return replace(ctx.catalog.get(1), number=9, tree=tree, result=GOOD)


def numbered(ctx: Context, one: Release, number: int) -> Release:
    """The same with a directory of its own."""
    ctx.paths.release(number).mkdir()
    return replace(one, number=number)


def at(ctx: Context, name: str = HASHED) -> Path:
    return ctx.paths.assets / "static" / name


def inside(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_holds_one_compressed_comes_and_goes_with_it(ctx: Context) -> None:
    """Whatever compressed it; a file that holds a plain name stays with the release."""
    files = {HASHED: "one", f"{HASHED}.gz": "gz", f"{HASHED}.br": "br", "plain.css": "", "plain.css.gz": "gz"}
    one = numbered(ctx, release(ctx, "one", files, manifest={"paths": {"css/a.css": HASHED}}), 7)
    assert links.fill(ctx, one) == 1
    css = at(ctx).parent
    assert inside(css) == ["a.0123456789ab.css", "a.0123456789ab.css.br", "a.0123456789ab.css.gz"]
    again = release(
        ctx, "two", {**files, f"{HASHED}.gz": "compressed in another way"}, manifest={"paths": {"css/a.css": HASHED}}
    )
    assert links.fill(ctx, again) == 0
    assert (css / "a.0123456789ab.css.gz").read_text() == "gz"
    links.prune(ctx, [ctx.catalog.get(1), one])
    assert len(inside(css)) == 3
    links.prune(ctx, [ctx.catalog.get(1)], links.names(ctx, one))
    assert not css.exists()


def test_a_compressed_file_alone_is_no_asset(ctx: Context) -> None:
    """What it is to be made from is not there: no browser could get it without."""
    two = release(ctx, "two", {f"{HASHED}.gz": "gz"}, manifest={"paths": {"css/a.css": HASHED}})
    assert links.fill(ctx, two) == 0
    assert not at(ctx, f"{HASHED}.gz").exists()


def test_a_deploy_puts_them_there_and_the_next_keeps_them(ctx: Context) -> None:
    """Under the path of the URL, with the bytes and the inode of the release's file; plain names are not there."""
    (name,) = inside(at(ctx, ""))
    own = ctx.paths.current / "code/static" / name
    assert own.samefile(at(ctx, name))
    two = release(ctx, "two", {HASHED: "two", "plain.css": "plain"})
    assert links.fill(ctx, two) == 1
    assert links.fill(ctx, two) == 0
    assert at(ctx).read_text() == "two"
    assert not at(ctx, "plain.css").exists()
    links.prune(ctx, [ctx.catalog.get(1), two])
    assert inside(at(ctx, "")) == sorted([name, "css"])
    links.prune(ctx, [two])
    assert inside(at(ctx, "")) == ["css"]
    links.prune(ctx, [])
    assert inside(ctx.paths.assets) == []


def test_which_assets_a_release_names_is_read_once(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pruning asks the lists of kept releases, and reads none of their code."""
    two = numbered(ctx, release(ctx, "two", {HASHED: "two"}), 2)
    links.fill(ctx, two)

    def fails(*_: object) -> bytes:
        raise AssertionError("code was read")

    monkeypatch.setattr(links.ownership, "read_below", fails)
    links.prune(ctx, [ctx.catalog.get(1), two])
    assert at(ctx).read_text() == "two"
    links.prune(ctx, [ctx.catalog.get(1)])
    assert not at(ctx).exists()


@pytest.mark.parametrize(
    "text",
    ["", "\0" * 60, "{", "[]", "{}", '{"tree":"other","static":[["/static/","static"]],"names":[]}',
     '{"tree":"two","static":[["/s/","static"]],"names":[]}', '{"tree":"two","static":[["/static/","static"]]}',
     '{"tree":"two","static":[["/static/","static"]],"names":[1]}',
     '{"tree":"two","static":[["/static/","static"]],"names":"a"}'],
)  # fmt: skip
def test_a_list_that_does_not_hold_is_not_believed(ctx: Context, text: str) -> None:
    """A damaged one, one of other code, one made for another site: the code is read, and nothing is removed."""
    two = numbered(ctx, release(ctx, "two", {HASHED: "two"}), 2)
    links.fill(ctx, two)
    assert links.is_filled(ctx, two)
    (ctx.paths.release(2) / "assets.json").write_text(text)
    assert not links.is_filled(ctx, two)
    links.prune(ctx, [two])
    assert at(ctx).read_text() == "two"


def test_what_is_synced_are_the_assets_and_not_the_list(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list follows from the code: a power cut may take it."""
    synced, fsync = [], os.fsync

    def note(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    links.fill(ctx, numbered(ctx, release(ctx, "two", {HASHED: "two"}), 2))
    assert str(at(ctx).parent) in synced
    assert not [path for path in synced if path.startswith(str(ctx.paths.release(2)))]


def test_a_release_without_a_list_is_read(ctx: Context) -> None:
    """An earlier version wrote none, and a power cut may have taken it."""
    two = numbered(ctx, release(ctx, "two", {HASHED: "two"}), 2)
    links.fill(ctx, two)
    (ctx.paths.release(2) / "assets.json").unlink()
    assert not links.is_filled(ctx, two)
    links.prune(ctx, [two])
    assert at(ctx).read_text() == "two"


def test_the_same_name_with_the_same_bytes_and_with_others(ctx: Context) -> None:
    """The first is fine; the second is refused, names the file, and what is there stays as it is."""
    links.fill(ctx, release(ctx, "two", {HASHED: "two"}))
    assert links.fill(ctx, release(ctx, "three", {HASHED: "two"})) == 0
    with pytest.raises(HostError, match=f"static/{HASHED} has a name for one content alone") as caught:
        links.fill(ctx, release(ctx, "four", {HASHED: "TWO"}))
    assert str(at(ctx)) in caught.value.logs[0]
    assert "hash of the content" in str(caught.value.next)
    assert at(ctx).read_text() == "two"


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EMLINK])
def test_where_no_link_can_be_made(ctx: Context, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """On another file system, and with too many links, it is a copy that nobody can write to."""

    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", fails)
    two = release(ctx, "two", {HASHED: "two"})
    assert (links.fill(ctx, two), links.fill(ctx, two)) == (1, 0)
    assert at(ctx).read_text() == "two"
    assert at(ctx).stat().st_mode & 0o777 == 0o444
    assert list(links.temporary_files(ctx)) == []


def test_a_copy_that_was_cut_off(ctx: Context) -> None:
    """Its temporary file is found, and is no asset."""
    links.fill(ctx, release(ctx, "two", {HASHED: "two"}))
    left = at(ctx, "css/.a.css.tmp")
    left.write_text("tw")
    assert list(links.temporary_files(ctx)) == [left]


def test_links_in_the_code_are_not_followed(ctx: Context, tmp_path: Path) -> None:
    """Neither as a file, nor as a directory on the way, nor as the manifest, nor as the static directory."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/a.0123456789ab.css").write_text("secret")
    paths = {name: name.replace(".css", ".0123456789ab.css") for name in ("a.css", "in/a.css")}
    paths = {"paths": paths}  # type: ignore[assignment]
    one = release(ctx, "two", {}, paths)
    static = ctx.trees.path("two") / "static"
    (static / "a.0123456789ab.css").symlink_to(tmp_path / "secret/a.0123456789ab.css")
    (static / "in").symlink_to(tmp_path / "secret")
    assert links.fill(ctx, one) == 0
    (static / "staticfiles.json").rename(tmp_path / "manifest")
    (static / "staticfiles.json").symlink_to(tmp_path / "manifest")
    assert links.names(ctx, one) == set()
    other = release(ctx, "three", {HASHED: "three"})
    (ctx.trees.path("three") / "static").rename(tmp_path / "static")
    (ctx.trees.path("three") / "static").symlink_to(tmp_path / "static")
    assert links.names(ctx, other) == set()


def test_a_manifest_that_is_no_json(ctx: Context, told: list[dict[str, Any]]) -> None:
    """It is told, once, and keeps no release from being deployed."""
    broken = release(ctx, "two", {}, "{")
    assert links.fill(ctx, broken) == 0
    links.prune(ctx, [broken])
    (event,) = told
    assert "static/staticfiles.json cannot be read" in event["text"]


def test_a_manifest_that_cannot_be_read_removes_nothing(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk error is no reason to take a file from a page."""
    two = release(ctx, "two", {HASHED: "two"})
    links.fill(ctx, two)

    def fails(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(links.ownership, "read_below", fails)
    with pytest.raises(OSError, match="Input/output"):
        links.prune(ctx, [two])
    assert at(ctx).exists()


def test_a_file_where_a_directory_must_be(ctx: Context) -> None:
    """The error names it, and how to make room."""
    links.fill(ctx, release(ctx, "two", {"a.0123456789ab": "two"}))
    with pytest.raises(HostError, match="would have to be a directory") as caught:
        links.fill(ctx, release(ctx, "three", {"a.0123456789ab/b.0123456789ab.css": "b"}))
    assert f"rm {at(ctx, 'a.0123456789ab')}" in str(caught.value.next)


def test_what_was_rolled_back_a_moment_ago_stays_for_its_pages(ctx: Context) -> None:
    """For an hour after its code is gone; what never served goes at once."""
    now = replace(ctx, clock=lambda: at(ctx).stat().st_ctime + 60)
    links.fill(ctx, release(ctx, "two", {HASHED: "two"}))
    links.prune(now, [])
    assert at(ctx).exists()
    links.prune(now, [], {f"static/{HASHED}"})
    assert not at(ctx).exists()


def test_a_failed_release_takes_its_assets_with_it(ctx: Context) -> None:
    """Those of what serves stay."""
    host = SimulatedHost(ctx.paths.root)
    with host.in_place():
        before = inside(at(ctx, ""))
        assert host.deploy(build=["false"]).exit == 5
        assert inside(at(ctx, "")) == before
