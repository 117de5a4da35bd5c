"""Where Clerk delivers its webhooks: a view, in two colours.

path("webhooks/clerk", webhook)
"""

from typing import Any

from django.views.decorators.csrf import csrf_exempt

from ...errors import ClerkmapError, WebhookError, WebhookIncomplete
from ..webhook_responses import NOT_POST, check_encoding, check_length, length_told, read, refused, taken_in, unread
from . import settings as conf
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
    try:
        check_encoding(request.headers.get("Content-Encoding", ""))
        told = length_told(request.META, most)
        stream = request
        if told is None and not hasattr(request, "scope"):  # it came in chunks: Django reads none of them
            if not request.META.get("wsgi.input_terminated"):
                raise WebhookIncomplete("its length is not told")
            stream = request.META["wsgi.input"]
        has_been_read = hasattr(request, "_body")  # by a middleware
        return check_length(bytes(request.body) if has_been_read else read(stream, most + 1), told, most)
    except WebhookError as error:
        unread(error)
        raise
