"""Events: Clerk's JSON as records. No other file uses the names of Clerk's fields.

Unknown fields and types are ignored, because Clerk adds new ones. An event gives all of its records, or none and a
reason. Personal data that clerkmap does not store is never read.

    user.*                      a user, full or deleted
    organization.*              an organization, full or deleted
    organizationMembership.*    a membership; its organization, full; its user, embedded
    session.*                   its user, embedded; its end, if it was revoked, ended or removed

All times become milliseconds, and every text becomes one that every database can store.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from ..errors import WebhookMalformed
from .claims import prefixed
from .records import (
    DELETED,
    EMBEDDED,
    FULL,
    MAX_TIME,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    ClerkSession,
    ClerkUser,
    Grade,
    Kind,
    json_text,
    key_of,
)
from .strict_json import fields, items, read_object

MAX_TEXT = 1_000  # characters of a name, an address, a URL; Clerk's own limits are lower
MAX_METADATA = 65_536  # characters of JSON; Clerk allows 8 KiB
MAX_BODY_DEPTH = 128
# As milliseconds they are before 1973, when there was no Clerk.
_SECONDS = range(100_000_000, 100_000_000_000)
CLOCKS = 300_000  # milliseconds by which Clerk's clock and ours may differ
AHEAD_OF_EVENT = 999  # milliseconds: some envelopes have whole seconds

_HALF_CHARACTER_OR_NUL = re.compile("[\ud800-\udfff\x00]")
_IDS = {prefix: re.compile(rf"{prefix}_[0-9A-Za-z_-]{{1,120}}") for prefix in ("user", "org", "orgmem", "sess")}
_TYPE = re.compile(r"[0-9A-Za-z_.]{1,100}")


class Unreadable(Exception):
    """A required part of an event is missing or has a wrong type. The text names the part, and quotes no input."""


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """One event of Clerk's webhooks. `timestamp` is in milliseconds since 1970, like the times of its records."""

    type: str
    timestamp: int
    instance_id: str | None
    _data: dict[str, Any] = field(hash=False)

    def records(self, instance: str) -> list[AnyRecord]:
        """Return the event's records. Raise `Unreadable` if a required part is missing."""
        read = READERS.get(self.type)
        if read is None:
            return []
        return read(instance, self._data, self.timestamp, self.timestamp + AHEAD_OF_EVENT)

    def payload(self) -> dict[str, Any]:
        """Return a copy of the event's data, with texts that every database can store."""
        copied: dict[str, Any] = _storable_all(self._data)
        return copied

    def not_after(self, moment: int) -> "Event":
        """Return this event, with this moment as its timestamp if its own is more than five minutes later."""
        return self if self.timestamp <= moment + CLOCKS else replace(self, timestamp=moment)

    @property
    def is_mirrored(self) -> bool:
        """Whether events of this type become records."""
        return self.type in READERS

    def __repr__(self) -> str:
        return f"Event({self.type!r})"  # never its data: reprs end up in logs


def parse_event(body: bytes | str) -> Event:
    """Read an event's envelope, or raise `WebhookMalformed`."""
    if not isinstance(body, (str, bytes, bytearray)):
        raise WebhookMalformed("the body must be bytes or str")
    try:
        raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
        event = read_object(raw.strip(b" \t\r\n"), max_depth=MAX_BODY_DEPTH, half_characters=True)
    except ValueError:
        raise WebhookMalformed("the body must be one JSON object in UTF-8") from None
    type_, data, instance_id = event.get("type"), event.get("data"), event.get("instance_id")
    if not isinstance(type_, str) or not _TYPE.fullmatch(type_) or not isinstance(data, dict):
        raise WebhookMalformed("the event has no type or no data")
    if instance_id is not None and not isinstance(instance_id, str):
        raise WebhookMalformed("instance_id must be a string")
    timestamp = _time(event.get("timestamp"))
    if timestamp is None:
        raise WebhookMalformed("timestamp must be a number of milliseconds")
    return Event(type_, timestamp, instance_id, fields(event["data"]))


# Takes an instance's name, an event's data, the time of the observation, and the latest credible `updated_at`. Raises
# `Unreadable` if a required part is missing.
Reader = Callable[[str, dict[str, Any], int, int], list[AnyRecord]]


