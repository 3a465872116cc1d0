"""What is required and missing is found from what this machine has and from what each host says; pure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.config import LocalEnvironment
from deployer.config.environment.secret import Secret
from deployer.errors import ConfigError
from deployer.release.variables import hidden_by_host, missing_on, refuse_missing
from deployer.remote.answers import HostVariable
from deployer.remote.facts import BaseTree, Facts
from deployer.wire.environment import Change

BARE = Facts(
    current="",
    spec=None,
    busy=None,
    base=BaseTree(),
    partials={},
    free=0,
    program="",
    next=1,
    target="",
    usable={},
)


def host(**environment: tuple[str, bool]) -> Facts:
    """A host that has these variables: from where, and whether they are empty."""
    found = {name: HostVariable(source=source, empty=empty) for name, (source, empty) in environment.items()}
    return replace(BARE, environment=found)


def local(
    *required: str, file: dict[str, str] | None = None, command: dict[str, str] | None = None
) -> LocalEnvironment:
    def secret(values: dict[str, str] | None) -> dict[str, Secret]:
        return {name: Secret(value) for name, value in (values or {}).items()}

    return LocalEnvironment(file=secret(file), command=secret(command), required=required)


@pytest.mark.parametrize("plain", [{"K": "1"}, {}])
def test_any_source_will_do(plain: dict[str, str]) -> None:
    """[env], the file, the command, the host, a service of the host's."""
    ways = [
        (local("K"), {"K": "1"}, BARE),
        (local("K", file={"K": "1"}), plain, BARE),
        (local("K", command={"K": "1"}), plain, BARE),
        (local("K"), {}, host(K=("host", False))),
        (local("K"), {}, host(K=("service", False))),
    ]
    for here, own, there in ways:
        assert missing_on(here, own, there) == ()


def test_the_one_that_wins_counts_and_an_empty_one_is_missing() -> None:
    """An empty value above a good one hides it."""
    assert missing_on(local("K"), {}, BARE) == ("K",)
    assert missing_on(local("K"), {"K": ""}, BARE) == ("K",)
    assert missing_on(local("K", file={"K": ""}), {"K": "1"}, BARE) == ("K",)
    assert missing_on(local("K"), {"K": "1"}, host(K=("host", True))) == ("K",)
    assert missing_on(local("K"), {"K": ""}, host(K=("service", False))) == ("K",)


def test_a_change_counts_as_made() -> None:
    """What it puts is there, what it removes is not; below that the next source counts."""
    kept = host(K=("host", False))
    assert missing_on(local("K"), {}, BARE, Change(put={"K": "1"})) == ()
    assert missing_on(local("K"), {}, kept, Change(put={"K": ""})) == ("K",)
    assert missing_on(local("K"), {}, kept, Change(put={}, remove=("K",))) == ("K",)
    assert missing_on(local("K"), {"K": "1"}, kept, Change(put={}, remove=("K",))) == ()


def test_what_is_missing_is_told_by_host() -> None:
    """Of all hosts together where they lack the same."""
    needs = local("A", "B")
    refuse_missing(needs, {"web1": {"A": "1", "B": "2"}}, {"web1": BARE})
    with pytest.raises(ConfigError, match=r": A, B on web1, web2$") as caught:
        refuse_missing(needs, {"web1": {}, "web2": {}}, {"web1": BARE, "web2": BARE})
    assert caught.value.next.commands == ("fab env.set A",)
    with pytest.raises(ConfigError, match=r": B on web1; A, B on web2$"):
        refuse_missing(needs, {"web1": {"A": "1"}, "web2": {}}, {"web1": BARE, "web2": BARE})


def test_what_the_host_hides_is_told_with_its_place() -> None:
    """Not what only the host has, nor what a service would have had."""
    there = host(A=("host", False), B=("host", False), C=("service", False), D=("host", False))
    here = local(file={"B": "1"}, command={"D": "1"})
    assert hidden_by_host(here, {"A": "1", "B": "1", "C": "1"}, there) == {
        "A": "env",
        "B": "env_file",
        "D": "env_command",
    }
