"""What git says of a project decides what ships: its settings, its filters, its submodules, and its refusals."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deployer.errors import ConfigError
from deployer.project.commit import archive
from deployer.project.source import Source, collect
from deployer.wire.advice import Next
from tests.support.repository import Repository

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n"
ALLOW = ("-c", "protocol.file.allow=always")


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of a user are those that a test makes, and not this machine's."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)


def contents(source: Source) -> dict[str, bytes]:
    return {entry.path: source.open(entry).read() for entry in source.entries}


def refusal(root: Path, **options: object) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        collect(root, **options)  # type: ignore[arg-type]
    assert caught.value.state == "nothing was touched"
    return caught.value


def user(*settings: str) -> None:
    """Set something in the user's own git settings."""
    subprocess.run(["git", "config", "--global", *settings], check=True)


# What is clean


def test_line_ends_that_git_converts_are_no_change(repo: Repository) -> None:
    """Under core.autocrlf a checkout has CRLF and is clean; what was committed ships."""
    user("core.autocrlf", "true")
    (repo.root / "app.py").write_bytes(b"one\n")
    repo.commit()
    (repo.root / "app.py").unlink()
    repo.git("-c", "core.autocrlf=true", "checkout", "app.py")
    assert (repo.root / "app.py").read_bytes() == b"one\r\n"
    assert contents(collect(repo.root))["app.py"] == b"one\n"


def test_modes_that_git_does_not_trust_are_no_change(repo: Repository) -> None:
    """Under core.fileMode=false an x bit on the disk is no change."""
    user("core.fileMode", "false")
    repo.git("config", "--unset", "core.fileMode")
    (repo.root / "app.py").chmod(0o755)
    assert collect(repo.root).commit


def test_files_that_are_not_to_be_looked_at_are_no_change(repo: Repository) -> None:
    """A path that is assumed unchanged, or skipped, is what was committed."""
    for flag, name in (("--assume-unchanged", "app.py"), ("--skip-worktree", "manage.py")):
        repo.git("update-index", flag, name)
        repo.write(name, "changed here")
    shipped = contents(collect(repo.root))
    assert (shipped["app.py"], shipped["manage.py"]) == (b"one", b"manage")


def test_the_users_own_excludes_are_ignored(repo: Repository, tmp_path: Path) -> None:
    """What core.excludesFile names neither ships nor is told; nor are new files where git status leaves them out."""
    (tmp_path / "excludes").write_text("*.secret\n")
    user("core.excludesFile", str(tmp_path / "excludes"))
    repo.write("a.secret")
    repo.write("new.py")
    assert collect(repo.root).warnings == ("not tracked by git, so they do not ship: new.py",)
    assert "a.secret" not in contents(collect(repo.root, dirty=True))
    user("status.showUntrackedFiles", "no")
    assert collect(repo.root).warnings == ()


def test_a_file_that_is_new_to_git_but_staged_is_a_change(repo: Repository) -> None:
    """What is staged, renamed or in conflict differs from the commit."""
    repo.write("new.py")
    repo.git("add", "new.py")
    repo.git("mv", "app.py", "a b.py")
    assert "a b.py, app.py, new.py" in refusal(repo.root).message


# What git refuses


@pytest.mark.parametrize("dirty", [False, True])
def test_a_checkout_of_another_user(repo: Repository, monkeypatch: pytest.MonkeyPatch, dirty: bool) -> None:
    """Where git distrusts a checkout nothing ships, least of all what it ignores; git's own advice is told."""
    repo.commit(__gitignore="secrets.json\n")
    repo.write("secrets.json")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    error = refusal(repo.root, dirty=dirty)
    assert "dubious ownership" in error.message and "safe.directory" in error.message


@pytest.mark.parametrize("dirty", [False, True])
def test_a_worktree_without_its_repository(repo: Repository, tmp_path: Path, dirty: bool) -> None:
    """A worktree whose repository is out of reach is not taken for a plain directory."""
    repo.git("worktree", "add", "-q", str(tmp_path / "tree"))
    repo.root.rename(tmp_path / "moved")
    (tmp_path / "tree/inner").mkdir()
    for place in ("tree", "tree/inner"):
        assert "not a git repository" in refusal(tmp_path / place, dirty=dirty).message


