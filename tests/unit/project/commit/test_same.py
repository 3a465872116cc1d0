"""Whatever a repository holds: what is read from git's objects is what git archive gives."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from deployer.errors import ConfigError
from deployer.project.commit import checkout, earlier
from deployer.project.source import from_git

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n".encode()
NAMES = ("a", "b.py", "ü", "日本.txt", "a b", 'say "x"', "back\\slash", "-rf", "x.crlf", "x.rot", ":(top)x", "*", "[a]",
         ".gitignore", ".github", ".gitmodules", "gitx", "git~2", "É.git", "a\tb", "n\nl", "latin\udcff", ".git ",
         "GIT~1", "x" * 120, "y" * 260)  # fmt: skip
PLAIN = 13
"""Names up to there can ship."""
CONTENTS = (b"", b"x\n", b"one\r\ntwo\n", b"$Id$\n$Format:%H$\n", b"\0\xff binary", b"\xc3\xbc \xe2\x82\xac\n", POINTER,
            b"\0GITCRYPT\0" + bytes(60), b"long\n" * 70_000)  # fmt: skip
TARGETS = (b"a", b"../a", b"../../../../..", b"/etc/passwd", b"a/b.py", "ü".encode(), b"n\nl", b"\xff", b"a\0b", b"",
           b"z" * 200, b"./a/")  # fmt: skip
ATTRIBUTES = ("export-ignore", "-export-ignore", "!export-ignore", "export-ignore=set", "export-subst", "ident",
              "-ident", "text", "-text", "text=auto", "binary", "eol=crlf", "eol=lf", "filter=rot", "filter=missing",
              "filter=bad", "-filter", "filter", "filter=set", "working-tree-encoding=UTF-16",
              "working-tree-encoding=UTF-99", "crlf", "crlf=input", "diff=x", "mine")  # fmt: skip
PATTERNS = ("*", "*.py", "a", "a/", "/a", "a/**", "**/a", "b.py", "x.*", "ü", '"say \\"x\\""', "日本.txt", "*/x.rot",
            "[attr]mine", "a/b.py", ".gitattributes", "-rf", "/*")  # fmt: skip


def often(common: st.SearchStrategy[str], rare: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.integers(0, 19).flatmap(lambda dice: rare if dice == 0 else common)


def lines(attributes: Sequence[str]) -> st.SearchStrategy[list[str]]:
    names = st.lists(st.sampled_from(attributes), min_size=1, max_size=3)
    return st.lists(
        st.builds(lambda pattern, names: f"{pattern} {' '.join(names)}", st.sampled_from(PATTERNS), names), max_size=3
    )


LINES = lines(ATTRIBUTES)
OWN_LINES = lines([name for name in ATTRIBUTES if name != "export-ignore=set"])
"""git prints ``set`` for that, as for export-ignore itself: of a machine's own attributes it is taken for the same."""
PART = often(st.sampled_from(NAMES[:PLAIN]), st.sampled_from(NAMES))
PATHS = st.lists(PART, min_size=1, max_size=3).map("/".join)
FILES = st.tuples(st.sampled_from(["100644", "100644", "100755"]), st.sampled_from(CONTENTS[:6]))
ENTRIES = st.one_of(
    FILES, FILES, FILES, FILES,
    st.tuples(st.just("100644"), st.sampled_from(CONTENTS)),
    st.tuples(st.just("120000"), st.sampled_from(TARGETS)),
    st.tuples(st.just("160000"), st.just(b"")),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Made:
    """A repository with one commit, and what its user has set."""

    files: dict[str, tuple[str, bytes]]
    attributes: dict[str, list[str]] = field(default_factory=dict)
    info: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    config: dict[str, str] = field(default_factory=dict)
    sparse: str = ""
    algorithm: str = "sha1"
    inside: str = ""


MADE = st.builds(
    Made,
    files=st.dictionaries(PATHS, ENTRIES, min_size=1, max_size=8),
    attributes=st.dictionaries(st.sampled_from(["", "a/", "a/a/", "ü/"]), LINES, max_size=2),
    info=st.one_of(st.just([]), st.just([]), OWN_LINES),
    own=st.one_of(st.just([]), st.just([]), OWN_LINES),
    config=st.fixed_dictionaries(
        {},
        optional={
            "core.autocrlf": st.sampled_from(["true", "input", "false"]),
            "core.eol": st.sampled_from(["crlf", "lf"]),
            "core.symlinks": st.sampled_from(["false"]),
            "core.ignoreCase": st.sampled_from(["true"]),
            "core.splitIndex": st.sampled_from(["true"]),
            "filter.bad.required": st.sampled_from(["true"]),
        },
    ),
    sparse=st.sampled_from(["", "", "a", "ü"]),
    algorithm=st.sampled_from(["sha1", "sha1", "sha256"]),
    inside=st.sampled_from(["", "", "", "a", "a/a", "ü", ":(top)x"]),
)


def import_commit(top: Path, made: Made, *, later: bool = False) -> None:
    """Commit the files: all there are, whatever the commit before it has. Raises CalledProcessError."""
    length = 64 if made.algorithm == "sha256" else 40
    subprocess.run(["git", "fast-import", "--quiet"], cwd=top, input=stream(made, length, later), check=True,
                   capture_output=True)  # fmt: skip


def stream(made: Made, length: int, later: bool) -> bytes:
    """The commit as git fast-import reads it."""
    parts = [b"commit refs/heads/main\ncommitter A <a@example.com> 0 +0000\ndata 1\nx\n"]
    parts += [b"from refs/heads/main^0\ndeleteall\n"] if later else []
    sources = {f"{place}.gitattributes": ("100644", "\n".join(lines).encode()) for place, lines in
               made.attributes.items() if lines}  # fmt: skip
    for path, (mode, content) in {**made.files, **sources}.items():
        raw = path.encode("utf-8", "surrogateescape")
        quoted = b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'
        if mode == "160000":
            parts.append(b"M 160000 %s %s\n" % (b"1" * length, quoted))
        else:
            parts.append(b"M %s inline %s\ndata %d\n%s\n" % (mode.encode(), quoted, len(content), content))
    return b"".join(parts)


@contextmanager
def existing(made: Made) -> Iterator[tuple[Path, pytest.MonkeyPatch]]:
    """The repository on the disk; where its project is, and a way to change settings until the end."""
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        top = Path(scratch, "top")
        (top / made.inside).mkdir(parents=True)
        (top.parent / "own").write_text("\n".join(made.own))
        patch.setenv("GIT_CONFIG_GLOBAL", str(top.parent / "gitconfig"))
        patch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
        patch.setenv("XDG_CACHE_HOME", str(top.parent / "cache"))
        subprocess.run(["git", "init", "-q", "-b", "main", "--template=", f"--object-format={made.algorithm}"], cwd=top,
                       check=True)  # fmt: skip
        chosen = {**made.config, "filter.rot.smudge": "tr a-z b-za", "filter.bad.smudge": "false",
                  "core.attributesFile": str(top.parent / "own")}  # fmt: skip
        with (top / ".git/config").open("a") as config:
            for name, value in chosen.items():
                section, _, key = name.rpartition(".")
                kind, _, inner = section.partition(".")
                config.write(f'[{kind} "{inner}"]\n{key} = {value}\n' if inner else f"[{kind}]\n{key} = {value}\n")
            if made.sparse:
                config.write("[core]\nsparseCheckout = true\nsparseCheckoutCone = true\n")
        (top / ".git/info").mkdir()
        (top / ".git/info/attributes").write_text("\n".join(made.info))
        if made.sparse:
            (top / ".git/info/sparse-checkout").write_text(f"/*\n!/*/\n/{made.sparse}/\n")
        import_commit(top, made)
        yield top / made.inside, patch


def told(root: Path, *, submodules: bool) -> tuple[object, ...]:
    """All that anybody learns of a commit's files."""
    try:
        source = from_git(root, submodules=submodules)
        content = [source.open(entry).read() for entry in source.entries]
    except ConfigError as error:
        return error.message, error.state, str(error.next)
    return source.entries, source.digest, source.warnings, content


def check(root: Path, patch: pytest.MonkeyPatch, *, submodules: bool) -> str:
    """Compare both ways, with nothing known of the blobs, and with everything; how it went."""
    archived = []
    really = checkout.from_archive
    patch.setattr(checkout, "from_archive", lambda *given: archived.append(given) or really(*given))
    found = [told(root, submodules=submodules) for _ in range(2)]
    fell_back = bool(archived)
    patch.setattr(checkout, "from_objects", lambda *given: None)
    assert found == [told(root, submodules=submodules)] * 2
    return f"{'archived' if fell_back else 'from objects'}, {'refused' if len(found[0]) == 3 else 'ships'}"


TEXT = ("100644", b"$Id$\n$Format:%H$\n")
ABOVE = {"a/a": TEXT, "a/a b": TEXT, "a/ü/x.rot": TEXT, "b.py": TEXT}


@example(Made(files=ABOVE, attributes={"": ["* eol=crlf"]}), False)
@example(Made(files=ABOVE, attributes={"": ["* ident"], "a/": ["a !ident export-subst"]}), False)
@example(Made(files=ABOVE, attributes={"": ["*.rot filter=rot", "a/a filter=missing"]}, inside="a"), False)
@example(Made(files=ABOVE, attributes={"": ["a/a export-ignore", "ü/ export-ignore"]}, inside="a"), False)
@example(Made(files=ABOVE, attributes={"": ["a/ export-ignore"], "a/": ["a -export-ignore"]}), False)
@example(Made(files=ABOVE, attributes={"": ["a/ export-ignore"]}, inside="a"), False)
@example(Made(files=ABOVE, attributes={"": ["b.py export-ignore=set"], "a/": ["a export-ignore"]}), False)
@example(Made(files=ABOVE, attributes={"": ["[attr]mine eol=crlf", "a/* mine"]}, algorithm="sha256"), False)
@example(Made(files=ABOVE, own=["a working-tree-encoding=UTF-16"], info=["*.py ident"]), False)
@example(Made(files=ABOVE, attributes={"a/": ["a eol=crlf"], "": ["b.py ident"]}, sparse="ü"), False)
@example(Made(files=ABOVE, attributes={"": ["* text"]}, config={"core.autocrlf": "true", "core.eol": "crlf"}), False)
@example(
    Made(files={**ABOVE, "v": ("160000", b""), "a/v": ("160000", b"")}, attributes={"": ["a/v export-ignore"]}), True
)
@example(Made(files={**ABOVE, "v": ("160000", b"")}, attributes={"": ["v export-ignore"]}), True)
@example(Made(files={"a": ("120000", b"b"), "l": ("120000", b"a\0b")}, attributes={"": ["a eol=crlf"]}), False)
@example(Made(files={"a": ("100755", POINTER), "b": ("100644", b"")}), False)
@example(Made(files={**ABOVE, "v": ("160000", b"")}, attributes={"": ["v/ export-ignore"]}), True)
@example(Made(files={"a": ("100755", b"x"), "b": ("100644", b"x")}), False)
@example(Made(files={":(top)x/a": TEXT, ":(top)x/b.py": TEXT, "a": TEXT}, inside=":(top)x"), False)
@example(Made(files={"a": ("120000", b"b"), "b/c": TEXT}, inside="a"), False)
@example(Made(files={"a": ("160000", b""), "b": TEXT}, inside="a"), True)
@example(Made(files={"a": TEXT, "b": TEXT}, inside="a"), False)
@example(Made(files={"b": TEXT}, inside="a"), False)
@example(Made(files={"a": ("120000", b"b"), "b": TEXT}, attributes={"": ["* filter=missing"]}), False)
@example(Made(files={"GIT~1": TEXT, "a": TEXT}), False)
@given(MADE, st.booleans())
@settings(max_examples=int(os.environ.get("DEPLOYER_EXAMPLES", "40")))
def test_any_commit(made: Made, submodules: bool) -> None:
    """Entries, digests, contents, warnings and errors are the same.

    But for a name that no checkout can have, outside the project: git archive refuses all for it.
    """
    refused = (".git ", "GIT~1", ".gitmodules")
    assume(not made.inside or not any(part in refused for path in made.files for part in path.split("/")))
    try:
        with existing(made) as (root, patch):
            event(check(root, patch, submodules=submodules))
    except subprocess.CalledProcessError as error:  # a name that no commit can have: a file where others are below it
        event(f"no such commit: {error.stderr.splitlines()[0][:40] if error.stderr else error.cmd}")


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is otherwise in the commit after another one, and what its user has set meanwhile."""

    files: dict[str, tuple[str, bytes] | None]
    attributes: dict[str, list[str]] | None = None
    info: list[str] | None = None

    def after(self, made: Made) -> Made:
        files = {path: one for path, one in (made.files | self.files).items() if one is not None}
        return replace(made, files=files, attributes=made.attributes if self.attributes is None else self.attributes)


PLAIN_MADE = st.builds(
    Made,
    files=st.dictionaries(st.lists(st.sampled_from(NAMES[:6]), min_size=1, max_size=3).map("/".join), FILES, min_size=1,
                          max_size=8),
    attributes=st.dictionaries(st.sampled_from(["", "a/"]), lines(ATTRIBUTES[:2]), max_size=1),
    algorithm=st.sampled_from(["sha1", "sha1", "sha256"]),
    inside=st.sampled_from(["", "", "a"]),
)  # fmt: skip
CHANGE = st.builds(
    Change,
    files=st.dictionaries(PATHS, st.one_of(st.none(), ENTRIES), max_size=3),
    attributes=st.one_of(st.none(), st.none(), st.dictionaries(st.sampled_from(["", "a/", "ü/"]), LINES, max_size=1)),
    info=st.one_of(st.none(), st.none(), OWN_LINES),
)
OTHER = ("100644", b"other\n")
FOUR: dict[str, tuple[str, bytes]] = {"a/a": TEXT, "a/b/c": OTHER, "b": OTHER, "d": ("120000", b"b")}


@example(Made(files=FOUR), Change(files={}))
@example(Made(files=FOUR), Change(files={"a/a": OTHER, "e": TEXT, "b": None}))
@example(Made(files=FOUR), Change(files={"d": TEXT, "b": ("120000", b"d"), "a/a": ("100755", b"x")}))
@example(Made(files=FOUR), Change(files={"a/b/c": None, "a/b": TEXT}))
@example(Made(files=FOUR), Change(files={"b": None, "b/c": TEXT}))
@example(Made(files=FOUR), Change(files={"d": ("120000", b"../..")}))
@example(Made(files=FOUR), Change(files={"a/a": ("100644", POINTER)}))
@example(Made(files=FOUR), Change(files={"v": ("160000", b"")}))
@example(Made(files=FOUR), Change(files={"n\nl": TEXT}))
@example(Made(files=FOUR), Change(files={"x/.git ": TEXT}))
@example(Made(files=FOUR), Change(files={"a/a": None, "a/b/c": None, "b": None, "d": None}))
@example(Made(files=FOUR), Change(files={"a/a": TEXT}, info=["* ident"]))
@example(Made(files=FOUR), Change(files={"b": TEXT}, info=["a/ export-ignore"]))
@example(Made(files=FOUR, info=["a/ export-ignore"]), Change(files={"b": TEXT}, info=[]))
@example(Made(files=FOUR, info=["new.* ident"]), Change(files={"new.py": TEXT}))
@example(Made(files=FOUR), Change(files={"b": OTHER}, attributes={"a/": ["a export-ignore"]}))
@example(Made(files=FOUR, attributes={"": ["a/ export-ignore"]}), Change(files={"a/a": OTHER, "b": TEXT}))
@example(Made(files=FOUR, attributes={"": ["a/ export-ignore"]}), Change(files={"a/new": OTHER}))
@example(Made(files=FOUR, attributes={"": ["a/ export-ignore"]}), Change(files={"b": TEXT}, attributes={}))
@example(Made(files=FOUR, attributes={"": ["d eol=crlf"]}), Change(files={"d": TEXT}))
@example(Made(files=FOUR, inside="a"), Change(files={"a/a": OTHER, "b": None}))
@example(Made(files=FOUR, inside="a"), Change(files={"b": TEXT}, attributes={"": ["* ident"]}))
@example(Made(files=FOUR, inside="a"), Change(files={"a/a": None, "a/b/c": None}))
@given(st.one_of(PLAIN_MADE, PLAIN_MADE, MADE), CHANGE)
@settings(max_examples=int(os.environ.get("DEPLOYER_EXAMPLES", "40")))
def test_any_commit_after_another(made: Made, change: Change) -> None:
    """The same, when only what differs from an earlier commit is looked at; and once more, when another one is kept."""
    names = (*made.files, *change.files)
    assume(
        not made.inside
        or not any(part in (".git ", "GIT~1", ".gitmodules") for one in names for part in one.split("/"))
    )
    try:
        with existing(made) as (root, patch):
            patch.setattr(earlier, "WORTH", 0)
            patch.setattr(earlier, "_MANY", 0)
            told(root, submodules=True)
            top = root / "/".join([".."] * len(made.inside.split("/"))) if made.inside else root
            import_commit(top, change.after(made), later=True)
            if change.info is not None:
                (top / ".git/info/attributes").write_text("\n".join(change.info))
            done, really = [], earlier.add_changed
            patch.setattr(earlier, "add_changed", lambda *given: done.append(really(*given)) or done[-1])
            event(f"{check(root, patch, submodules=True)}, by what differs: {done[:1] == [True]}")
    except subprocess.CalledProcessError as error:
        event(f"no such commit: {error.stderr.splitlines()[0][:40] if error.stderr else error.cmd}")
