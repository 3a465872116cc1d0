"""What the hosts of a fleet must agree on before anything is sent, and what each of them gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from deployer import events
from deployer.config import Config, read_local
from deployer.errors import ConfigError
from deployer.project.locks.lockfile import Lock
from deployer.project.source import Source
from deployer.project.spool import Spool
from deployer.release.delta import Upload
from deployer.release.kinds import Deploy, Reload, Rollback
from deployer.release.placement import Placement
from deployer.remote.facts import BaseTree, Facts
from deployer.remote.site import Site
from deployer.ssh.options import SshOptions
from deployer.ssh.target import Target
from deployer.wire.release.processes import Process
from deployer.wire.release.spec import Spec
from deployer.wire.tree.entry import Delta

SPEC: dict[str, Any] = {
    "source": {"digest": "a" * 64, "commit": "a" * 40, "ref": "main", "dirty": False},
    "lock": {"kind": "none", "path": "", "files": []},
    "python": "",
    "build": [],
    "migrate": "",
    "web": {"server": "gunicorn", "target": "a:b", "workers": 1, "args": [], "memory": 0, "unit": {}},
    "health": {"path": "/", "host": "localhost", "status": [[200, 399]], "timeout": 5, "settle": 0},
    "watch": 1,
    "drain": 1,
    "keep": 5,
    "overlap": True,
}


WORKER = Process(name="worker", command=("x",), count=1, stop=30, overlap=True, check="", unit=())


def facts(current: str = "v3", *, target: str = "v2", code: str = "a", **usable: str) -> Facts:
    """What a host says; ``usable`` are its releases by name, with a word for their code."""
    spec = Spec.parse({**SPEC, "source": {**SPEC["source"], "digest": code * 64}}) if current else None
    return Facts(
        current=current, spec=spec, busy=None, base=BaseTree(), partials={}, free=1, program="", next=4,
        target=target, usable=usable or {"v3": "c", "v2": "b", "v1": "a"},
    )  # fmt: skip


def refusal(kind: Reload | Rollback, **hosts: Facts) -> tuple[str, str]:
    """The message, and what to type next."""
    with pytest.raises(ConfigError) as caught:
        kind.agree(hosts)
    assert caught.value.state == "nothing was touched"
    return caught.value.message, str(caught.value.next)


@pytest.mark.parametrize("kind", [Reload(), Rollback(), Rollback(to=2)])
def test_hosts_that_are_alike_agree(kind: Reload | Rollback) -> None:
    """They serve the same, and have had the same."""
    kind.agree({"web2": facts(), "web1": facts()})


@pytest.mark.parametrize("kind", [Reload(), Rollback()])
def test_a_host_that_serves_nothing_is_named(kind: Reload | Rollback) -> None:
    """There is nothing to reload or to go back from."""
    message, then = refusal(kind, web2=facts(), web1=facts("", target=""))
    assert (message, then) == ("nothing is deployed on web1 yet", "fab deploy")


def test_a_reload_would_keep_a_skew() -> None:
    """Hosts that serve different releases are told of, in the order in which they were named."""
    message, then = refusal(Reload(), web2=facts("v4"), web1=facts("v3"), web3=facts("v4"))
    assert message == (
        "the hosts serve different releases, and a reload would keep it so: v4 serves on web2, web3; v3 serves on web1"
    )
    assert then.startswith("fab deploy ")


def test_a_reload_of_two_releases_of_one_name_is_refused() -> None:
    """Hosts that were deployed to one by one may call different code v3."""
    message, _ = refusal(Reload(), web1=facts(code="a"), web2=facts(code="b"))
    assert message == "v3 is not the same code on all hosts, and a reload would keep it so"


def test_a_reload_that_would_have_to_look_at_the_code_is_refused_before_anything_is_sent() -> None:
    """Of a fleet's hosts the one is named on which a web process would be new."""
    config = Config(app="shop", hosts_written=("web1", "web2"))
    kind = Reload(configs={host: config.of_host(host) for host in config.hosts})
    workers = facts()
    assert workers.spec is not None
    batch = replace(workers, spec=replace(workers.spec, web=None, processes=(WORKER,)))
    message, then = refusal(kind, web1=facts(), web2=batch)
    assert message == "web2 has run no web process so far, and a reload does not look for one in the code"
    assert then.startswith("fab deploy ")
    kind.agree({"web1": facts(), "web2": facts()})


def test_no_host_has_a_release_to_go_back_to() -> None:
    """The same words as on a single host."""
    message, then = refusal(Rollback(), web1=facts(target="", v3="c"), web2=facts(target="", v3="c"))
    assert (message, then) == ("there is no good release before the one that serves", "fab releases")


def test_hosts_that_would_go_back_to_different_releases() -> None:
    """Each is told, in the order in which they were named, with the newest release that all of them have had."""
    message, then = refusal(
        Rollback(),
        web2=facts(target="v1", v3="c", v1="a"),
        web1=facts(target="v2", v3="c", v2="b", v1="a"),
        web3=facts(target="", v3="c"),
    )
    assert message == (
        "the hosts have not had the same releases: web2 would go back to v1; web1 would go back to v2; "
        "web3 would go back to nothing"
    )
    assert then.startswith("fab deploy ")
    _, then = refusal(
        Rollback(), web2=facts(target="v1", v3="c", v1="a"), web1=facts(target="v2", v3="c", v2="b", v1="a")
    )
    assert then == "fab rollback --to v1   (all can go back to: v1)"


