"""How the tables come to be in PostgreSQL: once, however many start at once, and by `open` or by a script alike."""

from typing import get_args

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from clerkmap import ConfigurationError, LinkRefused
from clerkmap.repositories import PostgresRepository
from clerkmap.repositories.options import IdType
from clerkmap.testing.samples import ACME, ANN, BEA, HERE, company, found, left, member, person
from postgres_server import postgres
from schema_descriptions import connected, described, lesser_role, open_at_once, opened, options_of, run


@pytest.mark.slow
def test_processes_that_start_at_once(postgres_schema: str) -> None:
    """Eight open on nothing at all: no error, tables as one would have made them, one person."""
    assert open_at_once({"schema": postgres_schema}) == 1
    with opened(f"{postgres_schema}_alone"):
        pass
    assert described(postgres_schema) == described(f"{postgres_schema}_alone")
    run(f"DROP SCHEMA {postgres_schema}_alone CASCADE")


@pytest.mark.parametrize("prefix", ["clerkmap_", "my_"])
@pytest.mark.parametrize("id_type", get_args(IdType))
def test_the_script_makes_what_open_makes(postgres_schema: str, id_type: IdType, prefix: str) -> None:
    """The same tables, columns, types, indexes and constraints, and a repository that works on them."""
    options = options_of(id_type)
    options["prefix"] = prefix
    by_open = f"{postgres_schema}_open"
    with opened(by_open, **options):
        pass
    run(PostgresRepository.ddl(schema=postgres_schema, **options))
    assert described(postgres_schema, prefix) == described(by_open, prefix)
    run(f"DROP SCHEMA {by_open} CASCADE")
    with opened(postgres_schema, migrate=False, **options) as repository:
        assert len(repository.put([person(), company(), member()])) == 3


def test_the_script_without_a_schema(postgres_schema: str) -> None:
    """The tables are made where the `search_path` leads, and are those of `open` with that schema."""
    there = make_conninfo(postgres(), options=f"-csearch_path={postgres_schema}_path")
    run(f"CREATE SCHEMA {postgres_schema}_path")
    with connected(there) as connection:
        connection.execute(PostgresRepository.ddl().encode())
    with opened(None, there, migrate=False), opened(postgres_schema):
        assert described(postgres_schema) == described(f"{postgres_schema}_path")
    run(f"DROP SCHEMA {postgres_schema}_path CASCADE")


def test_nothing_is_made_unasked(postgres_schema: str) -> None:
    """With `migrate=False` missing tables are refused, and nothing has been made, the schema neither."""
    with pytest.raises(ConfigurationError, match="ddl"), opened(postgres_schema, migrate=False):
        pass
    with connected() as connection:
        assert connection.execute("SELECT to_regnamespace(%s)", [postgres_schema]).fetchall() == [(None,)]


def test_missing_tables_are_named_with_their_schema(postgres_schema: str) -> None:
    """The error says which tables, where, and which command makes them."""
    run(f"CREATE SCHEMA {postgres_schema}")
    wanted = f"clerkmap_. are missing in schema {postgres_schema}: run clerkmap migrate"
    with pytest.raises(ConfigurationError, match=wanted), opened(postgres_schema, migrate=False):
        pass


def test_a_role_that_may_not_create_tables_is_named(postgres_schema: str) -> None:
    """To migrate as the application's role is refused with the role and the schema."""
    run(f"CREATE SCHEMA {postgres_schema}")
    with lesser_role() as role:
        conninfo = make_conninfo(postgres(), user=role)
        run(f"GRANT USAGE ON SCHEMA {postgres_schema} TO {role}")
        wanted = f"the role {role} may not create tables in schema {postgres_schema}: migrate with"
        with pytest.raises(ConfigurationError, match=wanted), opened(postgres_schema, conninfo, migrate=True):
            pass


def test_a_search_path_without_a_schema_is_named(postgres_schema: str) -> None:
    """Neither making nor finding tables raises an error of the database."""
    conninfo = make_conninfo(postgres(), options=f"-csearch_path={postgres_schema}")
    for migrate in (False, True):
        with pytest.raises(ConfigurationError, match="search_path"):
            PostgresRepository.open(conninfo, migrate=migrate)


