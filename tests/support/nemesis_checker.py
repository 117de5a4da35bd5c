"""Whether what several processes have written down about their operations can be the truth about one repository.

Ranks only grow, so it is enough to look at each thing by itself: whatever was acknowledged or seen before an operation
began is the least that this operation may see. What the tables hold at the end is checked like a find that began last.
"""

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from clerkmap.testing.samples import HERE

Thing = tuple[str, str]  # a kind and a key
NEVER = float("inf")


@dataclass(frozen=True)
class Seen:
    """What an operation has shown of a thing. The rank is empty where there was no such thing."""

    thing: Thing
    rank: str
    id: str | None = None
    is_gone: bool = False


@dataclass
class Operation:
    """What a process did, and from when to when. It ended never if nothing is known of its end."""

    who: str
    began: float
    put: list[tuple[Thing, str]] = field(default_factory=list)
    ended: float = NEVER
    outcome: str = "unknown"
    seen: list[Seen] = field(default_factory=list)
    why: str = ""

    @property
    def is_ok(self) -> bool:
        return self.outcome == "ok"


def read(path: Path) -> list[Operation]:
    """The operations of one process."""
    operations: dict[int, Operation] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        if "does" in said:
            put = [((kind, key), rank) for kind, key, rank in said["put"]]
            who = f"{path.name} {said['does']} {said['number']}"
            operations[said["number"]] = Operation(who, said["at"], put)
        else:
            operation = operations[said["number"]]
            operation.ended, operation.outcome, operation.why = said["at"], said["outcome"], said.get("why", "")
            operation.seen = [Seen((kind, key), *rest) for kind, key, *rest in said.get("seen", ())]
    return list(operations.values())


def last_look(
    uri: str, schema: str, operations: Iterable[Operation], emptied: Collection[str]
) -> tuple[Operation, list[str]]:
    """What the tables hold of all that was ever put, as an operation, and what is wrong with the tables themselves.

    `emptied` are the users whose identities may have been moved to others.
    """
    tied = f"{schema}.clerkmap_identities i JOIN {schema}.clerkmap_users u ON u.id = i.user_id"
    queries = (
        f"SELECT 'user', key, rank, user_id, deleted_at IS NOT NULL FROM {tied} WHERE instance = '{HERE}'",
        f"SELECT 'organization', key, rank, id, false FROM {schema}.clerkmap_organizations",
        f"SELECT 'membership', key, rank, NULL, false FROM {schema}.clerkmap_memberships",
    )
    orphans = f"SELECT id FROM {schema}.clerkmap_users EXCEPT SELECT user_id FROM {schema}.clerkmap_identities"
    with psycopg.connect(uri) as connection:
        rows: list[Any] = [row for query in queries for row in connection.execute(query.encode())]
        without = {id for (id,) in connection.execute(orphans.encode())} - set(emptied)
        wrong = [f"a user without an identity: {id}" for id in sorted(without)]
        (invalid,) = connection.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid").fetchone() or (0,)
    wrong += ["an index is not valid"] * invalid
    found = [Seen((kind, key), *rest) for kind, key, *rest in rows]
    there = Counter(seen.thing for seen in found)
    wrong += [f"two rows of {thing}" for thing, rows_of_it in there.items() if rows_of_it > 1]
    missing = {thing for operation in operations for thing, _ in operation.put} - there.keys()
    seen = [*found, *(Seen(thing, "") for thing in sorted(missing))]
    return Operation("the tables at the end", NEVER, ended=NEVER, outcome="ok", seen=seen), wrong


def violations(operations: Collection[Operation]) -> list[str]:
    """Everything in these histories that a repository must never do."""
    return [
        *(f"{each.who} failed: {each.why}" for each in operations if each.outcome == "fail"),
        *_backwards(operations),
        *_made_up(operations),
        *_other_ids(operations),
    ]


@dataclass(frozen=True)
class _Known:
    """From a certain time on, a thing has at least this rank."""

    since: float
    rank: str
    how: str


def _backwards(operations: Iterable[Operation]) -> Iterator[str]:
    known: dict[Thing, list[_Known]] = defaultdict(list)
    for each in operations:
        if each.is_ok:
            for thing, rank in each.put:
                known[thing].append(_Known(each.ended, rank, f"was acknowledged to {each.who}"))
            for seen in each.seen:
                known[seen.thing].append(_Known(each.ended, seen.rank, f"was seen by {each.who}"))
    greatest = {thing: _greatest_so_far(facts) for thing, facts in known.items()}
    for each in operations:
        for seen in each.seen:
            before = greatest[seen.thing]
            at = bisect_left(before, each.began, key=lambda fact: fact.since)  # whatever ended before it began
            if at > 0 and before[at - 1].rank > seen.rank:
                least = before[at - 1]
                what = _what(least, seen)
                yield f"{what}: {least.rank} of {seen.thing} {least.how}, then {each.who} saw {seen.rank or 'nothing'}"


def _greatest_so_far(facts: list[_Known]) -> list[_Known]:
    greatest: list[_Known] = []
    for fact in sorted(facts, key=lambda fact: fact.since):
        is_news = not greatest or fact.rank > greatest[-1].rank
        greatest.append(fact if is_news else _Known(fact.since, greatest[-1].rank, greatest[-1].how))
    return greatest


def _what(least: _Known, seen: Seen) -> str:
    if least.rank.startswith("3"):
        return "resurrected"
    return "lost" if "acknowledged" in least.how else "backwards"


def _made_up(operations: Iterable[Operation]) -> Iterator[str]:
    """What is seen has been put by somebody, before. And a user has gone when, and only when, the person has."""
    put: dict[tuple[Thing, str], float] = {}
    for each in operations:
        for place in each.put:
            put[place] = min(each.began, put.get(place, NEVER))
    for each in operations:
        for seen in each.seen:
            if seen.rank and put.get((seen.thing, seen.rank), NEVER) >= each.ended:
                yield f"made up: {each.who} saw {seen.rank} of {seen.thing}, which nobody had put"
            if seen.thing[0] == "user" and seen.is_gone != seen.rank.startswith("3"):
                yield f"half deleted: {each.who} saw {seen}"


def _other_ids(operations: Iterable[Operation]) -> Iterator[str]:
    """One thing has one id for ever, and no other thing has it."""
    ids: dict[Thing, set[str]] = defaultdict(set)
    things: dict[tuple[str, str], set[Thing]] = defaultdict(set)
    for each in operations:
        for seen in each.seen:
            if seen.id is not None:
                ids[seen.thing].add(seen.id)
                things[seen.thing[0], seen.id].add(seen.thing)
    yield from (f"second id: {thing} had {sorted(many)}" for thing, many in ids.items() if len(many) > 1)
    yield from (f"shared id: {id} was that of {sorted(many)}" for id, many in things.items() if len(many) > 1)
