"""A deploy of a commit reads what changed since the last one; and what git cannot give is told when it is missed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployer.errors import ConfigError
from deployer.project.commit import checkout, digests
from deployer.project.source import Source, collect, from_git
from deployer.project.spool import Spool
from deployer.release.delta import make_delta
from tests.support.repository import Repository
from tests.support.watchedgit import Watched

pytestmark = pytest.mark.usefixtures("own_git")

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n"
FILES = 3000


@pytest.fixture
def objects_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "from_archive", lambda *given: pytest.fail("git archive had to give everything"))


def contents(source: Source) -> dict[str, bytes]:
    return {entry.path: source.open(entry).read() for entry in source.entries}


def blob(repo: Repository, path: str) -> str:
    return repo.git("rev-parse", f"HEAD:{path}")


# What is read


@pytest.fixture
def big(tmp_path: Path) -> Repository:
    """A project of 3,000 files, with attributes that change none of them."""
    repository = Repository(tmp_path / "big")
    for number in range(FILES):
        repository.write(f"pkg{number % 50}/f{number}.py", f"# {number}\n" * 20)
    repository.commit(__gitattributes="* text=auto\n*.png binary\n")
    return repository


@pytest.mark.usefixtures("objects_only")
def test_a_change_of_one_line_reads_one_blob(
    big: Repository, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 3,000 files one is read and kept, and that takes ten runs of git, however many files there are."""
    base = collect(big.root)
    assert len(watched.names) == FILES + 1
    big.write("pkg7/f7.py", "changed\n")
    big.commit()
    changed = blob(big, "pkg7/f7.py")
    watched.forget()
    kept: list[int] = []
    really = Spool.write
    monkeypatch.setattr(Spool, "write", lambda spool, data: kept.append(len(data)) or really(spool, data))
    source, runs = collect(big.root), watched.runs
    assert watched.names == [changed] and kept == [len("changed\n")]
    assert len(runs) == 10 and not any("archive" in one for one in runs), runs
    upload = make_delta(source, base.digest, [entry.id for entry in base.entries])
    assert [entry.path for entry in upload.delta.add] == ["pkg7/f7.py"]
    assert (len(watched.names), len(watched.runs)) == (1, len(runs))
    assert source.digest != base.digest


@pytest.mark.usefixtures("objects_only")
def test_nothing_changed_reads_nothing(big: Repository, watched: Watched) -> None:
    """A host that has nothing yet gets all, in one run of git; and no file is read twice."""
    collect(big.root)
    watched.forget()
    source = collect(big.root)
    assert watched.names == [] and not any("cat-file" in one for one in watched.runs)
    make_delta(source)
    make_delta(source)
    assert sorted(watched.names) == sorted(
        big.git("rev-parse", *(f"HEAD:{one.path}" for one in source.entries)).split()
    )
    assert sum("cat-file" in one for one in watched.runs) == 1


@pytest.mark.usefixtures("objects_only")
def test_only_what_attributes_change_is_archived(repo: Repository, watched: Watched) -> None:
    """Files under a filter go through it, the rest comes from git's objects, and git is told which."""
    repo.git("config", "filter.rot.smudge", "tr a-z b-za")
    repo.commit(__gitattributes="*.rot filter=rot\nout export-ignore\n", a__rot="abc", b="b", out="x")
    shipped = contents(collect(repo.root))
    assert (shipped["a.rot"], shipped["b"], "out" in shipped) == (b"bcd", b"b", False)
    (archived,) = [one for one in watched.runs if " archive " in one]
    assert archived.endswith("-- a.rot")


