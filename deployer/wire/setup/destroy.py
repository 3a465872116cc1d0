"""What ``fab destroy`` asks of a host: root's own request, as that of ``fab setup`` is."""

from __future__ import annotations

from typing import Any

from deployer.wire.lazydata import dataclass
from deployer.wire.reader import Reader
from deployer.wire.release.spec import parse_app

OP = "destroy"


@dataclass(frozen=True)
class Destroy:
    """``data``: remove what the app has written, too, and its databases with their dumps."""

    app: str
    data: bool

    @classmethod
    def parse(cls, value: Any) -> Destroy:
        """Raises ValueError naming the key that is refused."""
        read = Reader(value, OP)
        read.choice("op", (OP,))
        asked = cls(app=parse_app(read.raw("app")), data=read.boolean("data"))
        read.done()
        return asked

    def as_json(self) -> dict[str, Any]:
        return {"op": OP, "app": self.app, "data": self.data}
