"""What is answered to a delivery of Clerk's: the same in every framework."""

import json
import logging

from ..core.answers import Answer, answer
from ..errors import ClerkmapError, WebhookError
from ..reconciler import Outcome

logger: logging.Logger = logging.getLogger("clerkmap.adapters")

NOT_POST: Answer = Answer(405, (("allow", "POST"), ("content-length", "0")), b"")


def is_encoded(content_encoding: str) -> bool:
    """Whether a body is not what was signed, but something that would have to be unpacked first."""
    return content_encoding.strip().lower() not in ("", "identity")


def taken_in(outcome: Outcome) -> Answer:
    """What is told of a delivery that has been committed. Clerk shows it in its log of deliveries."""
    body = json.dumps({"outcome": outcome.kind, "reason": outcome.reason}).encode()
    return Answer(200, (("content-type", "application/json"), ("content-length", str(len(body)))), body)


def unread(error: WebhookError) -> Answer:
    """What is told of a delivery that never came to the reconciler, which logs what it refuses."""
    logger.warning("a webhook was not read: %s", error)
    return answer(error)


def refused(error: ClerkmapError) -> Answer:
    """What is told otherwise: 4xx to what is not Clerk's, 5xx where it is our own fault, and Clerk delivers again."""
    if not isinstance(error, WebhookError):  # those the reconciler has logged
        cause = type(error.__cause__ or error).__name__  # by its name alone: its text may hold anything
        logger.error("a webhook could not be taken in, and will come again: %s (%s)", error.code, cause)
    return answer(error)
