"""The files of a project as Python modules: found by name, parsed, never imported."""

from __future__ import annotations

import ast
import posixpath
from typing import Any, Protocol

from deployer.wire.lazydata import dataclass

__all__ = ["Below", "TextFiles", "literal", "module_path", "module_text", "relative_to", "tree"]


class TextFiles(Protocol):
    """Files by path, relative to the project: a Source, or the disk."""

    def read_text(self, path: str) -> str | None: ...


@dataclass(frozen=True)
class Below:
    """The files of a directory among others."""

    files: TextFiles
    directory: str

    def read_text(self, path: str) -> str | None:
        """As of the others, with paths relative to the directory."""
        return self.files.read_text(posixpath.normpath(f"{self.directory}/{path}"))


def module_path(files: TextFiles, module: str) -> str | None:
    """The path of a module, or of a package's ``__init__``; None when there is none."""
    path = module.replace(".", "/")
    candidates = (f"{path}.py", f"{path}/__init__.py") if module else ()
    return next((one for one in candidates if files.read_text(one) is not None), None)


def module_text(files: TextFiles, module: str) -> str | None:
    """The text of a module, or of a package's ``__init__``."""
    path = module_path(files, module)
    return None if path is None else files.read_text(path)


def relative_to(module: str, path: str, level: int, name: str) -> str:
    """The full name of what ``from`` names in a module: ``level`` dots, then ``name``."""
    package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
    parts = package.split(".") if package else []
    base = parts[: len(parts) - level + 1] if level else []
    return ".".join([*base, *([name] if name else [])])


def tree(text: str | None) -> ast.Module:
    """The syntax tree; an empty one for text that is missing or not Python."""
    try:
        return ast.parse(text or "")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module(body=[], type_ignores=[])


def literal(node: ast.expr | None) -> Any:
    """A literal's value; None when it is something else."""
    try:
        return None if node is None else ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
