"""The rule of a backfill: which pages are asked for, in which order, and when a list has been read to its end.

People are read by a cursor, oldest first: who is new comes at the end, and who goes leaves no gap. Organizations and
memberships can only be read by offset. There each page begins with the last row of the page before: if it does not,
rows have shifted and some may have been passed over, and the list is read once more.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..core.events import Unreadable
from ..core.records import AnyRecord
from ..core.strict_json import fields
from ..errors import ApiRefused
from . import endpoints
from .departures import Departures
from .endpoints import MAX_PAGE, Page, Question, Shape
from .rows import read_membership, read_organization, read_user
from .runs import Progress, Report, Stage, Steps, Tell

MAX_PASSES = 5
NOTE_EVERY = 2_000  # milliseconds between two notes of where a run has come to

_STAGES: tuple[Stage, ...] = ("users", "organizations", "memberships", "departures")
_READERS = {"users": read_user, "organizations": read_organization, "memberships": read_membership}
_LISTS: dict[Stage, Callable[..., Question[Page]]] = {
    "organizations": endpoints.organizations,
    "memberships": endpoints.memberships,
}


@dataclass(frozen=True)
class Place:
    """Where a run has come to: since when it runs, in which list it is, and behind which row of it."""

    started: int
    stage: Stage = "users"
    last: str = ""
    created_at: int = 0
    seen: int = 0


class Copying:
    """One run."""

    def __init__(self, instance: str, most_departures: float, tell: Tell | None, clock: Callable[[], float]) -> None:
        self._instance = instance
        self._most_departures = most_departures
        self._tell = tell
        self._clock = clock
        self._note = f"backfill of {instance}"[:200]
        self._noted_at = self._asked_at = 0
        self.report: Report = Report()

    def everything(self, anew: bool) -> Steps:
        """All lists from their beginnings, or from where an earlier run has come to; then who has gone."""
        noted = None if anew else (yield lambda _, repository: repository.note(self._note))
        resumed = _read_place(noted)
        self.report.resumed = resumed is not None
        place = resumed or Place(self._now())
        for stage in _STAGES[_STAGES.index(place.stage) :]:
            place = place if stage == place.stage else Place(place.started, stage)
            if stage == "users":
                yield from self._people(place)
            elif stage == "departures":
                yield from self._noted(place, now=True)
                missing = Departures(self._instance, place.started, self.report, self._now, self._told)
                yield from missing.steps(self._most_departures)
            else:
                yield from self._list(stage, place)
        yield lambda _, repository: repository.set_note(self._note, None)

    def newest(self) -> Steps:
        """The newest first, until a page brings nothing new."""
        for stage in _STAGES[:3]:
            seen = 0
            while True:
                if stage == "users":
                    rows = yield from self._asked(endpoints.users(order_by="-updated_at", offset=seen))
                else:
                    rows, _ = yield from self._asked(_LISTS[stage](order_by="-created_at", offset=seen))
                changed = yield from self._put(stage, rows)
                seen += len(rows)
                self._told(stage, seen, None)
                if len(rows) < MAX_PAGE or not changed:
                    break

    def _people(self, place: Place) -> Steps:
        self.report.passes += 1
        total: int = yield from self._asked(endpoints.user_count())
        while True:
            since = None if place.last or not place.created_at else place.created_at - 1
            question = endpoints.users(starting_after=place.last or None, created_at_after=since)
            try:
                rows: list[Shape] = yield from self._asked(question)
            except ApiRefused:
                if not place.last:
                    raise
                place = replace(place, last="")  # who stood there is gone: from a moment before, then
                continue
            yield from self._put("users", rows)
            place = replace(place, seen=place.seen + len(rows), **_last_of(rows, place))
            self._told("users", place.seen, total)
            if len(rows) < MAX_PAGE:
                break
            yield from self._noted(place)
        # A page that was cut short looks like the last one.
        self.report.complete &= place.seen >= (yield from self._asked(endpoints.user_count()))

    def _list(self, stage: Stage, place: Place) -> Steps:
        for _ in range(MAX_PASSES):
            self.report.passes += 1
            shifted = False
            while True:
                overlap = 1 if place.seen else 0
                page: Page = yield from self._asked(_LISTS[stage](offset=place.seen - overlap))
                shifted |= overlap == 1 and (not page.rows or page.rows[0].get("id") != place.last)
                yield from self._put(stage, page.rows[overlap:])
                place = replace(place, seen=place.seen + len(page.rows[overlap:]), **_last_of(page.rows, place))
                self._told(stage, place.seen, page.total)
                if len(page.rows) < MAX_PAGE:
                    break
                yield from self._noted(place)
            if not shifted and place.seen == page.total:
                return
            place = Place(place.started, stage)
        self.report.complete = False

    def _asked(self, question: Question[Any]) -> Steps:
        self._asked_at = self._now()  # an answer says how things were no earlier than this
        return (yield lambda api, _: api.ask(question))

    def _put(self, stage: Stage, rows: list[Shape]) -> Steps:
        """What a page says."""
        records, unreadable = list[AnyRecord](), 0
        for row in rows:
            try:
                records += _READERS[stage](self._instance, row, self._asked_at)
            except Unreadable:
                unreadable += 1
        changes: list[Any] = (yield lambda _, repository: repository.put(records)) if records else []
        self.report.unreadable += unreadable
        self.report.listed[stage] = self.report.listed.get(stage, 0) + len(rows)
        self.report.changed[stage] = self.report.changed.get(stage, 0) + len(changes)
        return len(changes)

    def _noted(self, place: Place, *, now: bool = False) -> Steps:
        """Note where the run has come to. What is lost of it is read again, which does no harm."""
        if now or self._now() - self._noted_at >= NOTE_EVERY:
            self._noted_at = self._now()
            text = json.dumps(asdict(place))
            yield lambda _, repository: repository.set_note(self._note, text)

    def _told(self, stage: Stage, seen: int, total: int | None) -> None:
        if self._tell is not None:
            self._tell(Progress(stage, seen, total))

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _last_of(rows: list[Shape], place: Place) -> dict[str, Any]:
    if not rows:
        return {}
    created_at = rows[-1].get("created_at")
    return {
        "last": str(rows[-1].get("id")),
        "created_at": created_at if type(created_at) is int else place.created_at,
    }


def _read_place(noted: str | None) -> Place | None:
    """A place that was noted, by this version or by another one that may have meant something else by it."""
    try:
        said = fields(json.loads(noted or "null"))
        place = Place(**said)
    except (ValueError, TypeError):
        return None
    kinds = all(type(getattr(place, name)) is type(getattr(Place(0), name)) for name in asdict(place))
    return place if kinds and place.stage in _STAGES else None
