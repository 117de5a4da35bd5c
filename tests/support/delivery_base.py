"""The one Clerk behind the table of hostile deliveries, the tools for making one, and those that must be let in.

The good delivery is the Clerk's own. What is done to it, no Clerk would do: so the bodies are written anew here, and
signed by hand, whatever the id, the time and the secret are.
"""

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from typing import Any, NamedTuple

from clerkmap.core.deliveries import MAX_BODY
from clerkmap.testing import Clock, FakeClerk

HEADERS = "webhook_headers_refused"
OUT_OF_TIME = "webhook_out_of_time"
TOO_LARGE = "webhook_too_large"
SIGNATURE = "webhook_signature_invalid"
MALFORMED = "webhook_malformed"
ELSEWHERE = "webhook_from_elsewhere"

NOW = 1_790_000_000
CLERK = FakeClerk(seed=45, clock=Clock(NOW))
_SPARE, *STRANGERS = (
    f"whsec_{b64encode(hashlib.sha256(whose.encode()).digest()).decode()}" for whose in ("clerkmap", "one", "another")
)
SECRETS = [CLERK.webhook_secret, _SPARE]
INSTANCE_ID = CLERK.instance_id
INSTANCE = CLERK.make_instance(webhook_secrets=SECRETS)
USER = CLERK.create_user("zoe@example.com", first_name="Zoë")
(_DELIVERY,) = CLERK.deliveries()
ID, BODY = _DELIVERY.message.id, _DELIVERY.body
TIME = str(NOW)
PARTS = ("id", "timestamp", "signature")
ABSENT = object()  # in changes to an event: leave this one out

GOOD_EVENT: dict[str, Any] = json.loads(BODY)


class HostileDelivery(NamedTuple):
    """A delivery that must be refused, and the code of the refusal."""

    name: str
    headers: Any
    body: Any
    code: str


def sign(secret: str, id: str, timestamp: str, body: bytes) -> str:
    """One signature, by the letter of the standard and without the code that is tested."""
    content = b".".join((id.encode("utf-8", "surrogatepass"), timestamp.encode("utf-8", "surrogatepass"), body))
    digest = hmac.digest(b64decode(secret.removeprefix("whsec_")), content, "sha256")
    return f"v1,{b64encode(digest).decode()}"


def event(**changes: Any) -> bytes:
    """The good event with changes. None is JSON's null; `ABSENT` takes away."""
    values = {name: value for name, value in {**GOOD_EVENT, **changes}.items() if value is not ABSENT}
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="backslashreplace")  # half characters


def signed(
    body: bytes = BODY, *, id: str = ID, timestamp: str = TIME, family: str = "svix", secret: str = SECRETS[0]
) -> dict[str, str]:
    """The three headers of one family, with a good signature over just these things."""
    values = (id, timestamp, sign(secret, id, timestamp, body))
    return {f"{family}-{part}": value for part, value in zip(PARTS, values, strict=True)}


GOOD_SIGNATURE = sign(SECRETS[0], ID, TIME, BODY)
JUNK = "v1," + "A" * 43 + "="


def with_signature(text: Any) -> dict[str, Any]:
    """The good headers with another signature header."""
    return {**signed(), "svix-signature": text}


def nested(depth: int) -> bytes:
    """A good event of exactly this depth."""
    inner = "[" * (depth - 2) + "]" * (depth - 2)
    return BODY.replace(b'"object":"user"', f'"object":{inner}'.encode())


def of_length(length: int) -> bytes:
    """A good event of exactly this many bytes."""
    return event(padding="a" * (length - len(event(padding=""))))


def _both(svix: dict[str, Any], webhook: dict[str, Any]) -> dict[str, Any]:
    return {**svix, **webhook}


WEBHOOK = signed(family="webhook")

