"""SIGTERM ends a deploy wherever it is, and nothing on the way takes it for something else."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from deployer.host.errors import HostError
from deployer.host.system import runner, signals, systemd


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before, mask = signal.getsignal(signal.SIGTERM), signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    yield
    signal.signal(signal.SIGTERM, before)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def end() -> None:
    raise signals.Terminated(HostError("aborted by ada"))


def soon() -> threading.Timer:
    timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGTERM])
    timer.start()
    return timer


def test_it_is_heard_while_systemctl_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that may fail swallows its own failures only."""
    real = runner.run
    monkeypatch.setattr(runner, "run", lambda argv, **options: real(["sleep", "20"], **options))
    signals.on_terminate(end)
    timer = soon()
    with pytest.raises(signals.Terminated) as caught:
        systemd.systemctl("stop", "shop-web@v1.service")
    timer.join()
    assert caught.value.error.message == "aborted by ada"


def test_it_waits_for_what_must_not_be_cut_in_two() -> None:
    """The block is done to its end; then it is heard. (Sent to this thread: the others hold nothing back.)"""
    signals.on_terminate(end)
    done = []
    with pytest.raises(signals.Terminated), signals.uninterrupted():
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        done.append(True)
    assert done == [True]


def test_a_second_one_disturbs_no_undoing() -> None:
    """The first is heard, all others are not."""
    signals.on_terminate(end)
    with pytest.raises(signals.Terminated):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
