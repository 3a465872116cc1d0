"""Where in a TOML file a key stands: a guess good enough for error messages, for the parser does not tell."""

from __future__ import annotations

from deployer.wire.lazyre import pattern

HEADER = pattern(r"""\s*\[\[?(?P<key>(?:"[^"]*"|'[^']*'|[^\]"'])+)\]\]?\s*(?:#.*)?\Z""")
ASSIGNMENT = pattern(
    r"""\s*(?P<key>(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*="""
)
PART = pattern(r""""(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[A-Za-z0-9_-]+)""")

Path = tuple[str, ...]


def line_of(text: str, path: Path) -> int | None:
    """The line (from 1) of the key, or of the nearest table around it; None when neither is found."""
    known = key_lines(text)
    for length in range(len(path), 0, -1):
        if path[:length] in known:
            return known[path[:length]]
    return None


def key_lines(text: str) -> dict[Path, int]:
    """Every key and table header that begins a line, with the number of its first line."""
    lines: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := HEADER.match(line):
            table = parts(header["key"])
            for length in range(1, len(table) + 1):
                lines.setdefault(table[:length], number)
        elif assignment := ASSIGNMENT.match(line):
            lines.setdefault(table + parts(assignment["key"]), number)
    return lines


def parts(key: str) -> Path:
    """A dotted key, as written, in its parts."""
    return tuple(match["double"] or match["single"] or match["bare"] or "" for match in PART.finditer(key))
