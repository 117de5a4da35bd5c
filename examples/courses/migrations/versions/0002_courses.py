"""Create the courses and enrolments."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "courses",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("title", sa.String(), nullable=False, unique=True),
    )
    op.create_table(
        "enrolments",
        sa.Column("course_id", sa.Integer(), sa.ForeignKey("courses.id"), primary_key=True),
        sa.Column("user_id", sa.Uuid(), sa.ForeignKey("clerkmap_users.id"), primary_key=True),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
    )
    op.create_index("ix_enrolments_user_id", "enrolments", ["user_id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("enrolments")
    op.drop_table("courses")
