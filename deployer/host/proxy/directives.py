"""What this host's nginx reads, as it dumps it (``nginx -T``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from deployer.host.system import runner
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

_FILE = pattern(r"# configuration file (.+):")
_PART = pattern(
    r"""\s+|\#[^\n]*|[{};]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?:[^\s{};"'\\$]|\\.|\$\{[^}]*\}|\$)+""", re.DOTALL
)
_ANY = "0.0.0.0"  # noqa: S104  (compared with, not bound)
_POOLS = (1, 29, 7)
"""From this version on nginx keeps connections to a named upstream by default."""


@dataclass(frozen=True)
class Directive:
    """One directive: its words, the blocks around it (outermost first), and where it stands."""

    words: tuple[str, ...]
    blocks: tuple[tuple[str, ...], ...]
    file: str
    line: int

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


def read_directives() -> list[Directive]:
    """All directives that nginx reads; none when its configuration is not valid."""
    done = runner.run(["nginx", "-T", "-q"])
    return list(parse_dump(done.out)) if done.ok else []


def parse_dump(dump: str) -> Iterator[Directive]:
    """The directives of a dump, including those that open a block. Never raises: odd text is skipped."""
    for file, text in _files(dump):
        blocks: list[tuple[str, ...]] = []
        words: list[str] = []
        line, began = 1, 1
        for match in _PART.finditer(text):
            part = match.group()
            if part in (";", "{"):
                if words:
                    yield Directive(tuple(words), tuple(blocks), file, began)
                if part == "{":
                    blocks.append(tuple(words))
                words = []
            elif part == "}":
                del blocks[-1:]
                words = []
            elif not part.isspace() and not part.startswith("#"):
                began = began if words else line
                words.append(part[1:-1] if part[0] in "\"'" else part)
            line += part.count("\n")


def _files(dump: str) -> Iterator[tuple[str, str]]:
    """Each file of a dump with its text. A file is dumped once, even when it is included several times."""
    name: str = ""
    lines: list[str] = []
    for line in dump.splitlines():
        match = _FILE.fullmatch(line)
        if match:
            yield name, "\n".join(lines)
            name, lines = match[1], []
        else:
            lines.append(line)
    yield name, "\n".join(lines)


def default_sites(found: Iterable[Directive], addresses: Iterable[str]) -> list[Directive]:
    """The ``listen`` lines that make a site the default server at one of these addresses."""
    wanted = {_address(one) for one in addresses}
    return [
        one
        for one in found
        if one.words[0] == "listen"
        and {"default_server", "default"} & set(one.words[2:])
        and _address(one.words[1]) in wanted
    ]


def _address(text: str) -> str:
    """An address as nginx compares it: ``80``, ``*:80`` and ``0.0.0.0:80`` are the same."""
    if text.isdigit():
        return f"{_ANY}:{text}"
    host, _, port = text.rpartition(":") if not text.endswith("]") and ":" in text else (text, "", "80")
    return f"{_ANY if host in ('*', '') else host}:{port}"


def pooling_upstreams(found: Iterable[Directive], app: str, version: tuple[int, ...]) -> list[Directive]:
    """The upstreams to the app that keep their connections: after a switch these reach the old release."""
    found = list(found)
    ours = f"unix:/srv/{app}/"
    servers = [
        one for one in found if one.words[0] == "server" and len(one.words) > 1 and one.words[1].startswith(ours)
    ]
    kept = []
    for server in servers:
        same = [one for one in found if one.file == server.file and one.blocks == server.blocks]
        says = [one for one in same if one.words[0] == "keepalive"]
        if any(one.words[1:] != ("0",) for one in says) or (not says and version >= _POOLS and not _closes(found)):
            kept.append(says[0] if says else server)
    return kept


def _closes(found: Iterable[Directive]) -> bool:
    """Whether any site tells its upstream to close the connection."""
    return any(one.words[:2] == ("proxy_set_header", "Connection") and one.words[2:] == ("close",) for one in found)
