"""The API of sessions, and of the tokens that are made from them."""

from .api_lists import Order, asked_for, page
from .api_requests import Call, Json, Query, Route, Routes, missing
from .objects import ClerkRefuses, FakeSession
from .shapes import session_shape

SHORTEST, LONGEST = 30, 315_360_000  # seconds that a token may be asked to last
USUAL = 60


def list_sessions(call: Call) -> Json:
    """The sessions of one person or one client; with their number if `paginated` is true."""
    user, client = call.query.one("user_id"), call.query.one("client_id")
    if not (user or client):
        raise ClerkRefuses(422, "form_param_missing", "user_id or client_id must be included", "user_id")
    status = call.query.one("status")

    def some() -> list[FakeSession]:
        found = call.clerk.sessions.values()
        mine = [each for each in found if user in (None, each.user_id) and client in (None, each.client_id)]
        return sorted((each for each in mine if status in (None, each.status)), key=lambda each: each.created_at)

    rows = call.lists.get(asked_for(call.query, "sessions"), some)
    shapes = [session_shape(each) for each in page(call.query, rows, Order(Query(""), ("created_at",)))]
    return {"data": shapes, "total_count": len(rows)} if call.query.flag("paginated") else shapes


def get_session(call: Call) -> Json:
    """One session."""
    return session_shape(_found(call))


def create_session(call: Call) -> Json:
    """A new session, as it can be made for tests; in development instances only, which this is one of."""
    said = call.said("user_id", "active_organization_id")
    organization = said.text("active_organization_id")
    user = call.user(said.needed("user_id"))
    return session_shape(call.clerk.sign_in(user, call.organization(organization) if organization else None))


def revoke_session(call: Call) -> Json:
    """A session that the application has ended."""
    session = _found(call)
    call.clerk.end_session(session, "revoked")
    return session_shape(session)


def create_token(call: Call) -> Json:
    """A session token: what a browser would have been given."""
    session, seconds = _alive(call), _seconds(call)
    user = call.user(session.user_id)
    jwt = call.clerk.token(
        user,
        call.clerk.organizations.get(session.organization_id or ""),
        session=session,
        party=None,
        pending=session.status == "pending",
        expires_in=seconds,
        claims={"act": session.actor} if session.actor else None,
    )
    return {"object": "token", "jwt": jwt}


def create_template_token(call: Call) -> Json:
    """A token made from a JWT template. Templates have no contents here, so that every name is one."""
    user = call.user(_alive(call).user_id)
    return {"object": "token", "jwt": call.clerk.template_token(user, expires_in=_seconds(call))}


def _seconds(call: Call) -> int:
    seconds = call.said("expires_in_seconds").number("expires_in_seconds", SHORTEST, LONGEST)
    return USUAL if seconds is None else seconds


def _found(call: Call) -> FakeSession:
    session = call.clerk.sessions.get(call.ids[0])
    if session is None:
        raise missing("Session")
    return session


def _alive(call: Call) -> FakeSession:
    session = _found(call)
    if session.status not in ("active", "pending"):
        raise missing("An active session")
    return session


ROUTES: Routes = [
    Route("GET", "/sessions", list_sessions, "list"),
    Route("POST", "/sessions", create_session),
    Route("GET", "/sessions/{}", get_session),
    Route("POST", "/sessions/{}/revoke", revoke_session),
    Route("POST", "/sessions/{}/tokens", create_token),
    Route("POST", "/sessions/{}/tokens/{}", create_template_token),
]
