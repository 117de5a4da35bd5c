"""What differs between Clerk and the repository, without changing either.

    drift = diff(ClerkApi(instance), repository)

Every list of Clerk's is read, and each row held against what is stored. A row that is older than what is stored is no
drift: a webhook was faster than the list. What you erased yourself is none either, though Clerk still has it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..core.events import Unreadable
from ..core.keys import KeySet
from ..core.records import COLUMNS, AnyRecord, ClerkMembership, Kind
from ..repository import AsyncRepository, Repository
from .api import AsyncClerkApi, ClerkApi
from .endpoints import Question, Shape
from .lists import Place, read
from .runs import KINDS, Progress, Step, Steps, Tell, arun, records_of, run, stored_page
from .whose import check_instance, published_keys

How = Literal["missing", "extra", "stale", "role"]
Stored = dict[str, tuple[str | None, str]]  # the Clerk id and the rank of what is stored, by its key
MOST_TOLD = 10_000  # differences that are told one by one; all are counted


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs.

    `missing`: Clerk has it and it is not stored, or only sighted. `extra`: it is stored, and Clerk does not list it.
    `stale`: Clerk says something newer in `fields`. `role`: likewise, of a role.
    """

    how: How
    kind: Kind
    clerk_id: str = field(repr=False)
    fields: tuple[str, ...] = ()


@dataclass(slots=True)
class Drift:
    """All that differs. False where nothing does.

    `counts` says how many of each sort, `differences` the first ten thousand of them. `compared` is how many rows were
    read. `complete` is whether each list was read to the end that Clerk says it has.
    """

    differences: list[Difference] = field(default_factory=list[Difference])
    counts: Counter[str] = field(default_factory=Counter[str])
    compared: dict[str, int] = field(default_factory=dict[str, int])
    complete: bool = True

    def __bool__(self) -> bool:
        return bool(self.counts)

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        told = [asdict(each) for each in self.differences]
        counted = {"counts": dict(self.counts), "compared": self.compared}
        return {"drift": bool(self), "complete": self.complete, **counted, "differences": told}


def diff(
    api: ClerkApi,
    repository: Repository,
    *,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> Drift:
    """Hold everything that Clerk has against everything that is stored.

    Args:
        api: Clerk's API.
        repository: What is compared with it.
        progress: Called with how far it is.
        clock: The time, in seconds since 1970.
    """
    comparing = _Comparing(api.instance.name, progress, clock)
    run(comparing.steps(published_keys(api.instance)), api, repository)
    return comparing.drift


async def adiff(
    api: AsyncClerkApi,
    repository: AsyncRepository,
    *,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> Drift:
    """The same for async code."""
    comparing = _Comparing(api.instance.name, progress, clock)
    keys = await asyncio.to_thread(published_keys, api.instance)
    await arun(comparing.steps(keys), api, repository)
    return comparing.drift


class _Comparing:
    """One comparison. It remembers the rank of everything that is stored of one kind: some 250 bytes each."""

    def __init__(self, instance: str, tell: Tell | None, clock: Callable[[], float]) -> None:
        self._instance = instance
        self._tell = tell
        self._clock = clock
        self._gone = set[str]()
        self._stored: Stored = {}
        self.drift: Drift = Drift()

    def steps(self, keys: KeySet) -> Steps:
        """Kind by kind: what is stored, then what Clerk lists, then what is left over."""
        yield from check_instance(keys)
        for stage, kind in KINDS.items():
            place = Place(int(self._clock() * 1000), stage)
            self.drift.compared[stage] = 0
            yield from self._look_up(kind)
            self.drift.complete &= yield from read(place, _ask, self._compare)
            for key, (clerk_id, rank) in self._stored.items():
                if clerk_id is not None and int(rank[18:33]) < place.started:
                    yield from self._left_over(kind, key, clerk_id)

    def _look_up(self, kind: Kind) -> Steps:
        """What is stored of a kind. What is gone is only remembered as that, and with it the memberships in it."""
        self._stored = {}
        after = ""
        page: list[AnyRecord]
        while page := (yield stored_page(kind, self._instance, after)):
            after = page[-1].key
            for record in page:
                if record.is_deleted or self._has_lost_an_end(record):
                    self._gone.add(record.key)
                else:
                    self._stored[record.key] = record.clerk_id, record.rank

    def _has_lost_an_end(self, record: AnyRecord) -> bool:
        return isinstance(record, ClerkMembership) and not self._gone.isdisjoint(
            (record.user_key, record.organization_key)
        )

    def _compare(self, rows: list[Shape], place: Place, total: int | None) -> Steps:
        """Hold the rows of a page against what is stored."""
        kind = KINDS[place.stage]
        for row in rows:
            try:
                record = records_of(kind, self._instance, row, 0)[-1]
            except Unreadable:
                continue
            if record.kind == kind:  # of a membership without its person, only the organization can be read
                yield from self._compare_one(record, place.started)
        self.drift.compared[place.stage] += len(rows)
        if self._tell is not None:
            self._tell(Progress(place.stage, self.drift.compared[place.stage], total))

    def _compare_one(self, record: AnyRecord, started: int) -> Steps:
        _, rank = self._stored.pop(record.key, (None, ""))
        if record.key in self._gone or self._has_lost_an_end(record):
            return  # erased here, or deleted there just now
        if _is_told(rank, record):
            return
        # A webhook may have been faster than the list, and a list that has shifted shows some rows twice.
        before: AnyRecord | None = yield _stored_one(record.kind, self._instance, record.key)
        if before is None or before.rank[0] in "01":
            self._differs("missing", record.kind, str(record.clerk_id))
        elif not before.is_deleted and not _is_told(before.rank, record):
            changed = _changed(before, record)
            is_role = record.kind == "membership" and "role" in changed
            self._differs("role" if is_role else "stale", record.kind, str(record.clerk_id), changed)

    def _left_over(self, kind: Kind, key: str, clerk_id: str) -> Steps:
        """What Clerk does not list. If its deletion has arrived meanwhile, all is well."""
        record: AnyRecord | None = yield _stored_one(kind, self._instance, key)
        if isinstance(record, ClerkMembership):
            ends: list[AnyRecord | None] = [record]
            ends.append((yield _stored_one("user", self._instance, record.user_key)))
            ends.append((yield _stored_one("organization", self._instance, record.organization_key)))
        else:
            ends = [record]
        if not any(each is not None and each.is_deleted for each in ends):
            self._differs("extra", kind, clerk_id)

    def _differs(self, how: How, kind: Kind, clerk_id: str, fields: tuple[str, ...] = ()) -> None:
        self.drift.counts[how] += 1
        if len(self.drift.differences) < MOST_TOLD:
            self.drift.differences.append(Difference(how, kind, clerk_id, fields))


def _ask(question: Question[Any]) -> Steps:
    return (yield lambda api, _: api.ask(question))


def _stored_one(kind: Kind, instance: str, key: str) -> Step:
    return lambda _, repository: repository.record(kind, instance, key)


def _is_told(rank: str, record: AnyRecord) -> bool:
    """Whether what is stored says what Clerk says, or something newer."""
    return rank[:1] == "2" and (rank[34:] == record.rank[34:] or rank[:17] > record.rank[:17])


def _changed(before: AnyRecord, after: AnyRecord) -> tuple[str, ...]:
    """The fields in which Clerk says something else than is stored."""
    names = (name for name in COLUMNS[after.kind] if name != "rank")
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))
