"""Serialization of a principal: as plain JSON for a job queue or another process, and back.

`unpack` reads as strictly as the verifier reads a token. It derives the claims from the token's payload again, and the
user, organization and membership must be the ones in the claims. It does not prove the writer; `seal` does.
"""

import json
import re
from collections.abc import Collection
from typing import Any, TypeVar, cast

from ..errors import ClerkmapError, PrincipalRefused
from .claims import Claims, TokenKind, read_claims
from .events import MAX_BODY_DEPTH
from .model import Id, Membership, Organization, User
from .records import COLUMNS, DELETED, MAX_TIME, ClerkMembership, ClerkOrganization, ClerkUser, Record, key_of
from .strict_json import MAX_DEPTH as MAX_DEPTH_OF_CLAIMS
from .strict_json import fields, read_object
from .times import to_datetime, to_milliseconds

R = TypeVar("R", bound=Record)
VERSION = 1
MAX_SIZE = 1_048_576  # characters of JSON; a principal with full metadata has about 50,000
MAX_DEPTH = MAX_DEPTH_OF_CLAIMS + 2  # the claims are two levels deep

Parts = tuple[User | None, Organization | None, Membership | None, Claims, bool]
_PARTS = ("version", "user", "organization", "membership", "claims", "role_is_known")

_RANK = re.compile(r"[0-3]\.[0-9]{15}\.[0-9]{15}\.[0-9a-f]{32}")
_KINDS: tuple[TokenKind, ...] = (
    "session",
    "oauth",
    "api_key",
    "organization_api_key",
    "oidc",
)  # no machines
# The fields of records by their type. All other fields are strings or None.
_FLAGS = frozenset({"email_verified", "banned"})
_TIMES = frozenset({"created_at"})
_NEEDED = frozenset({"instance", "key", "rank", "user_key", "organization_key", "public_metadata"})


def pack(
    user: User | None,
    organization: Organization | None,
    membership: Membership | None,
    claims: Claims,
    role_is_known: bool,
) -> dict[str, Any]:
    """Return the parts of a principal as plain JSON. It does not contain the token."""
    return {
        "version": VERSION,
        "user": user and _packed(user),
        "organization": organization and {"id": organization.id, "clerk": _told(organization.clerk)},
        "membership": membership and {"clerk": _told(membership.clerk)},
        "claims": {"kind": claims.kind, "instance": claims.instance, "payload": claims.payload},
        "role_is_known": role_is_known,
    }


def _packed(user: User) -> dict[str, Any]:
    deleted_at = None if user.deleted_at is None else to_milliseconds(user.deleted_at)
    own = {"id": user.id, "role": user.role, "created_at": to_milliseconds(user.created_at), "deleted_at": deleted_at}
    return own | {"clerk": _told(user.clerk)}


def unpack(value: object) -> Parts:
    """Return the parts of a packed principal, or raise `PrincipalRefused`."""
    whole = _members(_plain(value), _PARTS)
    if whole["version"] != VERSION or type(whole["version"]) is not int:
        raise PrincipalRefused("another version of clerkmap wrote it")
    claims = _claims(whole["claims"])
    user = None if whole["user"] is None else _user(whole["user"])
    organization = None if whole["organization"] is None else _organization(whole["organization"])
    membership = None if whole["membership"] is None else _membership(whole["membership"])
    if not _belong_together(user, organization, membership, claims):
        raise PrincipalRefused("its parts belong to different principals")
    role_is_known = whole["role_is_known"]
    if type(role_is_known) is not bool or not (role_is_known or (user is not None and user.role is None)):
        raise PrincipalRefused("role_is_known must be true or false, and false only for a user without a role")
    return user, organization, membership, claims, role_is_known


