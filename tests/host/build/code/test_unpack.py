"""Making a tree out of a base and a delta: exactly what was announced, or nothing outside the destination."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.host.build import hardlinks
from deployer.host.build.code import unpack
from deployer.host.build.code.altered import altered
from deployer.host.build.code.delta import parse_delta
from deployer.host.build.code.unpack import Base, Mismatch, apply, merge
from deployer.host.state.content import contents
from deployer.project.files import Collection
from deployer.project.source import Source, finish
from deployer.release.delta import Upload, make_delta
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import EXECUTABLE, FILE, LINK, Delta, Entry, directories_of

RAW = (b"\0GITCRYPT\0", b"version https://")
"""How the files begin that a laptop refuses to send (:mod:`deployer.project.filters`)."""
KINDS = {0o644: FILE, 0o755: EXECUTABLE}
NONE = Entries(())
Tree = dict[str, tuple[str, bytes]]
"""Path → kind and content (of a link: its target)."""


def source_of(tree: Tree) -> Source:
    """A source with these files."""
    collection = Collection(Path("/nowhere"))
    for path, (kind, content) in tree.items():
        if kind == LINK:
            collection.add_link(path, content.decode())
        else:
            collection.add_file(path, io.BytesIO(content), executable=kind == EXECUTABLE)
    return finish(collection, Path("/nowhere"), commit="", dirty=True, warnings=[])


def read_tree(root: Path) -> Tree:
    """What a directory holds; modes other than those a release has become a kind of their own."""
    tree: Tree = {}
    for path in sorted(root.rglob("*")):
        name, mode = path.relative_to(root).as_posix(), stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            tree[name] = (LINK, os.fsencode(path.readlink()))
        elif path.is_dir():
            assert mode == 0o755, f"{name} has mode {mode:o}"
        else:
            tree[name] = (KINDS.get(mode, f"{mode:o}"), path.read_bytes())
    return tree


class Host:
    """A directory of trees, as a host has it."""

    def __init__(self, root: Path, how: str) -> None:
        self.root = root
        self.made = 0
        self.shares, self.clones = how != COPIES, how == CLONES

    def apply(self, delta: Delta, body: bytes, base: Path | None = None, entries: Entries = NONE) -> Path:
        """Build a tree from a body; its directory."""
        self.made += 1
        place = self.root / f"tree{self.made}"
        place.mkdir()
        (self.root / "body").write_bytes(body)
        wire = parse_delta(json.loads(json.dumps(delta.as_json())))
        known = Base(str(base), entries, shares=self.shares) if base else None
        merged = merge(wire, known)
        cloned = known is not None and self.clones
        if cloned:
            hardlinks.share(str(base), str(place), entries, (), modules=True)
        apply(wire, str(self.root / "body"), known, merged, str(place), cloned=cloned)
        made = merged.entries
        assert made == Entries.of(made) and made.digest == delta.digest
        self.check(place, made)
        return place

    def check(self, place: Path, made: Entries) -> None:
        """What links are is compared when the tree is sealed."""
        where = os.fsencode(place)
        seen = contents.listing(where)
        changed = altered(contents.digests(where, seen, {}), made)
        if self.shares and changed:
            raise Mismatch("changed", *changed)

    def upload(self, upload: Upload, base: Path | None = None, entries: Entries = NONE) -> Path:
        return self.apply(upload.delta, upload.open_at().read(), base, entries)


COPIES, LINKS, CLONES = "copies", "links", "clones"


@pytest.fixture(params=[COPIES, LINKS, CLONES])
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Host:
    """A host without trees."""
    return Host(tmp_path, request.param)


parts = st.sampled_from(["a", "b", "c d", "it's", 'q"q', "$(id)", "100%", "new\u2028line", "ñ", "-rf", ";x", "*"])
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)
any_content = st.binary(max_size=200).filter(lambda content: not content.startswith(RAW))
files = st.tuples(st.sampled_from([FILE, EXECUTABLE]), any_content)
links = st.tuples(st.just(LINK), parts.map(str.encode))


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Small trees in which no file or link is a directory of another."""
    chosen: Tree = {}
    for path, content in draw(st.dictionaries(paths, files | links, min_size=1, max_size=8)).items():
        related = (path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in chosen)
        if not any(related):
            chosen[path] = content
    return chosen


