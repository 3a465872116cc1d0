"""What it means where a name leads, and which questions find that out."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from deployer.domains import Lookup, Wanted, lookup, network
from deployer.domains.verdict import Answer, Place, line, sentence
from deployer.wire.site import NO_PROOF, PROOF, ProxySite

NAME = "shop.example.com"
OURS, OTHER = "203.0.113.5", "198.51.100.7"
HOSTS = {"web1": (OURS,)}
AT_HOME = Place(address=OURS, host="web1")
ELSEWHERE = Place(address=OTHER, answer=Answer(wrong="another site answers there (404)"))
SITE = ProxySite(domains=(NAME,), tls="auto")


@pytest.mark.parametrize(
    ("places", "front", "told"),
    [
        ([AT_HOME], False, ""),
        (None, False, ""),
        ([], False, f"{NAME} has no address in the DNS"),
        ([], True, f"{NAME} has no address in the DNS"),
        ([ELSEWHERE], False,
         f"{NAME} leads to {OTHER}, which is not web1 ({OURS}): another site answers there (404)"),
        ([AT_HOME, ELSEWHERE], False,
         f"{NAME} also leads to {OTHER}, which is not web1 ({OURS}): another site answers there (404)"),
        ([Place(address=OTHER, answer=Answer())], False, ""),  # a load balancer, a CDN, an address of the provider's
        ([Place(address=OTHER)], False, ""),
        ([AT_HOME], True, f"{NAME} leads straight to web1 ({OURS}), past the front"),
        ([ELSEWHERE], True, ""),  # the front's own words are no other site
    ],
)  # fmt: skip
def test_where_a_name_leads(places: list[Place] | None, front: bool, told: str) -> None:
    """An address of a host is right, and so is one where this site answers; what is not known is not told."""
    assert sentence(NAME, places, HOSTS, front=front) == told


@pytest.mark.parametrize("name", ["shop.test", "shop.local", "app.home.arpa"])
def test_a_name_that_no_dns_has_is_not_missed(name: str) -> None:
    """It is a sandbox's, or a local network's."""
    assert sentence(name, [], HOSTS, front=False) == ""


def test_many_hosts_and_many_names_stay_one_line() -> None:
    """Hosts are counted where they are many, and so are names."""
    hosts = {f"web{one}": (f"203.0.113.{one}",) for one in range(5)}
    assert "which is not one of the 5 hosts:" in sentence(NAME, [ELSEWHERE], hosts, front=False)
    assert line(["a", "", "b", "c", "d", "e"]) == "seen from this machine, a; b; c; and 2 more such names"
    assert line(["", ""]) == ""


@contextmanager
def server(status: int, body: str, **headers: str) -> Iterator[int]:
    """A site that answers everything in one way; its port. ``body`` may have {nonce} in it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.headers["Host"].startswith(NAME)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.format(nonce=self.path.removeprefix(PROOF)).encode())

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield found.server_port
        finally:
            found.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (404, NO_PROOF, Answer()),
        (200, "{nonce}", Answer()),
        (404, "not found", Answer(wrong="another site answers there (404)")),
        (200, "hello", Answer(wrong="another site answers there (200)")),
        (502, "", Answer(wrong="another site answers there (502)")),
        (301, "", Answer(known=False)),
        (403, "are you human?", Answer(known=False)),
    ],
)
def test_who_answers(status: int, body: str, answer: Answer) -> None:
    """Below the path of the proof the site says who it is; what keeps strangers out says nothing."""
    with server(status, body) as port:
        site = ProxySite(domains=(NAME,), listen=(str(port),))
        assert network.ask(NAME, "127.0.0.1", site, 5.0) == answer


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def test_where_nothing_answers() -> None:
    """Neither by HTTP nor by HTTPS."""
    site = ProxySite(domains=(NAME,), tls="auto", listen=(f"127.0.0.1:{free_port()}",), listen_tls=(str(free_port()),))
    assert network.ask(NAME, "127.0.0.1", site, 5.0) == Answer(wrong="nothing answers there")


def test_a_machine_without_a_way_there_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no IPv6: that the name has such an address, too, is no problem."""

    def unreachable(*_: object, **__: object) -> Any:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    assert network.ask(NAME, "2001:db8::5", SITE, 5.0) == Answer(known=False)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), ()),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), None),
        (OSError(errno.EMFILE, "Too many open files"), None),
    ],
)
def test_no_address_and_no_dns_are_two_things(
    monkeypatch: pytest.MonkeyPatch, error: OSError, found: tuple[str, ...] | None
) -> None:
    """A laptop without DNS knows nothing of a name."""

    def fails(*_: object, **__: object) -> Any:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    assert network.addresses(NAME) == found


class Net:
    """A DNS, and who answers at which address."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, names: dict[str, tuple[str, ...] | None]) -> None:
        self.names = names
        self.answers: list[Answer] = []
        self.asked: list[str] = []
        monkeypatch.setattr(network, "addresses", self.names.get)
        monkeypatch.setattr(network, "ask", self.ask)

    def ask(self, _: str, address: str, *__: object) -> Answer:
        self.asked.append(address)
        return self.answers.pop(0)

    def told(self, site: ProxySite = SITE, ways: Any = None) -> str:
        return Lookup(Wanted(site=site, hosts=ways or {"web1": lambda: "web1.example.com"})).told()


def test_a_name_that_leads_to_a_host_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one of several hosts behind a name, of which this command is for one."""
    net = Net(monkeypatch, {NAME: (OURS, "203.0.113.6"), "web1": (OURS,), "web2": ("203.0.113.6",)})
    assert net.told(ways={"web1": lambda: "web1", "web2": lambda: "web2"}) == ""
    assert net.asked == []


def test_an_address_of_nobody_known_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """And asked again in the end, when the site may be there: only what is still wrong is told."""
    net = Net(monkeypatch, {NAME: (OTHER,), "web1.example.com": ("10.0.0.5",)})
    net.answers = [Answer(wrong="nothing answers there"), Answer()]
    assert net.told() == "" and net.asked == [OTHER, OTHER]
    net.answers = [Answer(wrong="nothing answers there")] * 2
    expected = f"seen from this machine, {NAME} leads to {OTHER}, which is not web1 (10.0.0.5): nothing answers there"
    assert net.told() == expected


def test_a_host_behind_a_jump_host_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address is not known here, nor where ssh_config makes no sense; who answers is asked all the same."""

    def raises() -> str:
        raise RuntimeError("ssh_config gives no way")

    for way in (str, raises):
        net = Net(monkeypatch, {NAME: (OTHER,)})
        net.answers = [Answer(wrong="another site answers there (404)")] * 2
        assert "which is not web1: another" in net.told(ways={"web1": way})


def test_a_star_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked up for it."""
    net = Net(monkeypatch, {})
    assert net.told(ProxySite(domains=("*.example.com",), tls="files", certificate="/c", key="/k")) == ""


def test_a_resolver_that_hangs_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends; nothing is told."""
    never = threading.Event()
    monkeypatch.setattr(network, "addresses", lambda _: never.wait(60) or ())
    try:
        assert Lookup(Wanted(site=SITE, hosts={"web1": str}), seconds=0.05).told() == ""
        assert not never.is_set()
    finally:
        never.set()


def test_without_a_site_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread, no wait."""
    monkeypatch.setattr(lookup.threading, "Thread", None)
    assert Lookup(None).told() == ""
    assert Lookup(Wanted(site=ProxySite(), hosts={})).told() == ""
