"""What ``fab maintenance`` refuses before any host is asked, and the sentences that it ends with."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from deployer.commands.operate.maintenance import terms
from deployer.errors import ConfigError
from deployer.events import HostEnd
from deployer.remote.answers import MaintenanceBegun, MaintenanceEnded
from deployer.ui.answers.maintenance import Answer, show_maintenance
from deployer.wire.maintenance import MOST_PAGE, MaintenanceRequest


def asked(
    page: str = "", allow: Sequence[str] = (), retry_after: str = "", stop_workers: bool = False
) -> MaintenanceRequest:
    return terms(page=page, allow=allow, retry_after=retry_after, stop_workers=stop_workers)


def refused(**given: object) -> str:
    """The message; there is always something to type next."""
    with pytest.raises(ConfigError) as raised:
        asked(**given)  # type: ignore[arg-type]
    assert raised.value.next
    return f"{raised.value.message} {raised.value.next}"


def test_the_terms_are_what_the_options_say(tmp_path: Path) -> None:
    """Addresses each once, a time in seconds, a page without its byte order mark."""
    page = tmp_path / "page.html"
    page.write_bytes("\ufeff<p>zu “früh”".encode())
    found = asked(page=str(page), allow=["10.0.0.1, 10.0.0.2", "10.0.0.1"], retry_after="2h", stop_workers=True)
    assert found == MaintenanceRequest("<p>zu “früh”", ("10.0.0.1", "10.0.0.2"), 7200, True)
    assert asked() == MaintenanceRequest()


def test_a_page_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    """Not there, a directory, too large, empty, or no text: each by its name and with its reason."""
    contents = {
        "large": b"x" * (MOST_PAGE + 1),
        "empty": b" \n",
        "binary": b"\x89PNG\r\n\0",
        "latin": "für".encode("latin-1"),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    told = {name: refused(page=str(tmp_path / name)) for name in ("none", "", *contents)}
    assert all(str(tmp_path) in text for text in told.values())
    assert "No such file" in told["none"] and "directory" in told[""]
    assert "more than 200" in told["large"] and "is empty" in told["empty"]
    assert "no text" in told["binary"] and "no text" in told["latin"]


def test_other_options_are_refused_with_what_was_meant() -> None:
    """A network with bits of a host in it, a name, a time that is none."""
    assert "say --allow 10.0.0.0/8" in refused(allow=["10.1.2.3/8"])
    assert "--allow web1: an address" in refused(allow=["web1"])
    assert "--allow : an address" in refused(allow=["10.0.0.1,"])
    assert "64 are the most" in refused(allow=[f"10.0.0.{at}" for at in range(65)])
    for time in ("soon", "0", "200h", "-1", "1.5"):
        assert f"--retry-after {time}" in refused(retry_after=time)


def shown(*answers: Answer, json: bool = False) -> str:
    stream = io.StringIO()
    hosts = {f"web{at}": answer for at, answer in enumerate(answers, 1)}
    lost = HostEnd(host="web9", result="unreachable", exit=3, detail="connection refused")
    on = isinstance(answers[0], MaintenanceBegun)
    show_maintenance(hosts, (lost,), on=on, json=json, stream=stream, now=1000.0)
    return stream.getvalue()


def test_each_host_is_told_of_with_how_to_end_it() -> None:
    """What visitors get, what still runs, and which host did not answer."""
    begun = MaintenanceBegun(release="v3", finishing=("shop-worker@v3.service",))
    told = shown(begun, MaintenanceBegun(release="v3", web=False), MaintenanceBegun(release="v3", changed=True))
    first, second, third, lost, end = told.splitlines()
    assert (
        first
        == "web1: maintenance is on: visitors get the page in place of v3; still at their end: shop-worker@v3.service"
    )
    assert "no web process here" in second and "stays on, on these terms" in third
    assert "web9" in lost and "connection refused" in lost and end == "fab maintenance off ends it"


def test_an_end_says_how_long_it_was_and_what_starts() -> None:
    """Of a host on which it was not on as well."""
    ended = MaintenanceEnded(release="v3", was_on=True, since=400.0, started=True)
    first, second, third, _ = shown(
        ended, MaintenanceEnded(release="v3", was_on=False), MaintenanceEnded(release="", was_on=False)
    ).splitlines()
    assert first == "web1: maintenance is off after 10 min 00 s: visitors reach v3; processes and timers run again"
    assert second == "web2: maintenance was not on: visitors reach v3"
    assert third == "web3: maintenance was not on: nothing is deployed"


def test_machines_get_an_object_for_each_host() -> None:
    """A host that did not answer has how it ended."""
    first, lost = map(json.loads, shown(MaintenanceBegun(release="v3"), json=True).splitlines())
    assert first == {"host": "web1", "on": True, "release": "v3", "web": True, "changed": False, "finishing": []}
    assert (lost["host"], lost["exit"]) == ("web9", 3)
