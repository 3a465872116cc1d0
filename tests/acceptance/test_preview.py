"""A look before the switch: a release is held, looked at, then promoted or discarded, on one host and on several."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from deployer.sandbox import SandboxHost, up
from tests.support.fleet import FleetBed
from tests.support.site import wait_until
from tests.support.tiny import TinySite, make_tiny

pytestmark = pytest.mark.acceptance

NAME = "mini.example.com"


@pytest.fixture(scope="module")
def host() -> Iterator[SandboxHost]:
    with up() as booted:
        yield booted


@pytest.fixture(scope="module")
def served(host: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> TinySite:
    """A tiny app that has a name; v1 serves, and nothing is held."""
    site = make_tiny(host, tmp_path_factory.mktemp("preview") / "mini")
    site.configure(health=f'host = "{NAME}", settle = 0, timeout = 10')
    site.expect(0, "setup", user="root")
    site.expect(0, "deploy")
    return site


@pytest.fixture
def mini(served: TinySite) -> Iterator[TinySite]:
    """A change of it is committed; whatever is held in the end is discarded."""
    served.project.write("static/hello.txt", f"after {served.serving}\n")
    served.project.commit("change")
    yield served
    served.fab("abort")
    assert held(served) is None


def held(site: TinySite) -> str | None:
    found = json.loads(site.fab("status", "--json").out)["held"]
    return found and str(found["release"])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextlib.contextmanager
def looking(site: TinySite, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """``fab preview`` under way, and its port; killed at the end of the block if it still runs."""
    port = free_port()
    argv = site.argv("preview", "--port", str(port), *options)
    process = subprocess.Popen(
        argv,
        cwd=site.project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        wait_until(lambda: process.poll() is not None or _listens(port), "it listens")
        yield process, port
    finally:
        process.kill()
        process.communicate()


def _listens(port: int) -> bool:
    """It answers: before the session is there, a connection waits."""
    try:
        return get(port, "/healthz")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def get(port: int, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, body=body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_what_is_not_held_cannot_be_looked_at_nor_promoted(mini: TinySite) -> None:
    """Each is refused with what to type; of a release that does not run, how it can be made to."""
    for task in ("preview", "promote"):
        failed = mini.expect(2, task, "--json").event("failed")
        assert "no release is held" in failed["message"] and "fab deploy" in failed["next"]
    gone = mini.expect(2, "preview", "--release", "v9999", "--json").event("failed")
    assert "there is no release v9999" in gone["message"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        failed = mini.expect(2, "preview", "--port", port, "--json").event("failed")
    assert f"127.0.0.1:{port} cannot be listened at" in failed["message"] and "--port" in failed["next"]
    for port in ("0", "http", "65536"):
        assert "a port is wanted" in mini.expect(2, "preview", "--port", port, "--json").event("failed")["message"]
    assert "leave out --wait" in mini.expect(2, "deploy", "--hold", "--wait", "--json").event("failed")["next"]


def test_a_release_is_held_looked_at_and_promoted(mini: TinySite) -> None:
    """Visitors see the old one all the while; who looks sees the new one, under the app's own name, with its files."""
    before = mini.serving
    with mini.under_load("/"):
        mini.expect(0, "deploy", "--hold")
        new = held(mini)
        with looking(mini) as (process, port):
            assert json.loads(get(port, "/")[1])["release"] == new and mini.serving == before
            seen = json.loads(get(port, "/headers")[1])
            assert (seen["Host"], seen["X-Forwarded-Proto"]) == (NAME, "http")
            assert get(port, "/static/hello.txt") == (200, f"after {before}\n")
            assert get(port, "/static/../server.py")[0] == get(port, "/static/none")[0] == 404
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        assert f"would switch to {new}" in mini.expect(0, "--dry", "promote").out
        mini.expect(0, "promote")
    assert mini.serving == new and held(mini) is None


def test_a_kept_release_is_looked_at_and_leaves_nothing(mini: TinySite) -> None:
    """It is made to run for as long as it is looked at, then discarded; what serves, and what is held, stay."""
    old = mini.serving
    mini.expect(0, "reload")
    serving, units = mini.serving, mini.units()
    assert serving != old
    with looking(mini, "--release", old) as (process, port):
        seen = json.loads(get(port, "/")[1])["release"]
        assert seen not in (old, serving) and held(mini) == seen
        assert mini.serving == serving
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert held(mini) is None
    assert (mini.serving, mini.units()) == (serving, units)
    mini.expect(0, "deploy", "--hold")
    failed = mini.expect(2, "preview", "--release", old, "--json").event("failed")
    assert "would be discarded" in failed["message"] and held(mini)


def test_what_is_held_is_discarded_by_abort_and_by_the_next_deploy(mini: TinySite) -> None:
    """It leaves nothing that runs; and the ledger says who it was."""
    before = mini.serving
    mini.expect(0, "deploy", "--hold")
    first = held(mini)
    assert f"would discard {first}" in mini.expect(0, "--dry", "abort").out
    assert f"{first} is discarded: {before} serves" in mini.expect(0, "abort").text
    assert "no deploy is running" in mini.expect(2, "abort").text
    rows = {row["number"]: row for row in json.loads(mini.fab("releases", "--json").out)["releases"]}
    assert rows[first]["state"] == "interrupted" and "discarded by" in rows[first]["reason"]
    assert first not in " ".join(mini.units())
    mini.expect(0, "rollback", "--hold") if before != "v1" else mini.expect(0, "reload", "--hold")
    second = held(mini)
    with looking(mini) as (process, port):
        assert json.loads(get(port, "/")[1])["release"] == second
        mini.expect(0, "deploy")
        with pytest.raises((OSError, http.client.HTTPException)):
            get(port, "/")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
        assert f"{second} does not answer" in out
    assert mini.serving not in (before, second)


def test_a_candidate_that_is_no_longer_what_was_built_is_not_promoted(mini: TinySite) -> None:
    """It is looked at once more before the switch: refused, discarded, and what served serves."""
    before = mini.serving
    mini.expect(0, "deploy", "--hold")
    mini.host.run(f"echo '# more' >> /srv/mini/releases/{held(mini)}/code/static/hello.txt")
    failed = mini.expect(5, "promote", "--json").event("failed")
    assert "no longer what was built" in failed["message"]
    assert mini.serving == before and held(mini) is None


def test_a_fleet_holds_and_promotes_all_or_none(fleet: FleetBed) -> None:
    """One candidate is gone: no host switches, and none is held. The next is held everywhere, and serves everywhere."""
    before = fleet.serving
    version = fleet.change()
    fleet.expect(0, "deploy", "--hold")
    assert fleet.serving == before
    one = fleet.names[0]
    fleet.expect(0, "abort", hosts=[one])
    refused = fleet.expect(2, "promote", "--json")
    assert "no release is held on" in refused.text and one in refused.text
    assert fleet.serving == before
    fleet.expect(0, "abort")
    fleet.expect(0, "deploy", "--hold")
    fleet.expect(0, "promote")
    assert set(fleet.versions.values()) == {version}
