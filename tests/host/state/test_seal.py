"""Whatever changes in a sealed directory is found, and named."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.host.state import seal
from deployer.host.state.app import Context
from deployer.host.state.content import contents
from deployer.host.state.content.damage import compare_content, damage_of, mark_damaged
from deployer.host.state.content.records import Record
from deployer.host.state.content.store import Store
from deployer.host.state.releases import Release
from deployer.host.system import ownership
from tests.host.simulation.host import SimulatedHost
from tests.host.state.proof import damage

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sealing gives files to root")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    tree = store.begin("a")
    (tree / "pkg").mkdir()
    (tree / "pkg/mod.py").write_text("x = 1\n")
    (tree / "two  blanks.txt").write_text("y")
    (tree / "link").symlink_to("pkg/mod.py")
    ownership.take(store.path("a"), os.getuid())
    store.seal("a", {}, store.examine("a"))
    return store


def test_what_is_as_it_was_sealed(store: Store) -> None:
    """No damage; and bytecode that root's own use has added is none."""
    assert damage_of(store, "a") == ""
    (store.path("a") / "pkg/__pycache__").mkdir()
    (store.path("a") / "pkg/__pycache__/mod.cpython-311.pyc").write_bytes(b"...")
    assert damage_of(store, "a") == ""


def flip(tree: Path) -> None:
    (tree / "pkg/mod.py").write_text("x = 2\n")


def relink(tree: Path) -> None:
    (tree / "link").unlink()
    (tree / "link").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (flip, "pkg/mod.py"),
        (relink, "link"),
        (lambda tree: (tree / "two  blanks.txt").unlink(), "two  blanks.txt"),
        (lambda tree: (tree / "pkg/new.py").write_text(""), "pkg/new.py"),
        (lambda tree: (tree / "pkg/mod.py").chmod(0o755), "pkg/mod.py"),
    ],
    ids=["a byte", "a link", "a file that is gone", "a file that came", "a mode"],
)
def test_a_change_is_named(store: Store, change: Callable[[Path], object], named: str) -> None:
    """By the path of the file, below the directory."""
    change(store.path("a"))
    assert damage_of(store, "a") == f"below {store.path('a')}: {named}"


def test_the_list_of_digests_itself(store: Store) -> None:
    """Changed together with a file, it still does not pass."""
    flip(store.path("a"))
    store.sums_path("a").write_bytes(b"")
    assert damage_of(store, "a") == str(store.sums_path("a"))


def test_a_seal_that_cannot_be_read(store: Store) -> None:
    """Then the directory does not count: it is built anew."""
    store.seal_path("a").write_text("{")
    assert store.record("a") is None
    assert "gone" in damage_of(store, "a")


def rot(path: Path) -> None:
    """Another content, of which the file system says what it did before."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"y")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose digest is taken from now on."""
    read, taken = contents._digest, []

    def noted(path: bytes, top: int, cached: bool) -> str:
        taken.append(os.fsdecode(path))
        return read(path, top, cached)

    monkeypatch.setattr(contents, "_digest", noted)
    return taken


