"""The processes that `test_crashes` kills, and the deliveries they take in: the same in every process, from a seed.

Each writer is a thread that takes in its own deliveries, one after the other, and writes a line to a pipe whenever
`receive` has returned. So whoever reads the pipe knows what was acknowledged, and which delivery was under way.

No Clerk would tell such things in such an order: the events are the kit's shapes with other ids and times in them.
"""

import os
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from clerkmap.core.records import AnyRecord
from clerkmap.repositories import SqliteRepository
from clerkmap.testing.samples import by_key
from sample_bodies import MS, body, membership, organization, reconciler, records, signed, user

USERS, ORGANIZATIONS, MEMBERSHIPS = 4, 2, 3  # of one team; as many memberships for each person in each organization


class Told(NamedTuple):
    """An event: its type, its data, and when it was."""

    type: str
    data: dict[str, Any]
    at: int

    def body(self) -> bytes:
        return body(self.type, self.data, timestamp=self.at)

    def records(self) -> list[AnyRecord]:
        return records(self.type, self.data, timestamp=self.at)


class Orders(NamedTuple):
    """What a process is to do: which file, whose deliveries, about which teams."""

    path: Path
    seed: str
    writers: tuple[str, ...]
    teams: tuple[int, ...]


def users(team: int) -> list[str]:
    """A few people, who come up together."""
    return [f"user_{team}x{number}" for number in range(USERS)]


def organizations(team: int) -> list[str]:
    """Their organizations."""
    return [f"org_{team}x{number}" for number in range(ORGANIZATIONS)]


def deliveries(orders: Orders, writer: str) -> Iterator[Told]:
    """Events without end, in another order than they happened in. The time of each tells it from all others, and lies
    before that of its delivery: a later one would not be believed."""
    random = Random(f"{orders.seed}/{writer}")
    while True:
        yield _event(random, random.choice(orders.teams), MS - random.randrange(1_000_000_000))


def _event(random: Random, team: int, at: int) -> Told:
    person, company = random.choice(users(team)), random.choice(organizations(team))
    verb = random.choices(("created", "updated", "deleted"), (8, 8, 1))[0]
    kind = random.choice(("user", "organization", "organizationMembership", "organizationMembership"))
    if kind == "user":
        return Told(f"user.{verb}", user(person, at=at), at)
    if kind == "organization":
        return Told(f"organization.{verb}", organization(company, at=at), at)
    clerk_id = f"orgmem_{team}x{person[-1]}x{company[-1]}x{random.randrange(MEMBERSHIPS)}"  # it never changes its ends
    data = membership(clerk_id, at=at, user_id=person, organization=organization(company, at=at))
    return Told(f"organizationMembership.{verb}", data, at)


def work(orders: Orders, acknowledgements: Connection) -> None:
    """What a process does until it is killed: open the file, and take in deliveries, with a thread for each writer."""
    said = acknowledgements.fileno()

    def write(writer: str, receive: Callable[[dict[str, str], bytes], object]) -> None:
        try:
            for told in deliveries(orders, writer):
                content = told.body()
                receive(signed(content), content)
                os.write(said, f"{writer}\n".encode())  # so short that all of it arrives, or nothing
        except Exception as error:
            os.write(said, f"! {error!r}\n".encode())

    repository = SqliteRepository.open(orders.path, ids=by_key, clock=lambda: 1.0, timeout=60)
    receive = reconciler(repository).receive
    threads = [threading.Thread(target=write, args=(writer, receive)) for writer in orders.writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
