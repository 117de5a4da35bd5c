"""The outcome of a request: an answer, or no answer. Any behaviour of the server ends as one of the two."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import httpx

MAX_BODY = 67_108_864  # bytes of an answer: 500 users with all the metadata that Clerk allows


class Answer(NamedTuple):
    """A complete response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.body)} bytes)"


class NoAnswer(NamedTuple):
    """A missing or incomplete response. `reached` is whether the request may have reached Clerk."""

    reached: bool
    why: str


class Body:
    """The body of a response, read up to a maximum size and time."""

    def __init__(self, clock: Callable[[], float], longest: float) -> None:
        self._clock = clock
        self._ends = clock() + longest
        self._taken = bytearray()
        self._wrong = ""

    def accepts(self, response: "httpx.Response") -> bool:
        """Return whether the body has a requested encoding. Compressed twice, a small body could exhaust the memory."""
        if response.headers.get("content-encoding", "identity").lower() not in ("identity", "gzip"):
            self._wrong = "the response has a content encoding that was not requested"
        return not self._wrong

    def takes(self, chunk: bytes) -> bool:
        """Add a chunk, and return whether to read more."""
        self._taken += chunk
        if len(self._taken) > MAX_BODY:
            self._wrong = "the response is too long"
        elif self._clock() > self._ends:
            self._wrong = "the response is too slow"
        return not self._wrong

    def answer(self, response: "httpx.Response") -> Answer | NoAnswer:
        """Return the answer, or the error."""
        if self._wrong:
            return NoAnswer(True, self._wrong)
        return Answer(response.status_code, response.headers, bytes(self._taken))


def failed(error: Exception) -> NoAnswer:
    """Return the failure of a request. Only a failed connection surely did not reach Clerk.

    The text of an error may hold a URL, so only its type is kept.
    """
    import httpx

    reached = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    return NoAnswer(reached, type(error).__name__)
