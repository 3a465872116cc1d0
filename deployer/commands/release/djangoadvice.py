"""What Django must be told to be served by the site in front of it: asked of its settings on a host, or read here."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deployer import events
from deployer.config import Config
from deployer.errors import DeployerError
from deployer.project.django import (
    SETTINGS,
    STATE,
    Below,
    Settings,
    TextFiles,
    Value,
    choose_settings,
    plain,
    read_settings,
)
from deployer.project.django.evaluation.classes import CONFIGURATIONS
from deployer.remote.console import execute
from deployer.remote.session import Over, Remote
from deployer.wire.release import django
from deployer.wire.site import ProxySite

__all__ = ["advise", "ask", "foresee"]

_DEFAULTS: Mapping[str, Any] = {
    "ALLOWED_HOSTS": [], "CSRF_TRUSTED_ORIGINS": [], "DEBUG": False, "SECURE_SSL_REDIRECT": False,
    "SECURE_PROXY_SSL_HEADER": None, "USE_X_FORWARDED_HOST": False,
}  # fmt: skip
"""What Django has where settings say nothing."""
_MUST = ("INSTALLED_APPS", "ROOT_URLCONF")
"""What settings of a site always have: where one of them was not seen, more has gone unseen."""


def ask(remote: Remote) -> Mapping[str, Any]:
    """What Django says of itself on the host, in the release that serves; empty where there is no Django, or it cannot
    be asked."""
    lines: list[str] = []

    def collect(event: events.Event) -> None:
        if isinstance(event, events.Output):
            lines.append(event.line)

    before, remote.report = remote.report, collect
    try:
        execute(remote, ["python", "-c", django.SCRIPT])
    except (DeployerError, Over):
        return {}
    finally:
        remote.report = before
    return django.parse(lines)


def advise(told: Mapping[str, Any], site: ProxySite, server: str) -> list[str]:
    """What should be changed in the settings, for this site and this ``server``; one sentence each. Pure."""
    if not told:
        return []
    checks = [f"{text} ({name})" for name, text in django.about_checks(told["checks"], site)]
    return [f"Django: {text}" for text in (*django.about_site(told["settings"], site, server), *checks)]


def foresee(files: TextFiles, config: Config, server: str, secrets: Mapping[str, str]) -> list[str]:
    """What will be wrong with the settings among ``files`` behind the site of ``config``, as far as reading tells; one
    sentence each, with the line to write.

    ``secrets`` is what ``env_file`` says: no text of it is told. Nothing is said of a setting that cannot be known.
    Pure; raises nothing.
    """
    if not config.runs_web or not config.proxy.chosen:
        return []
    below = Below(files, config.directory) if config.directory else files
    texts = {"STATE_DIRECTORY": STATE, "HOME": STATE, **config.env, **secrets}
    choice = choose_settings(below)
    module = texts.get(SETTINGS) or (choice.module if choice else "")
    if not module:
        return []
    if choice is not None and choice.configuration:
        texts.setdefault(CONFIGURATIONS, choice.configuration)
    reading = _Reading(below, module, config.directory or "", texts)
    settings = reading.settings
    known = {name: found[0] for name in _DEFAULTS if (found := _known(settings, name)) is not None}
    site = config.proxy.site()
    line = _hosts_line(reading, site.names, config.env_file, secrets)
    for name in [name for name in known if secrets.keys() & {*settings.get(name).variables}]:
        if name != "ALLOWED_HOSTS" or not line:
            del known[name]
    wrong = django.about_site(known, site, server, {"ALLOWED_HOSTS": line} if line else {})
    if known.get("DEBUG") is True:
        wrong.append("DEBUG is on: every error page shows the settings and the code; write DEBUG = False")
    return [f"{module}: {text}" for text in wrong]


class _Reading:
    """Settings under the variables of a host, and once more under others."""

    def __init__(self, files: TextFiles, module: str, directory: str, texts: Mapping[str, str]) -> None:
        self._files, self._module, self._directory, self.texts = files, module, directory, texts
        self.settings = self.read({})

    def read(self, more: Mapping[str, str]) -> Settings:
        values = {
            name: Value(content=text, variables=(name,))
            for name, text in {SETTINGS: self._module, **self.texts, **more}.items()
        }
        return read_settings(self._files, self._module, values, self._directory)


def _known(settings: Settings, name: str) -> tuple[Any] | None:
    """What a setting is, also where Django decides; None where that cannot be known."""
    value = settings.names.get(name)
    if value is None:
        return (_DEFAULTS[name],) if not settings.unseen and all(one in settings.names for one in _MUST) else None
    items = value.content if isinstance(value.content, tuple) else ()
    if not value.known or value.partial or value.others or not all(isinstance(one.content, str) for one in items):
        return None
    content = plain(value)
    return (content,) if content is None or isinstance(content, (str, int, list)) else None


def _hosts_line(reading: _Reading, names: Sequence[str], env_file: str | None, secrets: Mapping[str, str]) -> str:
    """What to write where a variable decides ALLOWED_HOSTS: seen to have the names accepted. Empty where none does."""
    for variable in reading.settings.get("ALLOWED_HOSTS").variables:
        forms = _forms(reading.texts.get(variable, ""), names)
        text = next((one for one in forms if _allows(reading, variable, one, names)), "")
        if text:
            if variable in secrets:
                return f"{', '.join(names)} into {variable} in {env_file}"
            return f"{variable} = {json.dumps(text)} under [env] in deploy.toml"
    return ""


def _forms(before: str, names: Sequence[str]) -> Iterator[str]:
    """A text with those names added: with commas, as most libraries have it, or as JSON, which pydantic wants."""
    there = [one for one in before.split(",") if one]
    yield ",".join([*there, *(one for one in names if one not in there)])
    with contextlib.suppress(ValueError):
        parsed = json.loads(before or "[]")
        if isinstance(parsed, list):
            yield json.dumps([*parsed, *(one for one in names if one not in parsed)])


def _allows(reading: _Reading, variable: str, text: str, names: Sequence[str]) -> bool:
    allowed = plain(reading.read({variable: text}).get("ALLOWED_HOSTS"))
    return isinstance(allowed, list) and all(name in allowed for name in names)
