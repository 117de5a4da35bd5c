"""Django's migrations make the tables that every other repository makes, one version after the other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, transaction

from clerkmap import ConfigurationError
from clerkmap.repositories import PostgresRepository, SqliteRepository
from clerkmap.repositories.dialects import SQLITE, Names
from clerkmap.repositories.django import DjangoRepository
from clerkmap.repositories.schema import Schema
from clerkmap.testing.samples import HERE, found, person
from django_databases import add_database, add_postgres, initial, notes, outbox
from first_version import TABLES, statements


@pytest.fixture(params=["sqlite", "postgresql"])
def alias(request: pytest.FixtureRequest, tmp_path: Path, postgres_schema: str) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield add_database("sqlite", NAME=str(tmp_path / "app.db"))
    else:
        yield add_postgres(postgres_schema)
    connections.close_all()


def migrate(alias: str, *to: str) -> None:
    """`manage.py migrate clerkmap`, as far as to a migration."""
    call_command("migrate", "clerkmap", *to, database=alias, verbosity=0)


def rows_of(alias: str) -> list[Any]:
    """Everything in the tables of the first version."""
    with connections[alias].cursor() as cursor:
        rows: list[Any] = []
        for name in TABLES:
            cursor.execute(f"SELECT * FROM clerkmap_{name}")
            rows.append(cursor.fetchall())
    return rows


def fill(alias: str) -> None:
    """A row in each table of the first version."""
    with connections[alias].cursor() as cursor:
        for statement in statements(connections[alias].vendor, "text"):
            if statement.strip().startswith("INSERT INTO clerkmap_") and "clerkmap_schema" not in statement:
                cursor.execute(statement, None)


def written_down(vendor: str, id_type: str) -> str:
    """The migrations as one script, with the version said once, at the end, as in that of the other repositories."""
    *first, table, version = initial.statements(vendor, id_type)
    later = [statement for each in (notes, outbox) for statement in each.STATEMENTS[vendor][:-1]]
    made = [*first, *(each.strip() for each in later), table, version.replace("VALUES (1,", "VALUES (3,")]
    return ";\n".join(made) + ";\n"


def since_the_second(vendor: str) -> str:
    """The last migration as a script."""
    return ";\n".join(each.strip() for each in outbox.STATEMENTS[vendor]) + ";\n"


@pytest.mark.parametrize("id_type", ["text", "bigint", "uuid"])
def test_the_migrations_are_what_the_others_run(id_type: Any) -> None:
    """What is written down in the migrations is, to the letter, what the other repositories do."""
    options: dict[str, Any] = {"id_type": id_type, "ids": "integer" if id_type == "bigint" else "uuid7"}
    assert written_down("postgresql", id_type) == PostgresRepository.ddl(**options)
    assert since_the_second("postgresql") == PostgresRepository.ddl(since=2, **options)
    if id_type != "uuid":
        schema = Schema(SQLITE, Names("clerkmap_"), initial.ID_TYPES["sqlite"][id_type][0])
        assert written_down("sqlite", id_type) == schema.ddl(0)
        assert since_the_second("sqlite") == schema.ddl(2)


def test_tables_of_the_first_version_are_brought_forward(alias: str) -> None:
    """Until then they are refused, and by then every row is still there. It goes back, too, and forward again."""
    migrate(alias, "0001")
    fill(alias)
    before = rows_of(alias)
    assert all(before)
    with pytest.raises(ConfigurationError, match=r"manage\.py migrate"):
        DjangoRepository(alias).note("sync")

    for _ in range(2):
        migrate(alias)
        repository = DjangoRepository(alias)
        assert found(repository).email == "ann@example.com"
        assert repository.note("sync") is None
        repository.set_note("sync", "page 7")
        assert repository.note("sync") == "page 7"
        migrate(alias, "0001")
    assert rows_of(alias) == before
    migrate(alias, "zero")
    assert not [name for name in connections[alias].introspection.table_names() if name.startswith("clerkmap_")]


def test_another_program_came_first(tmp_path: Path) -> None:
    """What `SqliteRepository.open` has brought forward is found so by the migration."""
    alias = add_database("sqlite", NAME=str(tmp_path / "app.db"))
    migrate(alias, "0001")
    connections.close_all()
    other = SqliteRepository.open(tmp_path / "app.db")
    other.set_note("sync", json.dumps({"page": 7}))
    other.put([person()])
    other.close()

    migrate(alias)
    repository = DjangoRepository(alias)
    assert repository.note("sync") == '{"page": 7}'
    assert [record.instance for record in repository.records("user", HERE)] == [HERE]
    connections.close_all()


def test_a_note_in_your_transaction_is_a_part_of_it(alias: str) -> None:
    """Undone with it, and committed with it."""
    migrate(alias)
    repository = DjangoRepository(alias)
    for undone in (True, False):
        with transaction.atomic(using=alias):
            repository.set_note("sync", "page 7")
            transaction.set_rollback(undone, using=alias)
        assert repository.note("sync") == (None if undone else "page 7")
