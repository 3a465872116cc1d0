"""What runs users' code reaches nothing outside its unit, and leaves nothing behind: on an ordinary host, which has a
systemd of each user's own, a bus, and cron."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from deployer.host.units.confinement import KINDS
from tests.acceptance.test_run import argv, run
from tests.support.site import wait_until
from tests.support.tiny import TinySite

pytestmark = pytest.mark.acceptance

ESCAPES = '''\
"""Whatever gets out of a unit prints a line."""
import ctypes, os, pathlib, pwd, socket, subprocess, sys

mark = sys.argv[1]
user = pwd.getpwuid(os.getuid())
libc = ctypes.CDLL(None, use_errno=True)


def did(what):
    print("DID", what, flush=True)


def connects(path):
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as one:
            try:
                one.connect(path)
                return True
            except OSError:
                pass
    return False


def succeeds(*argv, **options):
    try:
        return subprocess.run(argv, capture_output=True, timeout=20, **options).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def writes(path, text):
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write(text)
        return True
    except OSError:
        return False


home, mine = pathlib.Path("/home/deploy"), f"/run/user/{user.pw_uid}"
os.environ.update(XDG_RUNTIME_DIR=mine, DBUS_SESSION_BUS_ADDRESS=f"unix:path={mine}/bus")
for path in (mine + "/bus", mine + "/systemd/private", "/run/dbus/system_bus_socket", "/run/systemd/private"):
    if connects(path):
        did("connect " + path)
if succeeds("systemd-run", "--user", "--collect", "sleep", "4244"):
    did("systemd-run --user")
if writes(home / ".ssh" / "authorized_keys", f"# {mark}\\n"):
    did("authorized_keys")
if pathlib.Path("/dev/shm/of-another").exists():
    did("read /dev/shm")
writes(pathlib.Path("/dev/shm") / mark, "left")
for entry in filter(str.isdigit, os.listdir("/proc")):
    try:
        if b"MARK_OF_ANOTHER=" in open(f"/proc/{entry}/environ", "rb").read():
            did("environ of another process")
            if libc.ptrace(16, int(entry), 0, 0) == 0:
                did("ptrace")
                libc.ptrace(17, int(entry), 0, 0)
    except OSError:
        pass
if succeeds("crontab", "-", input=b"0 0 1 1 * true\\n"):
    did("crontab")
if succeeds("sudo", "-n", "true"):
    did("sudo")
if succeeds("unshare", "--user", "true"):
    did("unshare")
copy = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / "setuid"
try:
    copy.write_bytes(b"")
    copy.chmod(0o4755)
    did("setuid")
except OSError:
    pass
subprocess.Popen(["sleep", "4245"], start_new_session=True)
print("tried", flush=True)
'''
REACHED = {
    "connect /run/user/UID/bus", "connect /run/user/UID/systemd/private", "connect /run/dbus/system_bus_socket",
    "systemd-run --user", "authorized_keys", "read /dev/shm", "environ of another process", "crontab", "unshare",
    "setuid",
}  # fmt: skip
"""What the deploy user gets at when nothing confines it: else nothing would be proved."""


@pytest.fixture
def open_host(mini: TinySite) -> Iterator[TinySite]:
    """The deploy user has its own systemd, bus and a process; somebody else has left something in /dev/shm."""
    host = mini.host
    uid = host.run("id -u deploy").stdout.strip()
    host.run(
        "loginctl enable-linger deploy; echo x > /dev/shm/of-another; "
        "systemd-run --quiet --unit=of-another -p User=deploy --setenv=MARK_OF_ANOTHER=1 sleep 300"
    )
    wait_until(lambda: host.run(f"test -S /run/user/{uid}/bus", check=False).returncode == 0, "the user's bus is there")
    try:
        yield mini
    finally:
        host.run(
            "systemctl stop of-another; loginctl disable-linger deploy; loginctl terminate-user deploy; "
            "rm -f /dev/shm/of-another /dev/shm/mark-*; sed -i /mark-/d ~deploy/.ssh/authorized_keys; "
            "crontab -u deploy -r; pkill -u deploy -x sleep; true",
            check=False,
        )


def reached(said: str, uid: str) -> set[str]:
    """What ESCAPES did, by what it printed; it must have come to its end."""
    lines = said.splitlines()
    assert "tried" in lines, said
    return {line[4:].replace(f"/run/user/{uid}", "/run/user/UID") for line in lines if line.startswith("DID ")}


def left(site: TinySite) -> str:
    """What is still there of what ESCAPES left, on the host itself."""
    return site.host.run(
        "ls /dev/shm | grep mark-unit; grep -h mark-unit ~deploy/.ssh/authorized_keys; pgrep -ax sleep | grep 424",
        check=False,
    ).stdout


def test_nothing_leaves_a_build_a_migration_or_a_command(open_host: TinySite) -> None:
    """Buses, systemd, keys, shared memory, other processes, cron, daemons: all within the deploy user's reach, and none
    within that of a build, a migration, a check or ``fab run``."""
    site = open_host
    uid = site.host.run("id -u deploy").stdout.strip()
    site.project.write("escapes.py", ESCAPES)
    plain = site.sh(f"cat > ~/escapes.py <<'EOF'\n{ESCAPES}\nEOF\npython3 ~/escapes.py mark-plain; pkill -x sleep")
    assert reached(plain, uid) >= REACHED
    command = "python3 escapes.py mark-unit"
    site.configure(
        build=[command],
        release=f'migrate = "{command}"',
        env=f'[processes.w]\ncommand = "python3 -c \'import time; time.sleep(999)\'"\ncheck = "{command}"\n',
    )
    ended = site.expect(0, "deploy", "--json")
    outputs: dict[str, list[str]] = {}
    for event in ended.events:
        if event["event"] == "output":
            outputs.setdefault(event["phase"], []).append(event["line"])
    assert set(outputs) == {"build", "migrate", "check"}
    for phase, lines in outputs.items():
        assert reached("\n".join(lines), uid) == set(), phase
    assert reached(run(site, "python3", "escapes.py", "mark-unit").out, uid) == set()
    assert left(site) == ""


def test_the_exposure_of_each_kind_of_unit_is_small(mini: TinySite) -> None:
    """``systemd-analyze security`` of every unit that runs users' code, while it runs, is at most 2.5 of 10."""
    mini.configure(
        build=["true"],
        env="[processes.w]\ncommand = \"python3 -c 'import time; time.sleep(999)'\"\n"
        '[timers.t]\ncalendar = "2099-01-01"\ncommand = "true"\n',
    )
    mini.deploy()
    serving = mini.serving
    names = {"web": f"mini-web@{serving}", "worker": f"mini-w@{serving}", "timer": f"mini-t@{serving}"}
    exposures = {kind: exposure(mini, f"{name}.service") for kind, name in names.items()}
    mini.host.run("rm -f /opt/go-on-*")
    mini.configure(
        build=[waits_for("build")],
        release=f"migrate = {json.dumps(waits_for('migrate'))}",
        env="[processes.w]\ncommand = \"python3 -c 'import time; time.sleep(999)'\"\n"
        f"check = {json.dumps(waits_for('check'))}\n",
    )
    mini.project.change(files={"n.txt": "n"})
    with started(mini, mini.argv("deploy")) as deploy:
        for kind, name in (("build", "-build"), ("migrate", "-migrate"), ("check", ".check")):
            unit = f"deployer-mini{name}.service"
            wait_until(lambda unit=unit: is_active(mini, unit), f"{unit} runs")  # type: ignore[misc]
            exposures[kind] = exposure(mini, unit)
            mini.host.run(f"touch /opt/go-on-{kind}")
        assert deploy.wait(60) == 0
    with started(mini, argv(mini, "sh", "-c", waits_for("run"))) as command:
        found = "systemctl list-units --plain --no-legend 'deployer-mini-run*.service' | cut -d' ' -f1"
        wait_until(lambda: bool(mini.host.run(found).stdout), "the command runs")
        exposures["run"] = exposure(mini, mini.host.run(found).stdout.strip())
        mini.host.run("touch /opt/go-on-run")
        assert command.wait(60) == 0
    mini.host.run("rm -f /opt/go-on-*")
    print(exposures)
    assert set(exposures) == set(KINDS)
    assert {kind: value for kind, value in exposures.items() if value > 2.5} == {}


