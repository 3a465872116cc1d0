"""The page that visitors get when no other was given, and the response that carries a page."""

from __future__ import annotations

from deployer.wire.maintenance import MaintenanceRequest

BACKLOG = 4096
GRACE = 30.0
"""Seconds that requests have to end when the page is taken away."""
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Down for maintenance</title>
<style>
  :root { color-scheme: light dark; }
  body { margin: 0; min-height: 100vh; display: grid; place-items: center;
         font: 1.125rem/1.6 system-ui, sans-serif; background: #f6f7f9; color: #1f2933; }
  main { max-width: 32rem; padding: 2rem; text-align: center; }
  h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 .75rem; }
  p { margin: 0; }
  @media (prefers-color-scheme: dark) { body { background: #14181d; color: #e4e7eb; } }
</style>
</head>
<body>
<main>
  <h1>Down for maintenance</h1>
  <p>This site is being worked on, and will be back soon. Please try again in a while.</p>
</main>
</body>
</html>
"""


def response(request: MaintenanceRequest, *, head: bool) -> bytes:
    """All of the response, without the page when it answers a ``HEAD``."""
    body = (request.page or PAGE).encode()
    lines = (
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(body)}",
        f"Retry-After: {request.retry_after}",
        "Cache-Control: no-store",
        "Connection: close",
    )
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + (b"" if head else body)


UNREACHABLE = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: 34\r\nConnection: close\r\n\r\n"
    b"maintenance: the app is not there\n"
)
"""For one who may see the app, while it does not run."""
