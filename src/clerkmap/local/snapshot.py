"""The state at one moment, as JSON for the page."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..core.strict_json import fields
from ..testing import FakeOrganization, FakeUser, Message
from .clerk import LocalClerk
from .demo import TABLES
from .instance import Box
from .serialization import to_plain

MOST_MESSAGES = 200
MOST_ROWS = 200

Json = dict[str, Any]


def snapshot(box: Box, address: str) -> Json:
    """Return the content of all three panes."""
    return {
        "clerk": _clerk(box.clerk, address),
        "wire": {"chaos": to_plain(box.postman.chaos), "messages": _messages(box)},
        "database": {"path": str(box.demo.path), "tables": tables(box.demo.path)},
        "forward": None if box.forward is None else box.forward.url,
    }


def environment(clerk: LocalClerk, address: str) -> dict[str, str]:
    """Return the variables that connect an application to this Clerk. The key is one line, for copy and paste."""
    key = "".join(line for line in clerk.key.pem().splitlines() if not line.startswith("-----"))
    return clerk.environment() | {"CLERK_JWT_KEY": key, "CLERK_API_URL": address}


def _clerk(clerk: LocalClerk, address: str) -> Json:
    with clerk.store.changing:
        return {
            "publishable_key": clerk.publishable_key,
            "issuer": clerk.issuer,
            "clock": int(clerk.clock() * 1000),
            "environment": environment(clerk, address),
            "users": [_user(clerk, each) for each in clerk.users.values()],
            "organizations": [_organization(clerk, each) for each in clerk.organizations.values()],
            "roles": list(clerk.roles),
        }


def _user(clerk: LocalClerk, user: FakeUser) -> Json:
    address = user.primary_address
    return {
        "id": user.id,
        "email": user.email,
        "verified": address is not None and address.verified,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "name": name_of(user),
        "banned": user.banned,
        "locked": user.locked,
        "created_at": user.created_at,
        "memberships": [
            {
                "organization": each.organization_id,
                "name": clerk.organizations[each.organization_id].name,
                "role": each.role,
            }
            for each in clerk.memberships_of(user)
        ],
        "sessions": [
            {"id": each.id, "status": each.status, "organization": each.organization_id}
            for each in clerk.sessions_of(user)
        ],
    }


def _organization(clerk: LocalClerk, organization: FakeOrganization) -> Json:
    return {
        "id": organization.id,
        "name": organization.name,
        "slug": organization.slug,
        "members": [
            {"user": each.user_id, "name": name_of(clerk.users[each.user_id]), "role": each.role}
            for each in clerk.members_of(organization)
        ],
        "invitations": [
            {"id": each.id, "email": each.email, "role": each.role, "status": each.status}
            for each in clerk.invitations_to(organization)
        ],
    }


def name_of(user: FakeUser) -> str:
    """Return the name of a user, or else an address or id."""
    return " ".join(part for part in (user.first_name, user.last_name) if part) or user.identifier or user.id


def _messages(box: Box) -> list[Json]:
    """Return the events, newest first."""
    names: dict[str, str] = {}
    messages = list(box.clerk.wire.messages.values())
    bodies = [fields(json.loads(each.body)) for each in messages]
    told = [_message(box, message, body, names) for message, body in zip(messages, bodies, strict=True)]
    return told[: -MOST_MESSAGES - 1 : -1]


def _message(box: Box, message: Message, body: Json, names: dict[str, str]) -> Json:
    return {
        "id": message.id,
        "type": message.type,
        "about": about(message.type, fields(body.get("data")), names),
        "state": message.state,
        "at": body.get("timestamp"),
        "due": int(message.due * 1000) if message.state == "waiting" else None,
        "attempts": [{"at": int(each.at * 1000), "status": each.status} for each in message.attempts],
        "body": body,
        "outcomes": to_plain(box.postman.outcomes.get(message.id, [])),
    }


def about(type: str, data: Json, names: dict[str, str]) -> str:
    """Return the subject of an event in words. A deleted subject keeps its last name; see `names`."""
    id = str(data.get("id", ""))
    kind = type.partition(".")[0]
    if kind == "organizationMembership":
        person = fields(data.get("public_user_data"))
        return f"{_called(person, names) or 'a user'} in {fields(data.get('organization')).get('name')}"
    if kind == "session":
        return names.get(str(data.get("user_id")), id)
    name = data.get("email_address") if kind == "organizationInvitation" else data.get("name") or _called(data, names)
    names[id] = str(name or names.get(id) or id)
    return names[id]


def _called(person: Json, names: dict[str, str]) -> str | None:
    primary = person.get("primary_email_address_id")
    addresses: list[Any] = person.get("email_addresses") or []
    email = next((fields(each).get("email_address") for each in addresses if fields(each).get("id") == primary), None)
    name = " ".join(part for part in (person.get("first_name"), person.get("last_name")) if part)
    return name or email or person.get("identifier") or names.get(str(person.get("user_id")))


def tables(path: Path) -> list[Json]:
    """Return the present rows, read with plain SQL."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            return [_table(connection, f"clerkmap_{name}") for name in TABLES]
    except sqlite3.Error:  # the file was removed
        return []


def _table(connection: sqlite3.Connection, name: str) -> Json:
    cursor = connection.execute(f"SELECT * FROM {name} LIMIT {MOST_ROWS}")
    rows = [list(row) for row in cursor]
    ((count,),) = connection.execute(f"SELECT count(*) FROM {name}").fetchall()
    return {"name": name, "columns": [column[0] for column in cursor.description], "rows": rows, "count": count}
