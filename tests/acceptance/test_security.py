"""Promise 6 on a real host: a stolen deploy key can replace its app; it is not root, and reads no other app's secrets.

Each test is something an attacker would try who holds the deploy key, or who runs code in the app.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from deployer.wire.protocol import PHASES, PROGRAM
from tests.support.tiny import TinySite, make_tiny, ship

pytestmark = pytest.mark.acceptance

SECRET = "s3cret-token-of-the-blog"
TOKEN = "t0ken-in-the-environment"
ETC = (
    "find /etc /root /usr/local/lib/deployer /usr/bin ! -path '/etc/systemd/system*' "
    "-printf '%p %i %m %U:%G %s %C@\\n' 2>/dev/null"
)
"""All that root's own things are: whoever writes, chmods or chowns one of them changes a line of this."""


WORKER = {
    "name": "worker", "command": ["python3"], "count": 1, "stop": 5, "overlap": True, "check": "", "unit": {},
}  # fmt: skip
TIDY = {
    "name": "tidy", "command": ["python3"], "calendar": "daily", "persistent": True, "timeout": 0, "unit": {},
}  # fmt: skip
EVIL_PARTS: dict[str, dict[str, object]] = {
    "parent path": {"name": "../../../run/systemd/system/evil"},
    "another instance": {"name": "web@v1.service.d"},
    "another app": {"name": "web-x"},
    "two lines in a name": {"name": "a\nUser=root"},
    "two lines in a command": {"command": ["python3", "x\nUser=root"]},
    "User": {"unit": {"User": ["root"]}},
    "ExecStartPre": {"unit": {"ExecStartPre": ["+/bin/touch /root/evil"]}},
    "two lines in a directive": {"unit": {"MemoryMax": ["1G\nUser=root"]}},
    "a key too many": {"user": "root"},
}
"""Changes to a process or a timer."""
EVIL_TIMES: dict[str, dict[str, object]] = {
    "another unit": {"calendar": "daily\nUnit=ssh.service"},
    "a second line": {"calendar": "daily\\"},
}


@pytest.fixture
def blog(two_apps: tuple[TinySite, TinySite]) -> TinySite:
    """The other app, with its own deploy user."""
    return two_apps[1]


def made(site: TinySite) -> str:
    """The files that root has made of the app's requests so far."""
    return site.host.run(
        f"find /srv/{site.app} /var/lib/deployer/{site.app} /etc/systemd/system -printf '%p %i %C@\\n'"
    ).stdout


def armed(site: TinySite) -> set[str]:
    """The units of jobs and dead-man's switches. One of an earlier deploy may go by itself; none may come."""
    listed = site.host.run("systemctl list-units --all --plain --no-legend 'deployer-*'").stdout
    return {line.split()[0] for line in listed.splitlines()}


# The channel


