"""``fab`` and ``deployer`` without their imports: a process that has made them forks one child for each call.

Whoever calls :class:`subprocess.Popen` for them notices nothing but the time: what runs is a process of its own, a
child of the caller, with its own pid, signals, directory, environment and streams, which ends as an interpreter does.
Calls that ask for what a fork cannot give start the real program.
"""

from __future__ import annotations

import atexit
import ctypes
import dataclasses
import gc
import importlib
import inspect
import io
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

FAB, DEPLOYER = (str(Path(sys.executable).with_name(name)) for name in ("fab", "deployer"))
AT_START = ("PYTHON", "LC_", "LANG")
"""An interpreter reads these variables once, when it starts."""
_SUBREAPER = 36
_SIGNATURE = inspect.signature(subprocess.Popen._execute_child)  # type: ignore[attr-defined]
_REAL = subprocess.Popen


class Server:
    """The process that forks, from the side of the tests. It ends with the process that has started it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._environment = dict(os.environ)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "tests.support.warmfab", str(theirs.fileno())]
            root = Path(__file__).parents[2]
            self._process = _REAL(command, cwd=root, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])

    def can(self, call: dict[str, Any]) -> bool:
        """Whether a call, by the arguments of ``Popen._execute_child``, comes out as the real program would."""
        argv, env = call["args"], call["env"]
        if not isinstance(argv, (list, tuple)) or not argv or argv[0] not in (FAB, DEPLOYER) or call["shell"]:
            return False
        if any(call.get(name) for name in ("preexec_fn", "executable", "pass_fds", "groups", "gids")):
            return False
        if any(call.get(name) not in (None, -1) for name in ("uid", "gid", "umask", "process_group")):
            return False
        here = os.environ if env is None else env
        told = [
            {key: value for key, value in one.items() if key.startswith(AT_START)} for one in (here, self._environment)
        ]
        return told[0] == told[1] and (call["cwd"] is None or Path(call["cwd"]).is_dir())

    def fork(self, call: dict[str, Any]) -> int:
        """Start it; its pid. It is a child of this process."""
        order = {
            "argv": [str(word) for word in call["args"]],
            "cwd": str(Path(call["cwd"] or ".").absolute()),
            "env": dict(os.environ if call["env"] is None else call["env"]),
            "session": bool(call["start_new_session"]),
        }
        streams = [call["p2cread"], call["c2pwrite"], call["errwrite"]]
        descriptors = [own if theirs == -1 else theirs for own, theirs in enumerate(streams)]
        data = json.dumps(order).encode()
        with self._lock:
            self._libc.prctl(_SUBREAPER, 1, 0, 0, 0)  # the child's parent ends at once, and we inherit the child
            try:
                socket.send_fds(self._socket, [len(data).to_bytes(4, "big")], descriptors)
                self._socket.sendall(data)
                answer = self._socket.recv(16)
            finally:
                self._libc.prctl(_SUBREAPER, 0, 0, 0, 0)
        if not answer:
            raise RuntimeError(f"the process that forks fab has ended: {self._process.wait()}")
        return int(answer)

    def stop(self) -> None:
        self._socket.close()
        self._process.wait(10)


class Popen(subprocess.Popen):  # type: ignore[type-arg]
    """As the library's, but that ``fab`` and ``deployer`` are forked where that makes no difference."""

    server: Server | None = None

    def _execute_child(self, *arguments: Any) -> None:
        call = _SIGNATURE.bind(self, *arguments).arguments
        if self.server is None or not self.server.can(call):
            super()._execute_child(*arguments)  # type: ignore[misc]
            return
        self.pid = self.server.fork(call)
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(call[name] for name in pipes))  # type: ignore[attr-defined]


