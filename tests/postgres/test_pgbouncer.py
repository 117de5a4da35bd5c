"""Behind a real PgBouncer in transaction mode everything works, and nothing of a session is left to other programs."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import psycopg
import pytest

from clerkmap import Repository, RepositoryUnavailable, Resolver
from clerkmap.core.records import ClerkUser
from clerkmap.errors import UserDeleted
from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository
from clerkmap.testing import FakeClerk
from clerkmap.testing.blocking import Blocking
from clerkmap.testing.contract import RepositoryContract
from clerkmap.testing.samples import ANN, HERE, MakeRepository, found, person
from freshness_writers import until
from pgbouncer import needs_pgbouncer, pgbouncer
from postgres_cluster import Cluster, clusters
from postgres_server import new_schema

SESSIONS = 2  # fewer than there are connections, so that they change hands all the time

pytestmark = [pytest.mark.slow, needs_pgbouncer]


class Behind(NamedTuple):
    """A server, and the way to it."""

    cluster: Cluster
    uri: str  # through the pooler

    def schema(self) -> str:
        """A new one."""
        return new_schema()


@pytest.fixture(scope="module")
def behind() -> Iterator[Behind]:
    with clusters() as new:
        cluster = new()
        cluster.make(fsync="off", max_connections="40")
        with pgbouncer(cluster.port, size=SESSIONS) as port:
            yield Behind(cluster, f"postgresql://postgres@127.0.0.1:{port}/postgres")


def in_sync(uri: str, **options: Any) -> Repository:
    return PostgresRepository.open(uri, **options)


def in_async(uri: str, **options: Any) -> Repository:
    return Blocking(AsyncPostgresRepository.open, conninfo=uri, **options)


COLOURS = [in_sync, in_async]
Open = Callable[..., Repository]


class TestBehindPgBouncer(RepositoryContract):
    @pytest.fixture(params=COLOURS)
    def make_repository(self, behind: Behind, request: pytest.FixtureRequest) -> Iterator[MakeRepository]:
        made: deque[Repository] = deque()

        def make(**options: Any) -> Repository:
            made.append(request.param(behind.uri, schema=behind.schema(), **options))
            if len(made) > 4:
                made.popleft().close()
            return made[-1]

        yield make
        for repository in made:
            repository.close()


@pytest.mark.parametrize("colour", COLOURS)
def test_sessions_change_hands(behind: Behind, colour: Open) -> None:
    """Many threads on more connections than sessions: no statement meets what another connection has prepared."""
    with closing(colour(behind.uri, schema=behind.schema(), pool_size=8)) as repository:
        failed: list[Exception] = []

        def work(number: int) -> None:
            try:
                for turn in range(20):
                    repository.put([person(f"user_{number}", at=turn + 1)])
                    repository.set_role(found(repository, f"user_{number}").id, f"role {turn}")
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert [found(repository, f"user_{number}").role for number in range(8)] == ["role 19"] * 8


@pytest.mark.parametrize("colour", COLOURS)
def test_the_sessions_settings_are_left_alone(behind: Behind, colour: Open) -> None:
    """What other programs find in their sessions is what the server is set to."""
    settings = "SELECT current_setting('lock_timeout'), current_setting('default_transaction_isolation')"
    with closing(colour(behind.uri, schema=behind.schema(), pool_size=4)) as repository:
        for number in range(8):
            repository.put([person(f"user_{number}")])
        for _ in range(2 * SESSIONS):
            with psycopg.connect(behind.uri, autocommit=True, prepare_threshold=None) as other:
                assert other.execute(settings).fetchone() == ("0", "read committed")


@pytest.mark.parametrize("colour", COLOURS)
def test_a_locked_row_is_not_waited_for(behind: Behind, colour: Open) -> None:
    """`timeout` bounds the wait for a lock here, too."""
    schema = behind.schema()
    with closing(colour(behind.uri, schema=schema, timeout=0.3)) as repository:
        repository.put([person()])
        id = found(repository).id
        with psycopg.connect(behind.cluster.uri) as other:
            other.execute(f"SELECT * FROM {schema}.clerkmap_users FOR UPDATE".encode())
            with pytest.raises(RepositoryUnavailable, match="LockNotAvailable"):
                repository.set_role(id, "admin")
        assert repository.set_role(id, "admin").role == "admin"


@pytest.mark.parametrize("listens", ["through it", "around it", "not at all"])
def test_a_deletion_elsewhere_is_seen(behind: Behind, listens: str) -> None:
    """A person who is deleted by another process is locked out here, however this process listens."""
    listen = {"around it": behind.cluster.uri}.get(listens, listens == "through it")
    clerk, schema = FakeClerk(), behind.schema()
    ada = clerk.create_user()
    token = clerk.token(ada)
    with (
        closing(PostgresRepository.open(behind.uri, schema=schema, listen=listen)) as repository,
        closing(PostgresRepository.open(behind.uri, schema=schema, listen=listen)) as other,
    ):
        resolver = Resolver(clerk.instance, repository)
        assert resolver.resolve(token).user.clerk_id == ada.id
        other.put([ClerkUser.deleted(clerk.instance.name, ada.id, observed_at=int(clerk.clock() * 1000))])

        def is_locked_out() -> bool:
            try:
                resolver.resolve(token)
            except UserDeleted:
                return True
            return False

        until(is_locked_out)


def test_a_transaction_of_yours(behind: Behind) -> None:
    """What is written within a transaction of yours is a part of it."""
    with (
        closing(PostgresRepository.open(behind.uri, schema=behind.schema())) as repository,
        psycopg.connect(behind.uri, prepare_threshold=None) as connection,
    ):
        repository.within(connection).put([person()])
        assert repository.find(HERE, ANN) is None
        connection.rollback()
        assert repository.find(HERE, ANN) is None
        repository.within(connection).put([person()])
        connection.commit()
        assert found(repository).clerk == person()
