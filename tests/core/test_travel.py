"""A principal as plain JSON and back: the very same, or refused. Nothing that is written by hand gets through."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerkmap import ClerkUser, Principal, Resolver
from clerkmap.core.model import Membership, User
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk
from travellers import NOW, principals

PRINCIPALS = principals()
FULL = PRINCIPALS["known in full"]
Path = tuple[str | int, ...]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
FIXED = {"iss", "sub", "sid", "iat", "exp", "nbf", "azp", "jti", "sts", "act", "aud", "v", "o", "client_id", "org_id"}


@pytest.mark.parametrize("name", PRINCIPALS)
def test_who_travels_comes_back_the_same(name: str) -> None:
    """User, organization, membership and claims are equal, and so is all that can be asked of them."""
    principal = PRINCIPALS[name]
    back = Principal.from_dict(json.loads(json.dumps(principal.to_dict())))
    assert back == principal
    assert hash(back.user) == hash(principal.user)
    assert repr(back) == repr(principal)
    for each in ("permissions", "features", "plans", "scopes", "payload", "issuer", "factor_ages", "version"):
        assert getattr(back.claims, each) == getattr(principal.claims, each)
    assert back.actor == principal.actor
    assert type(back.user.id) is type(principal.user.id)


@given(st.dictionaries(texts.filter(lambda name: name not in FIXED), values, max_size=4), values, texts)
def test_what_people_put_into_claims_and_metadata_travels_unchanged(
    claims: dict[str, Any], metadata: Any, name: str
) -> None:
    """Custom claims and metadata are anybody's JSON, and come back to the letter."""
    clerk = FakeClerk(seed=75, clock=Clock(NOW))
    ann, repository = clerk.create_user(), MemoryRepository()
    repository.put([clerk.record(ann, public_metadata={"any": metadata}, first_name=name)])
    resolver = Resolver(clerk.instance, repository, verifier=clerk.verifier())
    principal = resolver.resolve(clerk.token(ann, claims={each: value for each, value in claims.items() if value}))
    back = Principal.from_dict(json.loads(json.dumps(principal.to_dict())))
    assert back == principal
    # Equal is not enough: 1, 1.0 and True are.
    assert repr(back.claims.payload) == repr(principal.claims.payload)


def test_no_token_is_in_it() -> None:
    """What stands in a queue cannot be used to sign in."""
    clerk = FakeClerk(seed=76)
    token = clerk.token(clerk.create_user())
    written = json.dumps(Resolver(clerk.instance, MemoryRepository()).resolve(token).to_dict())
    assert not any(part in written for part in token.split("."))


def test_the_form_is_written_down() -> None:
    """What is in a queue today is read by tomorrow's version: the names and their places are pinned here."""
    told = FULL.to_dict()
    assert list(told) == ["version", "user", "organization", "membership", "claims", "role_is_known"]
    assert told["version"] == 1
    assert list(told["user"]) == ["id", "role", "created_at", "deleted_at", "clerk"]
    assert list(told["organization"]) == ["id", "clerk"]
    assert list(told["membership"]) == ["clerk"]
    assert list(told["claims"]) == ["kind", "instance", "payload"]
    record = ["instance", "key", "rank", "clerk_id"]
    profile = ["email", "email_verified", "first_name", "last_name", "username", "image_url", "external_id", "banned"]
    assert list(told["user"]["clerk"]) == [*record, *profile, "public_metadata", "created_at"]
    named = ["name", "slug", "image_url", "public_metadata", "created_at"]
    assert list(told["organization"]["clerk"]) == [*record, *named]
    assert list(told["membership"]["clerk"]) == [*record, "user_key", "organization_key", "role", "created_at"]


def test_nobody_writes_into_a_principal_through_its_dictionary() -> None:
    """The dictionary is a copy, in both directions."""
    told = FULL.to_dict()
    back = Principal.from_dict(told)
    told["claims"]["payload"]["o"]["rol"] = "owner"
    told["user"]["clerk"]["email"] = "eve@example.com"
    assert back == FULL


def test_a_place_of_a_person_whose_clerk_id_is_not_known_travels() -> None:
    """A membership that only tokens have told of has no id at Clerk."""
    from_token = PRINCIPALS["only sighted"]
    assert isinstance(from_token.membership, Membership)
    assert from_token.membership.clerk_id is None
    assert isinstance(from_token.user, User)
    assert isinstance(from_token.user.clerk, ClerkUser)