def test_more_files_than_can_be_named_are_all_archived(
    repo: Repository, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where attributes change very many files, git archive gives the whole project."""
    monkeypatch.setattr(checkout, "_MOST_CONVERTED", 2)
    repo.commit(__gitattributes="*.crlf text eol=crlf\n", **{f"f{number}__crlf": "x\n" for number in range(3)})
    assert contents(collect(repo.root))["f1.crlf"] == b"x\r\n"
    (archived,) = [one for one in watched.runs if " archive " in one]
    assert "f1.crlf" not in archived


def test_an_object_that_another_replaces(repo: Repository, watched: Watched) -> None:
    """git's replacements ship, as a checkout has them, whatever is known of the objects they replace."""
    assert contents(collect(repo.root))["app.py"] == b"one"
    repo.write("../other", "two")
    repo.git("replace", blob(repo, "app.py"), repo.git("hash-object", "-w", "../other"))
    assert contents(collect(repo.root, ref="HEAD"))["app.py"] == b"two"


@pytest.mark.usefixtures("objects_only")
def test_pointers_are_known_without_being_read(repo: Repository, watched: Watched) -> None:
    """What was refused once is refused again, by its name, though nothing of it is read any more."""
    repo.commit(logo__png=POINTER, app__py="x")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"pointers of Git LFS .*: logo.png"):
            collect(repo.root)
    assert watched.names.count(blob(repo, "logo.png")) == 1


@pytest.mark.usefixtures("objects_only")
@pytest.mark.parametrize("spoil", ["missing", "damaged", "unwritable"])
def test_a_cache_that_is_no_use_costs_time_only(repo: Repository, tmp_path: Path, spoil: str) -> None:
    """The files are the same without it, and nobody is told."""
    before = collect(repo.root)
    (found,) = (tmp_path / "cache/deployer").iterdir()
    if spoil == "damaged":
        found.write_bytes(found.read_bytes()[:-1] + b"x")
    else:
        shutil.rmtree(tmp_path / "cache")
    if spoil == "unwritable":
        (tmp_path / "cache").write_text("in the way")
    assert collect(repo.root) == before


