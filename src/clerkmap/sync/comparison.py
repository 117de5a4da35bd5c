"""Clerk's lists held against what is stored, row by row: what differs, and how."""

from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..clerk.endpoints import Question, Shape
from ..core.events import Unreadable, records_of
from ..core.records import COLUMNS, AnyRecord, ClerkMembership, ClerkUser, Kind
from .conflicts import asked_again, outranks, same_content
from .listing import Place, read
from .runs import KINDS, Progress, Stage, Step, Steps, Tell, stored_page

How = Literal["missing", "extra", "stale", "behind", "role", "link"]
Stored = dict[str, tuple[str | None, str]]  # the Clerk id and the rank of what is stored, by its key
# The id of yours that Clerk's word on a person names, if it names one.
OwnId = Callable[[ClerkUser], str | None]
MOST_TOLD = 10_000  # differences that are told one by one; all are counted


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs.

    `missing`: Clerk has it and it is not stored, or only sighted. `extra`: it is stored, and Clerk does not list it.
    `stale`: Clerk says something newer in `fields`. `role`: likewise, of a role. `behind`: Clerk says something else in
    `fields`, with a date before that of the stored record; the stored record was read first, so Clerk's date is wrong.
    `link`: the person is tied to another user of yours than Clerk's word on them names.
    """

    how: How
    kind: Kind
    clerk_id: str = field(repr=False)
    fields: tuple[str, ...] = ()


@dataclass(slots=True)
class Drift:
    """All that differs. False where nothing does.

    `counts` says how many of each sort, `differences` the first ten thousand of them. `compared` is how many rows were
    read. `complete` is whether each list was read to the end that Clerk says it has. `cheap` is whether only the counts
    and the newest rows were compared: then `counts` says how many there are at least, and not all of them are told.
    """

    differences: list[Difference] = field(default_factory=list[Difference])
    counts: Counter[str] = field(default_factory=Counter[str])
    compared: dict[str, int] = field(default_factory=dict[str, int])
    complete: bool = True
    cheap: bool = False

    def __bool__(self) -> bool:
        return bool(self.counts)

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        told = [asdict(each) for each in self.differences]
        counted = {"counts": dict(self.counts), "compared": self.compared}
        return {"drift": bool(self), "complete": self.complete, "cheap": self.cheap, **counted, "differences": told}


class Comparing:
    """One comparison. It remembers the rank of everything that is stored of one kind: some 250 bytes each."""

    def __init__(
        self, instance: str, tell: Tell | None, clock: Callable[[], float], own_id: OwnId | None = None
    ) -> None:
        self._instance = instance
        self._tell = tell
        self._clock = clock
        self._own_id = own_id
        self._gone = set[str]()
        self._stored: Stored = {}
        self._asked_at = 0
        self._doubtful: dict[str, tuple[Shape, AnyRecord]] = {}  # rows, and what is stored instead, by key
        self.drift: Drift = Drift()

    def steps(self) -> Steps:
        """Kind by kind: what is stored, then what Clerk lists, then what is left over."""
        for stage, kind in KINDS.items():
            place = Place(self._now(), stage)
            self.drift.compared[stage] = 0
            yield from self._look_up(kind)
            self.drift.complete &= yield from read(place, self._asked, self._compare)
            for key, (clerk_id, rank) in self._stored.items():
                if clerk_id is not None and int(rank[18:33]) < place.started:
                    yield from self._left_over(kind, key, clerk_id)

    def _page_says(self, stage: Stage, records: list[AnyRecord], unreadable: int) -> Steps:
        """What a page says of things that differ. A comparison leaves them as they are."""
        yield from ()

    def _is_unlisted(self, kind: Kind, key: str) -> None:
        """Something is stored, and Clerk does not list it. A comparison leaves it as it is."""

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
        kind, said, unreadable = KINDS[place.stage], list[AnyRecord](), 0
        for row in rows:
            try:
                records = records_of(kind, self._instance, row, self._asked_at)
            except Unreadable:
                unreadable += 1
                continue
            record = records[-1]
            if record.kind != kind:
                continue  # of a membership without its person, only the organization can be read
            if (yield from self._is_news(row, record)):
                said += records
        said += yield from self._behind(kind)
        yield from self._page_says(place.stage, said, unreadable)
        self.drift.compared[place.stage] = self.drift.compared.get(place.stage, 0) + len(rows)
        if self._tell is not None:
            self._tell(Progress(place.stage, self.drift.compared[place.stage], total))

    def _is_news(self, row: Shape, record: AnyRecord) -> Generator[Step, Any, bool]:
        """Whether what Clerk says of one thing is not what is stored. Where dates speak against it, it is doubtful."""
        _, rank = self._stored.pop(record.key, (None, ""))
        if record.key in self._gone or self._has_lost_an_end(record):
            return False  # erased here, or deleted there just now
        if isinstance(record, ClerkUser):
            yield from self._compare_link(record, rank)
        if same_content(rank, record):
            return False
        # A webhook may have been faster than the list, and a list that has shifted shows some rows twice.
        before: AnyRecord | None = yield stored_one(record.kind, self._instance, record.key)
        if before is None or before.rank[0] in "01":
            if (yield from self._is_over(record)):
                return False
            self._differs("missing", record.kind, str(record.clerk_id))
            return True
        if before.is_deleted or same_content(before.rank, record):
            return False
        if outranks(before.rank, record):
            self._doubtful[record.key] = row, before
            return False
        changed = _changed(before, record)
        is_role = record.kind == "membership" and "role" in changed
        self._differs("role" if is_role else "stale", record.kind, str(record.clerk_id), changed)
        return True

    def _behind(self, kind: Kind) -> Generator[Step, Any, list[AnyRecord]]:
        """Of the doubtful rows of a page, those that Clerk confirms, with a rank above what is stored."""
        doubtful, self._doubtful = self._doubtful, {}
        rows = [row for row, _ in doubtful.values()]
        again = yield from asked_again(kind, self._instance, rows, self._asked, self._now)
        behind = list[AnyRecord]()
        for key, (_, before) in doubtful.items():
            record = again.get(key, before)
            if not same_content(before.rank, record):
                self._differs("behind", kind, str(record.clerk_id), _changed(before, record))
                behind.append(record.above(before.rank))
        return behind

    def _compare_link(self, record: ClerkUser, rank: str) -> Steps:
        """Whether a person is tied to the user of yours whom Clerk names, where that is the newest word on them."""
        own_id = self._own_id(record) if self._own_id is not None else None
        if own_id is None or (rank[:1] == "2" and rank[:17] > record.rank[:17]):
            return
        standing = yield lambda _, repository: repository.find(self._instance, record.clerk_id)
        if standing is not None and not standing.user.clerk.is_deleted and str(standing.user.id) != own_id:
            self._differs("link", "user", str(record.clerk_id))

    def _left_over(self, kind: Kind, key: str, clerk_id: str) -> Steps:
        """What Clerk does not list. If its deletion has arrived meanwhile, all is well."""
        record: AnyRecord | None = yield stored_one(kind, self._instance, key)
        if record is not None and not record.is_deleted and not (yield from self._is_over(record)):
            self._differs("extra", kind, clerk_id)
            self._is_unlisted(kind, key)

    def _is_over(self, record: AnyRecord) -> Generator[Step, Any, bool]:
        """Whether it is a membership one of whose ends is gone, which nobody needs to be told of."""
        if not isinstance(record, ClerkMembership):
            return False
        user: AnyRecord | None = yield stored_one("user", self._instance, record.user_key)
        organization: AnyRecord | None = yield stored_one("organization", self._instance, record.organization_key)
        return any(end is not None and end.is_deleted for end in (user, organization))

    def _differs(self, how: How, kind: Kind, clerk_id: str, fields: tuple[str, ...] = ()) -> None:
        self.drift.counts[how] += 1
        if len(self.drift.differences) < MOST_TOLD:
            self.drift.differences.append(Difference(how, kind, clerk_id, fields))

    def _asked(self, question: Question[Any]) -> Steps:
        self._asked_at = self._now()  # an answer says how things were no earlier than this
        return (yield lambda api, _: api.ask(question))

    def _now(self) -> int:
        return int(self._clock() * 1000)


def stored_one(kind: Kind, instance: str, key: str) -> Step:
    """What is stored of one thing."""
    return lambda _, repository: repository.record(kind, instance, key)


def _changed(before: AnyRecord, after: AnyRecord) -> tuple[str, ...]:
    """The fields in which Clerk says something else than is stored."""
    names = (name for name in COLUMNS[after.kind] if name != "rank")
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))
