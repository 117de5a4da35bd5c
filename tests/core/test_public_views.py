"""The public views of users, organizations and members: what may be sent to other users, and nothing else."""

import json
from dataclasses import asdict, fields
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from flask import Flask, jsonify
from pydantic import TypeAdapter, ValidationError

from clerkmap import Member, Organization, PublicMember, PublicOrganization, PublicUser, Reconciler, User
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk

SECRET = "a-secret"


def member() -> Member[Any]:
    """A member whose every field that is not public has a secret in it."""
    clerk, repository = FakeClerk(seed=33), MemoryRepository()
    private: dict[str, Any] = {"private_metadata": {"a": SECRET}, "unsafe_metadata": {"a": SECRET}}
    ada = clerk.create_user(
        f"{SECRET}@example.com",
        first_name="Ada",
        last_name="Lovelace",
        username=SECRET,
        external_id=SECRET,
        public_metadata={"role": SECRET},
        **private,
    )
    clerk.create_organization("Acme", created_by=ada, public_metadata={"a": SECRET})
    for delivery in clerk.deliveries():
        Reconciler(clerk.instance, repository).receive(delivery.headers, delivery.body)
    standing = repository.find(clerk.instance.name, ada.id)
    assert standing is not None
    (found,) = repository.organizations_of(standing.user.id)
    assert found.user.role == found.user.clerk.username == SECRET
    return found


MEMBER = member()
VIEW = {
    "user": {"id": MEMBER.user.id, "name": "Ada Lovelace", "image_url": MEMBER.user.clerk.image_url},
    "organization": {
        "id": MEMBER.organization.id,
        "name": "Acme",
        "slug": "acme",
        "image_url": MEMBER.organization.clerk.image_url,
    },
    "role": "org:admin",
}
ROWS = [(MEMBER.user, VIEW["user"]), (MEMBER.organization, VIEW["organization"]), (MEMBER, VIEW)]
row_and_view = pytest.mark.parametrize(("row", "view"), ROWS, ids=["user", "organization", "member"])


@row_and_view
def test_a_view_has_the_public_fields_only(row: User | Organization | Member, view: object) -> None:
    """No address, user name, role of the application, metadata or id at Clerk."""
    text = json.dumps(asdict(row.public))
    assert json.loads(text) == view
    assert SECRET not in text
    for clerk_id in (MEMBER.user.clerk_id, MEMBER.organization.clerk_id):
        assert f'"{clerk_id}"' not in text


@row_and_view
def test_flask_and_fastapi_send_it_as_json(row: User | Organization | Member, view: object) -> None:
    """Both know dataclasses, and FastAPI's response models take the row itself, too."""
    with Flask("app").test_request_context():
        assert jsonify(row.public).json == view
    app = FastAPI()
    app.add_api_route("/view", lambda: row.public)
    app.add_api_route("/row", lambda: row, response_model=type(row.public))
    app.add_api_route("/rows", lambda: [row], response_model=list[type(row.public)])  # type: ignore[misc]
    client = TestClient(app)
    assert client.get("/view").json() == client.get("/row").json() == view
    assert client.get("/rows").json() == [view]


@pytest.mark.parametrize("view", [PublicUser, PublicOrganization, PublicMember])
def test_openapi_has_the_fields(view: type) -> None:
    """Its schema is that of a Pydantic model, and it reads its own JSON."""
    schema = TypeAdapter(view).json_schema()
    assert schema["title"] == view.__name__
    assert list(schema["properties"]) == schema["required"] == [field.name for field in fields(view)]
    with pytest.raises(ValidationError):
        TypeAdapter(view).validate_python(object())
    views: dict[type, Any] = {PublicUser: MEMBER.user.public, PublicOrganization: MEMBER.organization.public}
    own = views.get(view, MEMBER.public)
    assert TypeAdapter(view).validate_json(json.dumps(asdict(own))) == own
