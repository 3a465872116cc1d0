"""Which files ship: commits, working trees, plain directories and ``include``; and what is refused."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from pathlib import Path

import pytest

from deployer.errors import ConfigError
from deployer.errors.local import as_local
from deployer.project import source as sources
from deployer.project.files import matching
from deployer.project.patterns import glob
from deployer.project.source import Source, collect, from_git, from_working_tree
from deployer.project.spool import CHUNK, Spool
from deployer.release.delta import make_delta
from deployer.wire.tree.entries import Entries
from deployer.wire.tree.entry import EXECUTABLE, FILE, LINK
from tests.support.repository import Repository

NAMES = [
    "a b.py",
    "it's.py",
    'say "x".py',
    "$(touch pwned).py",
    "100%s.py",
    "ü/ñ.txt",
    "-rf",
    "a;b&c.py",
    "back\\slash",
]


def contents(source: Source) -> dict[str, str]:
    """Each path with its content's text."""
    return {entry.path: source.open(entry).read().decode() for entry in source.entries}


def refusal(root: Path, **options: object) -> ConfigError:
    """The error with which a source is refused."""
    with pytest.raises(ConfigError) as caught:
        collect(root, **options)  # type: ignore[arg-type]
    return caught.value


def test_a_commit_ships_as_it_was_committed(repo: Repository) -> None:
    """Content, executable bit and links are the commit's, whatever the disk holds now."""
    repo.write("run.sh", "#!/bin/sh").chmod(0o755)
    (repo.root / "link").symlink_to("app.py")
    sha = repo.commit()
    repo.write("app.py", "changed since")
    source = from_git(repo.root)
    assert contents(source) == {
        "app.py": "one",
        "link": "app.py",
        "manage.py": "manage",
        "run.sh": "#!/bin/sh",
    }
    assert [entry.kind for entry in source.entries] == [FILE, LINK, FILE, EXECUTABLE]
    assert (source.commit, source.ref, source.dirty) == (sha, "HEAD", False)


def test_entries_describe_their_content(repo: Repository) -> None:
    """Sizes and digests are those of the content, and the source's digest is the tree's."""
    source = from_git(repo.root)
    for entry in source.entries:
        content = source.open(entry).read()
        assert (entry.size, entry.digest) == (len(content), hashlib.sha256(content).hexdigest())
    assert source.digest == Entries.of(source.entries).digest


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_ship(repo: Repository, name: str) -> None:
    """Spaces, quotes, shell syntax, percent signs and letters of any script are only names."""
    repo.write(name, "odd")
    assert contents(from_working_tree(repo.root))[name] == "odd"
    repo.commit()
    assert contents(from_git(repo.root))[name] == "odd"
    assert not (repo.root / "pwned").exists()


@pytest.mark.parametrize("name", [b"new\nline", b"tab\tname", b"bell\x07", b"latin\xff"])
def test_names_that_cannot_ship(repo: Repository, name: bytes) -> None:
    """Control characters and names that are not UTF-8 are refused, from a commit and from the disk."""
    Path(os.fsdecode(os.fsencode(repo.root) + b"/" + name)).write_text("x")
    assert "cannot ship" in refusal(repo.root, dirty=True).message
    repo.commit()
    assert "cannot ship" in refusal(repo.root).message


def test_a_project_in_a_subdirectory(repo: Repository) -> None:
    """Only the project's own directory of a bigger repository ships, with paths relative to it."""
    repo.write("backend/manage.py", "inner")
    repo.write("backend/pkg/x.py")
    repo.commit()
    repo.write("top.py", "changed outside the project").write_text("new")
    assert contents(collect(repo.root / "backend")) == {"manage.py": "inner", "pkg/x.py": "x"}
    assert set(contents(from_working_tree(repo.root / "backend"))) == {"manage.py", "pkg/x.py"}


def test_export_ignore_is_honoured(repo: Repository) -> None:
    """What .gitattributes excludes from archives does not ship."""
    repo.write(".gitattributes", "tests export-ignore\n")
    repo.write("tests/test_x.py")
    repo.commit()
    assert "tests/test_x.py" not in contents(from_git(repo.root))


