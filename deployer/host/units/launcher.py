"""What systemd starts in place of a command, so that its words are in no unit file, journal or argument list, and reach
the command as they are (see :func:`deployer.host.system.systemd.transient`).

The words come on standard input: a line with their length in bytes, and JSON. What follows them is the command's own
input. The arguments of the command itself can be seen while it runs, as any program's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

_CODE = """
import fcntl, json, locale, os, signal, sys, termios

def take(size):
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            sys.exit(125)
        data += piece
    return data

head = b""
while not head.endswith(b"\\n"):
    head += take(1)
given = json.loads(take(int(head)))
if given["terminal"]:
    os.dup2(1, 0)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
elif not given["input"]:
    nothing = os.open("/dev/null", os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
if given["terminal"]:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
with open("/proc/self/environ", "rb") as file:
    kept = dict(line.partition(b"=")[::2] for line in file.read().split(b"\\0") if line)
if given["locale"]:
    before = {name: kept.pop(name) for name in list(kept) if name == b"LANG" or name.startswith(b"LC_")}
    chosen = {os.fsencode(name): os.fsencode(value) for name, value in given["locale"].items()}
    for name in [name for name in os.environb if name == b"LANG" or name.startswith(b"LC_")]:
        del os.environb[name]  # Python sets LC_CTYPE by itself
    os.environb.update(chosen)
    try:
        locale.setlocale(locale.LC_ALL, "")
    except locale.Error:
        chosen = before or {b"LANG": b"C.UTF-8"}
    kept.update(chosen)
kept.update((os.fsencode(name), os.fsencode(value)) for name, value in given["environment"].items())
words = given["words"]
try:
    os.execvpe(os.fsencode(words[0]), [os.fsencode(word) for word in words], kept)
except OSError as error:
    print(f"{words[0]}: {error.strerror}", file=sys.stderr)
    sys.exit(127 if isinstance(error, FileNotFoundError) else 126)
"""
"""Becomes the command, and undoes what Python changed in its surroundings.

SIGPIPE stays ignored, as systemd has it (IgnoreSIGPIPE=), where there is no terminal: a command that is told to end
because the laptop has gone may still print, and nobody reads that. In a terminal it is as people know it.

A unit's process leads a session without a terminal: the one that it has as standard output becomes its own. A locale
that the host lacks is not set.
"""
ARGV = ("/usr/bin/python3", "-I", "-S", "-X", "utf8", "-c", _CODE)


def given(
    words: Sequence[str],
    *,
    takes_input: bool = False,
    terminal: bool = False,
    locale: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """What ARGV reads first. Without ``takes_input`` the command's input is /dev/null; with ``terminal`` it is what is
    its standard output. ``environment`` is set for the command, ``locale`` in place of what names one already."""
    told = json.dumps(
        {
            "words": list(words),
            "input": takes_input,
            "terminal": terminal,
            "locale": dict(locale or {}),
            "environment": dict(environment or {}),
        }
    ).encode()
    return b"%d\n%s" % (len(told), told)
