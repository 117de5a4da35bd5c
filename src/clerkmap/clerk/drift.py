"""What differs between Clerk and the repository, without changing either.

    drift = diff(ClerkApi(instance), repository)

Every list of Clerk's is read, and each row held against what is stored. A row that is older than what is stored is no
drift: a webhook was faster than the list. What you erased yourself is none either, though Clerk still has it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..core.events import Unreadable
from ..core.keys import KeySet
from ..core.records import COLUMNS, AnyRecord, ClerkMembership, Kind
from ..repository import AsyncRepository, Repository
from . import endpoints
from .api import AsyncClerkApi, ClerkApi
from .endpoints import MAX_PAGE, Page, Shape
from .rows import read_membership, read_organization, read_user
from .runs import Progress, Stage, Step, Steps, Tell, arun, run, stored_page
from .whose import check_instance, published_keys

How = Literal["missing", "extra", "stale", "role"]
Stored = dict[str, tuple[str | None, str]]  # the Clerk id and the rank of what is stored, by its key
MOST_TOLD = 10_000  # differences that are told one by one; all are counted

_KINDS: dict[Stage, Kind] = {"users": "user", "organizations": "organization", "memberships": "membership"}
_READERS = {"users": read_user, "organizations": read_organization, "memberships": read_membership}


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
    """All that differs. False where nothing does."""

    differences: list[Difference] = field(default_factory=list[Difference])
    counts: Counter[str] = field(default_factory=Counter[str])
    compared: dict[str, int] = field(default_factory=dict[str, int])

    def __bool__(self) -> bool:
        return bool(self.counts)

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        told = [asdict(each) for each in self.differences]
        return {"drift": bool(self), "counts": dict(self.counts), "compared": self.compared, "differences": told}


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
        self.drift: Drift = Drift()

    def steps(self, keys: KeySet) -> Steps:
        """Kind by kind: what is stored, then what Clerk lists, then what is left over."""
        yield from check_instance(keys)
        for stage, kind in _KINDS.items():
            started = int(self._clock() * 1000)
            stored = yield from self._stored(kind)
            self.drift.compared[stage] = 0
            rows: list[Shape]
            after, total = "", None
            while True:
                rows, total = yield from self._page(stage, after, total)
                for row in rows:
                    yield from self._compare(stage, row, stored)
                self.drift.compared[stage] += len(rows)
                if self._tell is not None:
                    self._tell(Progress(stage, self.drift.compared[stage], total))
                if len(rows) < MAX_PAGE:
                    break
                after = str(rows[-1].get("id"))
            for clerk_id, rank in stored.values():
                if clerk_id is not None and int(rank[18:33]) < started:
                    self._differs("extra", kind, clerk_id)

    def _stored(self, kind: Kind) -> Generator[Step, Any, Stored]:
        """What is stored of a kind. What is gone is only remembered as that, and with it the memberships in it."""
        stored: Stored = {}
        after = ""
        page: list[AnyRecord]
        while page := (yield stored_page(kind, self._instance, after)):
            after = page[-1].key
            for record in page:
                ends = {record.user_key, record.organization_key} if isinstance(record, ClerkMembership) else set[str]()
                if record.is_deleted or ends & self._gone:
                    self._gone.add(record.key)
                else:
                    stored[record.key] = record.clerk_id, record.rank
        return stored

    def _page(
        self, stage: Stage, after: str, total: int | None
    ) -> Generator[Step, Any, tuple[list[Shape], int | None]]:
        if stage == "users":
            if total is None:
                total = yield lambda api, _: api.ask(endpoints.user_count())
            return (yield lambda api, _: api.ask(endpoints.users(starting_after=after or None))), total
        listed = endpoints.organizations if stage == "organizations" else endpoints.memberships
        page: Page = yield lambda api, _: api.ask(listed(offset=self.drift.compared[stage]))
        return page.rows, page.total

    def _compare(self, stage: Stage, row: Shape, stored: Stored) -> Steps:
        try:
            said = _READERS[stage](self._instance, row, 0)
        except Unreadable:
            return
        record = next(each for each in reversed(said) if each.kind == _KINDS[stage])
        _, rank = stored.pop(record.key, (None, ""))
        if record.key in self._gone:
            return  # erased here, or deleted there just now
        if not rank or rank[0] in "01":
            self._differs("missing", record.kind, str(record.clerk_id))
        elif rank[0] == "2" and rank[34:] != record.rank[34:] and record.rank[:17] >= rank[:17]:
            before: AnyRecord | None = yield lambda _, repository: repository.record(
                record.kind, self._instance, record.key
            )
            changed = _changed(before, record)
            if changed:
                is_role = isinstance(record, ClerkMembership) and "role" in changed
                self._differs("role" if is_role else "stale", record.kind, str(record.clerk_id), changed)

    def _differs(self, how: How, kind: Kind, clerk_id: str, fields: tuple[str, ...] = ()) -> None:
        self.drift.counts[how] += 1
        if len(self.drift.differences) < MOST_TOLD:
            self.drift.differences.append(Difference(how, kind, clerk_id, fields))


def _changed(before: AnyRecord | None, after: AnyRecord) -> tuple[str, ...]:
    """The fields in which Clerk says something else than is stored."""
    names = (name for name in COLUMNS[after.kind] if name != "rank")
    return tuple(name for name in names if getattr(before, name, None) != getattr(after, name))
