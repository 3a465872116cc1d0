"""``fab maintenance``: visitors get a page in place of the app, on every host, until it is off."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from deployer.errors import ConfigError, Interrupted
from deployer.fleet.hosts import Fleet
from deployer.fleet.results import Answers, ask_each
from deployer.release.agreement import current_of
from deployer.remote.answers import MaintenanceBegun, MaintenanceEnded
from deployer.remote.session import ANSWER
from deployer.remote.site import Site, open_remote, who
from deployer.rollout import seconds
from deployer.wire.advice import do, run
from deployer.wire.maintenance import MOST_ALLOWED, MOST_PAGE, PAGE, RETRY, USUAL_RETRY, MaintenanceRequest
from deployer.wire.site import is_network
from deployer.wire.sizes import size

__all__ = ["begin", "end", "terms", "would"]

T = TypeVar("T")


def terms(*, page: str, allow: Sequence[str], retry_after: str, stop_workers: bool) -> MaintenanceRequest:
    """What the options ask for. Raises ConfigError."""
    return MaintenanceRequest(
        page=_page(page) if page else "",
        allow=_allowed(allow),
        retry_after=_retry(retry_after) if retry_after else USUAL_RETRY,
        stop_workers=stop_workers,
    )


def _page(name: str) -> str:
    """The text of the page. Raises ConfigError."""
    path = Path(name).expanduser()
    try:
        with path.open("rb") as file:
            data = file.read(MOST_PAGE + 1)
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(message=f"--page {name}: cannot be read: {why}", next=do("name an HTML file")) from None
    if len(data) > MOST_PAGE:
        text = f"--page {name}: has more than {size(MOST_PAGE)}, the most that a maintenance page may have"
        raise ConfigError(message=text, next=do("make its images smaller, or leave some out"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if not PAGE.fullmatch(text):
        raise ConfigError(message=f"--page {name}: is no text in UTF-8", next=do("save it as HTML, in UTF-8"))
    if not text.strip():
        raise ConfigError(message=f"--page {name}: is empty", next=do("leave --page out for deployer's own page"))
    return text


def _allowed(addresses: Sequence[str]) -> tuple[str, ...]:
    """The addresses and networks, each once. Raises ConfigError."""
    found = [one.strip() for given in addresses for one in given.split(",")]
    for one in found:
        if not is_network(one):
            raise ConfigError(message=f"--allow {one}: an address or a network is wanted", next=do(_example(one)))
    if len(found) > MOST_ALLOWED:
        text = f"--allow: {len(found)} addresses and networks; {MOST_ALLOWED} are the most"
        raise ConfigError(message=text, next=do("name a network that holds several of them, such as 10.0.0.0/8"))
    return tuple(dict.fromkeys(found))


def _example(text: str) -> str:
    """What was meant by a network with bits of a host in it, or an example."""
    try:
        return f"say --allow {ipaddress.ip_network(text, strict=False)}"
    except ValueError:
        return "say --allow 203.0.113.7, or --allow 10.0.0.0/8"


def _retry(text: str) -> int:
    """In seconds. Raises ConfigError."""
    found = seconds(text, "--retry-after", "10m")
    if found != int(found) or not RETRY[0] <= found <= RETRY[1]:
        message = f"--retry-after {text}: whole seconds are wanted, from 1s to a week (168h)"
        raise ConfigError(message=message, next=do("say --retry-after 10m"))
    return int(found)


def begin(fleet: Fleet, terms: MaintenanceRequest) -> Answers[MaintenanceBegun]:
    """Begin maintenance on every host, or change its terms. A host that cannot does not keep the others from it."""
    message = {"op": "maintenance.on", "by": who(), **terms.as_json()}
    limit = None if terms.stop_workers else ANSWER

    def ask(site: Site) -> MaintenanceBegun:
        with open_remote(site) as (remote, _):
            return remote.query(message, MaintenanceBegun, limit=limit)

    return _each(fleet, ask, "what was told to stop ends by itself")


def end(fleet: Fleet) -> Answers[MaintenanceEnded]:
    """End maintenance on every host. A host on which it is not on is no failure."""

    def ask(site: Site) -> MaintenanceEnded:
        with open_remote(site) as (remote, _):
            return remote.query({"op": "maintenance.off"}, MaintenanceEnded, limit=None)

    return _each(fleet, ask, "what was begun goes on by itself")


def _each(fleet: Fleet, ask: Callable[[Site], T], state: str) -> Answers[T]:
    try:
        return ask_each(fleet, ask)
    except KeyboardInterrupt:
        next = run("fab status", "says on which hosts maintenance is on")
        raise Interrupted(message="interrupted", state=state, next=next) from None


def would(fleet: Fleet, terms: MaintenanceRequest | None) -> Answers[str]:
    """What would be done on each host."""

    def tell(site: Site) -> str:
        with open_remote(site) as (_, facts):
            if terms is None:
                return "would have visitors reach the app, and start what maintenance has stopped"
            current_of(site.host, facts)
            return f"would show visitors a page in place of {facts.current}{_with(terms)}"

    return ask_each(fleet, tell)


def _with(terms: MaintenanceRequest) -> str:
    but = f", but for {', '.join(terms.allow)}" if terms.allow else ""
    return f"{but}, with status 503" + (", and stop its processes and timers" if terms.stop_workers else "")
