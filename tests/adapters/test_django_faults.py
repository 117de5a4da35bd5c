"""Django under trouble: a fault in front of a view never reaches it, no loop is held up, a race makes one row."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection, connections
from django.test import AsyncClient, Client, override_settings

import django_site
from clerkmap import Reconciler, Resolver
from clerkmap.repositories.django import DjangoRepository
from clerkmap.testing import FakeClerk
from delivery_base import BODY, INSTANCE, NOW, signed

clerk = FakeClerk(seed=6)
acme = clerk.create_organization()
TABLES = ("clerkmap_memberships", "clerkmap_organizations", "clerkmap_identities", "clerkmap_users", "auth_user")

ALL_OR_NOTHING = ([0, 0, 0, 0, 0], [1, 1, 1, 1, 0])  # the last look comes after the commit


def empty() -> None:
    """Nobody was ever here."""
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"DELETE FROM {table}")


@pytest.fixture(autouse=True)
def empty_tables() -> Iterator[None]:
    yield
    empty()
    connections.close_all()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def rows() -> list[int]:
    """How many there are in each table."""
    with connection.cursor() as cursor:
        return [cursor.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES]


class FailsAt:
    """Lets some statements pass, and makes the next one fail: before it takes effect, or after."""

    def __init__(self, number: int, error: type[Exception], *, after: bool) -> None:
        self.left = number
        self.failed = False
        self._error = error
        self._after = after

    def __call__(self, execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if self._after and sql == "BEGIN":  # Django itself would not know what it has begun
            return execute(sql, *args)
        self.left -= 1
        if self.left >= 0 or self.failed:
            return execute(sql, *args)
        self.failed = True
        if self._after:
            execute(sql, *args)
        raise self._error


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("way", "error", "status"),
    [
        ("/webhook", OperationalError, 503),
        *((way, OperationalError, 503) for way in ("/view/admin", "/rest/admin", "/class/admin")),
        *((way, ZeroDivisionError, 500) for way in ("/view/admin", "/rest/admin", "/class/admin")),
    ],
)
def test_a_fault_at_any_statement(way: str, error: type[Exception], status: int, after: bool) -> None:
    """Of the first request of a person, and of a delivery. The view is not reached, nothing is half-applied, and the
    next request finds all in order."""
    number = 0
    while True:
        repository = DjangoRepository()
        reconciler = Reconciler(INSTANCE, repository, clock=lambda: float(NOW))
        fault = FailsAt(number, error, after=after)
        token = clerk.token(clerk.create_user(), acme, role="org:admin")
        django_site.reached.clear()
        with override_settings(CLERKMAP={"RESOLVER": Resolver(clerk.instance, repository), "RECONCILER": reconciler}):
            client = Client(raise_request_exception=False)

            def ask(client: Client = client, token: str = token) -> Any:
                if way == "/webhook":
                    return client.post(way, BODY, "application/json", headers=signed())
                return client.get(way, headers=bearer(token))

            with connection.execute_wrapper(fault):
                answered = ask()
            if not fault.failed:
                assert answered.status_code == 200
                break
            assert answered.status_code == status
            assert django_site.reached == []
            assert rows() in ALL_OR_NOTHING
            assert ask().status_code == 200
        number += 1
        empty()
    assert number >= 4


class Stalled(DjangoRepository):
    """A database that does not answer until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let_go = threading.Event(), threading.Event()

    def find(self, *args: Any) -> Any:
        self.asked.set()
        assert self.let_go.wait(timeout=20), "the event loop was held up"
        return super().find(*args)


@pytest.mark.parametrize("path", ["/aview/signed-in", "/view/signed-in", "/aview/fresh"])
def test_a_stalled_database_holds_up_no_loop(path: str) -> None:
    """While one request waits for it, the event loop goes on: it is the loop that lets the database go."""
    repository = Stalled()

    async def main() -> int:
        token = clerk.token(clerk.create_user(), acme, role="org:admin")
        request = asyncio.create_task(AsyncClient().get(path, headers=bearer(token)))
        await asyncio.to_thread(repository.asked.wait, 20)
        repository.let_go.set()
        status: int = (await request).status_code
        await sync_to_async(connections.close_all)()
        return status

    with override_settings(CLERKMAP={"RESOLVER": Resolver(clerk.instance, repository)}):
        assert asyncio.run(main()) == 200


def test_many_first_requests_make_one_of_each() -> None:
    """One user of clerkmap's and one of your model's, however many come at once."""
    settings = {"RESOLVER": Resolver(clerk.instance, DjangoRepository()), "USER_FIELD": "username"}
    token = clerk.token(clerk.create_user(), acme)
    start = threading.Barrier(8)

    def ask(_: int) -> Any:
        start.wait(timeout=20)
        try:
            return Client().get("/user", headers=bearer(token)).json()["name"]
        finally:
            connections.close_all()

    with override_settings(CLERKMAP=settings), ThreadPoolExecutor(8) as pool:
        names = set(pool.map(ask, range(8)))
    assert len(names) == 1
    assert rows() == [1, 1, 1, 1, 1]


@pytest.mark.parametrize("module", ["clerkmap.adapters.django", "clerkmap.repositories.django"])
def test_without_django_it_says_what_to_install(module: str) -> None:
    """An import that cannot work tells how it would."""
    code = f"import sys; sys.modules['django'] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'clerkmap[django]'" in done.stderr
