"""Constraints, triggers and policies of yours on these tables: what they refuse is told, without whom it was about."""

import asyncio
import os
import traceback
import warnings
from typing import Any

import psycopg
import pytest

from clerkmap import Change, ClerkmapError, ClerkUser, ConfigurationError
from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository
from clerkmap.repositories.sql.schema import VIEWS
from clerkmap.testing.samples import ANN, BEA, HERE, company, found, made_by, person
from postgres_server import postgres
from schema_descriptions import connected, opened, run

SECRET = "secret@example.org"
BOOM = """
CREATE FUNCTION {s}.boom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not %', NEW.email; END $$;
CREATE TRIGGER t BEFORE INSERT OR UPDATE ON {s}.clerkmap_identities FOR EACH ROW EXECUTE FUNCTION {s}.boom()
"""
SWALLOW = """
CREATE FUNCTION {s}.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER t BEFORE INSERT ON {s}.clerkmap_{table} FOR EACH ROW EXECUTE FUNCTION {s}.swallow()
"""


def told_nothing(error: BaseException) -> None:
    """Nobody's address is in the text, nor in anything behind it."""
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "secret" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("yours", "told"),
    [
        ("CREATE UNIQUE INDEX one_each ON {s}.clerkmap_identities (email)", "23505, one_each"),
        ("ALTER TABLE {s}.clerkmap_identities ADD CONSTRAINT no_bob CHECK (first_name <> 'Bob')", "23514, no_bob"),
        (
            "DROP VIEW {s}.clerkmap_current_users; ALTER TABLE {s}.clerkmap_identities ALTER email TYPE varchar(9)",
            "22001",
        ),
        (BOOM, "P0001"),
        (
            "ALTER TABLE {s}.clerkmap_identities ADD CONSTRAINT one_each UNIQUE (email) DEFERRABLE INITIALLY DEFERRED",
            "23505, one_each",
        ),
    ],
)
@pytest.mark.parametrize("many", [1, 30])
def test_a_row_that_yours_refuses(postgres_schema: str, yours: str, told: str, many: int) -> None:
    """An error of ours names the code and the constraint, and nobody: alone or in a page, in either colour."""
    people = [person(f"user_{number}", email=SECRET, first_name="Bob") for number in range(many)]
    with opened(postgres_schema) as repository:
        if "one_each" in told:
            repository.put([person(ANN, email=SECRET)])
        run(yours.format(s=postgres_schema))
        with pytest.raises(ConfigurationError, match=told) as raised:
            repository.put(people)
        told_nothing(raised.value)
        assert repository.find(HERE, "user_0") is None

        async def use() -> None:
            there = AsyncPostgresRepository.open(postgres(), schema=postgres_schema)
            with pytest.raises(ConfigurationError, match=told) as raised:
                await there.put(people)
            told_nothing(raised.value)
            await there.close()

        asyncio.run(use())


@pytest.mark.parametrize("code", ["CM001", "42501", "42P01", "0A000", "25006", "26000", "44000", "57014", "53400"])
def test_a_trigger_of_yours_that_raises_any_code(postgres_schema: str, code: str) -> None:
    """Of the database's error, its class and its code are behind ours: in either colour, and on a connection of yours.

    The driver's text shows the address, whatever the code.
    """
    raises = BOOM.replace("NEW.email;", f"NEW.email USING ERRCODE = '{code}', DETAIL = NEW.email;")
    ann = person(email=SECRET)

    def check(raised: pytest.ExceptionInfo[ClerkmapError]) -> None:
        cause = raised.value.__cause__
        assert isinstance(cause, psycopg.Error)
        assert (cause.sqlstate, cause.diag.message_primary) == (code, None)
        shown = "".join(traceback.format_exception(raised.value))
        assert code in shown
        assert "secret" not in shown

    with opened(postgres_schema, timeout=1) as repository, connected() as connection:
        run(raises.format(s=postgres_schema))
        with pytest.raises(ClerkmapError) as raised:
            repository.put([ann])
        check(raised)
        with pytest.raises(ClerkmapError) as raised, connection.transaction():
            repository.within(connection).put([ann])
        check(raised)

        async def use() -> None:
            there = AsyncPostgresRepository.open(postgres(), schema=postgres_schema, timeout=1)
            with pytest.raises(ClerkmapError) as raised:
                await there.put([ann])
            check(raised)
            await there.close()

        asyncio.run(use())


def test_a_value_that_cannot_be_stored(postgres_schema: str) -> None:
    """One with half a character, or a zero in it, is refused likewise."""
    with opened(postgres_schema) as repository:
        for value in ("\udcff", "\0"):
            with pytest.raises(ConfigurationError, match="refused") as raised:
                repository.find(HERE + value, ANN)
            told_nothing(raised.value)


