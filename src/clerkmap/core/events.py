"""Clerk's JSON, put into records. The only file that knows the names of Clerk's fields.

Read leniently, for Clerk adds fields and types as it likes, and never by halves: an event either gives all the records
it should, or none and a reason. What is personal and not kept here is not looked at.

    user.*                      a person, stated or deleted
    organization.*              an organization, stated or deleted
    organizationMembership.*    a membership; its organization, stated in full; its person, glimpsed
    session.*                           its person, glimpsed; its end, if it was revoked, ended or removed

Everything else is ignored. All times become milliseconds, and every text one that any database stores.
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
CLOCKS = 300_000  # milliseconds by which Clerk's clock and ours may differ
AHEAD_OF_EVENT = 999  # milliseconds: some envelopes tell whole seconds

_HALF_CHARACTER_OR_NUL = re.compile("[\ud800-\udfff\x00]")
_IDS = {prefix: re.compile(rf"{prefix}_[0-9A-Za-z_-]{{1,120}}") for prefix in ("user", "org", "orgmem", "sess")}
_TYPE = re.compile(r"[0-9A-Za-z_.]{1,100}")


class Unreadable(Exception):
    """Part of an event that must be there is not, or is something else. The text tells which, and quotes nothing."""


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """One thing that Clerk says has happened."""

    type: str
    timestamp: int
    instance_id: str | None
    _data: dict[str, Any] = field(hash=False)

    def records(self, instance: str) -> list[AnyRecord]:
        """What it says, as records of an instance. Raises `Unreadable` if it does not say all that it must."""
        read = READERS.get(self.type)
        if read is None:
            return []
        return read(instance, self._data, self.timestamp, self.timestamp + AHEAD_OF_EVENT)

    def not_after(self, moment: int) -> "Event":
        """Return this event; dated from this moment, if its own timestamp is more than five minutes later."""
        return self if self.timestamp <= moment + CLOCKS else replace(self, timestamp=moment)

    @property
    def is_mirrored(self) -> bool:
        """Whether events of this type are about something that is kept here."""
        return self.type in READERS

    def __repr__(self) -> str:
        return f"Event({self.type!r})"  # never its data: reprs end up in logs


def parse_event(body: bytes | str) -> Event:
    """Read an event's envelope, or raise `WebhookMalformed`."""
    if not isinstance(body, (str, bytes, bytearray)):
        raise WebhookMalformed("a body is bytes or text")
    try:
        raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
        event = read_object(raw.strip(b" \t\r\n"), max_depth=MAX_BODY_DEPTH, half_characters=True)
    except ValueError:
        raise WebhookMalformed("it is not one JSON object in UTF-8") from None
    type_, data, instance_id = event.get("type"), event.get("data"), event.get("instance_id")
    if not isinstance(type_, str) or not _TYPE.fullmatch(type_) or not isinstance(data, dict):
        raise WebhookMalformed("it is no event: type or data is missing")
    if instance_id is not None and not isinstance(instance_id, str):
        raise WebhookMalformed("its instance_id is no text")
    timestamp = _time(event.get("timestamp"))
    if timestamp is None:
        raise WebhookMalformed("its timestamp is no time")
    return Event(type_, timestamp, instance_id, fields(event["data"]))


# Given an instance's name, an event's data, when they were told, and how late an `updated_at` is believed. Raises
# `Unreadable` where they do not say enough.
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
    # It comes with a full body and an old date, and no mark of deletion but the type of the event.
    return _membership(instance, data, observed_at, latest, DELETED)


def _session(instance: str, data: dict[str, Any], observed_at: int, latest: int) -> list[AnyRecord]:
    user = fields(data.get("user"))
    return [_user(instance, user, observed_at, latest, EMBEDDED)] if user else []


def _session_over(instance: str, data: dict[str, Any], observed_at: int, latest: int) -> list[AnyRecord]:
    over = ClerkSession.deleted(instance, _id(data, "sess"), observed_at=observed_at)
    return [*_session(instance, data, observed_at, latest), over]


# `make` takes the fields by any name. Here they are named to the class itself, which takes a fraction of the time.


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
            raise Unreadable("public_user_data is missing: whose membership has ended, nobody has said")
        return [organization]  # the membership will be told again, or sighted
    user_id, organization_id = _id(person, "user", "user_id"), _id(fields(data["organization"]), "org")
    embedded = ClerkUser(
        instance,
        key_of(user_id),
        "",
        user_id,
        # Not `identifier`: it may be an address, and says nothing of whether it is verified.
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
    """The address whose id is the primary one, and no other; verified only where it says so."""
    primary = data.get("primary_email_address_id")
    for address in map(fields, items(data.get("email_addresses"))):
        if primary is not None and address.get("id") == primary:
            email = _exact(address, "email_address")
            status = fields(address.get("verification")).get("status")
            return email, email is not None and status == "verified"
    return None, False


def _is_out(data: Mapping[str, Any]) -> bool:
    """Banned, or shut out by a directory. Not locked: a lock ends by itself, and no event tells when."""
    return data.get("banned") is True or data.get("deprovisioned") is True


def _id(data: Mapping[str, Any], prefix: str, name: str = "id") -> str:
    value = data.get(name)
    if not isinstance(value, str) or not _IDS[prefix].fullmatch(value):
        raise Unreadable(f"{name} is not the id of a {prefix}")
    return value


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    return storable(value)[:MAX_TEXT] if isinstance(value, str) else None


def _exact(data: Mapping[str, Any], name: str) -> str | None:
    """A text that means something only to the letter: cut or mended, it would be another's."""
    value = data.get(name)
    return value if value and value == _text(data, name) else None


def storable(text: str) -> str:
    """The text as every database stores it: without NUL and without half characters."""
    if text.isascii() and "\0" not in text:  # nearly every one: looked at much faster than searched
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
    """When it was last changed, as far as that is believed: nothing changes after it was observed."""
    updated_at = _time(data.get("updated_at")) or 0
    return updated_at if updated_at <= latest else observed_at or latest


def _time(value: object) -> int | None:
    """Milliseconds. Some sources give seconds: no time before 1973 in milliseconds is one that Clerk could mean."""
    if type(value) is not int or not 0 < value <= MAX_TIME:
        return None
    return value * 1000 if value < 100_000_000_000 else value


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
# An object of the API says the same as an event about it.
_API_READERS: dict[Kind, Reader] = {
    "user": _full_user,
    "organization": _full_organization,
    "membership": _full_membership,
}


def records_of(
    kind: Kind, instance: str, row: dict[str, Any], observed_at: int, *, latest: int | None = None
) -> list[AnyRecord]:
    """Return the records in a row of Clerk's API, that of its kind last. Raise `Unreadable` if it says too little.

    An `updated_at` after `latest` is not believed. By default that is five minutes after the request began.
    """
    return _API_READERS[kind](instance, row, observed_at, observed_at + CLOCKS if latest is None else latest)
