"""A class is the library's dataclass from its first use on, however that comes about."""

from __future__ import annotations

import copy
import dataclasses
import threading
import time
from dataclasses import field
from typing import Any

import pytest

from deployer.wire.lazydata import dataclass


def made() -> Any:
    @dataclass(frozen=True)
    class Point:
        x: int
        y: int = 2
        tags: list[str] = field(default_factory=list)

    return Point


def is_made(cls: type) -> bool:
    return "__repr__" in vars(cls)


def test_nothing_is_made_until_it_is_used() -> None:
    """That is what it is for."""
    assert not is_made(made())


def test_an_instance_is_as_the_librarys() -> None:
    """Defaults, comparison, hash, text, and no change."""
    point = made()
    one = point(1)
    assert is_made(point)
    assert (one.x, one.y, one.tags) == (1, 2, [])
    assert one == point(x=1, y=2) and one != point(2)
    assert repr(one).endswith("Point(x=1, y=2, tags=[])")
    assert dataclasses.asdict(dataclasses.replace(one, x=5)) == {"x": 5, "y": 2, "tags": []}
    assert copy.copy(one) == one
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.x = 3
    with pytest.raises(TypeError, match="__init__"):
        point()
    assert point(1).tags is not point(1).tags


def test_fields_are_asked_for_first() -> None:
    """Of the class, and of one that is derived from it."""
    assert [one.name for one in dataclasses.fields(made())] == ["x", "y", "tags"]
    base = made()

    @dataclass(frozen=True)
    class Named(base):  # type: ignore[misc]
        name: str = ""

        def __post_init__(self) -> None:
            object.__setattr__(self, "y", 9)

    assert not is_made(base)
    assert Named(1, name="n") == Named(x=1, name="n")
    assert (Named(1).y, is_made(base), base(1).y) == (9, True, 2)


def test_a_class_derived_by_plain_means_is_made_too() -> None:
    """Without a decorator of its own, or with its own ``__init__``."""
    base = made()

    class Plain(base):  # type: ignore[misc]
        pass

    class Own(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(7)

    assert (Plain(1).x, Own().x, repr(Own()).endswith("Own(x=7, y=2, tags=[])")) == (1, 7, True)


def test_slots_are_refused() -> None:
    """The library makes another class for them, which nobody would get."""
    with pytest.raises(TypeError, match="slots"):
        dataclass(slots=True)(type("Point", (), {}))


def test_bare_and_mutable() -> None:
    """The decorator without options."""

    @dataclass
    class Box:
        value: int = 0

    box = Box()
    box.value = 3
    assert box == Box(3)


def test_another_thread_waits_while_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would find a class without ``__init__``, or make it a second time."""
    real, point = dataclasses.dataclass, made()
    begun, got = threading.Event(), []

    def slowly(**options: Any) -> Any:
        def make(cls: type) -> type:
            found = real(**options)(cls)
            begun.set()
            time.sleep(0.05)
            return found

        return make

    def use() -> None:
        begun.wait(30)
        got.append(point(1))

    monkeypatch.setattr(dataclasses, "dataclass", slowly)
    thread = threading.Thread(target=use)
    thread.start()
    assert point(1) == point(1, 2, [])
    thread.join()
    assert got == [point(1)]