@settings(max_examples=150, deadline=None)
@given(base=trees(), want=trees(), cut=st.floats(0, 1), how=st.sampled_from([COPIES, LINKS, CLONES]))
def test_any_tree_becomes_any_other(base: Tree, want: Tree, cut: float, how: str) -> None:
    """Content, modes and links are exactly those wanted, also when the upload broke off and was resumed."""
    with tempfile.TemporaryDirectory() as directory:
        host = Host(Path(directory), how)
        have = source_of(base)
        base_dir = host.upload(make_delta(have))
        assert read_tree(base_dir) == dict(sorted(base.items()))
        first, again = (make_delta(source_of(want), have.digest, have.entries.ids) for _ in range(2))
        offset = int(cut * first.delta.length)
        body = first.open_at().read(offset) + again.open_at(offset).read()
        made = host.apply(again.delta, body, base_dir, have.entries)
        assert read_tree(made) == dict(sorted(want.items()))
        kept = [path for path in base if want.get(path) == base[path]]
        shared = [path for path in kept if os.path.samestat(*((one / path).lstat() for one in (base_dir, made)))]
        assert shared == (kept if host.shares else [])
        inner = {path.relative_to(made).as_posix() for path in made.rglob("*") if stat.S_ISDIR(path.lstat().st_mode)}
        assert inner == directories_of(want), "an empty directory is left"


def test_an_unchanged_tree_needs_no_contents(host: Host) -> None:
    """Against itself a tree has nothing to add, and is copied whole."""
    tree = {"a": (FILE, b"1"), "d/b": (EXECUTABLE, b"2"), "l": (LINK, b"a")}
    source = source_of(tree)
    base = host.upload(make_delta(source))
    upload = make_delta(source, source.digest, [entry.id for entry in source.entries])
    assert (upload.delta.add, upload.delta.drop) == ((), ())
    assert read_tree(host.upload(upload, base, source.entries)) == tree


def test_modes_do_not_depend_on_the_umask(host: Host) -> None:
    """Files and directories get their modes under any umask."""
    before = os.umask(0o077)
    try:
        place = host.upload(make_delta(source_of({"d/e/f": (FILE, b""), "d/x": (EXECUTABLE, b"")})))
    finally:
        os.umask(before)
    assert read_tree(place) == {"d/e/f": (FILE, b""), "d/x": (EXECUTABLE, b"")}


def test_names_with_newlines_are_refused() -> None:
    """A newline in a name, which tree digests and listings could misread, is refused on arrival."""
    with pytest.raises(ValueError, match="not a path"):
        parse_delta(message([entry("a\nb")]))


def entry(path: str, content: bytes = b"x", kind: str = FILE, size: int | None = None) -> Entry:
    """An entry that tells the truth about its content, except where asked not to."""
    return Entry(path, kind, len(content) if size is None else size, hashlib.sha256(content).hexdigest())


def forged(
    entries: list[Entry], contents: bytes, base: tuple[Entry, ...] = (), **changes: object
) -> tuple[Delta, bytes]:
    """A delta with a body that fits it, whatever the entries say."""
    body = zlib.compress(contents)
    digest = hashlib.sha256(body).hexdigest()
    delta = Delta(Entries.of([*base, *entries]).digest, "", (), tuple(entries), digest, len(body))
    return replace(delta, **changes), body  # type: ignore[arg-type]


def message(entries: list[Entry], **changes: object) -> dict[str, object]:
    """A delta as it comes over the wire, with values of an attacker's choice."""
    return {**forged(entries, b"")[0].as_json(), **changes}


EVIL = [
    "../x",
    "/x",
    "a/../../x",
    "a//b",
    "./a",
    "a/.",
    "",
    "..",
    "a/",
    "nul\0",
    "a" * 256,
    "\ud800",
    "a/" * 600 + "b",
]


@pytest.mark.parametrize("path", EVIL)
def test_evil_paths_are_refused(path: str) -> None:
    """Paths that lead out of the tree, or that no file system holds, do not pass the parser."""
    item = [path, FILE, 1, "0" * 64]
    with pytest.raises(ValueError):
        parse_delta({**message([]), "add": [item]})


@pytest.mark.parametrize("path", EVIL[:9])
def test_evil_paths_are_refused_by_apply_too(host: Host, path: str) -> None:
    """A delta that did not pass the parser is refused all the same, and nothing is written."""
    delta, body = forged([entry(path)], b"x")
    before = snapshot(host)
    (host.root / "d").mkdir()
    (host.root / "body").write_bytes(body)
    with pytest.raises(ValueError):
        merge(delta, None)
    (host.root / "body").unlink()
    assert snapshot(host) == [*before, "d"]


