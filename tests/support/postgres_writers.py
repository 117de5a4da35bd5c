"""Processes that write shuffled events to PostgreSQL, and what they are to write: the same in every process, by a seed.

A share is a stream of one writer's own and, told again, every tenth event of another one's. No event comes when it
happened: its time is drawn by lot.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import NamedTuple

import psycopg

from clerkmap.core.records import AnyRecord, ClerkMembership, key_of
from clerkmap.repositories import PostgresRepository
from crash_writers import Orders, Told, deliveries, organizations, users
from histories import OPTIONS
from sample_bodies import reconciler, signed

CHUNK, TWICE = 5_000, 10  # events that are shuffled at a time; of how many one is told again, by another writer
SIZES = (1, 1, 2, 5, 20, 120)  # events in a transaction
Ranks = dict[tuple[str, str, str], str]  # of each thing the greatest rank: by its kind, its instance and its key
TABLES = {"user": "identities", "organization": "organizations", "membership": "memberships", "session": "sessions"}


class Share(NamedTuple):
    """Which events one process writes where."""

    uri: str
    seed: str
    writer: int
    writers: int
    teams: tuple[int, ...]
    events: int  # of its own

    def chunks(self) -> Iterator[list[Told]]:
        """Its own events, and what it tells again."""
        random = Random(f"{self.seed}/{self.writer}/order")
        mine = islice(_stream(self, self.writer), self.events)
        again = islice(_stream(self, (self.writer + 1) % self.writers), 0, self.events, TWICE)
        while chunk := [*islice(mine, CHUNK), *islice(again, CHUNK // TWICE)]:
            random.shuffle(chunk)
            yield chunk


class Written(NamedTuple):
    """What a process has written: how much, the greatest ranks, and all that it wrote of a few teams."""

    events: int
    transactions: int
    ranks: Ranks
    looked_at: list[AnyRecord]


def _stream(share: Share, writer: int) -> Iterator[Told]:
    return deliveries(Orders(Path(), share.seed, (), share.teams), str(writer))


def greatest(records: Iterable[AnyRecord], ranks: Ranks) -> Ranks:
    """The rule said once more, without the code that is tested: of each thing the greatest rank that was ever put."""
    ranks = dict(ranks)
    for record in records:
        place = (record.kind, record.instance, record.key)
        ranks[place] = max(record.rank, ranks.get(place, ""))
    return ranks


def held(uri: str) -> Ranks:
    """What is in the tables."""
    ranks: Ranks = {}
    with psycopg.connect(uri, autocommit=True) as connection:
        for kind, table in TABLES.items():
            found = connection.execute(f"SELECT instance, key, rank FROM clerkmap_{table}".encode()).fetchall()
            ranks |= {(kind, instance, key): rank for instance, key, rank in found}
    return ranks


def write(share: Share, looked_at: tuple[int, ...]) -> Written:
    """What one process does."""
    keys = {key_of(each) for team in looked_at for each in (*users(team), *organizations(team))}
    random = Random(f"{share.seed}/{share.writer}/groups")
    events, transactions, kept = 0, 0, list[AnyRecord]()
    ranks: Ranks = {}
    with closing(PostgresRepository.open(share.uri, pool_size=1, timeout=60, **OPTIONS)) as repository:
        for chunk in share.chunks():
            rest = iter(chunk)
            while group := list(islice(rest, random.choice(SIZES))):
                records = [record for told in group for record in told.records()]
                repository.put(records)
                events, transactions = events + len(group), transactions + 1
                for record in records:
                    place = (record.kind, record.instance, record.key)
                    ranks[place] = max(record.rank, ranks.get(place, ""))
                kept += [record for record in records if _about(record) in keys]
    return Written(events, transactions, ranks, kept)


def _about(record: AnyRecord) -> str:
    return record.user_key if isinstance(record, ClerkMembership) else record.key


def work(share: Share, acknowledgements: Connection) -> None:
    """What a process does until it is killed: take in deliveries, one by one, and say so after each of them."""
    said = acknowledgements.fileno()
    try:
        repository = PostgresRepository.open(share.uri, pool_size=1, timeout=60, **OPTIONS)
        receive = reconciler(repository).receive
        for told in _stream(share, share.writer):
            content = told.body()
            receive(signed(content), content)
            os.write(said, b".")
    except Exception as error:
        os.write(said, f"! {error!r}".encode())


def taken_in(share: Share, acknowledged: int) -> tuple[list[AnyRecord], list[AnyRecord]]:
    """What a process that was killed has acknowledged, and what it may have written besides: all of it or nothing."""
    *known, unsure = islice(_stream(share, share.writer), acknowledged + 1)
    return [record for told in known for record in told.records()], unsure.records()
