"""Headless Chromium, from Debian's package, on a host: opens pages, runs scripts in them, tells what became of each
request.

It is spoken to over its standard streams (``--remote-debugging-pipe``), so over SSH.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from deployer.sandbox import Preparation, SandboxHost, up

INSTALL = """set -e
apt-get -q update >/dev/null
DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends install chromium-headless-shell >/dev/null
apt-get clean
"""
START = (
    "exec chromium-headless-shell --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir=/tmp/chromium "
    "--remote-debugging-pipe 3<&0 4>&1 </dev/null >/dev/null 2>/tmp/chromium.log"
)
PATIENCE = 60.0
"""Seconds for one answer."""


@dataclass
class Request:
    """A request of a page. ``outcome`` is the status of its response, and why it failed where it did."""

    url: str
    outcome: str = ""
    finished: bool = False


@dataclass
class Page:
    """A page that stays open."""

    session: str
    loaded: bool = False
    requests: dict[str, Request] = field(default_factory=dict)

    def note(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take note of an event of the Network and Page domains."""
        if event == "Page.loadEventFired":
            self.loaded = True
        elif event == "Network.requestWillBeSent":
            self.requests[fields["requestId"]] = Request(fields["request"]["url"])
        elif event in ("Network.responseReceived", "Network.loadingFinished", "Network.loadingFailed"):
            request = self.requests.get(fields["requestId"])
            if request is None:
                return
            if event == "Network.responseReceived":
                request.outcome = str(fields["response"]["status"])
            elif event == "Network.loadingFailed":
                request.outcome = f"{request.outcome} {fields['errorText']}".strip()
            request.finished = request.finished or event != "Network.responseReceived"

    @property
    def idle(self) -> bool:
        return self.loaded and all(one.finished for one in self.requests.values())


class Browser:
    """A running Chromium."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process, self._last, self._received = process, 0, b""
        self._answers: dict[int, Any] = {}
        self._pages: dict[str, Page] = {}

    def open(self, url: str) -> Page:
        """Open a page of its own, and wait until all it asks for has been answered."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(session)
        for domain in ("Network", "Page"):
            self._call(f"{domain}.enable", session)
        # Each page is a visitor of its own, who has nothing stored.
        self._call("Network.setCacheDisabled", session, cacheDisabled=True)
        self._call("Page.navigate", session, url=url)
        self.settle(page)
        return page

    def run(self, page: Page, script: str) -> Any:
        """The value of an expression; of a promise, what it is resolved with. RuntimeError when it throws."""
        told = self._call("Runtime.evaluate", page.session, expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            raise RuntimeError(f"{script}: {told['exceptionDetails']}")
        self.settle(page)
        return told["result"].get("value")

    def settle(self, page: Page) -> None:
        """Wait until the page has loaded and none of its requests is under way."""
        deadline = time.monotonic() + PATIENCE
        while not page.idle:
            self._receive(deadline)

    def _call(self, method: str, session: str = "", **parameters: Any) -> Any:
        self._last += 1
        number, deadline = self._last, time.monotonic() + PATIENCE
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        self._process.stdin.flush()
        while number not in self._answers:
            self._receive(deadline)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _receive(self, deadline: float) -> None:
        """Take in what the browser says next."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        said = os.read(self._process.stdout.fileno(), 1 << 20) if ready else b""
        if not said:
            raise RuntimeError("the browser has ended" if ready else f"the browser said nothing for {PATIENCE:g} s")
        *messages, self._received = (self._received + said).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            elif message.get("sessionId") in self._pages:
                self._pages[message["sessionId"]].note(message["method"], message["params"])


def browser_host() -> SandboxHost:
    """A fresh Debian 12 host with Chromium on it."""
    key = hashlib.sha256(INSTALL.encode()).hexdigest()
    return up(distribution="bookworm", preparation=Preparation(name="browser", key=key, act=_prepare))


def _prepare(host: SandboxHost) -> None:
    host.run(INSTALL, timeout=600)


@contextmanager
def browser(host: SandboxHost) -> Iterator[Browser]:
    """Chromium on that host, for as long as the block."""
    argv = ["ssh", "-F", str(host.ssh_config), "-o", "BatchMode=yes", "-l", "root", host.name, "--", START]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield Browser(process)
    finally:
        process.kill()
        process.communicate()
