"""Everything that Clerk has, into the repository: page by page, in constant memory, beside live webhooks.

    report = backfill(ClerkApi(instance), repository)

Each page is put like a webhook, so it can only make the state truer, and what happens meanwhile outranks it. Where a
run has come to is noted in the repository: one that was killed goes on from there.

What Clerk no longer lists is asked for by its id, and only what Clerk says it does not know is deleted. A page that was
cut short, an empty answer, or the key of another instance deletes nobody.
"""

import json
import re
import time
from collections.abc import Callable, Generator
from dataclasses import asdict
from typing import Any

from ..clerk.api import AsyncClerkApi, ClerkApi
from ..clerk.endpoints import Question, Shape
from ..core.events import Unreadable, records_of
from ..core.records import MAX_TIME, AnyRecord, key_of
from ..core.strict_json import fields
from ..errors import ConfigurationError
from ..ports import AsyncRepository, Repository
from .conflicts import Said, overtake
from .departures import Departures
from .listing import Place, read, read_back
from .runs import KINDS, Progress, Report, Stage, Step, Steps, Tell, arun, run

CHECKPOINT_EVERY = 2_000  # milliseconds between two notes of where a run has come to
NOTE_LASTS = 86_400_000  # what was read longer ago is read again
OVERLAP = 600_000  # by how much this machine's clock and Clerk's may differ

_STAGES: tuple[Stage, ...] = (*KINDS, "departures")
_ID = re.compile(r"[0-9A-Za-z_-]{0,255}")


class Copying:
    """One run."""

    def __init__(self, instance: str, most_departures: float, tell: Tell | None, clock: Callable[[], float]) -> None:
        self._instance = instance
        self._most_departures = most_departures
        self._tell = tell
        self._clock = clock
        self._under_way, self._done = (f"backfill {what} {key_of(instance)}" for what in ("under way", "done"))
        self._noted_at = self._asked_at = 0
        self.report: Report = Report()

    def everything(self, anew: bool) -> Steps:
        """All lists from their beginnings, or from where an earlier run has come to; then who has gone."""
        noted = None if anew else (yield from self._checkpoint(self._under_way))
        place = _place_in(noted, self._now())
        self.report.resumed = place is not None
        place = place or Place(self._now())
        for stage in _STAGES[_STAGES.index(place.stage) :]:
            place = place if stage == place.stage else Place(place.started, stage)
            if stage in KINDS:
                self.report.complete &= yield from read(place, self._asked, self._taken)
        yield from self._noted(place, now=True)
        departures = Departures(self._instance, place.started, self.report, self._now, self._told)
        yield from departures.steps(self._most_departures)
        yield from self._finished(place.started)

    def newest(self) -> Steps:
        """What is newer than the last run that came to its end. Without one it is everything."""
        noted = yield from self._checkpoint(self._done)
        if noted is None or not re.fullmatch(r"[0-9]{1,15}", noted):
            yield from self.everything(anew=False)
            return
        started = self._now()
        for stage in KINDS:
            place = Place(started, stage)
            yield from read_back(place, int(noted) - OVERLAP, self._asked, self._put)
        yield lambda _, repository: repository.set_checkpoint(self._done, str(started))

    def _asked(self, question: Question[Any]) -> Steps:
        self._asked_at = self._now()  # an answer says how things were no earlier than this
        return (yield lambda api, _: api.ask(question))

    def _taken(self, rows: list[Shape], place: Place, total: int | None) -> Steps:
        yield from self._put(rows, place, total)
        if self.report.complete:  # nothing is noted that says more than it should
            yield from self._noted(place)

    def _put(self, rows: list[Shape], place: Place, total: int | None) -> Steps:
        """What a page says."""
        stage, records, said, unreadable = place.stage, list[AnyRecord](), list[Said](), 0
        kind = KINDS[stage]
        for row in rows:
            try:
                records += records_of(kind, self._instance, row, self._asked_at)
            except Unreadable:
                unreadable += 1
            else:
                said.append((row, records[-1]))
        changes: list[Any] = (yield lambda _, repository: repository.put(records)) if records else []
        changes = changes + (yield from overtake(kind, self._instance, said, self._asked, self._now))
        report = self.report
        report.unreadable += unreadable
        report.listed[stage] = report.listed.get(stage, 0) + len(rows)
        report.changed[stage] = report.changed.get(stage, 0) + len(changes)
        self._told(stage, place.seen, total)

    def _checkpoint(self, name: str) -> Generator[Step, Any, str | None]:
        text: str | None = yield lambda _, repository: repository.checkpoint(name)
        return text

    def _noted(self, place: Place, *, now: bool = False) -> Steps:
        """Note where the run has come to. What is lost of it is read again, which does no harm."""
        if now or self._now() - self._noted_at >= CHECKPOINT_EVERY:
            self._noted_at = self._now()
            text = json.dumps(asdict(place))
            yield lambda _, repository: repository.set_checkpoint(self._under_way, text)

    def _finished(self, started: int) -> Steps:
        if self.report.complete:
            yield lambda _, repository: repository.set_checkpoint(self._done, str(started))
        yield lambda _, repository: repository.set_checkpoint(self._under_way, None)

    def _told(self, stage: Stage, seen: int, total: int | None) -> None:
        if self._tell is not None:
            self._tell(Progress(stage, seen, total))

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _place_in(noted: str | None, now: int) -> Place | None:
    """A place that was noted not long ago: by this version, or by another that may have meant something else by it."""
    try:
        place = Place(**fields(json.loads(noted or "null")))
    except (ValueError, TypeError, RecursionError):
        return None
    if any(type(value) is not type(getattr(Place(0), name)) for name, value in asdict(place).items()):
        return None
    is_recent = now - NOTE_LASTS <= place.started <= now
    is_sound = place.stage in _STAGES and _ID.fullmatch(place.last) and min(place.moment, place.seen) >= 0
    return place if is_recent and is_sound and max(place.moment, place.seen) <= MAX_TIME else None


def backfill(
    api: ClerkApi,
    repository: Repository,
    *,
    newest_only: bool = False,
    anew: bool = False,
    most_departures: float = 0.1,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Bring the repository to what Clerk has.

    Args:
        api: Clerk's API, of the instance to be copied.
        repository: Where to.
        newest_only: Read from the newest changes back to where the last run began that came to its end. Without one,
            everything is read. It finds no deletions, and of organizations and memberships only new ones.
        anew: Begin at the beginning, also where a run of the last day did not come to its end.
        most_departures: Which part of what is stored of a kind may be gone at Clerk, from 0 to 1. Where it looks like
            more, nobody is asked about, and the report says how many are held back.
        progress: Called with how far it is.
        clock: The time, in seconds since 1970.
    """
    copying = Copying(api.instance.name, checked_part(most_departures), progress, clock)
    run(copying.newest() if newest_only else copying.everything(anew), api, repository)
    return copying.report


async def abackfill(
    api: AsyncClerkApi,
    repository: AsyncRepository,
    *,
    newest_only: bool = False,
    anew: bool = False,
    most_departures: float = 0.1,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> Report:
    """The same for async code."""
    copying = Copying(api.instance.name, checked_part(most_departures), progress, clock)
    await arun(copying.newest() if newest_only else copying.everything(anew), api, repository)
    return copying.report


def checked_part(most_departures: float) -> float:
    if type(most_departures) not in (int, float) or not 0 <= most_departures <= 1:
        raise ConfigurationError("most_departures is a part of what is stored, from 0 to 1")
    return most_departures
