"""This request, this answer: one table, the same on every adapter, driven through real servers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from answers_page import CHOSEN, PAGE, written
from request_drivers import NO_SERVER, Driver
from request_servers import DRIVERS
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


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_each_request_has_its_one_answer(driver: Driver, row: Row) -> None:
    """Status, headers and body, byte for byte, whatever the adapter and the server."""
    check(row, driver)


def test_they_do_not_get_in_each_others_way(driver: Driver) -> None:
    """The same when they come in another order, and several at once where there is a server to take them."""
    with ThreadPoolExecutor(1 if driver.server == NO_SERVER else 4) as crowd:
        for _ in crowd.map(lambda row: check(row, driver), reversed(TABLE)):
            pass


def check(row: Row, driver: Driver) -> None:
    """Send a request and compare what comes back with what the table says."""
    want = row.instead.get(driver.server, row.want)
    status, headers, body = want.expected()
    reply = driver.ask(row.method, row.path, row.headers)
    if isinstance(want, Plain):
        assert reply.status == status, row.name
        assert b'"user"' not in reply.body, f"the page was reached: {row.name}"
        return
    told = [(name, value) for name, value in reply.headers if name in HEADERS]
    assert (row.name, reply.status, sorted(told)) == (row.name, status, sorted(headers.items()))
    assert (row.name, reply.body) == (row.name, b"" if row.method == "HEAD" else body)


def test_the_page_of_answers_is_that_table() -> None:
    """docs/answers.md shows rows of it as they are. `python tests/answers_page.py` writes them."""
    assert PAGE.read_text(encoding="utf-8") == written()
    assert sum(map(len, CHOSEN.values())) >= 60
