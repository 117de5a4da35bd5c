"""`clerkmap doctor` names the right cause, says what to do, and shows no secret: one broken set-up after the other."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from clerkmap.cli.checks import Case
from clerkmap.cli.doctor import Finding, examined
from clerkmap.cli.failures import FINE, NOT_FINE
from clerkmap.repositories import SqliteRepository
from clerkmap.testing import FakeClerk
from cli_setups import CANARY, OTHER, SETUPS, Setup, prepare
from cli_world import PATIENCE, World, populate, serving_without_date, world
from postgres_server import postgres, url_of_a_new_schema
from schema_descriptions import lesser_role

QUICKLY = ("doctor", "--patience", "0")
# The tests share one right world, and with it the requests that Clerk allows in ten seconds: they may have to wait.
PATIENTLY = ("doctor", "--patience", "30")


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world in which nothing is wrong. What a test changes, it changes in a copy."""
    clerk = FakeClerk(7)
    populate(clerk)
    with world(clerk, tmp_path_factory.mktemp("right")) as made:
        made.run("migrate", "--create")
        made.run("sync")
        yield made


def findings(output: str) -> dict[str, dict[str, Any]]:
    """What the doctor found, by the name of the check."""
    return {each["check"]: each for each in json.loads(output)["checks"]}


def test_where_nothing_is_wrong_it_says_so(right: World) -> None:
    """Every check is ticked, but for what is not set and need not be."""
    done = right.run(*PATIENTLY, "--json")
    assert done.exit_code == FINE, done.output
    assert {name for name, each in findings(done.stdout).items() if each["fine"] is None} == {"front ends", "clock"}
    told = right.run(*PATIENTLY)
    assert told.stdout.count("✓") == 13
    assert told.stdout.count("skipped: ") == 2
    assert "Nothing is wrong." in told.stderr


def _broken(right: World, setup: Setup, folder: Path, stack: ExitStack) -> World:
    """A copy of the right world, with what the set-up changes."""
    source = right.environment["CLERKMAP_DATABASE_URL"].removeprefix("sqlite:///")
    shutil.copy(source, folder / "app.db")
    prepare(folder)
    clerk = FakeClerk(7)
    clerk.clock.advance(-setup.ago)
    populate(clerk)
    if setup.clerk is not None:
        setup.clerk(clerk)
    app = setup.answer or (OTHER.app if setup.changes.get("CLERK_SECRET_KEY") == OTHER.secret_key else clerk.app)
    host, port = stack.enter_context(serving_without_date(app))
    broken = World(clerk, f"http://{host}:{port}", f"sqlite:///{folder / 'app.db'}")
    broken.environment |= {name: value.replace("DB", str(folder)) for name, value in setup.changes.items()}
    if setup.sql:
        with closing(sqlite3.connect(folder / "app.db")) as connection:
            connection.executescript(setup.sql)
    return broken


@pytest.mark.parametrize("setup", SETUPS, ids=[setup.name for setup in SETUPS])
def test_it_names_the_cause(right: World, tmp_path: Path, setup: Setup) -> None:
    """The first thing that is wrong is the cause, with what to do; and nothing secret is in any of it."""
    with ExitStack() as stack:
        broken = _broken(right, setup, tmp_path, stack)
        done = broken.run(*QUICKLY, "--json")
    assert done.exit_code == NOT_FINE, done.output
    wrong = [each for each in findings(done.stdout).values() if each["fine"] is False]
    named = wrong[0] if setup.check != "clock" else next(each for each in wrong if each["check"] == "clock")
    assert named["check"] == setup.check, wrong
    assert setup.said in f"{named['told']} {named['remedy']}"
    assert named["remedy"]
    assert not [secret for secret in (CANARY, broken.clerk.secret_key, OTHER.secret_key) if secret in done.output]
    assert not list(tmp_path.glob("new.db*")), "it was to change nothing"


def _without_network(clerk: FakeClerk, transport: httpx.BaseTransport, **changes: str) -> dict[str, Finding]:
    """What is found where the made-up Clerk serves its front-end API as well."""
    environ = {**clerk.environment(), **changes}
    return {finding.check: finding for finding in examined(Case(environ, None, transport=transport, patience=0))}


def test_keys_that_are_published_decide_which_of_two_is_wrong() -> None:
    """Where they can be fetched, the doctor knows whether it is the JWT key or the secret key."""
    clerk = FakeClerk(7)
    fetched = _without_network(clerk, clerk.transport(), CLERK_JWT_KEY="")
    assert fetched["keys"].told.startswith("fetched from https://")
    assert fetched["same instance"].fine
    old = _without_network(clerk, clerk.transport(), CLERK_JWT_KEY=OTHER.key.pem())
    assert "CLERK_JWT_KEY has been rotated" in old["same instance"].told

    class Both(httpx.BaseTransport):
        """The API of one instance, and the front-end API of the other."""

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            there = OTHER if request.url.host == "api.clerk.com" else clerk
            with httpx.Client(transport=there.transport()) as client:
                return client.send(request)

    for key, said in (
        ("", "or the keys are being rotated"),
        (clerk.key.pem(), "the secret key and the publishable key are from different instances"),
    ):
        found = _without_network(clerk, Both(), CLERK_SECRET_KEY=OTHER.secret_key, CLERK_JWT_KEY=key)
        assert said in found["same instance"].told


def test_a_clock_of_this_machine_proves_nothing(right: World) -> None:
    """Where the API runs on this machine, its time is this machine's: the check is skipped, and not ticked."""
    found = findings(right.run(*PATIENTLY, "--json").stdout)["clock"]
    assert (found["fine"], found["told"]) == (None, "skipped: the API runs on this machine, with the same clock")


