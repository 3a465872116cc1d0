"""The next command to type, as it must be typed: for the host and environment of the command that failed."""

from __future__ import annotations

import re
import shlex

from deployer.wire.advice import Next
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

__all__ = ["Typed"]

_COMMAND = pattern(r"\bfab (maintenance (?:on|off)|(?:[a-z]+\.)?[a-z]+)\b(?P<hosts> -H \S+)?")


@dataclass(frozen=True, kw_only=True)
class Typed:
    """What the command line said. ``hosts`` are those of ``-H`` (none: deploy.toml has them), ``target`` is at work."""

    program: str
    target: str
    hosts: str = ""
    env: str = ""
    config: str = ""

    def adapt(self, advice: str) -> str:
        """``fab status`` becomes ``fab status -H deploy@web1``; a command that names its hosts keeps them."""
        named = advice.replace("root@HOST", f"root@{self.target.rpartition('@')[2]}")
        return _COMMAND.sub(self._complete, named)

    def advise(self, next: Next) -> Next:
        """Each step, made to fit."""
        return next.change(self.adapt)

    def _complete(self, command: re.Match[str]) -> str:
        hosts = command["hosts"] or (f" -H {shlex.quote(self.hosts)}" if self.hosts else "")
        options = (("--env", self.env), ("--config", self.config))
        more = "".join(f" {name} {shlex.quote(value)}" for name, value in options if value)
        return f"{self.program} {command[1]}{hosts}{more}"
