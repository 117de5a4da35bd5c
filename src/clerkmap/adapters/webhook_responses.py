"""Shared parts of the webhook endpoints: reading a request body, and the response for each outcome."""

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
    """Refuse a compressed body: Clerk's signature is over the plain one."""
    if len(content_encoding) > MAX_ENCODING or content_encoding.strip().lower() not in ("", "identity"):
        raise WebhookHeadersRefused("the body must not be compressed, because the signature is over the plain body")


def declared_length(environ: Mapping[str, Any], max_length: int) -> int | None:
    """Return the content length from a WSGI environ or Django's `request.META`, or None if there is none."""
    length = environ.get("CONTENT_LENGTH") or ""
    if not (length.isascii() and length.isdecimal() and len(length) < 20):
        return None
    if int(length) > max_length:
        raise WebhookTooLarge
    return int(length)


def read_body(stream: Any, length: int) -> bytes:
    """Read `length` bytes, or fewer if the stream ends before."""
    body = bytearray()
    while len(body) < length:
        try:
            piece = stream.read(length - len(body))
        except OSError:
            raise WebhookIncomplete("the client disconnected before the end of the body") from None
        if not piece:
            break
        body += piece
    return bytes(body)


def check_length(body: bytes, declared: int | None, max_length: int) -> bytes:
    """Return the body if it has the declared length and is not too large."""
    if len(body) > max_length:
        raise WebhookTooLarge
    if declared is not None and len(body) < declared:
        raise WebhookIncomplete("the client disconnected before the end of the body")
    return body


def accepted(outcome: Outcome) -> RawResponse:
    """Return the response to a committed delivery. Clerk shows its body in the dashboard."""
    body = json.dumps({"outcome": outcome.kind, "reason": outcome.reason}).encode()
    return RawResponse(200, (("content-type", "application/json"), ("content-length", str(len(body)))), body)


def unreadable(error: WebhookError) -> RawResponse:
    """Log and return the response to a request that did not reach the reconciler."""
    logger.warning("reading a webhook failed: %s", error)
    return error_response(error)


def failed(error: ClerkmapError) -> RawResponse:
    """Return the response to an error of the reconciler: 4xx if the delivery is refused, 5xx if Clerk must deliver
    again."""
    if not isinstance(error, WebhookError):  # the reconciler logs those
        logger.error(
            "storing a webhook failed, and Clerk will deliver it again: %s\n%s",
            error.code,
            traceback_without_values(error),
        )
    return error_response(error)
