"""What may be promoted: one release, held by all hosts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from deployer.errors import ConfigError
from deployer.release.placement import Placement
from deployer.release.promotion import Promotion
from deployer.remote.answers import HeldRelease
from deployer.wire.protocol import SWITCH_BARRIERS


def facts(**held: str) -> dict[str, Any]:
    """Hosts, by name, and what each holds (empty: nothing)."""
    return {
        host: SimpleNamespace(held=HeldRelease(release=name, seconds=60.0) if name else None)
        for host, name in held.items()
    }


def refused(**held: str) -> str:
    with pytest.raises(ConfigError) as raised:
        Promotion().agree(facts(**held))
    assert raised.value.state == "nothing was touched"
    return f"{raised.value.message} {raised.value.next}"


def test_all_hosts_must_hold_the_same() -> None:
    """Those that hold nothing are named, and different ones with their hosts; each with what to type."""
    Promotion().agree(facts(web1="v7", web2="v7"))
    assert refused(web1="").startswith("no release is held:")
    text = refused(web1="v7", web2="", web3="")
    assert "on web2, web3" in text and "fab deploy --hold" in text
    text = refused(web1="v7", web2="v8")
    assert "v7 on web1; v8 on web2" in text and "fab abort" in text


def test_a_host_is_asked_for_what_is_left_of_its_own() -> None:
    """From the switch on, with the barriers of its fleet; it migrates nothing."""
    site: Any = SimpleNamespace(host="web1")
    placement = Placement(number=9, barriers=SWITCH_BARRIERS, migrator="")
    message = Promotion().payload(site, facts(web1="v7")["web1"], placement).message
    assert (message["release"], message["phases"]) == (7, ["switch", "drain", "watch"])
    assert message["barriers"] == ["switch", "keep"]
    assert Promotion().migrator(["web1"]) == ""
