"""What the commands of an app do when they build or migrate: a few files, one after the other."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from deployer.host.build.bytecode import COMPILE

COLLECT = "collect"
MIGRATE = "migrate"
CHECK = "check"
FAILS = "false"
BUILDER = "nobody"

Deed = Callable[[], None]


def deeds(argv: Sequence[str], directory: Path, state: Path) -> list[Deed]:
    """What a command does, step by step; a step raises OSError when it cannot. ``state`` is the app's own directory."""
    words = list(argv)
    if words[0].endswith("/uv") and words[1] == "venv":
        return [lambda: _make(Path(words[-1]), "bin/python")]
    if words[0].endswith("/uv"):
        venv = Path(words[-1]).parent.parent
        return [
            lambda: _make(venv, "bin/gunicorn"),
            lambda: _make(venv, "lib/python3/site-packages/gunicorn/config.py"),
        ]
    if words[0] == "/bin/rm":
        return [lambda: shutil.rmtree(words[-1])]
    if COMPILE in words:
        what = Path(words[-1])
        listed = sorted(map(str, what.rglob("*.py"))) if what.is_dir() else what.read_text().splitlines()
        names = [f"made{path.rpartition('.')[0]}.cpython-311.pyc" for path in listed]
        return [lambda name=name: _make(directory, name) for name in names]  # type: ignore[misc]
    if words[-1] == COLLECT:
        return [
            lambda: _make(directory, "static/a.txt"),
            lambda: _make(directory, "static/out.txt"),
            lambda: _make(directory, f"static/{hashed(directory)}"),
            lambda: _make(directory, "static/staticfiles.json", json.dumps({"paths": {"a.css": hashed(directory)}})),
        ]
    if words[-1] == MIGRATE:
        return [lambda: _migrate(state)]
    if words[-1] == CHECK:
        return [lambda: None]
    return [_fail]


def hashed(code: Path) -> str:
    """The name of the style sheet that this code makes: each code has another one."""
    return hashed_name((code / "app.py").read_bytes())


def hashed_name(app: bytes) -> str:
    return f"a.{hashlib.sha256(app).hexdigest()[:12]}.css"


def committed(app: str) -> dict[str, str]:
    """What ``COLLECT`` makes, as files that a project ships: their text by path."""
    name = hashed_name(app.encode())
    text = {path: f"{path} as it was committed\n" for path in ("static/a.txt", "static/out.txt", f"static/{name}")}
    return {**text, "static/staticfiles.json": json.dumps({"paths": {"a.css": name}})}


def _make(directory: Path, name: str, text: str = "") -> None:
    """A file that the deploy user makes, in a directory that is his."""
    user = pwd.getpwnam(BUILDER)
    if directory.stat().st_uid != user.pw_uid:
        raise PermissionError(f"{directory} is not the builder's")
    path = directory / name
    for parent in reversed([one for one in path.parents if directory in one.parents]):
        if not parent.exists():
            parent.mkdir()
            os.chown(parent, user.pw_uid, user.pw_gid)
    path.write_text(text or f"{name} as it was built\n")
    os.chown(path, user.pw_uid, user.pw_gid)


def _migrate(state: Path) -> None:
    with (state / "migrations").open("a") as file:
        file.write("migrated\n")


def _fail() -> None:
    raise OSError("it fails")
