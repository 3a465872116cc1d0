"""Short names for hosts which still tell them apart. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.ui.style.text import clean, middle

__all__ = ["Names"]


class Names:
    """What each host is called in views of a fleet: as typed, without a ``user@`` that is the same for all.

    ``longest`` is how many columns a name may have (0: any number).
    """

    def __init__(self, hosts: Sequence[str], *, longest: int = 0) -> None:
        self._longest = longest
        users = {host.rpartition("@")[0] for host in hosts}
        self._prefix = f"{users.pop()}@" if len(users) == 1 and "" not in users else ""
        self.width = max((len(self(host)) for host in hosts), default=0)

    def __call__(self, host: str) -> str:
        name = clean(host.removeprefix(self._prefix))
        return middle(name, self._longest) if self._longest else name

    def prefix(self, host: str) -> str:
        """``[web1] ``; empty for the laptop itself."""
        return f"[{self(host)}] " if host else ""

    def few(self, hosts: Sequence[str], most: int = 4) -> str:
        """``web1, web2 and 17 more``."""
        shown = hosts if len(hosts) <= most + 1 else hosts[:most]
        left = len(hosts) - len(shown)
        return ", ".join(map(self, shown)) + (f" and {left} more" if left else "")

    def fitting(self, hosts: Sequence[str], width: int, most: int = 8) -> str:
        """As many of them as go into so many columns; one at least."""
        texts = (self.few(hosts, count) for count in range(most, 0, -1))
        return next((text for text in texts if len(text) <= width), self.few(hosts, 1))
