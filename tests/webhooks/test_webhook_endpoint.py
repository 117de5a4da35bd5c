"""Clerk's deliveries over the wire: what is answered, and that nothing is answered 2xx before it is committed."""

import asyncio
import io
import json
import select
import socket
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, suppress
from typing import Any

import pytest
from conftest import SECRET, Listener

from asgi_base import http_scope, told_by, websocket_scope
from clerkmap import Reconciler
from clerkmap.adapters import asgi, wsgi
from clerkmap.errors import ConfigurationError
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk
from delivery_base import BODY, CLERK, INSTANCE, NOW, STRANGERS, event, of_length, signed
from webhook_servers import ASGI, MAX_BODY, SERVERS, Answer, Server, answered, head

GOOD = list(signed().items())


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server, None, None]:
    """One server of each kind for all of these tests; and what it has written by then."""
    with Server(request.param, tmp_path_factory.mktemp("webhooks")) as server:
        deliver(server, "Nobody")  # so that the tables are there
        yield server
    heard = [line for line in server.log.read_text().splitlines() if SECRET.search(line)]
    assert heard == [], "a secret or a personal datum was logged"


def delivery(name: str) -> tuple[list[tuple[str, str]], bytes]:
    """A delivery about a person whom nobody has heard of, by first name."""
    CLERK.create_user(first_name=name)
    *_, sent = CLERK.deliveries()
    return list(sent.headers.items()), sent.body


def deliver(server: Server, name: str) -> Answer:
    return server.ask(*delivery(name))


def is_known(server: Server, name: str) -> bool:
    """Whether it has been committed, as somebody else sees the file."""
    with closing(sqlite3.connect(server.folder / "app.db")) as connection:
        rows = connection.execute("SELECT 1 FROM clerkmap_identities WHERE first_name = ?", [name])
        return rows.fetchone() is not None


def code(answer: Answer) -> str:
    return str(json.loads(answer.body).get("code"))


def test_what_is_answered_2xx_is_committed(server: Server) -> None:
    """Once; again it is nothing new. What is not kept is answered 2xx too, so that it does not come again."""
    headers, body = delivery("Ann")
    first = server.ask(headers, body)
    assert is_known(server, "Ann")
    assert (first.status, first.headers["content-type"]) == (200, "application/json")
    assert json.loads(first.body) == {"outcome": "applied", "reason": None}
    again = server.ask(headers, body)
    assert (again.status, json.loads(again.body)["outcome"]) == (200, "nothing_new")
    other = event(type="robot.built")
    ignored = server.ask(list(signed(other).items()), other)
    assert (ignored.status, json.loads(ignored.body)["outcome"]) == (200, "ignored")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_only_post_is_for_deliveries(server: Server, method: str) -> None:
    """Nothing else is even read."""
    answer = server.ask([], method=method)
    assert (answer.status, answer.headers["allow"], answer.body) == (405, "POST", b"")


def test_what_is_not_clerks_is_refused(server: Server) -> None:
    """With 4xx, so that nobody sends it again; and nothing of it is kept."""
    headers, body = delivery("Bob")
    forged = list(signed(body, secret=STRANGERS[0]).items())
    id = ("svix-id", dict(headers)["svix-id"])
    mixed = [id, *list(signed(body, family="webhook").items())[1:]]
    twice = [id, *headers]
    other = [("svix-id", CLERK.new_id("msg")), *headers]
    old = list(signed(body, timestamp=str(NOW - 301)).items())
    gzipped = [*headers, ("content-encoding", "gzip")]
    refusals = {
        "webhook_signature_invalid": [(forged, body), (headers, body + b" ")],
        "webhook_headers_refused": [(mixed, body), (twice, body), (other, body), (gzipped, body), ([], body)],
        "webhook_out_of_time": [(old, body)],
    }
    for want, tries in refusals.items():
        for sent in tries:
            answer = server.ask(*sent)
            assert (answer.status, code(answer)) == (400, want)
    nonsense = b"[]"
    assert code(server.ask(list(signed(nonsense).items()), nonsense)) == "webhook_malformed"
    assert not is_known(server, "Bob")
    assert server.ask([*headers, ("content-encoding", "identity")], body).status == 200


def test_a_body_may_be_so_large_and_no_larger(server: Server) -> None:
    """To the byte."""
    for length, status in ((MAX_BODY, 200), (MAX_BODY + 1, 413)):
        body = of_length(length)
        assert server.ask(list(signed(body).items()), body).status == status


