"""The socket of a check of the site goes with the check, however the program ends."""

from __future__ import annotations

import getpass
import grp
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deployer.host.proxy.site import PROOF_SOCKET
from deployer.host.state.paths import AppPaths

PROGRAM = """
import sys, threading, types
from pathlib import Path
from deployer.host.proxy.proof.listener import listening
from deployer.host.state.paths import AppPaths
ctx = types.SimpleNamespace(app=sys.argv[2], paths=AppPaths("shop", Path(sys.argv[1])))
ctx.settings = types.SimpleNamespace(socket_group=sys.argv[3])
there, over = threading.Event(), threading.Event()

def check():
    with listening(ctx, 1):
        there.set()
        over.wait()

thread = threading.Thread(target=check, daemon=True)
thread.start()
assert there.wait(30)
print(ctx.paths.socket(1).with_name("probe.sock").is_socket())
if sys.argv[4] == "done":
    over.set()
    thread.join()
elif sys.argv[4] == "error":
    raise SystemExit(5)
"""


@pytest.mark.parametrize(("ends", "exit"), [("done", 0), ("at once", 0), ("error", 5)])
def test_nothing_of_a_check_stays(ends: str, exit: int) -> None:
    """Also where a deploy fails while a thread of it still asks."""
    with tempfile.TemporaryDirectory() as root:  # short enough for the path of a socket
        check_ends(Path(root), ends, exit)


def check_ends(root: Path, ends: str, exit: int) -> None:
    paths = AppPaths("shop", root)
    paths.private.mkdir(parents=True)
    place = paths.socket(1).with_name(PROOF_SOCKET)
    place.parent.mkdir(parents=True)
    argv = [sys.executable, "-c", PROGRAM, str(root), getpass.getuser(), grp.getgrgid(os.getgid()).gr_name, ends]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (exit, "True\n"), done.stderr
    assert not place.exists()
