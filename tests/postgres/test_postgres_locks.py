"""Who locks what, and in which order: clerkmap does not wait for itself in a circle, and works on what is still so."""

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from clerkmap import ClerkUser, UserUnknown
from clerkmap.core.records import key_of
from clerkmap.core.times import to_datetime
from clerkmap.testing.samples import ANN, BEA, HERE, found, member, person
from postgres_server import postgres
from schema_descriptions import connected, opened


def meanwhile(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Work on another thread, which has come to wait by the time this returns; if not, the test shows less."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.3)
    return thread, results


def test_two_identities_of_one_user(postgres_schema: str) -> None:
    """A transaction that writes about both meets a put about the second: one waits for the other, and both succeed."""
    with opened(postgres_schema) as repository, psycopg.connect(postgres()) as mine, connected() as theirs:
        repository.put([person()])
        repository.link(HERE, BEA, found(repository).id, shared=True)
        repository.within(mine).put([person(at=2, first_name="A")])
        thread, results = meanwhile(lambda: repository.within(theirs).put([person(BEA, at=3, first_name="C")]))
        repository.within(mine).put([person(BEA, at=2, first_name="B")])
        mine.commit()
        thread.join()
        assert [len(changes) for changes in results] == [1]
        assert found(repository, BEA).name == "C"


def test_relinks_that_cross(postgres_schema: str) -> None:
    """Two persons change places, again and again: nobody has to give way."""
    with opened(postgres_schema) as repository, connected() as one, connected() as other:
        for identity, id in (("user_1", "a"), ("user_1b", "a"), ("user_2", "b"), ("user_2b", "b")):
            repository.link(HERE, identity, id, shared=True)
        raised: list[Exception] = []
        start = threading.Barrier(2)

        def run(connection: psycopg.Connection[Any], identity: str, ids: str) -> None:
            start.wait()
            yours = repository.within(connection)
            for number in range(150):
                try:
                    yours.relink(HERE, identity, ids[number % 2], to=ids[1 - number % 2])
                except Exception as error:
                    raised.append(error)

        threads = [
            threading.Thread(target=run, args=(one, "user_1", "ab")),
            threading.Thread(target=run, args=(other, "user_2", "ba")),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert raised == []


def test_an_erasure_of_whom_somebody_relinks(postgres_schema: str) -> None:
    """The identity has moved when its user is to be erased: nobody is left there, and whom it moved to stays."""
    with opened(postgres_schema) as repository, psycopg.connect(postgres()) as mine:
        repository.link(HERE, ANN, "a")
        repository.link(HERE, BEA, "b")
        repository.within(mine).relink(HERE, ANN, "a", to="b")
        thread, results = meanwhile(lambda: repository.erase("a"))
        mine.commit()
        thread.join()
        assert [type(result) for result in results] == [UserUnknown]
        assert found(repository, ANN).id == "b"
        assert found(repository, ANN).deleted_at is None


@pytest.mark.parametrize("news", ["an identity", "a membership"])
def test_an_erasure_of_somebody_of_whom_there_is_news(postgres_schema: str, news: str) -> None:
    """What comes to be known of a user before the erasure has the locks is erased with the rest."""
    with opened(postgres_schema) as repository, psycopg.connect(postgres()) as mine:
        repository.put([person()])
        id = found(repository).id
        if news == "an identity":
            repository.within(mine).link(HERE, BEA, id, shared=True)
        else:
            repository.within(mine).put([person(at=2, first_name="A"), member()])
        thread, results = meanwhile(lambda: repository.erase(id))
        mine.commit()
        thread.join()
        assert [erasure.user.deleted_at is not None for erasure in results] == [True]
        exported = repository.export(id)
        assert "A" not in str(exported)
        assert all(each["rank"] >= "3" for kind in ("identities", "memberships") for each in exported[kind])


def test_a_purge_of_whom_somebody_writes(postgres_schema: str) -> None:
    """It waits until all that it forgets is left alone, and holds nothing meanwhile that the other one waits for."""
    day = 86_400_000
    first, last = sorted((ANN, BEA), key=key_of)  # who is written first
    with opened(postgres_schema) as repository, psycopg.connect(postgres()) as mine, connected() as theirs:
        for clerk_id in (last, first):  # and who is found last
            repository.put([ClerkUser.deleted(HERE, clerk_id, observed_at=1)])
        held = f"SELECT 1 FROM {postgres_schema}.clerkmap_identities WHERE key = %s FOR UPDATE"
        mine.execute(held.encode(), (key_of(first),))
        news = [ClerkUser.deleted(HERE, clerk_id, observed_at=2) for clerk_id in (first, last)]
        writing, written = meanwhile(lambda: repository.within(theirs).put(news))
        with connected() as another:
            purging, purged = meanwhile(lambda: repository.within(another).purge(to_datetime(day)))
            mine.commit()
            for thread in (writing, purging):
                thread.join()
        assert (written, purged) == ([[]], [2])
