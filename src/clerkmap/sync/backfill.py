"""Backfill: copy Clerk's users, organizations and memberships, page by page, in constant memory, beside webhooks.

    report = backfill(ClerkApi(instance), repository)

Each page is stored like a webhook delivery, so newer records win. A checkpoint in the repository holds the position of
a run. If a run is killed, the next run resumes there.

If Clerk no longer lists a stored object, the backfill requests it by its id. It deletes the object only if Clerk does
not know the id. So a truncated page, an empty answer, or the key of another instance deletes nothing.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict

from ..clerk.api import AsyncClerkApi, ClerkApi
from ..clerk.endpoints import Shape
from ..core.events import Unreadable, records_of
from ..core.records import MAX_TIME, AnyRecord, key_of
from ..core.strict_json import fields
from ..errors import ConfigurationError
from ..ports import AsyncRepository, Repository
from .departures import Departures
from .job import KINDS, Job, OnProgress, Report, Stage, lent, lent_api, run
from .listing import Position, Reader, reader, reader_back
from .recheck import Said, put_despite_older_dates

CHECKPOINT_EVERY = 2_000  # milliseconds between two checkpoints
NOTE_LASTS = 86_400_000  # milliseconds: an older checkpoint is ignored
OVERLAP = 600_000  # milliseconds by which this machine's clock and Clerk's may differ

_STAGES: tuple[Stage, ...] = (*KINDS, "departures")
_ID = re.compile(r"[0-9A-Za-z_-]{0,255}")


class _Backfill:
    """One run of a backfill."""

    def __init__(self, job: Job, most_departures: float) -> None:
        self._job = job
        self._most_departures = most_departures
        self._under_way, self._done = (f"backfill {what} {key_of(job.instance)}" for what in ("under way", "done"))
        self._noted_at = 0
        self.report: Report = Report()

    async def run(self, *, newest_only: bool, anew: bool) -> Report:
        """Read and store the lists, and return the report."""
        done = await self._job.repository.checkpoint(self._done) if newest_only else None
        if done is not None and re.fullmatch(r"[0-9]{1,15}", done):
            await self._newest(int(done))
        else:
            await self._everything(anew=anew and not newest_only)
        return self.report

    async def _everything(self, *, anew: bool) -> None:
        """Read all lists from the start, or from the position of an earlier run; then look for departures."""
        noted = None if anew else await self._job.repository.checkpoint(self._under_way)
        position = _position_in(noted, self._job.now())
        self.report.resumed = position is not None
        position = position or Position(self._job.now())
        for stage in _STAGES[_STAGES.index(position.stage) :]:
            position = position if stage == position.stage else Position(position.started, stage)
            if stage in KINDS:
                self.report.complete &= await self._read(reader(position))
        await self._note(position, now=True)
        await Departures(self._job, position.started, self.report).find(self._most_departures)
        if self.report.complete:
            await self._job.repository.set_checkpoint(self._done, str(position.started))
        await self._job.repository.set_checkpoint(self._under_way, None)

    async def _read(self, listed: Reader) -> bool:
        """Store a list page by page. Return False if Clerk counts more rows than it shows."""
        while (rows := await listed.next_page(self._job)) is not None:
            await self._put(rows, listed.position, listed.total)
            if self.report.complete:  # a position behind an incomplete list would claim too much
                await self._note(listed.position)
        return listed.is_complete

    async def _newest(self, done: int) -> None:
        """Read the rows that are newer than the last completed run."""
        started = self._job.now()
        for stage in KINDS:
            listed = reader_back(Position(started, stage), done - OVERLAP)
            while (rows := await listed.next_page(self._job)) is not None:
                await self._put(rows, listed.position, None)
        await self._job.repository.set_checkpoint(self._done, str(started))

    async def _put(self, rows: list[Shape], position: Position, total: int | None) -> None:
        """Store the rows of a page."""
        stage, records, said, unreadable = position.stage, list[AnyRecord](), list[Said](), 0
        kind = KINDS[stage]
        for row in rows:
            try:
                records += records_of(kind, self._job.instance, row, self._job.asked_at)
            except Unreadable:
                unreadable += 1
            else:
                said.append((row, records[-1]))
        changes = await self._job.put(records)
        if len(changes) < len(records):  # a changed row was not outranked
            changes += await put_despite_older_dates(self._job, kind, said)
        report = self.report
        report.unreadable += unreadable
        report.listed[stage] = report.listed.get(stage, 0) + len(rows)
        report.changed[stage] = report.changed.get(stage, 0) + len(changes)
        self._job.tell(stage, position.seen, total)

    async def _note(self, position: Position, *, now: bool = False) -> None:
        """Write the checkpoint at intervals. A resumed run reads later pages again, which is idempotent."""
        if now or self._job.now() - self._noted_at >= CHECKPOINT_EVERY:
            self._noted_at = self._job.now()
            await self._job.repository.set_checkpoint(self._under_way, json.dumps(asdict(position)))


def _position_in(noted: str | None, now: int) -> Position | None:
    """Return the position in a recent checkpoint, or None. Another version may have written it in another format."""
    try:
        position = Position(**fields(json.loads(noted or "null")))
    except (ValueError, TypeError, RecursionError):
        return None
    if any(type(value) is not type(getattr(Position(0), name)) for name, value in asdict(position).items()):
        return None
    is_recent = now - NOTE_LASTS <= position.started <= now
    is_sound = position.stage in _STAGES and _ID.fullmatch(position.last) and min(position.moment, position.seen) >= 0
    return position if is_recent and is_sound and max(position.moment, position.seen) <= MAX_TIME else None


def backfill(
    api: ClerkApi,
    repository: Repository,
    *,
    newest_only: bool = False,
    anew: bool = False,
    most_departures: float = 0.1,
    progress: OnProgress | None = None,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Copy users, organizations and memberships from Clerk into the repository.

    Args:
        api: Clerk's API, of the instance to copy.
        repository: The repository to write to.
        newest_only: Read from the newest change back to the start of the last completed run. Without such a run, read
            everything. This finds no deletions. Of organizations and memberships, it finds only new ones.
        anew: Start over, even if a run of the last day is unfinished.
        most_departures: The part of the stored objects of a kind that may be gone at Clerk, from 0 to 1. If more seem
            to be gone, none is looked up at Clerk, and the report has their number as `held_back`.
        progress: Called with the progress.
        clock: The time, in seconds since 1970.
    """
    checked_part(most_departures)
    job = Job(api.instance.name, lent_api(api), lent(repository), progress, clock)
    return run(_Backfill(job, most_departures).run(newest_only=newest_only, anew=anew))


async def abackfill(
    api: AsyncClerkApi,
    repository: AsyncRepository,
    *,
    newest_only: bool = False,
    anew: bool = False,
    most_departures: float = 0.1,
    progress: OnProgress | None = None,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Do the same in async code."""
    checked_part(most_departures)
    job = Job(api.instance.name, api, repository, progress, clock)
    return await _Backfill(job, most_departures).run(newest_only=newest_only, anew=anew)


def checked_part(most_departures: float) -> None:
    """Raise `ConfigurationError` unless the number is from 0 to 1."""
    if type(most_departures) not in (int, float) or not 0 <= most_departures <= 1:
        raise ConfigurationError("most_departures must be a share of the stored rows, from 0 to 1")
