"""What is secret is masked in every form it is printed in; what is a word stays a word."""

from __future__ import annotations

import json
import string
from urllib.parse import quote, quote_plus, urlsplit

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from deployer.host.state.masking import MASK, clean, secret_values

PLAIN = [
    "production", "Production", "PRODUCTION", "true", "shop.settings", "shop.settings.production", "localhost", "5432",
    "0.25", "60s", "50%", "DEBUG", "en-us", "de_DE.UTF-8", "Europe/Berlin", "us-east-1", "utf8mb4", "2026-11-28",
    "10.0.0.5", "192.168.100.200", "192.168.100.200:8080", "web1.example.com", "*.example.com", "smtp.example.com:587",
    "a.example.com,b.example.com", "web1.example.com, web2.example.com", "https://shop.example.com/path/to",
    "redis://localhost:6379/0", "postgres://localhost/db?sslmode=disable", "postgres://shop@db.example.com:5432/shop",
    "admin@example.com", "noreply+shop@mail.example.com", "Shop Ltd", "/var/lib/shop/media", "~/media", "shop-web",
    "django.core.mail.backends.smtp.EmailBackend", "shop.wsgi:application", "DJANGO_SETTINGS_MODULE", "max-age=3600",
]  # fmt: skip
SECRET = [
    "hunter22", "Tr0ub4dor&3", "x7-Kp_9q.Z2", "P@ssword", "passw0rd", "S3cr3tPw", "a1b2c3d4", "ThisIsMyPassword",
    "Abcdef-9", "correcthorsebatterystaple", "1234-5678-9012", "123456789", "550e8400-e29b-41d4-a716-446655440000",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "sk_live_51Habc", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "d41d8cd98f00b204e9800998ecf8427e",
    "django-insecure-#1k$&z(o0_", "https://hooks.slack.com/services/T0AB12CD/B0123/XyZabc123DEFghi456",
    "https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/12", "https://example.com/x?token=abcdefgh",
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN)
def test_a_word_stays_a_word(value: str) -> None:
    """Hidden, it would spoil the name of a module in every traceback, and hide nothing."""
    assert secret_values({"APP_ENV": value}, ["APP_ENV"]) == ()


@pytest.mark.parametrize("name", ["DB_PASSWORD", "API_TOKEN", "SECRET_KEY"])
@pytest.mark.parametrize("value", ["production", "true", "localhost", "5432", "on", "password"])
def test_some_words_stay_words_whatever_they_are_for(name: str, value: str) -> None:
    """A password that is such a word is none; and the logs are full of it."""
    assert secret_values({name: value}, [name]) == ()


@pytest.mark.parametrize("value", SECRET)
def test_what_is_no_word_is_masked_whatever_its_variable_is_called(value: str) -> None:
    """A password of mixed characters, a token, a key, a URL that lets somebody in."""
    assert value not in clean(f"x={value};", secret_values({"X": value}, ["X"]))


@pytest.mark.parametrize(
    "name", ["DB_PASSWORD", "DATABASE_PASS", "db_pwd", "API_TOKEN", "STRIPE_KEY", "MY_SECRET", "SENTRY_DSN"]
)
@pytest.mark.parametrize("value", ["correct horse", "xkqjzvbnmw", "opensesame", "shop.settings"])
def test_a_name_that_says_so_makes_a_word_secret(name: str, value: str) -> None:
    """The user has called it a password: but for the words above it is one."""
    assert clean(value, secret_values({name: value}, [name])) == MASK


@pytest.mark.parametrize(
    "name", ["TOKEN_LIFETIME", "PASSWORD_HASHERS", "SECRET_BACKEND", "API_KEY_HEADER", "TOKEN_URL"]
)
def test_what_is_about_a_secret_is_none(name: str) -> None:
    """It is judged by its value, as all others are."""
    assert secret_values({name: "shop.hashers.Argon"}, [name]) == ()
    assert secret_values({name: "hunter22"}, [name]) == ("hunter22",)


mixed = st.text(string.ascii_letters + string.digits + "!#$%&()*+<>?@[]^{|}~", min_size=8, max_size=40).filter(
    lambda text: any(c.isdigit() for c in text) and any(c.isupper() for c in text) and any(c.islower() for c in text)
)
tokens = st.text(string.hexdigits + "!#&?", min_size=16, max_size=64).filter(lambda text: not text.isalpha())


@given(mixed | tokens)
@example("A00000|a")
@example("*Aa00000")
@example("Aa00000%")
def test_every_password_of_mixed_characters_is_masked_in_every_form(value: str) -> None:
    """As it is, in JSON, as Python shows it, in a URL."""
    values = secret_values({"X": value}, ["X"])
    for printed in (value, json.dumps(value), repr(value), quote(value, safe=""), quote_plus(value), f"a{value}b"):
        shown = clean(printed, values)
        assert value not in shown
        assert MASK in shown


@given(mixed)
def test_the_password_of_a_url_is_masked_alone_and_encoded(password: str) -> None:
    """An exception shows the parts that a driver was given; the rest of the URL is none of them."""
    url = f"postgres://shop:{quote(password, safe='')}@db.example.com:5432/shop"
    values = secret_values({"DATABASE_URL": url}, ["DATABASE_URL"])
    for printed in (url, password, quote(password, safe=""), f"password={password!r}", str(urlsplit(url))):
        shown = clean(printed, values)
        assert password not in shown and quote(password, safe="") not in shown
    assert clean("db.example.com:5432 shop", values) == "db.example.com:5432 shop"


def test_a_plain_password_of_a_url_is_masked_too() -> None:
    """Where it stands says what it is."""
    values = secret_values({"DATABASE_URL": "postgres://shop:opensesame@db/shop"}, ["DATABASE_URL"])
    assert clean("password opensesame refused for shop", values) == "password **** refused for shop"


@given(st.lists(st.text(string.ascii_letters + string.digits + "+/", min_size=64, max_size=64), min_size=1, max_size=4))
def test_a_private_key_is_masked_line_by_line(lines: list[str]) -> None:
    """Each of its lines, and all of it on one line; the lines around it are no secret."""
    assume(all(any(c.isdigit() for c in line) for line in lines))
    key = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"])
    for name, value in (("X", key), ("SERVICE_ACCOUNT", json.dumps({"private_key": key, "type": "service"}))):
        values = secret_values({name: value}, [name])
        for printed in (*lines, repr(key), json.dumps(key)):
            assert not any(line in clean(printed, values) for line in lines)
        assert clean("type service", values) == "type service"


@given(st.text(), st.text())
def test_no_value_breaks_the_reader_of_secrets(name: str, value: str) -> None:
    """Whatever a variable holds; and nothing shorter than six characters is looked for."""
    assert all(len(one.strip()) >= 6 for one in secret_values({name: value}, [name]))
