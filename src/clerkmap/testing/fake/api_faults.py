"""What goes wrong between an application and Clerk, by switches and by chance. Chance comes from the seed."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal

from ..clock import Clock
from .api_requests import ApiAnswer, ApiRequest, answer_of

if TYPE_CHECKING:
    from .tokens import Mint

Fate = Literal["cut_before", "server_error", "proxy_error", "too_many", "cut_within", "cut_after"]

FATES: tuple[Fate, ...] = ("cut_before", "server_error", "proxy_error", "too_many", "cut_within", "cut_after")


@dataclass
class Faults:
    """The switches of one made-up Clerk, all off at first. Chances are from 0 to 1, and drawn anew for every request.

    Args:
        rate_limit: Whether requests are limited as Clerk limits them, by the clock of the instance.
        limit: How many requests there may be in ten seconds. Clerk allows a development instance 100, others 1,000.
        limit_each: How many changes of one person, organization or membership there may be in ten seconds.
        latency: Seconds by which each answer is late. A clock that stands still is moved on by as much; otherwise they
            really pass.
        cut_before: The chance that the connection is cut before the request is processed.
        server_error: The chance that the request is answered with 500 or 503, and not processed.
        proxy_error: The same with 502, 503 or 504 and a page of HTML, as a proxy answers.
        too_many: The chance that the request is answered with 429.
        cut_within: The chance that the connection is cut in the middle of the answer.
        cut_after: The chance that it is cut when the request has been processed, before anything of the answer.
        keys_of: Another instance, whose keys are published in place of this one's.
        between_pages: Is called with every request for a list before that is read, to change what there is to list.
    """

    rate_limit: bool = False
    limit: int | None = 100
    limit_each: int | None = 10
    latency: float = 0
    cut_before: float = 0
    server_error: float = 0
    proxy_error: float = 0
    too_many: float = 0
    cut_within: float = 0
    cut_after: float = 0
    keys_of: "Mint | None" = None
    between_pages: Callable[[ApiRequest], object] | None = None


class Chance:
    """Draws what is to happen to each request. Two of the same seed draw the same."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self._random = Random(f"faults {seed}")

    def draw(self) -> Fate | None:
        """What happens to this request: at most one thing. Each is drawn for, so that none changes another's luck."""
        happens: list[Fate] = [each for each in FATES if self._random.random() < getattr(self._faults, each)]
        return happens[0] if happens else None

    def failure(self, fate: Literal["server_error", "proxy_error"]) -> ApiAnswer:
        """One of the answers that say that something is wrong over there."""
        if fate == "proxy_error":
            status = self._random.choice((502, 503, 504))
            page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>proxy</body></html>\n"
            return ApiAnswer(status, page.encode(), {"content-type": "text/html"})
        said = "Something went wrong on our side"
        error = {"message": said, "long_message": said, "code": "internal_clerk_error"}
        return answer_of({"errors": [error]}, self._random.choice((500, 503)))


def left_to_wait(delay: float, clock: Clock) -> float:
    """How many seconds have to pass really: none by a clock that stands still, which is moved on instead."""
    if delay and clock.stands_still:
        clock.advance(delay)
        return 0
    return delay
