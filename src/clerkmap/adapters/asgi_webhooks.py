"""Where Clerk delivers its webhooks: an ASGI application of one page.

mount("/webhooks/clerk", WebhookEndpoint(reconciler))
"""

import asyncio

from ..core.http import as_text
from ..core.responses import RawResponse
from ..errors import ClerkmapError, WebhookError, WebhookIncomplete, WebhookTooLarge
from ..webhooks import Reconciler
from .asgi_messages import Receive, Scope, Send, respond
from .webhook_responses import MAX_ENCODING, NOT_POST, check_encoding, refused, taken_in, unread

PATIENCE = 10.0  # seconds for a body to arrive; Clerk itself hangs up after 15


class WebhookEndpoint:
    """Takes in deliveries. It answers 2xx once they are committed, 4xx to what is not Clerk's, and 5xx to what is our
    own fault, after which Clerk delivers again.

    Args:
        reconciler: What takes them in.
        patience: How many seconds a body may take to arrive.
    """

    def __init__(self, reconciler: Reconciler, *, patience: float = PATIENCE) -> None:
        self._reconciler = reconciler
        self._patience = patience
        self._most_digits = len(str(reconciler.max_body))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4000 + NOT_POST.status})
        elif scope["type"] == "http":
            await respond(await self._answer(scope, receive), send)

    async def _answer(self, scope: Scope, receive: Receive) -> RawResponse:
        if scope["method"] != "POST":
            return NOT_POST
        headers = list(scope["headers"])
        try:
            for name, value in headers:
                if name == b"content-encoding":
                    check_encoding(as_text(value, MAX_ENCODING + 1))
                elif name == b"content-length" and len(value.lstrip(b"0")) > self._most_digits and value.isdigit():
                    raise WebhookTooLarge  # without waiting for it
            body = await self._body(receive)
        except WebhookError as error:
            return unread(error)
        try:
            return taken_in(await self._reconciler.areceive(headers, body))
        except ClerkmapError as error:
            return refused(error)

    async def _body(self, receive: Receive) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise WebhookIncomplete("the sender hung up")
                    body += message.get("body", b"")
                    if len(body) > self._reconciler.max_body:
                        raise WebhookTooLarge
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise WebhookIncomplete(f"more than {self._patience:g} seconds") from None
