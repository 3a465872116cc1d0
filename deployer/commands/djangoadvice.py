"""What Django on a host must be told to be served by the site in front of it: asked of its own settings there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deployer import events
from deployer.errors import DeployerError
from deployer.remote.console import execute
from deployer.remote.session import Over, Remote
from deployer.wire.site import ProxySite

__all__ = ["advise", "ask"]

MARK = "deployer-django:"
SETTINGS = (
    "ALLOWED_HOSTS", "DEBUG", "SECURE_SSL_REDIRECT", "SECURE_PROXY_SSL_HEADER", "USE_X_FORWARDED_HOST",
)  # fmt: skip
SECONDS = 20
"""For the app's own code, which runs when Django starts: it may wait for a database for ever."""
SCRIPT = f"""
import json, os, re, signal, sys
signal.alarm({SECONDS})
name = "DJANGO_SETTINGS_MODULE"
if not os.environ.get(name) and os.path.exists("manage.py"):
    with open("manage.py", encoding="utf-8", errors="replace") as file:
        found = re.search(name + r"['\\"]\\s*,\\s*['\\"]([\\w.]+)", file.read())
    if found:
        os.environ[name] = found[1]
if os.environ.get(name):
    sys.path.insert(0, os.getcwd())
    import django
    from django.conf import settings
    from django.core import checks
    django.setup()
    told = checks.run_checks(tags=[checks.Tags.security], include_deployment_checks=True)
    values = {{key: getattr(settings, key, None) for key in {SETTINGS!r}}}
    print({MARK!r} + json.dumps({{"settings": values, "checks": [[one.id, one.msg] for one in told]}}, default=str))
"""
"""Prints the settings that a proxy concerns (none of them is secret), and what ``check --deploy`` says of security."""
_BY_PROXY = ("security.W004", "security.W008")
"""HSTS and the redirect to HTTPS: the site sees to these."""
_HTTPS_ONLY = (*_BY_PROXY, "security.W012", "security.W016")
"""What has no meaning over plain HTTP."""
_NEED_HEADER = ("command", "hypercorn")
"""Servers that do not, or may not, take the scheme from the proxy by themselves."""
_PROTO = ["HTTP_X_FORWARDED_PROTO", "https"]


def ask(remote: Remote) -> Mapping[str, Any]:
    """What Django says of itself on the host, in the release that serves; empty where there is no Django, or it cannot
    be asked."""
    lines: list[str] = []

    def collect(event: events.Event) -> None:
        if isinstance(event, events.Output):
            lines.append(event.line)

    before, remote.report = remote.report, collect
    try:
        execute(remote, ["python", "-c", SCRIPT])
    except (DeployerError, Over):
        return {}
    finally:
        remote.report = before
    return parse(lines)


def parse(lines: Sequence[str]) -> Mapping[str, Any]:
    """The answer among what was printed; empty when it is none. An app may print anything."""
    for line in lines:
        if line.startswith(MARK):
            try:
                found = json.loads(line.removeprefix(MARK))
            except (ValueError, RecursionError):
                return {}
            good = isinstance(found, dict) and isinstance(found.get("settings"), dict)
            return found if good and isinstance(found.get("checks"), list) else {}
    return {}


def advise(told: Mapping[str, Any], site: ProxySite, server: str) -> list[str]:
    """What should be changed in the settings, for this site and this ``server``; one sentence each. Pure."""
    return [f"Django: {text}" for text in _advise(told, site, server)] if told else []


def _advise(told: Mapping[str, Any], site: ProxySite, server: str) -> Iterator[str]:
    settings, secure = told["settings"], site.tls != "off"
    allowed = settings.get("ALLOWED_HOSTS")
    for name in site.names:
        if isinstance(allowed, list) and "*" not in name and not _allows(allowed, name) and not settings.get("DEBUG"):
            yield f"ALLOWED_HOSTS lacks {name}: it answers 400 to every request for it"
    header = settings.get("SECURE_PROXY_SSL_HEADER")
    if header and list(header) != _PROTO:
        yield (
            f"SECURE_PROXY_SSL_HEADER names {header[0]}, which the proxy does not send: every request counts as plain "
            f'HTTP; write ("{_PROTO[0]}", "{_PROTO[1]}")'
        )
    if secure and not header and server in _NEED_HEADER:
        yield (
            'without SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") it may take HTTPS for plain HTTP: '
            "403 at forms, redirects without end"
        )
    if not secure and settings.get("SECURE_SSL_REDIRECT"):
        yield 'SECURE_SSL_REDIRECT leads to HTTPS, and the site has none: set domains, or tls = "front" with trusted'
    left_out = _BY_PROXY if secure else _HTTPS_ONLY
    for one in told["checks"]:
        if isinstance(one, list) and len(one) == 2 and one[0] not in left_out:
            yield f"{' '.join(str(one[1]).split())} ({one[0]})"


def _allows(allowed: Sequence[object], name: str) -> bool:
    """As Django's own ``validate_host``: a leading dot stands for the domain and all below it."""
    patterns = [str(one).lower() for one in allowed]
    return any(one in ("*", name) or (one.startswith(".") and f".{name}".endswith(one)) for one in patterns)
