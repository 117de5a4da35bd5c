"""Numbers for new users beside the rows of an application: a new person never gets the number of a row."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from clerkmap import ConfigurationError
from clerkmap.core.records import ClerkUser
from clerkmap.errors import HookFailed, UserUnknown
from clerkmap.repositories import FirstUserTakes, MemoryRepository, PostgresRepository, UsersTable
from clerkmap.testing.samples import ANN, BEA, HERE, company, found, person
from postgres_server import postgres
from shops import (
    INSERT,
    SHOPS,
    InMemory,
    OnDjangoPostgres,
    OnDjangoSqlite,
    OnPostgres,
    OnPostgresInAsync,
    OnSqlite,
    Shop,
)

ON_SQLITE = [InMemory, OnSqlite, OnDjangoSqlite]


@pytest.fixture(params=SHOPS, ids=lambda shop: shop.__name__)
def empty(request: pytest.FixtureRequest, tmp_path: Path, postgres_schema: str) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield request.param(stack, tmp_path, postgres_schema)


@pytest.fixture
def shop(empty: Shop) -> Shop:
    """It has fifty customers."""
    empty.fill(50)
    return empty


def test_a_new_user_is_a_new_row(shop: Shop) -> None:
    """One by one and in a page of many; and rows that the application inserts itself are in nobody's way."""
    repository = shop.open(users_table="customers")
    repository.put([person(ANN)])
    assert found(repository).id == 51
    shop.run("INSERT INTO customers (email) VALUES ('walk-in@example.com')")
    repository.put([person(f"user_{number}") for number in range(60)])
    ids = {found(repository, f"user_{number}").id for number in range(60)}
    assert len(ids) == 60
    ((walk_in,),) = shop.run("SELECT id FROM customers WHERE email = 'walk-in@example.com'")
    assert ids.isdisjoint({*range(52), walk_in})
    assert shop.run("SELECT count(*) FROM customers") == [(112,)]


def test_a_user_without_a_row_is_refused(shop: Shop) -> None:
    """Or a later row of the application's would get that number, and the user its data. One who was deleted before
    anything else was heard needs none."""
    shop.hooked = False
    repository = shop.open(users_table=UsersTable("customers", id="id"))
    for people in ([person(ANN)], [person(f"user_{number}") for number in range(30)]):
        with pytest.raises(ConfigurationError, match="hook"):
            repository.put(people)
        assert repository.find(HERE, ANN) is None
    repository.put([ClerkUser.deleted(HERE, BEA, observed_at=2)])
    repository.link(HERE, ANN, 12)
    with pytest.raises(ConfigurationError, match="hook"):
        repository.unlink(HERE, ANN, 12)
    assert found(repository).id == 12


def test_what_a_linker_or_a_link_names_is_a_row(shop: Shop) -> None:
    """An id that no row has yet could be a row of somebody else's tomorrow."""
    repository = shop.open(users_table="customers", linker=lambda record: 12 if record.clerk_id == ANN else 900)
    repository.put([person(ANN), person(BEA)])
    assert (found(repository).id, found(repository, BEA).id) == (12, 51)
    with pytest.raises(UserUnknown):
        repository.link(HERE, "user_c", 900)
    assert repository.find(HERE, "user_c") is None
    assert repository.link(HERE, "user_c", 50).id == 50
    first = shop.open(users_table="customers", linker=FirstUserTakes(901))
    first.put([person("user_d")])
    assert found(first, "user_d").id != 901


def test_a_number_from_which_on_all_are_ours(shop: Shop) -> None:
    """Of users and of organizations, one by one and in pages, whatever was linked; and no row is needed."""
    shop.hooked = False
    repository = shop.open(first_id=1_000_000)
    repository.link(HERE, "user_linked", 12)
    repository.put([person(ANN), company()])
    people = [person(f"user_{number}") for number in range(60)]
    companies = [company(f"org_{number}") for number in range(60)]
    repository.put([*people, *companies])
    ids = [found(repository, f"user_{number}").id for number in range(60)]
    assert found(repository).id == 1_000_000
    assert sorted(map(int, ids)) == list(range(1_000_001, 1_000_061))
    assert repository.organization(1_000_000) is not None
    assert repository.organization(1_000_060) is not None
    assert repository.organization(1) is None


