"""The file that pins an app's dependencies, among those that ship, and all that an installer reads besides it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import field

from deployer.config import Config, DependenciesConfig
from deployer.errors import ConfigError
from deployer.project.locks import otherlocks, pylock, requirements, uvlock
from deployer.project.locks.hashes import Hashes, hashes_of
from deployer.project.locks.installing import asked_python, places, python_version, settings_from
from deployer.project.shipped import Chosen, Files, Reads, Shipped
from deployer.project.source import Source
from deployer.wire.advice import do, run
from deployer.wire.cause import Cause
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

NO_LOCK = Cause(
    "no-lock",
    "no uv.lock, pylock.toml or requirements.txt is among the files that ship, and a server is to be installed",
    "none of {kinds} ships with the code: the dependencies are not known",
    run("uv lock", "or pip freeze > requirements.txt") + do("then git add and commit the file"),
)
NOT_PINNED = Cause(
    "not-pinned",
    "a requirement names no version, commit or hash, and `--strict` or `release.locked` asks for one",
    "{loose}",
    run("uv lock", "or uv pip compile requirements.in -o requirements.txt")
    + do("or pin each: a commit after the @ of git+…, #sha256=… after any other URL; then commit")
    + do("or deploy without --strict and release.locked"),
)
NOT_INSTALLED = Cause(
    "not-installed",
    "the lock has a program that is to run, and only through an extra, a group or a condition that no host installs",
    "{program} is in {path} only through {where}, which is not installed on a host",
    do("make it a dependency of the project itself ({add}), then commit")
    + do("or name its group or extra in deploy.toml: dependencies = {{ groups = […], extras = […] }}"),
)
NO_SUCH_LOCK = Cause(
    "no-such-lock",
    "`dependencies.file` of deploy.toml names a file that does not ship, or is no lock that an installer reads",
    "dependencies.file of deploy.toml names {path}, which {why}",
    do("{fix}"),
)
CAUSES = (NO_LOCK, NOT_PINNED, NOT_INSTALLED, NO_SUCH_LOCK, otherlocks.OTHER_LOCK)
KINDS = {"uv.lock": "uv", "pylock.toml": "pylock", "requirements.txt": "requirements"}
"""File names, the first that ships wins."""
_READERS: Mapping[str, Callable[[Shipped, str, Chosen], Reads]] = {
    "uv": uvlock.read,
    "pylock": pylock.read,
    "requirements": requirements.read,
}
_ALL = DependenciesConfig()
_PYLOCK = pattern(r"pylock\.[^.]+\.toml")
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Lock:
    """``kind`` is ``uv``, ``pylock``, ``requirements`` or ``none``; ``path`` the file or ``""``.

    ``files`` and ``directories`` (``.``: the project) are all that an installer reads: with their contents, they name
    the environment on a host. ``requires`` is what the lock says of Python; beside requirements, which say nothing of
    it, what the project says. ``floating`` are requirements that are not
    pinned, each as ``file:line: text``; ``warnings`` are for the user, one line each.
    """

    kind: str
    path: str = ""
    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    requires: str = ""
    floating: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    directory: str = ""
    """Where an installer runs, relative to the project."""
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    hashes: bool = False
    """Whether nothing may be installed whose hash the requirements do not have."""
    python: str = ""
    """The Python (``3.12``) that ``.python-version`` asks for, as uv and pyenv read it, where ``requires`` is empty."""

    @property
    def says_python(self) -> str:
        """The file that ``requires`` is from."""
        return "pyproject.toml" if self.kind == "requirements" else self.path

    @property
    def loose(self) -> str:
        """What is said once of the requirements that are not pinned; empty when all are."""
        if not self.floating:
            return ""
        more = f"; and {len(self.floating) - _SHOWN} more" if len(self.floating) > _SHOWN else ""
        return (
            "not pinned to a version, a commit or a hash, so that it is never updated and hosts may differ: "
            f"{'; '.join(self.floating[:_SHOWN])}{more}"
        )

    def refuse_loose(self) -> None:
        """Raises ConfigError when a requirement is not pinned."""
        if self.loose:
            raise ConfigError(
                **NOT_PINNED.told(loose=self.loose),
                state="nothing was touched",
            )

    def refuse_absent(self, programs: Collection[str]) -> None:
        """Raises ConfigError for a program whose package the lock has, and no host will be given."""
        for program in programs:
            if where := self.absent.get(program):
                raise ConfigError(
                    **NOT_INSTALLED.told(program=program, path=self.path, where=where, add=_add(self.kind, program)),
                    state="nothing was touched",
                )


def _add(kind: str, program: str) -> str:
    return f"uv add {program}" if kind == "uv" else f"and lock again, for {program} to be in it without a condition"


def find_lock(source: Files, *, required: bool = True, directory: str = "", chosen: DependenciesConfig = _ALL) -> Lock:
    """The lock among the files that ship: the one that is ``chosen``, else the nearest to the app's ``directory``.

    ``required``: none is a ConfigError that says how to make one (an app with its own ``command`` may do
    without). Raises ConfigError for what a lock names and an installer would not find.
    """
    project = Shipped(source)
    path = _named(project, chosen.file) if chosen.file else _nearest(project, directory)
    if path is None:
        _refuse_none(project, directory, required=required)
        return Lock(kind="none", warnings=tuple(_not_installed(project)))
    kind, base = kind_of(path), _base(path, directory)
    shipped = project.at(base)
    parts = Chosen(
        groups=chosen.groups, extras=chosen.extras, directory=posixpath.relpath(directory or ".", base or ".")
    )
    reads = _read(shipped, posixpath.relpath(path, base or "."), kind, parts).joined(settings_from(project, base))
    files, directories = shipped.closed(reads.files, reads.directories)
    hashes = hashes_of(shipped, posixpath.relpath(path, base or ".")) if kind == "requirements" else Hashes()
    requires = asked_python(project, base) if kind == "requirements" else reads.requires
    python, unused = ("", "") if requires else python_version(project, base)
    return Lock(
        kind=kind,
        path=path,
        files=files,
        directories=directories,
        requires=requires,
        python=python,
        hashes=hashes.required,
        floating=reads.floating,
        warnings=(
            *(otherlocks.outdated(project, path) if kind == "requirements" else ()),
            *(_whole(path) if base in directories or "." in directories else ()),
            *filter(None, [unused, hashes.warning]),
        ),
        absent=reads.absent,
        directory="" if (runs_in := shipped.placed(reads.directory)) == "." else runs_in,
        groups=tuple(dict.fromkeys((*reads.groups, *chosen.groups))),
        extras=chosen.extras,
    )


def lock_of(config: Config, source: Source, *, required: bool) -> Lock:
    """The lock that deploy.toml names, or that is found. Raises ConfigError."""
    directory = config.directory or ""
    if directory and not source.entries.has_directory(directory):
        raise ConfigError(
            message=f"deploy.toml says directory = {directory!r}, and no file of such a directory ships",
            state="nothing was touched",
            next=do("correct directory in deploy.toml, relative to the project; or git add what is in it"),
        )
    return find_lock(source, required=required, directory=directory, chosen=config.dependencies)


def kind_of(path: str) -> str:
    """The kind of a lock file, by its name; empty for a name that is none's."""
    name = posixpath.basename(path)
    if name in KINDS:
        return KINDS[name]
    if _PYLOCK.fullmatch(name):
        return "pylock"
    return "requirements" if name.endswith(".txt") else ""


