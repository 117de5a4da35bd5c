"""When a question is asked again, how long is waited before, and that nothing is ever made twice."""

from dataclasses import replace
from email.utils import formatdate
from typing import Any, NamedTuple

import httpx
import pytest

from clerk_api_world import COLOURS, NOON, Answer, Colour, Far, World, answer, failure
from clerkmap.clerk import endpoints
from clerkmap.clerk.budget import Budget
from clerkmap.clerk.endpoints import ClerkRequest
from clerkmap.clerk.retries import LONGEST_PAUSE
from clerkmap.errors import ApiError, ApiRefused, ApiUnavailable, OperationUnderWay, Unavailable

every_colour = pytest.mark.parametrize("colour", COLOURS)
GOOD = answer(b'{"total_count": 3}')
COUNT = endpoints.user_count()
MAKE = endpoints.create_organization("Acme")
CHANGE = endpoints.update_user("user_1", first_name="Ann")
HTML = b"<html><head><title>502</title></head><body>Bad gateway: ann@example.com</body></html>"

NEVER_MADE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
PERHAPS_SEEN = (
    *(httpx.ReadTimeout, httpx.ReadError, httpx.WriteTimeout, httpx.WriteError, httpx.CloseError),
    *(httpx.RemoteProtocolError, httpx.LocalProtocolError, httpx.ProxyError, httpx.UnsupportedProtocol),
)


class Asked(NamedTuple):
    """What came of a question: its answer or its error, how often it was sent, and how long was waited."""

    outcome: object
    times: int
    waits: list[float]


def asked(colour: Colour, question: ClerkRequest[Any], *answers: Answer, patience: float = 120) -> Asked:
    """Ask, and see."""
    far = Far(*answers)
    world = World(colour, far, patience=patience)
    outcome: object
    try:
        outcome = world.send(question)
    except ApiError as error:
        outcome = error
    return Asked(outcome, len(far.requests), world.waits)


@every_colour
@pytest.mark.parametrize("kind", NEVER_MADE + PERHAPS_SEEN)
@pytest.mark.parametrize("question", [COUNT, CHANGE], ids=["GET", "PATCH"])
def test_what_can_be_repeated_is_repeated(
    colour: Colour, kind: type[httpx.TransportError], question: ClerkRequest[Any]
) -> None:
    """Whatever happened to the connection."""
    assert asked(colour, question, failure(kind), failure(kind), GOOD).times == 3


@every_colour
@pytest.mark.parametrize("kind", NEVER_MADE)
def test_what_never_got_there_is_sent_again(colour: Colour, kind: type[httpx.TransportError]) -> None:
    """Also what makes something."""
    made = asked(colour, MAKE, failure(kind), failure(kind), GOOD)
    assert (made.outcome, made.times) == ({"total_count": 3}, 3)


@every_colour
@pytest.mark.parametrize("kind", PERHAPS_SEEN)
def test_what_may_have_been_made_is_not_sent_again(colour: Colour, kind: type[httpx.TransportError]) -> None:
    """Nobody knows whether it was, and the error says so."""
    error, times, _ = asked(colour, MAKE, failure(kind), GOOD)
    assert isinstance(error, ApiUnavailable)
    assert isinstance(error, Unavailable)
    assert (times, str(error)) == (1, f"Clerk's API is not available: {kind.__name__}")


@every_colour
@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 599])
@pytest.mark.parametrize("page", [answer(HTML, 500, "text/html"), answer(b"", 500), answer(b'{"errors":[]}', 500)])
def test_their_trouble(colour: Colour, status: int, page: Answer) -> None:
    """What reads or changes is asked again; what makes is not. No word of a proxy's page is told."""

    def said(request: httpx.Request) -> httpx.Response:
        response: httpx.Response = page(request)
        response.status_code = status
        return response

    assert asked(colour, COUNT, said, said, GOOD).times == 3
    error, times, _ = asked(colour, MAKE, said, GOOD)
    assert isinstance(error, ApiUnavailable)
    assert (times, error.status, str(error)) == (1, status, f"Clerk's API is not available: status {status}")


@every_colour
@pytest.mark.parametrize("question", [COUNT, CHANGE, MAKE], ids=["GET", "PATCH", "POST"])
def test_too_many(colour: Colour, question: ClerkRequest[Any]) -> None:
    """Clerk has said that it did nothing: everything is sent again, when Clerk says."""
    _, times, waits = asked(colour, question, answer(b"{}", 429, retry_after="9"), GOOD)
    assert times == 2
    assert sum(waits) == pytest.approx(9, abs=0.01)


SENT = formatdate(NOON, usegmt=True)