def waits_for(kind: str) -> str:
    """A command that runs until there is the file of its kind, and for a minute at most."""
    return f"echo begun; i=0; until [ -e /opt/go-on-{kind} ] || [ $i -gt 600 ]; do i=$((i+1)); sleep 0.1; done"


@contextmanager
def started(site: TinySite, words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program of ours that runs meanwhile."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(words, cwd=site.project.path, stdin=quiet, stdout=quiet, stderr=quiet) as process:
        try:
            yield process
        finally:
            process.kill()


def exposure(site: TinySite, unit: str) -> float:
    last = site.host.run(f"systemd-analyze security --no-pager {unit} | tail -n 1").stdout
    return float(last.rpartition(": ")[2].split()[0])


def is_active(site: TinySite, unit: str) -> bool:
    return site.host.run(f"systemctl is-active {unit}", check=False).stdout.strip() in ("active", "activating")


HAND_ON = '''\
"""Hands a file of the tree that is open for writing, and its own output, to whoever waits outside the unit."""
import os, pathlib, socket

held = pathlib.Path("held.txt")
held.write_text("as built")
descriptors = [os.open(held, os.O_RDWR)] if os.environ.get("WHAT") != "output" else [1]
with socket.socket(socket.AF_UNIX) as one:
    one.connect("/var/cache/deployer-mini/taker")
    socket.send_fds(one, [b"x"], descriptors)
    one.recv(1)
print("handed on", flush=True)
'''
TAKER = '''\
"""Takes descriptors from a build and keeps them; tells what became of each write."""
import os, pathlib, socket, sys, time

place = pathlib.Path("/var/cache/deployer-mini/taker")
place.unlink(missing_ok=True)
with socket.socket(socket.AF_UNIX) as listening:
    listening.bind(str(place))
    listening.listen()
    print("waits", flush=True)
    connection, _ = listening.accept()
_, (taken,), _, _ = socket.recv_fds(connection, 1, 1)
connection.send(b"x")
print("took", flush=True)
for line in sys.stdin:
    try:
        os.write(taken, b"evil\\n")
        print("wrote", flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
'''


@contextmanager
def taker(site: TinySite) -> Iterator[subprocess.Popen[str]]:
    """A process of the deploy user's, beside its builds; a line to it makes it write."""
    site.host.run(f"cat > /home/deploy/taker.py <<'EOF'\n{TAKER}\nEOF")
    words = ["ssh", "-F", str(site.host.ssh_config), "-l", "deploy", site.host.name, "python3 taker.py"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waits\n"
            yield process
        finally:
            process.kill()
            site.host.run("rm -f /home/deploy/taker.py /var/cache/deployer-mini/taker")


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_file_that_somebody_can_still_write_is_never_served(mini: TinySite) -> None:
    """A build hands a descriptor to a process outside its unit: the release is refused, the tree is gone, and what
    serves stays. Once the descriptor is closed, the same build is deployed, and nobody writes to it."""
    serving = mini.serving
    mini.project.write("hand_on.py", HAND_ON)
    mini.configure(build=["python3 hand_on.py"])
    with taker(mini) as process:
        failed = mini.expect(5, "deploy", "--json").event("failed")
        assert says(process) == "took"
        assert "'held.txt'" in failed["message"] and "open for writing" in failed["message"]
        assert failed["state"].startswith(f"{serving} serves, uninterrupted")
    assert mini.serving == serving
    assert mini.host.run("find /srv/mini/trees -maxdepth 1 -user deploy").stdout == ""


def test_who_holds_the_output_of_a_build_holds_no_lock(mini: TinySite) -> None:
    """A build gives its output to a process that outlives it: the deploy ends as ever, and so does the next."""
    mini.project.write("hand_on.py", HAND_ON)
    mini.configure(build=["WHAT=output python3 hand_on.py"])
    with taker(mini) as process:
        mini.expect(0, "deploy")
        assert says(process) == "took"
        assert process.stdin is not None
        print("write", file=process.stdin, flush=True)
        assert says(process) == "BrokenPipeError"
        mini.configure(build=["true"])
        mini.expect(0, "deploy")


WRITER = '''\
"""Goes on opening what it finds in the trees, and writing to what it could open."""
import os, pathlib

wrote = refused = 0
for turn in range(1_000_000):
    if pathlib.Path("/home/deploy/enough").exists():
        break
    for tree in pathlib.Path("/srv/mini/trees").iterdir():
        for name in ("target.txt", "pkg/target.txt"):
            try:
                descriptor = os.open(tree / name, os.O_RDWR)
            except OSError:
                refused += 1
                continue
            wrote += os.pwrite(descriptor, b"evil", 0)
            os.close(descriptor)
print(wrote, refused, flush=True)
'''


def test_a_login_that_writes_into_the_tree_does_not_reach_what_serves(mini: TinySite) -> None:
    """Another process of the deploy user's opens and writes the files of a tree while it is built, sealed and served,
    for as long as that takes: from the seal on it changes nothing."""
    mini.host.run(f"rm -f /home/deploy/enough; cat > /home/deploy/writer.py <<'EOF'\n{WRITER}\nEOF")
    words = ["ssh", "-F", str(mini.host.ssh_config), "-l", "deploy", mini.host.name, "python3 writer.py"]
    sums = "cd /srv/mini/current/code && find . -type f -exec md5sum {} +"
    mini.configure(build=["sleep 0.5"])
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            served = []
            for turn in range(3):
                mini.project.change(files={"target.txt": f"good {turn}", "pkg/target.txt": "good"})
                mini.expect(0, "deploy")
                served.append(mini.host.run(sums).stdout)
                assert mini.host.run(sums).stdout == served[-1]
            mini.host.run("touch /home/deploy/enough")
            wrote, refused = map(int, says(process).split())
        finally:
            process.kill()
            mini.host.run("rm -f /home/deploy/enough /home/deploy/writer.py")
    assert wrote > 0
    assert refused > 0
    assert mini.host.run(sums).stdout == served[-1]
    doctor = mini.fab("doctor")
    assert "damaged" not in doctor.out + doctor.err


def test_a_migration_or_a_build_that_takes_too_long_is_ended(mini: TinySite) -> None:
    """After the time that deploy.toml gives it, with all that it started; what is done all the same is said."""
    serving = mini.serving
    mini.configure(build=["sleep 4246"], release="build_timeout = 2")
    failed = mini.expect(5, "deploy", "--json").event("failed")
    assert "the build did not end within 2 s" in failed["message"]
    assert "release.build_timeout" in failed["next"]
    mini.configure(release='migrate = "sleep 4246 & sleep 4246"\nmigrate_timeout = 2')
    failed = mini.expect(5, "deploy", "--json").event("failed")
    assert "the migration did not end within 2 s" in failed["message"]
    assert failed["state"].startswith(f"{serving} serves, uninterrupted")
    assert "what its migration had committed stays" in failed["state"]
    assert "release.migrate_timeout" in failed["next"]
    assert mini.host.run("pgrep -fx 'sleep 4246' || true").stdout == ""
    assert mini.serving == serving


def test_a_migration_that_was_stopped_has_not_succeeded(mini: TinySite) -> None:
    """To systemd a process that SIGTERM ends is a success. Whoever sent it: the release behind it never serves, and no
    unit stays that has failed."""
    serving = mini.serving
    mini.configure(release='migrate = "kill -TERM $$; sleep 60"')
    failed = mini.expect(5, "deploy", "--json").event("failed")
    assert "failed (exit status 15)" in failed["message"]
    assert "what its migration had committed stays" in failed["state"]
    assert mini.serving == serving
    assert mini.host.run("systemctl list-units --failed --plain --no-legend 'deployer-*'").stdout == ""


UV_SETTINGS = """\
[project]
name = "mini"
version = "0"
[tool.uv]
cache-dir = "./cache"
python-preference = "only-managed"
python-downloads = "automatic"
link-mode = "symlink"
"""


def test_dependencies_are_installed_as_the_host_has_it(mini: TinySite) -> None:
    """The index that /etc/pip.conf names is the one that is asked; where uv's cache is, how it links, which Pythons
    there are does not follow the project's settings."""
    mini.project.write("pyproject.toml", UV_SETTINGS)
    mini.project.write("requirements.txt", "iniconfig==2.0.0\n")
    mini.configure()
    mini.host.run("cp -a /etc/pip.conf /root/pip.conf 2>/dev/null; true")
    try:
        text = "[global]\\nindex-url = file:///opt/wheels-of-ours\\n"
        mini.host.run(f"mkdir -p /opt/wheels-of-ours; printf '{text}' > /etc/pip.conf")
        failed = mini.expect(5, "deploy", "--json").event("failed")
        assert "installing the dependencies failed" in failed["message"]
        assert "iniconfig" in "\n".join(failed["logs"])
    finally:
        mini.host.run("rm -f /etc/pip.conf; test -e /root/pip.conf && mv /root/pip.conf /etc/pip.conf; true")
    mini.expect(0, "deploy")
    links = "find -L /srv/mini/current/venv/lib -name 'iniconfig' -type d; find /srv/mini/current/venv/lib -type l"
    assert len(mini.host.run(links).stdout.splitlines()) == 1
    assert mini.host.run("find /srv/mini/trees /srv/mini/venvs -name cache").stdout == ""


INSIDE = '''\
"""What a process finds forbidden in its unit, one word a line for each that is not."""
import ctypes, mmap, os, pathlib, socket

libc = ctypes.CDLL(None, use_errno=True)
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)


def does(what, call):
    try:
        if call() not in (False, -1, None):
            print("DOES", what)
    except OSError:
        pass


does("capabilities", lambda: any(int(status[name], 16) for name in ("CapBnd", "CapEff", "CapPrm", "CapAmb")))
does("new privileges", lambda: status["NoNewPrivs"].strip() != "1")
does("any system call", lambda: status["Seccomp"].strip() != "2")
does("write the system", lambda: os.open("/usr/x", os.O_CREAT | os.O_WRONLY, 0o600))
does("list homes", lambda: bool(os.listdir("/home")))
does("leave in /tmp", lambda: pathlib.Path("/tmp/of-another").exists())
does("leave in /var/tmp", lambda: pathlib.Path("/var/tmp/of-another").exists())
does("see another /dev/shm", lambda: pathlib.Path("/dev/shm/of-another").exists())
does("see devices", lambda: pathlib.Path("/dev/of-another").exists())
does("see other users", lambda: os.stat("/opt/of-another").st_uid == 65533)
does("write /proc/sys", lambda: os.access("/proc/sys/kernel/hostname", os.W_OK))
does("write the cgroup", lambda: not os.statvfs("/sys/fs/cgroup").f_flag & os.ST_RDONLY)
does("read the kernel's log", lambda: os.access("/dev/kmsg", os.R_OK) or os.access("/proc/kmsg", os.R_OK))
does("list modules", lambda: bool(os.listdir("/usr/lib/modules")))
does("see systemd", lambda: os.path.exists("/proc/1"))
does("/proc/meminfo", lambda: pathlib.Path("/proc/meminfo").exists())
does("packet sockets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW) and True)
does("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) and True)
does("bluetooth", lambda: socket.socket(31, socket.SOCK_RAW, 0) and True)
does("user namespace", lambda: libc.unshare(0x10000000) == 0)
does("real time", lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)) or True)
does("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, 5) or True)
does("set-id files", lambda: (open("/tmp/setid", "w").close(), os.chmod("/tmp/setid", 0o4755), True)[-1])
does("personality", lambda: libc.personality(0x0008) != -1)
does("write and execute", lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) and True)
does("ptrace", lambda: libc.ptrace(0, 0, 0, 0) == 0)
does("mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0)
does("set the host's name", lambda: libc.sethostname(b"evil", 4) == 0)
does("umask", lambda: os.umask(0o77) != 0o77)
does("connect to the bus", lambda: socket.socket(socket.AF_UNIX).connect("/run/dbus/system_bus_socket") or True)
print("looked")
'''
OF_A_BUILD = {"/proc/meminfo", "netlink", "nice", "umask", "write and execute"}
"""What a build may do that the app may not."""


def test_what_is_forbidden_is_so_from_within(mini: TinySite) -> None:
    """Each line of the confinement, as a process finds it: not as the unit file has it."""
    mini.host.run(
        "for d in /tmp /var/tmp /dev/shm /dev /opt; do echo x > $d/of-another; done; chown 65533 /opt/of-another"
    )
    try:
        mini.project.write("inside.py", INSIDE)
        mini.configure(build=["python3 inside.py"], release='migrate = "python3 inside.py"')
        said: dict[str, set[str]] = {}
        for event in mini.expect(0, "deploy", "--json").events:
            if event["event"] == "output":
                said.setdefault(event["phase"], set()).add(event["line"])
        command = set(run(mini, "python3", "inside.py").out.splitlines())
    finally:
        mini.host.run("rm -f /tmp/of-another /var/tmp/of-another /dev/shm/of-another /dev/of-another /opt/of-another")
    assert said["build"] == {"looked", *(f"DOES {what}" for what in OF_A_BUILD)}
    assert said["migrate"] == {"looked"}
    assert command == {"looked"}
