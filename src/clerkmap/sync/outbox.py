"""The outbox: send missing data to Clerk, once for each row, with any number of senders and after any failure.

drain(ClerkApi(instance), repository)

with OutboxWorker(ClerkApi(instance), repository):  # a background thread, while the application runs
    ...

A sender first postpones the entry, so that no other sender takes it meanwhile. It makes the request from the rows that
are stored at that moment, and stores Clerk's answer like any other record. Then no data is missing. If the outcome of a
try is unknown, the next try first asks Clerk for its current data.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, replace
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from .._runtime.forks import SurvivesForks
from ..clerk import endpoints
from ..clerk.api import AsyncClerkApi, ClerkApi
from ..clerk.endpoints import ClerkRequest, Shape
from ..core.events import Unreadable, records_of
from ..core.instance import Instance
from ..core.model import Change, Organization, User
from ..core.writeback import WAIT, OutboxEntry, OutboxKind, WriteBack, outbox_entry_of
from ..errors import (
    ApiError,
    ApiKeyRefused,
    ApiNotFound,
    ApiRefused,
    ApiUnavailable,
    ClerkmapError,
    ConfigurationError,
    HookFailed,
)
from ..ports import AsyncRepository, Repository, is_async
from .job import Job, OnProgress, lent, lent_api, run

logger: logging.Logger = logging.getLogger("clerkmap.outbox")
EVERY = 5.0  # seconds between two runs
TAKEN = timedelta(minutes=5)  # for which no other sender takes the entry: longer than any attempt
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(hours=1)  # until a failed entry is retried
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Sent:
    """The result of sending the outbox.

    These are numbers of users and organizations. `written`: their data was sent to Clerk. `known`: Clerk had the data
    already. `gone`: Clerk does not know them any more. `failed`: they will be retried.
    """

    written: int = 0
    known: int = 0
    gone: int = 0
    failed: int = 0

    def __add__(self, other: "Sent") -> "Sent":
        """Return the sum of two results."""
        return Sent(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """Return the result, ready for JSON."""
        return asdict(self)


def drain(
    api: ClerkApi, repository: Repository, *, progress: OnProgress | None = None, clock: Callable[[], float] = time.time
) -> Sent:
    """Send the outbox entries that are due. An entry that Clerk refuses is postponed, with Clerk's error code.

    Raise `ApiUnavailable`, `ApiKeyRefused` or `WrongInstance` if no entry can be sent now: the entries stay.
    """
    return run(_OutboxRun(Job(api.instance.name, lent_api(api), lent(repository), progress, clock)).run())


async def adrain(
    api: AsyncClerkApi,
    repository: AsyncRepository,
    *,
    progress: OnProgress | None = None,
    clock: Callable[[], float] = time.time,
) -> Sent:
    """Do the same in async code."""
    return await _OutboxRun(Job(api.instance.name, api, repository, progress, clock)).run()


def fill_outbox(
    repository: Repository,
    *,
    instance: Instance,
    progress: OnProgress | None = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Add an outbox entry for each row with stale metadata at Clerk.

    It is for rows that are older than your `write_back` setting. It is idempotent.
    """
    run(_fill(Job(instance.name, None, lent(repository), progress, clock)))


