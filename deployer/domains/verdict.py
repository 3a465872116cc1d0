"""What it means where a name leads. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployer.wire.lazydata import dataclass

__all__ = ["Answer", "Place", "is_reserved", "line", "sentence"]

_RESERVED = ("test", "example", "invalid", "localhost", "local", "internal", "home.arpa")
"""Names that no public DNS has (RFC 2606, 6761, 6762, 8375)."""
_NAMED = 3


@dataclass(frozen=True)
class Answer:
    """Who answers at an address. ``wrong`` says why it is not this site; empty when it is, or when nobody knows."""

    known: bool = True
    wrong: str = ""


@dataclass(frozen=True, kw_only=True)
class Place:
    """An address that a name leads to: a ``host`` of the app has it, or somebody else answers there."""

    address: str
    host: str = ""
    answer: Answer = Answer(known=False)

    @property
    def is_wrong(self) -> bool:
        return not self.host and bool(self.answer.wrong)


def sentence(name: str, places: Sequence[Place] | None, hosts: Mapping[str, Sequence[str]], *, front: bool) -> str:
    """What is wrong with where a name leads; empty when nothing is, and while nobody knows.

    No ``places``: the DNS has no address for it; None: that is not known. ``hosts`` are the addresses of each host that
    the site is on. With a ``front`` the name should lead to that, about which nothing else is known.
    """
    if places is None:
        return ""
    if not places:
        return "" if is_reserved(name) else f"{name} has no address in the DNS"
    if front:
        past = [one for one in places if one.host]
        return f"{name} leads straight to {past[0].host} ({past[0].address}), past the front" if past else ""
    wrong = [one for one in places if one.is_wrong]
    if not wrong:
        return ""
    where = " and ".join(one.address for one in wrong[:_NAMED])
    also = " also" if len(wrong) < len(places) else ""
    return f"{name}{also} leads to {where}, which is not {_listed(hosts)}: {wrong[0].answer.wrong}"


def _listed(hosts: Mapping[str, Sequence[str]]) -> str:
    if len(hosts) > _NAMED:
        return f"one of the {len(hosts)} hosts"
    return " or ".join(f"{name} ({', '.join(ones[:_NAMED])})" if ones else name for name, ones in hosts.items())


def line(sentences: Sequence[str]) -> str:
    """All of them in one line; empty when there is none."""
    found = [one for one in sentences if one]
    more = f"; and {len(found) - _NAMED} more such names" if len(found) > _NAMED else ""
    return f"seen from this machine, {'; '.join(found[:_NAMED])}{more}" if found else ""


def is_reserved(name: str) -> bool:
    """Whether a name is one that no public DNS has."""
    return any(name == one or name.endswith(f".{one}") for one in _RESERVED)