# Deliveries with nothing wrong, however odd they look: each shows that those beside it are refused for their one fault.
TOLERATED: dict[str, tuple[Any, Any]] = {
    "the good delivery": (signed(), BODY),
    "the other family": (WEBHOOK, BODY),
    "the other secret": (signed(secret=SECRETS[1]), BODY),
    "the other family, the other secret": (signed(family="webhook", secret=SECRETS[1]), BODY),
    "pairs": (list(signed().items()), BODY),
    "pairs in a tuple": (tuple(signed().items()), BODY),
    "a view of pairs": (signed().items(), BODY),
    "pairs of bytes": ([(name.encode(), value.encode()) for name, value in signed().items()], BODY),
    "pairs of lists": ([list(pair) for pair in signed().items()], BODY),
    "bytes for values": ({name: value.encode() for name, value in signed().items()}, BODY),
    "upper case": ({name.upper(): value for name, value in signed().items()}, BODY),
    "title case": ({name.title(): value for name, value in signed().items()}, BODY),
    "upper case of the other family": ({name.upper(): value for name, value in WEBHOOK.items()}, BODY),
    "among others": ({"host": "a", "Content-Type": "application/json", **signed(), "svix-": "", "x": "\xe9"}, BODY),
    "others twice": ([("via", "a"), ("via", "b"), *signed().items()], BODY),
    "others of bytes": ([(b"x-caf\xe9", b"\xff"), *signed().items()], BODY),
    "both families": (_both(signed(), WEBHOOK), BODY),
    "both families, the second first": (_both(WEBHOOK, signed()), BODY),
    "both families, the second forged": (_both(signed(), {**WEBHOOK, "webhook-signature": JUNK}), BODY),
    "both families, the second by halves": (_both(signed(), {"webhook-id": ID}), BODY),
    "300 seconds old": (signed(timestamp=str(NOW - 300)), BODY),
    "299 seconds old": (signed(timestamp=str(NOW - 299)), BODY),
    "300 seconds ahead": (signed(timestamp=str(NOW + 300)), BODY),
    "299 seconds ahead": (signed(timestamp=str(NOW + 299)), BODY),
    "the shortest id": (signed(id="m"), BODY),
    "the longest id": (signed(id="m" * 128), BODY),
    "an id of all characters": (signed(id="azAZ09_-"), BODY),
    "the 16th signature": (with_signature(" ".join([JUNK] * 15 + [GOOD_SIGNATURE])), BODY),
    "the first of 17 signatures": (with_signature(" ".join([GOOD_SIGNATURE] + [JUNK] * 16)), BODY),
    "the first of very many": (with_signature(" ".join([GOOD_SIGNATURE] + [JUNK] * 168)), BODY),
    "both secrets at once": (with_signature(f"{sign(SECRETS[1], ID, TIME, BODY)} {GOOD_SIGNATURE}"), BODY),
    "twice the same signature": (with_signature(f"{GOOD_SIGNATURE} {GOOD_SIGNATURE}"), BODY),
    "a stranger's signature before the good one": (
        with_signature(f"{sign(STRANGERS[0], ID, TIME, BODY)} {GOOD_SIGNATURE}"),
        BODY,
    ),
    "a signature header of 8192 characters": (with_signature(GOOD_SIGNATURE.ljust(8192)), BODY),
    **{
        f"junk {place} the good signature: {junk!r}": (
            with_signature(f"{junk} {GOOD_SIGNATURE}" if place == "before" else f"{GOOD_SIGNATURE} {junk}"),
            BODY,
        )
        for junk in (
            *("", " ", ",", ",,", "v1", "v1,", "v1,a", "v1,====", "v1,\xe9", "v1a,abc", "v2,abc", "V1,abc", "nonsense"),
            *("v1;abc", "\t", "\n", "\0", "v1,@@@@", "v1,a,b", JUNK, JUNK[:-1], JUNK.replace("v1", "v1a"), "\ud800"),
        )
        for place in ("before", "after")
    },
    "the body as a bytearray": (signed(), bytearray(BODY)),
    "blanks around the body": (signed(b" \t\r\n" + BODY + b"\r\n \t"), b" \t\r\n" + BODY + b"\r\n \t"),
    **{
        f"signed body: {name}": (signed(body), body)
        for name, body in {
            "128 deep": nested(128),
            "a thousand brackets in a string": event(x="[{" * 500),
            "the largest": of_length(MAX_BODY),
            "indented": json.dumps(GOOD_EVENT, indent=4).encode(),
            "letters of all the world": event(x="é😀\u0000\u2028"),
            "half a character": event(x="\ud800"),
            "NUL, escaped": event(x="?").replace(b'"?"', b'"\\u0000"'),
            "an integer of 4300 digits": event(x=10**4299),
            "a type never heard of": event(type="robot.built"),
            "a type of 100 characters": event(type="a" * 100),
            "no records": event(data={}),
            "data that lacks its id": event(data={"object": "user"}),
            "a time in seconds": event(timestamp=NOW),
            "an old event": event(timestamp=1),
            "the last time there is": event(timestamp=253_402_300_799_999),
            "no instance": event(instance_id=ABSENT),
            "null for an instance": event(instance_id=None),
            "not called an event": event(object="robot"),
        }.items()
    },
}
