"""What is told of a certificate: its names, its end, and its key."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deployer.host.errors import HostError
from deployer.host.proxy import certificate
from deployer.host.proxy.certificate import Certified

DAY = 86400.0
SHOP = Certified(("shop.example.com", "*.shop.example.com"), "01", 0.0, 90 * DAY)
SHOWN = """\
serial=0A1B
notBefore=Nov 29 00:30:06 2026 GMT
notAfter=Feb 27 00:30:06 2027 GMT
X509v3 Subject Alternative Name:
    DNS:shop.example.com, DNS:www.shop.example.com, IP Address:127.0.0.1
"""


def test_what_openssl_prints_is_read() -> None:
    """Its names, its serial number, and its first and last second."""
    found = certificate.parse(SHOWN)
    assert (found.names, found.serial) == (("shop.example.com", "www.shop.example.com"), "0A1B")
    assert found.ends - found.begins == 90 * DAY
    for lacking in ("", "serial=1\n", SHOWN.replace("notAfter", "x")):
        with pytest.raises(ValueError, match="no certificate"):
            certificate.parse(lacking)


@pytest.mark.parametrize(
    ("name", "day", "told"),
    [
        ("shop.example.com", 1, ""),
        ("SHOP.example.com", 67, ""),
        ("www.shop.example.com", 1, ""),
        ("a.b.shop.example.com", 1, "is for shop.example.com, *.shop.example.com"),
        ("example.com", 1, "is for shop.example.com"),
        ("shop.example.com", 68, "ends in 22 days and was not renewed"),
        ("shop.example.com", 89.9, "ends in 2 hours"),
        ("shop.example.com", 90, "expired 0 minutes ago"),
        ("shop.example.com", 100, "expired 10 days ago"),
    ],
)
def test_a_certificate_is_judged_by_its_names_and_its_age(name: str, day: float, told: str) -> None:
    """Wrong for the name, over, or in its last quarter, by which it should have been renewed."""
    found = certificate.judge(name, SHOP, day * DAY)
    assert told in found and bool(told) is bool(found)


def make(directory: Path, name: str, *more: str) -> tuple[Path, Path]:
    chain, key = directory / f"{name}.pem", directory / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "9", "-subj", f"/CN={name}",
         "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out", str(chain), *(more or ("-nodes",))],
        check=True, capture_output=True,
    )  # fmt: skip
    return chain, key


def test_files_that_a_proxy_could_not_use_are_told(tmp_path: Path) -> None:
    """Another certificate's key, an encrypted one, no certificate at all, no file: said, with the file's name."""
    chain, key = make(tmp_path, "shop.example.com")
    _, other = make(tmp_path, "blog.example.com")
    _, locked = make(tmp_path, "locked", "-passout", "pass:secret")
    assert certificate.read(chain).names == ("shop.example.com",)
    assert certificate.pair_problem(chain, key) == ""
    assert "do not belong together" in certificate.pair_problem(chain, other)
    assert "encrypted" in certificate.pair_problem(chain, locked)
    assert "No such file" in certificate.pair_problem(chain, tmp_path / "gone")
    with pytest.raises(HostError, match="holds no certificate"):
        certificate.read(key)
    with pytest.raises(HostError, match="gone cannot be used"):
        certificate.read(tmp_path / "gone")
