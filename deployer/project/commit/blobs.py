"""The contents of git's blobs, read by a ``git cat-file`` that runs while somebody may ask it."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, cast

from deployer.errors import ConfigError
from deployer.project import git
from deployer.project.filters import raw_kind
from deployer.project.spool import CHUNK, HEAD, Spool
from deployer.wire.advice import do, run

_BATCH = 100
"""Names written before the answers are read: few enough for any pipe to hold them, so that no side waits for the other
for ever."""


class Known(NamedTuple):
    """A blob's length in bytes, its content's SHA-256 in hex, and what it stands for (see ``filters``)."""

    size: int
    digest: str
    raw: int


class Blobs:
    """The blobs of one repository. Those that were asked for are kept in the spool.

    Any number of threads may ask at once. git is started by the first that asks for something new, and ended by
    ``rest``, or with the last reference to this.
    """

    def __init__(self, top: Path, spool: Spool) -> None:
        self._top, self._spool = top, spool
        self._read: dict[str, tuple[int, Known]] = {}
        self._reader: _Reader | None = None

    def read(self, ids: Iterable[str]) -> dict[str, Known]:
        """What is known of each blob once it was read. Raises ConfigError with git's words when one cannot be."""
        wanted = list(dict.fromkeys(ids))
        with self._spool.lock:
            missing = [name for name in wanted if name not in self._read]
            for start in range(0, len(missing), _BATCH):
                self._fetch(missing[start : start + _BATCH])
            return {name: self._read[name][1] for name in wanted}

    def open(self, name: str) -> BinaryIO:
        """A stream of its own over a blob's content. Raises ConfigError with git's words when it cannot be read."""
        self.read((name,))
        start, known = self._read[name]
        return self._spool.open(start, known.size)

    def rest(self) -> None:
        """End git, until something new is asked for."""
        with self._spool.lock:
            reader, self._reader = self._reader, None
        if reader is not None:
            reader.end()

    def _fetch(self, names: Sequence[str]) -> None:
        """Read blobs. A git that was ended from outside, as by a Ctrl-C at the terminal, is started again, once."""
        for attempt in (1, 2):
            reader = self._reader or _Reader(self._top)
            self._reader = None  # whatever ends this early leaves answers in the pipe that nobody has read
            try:
                for name, size, pieces in reader.answers([name for name in names if name not in self._read]):
                    self._read[name] = self._keep(name, size, pieces)
            except (EOFError, BrokenPipeError):
                said = reader.last_words()
                if attempt == 2:
                    raise self._unreadable(said) from None
            except LookupError as error:
                raise self._unreadable(f"{error} {reader.last_words()}".strip()) from None
            else:
                self._reader = reader
                return

    def _keep(self, name: str, size: int, pieces: Iterable[bytes]) -> tuple[int, Known]:
        """Keep a blob: where it begins, and what is known of it. Raises ConfigError when its name says otherwise."""
        start, digest, head = self._spool.size, hashlib.sha256(), b""
        named = hashlib.sha1(usedforsecurity=False) if len(name) == 40 else hashlib.sha256()
        named.update(b"blob %d\0" % size)
        for piece in pieces:
            head = head or piece[:HEAD]
            digest.update(piece)
            named.update(piece)
            self._spool.write(piece)
        if named.hexdigest() != name:
            raise self._unreadable(f"the object {name} has other content than its name says")
        return start, Known(size, digest.hexdigest(), raw_kind(size, head))

    def _unreadable(self, said: str) -> ConfigError:
        return ConfigError(
            message=f"git cannot give the files of {self._top}: {said}",
            state="nothing was touched",
            next=do("put right what git says") + run("git fsck", "shows what the repository lacks"),
        )


class _Reader:
    """One ``git cat-file``, and what it writes."""

    def __init__(self, top: Path) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as this)
        try:
            self._process = subprocess.Popen(
                git.command(["cat-file", "--batch"]),
                cwd=top,
                env=git.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                bufsize=CHUNK,
            )
        except FileNotFoundError:
            raise git.no_program(top) from None
        self.end = weakref.finalize(self, _end, self._process)
        """Ends git, once."""

    def answers(self, names: Sequence[str]) -> Iterator[tuple[str, int, Iterator[bytes]]]:
        """Each blob that is named, its length, and its content in pieces, which has to be read before the next.

        Raises EOFError or BrokenPipeError when git has ended, LookupError for what is no blob here.
        """
        stdin, stdout = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        stdin.write("".join(f"{name}\n" for name in names).encode())
        stdin.flush()
        for name in names:
            head = stdout.readline()
            if not head.endswith(b"\n"):
                raise EOFError
            fields = head.decode(errors="replace").split()
            if len(fields) != 3 or fields[0] != name or fields[1] != "blob":
                raise LookupError(" ".join(fields))
            size = int(fields[2])
            yield name, size, _pieces(stdout, size)
            _exactly(stdout, 1)

    def last_words(self) -> str:
        """End git, and give what it said last."""
        self.end()
        self._said.seek(0)
        return " / ".join(self._said.read().decode(errors="replace").strip().splitlines()[-6:])


def _end(process: subprocess.Popen[bytes]) -> None:
    """It only reads: nothing is lost by ending it at any moment."""
    process.kill()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # what could not be written any more
            cast(IO[bytes], stream).close()
    process.wait()


def _pieces(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0:
        piece = _exactly(stream, min(size, CHUNK))
        size -= len(piece)
        yield piece


def _exactly(stream: IO[bytes], size: int) -> bytes:
    """Exactly that many bytes. Raises EOFError."""
    data = stream.read(size)
    if len(data) != size:
        raise EOFError
    return data
