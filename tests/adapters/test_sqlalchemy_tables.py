"""The tables and mapped classes for SQLAlchemy are those of the repositories."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, ForeignKey, MetaData, Text, Uuid, inspect, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    configure_mappers,
    mapped_column,
    relationship,
    selectinload,
)
from sqlmodel import Field, SQLModel
from sqlmodel import Session as ModelSession
from sqlmodel import select as select_models

from clerkmap import ClerkUser, ConfigurationError
from clerkmap.adapters.sqlalchemy import MemberMixin, OrganizationMixin, Tables, UserMixin
from clerkmap.testing.samples import ANN, BEA, HERE, company, found, left, member, person
from sqlalchemy_databases import PLACES, Place

# The types in which SQLite and PostgreSQL report a column of each type.
REPORTED: dict[str, dict[type[Any], str]] = {
    "sqlite": {Text: "TEXT", BigInteger: "INTEGER", Boolean: "INTEGER"},
    "postgresql": {Text: "TEXT", BigInteger: "BIGINT", Boolean: "BOOLEAN", Uuid: "UUID"},
}


class Base(DeclarativeBase):
    """An application's tables."""


tables = Tables(Base.metadata)


class User(UserMixin, Base):
    """A class of the application, with a relationship of its own."""

    __table__ = tables.current_users
    id: Mapped[str]

    orders: Mapped[list["Order"]] = relationship(
        primaryjoin="User.id == foreign(Order.user_id)", viewonly=True, order_by="Order.id"
    )


class Organization(OrganizationMixin, Base):
    __table__ = tables.current_organizations


class Member(MemberMixin, Base):
    __table__ = tables.current_members


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey(tables.users.c.id))
    organization_id: Mapped[str | None] = mapped_column(ForeignKey("clerkmap_organizations.id"))
    user: Mapped[User | None] = relationship(primaryjoin="foreign(Order.user_id) == User.id", viewonly=True)


@pytest.fixture(params=PLACES, ids="-".join)
def place(request: pytest.FixtureRequest, tmp_path: Path, postgres_schema: str) -> Place:
    name, id_type = request.param
    return Place(name, tmp_path / "app.db", postgres_schema, id_type)


@pytest.fixture(params=["sqlite", "postgresql"])
def with_text_ids(request: pytest.FixtureRequest, tmp_path: Path, postgres_schema: str) -> Place:
    return Place(request.param, tmp_path / "app.db", postgres_schema)


def test_each_table_is_the_one_of_the_repository(place: Place) -> None:
    """The tables, their columns, types, keys and references equal those that a repository makes."""
    metadata = MetaData()
    Tables(metadata, id_type=place.id_type)
    with place.repository():
        pass
    made = inspect(place.engine())
    assert set(made.get_table_names()) - {"clerkmap_changes"} == set(metadata.tables)
    for table in metadata.tables.values():
        columns = {
            each["name"]: (str(each["type"]).partition(" COLLATE")[0], each["nullable"])
            for each in made.get_columns(table.name)
        }
        assert columns == {
            each.name: (REPORTED[place.name][type(each.type)], each.nullable) for each in table.columns
        }, table.name
        assert made.get_pk_constraint(table.name)["constrained_columns"] == [each.name for each in table.primary_key]
        assert [
            (*each["constrained_columns"], each["referred_table"], *each["referred_columns"])
            for each in made.get_foreign_keys(table.name)
        ] == [(key.parent.name, key.column.table.name, key.column.name) for key in table.foreign_keys]


def test_each_view_is_the_one_of_the_repository(place: Place) -> None:
    """The views have the columns of the database, in its order, and each value arrives with the type of its column."""
    mine = Tables(MetaData(), id_type=place.id_type)
    with place.repository(clock=lambda: 1_800_000_000.25) as repository:
        place_of_ann = replace(member(), created_at=1_000_003)
        repository.put([person(ANN, at=1_000_001, first_name="Ann"), company(created_at=1_000_002), place_of_ann])
        user = found(repository)
    with place.engine().connect() as connection:
        made = inspect(connection)
        rows = {}
        for view in (mine.current_users, mine.current_organizations, mine.current_members):
            columns = made.get_columns(view.name)
            assert [each["name"] for each in columns] == [each.name for each in view.columns]
            (rows[view],) = connection.execute(select(view)).mappings()
            for column in view.columns:
                value = rows[view][column.name]
                assert isinstance(value, column.type.python_type) or (value is None and column.nullable), column
    assert rows[mine.current_users]["id"] == rows[mine.current_members]["user_id"] == user.id
    assert rows[mine.current_users]["created_at"] == user.created_at
    assert rows[mine.current_members]["since"] == datetime.fromtimestamp(1_000.003, UTC)


def test_a_view_compares_times(with_text_ids: Place) -> None:
    """A time in a condition means the same moment in every zone, to the millisecond."""
    with with_text_ids.repository() as repository:
        repository.put([company(created_at=1_000_002)])
    there = datetime.fromtimestamp(1_000.002, timezone(timedelta(hours=5)))
    view = tables.current_organizations.c
    with with_text_ids.engine().connect() as connection:
        assert connection.execute(select(view.id).where(view.created_at == there)).all() != []
        assert connection.execute(select(view.id).where(view.created_at > there)).all() == []


