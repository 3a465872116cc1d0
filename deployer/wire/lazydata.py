"""``dataclass`` as the library's, but made when the class is first used.

The library writes and compiles the methods of a class as its module is imported, which takes longer than all the rest.
The host program starts several times in a deploy, and uses a few of its hundred classes each time.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: type | None = None, **options: Any) -> Any:
        """As :func:`dataclasses.dataclass`. Raises TypeError for ``slots``, which would have to make another class."""
        if options.get("slots"):
            raise TypeError("a class that is made later cannot have slots")
        return _deferred(cls, options) if cls is not None else lambda found: _deferred(found, options)


_MAKING = threading.RLock()


class _Fields:
    """Stands in for the fields of a class until they are asked for: by ``fields()``, or for a class derived from it."""

    def __init__(self, make: Callable[[], None]) -> None:
        self.make = make

    def __get__(self, instance: object, owner: type) -> Any:
        self.make()
        return owner.__dataclass_fields__  # type: ignore[attr-defined]


def _deferred(cls: type, options: dict[str, Any]) -> type:
    def first(self: object, *values: Any, **named: Any) -> None:
        make()
        cls.__init__(self, *values, **named)  # type: ignore[misc]

    def make() -> None:
        with _MAKING:
            if vars(cls).get("__dataclass_fields__") is waiting:
                _make(cls, options)

    waiting = _Fields(make)
    cls.__dataclass_fields__, cls.__init__ = waiting, first  # type: ignore[attr-defined,misc]
    return cls


def _make(cls: type, options: dict[str, Any]) -> None:
    """``__init__`` comes last, in one step: another thread that makes an instance meanwhile waits for it in ours. It is
    taken from a class derived for the purpose, as the library leaves an ``__init__`` that is there alone."""
    dataclasses.dataclass(init=False, **options)(cls)
    derived = type(cls.__name__, (cls,), {})
    dataclasses.dataclass(eq=False, repr=False, frozen=bool(options.get("frozen")))(derived)
    made = vars(derived)["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    cls.__init__ = made  # type: ignore[misc]