@pytest.mark.parametrize(
    "change",
    [flip, relink, lambda tree: (tree / "two  blanks.txt").unlink(), lambda tree: (tree / "pkg/mod.py").chmod(0o755)],
    ids=["a byte", "a link", "a file that is gone", "a mode"],
)
def test_what_changed_through_the_kernel_shows_without_reading(
    store: Store, change: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the file of which the file system says something else is read."""
    taken = opened(monkeypatch)
    assert damage_of(store, "a", store.seen("a")) == ""
    assert taken == []
    change(store.path("a"))
    assert damage_of(store, "a", store.seen("a")).startswith(f"below {store.path('a')}: ")
    assert {Path(path).name for path in taken} <= {"mod.py"}


def test_what_a_medium_lost_is_found_by_whoever_reads(store: Store) -> None:
    """Nothing else tells of it."""
    rot(store.path("a") / "pkg/mod.py")
    assert damage_of(store, "a", store.seen("a")) == ""
    assert damage_of(store, "a") == f"below {store.path('a')}: pkg/mod.py"


def proven(store: Store) -> bool:
    """As a release is before the switch."""
    found = compare_content(store, "a", store.seen("a"))
    if found.seen is not None and not found.damage:
        store.remember("a", found.seen)
    return not found.damage


def test_a_file_that_was_only_touched_is_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its content decides, and is remembered: the next time it is not read."""
    os.utime(store.path("a") / "pkg/mod.py")
    taken = opened(monkeypatch)
    assert proven(store)
    assert [Path(path).name for path in taken] == ["mod.py"]
    assert proven(store)
    assert len(taken) == 1


def test_what_an_older_version_sealed_is_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It recorded nothing of what the file system says; so it is with content that a backup has brought back."""
    store.files_path("a").unlink()
    taken = opened(monkeypatch)
    assert proven(store)
    assert len(taken) == 2
    assert proven(store)
    assert len(taken) == 2


@pytest.mark.parametrize("text", [b"", b"1 2", b"\0\0", b"  \0", b"\xff" * 100])
def test_a_spoilt_record_of_the_file_system_decides_nothing(store: Store, text: bytes) -> None:
    """The content does, as without one."""
    store.files_path("a").write_bytes(text)
    assert damage_of(store, "a", store.seen("a")) == ""
    rot(store.path("a") / "pkg/mod.py")
    assert damage_of(store, "a", store.seen("a")) == f"below {store.path('a')}: pkg/mod.py"


def test_a_damaged_file_damages_all_that_share_it(store: Store) -> None:
    """Trees may have files in common; another tree's own file is its own. A tree without a seal does not count, and
    damage that is known already stays named."""
    for key in ("b", "c", "d", "e"):
        tree = store.begin(key)
        (tree / "own.txt").write_text(key)
        if key != "c":
            (tree / "pkg").mkdir()
            os.link(store.path("a") / "pkg/mod.py", tree / "pkg/mod.py")
        store.seal(key, {}, store.examine(key))
        store.files_path(key).write_bytes(b"")  # as where a backup has brought both back
    store.seal_path("d").unlink()
    mark_damaged(store, "e", "found before")
    rot(store.path("a") / "pkg/mod.py")
    mark_damaged(store, "a", damage_of(store, "a"))
    told = f"below {store.path('a')}: pkg/mod.py"
    assert [(store.record(key) or {}).get("damaged") for key in "abcde"] == [told, told, None, None, "found before"]


@pytest.mark.parametrize("sums", [True, False])
def test_what_is_read_is_read_from_the_medium(store: Store, sums: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page cache would hide what it has lost: it is dropped first, with the list of digests or without it."""
    if not sums:
        store.sums_path("a").unlink()
    dropped: list[str] = []

    def noted(descriptor: int, start: int, length: int, advice: int) -> None:
        assert (start, length, advice) == (0, 0, os.POSIX_FADV_DONTNEED)
        dropped.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "posix_fadvise", noted)
    assert damage_of(store, "a") == ""
    assert sorted(dropped) == ["mod.py", "two  blanks.txt"]


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Context]:
    """A host on which v1 serves."""
    host = SimulatedHost(tmp_path / "disk")
    host.set_up()
    with host.in_place():
        assert host.deploy(text="one").exit == 0
        yield host.context(lambda *_, **__: None)


def digest_of(directory: Path) -> str:
    """That of all files below a directory, as a seal has it."""
    place = os.fsencode(directory)
    return contents.text_digest(Record(contents.digests(place, contents.listing(place), {})).text)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def units(ctx: Context) -> list[Path]:
    return sorted(ctx.paths.units.glob("shop-*@v1.*"))


def own(ctx: Context) -> list[Path]:
    """The files of v1 that are its alone."""
    return [ctx.paths.release(1) / name for name in ("env", "env.json", "secret.json", "sources.json")]


def shared(ctx: Context, release: Release) -> list[Path]:
    """A file of its code and one of its virtual environment."""
    return [ctx.trees.path(release.tree) / "app.py", ctx.venvs.path(release.venv) / "bin/gunicorn"]


def test_a_seal_has_the_digest_of_every_part(ctx: Context) -> None:
    """Of the code, the virtual environment, the three files of the environment, and each unit; taken again, it is the
    same."""
    release = ctx.catalog.get(1)
    trees, venvs = ctx.paths.trees / release.tree, ctx.paths.venvs / release.venv
    wanted = {
        "tree": digest_of(trees),
        "venv": digest_of(venvs),
        "files": {path.name: digest(path) for path in own(ctx)},
        "units": {path.name: digest(path) for path in units(ctx)},
    }
    assert len(wanted["units"]) > 4
    assert release.sealed == wanted
    assert seal.take(ctx, release, [path.name for path in units(ctx)]) == wanted
    assert seal.take(ctx, replace(release, venv=""), []) == {**wanted, "venv": "", "units": {}}


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_whatever_part_of_a_release_is_not_what_was_sealed_is_named(ctx: Context, how: str) -> None:
    """Each file of it, one after the other; with that file as it was, nothing is wrong."""
    release = ctx.catalog.get(1)
    parts = {path: str(path) for path in (*own(ctx), *units(ctx))}
    for path in shared(ctx, release):
        root = path.parents[len(path.parts) - len(ctx.paths.trees.parts) - 2]
        parts[path] = f"below {root}: {path.relative_to(root)}"
    for path, named in parts.items():
        assert damage(ctx, release) == ""
        before, mode = path.read_bytes(), path.stat().st_mode
        path.write_bytes(before + b"#") if how == "changed" else path.unlink()
        assert damage(ctx, release) == named
        path.write_bytes(before)
        path.chmod(mode)
    assert damage(ctx, release) == ""


def test_another_one_under_the_same_key_is_not_what_was_sealed(ctx: Context) -> None:
    """Whole in itself, with a seal of its own or none: the release was made of something else."""
    release = ctx.catalog.get(1)
    for store, key in ((ctx.trees, release.tree), (ctx.venvs, release.venv)):
        path = store.seal_path(key)
        before = path.read_bytes()
        for text in (b'{"sums": "another"}', b'{"no": "sums"}', None):
            path.write_bytes(text) if text else path.unlink()
            assert damage(ctx, release) == f"{store.path(key)} (another one was built in its place)"
        path.write_bytes(before)
        assert damage(ctx, release) == ""


