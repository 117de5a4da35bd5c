"""This request, this answer: one table, the same on every adapter, driven through real servers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from answers_page import CHOSEN, PAGE, written
from request_drivers import NO_SERVER, Asked, Driver
from request_servers import DRIVERS
from request_wire import Reply
from requests_answers import Plain
from requests_row import Row
from requests_table import rows

TABLE = list(rows())
# The headers that a front end goes by. All others are the framework's and the server's own.
HEADERS = ("www-authenticate", "retry-after", "content-type", "cache-control", "location")


@pytest.fixture(scope="module", params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """A running application, the same for all rows."""
    made = DRIVERS[request.param]()
    yield made
    made.close()


def test_the_table_is_large_and_names_each_row_once() -> None:
    """Which row failed can be told from its name."""
    assert len(TABLE) >= 150
    assert len({row.name for row in TABLE}) == len(TABLE)


def test_each_request_has_its_one_answer(driver: Driver) -> None:
    """Status, headers and body, byte for byte, whatever the adapter and the server."""
    wrong: list[str] = []
    for row in TABLE:
        try:
            check(row, driver.ask(row.method, row.path, row.headers), driver.server)
        except AssertionError as error:
            wrong.append(f"{row.name}: {error}")
    assert wrong == []


def test_none_is_answered_with_what_belongs_to_the_one_before(driver: Driver) -> None:
    """The same on one connection: nothing of a caller, and nothing of an answer, is left for the next."""
    asked = [Asked(row.method, row.path, row.headers) for row in TABLE]
    for row, reply in zip(TABLE, driver.ask_in_turn(asked), strict=True):
        check(row, reply, driver.server)


def test_they_do_not_get_in_each_others_way(driver: Driver) -> None:
    """The same in another order, and several at once where there is a server to take them."""
    backwards = TABLE[::-1]
    with ThreadPoolExecutor(1 if driver.server == NO_SERVER else 4) as crowd:
        replies = crowd.map(lambda row: driver.ask(row.method, row.path, row.headers), backwards)
        for row, reply in zip(backwards, replies, strict=True):
            check(row, reply, driver.server)


def check(row: Row, reply: Reply, server: str) -> None:
    """Compare what came back with what the table says."""
    want = row.instead.get(server, row.want)
    status, headers, body = want.expected()
    if isinstance(want, Plain):
        assert reply.status == status, row.name
        assert b'"user"' not in reply.body, f"the page was reached: {row.name}"
        return
    told = [(name, value) for name, value in reply.headers if name in HEADERS]
    assert (row.name, reply.status, sorted(told)) == (row.name, status, sorted(headers.items()))
    assert (row.name, reply.body) == (row.name, b"" if row.method == "HEAD" else body)


def test_the_page_of_answers_is_that_table() -> None:
    """docs/answers.md shows rows of it as they are. `python tests/support/answers_page.py` writes them."""
    assert PAGE.read_text(encoding="utf-8") == written()
    assert sum(map(len, CHOSEN.values())) >= 60
