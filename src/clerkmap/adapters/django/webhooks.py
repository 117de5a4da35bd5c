"""The webhook endpoint, as a sync and an async view.

path("webhooks/clerk", webhook)
"""

from typing import Any

from django.views.decorators.csrf import csrf_exempt

from ...errors import ClerkmapError, WebhookError, WebhookIncomplete
from ..webhook_responses import (
    NOT_POST,
    accepted,
    check_encoding,
    check_length,
    declared_length,
    failed,
    read_body,
    unreadable,
)
from . import settings as conf
from .middleware import respond


@csrf_exempt
def webhook(request: Any) -> Any:
    """Receive a webhook.

    It responds with 2xx after the commit, with 4xx to requests that are not Clerk's, and with 5xx to faults of the
    application, so that Clerk delivers again. The server limits the time for a body to arrive.
    """
    if request.method != "POST":
        return respond(NOT_POST)
    try:
        reconciler = conf.reconciler()
        return respond(accepted(reconciler.receive(dict(request.headers), _body(request, reconciler.max_body))))
    except ClerkmapError as error:
        return respond(failed(error))


@csrf_exempt
async def awebhook(request: Any) -> Any:
    """Receive a webhook without blocking the event loop. Required if the reconciler's repository is async."""
    if request.method != "POST":
        return respond(NOT_POST)
    try:
        reconciler = conf.reconciler()
        # Reading does not block: under ASGI Django has the whole body, under WSGI the event loop has only this request.
        body = _body(request, reconciler.max_body)
        return respond(accepted(await reconciler.areceive(dict(request.headers), body)))
    except ClerkmapError as error:
        return respond(failed(error))


def _body(request: Any, max_length: int) -> bytes:
    """Return the raw body. Django's limit DATA_UPLOAD_MAX_MEMORY_SIZE is for forms, so it does not apply here."""
    try:
        check_encoding(request.headers.get("Content-Encoding", ""))
        declared = declared_length(request.META, max_length)
        stream = request
        if declared is None and not hasattr(request, "scope"):  # a chunked body, which Django does not read
            if not request.META.get("wsgi.input_terminated"):
                raise WebhookIncomplete("the request has no Content-Length")
            stream = request.META["wsgi.input"]
        has_been_read = hasattr(request, "_body")  # by a middleware
        body = bytes(request.body) if has_been_read else read_body(stream, max_length + 1)
        return check_length(body, declared, max_length)
    except WebhookError as error:
        unreadable(error)
        raise