def snapshot(host: Host) -> list[str]:
    """All that exists on the host."""
    return sorted(str(path.relative_to(host.root)) for path in host.root.rglob("*"))


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "x"}, {"digest": "A" * 64}, {"digest": None}, {"base": "x"},
        {"base": None}, {"base": "0" * 64 + "\n"},
        {"drop": "AAAA"}, {"drop": "*"}, {"drop": 3}, {"add": {}}, {"add": ["x"]}, {"add": [[]]},
        {"body": ""},
        {"length": -1}, {"length": True}, {"length": 1.0}, {"length": "1"}, {"length": 1 << 62}, {"more": 1},
        {"add": [["a", "f", -1, "0" * 64]]}, {"add": [["a", "f", True, "0" * 64]]},
        {"add": [["a", "d", 1, "0" * 64]]},
        {"add": [["a", "f", 1, "x"]]}, {"add": [[1, "f", 1, "0" * 64]]},
        {"add": [["a", "f", 1, "0" * 64, 1]]},
        {"add": [["a", "l", 0, "0" * 64]]}, {"add": [["a", "l", 4096, "0" * 64]]},
        {"add": [["a", "f", 1, "0" * 64], ["a", "f", 1, "0" * 64]]},
        {"add": [["a", "l", 1, "0" * 64], ["a/b", "f", 1, "0" * 64]]},
    ],
)  # fmt: skip
def test_malformed_deltas_are_refused(change: dict[str, object]) -> None:
    """Each wrong type, range or shape in untrusted JSON is a ValueError."""
    parse_delta(message([]))
    with pytest.raises(ValueError):
        parse_delta({**message([]), **change})


@pytest.mark.parametrize("value", [None, [], "x", {}, 3])
def test_what_is_no_delta_is_refused(value: object) -> None:
    """A JSON value that is no delta at all is a ValueError."""
    with pytest.raises(ValueError):
        parse_delta(value)


def refused(host: Host, delta: Delta, body: bytes, **options: object) -> Mismatch | ValueError:
    """The error of a delta that must be refused; what lies outside of the destination is as before."""
    outside = host.root / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "file").write_text("untouched")
    with pytest.raises(ValueError) as caught:
        host.apply(delta, body, **options)  # type: ignore[arg-type]
    assert read_tree(outside) == {"file": (FILE, b"untouched")}
    assert all(path.name in ("outside", "body") or path.name.startswith("tree") for path in host.root.iterdir())
    return caught.value


def test_no_file_is_written_through_a_link(host: Host) -> None:
    """A link and a file below it cannot be in one tree, whether both are new or the link is the base's."""
    link, below = entry("d", b"../outside", LINK), entry("d/evil", b"x")
    base = host.upload(make_delta(source_of({"d": (LINK, b"a"), "a/f": (FILE, b"")})))
    delta, body = forged([link, below], b"../outsidex")
    assert "is below 'd'" in str(refused(host, replace(delta, add=(link, below)), body))
    have = source_of({"d": (LINK, b"a"), "a/f": (FILE, b"")}).entries
    delta, body = forged([below], b"x", base=have)
    assert "is below 'd'" in str(refused(host, delta, body, base=base, entries=have))


def test_links_may_point_anywhere_but_are_never_followed(host: Host) -> None:
    """A link that leads out is made as a link, after all files."""
    delta, body = forged([entry("a", b"../outside/file", LINK), entry("b", b"x")], b"../outside/filex")
    assert read_tree(host.apply(delta, body)) == {"a": (LINK, b"../outside/file"), "b": (FILE, b"x")}


def test_sizes_that_lie_are_refused(host: Host) -> None:
    """A content longer or shorter than announced is refused, and a bomb writes no more than was announced."""
    for size in (0, 1, 9, 11, 1 << 40):
        delta, body = forged([entry("f", b"0123456789", size=size)], b"0123456789")
        error = refused(host, delta, body)
        assert isinstance(error, Mismatch)
    delta, body = forged([entry("bomb", b"\0" * 100)], b"\0" * (64 << 20))
    assert len(body) < 1 << 17
    refused(host, delta, body)
    assert (host.root / f"tree{host.made}/bomb").stat().st_size <= 100


