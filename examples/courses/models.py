"""The platform's tables, and the users, organizations and members that clerkmap keeps."""

from datetime import datetime

from sqlalchemy import DateTime, ForeignKey, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from clerkmap.adapters.sqlalchemy import MemberMixin, OrganizationMixin, Tables, UserMixin


class Base(DeclarativeBase):
    """The platform's tables, with clerkmap's tables for their foreign keys."""


tables: Tables = Tables(Base.metadata, id_type="uuid")


class User(UserMixin, Base):
    """A user that is not deleted."""

    __table__ = tables.current_users
    id: Mapped[str]


class Organization(OrganizationMixin, Base):
    """An organization that is not deleted: a company that pays for the courses of its members."""

    __table__ = tables.current_organizations
    id: Mapped[str]


class Member(MemberMixin, Base):
    """A user in an organization."""

    __table__ = tables.current_members
    user_id: Mapped[str]
    organization_id: Mapped[str]


class Course(Base):
    """A course that users can enrol in."""

    __tablename__ = "courses"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(unique=True)


class Enrolment(Base):
    """A user in a course. It stays when the user is deleted."""

    __tablename__ = "enrolments"

    course_id: Mapped[int] = mapped_column(ForeignKey("courses.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("clerkmap_users.id"), primary_key=True, index=True)
    enrolled_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