def evil_requests(site: TinySite) -> dict[str, bytes]:
    """Requests of every kind that may do nothing at all."""
    good = ship(site, {"x.txt": ("f", b"x")}, phases=PHASES)

    def changed(path: str, value: object) -> bytes:
        request = json.loads(json.dumps(good.request))
        *parents, last = path.split(".")
        place = request
        for key in parents:
            place = place[key]
        place[last] = value
        return json.dumps({**request, "body": len(good.body)}).encode() + b"\n" + good.body

    def entries(path: str, kind: str = "f") -> bytes:
        return changed("delta", {**good.request["delta"], "add": [[path, kind, 1, "0" * 64]]})

    return {
        "not JSON": b"; id\n",
        "NUL": b'{"op":"ask\0"}\n',
        "too deep": b"[" * 200_000 + b"\n",
        "wrong type": b'{"op":["ask"]}\n',
        "unknown": b'{"op":"setup","app":"mini"}\n',
        "absolute path": entries("/etc/cron.d/evil"),
        "parent path": entries("../../../etc/cron.d/evil"),
        "a device": entries("sda", "b"),
        "path as digest": changed("delta.body", "../../../etc/cron.d/evil"),
        "path as base": changed("delta.base", "../../../../etc"),
        "wrong digest": changed("delta.digest", "0" * 64),
        "User": changed("spec.web.unit", {"User": ["root"]}),
        "ExecStartPre": changed("spec.web.unit", {"ExecStartPre": ["+/bin/touch /root/evil"]}),
        "AmbientCapabilities": changed("spec.web.unit", {"AmbientCapabilities": ["CAP_SYS_ADMIN"]}),
        "EnvironmentFile": changed("spec.web.unit", {"EnvironmentFile": ["/etc/shadow"]}),
        "two lines in a directive": changed("spec.web.unit", {"MemoryMax": ["1G\nUser=root"]}),
        "two lines in an argument": changed("spec.web.args", ["x\nUser=root"]),
        "two lines in by": changed("by", "x\nUser=root"),
        "two lines in ref": changed("spec.source.ref", "x\ny"),
        "two headers": changed("spec.health.host", "x\r\nX-Evil: 1"),
        "two requests": changed("spec.health.path", "/ HTTP/1.1\r\n\r\nGET /x"),
        **{
            f"{key} {what}": changed(f"spec.{key}", [{**part, **part_changes}])
            for key, part in (("processes", WORKER), ("timers", TIDY))
            for what, part_changes in {**EVIL_PARTS, **(EVIL_TIMES if key == "timers" else {})}.items()
        },
        "another python": changed("spec.python", "../../../home/deploy/evil"),
        "LD_PRELOAD": changed("env", {"LD_PRELOAD": "/home/deploy/evil.so"}),
        "PATH": changed("env", {"PATH": "/home/deploy"}),
        "a name with a line": changed("env", {"A\nUser": "root"}),
        "a phase too early": changed("phases", ["switch"]),
        "phases in disorder": changed("phases", ["upload", "switch"]),
        "into another release": changed("release", 1),
        "upload again": b'{"op":"phases","phases":["upload"],"release":0,"by":"x"}\n',
        "another unit's journal": b'{"op":"logs","lines":5,"follow":false,"unit":"ssh"}\n',
    }


def test_evil_requests_do_nothing_and_are_answered(mini: TinySite) -> None:
    """Over the real sudo rule: ``failed``, ``finished`` with exit 2, no traceback, nothing written, nothing run."""
    etc, before, switches = mini.host.run(ETC).stdout, made(mini), armed(mini)
    for name, ended in mini.sessions(evil_requests(mini)).items():
        assert [(event["event"], event["exit"]) for event in ended.events] == [("failed", 2), ("finished", 2)], name
        assert ended.events[0]["state"] == "nothing was touched", name
        assert (ended.err, ended.status) == ("", 2), name
    assert made(mini) == before
    assert armed(mini) <= switches
    assert mini.host.run(ETC).stdout == etc


@pytest.mark.parametrize("app", ["blog", "../blog", "mini/../blog", "-h", "''", "deployer"])
def test_another_apps_session_is_out_of_reach(mini: TinySite, app: str) -> None:
    """The rule names one app: no other, whatever it is called, can be spoken for."""
    done = mini.ssh("sudo", "-n", PROGRAM, "session", app, input=b'{"op":"ask"}\n')
    assert done.returncode != 0
    assert b"answer" not in done.stdout


HOSTILE = """\
mkdir -p ~/evil/deployer/host ~/.local/lib/python3.11/site-packages
cd ~/evil
for name in json.py os.py deployer/__init__.py deployer/host/__main__.py sitecustomize.py usercustomize.py; do
    echo 'open("/home/deploy/evil/ran", "a").write(__file__)' > $name
done
cp usercustomize.py ~/.local/lib/python3.11/site-packages/
export PYTHONPATH=~/evil PYTHONSTARTUP=~/evil/json.py PYTHONINSPECT=1 PYTHONHOME=~/evil PYTHONWARNINGS=error
export LD_LIBRARY_PATH=~/evil BASH_ENV=~/evil/json.py ENV=~/evil/json.py PATH=~/evil:$PATH HOME=~/evil
umask 0
echo '{"op":"ask"}' | /usr/bin/sudo -n PROGRAM session mini
"""


def test_the_callers_surroundings_have_no_say(mini: TinySite) -> None:
    """Working directory, PYTHON…, LD_…, PATH, HOME, user site: root runs nothing of the deploy user's for them."""
    said = mini.sh(HOSTILE.replace("PROGRAM", PROGRAM))
    assert '"event":"answer"' in said
    assert "Traceback" not in said
    assert mini.host.run("ls /home/deploy/evil/ran", check=False).returncode != 0
    mini.host.run("rm -rf /home/deploy/evil /home/deploy/.local")


