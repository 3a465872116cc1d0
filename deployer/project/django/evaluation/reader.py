"""Settings modules, read for a host: what they assign, and the variables that they need."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from deployer.project.django.evaluation import classes
from deployer.project.django.evaluation.expressions import Names
from deployer.project.django.evaluation.modules import TextFiles, module_path, tree
from deployer.project.django.evaluation.statements import DEEPEST, Frame
from deployer.project.django.evaluation.values import CODE, Raised, Value

__all__ = ["Settings", "exported", "read_settings"]


class Settings:
    """What a settings module assigns. ``required`` are the variables without which it would raise, ``asked`` all
    that it reads; ``unseen`` are modules outside the project that assign more."""

    def __init__(
        self,
        names: Mapping[str, Value],
        required: Sequence[str],
        asked: Collection[str] = (),
        unseen: Sequence[str] = (),
    ) -> None:
        self.names = names
        self.required = tuple(dict.fromkeys(required))
        self.asked = frozenset(asked)
        self.unseen = tuple(dict.fromkeys(unseen))

    def get(self, name: str) -> Value:
        """A setting; an unknown one when it is not assigned."""
        return self.names.get(name) or Value()


def read_settings(files: TextFiles, module: str, environment: Mapping[str, Value], directory: str = "") -> Settings:
    """The settings as a host would have them, where ``environment`` is all that is set.

    ``directory`` is where modules are imported from, relative to the project; the files are those below it. Raises
    nothing for code that cannot be understood.
    """
    program = _Program(files, environment, directory)
    names = {**program.module(module), **program.configured(module)}
    return Settings(names, program.required, program.asked, program.unseen)


def exported(files: TextFiles, module: str) -> dict[str, Value]:
    """The variables of the environment that a program sets, such as manage.py and wsgi.py."""
    program = _Program(files, {}, "")
    program.names_of = {"__name__": "__main__"} if module == "manage" else {}
    program.module(module)
    return program.environment


class _Program:
    """The modules that were read, what is set, and how much more may be done."""

    def __init__(self, files: TextFiles, environment: Mapping[str, Value], directory: str) -> None:
        self.files = files
        self.environment = dict(environment)
        self.where = f"{CODE}/{directory}" if directory else CODE
        self.required: list[str] = []
        self.asked: set[str] = set()
        self.unseen: list[str] = []
        self.defaulted: set[str] = set()
        self.modules: dict[str, Names] = {}
        self.names_of: dict[str, str] = {}
        self.depth = 0
        self.statements = 0

    def configured(self, module: str) -> Names:
        """What the class that the environment names has, where the settings are classes."""
        named = self.environment.get(classes.CONFIGURATIONS)
        found = self.module(module).get(named.content) if named is not None and isinstance(named.content, str) else None
        made = found.content if found is not None else None
        if not isinstance(made, classes.Class):
            return {}
        frame, names = Frame(self, Names(), module, ""), Names()
        for name, value in made.names.items():
            try:
                names[name] = classes.resolved(name, value, frame)
            except Raised as raised:
                self.required += raised.variables
                names[name] = Value(variables=raised.variables)
        return names

    def module(self, name: str) -> Names:
        """What a module of the project assigns; what it has so far while it is being read."""
        if name in self.modules:
            return self.modules[name]
        self.modules[name] = names = Names()
        path = module_path(self.files, name)
        if path is not None and self.depth < DEEPEST:
            names["__file__"] = Value(content=f"{self.where}/{path}")
            names["__name__"] = Value(content=self.names_of.get("__name__", name))
            self.depth += 1
            Frame(self, names, name, path).run(tree(self.files.read_text(path)).body)
            self.depth -= 1
        return names
