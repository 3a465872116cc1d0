"""What ``fab setup`` and ``fab destroy`` run on the host: one request read, carried out step by step, and reported."""

from __future__ import annotations

import contextlib
import time
from typing import BinaryIO

from deployer.host.errors import BadRequest, HostError, bug
from deployer.host.setup.destroy import Removal
from deployer.host.setup.provision import Provision
from deployer.host.state.app import Emit, open_context
from deployer.wire.advice import do, run
from deployer.wire.message import read_message
from deployer.wire.protocol import Exit
from deployer.wire.setup.destroy import OP, Destroy
from deployer.wire.setup.request import Setup


def _read(stream: BinaryIO) -> Setup | Destroy:
    """Read the request from the channel. Raises BadRequest."""
    try:
        message = read_message(stream)
        return Destroy.parse(message) if (message or {}).get("op") == OP else Setup.parse(message)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the request is not acceptable: {error}", next=do("mend deploy.toml")) from None


def main(stream: BinaryIO, emit: Emit, program: bytes) -> Exit:
    """Read one request, carry it out, report each step as a phase; the last event is ``finished``.

    ``program`` is this program as it was sent, a zip; one of the steps installs it.
    """
    started = time.monotonic()
    asked: Setup | Destroy | None = None
    try:
        asked = _read(stream)
        exit, summary = Exit.OK, _carry_out(asked, emit, program)
    except (HostError, OSError) as error:
        failure = error if isinstance(error, HostError) else HostError(str(error))
        exit, summary = _failed(emit, failure, asked)
    except Exception as error:
        exit, summary = _failed(emit, bug(error, "preparing the host"), asked)
    emit("finished", exit=int(exit), seconds=time.monotonic() - started, summary=summary)
    return exit


def _carry_out(asked: Setup | Destroy, emit: Emit, program: bytes) -> str:
    if isinstance(asked, Setup):
        return _summary(asked.app, Provision(asked, emit, program).run())
    settings = None
    with contextlib.suppress(HostError):  # it is removed all the same
        settings = open_context(asked.app, emit, time.time).settings
    return Removal(asked, emit, settings).run()


def _failed(emit: Emit, error: HostError, asked: Setup | Destroy | None) -> tuple[Exit, str]:
    """Report why it ends. What can be fixed and tried again counts as bad usage."""
    removes = isinstance(asked, Destroy)
    state = "the steps before this one are done" + ("" if removes else "; nothing that serves was touched")
    again = run(f"fab {'destroy' if removes else 'setup'} -H root@HOST", "goes on where it stopped")
    exit = Exit.USAGE if error.exit == Exit.REFUSED else error.exit
    emit(
        "failed",
        exit=int(exit),
        message=error.message,
        state=error.state or state,
        **(error.next or do("put that right") + again).fields(),
        logs=list(error.logs),
    )
    return exit, error.message


def _summary(app: str, changes: int) -> str:
    if not changes:
        return f"{app} was set up already: no changes"
    return f"{app} is set up: {changes} change{'s' if changes > 1 else ''}"