def test_any_ref_ships(repo: Repository) -> None:
    """A tag, a branch, a relative ref and a short hash name their commits, dirty tree or not."""
    first = repo.git("rev-parse", "HEAD")
    repo.git("tag", "-a", "v1.0", "-m", "x")
    repo.git("branch", "feature/one")
    repo.commit(app__py="two")
    repo.write("app.py", "dirty")
    for ref in ("v1.0", "feature/one", "HEAD~1", first[:10], first):
        source = collect(repo.root, ref=ref)
        assert (source.commit, source.ref, contents(source)["app.py"]) == (first, ref, "one")


@pytest.mark.parametrize(
    "ref",
    ["", "-x", "--help", "--output=pwned", "a b", "$(touch pwned)", "`touch pwned`", "../x", "HEAD:app.py",
     "HEAD..main", "x\ny", "%s", "nul\0"],
)  # fmt: skip
def test_bad_refs_are_refused(repo: Repository, ref: str) -> None:
    """What names no commit is refused with exit code 2; it is never an option, and never runs."""
    error = refusal(repo.root, ref=ref)
    assert (error.exit, "is not a commit, branch or tag" in error.message) == (2, True)
    assert not (repo.root / "pwned").exists()


def test_a_bad_ref_names_the_nearest(repo: Repository) -> None:
    """A typo in a branch's or tag's name is answered with the right one."""
    repo.git("tag", "v1.2.3")
    assert "did you mean main?" in refusal(repo.root, ref="mian").message
    assert "did you mean v1.2.3?" in refusal(repo.root, ref="v1.2.4").message


def test_a_ref_named_like_an_option_is_no_option(repo: Repository) -> None:
    """A branch cannot smuggle an option in, even when git itself knows it."""
    sha = repo.git("rev-parse", "HEAD")
    repo.git("update-ref", "refs/heads/--output=pwned", sha)
    assert "is not a commit" in refusal(repo.root, ref="--output=pwned").message
    assert collect(repo.root, ref="refs/heads/--output=pwned").commit == sha


def test_a_dirty_tree_is_refused(repo: Repository) -> None:
    """Ten changed files are named, then their number, and the message says what to type."""
    repo.commit(**{f"f{number:02}": "x" for number in range(12)})
    assert collect(repo.root).commit
    for number in range(12):
        repo.write(f"f{number:02}", "changed")
    error = refusal(repo.root)
    assert "f00, f01" in error.message and "f09 and 2 more" in error.message and "f10" not in error.message
    assert "--dirty" in str(error.next)


@pytest.mark.parametrize("change", ["edit", "stage", "delete", "mode"])
def test_every_kind_of_change_is_dirty(repo: Repository, change: str) -> None:
    """Edited, staged, deleted and newly executable files all count."""
    place = repo.root / "app.py"
    if change == "delete":
        place.unlink()
    elif change == "mode":
        place.chmod(0o755)
    else:
        place.write_text("changed")
    if change == "stage":
        repo.git("add", "-A")
    assert "app.py" in refusal(repo.root).message


def test_dirty_ships_the_working_tree(repo: Repository) -> None:
    """Changed and new files ship, deleted and ignored ones do not, and the source says that it is dirty."""
    repo.write(".gitignore", "*.log\n")
    repo.write("app.py", "changed")
    repo.write("new.py", "new")
    repo.write("x.log")
    (repo.root / "manage.py").unlink()
    source = collect(repo.root, dirty=True)
    assert contents(source) == {".gitignore": "*.log\n", "app.py": "changed", "new.py": "new"}
    assert (source.dirty, source.commit, source.ref) == (True, repo.git("rev-parse", "HEAD"), "")


def test_a_directory_replaced_by_a_link(repo: Repository) -> None:
    """Files that a link has taken the place of count as deleted: nothing is read through the link."""
    repo.write("pkg/a.py")
    repo.write("other/a.py")
    repo.commit()
    (repo.root / "pkg/a.py").unlink()
    (repo.root / "pkg").rmdir()
    (repo.root / "pkg").symlink_to("other")
    source = collect(repo.root, dirty=True)
    assert source.find("pkg/a.py") is None
    assert contents(source)["pkg"] == "other"


