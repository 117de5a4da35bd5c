"""Whatever is asked of the made-up Clerk's API, there is an answer, and it is never a failure of its own."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clerkmap.testing import Clock, FakeClerk
from clerkmap.testing.fake.api import organizations, tokens, users
from clerkmap.testing.fake.api.calls import Route
from clerkmap.testing.fake.api.requests import ApiAnswer, ApiRequest

pytestmark = pytest.mark.slow

ROUTES = [*organizations.ROUTES, *tokens.ROUTES, *tokens.JWKS, *users.ROUTES]

NAMES = [
    *("user_id", "email_address", "username", "external_id", "first_name", "name", "slug", "role", "created_by"),
    *("public_metadata", "private_metadata", "unsafe_metadata", "created_at", "banned", "locked", "verified"),
    *("primary", "primary_email_address_id", "max_allowed_memberships", "admin_delete_enabled", "user_ids"),
    *("inviter_user_id", "expires_in_days", "expires_in_seconds", "active_organization_id"),
    *("secret", "token", "access_token"),
]
ASKED = ["limit", "offset", "order_by", "starting_after", "query", "status", "paginated", "banned", "created_at_after"]
WORDS = st.sampled_from(
    ["", "-", "+", "org:member", "x@example.com", "2024-01-01T00:00:00Z", "a.b.c", "9", "\x00", "ﬁ"]
)


def values(known: list[str]) -> st.SearchStrategy[object]:
    """What may stand in a body: ids that are known, words, and any JSON."""
    plain = st.one_of(st.sampled_from(known), WORDS, st.none(), st.booleans(), st.integers(), st.text(max_size=5))
    return st.recursive(
        plain, lambda some: st.lists(some, max_size=2) | st.dictionaries(st.text(max_size=3), some, max_size=2)
    )


def asked(clerk: FakeClerk, route: Route, ids: list[str], query: list[tuple[str, str]], body: object) -> ApiAnswer:
    """The answer to a request for an endpoint."""
    path = "/v1" + route.path
    for id in ids:
        path = path.replace("{}", id, 1)
    headers = {"authorization": f"Bearer {clerk.secret_key}", "content-type": "application/json"}
    return clerk.api(ApiRequest(route.method, path, urlencode(query), headers, json.dumps(body).encode()))


def errors_in(read: Any) -> dict[str, Any]:
    """What a refusal says; of a success, nothing."""
    error: dict[str, Any]
    (error,) = read["errors"] if isinstance(read, dict) and "errors" in read else [{}]
    return error


@settings(max_examples=60)
@given(data=st.data())
def test_there_is_always_an_answer(data: st.DataObject) -> None:
    """Of success or of refusal, in JSON; what was refused can be asked again, and the lists can still be read."""
    clerk = FakeClerk(clock=Clock(1_700_000_000))
    ada = clerk.create_user("ada@example.com", username="ada")
    acme = clerk.create_organization("Acme", created_by=ada)
    invitation, session = clerk.invite(acme, "bob@example.com"), clerk.sign_in(ada)
    known = [ada.id, acme.id, acme.slug, invitation.id, session.id, ada.addresses[0].id, clerk.token(ada), "ada"]
    known.append(clerk.create_api_key(ada).secret)
    for _ in range(4):
        route = data.draw(st.sampled_from(ROUTES))
        said = data.draw(st.dictionaries(st.sampled_from(NAMES), values(known), max_size=8))
        body = [said] if route.path.endswith("bulk") else said
        ids = data.draw(st.lists(st.sampled_from([*known, "nobody"]), min_size=2, max_size=2))
        query = data.draw(st.lists(st.tuples(st.sampled_from(ASKED), st.sampled_from(known) | WORDS), max_size=3))
        read = json.loads(asked(clerk, route, ids, query, body).body)
        while (error := errors_in(read)) and error["code"] == "form_param_unknown" and said:
            del said[error["meta"]["param_name"]]  # until all that is left is known there
            read = json.loads(asked(clerk, route, ids, query, body).body)
    for route in ROUTES:
        if route.kind == "list" and "{}" not in route.path and route.path != "/sessions":
            assert asked(clerk, route, [], [], {}).status == 200
