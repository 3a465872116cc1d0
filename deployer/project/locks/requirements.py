"""Requirements files: what they name of the code, and which of their lines are not pinned."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace

from deployer.errors import ConfigError
from deployer.project.locks.uvlock import normal
from deployer.project.shipped import Chosen, Reads, Shipped, inside, is_archive, local
from deployer.wire.advice import run
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

_OPTION = pattern(
    r"(?P<name>--requirement|--constraint|--editable|--find-links|-[rcef])(?:\s*=\s*|\s+|(?<=\A-[rcef]))(?P<value>\S+)"
)
_LONG = {"-r": "--requirement", "-c": "--constraint", "-e": "--editable", "-f": "--find-links"}
_NAMED = pattern(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\]\s*)?(?:@\s*(?P<url>\S+))?")
_PINNED = pattern(r"===?\s*(?![^,;\s]*\*)[^,;\s]+")
_COMMIT = pattern(r"@[0-9a-f]{7,64}(?:[#?]|\Z)")
_HASH = pattern(r"[#&](?:md5|sha1|sha224|sha256|sha384|sha512)=[0-9a-fA-F]{32,}|\s--hash[=\s]")
_OPTIONS = pattern(r"\s--")
_PLACE = pattern(r"[^\s;\[]+")
_ROOT = pattern(r"(?://)?/?\$\{PROJECT_ROOT\}/?")
_CREDENTIALS = pattern(r"//[^/@\s]+@")
_VCS = ("git+", "hg+", "svn+", "bzr+")
_SHOWN = 80


@dataclass(frozen=True, kw_only=True)
class Line:
    """A logical line without comments; ``where`` is ``file:line``, ``file`` the file it is in."""

    file: str
    where: str
    text: str
    constraint: bool = False


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """``name`` as indexes compare it, empty where only a place is named; ``place`` a path of the code, if it is one.

    ``pinned``: it means the same on every day and every host.
    """

    name: str
    place: str = ""
    pinned: bool = True


def read(shipped: Shipped, path: str, chosen: Chosen) -> Reads:
    """A requirements file, all that it includes, and all of the code that they install.

    Raises ConfigError for what they name and does not ship, and where groups or extras are chosen: there are none.
    """
    chosen.refuse_unknown(path, (), ())
    reads, pins, loose = Reads(), set[str](), list[tuple[str, str]]()
    for line in lines(shipped, path):
        if line.text.startswith("-") and not _option(line.text, "--editable"):
            reads = reads.joined(_links(shipped, line))
            continue
        one = parse(line.text, shipped)
        if one.place:
            reads = reads.joined(local(shipped, one.place, line.where))
        if one.pinned:
            pins.add(one.name)
        elif not line.constraint:
            loose.append((one.name, f"{line.where}: {shown(line.text)}"))
    floating = tuple(told for name, told in loose if not name or name not in pins)
    return replace(reads, files=(*_included(shipped, path), *reads.files), floating=floating)


def parse(rule: str, shipped: Shipped) -> Requirement:
    """What one line requires; paths in it are relative to the project, whatever file it is in."""
    editable = _option(rule, "--editable")
    text = editable or _OPTIONS.split(rule)[0]
    named = _NAMED.match(text)
    name = normal(named["name"]) if named else ""
    what = named["url"] if named and named["url"] and not editable else text
    if what.startswith(_VCS):
        return Requirement(name=name if what is not text else "", pinned=bool(_COMMIT.search(what)))
    place = _place(what, shipped, certain=bool(editable) or what is not text)
    if place or "://" in what:
        # what lies at a URL may be another file tomorrow; what is in the code is the commit's
        pinned = bool(place) or bool(_HASH.search(rule))
        return Requirement(name=name if what is not text else "", place=place, pinned=pinned)
    return Requirement(name=name, pinned=bool(_PINNED.search(text.partition(";")[0])))


def is_repository(rule: str) -> bool:
    """Whether a line names a repository (``git+…``)."""
    return any(word.startswith(_VCS) for word in rule.split()[:3])


def _place(what: str, shipped: Shipped, *, certain: bool) -> str:
    """The path that ``what`` stands for; empty for a package of an index and for a URL.

    ``certain``: it is one of the two, and no package.
    """
    file = what.startswith("file:")
    match = _PLACE.match(_ROOT.sub("./", what.removeprefix("file:"), count=1))
    path = match[0] if match else ""
    if file:
        return re.sub(r"\A//+", "/", path)
    if "://" in path:
        return ""
    certain = certain or path.startswith((".", "/")) or is_archive(path)
    return path if certain or ("/" in path and shipped.is_directory(posixpath.normpath(path))) else ""


def _included(shipped: Shipped, path: str) -> list[str]:
    """The file and those it includes."""
    return list(dict.fromkeys(file for file, _, _ in _files(shipped, path)))


def _files(shipped: Shipped, path: str) -> Iterator[tuple[str, str, bool]]:
    """Each file once with its text, and whether it only constrains. Raises ConfigError for one that does not ship."""
    waiting, seen = [(path, "", False)], set[tuple[str, bool]]()
    while waiting:
        path, named_by, constraint = waiting.pop()
        if (path, constraint) in seen:
            continue
        seen.add((path, constraint))
        text = shipped.text(path)
        if text is None:
            raise ConfigError(
                message=f"{named_by} names {path}, which does not ship with the code",
                next=run(f"git add {shlex.quote(path)}"),
            )
        yield path, text, constraint
        for number, rule in _logical(text):
            for name in ("--requirement", "--constraint"):
                if value := _option(rule, name):
                    where = f"{path}:{number}"
                    below = inside(shipped, posixpath.join(posixpath.dirname(path), value), where)
                    waiting.append((below, where, constraint or name == "--constraint"))


def lines(shipped: Shipped, path: str) -> Iterator[Line]:
    """The logical lines of a file and of all that it includes. Raises ConfigError for one that does not ship."""
    for file, text, constraint in _files(shipped, path):
        for number, rule in _logical(text):
            yield Line(file=file, where=f"{file}:{number}", text=rule, constraint=constraint)


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, each with its number; one that ends with a backslash goes on with the next."""
    begun, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first if begun else number
        begun += line
        if begun.endswith("\\"):
            begun = begun[:-1] + " "
            continue
        rule, begun = re.sub(r"(?:^|\s)#.*", "", begun).strip(), ""
        if rule:
            yield first, rule
    if rule := re.sub(r"(?:^|\s)#.*", "", begun).strip():
        yield first, rule


def _option(rule: str, name: str) -> str:
    """The value of that option, where the line is one; else nothing."""
    match = _OPTION.match(rule)
    return match["value"].strip("'\"") if match and _LONG.get(match["name"], match["name"]) == name else ""


def _links(shipped: Shipped, line: Line) -> Reads:
    """A directory of wheels, as ``--find-links`` names it: relative to its file."""
    value = _option(line.text, "--find-links")
    if not value or "://" in value:
        return Reads()
    return local(shipped, posixpath.join(posixpath.dirname(line.file), value), line.where)


def shown(rule: str) -> str:
    """A line as it may be told: short, and without what a URL has of passwords."""
    text = _CREDENTIALS.sub("//…@", _OPTIONS.split(rule)[0].strip())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
