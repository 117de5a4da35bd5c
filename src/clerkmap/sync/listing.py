"""Read a whole list from Clerk, while rows are added, changed and deleted, and while pages are truncated.

A reader has two verbs: `next_request` returns a request, and `feed_answer` takes its answer and returns the new rows.

Users are read by a cursor, oldest first. A new user comes at the end, and a deleted user leaves no gap. If the user
under the cursor is deleted, reading resumes from the moment before that user's creation.

Other lists can only be read by offset. Each page begins with the last row of the page before. A page that begins with a
later row shows that earlier rows were deleted. Then the page is read again from a smaller offset, so that no row is
skipped. A page that begins with an earlier row shows that a row with an old date was added. Then the list is read
again.

A list ends at Clerk's count of its rows. A short page is not the end.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..clerk import endpoints
from ..clerk.endpoints import MAX_PAGE, ClerkRequest, Page, Shape
from ..core.times import to_datetime
from ..errors import ApiRefused
from .job import Job, Stage

MOST_DOUBTS = 5  # times that a list is started over, or its cursor set back, before the reader gives up
FARTHER = 25


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a run: its start time, its list, and the last row that it has read."""

    started: int
    stage: Stage = "users"
    last: str = ""  # the id of that row
    moment: int = 0  # its date
    seen: int = 0  # the number of rows up to that row


class Reader(ABC):
    """Reads one list from a position on.

    `position` is behind the rows that were read. `total` is the number of rows, if Clerk gives it. At the end,
    `is_complete` is False if Clerk counts more rows than it shows.
    """

    def __init__(self, position: Position) -> None:
        self.position: Position = position
        self.total: int | None = None
        self.is_complete: bool = False
        self._is_over = False
        self._doubts = 0

    @abstractmethod
    def next_request(self) -> ClerkRequest[Any] | None:
        """Return the next request, or None at the end."""

    @abstractmethod
    def feed_answer(self, answer: Any) -> list[Shape] | None:
        """Take the answer, and return its new rows, or None if it is no such page."""

    def refuse(self, error: ApiRefused) -> None:
        """Handle a refusal of the request, or raise it."""
        raise error

    async def next_page(self, job: Job) -> list[Shape] | None:
        """Ask until there are new rows, and return them, or None at the end."""
        while (request := self.next_request()) is not None:
            try:
                answer = await job.send(request)
            except ApiRefused as error:
                self.refuse(error)
                continue
            rows = self.feed_answer(answer)
            if rows is not None:
                return rows
        return None

    def _end(self, *, complete: bool) -> None:
        self._is_over = True
        self.is_complete = complete


def reader(position: Position) -> Reader:
    """Return a reader of a list, oldest first."""
    return _ByCursor(position) if position.stage == "users" else _ByOffset(position, _OLDEST[position.stage])


def reader_back(position: Position, until: int) -> Reader:
    """Return a reader from the newest row back to a time: for users the last change, else the creation."""
    return _ByOffset(position, _NEWEST[position.stage], until)


class _ByCursor(Reader):
    """Reads users, oldest first. It asks for their number first, and again after the last page."""

    def __init__(self, position: Position) -> None:
        super().__init__(position)
        self._is_counting = True

    def next_request(self) -> ClerkRequest[Any] | None:
        if self._is_over:
            return None
        if self._is_counting:
            return endpoints.user_count()
        position = self.position
        since = to_datetime(position.moment - 1) if position.moment and not position.last else None
        return endpoints.users(starting_after=position.last or None, created_at_after=since)

    def feed_answer(self, answer: Any) -> list[Shape] | None:
        if self._is_counting:
            self._feed_count(answer)
            return None
        rows: list[Shape] = answer
        position = self.position
        if not rows or _id(rows[-1]) == position.last:
            self._is_counting = True
            return None
        # After the cursor was set back, some rows come for the second time.
        new = [row for row in rows if position.last or _date(row) > position.moment]
        position = self.position = Position(
            position.started, position.stage, _id(rows[-1]), _date(rows[-1]), position.seen + len(new)
        )
        if len(rows) < MAX_PAGE and self.total is not None and position.seen >= self.total:
            self._end(complete=True)  # the last page; webhooks bring the users that were added since then
        return rows

    def refuse(self, error: ApiRefused) -> None:
        if self._is_counting or not self.position.last:
            raise error
        self.position = replace(self.position, last="")  # the user under the cursor is gone

    def _feed_count(self, total: int) -> None:
        is_first, self.total = self.total is None, total
        self._is_counting = False
        if is_first:
            return
        self._doubts += 1
        if self.position.seen >= total:
            self._end(complete=True)
        elif self._doubts == MOST_DOUBTS:
            self._end(complete=False)
        self.position = replace(self.position, last="")


