"""On Django's own connection the contract is kept, and what is written is a part of Django's transactions."""

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import DatabaseError, connections, transaction

import django_site
from clerkmap import (
    ClerkmapError,
    ConfigurationError,
    HookFailed,
    Repository,
    RepositoryUnavailable,
    Resolver,
    WriteBack,
    threaded,
)
from clerkmap.clerk import AsyncClerkApi, ClerkApi
from clerkmap.repositories import SqliteRepository
from clerkmap.repositories.django import DjangoRepository
from clerkmap.sync import acreate_organization, create_organization
from clerkmap.testing import FakeClerk
from clerkmap.testing.contract import RepositoryContract
from clerkmap.testing.samples import ANN, HERE, MakeRepository, found, person
from django_databases import add_database, add_postgres, make_tables, numbers
from postgres_server import schemas


class Closing(DjangoRepository):
    """Closes the connections of other threads after each use, as Django does after each request."""

    def _read(self, *args: Any, **kwargs: Any) -> Any:
        return self._closing(super()._read, *args, **kwargs)

    def _write(self, *args: Any, **kwargs: Any) -> Any:
        return self._closing(super()._write, *args, **kwargs)

    def _write_then(self, *args: Any, **kwargs: Any) -> Any:
        return self._closing(super()._write_then, *args, **kwargs)

    def _is_settled(self) -> bool:
        return bool(self._closing(super()._is_settled))

    def _closing(self, do: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return do(*args, **kwargs)
        finally:
            if threading.current_thread() is not threading.main_thread():
                connections[self._alias].close()


def a_repository(alias: str, **options: Any) -> DjangoRepository:
    id_type = options.get("id_type") or ("bigint" if options.get("ids") is int else "text")
    make_tables(alias, id_type)
    return Closing(alias, **options)


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[MakeRepository]:
    def make(**options: Any) -> Repository:
        unsafe = {"timeout": 20, "init_command": "PRAGMA synchronous=OFF; PRAGMA journal_mode=WAL"}  # and quick
        alias = add_database("sqlite", NAME=str(tmp_path / f"{next(numbers)}.db"), OPTIONS=unsafe)
        return a_repository(alias, **options)

    yield make
    connections.close_all()


@pytest.fixture
def on_postgres() -> Iterator[MakeRepository]:
    with schemas() as new:

        def make(**options: Any) -> Repository:
            connections.close_all()
            return a_repository(add_postgres(new()), **options)

        yield make
        connections.close_all()


@pytest.fixture(params=["sqlite", "postgresql"])
def make(request: pytest.FixtureRequest) -> MakeRepository:
    made: MakeRepository = request.getfixturevalue({"sqlite": "on_sqlite", "postgresql": "on_postgres"}[request.param])
    return made


class TestDjangoOnSqlite(RepositoryContract):
    @pytest.fixture
    def make_repository(self, on_sqlite: MakeRepository) -> MakeRepository:
        return on_sqlite


class TestDjangoOnPostgres(RepositoryContract):
    @pytest.fixture
    def make_repository(self, on_postgres: MakeRepository) -> MakeRepository:
        return on_postgres


def test_sqlite_opens_what_django_has_made(tmp_path: Path) -> None:
    """The tables are the same: another program, without Django, goes on with the file."""
    alias = add_database("sqlite", NAME=str(tmp_path / "app.db"))
    a_repository(alias).put([person()])
    connections.close_all()
    other = SqliteRepository.open(tmp_path / "app.db")
    assert found(other).clerk == person()
    other.close()


def test_the_order_and_the_user_are_one_commit(make: MakeRepository) -> None:
    """Undone with your transaction, committed with it; and nothing that was read in it is remembered."""
    told: list[Any] = []
    clerk = FakeClerk()
    repository = make(after_commit=[told.append])
    alias = repository._alias  # type: ignore[attr-defined]
    resolver, ada = Resolver(clerk.instance, repository), clerk.create_user()
    with transaction.atomic(using=alias):
        lost = resolver.resolve(clerk.token(ada)).user
        assert repository.user(lost.id) == lost
        transaction.set_rollback(True, using=alias)
    assert repository.user(lost.id) is None
    assert told == []
    with transaction.atomic(using=alias):
        kept = resolver.resolve(clerk.token(ada)).user
        assert told == []
    assert kept.id != lost.id
    assert repository.user(kept.id) == kept
    assert [change.after.id for change in told] == [kept.id]
    assert resolver.resolve(clerk.token(ada)).user == kept


def test_what_is_undone_to_a_savepoint_is_told_to_nobody(make: MakeRepository) -> None:
    """A part of your transaction that you undo was never there; the rest is committed and told."""
    told: list[Any] = []
    repository = make(after_commit=[told.append])
    alias = repository._alias  # type: ignore[attr-defined]
    with transaction.atomic(using=alias):
        with transaction.atomic(using=alias):
            repository.put([person()])
            transaction.set_rollback(True, using=alias)
        assert repository.find(HERE, ANN) is None
        repository.put([person(first_name="Ann")])
    assert [change.after.clerk.first_name for change in told] == ["Ann"]


def test_what_is_to_go_back_to_clerk_is_undone_with_your_transaction(make: MakeRepository) -> None:
    """No note is left of a change that was never made, and none is missing of one that was."""
    repository = make(write_back=WriteBack(role="role"))
    alias = repository._alias  # type: ignore[attr-defined]
    repository.put([person()])
    user = found(repository)
    for role, undone in (("staff", True), ("admin", False)):
        with transaction.atomic(using=alias):
            repository.set_role(user.id, role)
            assert [each.key for each in repository.outbox(HERE)] == [user.clerk.key]
            transaction.set_rollback(undone, using=alias)
        assert len(repository.outbox(HERE)) == (not undone)
    assert found(repository).role == "admin"


def test_a_put_that_fails_leaves_your_transaction_as_it_was(make: MakeRepository) -> None:
    """A hook undoes the put alone: what you wrote before stays."""

    def hook(change: Any, tx: Any) -> None:
        raise ZeroDivisionError

    repository = make()
    alias = repository._alias  # type: ignore[attr-defined]
    with transaction.atomic(using=alias):
        repository.put([person()])
        repository.listeners.hook(hook)
        with pytest.raises(HookFailed):
            repository.put([person(at=99, first_name="Ann")])
    assert found(repository).clerk.first_name is None


def test_locked_out_at_your_commit(make: MakeRepository) -> None:
    """What was remembered before, and what others read meanwhile, is dropped when you commit."""
    clerk = FakeClerk()
    repository = make()
    alias = repository._alias  # type: ignore[attr-defined]
    resolver, ada = Resolver(clerk.instance, repository), clerk.create_user()
    token = clerk.token(ada)
    user = resolver.resolve(token).user
    with transaction.atomic(using=alias):
        repository.set_role(user.id, "staff")
        assert resolver.resolve(token).user.role == "staff"
        meanwhile: list[Any] = []
        thread = threading.Thread(target=lambda: meanwhile.append(resolver.resolve(token).user.role))
        thread.start()
        thread.join()
        assert meanwhile == [None]
    assert resolver.resolve(token).user.role == "staff"


def test_hooks_use_models(on_sqlite: MakeRepository) -> None:
    """A hook is in the transaction, so models of yours are too; the transaction it is given is Django's connection."""
    with transaction.atomic():
        seen: list[Any] = []

        def hook(change: Any, tx: Any) -> None:
            seen.append(tx.alias)
            django_site.User.objects.create(username=change.after.id)

        repository = DjangoRepository(hooks=[hook])
        repository.put([person()])
        assert django_site.User.objects.get().username == found(repository).id
        assert seen == ["default"]
        transaction.set_rollback(True)
    connections.close_all()


def test_a_hook_cannot_hide_that_all_is_undone(on_postgres: MakeRepository) -> None:
    """An error of PostgreSQL undoes the transaction, whoever catches it: it is not taken for a success."""

    def hook(change: Any, tx: Any) -> None:
        with pytest.raises(Exception, match="nothing"), tx.cursor() as cursor:
            cursor.execute("SELECT * FROM nothing")

    repository = on_postgres(hooks=[hook])
    with pytest.raises(HookFailed):
        repository.put([person()])
    assert repository.find(HERE, ANN) is None


def test_who_looks_before_writing_holds_the_lock(tmp_path: Path) -> None:
    """On SQLite another writer waits, or is told so: what was looked at cannot have changed by the time it is written.
    The linker is asked in that very moment, and there another one tries."""
    alias = add_database("sqlite", NAME=str(tmp_path / "app.db"))
    make_tables(alias, "text")
    connections.close_all()
    other = SqliteRepository.open(tmp_path / "app.db", timeout=0.05)
    refused: list[str] = []

    def linker(record: Any) -> None:
        with pytest.raises(RepositoryUnavailable) as unavailable:
            other.put([person("user_other")])
        refused.append(unavailable.value.code)

    DjangoRepository(alias, linker=linker).put([person()])
    assert refused == ["repository_unavailable"]
    other.close()
    connections.close_all()


def test_tables_that_are_missing_are_yours_to_make(make: MakeRepository, tmp_path: Path) -> None:
    """No migration has run: the error says which. With other ids than the tables hold, it says that."""
    alias = add_database("sqlite", NAME=str(tmp_path / "empty.db"))
    with pytest.raises(ConfigurationError, match=r"manage\.py migrate"):
        DjangoRepository(alias).find(HERE, ANN)
    full = make()._alias  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match="hold ids of type"):
        DjangoRepository(full, ids=int, first_id=1).put([person()])
    connections.close_all()


