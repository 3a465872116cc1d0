"""What several hosts say in the same words is said once."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.events import Note, Warn
from deployer.ui.text import clean_lines

__all__ = ["Said"]


class Said:
    """Remembers who said what."""

    def __init__(self) -> None:
        self._hosts: dict[tuple[type, str], list[str]] = {}

    def new(self, event: Note | Warn) -> bool:
        """Whether nobody else has said it; the same host may say it again."""
        hosts = self._hosts.setdefault((type(event), event.text), [])
        if event.host not in hosts:
            hosts.append(event.host)
        return event.host == hosts[0]

    def repeated(self) -> Iterator[tuple[bool, list[str], str]]:
        """Whether it is a warning, the other hosts that said it, and what they said in one line."""
        for (kind, text), hosts in self._hosts.items():
            if len(hosts) > 1:
                yield kind is Warn, hosts[1:], "; ".join(clean_lines(text))
