"""What the proxy serves from the disk: hashed assets across releases, other static files, media that the app writes."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import itertools
import json
import shlex
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlencode

import pytest

from deployer.sandbox import SandboxHost, up
from tests.support.site import wait_until
from tests.support.tiny import SERVER, TinySite, make_tiny

pytestmark = pytest.mark.acceptance

BUILD = "python3 collect.py"
COLLECT = """
import gzip, hashlib, json, pathlib, sys
static = pathlib.Path("static")
text = (static / "site.css").read_bytes()
name = "site." + hashlib.md5(b"any" if sys.argv[1:] else text).hexdigest()[:12] + ".css"
(static / name).write_bytes(text)
(static / f"{name}.gz").write_bytes(gzip.compress(text + b" /* compressed before */"))
(static / "staticfiles.json").write_text(json.dumps({"paths": {"site.css": name}}))
"""
"""Does what Django's ManifestStaticFilesStorage does, for one file; with an argument it gives all the same hash."""
MEDIA = 'media = { "/media/" = "media" }'


@pytest.fixture(scope="module")
def host() -> Iterator[SandboxHost]:
    with up() as booted:
        yield booted


@pytest.fixture(scope="module")
def mini(host: SandboxHost, tmp_path_factory: pytest.TempPathFactory) -> TinySite:
    """A tiny app with one style sheet, whose name has a hash; version 1 serves."""
    site = make_tiny(host, tmp_path_factory.mktemp("files") / "mini")
    site.project.write("collect.py", COLLECT)
    site.configure(build=[BUILD], release="keep = 3", proxy=MEDIA)
    site.expect(0, "setup", user="root")
    change(site, 1)
    site.expect(0, "deploy")
    return site


def change(site: TinySite, version: int) -> None:
    site.project.write("static/site.css", f"/* {version} */")
    site.project.commit(f"version {version}")


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: Mapping[str, str] = field(repr=False)

    @property
    def caching(self) -> str:
        return self.headers.get("cache-control", "")


def get(site: TinySite, path: str) -> Answer:
    connection = http.client.HTTPConnection(site.host.address, site.port, timeout=15)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, answer.read().decode(errors="replace"), headers)
    finally:
        connection.close()


def compressed(site: TinySite, path: str) -> str:
    """What a browser gets that takes gzip: with the file's own type, and kept apart from the plain one by caches."""
    connection = http.client.HTTPConnection(site.host.address, site.port, timeout=15)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        said = [answer.headers[name] for name in ("Content-Encoding", "Content-Type", "Vary")]
        assert said[0] == "gzip" and said[1].startswith("text/css") and said[2] == "Accept-Encoding", said
        assert "immutable" in answer.headers["Cache-Control"]
        return gzip.decompress(answer.read()).decode()


def style(site: TinySite) -> str:
    """The path of the style sheet that a page of what serves names."""
    text = get(site, "/static/staticfiles.json").text
    return "/static/" + str(json.loads(text)["paths"]["site.css"])


def upload(site: TinySite, path: str, text: str) -> None:
    answer = get(site, f"/write?{urlencode({'path': f'media/{path}', 'text': text})}")
    assert answer.status == 200, answer


def findings(site: TinySite) -> list[str]:
    return [str(one["text"]) for one in json.loads(site.fab("doctor", "--json").out)["findings"]]


def test_pages_keep_their_style_sheets_and_plain_names_their_release(mini: TinySite) -> None:
    """A hashed file stays for good as long as a kept release names it; any other is that of the release that serves."""
    styles = [style(mini)]
    for version in (2, 3, 4):
        change(mini, version)
        mini.expect(0, "deploy")
        styles.append(style(mini))
        assert get(mini, "/static/site.css").text == f"/* {version} */"
    found = [get(mini, path) for path in styles]
    assert [(one.status, one.text) for one in found[1:]] == [(200, f"/* {version} */") for version in (2, 3, 4)]
    assert {one.caching for one in found[1:]} == {"public, max-age=31536000, immutable"}
    assert [compressed(mini, path) for path in styles[1:]] == [
        f"/* {version} */ /* compressed before */" for version in (2, 3, 4)
    ]
    plain, gone = get(mini, "/static/site.css"), get(mini, "/static/none.css")
    assert (plain.caching, gone.status) == ("no-cache", 404)
    assert "immutable" not in gone.caching
    assert not mini.host.run("ls -d /srv/mini/releases/v1", check=False).stdout
    assert found[0].text == "/* 1 */"  # for an hour after its release is gone
    mini.expect(0, "rollback")
    assert get(mini, "/static/site.css").text == "/* 3 */"
    assert [get(mini, path).status for path in styles[1:]] == [200, 200, 200]
    assert mini.host.run("find /srv/mini/assets ! -user root -o -perm /022 -type f -o -type l").stdout == ""