class Order(Exception):
    """What a child is to run. Raised in the child, so that it leaves all that the parent was in the middle of."""

    def __init__(self, order: dict[str, Any], descriptors: list[int]) -> None:
        super().__init__()
        self.order, self.descriptors = order, descriptors

    def run(self) -> NoReturn:
        """Become what the caller wanted, and end as it does."""
        if self.order["session"]:
            os.setsid()
        for wanted, descriptor in enumerate(self.descriptors):
            os.dup2(descriptor, wanted)
        os.closerange(3, 256)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(self.order["cwd"])
        os.environ.clear()
        os.environ.update(self.order["env"])
        sys.argv[:] = self.order["argv"]
        sys.path[0] = str(Path(FAB).parent)
        _streams()
        main = _own_program if sys.argv[0] == DEPLOYER else _fabric_program
        try:
            sys.exit(main())
        except SystemExit as end:
            if end.code is None or isinstance(end.code, int):
                _leave(end.code or 0)
            raise  # what has more to say, or could not be printed, ends the usual way


def _streams() -> None:
    """Python's own, as it makes them when it starts."""
    for descriptor, (name, mode, errors) in enumerate(
        [("stdin", "r", sys.stdin.errors), ("stdout", "w", sys.stdout.errors), ("stderr", "w", "backslashreplace")]
    ):
        encoding, lines = getattr(sys, name).encoding, name == "stderr" or os.isatty(descriptor)
        raw = io.FileIO(descriptor, mode, closefd=False)
        buffered = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
        stream = io.TextIOWrapper(buffered, encoding=encoding, errors=errors, line_buffering=lines)
        stream.mode = mode  # type: ignore[attr-defined]
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _fabric_program() -> object:
    from fabric.main import program

    return program.run()


def _own_program() -> object:
    from deployer.__main__ import main

    return main()


def _leave(code: int) -> None:
    """End as an interpreter does, but for freeing one by one the objects that the kernel takes back all at once: that
    would copy each page of memory that is still shared with the parent, and take as long as all the rest. Returns only
    when there is an output that takes nothing any more."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return
    os._exit(code & 0xFF)


def serve(ours: socket.socket) -> None:
    """Fork for each order, until there are no more; raises :class:`Order` in a child."""
    while True:
        head, descriptors, _, _ = socket.recv_fds(ours, 4, 3)
        if not head:
            return
        data, length = b"", int.from_bytes(head, "big")
        while len(data) < length:
            data += ours.recv(length - len(data))
        pid = _orphan(Order(json.loads(data), descriptors))
        for descriptor in descriptors:
            os.close(descriptor)
        ours.sendall(str(pid).encode())


def _orphan(order: Order) -> int:
    """Fork a process whose parent ends at once; its pid. When this returns, it has its new parent."""
    told, tell = os.pipe()
    between = os.fork()
    if between == 0:
        child = os.fork()
        if child == 0:
            raise order
        os.write(tell, str(child).encode())
        os._exit(0)
    os.close(tell)
    pid = int(os.read(told, 16))
    os.close(told)
    os.waitpid(between, 0)
    return pid


def _make_classes() -> None:
    """Those that :mod:`deployer.wire.lazydata` makes when they are first used: each child would make them anew."""
    for name, module in list(sys.modules.items()):
        if name.startswith("deployer."):
            for one in vars(module).values():
                if isinstance(one, type) and dataclasses.is_dataclass(one):
                    dataclasses.fields(one)


def main() -> None:
    """The process that forks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ours = socket.socket(fileno=int(sys.argv[1]))
    import fabric.main  # noqa: F401

    import deployer.__main__
    from deployer.config.describe import markdown
    from deployer.remote.program import host_program

    for module in pkgutil.walk_packages(deployer.__path__, "deployer."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    del sys.modules["deployer.tasks"]  # its import has the fab that runs explain wrong command lines
    _make_classes()
    host_program()  # packed once for all, as the keys of deploy.toml are read
    markdown()
    gc.collect()
    gc.freeze()
    try:
        serve(ours)
    except Order as order:
        child = order
    else:
        return
    child.run()


if __name__ == "__main__":
    main()