def test_a_hostile_umask_and_limits_weaken_nothing(mini: TinySite, tmp_path: Path) -> None:
    """Under umask 0 what root writes is as private as ever; under a file limit of 0 it fails with an event."""
    shipment = ship(mini, {"x.txt": ("f", b"umask")}, phases=PHASES)
    run = f"exec sudo -n {PROGRAM} session mini"
    done = mini.ssh("/bin/sh", "-c", f"'umask 0; {run}'", input=shipment.data)
    assert json.loads(done.stdout.splitlines()[-1])["exit"] == 0
    loose = "find /srv/mini /var/lib/deployer /etc/systemd/system ! -type l ! -type s -perm /022"
    assert mini.host.run(loose).stdout == ""
    jobs = mini.host.run("find /var/lib/deployer/mini/jobs -mindepth 1 -printf '%m\\n' | sort -u").stdout
    assert set(jobs.split()) <= {"700", "600"}
    shipment = ship(mini, {"x.txt": ("f", b"limits")}, phases=PHASES)
    before = made(mini)
    done = mini.ssh("/bin/sh", "-c", f"'ulimit -f 0; {run}'", input=shipment.data)
    events = [json.loads(line) for line in done.stdout.splitlines() if line]
    assert [event["event"] for event in events] == ["failed", "finished"]
    assert b"Traceback" not in done.stderr
    assert made(mini).count("jobs/") == before.count("jobs/")


# What root does with files


def deploy_with(site: TinySite, *build: str, files: dict[str, str] | None = None, expect: int = 0) -> dict[str, str]:
    """Deploy with build commands; what they printed, by line."""
    site.configure(build=list(build))
    if files:
        site.project.change(files=files)
    ended = site.expect(expect, "deploy", "--json")
    return {event["line"]: event["phase"] for event in ended.events if event["event"] == "output"}


def test_bytecode_is_not_written_along_a_shipped_link(mini: TinySite) -> None:
    """``__pycache__`` shipped as a link to one's own directory full of links into /etc: root writes nothing there."""
    deploy_with(
        mini,
        "mkdir -p pkg/__pycache__; echo '* * * * * root id' > pkg/__pycache__/mod.cpython-99.pyc",
        files={"pkg/mod.py": "x = 1\n"},
    )
    mini.sh("mkdir -p ~/evil; ln -sf /etc/cron.d/evil ~/evil/mod.cpython-99.pyc; ln -sf /etc/cron.d ~/evil-cron")
    for target in (b"/home/deploy/evil", b"/home/deploy/evil-cron", b"/etc/cron.d"):
        ended = mini.session(ship(mini, {"pkg/__pycache__": ("l", target)}, phases=PHASES[:1]).data)
        assert ended.last["event"] == "finished"
    assert mini.host.run("ls /etc/cron.d 2>/dev/null | grep -E 'evil|pyc' || true").stdout == ""
    mini.host.run("rm -rf /home/deploy/evil /home/deploy/evil-cron")


def test_bytecode_is_not_read_along_a_link_in_the_tree(mini: TinySite, blog: TinySite) -> None:
    """A build that leaves a link to another app's bytecode in the place of its own gets none of it copied by root."""
    blog.project.change(files={"pkg/secret.py": f"KEY = {SECRET!r}\n"})
    blog.expect(0, "deploy")
    theirs = "/srv/blog/current/code/pkg/__pycache__"
    assert mini.host.run(f"grep -c {SECRET} {theirs}/*.pyc").stdout == "1\n"
    deploy_with(mini, f"rm -rf pkg/__pycache__; ln -s {theirs} pkg/__pycache__", files={"pkg/secret.py": "KEY = 1\n"})
    ended = mini.session(ship(mini, {"more.txt": ("f", b"x")}, phases=PHASES[:1]).data)
    assert ended.last["event"] == "finished"
    assert mini.host.run(f"grep -rl {SECRET} /srv/mini/trees/ || true").stdout == ""


