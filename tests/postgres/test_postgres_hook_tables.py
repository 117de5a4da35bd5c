"""Tables that hooks keep are equal to the views, after concurrent writes of users, organizations and memberships."""

from concurrent.futures import ThreadPoolExecutor
from random import Random

import psycopg
from psycopg.conninfo import make_conninfo

from clerkmap.repositories import PostgresRepository
from hook_tables import TABLES, Keeper, check
from postgres_server import postgres
from random_lives import NOW, step

WRITERS, STEPS, ROUNDS = 6, 3, 60
EVERYTHING = (
    "clerkmap_users, clerkmap_identities, clerkmap_organizations, clerkmap_memberships, "
    "kept_members, kept_people, kept_organizations"
)


def test_concurrent_writers(postgres_schema: str) -> None:
    """Each writer puts single records or many, bans, deletes and links, and each change of the hook is true."""
    conninfo = make_conninfo(postgres(), options=f"-csearch_path={postgres_schema}")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {postgres_schema}".encode())
        for table in TABLES:
            connection.execute(table.encode())

        def rows(query: str) -> list[tuple[object, ...]]:
            return connection.execute(query.encode()).fetchall()

        with PostgresRepository.open(conninfo, hooks=[Keeper("%s")], clock=lambda: NOW, timeout=60) as repository:
            for number in range(ROUNDS):

                def live(writer: int, number: int = number) -> None:
                    random = Random(1_000 * number + writer)
                    for _ in range(STEPS):
                        step(random, repository)

                with ThreadPoolExecutor(WRITERS) as pool:
                    list(pool.map(live, range(WRITERS)))
                check(repository, rows, has_views=True)
                connection.execute(f"TRUNCATE {EVERYTHING}".encode())