def test_memory_is_bounded(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A highly compressed file is inflated in small pieces."""
    sizes = []
    really = zlib.decompressobj

    class Watched:
        def __init__(self) -> None:
            self.real = really()

        def decompress(self, data: bytes, limit: int) -> bytes:
            piece = self.real.decompress(data, limit)
            sizes.append(len(piece))
            return piece

        def __getattr__(self, name: str) -> object:
            return getattr(self.real, name)

    monkeypatch.setattr(unpack.zlib, "decompressobj", Watched)
    content = b"\0" * (8 << 20)
    delta, body = forged([entry("f", content)], content)
    host.apply(delta, body)
    assert max(sizes) <= unpack._CHUNK


def test_wrong_contents_are_named(host: Host) -> None:
    """A content with the right size and the wrong digest is refused by the file's name."""
    delta, body = forged([entry("a", b"right"), entry("b", b"right")], b"rightwrong")
    error = refused(host, delta, body)
    assert isinstance(error, Mismatch) and error.paths == ("b",)


@pytest.mark.parametrize("damage", ["truncated", "trailing", "extra", "garbage", "flipped", "empty"])
def test_damaged_bodies_are_refused(host: Host, damage: str) -> None:
    """A body that is cut short, goes on behind its end, or has a flipped bit is refused."""
    content = os.urandom(5000)
    delta, body = forged([entry("f", content)], content)
    damaged = {
        "truncated": body[:-1],
        "trailing": body + b"x",
        "extra": zlib.compress(content + b"more"),
        "garbage": b"garbage",
        "flipped": body[:2500] + bytes([body[2500] ^ 1]) + body[2501:],
        "empty": b"",
    }[damage]
    announced = replace(delta, body=hashlib.sha256(damaged).hexdigest(), length=len(damaged))
    assert isinstance(refused(host, announced, damaged), Mismatch)
    assert isinstance(refused(host, delta, damaged), Mismatch)


def test_another_body_with_the_same_contents_is_refused(host: Host) -> None:
    """The body must be the announced one to the byte, even where it unpacks to the same."""
    delta, _ = forged([entry("f", b"x" * 500)], b"x" * 500)
    error = refused(host, delta, zlib.compress(b"x" * 500, 1))
    assert "not the one that was announced" in str(error)


@pytest.mark.parametrize("target", [b"\xff\xfe", b"a\0b"])
def test_targets_that_are_none_are_refused(host: Host, target: bytes) -> None:
    """A link whose target is not UTF-8, or has a NUL, is refused by name."""
    delta, body = forged([entry("l", target, LINK)], target)
    error = refused(host, delta, body)
    assert isinstance(error, Mismatch) and error.paths == ("l",)


def test_the_final_tree_must_be_the_announced_one(host: Host) -> None:
    """A wrong digest of the whole, or a drop of what the base lacks, is refused before any write."""
    delta, body = forged([entry("f")], b"x")
    for wrong in (replace(delta, digest="0" * 64), replace(delta, drop=(b"12345",))):
        assert isinstance(refused(host, wrong, body), Mismatch)
        assert read_tree(host.root / f"tree{host.made}") == {}


BASE = {"a/f": (FILE, b"one"), "a/l": (LINK, b"f"), "g": (FILE, b"two")}


@pytest.mark.parametrize(
    "change", ["content", "longer", "gone", "link", "directory link", "pipe", "directory", "target"]
)
@pytest.mark.parametrize("host", [COPIES, LINKS], indirect=True)
def test_a_base_that_a_build_has_changed_is_noticed(host: Host, change: str) -> None:
    """Whatever the base holds in a kept file's place, the file is named and nothing foreign is copied."""
    source = source_of(BASE)
    base = host.upload(make_delta(source))
    secret = host.root / "outside" / "f"
    secret.parent.mkdir()
    secret.write_text("one")
    name = "a/l" if change == "target" else "a/f"
    if change == "directory link":
        (base / "a").rename(base / "old")
        (base / "a").symlink_to(secret.parent)
        (secret.parent / "l").symlink_to("f")
    else:
        (base / name).unlink()
    if change in ("content", "longer"):
        (base / name).write_text("ONE" if change == "content" else "one and more")
    elif change == "link":
        (base / name).symlink_to(secret)
    elif change == "pipe":
        os.mkfifo(base / name)
    elif change == "directory":
        (base / name).mkdir()
    elif change == "target":
        (base / name).symlink_to("/etc/passwd")
    upload = make_delta(source, source.digest, [entry.id for entry in source.entries])
    with pytest.raises(Mismatch) as caught:
        host.upload(upload, base, source.entries)
    assert name in caught.value.paths
    written = host.root / f"tree{host.made}" / name
    assert change != "longer" or host.shares or written.stat().st_size <= len(b"one")


def test_keeping_files_of_no_base_is_refused(host: Host) -> None:
    """A delta against a base is refused when the base is not given."""
    source = source_of(BASE)
    upload = make_delta(source, source.digest, [entry.id for entry in source.entries])
    with pytest.raises(Mismatch, match="do not make the tree"):
        host.upload(upload, None, source.entries)


def test_a_full_disk_is_an_oserror(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC comes through as it is, so that the caller can say how much room there is."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("deployer.host.build.code.unpack.os.fchmod", full)
    with pytest.raises(OSError) as caught:
        host.upload(make_delta(source_of(BASE)))
    assert caught.value.errno == errno.ENOSPC


def test_an_existing_file_is_not_overwritten(host: Host) -> None:
    """A destination that is not empty is refused, and what is there stays."""
    upload = make_delta(source_of({"f": (FILE, b"new")}))
    place = host.root / "tree1"
    place.mkdir()
    (place / "f").write_text("old")
    (host.root / "body").write_bytes(upload.open_at().read())
    with pytest.raises(FileExistsError):
        apply(upload.delta, str(host.root / "body"), None, (), str(place))
    assert (place / "f").read_text() == "old"
