"""A project of `django-admin startproject`, with the very lines of docs/django.md: from nothing to being served."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from psycopg.conninfo import conninfo_to_dict

import clerkmap
from clerkmap.testing import FakeClerk, FakeUser
from postgres_server import postgres, schemas

PAGE = Path(__file__).parents[2] / "docs" / "django.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACE = re.compile(r"# ([\w/]+\.py)(, at its end)?\n")
NOT_RUN = ("pip", "export", "runserver")  # it is installed, the environment is made here, and servers come later

clerk = FakeClerk(seed=9)
acme = clerk.create_organization()


def environment() -> dict[str, str]:
    """What Clerk's dashboard tells, with the key in hand: nothing is fetched."""
    return {**os.environ, **clerk.environment(), "PYTHONPATH": str(Path(clerkmap.__file__).parent.parent)}


def run(place: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=place, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def commands(fence: str) -> Iterator[list[str]]:
    """The lines of a fence that are run, by this very Python."""
    for line in fence.splitlines():
        words = shlex.split(line)
        if not set(words) & set(NOT_RUN):
            words[:1] = {"python": [sys.executable], "django-admin": [sys.executable, "-m", "django"]}.get(
                words[0], words[:1]
            )
            yield words


def build(place: Path, *, until: str = "", settings: str = "") -> Path:
    """Do what the page says, from its top, in the order that it says it in, as far as a heading."""
    text = PAGE.read_text(encoding="utf-8")
    for language, code in FENCE.findall(text[: text.index(until)] if until else text):
        if language == "python":
            found = PLACE.match(code)
            assert found is not None, f"a piece of the page does not say where it goes: {code}"
            path = place / found[1]
            path.parent.mkdir(exist_ok=True)
            assert path.exists() == bool(found[2])
            with path.open("a", encoding="utf-8") as file:
                file.write(code)
        for words in commands(code) if language == "sh" else ():
            if words[0] == "cd":
                place /= words[1]
                with (place / "shop" / "settings.py").open("a", encoding="utf-8") as file:
                    file.write(settings)
            else:
                run(place, *words)
    return place


@contextmanager
def served(place: Path, *command: str) -> Iterator[httpx.Client]:
    """The project, served by a server of its own process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    words = [sys.executable, *(word.format(port=port) for word in command)]
    with (place / "server.log").open("w") as log:
        process = subprocess.Popen(words, cwd=place, env=environment(), stdout=log, stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                wait_for(client, process, place / "server.log")
                yield client
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_for(client: httpx.Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    ends = time.monotonic() + 60
    while time.monotonic() < ends and process.poll() is None:
        try:
            client.get("/me")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"the server did not come up: {log.read_text()}")


def ask(client: httpx.Client, path: str, token: str) -> httpx.Response:
    return client.get(path, headers={"Authorization": f"Bearer {token}"})


def check_pages(client: httpx.Client) -> None:
    """What the page says of its first project."""
    ada = clerk.create_user()
    refused = client.get("/me")
    assert (refused.status_code, refused.json()["code"]) == (401, "token_missing")
    assert refused.headers["www-authenticate"] == "Bearer"
    first, second = (ask(client, "/me", clerk.token(ada)) for _ in range(2))
    assert first.status_code == 200
    assert first.json() == second.json()
    assert ask(client, "/me", "undefined").json()["code"] == "token_malformed"
    assert ask(client, "/report", clerk.token(ada)).status_code == 401
    assert ask(client, "/report", clerk.token(clerk.create_user(), acme, role="org:member")).status_code == 403
    assert ask(client, "/report", clerk.token(clerk.create_user(), acme, role="org:admin")).status_code == 200
    ban(client, ada)
    assert ask(client, "/me", clerk.token(ada)).json()["code"] == "user_banned"


def ban(client: httpx.Client, user: FakeUser) -> None:
    """Clerk tells that a person is banned."""
    list(clerk.deliveries())  # what was before gets lost
    clerk.ban(user)
    (told,) = clerk.deliveries()
    answered = client.post("/webhooks/clerk", content=told.body, headers=told.headers)
    assert (answered.status_code, answered.json()["outcome"]) == (200, "applied")


SERVERS = {
    "runserver": ("manage.py", "runserver", "--noreload", "127.0.0.1:{port}"),
    "gunicorn": ("-m", "gunicorn", "--threads", "4", "-b", "127.0.0.1:{port}", "shop.wsgi"),
    "uvicorn": ("-m", "uvicorn", "--lifespan", "off", "--port", "{port}", "shop.asgi:application"),
}


@pytest.fixture(scope="module")
def first_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As far as the first protected page."""
    return build(tmp_path_factory.mktemp("first"), until="## request.clerk")


@pytest.mark.parametrize("server", SERVERS)
def test_from_nothing_to_a_protected_page(first_project: Path, server: str) -> None:
    """The first lines of the page are enough, under every kind of server."""
    with served(first_project, *SERVERS[server]) as client:
        check_pages(client)


@pytest.mark.slow
def test_the_whole_page(tmp_path: Path) -> None:
    """Everything together, its own tests included; what is asked for besides the first page is there, too."""
    place = build(tmp_path)
    run(place, sys.executable, "manage.py", "check")
    run(place, sys.executable, "manage.py", "migrate")
    with served(place, *SERVERS["gunicorn"]) as client:
        check_pages(client)
        admin = clerk.token(clerk.create_user(), acme, role="org:admin", permissions=["org:invoices:read"])
        assert ask(client, "/invoices", admin).json() == {"invoices": []}
        assert ask(client, "/api/report", admin).status_code == 200
        missing = client.get("/api/report")
        assert (missing.status_code, missing.content) == (401, client.get("/me").content)
    run(place, sys.executable, "manage.py", "migrate", "clerkmap", "zero")


def test_on_postgres(tmp_path: Path) -> None:
    """The same lines, with another database in the settings."""
    said = conninfo_to_dict(postgres())
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    database = {name: str(said.get(key) or "") for name, key in names.items()}
    with schemas() as new:
        schema = new()
        more = {"ENGINE": "django.db.backends.postgresql", "OPTIONS": {"options": f"-csearch_path={schema}"}}
        settings = f"""
import psycopg
with psycopg.connect({postgres()!r}, autocommit=True) as connection:
    connection.execute("CREATE SCHEMA IF NOT EXISTS {schema}")
DATABASES["default"] = {database | more!r}
"""
        place = build(tmp_path, until="## request.clerk", settings=settings)
        with served(place, *SERVERS["gunicorn"]) as client:
            check_pages(client)
