"""The type of your ids, as mypy and pyright see it: `make lint` checks this file with both, without a cast."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, assert_type

from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from psycopg import Connection
from psycopg_pool import ConnectionPool
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from clerkmap import (
    Change,
    ClerkOrganization,
    ClerkUser,
    Member,
    Organization,
    Principal,
    Repository,
    Resolver,
    ResultPage,
    User,
    current_principal,
    threaded,
)
from clerkmap.adapters import asgi, fastapi, flask, mcp, starlette, wsgi
from clerkmap.adapters.authenticator import Authenticator, AuthResult, Request
from clerkmap.clerk import ClerkApi
from clerkmap.repositories import (
    AsyncPostgresRepository,
    AsyncSqlAlchemyRepository,
    MemoryRepository,
    PostgresRepository,
    SqlAlchemyRepository,
    SqliteRepository,
)
from clerkmap.repositories.django import DjangoRepository
from clerkmap.sync import apply_relink, create_organization, plan_relink
from clerkmap.testing import FakeClerk


def numbered(change: Change[int], transaction: Any) -> None:
    """Read the ids of a change in a hook."""
    if change.user is not None and change.organization is not None:
        assert_type((change.user.id, change.organization.id), tuple[int, int])


def number_of(record: ClerkUser | ClerkOrganization) -> int:
    return int(record.key[:8], 16)


def test_memory_and_sqlite() -> None:
    """The repository takes the type from `ids=`. The default is text."""
    assert_type(MemoryRepository(), MemoryRepository[str])
    assert_type(MemoryRepository(ids="clerk"), MemoryRepository[str])
    assert_type(MemoryRepository(ids=int, first_id=1, hooks=[numbered]), MemoryRepository[int])
    assert_type(MemoryRepository(ids=number_of), MemoryRepository[int])
    assert_type(MemoryRepository(ids=lambda record: record.key), MemoryRepository[str])
    with SqliteRepository.open(":memory:") as texts, SqliteRepository.open(":memory:", ids=int, first_id=1) as numbers:
        assert_type(texts, SqliteRepository[str])
        assert_type(numbers, SqliteRepository[int])
        numbers.link("here", "user_ann", 1)
        assert_type(numbers.user(1), User[int] | None)
        assert_type(numbers.users("1"), ResultPage[User[int]])
        assert_type(numbers.members(1), ResultPage[Member[int]])
        assert_type(numbers.put([]), list[Change[int]])


def of_servers(connection: Connection, pool: ConnectionPool, engine: Engine, async_engine: AsyncEngine) -> None:
    """Make repositories that need a server. A type checker reads this function, and no test calls it."""
    assert_type(PostgresRepository.open("postgresql://"), PostgresRepository[str])
    assert_type(PostgresRepository.open("postgresql://", ids=int, first_id=1), PostgresRepository[int])
    assert_type(PostgresRepository(pool, ids=int, first_id=1).within(connection), PostgresRepository[int])
    assert_type(AsyncPostgresRepository.open("postgresql://", ids=number_of), AsyncPostgresRepository[int])
    assert_type(SqlAlchemyRepository(engine), SqlAlchemyRepository[str])
    assert_type(SqlAlchemyRepository(engine, ids=int, first_id=1), SqlAlchemyRepository[int])
    assert_type(AsyncSqlAlchemyRepository(async_engine, ids=int, first_id=1), AsyncSqlAlchemyRepository[int])
    assert_type(DjangoRepository(), DjangoRepository[str])
    assert_type(DjangoRepository(ids=int, first_id=1), DjangoRepository[int])


def test_resolvers_and_jobs() -> None:
    """The resolver, the authenticator and the jobs take the type from the repository."""
    clerk, repository = FakeClerk(), MemoryRepository(ids=int, first_id=1)
    resolver = Resolver(clerk.instance, repository)
    assert_type(resolver, Resolver[int])
    principal = resolver.resolve(clerk.token(clerk.create_user()))
    assert_type(principal, Principal[int])
    assert_type(principal.user.id, int)
    assert principal.user.id == 1
    if principal.organization is not None:
        assert_type(principal.organization.id, int)
    authenticator = Authenticator(resolver)
    assert_type(authenticator, Authenticator[int])
    assert_type(authenticator.identify(Request("GET", {})), AuthResult[int])


def of_jobs(api: ClerkApi, repository: Repository[int]) -> None:
    """Call jobs. A type checker reads this function, and no test calls it."""
    made = create_organization(api, repository, idempotency_key="1", name="Acme", created_by="user_ann")
    assert_type(made, Organization[int])
    plan = plan_relink(repository, from_="old", to="new", by="clerk_id")
    assert_type([move.after for move in apply_relink(repository, plan).moves], list[int])


async def of_async_code(resolver: Resolver[int], repository: Repository[int], token: str) -> None:
    """Await the same. A type checker reads this function, and no test calls it."""
    assert_type(await resolver.aresolve(token), Principal[int])
    assert_type(await threaded(repository).user(1), User[int] | None)


def test_fastapi() -> None:
    """The dependencies have the type of the resolver's ids."""
    fake = FakeClerk()
    clerk = fastapi.Clerk(Resolver(fake.instance, MemoryRepository(ids=int, first_id=1)))
    assert_type(clerk, fastapi.Clerk[int])
    assert_type(clerk.user, Callable[..., Awaitable[User[int]]])
    assert_type(clerk.optional_user, Callable[..., Awaitable[User[int] | None]])
    assert_type(clerk.organization, Callable[..., Awaitable[Organization[int]]])
    assert_type(clerk.require(user_role="admin"), Callable[..., Awaitable[Principal[int]]])
    app = FastAPI()

    @app.get("/me")
    async def me(user: Annotated[User[int], Depends(clerk.user)]) -> dict[str, int]:
        assert_type(user.id, int)
        return {"id": user.id}

    @app.get("/plain")
    async def plain(user: Annotated[User, Depends(clerk.user)]) -> dict[str, int]:
        return {"id": user.id}  # `User` alone accepts ids of each type

    client = fake.signed_in(TestClient(app))
    assert client.get("/me").json() == client.get("/plain").json() == {"id": 1}


def from_requests(scope: dict[str, Any], environ: dict[str, Any], request: starlette.SignedInUser) -> None:
    """Find the caller where no resolver is at hand: the ids are of each type. No test calls this function."""
    ids: list[int] = [
        flask.current_user.id,  # also for Django, whose `request.clerk` no checker knows
        asgi.principal_of(scope).user.id,
        wsgi.principal_of(environ).user.id,
        request.user.id,
        mcp.principal_of_call().user.id,
        current_principal().user.id,
    ]
    texts: list[str] = [flask.current_user.id, request.user.id]
    caller: Principal[int] = current_principal()
    assert_type(caller.user.id, int)
    assert ids
    assert texts
