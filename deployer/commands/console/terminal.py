"""This machine's terminal while a command on a host has it: every key goes there; restored whatever happens."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import threading
import tty
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any

from deployer.remote.console import Console
from deployer.wire.release.command import FRAME, LOCALE, LOCALE_NAMES, SIZE, TERM

__all__ = ["Escape", "LocalTerminal", "described"]

_ENDING = (signal.SIGTERM, signal.SIGHUP)


class LocalTerminal:
    """For the block the terminal passes on each key as it is typed, Ctrl-C and Ctrl-Z too, and prints what comes as it
    is. SIGTERM, SIGHUP and SIGTSTP restore it before they do what they always do. Enter it in the main thread.

    ``Enter ~ .`` leaves: it raises KeyboardInterrupt in the main thread, also when the connection hangs.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._saved: list[Any] = []
        self._handlers: dict[signal.Signals, Any] = {}
        self._console: Console | None = None
        self._woken, self._wake = os.pipe()
        self._over = False

    def __enter__(self) -> LocalTerminal:
        self._saved = termios.tcgetattr(self._descriptor)
        os.set_blocking(self._wake, False)
        handlers: dict[signal.Signals, Any] = {
            **dict.fromkeys(_ENDING, self._end),
            signal.SIGTSTP: self._suspend,
            signal.SIGCONT: self._resume,
            signal.SIGWINCH: self._resized,
        }
        self._handlers = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        self._enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over = True
        self._resized()
        self._leave()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @property
    def described(self) -> Mapping[str, Any]:
        """For the host: the kind of terminal, its size, the locale."""
        rows, columns = self._size()
        return {**described(os.environ), "rows": rows, "columns": columns}

    def serve(self, console: Console) -> None:
        """From now on what is typed goes to the command, as does each change of the window's size."""
        self._console = console
        threading.Thread(target=self._work, args=(console,), daemon=True, name="typed").start()

    def _work(self, console: Console) -> None:
        escape = Escape()
        while True:
            ready, _, _ = select.select([self._descriptor, self._woken], [], [])
            if self._over:
                return
            if self._woken in ready:
                os.read(self._woken, 4096)
                console.resize(*self._size())
            if self._descriptor in ready:
                try:
                    typed = os.read(self._descriptor, FRAME)
                except OSError:
                    return  # the terminal is gone: SIGHUP says so
                typed = escape.feed(typed)
                if escape.leaves:
                    os.kill(os.getpid(), signal.SIGINT)
                    return
                if typed and not console.give(typed):
                    return

    def _size(self) -> tuple[int, int]:
        """Rows and columns, within what a host accepts."""
        try:
            size = os.get_terminal_size(self._descriptor)
        except OSError:
            return 24, 80
        return tuple(min(max(one, SIZE[0]), SIZE[1]) for one in (size.lines or 24, size.columns or 80))  # type: ignore[return-value]

    def _enter(self) -> None:
        """What is typed ahead is kept."""
        tty.setraw(self._descriptor, termios.TCSADRAIN)

    def _leave(self) -> None:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._saved)

    def _end(self, number: int, _: FrameType | None) -> None:
        self._leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _suspend(self, number: int, _: FrameType | None) -> None:
        self._leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # it stops here, until SIGCONT
        signal.signal(number, self._suspend)

    def _resume(self, *_: object) -> None:
        """A shell may have changed the terminal meanwhile, and the window may have another size."""
        self._enter()
        self._resized()

    def _resized(self, *_: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b"\n")


class Escape:
    """Finds ``Enter ~ .`` in what is typed, as ssh has it; a second ``~`` sends one. ``leaves``: it was typed."""

    def __init__(self) -> None:
        self.leaves = False
        self._line_begins = True
        self._pending = False

    def feed(self, typed: bytes) -> bytes:
        """What the command gets of it."""
        kept = bytearray()
        for byte in typed:
            if self._pending:
                self._pending = False
                if byte == ord("."):
                    self.leaves = True
                    return b""
                kept += b"~" if byte != ord("~") else b""
            elif byte == ord("~") and self._line_begins:
                self._pending = True
                continue
            kept.append(byte)
            self._line_begins = byte in b"\r\n"
        return bytes(kept)


def described(environment: Mapping[str, str]) -> dict[str, Any]:
    """The kind of terminal, and the locale, as a host accepts them; what it would refuse is left out."""
    term = environment.get("TERM", "")
    locale = {name: environment.get(name, "") for name in LOCALE_NAMES}
    return {
        "term": term if TERM.fullmatch(term) else "dumb",
        "locale": {name: value for name, value in locale.items() if LOCALE.fullmatch(value)},
    }