def _full_user(instance: str, data: dict[str, Any], observed_at: int, latest: int) -> list[AnyRecord]:
    return [_user(instance, data, observed_at, latest, FULL)]


def _deleted_user(instance: str, data: dict[str, Any], observed_at: int, latest: int) -> list[AnyRecord]:
    return [ClerkUser.deleted(instance, _id(data, "user"), observed_at=observed_at)]


def _full_organization(instance: str, data: dict[str, Any], observed_at: int, latest: int) -> list[AnyRecord]:
    return [_organization(instance, data, observed_at, latest)]


def _deleted_organization(instance: str, data: dict[str, Any], observed_at: int, latest: int) -> list[AnyRecord]:
    return [ClerkOrganization.deleted(instance, _id(data, "org"), observed_at=observed_at)]


def _full_membership(instance: str, data: dict[str, Any], observed_at: int, latest: int) -> list[AnyRecord]:
    return _membership(instance, data, observed_at, latest, FULL)


def _deleted_membership(instance: str, data: dict[str, Any], observed_at: int, latest: int) -> list[AnyRecord]:
    # The data is a full membership with an old date. Only the type of the event says that it was deleted.
    return _membership(instance, data, observed_at, latest, DELETED)


def _session(instance: str, data: dict[str, Any], observed_at: int, latest: int) -> list[AnyRecord]:
    user = fields(data.get("user"))
    return [_user(instance, user, observed_at, latest, EMBEDDED)] if user else []


def _session_over(instance: str, data: dict[str, Any], observed_at: int, latest: int) -> list[AnyRecord]:
    over = ClerkSession.deleted(instance, _id(data, "sess"), observed_at=observed_at)
    return [*_session(instance, data, observed_at, latest), over]


# The constructors below are called directly, which is several times faster than `make`.


def _user(instance: str, data: dict[str, Any], observed_at: int, latest: int, grade: Grade) -> ClerkUser:
    clerk_id = _id(data, "user")
    email, verified = _primary_email(data)
    user = ClerkUser(
        instance,
        key_of(clerk_id),
        "",
        clerk_id,
        email=email,
        email_verified=verified,
        first_name=_text(data, "first_name"),
        last_name=_text(data, "last_name"),
        username=_text(data, "username"),
        image_url=_text(data, "image_url"),
        external_id=_exact(data, "external_id"),
        banned=_is_out(data),
        public_metadata=_metadata(data),
        created_at=_time(data.get("created_at")),
    )
    return user.ranked(grade, _updated_at(data, observed_at, latest), observed_at)


def _organization(instance: str, data: dict[str, Any], observed_at: int, latest: int) -> ClerkOrganization:
    clerk_id = _id(data, "org")
    organization = ClerkOrganization(
        instance,
        key_of(clerk_id),
        "",
        clerk_id,
        name=_text(data, "name"),
        slug=_text(data, "slug"),
        image_url=_text(data, "image_url"),
        public_metadata=_metadata(data),
        created_at=_time(data.get("created_at")),
    )
    return organization.ranked(FULL, _updated_at(data, observed_at, latest), observed_at)


def _membership(instance: str, data: dict[str, Any], observed_at: int, latest: int, grade: Grade) -> list[AnyRecord]:
    organization = _organization(instance, fields(data.get("organization")), observed_at, latest)
    person = fields(data.get("public_user_data"))
    if not person:
        if grade == DELETED:
            raise Unreadable("public_user_data is missing, so the membership's user is unknown")
        return [organization]  # a later event or a token names the membership again
    user_id, organization_id = _id(person, "user", "user_id"), _id(fields(data["organization"]), "org")
    embedded = ClerkUser(
        instance,
        key_of(user_id),
        "",
        user_id,
        # Not `identifier`: it may be an address that is not verified.
        first_name=_text(person, "first_name"),
        last_name=_text(person, "last_name"),
        username=_text(person, "username"),
        image_url=_text(person, "image_url"),
        banned=_is_out(person),
    )
    created_at = _time(data.get("created_at"))
    if grade == DELETED:
        membership = ClerkMembership.deleted(
            instance,
            _id(data, "orgmem"),
            clerk_user_id=user_id,
            clerk_organization_id=organization_id,
            observed_at=observed_at,
            created_at=created_at,
        )
    else:
        role = _text(data, "role")
        membership = ClerkMembership.full(
            instance,
            _id(data, "orgmem"),
            clerk_user_id=user_id,
            clerk_organization_id=organization_id,
            role=prefixed(role) if role else None,
            observed_at=observed_at,
            updated_at=_updated_at(data, observed_at, latest),
            created_at=created_at,
        )
    return [organization, embedded.ranked(EMBEDDED, 0, observed_at), membership]