EVIL_BUILD = [
    "mkdir -p pkg; rm -r pkg; ln -s /etc pkg",
    "ln -s /etc/shadow shadow; ln -s / root",
    "cp /bin/sh setuid; chmod 6777 setuid 2>&1 || true; mkdir sgid; chmod 3777 sgid 2>&1 || true",
    "mkfifo pipe; python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('socket')\"",
    "ln /etc/passwd hard 2>&1 || true; ln /etc/shadow hard2 2>&1 || true",
    "mknod device c 1 3 2>&1 || true",
    "setfacl -m u:deploy:rwx . 2>&1 || true; chmod 0 server.py; chmod 644 server.py",
    "mkdir -p deep; cd deep; for i in $(seq 50); do mkdir d; cd d; done; touch leaf",
]


def test_an_evil_build_is_sealed_without_harm(mini: TinySite) -> None:
    """Links, set-id files, pipes, sockets, devices: nothing outside changes, and the tree is root's, read-only."""
    before = mini.host.run(ETC).stdout
    said = deploy_with(mini, *EVIL_BUILD, files={"pkg/mod.py": "x = 1\n"})
    assert "Operation not permitted" in str(said)  # of chmod: the build's confinement has no set-id files
    assert mini.host.run(ETC).stdout == before
    tree = mini.host.run("readlink -f /srv/mini/current/code").stdout.strip()
    assert mini.host.run(f"find {tree} ! -user root; find {tree} ! -type l -perm /7022").stdout == ""
    kinds = mini.host.run(f"find {tree} -mindepth 1 -printf '%y\\n' | sort -u").stdout.split()
    assert kinds == ["d", "f", "l"]
    assert "denied" in mini.sh(f"echo x >> {tree}/server.py; touch {tree}/new")
    assert mini.get("/")["release"]


def test_an_endless_tree_is_refused_and_removed(mini: TinySite) -> None:
    """Directories nested thousands deep end in a refusal, not in a host program that cannot clean up."""
    serving = mini.get("/")["release"]
    mini.project.write("deep.py", "import os\nfor i in range(3000):\n    os.mkdir('d')\n    os.chdir('d')\n")
    mini.configure(build=["python3 deep.py"])
    failed = mini.expect(5, "deploy", "--json").event("failed")
    assert "nested" in failed["message"]
    assert mini.get("/")["release"] == serving
    assert mini.host.run("find /srv/mini/trees -maxdepth 1 -user deploy").stdout == ""


def test_builds_run_as_the_deploy_user_and_write_nowhere_else(mini: TinySite) -> None:
    """Builds are the deploy user's, gain no rights, and can write the tree, their cache and a private /tmp only."""
    mini.sh("rm -f ~/touched")
    places = (
        "/etc/x /srv/mini/x /srv/mini/releases/x /srv/mini/venvs/x /var/lib/mini/x /home/deploy/touched /usr/x /var/x"
    )
    said = deploy_with(
        mini,
        "id -un; id -u",
        "grep NoNewPrivs /proc/self/status",
        f"for place in {places}; do (echo x > $place) 2>/dev/null && echo WROTE $place; done; true",
        "touch here /tmp/seen; test -w $HOME && echo home $HOME",
        "sudo -n true 2>&1 || true",
    )
    uid = mini.host.run("id -u deploy").stdout.strip()
    assert {"deploy", uid, "NoNewPrivs:\t1", "home /var/cache/deployer-mini"} <= set(said)
    assert not [line for line in said if line.startswith("WROTE")]
    assert mini.host.run("ls /tmp/seen /home/deploy/touched", check=False).stdout == ""


def test_nothing_of_a_build_lives_on(mini: TinySite) -> None:
    """Processes that a build sends to the background, in sessions of their own, end with it."""
    sleep = "os.execvp('sleep', ['sleep', '4243'])"
    twice = f"import os\nif not os.fork():\n    os.setsid()\n    if not os.fork():\n        {sleep}\n"
    said = deploy_with(
        mini,
        "(setsid nohup sleep 4242 >/dev/null 2>&1 &); until ps -eo args | grep -x 'sleep 4242'; do sleep 0.1; done",
        "python3 twice.py >/dev/null 2>&1",
        files={"twice.py": twice},
    )
    assert "sleep 4242" in said
    assert mini.host.run("ps -eo args | grep '[s]leep 424' || true").stdout == ""


