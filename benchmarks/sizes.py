"""The size of a million users in PostgreSQL, and the cost of a look-up among them, for the sizing page."""

from collections.abc import Iterator
from random import Random
from typing import Any, LiteralString, cast

import psycopg

from clerkmap.core.records import AnyRecord
from clerkmap.repositories import PostgresRepository

from .measure import Figure, Row, Side, compare
from .people import INSTANCE, clerk_id, member, organization_id, populate, profiled
from .postgres import server

RELATIONS = {
    "users": ("clerkmap_users", 1),
    "users by id": ("clerkmap_users_pkey", 1),
    "identities": ("clerkmap_identities", 1),
    "identities by key": ("clerkmap_identities_pkey", 1),
    "identities by user": ("clerkmap_identities_user", 1),
    "search terms": ("clerkmap_search_terms", 1),
    "search terms by text": ("clerkmap_search_terms_pkey", 1),
    "memberships": ("clerkmap_memberships", 10),
    "memberships by key": ("clerkmap_memberships_pkey", 10),
    "memberships by their ends": ("clerkmap_memberships_ends", 10),
}


def sizes(short: bool) -> Iterator[Row]:
    """Measure both. Each user has a profile, and every tenth is in an organization of ten members."""
    few, many = (500, 2_000) if short else (10_000, 1_000_000)
    with server() as uri, psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        stores = [PostgresRepository(connection, schema=name, durable=False, migrate=True) for name in ("few", "many")]
        for store, size in zip(stores, (few, many), strict=True):
            populate(store, size, _everything)
        connection.execute("VACUUM ANALYZE")
        connection.execute("SET synchronous_commit = on")
        for what, (relation, share) in RELATIONS.items():
            size_in_bytes = cast(LiteralString, f"SELECT pg_relation_size('many.{relation}')")
            ((total,),) = connection.execute(size_in_bytes).fetchall()
            each = total / many * share
            yield Row("sizes", f"{what}, bytes of each row", Figure(each, each), unit="B")
        rounds, times = (3, 50) if short else (21, 1_000)
        for what, organization in (("a user", False), ("a user and an organization", True)):
            mine, theirs = (
                _finding(store, size, times, organization) for store, size in zip(stores, (few, many), strict=True)
            )
            small, large, ratio = compare(mine, theirs, rounds, f"find {what}")
            against = f"the same, {few:,} users"
            yield Row("sizes", f"find {what}, {many:,} users", large, against, small, 1 / ratio)


def _everything(number: int) -> list[AnyRecord]:
    return [*profiled(number), *(member(number)[1:] if number % 10 == 0 else [])]


def _finding(repository: PostgresRepository, size: int, times: int, organization: bool) -> Side:
    random = Random(1)

    def find(ids: tuple[Any, ...]) -> None:
        assert repository.find(*ids) is not None

    def ask() -> list[tuple[Any, ...]]:
        numbers = [random.randrange(size // 10) * 10 for _ in range(times)]
        return [(INSTANCE, clerk_id(number), organization_id(number) if organization else None) for number in numbers]

    return Side(find, ask)
