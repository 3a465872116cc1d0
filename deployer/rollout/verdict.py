"""How a rollout ended, on each host and on all of them together: exit code, summary, state, advice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from deployer.errors import Exit
from deployer.events import FleetFinished, HostEnd
from deployer.rollout.member import Ending, Member
from deployer.wire.advice import NOTHING, Next, run
from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

__all__ = ["RolloutEnd", "of"]

_LOOKS = pattern(r"\bfab (?:logs|doctor)\b(?! -H)")
_NAMED = 4
"""So many hosts are named in one line; more are counted. Those of which something is not known are always named."""


@dataclass(frozen=True, kw_only=True)
class RolloutEnd:
    """What a rollout knows at its end. ``why`` it went back (empty: it did not), ``cause``: the host, or the abort."""

    members: Sequence[Member]
    why: str
    cause: str
    aborted: str
    kept_going: bool
    again: str
    seconds: float


def of(end: RolloutEnd) -> FleetFinished:
    """The verdict. What serves decides about its code, not what was asked for or who was in the way."""
    members = end.members
    exit = _exit(members)
    release = next((member.release for member in members if member.release), "")
    return FleetFinished(
        exit=exit,
        hosts=tuple(_end(member, end, release) for member in members),
        release=release,
        seconds=end.seconds,
        summary=_summary(end, release, exit),
        state=_state(members, exit),
        next=_next(end, exit),
    )


def _exit(members: Iterable[Member]) -> Exit:
    members = list(members)
    new = [member for member in members if _serves_new(member)]
    if any(_is_unknown(member) for member in members) or 0 < len(new) < len(members):
        return Exit.MIXED
    if new or not members:
        return Exit.OK
    if any(member.ending is Ending.FINISHED and member.exit == Exit.ROLLED_BACK for member in members):
        return Exit.ROLLED_BACK
    if _nothing_began(members):
        return min((_code(member) for member in members if member.fault), default=Exit.REFUSED)
    return Exit.REFUSED


def _code(member: Member) -> Exit:
    """Its exit code. One that nobody has heard of is a bug; what was refused did not end well, whatever it says."""
    exit = Exit(member.exit) if member.exit in set(Exit) else Exit.BUG
    return Exit.REFUSED if member.ending is Ending.REFUSED and exit is Exit.OK else exit


def _serves_new(member: Member) -> bool:
    named = bool(member.release) and member.serving == member.release
    return member.ending is Ending.FINISHED and member.exit != Exit.MIXED and (not member.exit or named)


def _is_unknown(member: Member) -> bool:
    """It may serve either release: it was told to switch and nobody saw its end, or it could not end it itself."""
    if member.ending is Ending.FINISHED:
        return member.exit == Exit.MIXED
    return member.ending is not Ending.REFUSED and member.may_have_switched


def _nothing_began(members: Iterable[Member]) -> bool:
    return all(member.ending is Ending.REFUSED for member in members)


def _end(member: Member, end: RolloutEnd, release: str) -> HostEnd:
    result, exit = _result(member)
    return HostEnd(
        host=member.host,
        result=result,
        exit=exit,
        release=member.release,
        serving=member.serving or "",
        seconds=member.seconds if member.over else end.seconds,
        detail="; ".join(filter(None, (_detail(member, result, end, release), *_notes(member)))),
        logs=member.logs if result != "discarded" and result != "rolled back" else (),
    )


def _result(member: Member) -> tuple[str, Exit]:
    exit = _code(member)
    if member.ending is Ending.REFUSED:
        named = {Exit.UNREACHABLE: "unreachable", Exit.BUSY: "busy"}.get(exit)
        return named or ("failed" if member.fault else "untouched"), exit
    if member.ending is not Ending.FINISHED:
        return "lost", Exit.MIXED if member.may_have_switched else Exit.REFUSED
    if exit is Exit.OK:
        return "done", exit
    if exit is Exit.BUSY:  # another command was quicker by so little that its job had begun
        return "busy", exit
    if member.undone and not member.fault:
        return {Exit.REFUSED: "discarded", Exit.ROLLED_BACK: "rolled back"}.get(exit, "failed"), exit
    return "failed", exit


def _detail(member: Member, result: str, end: RolloutEnd, release: str) -> str:
    because = end.cause if end.cause == end.aborted else f"because of {end.cause}"
    match result:
        case "discarded" | "rolled back":
            return because
        case "untouched":
            return f"not begun, {because}"
        case "failed":
            return member.fault or member.message
        case "lost":
            return f"{member.message or 'its end was not seen'}; {_left_to_itself(member, release)}"
    return member.message


def _left_to_itself(member: Member, release: str) -> str:
    """What becomes of a host that nobody can talk to."""
    name = member.release or release or "the release"
    if not member.may_have_switched:
        return f"it discards {name} by itself"
    if member.undone:
        return f"whether it went back from {name} is not known"
    if not member.switched:
        return f"whether it switched to {name} is not known"
    return f"it had switched, and keeps {name} by itself when that is healthy"


def _notes(member: Member) -> list[str]:
    return [note for note in member.notes if note != member.fault]


def _summary(end: RolloutEnd, release: str, exit: Exit) -> str:
    if exit is Exit.OK:
        parts = [f"{release or 'it'} serves on {_names([member.host for member in end.members])}"]
        parts += [f"it was too late: {end.why}"] if end.why else []
        return "; ".join((*parts, *(f"{member.host}: {note}" for member in end.members for note in member.notes)))
    lost = [member.host for member in end.members if member.ending is not Ending.FINISHED and _is_unknown(member)]
    faults = {member.host: member.fault for member in end.members if member.fault}
    alike = [host for host, fault in faults.items() if fault == faults.get(end.cause)]
    others = [host for host in faults if host not in alike and host != end.cause]
    parts = [end.why or f"{_names(lost, all=True)} {'was' if len(lost) == 1 else 'were'} lost"]
    if len(alike) > 1:
        parts = [f"{_names(alike)}: {faults[end.cause]}"]
    if others:
        parts.append(f"{_names(others)} failed as well")
    if end.aborted and end.aborted != end.cause:
        parts.append(end.aborted)
    return "; ".join(parts)


def _state(members: Sequence[Member], exit: Exit) -> str:
    """What serves where, in a line; and what stays of the migration."""
    if exit is Exit.OK:
        out = [member.host for member in members if member.notes]
        return f"the load balancer may still send nothing to {_names(out, all=True)}" if out else ""
    if _nothing_began(members):
        return "nothing was touched"
    known: dict[str, list[str]] = {}
    unknown = []
    for member in members:
        seen = f" (last seen: {member.serving})" if member.serving else ""
        if _is_unknown(member):
            unknown.append(f"what {member.host} serves is not known{seen}")
        elif member.serving is not None:
            known.setdefault(member.serving or "nothing", []).append(member.host)
    parts = [f"{serving} serves on {_names(hosts)}" for serving, hosts in known.items()]
    if exit is Exit.REFUSED and known and "nothing" not in known:
        parts[-1] += ", uninterrupted"
    parts += unknown
    lost = [member.host for member in members if member.ending is Ending.LOST and not member.may_have_switched]
    if lost:
        discards = "discards its candidate" if len(lost) == 1 else "discard their candidates"
        parts.append(f"{_names(lost, all=True)} {discards} without a word")
    if any(member.migrated for member in members):
        parts.append("what the migration did stays applied")
    return "; ".join(parts)


def _next(end: RolloutEnd, exit: Exit) -> Next:
    if exit is Exit.OK:
        return NOTHING
    if exit is not Exit.MIXED:
        told = (_there(member) for member in end.members if member.fault and not member.undone)
        return next(filter(None, told), run(end.again))
    old = Counter(
        member.serving
        for member in end.members
        if member.serving and not _serves_new(member) and not _is_unknown(member)
    )
    again = run(end.again)
    back = run(f"fab rollback --to {old.most_common(1)[0][0]}") if old else again
    if end.kept_going:
        return run(end.again, "once that is put right") + back if old else again
    if any(member.undone for member in end.members):
        return back
    return run("fab status") + again


def _there(member: Member) -> Next:
    """What a host advises. What is to be looked at there names it: the others have nothing to show."""
    return member.next.change(lambda text: _LOOKS.sub(rf"\g<0> -H {member.host}", text))


def _names(hosts: Sequence[str], *, all: bool = False) -> str:
    """``web1``; ``web1 and web2``; ``web1, web2, web3 and 16 more``."""
    if len(hosts) > _NAMED and not all:
        return f"{', '.join(hosts[: _NAMED - 1])} and {len(hosts) - _NAMED + 1} more"
    return " and ".join(filter(None, (", ".join(hosts[:-1]), hosts[-1]))) if hosts else "no host"
