"""Whatever answers in Clerk's place, and whatever it says: one of our own errors comes of it, which tells no secret."""

import gzip
import json
import logging
import pickle
import traceback
import zlib
from typing import Any

import httpx
import pytest
from conftest import SECRET
from hypothesis import given
from hypothesis import strategies as st

from clerk_api_world import COLOURS, Answer, Colour, Far, World, answer, failure
from clerkmap.clerk import endpoints
from clerkmap.clerk.endpoints import ClerkRequest
from clerkmap.errors import ApiError, ApiNotFound, ApiRefused, ApiUnavailable

every_colour = pytest.mark.parametrize("colour", COLOURS)
SECRETS = "sk_test_c4n4ry user_2c4n4ryc4n4ry ann@example.com"

# Each is an answer of status 200 that is none.
NONSENSE: dict[str, Answer] = {
    "nothing": answer(b""),
    "white space": answer(b" \n"),
    "no content": answer(b"", 204),
    "text": answer(b"ok", kind="text/plain"),
    "JSON that calls itself text": answer(b'{"total_count":1}', kind="text/plain"),
    "JSON of two types": answer(b'{"total_count":1}', kind="application/json, text/html"),
    "JSON of a kind": answer(b'{"total_count":1}', kind="application/problem+json"),
    "no type": answer(b'{"total_count":1}', kind=""),
    "a login page": answer(b"<html>Sign in to the Wi-Fi</html>", kind="text/html"),
    "a page that calls itself JSON": answer(b"<html></html>"),
    "cut": answer(b'{"total_count":'),
    "two": answer(b'{"total_count":1}{"total_count":2}'),
    "null": answer(b"null"),
    "true": answer(b"true"),
    "a number": answer(b"1"),
    "a text": answer(b'"1"'),
    "another shape": answer(b'{"data":{}}'),
    "a list of something else": answer(b"[1,null,[]]"),
    "deep lists": answer(b"[" * 200_000 + b"]" * 200_000),
    "deep lists, open": answer(b"[" * 200_000),
    "deep objects": answer(b'{"a":' * 200_000 + b"1" + b"}" * 200_000),
    "a huge number": answer(b'{"total_count":' + b"9" * 5000 + b"}"),
    "a huge float": answer(b'{"total_count":1e400}'),
    "NaN": answer(b'{"total_count":NaN}'),
    "Infinity": answer(b'{"total_count":-Infinity}'),
    "a fraction": answer(b'{"total_count":1.5}'),
    "less than nothing": answer(b'{"total_count":-1}'),
    "a count that is a text": answer(b'{"total_count":"1"}'),
    "a count that is true": answer(b'{"total_count":true}'),
    "not UTF-8": answer(b'{"total_count":"\xff"}'),
    "UTF-16": answer('{"total_count":1}'.encode("utf-16")),
    "a mark in front": answer(b'\xef\xbb\xbf{"total_count":1}'),
    "half of a gzip": answer(gzip.compress(b'{"total_count":1}' + b" " * 999)[:20], content_encoding="gzip"),
    "no gzip": answer(b'{"total_count":1}', content_encoding="gzip"),
    "deflate": answer(zlib.compress(b'{"total_count":1}'), content_encoding="deflate"),
    "gzip in gzip": answer(gzip.compress(gzip.compress(b'{"total_count":1}')), content_encoding="gzip, gzip"),
    "an unknown packing": answer(b'{"total_count":1}', content_encoding="br"),
}
QUESTIONS: dict[str, ClerkRequest[Any]] = {
    "an object": endpoints.user("user_1"),
    "a list": endpoints.users(),
    "a page": endpoints.memberships(),
    "a count": endpoints.user_count(),
    "something to make": endpoints.create_organization("Acme"),
}


@every_colour
@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense(colour: Colour, name: str) -> None:
    """What cannot be an answer is asked for again until patience ends, and is then our error, with no trace of it."""
    far = Far(NONSENSE[name])
    with pytest.raises(ApiUnavailable) as away:
        World(colour, far, patience=1).send(endpoints.user_count())
    assert len(far.requests) > 1
    assert away.value.__context__ is None


@pytest.mark.parametrize("name", NONSENSE)
@pytest.mark.parametrize("asked", QUESTIONS)
def test_nonsense_in_answer_to_anything(name: str, asked: str) -> None:
    """A well-formed object, or list, of something else may pass for one. All the rest is our error."""
    far = Far(NONSENSE[name])
    try:
        World("sync", far, patience=1).send(QUESTIONS[asked])
    except ApiUnavailable:
        assert (len(far.requests) == 1) == (asked == "something to make")


