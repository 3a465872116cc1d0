"""The WSGI and ASGI applications that a project's modules have: instances, and functions that make one."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from deployer.project.django import TextFiles, module_text, tree
from deployer.project.django.evaluation.modules import relative_to
from deployer.wire.lazydata import dataclass

__all__ = ["PACKAGES", "Application", "applications"]

FRAMEWORKS = {
    "Flask": "wsgi", "APIFlask": "wsgi", "Bottle": "wsgi", "FastAPI": "asgi", "Starlette": "asgi", "Litestar": "asgi",
    "Quart": "asgi", "Esmerald": "asgi", "BlackSheep": "asgi",
}  # fmt: skip
PACKAGES = ("app", "src", "api", "web", "server")
"""Where modules are looked for besides the top, when the directories of a project are not known."""
_MODULES = ("wsgi", "asgi", "app", "main", "application", "server", "api", "run", "autoapp")
_FACTORIES = ("create_app", "make_app", "create_application", "build_app", "get_app", "app_factory", "create_asgi_app")
_NAMES = ("application", "app", "api", "server")
_KINDS = ("wsgi", "asgi")


@dataclass(frozen=True, kw_only=True)
class Application:
    """``kind`` is wsgi or asgi, ``target`` is ``module:name``. A ``factory`` is a function that makes one."""

    kind: str
    target: str
    factory: bool = False
    django: bool = False

    @property
    def key(self) -> str:
        """What goes into ``[web]``: gunicorn calls a factory that is written as a call, uvicorn needs an option."""
        return f"{self.target}()" if self.factory and self.kind == "wsgi" else self.target

    @property
    def args(self) -> tuple[str, ...]:
        """More arguments that its usual server needs."""
        return ("--factory",) if self.factory and self.kind == "asgi" else ()


def applications(files: TextFiles, packages: Sequence[str] = PACKAGES) -> list[Application]:
    """Those of the usual modules, the likeliest first: what wsgi.py or asgi.py has is there to be served, so that
    nothing else counts beside it; functions count where nothing is ready-made."""
    paths = [*_MODULES, *(f"{package}/{name}" for package in packages for name in ("__init__", *_MODULES))]
    modules = {path: tree(text) for path in paths if (text := files.read_text(f"{path}.py")) is not None}
    served = [found for path, module in modules.items() if (found := _served(files, path, module))]
    if served:
        first = served[0]
        top = "." not in first.target.partition(":")[0]
        return [one for one in served if one is first or (one.kind == first.kind and not top)]
    instances = [one for path, module in modules.items() for one in _instances(files, path, module)]
    return instances or [one for path, module in modules.items() for one in _factories(path, module)]


def _dotted(path: str) -> str:
    return path.replace("/", ".").removesuffix(".__init__")


def _served(files: TextFiles, path: str, module: ast.Module) -> Application | None:
    """What a wsgi.py or asgi.py offers, whatever makes it."""
    kind = path.rpartition("/")[2]
    if kind not in _KINDS:
        return None
    offered = [name for node in module.body for name in _bound(node)]
    name = next((name for name in _NAMES if name in offered), None)
    if name is None:
        return None
    made = next((one for one in _instances(files, path, module) if one.target.endswith(f":{name}")), None)
    return made or Application(kind=kind, target=f"{_dotted(path)}:{name}")


def _bound(node: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top gives a value."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (one.asname or one.name for one in node.names)
    elif isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def _instances(files: TextFiles, path: str, module: ast.Module) -> Iterator[Application]:
    """``app = Flask(__name__)``, annotated or not; and what a function makes, of the same module or imported from
    another one of the project."""
    makers = {**_imported_makers(files, path, module), **_makers(module)}
    for node in module.body:
        value = getattr(node, "value", None)
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or not isinstance(value, ast.Call):
            continue
        called = _called(value)
        kind = FRAMEWORKS.get(called) or makers.get(called)
        for name in _bound(node) if kind else ():
            yield Application(kind=str(kind), target=f"{_dotted(path)}:{name}")


def _makers(module: ast.Module) -> dict[str, str]:
    """The functions of a module that make an application, whatever they are called, each with its kind."""
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    return {node.name: kind for node in functions if (kind := next(iter(_kinds(ast.walk(node))), ""))}


def _imported_makers(files: TextFiles, path: str, module: ast.Module) -> dict[str, str]:
    """The same of what a module imports from others of the project, under the names that it gives them."""
    found: dict[str, str] = {}
    for node in module.body:
        if isinstance(node, ast.ImportFrom) and any("app" in one.name for one in node.names):
            source = relative_to(_dotted(path), f"{path}.py", node.level, node.module or "")
            text = module_text(files, source)
            makers = _makers(tree(text)) if text is not None else {}
            found |= {one.asname or one.name: makers[one.name] for one in node.names if one.name in makers}
    return found


def _called(call: ast.Call) -> str:
    return str(getattr(call.func, "id", getattr(call.func, "attr", "")))


def _factories(path: str, module: ast.Module) -> Iterator[Application]:
    """Functions of a usual name that need no argument and make an application."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name in _FACTORIES and not _needs_arguments(node.args):
            kind = next(iter(_kinds(ast.walk(node))), None)
            if kind:
                yield Application(kind=kind, target=f"{_dotted(path)}:{node.name}", factory=True)


def _needs_arguments(arguments: ast.arguments) -> bool:
    positional = len(arguments.posonlyargs) + len(arguments.args)
    return positional > len(arguments.defaults) or None in arguments.kw_defaults


def _kinds(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        name = _called(node) if isinstance(node, ast.Call) else ""
        if name in FRAMEWORKS:
            yield FRAMEWORKS[name]
