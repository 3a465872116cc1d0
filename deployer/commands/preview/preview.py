"""Opens a release of one host at a port of this machine, over the session with the host and nothing else."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deployer import events
from deployer.commands.preview.bridge import Bridge
from deployer.commands.preview.heads import Names
from deployer.commands.release.attach import discard
from deployer.commands.release.deploy import release_number
from deployer.commands.release.hold import hold_copy
from deployer.config import Config
from deployer.errors import ConfigError, Exit
from deployer.fleet.hosts import Fleet
from deployer.fleet.results import Answers, ask_each
from deployer.release.promotion import held_by_all
from deployer.remote.answers import Previewed
from deployer.remote.facts import Facts
from deployer.remote.site import Site, open_remote
from deployer.ui.style.text import seconds
from deployer.wire.advice import do, run

__all__ = ["preview", "would"]

HERE = "127.0.0.1"
USUAL = 8000


def preview(fleet: Fleet, *, release: str = "", port: str = "") -> int:
    """Open a release until Ctrl-C; the exit code. Raises ConfigError when there is nothing, or more than one host.

    For one that is kept and does not run, a release with its parts is prepared, and discarded at the end.
    """
    site = _only(fleet)
    number = release_number(release) if release else 0
    with _listening(port) as listener:
        if not number or _runs(site, number):
            return _open(site, number, listener)
        exit = hold_copy(fleet, number)
        if exit:
            return exit
        try:
            return _open(site, 0, listener)
        finally:
            discard(fleet)


def _runs(site: Site, number: int) -> bool:
    """Whether the release runs, or is none that could be made to. Raises ConfigError when another one is held: it would
    be lost."""
    with open_remote(site) as (_, facts):
        name, held = f"v{number}", facts.held.release if facts.held else ""
        if name in (facts.current, held) or name not in facts.usable:
            return True
        if held:
            raise ConfigError(
                message=f"{held} is held on {site.host}, and would be discarded for a look at {name}",
                state="nothing was touched",
                next=run("fab promote", "serves it") + run("fab abort", "discards it"),
                host=site.host,
            )
        return False


def _open(site: Site, number: int, listener: socket.socket) -> int:
    with open_remote(site) as (remote, facts):
        name = f"v{number}" if number else held_by_all({site.host: facts})
        remote.query({"op": "preview", "release": int(name[1:])}, Previewed)
        here = f"{HERE}:{listener.getsockname()[1]}"
        names = _names(site.config, here)
        lock = threading.Lock()

        def send(message: dict[str, Any]) -> None:
            with lock, contextlib.suppress(Exception):  # the reader of the events says that the connection is lost
                remote.send(message)

        bridge = Bridge(send, names, site.config.proxy.static)
        threading.Thread(target=bridge.serve, args=(listener,), daemon=True, name="preview").start()
        _tell(site, name, facts, names)
        with remote.kept_alive():
            try:
                for event in remote.messages():
                    if event["event"] == "preview":
                        bridge.receive(int(event.get("number", 0)), str(event.get("data", "")))
                    else:
                        remote.pass_on(event)
                    if event["event"] == "finished":
                        return int(event.get("exit", Exit.OK))
            except KeyboardInterrupt:
                return int(Exit.OK)
    return int(Exit.OK)


def would(fleet: Fleet, *, release: str = "", port: str = "") -> Answers[str]:
    """What would be opened."""
    _only(fleet)
    number = release_number(release) if release else 0
    at = f"http://{HERE}:{_port(port)}/"

    def tell(site: Site) -> str:
        with open_remote(site) as (_, facts):
            return f"would open {f'v{number}' if number else held_by_all({site.host: facts})} at {at}"

    return ask_each(fleet, tell)


def _tell(site: Site, name: str, facts: Facts, names: Names) -> None:
    as_ = f", as {names.there}" if names.there != names.here else ""
    site.report(events.Note(host=site.host, text=f"{name} is at http://{names.here}/{as_}; Ctrl-C ends that"))
    if facts.held is not None and facts.held.release == name:
        text = f"it is held for {seconds(facts.held.seconds)} more; to prolong that: fab phase.check"
        site.report(events.Note(host=site.host, text=text))


def _only(fleet: Fleet) -> Site:
    if len(fleet.sites) > 1:
        raise ConfigError(
            message=f"a preview is of one host, and {len(fleet.sites)} are named",
            state="nothing was touched",
            next=run(f"fab preview -H {fleet.hosts[0]}"),
        )
    return fleet.sites[0]


def _names(config: Config, here: str) -> Names:
    """As whom the app is asked: by the name that its health check uses, else its first domain."""
    domains = [name for name in config.proxy.domains if "*" not in name]
    there = config.web.health.host or next(iter(domains), here)
    return Names(here=here, there=there, secure=bool(domains) and _ends_tls(config))


def _ends_tls(config: Config) -> bool:
    return config.proxy.tls is None or config.proxy.tls.mode != "off"


def _port(text: str) -> int:
    if text and not (text.isdecimal() and len(text) < 6 and 0 < int(text) < 65536):
        raise ConfigError(message=f"--port {text}: a port is wanted", next=do(f"say --port {USUAL}"))
    return int(text) if text else USUAL


@contextmanager
def _listening(text: str) -> Iterator[socket.socket]:
    """A listener at that port of this machine, or at the usual one. Raises ConfigError."""
    port = _port(text)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HERE, port))
        except OSError as error:
            raise ConfigError(
                message=f"{HERE}:{port} cannot be listened at: {error.strerror or error}",
                state="nothing was touched",
                next=run(f"fab preview --port {port % 65535 + 1}"),
            ) from None
        listener.listen(64)
        yield listener
