"""Drift: find the differences between Clerk and the repository. This changes neither of them.

    drift = diff(ClerkApi(instance), repository)
    drift = diff(ClerkApi(instance), repository, cheap=True)  # five requests for any number of users

A comparison reads each of Clerk's lists, and compares each row with the stored record. A row that is older than the
stored record is no drift: a webhook was faster than the list. A user that you erased is no drift either, though Clerk
still has it.

A cheap comparison reads the counts and the newest hundred rows of each list. Its findings are correct, but incomplete.
It misses an old row that has changed, and an arrival that balances a departure. Counts also cannot separate users that
you have erased from missing users.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from ..clerk import endpoints
from ..clerk.api import AsyncClerkApi, ClerkApi
from ..clerk.endpoints import Page, Shape
from ..core.events import Unreadable, records_of
from ..core.model import Count
from ..core.records import COLUMNS, FULL, AnyRecord, ClerkMembership, ClerkUser, Kind
from ..ports import AsyncRepository, Repository
from .job import KINDS, Job, OnProgress, Stage, lent, lent_api, run
from .listing import Position, reader
from .recheck import fetch_again, is_same_content, stored_outranks

NEWEST = 100  # rows of each list that a cheap comparison reads
How = Literal["missing", "extra", "stale", "behind", "role", "link"]
Stored = dict[str, tuple[str | None, str]]  # the Clerk id and the rank of each stored record, by its key
# Returns your id from Clerk's record of a user, or None.
OwnId = Callable[[ClerkUser], str | None]
MOST_TOLD = 10_000  # differences that are listed; all are counted


@dataclass(frozen=True, slots=True)
class Difference:
    """One user, organization or membership that differs.

    `missing`: Clerk has it, and the repository has no full record of it. `extra`: it is stored, and Clerk does not list
    it. `stale`: Clerk has newer values in `fields`. `role`: Clerk has a newer role. `behind`: Clerk has other values in
    `fields`, with a date before that of the stored record. The stored record was read first, so Clerk's date is wrong.
    `link`: the identity is linked to a user of your application, and Clerk's record names another one.
    """

    how: How
    kind: Kind
    clerk_id: str = field(repr=False)
    fields: tuple[str, ...] = ()


@dataclass(slots=True)
class Drift:
    """All differences. A drift without differences is false.

    `counts` is the number of each sort, and `differences` has the first ten thousand. `compared` is the number of rows
    that were read. `complete` is whether each list was read up to Clerk's count of its rows. `cheap` is whether only
    the counts and the newest rows were compared. Then `counts` has minimum numbers, and `differences` is not complete.
    """

    differences: list[Difference] = field(default_factory=list[Difference])
    counts: Counter[str] = field(default_factory=Counter[str])
    compared: dict[str, int] = field(default_factory=dict[str, int])
    complete: bool = True
    cheap: bool = False

    def __bool__(self) -> bool:
        return bool(self.counts)

    def to_dict(self) -> dict[str, Any]:
        """Return the drift, ready for JSON."""
        told = [asdict(each) for each in self.differences]
        counted = {"counts": dict(self.counts), "compared": self.compared}
        return {"drift": bool(self), "complete": self.complete, "cheap": self.cheap, **counted, "differences": told}


class _Shown(NamedTuple):
    """The newest rows of a list at Clerk, and the number of all its rows."""

    rows: list[Shape]
    total: int


class Mender(Protocol):
    """Receives each difference during the comparison, and may repair it."""

    def count(self, kind: Kind, alive: int) -> None:
        """Take the number of stored records of a kind that are not deleted."""

    async def put(self, stage: Stage, records: list[AnyRecord], unreadable: int) -> None:
        """Take the differing records of a page."""

    def miss(self, kind: Kind, key: str) -> None:
        """Take a stored record that Clerk does not list."""


class Comparison:
    """One comparison. It keeps the ranks of all stored records of one kind in memory: some 250 bytes each."""

    def __init__(self, job: Job, own_id: OwnId | None = None, mender: Mender | None = None) -> None:
        self._job = job
        self._own_id = own_id
        self._mender = mender
        self._gone = set[str]()
        self._stored: Stored = {}
        self._doubtful: dict[str, tuple[Shape, AnyRecord]] = {}  # the row and the stored record, by key
        self.drift: Drift = Drift()

    async def run(self) -> Drift:
        """Compare each kind: read the stored records, then Clerk's list, then report the records without a row."""
        for stage, kind in KINDS.items():
            listed = reader(Position(self._job.now(), stage))
            self.drift.compared[stage] = 0
            await self.read_stored(kind)
            if self._mender is not None:
                self._mender.count(kind, len(self._stored))
            while (rows := await listed.next_page(self._job)) is not None:
                await self.compare(stage, rows, listed.total)
            self.drift.complete &= listed.is_complete
            for key, (clerk_id, rank) in self._stored.items():
                if clerk_id is not None and int(rank[18:33]) < listed.position.started:
                    await self._leave_over(kind, key, clerk_id)
        return self.drift

    async def run_cheaply(self) -> Drift:
        """Compare the newest rows of each list, then the counts."""
        self.drift.cheap = True
        shown = dict[Stage, _Shown]()
        for stage in KINDS:
            rows, total = shown[stage] = await self._newest(stage)
            await self.compare(stage, rows, total)
        counts = await self._job.repository.counts(self._job.instance)
        if all(_agree(kind, counts[kind], shown[stage].total) for stage, kind in KINDS.items()):
            return self.drift
        grades = dict[Kind, Counter[str]]()
        for kind in KINDS.values():
            await self.read_stored(kind)
            grades[kind] = Counter(rank[0] for clerk_id, rank in self._stored.values() if clerk_id is not None)
        for stage, kind in KINDS.items():
            totals = shown[stage].total, await self._total(stage)
            self._differ_at_least("missing", kind, min(totals) - grades[kind][FULL])
            self._differ_at_least("extra", kind, grades[kind].total() - max(totals))
        return self.drift

    async def read_stored(self, kind: Kind) -> None:
        """Read the stored records of a kind. Keep only the key of deleted records, and of their memberships."""
        self._stored = {}
        after = ""
        while page := (await self._job.stored_page(kind, after)):
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

    async def compare(self, stage: Stage, rows: list[Shape], total: int | None) -> None:
        """Compare the rows of a page with the stored records."""
        kind, said, unreadable = KINDS[stage], list[AnyRecord](), 0
        for row in rows:
            try:
                records = records_of(kind, self._job.instance, row, self._job.asked_at)
            except Unreadable:
                unreadable += 1
                continue
            record = records[-1]
            if record.kind != kind:
                continue  # a membership without its user gives only a record of the organization
            if await self._is_news(row, record):
                said += records
        said += await self._behind(kind)
        if self._mender is not None:
            await self._mender.put(stage, said, unreadable)
        self.drift.compared[stage] = self.drift.compared.get(stage, 0) + len(rows)
        self._job.tell(stage, self.drift.compared[stage], total)

    async def _is_news(self, row: Shape, record: AnyRecord) -> bool:
        """Return whether Clerk's row is newer than the stored record. A change with an older date is doubtful."""
        _, rank = self._stored.pop(record.key, (None, ""))
        if record.key in self._gone or self._has_lost_an_end(record):
            return False  # erased in the repository, or deleted at Clerk just now
        if isinstance(record, ClerkUser):
            await self._compare_link(record, rank)
        if is_same_content(rank, record):
            return False
        # A webhook may have been faster than the list, and a list that has shifted shows some rows twice.
        before = await self._job.stored(record.kind, record.key)
        if before is None or before.rank[0] in "01":
            if await belongs_to_deleted(self._job, record):
                return False
            self._differs("missing", record.kind, str(record.clerk_id))
            return True
        if before.is_deleted or is_same_content(before.rank, record):
            return False
        if stored_outranks(before.rank, record):
            self._doubtful[record.key] = row, before
            return False
        changed = _changed(before, record)
        is_role = record.kind == "membership" and "role" in changed
        self._differs("role" if is_role else "stale", record.kind, str(record.clerk_id), changed)
        return True

    async def _behind(self, kind: Kind) -> list[AnyRecord]:
        """Return the doubtful rows of a page that Clerk confirms, with a rank above that of the stored record."""
        doubtful, self._doubtful = self._doubtful, {}
        rows = [row for row, _ in doubtful.values()]
        again = await fetch_again(self._job, kind, rows)
        behind = list[AnyRecord]()
        for key, (_, before) in doubtful.items():
            record = again.get(key, before)
            if not is_same_content(before.rank, record):
                self._differs("behind", kind, str(record.clerk_id), _changed(before, record))
                behind.append(record.above(before.rank))
        return behind

    async def _compare_link(self, record: ClerkUser, rank: str) -> None:
        """Compare the linked user with the user that Clerk names, if Clerk's record is the newest."""
        own_id = self._own_id(record) if self._own_id is not None else None
        if own_id is None or (rank[:1] == "2" and rank[:17] > record.rank[:17]):
            return
        standing = await self._job.repository.find(self._job.instance, str(record.clerk_id))
        if standing is not None and not standing.user.clerk.is_deleted and str(standing.user.id) != own_id:
            self._differs("link", "user", str(record.clerk_id))

    async def _leave_over(self, kind: Kind, key: str, clerk_id: str) -> None:
        """Report a stored record that Clerk does not list, unless its deletion has arrived meanwhile."""
        record = await self._job.stored(kind, key)
        if record is not None and not record.is_deleted and not await belongs_to_deleted(self._job, record):
            self._differs("extra", kind, clerk_id)
            if self._mender is not None:
                self._mender.miss(kind, key)

    def _differs(self, how: How, kind: Kind, clerk_id: str, fields: tuple[str, ...] = ()) -> None:
        self.drift.counts[how] += 1
        if len(self.drift.differences) < MOST_TOLD:
            self.drift.differences.append(Difference(how, kind, clerk_id, fields))

    async def _newest(self, stage: Stage) -> _Shown:
        if stage == "users":
            rows = await self._job.send(endpoints.users(limit=NEWEST, order_by="-updated_at"))
            return _Shown(rows, (await self._total(stage)))
        page: Page = await self._job.send(_LISTS[stage](limit=NEWEST, order_by="-created_at"))
        return _Shown(page.rows, page.total)

    async def _total(self, stage: Stage) -> int:
        if stage == "users":
            return await self._job.send(endpoints.user_count())
        page: Page = await self._job.send(_LISTS[stage](limit=1))
        return page.total

    def _differ_at_least(self, how: How, kind: Kind, number: int) -> None:
        """Count at least this number of differences, some of which may have been among the newest rows."""
        told = sum((each.how, each.kind) == (how, kind) for each in self.drift.differences)
        if number > told:
            self.drift.counts[how] += number - told


