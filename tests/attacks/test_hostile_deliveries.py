"""Every hostile delivery is refused with exactly its code, nothing comes of it, and nothing of it is told."""

import asyncio
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from svix.webhooks import Webhook

from clerkmap import Reconciler, WebhookError
from clerkmap.core.deliveries import MAX_BODY, MAX_SIGNATURES
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock
from delivery_base import (
    BODY,
    CLERK,
    GOOD_SIGNATURE,
    ID,
    INSTANCE,
    JUNK,
    NOW,
    SECRETS,
    STRANGERS,
    TIME,
    TOLERATED,
    USER,
    of_length,
    sign,
    signed,
    with_signature,
)
from hostile_deliveries import hostile_deliveries


def reconciler(repository: MemoryRepository | None = None) -> Reconciler:
    return Reconciler(INSTANCE, repository or MemoryRepository(), clock=Clock(NOW))


def receive(reconciler: Reconciler, headers: Any, body: Any, method: str) -> str:
    """The code of the refusal; of anything else, what it was instead."""
    try:
        if method == "areceive":
            return f"accepted: {asyncio.run(reconciler.areceive(headers, body))!r}"
        return f"accepted: {reconciler.receive(headers, body)!r}"
    except WebhookError as error:
        return error.code
    except Exception as error:  # it is reported with all others
        return f"escaped: {error!r}"


def test_the_table_is_large_and_names_each_delivery_once() -> None:
    """Which delivery failed can be told from its name."""
    names = [hostile.name for hostile in hostile_deliveries()]
    assert len(names) >= 700
    assert len(names) == len(set(names))


@pytest.mark.parametrize("method", ["receive", "areceive"])
def test_each_is_refused_with_its_code_counted_and_makes_nothing(method: str) -> None:
    """The first check that fails names the refusal, and no row is made or changed."""
    repository = MemoryRepository()
    written: list[object] = []
    repository.listeners.watch(written.append)
    ours = reconciler(repository)
    found = [(hostile, receive(ours, hostile.headers, hostile.body, method)) for hostile in hostile_deliveries()]
    assert [(hostile.name, hostile.code, code) for hostile, code in found if hostile.code != code] == []
    assert written == []
    assert repository.find(INSTANCE.name, USER.id) is None
    expected = dict(Counter(hostile.code for hostile in hostile_deliveries()))
    assert {"events": [], "refusals": expected, "lag_seconds": None} == {**ours.counts(), "lag_seconds": None}


def test_a_refusal_tells_nothing_of_the_delivery() -> None:
    """No text of an error, nor of one behind it, holds twelve characters of what was sent, or of a secret."""
    ours, leaks = reconciler(), []
    for hostile in hostile_deliveries():
        try:
            ours.receive(hostile.headers, hostile.body)
        except Exception as error:  # whatever comes out may end up in a log
            body = hostile.body.decode("latin-1") if isinstance(hostile.body, bytes) else repr(hostile.body)
            headers = [value for _, value in _pairs(hostile.headers)]
            private = [body[:20_000], *SECRETS, *(repr(value)[:20_000] for value in headers), GOOD_SIGNATURE, ID]
            keys = [repr(b64decode(secret.removeprefix("whsec_"))) for secret in SECRETS]
            for text in _told(error):
                windows = [text[i : i + 12] for i in range(len(text) - 11)]
                leaks += [(hostile.name, text) for window in windows if any(window in each for each in private + keys)]
    assert leaks == []


def _pairs(headers: Any) -> list[Any]:
    """The pairs of headers; of what has none, nothing."""
    listed = list(headers.items()) if isinstance(headers, dict) else headers if isinstance(headers, list) else []
    return [pair for pair in listed if isinstance(pair, tuple) and len(pair) == 2]


def _told(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize("method", ["receive", "areceive"])
@pytest.mark.parametrize("name", TOLERATED)
def test_a_delivery_with_nothing_wrong_is_accepted(name: str, method: str) -> None:
    """What surrounds each hostile delivery is good: it is refused for its one fault."""
    ours = reconciler()
    assert receive(ours, *TOLERATED[name], method).startswith("accepted: Outcome(")
    assert ours.counts()["refusals"] == {}


def test_the_good_delivery_makes_its_person() -> None:
    """The delivery that all others are made from does what a delivery is for, and does it once."""
    repository = MemoryRepository()
    ours = reconciler(repository)
    assert [ours.receive(signed(), BODY).kind for _ in range(2)] == ["applied", "nothing_new"]
    standing = repository.find(INSTANCE.name, USER.id)
    assert standing is not None
    assert (USER.id, "Zoë") == (standing.user.clerk_id, standing.user.clerk.first_name)


@pytest.mark.parametrize("secret", SECRETS)
def test_svix_signs_and_we_accept(secret: str) -> None:
    """A delivery signed by the library that Clerk's own signer comes with is accepted."""
    signature = Webhook(secret).sign(ID, datetime.fromtimestamp(NOW, UTC), BODY.decode())
    assert sign(secret, ID, TIME, BODY) == signature
    assert reconciler().receive(with_signature(signature), BODY).kind == "applied"


@pytest.mark.parametrize("family", ["svix", "webhook"])
def test_we_sign_and_svix_accepts(family: str) -> None:
    """The deliveries of this table are good by that library's lights too; it knows no time but the real one."""
    headers = signed(timestamp=str(int(time.time())), family=family)
    Webhook(SECRETS[0]).verify(BODY, headers)
    assert Reconciler(INSTANCE, MemoryRepository()).receive(headers, BODY).kind == "applied"


@pytest.mark.parametrize(
    ("secrets", "accepted"),
    [
        (SECRETS, [True, True, False]),
        (SECRETS[::-1], [True, True, False]),
        (SECRETS[:1], [True, False, False]),
        (SECRETS[1:], [False, True, False]),
        ([secret.rstrip("=") for secret in SECRETS], [True, True, False]),
    ],
)
def test_while_a_secret_is_rotated_both_are_good(secrets: list[str], accepted: list[bool]) -> None:
    """Each secret of the list counts, in any order, and none that is not or no longer on it."""
    ours = Reconciler(CLERK.make_instance(webhook_secrets=secrets), MemoryRepository(), clock=Clock(NOW))
    codes = [receive(ours, signed(secret=secret), BODY, "receive") for secret in (*SECRETS, STRANGERS[0])]
    assert accepted == [code.startswith("accepted") for code in codes]
    assert accepted == [code != "webhook_signature_invalid" for code in codes]


def test_many_signatures_cost_no_more_than_one() -> None:
    """A stranger's large body is hashed once for each secret, however many signatures come with it."""
    ours, body = reconciler(), of_length(MAX_BODY)

    def seconds(count: int) -> float:
        began = time.thread_time()
        assert receive(ours, with_signature(" ".join([JUNK] * count)), body, "receive") == "webhook_signature_invalid"
        return time.thread_time() - began

    one, many = (min(seconds(count) for _ in range(7)) for count in (1, MAX_SIGNATURES))
    assert many < one * 6


@pytest.mark.parametrize("clock", [NOW - 300.5, NOW + 300.5])
def test_half_a_second_beyond_the_tolerance(clock: float) -> None:
    """The clock's fractions count: 300 seconds are 300 seconds."""
    ours = Reconciler(INSTANCE, MemoryRepository(), clock=Clock(clock))
    assert receive(ours, signed(), BODY, "receive") == "webhook_out_of_time"
