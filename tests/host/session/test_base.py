"""What a host tells of the tree that an upload builds on: its digest, and what of it was changed there."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from deployer.host.build.code import shipped
from deployer.host.state.content.damage import mark_damaged
from deployer.host.state.content.store import Store
from deployer.wire.tree.entry import unpack_ids
from tests.host.simulation.host import SimulatedHost
from tests.host.simulation.laptop import line

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trees are root's")


@pytest.fixture
def host(host: SimulatedHost) -> SimulatedHost:
    """A host on which v1 serves, none of whose files a command changed."""
    assert host.deploy(text="one", build=[]).exit == 0
    return host


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any project has too many files for all ids to be told at once."""
    monkeypatch.setattr(shipped, "FEW", 0)


def base(host: SimulatedHost) -> dict[str, Any]:
    told: dict[str, Any] = host.ask()["base"]
    return told


def asked(host: SimulatedHost, key: str) -> dict[str, Any]:
    return host.session(line({"op": "base", "key": key})).events[-1]


def trees(host: SimulatedHost) -> Store:
    return Store(host.paths.trees)


def entries(host: SimulatedHost) -> dict[str, bytes]:
    """The id of each shipped file of what serves, by path."""
    store, key = trees(host), base(host)["key"]
    return {entry.path: entry.id for entry in shipped.entries(store, key, store.record(key) or {})}


def test_few_files_are_told_at_once(host: SimulatedHost) -> None:
    told = base(host)
    assert told["digest"] == host.ask()["spec"]["source"]["digest"]
    assert told["altered"] == "" and unpack_ids(told["ids"]) == list(entries(host).values())


@pytest.mark.usefixtures("many")
def test_many_are_told_when_they_are_asked_for(host: SimulatedHost) -> None:
    told = base(host)
    assert (told["ids"], told["altered"]) == ("", "")
    answer = asked(host, told["key"])
    assert (answer["event"], unpack_ids(answer["ids"])) == ("answer", list(entries(host).values()))


@pytest.mark.usefixtures("many")
def test_what_was_changed_there_is_named(host: SimulatedHost) -> None:
    """Whoever knows the tree by its digest knows from that what can be taken over."""
    known = entries(host)
    shipped.mark_altered(trees(host), base(host)["key"], ["app.py"])
    told = base(host)
    assert told["digest"] == host.ask()["spec"]["source"]["digest"]
    assert unpack_ids(told["altered"]) == [known.pop("app.py")]
    assert sorted(unpack_ids(asked(host, told["key"])["ids"])) == sorted(known.values())


@pytest.mark.usefixtures("many")
def test_a_tree_of_an_earlier_version_has_a_digest(host: SimulatedHost) -> None:
    """Its entries are in its seal."""
    store, told, known = trees(host), base(host), entries(host)
    record = store.record(told["key"]) or {}
    listed = [list(one) for one in shipped.entries(store, told["key"], record)]
    store.seal_path(told["key"]).write_text(json.dumps({"source": "x", "altered": [], "size": 1, "entries": listed}))
    assert base(host) == told
    assert unpack_ids(asked(host, told["key"])["ids"]) == list(known.values())


@pytest.mark.parametrize("how", ["damaged", "its record lost"])
def test_nothing_is_taken_over_from_what_is_not_whole(host: SimulatedHost, how: str) -> None:
    """The next upload brings all of it."""
    key = base(host)["key"]
    if how == "damaged":
        mark_damaged(trees(host), key, "found by fab doctor")
    else:
        trees(host).beside(key, "entries").unlink()
    assert base(host) == {"key": key, "digest": "", "altered": "", "ids": ""}
    assert asked(host, key)["ids"] == ""
    assert host.deploy(text="two").exit == 0


def test_a_tree_that_is_gone(host: SimulatedHost) -> None:
    """Another deploy removed it since ``ask``: it is told what to type."""
    outcome = host.session(line({"op": "base", "key": "0" * 64}))
    (failed,) = [event for event in outcome.events if event["event"] == "failed"]
    assert "is gone from the host" in failed["message"] and "fab deploy" in json.dumps(failed["next"])
    assert failed["state"] == "nothing was touched"


@pytest.mark.parametrize("key", ["", "x", "0" * 63, "../" + "0" * 61, 5, None])
def test_a_key_that_is_none_is_refused(host: SimulatedHost, key: Any) -> None:
    (failed,) = [event for event in host.session(line({"op": "base", "key": key})).events if event["event"] == "failed"]
    assert "key" in failed["message"]
