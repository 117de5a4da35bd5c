"""What comes of a question that was sent: an answer, or none. Whatever the other end does, it is one of the two."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import httpx

MAX_BODY = 67_108_864  # of an answer: 500 people with all the metadata that Clerk allows


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.body)} bytes)"


class NoAnswer(NamedTuple):
    """Nothing came back, or not all of it. `reached` is whether Clerk may have seen the question."""

    reached: bool
    why: str


class Body:
    """The body of an answer, taken in until it is too much, or too long in coming."""

    def __init__(self, clock: Callable[[], float], longest: float) -> None:
        self._clock = clock
        self._ends = clock() + longest
        self._taken = bytearray()
        self._wrong = ""

    def accepts(self, response: "httpx.Response") -> bool:
        """Whether it is packed as was asked for: packed twice, a little would become more than any memory holds."""
        if response.headers.get("content-encoding", "identity").lower() not in ("identity", "gzip"):
            self._wrong = "its answer is packed in a way that was not asked for"
        return not self._wrong

    def takes(self, chunk: bytes) -> bool:
        """Take some of it in. Tells whether more is wanted."""
        self._taken += chunk
        if len(self._taken) > MAX_BODY:
            self._wrong = "its answer is too long"
        elif self._clock() > self._ends:
            self._wrong = "its answer is too long in coming"
        return not self._wrong

    def answer(self, response: "httpx.Response") -> Answer | NoAnswer:
        """All of it, or what was wrong."""
        if self._wrong:
            return NoAnswer(True, self._wrong)
        return Answer(response.status_code, response.headers, bytes(self._taken))


def failed(error: Exception) -> NoAnswer:
    """Only what failed while connecting is sure not to have reached anybody. The text of an error may hold a URL."""
    import httpx

    reached = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    return NoAnswer(reached, type(error).__name__)