def test_a_database_without_a_folder_is_told(tmp_path: Path) -> None:
    """Reading and writing alike: an error that names the folder, never a wrong answer."""
    alias = add_database("sqlite", NAME=str(tmp_path / "nowhere" / "app.db"))
    repository = DjangoRepository(alias)
    with pytest.raises(ConfigurationError, match="there is no folder"):
        repository.find(HERE, ANN)
    with pytest.raises(ConfigurationError, match="there is no folder"):
        repository.put([person()])


def test_a_connection_that_was_lost_is_replaced(on_postgres: MakeRepository) -> None:
    """One request may be told that the database is away; after it Django closes what is lost."""
    repository = on_postgres()
    connection = connections[repository._alias]  # type: ignore[attr-defined]
    repository.find(HERE, ANN)
    connection.connection.close()
    with pytest.raises(RepositoryUnavailable):
        repository.find(HERE, ANN)
    connection.close_if_unusable_or_obsolete()
    assert repository.find(HERE, ANN) is None


def test_in_manual_transactions_too(make: MakeRepository) -> None:
    """Out of autocommit mode everything is yours to commit."""
    repository = make()
    alias = repository._alias  # type: ignore[attr-defined]
    transaction.set_autocommit(False, using=alias)
    repository.put([person()])
    transaction.rollback(using=alias)
    assert repository.find(HERE, ANN) is None
    repository.put([person()])
    transaction.commit(using=alias)
    transaction.set_autocommit(True, using=alias)
    assert found(repository).clerk == person()


