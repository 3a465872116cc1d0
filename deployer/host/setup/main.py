"""What ``fab setup`` runs on the host: one request read, carried out step by step, and reported."""

from __future__ import annotations

import time
from typing import BinaryIO

from deployer.host.errors import BadRequest, HostError, bug
from deployer.host.setup.provision import Provision
from deployer.host.state.app import Emit
from deployer.wire.advice import do, run
from deployer.wire.message import read_message
from deployer.wire.protocol import Exit
from deployer.wire.setup.request import Setup


def _read(stream: BinaryIO) -> Setup:
    """Read the request from the channel. Raises BadRequest."""
    try:
        return Setup.parse(read_message(stream))
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the request is not acceptable: {error}", next=do("mend deploy.toml")) from None


def main(stream: BinaryIO, emit: Emit, program: bytes) -> Exit:
    """Read one request, carry it out, report each step as a phase; the last event is ``finished``.

    ``program`` is this program as it was sent, a zip; one of the steps installs it.
    """
    started = time.monotonic()
    try:
        setup = _read(stream)
        exit, summary = Exit.OK, _summary(setup.app, Provision(setup, emit, program).run())
    except (HostError, OSError) as error:
        failure = error if isinstance(error, HostError) else HostError(str(error))
        exit, summary = _failed(emit, failure)
    except Exception as error:
        exit, summary = _failed(emit, bug(error, "setting up"))
    emit("finished", exit=int(exit), seconds=time.monotonic() - started, summary=summary)
    return exit


def _failed(emit: Emit, error: HostError) -> tuple[Exit, str]:
    """Report why the setup ends. What can be fixed and tried again counts as bad usage."""
    exit = Exit.USAGE if error.exit == Exit.REFUSED else error.exit
    emit(
        "failed",
        exit=int(exit),
        message=error.message,
        state=error.state or "the steps before this one are done; nothing that serves was touched",
        **(error.next or do("put that right") + run("fab setup -H root@HOST", "goes on where it stopped")).fields(),
        logs=list(error.logs),
    )
    return exit, error.message


def _summary(app: str, changes: int) -> str:
    if not changes:
        return f"{app} was set up already: no changes"
    return f"{app} is set up: {changes} change{'s' if changes > 1 else ''}"