def write(value: dict[str, Any]) -> str:
    """Return a packed principal as JSON text."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    if len(text) > MAX_SIZE:
        raise PrincipalRefused(f"it has more than {MAX_SIZE} characters")
    return text


def _plain(value: object) -> dict[str, Any]:
    """Return the value after a round trip through JSON: without other types, circles and great depth."""
    if type(value) is not dict:
        raise PrincipalRefused("it must be a dictionary")
    try:
        return read_object(write(cast(dict[str, Any], value)).encode(), max_depth=MAX_DEPTH)
    except (TypeError, ValueError, RecursionError):
        raise PrincipalRefused("it is not plain JSON") from None


def _members(value: object, names: Collection[str]) -> dict[str, Any]:
    found = fields(value)
    if found.keys() != set(names):
        raise PrincipalRefused("a field is missing or unknown")
    return found


def _claims(value: object) -> Claims:
    told = _members(value, ("kind", "instance", "payload"))
    kind, instance, payload = told["kind"], told["instance"], fields(told["payload"])
    if kind not in _KINDS or type(instance) is not str or type(payload.get("iss")) is not str:
        raise PrincipalRefused("its claims")
    try:
        return read_claims(kind, instance, payload)
    except ClerkmapError:
        raise PrincipalRefused("its claims") from None


def _user(value: object) -> User:
    told = _members(value, ("id", "role", "created_at", "deleted_at", "clerk"))
    role, created_at, deleted_at = told["role"], told["created_at"], told["deleted_at"]
    if role is not None and type(role) is not str:
        raise PrincipalRefused("the user's role is invalid")
    if type(created_at) is not int or not 0 <= created_at <= MAX_TIME or deleted_at is not None:
        raise PrincipalRefused("the user's dates are invalid")
    return User(_id(told["id"]), role, to_datetime(created_at), None, _record(ClerkUser, told["clerk"]))


def _organization(value: object) -> Organization:
    told = _members(value, ("id", "clerk"))
    return Organization(_id(told["id"]), _record(ClerkOrganization, told["clerk"]))


def _membership(value: object) -> Membership:
    return Membership(_record(ClerkMembership, _members(value, ("clerk",))["clerk"]))


def _id(value: object) -> Id:
    if isinstance(value, (str, int)) and type(value) is not bool and value != "":
        return value
    raise PrincipalRefused("an id")


def _told(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in COLUMNS[record.kind]}


def _record(kind: type[R], value: object) -> R:
    told = _members(value, COLUMNS[kind.kind])
    if not all(_may_be(name, each) for name, each in told.items()):
        raise PrincipalRefused("a record has an invalid field")
    record = kind(**told)
    if not _RANK.fullmatch(record.rank) or record.grade == DELETED:
        raise PrincipalRefused("a record has an invalid rank")
    return record


def _may_be(name: str, value: object) -> bool:
    if name in _FLAGS:
        return type(value) is bool
    if name in _TIMES:
        return value is None or type(value) is int
    if name == "public_metadata" and type(value) is str:
        return _is_object(value)
    return type(value) is str or (value is None and name not in _NEEDED)


def _is_object(text: str) -> bool:
    try:
        read_object(text.encode(), max_depth=MAX_BODY_DEPTH, half_characters=True)
    except ValueError:
        return False
    return True


def _belong_together(
    user: User | None, organization: Organization | None, membership: Membership | None, claims: Claims
) -> bool:
    """Return whether the resolver could have returned these parts as one principal."""
    person = claims.instance, key_of(claims.subject)
    if user is None or claims.kind == "organization_api_key":
        called = organization and (organization.clerk.instance, organization.clerk.key)
        return (claims.kind, user, membership, called) == ("organization_api_key", None, None, person)
    if (user.clerk.instance, user.clerk.key) != person or user.clerk.banned:
        return False
    if claims.organization is None or organization is None or membership is None:
        return (claims.organization, organization, membership) == (None, None, None)
    place = claims.instance, key_of(claims.organization.id)
    ends = membership.clerk.user_key, membership.clerk.organization_key
    return (
        (organization.clerk.instance, organization.clerk.key) == place
        and membership.clerk.instance == claims.instance
        and ends == (person[1], place[1])
    )