def test_rows_that_reach_our_numbers(shop: Shop) -> None:
    """A table that is named beside `first_id` is looked at: at the start, and before each new user."""
    shop.hooked = False
    repository = shop.open(users_table="customers", first_id=1_000)
    repository.put([person(ANN)])
    assert found(repository).id == 1_000
    shop.run(INSERT.format(1_001))
    for people in ([person(BEA)], [person(f"user_{number}") for number in range(30)]):
        with pytest.raises(ConfigurationError, match="first_id"):
            repository.put(people)
    repository.put([person(ANN, at=2, first_name="Ann")])  # nothing changes for those who are known
    assert found(repository).name == "Ann"
    if not isinstance(shop, InMemory):  # whose tables are made after it
        with pytest.raises(ConfigurationError, match="first_id"):
            shop.open(users_table="customers", first_id=1_000).find(HERE, ANN)


def test_a_missing_table_is_named(empty: Shop) -> None:
    """A repository that is opened before the users table exists says which table to create, and makes no tables."""
    with pytest.raises(ConfigurationError, match=r'the table "customers" does not exist') as refused:
        empty.open(users_table="customers").put([person(ANN)])
    assert "those that clerkmap makes" not in str(refused.value)
    if isinstance(empty, OnSqlite):
        assert empty.run("SELECT name FROM sqlite_master") == []
    if isinstance(empty, OnPostgres):
        assert empty.run("SELECT to_regclass('clerkmap_users')") == [(None,)]
    empty.fill(3)
    repository = empty.repository if isinstance(empty, InMemory) else empty.open(users_table="customers")
    repository.put([person(ANN)])
    assert found(repository).id == 4


@pytest.mark.parametrize(
    "key", ["id TEXT PRIMARY KEY", "id VARCHAR(20)", "id", "id REAL", "number INTEGER PRIMARY KEY"]
)
@pytest.mark.parametrize("kind", ON_SQLITE)
def test_a_column_that_holds_no_numbers(kind: Any, key: str, tmp_path: Path) -> None:
    """SQLite sorts '10' before '9', and takes a column that is not there for a text: the next number would be that of
    a row. It is refused when the repository starts, or where the table is replaced later."""
    with ExitStack() as stack:
        shop = kind(stack, tmp_path, "")
        shop.fill(0)
        late = shop.open(users_table="customers")
        assert late.find(HERE, ANN) is None
        shop.run("DROP TABLE customers")
        shop.run(f"CREATE TABLE customers ({key}, email TEXT)")
        shop.run(f"INSERT INTO customers ({key.split()[0]}) VALUES ('9'), ('10')")
        for people in ([person(ANN)], [person(f"user_{number}") for number in range(30)]):
            with pytest.raises(ConfigurationError, match="users_table"):
                late.put(people)
        assert late.find(HERE, ANN) is None
        if kind is not InMemory:  # whose tables are made after it
            for options in ({}, {"first_id": 1_000}):
                with pytest.raises(ConfigurationError, match="users_table"):
                    shop.open(users_table="customers", **options).find(HERE, ANN)


@pytest.mark.parametrize("key", ["id integer NOT NULL PRIMARY KEY AUTOINCREMENT", "ID BIGINT UNIQUE", "id int"])
@pytest.mark.parametrize("kind", ON_SQLITE)
def test_a_row_whose_number_is_none(kind: Any, key: str, tmp_path: Path) -> None:
    """SQLite keeps a text in a column of whole numbers, where it sorts last. No number is made that a row has."""
    with ExitStack() as stack:
        shop = kind(stack, tmp_path, "")
        shop.run(f"CREATE TABLE customers ({key}, email TEXT)")
        shop.run("INSERT INTO customers (id) VALUES (1), (2)")
        repository = shop.open(users_table="customers")
        repository.put([person(ANN)])
        assert found(repository).id == 3
        if "AUTOINCREMENT" in key:  # which stores nothing else
            return
        shop.run("INSERT INTO customers (id) VALUES ('4b')")
        for people in ([person(BEA)], [person(f"user_{number}") for number in range(30)]):
            with pytest.raises(ConfigurationError, match="number"):
                repository.put(people)
        assert repository.find(HERE, BEA) is None