def test_a_full_release_of_a_service_user_who_lays_traps(mini: TinySite) -> None:
    """Links that the app's own code lays in its state directory lead root nowhere when the next release starts."""
    before = mini.host.run(ETC).stdout
    mini.host.run(
        "cd /var/lib/mini; runuser -u mini -- ln -sfn /etc/passwd x; runuser -u mini -- ln -sfn /etc y; "
        "runuser -u mini -- mkfifo -m 666 pipe; chmod 755 /var/lib/mini"
    )
    mini.project.change(files={"n.txt": "1"})
    mini.expect(0, "deploy")
    mini.expect(0, "setup", user="root")
    assert mini.host.run(ETC).stdout == before
    assert mini.host.run("stat -c '%a %U' /var/lib/mini").stdout == "700 mini\n"
    mini.host.run("rm -f /var/lib/mini/x /var/lib/mini/y /var/lib/mini/pipe")


def test_nobody_but_root_can_write_what_root_reads(mini: TinySite) -> None:
    """On the whole host the deploy user can write its home, its builds' cache and the usual temporary places only."""
    find = "find / -xdev -writable ! -type l ! -type s ! -path '/proc/*' ! -path '/sys/*' ! -path '/dev/*' 2>/dev/null"
    common = ("/tmp", "/var/tmp", "/run/lock", "/run/user/")
    found = mini.sh(find).splitlines()
    assert [path for path in found if not path.startswith((*common, "/home/deploy", "/var/cache/deployer-"))] == []
    found = mini.host.run(f"runuser -u mini -- {find} || true").stdout.splitlines()
    assert [path for path in found if not path.startswith((*common, "/var/lib/mini"))] == []


def test_the_socket_is_for_the_proxy_and_the_app(mini: TinySite) -> None:
    """Nobody but nginx and the app itself can connect to the app's socket: not even its deploy user."""
    path = "/srv/mini/current/run/web.sock"
    assert mini.host.run(f"stat -c '%a %U:%G' {path}").stdout == "660 mini:www-data\n"
    assert "PermissionError" in mini.sh(connect_to(path))
    assert mini.host.run(["runuser", "-u", "www-data", "--", "sh", "-c", connect_to(path)]).returncode == 0


def connect_to(path: str) -> str:
    """A command that opens a connection to a socket."""
    return f"python3 -c \"import socket; socket.socket(socket.AF_UNIX).connect('{path}')\""


# Secrets


def test_the_environment_is_nowhere_but_where_it_must_be(mini: TinySite, tmp_path: Path) -> None:
    """A secret in env_file reaches the app, and is in no output, journal, unit or command line, nor readable."""
    (tmp_path / "secrets.env").write_text(f"TEST_SECRET={TOKEN}\n")
    mini.configure(top=f'env_file = "{tmp_path}/secrets.env"', build=["true"])
    ended = mini.expect(0, "deploy", "--json", "--verbose")
    assert mini.get("/env?key=TEST_SECRET")["value"] == TOKEN
    assert TOKEN not in ended.text
    release = mini.get("/")["release"]
    host = mini.host
    assert host.run(f"stat -c '%a %U' /srv/mini/releases/{release}/env").stdout == "600 root\n"
    hidden = f"grep -c '{TOKEN[:-1]}[{TOKEN[-1]}]' || true"
    for where in (
        f"systemctl show 'mini-web@{release}.service' 'deployer-mini*' mini",
        "journalctl --no-pager -o export",
        "cat /proc/[0-9]*/cmdline",
    ):
        assert host.run(f"{where} | {hidden}").stdout == "0\n", where
    reading = f"grep -rlsD skip {TOKEN} /srv /var /etc /run /tmp /home /usr/local /dev/shm 2>/dev/null; true"
    assert mini.sh(reading) == ""
    assert host.run(f"runuser -u mini -- sh -c '{reading}'").stdout == ""
    roots = host.run(reading.replace("grep", "grep --exclude-dir=journal")).stdout.split()
    assert roots
    assert all(path.startswith(("/srv/mini/releases/", "/var/lib/deployer/mini/jobs/")) for path in roots), roots


def test_the_deploy_user_cannot_read_the_environment_of_the_app(mini: TinySite) -> None:
    """Neither the file nor the process tells it."""
    release = mini.get("/")["release"]
    pid = mini.host.run(f"systemctl show -p MainPID --value 'mini-web@{release}.service'").stdout.strip()
    for path in (f"/srv/mini/releases/{release}/env", f"/srv/mini/releases/{release}/env.json", f"/proc/{pid}/environ"):
        assert "denied" in mini.sh(f"cat {path}")


