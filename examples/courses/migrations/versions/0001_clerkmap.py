"""Create clerkmap's tables."""

from alembic import op

from clerkmap.adapters.sqlalchemy import downgrade_to, upgrade_to

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    upgrade_to(op, 1, id_type="uuid")


def downgrade() -> None:
    """Drop them, with all users."""
    downgrade_to(op, 0, id_type="uuid")
