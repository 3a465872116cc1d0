"""Which settings module serves: the one that wsgi.py or asgi.py names, rather than the one of manage.py."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import replace

from deployer.project.django.evaluation.classes import CONFIGURATIONS
from deployer.project.django.evaluation.modules import TextFiles, module_path, module_text, tree
from deployer.project.django.evaluation.reader import exported
from deployer.wire.lazydata import dataclass

__all__ = ["SETTINGS", "Choice", "choose_settings", "is_development"]

SETTINGS = "DJANGO_SETTINGS_MODULE"
_SETTINGS = ("DEBUG", "ALLOWED_HOSTS", "DATABASES", "INSTALLED_APPS", "SECRET_KEY", "STATIC_ROOT")
_PRODUCTION = ("production", "prod", "live", "deployment", "deploy", "server", "heroku")
_DEVELOPMENT = ("local", "dev", "devel", "develop", "development", "debug", "test", "tests", "testing", "ci", "docker")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A settings module, and why it is the one, in half a sentence. Where settings are classes, ``configuration`` is
    the one among them. ``unused`` are settings for production that lie beside them, and that no program names."""

    module: str
    why: str
    configuration: str = ""
    unused: str = ""


def choose_settings(files: TextFiles, packages: Iterable[str] = ()) -> Choice | None:
    """The settings with which a host serves; None when no program of the project names any, and none are in one of
    those ``packages``, beside its wsgi.py or asgi.py."""
    named = dict(_named(files, SETTINGS))
    if not named:
        return _beside_server(files, packages)
    served = next((module for path, module in named.items() if path != "manage.py"), None)
    module = served or named["manage.py"]
    path = next(path for path, one in named.items() if one == module)
    if not is_development(files, module):
        others = () if _last(module) in _PRODUCTION else _production(files, [module])
        unused = next((one for one in others if one not in named.values()), "")
        return _configured(files, Choice(module=module, why=f"named by {path}", unused=unused))
    other = next(_production(files, named.values()), None)
    if other is None:
        found = Choice(module=module, why=f"named by {path}, and no other settings were found")
    else:
        found = Choice(module=other, why=f"{path} names {module}, which is for development")
    return _configured(files, found)


def _beside_server(files: TextFiles, packages: Iterable[str]) -> Choice | None:
    """Settings that nothing names, as all is left to the environment: those beside a wsgi.py or asgi.py of Django's."""
    for package in packages:
        servers = [text for kind in ("wsgi", "asgi") if (text := module_text(files, f"{package}.{kind}")) is not None]
        if not any("django" in text for text in servers):
            continue
        module = f"{package}.settings"
        found = next(_production(files, [module]), module if module_path(files, module) else "")
        if found:
            why = "found by its name: no program of the project names settings"
            return _configured(files, Choice(module=found, why=why))
    return None


def _configured(files: TextFiles, choice: Choice) -> Choice:
    """With the class of django-configurations that serves: named by a program, unless it is for development and there
    is another; or the one for production."""
    made = [node.name for node in tree(module_text(files, choice.module)).body if isinstance(node, ast.ClassDef)]
    if not made:
        return choice
    named = next(((path, name) for path, name in _named(files, CONFIGURATIONS) if name in made), None)
    better = next((one for one in _PRODUCTION for name in made if name.lower() == one), None)
    production = next((name for name in made if name.lower() == better), "")
    if named is None:
        return (
            replace(choice, configuration=production) if production and _uses_configurations(files, choice) else choice
        )
    path, name = named
    if production and name.lower() in _DEVELOPMENT:
        why = f"{choice.why}; class {production}, as {path} names {name}, which is for development"
        return replace(choice, configuration=production, why=why)
    return replace(choice, configuration=name, why=f"{choice.why}; class {name}, named by {path}")


def _uses_configurations(files: TextFiles, choice: Choice) -> bool:
    return "configurations" in (module_text(files, choice.module) or "")


def is_development(files: TextFiles, module: str) -> bool:
    """Whether a settings module is for development by its name, or is a package that has nothing of its own."""
    if _last(module) in _DEVELOPMENT:
        return True
    path = module_path(files, module)
    if path is None:
        return True
    if not path.endswith("__init__.py"):
        return False
    body = tree(files.read_text(path)).body
    imported = [str(getattr(node, "module", "")) for node in body]
    return not body or any(name.rpartition(".")[2] in _DEVELOPMENT for name in imported)


def _last(module: str) -> str:
    """What the name of a settings module says of it."""
    return module.rpartition(".")[2].removeprefix("settings_").removesuffix("_settings")


def _named(files: TextFiles, variable: str) -> Iterator[tuple[str, str]]:
    """The programs of the project that set a variable, such as that of the settings, each with its value; wsgi.py
    first."""
    manage = _names(files, "manage", variable)
    for module in _servers(_names(files, "manage", SETTINGS)):
        if (found := _names(files, module, variable)) is not None:
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


def _names(files: TextFiles, module: str, variable: str) -> str | None:
    if module_path(files, module) is None:
        return None
    value = exported(files, module).get(variable)
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
            yield from (place.removeprefix(".") for place in places if _is_settings(files, place.removeprefix(".")))


def _is_settings(files: TextFiles, module: str) -> bool:
    """Whether a module has settings of its own: one called ``server`` or ``deploy`` may be anything."""
    body = tree(module_text(files, module)).body
    targets = [one for node in body if isinstance(node, (ast.Assign, ast.AnnAssign)) for one in ast.walk(node)]
    assigned = {one.id for one in targets if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    stars = (node for node in body if isinstance(node, ast.ImportFrom) and any(one.name == "*" for one in node.names))
    return next(stars, None) is not None or not assigned.isdisjoint(_SETTINGS)
