"""Looks for planted secrets wherever somebody else could find them: on a host, and on the machine that deploys."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from deployer.sandbox import SandboxHost

PLACES = r"""
export LC_ALL=C
needle() { grep -rlaF -f /root/.needles "$@" 2>/dev/null; }
journalctl --quiet --output=export --no-pager > /root/.journal; needle /root/.journal
needle /var/log /etc /run/systemd /run/log /var/lib/systemd /usr/local /home /tmp /var/tmp /dev/shm
needle /root --exclude=.needles --exclude=.journal
find /srv /var /run /opt -xdev -type f -perm -o+r ! -path '/var/tmp/*' -print0 2>/dev/null |
  xargs -0 -r grep -laF -f /root/.needles 2>/dev/null
find / -xdev \( -name 'core' -o -name 'core.*' -o -name 'vgcore*' \) -type f -newer /root/.needles 2>/dev/null |
  grep -v '^/proc/\|^/sys/' | sed 's/^/core dump: /'
for user in $(ls /home) root; do find /home/$user /root -maxdepth 1 -name '.*history' 2>/dev/null; done |
  xargs -r grep -laF -f /root/.needles 2>/dev/null
rm -f /root/.journal
"""
"""Prints each file that has one of the needles and that others than root could read, or that is no place for them."""


@dataclass
class Hunt:
    """What to look for, and what was found: places, each once."""

    host: SandboxHost
    secrets: Sequence[str]
    may_have: frozenset[int]
    found: set[str] = field(default_factory=set)

    @property
    def needles(self) -> list[str]:
        """The secrets, and the forms in which programs write them."""
        forms = {form for one in self.secrets for form in (one, quote(one), json.dumps(one)[1:-1], _base64(one))}
        return sorted(forms)

    def search(self, what: str) -> None:
        """Look at all places on the host, after ``what`` was run."""
        self._write_down()
        listed = self.host.run(PLACES, check=False).stdout
        self.found |= {f"after {what}: {line}" for line in listed.splitlines()}
        self.host.run("rm -f /root/.needles")

    def everywhere(self) -> list[str]:
        """All files of the host that have one of them, whoever may read those."""
        self._write_down()
        places = "/etc /srv /var /home /root /run /usr/local /tmp"
        look = f"grep -rlaF --exclude=.needles -f /root/.needles {places} 2>/dev/null"
        return self.host.run(f"{look}; rm -f /root/.needles", check=False).stdout.splitlines()

    def _write_down(self) -> None:
        self.host.run("umask 077; cat > /root/.needles", input="".join(f"{one}\n" for one in self.needles).encode())

    def hear(self, what: str, text: str) -> None:
        """What a command printed."""
        self.found |= {f"{what} printed it" for one in self.needles if one in text}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at the arguments of all processes, and at the environments of those that should not have it, as often as
        possible: of the host, too, whose processes are among those of this machine."""
        over = threading.Event()
        wanted = [one.encode() for one in self.needles]

        def watch() -> None:
            while not over.is_set():
                for process in Path("/proc").glob("[1-9]*"):
                    self._look(process, wanted)
                time.sleep(0.01)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _look(self, process: Path, wanted: Sequence[bytes]) -> None:
        try:
            arguments = (process / "cmdline").read_bytes()
            if any(one in arguments for one in wanted):
                self.found.add(f"arguments of {arguments[:80]!r}")
            if process.stat().st_uid not in self.may_have:
                variables = (process / "environ").read_bytes()
                if any(one in variables for one in wanted):
                    self.found.add(f"environment of {arguments[:80]!r}, uid {process.stat().st_uid}")
        except OSError:
            return


def _base64(text: str) -> str:
    """The part of it that does not depend on what stands around it."""
    return base64.b64encode(text.encode())[: len(text) // 3 * 4 - 4].decode()
