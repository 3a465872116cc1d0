"""The settings under the variables of a host, read again with others to see what each variable does."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping

from deployer.project.django.choice import SETTINGS, Choice
from deployer.project.django.evaluation.classes import CONFIGURATIONS
from deployer.project.django.evaluation.modules import TextFiles
from deployer.project.django.evaluation.reader import Settings, read_settings
from deployer.project.django.evaluation.values import CODE, STATE, Value
from deployer.wire.lazydata import dataclass
from deployer.wire.release.shared import PLAIN_PATH, shared_of, shared_problem

__all__ = ["Doubt", "Reading", "in_project"]


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """What would break on a host, in half a sentence, and the line of Python that puts it right."""

    what: str
    line: str = ""


def in_project(path: str, directory: str) -> str:
    """A path of the code, relative to the project; one without a slash in front is relative to where the app runs."""
    placed = path if path.startswith("/") else posixpath.join(CODE, directory, path)
    return posixpath.relpath(posixpath.normpath(placed), CODE)


_GIVEN = (SETTINGS, CONFIGURATIONS, "STATE_DIRECTORY", "HOME")
"""Variables that are what they are."""


class Reading:
    """The settings under the variables of a host; read again with others to see what a variable does.

    ``shared`` are paths of the code that a host keeps below the directory that the app may write.
    """

    def __init__(self, files: TextFiles, choice: Choice, directory: str) -> None:
        self.files, self.module, self.directory = files, choice.module, directory
        self.env: dict[str, str] = {CONFIGURATIONS: choice.configuration} if choice.configuration else {}
        self.shared: dict[str, str] = {}
        self.doubts: list[Doubt] = []
        self.settings = self.read({})

    def read(self, more: Mapping[str, str]) -> Settings:
        texts = {SETTINGS: self.module, "STATE_DIRECTORY": STATE, "HOME": STATE, **self.env, **more}
        environment = {name: Value(content=text, variables=(name,)) for name, text in texts.items()}
        return read_settings(self.files, self.module, environment, self.directory)

    def solve(self, variables: Iterable[str], texts: Iterable[str], good: Callable[[Settings], bool]) -> bool:
        """Whether one of the variables, with one of the texts, makes the settings good; it is kept then."""
        for name in (name for name in variables if name not in _GIVEN):
            for text in texts:
                settings = self.read({name: text})
                if good(settings):
                    self.env[name] = text
                    self.settings = settings
                    return True
        return False

    def share(self, path: str, place: str, *, directory: bool = False) -> bool:
        """Whether a path of the code can be kept outside it, below the directory that the app may write; it is then.

        ``path`` may be relative to where the app runs; the same place again is no other one.
        """
        inside = in_project(path, self.directory)
        key = f"{inside}/" if directory else inside
        table = {**self.shared, key: place}
        wanted = shared_of(table)
        fits = all(PLAIN_PATH.fullmatch(text) for one in wanted for text in (one.path, one.target))
        if not fits or shared_problem(wanted) or (self.directory and f"{self.directory}/".startswith(f"{inside}/")):
            return False
        self.shared = table
        return True

    def doubt(self, what: str, line: str = "") -> None:
        self.doubts.append(Doubt(what=what, line=line))