def test_a_body_in_chunks_is_read_to_its_end(server: Server) -> None:
    """Whose length nobody has told."""
    headers, body = delivery("Cid")
    chunks = [body[:50], body[50:51], body[51:]]
    with server.connect() as connection:
        connection.sendall(head([*headers, ("transfer-encoding", "chunked")]))
        for chunk in [*chunks, b""]:
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        assert answered(connection).status == 200
    assert is_known(server, "Cid")


def test_a_body_without_end_is_read_no_further_than_it_may_be(server: Server) -> None:
    """It is answered in the middle. Waitress reads all of a body before it calls an application: there its own
    `max_request_body_size` is the bound."""
    if server.kind == "waitress":
        pytest.skip("its own bound")
    chunk = b"1000\r\n" + b"a" * 4096 + b"\r\n"
    sent = 0
    with server.connect() as connection:
        connection.sendall(head([*GOOD, ("transfer-encoding", "chunked")]))
        with suppress(ConnectionError):
            while not select.select([connection], [], [], 0)[0]:
                connection.sendall(chunk)
                sent += len(chunk)
                assert sent < 20_000_000  # some of it lies in buffers on the way
        if server.kind in ASGI:  # gunicorn reads some of what is left, or hangs up
            assert answered(connection).status == 413
    assert deliver(server, "Cyd").status == 200


def test_a_length_that_is_too_large_is_refused_before_the_body(server: Server) -> None:
    """As soon as the head has come, but for waitress."""
    if server.kind in ("waitress", *ASGI):
        pytest.skip("these go by the body that comes")
    with server.connect() as connection:
        connection.sendall(head([*GOOD, ("content-length", "1000000000")]))
        assert answered(connection).status == 413


def test_a_body_that_does_not_come_is_not_waited_for(server: Server) -> None:
    """Longer than a second, here. On WSGI the server is the one to wait."""
    if server.kind not in ASGI:
        pytest.skip("the server's business")
    headers, body = delivery("Dan")
    begun = time.monotonic()
    with server.connect() as connection:
        connection.sendall(head([*headers, ("content-length", str(len(body)))]) + body[:20])
        answer = answered(connection)
    assert (answer.status, code(answer)) == (408, "webhook_incomplete")
    assert time.monotonic() - begun > 0.9  # however busy the machine is, it has waited for so long
    assert not is_known(server, "Dan")


def test_who_hangs_up_in_the_middle_has_said_nothing(server: Server) -> None:
    """And the next one is served."""
    headers, body = delivery("Eve")
    for sent in (len(body) - 1, 20, 0):
        with server.connect() as connection:
            connection.sendall(head([*headers, ("content-length", str(len(body)))]) + body[:sent])
            connection.shutdown(socket.SHUT_WR)
            with suppress(OSError):
                connection.recv(1000)
    assert deliver(server, "Fay").status == 200
    assert not is_known(server, "Eve")


def test_a_hook_that_fails_undoes_the_delivery_which_comes_again(server: Server) -> None:
    """500, with the traceback of the hook in the log; and 200 as soon as the hook is mended."""
    headers, body = delivery("Gus")
    server.fails_at("hook")
    failed = server.ask(headers, body)
    assert (failed.status, code(failed)) == (500, "hook_failed")
    log = server.log.read_text()
    assert "hook_failed" in log
    assert ", in hook\n" in log
    assert "RuntimeError (message withheld)" in log
    assert not is_known(server, "Gus")
    server.fails_at("hook", False)
    assert server.ask(headers, body).status == 200
    assert is_known(server, "Gus")


@pytest.mark.parametrize(("what", "status"), [("put", 503), ("strange", 500)])
def test_a_database_that_is_away_is_no_fault_of_the_delivery(server: Server, what: str, status: int) -> None:
    """5xx, and it comes again."""
    headers, body = delivery("Hal")
    server.fails_at(what)
    failed = server.ask(headers, body)
    assert failed.status == status
    if what == "put":
        assert (code(failed), failed.headers["retry-after"]) == ("repository_unavailable", "10")
        log = server.log.read_text()
        assert "repository_unavailable" in log
        assert ", in put\n" in log
    server.fails_at(what, False)
    assert server.ask(headers, body).status == 200


# ------------------------------------------------------------------------------------------------ without a server


def in_memory(**options: Any) -> Reconciler:
    return Reconciler(INSTANCE, MemoryRepository(clock=Clock(NOW)), max_body=MAX_BODY, clock=Clock(NOW), **options)


