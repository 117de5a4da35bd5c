"""Django's migration makes the tables that every other repository makes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, transaction

from clerkmap import ConfigurationError
from clerkmap.repositories import PostgresRepository
from clerkmap.repositories.django import DjangoRepository
from clerkmap.repositories.sql.dialects import SQLITE, Names
from clerkmap.repositories.sql.schema import Schema
from clerkmap.testing.samples import found, made_by, person
from django_databases import add_database, add_postgres, initial


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


def written_down(vendor: str, id_type: str) -> str:
    """The migration as one script."""
    return ";\n".join(initial.statements(vendor, id_type)) + ";\n"


@pytest.mark.parametrize("id_type", ["text", "bigint", "uuid"])
def test_the_migration_is_what_the_others_run(id_type: Any) -> None:
    """The statements of the migration equal, character by character, those of the other repositories."""
    options: dict[str, Any] = {"id_type": id_type, **made_by(int if id_type == "bigint" else "uuid7")}
    assert written_down("postgresql", id_type) == PostgresRepository.ddl(**options)
    if id_type != "uuid":
        schema = Schema(SQLITE, Names("clerkmap_"), initial.ID_TYPES["sqlite"][id_type][0])
        assert written_down("sqlite", id_type) == schema.ddl(0)


def test_the_migration_goes_there_and_back(alias: str) -> None:
    """Without it the repository says what to run; undone, it leaves no table behind; and it can be run again."""
    with pytest.raises(ConfigurationError, match=r"manage\.py migrate"):
        DjangoRepository(alias).checkpoint("sync")
    for _ in range(2):
        migrate(alias)
        repository = DjangoRepository(alias)
        repository.put([person(email="ann@example.com")])
        assert found(repository).email == "ann@example.com"
        migrate(alias, "zero")
        names = connections[alias].introspection.table_names()
        assert not [name for name in names if name.startswith("clerkmap_")]


def test_a_note_in_your_transaction_is_a_part_of_it(alias: str) -> None:
    """Undone with it, and committed with it."""
    migrate(alias)
    repository = DjangoRepository(alias)
    for undone in (True, False):
        with transaction.atomic(using=alias):
            repository.set_checkpoint("sync", "page 7")
            transaction.set_rollback(undone, using=alias)
        assert repository.checkpoint("sync") == (None if undone else "page 7")