@pytest.mark.parametrize("other", ["v1", ""])
def test_a_release_that_changed_some_hosts_only_is_taken_back_on_all(other: str) -> None:
    """To the other hosts it was the same again, and they would go further back; not so when they serve another."""
    kind = Rollback()
    kind.agree({"web1": facts(target=other), "batch": facts(target="v2")})
    assert kind.agreed == 2
    message, _ = refusal(Rollback(), web1=facts("v4", target="v1"), batch=facts("v3", target="v2"))
    assert message.startswith("the hosts have not had the same releases: web1 would go back to v1; ")
    message, _ = refusal(Rollback(), web1=facts(target="v1", v3="c", v2="x", v1="a"), batch=facts(target="v2"))
    assert message == "v2 is not the same code on all hosts"


def test_a_release_that_some_hosts_lack() -> None:
    """They are named, and what all of them can go back to."""
    message, then = refusal(Rollback(to=2), web1=facts(v3="c", v1="a"), web2=facts())
    assert message == "web1 cannot go back to v2: it is not there, damaged, or was never good"
    assert then.startswith("fab rollback --to v1 ")


def test_one_name_for_different_code_is_nothing_to_go_back_to() -> None:
    """It is the same release only if it is the same code; nor is it offered."""
    message, _ = refusal(Rollback(to=2), web1=facts(), web2=facts(v3="c", v2="x", v1="a"))
    assert message == "v2 is not the same code on all hosts"
    _, then = refusal(Rollback(to=9), web1=facts(), web2=facts(v3="c", v2="x", v1="a"))
    assert then == "fab rollback --to v1   (all can go back to: v1)"


def test_all_hosts_of_a_fleet_go_back_to_the_release_that_was_agreed_on() -> None:
    """The host is told which: nothing that comes between makes it another one. A single host finds it itself."""
    site = Site(
        root=Path(), config=Config(app="shop"), target=Target.parse("web1"), ssh=SshOptions(), report=lambda _: None
    )
    fleet = Rollback()
    fleet.agree({"web1": facts(), "web2": facts()})
    assert fleet.payload(site, facts(), Placement(number=4)).message["of"] == 2
    assert Rollback(to=1).payload(site, facts(), Placement(number=4)).message["of"] == 1
    alone = Rollback()
    alone.agree({"web1": facts()})
    assert alone.payload(site, facts(), Placement()).message["of"] == 0


def test_what_env_file_names_is_secret_in_a_deploy_and_in_a_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host masks what it is told is secret: a reload that left that out would print what the deploy had masked."""
    (tmp_path / ".env").write_text("TOKEN=hunter22\nOTHER=x\n")
    config = Config(app="shop", env_file=".env", env={"DEBUG": "0"})
    site = Site(root=tmp_path, config=config, target=Target.parse("web1"), ssh=SshOptions(), report=lambda _: None)
    local = read_local(tmp_path, env_file=".env", env_command="echo OTHER=y", required=("TOKEN",))
    deploy = Deploy(config=config, source=cast("Source", None), lock=Lock(kind="none"), local=local)
    nothing = Upload(delta=Delta("b" * 64, "", (), (), "", 0), spool=cast("Spool", None))
    monkeypatch.setattr(Deploy, "spec_on", lambda *_: Spec.parse(SPEC))
    monkeypatch.setattr(deploy.uploads, "upload", lambda *_: nothing)
    for kind in (Reload(local=local), deploy):
        message = kind.payload(site, facts(), Placement(number=4)).message
        assert message["secret"] == ["OTHER", "TOKEN"], kind
        assert message["env"] == {"DEBUG": "0", "TOKEN": "hunter22", "OTHER": "y"}
        assert message["sources"] == {"DEBUG": ["env"], "TOKEN": ["env_file"], "OTHER": ["env_command", "env_file"]}
        assert (message["required"], message["change"]) == (["TOKEN"], None)


def test_what_is_damaged_on_one_host_is_gone_back_to_on_none() -> None:
    """All go to the next older one that all have; where it was passed by that is told; by name it is refused."""
    told: list[events.Event] = []
    site = Site(
        root=Path(), config=Config(app="shop"), target=Target.parse("web1"), ssh=SshOptions(), report=told.append
    )
    hurt = replace(facts(target="v1", v3="c", v1="a"), passed={"v2": "its code is damaged: app.py"})
    kind = Rollback()
    kind.agree({"web1": hurt, "web2": facts()})
    assert kind.agreed == 1
    assert kind.payload(site, hurt, Placement(number=4)).message["of"] == 1
    assert [event.text for event in told if isinstance(event, events.Warn)] == [
        "v2 is passed by: its code is damaged: app.py"
    ]
    message, _ = refusal(Rollback(to=2), web1=hurt, web2=facts())
    assert message.startswith("web1 cannot go back to v2: ")


def test_where_all_that_came_before_is_damaged_nothing_is_gone_back_to() -> None:
    """Each damaged release is named, with its host."""
    hurt = replace(facts(target="", v3="c"), passed={"v2": "x", "v1": "y"})
    message, _ = refusal(Rollback(), web1=hurt, web2=facts(target="v2", v3="c", v2="b"))
    assert message == (
        "there is no good release before the one that serves; v2 is damaged on web1; v1 is damaged on web1"
    )
