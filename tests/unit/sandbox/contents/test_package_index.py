"""A host gets packages and trust from where this machine does."""

from __future__ import annotations

import configparser

from deployer.sandbox.contents.certificates import HOST_BUNDLE, extra_authorities
from deployer.sandbox.contents.package_index import Index, index_files, index_from, parse_pip_config, pip_conf, uv_toml

LISTING = """\
:env:.default-timeout='90'
:env:.index-url='https://env.example/simple'
global.cert='/some/where.pem'
global.constraint='/some/constraints.txt'
global.extra-index-url='file:///local/simple https://more.example/simple'
global.index-url='https://file.example/simple'
install.trusted-host='more.example'
list.format='columns'
"""


def pem(body: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


def test_the_environment_wins_over_files() -> None:
    """pip's own precedence is kept, and other commands' options are not mistaken for install's."""
    options = parse_pip_config(LISTING)
    assert options["index-url"] == "https://env.example/simple"
    assert options["timeout"] == "90"
    assert options["trusted-host"] == "more.example"
    assert "format" not in options


def test_what_exists_on_this_machine_only_is_left_out() -> None:
    """Local indexes, local wheels and constraint files would break every install on the host."""
    options = {**parse_pip_config(LISTING), "find-links": "/local/wheels https://wheels.example/"}
    index = index_from(options, {})
    assert index.extra_index_url == ("https://more.example/simple",)
    assert index.find_links == ("https://wheels.example/",)
    assert "constraint" not in pip_conf(index)
    assert index_from({"index-url": "file:///local/simple"}, {}).index_url == ""


def test_pip_reads_back_what_was_written() -> None:
    """The host's pip.conf is valid, lists keep their order, and certificates are the host's own."""
    index = Index(
        index_url="https://user:p%40ss@index.example/simple",
        extra_index_url=("https://a.example", "https://b.example"),
        options={"timeout": "90"},
        own_certificates=True,
    )
    parser = configparser.RawConfigParser()  # what pip uses: a % means itself
    parser.read_string(pip_conf(index))
    written = dict(parser["global"])
    assert written["index-url"] == "https://user:p%40ss@index.example/simple"
    assert written["extra-index-url"].split() == ["https://a.example", "https://b.example"]
    assert written["timeout"] == "90"
    assert written["cert"] == HOST_BUNDLE


def test_uv_is_told_the_same() -> None:
    """uv gets the same indexes, the replaced default marked as such."""
    index = Index(index_url="https://i.example", extra_index_url=("https://a.example",), trusted_host=("i",))
    text = uv_toml(index)
    assert 'allow-insecure-host = ["i"]\n' in text
    assert '[[index]]\nurl = "https://a.example"\n[[index]]\nurl = "https://i.example"\ndefault = true' in text


def test_a_machine_with_nothing_special_writes_nothing() -> None:
    """On an ordinary laptop the host keeps every default."""
    assert index_files(index_from({}, {})) == ()


def test_own_certificates_reach_logins_and_units() -> None:
    """Programs that bring their own authorities are told of the host's, in sessions and in units."""
    files = {file.path: file.content.decode() for file in index_files(index_from({}, {"SSL_CERT_FILE": "/x"}))}
    assert files["/etc/environment"] == f"SSL_CERT_FILE={HOST_BUNDLE}\n"
    assert f"SSL_CERT_FILE={HOST_BUNDLE}" in files["/etc/systemd/system.conf.d/certificates.conf"]
    assert "/etc/uv/uv.toml" not in files


def test_only_missing_authorities_are_added() -> None:
    """Authorities that the image trusts already, however their text is wrapped, are not added again."""
    added = extra_authorities(pem("AAAA\nBBBB") + pem("CCCC"), pem("AAAABBBB"))
    assert [b"CCCC" in file.content for file in added] == [True]
    assert added[0].path.startswith("/usr/local/share/ca-certificates/")
    assert added[0].path.endswith(".crt")