def test_a_repository_without_the_git_program(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where git is not installed and there is a repository, what is ignored is not known: nothing ships."""
    monkeypatch.setenv("PATH", "/nonexistent")
    error = refusal(repo.root, dirty=True)
    assert "git program is not installed" in error.message and str(error.next) == "install git"


def test_an_index_that_git_cannot_read(repo: Repository) -> None:
    """A damaged index is no clean tree, and no empty one."""
    (repo.root / ".git/index").write_bytes(b"nonsense")
    for dirty in (False, True):
        assert "git does not read" in refusal(repo.root, dirty=dirty).message


def test_what_a_gitignore_names_never_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory in no repository, its .gitignore files count all the same; without git nothing ships."""
    for path, text in ((".gitignore", "*.json\n"), ("a/.gitignore", "b\n"), ("secrets.json", ""), ("a/b/c", ""),
                       ("a/x.json", ""), ("app.py", "")):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert set(contents(collect(tmp_path, dirty=True))) == {".gitignore", "a/.gitignore", "app.py"}
    included = collect(tmp_path, dirty=True, include=["*.json"])
    assert included.find("secrets.json") and not included.find("a/x.json")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "git program is not installed" in refusal(tmp_path, dirty=True).message


def test_what_a_repository_further_down_ignores_never_ships(tmp_path: Path) -> None:
    """In a directory in no repository that holds some, each of them says what is ignored in it."""
    inner = Repository(tmp_path / "project/inner")
    inner.commit(__gitignore="secrets.json\n", app__py="x")
    for name in ("secrets.json", "new.py"):
        inner.write(name)
    Repository(inner.root / "deep").write("x")
    shipped = set(contents(collect(tmp_path / "project", dirty=True)))
    assert shipped == {"inner/.gitignore", "inner/app.py", "inner/new.py"}


def test_a_sparse_checkout_is_not_taken_for_a_deletion(repo: Repository) -> None:
    """What is not checked out on purpose ships from a commit, and is not silently left out of a working tree."""
    repo.commit(far="x")
    repo.git("update-index", "--skip-worktree", "far")
    (repo.root / "far").unlink()
    assert contents(collect(repo.root))["far"] == b"x"
    error = refusal(repo.root, dirty=True)
    assert "far" in error.message and "sparse-checkout disable" in str(error.next)


# What a checkout has


def test_filters_and_attributes_are_applied(repo: Repository) -> None:
    """A commit ships as a checkout has it: filtered, with its line ends and its ident; in a subdirectory, too."""
    repo.git("config", "filter.rot.smudge", "tr a-z b-za")
    attributes = "*.rot filter=rot\n*.crlf text eol=crlf\n*.id ident\nout export-ignore\n"
    repo.write(".gitattributes", attributes)
    for path, text in (("s/x.rot", "abc"), ("s/x.crlf", "one\n"), ("s/x.id", "$Id$"), ("s/out", "x")):
        repo.write(path, text)
    repo.commit()
    for root, below in ((repo.root, "s/"), (repo.root / "s", "")):
        shipped = contents(collect(root, ref="HEAD"))
        assert shipped[f"{below}x.rot"] == b"bcd"
        assert shipped[f"{below}x.crlf"] == b"one\r\n"
        assert shipped[f"{below}x.id"].startswith(b"$Id: ")
        assert f"{below}out" not in shipped


def test_a_filter_that_fails_is_told(repo: Repository) -> None:
    """Where a filter is required and fails, git's words are told and nothing ships."""
    repo.commit(__gitattributes="*.x filter=f\n", a__x="x")
    repo.git("config", "filter.f.smudge", "false")
    repo.git("config", "filter.f.required", "true")
    assert "smudge filter f failed" in refusal(repo.root, ref="HEAD").message


@pytest.mark.parametrize("dirty", [False, True])
def test_a_program_of_lfs_that_is_missing_is_to_be_installed(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dirty: bool
) -> None:
    """Its filter is set up, as by a dotfile that all machines share, and git cannot run it."""
    repo.commit(__gitattributes="*.png filter=lfs\n", logo__png=POINTER, app__py="x")
    for name, value in (("clean", "git-lfs clean -- %f"), ("smudge", "git-lfs smudge -- %f"), ("required", "true")):
        repo.git("config", f"filter.lfs.{name}", value)
    (tmp_path / "bin").mkdir()
    for tool in ("git", "sh"):
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    if dirty:
        (repo.root / "logo.png").write_text(POINTER.replace("1", "2"))  # of the same size: git has to look into it
    error = refusal(repo.root)
    assert Next.of(error.next).commands == ("apt-get install git-lfs", "git lfs pull")


def test_a_filter_that_is_not_set_up_is_said(repo: Repository) -> None:
    """A filter this machine lacks is named with its files; one that only cleans is no matter."""
    repo.git("config", "filter.strip.clean", "cat")
    attributes = "*.x filter=secret\n*.nb filter=strip\n*.y -filter\n"
    repo.commit(__gitattributes=attributes, a__x="x", b__nb="x", c__y="x")
    (warning,) = collect(repo.root).warnings
    assert "'secret'" in warning and warning.endswith(": a.x")


@pytest.mark.cause("lfs-pointers")
@pytest.mark.parametrize("dirty", [False, True])
@pytest.mark.parametrize("tool", ["", "git-lfs"])
def test_pointers_of_lfs_never_ship(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, dirty: bool
) -> None:
    """The 130 bytes that stand for a file are refused by its name, with what to type."""
    repo.commit(__gitattributes="*.png filter=lfs\n", logo__png=POINTER, app__py="x")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").symlink_to(str(shutil.which("git")))
    if tool:
        (tmp_path / "bin" / tool).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / tool).chmod(0o755)
        monkeypatch.setattr(archive, "LFS", ())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    error = refusal(repo.root, dirty=dirty)
    assert "pointers of Git LFS" in error.message and error.message.endswith(": logo.png")
    assert "git lfs install && git lfs pull" in str(error.next)
    assert ("apt-get install git-lfs" in str(error.next)) == (not tool)


