"""Where Clerk delivers its webhooks: a view, in two colours.

path("webhooks/clerk", webhook)
"""

from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from ...errors import ClerkmapError, WebhookHeadersRefused, WebhookIncomplete, WebhookTooLarge
from ..deliveries import NOT_POST, is_encoded, refused, taken_in
from . import conf
from .middleware import respond


@csrf_exempt
def webhook(request: Any) -> Any:
    """Takes in a delivery. It answers 2xx once that is committed, 4xx to what is not Clerk's, and 5xx to what is our
    own fault, after which Clerk delivers again.

    How long a body may take to arrive, the server decides.
    """
    if request.method != "POST":
        return respond(NOT_POST)
    try:
        reconciler = conf.reconciler()
        return respond(taken_in(reconciler.receive(dict(request.headers), _body(request, reconciler.max_body))))
    except ClerkmapError as error:
        return respond(refused(error))


@csrf_exempt
async def awebhook(request: Any) -> Any:
    """The same without holding up the event loop. Needed where the reconciler's repository speaks async."""
    if request.method != "POST":
        return respond(NOT_POST)
    try:
        reconciler = conf.reconciler()
        # Under ASGI Django has all of it by now; under WSGI this event loop is the request's own.
        body = _body(request, reconciler.max_body)
        return respond(taken_in(await reconciler.areceive(dict(request.headers), body)))
    except ClerkmapError as error:
        return respond(refused(error))


def _body(request: Any, most: int) -> bytes:
    """As it was received, to the byte. Django's own limit, DATA_UPLOAD_MAX_MEMORY_SIZE, is for forms."""
    if is_encoded(request.headers.get("Content-Encoding", "")):
        raise WebhookHeadersRefused("its body is encoded, and what was signed is not")
    length = request.META.get("CONTENT_LENGTH") or ""
    is_told = length.isascii() and length.isdecimal() and len(length) < 20
    if is_told and int(length) > most:
        raise WebhookTooLarge
    stream = request
    if not is_told and not hasattr(request, "scope"):  # it came in chunks: Django reads none of them
        if not request.META.get("wsgi.input_terminated"):
            raise WebhookIncomplete("its length is not told")
        stream = request.META["wsgi.input"]
    body = _read(request, stream, most)
    if len(body) > most:
        raise WebhookTooLarge
    if is_told and len(body) < int(length):
        raise WebhookIncomplete("the sender hung up")
    return body


def _read(request: Any, stream: Any, most: int) -> bytes:
    try:
        if hasattr(request, "_body"):  # a middleware has read it
            return bytes(request.body)
        body = bytearray()
        while len(body) <= most:
            piece = stream.read(most + 1 - len(body))
            if not piece:
                break
            body += piece
        return bytes(body)
    except RequestDataTooBig:
        raise WebhookTooLarge from None
    except (UnreadablePostError, OSError):
        raise WebhookIncomplete("the sender hung up") from None
