"""What is answered to a delivery of Clerk's: the same in every framework."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from ..core.responses import RawResponse, error_response
from ..errors import (
    ClerkmapError,
    WebhookError,
    WebhookHeadersRefused,
    WebhookIncomplete,
    WebhookTooLarge,
    traceback_without_values,
)
from ..webhooks import Outcome

logger: logging.Logger = logging.getLogger("clerkmap.adapters")

MAX_ENCODING = 100  # characters of Content-Encoding

NOT_POST: RawResponse = RawResponse(405, (("allow", "POST"), ("content-length", "0")), b"")


def check_encoding(content_encoding: str) -> None:
    """Refuse a body that is not what was signed, but something that would have to be unpacked first."""
    if len(content_encoding) > MAX_ENCODING or content_encoding.strip().lower() not in ("", "identity"):
        raise WebhookHeadersRefused("its body is encoded, and what was signed is not")


def length_told(environ: Mapping[str, Any], most: int) -> int | None:
    """How long a body is, by an environ or Django's `request.META`. None where that is not told."""
    length = environ.get("CONTENT_LENGTH") or ""
    if not (length.isascii() and length.isdecimal() and len(length) < 20):
        return None
    if int(length) > most:
        raise WebhookTooLarge
    return int(length)


def read(stream: Any, wanted: int) -> bytes:
    """So many bytes, or fewer where there are no more."""
    body = bytearray()
    while len(body) < wanted:
        try:
            piece = stream.read(wanted - len(body))
        except OSError:
            raise WebhookIncomplete("the sender hung up") from None
        if not piece:
            break
        body += piece
    return bytes(body)


def check_length(body: bytes, told: int | None, most: int) -> bytes:
    """The body, if it is as long as was told, and not too long."""
    if len(body) > most:
        raise WebhookTooLarge
    if told is not None and len(body) < told:
        raise WebhookIncomplete("the sender hung up")
    return body


def taken_in(outcome: Outcome) -> RawResponse:
    """What is told of a delivery that has been committed. Clerk shows it in its log of deliveries."""
    body = json.dumps({"outcome": outcome.kind, "reason": outcome.reason}).encode()
    return RawResponse(200, (("content-type", "application/json"), ("content-length", str(len(body)))), body)


def unread(error: WebhookError) -> RawResponse:
    """What is told of a delivery that never came to the reconciler, which logs what it refuses."""
    logger.warning("a webhook was not read: %s", error)
    return error_response(error)


def refused(error: ClerkmapError) -> RawResponse:
    """What is told otherwise: 4xx to what is not Clerk's, 5xx where it is our own fault, and Clerk delivers again."""
    if not isinstance(error, WebhookError):  # those the reconciler has logged
        logger.error(
            "a webhook failed, and Clerk will send it again: %s\n%s", error.code, traceback_without_values(error)
        )
    return error_response(error)
