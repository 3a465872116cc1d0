"""Which names of a manifest count as hashed, and may lie in a directory of root's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.host.assets.manifest import MANIFESTS, hashed_names, is_plain


def read(manifest: str, value: Any) -> set[str]:
    return hashed_names(manifest, json.dumps(value).encode())


DJANGO = {
    "css/base.css": "css/base.27e20196a850.css",
    "LICENSE": "LICENSE.0123456789ab",
    "js/app.min.js": "js/app.min.9f86d081884c.js",
    "plain.txt": "plain.txt",
    "other.css": "elsewhere.27e20196a850.css",
    "short.css": "short.1.css",
    "../up.css": "../up.27e20196a850.css",
    ".hidden/a.css": ".hidden/a.27e20196a850.css",
    "number.css": 7,
}


def test_the_manifest_of_django() -> None:
    """A name counts that is the plain one with a hash before its ending; no other, and none that leads away."""
    assert read("staticfiles.json", {"version": "1.1", "paths": DJANGO}) == {
        "css/base.27e20196a850.css",
        "LICENSE.0123456789ab",
        "js/app.min.9f86d081884c.js",
    }


VITE = {
    "index.html": {
        "file": "assets/index-DiwrgTda.js",
        "css": ["assets/index-D3adB33f.css", "assets/plain.css"],
        "assets": ["assets/logo-Bq2P5_xw.svg", 3],
    },
    "old.js": {"file": "assets/main.4889e940.js"},
    "named.js": {"file": "assets/date-calendar.js", "css": ["assets/date-Calendar.css"]},
    "bare.js": {"file": "main.js", "css": "no list"},
    "icons": [{"src": "icon-DiwrgTda.png"}],
}


@pytest.mark.parametrize("manifest", ["manifest.json", ".vite/manifest.json"])
def test_the_manifest_of_vite(manifest: str) -> None:
    """Files, style sheets and assets whose names end with a hash; a word of eight letters is none."""
    assert read(manifest, VITE) == {
        "assets/index-DiwrgTda.js",
        "assets/index-D3adB33f.css",
        "assets/logo-Bq2P5_xw.svg",
        "assets/main.4889e940.js",
    }


WORDS = st.text() | st.sampled_from(["paths", "file", "css"])
VALUES = st.recursive(st.none() | st.text(), lambda one: st.lists(one) | st.dictionaries(WORDS, one))


@pytest.mark.parametrize("manifest", MANIFESTS)
@given(text=st.binary() | VALUES.map(lambda value: json.dumps(value).encode()))
def test_whatever_an_author_writes_there(manifest: str, text: bytes) -> None:
    """It names files, or is refused as no JSON; every name stays below the directory."""
    try:
        names = hashed_names(manifest, text)
    except ValueError:
        return
    assert all(is_plain(name) for name in names)


def test_a_manifest_nested_without_end() -> None:
    """No JSON either."""
    with pytest.raises(ValueError, match="deep"):
        hashed_names("staticfiles.json", b"[" * 100_000)


@pytest.mark.parametrize(
    "name", ["", "/a", "a//b", "a/", "../a", "a/../b", "./a", ".a", "a/.b", "a\0b", "\ud800", "a" * 201]
)
def test_names_that_lead_away_or_hide(name: str) -> None:
    """Empty and hidden parts, ways up, half characters, names too long for a file."""
    assert not is_plain(name)
    assert is_plain("css/ä b.css")
