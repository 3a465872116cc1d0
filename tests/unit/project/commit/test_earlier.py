"""A commit of a large project is read by what differs from an earlier one; whatever is in the way, all of it is listed.

What is found so is what ``git archive`` gives: see ``test_same``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deployer.errors import ConfigError
from deployer.project.commit import earlier
from deployer.project.source import Source, collect
from deployer.release.delta import make_delta
from tests.support.repository import Repository
from tests.support.watchedgit import Watched

pytestmark = pytest.mark.usefixtures("own_git")

FILES = 30


@pytest.fixture
def big(repo: Repository, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A project that is taken for a large one, and was read once."""
    monkeypatch.setattr(earlier, "WORTH", FILES // 2)
    for number in range(FILES):
        repo.write(f"pkg{number % 3}/f{number}.py", f"# {number}\n")
    repo.commit(__gitattributes="* text=auto\ndocs/ export-ignore\n")
    repo.write("docs/index.rst", "x")
    repo.commit()
    collect(repo.root)
    watched.forget()
    return repo


def listed(watched: Watched) -> bool:
    """Whether all of a commit was listed."""
    return any("ls-tree" in one and " -- " not in one for one in watched.runs)


def anew(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> Source:
    """What the commit has when nothing is known of any other."""
    with monkeypatch.context() as patch:
        patch.setattr(earlier, "recall", lambda place: None)
        return collect(repo.root)


def contents(source: Source) -> dict[str, bytes]:
    return {entry.path: source.open(entry).read() for entry in source.entries}


def test_a_change_is_read_without_listing_the_rest(
    big: Repository, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New, changed, moved, removed, made executable, a link: what ships is the same, and so are its ids."""
    big.write("pkg0/f0.py", "changed\n")
    big.write("pkg9/new.py", "new\n")
    big.git("mv", "pkg1/f1.py", "moved.py")
    big.git("rm", "-q", "pkg2/f2.py")
    (big.root / "pkg0/f3.py").chmod(0o755)
    (big.root / "link").symlink_to("moved.py")
    big.write("docs/index.rst", "changed")
    big.commit()
    source = collect(big.root)
    assert not listed(watched) and len(watched.names) == 5
    fresh = anew(big, monkeypatch)
    assert (source.entries, source.digest, source.warnings) == (fresh.entries, fresh.digest, fresh.warnings)
    assert list(source.entries.ids) == [entry.id for entry in fresh.entries]
    assert contents(source) == contents(fresh)


def test_what_was_not_read_is_found_when_it_is_opened(big: Repository, watched: Watched) -> None:
    """One file costs one; a host that has nothing gets all, and all are looked up at once."""
    big.commit(app__py="changed")
    source = collect(big.root)
    assert source.read_text("pkg1/f4.py") == "# 4\n"
    assert not listed(watched)
    watched.forget()
    upload = make_delta(source)
    assert len(upload.delta.add) == len(source.entries)
    assert sum("ls-tree" in one for one in watched.runs) == 1


def gone(big: Repository) -> None:
    """The earlier commit is known no more: another clone at the same place."""
    big.git("checkout", "-q", "--orphan", "other")
    big.commit(app__py="changed")
    big.git("branch", "-q", "-D", "main")
    big.git("reflog", "expire", "--expire=now", "--all")
    big.git("gc", "-q", "--prune=now")


def attributes(big: Repository) -> None:
    big.commit(__gitattributes="pkg0/ export-ignore\n")


def own_attributes(big: Repository) -> None:
    """What this machine says counts, too."""
    big.write(".git/info/attributes", "pkg0/f0.py export-ignore\n")
    big.commit(app__py="changed")


def left_out(big: Repository) -> None:
    big.write("docs/new.rst", "x")
    big.commit()


def left_out_by_name(big: Repository) -> None:
    """By what the earlier commit said of a path at which it had nothing."""
    big.commit(__gitattributes="new.rst export-ignore\n")
    collect(big.root)
    big.write("new.rst", "x")
    big.commit()


def many(big: Repository) -> None:
    for number in range(501):
        big.write(f"many/{number}", f"{number}")
    big.commit()


def spoilt(big: Repository) -> None:
    (record,) = Path(os.environ["XDG_CACHE_HOME"], "deployer/commits").iterdir()
    record.write_bytes(record.read_bytes()[:-40] + b"x" * 40)
    big.commit(app__py="changed")


@pytest.mark.parametrize("change", [gone, attributes, own_attributes, left_out, left_out_by_name, many, spoilt])
def test_all_is_listed(
    big: Repository, watched: Watched, monkeypatch: pytest.MonkeyPatch, change: Callable[[Repository], None]
) -> None:
    """Where what differs does not say what ships; and the next commit is read by this one."""
    change(big)
    watched.forget()
    source = collect(big.root)
    assert listed(watched)
    assert source == anew(big, monkeypatch)
    big.commit(app__py="changed once more")
    watched.forget()
    again = collect(big.root)
    assert not listed(watched)
    assert again == anew(big, monkeypatch)


@pytest.mark.parametrize("others", [0, 25])
def test_a_pointer_is_refused_as_ever(big: Repository, others: int) -> None:
    """What stands for content is told of, however the commit is read; also when the one after it is deployed."""
    for number in range(others):
        big.write(f"new/{number}", f"{number}")
    big.commit(logo__png=f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n")
    for number in range(2):
        with pytest.raises(ConfigError, match=r"pointers of Git LFS .*: logo.png"):
            collect(big.root)
        big.commit(app__py=f"{number}")


def test_what_another_version_has_kept_is_not_used(
    big: Repository, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is listed, and kept anew."""
    monkeypatch.setattr(earlier, "_VERSION", 99)
    big.commit(app__py="changed")
    for lists in (True, False):
        watched.forget()
        collect(big.root)
        assert listed(watched) is lists


def test_two_projects_of_one_repository(big: Repository, watched: Watched) -> None:
    """Each has its own, and what changes beside it is nothing to it."""
    for number in range(FILES):
        big.write(f"one/f{number}.py", f"one {number}\n")
        big.write(f"two/f{number}.py", f"two {number}\n")
    big.commit()
    one, two = big.root / "one", big.root / "two"
    before = [collect(place).digest for place in (one, two)]
    big.write("two/f0.py", "changed\n")
    big.commit()
    watched.forget()
    found = [collect(place) for place in (one, two)]
    assert not listed(watched)
    assert found[0].digest == before[0] and found[1].digest != before[1]
    assert contents(found[0])["f0.py"] == b"one 0\n" and contents(found[1])["f0.py"] == b"changed\n"


@pytest.mark.parametrize(("changes", "size"), [(21, 1), (1, 2_000_000)])
def test_what_was_read_is_not_read_again(big: Repository, watched: Watched, changes: int, size: int) -> None:
    """After many changes, or large ones, a commit takes the place of the earlier one."""
    for number in range(changes):
        big.write(f"new/{number}", f"{number}" * size)
    big.commit()
    collect(big.root)
    assert len(watched.names) == changes
    big.commit(app__py="changed")
    watched.forget()
    collect(big.root)
    assert len(watched.names) == 1 and not listed(watched)


def test_few_changes_are_read_again(big: Repository, watched: Watched) -> None:
    """All that is kept of a project is not written for one of them."""
    for number in range(3):
        big.commit(app__py=f"{number}", **{f"new{number}": f"new {number}"})
        watched.forget()
        collect(big.root)
    assert len(watched.names) == 4


def test_files_that_git_does_not_track_ship_as_well(big: Repository, watched: Watched) -> None:
    """``include`` is looked up on the disk, whatever is known of the commit."""
    big.commit(__gitignore="built\n", app__py="changed")
    big.write("built/app.css", "body {}")
    source = collect(big.root, include=["built", "pkg1"])
    found = source.find("built/app.css")
    assert not listed(watched) and found is not None and source.open(found).read() == b"body {}"
    assert contents(source)["pkg1/f1.py"] == b"# 1\n"


def test_a_name_that_cannot_ship(big: Repository) -> None:
    """It is named as when all is listed."""
    big.commit(**{"a\tb": "x"})
    with pytest.raises(ConfigError, match="control character"):
        collect(big.root)
