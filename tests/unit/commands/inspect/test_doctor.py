"""``fab doctor --fix`` while it is interrupted."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from deployer.commands.inspect.doctor import _sigterm_as_ctrl_c


def test_a_sigterm_is_told_as_a_ctrl_c_and_only_meanwhile() -> None:
    """The command explains itself and ends with 130; afterwards the signal means what it did."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), _sigterm_as_ctrl_c():
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(30)
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_the_thread_of_a_host_no_signal_is_touched() -> None:
    """Python lets only the main thread handle signals."""
    failed: list[BaseException] = []

    def enter() -> None:
        try:
            with _sigterm_as_ctrl_c():
                pass
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert failed == []
