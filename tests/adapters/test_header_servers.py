"""20 MB of a repeated header, sent to real servers: those that take it answer as always, the others refuse and live."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from request_drivers import Driver
from request_servers import DRIVERS
from request_wire import PATIENCE
from requests_row import ADA, GUNICORN, H11, HTTPTOOLS, HYPERCORN, WAITRESS

pytestmark = pytest.mark.slow

SIZE = 20_000_000
PAGE = "/clerk/signed-in"
TOKEN = ("Authorization", f"Bearer {ADA}")
Headers = list[tuple[str, str]]

# What each server takes as it is set up here: how many headers, and how long each may be. httptools has no limit.
MOST: dict[str, tuple[int, int]] = {
    H11: (60, 1_000),
    HTTPTOOLS: (SIZE // 1_000, 1_000),
    HYPERCORN: (60, 1_000),
    GUNICORN: (90, 8_000),
    WAITRESS: (250, 1_000),
}
NAMES = ("Cookie", "Authorization", "Origin", "X-Anything")


@pytest.fixture(scope="module", params=[name for name in DRIVERS if " on none" not in name])
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """An application on a real server."""
    made = DRIVERS[request.param]()
    yield made
    made.close()


def flood(driver: Driver, headers: Headers) -> int:
    """Send a request and read what comes, while it is still being sent. The status; 0 if the server just hangs up."""
    head = [f"GET {PAGE} HTTP/1.1", "Host: app.example.com", "Connection: close"]
    request = "\r\n".join([*head, *(f"{name}: {value}" for name, value in headers), "", ""]).encode()
    answer = b""
    with socket.create_connection(driver._address, timeout=PATIENCE) as connection:  # type: ignore[attr-defined]

        def send() -> None:
            with suppress(OSError):  # it has heard enough
                connection.sendall(request)

        sender = threading.Thread(target=send)
        sender.start()
        with suppress(ConnectionResetError):
            while piece := connection.recv(65_536):
                answer += piece
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        sender.join(PATIENCE)
        assert not sender.is_alive()
    return int(answer[9:12] or b"0")


def repeated(name: str, count: int, length: int) -> Headers:
    """So many headers of that length."""
    return [(name, ("a=b; c=d; " * length)[:length].strip())] * count


def wanted(name: str, *, token: bool) -> int:
    """What is answered where all of it is read."""
    if name == "Authorization":
        return 401 if token else 400  # a token that is too long, or another scheme
    return 200 if token else 400 if name == "Cookie" else 401


@pytest.mark.parametrize("name", NAMES)
def test_as_much_as_a_server_takes_is_answered(driver: Driver, name: str) -> None:
    """The answer is the right one, with a token and without."""
    headers = repeated(name, *MOST[driver.server])
    assert flood(driver, [TOKEN, *headers]) == wanted(name, token=True)
    assert flood(driver, headers) == wanted(name, token=False)


@pytest.mark.parametrize("name", NAMES)
def test_more_is_refused_by_the_server_which_lives(driver: Driver, name: str) -> None:
    """Or, where there is no limit, answered; and then whoever comes next."""
    status = flood(driver, [TOKEN, *repeated(name, SIZE // 1_000, 1_000)])
    assert status in ([wanted(name, token=True)] if driver.server == HTTPTOOLS else [0, *range(400, 500)])
    assert driver.ask("GET", PAGE, [TOKEN]).status == 200
