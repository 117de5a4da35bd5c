"""On PostgreSQL, first sign-ins that overlap: no linker and no link gives one of your users to two people."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import psycopg
import pytest

from clerkmap import Change, LinkRefused
from clerkmap.core.records import ClerkUser
from clerkmap.errors import UserTaken
from clerkmap.repositories import AsyncPostgresRepository, FirstUserTakes, PostgresRepository
from clerkmap.testing.samples import ANN, BEA, HERE, THERE, by_key, found, person
from postgres_racers import together
from postgres_server import postgres, url_of_a_new_schema

NAMES = (ANN, BEA)
ISOLATIONS = ["read committed", "repeatable read", "serializable"]
Put = Callable[[str], None]


def in_sync(uri: str, **options: Any) -> Put:
    """How one person is put, by a repository of its own."""

    def put(name: str) -> None:
        with closing(PostgresRepository.open(uri, timeout=60, **options)) as repository:
            repository.put([person(name)])

    return put


def in_async(uri: str, **options: Any) -> Put:
    """The same in an event loop of its own."""

    async def run(name: str) -> None:
        repository = AsyncPostgresRepository.open(uri, timeout=60, **options)
        await repository.put([person(name)])
        await repository.close()

    return lambda name: asyncio.run(run(name))


@pytest.fixture
def uri(postgres_schema: str) -> str:
    """A database in which everything has a schema of its own."""
    return url_of_a_new_schema(postgres_schema)


def ids_after(uri: str) -> list[Any]:
    with closing(PostgresRepository.open(uri, ids=by_key)) as repository:
        return [found(repository, name).id for name in NAMES]


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("colour", [in_sync, in_async])
@pytest.mark.parametrize("has_row", [False, True])
def test_a_linker_that_names_one_user_for_two(
    uri: str, colour: Callable[..., Put], isolation: str, has_row: bool
) -> None:
    """Both linkers have answered before either transaction is committed: one person has the user, the other is new."""
    both_asked, asked = threading.Barrier(2), list[str]()

    def linker(record: ClerkUser) -> str:
        asked.append(str(record.clerk_id))
        if len(asked) <= 2:
            both_asked.wait(60)
        return "mine"

    isolated = f"{uri}%20-cdefault_transaction_isolation%3D{isolation.replace(' ', '%5C%20')}"
    with closing(PostgresRepository.open(uri, ids=by_key)) as repository:
        if has_row:
            repository.link(HERE, "user_before", "mine")
            repository.unlink(HERE, "user_before", "mine")
    put = colour(isolated, ids=by_key, linker=linker)
    together(*(partial(put, name) for name in NAMES))
    assert set(ids_after(uri)) in ({"mine", by_key(person(BEA))}, {"mine", by_key(person(ANN))})


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("colour", [in_sync, in_async])
def test_the_second_waits_for_the_first(uri: str, colour: Callable[..., Put], isolation: str) -> None:
    """The first has made the claim and not committed when the second asks for it, and is a new user in the end."""
    calls: list[object] = []

    def hook(change: Change, tx: object) -> None:
        calls.append(change.after)
        if len(calls) > 1:
            return
        with psycopg.connect(postgres(), autocommit=True) as watching:
            pause = threading.Event()
            for _ in range(6000):  # until the other one waits
                waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = %s"
                if watching.execute(waiting, [name]).fetchall():
                    return
                pause.wait(0.01)
        raise AssertionError("nobody waits")

    name = uri.rpartition("%3D")[2]  # of the schema, which no other test has
    PostgresRepository.open(uri, ids=by_key).close()
    isolated = f"{uri}%20-cdefault_transaction_isolation%3D{isolation.replace(' ', '%5C%20')}&application_name={name}"
    options: dict[str, Any] = {"ids": by_key, "linker": FirstUserTakes("mine")}
    put = colour(isolated, **options, **({} if colour is in_async else {"hooks": [hook]}))
    if colour is in_async:

        async def ahook(change: Change, tx: object) -> None:
            await asyncio.to_thread(hook, change, tx)

        put = colour(isolated, **options, hooks=[ahook])
    together(*(partial(put, each) for each in NAMES))
    assert set(ids_after(uri)) in ({"mine", by_key(person(BEA))}, {"mine", by_key(person(ANN))})


def test_links_that_overlap(uri: str) -> None:
    """Of two people whom you link to one user at once, one is refused. Where you say that they are one, neither is."""

    def link(start: threading.Barrier, refused: list[UserTaken], number: int, shared: bool, instance: str) -> None:
        start.wait(60)
        try:
            repository.link(instance, f"user_{number}", f"mine-{number}", shared=shared)
        except UserTaken as error:
            refused.append(error)

    with closing(PostgresRepository.open(uri, timeout=60)) as repository:
        for number in range(20):
            refused: list[UserTaken] = []
            one = partial(link, threading.Barrier(2), refused, number, number % 2 == 1)
            together(*(partial(one, instance) for instance in (HERE, THERE)))
            assert len(refused) == (number + 1) % 2


def test_a_link_that_waits_for_the_end_of_another(uri: str) -> None:
    """An identity that is moved while a link waits for it is linked to another user, which the error says."""
    name = uri.rpartition("%3D")[2]
    told: list[Exception] = []

    def link() -> None:
        try:
            other.link(HERE, ANN, "hers")
        except LinkRefused as error:
            told.append(error)

    with (
        closing(PostgresRepository.open(uri)) as repository,
        closing(PostgresRepository.open(f"{uri}&application_name={name}", timeout=60)) as other,
        psycopg.connect(postgres(), autocommit=True) as watching,
    ):
        repository.link(HERE, ANN, "mine")
        repository.link(HERE, BEA, "hers")
        with psycopg.connect(uri) as connection:
            repository.within(connection).unlink(HERE, ANN, "mine")
            waits = threading.Thread(target=link)
            waits.start()
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = %s"
            while waits.is_alive() and not watching.execute(waiting, [name]).fetchall():
                threading.Event().wait(0.01)
            connection.commit()
        waits.join(60)
    assert [type(error) for error in told] == [LinkRefused]