def _primary_email(data: Mapping[str, Any]) -> tuple[str | None, bool]:
    """Return the address with the primary id, and whether it is verified."""
    primary = data.get("primary_email_address_id")
    for address in map(fields, items(data.get("email_addresses"))):
        if primary is not None and address.get("id") == primary:
            email = _exact(address, "email_address")
            status = fields(address.get("verification")).get("status")
            return email, email is not None and status == "verified"
    return None, False


def _is_out(data: Mapping[str, Any]) -> bool:
    """Return whether a user is banned or deprovisioned. A lock does not count: it ends without an event."""
    return data.get("banned") is True or data.get("deprovisioned") is True


def _id(data: Mapping[str, Any], prefix: str, name: str = "id") -> str:
    value = data.get(name)
    if not isinstance(value, str) or not _IDS[prefix].fullmatch(value):
        raise Unreadable(f"{name} must be a Clerk id that begins with {prefix}_")
    return value


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    return storable(value)[:MAX_TEXT] if isinstance(value, str) else None


def _exact(data: Mapping[str, Any], name: str) -> str | None:
    """Return a text, or None if it would have to be cut or changed, because it would name another user then."""
    value = data.get(name)
    return value if value and value == _text(data, name) else None


def storable(text: str) -> str:
    """Return the text without NUL and halves of surrogate pairs, so that every database can store it."""
    if text.isascii() and "\0" not in text:  # a fast path for nearly all texts
        return text
    return _HALF_CHARACTER_OR_NUL.sub("\ufffd", text)


def _metadata(data: Mapping[str, Any]) -> str:
    metadata = fields(data.get("public_metadata"))
    if not metadata:
        return "{}"
    text = json_text(_storable_all(metadata))
    return text if len(text) <= MAX_METADATA else "{}"


def _storable_all(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(name): _storable_all(each) for name, each in cast(dict[str, Any], value).items()}
    if isinstance(value, list):
        return [_storable_all(each) for each in cast(list[Any], value)]
    return value


def _updated_at(data: Mapping[str, Any], observed_at: int, latest: int) -> int:
    """Return `updated_at`, or the time of the observation if `updated_at` is later: that cannot be true."""
    updated_at = _time(data.get("updated_at")) or 0
    return updated_at if updated_at <= latest else observed_at or latest


def _time(value: object) -> int | None:
    """Return a time in milliseconds, or None. The seconds of the years from 1973 on are converted."""
    if type(value) is not int or not 0 < value <= MAX_TIME:
        return None
    return value * 1000 if value in _SECONDS else value


READERS: dict[str, Reader] = {
    "user.created": _full_user,
    "user.updated": _full_user,
    "user.deleted": _deleted_user,
    "organization.created": _full_organization,
    "organization.updated": _full_organization,
    "organization.deleted": _deleted_organization,
    "organizationMembership.created": _full_membership,
    "organizationMembership.updated": _full_membership,
    "organizationMembership.deleted": _deleted_membership,
    "session.created": _session,
    "session.pending": _session,
    "session.ended": _session_over,
    "session.removed": _session_over,
    "session.revoked": _session_over,
}
# An object of the API has the fields of an event's data.
_API_READERS: dict[Kind, Reader] = {
    "user": _full_user,
    "organization": _full_organization,
    "membership": _full_membership,
}


def records_of(
    kind: Kind, instance: str, row: dict[str, Any], observed_at: int, *, latest: int | None = None
) -> list[AnyRecord]:
    """Return the records in an object of Clerk's API. The record of the object itself is the last one.

    Raise `Unreadable` if a required part is missing. An `updated_at` after `latest` is replaced. `latest` is five
    minutes after the request began by default.
    """
    return _API_READERS[kind](instance, row, observed_at, observed_at + CLOCKS if latest is None else latest)
