"""What the processes of the nemesis test do: they put and find, and write down each operation before and after it.

Which operations those are follows from a seed and the process' number. People come in generations, so that all the
time some are made by several processes at once, some are changed, some are deleted, and some, long deleted, are spoken
of again by a process that has fallen behind. Besides, all meet every half second, to make the same people.
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from clerkmap import ClerkMembership, ClerkOrganization, ClerkUser, Repository
from clerkmap.core.records import AnyRecord, key_of
from clerkmap.errors import RepositoryUnavailable
from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository
from clerkmap.testing.blocking import Blocking
from clerkmap.testing.samples import HERE
from nemesis_writes import EVERYTHING, Writer

PROCESSES = 8
TIMEOUT = 2  # seconds, of the repositories
PEOPLE, MEMBERSHIPS = 4, 2  # of a generation, which has one organization; of each person in it
TURNS = 24  # of a process with one generation as the youngest
PAGE = 6  # generations: enough people for the statements that write many at once
WRITES = 2  # besides each of these
MOST_PAUSE = 0.02  # seconds between two operations
REFUSED = 0.05  # seconds before another one, where the first was refused at once
MEETING = 0.5  # seconds from one to the next, by the clock that all processes of a machine have in common
RECOVERS_WITHIN = 30  # seconds


class Orders(NamedTuple):
    """Who a process is, where it works and where it writes down what it does."""

    number: int
    seed: str
    uri: str
    schema: str
    folder: Path
    only: str = EVERYTHING  # or the one operation that it does

    @property
    def history(self) -> Path:
        return self.folder / f"history-{self.number}"

    @property
    def writes(self) -> Path:
        return self.folder / f"writes-{self.number}"


class Step(NamedTuple):
    """What is to be done: put these records, or else find this person in this organization."""

    records: tuple[AnyRecord, ...]
    user: str
    organization: str
    pause: float


def steps(seed: str, number: int) -> Iterator[Step]:
    """The operations of a process, without end."""
    random = Random(f"{seed}/{number}")
    user, organization = "", ""
    for turn in count():
        youngest = turn // TURNS
        age = random.choice((0, 0, 0, 1, 1, 2, 3, random.randrange(youngest + 1)))
        generation = max(0, youngest - age)
        # Late by up to some 20 turns, and unlike any time of another process.
        at = (1_000_000 + turn * 1000 + random.randrange(20_000)) * PROCESSES + number
        if not user or random.random() < 0.6:  # otherwise whom the last step was about
            user, organization = f"user_{generation}x{random.randrange(PEOPLE)}", f"org_{generation}"
        what = random.choices(("find", "put", "page"), (50, 47, 3))[0]
        records: tuple[AnyRecord, ...] = ()
        if what == "put":
            deadly = 0.15 if age >= 2 else 0.01
            kinds = random.choice(("u", "u", "uo", "m", "om", "uom"))
            records = tuple(_record(random, kind, user, organization, at, f"{number}/{turn}", deadly) for kind in kinds)
        elif what == "page":
            generations = range(max(0, youngest - PAGE + 1), youngest + 1)
            people = [f"user_{each}x{person}" for each in generations for person in range(PEOPLE)]
            random.shuffle(people)
            records = tuple(_person(person, at, f"{number}/{turn}") for person in people)
        yield Step(records, user, organization, random.uniform(0, MOST_PAUSE))


def _record(random: Random, kind: str, user: str, organization: str, at: int, name: str, deadly: float) -> AnyRecord:
    is_deleted = random.random() < deadly
    if kind == "u":
        return ClerkUser.deleted(HERE, user, observed_at=at) if is_deleted else _person(user, at, name)
    if kind == "o":
        if random.random() < deadly / 5:
            return ClerkOrganization.deleted(HERE, organization, observed_at=at)
        return ClerkOrganization.full(HERE, organization, observed_at=at, updated_at=at, name=name)
    clerk_id = random.choice(memberships(user))
    ends: dict[str, Any] = {"clerk_user_id": user, "clerk_organization_id": organization, "observed_at": at}
    if is_deleted:
        return ClerkMembership.deleted(HERE, clerk_id, **ends)
    return ClerkMembership.full(HERE, clerk_id, **ends, updated_at=at, role=name)


def _person(user: str, at: int, name: str) -> ClerkUser:
    return ClerkUser.full(HERE, user, observed_at=at, updated_at=at, first_name=name)


def memberships(user: str) -> list[str]:
    """The ids of a person's memberships in the one organization of their generation."""
    return [f"orgmem_{user}x{number}" for number in range(MEMBERSHIPS)]


