"""Which settings module serves: the one that wsgi.py or asgi.py names, rather than the one of manage.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deployer.project.django.modules import TextFiles, module_path, tree
from deployer.project.django.reader import exported

__all__ = ["SETTINGS", "Choice", "choose_settings", "is_development"]

SETTINGS = "DJANGO_SETTINGS_MODULE"
_PRODUCTION = ("production", "prod", "live", "deployment", "deploy", "server", "heroku")
_DEVELOPMENT = ("local", "dev", "devel", "develop", "development", "debug", "test", "tests", "testing", "ci", "docker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A settings module, and why it is the one, in half a sentence."""

    module: str
    why: str


def choose_settings(files: TextFiles) -> Choice | None:
    """The settings with which a host serves; None when no program of the project names any."""
    named = dict(_named(files))
    if not named:
        return None
    served = next((module for path, module in named.items() if path != "manage.py"), None)
    module = served or named["manage.py"]
    path = next(path for path, one in named.items() if one == module)
    if not is_development(files, module):
        return Choice(module=module, why=f"named by {path}")
    other = next(_production(files, named.values()), None)
    if other is None:
        return Choice(module=module, why=f"named by {path}, and no other settings were found")
    return Choice(module=other, why=f"{path} names {module}, which is for development")


def is_development(files: TextFiles, module: str) -> bool:
    """Whether a settings module is for development by its name, or is a package that has nothing of its own."""
    last = module.rpartition(".")[2]
    if last.removeprefix("settings_").removesuffix("_settings") in _DEVELOPMENT:
        return True
    path = module_path(files, module)
    if path is None:
        return True
    if not path.endswith("__init__.py"):
        return False
    body = tree(files.read_text(path)).body
    imported = [str(getattr(node, "module", "")) for node in body]
    return not body or any(name.rpartition(".")[2] in _DEVELOPMENT for name in imported)


def _named(files: TextFiles) -> Iterator[tuple[str, str]]:
    """The programs of the project that name settings, wsgi.py first; a program without a name for them has none."""
    manage = _names(files, "manage")
    for module in _servers(manage):
        if (found := _names(files, module)) is not None:
            yield f"{module.replace('.', '/')}.py", found
    if manage is not None:
        yield "manage.py", manage


def _servers(manage: str | None) -> Iterator[str]:
    """Where wsgi.py and asgi.py may be: beside the settings that manage.py names, or above them."""
    parts = (manage or "").split(".")[:-1]
    packages = [".".join(parts[:end]) for end in range(len(parts), -1, -1)]
    if manage and manage not in packages:
        packages.append(manage)
    packages += [name for name in ("config", "conf", "project") if name not in packages]
    for kind in ("wsgi", "asgi"):
        yield from (f"{package}.{kind}" if package else kind for package in packages)


def _names(files: TextFiles, module: str) -> str | None:
    if module_path(files, module) is None:
        return None
    value = exported(files, module).get(SETTINGS)
    return value.content if value is not None and isinstance(value.content, str) and value.content else None


def _production(files: TextFiles, named: Iterable[str]) -> Iterator[str]:
    """Settings for production that lie beside those, or in the package of that name."""
    for module in dict.fromkeys(named):
        package = module.rpartition(".")[0]
        for name in _PRODUCTION:
            places = (
                f"{package}.{name}",
                f"{module}.{name}",
                f"{package}.settings_{name}",
                f"{package}.{name}_settings",
            )
            yield from (place for place in places if module_path(files, place.removeprefix(".")) is not None)
