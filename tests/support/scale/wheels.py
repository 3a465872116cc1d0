"""Wheels made here and served to hosts on the loopback address: an environment of any size, without an index."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import os
import random
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODULE_SIZE = 6_000
"""Bytes of a module, of which an installer makes bytecode of about the same size."""
A_PACKAGE = 1_000
"""Files in the environment that one wheel brings at most, bytecode included."""


@dataclass(frozen=True, slots=True)
class Wheels:
    """``requirements``: the lines of requirements.txt that install all of them."""

    requirements: str


@contextlib.contextmanager
def wheels(directory: Path, *, files: int, size: int) -> Iterator[Wheels]:
    """Wheels that make so many files in an environment, and about so many bytes, for as long as the block.

    A third of the files are modules, a third their bytecode, a third data that do not compress.
    """
    names = _make(directory, files, size)
    handler = functools.partial(_Quiet, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True, name="wheels").start()
        try:
            found = f"--find-links http://127.0.0.1:{server.server_port}/\n"
            yield Wheels(found + "".join(f"{name}==1\n" for name in names))
        finally:
            server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """An installer first asks for a part of a wheel, and hangs up when it gets all of it."""
        with contextlib.suppress(ConnectionError):
            super().copyfile(source, outputfile)


def _make(directory: Path, files: int, size: int) -> list[str]:
    directory.mkdir(parents=True)
    packages = -(-files // A_PACKAGE)
    modules = files // packages // 3
    each = max(1, (size // packages - 2 * modules * MODULE_SIZE) // modules)
    names = [f"bulk{number:02}" for number in range(packages)]
    for number, name in enumerate(names):
        _write(directory / f"{name}-1-py3-none-any.whl", name, modules, each, random.Random(number))
    return names


def _write(path: Path, name: str, modules: int, each: int, chance: random.Random) -> None:
    """One wheel of so many modules, and as many files of data of ``each`` bytes."""
    info = f"{name}-1.dist-info"
    text = " ".join(f"word{chance.randrange(2_000)}" for _ in range(MODULE_SIZE // 9))
    content: dict[str, bytes] = {f"{name}/__init__.py": b""}
    for number in range(modules):
        content[f"{name}/part{number // 12}/module{number}.py"] = f'"""{text}."""\n\nVALUE = {number}\n'.encode()
        content[f"{name}/part{number // 12}/data{number}.bin"] = os.urandom(each)
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n".encode()
    content[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{place},sha256={_digest(data)},{len(data)}\n" for place, data in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as wheel:
        for place, data in content.items():
            wheel.writestr(place, data)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
