"""What a Django project needs of a host, and what would break there: found by reading its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from deployer.project.django import findings
from deployer.project.django.choice import Choice
from deployer.project.django.evaluation.modules import TextFiles
from deployer.project.django.evaluation.reader import Settings
from deployer.project.django.findings import texts, url_prefix
from deployer.project.django.reading import Doubt, Reading
from deployer.wire.lazydata import dataclass

__all__ = ["Doubt", "Site", "inspect_settings"]


@dataclass(frozen=True, kw_only=True)
class Site:
    """The settings of a project as a host would have them.

    ``env`` are variables that are needed there and are no secret, each with its value; ``secret`` names the variable
    of SECRET_KEY, where it has one; ``hosts_variable`` that of ALLOWED_HOSTS, as long as nobody said what the site is
    called, and ``hosts_form`` how it would name an example; ``required`` those without which the settings raise, and
    which are in neither. ``unread`` are settings of which reading tells nothing,
    ``unused`` a module for production that no program names.
    ``static_root`` and ``media_root`` are relative to the project, ``media_state`` to the directory that the app may
    write. ``shared`` are paths of the project that are kept there, too, each with its place.
    """

    settings: str
    why: str
    values: Settings
    env: Mapping[str, str] = field(default_factory=dict)
    secret: str = ""
    required: tuple[str, ...] = ()
    host: str | None = None
    hosts_variable: str = ""
    hosts_form: str = ""
    migrates: bool = False
    collects: bool = False
    whitenoise: bool = False
    static_url: str | None = None
    static_root: str | None = None
    media_url: str | None = None
    media_state: str | None = None
    shared: Mapping[str, str] = field(default_factory=dict)
    doubts: tuple[Doubt, ...] = ()
    unused: str = ""
    unread: tuple[str, ...] = ()


def inspect_settings(files: TextFiles, choice: Choice, directory: str = "", host: str = "") -> Site:
    """What the settings ask of a host. ``host`` is the site's name, where its user said one."""
    reading = Reading(files, choice, directory)
    findings.debug(reading)
    found = findings.hosts(reading, host)
    findings.databases(reading)
    secret = findings.secret(reading)
    static, media = findings.static(reading), findings.media(reading)
    settings = reading.settings
    variable, form = findings.hosts_variable(reading, found)
    required = (name for name in settings.required if name != secret and name not in reading.env)
    return Site(
        settings=choice.module,
        why=choice.why,
        unused=choice.unused,
        values=settings,
        env=reading.env,
        secret=secret,
        required=tuple(required),
        host=found or None,
        hosts_variable=variable,
        hosts_form=form,
        unread=tuple(findings.unread(settings)),
        migrates=findings.migrates(settings),
        collects=static is not None,
        whitenoise=any("whitenoise" in one for one in texts(settings.get("MIDDLEWARE"))),
        static_url=url_prefix(settings.get("STATIC_URL")),
        static_root=static or None,
        media_url=url_prefix(settings.get("MEDIA_URL")),
        media_state=media,
        shared=reading.shared,
        doubts=tuple(reading.doubts),
    )
