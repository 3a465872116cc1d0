"""Django settings, read as text: what a settings module assigns, without running a line of it."""

from __future__ import annotations

import ast
import posixpath
from dataclasses import dataclass
from typing import Any, Protocol

SETTINGS = "DJANGO_SETTINGS_MODULE"


class TextFiles(Protocol):
    """Files by path, relative to the project: a Source, or the disk."""

    def read_text(self, path: str) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Below:
    """The files of a directory among others."""

    files: TextFiles
    directory: str

    def read_text(self, path: str) -> str | None:
        """As of the others, with paths relative to the directory."""
        return self.files.read_text(posixpath.normpath(f"{self.directory}/{path}"))


def settings_module(files: TextFiles) -> str | None:
    """The settings module that manage.py names."""
    for node in ast.walk(tree(files.read_text("manage.py"))):
        if isinstance(node, ast.Call) and [literal(argument) for argument in node.args[:1]] == [SETTINGS]:
            value = literal(node.args[1]) if len(node.args) == 2 else None
            return value if isinstance(value, str) else None
    return None


def settings_values(files: TextFiles, module: str) -> dict[str, ast.expr]:
    """What the settings module assigns, as expressions; modules it imports all of come first."""
    values: dict[str, ast.expr] = {}
    for name in (*star_imports(files, module), module):
        for node in tree(module_text(files, name)).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                values[node.targets[0].id] = node.value
    return values


def star_imports(files: TextFiles, module: str) -> list[str]:
    """The modules of which the settings module imports all, as ``from .base import *`` does."""
    package = module if files.read_text(f"{module.replace('.', '/')}/__init__.py") else module.rpartition(".")[0]
    names = []
    for node in tree(module_text(files, module)).body:
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            names.append(".".join([*base, *([node.module] if node.module else [])]))
    return [name for name in names if name != module]


def module_text(files: TextFiles, module: str) -> str | None:
    """The text of a module, or of a package's ``__init__``."""
    path = module.replace(".", "/")
    text = files.read_text(f"{path}.py")
    return files.read_text(f"{path}/__init__.py") if text is None else text


def tree(text: str | None) -> ast.Module:
    """The syntax tree; an empty one for text that is missing or not Python."""
    try:
        return ast.parse(text or "")
    except (SyntaxError, ValueError):
        return ast.Module(body=[], type_ignores=[])


def literal(node: ast.expr | None) -> Any:
    """A literal's value; None when it is something else."""
    try:
        return None if node is None else ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return None


def strings(node: ast.expr | None) -> list[str]:
    """The strings of a literal list."""
    value = literal(node)
    return [item for item in value if isinstance(item, str)] if isinstance(value, (list, tuple)) else []


def last_string(node: ast.expr | None) -> str | None:
    """The last part of a path such as ``BASE_DIR / "static"`` or ``os.path.join(BASE_DIR, "static")``."""
    found = [item.value for item in ast.walk(node) if isinstance(item, ast.Constant)] if node is not None else []
    texts = [item for item in found if isinstance(item, str)]
    usable = len(texts) == 1 and texts[0] and not texts[0].startswith(("/", "."))
    return texts[0].rstrip("/") if usable else None