@pytest.mark.parametrize("kind", ON_SQLITE)
def test_a_number_that_a_row_has_had(kind: Any, tmp_path: Path) -> None:
    """AUTOINCREMENT gives no number twice, so that what is left of a deleted row is nobody else's. Nor do we."""
    with ExitStack() as stack:
        shop = kind(stack, tmp_path, "")
        shop.fill(0)
        repository = shop.open(users_table="Customers")
        shop.run("DROP TABLE customers")
        shop.run("CREATE TABLE customers (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT)")
        shop.run("INSERT INTO customers (id) VALUES (6), (7)")
        shop.run("DELETE FROM customers WHERE id = 7")
        repository.put([person(ANN)])
        assert found(repository).id == 8
        shop.run("INSERT INTO customers (id) VALUES (20)")
        shop.run("DELETE FROM customers WHERE id = 20")
        repository.put([person(f"user_{number}") for number in range(30)])
        ids = {found(repository, f"user_{number}").id for number in range(30)}
        assert ids == set(range(21, 51))
        shop.run("INSERT INTO customers (email) VALUES ('walk-in@example.com')")
        assert shop.run("SELECT max(id) FROM customers") == [(51,)]


@pytest.mark.parametrize("kind", [OnPostgres, OnPostgresInAsync, OnDjangoPostgres])
def test_a_sequence_that_is_not_right(kind: Any, tmp_path: Path, postgres_schema: str) -> None:
    """Numbers come from the table's own sequence, so that the application makes none of them again."""
    with ExitStack() as stack:
        shop = kind(stack, tmp_path, postgres_schema)
        shop.run("CREATE TABLE customers (id bigint PRIMARY KEY, email text NOT NULL)")
        with pytest.raises(ConfigurationError, match="serial or an identity"):
            shop.open(users_table="customers").find(HERE, ANN)
        shop.run("DROP TABLE customers")
        shop.fill(0)
        repository = shop.open(users_table="customers")
        shop.run("INSERT INTO customers (id, email) SELECT n, 'old@example.com' FROM generate_series(1, 50) n")
        with pytest.raises(ConfigurationError, match="sequence"):
            repository.put([person(ANN)])
        with pytest.raises(ConfigurationError, match="setval"):
            shop.open(users_table="customers").find(HERE, ANN)
        shop.run("SELECT setval(pg_get_serial_sequence('customers', 'id'), 50)")
        repository.put([person(ANN)])
        assert found(repository).id == 51
        shop.run("INSERT INTO customers (email) VALUES ('walk-in@example.com')")


def test_a_row_that_somebody_else_has_just_inserted(tmp_path: Path, postgres_schema: str) -> None:
    """An application that chooses the same number itself meets the row, and one of the two begins anew."""
    with ExitStack() as stack:
        shop = OnPostgres(stack, tmp_path, postgres_schema)
        shop.fill(50)
        repository = shop.open(users_table="customers", timeout=30)
        with psycopg.connect(shop.uri) as other:
            other.execute(INSERT.format(51).encode())
            other.commit()
        repository.put([person(ANN)])
        assert found(repository).id == 52
        shop.run(INSERT.format(53))
        shop.hooked = False
        with pytest.raises((ConfigurationError, HookFailed)):
            repository.put([person(BEA)])


@pytest.mark.parametrize(
    "options",
    [
        {"ids": int},
        {"ids": int, "linker": lambda record: 1},
        {"ids": int, "first_id": 0},
        {"ids": int, "first_id": True},
        {"ids": int, "first_id": "1"},
        {"ids": int, "users_table": ""},
        {"ids": int, "users_table": 'a"b'},
        {"ids": int, "users_table": 7},
        {"ids": "uuid7", "first_id": 1},
        {"ids": lambda record: 1, "users_table": "customers"},
        {"linker": FirstUserTakes("")},
    ],
)
def test_what_would_leave_it_open_is_refused(options: dict[str, Any]) -> None:
    """When the repository is made, by a sentence that says what to write."""
    with pytest.raises(ConfigurationError, match=r"first_id|users_table|your id"):
        MemoryRepository(**options)
    with pytest.raises(ConfigurationError, match=r"first_id|users_table|your id"):
        PostgresRepository.open(postgres(), **options)