def test_a_cache_that_lies_is_found_out(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A content is compared with what was said of it, before a host sees it."""
    known = {blob(repo, "app.py"): digests.Known(3, "f" * 64, 0)}
    monkeypatch.setattr(digests.Digests, "load", lambda self: known)
    source = collect(repo.root)
    with pytest.raises(ConfigError, match=r"app.py has another content") as caught:
        make_delta(source)
    assert caught.value.state == "nothing was touched" and ".cache" in str(caught.value.next)


# Repositories of other shapes


@pytest.mark.usefixtures("objects_only")
def test_objects_of_another_repository(repo: Repository, tmp_path: Path) -> None:
    """A clone that borrows its objects ships as its original does."""
    subprocess.run(["git", "clone", "-q", "--shared", str(repo.root), str(tmp_path / "clone")], check=True)
    assert contents(collect(tmp_path / "clone")) == contents(collect(repo.root))


@pytest.fixture
def partial(repo: Repository, tmp_path: Path) -> Repository:
    """A clone without the blobs of a big file, and nothing of it checked out."""
    repo.git("config", "uploadpack.allowFilter", "true")
    repo.git("config", "uploadpack.allowAnySHA1InWant", "true")
    repo.commit(big="big" * 1000, small="s")
    source = f"file://{repo.root}"
    subprocess.run(
        ["git", "clone", "-q", "--filter=blob:limit=1k", "--no-checkout", source, str(tmp_path / "partial")],
        check=True, capture_output=True,
    )  # fmt: skip
    return Repository(tmp_path / "partial")


@pytest.mark.usefixtures("objects_only")
def test_blobs_that_are_still_with_the_server(partial: Repository, repo: Repository) -> None:
    """A partial clone fetches what it lacks, and no more than that."""
    assert contents(collect(partial.root, ref="HEAD")) == contents(collect(repo.root, ref="HEAD"))


def test_a_blob_that_is_known_and_cannot_be_fetched(partial: Repository, repo: Repository) -> None:
    """What was never read is missed only where it is to be sent; git's words are told then."""
    collect(repo.root)
    digests.Digests(partial.root).save(digests.Digests(repo.root).load(), {})
    shutil.rmtree(repo.root / ".git")
    source = collect(partial.root, ref="HEAD")
    entry = source.find("big")
    assert entry is not None and source.read_text("small") == "s"
    with pytest.raises(ConfigError, match=r"does not appear to be a git repository|not a git repository") as caught:
        source.open(entry)
    assert caught.value.state == "nothing was touched"
    assert "git cannot give the files of" in caught.value.message


def test_a_blob_that_is_not_there_at_all(repo: Repository) -> None:
    """Read before or not: where a content is needed and the repository has lost it, git's words are told."""
    source = collect(repo.root)
    name = blob(repo, "app.py")
    (repo.root / f".git/objects/{name[:2]}/{name[2:]}").unlink()
    assert contents(source)["app.py"] == b"one"  # it was read
    again = collect(repo.root, ref="HEAD")
    with pytest.raises(ConfigError, match=f"{name} missing"):
        make_delta(again)
    shutil.rmtree(os.environ["XDG_CACHE_HOME"])
    with pytest.raises(ConfigError, match=f"cannot read '?{name}"):
        collect(repo.root, ref="HEAD")


def test_a_repository_that_is_gone(repo: Repository) -> None:
    """Its files cannot be read any more, which is told as what it is."""
    collect(repo.root)
    source = collect(repo.root)
    shutil.rmtree(repo.root)
    with pytest.raises(ConfigError, match="is not a directory"):
        make_delta(source)


def test_a_damaged_object(repo: Repository) -> None:
    """Content that is not what its name says is never taken for it."""
    name, other = blob(repo, "app.py"), blob(repo, "manage.py")
    place = repo.root / ".git/objects"
    (place / f"{name[:2]}/{name[2:]}").unlink()
    shutil.copy(place / f"{other[:2]}/{other[2:]}", place / f"{name[:2]}/{name[2:]}")
    collect(repo.root, ref="HEAD")
    assert name not in digests.Digests(repo.root).load()


# The git that reads


@pytest.mark.usefixtures("objects_only")
def test_many_threads_open_files(repo: Repository, watched: Watched) -> None:
    """Hosts of a fleet read at once: each file whole, and once from git."""
    for number in range(200):
        repo.write(f"f{number}", f"{number}\n" * 1000)
    repo.commit()
    collect(repo.root)
    source = collect(repo.root)
    watched.forget()
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda entry: source.open(entry).read(), [*source.entries] * 4))
    assert read == [(repo.root / entry.path).read_bytes() for entry in [*source.entries] * 4]
    assert len(watched.names) == len(source.entries)


def children() -> dict[int, str]:
    """The readers that this process has started, by their ids."""
    found = {}
    for line in subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True).stdout.splitlines():
        pid, parent, command = line.split(maxsplit=2)
        if int(parent) == os.getpid() and command.endswith(" cat-file --batch"):
            found[int(pid)] = command
    return found


@pytest.mark.usefixtures("objects_only")
def test_a_git_that_was_ended_is_started_again(repo: Repository) -> None:
    """A Ctrl-C at the terminal reaches it as well; and it ends with the last who may ask it."""
    collect(repo.root)
    source = collect(repo.root)
    assert children() == {}
    assert source.read_text("app.py") == "one"
    (pid,) = children()
    os.kill(pid, signal.SIGINT)
    assert source.read_text("manage.py") == "manage"
    assert len(children()) == 1 and pid not in children()
    del source
    assert children() == {}


def test_all_that_differs_in_submodules(repo: Repository, tmp_path: Path) -> None:
    """A submodule's files come from its own repository, by its own attributes."""
    inner = Repository(tmp_path / "inner")
    inner.commit(__gitattributes="out export-ignore\n", x="inner", out="x")
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner.root), "vendor/inner")
    repo.write(".gitattributes", "vendor/hidden export-ignore\n")
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner.root), "vendor/hidden")
    repo.commit()
    for _ in range(2):
        source = from_git(repo.root)
        shipped = {path for path in contents(source) if path.startswith("vendor")}
        assert shipped == {"vendor/inner/.gitattributes", "vendor/inner/x"}
    assert len(children()) == 1  # of two repositories
