"""Questions at the terminal: one at a time, not shown while typed, and never drawn over by the live view."""

from __future__ import annotations

import os
import sys
import termios
import textwrap
from pathlib import Path

import pytest

from deployer import events as ev
from deployer.ssh.login import prompt as prompting
from deployer.ssh.login.prompt import Prompt, prompt
from deployer.ssh.options import Question
from tests.support.screen import ANSI, Live
from tests.support.terminal import Terminal

HEAD = """
import os, sys, termios, threading
from deployer.ssh.login.prompt import Prompt, prompt
from deployer.ssh.options import Question
def q(host, **more): return Question(**{"text": "passphrase for /k", "host": host, **more})
"""


def script(tmp_path: Path, body: str) -> Terminal:
    """A Python program in a terminal of its own."""
    file = tmp_path / "script.py"
    file.write_text(HEAD + textwrap.dedent(body))
    return Terminal([sys.executable, str(file)], tmp_path)


def shows(terminal: Terminal) -> bool:
    """Whether what is typed in it is shown."""
    return bool(termios.tcgetattr(terminal.descriptor)[3] & termios.ECHO)


def test_one_question_at_a_time_and_an_answer_that_counts_once_is_asked_for_once(tmp_path: Path) -> None:
    """Of three hosts that need one passphrase the first is named; what is typed is not shown; a wrong one is told."""
    terminal = script(
        tmp_path,
        """
        ask, got = Prompt(), []
        threads = [threading.Thread(target=lambda n=n: got.append(ask(q(f"web{n}")))) for n in range(3)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(got, ask(q("web1"), "first"), ask(q("web2"), "first"), ask(q("web9")))
        """,
    )
    terminal.wait_for(b"passphrase for /k: ")
    assert not shows(terminal)
    terminal.type("first\n")
    terminal.wait_for(b"web1: wrong, once more: passphrase for /k: ")
    terminal.type("second\n")
    assert terminal.end() == 0
    assert "['first', 'first', 'first'] second second second" in terminal.text
    assert terminal.text.count("passphrase") == 2
    assert terminal.text.count("first") == 3 and terminal.text.count("second") == 3


def test_a_code_is_asked_for_every_time_and_a_hosts_words_are_harmless(tmp_path: Path) -> None:
    """What does not count once is asked again; control characters of a host do not reach the terminal."""
    terminal = script(
        tmp_path,
        r"""
        ask = Prompt()
        code = q("web1", text="Code\x1b[2J: ", note="Look\x1b]0;x\x07 here\nand there", once=False, secret=False)
        print([ask(code), ask(code)])
        """,
    )
    for typed in ("12", "34"):
        terminal.wait_for(b"web1: Code [2J: ")
        terminal.seen = b""
        terminal.type(f"{typed}\n")
    assert terminal.end() == 0
    assert "['12', '34']" in terminal.text and "\x1b" not in terminal.text


def test_the_end_of_the_input_is_no_answer(tmp_path: Path) -> None:
    """Ctrl-D says that nobody answers, and it is not asked again."""
    terminal = script(tmp_path, "ask = Prompt(); print(ask(q('web1')), ask(q('web2')))")
    terminal.wait_for(b"/k: ")
    terminal.type("\x04")
    assert terminal.end() == 0
    assert "None None" in terminal.text


def test_a_question_that_a_thread_hangs_at_gives_the_terminal_back(tmp_path: Path) -> None:
    """Ctrl-C is met by the main thread: what is typed is shown again, on a line of its own."""
    terminal = script(
        tmp_path,
        """
        ask = Prompt()
        thread = threading.Thread(target=ask, args=(q("web1"),), daemon=True)
        try:
            thread.start()
            thread.join()
        except KeyboardInterrupt:
            ask.close()
            print("shows", bool(termios.tcgetattr(0)[3] & termios.ECHO))
        """,
    )
    terminal.wait_for(b"/k: ")
    assert not shows(terminal)
    terminal.type("\x03")
    assert terminal.end() == 0
    assert terminal.text.endswith("\r\nshows True\r\n")


def test_nobody_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where there is none, nor where nobody looks at it, nor in the background."""
    monkeypatch.setattr(prompting, "_TERMINAL", "/nonexistent")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert prompt() is None
    assert Prompt()(Question(text="x")) is None
    ours, theirs = os.openpty()
    monkeypatch.setattr(prompting, "_TERMINAL", os.ttyname(theirs))
    assert prompt() is None  # it is not this process's own: as one in the background
    os.close(ours)
    os.close(theirs)


def test_the_live_view_stands_aside_and_tells_afterwards_what_it_heard(tmp_path: Path) -> None:
    """While a question stands there nothing is written, be it by the thread that draws; then all is, in order."""
    view = Live(hosts=("web1", "web2"))
    view.feed([ev.Connecting(host="web1"), ev.Connecting(host="web2")])
    with view.report.aside():
        before = view.file.getvalue()
        with view.report.aside():
            view.feed([ev.Connected(host="web1", seconds=1.0), ev.Note(host="web1", text="hello")])
        view.clock.now += 60
        assert view.file.getvalue() == before
        assert before.count("\x1b[?25h") == before.count("\x1b[?25l") == 1
    assert "web1: hello" in ANSI.sub("", view.file.getvalue())
    assert "\x1b[?25l" in view.file.getvalue()[len(before) :]
    view.report.close()


def test_a_view_that_is_closed_during_a_question_tells_all(tmp_path: Path) -> None:
    """Ctrl-C at the question: what was held back is told all the same."""
    view = Live()
    view.feed([ev.Connecting(host="web1")])
    with view.report.aside():
        view.feed([ev.Note(host="web1", text="hello")])
        assert "hello" in view.text()
