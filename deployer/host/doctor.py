"""``fab doctor``: what is not as it should be on this host, and what would put it right."""

from __future__ import annotations

from typing import Any

from deployer.host import lock, survey, systemd
from deployer.host.candidate import candidate_of
from deployer.host.catalog import Release
from deployer.host.context import Context
from deployer.host.errors import Damaged

_REPAIRS = {
    survey.START: ("down", "it is started"),
    survey.DISCARD: ("unfinished", "its candidate is taken away; what serves is not touched"),
    survey.CLEAR: ("unfinished", "what waits for it is answered, then it is taken away"),
    survey.STOP: ("leftover", "they are stopped and removed"),
    survey.REMOVE: ("leftover", "it is removed"),
    survey.CLOSE: ("leftover", "the line is added"),
    survey.TAKE_BACK: ("unfinished", "the release before it serves again"),
    survey.FINISH: ("unfinished", "it is watched: healthy, it stays; else the release before it serves again"),
}


def examine(ctx: Context) -> dict[str, Any]:
    """The findings: each with its kind, what it is about, a sentence, and what ``fab doctor --fix`` would do.

    While a deploy runs, only what serves is looked at: the rest is in motion. Raises OSError.
    """
    busy = lock.running(ctx)
    number = ctx.catalog.current()
    findings = [] if busy else [_planned(step) for step in survey.plan(survey.look(ctx))]
    findings += _unreadable(ctx) + _stopped(ctx, number)
    try:
        current = ctx.catalog.serving()
    except Damaged:
        current = None  # told by _unreadable
    if current is not None:
        findings += _health(ctx, current)
        findings += [found for one in (current, _standby(ctx, current)) if one for found in _damage(ctx, one)]
    return {"findings": findings, "current": ctx.catalog.serving_name(), "busy": busy}


def _planned(step: survey.Step) -> dict[str, Any]:
    kind, repair = _REPAIRS[step.do]
    return _finding(kind, f"v{step.number}" if step.number else str(step.path or ""), step.why, repair, fix=True)


def _finding(kind: str, what: str, text: str, repair: str, *, fix: bool = False) -> dict[str, Any]:
    """``fix`` says that the host can do it by itself."""
    return {"kind": kind, "what": what, "text": text, "repair": repair, "fix": fix}


def _unreadable(ctx: Context) -> list[dict[str, Any]]:
    found = []
    for number in ctx.catalog.numbers():
        try:
            ctx.catalog.find(number)
        except Damaged as error:
            repair = f"fab deploy, then remove {ctx.paths.release(number)}: nothing can go back to it"
            found.append(_finding("damaged", f"v{number}", error.message, repair))
    return found


def _stopped(ctx: Context, number: int) -> list[dict[str, Any]]:
    """What an admin has stopped is not started behind their back."""
    handle = f"{ctx.app}.service"
    if not number or systemd.show(handle).active in ("active", "activating", "reloading"):
        return []
    return [_finding("down", handle, f"{handle} is stopped", f"on the host, as root: systemctl start {ctx.app}")]


def _health(ctx: Context, current: Release) -> list[dict[str, Any]]:
    answer = candidate_of(ctx, current).ask(10)
    if answer.healthy(current.spec.health):
        return []
    text = f"{current.name} serves and is not healthy: {answer.describe(current.spec.health)}"
    return [_finding("unhealthy", current.name, text, "fab logs; mend it and fab deploy, or fab rollback")]


def _standby(ctx: Context, current: Release) -> Release | None:
    try:
        return ctx.catalog.find(current.previous) if current.previous else None
    except Damaged:
        return None


def _damage(ctx: Context, release: Release) -> list[dict[str, Any]]:
    """Only the content: a standby has no units, and those of what serves are systemd's business.

    What is found is noted in the seal: no later release takes it over, and no upload builds on it.
    """
    found = []
    for store, key in ((ctx.trees, release.tree), (ctx.venvs, release.venv)):
        damage = store.damage(key) if key else ""
        if damage:
            store.condemn(key, damage)
            text = f"{release.name} is no longer what was built: its digest differs {damage}"
            repair = "fab deploy   (builds what is damaged anew); and look at the disk"
            found.append(_finding("damaged", release.name, text, repair))
    return found
