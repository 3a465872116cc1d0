"""Django projects, read as text: which settings serve, what they are on a host, and what would break there.

Nothing of the project is run or imported. ``statements`` follows settings modules as Python would, with
the variables that a host has; what it cannot know stays unknown.
"""

from deployer.project.django.choice import SETTINGS, Choice, choose_settings
from deployer.project.django.evaluation.modules import Below, TextFiles, literal, module_path, module_text, tree
from deployer.project.django.evaluation.reader import Settings, read_settings
from deployer.project.django.evaluation.values import CODE, STATE, Value, plain

__all__ = [
    "CODE",
    "SETTINGS",
    "STATE",
    "Below",
    "Choice",
    "Settings",
    "TextFiles",
    "Value",
    "choose_settings",
    "literal",
    "module_path",
    "module_text",
    "plain",
    "read_settings",
    "tree",
]