def call_wsgi(reconciler: Reconciler, **environ: Any) -> tuple[str, bytes]:
    """A delivery by hand, as a WSGI server hands it over."""
    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in GOOD}
    statuses: list[str] = []
    body = wsgi.WebhookEndpoint(reconciler)(
        {"REQUEST_METHOD": "POST", "wsgi.input": io.BytesIO(BODY), **named, **environ},
        lambda status, headers, error=None: statuses.append(status),  # type: ignore[arg-type]
    )
    return statuses[0], b"".join(body)


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({"CONTENT_LENGTH": str(len(BODY))}, "200 OK"),
        ({"wsgi.input_terminated": True}, "200 OK"),
        ({"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}, "200 OK"),
        ({}, "408 Request Timeout"),
        ({"CONTENT_LENGTH": ""}, "408 Request Timeout"),
        ({"wsgi.input_terminated": False}, "408 Request Timeout"),
        ({"CONTENT_LENGTH": "-1"}, "408 Request Timeout"),
        ({"CONTENT_LENGTH": "１２"}, "408 Request Timeout"),
        ({"CONTENT_LENGTH": "9" * 30}, "408 Request Timeout"),
        ({"CONTENT_LENGTH": str(len(BODY) + 1)}, "408 Request Timeout"),
        ({"CONTENT_LENGTH": str(len(BODY) - 1)}, "400 Bad Request"),
        ({"CONTENT_LENGTH": str(MAX_BODY + 1)}, "413 "),
        ({"wsgi.input_terminated": True, "wsgi.input": io.BytesIO(b"a" * (MAX_BODY + 1))}, "413 "),
    ],
    ids=lambda given: given if isinstance(given, str) else " ".join(given) or "nothing",
)
def test_a_wsgi_body_is_read_as_far_as_its_length_is_told(environ: dict[str, Any], status: str) -> None:
    """Where nobody tells where it ends, it is not read: a server might wait for ever."""
    assert call_wsgi(in_memory(), **environ)[0].startswith(status)


def test_a_wsgi_body_that_breaks_off_is_not_whole() -> None:
    """Servers say so by an OSError."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("connection of ann@example.com was reset")

    status, body = call_wsgi(in_memory(), CONTENT_LENGTH=str(len(BODY)), **{"wsgi.input": Broken()})
    assert (status, code(Answer(0, {}, body))) == ("408 Request Timeout", "webhook_incomplete")


def test_without_a_secret_it_is_our_own_fault() -> None:
    """The endpoint is refused at the start, since every delivery would fail."""
    bare = Reconciler(FakeClerk(1).make_instance(webhook_secrets=[]), MemoryRepository())
    for endpoint in (wsgi.WebhookEndpoint, asgi.WebhookEndpoint):
        with pytest.raises(ConfigurationError, match=r"no webhook_secrets: .* or set CLERK_WEBHOOK_SIGNING_SECRET"):
            endpoint(bare)


def test_it_is_no_websocket_and_has_no_lifespan() -> None:
    """The one is refused, the other is nothing to it."""

    async def run() -> None:
        endpoint = asgi.WebhookEndpoint(in_memory())
        told = await told_by(endpoint, websocket_scope(), {"type": "websocket.connect"})
        assert told.messages == [{"type": "websocket.close", "code": 4405}]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({}, "the request has no Content-Length"),
        ({"CONTENT_LENGTH": str(MAX_BODY + 1)}, "the webhook is too large"),
        ({"CONTENT_LENGTH": str(len(BODY)), "HTTP_CONTENT_ENCODING": "gzip"}, "the body must not be compressed"),
        ({"CONTENT_LENGTH": str(len(BODY)), "HTTP_SVIX_ID": "a b"}, "the delivery id has the wrong form"),
    ],
    ids=lambda given: given if isinstance(given, str) else " ".join(given) or "nothing",
)
def test_each_refusal_is_logged_once(environ: dict[str, Any], why: str, listener: Listener) -> None:
    """Whoever refuses it, the endpoint or the reconciler."""
    call_wsgi(in_memory(), **environ)
    assert [why in line for line in listener.lines] == [True]


@pytest.mark.parametrize("encodings", [["gzip"], ["gzip", "identity"], ["identity", "br"], ["GZIP"], ["identity,gzip"]])
def test_an_encoded_body_is_refused_in_so_many_words(encodings: list[str]) -> None:
    """Unpacked somewhere on the way or not, it is not what was signed."""

    async def run() -> None:
        pairs = [*GOOD, *(("content-encoding", encoding) for encoding in encodings)]
        scope = http_scope([(name.encode(), value.encode()) for name, value in pairs], "POST")
        told = await told_by(asgi.WebhookEndpoint(in_memory()), scope, {"type": "http.request", "body": BODY})
        assert (told.status, json.loads(told.body)["code"]) == (400, "webhook_headers_refused")

    asyncio.run(run())
