"""The host program is packed once, whoever needs it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from deployer.remote import program


def test_threads_that_need_it_at_once_pack_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each host of a fleet: they would take the interpreter from each other."""
    packed = list[str]()
    sources = program._sources
    monkeypatch.setattr(program, "_sources", lambda top, name: (packed.append(name), sources(top, name))[1])
    program._made.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: program.host_program().digest, range(8)))
    assert len(made) == 1
    assert packed.count("deployer/host") == 1
