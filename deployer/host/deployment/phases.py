"""The nine phases of a release: one function each. It returns a short fact for people, or raises HostError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

from deployer.host.assets import links, symlinks
from deployer.host.build.code import altered, shared
from deployer.host.deployment import content, handover, outcome, visitors
from deployer.host.deployment.barrier import BarrierSignal
from deployer.host.deployment.deployment import Deployment, SealCheck
from deployer.host.deployment.failures import Failures, understood
from deployer.host.errors import HostError
from deployer.host.processes import commands, django
from deployer.host.processes.watch import watch as watch_release
from deployer.host.processes.watch import watch_until
from deployer.host.state import seal
from deployer.host.state.content.damage import mark_damaged
from deployer.host.state.releases import READY, SERVED
from deployer.host.system import files, orders
from deployer.host.system.signals import ignore_terminate, uninterrupted
from deployer.host.units import install as unit_files
from deployer.host.units import programs
from deployer.wire.advice import do, run


def install(deployment: Deployment) -> str:
    """Link the parts, write the units, and seal the release. An unsealed release is never switched to."""
    ctx, release = deployment.ctx, deployment.release
    for link, store, key in (("code", ctx.trees, release.tree), ("venv", ctx.venvs, release.venv)):
        record = store.record(key) if key else {}
        if record is None or record.get("damaged"):
            why = f"damaged: {record['damaged']}" if record else "gone from the host"
            raise HostError(f"the {link} of {release.name} is {why}", next=run("fab deploy", "builds it again"))
        if key:
            files.point(deployment.directory / link, f"../../{store.directory.name}/{key}")
    if not deployment.proven:  # a reload has no build phase, and may run other programs
        venv = ctx.venvs.path(release.venv) if release.venv else None
        programs.refuse_missing(release.spec, programs.Place(ctx.app, venv, ctx.trees.path(release.tree)))
    detail = unit_files.install(ctx, release, proven=deployment.proven)
    made = shared.provide(ctx, release)
    deployment.record(sealed=seal.take(ctx, release, list(unit_files.unit_texts(ctx, release))))
    deployment.begin_to_compare(again=True)
    deployment.site_check = visitors.SiteCheck(ctx, deployment.current)
    for problem in visitors.show_media(ctx):
        ctx.emit("warn", text=f"visitors may get no media: {problem}")
    return detail + made + _keep_assets(deployment)


def _keep_assets(deployment: Deployment) -> str:
    """Pages that are loaded at the switch go on finding their hashed assets; so do those of a release that served
    before the site had a place for them."""
    ctx = deployment.ctx
    if ctx.settings.proxy == "caddy" and ctx.settings.site is not None:
        symlinks.refuse(ctx.trees.path(deployment.release.tree), ctx.settings.site)
    current = deployment.current
    if current is not None and current.tree != deployment.release.tree and not links.is_filled(ctx, current):
        with Failures(ctx).kept("keeping the assets of what serves"):  # it serves: that is no reason to refuse another
            links.fill(ctx, current)
    new = links.fill(ctx, deployment.release)
    return f", {new} new hashed asset{'s' if new > 1 else ''}" if new else ""


def start(deployment: Deployment) -> str:
    """Boot the candidate, and prove its code meanwhile: no migration, on any host of a fleet, is run by code that is
    not what was sealed."""
    deployment.begin_to_compare()
    detail = handover.start(deployment.ctx, deployment.release, deployment.current)
    _refuse_damage(deployment, SealCheck.code)
    return detail


def migrate(deployment: Deployment) -> str:
    return commands.migrate(deployment.ctx, deployment.release)


def check(deployment: Deployment) -> str:
    """Ready for the switch once it is healthy and unchanged since it was sealed."""
    if not (deployment.proven or deployment.release.same):
        deployment.question = django.ask(deployment.ctx, deployment.release, deployment.current)
    deployment.begin_to_compare()
    detail = handover.check(deployment.ctx, deployment.release, deployment.current, proven=deployment.proven)
    _refuse_damage(deployment, SealCheck.all)
    if deployment.site_check is not None:
        deployment.site_check.warn(deployment.release)
    deployment.record(result=READY)
    _tell_of_django(deployment, last=deployment.request.phases[-1] == "check")
    return detail


def _tell_of_django(deployment: Deployment, *, last: bool) -> None:
    if deployment.question is not None:
        deployment.question.tell(last=last)


def revive(deployment: Deployment) -> None:
    """Start a release again that was switched to by a job that died, and check it against its seal meanwhile: a power
    cut may have lost parts of it. Raises HostError."""
    deployment.seal_check = SealCheck(deployment.ctx, deployment.release, seal.NOTHING_TRUSTED)
    handover.revive(deployment.ctx, deployment.release)
    _refuse_damage(deployment, SealCheck.all)


def _refuse_damage(deployment: Deployment, find: Callable[[SealCheck], seal.Damage | None]) -> None:
    """Raises HostError when the release is not what its seal says, as far as ``find`` waits for that. No later release
    uses what is damaged; processes that run from it go on."""
    found = find(deployment.begin_to_compare())
    if found is not None and _is_settled(deployment, found):
        found = find(deployment.begin_to_compare(again=True))
    if found is not None:
        if found.store is not None:
            mark_damaged(found.store, found.key, found.text)
        raise HostError(
            f"{deployment.release.name} is no longer what was built: its digest differs {found.text}",
            next=run("fab deploy", "builds what is damaged anew") + do("check the disk, too"),
        )


def _is_settled(deployment: Deployment, found: seal.Damage) -> bool:
    """Whether code that was built just now, of what is recorded of the code before, could be put right."""
    ctx, release = deployment.ctx, deployment.release
    if found.store != ctx.trees or release.tree not in deployment.built:
        return False
    settled = altered.settle(ctx, release.tree, found.text, found.paths)
    if settled:
        deployment.record(sealed=seal.take(ctx, release, list(unit_files.unit_texts(ctx, release))))
    return settled


def switch(deployment: Deployment) -> str:
    """The rename of ``current``. The record is written first, and SIGTERM waits until both are done: the host always
    knows what was switched to."""
    if deployment.release.sealed is None:
        raise HostError(f"{deployment.release.name} was never sealed", next=run("fab deploy"))
    if deployment.seal_check is None and deployment.release.result != SERVED:
        _check_again(deployment)
    with uninterrupted():
        previous = deployment.current.number if deployment.current else deployment.release.previous
        deployment.record(result=SERVED, previous=previous, switched=deployment.ctx.clock())
        handover.point(deployment.ctx, deployment.release, deployment.current)
    return handover.after_switch(deployment.ctx, deployment.release, deployment.current, proven=deployment.proven)


def _check_again(deployment: Deployment) -> None:
    """An earlier job found it healthy, possibly long ago: check it once more."""
    deployment.begin_to_compare()
    handover.wake(deployment.ctx, deployment.release, deployment.current)
    _refuse_damage(deployment, SealCheck.all)


def drain(deployment: Deployment) -> str:
    return handover.drain(deployment.ctx, deployment.release, deployment.current)


def watch(deployment: Deployment) -> str:
    """Watch what serves; then it is good, and no later failure rolls it back."""
    ctx = deployment.ctx
    detail = watch_release(ctx, deployment.release)
    if deployment.signal is not None and "keep" in deployment.request.barriers:
        detail += _watch_until_kept(deployment, deployment.signal)
    ignore_terminate()
    if not outcome.record_good(ctx, deployment.release, deployment.request.reason):
        return f"{detail}; not recorded yet"
    deployment.release = ctx.catalog.get(deployment.release.number)
    try:
        _clean_up(deployment)
    except Exception as error:  # the release is good: no failure from here on rolls it back
        failure = understood(error, ctx, "cleaning up").message
        ctx.emit("warn", text=f"{deployment.release.name} serves, but cleaning up after it failed: {failure}")
    _tell_of_django(deployment, last=True)
    return detail


def _watch_until_kept(deployment: Deployment, signal: BarrierSignal) -> str:
    """Watch what serves until the whole fleet has finished. When the lease runs out, it stays, as it is healthy."""
    deployment.ctx.emit("ready", phase="keep", release=deployment.release.name)
    watch_until(deployment.ctx, deployment.release, lambda: signal.allows("keep") or signal.expired)
    return "" if signal.allows("keep") else f"; kept, as nothing was heard of the laptop for {signal.silence:.0f} s"


def _clean_up(deployment: Deployment) -> None:
    if deployment.current is not None:
        handover.retire(deployment.ctx, deployment.current)
    try:
        outcome.prune(deployment.ctx, deployment.release.spec.keep, later=True)
    except OSError:  # a full disk: by what is gone already there may be room
        outcome.prune(deployment.ctx, deployment.release.spec.keep, later=True)
    orders.ensure_started(deployment.ctx.app)


def reason_to_skip(deployment: Deployment, phase: str) -> str:
    """Why a phase has nothing to do; empty when it has."""
    release, request = deployment.release, deployment.request
    if phase in ("upload", "build") and request.of:
        return f"the parts of v{request.of}"
    if phase == "drain" and deployment.current is None:
        return "nothing served before"
    if phase != "migrate":
        return ""
    if not release.spec.migrate:
        return "no migrate command in deploy.toml"
    if release.kind != "deploy":
        return f"a {release.kind} does not migrate"
    return "as asked" if request.no_migrate else ""


HANDLERS: Mapping[str, Callable[[Deployment], str]] = {
    "upload": content.upload,
    "build": content.build,
    "install": install,
    "start": start,
    "migrate": migrate,
    "check": check,
    "switch": switch,
    "drain": drain,
    "watch": watch,
}
