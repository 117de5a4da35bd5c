"""Roles of your users: which values can be stored, and the role in Clerk's metadata."""

import json

from .records import ClerkUser

MAX_ROLE = 255  # characters


def is_role(role: object) -> bool:
    """Return whether a value is a role that every database can store."""
    return isinstance(role, str) and 0 < len(role) <= MAX_ROLE and role.isprintable()


def role_in_metadata(record: ClerkUser) -> str | None:
    """Return the role in `public_metadata.role`, or None."""
    if '"role"' not in record.public_metadata:
        return None
    role: str | None = json.loads(record.public_metadata).get("role")
    return role if is_role(role) else None
