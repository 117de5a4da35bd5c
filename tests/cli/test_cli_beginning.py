"""`init`, `token` and `completion`: what a newcomer runs first. What is printed is run, not looked at."""

import ast
import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from clerkmap.cli.commands import COMMANDS
from clerkmap.cli.failures import CONFIGURATION, FINE, NOT_FINE, UNAVAILABLE, USAGE
from clerkmap.testing import Message
from cli_world import PATIENCE, World, fresh
from local_process import Local
from postgres_server import url_of_a_new_schema

__all__ = ["fresh"]


def asked(app: Any, *, is_async: bool, token: str | None = None, delivery: Message | None = None, **more: Any) -> int:
    """What an application answers: to somebody who asks who they are, or to a delivery."""
    headers = dict(more.pop("headers", {}))
    if token:
        headers["Authorization"] = f"Bearer {token}"
    path, method = ("/webhooks/clerk", "POST") if delivery else ("/me", "GET")
    body = delivery.body if delivery else None

    async def once() -> int:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            return (await client.request(method, path, headers=headers, content=body)).status_code

    if is_async:
        return asyncio.run(once())
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://app") as client:
        return client.request(method, path, headers=headers, content=body).status_code


@pytest.mark.parametrize("framework", ["fastapi", "starlette", "flask", "asgi", "wsgi"])
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_lines_are_an_application(
    fresh: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_schema: str, framework: str, database: str
) -> None:
    """It refuses strangers, knows who brings a token, and takes in webhooks; and the commands take its repository."""
    monkeypatch.chdir(tmp_path)
    url = str(tmp_path / 'the "app".db') if database == "sqlite" else url_of_a_new_schema(postgres_schema)
    fresh.environment["CLERKMAP_DATABASE_URL"] = url
    done = fresh.run("init", "--framework", framework)
    assert done.exit_code == FINE, done.output
    assert "were created" in done.stderr
    if database == "postgresql":
        assert url not in done.output
    for name, value in fresh.environment.items():
        monkeypatch.setenv(name, value)
        assert value == url or value not in done.output
    (tmp_path / "application.py").write_text(done.stdout)
    module = ModuleType("application")
    monkeypatch.setitem(sys.modules, "application", module)
    exec(compile(done.stdout, "application.py", "exec"), module.__dict__)
    is_async = framework not in ("flask", "wsgi")
    ada = next(iter(fresh.clerk.users.values()))
    try:
        assert asked(module.app, is_async=is_async) == 401
        assert asked(module.app, is_async=is_async, token=fresh.clerk.token(ada)) == 200
        (delivery,) = [each for each in fresh.clerk.wire.messages.values() if each.type == "organization.created"]
        assert asked(module.app, is_async=is_async, delivery=delivery) == 400
        signed = fresh.clerk.wire.sign(delivery)
        assert asked(module.app, is_async=is_async, delivery=delivery, headers=signed) == 200
    finally:
        module.repository.close()
    fresh.folder = tmp_path
    shown = fresh.process("show", ada.id, "--repository", "application:repository")
    assert shown.returncode == FINE, shown.stderr
    assert "of Acme" not in shown.stdout


def test_the_lines_for_django_are_a_site(fresh: World, tmp_path: Path) -> None:
    """At the end of the files that they name."""
    run = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 60, "check": True}
    subprocess.run([sys.executable, "-m", "django", "startproject", "shop", "."], **run)  # type: ignore[call-overload]
    done = fresh.process("init", "--framework", "django")
    assert done.returncode == FINE, done.stderr
    assert "manage.py migrate" in done.stderr
    settings, urls = re.split(r"^# at the end of urls.py\n", done.stdout, flags=re.MULTILINE)
    for name, lines in (("settings.py", settings), ("urls.py", urls)):
        with (tmp_path / "shop" / name).open("a") as file:
            file.write(lines)
    token = fresh.clerk.token(next(iter(fresh.clerk.users.values())))
    script = (
        "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'; django.setup()\n"
        "from django.core.management import call_command; call_command('migrate', verbosity=0)\n"
        "from django.test import Client\n"
        "anybody = Client(SERVER_NAME='localhost')\n"
        "assert anybody.get('/me').status_code == 401\n"
        f"assert anybody.get('/me', headers={{'Authorization': 'Bearer {token}'}}).status_code == 200\n"
        "assert anybody.post('/webhooks/clerk').status_code == 400\n"
    )
    environment = {**fresh.whole(), "PYTHONWARNINGS": "default"}
    served = subprocess.run([sys.executable, "-c", script], env=environment, **{**run, "check": False})  # type: ignore[call-overload]
    assert served.returncode == 0, served.stderr


def test_init_overwrites_nothing(fresh: World, tmp_path: Path) -> None:
    """It can be run again; the ids that are there go on, and others than those are refused. It makes app.db unless it
    is told otherwise."""
    fresh.folder = tmp_path
    fresh.environment["CLERKMAP_DATABASE_URL"] = ""
    made = fresh.process("init", "--framework", "wsgi", "--ids", "integer")
    assert made.returncode == FINE, made.stderr
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith("app.db-")} == {"app.db"}
    again = fresh.process("init", "--framework", "wsgi")
    assert again.returncode == FINE, again.stderr
    assert "exist already" in again.stderr
    assert again.stdout == made.stdout
    assert 'SqliteRepository.open("app.db", ids=int, first_id=1)' in again.stdout
    assert fresh.process("init", "--framework", "wsgi", "--ids", "uuid7").returncode == CONFIGURATION
    assert fresh.process("init").returncode == USAGE
    told = fresh.process("init", "--framework", "wsgi", CLERK_SECRET_KEY="").stderr
    assert re.search("CLERK_PUBLISHABLE_KEY +is set", told)
    assert re.search("CLERK_SECRET_KEY +from the same page", told)


