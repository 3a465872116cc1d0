"""What a deploy does for visitors: media that are shown again, and what is not touched."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deployer.host.deployment import visitors
from deployer.wire.site import ProxySite
from tests.support.site import wait_until


def shown(monkeypatch: pytest.MonkeyPatch, proxy: str, site: ProxySite | None) -> tuple[list[Any], list[str]]:
    """The directories that were to be shown, each time that was asked for; and what is told of it."""
    asked: list[Any] = []

    def provide(_: object, wanted: Any) -> list[str]:
        asked.append(wanted)
        raise OSError(1, "no mounts here")

    monkeypatch.setattr(visitors.media, "provide", provide)
    ctx: Any = SimpleNamespace(
        settings=SimpleNamespace(proxy=proxy, site=site), paths=Path("/srv"), emit=lambda *_, **__: None
    )
    return asked, visitors.show_media(ctx)


def test_media_that_cannot_be_shown_are_told_and_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is returned."""
    asked, told = shown(monkeypatch, "nginx", ProxySite(media=(("/media/", "media"),)))
    assert asked == [("media",)]
    assert "no mounts here" in told[0]


def test_media_of_another_versions_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that this version cannot read names no media: that is no reason to unmount what there is."""
    assert shown(monkeypatch, "nginx", None) == ([], [])


def test_media_go_with_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that is set up without a proxy has none to show."""
    assert shown(monkeypatch, "", None)[0] == [()]


OTHER = visitors.Problem("another site answers for http://shop.test", "set domains", True)
LATE = visitors.Problem("the certificate of shop.test ends in 3 days", "certbot renew", False)


class Host:
    """A host whose site shows ``answers``, one at each question, the last one for ever; ``told`` is what is emitted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Any, serving: str = "v2") -> None:
        self.told: list[str] = []
        self.asked = 0
        self._answers = list(answers)
        monkeypatch.setattr(visitors, "problems", self.problems)
        monkeypatch.setattr(visitors, "_PAUSE", 0.001)
        self.ctx: Any = SimpleNamespace(
            settings=SimpleNamespace(proxy="nginx", site=ProxySite()),
            paths=SimpleNamespace(home=Path("/srv/shop")),
            catalog=SimpleNamespace(serving_name=lambda: serving),
            emit=lambda name, **fields: self.told.append(fields["text"]),
        )

    def problems(self, _: object) -> Any:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def release(name: str) -> Any:
    return SimpleNamespace(name=name)


def before(host: Host, current: Any) -> list[str]:
    """What a deploy to v2 tells before its switch."""
    check = visitors.SiteCheck(host.ctx, current)
    check.warn(release("v2"))
    check.warn(release("v2"))  # a phase that is run again tells nothing twice
    return host.told


def test_what_is_wrong_with_the_site_is_told_before_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the release that serves; and what does not keep visitors out, without saying that it does."""
    told = before(Host(monkeypatch, [OTHER, LATE]), release("v1"))
    assert told == [
        "visitors may not reach v1, nor v2 after the switch: another site answers for http://shop.test; set domains",
        "the certificate of shop.test ends in 3 days; certbot renew",
    ]


def test_a_site_that_just_comes_up_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last answer counts."""
    host = Host(monkeypatch, [OTHER], [])
    check = visitors.SiteCheck(host.ctx, release("v1"))
    wait_until(lambda: all(one.name != "site check" for one in threading.enumerate()), "it was asked again")
    check.warn(release("v2"))
    assert host.told == []


def test_a_first_deploy_has_no_site_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing serves: nobody is asked."""
    host = Host(monkeypatch, [OTHER])
    assert (before(host, None), host.asked) == ([], 0)


def test_a_site_that_cannot_be_asked_stops_no_deploy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again when the deploy has ended, and told then."""
    monkeypatch.setattr(visitors, "_MOMENT", 0.01)
    host = Host(monkeypatch, OSError(24, "Too many open files"))
    assert before(host, release("v1")) == []
    visitors.warn(host.ctx, "v2", host.told)
    assert "whether visitors reach v2 is not known" in host.told[0] and "Too many open files" in host.told[0]


def test_the_end_tells_what_was_not_told_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what stays for a while: after a reload the proxy's old processes answer for a moment."""
    monkeypatch.setattr(visitors, "_PATIENCE", 0.01)
    host = Host(monkeypatch, [OTHER, LATE])
    visitors.warn(host.ctx, "v2", ["visitors may not reach v1, nor v2 after the switch: " + OTHER.text])
    assert host.told == ["the certificate of shop.test ends in 3 days; certbot renew"]
    monkeypatch.setattr(visitors, "_PATIENCE", 60.0)
    fine = Host(monkeypatch, [OTHER], [OTHER], [])
    visitors.warn(fine.ctx, "v2", [])
    assert (fine.told, fine.asked) == ([], 3)


def test_the_next_deploy_tells_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may begin, and switch, while a site is asked: what was seen is of no release then."""
    monkeypatch.setattr(visitors, "_PATIENCE", 0.0)
    host = Host(monkeypatch, [OTHER], serving="v3")
    visitors.warn(host.ctx, "v2", [])
    assert host.told == []


def heard(monkeypatch: pytest.MonkeyPatch, *events: dict[str, Any]) -> list[str]:
    """What is told beside a job's own events."""
    monkeypatch.setattr(visitors, "_PATIENCE", 0.0)
    host = Host(monkeypatch, [OTHER])
    check = visitors.LastCheck(host.ctx)
    for event in events:
        check.hear(event)
    return host.told


FINISHED = {"event": "finished", "exit": 0, "release": "v2", "serving": "v2"}


@pytest.mark.parametrize(
    ("events", "tells"),
    [
        ([FINISHED], True),
        ([{"event": "warn", "text": "clock"}, FINISHED], True),
        ([{"event": "warn", "text": f"before: {OTHER.text}"}, FINISHED], False),
        ([{**FINISHED, "exit": 6, "serving": "v1"}], False),
        ([{**FINISHED, "serving": "v1"}], False),  # a phase before the switch
        ([{**FINISHED, "release": ""}], False),  # a recovery
    ],
)
def test_a_job_that_switched_is_followed_by_the_question(
    monkeypatch: pytest.MonkeyPatch, events: list[dict[str, Any]], tells: bool
) -> None:
    """No other job is; and what the job has told is not told again."""
    assert bool(heard(monkeypatch, *events)) is tells
