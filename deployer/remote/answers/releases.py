"""The releases of an app, and its history: the answers to ``releases`` and ``history``."""

from __future__ import annotations

from msgspec import Struct

from deployer.remote.answers.values import Count, Moment, Name


class ReleaseRow(Struct, frozen=True, kw_only=True):
    """One release of an app on one host.

    ``state`` is one of current, standby, candidate, retired, failed, preparing, rolled back, interrupted, and for one
    that only the ledger knows also pruned or unfinished. ``kind`` is the command that made it. ``at`` is in seconds
    since the epoch (0.0: unknown), as is ``switched``, when it began to serve; ``size`` in bytes (0: unknown). ``of``
    names the release whose parts it has (a reload, a rollback); ``reason`` says why it failed or was rolled back;
    ``phase`` how far it came.
    """

    number: Name
    state: str
    kind: str = ""
    by: str = ""
    at: Moment = 0.0
    switched: Moment = 0.0
    commit: str = ""
    ref: str = ""
    dirty: bool = False
    of: Name = ""
    reason: str = ""
    phase: str = ""
    size: Count = 0


class Releases(Struct, frozen=True, kw_only=True):
    releases: tuple[ReleaseRow, ...]


class LedgerEntry(Struct, frozen=True, kw_only=True):
    """One line of the ledger: what has ``begun`` or ``ended``, or was ``pruned``; a newer host may write others."""

    what: str
    at: Moment = 0.0
    release: Name = ""
    releases: tuple[Name, ...] = ()
    kind: str = ""
    by: str = ""
    commit: str = ""
    ref: str = ""
    of: Name = ""
    result: str = ""
    phase: str = ""
    serving: Name = ""
    reason: str = ""


class History(Struct, frozen=True, kw_only=True):
    entries: tuple[LedgerEntry, ...]
