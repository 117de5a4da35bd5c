"""The current principal in threads, and in bodies that are made after an application has returned."""

import contextlib
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

from clerkmap.adapters.wsgi import AuthMiddleware
from clerkmap.errors import TokenExpired
from current_base import EXPIRED, PATIENCE, TOKENS, current, fresh_resolver, name_of


def environ_of(token: str | None) -> dict[str, Any]:
    """A request as a WSGI server hands it over."""
    sent = {} if token is None else {"HTTP_AUTHORIZATION": f"Bearer {token}"}
    return {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "who": name_of(token), **sent}


def start_response(*_: Any) -> Any:
    """What a server gives an application to begin its answer with."""


def whole(body: Iterable[bytes]) -> list[str]:
    """All pieces of a body, as a server sends it: to its end, and then closed."""
    pieces = [piece.decode() for piece in body]
    getattr(body, "close", lambda: None)()
    return pieces


def test_threads_at_once_and_everybody_is_themselves() -> None:
    """A few threads answer hundreds of requests, one after the other and all at once."""
    together = threading.Barrier(8)
    local = threading.local()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if not getattr(local, "began", False):
            local.began = True
            together.wait(PATIENCE)  # so that all threads take part
        assert current() == environ["who"]
        return [current().encode()]

    middleware = AuthMiddleware(app, fresh_resolver())

    def answer(token: str | None) -> str:
        assert current() == "TokenMissing"
        told = whole(middleware(environ_of(token), start_response))
        assert current() == "TokenMissing"
        return told[0]

    asked = [*TOKENS, *[None] * 30, *[EXPIRED] * 30] * 2
    Random(2).shuffle(asked)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(answer, asked, timeout=PATIENCE)) == [name_of(token) for token in asked]


class Broken(Exception):
    """The application's own."""


class Closing:
    """A body that looks who is current whenever it is asked for anything."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.closed_by: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        assert current() == self.who
        for _ in range(4):
            yield current().encode()
        assert current() == self.who

    def close(self) -> None:
        """What a server calls in the end."""
        self.closed_by = current()


def test_bodies_that_are_made_in_turn_on_one_thread() -> None:
    """A generator's pieces are made after the application has returned, and between those of others."""
    bodies: list[Closing] = []

    def app(environ: dict[str, Any], start_response: Any) -> Closing:
        bodies.append(Closing(environ["who"]))
        return bodies[-1]

    def generator(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        for _ in range(4):
            yield current().encode()

    resolver, asked = fresh_resolver(), [*TOKENS[:50], None, EXPIRED]
    for each in (app, generator):
        middleware = AuthMiddleware(each, resolver)
        opened = [middleware(environ_of(token), start_response) for token in asked]
        for pieces in zip(*opened, strict=True):
            assert [piece.decode() for piece in pieces] == [name_of(token) for token in asked]
            assert current() == "TokenMissing"
        for body in opened:
            getattr(body, "close", lambda: None)()
    assert [body.closed_by for body in bodies] == [name_of(token) for token in asked]


def test_a_body_that_goes_from_thread_to_thread() -> None:
    """A server may make each piece in another thread: it is the request's own all the same."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        for _ in range(6):
            yield current().encode()

    body = iter(AuthMiddleware(app, fresh_resolver())(environ_of(TOKENS[0]), start_response))
    for _ in range(6):
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(next, body).result(PATIENCE) == name_of(TOKENS[0]).encode()
            assert pool.submit(current).result(PATIENCE) == "TokenMissing"


@pytest.mark.parametrize("error", [Broken, TokenExpired, KeyboardInterrupt])
def test_an_exception_in_a_thread_leaves_nobody_behind(error: type[BaseException]) -> None:
    """In the application, in a generator's first piece, in a later one, and in its close."""

    def at_once(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise error

    def first(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        raise error
        yield b""

    def later(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        yield b""
        raise error

    for app in (at_once, first, later):
        with contextlib.suppress(error):
            whole(AuthMiddleware(app, fresh_resolver())(environ_of(TOKENS[0]), start_response))
        assert current() == "TokenMissing"


def test_an_application_within_another_in_a_thread() -> None:
    """As in tasks: when the inner one is done, also with its body, the outer caller is current."""

    def inner(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        yield current().encode()

    mounted = AuthMiddleware(inner, fresh_resolver())

    def outer(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        for piece in mounted(environ_of(TOKENS[1]), start_response):
            yield piece
            yield current().encode()

    body = AuthMiddleware(outer, fresh_resolver())(environ_of(TOKENS[0]), start_response)
    assert whole(body) == [name_of(TOKENS[1]), name_of(TOKENS[0])]