class History:
    """A file with a line for each beginning and each end of an operation. Whatever happens, a line is whole."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)

    def write(self, **said: Any) -> None:
        os.write(self._file, (json.dumps({**said, "at": time.monotonic_ns()}) + "\n").encode())

    def close(self) -> None:
        os.close(self._file)


def work(orders: Orders, pipe: Connection) -> None:
    """What a process does: say that it is ready, work until it is told to stop, and come back after what was done."""
    logging.basicConfig(filename=orders.folder / f"log-{orders.number}", format="%(asctime)s %(name)s %(message)s")
    with (
        closing(_opened(orders)) as repository,
        closing(History(orders.history)) as history,
        closing(History(orders.writes)) as writes,
    ):
        pipe.send("ready")
        numbers, last_meeting = count(), 0
        writer = Writer(repository, writes.write, orders.seed, orders.number, orders.only)
        puts = orders.only in (EVERYTHING, "put")
        for step in steps(orders.seed, orders.number):
            if pipe.poll():  # also when whoever started it has gone
                break
            repository.poll()  # keeps a listener at work
            if puts and not attempt(repository, history, next(numbers), step):
                time.sleep(REFUSED)
            for _ in range(WRITES):
                writer.step()
            time.sleep(_pause(step.pause))
            meeting = int(time.monotonic() / MEETING)
            if puts and meeting > last_meeting:
                last_meeting = meeting
                for each in _meet(meeting, orders.number):
                    attempt(repository, history, next(numbers), each)
        ends, record = time.monotonic() + RECOVERS_WITHIN, _person(f"user_last_{orders.number}", 1, "last")
        while not attempt(repository, history, next(numbers), Step((record,), "", "", 0)):
            if time.monotonic() > ends:
                break
            time.sleep(REFUSED)


def _pause(wanted: float) -> float:
    """As long as that, or until a meeting that is near."""
    due = MEETING - time.monotonic() % MEETING
    return due if due < 2 * MOST_PAUSE else wanted


def _meet(meeting: int, number: int) -> Iterator[Step]:
    people = [f"user_met_{meeting}x{each}" for each in range(1 if meeting % 4 else PEOPLE * PAGE)]
    yield Step(tuple(_person(user, number, "met") for user in people), "", "", 0)
    yield Step((), people[0], "org_0", 0)


def _opened(orders: Orders) -> Repository:
    """Half of them are asynchronous. All make the tables at once, which may take longer than the timeout."""
    options: dict[str, Any] = {"schema": orders.schema, "timeout": TIMEOUT}
    ends = time.monotonic() + RECOVERS_WITHIN
    while True:
        try:
            if orders.number % 2:
                return Blocking(AsyncPostgresRepository.open, conninfo=orders.uri, **options)
            return PostgresRepository.open(orders.uri, **options)
        except RepositoryUnavailable:
            if time.monotonic() > ends:
                raise


def attempt(repository: Repository, history: History, number: int, step: Step) -> bool:
    """Do one thing, and write it down. Whether it was acknowledged."""
    put = [(record.kind, record.key, record.rank) for record in step.records]
    history.write(number=number, does="put" if put else "find", put=put)
    try:
        seen = _put(repository, step.records) if put else _find(repository, step.user, step.organization)
    except RepositoryUnavailable as error:
        history.write(number=number, outcome="unknown", why=f"{error} {error.__cause__}")
    except Exception as error:
        history.write(number=number, outcome="fail", why=repr(error))
    else:
        history.write(number=number, outcome="ok", seen=seen)
        return True
    return False


def _put(repository: Repository, records: tuple[AnyRecord, ...]) -> list[Any]:
    """Of each thing that changed: its kind, its key, its rank, its id and whether it has gone."""
    changed = [change.after for change in repository.put(records)]
    return [_shown(thing.clerk, getattr(thing, "id", None), getattr(thing, "deleted_at", None)) for thing in changed]


def _find(repository: Repository, user: str, organization: str) -> list[Any]:
    """The same of each thing that was looked for. Where there is none, the rank is empty."""
    standing = repository.find(HERE, user, organization)
    if standing is None:
        return [("user", key_of(user), "", None, False)]
    found = [_shown(standing.user.clerk, standing.user.id, standing.user.deleted_at)]
    if standing.organization is None:
        found.append(("organization", key_of(organization), "", None, False))
    else:
        found.append(_shown(standing.organization.clerk, standing.organization.id, None))
    ranks = {record.key: record.rank for record in standing.memberships}
    keys = {key_of(f"{organization} {user} {clerk_id}") for clerk_id in memberships(user)}
    return found + [("membership", key, ranks.get(key, ""), None, False) for key in sorted(keys | ranks.keys())]


def _shown(record: Any, id: object, deleted_at: object) -> tuple[str, str, str, object, bool]:
    return record.kind, record.key, record.rank, id, deleted_at is not None
