"""Figure 8: handovers over TLS, through Caddy and through nginx, under enough requests that a loss would show."""

from __future__ import annotations

import contextlib
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from deployer.sandbox.load import Load, Report
from tests.bench.handover import Side
from tests.bench.show import progress, say, table, title
from tests.bench.stats import median
from tests.support.acme import Authority
from tests.support.https import NAME, OTHER, SecureSite, secure_host, secure_site

REQUESTS, QUICK = 50_000, 3_000
"""Through each proxy, at least."""
QUIET = 5.0
"""Seconds of the same load without a handover, before each."""
BODY = b"x" * 2048
_TOLD = re.compile(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout")

_CODES = re.compile(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx")


@dataclass(frozen=True)
class Through:
    """What went through one proxy; ``steady`` and ``moving`` are its pages without and during a handover."""

    proxy: str
    handovers: int
    pages: Report
    posts: Report
    streams: int
    streams_failed: int
    steady: Side
    moving: Side

    @property
    def sent(self) -> int:
        return self.pages.sent + self.posts.sent + self.streams

    @property
    def failed(self) -> int:
        return self.pages.failed + self.posts.failed + self.streams_failed


def measure(*, quick: bool) -> None:
    """Print the table."""
    with secure_host() as host, tempfile.TemporaryDirectory() as place:
        authority = Authority(host)
        authority.prepare()
        authority.names(NAME, OTHER)
        authority.start()
        site = secure_site(host, Path(place) / "shop")
        site.configure(workers=2, web='asgi = "shop.asgi:application"', watch=0)
        found = []
        for proxy in ("caddy", "nginx"):
            site.proxy(f'kind = "{proxy}"\ndomains = "{NAME}"\n{authority.toml}')
            site.setup()
            site.deploy()
            found.append(_through(proxy, site, QUICK if quick else REQUESTS))
            host.run(f"systemctl disable --now {proxy}")
    _show(found)


def _through(proxy: str, site: SecureSite, wanted: int) -> Through:
    """Handovers one after the other, under load of three kinds that never pauses, until enough was sent."""
    steady, moving = Side("steady"), Side("handover")
    with ThreadPoolExecutor(1) as pool, _loads(site) as (pages, posts), Streams(site).running(pool) as streams:
        handovers = 0
        while not handovers or pages.snapshot().sent + posts.snapshot().sent + streams.sent < wanted:
            progress(f"handover over TLS through {proxy}, {handovers + 1}")
            begun = time.monotonic()
            time.sleep(QUIET)
            quiet = (begun, time.monotonic())
            ended = site.expect(0, "reload", "--json")
            first, last = ended.event("phase.started", phase="install")["at"], ended.event("finished")["at"]
            seen = pages.snapshot()
            steady.add(seen.between(*quiet))
            moving.add(seen.between(first - seen.epoch, last - seen.epoch))
            handovers += 1
    return Through(
        proxy=proxy,
        handovers=handovers,
        pages=pages.stop(),
        posts=posts.stop(),
        streams=streams.sent,
        streams_failed=streams.failed,
        steady=steady,
        moving=moving,
    )


@dataclass
class Streams:
    """Streams over HTTP/2, for as long as the block of ``running``."""

    site: SecureSite
    sent: int = 0
    failed: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self, pool: ThreadPoolExecutor) -> Iterator[Streams]:
        """Raises what h2load's failure raised."""
        run = pool.submit(self._run)
        try:
            yield self
        finally:
            self._over.set()
            run.result()

    def _run(self) -> None:
        while not self._over.is_set():
            sent, failed = _told(_streams(self.site))
            self.sent += sent
            self.failed += failed


@contextlib.contextmanager
def _loads(site: SecureSite) -> Iterator[tuple[Load, Load]]:
    with (
        site.load("/healthz", keepalive=True, clients=8, pause=0.005) as pages,
        site.load("/echo", keepalive=True, clients=4, pause=0.01, method="POST", body=BODY) as posts,
    ):
        yield pages, posts


def _streams(site: SecureSite) -> str:
    """What h2load says of ten seconds of HTTP/2."""
    target = f"--connect-to={site.host.address}:443 https://{NAME}/healthz"
    return str(site.host.run(f"h2load -D 10 -c 8 -m 4 {target}", timeout=120).stdout)


def _told(said: str) -> tuple[int, int]:
    """How many requests were sent, and how many failed: answers other than 2xx count as such.

    What is under way when the time is over is counted in the status codes alone.
    """
    match, codes = _TOLD.search(said), _CODES.search(said)
    if match is None or codes is None:
        raise RuntimeError(f"h2load: {said[-500:]}")
    lost = [int(match[group]) for group in (2, 3, 4)]
    return int(match[1]) + sum(lost), sum(lost) + sum(map(int, codes.groups()))


def _show(found: list[Through]) -> None:
    title(
        "8. Handovers over TLS",
        "Clients that keep their connections: pages and 2 kB uploads over HTTP/1.1, 32 streams over HTTP/2; uvicorn.",
        "Target: 0 failed.",
    )
    rows = [[one.proxy, *map(str, _counts(one))] for one in found]
    table(["proxy", "handovers", "pages", "uploads", "HTTP/2", "failed"], rows)
    title(
        "8b. What clients notice of them",
        "Milliseconds that pages took, with clients, proxy and app on the same cores, under one load throughout:",
        f"{QUIET:g} s before each handover, and from the handover's first phase on the host to its last word.",
        "p99 by turn: median (least to most). Target: p99 during a handover at most 1.5 times the steady p99.",
    )
    rows = [[one.proxy, *side.row()] for one in found for side in (one.steady, one.moving)]
    table(["proxy", "pages", "answered", "p50", "p99", "max", "p99 by turn", "failed"], rows)
    for one in found:
        by_turn = median(one.moving.p99s) / median(one.steady.p99s)
        ratio = one.moving.p99 / one.steady.p99
        say(
            f"{one.proxy}: p99 during a handover {ratio:.2f} times the steady one (medians of the turns: {by_turn:.2f})"
        )


def _counts(one: Through) -> tuple[int, ...]:
    return one.handovers, one.pages.sent, one.posts.sent, one.streams, one.failed
