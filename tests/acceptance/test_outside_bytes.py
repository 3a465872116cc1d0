"""What an admin, an app or a confused laptop writes as it likes breaks no set-up, no deploy and no numbers."""

from __future__ import annotations

import json

from tests.support.site import wait_until
from tests.support.tiny import TinySite, ship

SAYS = r"""
import os, socket, struct, sys
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.connect("/run/systemd/journal/socket")

def field(name, value):
    return name + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"

def say(*fields):
    journal.send(b"".join(field(name, value) for name, value in fields))

say((b"MESSAGE", b"first of two"), (b"MESSAGE", b"second of two"), (b"SYSLOG_IDENTIFIER", b"odd"))
say((b"MESSAGE", b"by a binary name"), (b"SYSLOG_IDENTIFIER", b"\xff\xfe\x1b[2J"))
say((b"MESSAGE", b"of bytes \xff\xfe"), (b"SYSLOG_IDENTIFIER", b"odd"))
say((b"MESSAGE", b"long " + b"x" * 30000), (b"SYSLOG_IDENTIFIER", b"odd"))
say((b"SYSLOG_IDENTIFIER", b"odd"), (b"SOMETHING", b"no message at all"))
sys.stdout.buffer.write(b"a line of bytes \xff\xfe\n"); sys.stdout.flush()
"""
FAILS = 'sys.exit("KeyError: the reason of it all")\n'
HUGE = r"""
import socket
served = socket.socket(fileno=3)
while True:
    connection, _ = served.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 " + b"2" * 5000 + b" OK\r\n\r\n")
    connection.close()
"""


def test_odd_entries_in_the_journal_hide_no_reason(mini: TinySite) -> None:
    """An app logs what it likes and fails: its deploy is refused for that, and both ways of reading show each line."""
    good = (mini.project.path / "server.py").read_text()
    mini.project.change(files={"server.py": SAYS + FAILS})
    ended = mini.expect(5, "deploy")
    assert "KeyError: the reason of it all" in ended.err
    assert "bug" not in ended.err
    mini.project.change(files={"server.py": SAYS + good})
    mini.expect(0, "deploy")
    # The app's traceback of a health check that hung up has twenty lines, too.
    wait_until(lambda: "a line of bytes" in mini.fab("logs", "-n", "400").out, "the journal has taken the last line")
    shown = mini.expect(0, "logs", "-n", "400").out
    for line in (
        "first of two",
        "second of two",
        "by a binary name",
        "of bytes \ufffd\ufffd",
        "a line of bytes \ufffd\ufffd",
    ):
        assert line in shown
    assert "blob data" not in shown
    assert "\x1b" not in shown
    followed = mini.session(b'{"op":"logs","process":"","lines":400,"follow":false}\n').events
    told = [text for event in followed if event["event"] == "logs" for text in event["lines"]]
    assert any(len(text) > 30000 for text in told), "a long line is shown whole"


def test_an_answer_that_is_no_http_is_told_as_that(mini: TinySite) -> None:
    """A status of 5,000 digits is the release's fault, and no bug of the host's."""
    mini.project.change(files={"server.py": HUGE})
    ended = mini.expect(5, "deploy")
    assert "what came back is not HTTP" in ended.err


def test_a_byte_of_another_encoding_in_the_admins_files_stops_no_setup(mini: TinySite) -> None:
    """In /etc/environment at a first set-up (uv has yet to be installed), in nginx's files, in a user's name."""
    host = mini.host
    host.run("cp /etc/environment /root/environment; mv /usr/local/lib/deployer/tools /root/tools")
    try:
        host.run(r"printf '# f\374r alle\nNAME=J\374rgen\n' >> /etc/environment")
        host.run(r"sed -i '1i # gr\xfc\xdfe' /etc/nginx/nginx.conf; usermod -c 'J'$(printf '\374')'rgen' games")
        host.run(r"printf '# \374\n' >> /etc/sudoers; printf '# \374\n' > /etc/systemd/system/other.service")
        ended = mini.expect(0, "setup", user="root")
        assert "Traceback" not in ended.err
        mini.expect(0, "deploy")
    finally:
        host.run("cp /root/environment /etc/environment; sed -i 1d /etc/nginx/nginx.conf; sed -i '$d' /etc/sudoers")
        host.run("rm -f /etc/systemd/system/other.service; rm -rf /root/tools")


def test_one_request_does_not_spoil_the_numbers(mini: TinySite) -> None:
    """A release number far beyond the next is refused by the host, before anything is touched; the next one is next."""
    mini.expect(0, "deploy")
    before = mini.session(b'{"op":"ask"}\n').last["next"]
    sent = ship(mini, {"x.txt": ("f", b"x")}, phases=["upload"])
    for number in (999_999_999, before + 100_001):
        data = json.dumps({**sent.request, "number": number, "body": len(sent.body)}).encode() + b"\n" + sent.body
        ended = mini.session(data)
        assert ended.status == 2
        assert ended.events[0]["message"] == f"v{number} is no number for the next release: here that is v{before}"
        assert ended.events[0]["state"] == "nothing was touched"
    assert mini.session(b'{"op":"ask"}\n').last["next"] == before
