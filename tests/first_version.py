"""The tables as the first version of clerkmap made them, with a row in each: what later versions must find, and keep.

The script is the one that Django's first migration has written down. It has been released, and is never touched again.
"""

import importlib
from typing import Any

initial = importlib.import_module("clerkmap.adapters.django.migrations.0001_initial")
# SHA-256 of the two scripts.
RELEASED = {
    "sqlite": "9da37626c062e50480341016358d7147eccf0fa375230b746aa1fc839da3252b",
    "postgresql": "76905a7162b916c8131ad4b619ee6a9bd6ed115db35038138b50746a3f2d8b06",
}
YOURS: dict[str, Any] = {"text": "mine", "bigint": 7, "uuid": "01900000-0000-7000-8000-000000000000"}
TABLES = ("users", "identities", "organizations", "memberships", "sessions")

_STATED = "2.000000000000001.000000000000001." + "0" * 32
_DELETED = "3.000000000000000.000000000000009." + "0" * 32
_ROWS = f"""
INSERT INTO clerkmap_users (id, role, role_rank, created_at) VALUES ({{id}}, 'author', '{_STATED}', 1000);
INSERT INTO clerkmap_identities (instance, key, rank, clerk_id, email, email_verified, first_name, banned,
    public_metadata, created_at, user_id) VALUES ('here', '461b83412e6e1d2a429a1c16effee14e', '{_STATED}', 'user_ann',
    'ann@example.com', TRUE, 'Ann', FALSE, '{{{{"role":"author"}}}}', 5, {{id}});
INSERT INTO clerkmap_organizations (id, instance, key, rank, clerk_id, name, public_metadata)
    VALUES ({{id}}, 'here', '1203a60cecf56c9a9bf45173733dbaf9', '{_STATED}', 'org_acme', 'Acme', '{{{{}}}}');
INSERT INTO clerkmap_memberships (instance, key, rank, clerk_id, user_key, organization_key, role)
    VALUES ('here', 'a40ae58d557b91d82e5815015b1b4791', '{_STATED}', 'orgmem_1', '461b83412e6e1d2a429a1c16effee14e',
    '1203a60cecf56c9a9bf45173733dbaf9', 'org:admin');
INSERT INTO clerkmap_sessions (instance, key, rank)
    VALUES ('here', '466482fabc5c62924f83512f8e48175c', '{_DELETED}');
"""


def statements(vendor: str, id_type: str) -> list[str]:
    """What made the tables, and a row in each."""
    filled = _ROWS.format(id=repr(YOURS[id_type]))
    return [*initial.statements(vendor, id_type), *filled.strip().removesuffix(";").split(";\n")]


def script(vendor: str, id_type: str) -> str:
    """The same as one text."""
    return ";\n".join(statements(vendor, id_type)) + ";\n"
