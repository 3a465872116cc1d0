"""What setup changes in an admin's Caddyfile, and what it leaves."""

from __future__ import annotations

import pytest

from deployer.host.proxy import caddyfile

OWN = "# ours\nblog.example.com {\n\trespond hi\n}\n"


def test_the_packages_own_file_makes_way() -> None:
    """Its welcome page would answer on port 80 for every name."""
    fresh = caddyfile.wanted(":80 {\n\tfile_server\n}\n", is_stock=True)
    assert fresh == caddyfile.wanted("", is_stock=False) == caddyfile.FRESH
    assert caddyfile.wanted(fresh, is_stock=False) == fresh


def test_an_admins_file_is_kept_with_two_things_more() -> None:
    """The import at its end, the admin socket in the options at its beginning; the second time nothing."""
    text = caddyfile.wanted(OWN, is_stock=False)
    assert text.startswith("{\n\tadmin unix//run/caddy/admin.sock\n}\n\n# ours\n")
    assert OWN in text and text.endswith("\nimport /etc/caddy/conf.d/*.caddy\n")
    assert caddyfile.wanted(text, is_stock=False) == text


def test_the_admins_options_stay() -> None:
    """The line goes into the block that is there, nested blocks and all; one that has an admin line is left alone."""
    text = caddyfile.wanted(
        "# a\n{\n\temail ada@example.com\n\tservers {\n\t\tprotocols h1\n\t}\n}\n" + OWN, is_stock=False
    )
    assert text.startswith("# a\n{\n\tadmin unix//run/caddy/admin.sock\n\temail ada@example.com\n\tservers {")
    own = "{\n\tadmin localhost:2020\n}\nimport conf.d/*.caddy\n" + OWN
    assert caddyfile.wanted(own, is_stock=False) == own


@pytest.mark.parametrize(
    ("text", "admin", "is_open"),
    [
        (OWN, "", True),
        ("{\n}\n" + OWN, "", True),
        ("{\n\tadmin localhost:2020\n}\n", "localhost:2020", True),
        ("{\n\tadmin off\n}\n", "off", False),
        ("{\n\tadmin unix//run/x.sock {\n\t\torigins a\n\t}\n}\n", "unix//run/x.sock", False),
        (caddyfile.FRESH, "unix//run/caddy/admin.sock", False),
        ("a.example {\n\tadmin x\n}\n", "", True),
    ],
)
def test_where_the_admin_api_listens_is_known(text: str, admin: str, is_open: bool) -> None:
    """Only the options at the beginning count; without a word on it every user of the host may use it."""
    assert caddyfile.admin_of(text) == admin
    assert caddyfile.is_open(admin) is is_open