def test_dirty_and_ref_exclude_each_other(repo: Repository) -> None:
    """One command cannot ship both a commit and the working tree."""
    assert "choose one" in refusal(repo.root, ref="main", dirty=True).message


def test_untracked_files_are_named(repo: Repository) -> None:
    """New files that git does not know do not ship from a commit, which a warning says."""
    for name in ("forgotten.py", "built/app.js", "deploy.toml", "fabfile.py", "fabric.yaml"):
        repo.write(name)
    source = collect(repo.root, include=["built/**"])
    assert source.warnings == ("not tracked by git, so they do not ship: forgotten.py",)
    assert source.find("forgotten.py") is None


def test_no_repository(tmp_path: Path) -> None:
    """Outside git a deploy is refused with two ways out."""
    (tmp_path / "a").write_text("x")
    error = refusal(tmp_path)
    assert "is not in a git repository" in error.message
    assert "git init" in str(error.next) and "--dirty" in str(str(str(error.next)))


def test_no_commit_yet(tmp_path: Path) -> None:
    """A repository without a commit is refused with what to type."""
    repository = Repository(tmp_path / "x")
    repository.write("a")
    error = refusal(repository.root)
    assert "has no commit yet" in error.message and "git commit" in str(error.next)
    assert set(contents(collect(repository.root, dirty=True))) == {"a"}


def test_no_git_program(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without git on the PATH the message says so."""
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "git program is not installed" in refusal(repo.root).message


def test_a_hook_of_another_repository_does_not_mislead(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIT_DIR, which git sets for its hooks, does not make another repository ship."""
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    assert contents(collect(repo.root))["app.py"] == "one"


def test_dirty_outside_git_ships_all_but_junk(tmp_path: Path) -> None:
    """Without git, --dirty ships the directory less caches, secrets and databases, and says so."""
    for path in ("app.py", ".env", ".env.production", ".env.example", "db.sqlite3", "venv/x",
                 "a/__pycache__/x.pyc",                 "node_modules/x/y.js", "a/b.py"):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    source = collect(tmp_path, dirty=True)
    assert set(contents(source)) == {"app.py", ".env.example", "a/b.py"}
    assert (source.commit, source.dirty) == ("", True)
    assert "not in a git repository: all its 3 files ship" in source.warnings[0]


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "a/../../outside", ".."])
def test_links_that_lead_out_are_refused(repo: Repository, target: str) -> None:
    """A link out of the project is refused, whether it is committed or not."""
    (repo.root / "link").symlink_to(target)
    assert "link is a link that leads out of the project" in refusal(repo.root, dirty=True).message
    repo.commit()
    assert "link is a link that leads out of the project" in refusal(repo.root).message


def test_links_inside_are_kept(repo: Repository) -> None:
    """A link to a file, to a directory above and to nothing stays the link that it is."""
    (repo.root / "d").mkdir()
    for name, target in (("d/up", "../app.py"), ("d/root", ".."), ("dangling", "nowhere")):
        (repo.root / name).symlink_to(target)
    kept = {entry.path: entry.kind for entry in collect(repo.root, dirty=True).entries}
    assert (kept["d/up"], kept["d/root"], kept["dangling"]) == (LINK, LINK, LINK)


def test_include_adds_untracked_files(repo: Repository) -> None:
    """A pattern adds ignored files from the disk; a directory means all in it; modes and links stay."""
    repo.write(".gitignore", "dist\n")
    repo.commit()
    repo.write("web/dist/app.js", "js")
    repo.write("web/dist/deep/x.css", "css")
    repo.write("web/dist/run", "#!").chmod(0o755)
    (repo.root / "web/dist/link").symlink_to("app.js")
    for patterns in (["web/dist/**"], ["web/dist"], ["**/dist"], ["web/dist/*"]):
        source = collect(repo.root, include=patterns)
        kinds = {entry.path: entry.kind for entry in source.entries if entry.path.startswith("web/")}
        assert kinds == {
            "web/dist/app.js": FILE, "web/dist/deep/x.css": FILE, "web/dist/link": LINK,
            "web/dist/run": EXECUTABLE,
        }  # fmt: skip
        assert contents(source)["web/dist/deep/x.css"] == "css"
    assert not source.dirty


