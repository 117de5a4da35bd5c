"""Retries: when to wait, when to send a request again, and when to give up.

This is a generator, so that sync and async code share it. It yields the seconds to wait, or the request to send, and
receives the outcome.

A request that creates an object (POST) is sent again in two cases only: Clerk refused to process it, or the request
never reached Clerk. Every other request is retried until patience ends.
"""

import json
import math
import re
from collections.abc import Callable, Generator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from ..core.strict_json import fields, items
from ..errors import ApiKeyRefused, ApiNotFound, ApiRefused, ApiUnavailable
from .budget import Budget
from .endpoints import ClerkRequest
from .responses import Answer, NoAnswer

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
LONGEST_RETRY_AFTER = 60.0
MOST_CODES = 10

# Errors are logged, and an answer may hold secrets or personal data. A code consists of words, with digits only at
# their ends; Clerk's ids and keys do not match that. A trace id has no underscore; Clerk's ids and keys have one.
_CODE = re.compile(r"(?!sk_)(?=.{1,64}$)[a-z]+[0-9]*(?:_[a-z]+[0-9]*)*", re.ASCII)
_TRACE = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)


Step = float | ClerkRequest[Any]


def send_with_retries(
    request: ClerkRequest[T], budget: Budget, patience: float, clock: Callable[[], float], chance: Callable[[], float]
) -> Generator[Step, Answer | NoAnswer | None, T]:
    """Retry until there is an answer, or raise an `ApiRefused` or `ApiUnavailable`."""
    ends = clock() + patience
    pause = FIRST_PAUSE
    failure: ApiRefused | ApiUnavailable = ApiUnavailable("too many requests are waiting")
    while True:
        while wait := budget.take():
            if clock() + wait > ends:
                raise failure
            yield wait
        if request.before_sending is not None:
            request.before_sending()
        answer = yield request
        assert answer is not None
        if isinstance(answer, Answer) and 200 <= answer.status < 300:
            try:
                return request.read(_parsed(answer))
            except (ValueError, RecursionError):  # raised outside, so that the failure keeps no reference to the answer
                pass
            again, failure = request.is_repeatable, ApiUnavailable("the response cannot be read", status=answer.status)
        else:
            again, failure = _retry_or_error(request, answer)
        if not again:
            raise failure
        wait = pause * (0.5 + chance())
        if isinstance(answer, Answer) and answer.status == 429:
            wait = max(wait, _retry_after(answer.headers))
            budget.pause(wait)
        if clock() + wait > ends:
            raise failure
        yield wait
        pause = min(pause * 2, LONGEST_PAUSE)


def _retry_or_error(request: ClerkRequest[Any], answer: Answer | NoAnswer) -> tuple[bool, ApiRefused | ApiUnavailable]:
    """Return whether to retry, and the error."""
    if isinstance(answer, NoAnswer):
        return request.is_repeatable or not answer.reached, ApiUnavailable(answer.why)
    status = answer.status
    codes, trace = _codes_and_trace(answer)
    if status == 429:
        return True, ApiUnavailable("its rate limit is exceeded", status=status, codes=codes, trace_id=trace)
    if status >= 500:
        return request.is_repeatable, ApiUnavailable(status=status, codes=codes, trace_id=trace)
    # Clerk never redirects, and each of its refusals has a code. Any other server is not Clerk.
    if status < 400 or not codes:
        return False, ApiUnavailable("another server responds at this address", status=status, trace_id=trace)
    return False, _error_class(status, codes)(status=status, codes=codes, trace_id=trace)


def _error_class(status: int, codes: tuple[str, ...]) -> type[ApiRefused]:
    if status == 401:
        return ApiKeyRefused
    # A disabled feature gives a 404, too. It must not look as if every object were deleted.
    if status == 404 and any(code.endswith("not_found") for code in codes):
        return ApiNotFound
    return ApiRefused


def _parsed(answer: Answer) -> Any:
    """Return the JSON of an answer, or raise a ValueError or RecursionError."""
    if answer.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ValueError("the response is not JSON")
    return json.loads(answer.body.decode(), parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("the response has an invalid number")
    return value


def _codes_and_trace(answer: Answer) -> tuple[tuple[str, ...], str]:
    """Return Clerk's error codes and trace id. The answer may also be a proxy's page."""
    try:
        said = fields(_parsed(answer))
    except (ValueError, RecursionError):
        said = {}
    codes = (_fitting(_CODE, fields(each).get("code")) for each in items(said.get("errors"))[:MOST_CODES])
    trace = _fitting(_TRACE, said.get("clerk_trace_id")) or _fitting(_TRACE, answer.headers.get("cf-ray"))
    return tuple(filter(None, codes)), trace


def _fitting(pattern: re.Pattern[str], value: object) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds of a Retry-After header, which holds seconds or a date. The result is from 0 to 60."""
    told = headers.get("retry-after", "").strip()
    try:
        seconds = float(told)
    except ValueError:
        try:
            sent = parsedate_to_datetime(headers.get("date", ""))
            seconds = (parsedate_to_datetime(told) - sent).total_seconds()
        except (ValueError, TypeError, OverflowError):
            seconds = 0.0
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
