"""Ways for a release of this app to be bad, chosen by the file FAULT.txt that ships with its code.

`FAULT.txt` holds one `KIND` or `KIND:ARGUMENT`. All but the `settings-…` kinds strike when the app is served
(when wsgi.py or asgi.py is imported), so that `manage.py collectstatic` and `migrate` still pass, and the
start or the health check has to notice. The `settings-…` kinds break every management command as well.
"""

import importlib
import os
import signal
import threading
import time
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

KINDS = (
    "import-error",
    "syntax-error",  # imports shop/broken.py, which whoever writes FAULT.txt ships beside it
    "settings-import-error",
    "settings-syntax-error",
    "crash-loop",  # each worker exits at import; gunicorn's master lives on and starts the next, for ever
    "crash-after",  # SECONDS: the whole service dies, hard
    "crash-when",  # PATH: the whole service dies as soon as that file exists
    "worker-crash-after",  # SECONDS: only the worker dies
    "health-500",
    "health-hang",
    "health-close",
    "slow-import",  # SECONDS
    "memory",  # MB that each worker holds, resident
)
SERVERS = (b"gunicorn", b"uvicorn", b"hypercorn")

_file = BASE_DIR / "FAULT.txt"
KIND, _, ARGUMENT = (_file.read_text().strip() if _file.exists() else "").partition(":")
if KIND and KIND not in KINDS:
    raise ValueError(f"FAULT.txt: no such fault: {KIND!r}")

_held = []  # what `memory` keeps alive


def apply_to_settings() -> None:
    """Strike, if the fault is one that breaks the settings."""
    if KIND.startswith("settings-"):
        _fail_to_import(KIND[len("settings-") :])


def apply_to_server() -> None:
    """Strike, or arm the thread that will, if the fault is one of a served app."""
    if KIND in ("import-error", "syntax-error"):
        _fail_to_import(KIND)
    elif KIND == "crash-loop":
        os._exit(1)
    elif KIND == "slow-import":
        time.sleep(float(ARGUMENT))
    elif KIND == "memory":
        _held.append(b"x" * (int(ARGUMENT) << 20))
    elif KIND in ("crash-after", "crash-when", "worker-crash-after"):
        threading.Thread(target=_crash, daemon=True).start()


def _fail_to_import(kind: str) -> None:
    importlib.import_module("shop.broken" if kind == "syntax-error" else "a_module_that_nobody_installed")


def _crash() -> None:
    if KIND == "crash-when":
        while not Path(ARGUMENT).exists():
            time.sleep(0.02)
    else:
        time.sleep(float(ARGUMENT))
    if KIND != "worker-crash-after":
        _kill_the_master()
    os._exit(1)


def _kill_the_master() -> None:
    """Kill the parent if it is a server's master: under uvicorn it may be systemd, a shell or a test run."""
    parent = os.getppid()
    try:
        words = Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0")
        if any(word.rpartition(b"/")[2] in SERVERS for word in words):
            os.kill(parent, signal.SIGKILL)
    except OSError:
        pass
