"""What ASGI applications are made of, and how an answer is told in its words."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ..core.responses import RawResponse, error_response
from ..errors import LockedOut, Refused, Unavailable

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OVER = 4401  # of the codes that are an application's own: who is told it, gets a new token and comes back
LATER = 1013  # "try again later"


async def respond(answer: RawResponse, send: Send, *, to: str = "http") -> None:
    """Send a whole response. A WebSocket that is not open yet can be answered in HTTP, too, by servers that say so."""
    prefix = "websocket.http" if to == "websocket" else "http"
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    await send({"type": f"{prefix}.response.start", "status": answer.status, "headers": headers})
    await send({"type": f"{prefix}.response.body", "body": answer.body})


async def deny(answer: RawResponse, code: str, scope: Scope, receive: Receive | None, send: Send) -> None:
    """Refuse a WebSocket before it is open. `receive` is None when somebody has received what asks for it."""
    if receive is not None:
        await receive()  # the specification has it taken before anything is said
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await respond(answer, send, to="websocket")
    else:  # the server makes a 403 of it, and the browser is told neither
        await send({"type": "websocket.close", "code": 4000 + answer.status, "reason": code})


def closing_code(refusal: Refused | Unavailable) -> int:
    """What an open WebSocket is closed with, when its application refuses what is asked."""
    if isinstance(refusal, Unavailable):
        return LATER
    return OVER if isinstance(refusal, LockedOut) else 4000 + error_response(refusal).status
