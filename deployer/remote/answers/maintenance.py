"""The answers to ``maintenance.on`` and ``maintenance.off``, and what ``status`` tells of it."""

from __future__ import annotations

from msgspec import Struct

from deployer.remote.answers.values import Count, Moment, Name


class Maintenance(Struct, frozen=True, kw_only=True):
    """On what terms visitors get the maintenance page: ``since`` when, by whose wish, and which addresses do not get
    it. ``up``: it is served."""

    since: Moment = 0.0
    by: str = ""
    allow: tuple[str, ...] = ()
    retry_after: Count = 0
    workers_stopped: bool = False
    own_page: bool = False
    up: bool = True


class MaintenanceBegun(Struct, frozen=True, kw_only=True):
    """``release`` is behind the page. ``web``: it has a web process. ``changed``: it was on already, on other terms.
    ``finishing`` are units that were told to stop, and have not ended yet."""

    release: Name
    web: bool = True
    changed: bool = False
    finishing: tuple[str, ...] = ()


class MaintenanceEnded(Struct, frozen=True, kw_only=True):
    """Visitors reach ``release`` (empty: nothing is deployed). ``since``: when it had begun (0.0: unknown, or never).
    ``started``: processes and timers that it had stopped run again."""

    release: Name
    was_on: bool
    since: Moment = 0.0
    started: bool = False
