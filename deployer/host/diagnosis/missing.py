"""Finds the package of Debian that a build or a process lacks, in what compilers, loaders and shells print. Pure.

Their sentences are matched, because nothing else tells: they have not changed in many years, and programs on a host run
in the C locale.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from deployer.wire.lazydata import dataclass
from deployer.wire.lazyre import pattern

__all__ = ["Lack", "lacking"]

HEADER, TOOL, LIBRARY, PROGRAM = "header", "tool", "library", "program"
_COMPILER = ("build-essential", "python3-dev")

_HEADERS = {
    "Python.h": "python3-dev", "libpq-fe.h": "libpq-dev", "pg_config.h": "libpq-dev", "ffi.h": "libffi-dev",
    "mysql.h": "default-libmysqlclient-dev", "my_config.h": "default-libmysqlclient-dev", "zlib.h": "zlib1g-dev",
    "jpeglib.h": "libjpeg-dev", "png.h": "libpng-dev", "ft2build.h": "libfreetype-dev", "tiff.h": "libtiff-dev",
    "webp/decode.h": "libwebp-dev", "ldap.h": "libldap-dev", "lber.h": "libldap-dev", "sqlite3.h": "libsqlite3-dev",
    "yaml.h": "libyaml-dev", "bzlib.h": "libbz2-dev", "lzma.h": "liblzma-dev", "krb5.h": "libkrb5-dev",
    "magic.h": "libmagic-dev", "geos_c.h": "libgeos-dev", "gdal.h": "libgdal-dev", "proj.h": "libproj-dev",
    "cairo.h": "libcairo2-dev", "gmp.h": "libgmp-dev", "sodium.h": "libsodium-dev", "sql.h": "unixodbc-dev",
    "maxminddb.h": "libmaxminddb-dev", "snappy-c.h": "libsnappy-dev", "pcap.h": "libpcap-dev", "stdio.h": "libc6-dev",
    "limits.h": "libc6-dev", "stdlib.h": "libc6-dev", "readline/readline.h": "libreadline-dev",
    "curl/curl.h": "libcurl4-openssl-dev", "librdkafka/rdkafka.h": "librdkafka-dev", "uuid/uuid.h": "uuid-dev",
}  # fmt: skip
_HEADER_DIRECTORIES = {
    "openssl": "libssl-dev", "libxml": "libxml2-dev", "libxslt": "libxslt1-dev", "libexslt": "libxslt1-dev",
    "xmlsec": "libxmlsec1-dev", "sasl": "libsasl2-dev", "gssapi": "libkrb5-dev", "libmemcached": "libmemcached-dev",
    "mysql": "default-libmysqlclient-dev", "unicode": "libicu-dev", "systemd": "libsystemd-dev",
    "glib": "libglib2.0-dev", "sys": "libc6-dev", "bits": "libc6-dev", "linux": "linux-libc-dev", "libpq": "libpq-dev",
    "dbus": "libdbus-1-dev",
}  # fmt: skip
_LIBRARIES = {
    "libgdal": "gdal-bin", "gdal": "gdal-bin", "GDAL": "gdal-bin", "libgeos_c": "libgeos-c1v5", "GEOS": "libgeos-c1v5",
    "libproj": "proj-bin", "PROJ": "proj-bin", "libGL": "libgl1", "libglib-2.0": "libglib2.0-0",
    "libgthread-2.0": "libglib2.0-0", "libgobject-2.0": "libglib2.0-0", "libmysqlclient": "libmariadb3",
    "libmariadb": "libmariadb3", "libxml2": "libxml2", "libxslt": "libxslt1.1", "libexslt": "libxslt1.1",
    "libjpeg": "libjpeg62-turbo", "libodbc": "unixodbc", "libmagic": "libmagic1", "libpq": "libpq5",
    "libpango-1.0": "libpango-1.0-0", "libpangoft2-1.0": "libpangoft2-1.0-0", "libSM": "libsm6", "libXext": "libxext6",
    "libXrender": "libxrender1", "libX11": "libx11-6", "libldap": "libldap-common", "libpython3": "libpython3-dev",
    "libharfbuzz": "libharfbuzz0b", "libharfbuzz-subset": "libharfbuzz-subset0", "libstdc++": "libstdc++6",
}  # fmt: skip
_PROGRAMS = {
    "msgfmt": "gettext", "xgettext": "gettext", "msgmerge": "gettext", "node": "nodejs", "nodejs": "nodejs",
    "npm": "npm", "npx": "npm", "git": "git", "ffmpeg": "ffmpeg", "make": "make", "cmake": "cmake", "cargo": "cargo",
    "rustc": "rustc", "convert": "imagemagick", "magick": "imagemagick", "pdftotext": "poppler-utils",
    "pdftoppm": "poppler-utils", "wkhtmltopdf": "wkhtmltopdf", "pandoc": "pandoc", "psql": "postgresql-client",
    "pg_dump": "postgresql-client", "curl": "curl", "wget": "wget", "unzip": "unzip", "zip": "zip", "rsync": "rsync",
    "pkg-config": "pkg-config", "swig": "swig", "gs": "ghostscript", "tesseract": "tesseract-ocr", "dot": "graphviz",
    "sassc": "sassc", "xmllint": "libxml2-utils", "file": "file", "jq": "jq", "redis-cli": "redis-tools",
    "pg_config": "libpq-dev", "mysql_config": "default-libmysqlclient-dev", "xml2-config": "libxml2-dev",
    "xslt-config": "libxslt1-dev", "curl-config": "libcurl4-openssl-dev", "gdal-config": "libgdal-dev",
    "geos-config": "libgeos-dev", "krb5-config": "libkrb5-dev", "mysql": "default-mysql-client", "clang": "clang",
    "gfortran": "gfortran", "bison": "bison", "flex": "flex", "autoconf": "autoconf", "libtoolize": "libtool",
}  # fmt: skip
_COMPILERS = frozenset({"gcc", "cc", "g++", "c++", "x86_64-linux-gnu-gcc", "x86_64-linux-gnu-g++", "c99", "ld",
                        "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++"})  # fmt: skip
_PKG_CONFIG = {
    "libpq": "libpq-dev", "mysqlclient": "default-libmysqlclient-dev", "mariadb": "default-libmysqlclient-dev",
    "libmariadb": "default-libmysqlclient-dev", "cairo": "libcairo2-dev", "libffi": "libffi-dev",
    "openssl": "libssl-dev", "libxml-2.0": "libxml2-dev", "libxslt": "libxslt1-dev", "xmlsec1": "libxmlsec1-dev",
    "dbus-1": "libdbus-1-dev", "libsystemd": "libsystemd-dev", "freetype2": "libfreetype-dev", "vips": "libvips-dev",
}  # fmt: skip
_NAME = r"[A-Za-z0-9_+.-]+"
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (HEADER, pattern(rf"fatal error: '?({_NAME}(?:/{_NAME})*)'?(?:: No such file or directory| file not found)")),
    (LIBRARY, pattern(rf"({_NAME}\.so(?:\.[0-9]+)*): cannot open shared object file")),
    (LIBRARY, pattern(rf"cannot load library '({_NAME})'")),
    (LIBRARY, pattern(r"(?:Could not find the|could not find the) (GDAL|GEOS|PROJ) library")),
    (LIBRARY, pattern(r"failed to find (libmagic)")),
    (LIBRARY, pattern(r"(libpq) library not found")),
    (LIBRARY, pattern(r"The headers or library files could not be found for (\w+)")),
    (TOOL, pattern(r"\b(pg_config) executable not found")),
    (TOOL, pattern(r"command '?/?(?:[\w/-]*/)?([\w+-]+)'? failed: No such file or directory")),
    (TOOL, pattern(r"unable to execute '([\w+-]+)': No such file or directory")),
    (TOOL, pattern(r"linker `([\w+-]+)` not found")),
    (TOOL, pattern(r"No (CMAKE_C)(?:XX)?_COMPILER could be found")),
    (TOOL, pattern(rf"Package '?({_NAME})'?,? (?:was not found in the pkg-config search path|required by)")),
    (TOOL, pattern(r"can't find (Rust) compiler")),
    (TOOL, pattern(r"(?:Can not|Cannot) find valid pkg-config name")),
    (PROGRAM, pattern(rf"Can't find ({_NAME})\. Make sure you have GNU gettext tools")),
    (PROGRAM, pattern(rf"(?:^|[/ ])(?:ba|da)?sh: (?:line )?[0-9]+: ({_NAME}): (?:command )?not found")),
    (PROGRAM, pattern(rf"env: .({_NAME}).: No such file or directory")),
    (PROGRAM, pattern(rf"make(?:\[[0-9]+\])?: ({_NAME}): No such file or directory")),
)
_PILLOW = {"zlib": "zlib1g-dev", "jpeg": "libjpeg-dev", "freetype": "libfreetype-dev", "tiff": "libtiff-dev"}
_SHARED = pattern(r"(?P<name>.+?)\.so(?:\.(?P<version>[0-9]+).*)?\Z")


@dataclass(frozen=True)
class Lack:
    """What is missing: its kind, its name, and the packages that have it; none where that is not known."""

    kind: str
    name: str
    packages: tuple[str, ...]


def lacking(lines: Iterable[str]) -> Lack | None:
    """What the last line that tells of such a thing says is missing."""
    found = None
    for line in lines:
        found = next(_told(line[:1000]), found)
    return found


def program(name: str) -> Lack:
    """The same for a program that could not be started."""
    if name in _COMPILERS:
        return Lack(TOOL, f"the compiler {name}", _COMPILER)
    builds = name.endswith(("-config", "_config"))
    return Lack(TOOL if builds else PROGRAM, f"the program {name}", _one(_PROGRAMS.get(name)))


def _told(line: str) -> Iterator[Lack]:
    for kind, shape in _PATTERNS:
        match = shape.search(line)
        if match:
            yield _lack(kind, match[1] if shape.groups else "pkg-config")


def _lack(kind: str, name: str) -> Lack:
    if kind == HEADER:
        package = _HEADERS.get(name) or _HEADER_DIRECTORIES.get(name.partition("/")[0])
        return Lack(kind, f"the header {name}", _one(package))
    if kind == LIBRARY:
        return Lack(kind, f"the library {name}", _one(_PILLOW.get(name) or _library(name)))
    if name in ("Rust", "CMAKE_C"):
        return Lack(
            kind, f"a compiler for {'Rust' if name == 'Rust' else 'C'}", ("cargo",) if name == "Rust" else _COMPILER
        )
    if name in _PKG_CONFIG:
        return Lack(kind, f"the library {name} for building", ("pkg-config", _PKG_CONFIG[name]))
    return program(name)


def _library(name: str) -> str:
    """The package of a shared library: Debian names it after the file, ``libfoo.so.5`` as libfoo5, but for some."""
    shared = _SHARED.fullmatch(name)
    base = shared["name"] if shared else name
    if base in _LIBRARIES:
        return _LIBRARIES[base]
    version = (shared and shared["version"]) or ""
    debian = base.lower().replace("_", "-")
    if not debian.startswith("lib"):
        return ""
    return f"{debian}-{version}" if version and debian[-1].isdigit() else f"{debian}{version}"


def _one(package: str | None) -> tuple[str, ...]:
    return (package,) if package else ()