NAMES = st.sampled_from(["data", "id", "errors", "code", "total_count", "clerk_trace_id", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(JSON | st.binary(max_size=60), st.sampled_from([200, 201, 301, 400, 401, 404, 418, 429, 500]))
def test_anything(said: object, status: int) -> None:
    """Any JSON at all, and any bytes, with any status, in answer to any question."""
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    caught: list[ApiError] = []
    for question in QUESTIONS.values():
        try:
            World("sync", Far(answer(body, status)), patience=0).send(question)
        except ApiError as error:
            caught.append(error)
    for each in caught:
        copy = pickle.loads(pickle.dumps(each))
        assert (str(copy), vars(copy)) == (str(each), vars(each))
        assert str(each).isascii()


@every_colour
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300, 304])
def test_a_redirection_is_not_followed(colour: Colour, status: int) -> None:
    """Nor asked twice: Clerk's API never sends one."""
    far = Far(answer(b"", status, location="https://evil.example/v1/users/count"))
    with pytest.raises(ApiUnavailable, match="another server responds") as away:
        World(colour, far).send(endpoints.user_count())
    assert (len(far.requests), away.value.status) == (1, status)


STRANGERS = [
    *(b"", b"<html>Not found</html>", b"not found", b'{"detail":"Not Found"}', b"[]", b'{"errors":[]}'),
    *(b'{"errors":{"code":"x"}}', b'{"errors":["resource_not_found"]}', b'{"errors":[{"code":null}]}'),
    b'{"errors":[{"code":"Not found!"}]}',
]


@every_colour
@pytest.mark.parametrize("body", STRANGERS)
@pytest.mark.parametrize("status", [401, 403, 404, 405, 418])
def test_a_refusal_that_is_not_clerks(colour: Colour, status: int, body: bytes) -> None:
    """Something else answers there. It must not be taken for Clerk's word that somebody is gone, or the key wrong."""
    with pytest.raises(ApiUnavailable, match="another server responds"):
        World(colour, Far(answer(body, status))).send(endpoints.user("user_1"))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("resource_not_found", ApiNotFound),
        ("organization_not_found", ApiNotFound),
        ("organization_not_enabled_in_instance", ApiRefused),
        ("api_version_invalid", ApiRefused),
    ],
)
def test_what_is_gone_and_what_is_switched_off(code: str, kind: type[ApiError]) -> None:
    """A 404 ends somebody's row only where Clerk says that it does not know the id."""
    with pytest.raises(kind) as refused:
        World("sync", Far(answer(json.dumps({"errors": [{"code": code}]}).encode(), 404))).send(
            endpoints.user("user_1")
        )
    assert type(refused.value) is kind


def said_to_be(words: str) -> bytes:
    """A refusal that has these words wherever there is room for any."""
    error = {"code": words, "message": words, "long_message": words, "meta": {"param_name": words}}
    good = {"code": "resource_not_found", "message": words}
    return json.dumps({"errors": [error, good], "clerk_trace_id": words, words: words}).encode()


@every_colour
@pytest.mark.parametrize("words", [*SECRETS.split(), SECRETS, "sk_live_abc", "\ud800", "a\nb", "x" * 10_000])
@pytest.mark.parametrize("status", [200, 302, 401, 404, 422, 429, 500])
def test_no_error_tells(colour: Colour, words: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is said, nothing of it that could be a key, an id or an address is in an error, its causes or a log."""
    caplog.set_level(logging.DEBUG)
    odd = "".join(filter(lambda each: each.isascii() and each.isprintable(), words))
    far = Far(answer(said_to_be(words), status, cf_ray=odd, retry_after=odd, location=odd, server=odd))
    question = endpoints.users(emails=["ann@example.com"], ids=["user_2c4n4ryc4n4ry"])
    world = World(colour, far, patience=1)
    with pytest.raises(ApiError) as caught:
        world.send(question)
    told = "".join(traceback.format_exception_only(caught.value)) + repr(caught.value) + str(vars(caught.value))
    told += "".join(caplog.messages)
    assert not SECRET.search(told), told
    assert world.clerk.secret_key not in told
    assert "c4n4ry" not in told
    assert "\n" not in str(caught.value)
    assert len(told) < 1500


@every_colour
@pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ReadTimeout, httpx.DecodingError, httpx.InvalidURL])
def test_no_text_of_httpx_gets_out(colour: Colour, kind: type[httpx.TransportError]) -> None:
    """Its errors hold URLs, and lead to requests with the key in them. Ours do not lead there."""
    with pytest.raises(ApiUnavailable) as caught:
        World(colour, Far(failure(kind)), patience=0).send(endpoints.user("user_2c4n4ryc4n4ry"))
    assert str(caught.value) == f"Clerk's API is not available: {kind.__name__}"
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_too_long_a_question() -> None:
    """A URL longer than httpx takes is our error, too."""
    with pytest.raises(ApiError):
        World("sync", patience=0).send(endpoints.users(ids=["user_" + "a" * 200] * 1000))


def test_half_a_character() -> None:
    """What came from Clerk as half a character can be asked about."""
    assert World().send(endpoints.users(emails=["\ud800"], external_ids=["\udfff"])) == []


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "9" * 5000])
def test_numbers_that_are_none(number: str) -> None:
    """Wherever they stand: in metadata they would be stored, and no database has JSON like that."""
    body = f'{{"id":"user_1","public_metadata":{{"a":[{number}]}}}}'.encode()
    with pytest.raises(ApiUnavailable, match="the response cannot be read"):
        World("sync", Far(answer(body)), patience=0).send(endpoints.user("user_1"))
