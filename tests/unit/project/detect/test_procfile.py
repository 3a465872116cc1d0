"""A Procfile says what runs elsewhere; here it becomes the web process, the migration and what runs beside."""

from __future__ import annotations

import pytest

from deployer.project.detect.procfile import parse_procfile


@pytest.mark.parametrize(
    ("command", "kind", "target", "args"),
    [
        ("gunicorn shop.wsgi", "", "", ()),
        ("gunicorn shop.wsgi:application --log-file -", "wsgi", "shop.wsgi:application", ()),
        ("gunicorn -k uvicorn.workers.UvicornWorker app.main:app", "asgi", "app.main:app", ()),
        ("gunicorn 'shop:create_app()'", "wsgi", "shop:create_app()", ()),
        ("uvicorn --factory --host 0.0.0.0 --port ${PORT:-8000} app:make", "asgi", "app:make", ("--factory",)),
        ("daphne -p $PORT shop.asgi:application", "asgi", "shop.asgi:application", ()),
        ("python manage.py migrate && gunicorn shop.wsgi:application", "wsgi", "shop.wsgi:application", ()),
        ("npm start", "", "", ()),
    ],
)
def test_the_web_process(command: str, kind: str, target: str, args: tuple[str, ...]) -> None:
    """What it serves, where a server that is known does so; else its command as it is."""
    found = parse_procfile(f"# a comment\nweb: {command}\n")
    assert (found.kind, found.target, found.args) == (kind, target, args)
    assert found.web == ("" if target else command)


@pytest.mark.parametrize("web", ["python manage.py runserver", "make run", "uvicorn --reload a:b", "flask --app a run"])
def test_one_for_a_laptop_asks_for_nothing(web: str) -> None:
    """What watches and reloads there has no place on a host."""
    assert parse_procfile(f"web: {web}\nscss: make watch-scss\n").processes == {}


def test_what_runs_beside_it() -> None:
    """Names and commands that deploy.toml accepts: no shell reads them, and a scheduler runs once."""
    text = "worker-high: celery -A shop worker\nclock: A=1 python clock.py\nlog: tail $FILE | grep x\nx: a && b\n"
    found = parse_procfile(text)
    assert found.processes == {
        "worker_high": "celery -A shop worker",
        "clock": "/usr/bin/env A=1 python clock.py",
        "log": "/bin/sh -c 'exec tail $FILE | grep x'",
        "x": "/bin/sh -c 'a && b'",
    }
    assert found.once == ("clock",)
    other = parse_procfile("web: gunicorn a:b\nweb-api: ddtrace-run gunicorn c:d\n")
    assert (other.serving, other.processes) == (("web-api",), {})


def test_the_directory_that_all_of_it_runs_in() -> None:
    """``cd backend &&``, or the server's own option."""
    found = parse_procfile("release: cd backend && python manage.py migrate\nweb: cd backend && gunicorn a:b")
    assert (found.directory, found.release, found.target) == ("backend", "python manage.py migrate", "a:b")
    assert parse_procfile("web: gunicorn --chdir src a:b").directory == "src"


@pytest.mark.parametrize(
    ("release", "migrate", "build", "answered"),
    [
        ('yes "yes" | python manage.py migrate', "python manage.py migrate --noinput", (), 'yes "yes"'),
        ("cd x && yes | python manage.py migrate --noinput", "python manage.py migrate --noinput", (), "yes"),
        ("echo y | flask db upgrade", "flask db upgrade", (), "echo y"),
        ("a && printf 'y\\n' | b", "a &&b", (), "printf 'y\\n'"),
        ("python manage.py migrate && python manage.py collectstatic", "python manage.py migrate",
         ("python manage.py collectstatic",), ""),
        ("python manage.py collectstatic --noinput", "", ("python manage.py collectstatic --noinput",), ""),
        ("npm run build | tee x && flask db upgrade", "npm run build | tee x && flask db upgrade", (), ""),
        ("cat x | python manage.py loaddata -", "cat x | python manage.py loaddata -", (), ""),
    ],
)  # fmt: skip
def test_what_a_release_command_becomes(release: str, migrate: str, build: tuple[str, ...], answered: str) -> None:
    """What answers questions goes, as nobody asks here; what writes into the code runs before that is sealed."""
    found = parse_procfile(f"release: {release}")
    assert (found.release, found.build, found.answered) == (migrate, build, answered)


def test_a_scheduler_within_a_worker_runs_once() -> None:
    """Celery's beat, by itself or with a worker: two of it would queue all twice."""
    lines = (
        "a: celery -A x worker -B",
        "b: celery -A x worker --beat -l INFO",
        "c: celery -A x beat",
        "d: python -B x.py",
    )
    assert parse_procfile("\n".join(lines)).once == ("a", "b", "c")