@pytest.mark.parametrize("ids", ["uuid7", int, "clerk"])
@pytest.mark.parametrize("table", ["identities", "organizations", "users"])
def test_a_row_that_yours_swallows(postgres_schema: str, table: str, ids: Any) -> None:
    """What is neither inserted nor refused is not tried for ever, and it is said where to look."""
    with opened(postgres_schema, **made_by(ids)) as repository:
        run(SWALLOW.format(s=postgres_schema, table=table))
        with pytest.raises(ConfigurationError, match=r"triggers|already"):
            repository.put([company() if table == "organizations" else person()])
        if table == "identities":
            with pytest.raises(ConfigurationError, match="triggers"):
                repository.link(HERE, BEA, 7 if ids is int else "mine")


def test_a_unique_index_of_yours_on_organizations(postgres_schema: str) -> None:
    """Which a second one of the same name meets."""
    with opened(postgres_schema, ids=int, first_id=1) as repository:
        run(f"CREATE UNIQUE INDEX ON {postgres_schema}.clerkmap_organizations (name)")
        repository.put([company(name="Acme")])
        with pytest.raises(ConfigurationError, match="unique indexes"):
            repository.put([company("org_other", name="Acme")])


def test_numbers_that_are_used_up(postgres_schema: str) -> None:
    """After a link to the greatest number there is, the database has none left, and says so."""
    with opened(postgres_schema, ids=int, first_id=1) as repository:
        repository.link(HERE, ANN, 2**63 - 1)
        run(f"SELECT setval('{postgres_schema}.clerkmap_users_id_seq', {2**63 - 1})")
        with pytest.raises(ConfigurationError, match="SequenceGeneratorLimitExceeded"):
            repository.put([person(BEA)])


def test_a_linker_that_somebody_outruns(postgres_schema: str) -> None:
    """The person is made known while your linker is asked: no row stays that nobody leads to."""

    def linker(record: ClerkUser) -> str:
        run(f"INSERT INTO {postgres_schema}.clerkmap_users (id, created_at) VALUES ('theirs', 1)")
        columns = "instance, key, rank, clerk_id, email_verified, banned, public_metadata, user_id"
        values = f"'{record.instance}', '{record.key}', '{record.rank}', '{record.clerk_id}', false, false, '{{}}'"
        run(f"INSERT INTO {postgres_schema}.clerkmap_identities ({columns}) VALUES ({values}, 'theirs')")
        return "mine"

    with opened(postgres_schema):
        repository = PostgresRepository.open(postgres(), schema=postgres_schema, linker=linker)
        repository.put([person()])
        assert found(repository).id != "mine"
        assert repository.set_role(found(repository).id, "staff").role == "staff"
        repository.close()
        run(f"DO $$ BEGIN ASSERT (SELECT count(*) FROM {postgres_schema}.clerkmap_users) = 1; END $$")


@pytest.mark.parametrize("column", ["identities ALTER email", "users ALTER role"])
def test_a_column_whose_type_you_alter(postgres_schema: str, column: str) -> None:
    """What connections have prepared by then fits no more: they are replaced, and nobody notices."""
    views = ", ".join(f"{postgres_schema}.clerkmap_{view}" for view in VIEWS)
    alter = f"DROP VIEW IF EXISTS {views}; ALTER TABLE {postgres_schema}.clerkmap_{column} TYPE varchar(300)"
    with opened(postgres_schema, pool_size=1) as repository:
        repository.put([person()])
        for number in range(7):
            repository.find(HERE, ANN)
            repository.put([person(at=number + 2, first_name=str(number))])
        run(alter)
        assert repository.find(HERE, ANN) is not None
        assert repository.put([person(at=20, first_name="C")])

    async def use() -> None:
        there = AsyncPostgresRepository.open(postgres(), schema=postgres_schema, pool_size=1)
        for number in range(7):
            await there.find(HERE, ANN)
            await there.put([person(at=number + 30, first_name=str(number))])
        run(alter.replace("300", "301"))
        run(alter.replace("varchar(300)", "text"))
        assert await there.find(HERE, ANN) is not None
        assert await there.put([person(at=60, first_name="D")])
        await there.close()

    asyncio.run(use())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_hook_that_forks(postgres_schema: str) -> None:
    """The child reads on a connection of its own, and does not see what is not committed."""
    ended: list[int] = []

    def hook(change: Change, tx: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a fork with threads is what this is about
            child = os.fork()
        if child == 0:
            os._exit(0 if repository.find(HERE, ANN) is None else 1)
        ended.append(os.waitpid(child, 0)[1])

    with opened(postgres_schema, hooks=[hook], listen=False) as repository:
        repository.put([person()])
        assert found(repository).clerk == person()
        assert ended == [0]