def test_mapped_classes_lead_to_each_other(with_text_ids: Place) -> None:
    """A user has its memberships and organizations, without those that have ended; an order has its user."""
    with with_text_ids.repository() as repository:
        repository.put([person(ANN, first_name="Ann"), person(BEA, first_name="Bea"), company()])
        repository.put([member(role="org:admin"), member("orgmem_2", user=BEA)])
        repository.put([left("orgmem_2", user=BEA)])
        engine = with_text_ids.engine()
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            everybody = select(User).order_by(User.name).options(selectinload(User.memberships))
            ann, bea = session.scalars(everybody)
            (membership,) = ann.memberships
            assert (membership.role, membership.user, bea.memberships) == ("org:admin", ann, [])
            assert ann.organizations == [membership.organization]
            assert membership.organization.members == [membership]
            acme = session.scalars(select(Organization)).one()
            assert session.scalars(select(User).join(User.memberships).where(Member.organization == acme)).all() == [
                ann
            ]

            session.add_all([Order(user_id=ann.id, organization_id=acme.id), Order(user_id=bea.id)])
            session.commit()
            (order,) = ann.orders
            assert order.user is ann
            session.delete(order)
            session.commit()
        repository.put([ClerkUser.deleted(HERE, BEA, observed_at=9)])
        with Session(engine) as session:
            assert session.scalars(select(Order)).one().user is None  # the row in the table of users stays


def test_mapped_classes_are_read_only(with_text_ids: Place) -> None:
    """A change, a new object and a deletion are refused: no hook would be called."""
    with with_text_ids.repository() as repository:
        repository.put([person(ANN)])
    with Session(with_text_ids.engine()) as session:
        user = session.scalars(select(User)).one()
        user.role = "admin"
        with pytest.raises(ConfigurationError, match="User is read-only"):
            session.flush()
        session.rollback()
        for change in (session.delete, lambda user: session.add(Organization(id="1"))):
            change(user)
            with pytest.raises(ConfigurationError, match="is read-only"):
                session.flush()
            session.rollback()


def test_create_all_never_makes_the_tables(with_text_ids: Place) -> None:
    """It says what to do first. `drop_all` leaves nothing, and after that everything can be made again."""
    engine = with_text_ids.engine()
    with pytest.raises(ConfigurationError, match="run your migrations"):
        Base.metadata.create_all(engine)
    for _ in range(2):
        with with_text_ids.repository():
            Base.metadata.create_all(engine)
            assert "orders" in inspect(engine).get_table_names()
        Base.metadata.drop_all(engine)
        assert (inspect(engine).get_table_names(), inspect(engine).get_view_names()) == ([], [])


def test_the_tables_can_stand_elsewhere(postgres_schema: str) -> None:
    """A prefix and a schema; the default schema of the metadata is that of the application's tables only."""
    place = Place("postgresql", Path(), postgres_schema)
    metadata = MetaData(schema="elsewhere")
    assert Tables(metadata).users.fullname == "clerkmap_users"
    mine = Tables(MetaData(), prefix="auth_", schema=postgres_schema)
    with place.repository(prefix="auth_", schema=postgres_schema) as repository:
        repository.put([person(ANN)])
    with place.engine().connect() as connection:
        assert (
            connection.execute(select(mine.users.c.id)).all()
            == connection.execute(select(mine.current_users.c.id)).all()
        )
        assert mine.current_users.fullname == f"{postgres_schema}.auth_current_users"


def test_a_relationship_needs_a_class_for_each_view() -> None:
    """The errors name the class or the view."""

    class Alone(DeclarativeBase):
        pass

    alone = Tables(Alone.metadata)

    class Account(UserMixin, Alone):
        __table__ = alone.current_users

    with pytest.raises(ConfigurationError, match="a mapped class for clerkmap_current_members"):
        configure_mappers()
    Alone.registry.dispose()
    with pytest.raises(ConfigurationError, match="Person needs a view"):

        class Person(UserMixin, Alone):
            __table__ = alone.users


class Model(SQLModel):
    """With a metadata of this file: a page of the docs puts the tables into that of SQLModel."""

    metadata = MetaData()


Tables(Model.metadata)


class Invoice(Model, table=True):
    """A table of SQLModel."""

    id: int | None = Field(default=None, primary_key=True)
    user_id: str = Field(foreign_key="clerkmap_users.id")


def test_sqlmodel_has_foreign_keys_and_mapped_classes(with_text_ids: Place) -> None:
    """Its tables refer to clerkmap's, and its session reads the mapped classes."""
    with with_text_ids.repository() as repository:
        repository.put([person(ANN, first_name="Ann")])
        engine = with_text_ids.engine()
        Model.metadata.create_all(engine)
        with ModelSession(engine) as session:
            session.add(Invoice(user_id=str(found(repository).id)))
            session.commit()
            pairs = select_models(User.name, Invoice.id).join(Invoice, User.id == Invoice.user_id)
            assert session.exec(pairs).all() == [("Ann", 1)]