@contextmanager
def as_another_user(folder: Path) -> Iterator[None]:
    """In a folder that this process can read and cannot write: root may write anywhere, and becomes somebody else."""
    folder.chmod(0o555)
    for path in folder.iterdir():
        path.chmod(0o444)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_file_that_is_read_only_is_not_ticked(right: World, journal: str) -> None:
    """It is there, and so are the tables; and no webhook can be written into it."""
    source = right.environment["CLERKMAP_DATABASE_URL"].removeprefix("sqlite:///")
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(source, folder / "app.db")
        with closing(sqlite3.connect(folder / "app.db")) as connection:
            connection.execute(f"PRAGMA journal_mode = {journal}")
        url = f"sqlite:///{folder / 'app.db'}"
        assert right.run(*PATIENTLY, CLERKMAP_DATABASE_URL=url).exit_code == FINE
        with as_another_user(folder):
            done = right.run(*PATIENTLY, "--json", CLERKMAP_DATABASE_URL=url)
    wrong = [each for each in findings(done.stdout).values() if each["fine"] is False]
    assert wrong, done.output
    assert "may not write to it or its folder" in wrong[0]["told"]
    assert wrong[0]["remedy"]


def test_postgresql_that_is_read_only_is_not_ticked(right: World, postgres_schema: str) -> None:
    """A server that takes no writes, and a user without the rights to write."""
    url = url_of_a_new_schema(postgres_schema)
    assert right.run("migrate", CLERKMAP_DATABASE_URL=url).exit_code == FINE
    assert right.run("sync", CLERKMAP_DATABASE_URL=url).exit_code == FINE
    done = right.run(*PATIENTLY, "--json", CLERKMAP_DATABASE_URL=url)
    assert done.exit_code == FINE, done.output
    option = "%20-cdefault_transaction_read_only%3Don"
    standby = right.run(*PATIENTLY, "--json", CLERKMAP_DATABASE_URL=url + option)
    assert findings(standby.stdout)["tables"]["fine"] is False
    assert "is read-only" in findings(standby.stdout)["tables"]["told"]
    assert findings(standby.stdout)["tables"]["remedy"].startswith("Connect to a server that accepts writes")
    role = f"reader_{postgres_schema}"
    with psycopg.connect(postgres(), autocommit=True) as owner:
        for statement in (
            f"CREATE ROLE {role} LOGIN",
            f"GRANT USAGE ON SCHEMA {postgres_schema} TO {role}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {postgres_schema} TO {role}",
        ):
            owner.execute(statement.encode())
        try:
            reader = right.run(*PATIENTLY, "--json", CLERKMAP_DATABASE_URL=f"{url}&user={role}")
        finally:
            owner.execute(f"DROP OWNED BY {role}".encode())
            owner.execute(f"DROP ROLE {role}".encode())
    found = findings(reader.stdout)["tables"]
    assert f"the role {role} may not write to clerkmap_users" in found["told"], reader.output
    assert found["remedy"].startswith("GRANT SELECT, INSERT, UPDATE and DELETE on the tables")


def test_tables_outside_the_search_path_are_named(right: World, postgres_schema: str) -> None:
    """The finding names the schema that was searched, and a schema that has the tables."""
    empty = f"{postgres_schema}_empty"
    with psycopg.connect(postgres(), autocommit=True) as owner:
        owner.execute(f"CREATE SCHEMA {empty}".encode())
    url = url_of_a_new_schema(postgres_schema)
    other = url.replace(postgres_schema, empty)
    assert right.run("migrate", CLERKMAP_DATABASE_URL=url).exit_code == FINE
    found = findings(right.run(*PATIENTLY, "--json", CLERKMAP_DATABASE_URL=other).stdout)["tables"]
    assert f"there are no tables in the schema {empty} of the PostgreSQL database" in found["told"]
    assert "but the schema" in found["told"]
    assert found["remedy"].startswith("add options=-csearch_path%3D")
    with lesser_role() as role:
        found = findings(right.run(*PATIENTLY, "--json", CLERKMAP_DATABASE_URL=f"{url}&user={role}").stdout)["database"]
        assert f"the role {role} may not use the tables" in found["told"]
        assert found["remedy"].startswith("GRANT USAGE on the schema")
    missing = url.replace(postgres_schema, f"{postgres_schema}_missing")
    found = findings(right.run(*PATIENTLY, "--json", CLERKMAP_DATABASE_URL=missing).stdout)["tables"]
    assert "there are no tables in the search_path of" in found["told"]


def test_what_is_erased_here_is_no_drift(right: World, tmp_path: Path) -> None:
    """Clerk still has them, and the counts differ by them for good."""
    with ExitStack() as stack:
        same = _broken(right, Setup("", "", ""), tmp_path, stack)
        with closing(SqliteRepository.open(tmp_path / "app.db")) as repository:
            (user,) = repository.users("person-1@example.com").items
            repository.erase(user.id)
        done = same.run(*QUICKLY, "--json")
    assert done.exit_code == FINE, done.output


def test_a_driver_that_is_missing_is_named_with_what_to_install() -> None:
    """By the doctor as a finding, by the others as their one line."""
    for command, code in ((["doctor", "--patience", "0"], 1), (["diff"], 3), (["schema", "postgresql"], 3)):
        program = "import sys; sys.modules['psycopg'] = None; from clerkmap.cli import main; main()"
        clerk = FakeClerk(7)
        environ = {**clerk.environment(), "CLERK_API_URL": "http://127.0.0.1:1", "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program, *command],
            env={**environ, "CLERKMAP_DATABASE_URL": "postgresql://localhost/x"},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert "pip install 'clerkmap[postgres]'" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