class _ByOffset(Reader):
    """Reads a list by offset, and again if it has shifted; or from its newest row back to a time."""

    def __init__(self, position: Position, listed: "_List", until: int | None = None) -> None:
        super().__init__(position)
        self._listed = listed
        self._until = until
        self._back = min(1, position.seen)  # the number of rows by which the next page begins before the position
        self._is_whole = True
        self._begins_anew = False

    def next_request(self) -> ClerkRequest[Any] | None:
        if self._begins_anew:
            self._begin_anew()
        return None if self._is_over else self._listed.page(self.position.seen - self._back)

    def feed_answer(self, answer: Any) -> list[Shape] | None:
        page: Page = answer
        before, offset = self.position, self.position.seen - self._back
        first = page.rows[0] if page.rows else None
        if offset and not (first and (_id(first) == before.last or self._listed.is_before(first, before))):
            self._back = min(self._back * FARTHER, before.seen)
            return None
        position = self.position = self._listed.behind(before, page.rows, offset)
        self._back = min(1, position.seen)
        if self._until is not None:
            if position.moment < self._until or position.seen >= page.total or position.seen <= before.seen:
                self._end(complete=True)
        else:
            self.total = page.total
            self._judge(page, before, is_near=offset == before.seen - 1)
        return _unread(page.rows, before)

    def _judge(self, page: Page, before: Position, *, is_near: bool) -> None:
        """Decide whether this was the last page, and whether the list has shifted."""
        if is_near and not (page.rows and _id(page.rows[0]) == before.last):
            self._is_whole = False  # a row was added before it
        if self.position.seen >= page.total:
            self._begins_anew = True
        elif self.position.seen <= before.seen and (is_near or not before.seen):
            self._is_whole = False  # Clerk counts more rows than it shows
            self._begins_anew = True

    def _begin_anew(self) -> None:
        """Start the list over, unless it was read completely, or too often."""
        self._begins_anew = False
        self._doubts += 1
        if self._is_whole or self._doubts == MOST_DOUBTS:
            self._end(complete=self._is_whole)
            return
        self.position = Position(self.position.started, self.position.stage)
        self._back, self._is_whole = 0, True


@dataclass(frozen=True, slots=True)
class _List:
    """A list that is read by offset: its request, and the date that sorts it."""

    page: Callable[[int], ClerkRequest[Page]]
    date: str = "created_at"
    backwards: bool = False

    def is_before(self, row: Shape, position: Position) -> bool:
        moment = _date(row, self.date)
        return moment > position.moment if self.backwards else moment < position.moment

    def behind(self, position: Position, rows: list[Shape], offset: int) -> Position:
        """Return the position behind the rows that begin at an offset."""
        if not rows:
            return replace(position, seen=offset)
        return Position(position.started, position.stage, _id(rows[-1]), _date(rows[-1], self.date), offset + len(rows))


def _changed_users(offset: int) -> ClerkRequest[Page]:
    """Ask for the changed users. Clerk gives no total for them: after a full page there may be more."""
    asked = endpoints.users(order_by="-updated_at", offset=offset)

    def read(said: Any) -> Page:
        rows = asked.read(said)
        return Page(rows, offset + len(rows) + (len(rows) >= MAX_PAGE))

    return ClerkRequest(asked.method, asked.path, read, asked.query)


_OLDEST: dict[Stage, _List] = {
    "organizations": _List(lambda offset: endpoints.organizations(offset=offset)),
    "memberships": _List(lambda offset: endpoints.memberships(offset=offset)),
}
_NEWEST: dict[Stage, _List] = {
    "users": _List(_changed_users, "updated_at", backwards=True),
    "organizations": _List(
        lambda offset: endpoints.organizations(offset=offset, order_by="-created_at"), backwards=True
    ),
    "memberships": _List(lambda offset: endpoints.memberships(offset=offset, order_by="-created_at"), backwards=True),
}


def _unread(rows: list[Shape], position: Position) -> list[Shape]:
    """The rows behind a position. All of them, if the row at it is not there."""
    ids = [_id(row) for row in rows]
    return rows[ids.index(position.last) + 1 :] if position.last in ids else rows


def _id(row: Shape) -> str:
    return str(row.get("id"))


def _date(row: Shape, name: str = "created_at") -> int:
    date = row.get(name)
    return date if type(date) is int else 0
