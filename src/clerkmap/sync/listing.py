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
class Place:
    """The position of a run: its start time, its list, and the last row that it has read."""

    started: int
    stage: Stage = "users"
    last: str = ""  # the id of that row
    moment: int = 0  # its date
    seen: int = 0  # the number of rows up to that row


class Reader(ABC):
    """Reads one list from a place on.

    `place` is behind the rows that were read. `total` is the number of rows, if Clerk gives it. At the end,
    `is_complete` is False if Clerk counts more rows than it shows.
    """

    def __init__(self, place: Place) -> None:
        self.place: Place = place
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


def reader(place: Place) -> Reader:
    """Return a reader of a list, oldest first."""
    return _ByCursor(place) if place.stage == "users" else _ByOffset(place, _OLDEST[place.stage])


def reader_back(place: Place, until: int) -> Reader:
    """Return a reader from the newest row back to a time: for users the last change, else the creation."""
    return _ByOffset(place, _NEWEST[place.stage], until)


class _ByCursor(Reader):
    """Reads users, oldest first. It asks for their number first, and again after the last page."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._is_counting = True

    def next_request(self) -> ClerkRequest[Any] | None:
        if self._is_over:
            return None
        if self._is_counting:
            return endpoints.user_count()
        place = self.place
        since = to_datetime(place.moment - 1) if place.moment and not place.last else None
        return endpoints.users(starting_after=place.last or None, created_at_after=since)

    def feed_answer(self, answer: Any) -> list[Shape] | None:
        if self._is_counting:
            self._feed_count(answer)
            return None
        rows: list[Shape] = answer
        place = self.place
        if not rows or _id(rows[-1]) == place.last:
            self._is_counting = True
            return None
        # After the cursor was set back, some rows come for the second time.
        new = [row for row in rows if place.last or _date(row) > place.moment]
        place = self.place = Place(place.started, place.stage, _id(rows[-1]), _date(rows[-1]), place.seen + len(new))
        if len(rows) < MAX_PAGE and self.total is not None and place.seen >= self.total:
            self._end(complete=True)  # the last page; webhooks bring the users that were added since then
        return rows

    def refuse(self, error: ApiRefused) -> None:
        if self._is_counting or not self.place.last:
            raise error
        self.place = replace(self.place, last="")  # the user under the cursor is gone

    def _feed_count(self, total: int) -> None:
        is_first, self.total = self.total is None, total
        self._is_counting = False
        if is_first:
            return
        self._doubts += 1
        if self.place.seen >= total:
            self._end(complete=True)
        elif self._doubts == MOST_DOUBTS:
            self._end(complete=False)
        self.place = replace(self.place, last="")


class _ByOffset(Reader):
    """Reads a list by offset, and again if it has shifted; or from its newest row back to a time."""

    def __init__(self, place: Place, listed: "_List", until: int | None = None) -> None:
        super().__init__(place)
        self._listed = listed
        self._until = until
        self._back = min(1, place.seen)  # the number of rows by which the next page begins before the place
        self._is_whole = True
        self._begins_anew = False

    def next_request(self) -> ClerkRequest[Any] | None:
        if self._begins_anew:
            self._begin_anew()
        return None if self._is_over else self._listed.page(self.place.seen - self._back)

    def feed_answer(self, answer: Any) -> list[Shape] | None:
        page: Page = answer
        before, offset = self.place, self.place.seen - self._back
        first = page.rows[0] if page.rows else None
        if offset and not (first and (_id(first) == before.last or self._listed.is_before(first, before))):
            self._back = min(self._back * FARTHER, before.seen)
            return None
        place = self.place = self._listed.behind(before, page.rows, offset)
        self._back = min(1, place.seen)
        if self._until is not None:
            if place.moment < self._until or place.seen >= page.total or place.seen <= before.seen:
                self._end(complete=True)
        else:
            self.total = page.total
            self._judge(page, before, is_near=offset == before.seen - 1)
        return _unread(page.rows, before)

    def _judge(self, page: Page, before: Place, *, is_near: bool) -> None:
        """Decide whether this was the last page, and whether the list has shifted."""
        if is_near and not (page.rows and _id(page.rows[0]) == before.last):
            self._is_whole = False  # a row was added before it
        if self.place.seen >= page.total:
            self._begins_anew = True
        elif self.place.seen <= before.seen and (is_near or not before.seen):
            self._is_whole = False  # Clerk counts more rows than it shows
            self._begins_anew = True

    def _begin_anew(self) -> None:
        """Start the list over, unless it was read completely, or too often."""
        self._begins_anew = False
        self._doubts += 1
        if self._is_whole or self._doubts == MOST_DOUBTS:
            self._end(complete=self._is_whole)
            return
        self.place = Place(self.place.started, self.place.stage)
        self._back, self._is_whole = 0, True


@dataclass(frozen=True, slots=True)
class _List:
    """A list that is read by offset: its request, and the date that sorts it."""

    page: Callable[[int], ClerkRequest[Page]]
    date: str = "created_at"
    backwards: bool = False

    def is_before(self, row: Shape, place: Place) -> bool:
        moment = _date(row, self.date)
        return moment > place.moment if self.backwards else moment < place.moment

    def behind(self, place: Place, rows: list[Shape], offset: int) -> Place:
        """Return the place behind the rows that begin at an offset."""
        if not rows:
            return replace(place, seen=offset)
        return Place(place.started, place.stage, _id(rows[-1]), _date(rows[-1], self.date), offset + len(rows))


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


def _unread(rows: list[Shape], place: Place) -> list[Shape]:
    """The rows behind a place. All of them, if the row at it is not there."""
    ids = [_id(row) for row in rows]
    return rows[ids.index(place.last) + 1 :] if place.last in ids else rows


def _id(row: Shape) -> str:
    return str(row.get("id"))


def _date(row: Shape, name: str = "created_at") -> int:
    date = row.get(name)
    return date if type(date) is int else 0