def _nearest(shipped: Shipped, directory: str) -> str | None:
    paths = (posixpath.join(place, name) for place in places(directory) for name in KINDS)
    return next(filter(shipped.is_file, paths), None)


def _named(shipped: Shipped, file: str) -> str:
    """The lock that deploy.toml names. Raises ConfigError when it does not ship, or no installer reads it."""
    path = posixpath.normpath(file)
    if not shipped.is_file(path):
        problem = "does not ship with the code", f"git add {path}, and commit it; or correct dependencies.file"
    elif (other := otherlocks.found([path])) is not None:
        raise otherlocks.refusal(*other)
    elif not kind_of(path):
        known = "uv.lock, pylock.toml, pylock.NAME.toml, or a requirements file that ends in .txt"
        problem = "no installer reads by that name", f"name one of these: {known}"
    else:
        return path
    raise ConfigError(**NO_SUCH_LOCK.told(path=path, why=problem[0], fix=problem[1]), state="nothing was touched")


def _base(path: str, directory: str) -> str:
    """The directory that paths in a lock are relative to: its own; of requirements, the one that pip is typed in."""
    own = posixpath.dirname(path)
    if kind_of(path) != "requirements":
        return own
    return directory if directory and path.startswith(f"{directory}/") else ""


def _refuse_none(shipped: Shipped, directory: str, *, required: bool) -> None:
    """Raises ConfigError when there is only another tool's lock; and when one is required and there is none."""
    names = [other.name for other in otherlocks.OTHER_LOCKS]
    paths = (posixpath.join(place, name) for place in places(directory) for name in names)
    other = otherlocks.found(filter(shipped.is_file, paths))
    if required and other is not None:
        raise otherlocks.refusal(*other)
    if required:
        raise ConfigError(**NO_LOCK.told(kinds=", ".join(KINDS)), state="nothing was touched")


def _read(shipped: Shipped, path: str, kind: str, chosen: Chosen) -> Reads:
    try:
        return _READERS[kind](shipped, path, chosen)
    except (AttributeError, KeyError, TypeError) as error:  # TOML, but of another shape
        raise ConfigError(
            message=f"{path} is not what its name says ({error})", next=do("lock again, and commit")
        ) from None


def _not_installed(shipped: Shipped) -> Iterator[str]:
    """What the project depends on, and nothing pins: an app with its own command runs without it."""
    table = shipped.toml("pyproject.toml").get("project")
    if isinstance(table, dict) and table.get("dependencies"):
        yield f"pyproject.toml has dependencies, and none of {', '.join(KINDS)} ships: none of them is installed"


def _whole(path: str) -> Iterator[str]:
    yield (
        f"{path} installs the project itself, so that every change of the code rebuilds the environment; the code's "
        "own directory is importable without that"
    )
