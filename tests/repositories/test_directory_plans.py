"""A page of a list is a range of an index, whatever the number of users: nothing is sorted or read whole."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
import pytest

from clerkmap._runtime.driving import drive
from clerkmap.core.records import AnyRecord, ClerkUser
from clerkmap.repositories import PostgresRepository, SqliteRepository
from clerkmap.repositories.listing import Listing
from clerkmap.repositories.options import Configuration
from clerkmap.repositories.sql.dialects import POSTGRES, SQLITE, Dialect, Names
from clerkmap.repositories.sql.repository import SqlTables
from clerkmap.repositories.sql.statements import Ask, Rows, Statements
from clerkmap.testing.samples import company, member, person
from schema_descriptions import connected, opened

pytestmark = pytest.mark.slow

MANY = 3_000
# For each list, the index that its page is read by: as SQLite calls it, and PostgreSQL.
BY_TERM = "PRIMARY KEY (kind=? AND (term,instance,key)>"
LISTS = {
    "users": (Listing("users", 50), "PRIMARY KEY (id>?)", "users_pkey"),
    "users of a role": (Listing("users", 50, role="staff"), "users_role (role=? AND id>?)", "users_role"),
    "users found": (Listing("users", 50, "an"), BY_TERM, "search_terms_pkey"),
    "organizations": (Listing("organizations", 50), "autoindex_clerkmap_organizations_1", "organizations_pkey"),
    "organizations found": (Listing("organizations", 50, "co"), BY_TERM, "search_terms_pkey"),
    "members": (
        Listing("members", 50),
        "memberships_current (instance=? AND organization_key=? AND user_key>?)",
        "memberships_current",
    ),
    "organizations of": (None, "memberships_ends (instance=? AND user_key=?", "memberships_ends"),
}


def first_role(record: ClerkUser) -> str | None:
    """A role of every tenth user."""
    return "staff" if str(record.clerk_id).endswith("7") else None


def everything() -> list[AnyRecord]:
    """Enough that a planner has a choice."""
    return [
        *(person(f"user_{number}", first_name=f"An{number}", email=f"{number}@x") for number in range(MANY)),
        *(company(f"org_{number}", name=f"Co {number}") for number in range(MANY)),
        company(),
        *(member(f"orgmem_{number}", user=f"user_{number}") for number in range(0, MANY, 3)),
    ]


def statements(name: str, dialect: Dialect, names: Names, execute: Callable[[Ask], Rows]) -> list[Ask]:
    """The statements that read the second page of a list."""
    configuration = Configuration(ids="clerk")
    lists = SqlTables(Statements(dialect, names, None, id_type="text"), configuration).listing
    asked: list[Ask] = []

    def answer(ask: Ask) -> Rows:
        asked.append(ask)
        return execute(ask)

    listing = LISTS[name][0]
    if listing is None:
        assert drive(lists.organizations_of("user_6"), answer)
        return asked
    if listing.method == "members":
        listing = Listing("members", 50, organization_id="org_acme")
    read = getattr(lists, listing.method)
    first = drive(read(listing, None), answer)
    assert len(first.items) == 50
    asked.clear()
    assert len(drive(read(listing, first.after), answer).items) == 50
    return asked


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lists") / "app.db"
    with SqliteRepository.open(path, durable=False, ids="clerk", first_role=first_role) as repository:
        repository.put(everything())
    return path


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_sqlite(file: Path, name: str, analyzed: bool) -> None:
    """With statistics of the tables and without, in the order of an index."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        if analyzed:
            connection.execute("ANALYZE")
        plans = []
        for text, values in statements(
            name, SQLITE, Names("clerkmap_"), lambda ask: connection.execute(*ask).fetchall()
        ):
            plans.append(str([step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]))
        assert LISTS[name][1] in plans[-1]
        assert not re.search(r"SCAN (?!known)", str(plans)), plans
        if name != "organizations of":
            assert "B-TREE" not in plans[-1], plans
        connection.rollback()


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_a_list_of_postgres(postgres_schema: str, analyzed: bool, mode: str) -> None:
    """Also where the server plans for any values there may be. Without statistics it reads by the same indexes."""
    with opened(postgres_schema, ids="clerk", first_role=first_role) as repository, connected() as connection:
        fill(connection, repository, postgres_schema)
        if analyzed:
            connection.execute("ANALYZE")
        connection.execute(f"SET plan_cache_mode = {mode}".encode())
        names = Names("clerkmap_", postgres_schema)
        for name, (_, _, index) in LISTS.items():
            if name == "users of a role" and not analyzed:
                continue  # without statistics the server expects two of them, and sorts them

            def execute(ask: Ask) -> Rows:
                return connection.execute(cast(LiteralString, ask[0]), cast(Any, ask[1])).fetchall()

            text, values = statements(name, POSTGRES, names, execute)[-1]
            explain = connection.execute(cast(LiteralString, f"EXPLAIN {text}"), cast(Any, values), prepare=True)
            plan = str(explain.fetchall())
            assert f"clerkmap_{index}" in plan, (name, plan)
            assert "Seq Scan" not in plan.replace("Seq Scan on clerkmap_organizations o", ""), (name, plan)
            # Without statistics the server expects that a search finds one row, and sorts the whole range.
            if name != "organizations of" and (analyzed or "found" not in name):
                assert "Sort " not in plan, (name, plan)


def fill(connection: psycopg.Connection[Any], repository: PostgresRepository[Any], schema: str) -> None:
    """Write everything into tables of which no statistics are made meanwhile."""
    for table in ("users", "identities", "organizations", "memberships", "search_terms"):
        connection.execute(f"ALTER TABLE {schema}.clerkmap_{table} SET (autovacuum_enabled = false)".encode())
    repository.put(everything())


def test_a_policy_asks_once(postgres_schema: str) -> None:
    """A row security policy with `ARRAY` reads the user's organizations once, and the rows by an index of theirs."""
    role = f"{postgres_schema}_app"
    with opened(postgres_schema, ids="clerk") as repository, connected() as connection:
        repository.put(everything())
        script = f"""
            SET search_path = {postgres_schema};
            CREATE TABLE invoices (id int PRIMARY KEY, organization_id text);
            INSERT INTO invoices SELECT n, 'org_' || n FROM generate_series(1, 20000) n;
            CREATE INDEX invoices_organization ON invoices (organization_id);
            ANALYZE;
            ALTER TABLE invoices ENABLE ROW LEVEL SECURITY;
            CREATE POLICY members_read ON invoices FOR SELECT USING (organization_id = ANY (ARRAY(
                SELECT organization_id FROM clerkmap_current_members WHERE user_id = current_setting('app.user_id')
            )));
            CREATE ROLE {role};
            GRANT USAGE ON SCHEMA {postgres_schema} TO {role};
            GRANT SELECT ON invoices, clerkmap_current_members TO {role};
            SET app.user_id = 'user_6';
            SET ROLE {role}
        """
        try:
            connection.execute(script.encode())
            plan = str(connection.execute("EXPLAIN SELECT * FROM invoices").fetchall())
            for part in ("InitPlan", "clerkmap_identities_user", "clerkmap_memberships_ends", "invoices_organization"):
                assert part in plan, plan
            assert "SubPlan" not in plan, plan
        finally:
            connection.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}".encode())