def test_the_other_apps_things_are_out_of_reach(mini: TinySite, blog: TinySite) -> None:
    """Neither this app's deploy user nor its running code can read, list, write or connect to what is the other's."""
    release = blog.get("/")["release"]
    for path in (
        "/srv/blog/current/code/server.py",
        f"/srv/blog/releases/{release}/env",
        f"/srv/blog/releases/{release}/release.json",
        "/var/lib/blog/x",
        "/var/lib/deployer/blog/jobs",
        "/home/deploy-blog/.ssh/authorized_keys",
        "/etc/sudoers.d/deployer-blog",
    ):
        assert "denied" in mini.sh(f"cat {path}"), path
        assert mini.get(f"/read?path={path}")["error"] in ("PermissionError", "FileNotFoundError"), path
    connect = connect_to("/srv/blog/current/run/web.sock")
    assert "PermissionError" in mini.sh(connect)
    assert "PermissionError" in mini.host.run(f"runuser -u mini -- {connect}", check=False).stderr
    for where in ("/srv/blog", "/var/lib/blog"):
        assert "denied" in mini.sh(f"ls {where}; touch {where}/x")
        assert "denied" in mini.host.run(f"runuser -u mini -- ls {where}", check=False).stderr
    deploy_with(blog, "touch $HOME/x")
    assert "denied" in mini.sh("ls /var/cache/deployer-blog; cat /var/cache/deployer-blog/x")


def test_nginx_reads_nothing_for_one_app_that_is_anothers(mini: TinySite, blog: TinySite) -> None:
    """nginx may read every app: links in one app's static files make it serve neither the other's code nor /etc."""
    blog.project.change(files={"settings.py": f"KEY = {SECRET!r}\n"})
    blog.expect(0, "deploy")
    deploy_with(
        mini,
        "ln -s /srv/blog/current/code/settings.py static/stolen.txt",
        "ln -s /srv/blog/current/code static/code; ln -s /etc static/etc; echo fine > static/fine.txt",
    )
    with urllib.request.urlopen(mini.url + "/static/fine.txt", timeout=10) as answer:
        assert answer.read() == b"fine\n"
    for path in ("stolen.txt", "code/settings.py", "etc/passwd"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{mini.url}/static/{path}", timeout=10)
        assert refused.value.code in (403, 404), path
    for path in ("..%2fserver.py", "x/..%2f..%2fserver.py"):  # a path of the app's own, once nginx has read it
        with urllib.request.urlopen(f"{mini.url}/static/{path}", timeout=10) as answer:
            assert answer.read() == b'"ok"'


def test_a_whole_static_directory_may_not_be_a_link(mini: TinySite, blog: TinySite) -> None:
    """The directory that nginx is pointed at may be no link out of the code either."""
    deploy_with(mini, "rm -r static; ln -s /srv/blog/current/code static")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{mini.url}/static/server.py", timeout=10)
    assert refused.value.code in (403, 404)


def test_the_running_app_has_no_way_up(mini: TinySite) -> None:
    """The process runs as its own user, in its own group alone, without capabilities or a way to gain any."""
    release = mini.get("/")["release"]
    host = mini.host
    assert mini.get("/")["uid"] == int(host.run("id -u mini").stdout)
    pid = host.run(f"systemctl show -p MainPID --value 'mini-web@{release}.service'").stdout.strip()
    status = dict(
        line.split(":\t", 1) for line in host.run(f"cat /proc/{pid}/status").stdout.splitlines() if ":\t" in line
    )
    assert status["Groups"].split() == [host.run("id -g mini").stdout.strip()]
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0000000000000000"}
    assert status["NoNewPrivs"] == "1"


def test_a_deploy_key_can_do_what_it_is_for(mini: TinySite, tmp_path: Path) -> None:
    """The control: the same user, over the same channel, replaces the app."""
    site = make_tiny(mini.host, tmp_path / "again")
    before = site.get("/")["release"]
    site.project.change(files={"z.txt": "z"})
    site.expect(0, "deploy")
    assert site.get("/")["release"] != before
