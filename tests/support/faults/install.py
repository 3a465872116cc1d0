"""Orders accidents on a test host: a launcher of root's starts the host program with ``injected`` before it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.sandbox import SandboxHost
from deployer.wire.protocol import PROGRAM
from tests.support.faults.injected import HOME

_PLACE = "/usr/local/lib/deployer-faults"
_MODULE = "deployer_faults"
_BEFORE = "from deployer.host.__main__ import main\n"
_INJECT = f"sys.path.append({_PLACE!r})\nimport {_MODULE}\n{_MODULE}.apply(sys.argv[1:])\n"
_SETUP = f"mkdir -p {_PLACE} && cat > {_PLACE}/{_MODULE}.py"


@dataclass(frozen=True)
class Faults:
    """What may be ordered to happen to the host program of one app, on a host where it is installed."""

    host: SandboxHost
    app: str

    def boundary(self, at: str, do: str, *, clock: float = 0) -> None:
        """At that boundary of the next job: ``kill`` it, have it ``pause`` until :meth:`go_on`, or ``pass`` it.

        From then on the host program takes it to be ``clock`` seconds later than it is.
        """
        self._order(boundary={"at": at, "do": do, **({"clock": clock} if clock else {})})

    def write(self, what: str, *, do: str = "fail", error: int = 0, sticky: bool = True) -> None:
        """At that write of the next job (see :meth:`writes`) ``kill`` it; or have it ``fail``.

        With ``sticky`` all writes after it fail as well, of whatever job, until :meth:`clear`.
        """
        self._order(write={"what": what, "do": do, "errno": error, "sticky": sticky, "command": "job"})

    def writes(self) -> list[str]:
        """What the job wrote since ``write("")``, in its order; each once, for the first time that it does so."""
        return list(dict.fromkeys(str(self.host.run(["cat", f"{HOME}/writes"]).stdout).splitlines()))

    def clock(self, seconds: float) -> None:
        """From now on the host program takes it to be so much later."""
        self.host.run(f"mkdir -p {HOME} && echo {seconds:g} > {HOME}/clock")

    def lease(self, seconds: float) -> None:
        """From now on a fleet's candidates wait only so long for a sign of the laptop."""
        self.host.run(f"mkdir -p {HOME} && echo {seconds:g} > {HOME}/lease")

    def _order(self, **orders: Any) -> None:
        text = json.dumps({"app": self.app, **orders})
        others = " ".join(f"{HOME}/{name}" for name in ("reached", "go", "writes", "broken"))
        self.host.run(f"mkdir -p {HOME} && rm -f {others} && cat > {HOME}/orders.json", input=text.encode())

    def wait_until_reached(self, seconds: float = 60) -> None:
        """Return when the ordered boundary is reached; AssertionError when it is not."""
        tries = int(seconds / 0.1)
        script = f"for i in $(seq {tries}); do test -e {HOME}/reached && exit 0; sleep 0.1; done; exit 1"
        done = self.host.run(script, check=False, timeout=seconds * 3)
        assert done.returncode == 0, "the boundary was not reached"

    def was_reached(self) -> bool:
        return self.host.run(["test", "-e", f"{HOME}/reached"], check=False).returncode == 0

    def has_broken(self) -> bool:
        """Whether the ordered write operation came, and failed."""
        return self.host.run(["test", "-e", f"{HOME}/broken"], check=False).returncode == 0

    def go_on(self) -> None:
        """End the pause."""
        self.host.run(["touch", f"{HOME}/go"])

    def clear(self) -> None:
        """No accident is ordered any more, and what failed works again."""
        self.host.run(["rm", "-rf", HOME])


@contextlib.contextmanager
def faults(host: SandboxHost, app: str) -> Iterator[Faults]:
    """Make accidents possible on a host that is set up, for as long as the block."""
    real = str(host.run(["cat", PROGRAM]).stdout)
    assert _BEFORE in real, f"the launcher is not as expected:\n{real}"
    module = Path(__file__).with_name("injected.py").read_bytes()
    host.run(_SETUP, input=module)
    _launcher(host, real.replace(_BEFORE, _INJECT + _BEFORE))
    ordered = Faults(host, app)
    try:
        yield ordered
    finally:
        ordered.clear()
        _launcher(host, real)


def _launcher(host: SandboxHost, text: str) -> None:
    host.run(f"cat > {PROGRAM}.new && chmod 755 {PROGRAM}.new && mv {PROGRAM}.new {PROGRAM}", input=text.encode())
