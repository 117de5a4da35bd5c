"""Spoiled deliveries by the thousand: nothing but a refusal comes out, and what is let in was signed as it stands.

`CLERKMAP_SOAK=1` makes it a million. `CLERKMAP_SEED` makes it other ones.
"""

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from conftest import Listener

from clerkmap import Outcome, Reconciler, WebhookError
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock
from delivery_base import BODY, GOOD_EVENT, ID, INSTANCE, JUNK, NOW, SECRETS, STRANGERS, TIME, event, signed
from mutations import NASTY

SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
SEED = os.environ.get("CLERKMAP_SEED", "1")
CHUNK = 1000
CHUNKS = 1000 if SOAK else 10

pytestmark = pytest.mark.slow

Genuine = set[tuple[str, str, bytes]]


def spoiled_text(random: Random, text: str) -> str:
    """The text with a piece taken out, put in, doubled or written otherwise."""
    at, character = random.randrange(len(text) + 1), random.choice("\0\t\n ,.=+-_/:v1aA09é٣\ud800\u212a")
    till = min(len(text), at + random.choice((0, 1, 1, 2, 10)))
    how = random.randrange(5)
    if how == 0:
        return text[:at] + text[till:]
    if how == 1:
        return text[:at] + character + text[till:]
    if how == 2:
        return text[:till] + text[at:]
    return random.choice((text.swapcase(), text.upper(), f" {text}", text * 2, "")) if how == 3 else text[::-1]


def spoiled_bytes(random: Random, body: bytes) -> bytes:
    """The same with bytes; most are no longer JSON."""
    at = random.randrange(len(body) + 1)
    piece = random.choice(
        (b"", b"{", b"}", b'"', b"\\", b"[" * 200, b"NaN", b"\xff", b"\xef\xbb\xbf", b"\\ud800", b"0")
    )
    return body[:at] + piece + body[at + random.choice((0, 0, 1, 1, 5, 100)) :]


def other_event(random: Random) -> bytes:
    """An event of any type, with whatever can be written as JSON in the places of its fields.

    There are few of them, and nearly all are read, unlike in an ordinary body: so nearly every change is met.
    """
    kinds = ("user", "organization", "organizationMembership", "session", "robot")
    verbs = ("created", "updated", "deleted", "ended")
    person = f"user_{random.randrange(500)}"
    data: dict[str, Any] = {"id": random.choice((person, "org_a", "orgmem_a", "sess_a"))}
    inner = {name: GOOD_EVENT["data"][name] for name in ("object", "first_name", "updated_at", "banned")}
    inner |= {"id": random.choice((person, "org_a")), "user_id": person}
    data |= {"user": inner, "organization": {**inner, "id": "org_a"}, "public_user_data": inner, "role": "org:a"}
    data |= {"email_addresses": [{"id": "idn_a", "email_address": "x"}], "primary_email_address_id": "idn_a"}
    data |= {"public_metadata": {}, "updated_at": NOW, "created_at": NOW}
    for _ in range(random.randrange(3)):
        home = random.choice((data, inner))
        home[random.choice(list(home))] = random.choice(NASTY)
    changes = {random.choice(("timestamp", "instance_id", "data", "x")): random.choice(NASTY)}
    told = {"type": f"{random.choice(kinds)}.{random.choice(verbs)}", "data": data}
    return event(**{**told, **(changes if random.random() < 0.2 else {})})


def delivery(random: Random, genuine: Genuine) -> tuple[Any, Any]:
    """One delivery, signed with care or not, then spoiled or not; what was signed with our secrets is remembered."""
    body = random.choice((BODY, other_event(random), other_event(random)))
    body = spoiled_bytes(random, body) if random.random() < 0.3 else body
    id = spoiled_text(random, ID) if random.random() < 0.1 else ID
    timestamp = str(NOW + random.randrange(-310, 310))
    timestamp = spoiled_text(random, timestamp) if random.random() < 0.1 else timestamp
    secret = random.choice((*SECRETS, *SECRETS, *SECRETS, STRANGERS[0]))
    headers: dict[Any, Any] = signed(
        body, id=id, timestamp=timestamp, secret=secret, family=random.choice(("svix", "webhook"))
    )
    if secret in SECRETS:
        genuine.add((id, timestamp, body))
    if random.random() < 0.5:
        return headers, body
    pairs: list[Any] = list(headers.items())
    for _ in range(random.choice((1, 1, 2))):
        at = random.randrange(len(pairs))
        name, value = pairs[at]
        how = random.randrange(9)
        if how < 3:
            pairs[at] = (name, spoiled_text(random, value) if isinstance(value, str) else value)
        elif how == 3 and isinstance(name, str):
            pairs[at] = (spoiled_text(random, name), value)
        elif how == 4:
            pairs.append((name, random.choice((value, *NASTY))))
        elif how == 5:
            pairs[at] = (name, random.choice(NASTY))
        elif how == 6:
            pairs += signed(BODY, family=random.choice(("svix", "webhook"))).items()
            genuine.add((ID, TIME, BODY))
        elif how == 7:
            body = spoiled_bytes(random, body)
        else:
            pairs[at] = (name, f"{JUNK} {value}" if random.random() < 0.5 else str(value).encode("utf-8", "replace"))
    random.shuffle(pairs)
    return pairs, body


def triples(headers: Any, body: bytes) -> Iterator[tuple[Any, Any, bytes]]:
    """What may have been meant: the id and time of each family, and the body."""
    pairs = headers.items() if isinstance(headers, dict) else headers
    names = {_text(name).lower(): _text(value) for name, value in pairs}
    for family in ("svix", "webhook"):
        yield names.get(f"{family}-id"), names.get(f"{family}-timestamp"), body


def _text(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value if isinstance(value, str) else ""


@pytest.fixture
def unrecorded() -> Iterator[None]:
    """Pytest would keep a million log records. The listener, which stands nearer, still hears them."""
    logger = logging.getLogger("clerkmap")
    logger.propagate = False
    yield
    logger.propagate = True


@pytest.mark.usefixtures("unrecorded")
def test_fuzz(listener: Listener) -> None:
    """Nothing but a `WebhookError` escapes, and what is accepted was signed: this id, this time, this body."""
    outcomes: Counter[str] = Counter()
    began = time.perf_counter()
    for chunk in range(CHUNKS):
        random, ours = Random(f"{SEED}/{chunk}"), Reconciler(INSTANCE, MemoryRepository(), clock=Clock(NOW))
        genuine: Genuine = set()
        for number in range(CHUNK):
            headers, body = delivery(random, genuine)
            where = f"CLERKMAP_SEED={SEED}, chunk {chunk}, number {number}"
            try:
                outcome: Outcome = ours.receive(headers, body)
            except WebhookError as error:
                outcomes[error.code] += 1
                continue
            except Exception as error:
                pytest.fail(f"{where}: {error!r} of {headers!r}, {body!r}")
            outcomes[outcome.kind] += 1
            assert genuine & set(triples(headers, body)), where
        refused = sum(ours.counts()["refusals"].values())
        assert refused + sum(each["count"] for each in ours.counts()["events"]) == CHUNK
        listener.lines = list(dict.fromkeys(listener.lines))
    total = sum(outcomes.values())
    print(f"{total:,} deliveries in {time.perf_counter() - began:.1f} seconds: {dict(outcomes.most_common())}")
    assert total == CHUNKS * CHUNK
    assert min(outcomes["applied"], outcomes["nothing_new"], outcomes["ignored"]) >= CHUNKS * CHUNK * 0.01
    assert len(outcomes) == 8  # each refusal but that of the size, and each outcome