def test_what_was_sealed_before_there_were_sums_is_what_it_was(ctx: Context) -> None:
    """Nothing is known of its files: neither is it damaged, nor another one."""
    release = ctx.catalog.get(1)
    for store, key in ((ctx.trees, release.tree), (ctx.venvs, release.venv)):
        store.seal_path(key).write_bytes(b'{"no": "sums"}')
    sealed = seal.take(ctx, release, [])
    assert (sealed["tree"], sealed["venv"]) == ("", "")
    assert damage(ctx, replace(release, sealed=sealed)) == ""


def test_without_a_seal_a_release_does_not_count(ctx: Context) -> None:
    """Nothing is known of what it was made of; of a virtual environment that it does not have nothing is looked at."""
    release = ctx.catalog.get(1)
    assert damage(ctx, replace(release, sealed=None)) == "v1 was never sealed"
    assert release.sealed is not None
    assert damage(ctx, replace(release, venv="", sealed={**release.sealed, "venv": ""})) == ""


def test_a_release_that_served_before_is_read_where_it_is_its_own(ctx: Context) -> None:
    """What it shares with what serves is not; nor is what was just built, as long as the file system says the same."""
    release = ctx.catalog.get(1)
    serving = replace(release, number=2, tree="", venv=release.venv)
    rot(ctx.venvs.path(release.venv) / "bin/gunicorn")
    assert damage(ctx, release, seal.Trust(serving)) == ""
    assert damage(ctx, release, seal.Trust(None)) != ""
    rot(ctx.trees.path(release.tree) / "app.py")
    assert "app.py" in damage(ctx, release, seal.Trust(serving))
    assert damage(ctx, release, seal.Trust(serving, {release.tree})) == ""
    mark_damaged(ctx.venvs, release.venv, "found by fab doctor")
    assert "bin/gunicorn" in damage(ctx, release, seal.Trust(serving, {release.tree}))


def test_files_that_are_gone_are_found_whatever_is_trusted(store: Store) -> None:
    """Also when exactly the files that are trusted are left, or none at all."""
    known = store.seen("a")
    (store.path("a") / "link").unlink()
    for recorded in (known, {}):
        for suspect in ((), [b"link"], known.keys()):
            assert compare_content(store, "a", recorded, suspect).damage == f"below {store.path('a')}: link"
    for path in known:
        (store.path("a") / os.fsdecode(path)).unlink(missing_ok=True)
    assert damage_of(store, "a").startswith(f"below {store.path('a')}: ")


def test_a_file_that_was_never_sealed_is_found_though_it_is_recorded(store: Store) -> None:
    """Wherever a proof reads more than the record."""
    (store.path("a") / "new.py").write_text("")
    store.remember("a", contents.listing(os.fsencode(store.path("a"))))
    assert compare_content(store, "a", store.seen("a"), [b"link"]).damage == f"below {store.path('a')}: new.py"


@pytest.fixture
def newer(ctx: Context) -> Release:
    """A release with code of its own: a file is another one, the rest are those of v1."""
    release = ctx.catalog.get(1)
    new, old = ctx.trees.begin("another"), ctx.trees.path(release.tree)
    for path in map(os.fsdecode, ctx.trees.seen(release.tree)):
        (new / path).parent.mkdir(parents=True, exist_ok=True)
        os.link(old / path, new / path)
    (new / "app.py").unlink()
    (new / "app.py").write_text("another\n")
    ctx.trees.seal("another", {}, ctx.trees.examine("another"))
    return replace(release, number=2, tree="another")


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("change", [Path.unlink, rot])
def test_of_an_older_release_its_own_files_are_read(
    change: Callable[[Path], None], built: bool, ctx: Context, newer: Release
) -> None:
    """It is missed when it is gone, though exactly those that are trusted are left. What was just built is not read."""
    release = ctx.catalog.get(1)
    path = ctx.trees.path(release.tree) / "app.py"
    change(path)
    found = damage(ctx, release, seal.Trust(newer, {release.tree} if built else ()))
    assert found == ("" if built and change is rot else f"below {path.parent}: app.py")


def test_only_what_the_record_does_not_say_is_to_be_remembered(
    ctx: Context, newer: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what was read only since it may not be trusted."""
    release, read, taken = ctx.catalog.get(1), seal.Read(), opened(monkeypatch)
    assert list(seal.compare(ctx, release, seal.Trust(newer), read)) == [None] * 3
    assert (taken, read) == (["app.py"], [])
    os.utime(ctx.trees.path(release.tree) / "app.py")
    assert list(seal.compare(ctx, release, seal.Trust(newer), read)) == [None] * 3
    assert read == [(ctx.trees, release.tree, contents.listing(os.fsencode(ctx.trees.path(release.tree))))]
