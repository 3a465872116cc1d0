"""What a host lacks is read from what compilers, loaders and shells print, and named as the package that has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.host.build import command
from deployer.host.diagnosis import causes
from deployer.host.diagnosis.diagnosis import from_output
from deployer.host.diagnosis.missing import lacking

BUILD, LIBRARY, PROGRAM = causes.MISSING_TO_BUILD, causes.MISSING_LIBRARY, causes.MISSING_PROGRAM
LINES = [
    ("      src/x.c:1:10: fatal error: Python.h: No such file or directory", BUILD, "python3-dev"),
    ("./psycopg/psycopg.h:35:10: fatal error: libpq-fe.h: No such file or directory", BUILD, "libpq-dev"),
    ("x.c:2:10: fatal error: 'openssl/ssl.h' file not found", BUILD, "libssl-dev"),
    ("x.c:2:10: fatal error: libxml/xmlversion.h: No such file or directory", BUILD, "libxml2-dev"),
    ("      Error: pg_config executable not found.", BUILD, "libpq-dev"),
    ("      error: command 'gcc' failed: No such file or directory", BUILD, "build-essential"),
    (
        "      error: command '/usr/bin/aarch64-linux-gnu-gcc' failed: No such file or directory",
        BUILD,
        "build-essential",
    ),
    ("unable to execute 'x86_64-linux-gnu-gcc': No such file or directory", BUILD, "build-essential"),
    ("error: linker `cc` not found", BUILD, "build-essential"),
    ("      error: can't find Rust compiler", BUILD, "cargo"),
    ("  Package 'xmlsec1' was not found in the pkg-config search path.", BUILD, "xmlsec1-dev"),
    ("Exception: Can not find valid pkg-config name.", BUILD, "pkg-config"),
    ("      /bin/sh: 1: mysql_config: not found", BUILD, "default-libmysqlclient-dev"),
    ("ImportError: libgdal.so.32: cannot open shared object file: No such file or directory", LIBRARY, "gdal-bin"),
    ("ImportError: libpq.so.5: cannot open shared object file: No such file or directory", LIBRARY, '"libpq5"'),
    ("OSError: libmagic.so.1: cannot open shared object file", LIBRARY, '"libmagic1"'),
    ("OSError: libvips.so.42: cannot open shared object file", LIBRARY, '"libvips42"'),
    ("OSError: libenchant-2.so.2: cannot open shared object file", LIBRARY, '"libenchant-2-2"'),
    ("OSError: cannot load library 'libpango-1.0-0': libpango-1.0-0: cannot open", LIBRARY, '"libpango-1.0-0"'),
    ("ImproperlyConfigured: Could not find the GDAL library (tried", LIBRARY, "gdal-bin"),
    ("- couldn't import psycopg 'python' implementation: libpq library not found", LIBRARY, '"libpq5"'),
    ("ImportError: failed to find libmagic.  Check your installation", LIBRARY, '"libmagic1"'),
    ("The headers or library files could not be found for jpeg,", LIBRARY, "libjpeg-dev"),
    ("CommandError: Can't find msgfmt. Make sure you have GNU gettext tools 0.15 or newer", PROGRAM, '"gettext"'),
    ("/bin/sh: 1: npm: not found", PROGRAM, '"npm"'),
    ("bash: line 1: ffmpeg: command not found", PROGRAM, '"ffmpeg"'),
    ("env: 'node': No such file or directory", PROGRAM, '"nodejs"'),
    ("/bin/sh: 1: frobnicate: not found", PROGRAM, "the package that has the program frobnicate"),
    ("ImportError: weird.so: cannot open shared object file", LIBRARY, "the package that has the library weird.so"),
]


@pytest.mark.cause("missing-to-build")
@pytest.mark.cause("missing-library")
@pytest.mark.cause("missing-program")
@pytest.mark.parametrize(("line", "cause", "package"), LINES, ids=[line.split(":")[-1][:40] for line, *_ in LINES])
def test_what_is_missing_is_named(tmp_path: Path, line: str, cause: causes.Cause, package: str) -> None:
    """The package, where it goes in deploy.toml, and ``fab setup`` as what installs it."""
    found = from_output(["× Failed to build", line, "", "hint: see above"], "shop", tmp_path)
    assert found.cause is cause
    assert package in str(found.next[0]) and "packages under [host]" in str(found.next[0])
    assert found.next.commands[:2] == ("fab setup -H root@HOST", "fab deploy")


@pytest.mark.parametrize(
    "line",
    [
        "error: command 'gcc' failed with exit code 1", "FileNotFoundError: data.json", "x.so", "not found",
        "ImportError: cannot import name 'a' from 'b'", "GET /bin/sh 404 not found",
    ],
)  # fmt: skip
def test_what_only_looks_like_it(line: str) -> None:
    """A compiler that runs and fails, a file of the app's, prose."""
    assert lacking([line]) is None


def test_the_last_that_is_told_counts() -> None:
    """A configure script tries what may be missing, and goes on; what ends the build comes last."""
    lines = [
        "conftest.c:1:10: fatal error: zlib.h: No such file or directory",
        "a.c:1: fatal error: ffi.h: No such file or directory",
    ]
    found = lacking(lines)
    assert found is not None and found.packages == ("libffi-dev",)


def test_a_program_that_python_cannot_start(tmp_path: Path) -> None:
    """As ``subprocess`` says it; a file of that name that is merely opened is no program."""
    frame = '  File "/usr/lib/python3.11/subprocess.py", line 1, in {}'
    for function, cause in (("_execute_child", PROGRAM), ("read", causes.COMMAND_ERROR)):
        lines = ["Traceback (most recent call last):", frame.format(function),
                 "FileNotFoundError: [Errno 2] No such file or directory: 'ffmpeg'"]  # fmt: skip
        assert from_output(lines, "shop", tmp_path).cause is cause


def test_django_says_it_in_an_exception(tmp_path: Path) -> None:
    """It is no setting that is missing."""
    lines = ["Traceback (most recent call last):",
             "django.core.exceptions.ImproperlyConfigured: Could not find the GDAL library (tried \"gdal\", \"GDAL\"). "
             "Is GDAL installed? If it is, try setting GDAL_LIBRARY_PATH in your settings."]  # fmt: skip
    assert from_output(lines, "shop", tmp_path).cause is LIBRARY


def test_what_is_missing_wins_over_the_installers_general_advice() -> None:
    """An installation of dependencies has advice of its own, for all other causes."""
    assert set(command.LACKING) == {BUILD, LIBRARY, PROGRAM}


def test_a_url_that_the_host_could_set(tmp_path: Path) -> None:
    """Besides setting it, there is a table in deploy.toml that has the host do it."""
    lines = ["Traceback (most recent call last):", '  File "<frozen os>", line 1, in __getitem__', "KeyError: '{}'"]
    for name, table in (("DATABASE_URL", "[host.postgresql]"), ("REDIS_URL", "[host.redis]"), ("A_URL", "")):
        found = from_output([line.format(name) for line in lines], "shop", tmp_path)
        assert found.cause is causes.MISSING_VARIABLE
        assert table in str(found.next) and ("[host." in str(found.next)) is bool(table)
