"""How a question is asked until it is answered: when to wait, when to ask again, and when to give up.

Told as a generator, for synchronous and asynchronous code alike: it yields the seconds to wait, or the question to
send, and is sent what came of it.

What makes something (POST) is sent again only where Clerk has said that it did nothing, or was never reached.
Everything else is asked again until patience ends.
"""

import json
import re
from collections.abc import Callable, Generator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar

from ..core.strict_json import fields, items
from ..errors import ApiKeyRefused, ApiNotFound, ApiRefused, ApiUnavailable
from .budget import Budget
from .endpoints import Question, UnexpectedAnswer

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
LONGEST_RETRY_AFTER = 60.0
_WORD = re.compile(r"[0-9A-Za-z_-]{1,100}")


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswer(NamedTuple):
    """Nothing came back, or not all of it. `reached` is whether Clerk may have seen the question."""

    reached: bool
    why: str


Step = float | Question[Any]


def asking(
    question: Question[T], budget: Budget, patience: float, clock: Callable[[], float], chance: Callable[[], float]
) -> Generator[Step, Answer | NoAnswer | None, T]:
    """Ask until there is an answer, or raise an `ApiRefused` or `ApiUnavailable`."""
    ends = clock() + patience
    pause = FIRST_PAUSE
    while True:
        yield budget.take()
        answer = yield question
        assert answer is not None
        again, failure = _judged(question, answer)
        if failure is None:
            try:
                assert isinstance(answer, Answer)
                return question.read(_parsed(answer))
            except (ValueError, UnexpectedAnswer):
                again, failure = question.is_repeatable, ApiUnavailable("its answer cannot be read")
        wait = pause * (0.5 + chance())
        if isinstance(answer, Answer) and answer.status == 429:
            wait = max(_retry_after(answer.headers), wait)
            budget.pause(wait)
        if not again or clock() + wait > ends:
            raise failure
        yield wait
        pause = min(pause * 2, LONGEST_PAUSE)


def _judged(question: Question[Any], answer: Answer | NoAnswer) -> tuple[bool, ApiRefused | ApiUnavailable | None]:
    """Whether it may be asked again, and what is wrong if it is not."""
    if isinstance(answer, NoAnswer):
        return question.is_repeatable or not answer.reached, ApiUnavailable(answer.why)
    status = answer.status
    if 200 <= status < 300:
        return False, None
    codes, trace = _said(answer)
    if status == 429:
        return True, ApiUnavailable("it has been asked too often", status=status, codes=codes, trace_id=trace)
    if status >= 500:
        return question.is_repeatable, ApiUnavailable(status=status, codes=codes, trace_id=trace)
    # It never redirects, and each of its refusals has a code: whoever does otherwise is not Clerk.
    if status < 400 or not codes:
        return False, ApiUnavailable("this is not Clerk's API", status=status, trace_id=trace)
    refused = {401: ApiKeyRefused, 404: ApiNotFound}.get(status, ApiRefused)
    return False, refused(status=status, codes=codes, trace_id=trace)


def _parsed(answer: Answer) -> Any:
    if _type(answer) != "application/json":
        raise UnexpectedAnswer("it is no JSON")
    return json.loads(answer.body)


def _said(answer: Answer) -> tuple[tuple[str, ...], str]:
    """Clerk's codes and its trace id, of an answer that may as well be a proxy's page."""
    try:
        said = fields(_parsed(answer))
    except (ValueError, RecursionError, UnexpectedAnswer):
        said = {}
    codes = [_word(fields(each).get("code")) for each in items(said.get("errors"))[:10]]
    trace = said.get("clerk_trace_id") or answer.headers.get("cf-ray", "")
    return tuple(filter(None, codes)), _word(trace)


def _word(value: object) -> str:
    """A code or an id; nothing else that an answer could hold."""
    return (
        value if isinstance(value, str) and len(value) <= 100 and f"_{value}".replace("-", "_").isidentifier() else ""
    )


def _type(answer: Answer) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds, or a date. No more than a minute of it is believed, and no less than nothing."""
    told = headers.get("retry-after", "").strip()
    try:
        seconds = float(told)
    except ValueError:
        try:
            sent = parsedate_to_datetime(headers.get("date", ""))
            seconds = (parsedate_to_datetime(told) - sent).total_seconds()
        except (ValueError, TypeError):
            seconds = 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if seconds == seconds else 0.0
