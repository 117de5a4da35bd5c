"""A course platform on FastAPI, SQLAlchemy and Alembic: its users are clerkmap's rows.

    export DATABASE_URL=postgresql+asyncpg://localhost/courses  # or postgresql+psycopg://
    alembic --config examples/courses/alembic.ini upgrade head
    uvicorn --factory examples.courses.app:create_app

Clerk's environment variables configure the instance. A role is `user` or `admin`. The first one is that of Clerk's
`public_metadata.role`, and administrators change it.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from clerkmap import ClerkUser, Instance, Reconciler, Resolver, WriteBack, role_in_metadata
from clerkmap import Organization as Company
from clerkmap import User as Caller
from clerkmap.adapters.fastapi import Clerk, webhook
from clerkmap.clerk import AsyncClerkApi
from clerkmap.errors import Unavailable, UserUnknown
from clerkmap.repositories import AsyncSqlAlchemyRepository
from clerkmap.sync import adrain

from .models import Course, Enrolment, Member, User

Role = Literal["user", "admin"]


class Me(BaseModel):
    """The caller, as the token and the cache know it."""

    id: str
    role: str


class Person(BaseModel):
    """A user, for administrators."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str | None
    email: str | None
    role: str | None
    image_url: str | None


class NewCourse(BaseModel):
    """A course to create."""

    title: str


class CourseOut(BaseModel):
    """A course."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str


class Learner(BaseModel):
    """A member of the caller's organization, and in how many courses the member is."""

    name: str | None
    role: str | None
    courses: int


def first_role(record: ClerkUser) -> str | None:
    """Return the first role of a user: the one in Clerk's metadata, if the platform has it."""
    role = role_in_metadata(record)
    return role if role in ("user", "admin") else None


async def open_session(request: Request) -> AsyncGenerator[AsyncSession]:
    """Open a session for a request."""
    async with request.app.state.sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(open_session)]


def create_app(database: AsyncEngine | AsyncConnection | None = None) -> FastAPI:
    """Return the application.

    Args:
        database: The engine; by default, one for `DATABASE_URL`. Tests pass a connection, and roll it back.
    """
    database = database or create_async_engine(os.environ["DATABASE_URL"])
    instance = Instance.from_env()
    repository = AsyncSqlAlchemyRepository(
        database, id_type="uuid", first_role=first_role, write_back=WriteBack(user_id="user_id", role="role")
    )
    clerk = Clerk(Resolver(instance, repository))
    # With a connection of a test, a commit is a savepoint. With an engine this option has no effect.
    sessions = async_sessionmaker(database, join_transaction_mode="create_savepoint", expire_on_commit=False)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with repository, AsyncClerkApi(instance) as api:
            sender = asyncio.create_task(send_outbox(api, repository))
            yield
            sender.cancel()
        if isinstance(database, AsyncEngine):
            await database.dispose()

    app = FastAPI(title="Courses", lifespan=lifespan)
    app.state.repository, app.state.sessions = repository, sessions
    app.include_router(webhook(Reconciler(instance, repository), "/webhooks/clerk"))

    @app.get("/courses")
    async def courses(session: Session) -> list[CourseOut]:
        """List all courses. The only route without a caller."""
        found = await session.scalars(select(Course).order_by(Course.title))
        return [CourseOut.model_validate(course) for course in found]

    @app.get("/me")
    async def me(caller: Annotated[Caller[str], Depends(clerk.user)]) -> Me:
        """Return the id and the role of the caller: from a cache, without the database."""
        return Me(id=caller.id, role=caller.role or "user")

    @app.get("/me/profile")
    async def profile(caller: Annotated[Caller[str], Depends(clerk.user)], session: Session) -> Person:
        """Return the caller's whole row."""
        return Person.model_validate(await session.get_one(User, caller.id))

    @app.get("/me/courses")
    async def my_courses(caller: Annotated[Caller[str], Depends(clerk.user)], session: Session) -> list[CourseOut]:
        """List the courses of the caller."""
        mine = select(Course).join(Enrolment).where(Enrolment.user_id == caller.id).order_by(Course.title)
        return [CourseOut.model_validate(course) for course in await session.scalars(mine)]

    @app.put("/me/courses/{course_id}", status_code=204)
    async def enrol(course_id: int, caller: Annotated[Caller[str], Depends(clerk.user)], session: Session) -> None:
        """Enrol the caller, once."""
        if await session.get(Course, course_id) is None:
            raise HTTPException(404, "there is no such course")
        enrolment = insert(Enrolment).values(course_id=course_id, user_id=caller.id)
        await session.execute(enrolment.on_conflict_do_nothing())
        await session.commit()

    @app.get("/team", dependencies=[Depends(clerk.require(organization_role="org:admin"))])
    async def team(company: Annotated[Company[str], Depends(clerk.organization)], session: Session) -> list[Learner]:
        """List the members of the caller's organization, with the number of their courses."""
        learners = (
            select(User.name, Member.role, func.count(Enrolment.course_id))
            .join(User.memberships.of_type(Member))
            .outerjoin(Enrolment, Enrolment.user_id == User.id)
            .where(Member.organization_id == company.id)
            .group_by(User.id, User.name, Member.role)
            .order_by(User.name, User.id)
        )
        rows = await session.execute(learners)
        return [Learner(name=name, role=role, courses=courses) for name, role, courses in rows]

    admin = APIRouter(prefix="/admin", dependencies=[Depends(clerk.require(user_role="admin"))])

    @admin.post("/courses", status_code=201)
    async def create_course(course: NewCourse, session: Session) -> CourseOut:
        """Create a course."""
        created = Course(title=course.title)
        session.add(created)
        await session.commit()
        return CourseOut.model_validate(created)

    @admin.get("/users")
    async def users(session: Session, after: UUID | None = None) -> list[Person]:
        """List a page of users. Ids sort by the time of the sign-up."""
        page = select(User).order_by(User.id).limit(100)
        if after is not None:
            page = page.where(User.id > str(after))
        return [Person.model_validate(user) for user in await session.scalars(page)]

    @admin.get("/courses/{course_id}/users")
    async def users_of(course_id: int, session: Session) -> list[Person]:
        """List the users in a course. Deleted users keep their enrolment, and are not listed."""
        enrolled = select(User).join(Enrolment, Enrolment.user_id == User.id).where(Enrolment.course_id == course_id)
        found = enrolled.order_by(User.name, User.id)
        return [Person.model_validate(user) for user in await session.scalars(found)]

    @admin.put("/users/{user_id}/role", status_code=204)
    async def set_role(user_id: UUID, role: Annotated[Role, Body()], session: Session) -> None:
        """Set a user's role. The user's next request has it, in every process within a second."""
        try:
            await repository.within(session).set_role(str(user_id), role)
        except UserUnknown:
            raise HTTPException(404, "there is no such user") from None
        await session.commit()

    app.include_router(admin)
    return app


async def send_outbox(api: AsyncClerkApi, repository: AsyncSqlAlchemyRepository) -> None:
    """Write ids and roles to Clerk's metadata, so that tokens carry them to the front end."""
    while True:
        with suppress(Unavailable):  # the entries stay in the outbox
            await adrain(api, repository)
        await asyncio.sleep(2)