def test_one_name_for_two_contents_is_refused_before_the_switch(mini: TinySite) -> None:
    """Browsers keep the first for a year: what serves stays, and the file is named."""
    before = style(mini)
    mini.configure(build=[f"{BUILD} lie"], release="keep = 3", proxy=MEDIA)
    mini.expect(0, "deploy")
    change(mini, 99)
    failed = mini.expect(5, "deploy", "--json").event("failed")
    assert "has a name for one content alone" in failed["message"]
    mini.configure(build=[BUILD], release="keep = 3", proxy=MEDIA)
    change(mini, 5)
    mini.expect(0, "deploy")
    assert style(mini) != before


@dataclass
class Browser:
    """Loads a page, and a moment later the style sheet that it names."""

    site: TinySite
    pause: float
    done: threading.Event
    loaded: list[Answer] = field(default_factory=list)

    def run(self) -> None:
        while not self.done.is_set():
            path = style(self.site)
            self.done.wait(self.pause)
            self.loaded.append(get(self.site, path))


def test_ten_browsers_lose_no_style_across_switches(mini: TinySite) -> None:
    """Whatever moment passes between a page and its style sheet."""
    done = threading.Event()
    browsers = [Browser(mini, 0.4 * number, done) for number in range(10)]
    threads = [threading.Thread(target=one.run) for one in browsers]
    for thread in threads:
        thread.start()
    try:
        for version in (10, 11, 12, 13):
            change(mini, version)
            mini.expect(0, "deploy")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    loaded = [answer for one in browsers for answer in one.loaded]
    assert len(loaded) > 20
    assert {answer.status for answer in loaded} == {200}


def test_uploads_are_served_and_outlive_everything(mini: TinySite) -> None:
    """A deploy, a reload, a restart, a rollback, a removed directory, a reboot after power loss."""
    upload(mini, "a.txt", "one")
    upload(mini, "deep/er/b.txt", "two")
    events = {
        "reload": lambda: mini.expect(0, "reload"),
        "deploy": lambda: (change(mini, 20), mini.expect(0, "deploy")),
        "restart": lambda: mini.host.run("systemctl restart mini"),
        "rollback": lambda: mini.expect(0, "rollback"),
        "crash": lambda: mini.host.run("systemctl kill -s KILL 'mini-web@*.service'"),
        "outage": lambda: (mini.host.pull_plug(), mini.host.boot()),
    }
    for what, happens in events.items():
        happens()
        wait_until(lambda: get(mini, "/").status == 200, f"it answers after the {what}")
        found = get(mini, "/media/a.txt")
        assert (found.status, found.text) == (200, "one"), what
        assert found.headers["x-content-type-options"] == "nosniff"
        assert get(mini, "/media/deep/er/b.txt").text == "two", what
        upload(mini, f"{what}.txt", what)
        assert get(mini, f"/media/{what}.txt").text == what


def test_the_proxy_reads_nothing_else_of_the_state(mini: TinySite) -> None:
    """Neither through a link that the app makes, nor beside the directory, nor by another user of the host."""
    makes = (
        "umask 077; cd /var/lib/mini; echo secret > db.sqlite3; ln -sfn /etc media/etc; ln -sf /etc/hostname media/link"
    )
    mini.host.run(f"runuser -u mini -- sh -c '{makes}'")
    for path in ("/media/link", "/media/etc/hostname", "/media/../db.sqlite3", "/media/%2e%2e/db.sqlite3", "/media/"):
        found = get(mini, path)
        assert found.text == '"ok"' or found.status in (400, 403, 404), path  # the app's own answer
    for user in ("www-data", "nobody"):
        assert mini.host.run(f"runuser -u {user} -- cat /var/lib/mini/db.sqlite3", check=False).returncode
        assert mini.host.run(f"runuser -u {user} -- touch /srv/mini/media/media/x", check=False).returncode
    assert mini.host.run("runuser -u nobody -- cat /srv/mini/media/media/a.txt", check=False).returncode


def test_what_closes_the_media_is_found_and_opened_again(mini: TinySite) -> None:
    """A directory that was replaced, one that was closed, a mount that is gone; each by its own words."""
    replaced = "cd /var/lib/mini && mv media old && mkdir media && echo new > media/a.txt"
    troubles = {
        f"runuser -u mini -- sh -c {shlex.quote(replaced)}": "closed to the proxy",
        "chmod 700 /var/lib/mini/media": "closed to the proxy",
        "umount /srv/mini/media/media": "does not show",
    }
    for damage, told in troubles.items():
        mini.host.run(damage)
        (found,) = findings(mini)
        assert told in found
        mini.expect(0, "setup", user="root")
        assert findings(mini) == []
        assert get(mini, "/media/a.txt").text.strip() == "new"
    mini.configure(build=[BUILD], release="keep = 3")
    mini.expect(0, "setup", user="root")
    assert mini.host.run("ls /srv/mini/media").stdout == ""
    assert mini.host.run("cat /var/lib/mini/media/a.txt").stdout == "new\n"


