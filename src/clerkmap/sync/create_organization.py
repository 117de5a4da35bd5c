"""Create an organization at Clerk and your row of it, as one idempotent operation.

    create_organization(api, repository, idempotency_key="sign-up 42", name="Grand Hotel", created_by="user_2abc")

The idempotency key names the operation. Each call with the same key returns the same organization, in any process and
after any crash. The organization's private metadata at Clerk hold a digest of the key. If the outcome of an attempt is
unknown, the next attempt looks for that digest at Clerk. A checkpoint in the repository lets one process at a time
try.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..clerk import endpoints
from ..clerk.api import AsyncClerkApi, ClerkApi
from ..clerk.endpoints import ClerkRequest, Page, Shape
from ..core.events import Unreadable, records_of
from ..core.model import IdT, Organization
from ..core.records import MAX_TIME, key_of
from ..core.strict_json import fields
from ..errors import ApiNotFound, ApiRefused, ApiUnavailable, ConfigurationError, OperationUnderWay
from ..ports import AsyncRepository, Repository
from .job import Job, lent, lent_api, run

MARK = "clerkmap_operation"  # the name of the digest in the private metadata
HELD = 240_000  # milliseconds that an attempt excludes others: longer than it takes with default timeouts
SETTLES = 10_000  # milliseconds after which an unanswered request has been processed, or never will be
CLOCKS = 600_000  # milliseconds by which this machine's clock and Clerk's may differ
OVERLAP = 50  # rows that the next page repeats, since rows may be deleted meanwhile


def create_organization(
    api: ClerkApi,
    repository: Repository[IdT],
    *,
    idempotency_key: str,
    name: str,
    created_by: str,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    **said: Any,
) -> Organization[IdT]:
    """Return the organization of this operation, and create it at Clerk if no earlier call has.

    Args:
        api: Clerk's API.
        repository: The repository of your row. Its hooks run in the transaction of the row.
        idempotency_key: A name for the operation that must happen once, such as the id of a submitted form.
        name: The name of the organization.
        created_by: The Clerk id of its first member and admin.
        clock: The time, in seconds since 1970.
        monotonic: A monotonic clock.
        said: More fields at Clerk: `slug`, `public_metadata`, `private_metadata`, `max_allowed_memberships`.

    Raises:
        OperationUnderWay: Another attempt is running. Call it again later, with the same key.
        ApiUnavailable: The outcome is unknown. Call it again later, with the same key.
        ApiRefused: Clerk refuses the request, and nothing was created.
        ConfigurationError: The call is inside your transaction: a rollback would lose an organization that Clerk keeps.
    """
    job = Job(api.instance.name, lent_api(api), lent(repository), clock=clock)
    return run(_Attempt(job, idempotency_key, {"name": name, "created_by": created_by, **said}, monotonic).run())


async def acreate_organization(
    api: AsyncClerkApi,
    repository: AsyncRepository[IdT],
    *,
    idempotency_key: str,
    name: str,
    created_by: str,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    **said: Any,
) -> Organization[IdT]:
    """Do the same in async code."""
    job = Job(api.instance.name, api, repository, clock=clock)
    return await _Attempt(job, idempotency_key, {"name": name, "created_by": created_by, **said}, monotonic).run()


class _Attempt:
    """One attempt of the operation."""

    def __init__(self, job: Job, idempotency_key: str, said: Shape, monotonic: Callable[[], float]) -> None:
        if not (isinstance(idempotency_key, str) and 0 < len(idempotency_key) <= 255 and idempotency_key.isprintable()):
            raise ConfigurationError("idempotency_key must be printable text of at most 255 characters")
        self._job = job
        self._held = max(HELD, SETTLES + int(job.api.longest * 1000))
        self._mark = key_of(idempotency_key)  # your key may hold personal data
        self._checkpoint = f"operation {key_of(self._job.instance)} {self._mark}"
        self._said = said
        self._monotonic = monotonic
        # Milliseconds after which this attempt sends no request. So every request reaches Clerk before the hold ends.
        self._sends_for = self._held - SETTLES - int(job.api.attempt * 1000)
        self._held_since = (0, 0.0)
        self._made: str | None = None

    async def run(self) -> Organization:
        """Start, or resume an earlier attempt. An error after the creation has a note with the organization's id."""
        try:
            return await self._run()
        except Exception as error:
            if self._made is not None:
                error.add_note(f"The organization {self._made} has been made at Clerk.")
            raise

    async def _run(self) -> Organization:
        if await self._job.repository.in_transaction():
            raise ConfigurationError(
                "create_organization must not run inside a database transaction, because a rollback does not delete the"
                " organization at Clerk. Call it after the commit (transaction.on_commit in Django) or in a job"
            )
        text = await self._job.repository.checkpoint(self._checkpoint)
        noted = _read(text)
        clerk_id = noted.get("id")
        if clerk_id is None:
            clerk_id = await self._find_or_create(text, noted)
        return await self._mapped(clerk_id)

    async def _find_or_create(self, text: str | None, noted: dict[str, Any]) -> str:
        """Return the Clerk id of the organization. Create it at Clerk, unless an earlier attempt has created it."""
        await self._job.api.check()  # first: if it fails, this attempt holds nothing
        now = self._job.now()
        if noted and noted["until"] > now:
            raise OperationUnderWay
        since = noted["since"] if noted else now
        held = self._hold(since)
        if not await self._swap(text, held):
            raise OperationUnderWay
        clerk_id: str
        try:
            row = None
            if noted:
                row = await self._made_before(since)
            else:  # an earlier checkpoint may be rolled back, or lost in a move
                row = await self._made_by_creator()
            held, looked = self._hold(since), held
            if not await self._swap(looked, held):  # the search may take long
                raise OperationUnderWay
            if row is None:
                request = replace(endpoints.create_organization(**self._marked()), before_sending=self._check_time)
                row = await self._job.send(request)
            clerk_id = self._made = _id_in(row)
        except ApiUnavailable:
            await self._swap(held, _written(since=since, until=self._job.now() + SETTLES))
            raise
        except ApiRefused:  # nothing was created
            await self._swap(held, text)
            raise
        if not await self._swap(held, _written(id=clerk_id)):
            now_noted = _read(await self._job.repository.checkpoint(self._checkpoint))
            if now_noted.get("id") != clerk_id:  # this process was paused, and another process has taken over
                raise OperationUnderWay(
                    f"this attempt created {clerk_id}, and another attempt took over", organization_id=clerk_id
                )
        return clerk_id

    def _hold(self, since: int) -> str:
        """Return the checkpoint that excludes other attempts from now on."""
        now = self._job.now()
        self._held_since = now, self._monotonic()
        return _written(since=since, until=now + self._held)

    def _check_time(self) -> None:
        """Raise after a long pause of this process: the hold might end before this request reaches Clerk.

        Both clocks are compared, because one of them may stop while the machine sleeps.
        """
        began, began_monotonic = self._held_since
        paused = max(self._job.now() - began, (self._monotonic() - began_monotonic) * 1000)
        if paused > self._sends_for:
            raise OperationUnderWay("this attempt was paused for too long, and created nothing")

    async def _made_by_creator(self) -> Shape | None:
        """Return the organization with this operation's mark, among the organizations of its first member."""
        offset = 0
        while True:
            try:
                page = await self._job.send(self._of_creator(offset))
            except ApiRefused:  # Clerk will refuse the creation for this user as well, with a reason
                return None
            row = self._marked_in(page)
            offset += len(page.rows) - OVERLAP
            if row is not None or len(page.rows) <= OVERLAP or offset + OVERLAP >= page.total:
                return row

    async def _made_before(self, since: int) -> Shape | None:
        """Return the organization with this operation's mark, among all that were created since it began."""
        offset = 0
        while True:
            page = await self._job.send(endpoints.organizations(offset=offset, order_by="-created_at"))
            row = self._marked_in(page)
            if row is not None:
                return row
            oldest = min((_time(row) for row in page.rows), default=0)
            if oldest < since - CLOCKS or len(page.rows) <= OVERLAP:
                return None
            offset += len(page.rows) - OVERLAP

    def _marked_in(self, page: Page) -> Shape | None:
        marks = ((fields(row.get("private_metadata")).get(MARK), row) for row in page.rows)
        return next((row for mark, row in marks if mark == self._mark), None)

    def _of_creator(self, offset: int) -> ClerkRequest[Page]:
        return endpoints.organizations(offset=offset, order_by="-created_at", user=self._said["created_by"])

    async def _mapped(self, clerk_id: str) -> Organization:
        """Return your row. Create it, unless a webhook was faster."""
        row = await self._row(clerk_id)
        if row is None:
            asked_at = self._job.now()
            told = await self._job.send(endpoints.organization(clerk_id))
            try:
                records = records_of("organization", self._job.instance, told, asked_at)
            except Unreadable:
                raise ApiUnavailable("the response lacks a required field") from None
            await self._job.repository.put(records)
            row = await self._row(clerk_id)
        if row is None:
            raise ApiNotFound("the response describes another organization")
        return row

    def _marked(self) -> Shape:
        private = {**fields(self._said.get("private_metadata")), MARK: self._mark}
        return {**self._said, "private_metadata": private}

    async def _row(self, clerk_id: str) -> Organization | None:
        row = await self._job.repository.row("organization", self._job.instance, key_of(clerk_id))
        return row if isinstance(row, Organization) else None

    async def _swap(self, before: str | None, after: str | None) -> bool:
        return await self._job.repository.swap_checkpoint(self._checkpoint, before, after)


def _id_in(row: Shape) -> str:
    clerk_id = row.get("id")
    if not (isinstance(clerk_id, str) and clerk_id.startswith("org_")):
        raise ApiUnavailable("the response lacks a required field")
    return clerk_id


def _time(row: Shape) -> int:
    created_at = row.get("created_at")
    return created_at if type(created_at) is int else 0


def _written(**noted: Any) -> str:
    return json.dumps(noted)


def _read(text: str | None) -> dict[str, Any]:
    """Return the content of a checkpoint: an id, or the start and end of an attempt's hold, or nothing."""
    if text is None:
        return {}
    try:
        noted = fields(json.loads(text))
    except (ValueError, RecursionError):
        noted = {}
    if isinstance(noted.get("id"), str):
        return {"id": noted["id"]}
    times = (noted.get("since"), noted.get("until"))
    if any(type(time) is not int or not 0 <= time <= MAX_TIME for time in times):
        raise ConfigurationError(
            "another program changed the checkpoint of this operation: pass another idempotency_key"
        )
    return noted
