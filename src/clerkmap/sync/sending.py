"""What is pending goes back to Clerk: once for each thing that it does not hold, whoever sends it and however it ends.

One who sends puts what is pending off first, so that nobody else sends it meanwhile. What is sent follows from
what is stored at that moment, and Clerk's answer is stored like anything else it says: after it, nothing is missing.
Where it is not known what came of an attempt, Clerk is asked first what it holds.
"""

import logging
from collections.abc import Callable, Generator
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

from ..clerk import endpoints
from ..clerk.endpoints import Question, Shape
from ..core.events import Unreadable, records_of
from ..core.model import Organization, User
from ..core.records import AnyRecord
from ..core.writeback import WAIT, OutboxEntry, OutboxKind, outbox_entry_of
from ..core.writeback import WriteBack as WriteBack  # to be had from clerkmap.clerk, too
from ..errors import ApiError, ApiKeyRefused, ApiNotFound, ApiRefused, ApiUnavailable, ConfigurationError, HookFailed
from .runs import Progress, Step, Steps, Tell, stored_page

logger: logging.Logger = logging.getLogger("clerkmap.outbox")
TAKEN = 300_000  # milliseconds for which nobody else sends it: longer than any attempt takes
FIRST_PAUSE, LONGEST_PAUSE = 5_000, 3_600_000  # milliseconds until what has failed is tried again
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Sent:
    """What has come of the outbox.

    `written` is how many people and organizations Clerk was told something of, `known` how many it held already,
    `gone` how many it does not know any more, and `failed` how many are to be tried again.
    """

    written: int = 0
    known: int = 0
    gone: int = 0
    failed: int = 0

    def __add__(self, other: "Sent") -> "Sent":
        """What came of two looks."""
        return Sent(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return asdict(self)


class Sending:
    """One look at what is due."""

    def __init__(self, instance: str, back: WriteBack | None, tell: Tell | None, clock: Callable[[], float]) -> None:
        self._instance = instance
        self._back = checked(back)
        self._tell = tell
        self._clock = clock
        self.sent: Sent = Sent()

    def steps(self, ends: Callable[[], bool] = lambda: False) -> Steps:
        """Send all that is due, unless it ends before. What Clerk refuses is put off; if it cannot be reached, the rest
        has to wait."""
        is_checked = False
        while True:
            due: list[OutboxEntry] = yield self._due()
            if not due:
                return
            if not is_checked:  # before anything is taken, so that it stays as it is where Clerk is away
                yield lambda api, _: api.check()
                is_checked = True
            for outbox_entry in due:
                if ends():
                    return
                yield from self._send(outbox_entry)
                if self._tell is not None:
                    self._tell(Progress("outbox", sum(asdict(self.sent).values()), None))

    def _due(self) -> Step:
        now = self._now()
        return lambda _, repository: repository.outbox(self._instance, due=now, limit=AT_ONCE)

    def _send(self, outbox_entry: OutboxEntry) -> Steps:
        taken = replace(outbox_entry, due_at=self._now() + TAKEN, tries=outbox_entry.tries + 1)
        if not (yield _set(outbox_entry, taken)):
            return  # somebody else has it
        try:
            sent = yield from self._sent(taken, is_uncertain=outbox_entry.tries > 0)
        except ApiNotFound:
            sent = Sent(gone=1)  # whoever listens to Clerk will hear of it, and a backfill finds it
        except (ApiError, HookFailed) as error:
            yield from self._put_off(taken, error)
            if isinstance(error, (ApiKeyRefused, ApiUnavailable)):
                raise  # as it would be with all the others
            return
        self.sent += sent
        yield from self._finish(taken, is_gone=sent.gone > 0)

    def _sent(self, outbox_entry: OutboxEntry, *, is_uncertain: bool) -> Generator[Step, Any, Sent]:
        """Tell Clerk what it does not hold, and store what it answers."""
        if is_uncertain:
            yield from self._ask_again(outbox_entry)
        row: User | Organization | None = yield _row(outbox_entry.kind, outbox_entry.instance, outbox_entry.key)
        if row is None or row.clerk.clerk_id is None:
            return Sent(gone=1)
        missing = self._back.missing(row)
        for question in _questions(row.clerk.clerk_id, isinstance(row, User), missing):
            yield from self._asked(outbox_entry, question)
        if not missing:
            return Sent(known=1)
        row = yield _row(outbox_entry.kind, outbox_entry.instance, outbox_entry.key)
        if row is not None and self._back.missing(row) == missing:  # sent again at once, it would be so for ever
            raise ApiRefused("it has taken what was written, and does not show it", codes=("not_kept",))
        return Sent(written=1)

    def _ask_again(self, outbox_entry: OutboxEntry) -> Steps:
        record: AnyRecord | None = yield _stored(outbox_entry)
        if record is not None and record.clerk_id is not None:
            one = endpoints.user if outbox_entry.kind == "user" else endpoints.organization
            yield from self._asked(outbox_entry, one(record.clerk_id))

    def _asked(self, outbox_entry: OutboxEntry, question: Question[Shape]) -> Steps:
        before: AnyRecord | None = yield _stored(outbox_entry)
        asked_at = self._now()
        row: Shape = yield lambda api, _: api.ask(question)
        try:
            records = records_of(outbox_entry.kind, outbox_entry.instance, row, asked_at)
        except Unreadable:
            raise ApiUnavailable("its answer does not say what it must") from None
        if records[-1].key != outbox_entry.key:
            raise ApiUnavailable("its answer is about something else")
        # The stored record was read first, so the answer is later, whatever its date.
        told = records[-1] if before is None else records[-1].above(before.rank)
        yield lambda _, repository: repository.put([*records[:-1], told])

    def _finish(self, taken: OutboxEntry, *, is_gone: bool) -> Steps:
        """Take it out of the outbox; unless something has changed meanwhile, which is to be looked at again."""
        now: OutboxEntry | None
        while (now := (yield _look(taken))) is not None and now.due_at == taken.due_at:
            row: User | Organization | None = yield _row(taken.kind, taken.instance, taken.key)
            is_more = not is_gone and row is not None and bool(self._back.missing(row))
            later = replace(now, due_at=self._now() + WAIT, tries=0, error=None)
            if (yield _set(now, later if is_more else None)):
                return

    def _put_off(self, taken: OutboxEntry, error: ApiError | HookFailed) -> Steps:
        self.sent += Sent(failed=1)
        code = error.codes[0] if isinstance(error, ApiError) and error.codes else error.code
        logger.warning("what is to go back to Clerk was not taken: %s (try %d)", code, taken.tries)
        pause = min(FIRST_PAUSE * 2 ** min(taken.tries - 1, 20), LONGEST_PAUSE)
        now: OutboxEntry | None
        while (now := (yield _look(taken))) is not None and now.due_at == taken.due_at:
            if (yield _set(now, replace(now, due_at=self._now() + pause, error=code))):
                return

    def _now(self) -> int:
        return int(self._clock() * 1000)


def filling(instance: str, back: WriteBack | None, tell: Tell | None, clock: Callable[[], float]) -> Steps:
    """Note all of whom Clerk does not hold what it should: those who were there before you asked for it."""
    back = checked(back)
    done = 0
    kinds: tuple[OutboxKind, ...] = ("user", "organization")
    for kind in kinds:
        after = ""
        page: list[AnyRecord]
        while page := (yield stored_page(kind, instance, after)):
            after = page[-1].key
            for record in page:
                row: User | Organization | None = yield _row(kind, instance, record.key)
                if row is not None and back.missing(row):
                    yield _set(None, outbox_entry_of(row, int(clock() * 1000)))
            done += len(page)
            if tell is not None:
                tell(Progress("outbox", done, None))


def checked(back: WriteBack | None) -> WriteBack:
    """What is to be written back, or `ConfigurationError`."""
    if back is None:
        raise ConfigurationError("the repository does not know what to write back: give it write_back=WriteBack(...)")
    return back


def _questions(clerk_id: str, is_user: bool, missing: dict[str, Any]) -> list[Question[Shape]]:
    """What Clerk is to be asked, each question once: what came of it is looked at before it is asked again."""
    metadata = missing.get("public_metadata")
    others = {name: value for name, value in missing.items() if name != "public_metadata"}
    merge = endpoints.merge_user_metadata if is_user else endpoints.merge_organization_metadata
    questions = [merge(clerk_id, public_metadata=metadata)] if metadata else []
    if others:  # last, for an external id may be another's
        questions.append(endpoints.update_user(clerk_id, **others))
    return [replace(question, once=True) for question in questions]


def _row(kind: OutboxKind, instance: str, key: str) -> Step:
    return lambda _, repository: repository.row(kind, instance, key)


def _stored(outbox_entry: OutboxEntry) -> Step:
    return lambda _, repository: repository.record(outbox_entry.kind, outbox_entry.instance, outbox_entry.key)


def _set(before: OutboxEntry | None, after: OutboxEntry | None) -> Step:
    return lambda _, repository: repository.swap_outbox_entry(before, after)


def _look(outbox_entry: OutboxEntry) -> Step:
    return lambda _, repository: repository.outbox_entry(outbox_entry.instance, outbox_entry.kind, outbox_entry.key)
