"""Which values are secret, and in which forms they may be printed. Pure.

Replacing a word such as ``production`` hides nothing and spoils every line that has it. A value is therefore replaced
only when its variable's name says that it is secret, or when it does not look like a word, a name, a path or an
address.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from deployer.wire.lazyre import pattern

SHORTEST = 6
"""The fewest characters of a text that is replaced."""

_NAMED = pattern(r"SECRET|PASSW|PASSPHRASE|(?:^|_)(?:PASS|PWD|PW|PIN|SALT|DSN|KEY)$|TOKEN|API_?KEY|PRIVATE|CREDENTIAL")
_NOT_ITSELF = pattern(
    r"_(?:FILE|PATH|DIR|URL|URI|HOST|PORT|USER|USERNAME|NAME|BACKEND|CLASS|MODULE|HASHERS|VALIDATORS|HEADER|PREFIX|TYPE"
    r"|TTL|LIFETIME|EXPIRY|EXPIRES|TIMEOUT|AGE|ALGORITHM|LENGTH|ENABLED)$"
)
"""Names about a secret that is not their value: TOKEN_LIFETIME, PASSWORD_HASHERS."""

_WORDS = frozenset(str.split("""
    production prod staging stage development develop testing test local localhost default enabled enable disabled
    disable always never required optional true false none null debug info notice warning error critical verbose
    postgres postgresql mysql mariadb sqlite sqlite3 redis memcached rabbitmq django flask wagtail utf8mb4 admin
    root deploy master main public private internal external changeme password secret unknown sandbox release
"""))  # fmt: skip
"""Never replaced, whatever the variable is called."""

_LETTERS = pattern(r"[a-z]{1,24}|[A-Z]{1,24}|[A-Z][a-z]{1,23}")
_CONSONANTS = pattern(r"[bcdfghjklmnpqrstvwxz]{6}", re.IGNORECASE)
_CAMEL = pattern(r"(?:[A-Z]+[a-z]+)+[A-Z]*")
_DIGITS = pattern(r"[0-9]{1,6}")
_MIXED = pattern(r"[A-Za-z]{1,6}[0-9]{1,6}")
"""web1, v42, py311. Longer ones, and several in one text, may be secret."""
_MOST_MIXED = 7
_DOTTED = pattern(r"[A-Za-z_][A-Za-z0-9_]*(?:[.:][A-Za-z_][A-Za-z0-9_]*)+")
_ADDRESS = pattern(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:[:/][0-9]{1,5})?|[a-z]{2,3}_[A-Z]{2}(?:\.(?:UTF|utf)-?8)?")
"""An address of a host, or the name of a locale."""
_BETWEEN = pattern(r"[._\-/:=]+")
_MAIL = pattern(r"[A-Za-z][a-z0-9._+-]*@(?=[^@]*\.)")
_AROUND = pattern(r"^(?:\*|~(?=/))|(?<=[0-9])%$")
_ITEMS = pattern(r"[\s,;]+")
_URL = pattern(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_MOST_DIGITS = 8


def parts(name: str, value: str) -> Iterator[str]:
    """What to replace of the variable ``name``: its value, the value's lines, the secret parts of a URL or of JSON,
    each in the forms in which it may be printed. Nothing of a value that is not secret."""
    named = _is_named(name)
    found = {part for text in (value, *value.splitlines()) for part in _of_text(text.strip(), named)}
    found.update(part for inner, text in _of_json(value) for part in parts(inner, text))
    for part in found:
        yield from (form for form in _forms(part) if len(form.strip()) >= SHORTEST)


def is_plain(text: str) -> bool:
    """Whether a text consists of words, names, numbers, paths or addresses: nothing that anybody would hide."""
    return all(_is_plain_item(item) for item in _ITEMS.split(text.strip()) if item)


def _is_named(name: str) -> bool:
    upper = name.upper()
    return bool(_NAMED.search(upper)) and not _NOT_ITSELF.search(upper)


def _of_text(text: str, named: bool) -> Iterator[str]:
    if len(text) < SHORTEST or text.lower() in _WORDS:
        return
    if _URL.fullmatch(text):
        yield from _of_url(text, named)
    elif named or not is_plain(text):
        yield text


def _of_url(url: str, named: bool) -> Iterator[str]:
    """A URL is secret as far as one of its parts is: its password always."""
    try:
        split = urlsplit(url)
        password, user = split.password or "", split.username or ""
    except ValueError:
        yield url
        return
    queries = [query.partition("=") for query in split.query.split("&")]
    values = {
        unquote(value) for key, _, value in queries if _is_named(key.replace("-", "_")) or not is_plain(unquote(value))
    }
    steps = {unquote(step) for step in split.path.split("/") if not is_plain(unquote(step))}
    hidden = {unquote(password), *values, *steps, *([] if is_plain(unquote(user)) else [unquote(user)])} - {""}
    if hidden or named:
        yield url
    yield from hidden


def _of_json(value: str) -> Iterator[tuple[str, str]]:
    """The strings in a value that is JSON, each with its key."""
    if value.lstrip()[:1] not in ("{", "["):
        return
    try:
        waiting: list[tuple[str, Any]] = [("", json.loads(value))]
    except (ValueError, RecursionError):
        return
    while waiting:
        key, one = waiting.pop()
        if isinstance(one, str):
            yield key, one
        elif isinstance(one, dict):
            waiting += [(str(inner), item) for inner, item in one.items()]
        elif isinstance(one, list):
            waiting += [(key, item) for item in one]


def _forms(text: str) -> set[str]:
    """As it is, percent-encoded, and as JSON and Python print it between quotes."""
    between = (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1])
    encoded = (quote(text, safe=""), quote(text), quote_plus(text)) if text.isprintable() else ()
    return {text, *between, *encoded}


def _is_plain_item(item: str) -> bool:
    if _ADDRESS.fullmatch(item) or item.lower() in _WORDS:
        return True
    item = _MAIL.sub("", item, count=1)
    if len(item) > _MOST_MIXED and all(re.search(kind, item) for kind in ("[a-z]", "[A-Z]", "[0-9]")):
        return False
    item = _AROUND.sub("", item)
    words = [word for word in _BETWEEN.split(item) if word]
    mixed = [word for word in words if _MIXED.fullmatch(word)]
    if len(mixed) > 1 or sum(len(word) for word in words if word.isdigit()) > _MOST_DIGITS:
        return False
    dotted = bool(_DOTTED.fullmatch(item)) and any(word.islower() for word in words)
    return all(_is_plain_word(word, dotted) for word in words)


def _is_plain_word(word: str, dotted: bool) -> bool:
    if _DIGITS.fullmatch(word):
        return True
    if _MIXED.fullmatch(word):
        return len(word) <= _MOST_MIXED
    letters = _LETTERS.fullmatch(word) or (dotted and _CAMEL.fullmatch(word) and len(word) <= 40)
    return bool(letters) and not _CONSONANTS.search(word)
