"""How a list of Clerk's is read to its end while rows come, change and go, and while pages are cut short.

People are read by a cursor, oldest first: who is new comes at the end, and who goes leaves no gap. If the one on whom
the cursor stands is gone, reading goes on from a moment before.

Everything else can only be read by offset. There each page begins with the last row of the page before. If it begins
farther on, rows before it have gone: it is asked for from farther back, so that none is passed over. If it begins
before, a row with an old date has come in, and the list is read once more.

A list ends where Clerk says so. A page that is shorter than it should be is not yet the end.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

from ..clerk import endpoints
from ..clerk.endpoints import MAX_PAGE, Page, Question, Shape
from ..errors import ApiRefused
from .runs import Stage, Step, Steps

MOST_DOUBTS = 5  # how often a list is begun again, or its cursor set back, before reading is given up
FARTHER = 25


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run has come to: since when it runs, in which list it is, and behind which row of it."""

    started: int
    stage: Stage = "users"
    last: str = ""  # the id of that row
    moment: int = 0  # its date
    seen: int = 0  # how many rows there were up to it


# Asks, and gives the answer.
Asking = Callable[[Question[Any]], Steps]
# Is given the rows that are new, the place behind them, and how many rows there are in all, where Clerk says it.
Taking = Callable[[list[Shape], Place, int | None], Steps]
Reading = Generator[Step, Any, bool]


@dataclass(frozen=True, slots=True)
class _List:
    """A list that is read by offset: how it is asked for, and the date in whose order it comes."""

    page: Callable[[int], Question[Page]]
    date: str = "created_at"
    backwards: bool = False

    def is_before(self, row: Shape, place: Place) -> bool:
        moment = _date(row, self.date)
        return moment > place.moment if self.backwards else moment < place.moment

    def behind(self, place: Place, rows: list[Shape], offset: int) -> Place:
        """The place behind the rows that begin at an offset."""
        if not rows:
            return replace(place, seen=offset)
        return Place(place.started, place.stage, _id(rows[-1]), _date(rows[-1], self.date), offset + len(rows))


def _changed_users(offset: int) -> Question[Page]:
    """People come without a total: behind a full page there may be more."""
    asked = endpoints.users(order_by="-updated_at", offset=offset)

    def read(said: Any) -> Page:
        rows = asked.read(said)
        return Page(rows, offset + len(rows) + (len(rows) >= MAX_PAGE))

    return Question(asked.method, asked.path, read, asked.query)


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


def read(place: Place, ask: Asking, take: Taking) -> Reading:
    """Read a list on from a place, oldest first. False if Clerk says that there is more than it shows."""
    return (_by_cursor if place.stage == "users" else _by_offset)(place, ask, take)


def read_back(place: Place, until: int, ask: Asking, take: Taking) -> Steps:
    """Read a list from its newest row back to a moment: people by their last change, the others by their making."""
    listed = _NEWEST[place.stage]
    while True:
        page, offset = yield from _page_behind(listed, place, ask)
        before, place = place, listed.behind(place, page.rows, offset)
        yield from take(_unread(page.rows, before), place, None)
        if place.moment < until or place.seen >= page.total or place.seen <= before.seen:
            return


def _by_cursor(place: Place, ask: Asking, take: Taking) -> Reading:
    total: int = yield from ask(endpoints.user_count())
    for _ in range(MOST_DOUBTS):
        while True:
            since = place.moment - 1 if place.moment and not place.last else None
            question = endpoints.users(starting_after=place.last or None, created_at_after=since)
            try:
                rows: list[Shape] = yield from ask(question)
            except ApiRefused:
                if not place.last:
                    raise
                place = replace(place, last="")  # who stood there is gone
                continue
            if not rows or _id(rows[-1]) == place.last:
                break
            # A cursor that was set back meets some of them for the second time.
            new = [row for row in rows if place.last or _date(row) > place.moment]
            place = Place(place.started, place.stage, _id(rows[-1]), _date(rows[-1]), place.seen + len(new))
            yield from take(rows, place, total)
            if len(rows) < MAX_PAGE and place.seen >= total:
                return True  # the last page; who has come since then will be told of
        total = yield from ask(endpoints.user_count())
        if place.seen >= total:
            return True
        place = replace(place, last="")
    return False


def _by_offset(place: Place, ask: Asking, take: Taking) -> Reading:
    listed = _OLDEST[place.stage]
    for _ in range(MOST_DOUBTS):
        is_whole = True
        while True:
            page, offset = yield from _page_behind(listed, place, ask)
            before, place = place, listed.behind(place, page.rows, offset)
            is_near = offset == before.seen - 1
            if is_near and _id(page.rows[0]) != before.last:
                is_whole = False  # a row has come in before it
            yield from take(_unread(page.rows, before), place, page.total)
            if place.seen >= page.total:
                break
            if place.seen <= before.seen and (is_near or not before.seen):
                is_whole = False  # there is more, and it is not shown
                break
        if is_whole:
            return True
        place = Place(place.started, place.stage)
    return False


def _page_behind(listed: _List, place: Place, ask: Asking) -> Generator[Step, Any, tuple[Page, int]]:
    """A page that begins with the row at a place, or somewhere before it; and its offset."""
    back = min(1, place.seen)
    while True:
        offset = place.seen - back
        page: Page = yield from ask(listed.page(offset))
        first = page.rows[0] if page.rows else None
        if offset == 0 or (first and (_id(first) == place.last or listed.is_before(first, place))):
            return page, offset
        back = min(back * FARTHER, place.seen)


def _unread(rows: list[Shape], place: Place) -> list[Shape]:
    """The rows behind a place. All of them, if the row at it is not there."""
    ids = [_id(row) for row in rows]
    return rows[ids.index(place.last) + 1 :] if place.last in ids else rows


def _id(row: Shape) -> str:
    return str(row.get("id"))


def _date(row: Shape, name: str = "created_at") -> int:
    date = row.get(name)
    return date if type(date) is int else 0
