"""A database with every kind of row, and the checks that a copy of it behaves like the original."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from clerkmap import ClerkUser, Reconciler, Resolver
from clerkmap.clerk import ClerkApi
from clerkmap.clerk.budget import Budget
from clerkmap.core.records import key_of
from clerkmap.errors import SessionEnded, UserDeleted
from clerkmap.repositories import PostgresRepository, SqliteRepository
from clerkmap.repositories.sql.stored_rows import MOVED
from clerkmap.sync import create_organization, drain
from clerkmap.testing import FakeClerk
from postgres_server import schemas, url_of_a_new_schema
from writeback_world import BACK

Sql = SqliteRepository | PostgresRepository  # or a DjangoRepository
Open = Callable[..., Sql]
PROGRESS = "job 7"


class Story:
    """A Clerk, and what happened in a repository: sign-ups, a ban, deletions, roles, an onboarding, write-backs."""

    def __init__(self) -> None:
        self.clerk = FakeClerk(3)
        self.options: dict[str, Any] = {"write_back": BACK, "clock": self.clerk.clock}
        self.clerk.clock.freeze()
        self.ada = self.clerk.create_user("ada@example.com", first_name="Ädä 💡", public_metadata={"role": "admin"})
        self.gone = self.clerk.create_user("gone@example.com")
        self.erased = self.clerk.create_user("erased@example.com")
        self.acme = self.clerk.create_organization("Acme", created_by=self.ada)
        self.clerk.add_member(self.acme, self.gone)
        self.ended = self.clerk.sign_in(self.ada)

    @property
    def api(self) -> ClerkApi:
        """Clerk's API."""
        clock = self.clerk.clock
        return ClerkApi(
            self.clerk.instance,
            transport=self.clerk.transport(),
            budget=Budget(10**9, clock),
            clock=clock,
            sleep=clock.advance,
        )

    def hear(self, repository: Sql) -> None:
        """Deliver the webhooks that are due."""
        reconciler = Reconciler(self.clerk.instance, repository, clock=self.clerk.clock)
        for delivery in self.clerk.deliveries():
            reconciler.receive(delivery.headers, delivery.body)

    def tell(self, repository: Sql) -> None:
        """Let it all happen."""
        instance = self.clerk.instance.name
        self.hear(repository)
        self.clerk.delete_user(self.gone)
        self.clerk.end_session(self.ended, "revoked")
        self.hear(repository)
        self.onboard(repository)
        self.erased_id = self.id_of(repository, self.erased.id)
        repository.erase(self.erased_id)
        self.clerk.clock.advance(3)
        drain(self.api, repository, clock=self.clerk.clock)
        self.hear(repository)
        repository.set_role(self.id_of(repository, self.ada.id), "owner")  # of which Clerk is told later
        repository.set_checkpoint(PROGRESS, "page 5")
        other = ClerkUser.full("elsewhere", "user_x", observed_at=1, email="x@example.com")
        repository.put([other])
        assert repository.put_once("0" * 32, [], lambda tx: None) == []
        assert repository.outbox(instance)
        assert all(repository.contents.count(table) for table in MOVED)

    def onboard(self, repository: Sql) -> Any:
        """The onboarding operation, of which there is one."""
        return create_organization(
            self.api, repository, idempotency_key="form 7", name="Grand", created_by=self.ada.id, clock=self.clerk.clock
        )

    def id_of(self, repository: Sql, clerk_id: str) -> Any:
        """The id of your user."""
        standing = repository.find(self.clerk.instance.name, clerk_id)
        assert standing is not None
        return standing.user.id

    def check(self, source: Sql, target: Sql) -> None:
        """Everything is as it was, and life goes on in the target."""
        for table in MOVED:
            assert sorted(rows(source, table), key=repr) == sorted(rows(target, table), key=repr), table.name
        ids = {row[0] for row in rows(target, MOVED[0])}
        before = len(self.clerk.organizations)
        assert self.onboard(target).id == self.onboard(source).id
        assert len(self.clerk.organizations) == before
        assert target.checkpoint(PROGRESS) == "page 5"
        self.clerk.clock.advance(3)
        drain(self.api, target, clock=self.clerk.clock)
        assert not target.outbox(self.clerk.instance.name)
        assert (self.ada.public_metadata or {})["role"] == "owner"
        resolver = Resolver(self.clerk.instance, target, verifier=self.clerk.verifier())
        for person, error in ((self.gone, UserDeleted), (self.erased, UserDeleted)):
            assert refusal(resolver, self.clerk.token(person)) is error
        assert refusal(resolver, self.clerk.token(self.ada, session=self.ended)) is SessionEnded
        target.put([self.clerk.record(self.erased)])
        assert target.export(self.erased_id)["identities"][0]["email"] is None
        new = self.clerk.create_user("new@example.com")
        fresh = resolver.resolve(self.clerk.token(new)).user.id
        assert fresh not in ids
        assert type(fresh) is type(self.erased_id)
        organization = self.clerk.create_organization("Newer", created_by=new)
        self.hear(target)
        made = target.row("organization", self.clerk.instance.name, key_of(organization.id))
        assert made is not None
        assert made.id not in {row[-1] for row in rows(source, MOVED[2])}


def rows(repository: Sql, table: Any) -> list[Any]:
    """All rows of a table, as they are stored."""
    return [row for page in repository.contents.pages(table) for row in page]


def refusal(resolver: Resolver, token: str) -> Any:
    """The class of the error with which a token is refused, or None."""
    try:
        resolver.resolve(token)
    except Exception as error:
        return type(error)
    return None


def places(folder: Path) -> Iterator[Callable[[str], Open]]:
    """Gives, for the name of a place, a function that opens a new database there, with options."""
    opened: list[Sql] = []
    with schemas() as new:

        def place(name: str) -> Open:
            schema, number = new(), len(opened)

            def make(**options: Any) -> Sql:
                repository = _opened(name, schema, folder / f"{name}-{number}-{schema}.db", options)
                opened.append(repository)
                return repository

            return make

        yield place
        for repository in opened:
            repository.close()


def _opened(name: str, schema: str, path: Path, options: dict[str, Any]) -> Sql:
    if name == "sqlite":
        return SqliteRepository.open(path, prefix=options.pop("prefix", "clerkmap_"), **options)
    if name == "memory":
        return SqliteRepository.open(":memory:", **options)
    if name == "postgres":
        return PostgresRepository.open(url_of_a_new_schema(schema), listen=False, **options)
    if name == "postgres, other names":
        from postgres_server import postgres

        return PostgresRepository.open(postgres(), schema=schema, prefix="auth_", listen=False, **options)
    from clerkmap.repositories.django import DjangoRepository
    from django_databases import add_database, add_postgres, make_tables

    alias = add_postgres(schema) if name == "django, postgres" else add_database("sqlite", NAME=str(path))
    id_type = "bigint" if options.get("ids") is int else "text"
    make_tables(alias, id_type)
    repository: Any = DjangoRepository(alias, **options)
    return repository  # type: ignore[no-any-return]


__all__ = ["Open", "Story", "closing", "places", "rows"]