INSERT = """
    def insert(self, query):
        with contextlib.closing(sqlite3.connect("data/rows.sqlite3", timeout=30)) as rows, rows:
            rows.execute("INSERT INTO rows VALUES (?, ?)", (os.environ["DEPLOYER_RELEASE"], query["name"]))
        return query["name"]

    def argv"""
OPENS = """
rows = sqlite3.connect("data/rows.sqlite3", timeout=30)  # stays open, as a pool of connections would
rows.execute("PRAGMA journal_mode=WAL")
rows.execute("CREATE TABLE IF NOT EXISTS rows (release, name)")
rows.execute("INSERT INTO rows VALUES (?, 'start')", (os.environ["DEPLOYER_RELEASE"],))
rows.commit()
Server().serve_forever()"""
ROWS = (
    SERVER.replace("import json\n", "import contextlib\nimport json\nimport sqlite3\n", 1)
    .replace('"/argv": self.argv', '"/argv": self.argv, "/insert": self.insert')
    .replace("\n    def argv", INSERT)
    .replace("\nServer().serve_forever()", OPENS)
)
READ = """import json, sqlite3
rows = sqlite3.connect("/var/lib/mini/data/rows.sqlite3")
print(json.dumps([rows.execute("PRAGMA integrity_check").fetchall(), rows.execute("PRAGMA journal_mode").fetchall(),
    rows.execute("SELECT release, name FROM rows ORDER BY rowid").fetchall()]))
"""


def test_two_releases_write_one_database_across_handovers(mini: TinySite) -> None:
    """SQLite with a journal beside it, in a directory of the code that is shared: no write that was confirmed is lost,
    while the old release and the new one have it open at once."""
    mini.project.write("server.py", ROWS)
    mini.configure(build=[BUILD], release='keep = 3\nshared = { "data/" = "data" }', proxy=MEDIA)
    mini.expect(0, "deploy")
    done = threading.Event()
    written: list[str] = []

    def visitor(number: int) -> None:
        count = 0
        while not done.is_set():
            count += 1
            answer = get(mini, f"/insert?name={number}-{count}")
            assert answer.status == 200, answer
            written.append(f"{number}-{count}")

    with ThreadPoolExecutor(4) as pool:
        visits = [pool.submit(visitor, number) for number in range(4)]
        try:
            mini.expect(0, "reload")
            change(mini, 40)
            mini.expect(0, "deploy")
            mini.expect(0, "rollback")
        finally:
            done.set()
        for one in visits:
            one.result()
    sound, journal, rows = json.loads(mini.host.run(["runuser", "-u", "mini", "--", "python3", "-c", READ]).stdout)
    assert (sound, journal) == ([["ok"]], [["wal"]])
    assert sorted(name for _, name in rows if name != "start") == sorted(written)
    order = [release for release, _ in rows]
    starts = [release for release, name in rows if name == "start"]
    assert len(starts) == 4
    for old, new in itertools.pairwise(starts):  # the old one wrote on after the new one had begun to
        assert order.index(new) < len(order) - 1 - order[::-1].index(old)
    mini.project.write("server.py", SERVER)


def test_caddy_serves_the_same_and_follows_no_link(mini: TinySite) -> None:
    """It would follow one anywhere: media are shown to it without, and code that has one is refused."""
    mini.configure(build=[BUILD], release="keep = 3", proxy=MEDIA)
    text = (mini.project.path / "deploy.toml").read_text()
    mini.project.write("deploy.toml", text.replace('kind = "nginx"', 'kind = "caddy"'))
    mini.project.commit("caddy")
    mini.host.run("systemctl disable --now nginx")
    mini.expect(0, "setup", user="root")
    before = style(mini)
    change(mini, 30)
    mini.expect(0, "deploy")
    upload(mini, "in/c.txt", "three")
    mini.host.run("runuser -u mini -- ln -sf /etc/hostname /var/lib/mini/media/link")
    for path, text, caching in (
        (before, None, "public, max-age=31536000, immutable"),
        (style(mini), "/* 30 */", "public, max-age=31536000, immutable"),
        ("/static/site.css", "/* 30 */", "no-cache"),
        ("/media/in/c.txt", "three", ""),
    ):
        found = get(mini, path)
        assert (found.status, found.text, found.caching) == (200, text or found.text, caching), path
    assert get(mini, "/media/in/c.txt").headers["x-content-type-options"] == "nosniff"
    assert compressed(mini, style(mini)) == "/* 30 */ /* compressed before */"
    for path in ("/media/link", "/static/none.css", "/media/none"):
        gone = get(mini, path)
        assert (gone.status >= 400, "immutable" in gone.caching) == (True, False), path
    assert findings(mini) == []
    (mini.project.path / "static/link.css").symlink_to("site.css")
    mini.project.commit("a link")
    failed = mini.expect(5, "deploy", "--json").event("failed")
    assert "static/link.css is a symbolic link" in failed["message"]
    assert get(mini, "/static/site.css").text == "/* 30 */"
