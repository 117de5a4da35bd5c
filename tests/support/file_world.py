"""What is so at a made-up Clerk, written down in the forms that files come in."""

import base64
import csv
import io
import json
from collections.abc import Iterable
from typing import Any

from backfill_world import World
from clerkmap.sync.import_file import FileReport, backfill_file
from clerkmap.testing import Delivery, FakeUser

# The columns of the dashboard's export.
COLUMNS = (
    *("id", "first_name", "last_name", "username", "primary_email_address", "primary_phone_number"),
    *("verified_email_addresses", "unverified_email_addresses", "verified_phone_numbers", "unverified_phone_numbers"),
    *("totp_secret", "password_digest", "password_hasher"),
)


def taken(world: World, file: bytes, **options: Any) -> FileReport:
    """What came of a file whose age nobody knows."""
    return backfill_file(io.BytesIO(file), world.repository, instance=world.clerk.instance, **options)


def objects(world: World) -> list[dict[str, Any]]:
    """Everything that Clerk has, as its API shows it."""
    clerk = world.clerk
    tables = (clerk.users, clerk.organizations, clerk.memberships)
    return [clerk.shape(each) for table in tables for each in table.values()]


def lines(rows: Iterable[object]) -> bytes:
    """JSON lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def heard(delivery: Delivery) -> dict[str, Any]:
    """A delivery as `clerk webhooks listen --json` writes it down."""
    return {
        "headers": delivery.headers,
        "body_b64": base64.b64encode(delivery.body).decode(),
        "svix_id": delivery.headers["svix-id"],
        "event_type": delivery.message.type,
        "forward_status": 502,
    }


def export(*people: FakeUser | dict[str, str]) -> bytes:
    """The dashboard's export of some people, or of rows of your own."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, restval="")
    table.writeheader()
    for each in people:
        table.writerow(_exported(each) if isinstance(each, FakeUser) else each)
    return text.getvalue().encode()


def _exported(person: FakeUser) -> dict[str, str]:
    address = person.email or ""
    return {
        "id": person.id,
        "first_name": person.first_name or "",
        "last_name": person.last_name or "",
        "primary_email_address": address,
        "verified_email_addresses": f"other@example.com|{address}",
        "totp_secret": "c4n4ry",
        "password_digest": "$2a$10$c4n4ry,",
        "password_hasher": "bcrypt",
    }