def test_the_content_of_lfs_ships(repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Git LFS is installed its content ships, also where it was never set up, or is told to hold back."""
    tool = tmp_path / "bin/git-lfs"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n[ -z \"$GIT_LFS_SKIP_SMUDGE\" ] && exec cat '{tmp_path}/store'\nexec cat\n")
    tool.chmod(0o755)
    (tmp_path / "store").write_bytes(b"the picture itself")
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("GIT_LFS_SKIP_SMUDGE", "1")
    monkeypatch.setattr(archive, "LFS", (("filter.lfs.smudge", "git-lfs smudge -- %f"),))
    repo.commit(__gitattributes="*.png filter=lfs\n", logo__png=POINTER)
    assert contents(collect(repo.root, ref="HEAD"))["logo.png"] == b"the picture itself"


@pytest.mark.cause("git-crypt-locked")
@pytest.mark.parametrize("dirty", [False, True])
def test_what_git_crypt_has_locked_never_ships(repo: Repository, dirty: bool) -> None:
    """Ciphertext is refused by the file's name."""
    (repo.root / "secret.env").write_bytes(b"\0GITCRYPT\0" + bytes(range(60)))
    repo.commit(__gitattributes="secret.env filter=git-crypt diff=git-crypt\n")
    error = refusal(repo.root, dirty=dirty)
    assert "encrypted by git-crypt" in error.message and "secret.env" in error.message
    assert "git-crypt unlock" in str(error.next)


# Submodules


@pytest.fixture
def outer(repo: Repository, tmp_path: Path) -> Repository:
    """A repository with a submodule below vendor/inner, which has one of its own."""
    deep = Repository(tmp_path / "deep")
    deep.commit(x="deep")
    inner = Repository(tmp_path / "inner")
    inner.git(*ALLOW, "submodule", "add", "-q", str(deep.root), "deep")
    inner.commit(x="inner")
    repo.git(*ALLOW, "submodule", "add", "-q", str(inner.root), "vendor/inner")
    repo.git(*ALLOW, "submodule", "update", "--init", "--recursive", "-q")
    repo.commit()
    return repo


def test_submodules_ship_as_they_were_committed(outer: Repository) -> None:
    """Their files ship, from the commit that is recorded and from the disk, however deep they are."""
    for options in ({}, {"dirty": True}, {"ref": "HEAD"}):
        shipped = contents(collect(outer.root, **options))  # type: ignore[arg-type]
        assert (shipped["vendor/inner/x"], shipped["vendor/inner/deep/x"]) == (b"inner", b"deep")
    assert not any(entry.path.startswith("vendor") for entry in collect(outer.root, submodules=False).entries)


def test_a_submodule_that_moved_on_is_a_change(outer: Repository) -> None:
    """A changed submodule is refused as any change is; new files in it are told; an older commit ships its own."""
    inner = Repository(outer.root / "vendor/inner")
    inner.write("new")
    assert collect(outer.root).warnings == ("not tracked by git, so they do not ship: vendor/inner/ (new files in it)",)
    inner.commit(x="changed")
    assert "vendor/inner" in refusal(outer.root).message
    assert contents(collect(outer.root, ref="HEAD"))["vendor/inner/x"] == b"inner"
    assert contents(collect(outer.root, dirty=True))["vendor/inner/x"] == b"changed"


def test_a_submodule_that_is_not_there(outer: Repository, tmp_path: Path) -> None:
    """A clone without its submodules is refused with what to type, unless they are left out."""
    outer.git("clone", "-q", str(outer.root), str(tmp_path / "clone"))
    for dirty in (False, True):
        error = refusal(tmp_path / "clone", dirty=dirty)
        assert "vendor/inner is a submodule" in error.message
        assert "git submodule update --init" in str(error.next) and "submodules = false" in str(error.next)
        assert contents(collect(tmp_path / "clone", dirty=dirty, submodules=False))["app.py"] == b"one"
    outer.write(".gitattributes", "vendor/inner export-ignore\n")
    outer.commit()
    outer.git("clone", "-q", str(outer.root), str(tmp_path / "again"))
    assert collect(tmp_path / "again").find("app.py")


def test_a_repository_inside_is_no_submodule(repo: Repository) -> None:
    """Another repository that git does not track is named, and its files do not ship."""
    Repository(repo.root / "other").commit(x="x")
    source = collect(repo.root, dirty=True)
    assert source.warnings == ("other is another git repository, and no submodule: its files do not ship",)
    assert source.find("other/x") is None