@pytest.mark.parametrize("name", ['a "b" \\c.db', "a\nb.db", "a\x1b[31m.db", "{x}.db", "ü.db", "\udcff.db"])
def test_the_lines_name_the_very_file(fresh: World, tmp_path: Path, name: str) -> None:
    """Whatever it is called, what is run later opens the one whose tables were created."""
    done = fresh.run("init", "--framework", "wsgi", "--database", str(tmp_path / name))
    assert done.exit_code == FINE, done.output
    (named,) = [each.value for each in ast.walk(ast.parse(done.stdout)) if isinstance(each, ast.Constant)
                and isinstance(each.value, str) and each.value.endswith(".db")]  # fmt: skip
    assert named == str(tmp_path / name)
    assert (tmp_path / name).exists()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    """Clerk on localhost, with two people and an organization of the first."""
    with Local(tmp_path, "--db", ":memory:") as made:
        made.do("sign_up", email="ada@example.com")
        made.do("sign_up", email="bob@example.com")
        yield made


def test_a_token_is_good_for_curl(fresh: World, local: Local) -> None:
    """It is all that is printed, and the demo app takes it; with an organization, it names that."""
    port = local.address.rpartition(":")[2]
    ada, bob = (each["id"] for each in local.state()["clerk"]["users"])
    local.do("create_organization", name="Acme", created_by=ada)
    done = fresh.run("token", "ADA@example.com", "--port", port)
    assert (done.exit_code, done.stderr) == (FINE, "")
    token = done.stdout.strip()
    seen = fresh.run("verify", "-", say=token, **local.environment, CLERKMAP_DATABASE_URL="")
    assert seen.exit_code == FINE, seen.output
    there = fresh.run("token", ada, "--organization", "acme", "--port", port, "--json")
    assert there.exit_code == FINE
    assert '"session": "sess_' in there.stdout
    for arguments, said in (
        (["nobody@example.com"], "no user matches"),
        ([ada, "--organization", "nowhere"], "no organization matches"),
        ([bob, "--organization", "acme"], "Only a member"),
    ):
        refused = fresh.run("token", *arguments, "--port", port)
        assert (refused.exit_code, refused.stdout) == (NOT_FINE, "")
        assert said in refused.stderr
    local.do("ban", user=bob)
    assert "banned" in fresh.run("token", bob, "--port", port).stderr


def test_a_token_of_nobody_is_none(fresh: World) -> None:
    """Where nothing listens, and where something else does, it is one line that says what to do."""
    nothing = fresh.run("token", "ada@example.com", "--port", "1")
    assert (nothing.exit_code, nothing.stdout) == (UNAVAILABLE, "")
    other = fresh.run("token", "ada@example.com", "--port", fresh.environment["CLERK_API_URL"].rpartition(":")[2])
    assert (other.exit_code, other.stdout) in ((UNAVAILABLE, ""), (NOT_FINE, ""))
    assert "`clerkmap dev`" in nothing.stderr


BASH = shutil.which("bash")


def completed(at: World, folder: Path, *words: str) -> list[str]:
    """What bash makes of these words, and Tab after them."""
    (folder / "clerkmap").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m clerkmap "$@"\n')
    (folder / "clerkmap").chmod(0o755)
    script = (
        'eval "$(clerkmap completion bash)"\n'
        f"COMP_WORDS=({' '.join(map(repr, ('clerkmap', *words)))}); COMP_CWORD={len(words)}\n"
        "_clerkmap_completion clerkmap\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    environment = at.whole()
    environment["PATH"] = f"{folder}:{environment['PATH']}"
    done = subprocess.run(
        [str(BASH), "-c", script], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.split()


@pytest.mark.skipif(BASH is None, reason="there is no bash here")
def test_bash_finishes_what_is_typed(fresh: World, tmp_path: Path) -> None:
    """Names of commands, of commands within commands, options, and what options take."""
    assert completed(fresh, tmp_path, "") == list(COMMANDS)
    assert completed(fresh, tmp_path, "se") == ["set-role"]
    assert completed(fresh, tmp_path, "webhooks", "s") == ["send"]
    assert completed(fresh, tmp_path, "webhooks", "send", "user.") == ["user.created", "user.updated", "user.deleted"]
    assert "--dry-run" in completed(fresh, tmp_path, "erase", "--")
    assert completed(fresh, tmp_path, "init", "--framework", "f") == ["fastapi", "flask"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_of_theirs(fresh: World, shell: str) -> None:
    """Which asks the same questions."""
    done = fresh.run("completion", shell)
    assert done.exit_code == FINE
    assert f"_CLERKMAP_COMPLETE={shell}_complete" in done.stdout
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n", "/dev/stdin"], input=done.stdout, text=True, timeout=PATIENCE, check=True)
    assert fresh.run("completion", "tcsh").exit_code == USAGE


def test_help_loads_next_to_nothing() -> None:
    """What takes time is loaded by the command that needs it: help needs click alone."""
    code = "import sys; from clerkmap.cli import main; sys.argv = ['clerkmap', '--help']\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    loaded = set(done.stderr.split())
    slow = {"asyncio", "cryptography", "django", "httpx", "jwt", "psycopg", "rich", "sqlite3", "ssl", "svix", "uvicorn"}
    assert "clerkmap.cli" in loaded
    assert loaded & slow == set()
    assert len(loaded) < 250
