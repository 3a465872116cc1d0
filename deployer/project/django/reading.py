"""The settings under the variables of a host, read again with others to see what each variable does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from deployer.project.django.choice import SETTINGS
from deployer.project.django.modules import TextFiles
from deployer.project.django.reader import Settings, read_settings
from deployer.project.django.values import STATE, Value

__all__ = ["Doubt", "Reading"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """What would break on a host, in half a sentence, and the line of Python that puts it right."""

    what: str
    line: str = ""


class Reading:
    """The settings under the variables of a host; read again with others to see what a variable does."""

    def __init__(self, files: TextFiles, module: str, directory: str) -> None:
        self.files, self.module, self.directory = files, module, directory
        self.env: dict[str, str] = {}
        self.doubts: list[Doubt] = []
        self.settings = self.read({})

    def read(self, more: Mapping[str, str]) -> Settings:
        texts = {SETTINGS: self.module, "STATE_DIRECTORY": STATE, "HOME": STATE, **self.env, **more}
        environment = {name: Value(content=text, variables=(name,)) for name, text in texts.items()}
        return read_settings(self.files, self.module, environment, self.directory)

    def solve(self, variables: Iterable[str], texts: Iterable[str], good: Callable[[Settings], bool]) -> bool:
        """Whether one of the variables, with one of the texts, makes the settings good; it is kept then."""
        for name in (name for name in variables if name not in (SETTINGS, "STATE_DIRECTORY", "HOME")):
            for text in texts:
                settings = self.read({name: text})
                if good(settings):
                    self.env[name] = text
                    self.settings = settings
                    return True
        return False

    def doubt(self, what: str, line: str = "") -> None:
        self.doubts.append(Doubt(what=what, line=line))