async def belongs_to_deleted(job: Job, record: AnyRecord) -> bool:
    """Return whether this is a membership of a deleted user or organization. Its end needs no report."""
    if not isinstance(record, ClerkMembership):
        return False
    ends = await job.stored("user", record.user_key), await job.stored("organization", record.organization_key)
    return any(end is not None and end.is_deleted for end in ends)


def _changed(before: AnyRecord, after: AnyRecord) -> tuple[str, ...]:
    """Return the fields in which the two records differ."""
    names = (name for name in COLUMNS[after.kind] if name != "rank")
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))


_LISTS = {"organizations": endpoints.organizations, "memberships": endpoints.memberships}


def _agree(kind: Kind, count: Count, total: int) -> bool:
    """Return whether the counts agree. A membership from a token is a separate record, beside the full record."""
    return count.told == total and (kind == "membership" or not count.from_token)


def diff(
    api: ClerkApi,
    repository: Repository,
    *,
    cheap: bool = False,
    own_id: OwnId | None = None,
    progress: OnProgress | None = None,
    clock: Callable[[], float] = time.time,
) -> Drift:
    """Compare everything at Clerk with everything in the repository.

    Args:
        api: Clerk's API.
        repository: The repository.
        cheap: Compare only the counts and the newest rows.
        own_id: A function that returns your id from Clerk's record of a user, such as `lambda user: user.external_id`,
            or None. An identity that is linked to another user is a wrong link.
        progress: Called with the progress.
        clock: The time, in seconds since 1970.
    """
    comparison = Comparison(Job(api.instance.name, lent_api(api), lent(repository), progress, clock), own_id)
    return run(comparison.run_cheaply() if cheap else comparison.run())


async def adiff(
    api: AsyncClerkApi,
    repository: AsyncRepository,
    *,
    cheap: bool = False,
    own_id: OwnId | None = None,
    progress: OnProgress | None = None,
    clock: Callable[[], float] = time.time,
) -> Drift:
    """Do the same in async code."""
    comparison = Comparison(Job(api.instance.name, api, repository, progress, clock), own_id)
    return await (comparison.run_cheaply() if cheap else comparison.run())
