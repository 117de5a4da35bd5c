"""The webhook page in Flask: the answers of the WSGI endpoint, whatever Flask itself would do with the request."""

from io import BytesIO
from typing import Any

import pytest
from flask import Flask, request
from werkzeug.test import EnvironBuilder, run_wsgi_app

from clerkmap import Reconciler
from clerkmap.adapters.flask import webhook
from clerkmap.adapters.wsgi import WebhookEndpoint
from clerkmap.core.deliveries import MAX_BODY
from clerkmap.errors import RepositoryUnavailable
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock
from delivery_base import BODY, INSTANCE, JUNK, NOW, WEBHOOK, event, of_length, signed, with_signature
from flask_world import MayBeAway

LARGE = of_length(MAX_BODY)

# A method, headers, a body, and what is put into the environ.
DELIVERIES: dict[str, tuple[str, Any, bytes, dict[str, Any]]] = {
    "good": ("POST", signed(), BODY, {}),
    "the other family": ("POST", WEBHOOK, BODY, {}),
    "a robot": ("POST", signed(event(type="robot.built")), event(type="robot.built"), {}),
    "the largest": ("POST", signed(LARGE), LARGE, {}),
    "one byte too large": ("POST", signed(LARGE + b" "), LARGE + b" ", {}),
    "forged": ("POST", with_signature(JUNK), BODY, {}),
    "of another body": ("POST", signed(), BODY + b" ", {}),
    "old": ("POST", signed(timestamp=str(NOW - 301)), BODY, {}),
    "no headers": ("POST", {}, BODY, {}),
    "two ids": ("POST", [*signed().items(), ("svix-id", "msg_2")], BODY, {}),
    "no JSON": ("POST", signed(b"{"), b"{", {}),
    "empty": ("POST", signed(b""), b"", {}),
    "encoded": ("POST", {**signed(), "Content-Encoding": "gzip"}, BODY, {}),
    "a form": ("POST", {**signed(), "Content-Type": "application/x-www-form-urlencoded"}, BODY, {}),
    "GET": ("GET", signed(), b"", {}),
    "HEAD": ("HEAD", {}, b"", {}),
    "PUT": ("PUT", signed(), BODY, {}),
    "OPTIONS": ("OPTIONS", {}, b"", {}),
    "no length": ("POST", signed(), BODY, {"CONTENT_LENGTH": ""}),
    "in chunks": ("POST", signed(), BODY, {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}),
    "hung up": ("POST", signed(), BODY, {"CONTENT_LENGTH": str(len(BODY) + 1)}),
}


def reconciler(**options: Any) -> Reconciler:
    return Reconciler(INSTANCE, options.pop("repository", None) or MemoryRepository(), clock=Clock(NOW), **options)


def environ(method: str, headers: Any, body: bytes, more: dict[str, Any], path: str = "/hooks") -> dict[str, Any]:
    builder = EnvironBuilder(path, method=method, headers=headers, input_stream=BytesIO(body))
    try:
        return {**builder.get_environ(), "CONTENT_LENGTH": str(len(body)), **more}
    finally:
        builder.close()


def told(app: Any, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    body, status, headers = run_wsgi_app(app, environ, buffered=True)
    return status.partition(" ")[0], sorted((name.lower(), value) for name, value in headers), b"".join(body)


@pytest.mark.parametrize("name", DELIVERIES)
def test_the_answers_are_those_of_the_wsgi_endpoint(name: str) -> None:
    """Status, headers and body, also where Flask has limits and error pages of its own."""
    app = Flask("hooks")
    app.config["MAX_CONTENT_LENGTH"] = app.config["MAX_FORM_MEMORY_SIZE"] = 10
    app.register_error_handler(413, lambda error: ("too much", 413))
    app.register_error_handler(405, lambda error: ("not so", 405))
    app.register_blueprint(webhook(reconciler()), url_prefix="/hooks")
    wanted = told(WebhookEndpoint(reconciler()), environ(*DELIVERIES[name]))
    if name == "HEAD":  # a server leaves it out, and Flask does so before it
        wanted = (*wanted[:2], b"")
    assert told(app, environ(*DELIVERIES[name])) == wanted
    assert wanted[0] == {"good": "200", "the largest": "200", "one byte too large": "413"}.get(name, wanted[0])


@pytest.mark.parametrize("path", ["/webhooks/clerk", "/webhooks/clerk/"])
def test_where_it_stands(path: str) -> None:
    """At a place of its own unless another is given, with or without a slash at the end."""
    app = Flask("hooks")
    app.register_blueprint(webhook(reconciler()))
    assert app.test_client().post(path, headers=signed(), data=BODY).get_json()["outcome"] == "applied"


def test_two_instances_in_one_application() -> None:
    """Each blueprint under a name and a place of its own."""
    app = Flask("hooks")
    app.register_blueprint(webhook(reconciler()), name="one", url_prefix="/one")
    app.register_blueprint(webhook(reconciler(max_body=4096)), name="two", url_prefix="/two")
    body = of_length(4097)
    statuses = [app.test_client().post(path, headers=signed(body), data=body).status_code for path in ("/one", "/two")]
    assert statuses == [200, 413]


def test_a_body_that_was_read_before() -> None:
    """A function of yours before the request may have asked for the body: as bytes, text or JSON."""
    app = Flask("hooks")
    app.register_blueprint(webhook(reconciler()))
    seen: list[Any] = []
    app.before_request(lambda: seen.append(request.get_json(silent=True, force=True)))
    response = app.test_client().post("/webhooks/clerk", headers=signed(), data=BODY)
    assert response.get_json()["outcome"] == "applied"
    assert seen[0]["object"] == "event"
    assert app.test_client().post("/webhooks/clerk", headers=signed(), data=BODY + b" ").status_code == 400


def test_our_own_faults_make_it_come_again() -> None:
    """A hook that raises, a database that is away, a fault in one: 5xx, whatever handlers there are."""

    def hook(change: object, tx: object) -> None:
        raise RuntimeError("a fault")

    for options, status, code in (
        ({"hooks": [hook]}, 500, "hook_failed"),
        ({"repository": away(RepositoryUnavailable())}, 503, "repository_unavailable"),
    ):
        app = Flask("hooks")
        app.register_error_handler(Exception, lambda error: ("never mind", 200))
        app.register_blueprint(webhook(reconciler(**options)))
        response = app.test_client().post("/webhooks/clerk", headers=signed(), data=BODY)
        assert (response.status_code, response.get_json()["code"]) == (status, code)
    app = Flask("hooks")
    app.register_blueprint(webhook(reconciler(repository=away(RuntimeError("a fault")))))
    assert app.test_client().post("/webhooks/clerk", headers=signed(), data=BODY).status_code == 500


def away(error: Exception) -> MayBeAway:
    repository = MayBeAway()
    repository.away = error
    return repository
