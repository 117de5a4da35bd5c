"""Hooks that keep hotels and staff in the application's own tables, in the transaction of each change.

The hooks get every change, from webhooks, tokens and backfills. They get it once and in order: clerkmap handles a
membership that comes before its hotel, and a delivery that comes twice.
"""

import sqlite3

from clerkmap import Change

DEPARTMENTS = ("Reception", "Housekeeping", "Kitchen")
TABLES = """
CREATE TABLE IF NOT EXISTS hotels (
    id TEXT PRIMARY KEY REFERENCES clerkmap_organizations (id),
    name TEXT,
    closed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS departments (hotel_id TEXT NOT NULL REFERENCES hotels (id), name TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS staff (
    hotel_id TEXT NOT NULL REFERENCES hotels (id),
    user_id TEXT NOT NULL REFERENCES clerkmap_users (id),
    role TEXT,
    left_it INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hotel_id, user_id)
) STRICT;
"""


def keep_hotels(change: Change, tx: sqlite3.Connection) -> None:
    """Create, rename and close a hotel when its organization is created, changed or deleted."""
    if not change.is_organization or change.organization is None:
        return
    id, name = change.organization.id, change.organization.name
    if change.made:
        tx.execute("INSERT INTO hotels (id, name) VALUES (?, ?)", (id, name))
        tx.executemany("INSERT INTO departments VALUES (?, ?)", [(id, each) for each in DEPARTMENTS])
    elif change.deleted:
        tx.execute("UPDATE hotels SET closed = 1 WHERE id = ?", (id,))
    else:
        tx.execute("UPDATE hotels SET name = ? WHERE id = ?", (name, id))


def keep_staff(change: Change, tx: sqlite3.Connection) -> None:
    """Add, change and remove staff when a membership is created, changed or deleted."""
    if change.membership is None or change.organization is None or change.user is None:
        return
    row = (change.organization.id, change.user.id, change.membership.role, change.deleted)
    tx.execute(
        "INSERT INTO staff VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET role = excluded.role, left_it = excluded.left_it",
        row,
    )
