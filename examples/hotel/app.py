"""A hotel application: a WSGI application with one route for all webhooks, and pages for the staff.

application = HotelApp(instance, "hotels.db")
backfill(ClerkApi(instance), application.repository)  # copy all users from Clerk; safe to repeat
OutboxWorker(ClerkApi(instance), application.repository).start()  # send the hotels' ids to Clerk
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from http import HTTPStatus
from typing import Any

from clerkmap import Instance, Principal, Reconciler, Refused, Resolver, Unavailable, Verifier, WebhookError, WriteBack
from clerkmap.adapters.authenticator import Authenticator, error_response, make_wsgi_request
from clerkmap.clerk import ClerkApi
from clerkmap.repositories import SqliteRepository
from clerkmap.sync import create_organization

from .hotels import TABLES, keep_hotels, keep_staff

MAX_BODY = 1_048_576
Answer = tuple[int, dict[str, Any]]


class HotelApp:
    """Pages for users, and the webhook endpoint for Clerk."""

    def __init__(self, instance: Instance, path: str, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        # Organization ids are Clerk's ids, because older tables of this application already refer to them.
        # The front end reads the id from Clerk's metadata.
        back = WriteBack(organization_id="hotel_id")
        hooks = [keep_hotels, keep_staff]
        self.repository = SqliteRepository.open(path, ids="clerk", write_back=back, hooks=hooks, clock=clock)
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(TABLES)
        self.authenticator = Authenticator(
            Resolver(instance, self.repository, verifier=Verifier(instance, clock=clock))
        )
        self.reconciler = Reconciler(instance, self.repository, clock=clock)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        pages: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "POST /webhooks/clerk": self.webhook,
            "GET /hotel": self.hotel,
            "GET /no-hotel": self.no_hotel,
        }
        page = pages.get(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        try:
            status, body = page(environ) if page else (404, {"error": "not_found"})
        except (Refused, Unavailable) as error:
            status, body = error_response(error).status, {"error": error.code}
        headers = [("Content-Type", "application/json")]
        if status == 303:
            headers.append(("Location", body["see"]))
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [json.dumps(body).encode()]

    def webhook(self, environ: dict[str, Any]) -> Answer:
        """Receive a delivery of any event type.

        Any error but a WebhookError is our own fault: the server responds with 500, and Clerk delivers again.
        """
        length = int(environ["CONTENT_LENGTH"]) if environ.get("CONTENT_LENGTH", "").isdecimal() else 0
        headers = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
        try:
            outcome = self.reconciler.receive(headers, environ["wsgi.input"].read(min(length, MAX_BODY + 1)))
        except WebhookError as error:
            return error_response(error).status, {"error": error.code}
        return 200, {"outcome": outcome.kind}

    def hotel(self, environ: dict[str, Any]) -> Answer:
        """Show the hotel of the caller's active organization."""
        principal = self.caller(environ)
        if principal.organization is None:
            return 303, {"see": "/no-hotel"}
        with closing(sqlite3.connect(self.path)) as connection:
            name, closed = connection.execute(
                "SELECT name, closed FROM hotels WHERE id = ?", (principal.organization.id,)
            ).fetchone()
            rows = connection.execute("SELECT name FROM departments WHERE hotel_id = ?", (principal.organization.id,))
            departments = [department for (department,) in rows]
        role = principal.membership.role if principal.membership else None
        return 200, {"hotel": name, "closed": bool(closed), "departments": departments, "your role": role}

    def no_hotel(self, environ: dict[str, Any]) -> Answer:
        """Show the page for users without a hotel."""
        user = self.caller(environ).user
        return 200, {"user": user.id, "message": "You have no hotel yet: create one, or ask for an invitation."}

    def create(self, api: ClerkApi, form: str, name: str, clerk_user_id: str) -> str:
        """Create a hotel at Clerk and here, once for each form, however often it is sent, and return its id."""
        hotel = create_organization(api, self.repository, idempotency_key=form, name=name, created_by=clerk_user_id)
        return hotel.id

    def caller(self, environ: dict[str, Any]) -> Principal:
        """Return the principal, or raise the error that says why there is none."""
        return self.authenticator.identify(make_wsgi_request(environ)).principal

    def close(self) -> None:
        self.repository.close()