def test_include_does_not_replace_what_is_committed(repo: Repository) -> None:
    """A pattern that matches a tracked file ships the commit's content of it."""
    repo.write("app.py", "changed")
    assert contents(from_git(repo.root, include=["*.py"]))["app.py"] == "one"


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("dist/**", "matches no file"),
        ("../*", "leads out of"),
        ("/etc/passwd", "leads out of"),
        ("a**b", "is not a pattern"),
        ("[z-a]", "is not a pattern"),
        (".git/config", "matches no file"),
        ("outside/*", "leads through the link outside"),
    ],
)
def test_bad_includes_are_refused(repo: Repository, tmp_path: Path, pattern: str, told: str) -> None:
    """Patterns that match nothing, or reach outside by dots, slashes or links, are refused by name."""
    (tmp_path / "secret").write_text("x")
    (repo.root / "outside").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match=told) as caught:
        from_git(repo.root, include=[pattern])
    assert repr(pattern) in caught.value.message


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", ".hid a.js ab.css b c d"),
        ("?.js", "a.js"),
        ("[ab]*.*s*", "a.js ab.css"),
        ("[!a]/**", "b/c.js b/d/e.js"),
        ("[^a]", "b c d"),
        ("**/*.js", "a.js b/c.js b/d/e.js"),
        ("**/d/**", "b/d/e.js"),
        ("b/**/e.js", "b/d/e.js"),
        ("./b//d/", "b/d/e.js"),
        ("A.js", ""),
        ("[]", ""),
        ("[a-b]b.css", "ab.css"),
        ("b/*/*.js", "b/d/e.js"),
        ("**", ".hid a.js ab.css b/c.js b/d/e.js c d"),
        ("d/*", ""),
        ("**/.git/**", ""),
    ],
)
def test_patterns_mean_the_same_on_every_python(tmp_path: Path, pattern: str, found: str) -> None:
    """A star stays within a name, two stars stand for any directories, case counts, and .git is never found."""
    for path in ("a.js", "ab.css", ".hid", "b/c.js", "b/d/e.js", "c", "d", ".git/x.js"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    matches = set(glob(tmp_path, pattern))
    files = {path for path in matches if (tmp_path / path).is_file()}
    names = {path for path in matches if "/" not in path} if pattern in ("*", "[^a]") else files
    wanted = set(found.split())
    assert (names if names >= wanted else set(matching(tmp_path, pattern))) == wanted


def test_sockets_and_pipes_are_refused(repo: Repository) -> None:
    """A socket or a pipe under ``include`` is refused; nothing waits for a writer."""
    (repo.root / "x").mkdir()
    os.mkfifo(repo.root / "x/pipe")
    assert "x/pipe is neither a file nor a link" in refusal(repo.root, include=["x"]).message
    (repo.root / "x/pipe").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(repo.root / "x", os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/sock")
        os.close(here)
    assert "x/sock is neither a file nor a link" in refusal(repo.root, include=["x"]).message


def test_unreadable_files_are_refused(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read is named, with the system's reason."""

    really = os.open

    def denied(path: object, *arguments: int, **options: int) -> int:
        if str(path).endswith("app.py"):
            raise PermissionError(13, "Permission denied")
        return really(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("deployer.project.files.os.open", denied)
    assert refusal(repo.root, dirty=True).message == "app.py cannot be read: Permission denied"


def test_a_full_temporary_directory_is_no_fault_of_the_file(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that do not fit there are not told as unreadable: what is told is the disk of this machine."""

    def full(spool: Spool, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Spool, "write", full)
    repo.write("app.py")
    with pytest.raises(ConfigError, match="no room for temporary files"), as_local():
        collect(repo.root, dirty=True)


@pytest.mark.parametrize("how", ["tracked", "untracked", "included", "linked"])
def test_the_env_file_never_ships(repo: Repository, how: str) -> None:
    """A file of secrets that would ship, in whichever way, is refused before anything is sent."""
    repo.write(".env", "SECRET=hunter2")
    options: dict[str, object] = {"env_file": Path(".env")}
    if how == "tracked":
        repo.commit()
    elif how == "untracked":
        options["dirty"] = True
    elif how == "included":
        options["include"] = [".env"]
    else:
        repo.commit()
        (repo.root.parent / "link").symlink_to(repo.root / ".env")
        options["env_file"] = Path("../link")
    error = refusal(repo.root, **options)
    assert ".env holds the secrets" in error.message and "hunter2" not in error.message


def test_an_env_file_that_does_not_ship_is_fine(repo: Repository) -> None:
    """An ignored or outside file of secrets is no obstacle."""
    repo.write(".gitignore", ".env\n")
    repo.commit()
    repo.write(".env", "SECRET=x")
    assert collect(repo.root, env_file=Path(".env")).find(".env") is None
    assert collect(repo.root, env_file=Path("../other.env"), dirty=True).find(".env") is None


def test_an_empty_project_is_refused(repo: Repository) -> None:
    """A directory of which git tracks nothing cannot be shipped."""
    (repo.root / "empty").mkdir()
    with pytest.raises(ConfigError):
        collect(repo.root / "empty")


def test_what_is_hashed_is_what_is_sent(repo: Repository) -> None:
    """A file that changes after the source was read is sent as it was read."""
    source = collect(repo.root, dirty=True)
    repo.write("app.py", "changed meanwhile")
    assert contents(source)["app.py"] == "one"


def test_contents_are_streamed(repo: Repository) -> None:
    """A file much larger than a chunk arrives whole, and streams over it do not disturb each other."""
    content = os.urandom(CHUNK * 3 + 17)
    (repo.root / "big").write_bytes(content)
    source = collect(repo.root, dirty=True)
    entry = source.find("big")
    assert entry is not None
    with source.open(entry) as one, source.open(entry) as two:
        assert one.read(CHUNK) + two.read(10) + one.read() == content[:CHUNK] + content[:10] + content[CHUNK:]


def test_read_text(repo: Repository) -> None:
    """A shipped file's text can be read; a missing one is None and a binary one a ConfigError."""
    (repo.root / "binary").write_bytes(b"\xff")
    source = collect(repo.root, dirty=True)
    assert (source.read_text("app.py"), source.read_text("none")) == ("one", None)
    with pytest.raises(ConfigError, match="binary is not UTF-8"):
        source.read_text("binary")


def test_the_same_source_makes_the_same_upload(repo: Repository) -> None:
    """Two uploads of the same commit are the same bytes, so that one can go on where the other stopped."""
    one, two = (make_delta(collect(repo.root)) for _ in range(2))
    assert one.delta == two.delta
    half = one.delta.length // 2
    assert one.open_at(0).read(half) + two.open_at(half).read() == one.open_at().read()
    with pytest.raises(ValueError, match="outside the body"):
        one.open_at(one.delta.length + 1)


def test_only_what_changed_is_sent(repo: Repository) -> None:
    """Against a base, the delta adds the changed and new files and drops the old ones."""
    base = collect(repo.root)
    (repo.root / "manage.py").unlink()
    repo.commit(app__py="two", new__py="new")
    delta = make_delta(collect(repo.root), base.digest, [entry.id for entry in base.entries]).delta
    assert [entry.path for entry in delta.add] == ["app.py", "new.py"]
    assert set(delta.drop) == {entry.id for entry in base.entries}
    assert delta.base == base.digest


def test_a_ref_ignores_the_working_tree(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """An explicit ref does not look at the working tree at all."""
    monkeypatch.setattr(sources.git, "changes", lambda root: pytest.fail("looked at the tree"))
    assert collect(repo.root, ref="HEAD").commit
