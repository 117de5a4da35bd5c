"""A webhook delivery, read strictly before its signature is checked.

The headers must be one complete family (svix or webhook), each once, bounded and recent. The result has an id, a time,
some candidate signatures and the body. `webhooks.py` checks the signatures.
"""

import re
from typing import NamedTuple

from ..errors import WebhookHeadersRefused, WebhookMalformed, WebhookOutOfTime, WebhookTooLarge
from .http import Headers, read_headers
from .records import key_of

MAX_BODY = 1_048_576  # Clerk's largest are tens of kilobytes
MAX_SIGNATURES = 16  # two while a secret is rotated; the standard names no limit
MAX_WEBHOOK_HEADER = 8_192
TOLERANCE = 300  # seconds, in both directions, as Standard Webhooks says
FAMILIES = ("svix", "webhook")
# Clerk retries for about a day. A delivery can be sent again from the dashboard for longer.
HANDLED_KEPT = 90 * 86_400_000  # milliseconds for which the key of a handled delivery is kept
FORGOTTEN_AT_ONCE = 100  # older keys that one write removes, so that no write waits for many

_PARTS = ("id", "timestamp", "signature")
_NAMES = {name: name for name in (f"{family}-{part}" for family in FAMILIES for part in _PARTS)}
_ID = re.compile(r"[0-9A-Za-z_-]{1,128}")
_TIMESTAMP = re.compile(r"[1-9][0-9]{9}")  # 2001 to 2286, in seconds; the signature covers this text
_SIGNATURE = re.compile(r"v1,[0-9A-Za-z+/]{43}=")


class UnverifiedDelivery(NamedTuple):
    """A delivery with an unchecked signature."""

    id: str
    timestamp: int
    signatures: tuple[str, ...]
    body: str

    def __repr__(self) -> str:
        return f"UnverifiedDelivery({self.id}, {len(self.body)} characters)"


def read_delivery(
    headers: Headers, body: bytes, now: float, *, tolerance: float = TOLERANCE, max_body: int = MAX_BODY
) -> UnverifiedDelivery:
    """Read headers and body, or raise a `WebhookError`."""
    if not isinstance(body, (bytes, bytearray)):
        raise WebhookMalformed("the body must be the raw bytes of the request")
    if len(body) > max_body:
        raise WebhookTooLarge(f"more than {max_body} bytes")
    identifier, timestamp, signature = _one_family(headers)
    if not _ID.fullmatch(identifier):
        raise WebhookHeadersRefused("the delivery id has the wrong form")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise WebhookHeadersRefused("the timestamp must be a number of seconds")
    skew = now - int(timestamp)
    if abs(skew) > tolerance:
        raise WebhookOutOfTime(f"{abs(skew):.0f} seconds {'old' if skew > 0 else 'ahead'}; compare the clocks")
    entries = signature.split(" ", MAX_SIGNATURES)[:MAX_SIGNATURES]
    signatures = tuple(entry for entry in entries if _SIGNATURE.fullmatch(entry))
    try:
        text = bytes(body).decode("utf-8")
    except UnicodeDecodeError:
        raise WebhookMalformed("the body is not UTF-8") from None
    return UnverifiedDelivery(identifier, int(timestamp), signatures, text)


def delivery_key(instance: str, id: str) -> str:
    """Return the key of a delivery to an instance: a digest, since an id from outside may have any form."""
    return key_of(f"delivery {id} {instance}")


def is_delivery_id(id: object) -> bool:
    """Return whether this can be the id of a delivery."""
    return isinstance(id, str) and _ID.fullmatch(id) is not None


def _one_family(headers: Headers) -> tuple[str, str, str]:
    """Return the three headers of the first family that is present. Each must be there once."""
    try:
        found, repeated = read_headers(headers, _NAMES, MAX_WEBHOOK_HEADER)
    except ValueError as fault:
        raise WebhookHeadersRefused(str(fault)) from None
    for family in FAMILIES:
        names = [f"{family}-{part}" for part in _PARTS]
        if not found.keys().isdisjoint(names):
            if not found.keys() >= set(names) or not repeated.keys().isdisjoint(names):
                raise WebhookHeadersRefused(
                    f"{family}-id, {family}-timestamp and {family}-signature must each appear once"
                )
            if any(len(found[name]) > MAX_WEBHOOK_HEADER for name in names):
                raise WebhookHeadersRefused("a header is too long")
            return found[names[0]], found[names[1]], found[names[2]]
    raise WebhookHeadersRefused("svix-id, svix-timestamp and svix-signature are missing")
