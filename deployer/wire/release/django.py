"""What Django must be told to be served by the site in front of it: how its settings are asked, and what follows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from deployer.wire.site import ProxySite

MARK = "deployer-django:"
SETTINGS = (
    "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "DEBUG", "SECURE_SSL_REDIRECT", "SECURE_PROXY_SSL_HEADER",
    "USE_X_FORWARDED_HOST",
)  # fmt: skip
"""Those that a site concerns; none of them is secret."""
SECONDS = 20
"""For the app's own code, which runs when Django starts: it may wait for a database for ever."""
SCRIPT = f"""
import glob, json, os, re, signal, sys
signal.alarm({SECONDS})
programs = sorted(glob.glob("*/[aw]sgi.py") + glob.glob("*/*/[aw]sgi.py"), reverse=True)
for name in ("DJANGO_SETTINGS_MODULE", "DJANGO_CONFIGURATION"):
    for path in [*programs, "manage.py"]:
        if not os.environ.get(name) and os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                found = re.search(name + r"['\\"]\\s*[\\],]\\s*=?\\s*['\\"]([\\w.]+)", file.read())
            if found:
                os.environ[name] = found[1]
if os.environ.get("DJANGO_SETTINGS_MODULE"):
    sys.path.insert(0, os.getcwd())
    import django
    from django.conf import settings
    from django.core import checks
    if os.environ.get("DJANGO_CONFIGURATION"):
        import configurations
        configurations.setup()
    else:
        django.setup()
    told = checks.run_checks(tags=[checks.Tags.security], include_deployment_checks=True)
    values = {{key: getattr(settings, key, None) for key in {SETTINGS!r}}}
    print({MARK!r} + json.dumps({{"settings": values, "checks": [[one.id, one.msg] for one in told]}}, default=str))
"""
"""Prints those settings, and what ``check --deploy`` says of security."""
_BY_PROXY = ("security.W004", "security.W008")
"""HSTS and the redirect to HTTPS: the site sees to these."""
_HTTPS_ONLY = (*_BY_PROXY, "security.W012", "security.W016")
"""What has no meaning over plain HTTP."""
_NEED_HEADER = ("command", "hypercorn")
"""Servers that do not, or may not, take the scheme from the proxy by themselves."""
_PROTO = ["HTTP_X_FORWARDED_PROTO", "https"]
_HEADER = f'SECURE_PROXY_SSL_HEADER = ("{_PROTO[0]}", "{_PROTO[1]}")'


def parse(lines: Iterable[str]) -> Mapping[str, Any]:
    """The answer among what was printed; empty when it is none. An app may print anything."""
    for line in lines:
        if line.startswith(MARK):
            try:
                found = json.loads(line[len(MARK) :])
            except (ValueError, RecursionError):
                return {}
            good = isinstance(found, dict) and isinstance(found.get("settings"), dict)
            return found if good and isinstance(found.get("checks"), list) else {}
    return {}


def about_site(
    settings: Mapping[str, Any], site: ProxySite, server: str, lines: Mapping[str, str] | None = None
) -> list[str]:
    """What in these settings keeps the site from working, each with the line to write; nothing for a setting that is
    not among them.

    ``server`` is one of SERVERS. ``lines`` has what to write for a setting that a variable decides.
    """
    return list(_about_site(settings, site, server, lines or {}))


def _about_site(settings: Mapping[str, Any], site: ProxySite, server: str, lines: Mapping[str, str]) -> Iterator[str]:
    secure = site.tls != "off"
    allowed = settings.get("ALLOWED_HOSTS")
    lacking = list(_lacking(allowed, site.names)) if isinstance(allowed, list) else []
    if lacking and isinstance(allowed, list):  # also with DEBUG, which accepts no more than localhost
        names = ", ".join(lacking)
        line = lines.get("ALLOWED_HOSTS") or f"ALLOWED_HOSTS = {json.dumps([*map(str, allowed), *lacking])}"
        yield f"ALLOWED_HOSTS lacks {names}: every request for {_it(lacking)} is answered with 400; write {line}"
    yield from _about_header(settings, site, server)
    bare = [one for one in _texts(settings.get("CSRF_TRUSTED_ORIGINS")) if "://" not in one]
    if bare:
        origins = json.dumps([f"http{'s' if secure else ''}://{one.replace('.', '*.', 1) if one[:1] == '.' else one}"
                              for one in bare])  # fmt: skip
        yield (
            f"CSRF_TRUSTED_ORIGINS has {', '.join(bare)} without a scheme, which Django 4 and newer ignore: forms from "
            f"there get 403; write CSRF_TRUSTED_ORIGINS = {origins}"
        )
    if not secure and settings.get("SECURE_SSL_REDIRECT"):
        yield (
            "SECURE_SSL_REDIRECT leads to HTTPS, and the site has none: write domains, "
            'or tls = "front" with trusted, under [proxy] in deploy.toml'
        )


def _about_header(settings: Mapping[str, Any], site: ProxySite, server: str) -> Iterator[str]:
    """Whether Django learns that a request came by HTTPS."""
    if "SECURE_PROXY_SSL_HEADER" not in settings:
        return
    header = settings["SECURE_PROXY_SSL_HEADER"]
    if header and header != _PROTO:
        named = header[0] if isinstance(header, list) else header
        yield (
            f"SECURE_PROXY_SSL_HEADER names {named}, which the proxy does not send: every request counts as plain "
            f"HTTP; write {_HEADER}"
        )
    if header or site.tls == "off" or server not in _NEED_HEADER:
        return
    trusted = _texts(settings.get("CSRF_TRUSTED_ORIGINS"))
    refused = [name for name in site.names if not _trusts(trusted, name)]
    harm = [
        "403 at forms" if refused or not site.names else "",
        "redirects without end" if settings.get("SECURE_SSL_REDIRECT") else "",
        "links with http://",
    ]
    yield (
        "without SECURE_PROXY_SSL_HEADER it may take HTTPS for plain HTTP: "
        f"{', '.join(filter(None, harm))}; write {_HEADER}"
    )


def about_checks(checks: Iterable[object], site: ProxySite) -> list[tuple[str, str]]:
    """What ``check --deploy`` says that has a meaning for this site: the name and the text of each."""
    left_out = _BY_PROXY if site.tls != "off" else _HTTPS_ONLY
    pairs = [one for one in checks if isinstance(one, list) and len(one) == 2 and one[0] not in left_out]
    return [(str(name), " ".join(str(text).split())) for name, text in pairs]


def _lacking(allowed: Sequence[object], names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if "*" not in name and not _allows(allowed, name))


def _it(several: Sequence[str]) -> str:
    return "them" if len(several) > 1 else "it"


def _allows(allowed: Sequence[object], name: str) -> bool:
    """As Django's own ``validate_host``: a leading dot stands for the domain and all below it."""
    patterns = [str(one).lower() for one in allowed]
    return any(one in ("*", name) or (one.startswith(".") and f".{name}".endswith(one)) for one in patterns)


def _trusts(origins: Sequence[str], name: str) -> bool:
    """Whether forms of the site are accepted whatever scheme Django takes them for."""
    wild = [one[len("https://*") :] for one in origins if one.startswith("https://*.")]
    return f"https://{name}" in origins or any(name.endswith(one) for one in wild)


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
