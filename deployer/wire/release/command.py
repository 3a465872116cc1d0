"""What ``fab run``, ``fab shell`` and ``fab manage`` may ask of a host: kinds, sizes, terminals, amounts of input."""

from __future__ import annotations

from deployer.wire.lazyre import pattern

RUN, SHELL, MANAGE = KINDS = ("run", "shell", "manage")
"""Words as they are; a shell; ``manage.py`` with words behind it."""

TERM = pattern(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z")
"""The name of a kind of terminal (terminfo(5)). No slash, and no dot first: programs make a path of it."""
LOCALE = pattern(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}\Z")
"""The value of a variable of the locale (locale(7)), such as ``de_DE.UTF-8``. No slash: it may be a path."""
LOCALE_NAMES = (
    "LANG", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC", "LC_TIME",
)  # fmt: skip
SIZE = (1, 5000)
"""Rows, and columns, of a terminal."""
PLACE = pattern(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}\Z")
"""The name of a host in the prompt of a shell."""

LIMIT = 24 * 3600
"""Seconds after which a command is stopped, unless its time limit says otherwise: it has been forgotten by then."""
LIMITS = (1, 7 * 24 * 3600)
"""Seconds that a time limit may be."""
TIMED_OUT = 124
"""The exit status of a command that was stopped at its time limit, as in timeout(1)."""

FRAME = 32 * 1024 - 128
"""Bytes of input in one message: with its header they fit into one packet of SSH."""
AHEAD = 1024 * 1024
"""Bytes of input that may be sent ahead of what the host has said that the command took. They are all that a host has
to keep for a command that does not read, and keep-alives never wait behind more."""