@pytest.mark.parametrize(
    ("told", "least", "most"),
    [
        ("0", 0.2, 1),
        ("3", 3, 3.1),
        (" 3 ", 3, 3.1),
        ("2.5", 2.5, 2.6),
        ("60", 60, 60.1),
        ("61", 60, 60.1),
        ("86400", 60, 60.1),
        ("9" * 400, 60, 60.1),
        ("1e999", 60, 60.1),
        ("inf", 60, 60.1),
        ("-inf", 0.2, 1),
        ("nan", 0.2, 1),
        ("-5", 0.2, 1),
        ("", 0.2, 1),
        ("soon", 0.2, 1),
        ("3, 4", 0.2, 1),
        (formatdate(NOON + 5, usegmt=True), 5, 5.1),
        (formatdate(NOON - 5, usegmt=True), 0.2, 1),
        (formatdate(NOON + 1e7, usegmt=True), 60, 60.1),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 60, 60.1),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", 0.2, 1),
        ("Fri, 31 Dec 2027 23:59:59 +9999999999", 0.2, 60.1),
        ("Fri, 31 Dec 2027 23:59:59 -0000", 0.2, 1),
        ("Fri, 32 Dec 2027 25:61:61 GMT", 0.2, 1),
    ],
)
def test_retry_after(told: str, least: float, most: float) -> None:
    """Seconds or a date, by Clerk's own clock. What makes no sense counts for nothing, and a minute is the most."""
    _, times, waits = asked("sync", COUNT, answer(b"{}", 429, retry_after=told, date=SENT), GOOD)
    assert times == 2
    assert least <= sum(waits) <= most


def test_a_date_without_a_date() -> None:
    """A date means nothing where it is not said what the time is there."""
    assert sum(asked("sync", COUNT, answer(b"{}", 429, retry_after=formatdate(NOON + 50)), GOOD).waits) < 1


@every_colour
def test_patience(colour: Colour) -> None:
    """What fails for ever is given up in time, with pauses that grow to ten seconds and no further."""
    error, times, waits = asked(
        colour, COUNT, answer(b'{"errors":[{"code":"internal_clerk_error"}]}', 503), patience=100
    )
    assert isinstance(error, ApiUnavailable)
    assert (error.status, error.codes) == (503, ("internal_clerk_error",))
    assert sum(waits) <= 100
    assert waits[0] <= 0.75
    assert max(waits) <= LONGEST_PAUSE * 1.5
    assert 8 <= times <= 25


@every_colour
def test_no_patience(colour: Colour) -> None:
    """Asked once, and not waited for."""
    error, times, waits = asked(colour, COUNT, answer(b"", 503), patience=0)
    assert isinstance(error, ApiUnavailable)
    assert (times, waits) == (1, [])
    error, times, waits = asked(colour, COUNT, answer(b"{}", 429, retry_after="30"), patience=10)
    assert isinstance(error, ApiUnavailable)
    assert (times, waits, error.status) == (1, [], 429)


@every_colour
@pytest.mark.parametrize("status", [400, 402, 403, 404, 409, 410, 413, 415, 422, 451])
def test_refusals(colour: Colour, status: int) -> None:
    """Asked once. Clerk's codes and the trace id are told; its words, which may name people, are not."""
    said = b"""{"errors":[{"code":"form_identifier_exists","message":"ann@example.com is taken","long_message":"x",
        "meta":{"param_name":"email"}},{"code":"second_code","message":"y"}],"clerk_trace_id":"abc123"}"""
    error, times, _ = asked(colour, MAKE, answer(said, status), GOOD)
    assert isinstance(error, ApiRefused)
    assert type(error) is ApiRefused
    assert (times, error.status) == (1, status)
    assert (error.codes, error.trace_id) == (("form_identifier_exists", "second_code"), "abc123")
    assert str(error) == (
        f"Clerk's API refused the request: status {status}; form_identifier_exists, second_code; trace abc123"
    )


FATES = ["cut_before", "cut_within", "cut_after", "server_error", "proxy_error", "too_many"]


@every_colour
@pytest.mark.parametrize("fate", FATES)
def test_never_two_organizations(colour: Colour, fate: str) -> None:
    """At a Clerk that fails half of the time, what is made is made once at most, and once if it says so."""
    world = World(colour, seed=3)
    world.options["budget"] = Budget(1e6, world.clock)
    setattr(world.clerk.faults, fate, 0.5)
    made = failed = 0
    for number in range(40):
        try:
            world.send(endpoints.create_organization(f"Number {number}"))
            made += 1
        except ApiUnavailable:
            failed += 1
        there = [each.name for each in world.clerk.organizations.values() if each.name == f"Number {number}"]
        assert len(there) <= 1
    total = len(world.clerk.organizations)
    assert (made, failed) == {"too_many": (40, 0)}.get(fate, (made, 40 - made))
    assert total == (40 if fate in ("cut_within", "cut_after") else made)
    assert (failed == 0) == (fate == "too_many")


@every_colour
def test_everything_at_once(colour: Colour) -> None:
    """At a Clerk where all of it goes wrong by chance, whoever reads and changes gets there in the end."""
    world = World(colour, seed=4)
    ann = world.clerk.create_user()
    for fate in FATES:
        setattr(world.clerk.faults, fate, 0.1)
    for number in range(30):
        assert world.send(COUNT) == 1
        assert world.send(endpoints.update_user(ann.id, external_id=str(number)))["external_id"] == str(number)


@every_colour
def test_a_question_may_be_stopped_right_before_it_is_sent(colour: Colour) -> None:
    """However often that is: what raises then has sent nothing more."""
    asked_at: list[float] = []
    world = World(colour, Far(answer(b"{}", 429, retry_after="30"), GOOD))

    def only_at_once() -> None:
        asked_at.append(world.clock())
        if len(asked_at) > 1:
            raise OperationUnderWay

    with pytest.raises(OperationUnderWay):
        world.send(replace(MAKE, before_sending=only_at_once))
    assert asked_at[1] - asked_at[0] >= 30
    assert len(world.options["transport"].requests) == 1