def test_another_process_is_told_by_postgres(on_postgres: MakeRepository) -> None:
    """Who listens, as processes without Django do, hears of it when your transaction is committed."""
    repository = on_postgres()
    alias = repository._alias  # type: ignore[attr-defined]
    with connections[alias].cursor() as cursor:
        cursor.execute("LISTEN clerkmap_changes")
    with transaction.atomic(using=alias):
        repository.put([person()])
    # Others may say something on the same channel: it is that of the whole database.
    heard = connections[alias].connection.notifies(timeout=20)
    assert any(person().key in notice.payload for notice in heard)


CONSTRAINTS = {
    "a unique index": (
        "CREATE UNIQUE INDEX one_name ON clerkmap_identities (username)",
        "one_name|identities.username",
    ),
    "a check": ("ALTER TABLE clerkmap_identities ADD CONSTRAINT no_ann CHECK (username <> 'ann')", "no_ann"),
    "a missing column": ("ALTER TABLE clerkmap_identities RENAME COLUMN username TO nickname", "tables|Undefined"),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_constraint_of_yours_is_named(make: MakeRepository, name: str) -> None:
    """A row that a constraint of the application refuses is an invalid configuration, and no value of it is shown."""
    repository = make()
    alias = repository._alias  # type: ignore[attr-defined]
    statement, says = CONSTRAINTS[name]
    if name == "a check" and connections[alias].vendor == "sqlite":
        statement = "CREATE UNIQUE INDEX no_ann ON clerkmap_identities (lower(username))"
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)
    with pytest.raises(ConfigurationError, match=says) as caught:
        repository.put([person(username="ann"), person("user_other", username="ann")])
    assert "(ann)" not in "".join(traceback.format_exception(caught.value))