@pytest.mark.parametrize("id_type", get_args(IdType))
def test_a_role_with_few_privileges(postgres_schema: str, id_type: IdType) -> None:
    """Who may not make tables can do everything else: four privileges on the tables, two on sequences, are enough."""
    schema, options = postgres_schema, options_of(id_type)
    run(PostgresRepository.ddl(schema=schema, **options))
    with lesser_role() as role:
        conninfo = make_conninfo(postgres(), user=role)
        wanted = f"the role {role} needs USAGE on the schema {schema}"
        with pytest.raises(ConfigurationError, match=wanted), opened(schema, conninfo, **options):
            pass
        run(
            f"GRANT USAGE ON SCHEMA {schema} TO {role};"
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};"
            f"GRANT USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
        )
        for migrate in (False, True):
            with opened(schema, conninfo, migrate=migrate, **options) as repository:
                if id_type == "bigint" and not migrate:  # a number of yours, which the database's own must go around
                    assert repository.link(HERE, ANN, 1).id == 1
                    repository.put([person(BEA)])
                    assert found(repository, BEA).id == 2
                use(repository, f"user_{migrate}")
        with connected(conninfo) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"CREATE TABLE {schema}.other (id int)".encode())


def test_the_missing_privilege_is_named(postgres_schema: str) -> None:
    """The error names the role, the privileges and the table or sequence. Another text of the server is not shown."""
    schema, options = postgres_schema, options_of("bigint")
    run(PostgresRepository.ddl(schema=schema, **options))
    all_four = "SELECT, INSERT, UPDATE and DELETE on the table"
    with lesser_role() as role:
        conninfo = make_conninfo(postgres(), user=role)
        run(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        with pytest.raises(ConfigurationError, match=f"the role {role} needs {all_four} clerkmap_schema"):
            PostgresRepository.open(conninfo, schema=schema, **options)
        run(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}")
        with opened(schema, conninfo, migrate=False, **options) as repository:
            assert repository.find(HERE, ANN) is None
            with pytest.raises(ConfigurationError, match=f"the role {role} needs {all_four} clerkmap_"):
                repository.put([person()])
            run(f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}")
            with pytest.raises(ConfigurationError, match=f"the role {role} needs USAGE and UPDATE on the sequence"):
                repository.put([person()])
            run(
                f"GRANT USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA {schema} TO {role};"
                f"CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$BEGIN RAISE insufficient_privilege USING MESSAGE = 'ann@example.com is not welcome'; END$$;"
                f"CREATE TRIGGER refuse BEFORE INSERT ON {schema}.clerkmap_users "
                f"FOR EACH ROW EXECUTE FUNCTION {schema}.refuse()"
            )
            with pytest.raises(ConfigurationError, match="on the tables, and USAGE on their schema") as raised:
                repository.put([person()])
            assert "ann@example.com" not in str(raised.value)


def use(repository: PostgresRepository, crowd: str = "user_a") -> None:
    """A bit of everything that the contract promises, with a crowd of people."""
    names = [f"{crowd}{number}" for number in range(40)]
    repository.put([company(), *(person(name) for name in names), *(member(f"orgmem_{n}", user=n) for n in names)])
    assert len({found(repository, name).id for name in names}) == 40
    assert repository.put([person(name, at=2, first_name=name) for name in names])
    assert [found(repository, name).name for name in names] == names
    assert repository.put([person(name) for name in names]) == []
    standing = repository.find(HERE, names[0], ACME)
    assert standing is not None
    assert standing.organization is not None
    assert len(standing.memberships) == 1
    first, second = found(repository, names[0]), found(repository, names[1])
    assert repository.set_role(first.id, "staff").role == "staff"
    assert repository.link(HERE, names[0], first.id).id == first.id
    with pytest.raises(LinkRefused):
        repository.link(HERE, names[0], second.id)
    assert repository.unlink(HERE, names[0], first.id).id != first.id
    repository.relink(HERE, names[0], found(repository, names[0]).id, to=first.id)
    assert found(repository, names[0]).id == first.id
    repository.put([left(f"orgmem_{names[0]}")])
    assert repository.export(first.id)
    assert repository.erase(first.id).user.deleted_at is not None
    assert found(repository, names[0]).clerk.is_deleted


def test_a_newer_version_is_refused(postgres_schema: str) -> None:
    """Tables made by a later clerkmap are left alone, and the text says what to do."""
    run(PostgresRepository.ddl(schema=postgres_schema))
    run(f"UPDATE {postgres_schema}.clerkmap_schema SET version = 99")
    before = described(postgres_schema)
    for migrate in (True, False):
        with pytest.raises(ConfigurationError, match=r"version 99.*upgrade"), opened(postgres_schema, migrate=migrate):
            pass
    assert described(postgres_schema) == before


@pytest.mark.parametrize("migrate", [True, False])
@pytest.mark.parametrize("other", get_args(IdType))
@pytest.mark.parametrize("id_type", get_args(IdType))
def test_ids_of_another_type_are_refused(postgres_schema: str, id_type: IdType, other: IdType, migrate: bool) -> None:
    """The tables hold ids of the type that they were made with."""
    run(PostgresRepository.ddl(schema=postgres_schema, **options_of(id_type)))
    if id_type != other:
        with (
            pytest.raises(ConfigurationError, match=rf"type {id_type}.*{other}"),
            opened(postgres_schema, migrate=migrate, **options_of(other)),
        ):
            pass


def test_a_server_that_may_lose_what_it_acknowledges(postgres_schema: str) -> None:
    """`synchronous_commit = off` is refused, unless you say that it may."""
    hasty = make_conninfo(postgres(), options="-csynchronous_commit=off")
    with pytest.raises(ConfigurationError, match="durable=False"), opened(postgres_schema, hasty):
        pass
    with opened(postgres_schema, hasty, durable=False) as repository:
        repository.put([person()])
    with pytest.raises(ConfigurationError, match="durable=False"), opened(postgres_schema, hasty):
        pass
    with opened(postgres_schema) as repository:
        assert found(repository).clerk == person()


def test_repositories_in_one_database(postgres_schema: str) -> None:
    """With another prefix, or in another schema, nobody of the one is known to the other."""
    other = f"{postgres_schema}_other"
    with (
        opened(postgres_schema) as one,
        opened(postgres_schema, prefix="second_", ids=int, first_id=1) as two,
        opened(other) as three,
    ):
        repositories = (one, two, three)
        for number, repository in enumerate(repositories):
            repository.put([person(email=f"{number}@b.c")])
        assert [found(repository).email for repository in repositories] == ["0@b.c", "1@b.c", "2@b.c"]
        one.erase(found(one).id)
        assert [found(repository).email for repository in repositories] == [None, "1@b.c", "2@b.c"]
        assert three.user(found(one).id) is None
    run(f"DROP SCHEMA {other} CASCADE")


@pytest.mark.parametrize("id_type", get_args(IdType))
def test_a_table_that_you_have_partitioned(postgres_schema: str, id_type: IdType) -> None:
    """A script of yours, made from ours, may cut the people in four: nobody notices."""
    options = options_of(id_type)
    table = f"{postgres_schema}.clerkmap_identities"
    statements = PostgresRepository.ddl(schema=postgres_schema, **options).split(";\n")
    (at,) = (number for number, each in enumerate(statements) if each.startswith(f"CREATE TABLE {table} ("))
    statements[at] += " PARTITION BY HASH (key)"
    statements[at + 1 : at + 1] = [
        f"CREATE TABLE {table}_{rest} PARTITION OF {table} FOR VALUES WITH (MODULUS 4, REMAINDER {rest})"
        for rest in range(4)
    ]
    run(";\n".join(statements))
    with opened(postgres_schema, migrate=False, **options) as repository:
        use(repository)
    with connected() as connection:
        for rest in range(4):
            assert connection.execute(f"SELECT count(*) FROM {table}_{rest}".encode()).fetchall() > [(0,)]
