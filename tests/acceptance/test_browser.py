"""A real browser across handovers: pages that are open go on finding the hashed assets of their release."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.browser import Browser, Page, browser, browser_host
from tests.support.tiny import SERVER, TinySite, make_tiny

pytestmark = pytest.mark.acceptance

COLLECT = '''
import hashlib, json, pathlib

static, version = pathlib.Path("static"), pathlib.Path("VERSION").read_text().strip()
names = {}


def collect(plain, text):
    """Under a name with the hash of its content, as Django's ManifestStaticFilesStorage does."""
    stem, _, ending = plain.rpartition(".")
    names[plain] = f"{stem}.{hashlib.md5(text.encode()).hexdigest()[:12]}.{ending}"
    (static / plain).write_text(text)
    (static / names[plain]).write_text(text)
    return "/static/" + names[plain]


picture = collect("dot.svg", f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><!-- {version} --></svg>')
later = collect("later.css", f"#later {{ width: {version}px; background: url({picture}) }}")
module = collect("module.js", f"export const version = '{version}';")
style = collect("site.css", f"#now {{ width: {version}px }}")
script = collect("app.js", f"""
async function open_later() {{
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = "{later}";
  await new Promise((good, bad) => {{ link.onload = good; link.onerror = bad; document.head.append(link); }});
  return (await import("{module}")).version;
}}
""")
pathlib.Path("static/staticfiles.json").write_text(json.dumps({"paths": names}))
pathlib.Path("page.html").write_text(
    f"""<!doctype html><link rel="icon" href="data:,"><link rel="stylesheet" href="{style}">
<script src="{script}"></script><div id="now"></div><div id="later"></div>"""
)
'''
"""Makes a page with a style sheet and a script, and what that script loads later: a style sheet with a picture, and a
module. Each changes with the version."""
PAGE = """\
        if url.path == "/page":
            body = open("page.html", "rb").read()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return self.wfile.write(body)
        answers = {"""
SWITCHES = 10


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinySite]:
    with browser_host() as host:
        site = make_tiny(host, tmp_path_factory.mktemp("browser") / "mini")
        site.project.write("server.py", SERVER.replace("        answers = {", PAGE))
        site.project.write("collect.py", COLLECT)
        site.configure(build=["python3 collect.py"], release="keep = 3")
        site.expect(0, "setup", user="root")
        yield site


def deploy(site: TinySite, version: int) -> None:
    site.project.write("VERSION", f"{version}\n")
    site.project.commit(f"version {version}")
    site.expect(0, "deploy")


def width(chromium: Browser, page: Page, name: str) -> str:
    """As the browser lays it out: what a style sheet that was loaded and understood says."""
    return str(chromium.run(page, f'getComputedStyle(document.getElementById("{name}")).width'))


def test_open_pages_load_the_rest_of_their_release_after_the_switch(mini: TinySite) -> None:
    """Ten switches: what a page loads at once, and what it loads only after the next one, is of its own release."""
    deploy(mini, 101)
    with browser(mini.host) as chromium:
        pages = [chromium.open(f"{mini.url}/page")]
        for version in range(102, 102 + SWITCHES):
            deploy(mini, version)
            pages.append(chromium.open(f"{mini.url}/page"))
            before = pages[-2]
            assert chromium.run(before, "open_later()") == str(version - 1)
            assert width(chromium, before, "later") == f"{version - 1}px"
        # The first page has been open since eleven releases ago, eight of which are gone from the host.
        assert chromium.run(pages[-1], "open_later()") == str(101 + SWITCHES)
        assert [width(chromium, page, "now") for page in pages] == [f"{101 + n}px" for n in range(SWITCHES + 1)]
    asked = [one for page in pages for one in page.requests.values()]
    assert len(asked) == 6 * len(pages)  # the page, style, script; later style, its picture, the module
    assert [one for one in asked if one.outcome != "200"] == []


def test_a_broken_asset_would_be_seen(mini: TinySite) -> None:
    """The negative control: without the directory of hashed assets an open page loses its style sheet."""
    deploy(mini, 300)
    with browser(mini.host) as chromium:
        page = chromium.open(f"{mini.url}/page")
        deploy(mini, 301)
        mini.host.run("rm -rf /srv/mini/assets/static")
        with pytest.raises(RuntimeError):
            chromium.run(page, "open_later()")
        assert [one.url for one in page.requests.values() if one.outcome.startswith("404")]
