"""Figure 8: handovers over TLS, through Caddy and through nginx, under enough requests that a loss would show."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deployer.sandbox.load import Load, Report
from tests.bench.show import progress, table, title
from tests.support.acme import Authority
from tests.support.https import NAME, OTHER, SecureSite, secure_host, secure_site

REQUESTS, QUICK = 50_000, 3_000
"""Through each proxy, at least."""
BODY = b"x" * 2048
_TOLD = re.compile(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout")

_CODES = re.compile(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx")


@dataclass(frozen=True)
class Through:
    """What went through one proxy."""

    proxy: str
    handovers: int
    pages: Report
    posts: Report
    streams: int
    streams_failed: int

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
    """Handovers one after the other, under load of three kinds, until enough was sent."""
    handovers = 0
    with ThreadPoolExecutor(1) as pool, _loads(site) as (pages, posts):
        streams: list[tuple[int, int]] = []
        pending: Future[str] | None = None
        while not handovers or pages.snapshot().sent + posts.snapshot().sent + sum(one for one, _ in streams) < wanted:
            progress(f"handover over TLS through {proxy}, {handovers + 1}")
            pending = pending or pool.submit(_streams, site)
            site.expect(0, "reload")
            handovers += 1
            if pending.done():
                streams.append(_told(pending.result()))
                pending = None
        if pending:
            streams.append(_told(pending.result()))
        return Through(
            proxy=proxy,
            handovers=handovers,
            pages=pages.stop(),
            posts=posts.stop(),
            streams=sum(sent for sent, _ in streams),
            streams_failed=sum(failed for _, failed in streams),
        )


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
        "Latencies of pages, in milliseconds, with all of it on the same cores. Target: 0 failed.",
    )
    rows = [[one.proxy, *map(str, _counts(one)), *_latencies(one)] for one in found]
    table(["proxy", "handovers", "pages", "uploads", "HTTP/2", "failed", "p50", "p99", "max"], rows)


def _latencies(one: Through) -> list[str]:
    found = one.pages.latencies
    return [f"{value:.0f}" for value in (found.p50, found.p99, found.max)]


def _counts(one: Through) -> tuple[int, ...]:
    return one.handovers, one.pages.sent, one.posts.sent, one.streams, one.failed
