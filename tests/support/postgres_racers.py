"""What the processes of the race tests do: all of them begin each round at once, about somebody never seen before.

A process of `crew` waits for the others at a barrier, which it is given when it starts.
"""

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from functools import cache
from itertools import cycle
from typing import Any, NamedTuple

import psycopg

from clerkmap import Change, Repository, Resolver, Verifier
from clerkmap.core.admission import new_records_of_token
from clerkmap.core.records import ClerkMembership, ClerkOrganization
from clerkmap.repositories import PostgresRepository
from clerkmap.testing import Clock, FakeClerk, FakeOrganization, FakeUser
from clerkmap.testing.samples import made_by
from sqlalchemy_ways import racer

PROCESSES = 8
NOW = 1_790_000_000
WITHIN = 120  # seconds: who waits longer for the others waits in vain
Ids = tuple[object, object]

_meeting: Any = None


class Race(NamedTuple):
    """Where a race is run, by how many threads of each process, in how many rounds, with how many requests in each."""

    uri: str
    ids: Any
    threads: int
    rounds: int
    requests: int  # of a thread in a round
    webhooks: bool  # whether one thread of each process states in full what the others have only seen in tokens
    hooked: bool
    way: str = ""  # of SQLAlchemy: one of `WAYS`, and then `uri` is its URL
    schema: str | None = None


class Facts(NamedTuple):
    """Whom a round is about."""

    user: FakeUser
    organization: FakeOrganization
    token: str


@contextmanager
def crew(threads: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that are started anew, whose threads can wait for each other."""
    context = multiprocessing.get_context("spawn")
    meeting = context.Barrier(PROCESSES * threads)
    with ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=_share, initargs=(meeting,)) as pool:
        yield pool


def _share(meeting: Any) -> None:
    global _meeting
    _meeting = meeting


@cache
def world(rounds: int) -> tuple[FakeClerk, list[Facts]]:
    """The same Clerk, people, organizations and tokens in every process."""
    clerk = FakeClerk(seed=3, clock=Clock(NOW))
    facts = []
    for _ in range(rounds):
        user = clerk.create_user(first_name="Ann")
        organization = clerk.create_organization(created_by=user)
        facts.append(Facts(user, organization, clerk.token(user, organization)))
    return clerk, facts


def checkpoint(change: Change, tx: psycopg.Connection[Any]) -> None:
    """A hook that leaves a row for each thing that is made, in the transaction that makes it."""
    if change.made:
        clerk = change.after.clerk
        key = clerk.user_key if isinstance(clerk, ClerkMembership) else clerk.key
        tx.execute("INSERT INTO calls VALUES (%s, %s)", (clerk.kind, key))


def race(orders: Race) -> list[set[Ids]]:
    """What one process does: of each round, the ids that its threads were told."""
    clerk, facts = world(orders.rounds)
    seen = [set[Ids]() for _ in facts]
    raised: list[BaseException] = []

    def run(repository: Repository, states_all: bool, first: int) -> None:
        try:
            verifier = Verifier(clerk.instance, clock=clerk.clock)
            ways = cycle([_request, _sight] if first % 2 else [_sight, _request])
            for round, fact in enumerate(facts):
                _meeting.wait(WITHIN)
                for _ in range(orders.requests):
                    way = _state if states_all else next(ways)
                    seen[round].add(way(repository, clerk, verifier, fact))
        except BaseException as error:
            _meeting.abort()
            raised.append(error)

    hooks = [checkpoint] if orders.hooked else []
    with closing(_opened(orders, hooks)) as repository:
        together(
            *(
                lambda number=number: run(repository, orders.webhooks and number == 0, number)
                for number in range(orders.threads)
            )
        )
    if raised:  # rather one that explains why the others have waited in vain
        raise min(raised, key=lambda error: isinstance(error, threading.BrokenBarrierError))
    return seen


def _opened(orders: Race, hooks: list[Any]) -> Repository:
    options: dict[str, Any] = {"timeout": 60, **made_by(orders.ids), "hooks": hooks}
    if not orders.way:
        return PostgresRepository.open(orders.uri, pool_size=orders.threads, **options)
    place = {} if orders.schema is None else {"schema": orders.schema}
    return racer(orders.way, orders.uri, orders.threads, **place, **options)


def together(*do: Callable[[], object]) -> None:
    """Do things in threads of their own. What one raises comes out, of the first one."""
    raised: list[BaseException] = []

    def run(one: Callable[[], object]) -> None:
        try:
            one()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in do]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in raised:
        raise error


def _request(repository: Repository, clerk: FakeClerk, verifier: Verifier, fact: Facts) -> Ids:
    """A request, to a resolver that does not know what another one has seen."""
    principal = Resolver(clerk.instance, repository, verifier=verifier, keep=8).resolve(fact.token)
    assert principal.organization is not None
    return principal.user.id, principal.organization.id


def _sight(repository: Repository, clerk: FakeClerk, verifier: Verifier, fact: Facts) -> Ids:
    """The same without asking first whether the person is known."""
    repository.put(new_records_of_token(verifier.verify(fact.token), None))
    return _ids(repository, clerk, fact)


def _state(repository: Repository, clerk: FakeClerk, verifier: Verifier, fact: Facts) -> Ids:
    """A webhook's word on all three, one by one."""
    name, at = clerk.instance.name, NOW * 1000
    ends: dict[str, Any] = {"clerk_user_id": fact.user.id, "clerk_organization_id": fact.organization.id}
    repository.put([ClerkMembership.full(name, "orgmem_" + fact.user.id, **ends, role="org:admin", observed_at=at)])
    repository.put([clerk.record(fact.user)])
    repository.put([ClerkOrganization.full(name, fact.organization.id, name="Acme", observed_at=at)])
    return _ids(repository, clerk, fact)


def _ids(repository: Repository, clerk: FakeClerk, fact: Facts) -> Ids:
    standing = repository.find(clerk.instance.name, fact.user.id, fact.organization.id)
    assert standing is not None
    assert standing.organization is not None
    return standing.user.id, standing.organization.id
