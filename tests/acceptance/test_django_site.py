"""Django and the site in front of it: what its settings do wrong there is told before visitors find out."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from deployer.sandbox import up
from tests.support.site import Ended, Site, make_site

pytestmark = pytest.mark.acceptance

FRONT = 'domains = ["shop.test", "www.shop.test"]\ntls = "front"\ntrusted = ["127.0.99.7"]\n'
LACKS = "ALLOWED_HOSTS lacks www.shop.test"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The shop behind a site with two names, of which its settings accept one; not deployed yet."""
    with up() as host:
        site = make_site(host, tmp_path_factory.mktemp("django") / "shop")
        site.configure(env='ALLOWED_HOSTS = "shop.test,localhost"')
        proxy(site, FRONT)
        site.setup()
        yield site


def proxy(site: Site, lines: str) -> None:
    path = site.project.path / "deploy.toml"
    path.write_text(re.sub(r"(listen = .*\n)(?:domains|tls|trusted).*\n.*\n.*\n", r"\1", path.read_text()))
    path.write_text(re.sub(r"(\nlisten = .*\n)", rf"\1{lines}", path.read_text()))
    site.project.commit("proxy")


def settings(site: Site, text: str) -> None:
    """Add lines to the settings, and commit them."""
    path = site.project.path / "shop/settings.py"
    site.project.change(files={"shop/settings.py": path.read_text() + text})


def warnings(ended: Ended) -> list[str]:
    """What the deploy told of Django."""
    texts = [str(event["text"]) for event in ended.events if event["event"] == "warn"]
    return [text for text in texts if "Django" in text]


def test_what_the_site_will_refuse_is_told_by_plan_and_by_the_deploy(shop: Site) -> None:
    """plan reads the settings; the deploy asks the new code before the switch. Neither is refused; what `check
    --deploy` says is told once, and not again with every deploy that changes nothing of it."""
    planned = shop.expect(0, "plan")
    assert f"shop.settings: {LACKS}" in planned.text.replace("\n  ", " ")
    assert 'write ALLOWED_HOSTS = "shop.test,localhost,www.shop.test" under [env]' in " ".join(planned.text.split())
    first = shop.deploy()
    told = warnings(first)
    assert [LACKS in text for text in told] == [True, False], told
    assert "check --deploy has security.W009" in told[1]
    names = [event["event"] for event in first.events]
    assert names.index("warn") < names.index("switched")
    shop.project.change(version="2")
    again = warnings(shop.deploy())
    assert [LACKS in text for text in again] == [True], again


def test_settings_that_wait_for_ever_or_print_hold_up_no_deploy(shop: Site) -> None:
    """The question has a limit of its own. A release that serves is not taken back for an answer that never came."""
    path = shop.project.path / "shop/settings.py"
    before = path.read_text()
    waits = 'import sys, time\nprint("hello", flush=True)\nif sys.argv[0] == "-c":\n    time.sleep(600)\n'
    settings(shop, waits)
    told = warnings(shop.deploy())
    assert told and "is not known: it has not answered yet" in told[-1], told
    units = "systemctl list-units --all --plain --no-legend 'deployer-shop*'"
    left = shop.host.run(f"ls /var/lib/deployer/shop; {units}").stdout
    assert "jobs" in left and "django" not in left
    path.write_text(before)
    shop.project.commit("no longer")
    assert not [text for text in warnings(shop.deploy()) if "not known" in text]


def test_nobody_is_asked_where_there_is_no_name(shop: Site) -> None:
    """Without domains nothing is known that Django should accept: no process is started for that."""
    asked = 'import sys\nif sys.argv[0] == "-c":\n    open(os.environ["STATE_DIRECTORY"] + "/asked2", "w").close()\n'
    settings(shop, asked)
    shop.deploy()
    assert shop.host.run("test -e /var/lib/shop/asked2", check=False).returncode == 0
    proxy(shop, "")
    shop.setup()
    shop.host.run("rm /var/lib/shop/asked2")
    shop.project.change(version="9")
    assert not warnings(shop.deploy())
    assert shop.host.run("test -e /var/lib/shop/asked2", check=False).returncode == 1