ADDRESS = "secret@example.com"
FAILING = {"sqlite": "SELECT json_extract('{}', %s)", "postgresql": "SELECT CAST(%s AS bigint)"}
# Triggers whose error is none of a row that is refused, and shows the row.
TELLTALES = {
    "sqlite": "CREATE TRIGGER t AFTER INSERT ON clerkmap_identities BEGIN SELECT json_extract('{}', NEW.email); END",
    "postgresql": """
CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'not %', NEW.email USING ERRCODE = '42501'; END $$;
CREATE TRIGGER t BEFORE INSERT ON clerkmap_identities FOR EACH ROW EXECUTE FUNCTION boom()
""",
}


def test_the_drivers_text_is_in_no_error(make: MakeRepository) -> None:
    """Behind an error of ours are the classes and codes of Django's error and the driver's, without their text."""
    repository = make()
    connection = connections[repository._alias]  # type: ignore[attr-defined]
    with connection.cursor() as cursor:
        cursor.execute(TELLTALES[connection.vendor])
    with pytest.raises(ClerkmapError) as raised:
        repository.put([person(email=ADDRESS)])
    told = raised.value.__cause__
    assert isinstance(told, DatabaseError)
    driver = told.__cause__
    code = getattr(driver, "sqlstate", None) or getattr(driver, "sqlite_errorname", None)
    assert code == ("42501" if connection.vendor == "postgresql" else "SQLITE_ERROR")
    assert "secret" not in "".join(traceback.format_exception(raised.value))

    def fail_and_go_on() -> None:
        with (
            suppress(DatabaseError),
            transaction.mark_for_rollback_on_error(connection.alias),
            connection.cursor() as cursor,
        ):
            cursor.execute(FAILING[connection.vendor], [ADDRESS])
        repository.put([person()])

    with pytest.raises(ConfigurationError) as raised, transaction.atomic(using=connection.alias):
        fail_and_go_on()
    assert "secret" not in "".join(traceback.format_exception(raised.value))


def test_a_value_that_no_driver_takes_is_told(make: MakeRepository) -> None:
    """Half a character is refused by clerkmap's own error."""
    with pytest.raises(ConfigurationError, match="refused a row or a value: UnicodeEncodeError"):
        make().find("\ud800", ANN)


def test_an_organization_is_not_made_inside_a_transaction(make: MakeRepository) -> None:
    """As with `atomic(durable=True)`: refused in a transaction of yours, and not in that of a TestCase."""
    clerk = FakeClerk(7)
    ada = clerk.create_user("ada@example.com")
    repository = make()
    assert isinstance(repository, DjangoRepository)
    alias = repository._alias
    api = ClerkApi(clerk.instance, transport=clerk.transport())

    def made() -> str | None:
        return create_organization(api, repository, idempotency_key="form 7", name="Acme", created_by=ada.id).name

    with transaction.atomic(using=alias):
        with pytest.raises(ConfigurationError, match="on_commit"):
            made()
        async_part = threaded(repository)
        with pytest.raises(ConfigurationError, match="on_commit"):
            async_to_sync(acreate_organization)(
                AsyncClerkApi(clerk.instance, transport=clerk.transport()),
                async_part,
                idempotency_key="form 7",
                name="Acme",
                created_by=ada.id,
            )
    assert not clerk.organizations
    of_a_test = transaction.atomic(using=alias)
    of_a_test._from_testcase = True
    with of_a_test:
        assert made() == "Acme"
        with transaction.atomic(using=alias), pytest.raises(ConfigurationError, match="on_commit"):
            made()
    assert made() == "Acme"
    assert len(clerk.organizations) == 1


def test_out_of_autocommit_mode_there_is_always_a_transaction(make: MakeRepository) -> None:
    """What is written there waits for your commit."""
    repository = make()
    assert isinstance(repository, DjangoRepository)
    assert not repository.in_transaction()
    transaction.set_autocommit(False, using=repository._alias)
    try:
        assert repository.in_transaction()
    finally:
        transaction.rollback(using=repository._alias)
        transaction.set_autocommit(True, using=repository._alias)