async def afill_outbox(
    repository: AsyncRepository,
    *,
    instance: Instance,
    progress: OnProgress | None = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Do the same in async code."""
    await _fill(Job(instance.name, None, repository, progress, clock))


class OutboxWorker(SurvivesForks):
    """Empties the outbox in a background thread. Any number of workers can run, in any number of processes.

    Args:
        api: Clerk's API.
        repository: The repository. In async code, have a task await `adrain` now and then instead.
        every: The seconds between two runs. A write of this process starts a run sooner.
    """

    def __init__(self, api: ClerkApi, repository: Repository, *, every: float = EVERY) -> None:
        if type(every) not in (int, float) or not 0 < every <= 3600:
            raise ConfigurationError("every must be more than 0 and at most 3600 seconds")
        checked_write_back(repository.write_back)
        if is_async(repository):
            raise ConfigurationError("the repository is asynchronous: await adrain regularly in a task")
        self._api = api
        self._repository = repository
        self._every = every
        self._make_thread()
        repository.listeners.after_commit(self._wake)
        self.survive_forks()

    def _make_thread(self) -> None:
        self._woken = threading.Event()
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None

    def after_fork_in_child(self) -> None:
        self._make_thread()

    def start(self) -> None:
        """Start the thread. A fork does not copy threads: each process has to start its own."""
        if self._thread is None or not self._thread.is_alive():
            self._ends.clear()
            self._thread = threading.Thread(target=self._run, name="clerkmap-outbox", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop after the current entry. The other entries stay in the outbox."""
        self._ends.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _wake(self, change: Change) -> None:
        self._woken.set()

    def _run(self) -> None:
        while not self._ends.is_set():
            try:
                job = Job(self._api.instance.name, lent_api(self._api), lent(self._repository))
                run(_OutboxRun(job, self._ends.is_set).run())
            except ClerkmapError as error:
                logger.warning("draining the outbox failed, next attempt follows: %s", error)
            except Exception as error:  # noqa: BLE001 - the end of the thread would go unnoticed
                logger.error("draining the outbox failed: %s", type(error).__name__)
            if self._woken.wait(self._every):
                self._woken.clear()
                self._ends.wait(WAIT.total_seconds())


class _OutboxRun:
    """One run over the entries that are due."""

    def __init__(self, job: Job, ends: Callable[[], bool] = lambda: False) -> None:
        self._job = job
        self._write_back = checked_write_back(job.repository.write_back)
        self._ends = ends
        self.sent: Sent = Sent()

    async def run(self) -> Sent:
        """Send all entries that are due, unless the worker stops before.

        An entry that Clerk refuses is postponed. If Clerk is unreachable, the other entries wait.
        """
        is_checked = False
        while True:
            due = await self._job.repository.outbox(self._job.instance, due=self._job.moment(), limit=AT_ONCE)
            if not due:
                return self.sent
            if not is_checked:  # before an entry is taken: without Clerk, no entry changes
                await self._job.api.check()
                is_checked = True
            for outbox_entry in due:
                if self._ends():
                    return self.sent
                await self._send_entry(outbox_entry)
                self._job.tell("outbox", sum(asdict(self.sent).values()))

    async def _send_entry(self, outbox_entry: OutboxEntry) -> None:
        taken = replace(outbox_entry, due_at=self._job.moment() + TAKEN, tries=outbox_entry.tries + 1)
        if not await self._job.repository.swap_outbox_entry(outbox_entry, taken):
            return  # another sender has it
        try:
            sent = await self._send_missing(taken, is_uncertain=outbox_entry.tries > 0)
        except ApiNotFound:
            sent = Sent(gone=1)  # a webhook brings the deletion, and a backfill finds it
        except (ApiError, HookFailed) as error:
            await self._postpone(taken, error)
            if isinstance(error, (ApiKeyRefused, ApiUnavailable)):
                raise  # all other entries would fail as well
            return
        self.sent += sent
        await self._finish(taken, is_gone=sent.gone > 0)

    async def _send_missing(self, outbox_entry: OutboxEntry, *, is_uncertain: bool) -> Sent:
        """Send the data that Clerk lacks, and store Clerk's answer."""
        if is_uncertain:
            await self._refresh_record(outbox_entry)
        row = await self._row(outbox_entry)
        if row is None or row.clerk.clerk_id is None:
            return Sent(gone=1)
        missing = self._write_back.missing(row)
        for request in _write_requests(row.clerk.clerk_id, isinstance(row, User), missing):
            await self._send_and_store(outbox_entry, request)
        if not missing:
            return Sent(known=1)
        row = await self._row(outbox_entry)
        if row is not None and self._write_back.missing(row) == missing:  # an immediate retry would loop forever
            raise ApiRefused("it accepted the metadata, but its response does not have them", codes=("not_kept",))
        return Sent(written=1)

    async def _refresh_record(self, outbox_entry: OutboxEntry) -> None:
        record = await self._job.stored(outbox_entry.kind, outbox_entry.key)
        if record is not None and record.clerk_id is not None:
            one = endpoints.user if outbox_entry.kind == "user" else endpoints.organization
            await self._send_and_store(outbox_entry, one(record.clerk_id))

    async def _send_and_store(self, outbox_entry: OutboxEntry, request: ClerkRequest[Shape]) -> None:
        before = await self._job.stored(outbox_entry.kind, outbox_entry.key)
        sent_at = self._job.now()
        row = await self._job.send(request)
        try:
            records = records_of(outbox_entry.kind, outbox_entry.instance, row, sent_at)
        except Unreadable:
            raise ApiUnavailable("the response lacks a required field") from None
        if records[-1].key != outbox_entry.key:
            raise ApiUnavailable("the response describes another object")
        # The stored record was read first, so the answer is later, regardless of its date.
        told = records[-1] if before is None else records[-1].above(before.rank)
        await self._job.repository.put([*records[:-1], told])

    async def _finish(self, taken: OutboxEntry, *, is_gone: bool) -> None:
        """Delete the entry, unless the row has changed meanwhile and must be checked again."""
        while (now := await self._current(taken)) is not None and now.due_at == taken.due_at:
            row = await self._row(taken)
            is_more = not is_gone and row is not None and bool(self._write_back.missing(row))
            later = replace(now, due_at=self._job.moment() + WAIT, tries=0, error=None)
            if await self._job.repository.swap_outbox_entry(now, later if is_more else None):
                return

    async def _postpone(self, taken: OutboxEntry, error: ApiError | HookFailed) -> None:
        self.sent += Sent(failed=1)
        code = error.codes[0] if isinstance(error, ApiError) and error.codes else error.code
        logger.warning("sending an outbox entry failed: %s (attempt %d)", code, taken.tries)
        pause = min(FIRST_PAUSE * 2 ** min(taken.tries - 1, 20), LONGEST_PAUSE)
        while (now := await self._current(taken)) is not None and now.due_at == taken.due_at:
            if await self._job.repository.swap_outbox_entry(
                now, replace(now, due_at=self._job.moment() + pause, error=code)
            ):
                return

    async def _row(self, entry: OutboxEntry) -> User | Organization | None:
        return await self._job.repository.row(entry.kind, entry.instance, entry.key)

    async def _current(self, entry: OutboxEntry) -> OutboxEntry | None:
        return await self._job.repository.outbox_entry(entry.instance, entry.kind, entry.key)


async def _fill(job: Job) -> None:
    """Add an entry for each row with stale metadata at Clerk."""
    write_back = checked_write_back(job.repository.write_back)
    done = 0
    kinds: tuple[OutboxKind, ...] = ("user", "organization")
    for kind in kinds:
        after = ""
        while page := await job.stored_page(kind, after):
            after = page[-1].key
            for record in page:
                row = await job.repository.row(kind, job.instance, record.key)
                if row is not None and write_back.missing(row):
                    await job.repository.swap_outbox_entry(None, outbox_entry_of(row, job.now()))
            done += len(page)
            job.tell("outbox", done)


def checked_write_back(write_back: WriteBack | None) -> WriteBack:
    """Return the `write_back` setting, or raise `ConfigurationError`."""
    if write_back is None:
        raise ConfigurationError("the repository has no write_back: create it with write_back=WriteBack(...)")
    return write_back


def _write_requests(clerk_id: str, is_user: bool, missing: dict[str, Any]) -> list[ClerkRequest[Shape]]:
    """Return the requests that write the missing data. No request is retried before its outcome is known."""
    metadata = missing.get("public_metadata")
    others = {name: value for name, value in missing.items() if name != "public_metadata"}
    merge = endpoints.merge_user_metadata if is_user else endpoints.merge_organization_metadata
    requests = [merge(clerk_id, public_metadata=metadata)] if metadata else []
    if others:  # last, because the external id may belong to another user
        requests.append(endpoints.update_user(clerk_id, **others))
    return [replace(request, once=True) for request in requests]
