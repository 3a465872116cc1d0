"""What an admin tells pip on a host, in uv's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.host.build.environment import pipconf

FULL = """\
[global]
index-url = https://proxy.example/simple
extra_index_url =
    https://a.example/simple
    https://b.example/simple
trusted-host = a.example b.example
cert = /etc/ssl/corporate.pem
timeout = 180.0
proxy = http://proxy.example:3128
[install]
find-links = /srv/wheels https://c.example/wheels
[list]
format = columns
"""


def test_each_option_has_its_variable() -> None:
    """Lists of several lines, both spellings of a name, and the section for ``pip install``."""
    assert pipconf.translated(pipconf.parse(FULL), indexes=True) == {
        "UV_DEFAULT_INDEX": "https://proxy.example/simple",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_INSECURE_HOST": "a.example b.example",
        "SSL_CERT_FILE": "/etc/ssl/corporate.pem",
        "UV_HTTP_TIMEOUT": "180",
        "HTTP_PROXY": "http://proxy.example:3128",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "UV_FIND_LINKS": "/srv/wheels,https://c.example/wheels",
    }


def test_a_project_that_names_its_index_keeps_it() -> None:
    """Certificates, the proxy and the time limit are the host's all the same."""
    left = pipconf.translated(pipconf.parse(FULL), indexes=False)
    assert set(left) == {"UV_INSECURE_HOST", "SSL_CERT_FILE", "UV_HTTP_TIMEOUT", "HTTP_PROXY", "HTTPS_PROXY"}


@pytest.mark.parametrize(
    "text",
    [
        "--index-url https://x/simple\nflask==3\n", "flask==3\n-i https://x\n", "  --extra-index-url=https://x\n",
        "--no-index\n", '[[tool.uv.index]]\nurl = "https://x"\n', '[[index]]\nurl = "https://x"\n',
        '[tool.uv]\nindex-url = "https://x"\n', 'index = [{ url = "https://x" }]\n',
    ],
)  # fmt: skip
def test_where_a_project_may_name_its_index(text: str) -> None:
    """A line of a requirements file, a table or a key of uv's settings."""
    assert pipconf.names_index([b"", text.encode()])


@pytest.mark.parametrize("text", ["flask==3\n# -i https://x\n", "index-thing==1\n", "-r more.txt\n", "--pre\n", ""])
def test_what_names_no_index(text: str) -> None:
    """Comments, packages that are called so, and other options."""
    assert not pipconf.names_index([text.encode()])


def test_a_file_that_is_no_configuration_says_nothing() -> None:
    """An admin's slip is pip's to report."""
    assert pipconf.parse("index-url = x") == {}
    assert pipconf.parse("[global]\nindex-url\n") == {}


def test_what_only_root_may_read_stays_with_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds a password; a file that is gone, or holds odd bytes, is none or read as far as it can be."""
    secret, plain = tmp_path / "secret", tmp_path / "plain"
    secret.write_text("[global]\nindex-url = https://user:password@x/simple\n")
    secret.chmod(0o600)
    plain.write_bytes(b"[global]\ntimeout = 5\n# \xff\n")
    plain.chmod(0o644)
    monkeypatch.setattr(pipconf, "FILES", (str(tmp_path / "gone"), str(plain), str(secret)))
    assert pipconf.variables(indexes=True) == {"UV_HTTP_TIMEOUT": "5"}
