"""A shop on SQLAlchemy and PostgreSQL: an order and its user are stored in one commit.

shop = Shop(Instance.from_env(), "postgresql://...")
with Session(shop.engine) as session:
    order = shop.place(session, token, "a book")
    session.commit()
"""

from collections.abc import Sequence

import psycopg
from sqlalchemy import CheckConstraint, Engine, ForeignKey, Text, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from clerkmap import Instance, Resolver
from clerkmap.repositories import PostgresRepository


class Base(DeclarativeBase):
    """The shop's tables."""


class User(Base):
    """The columns of clerkmap's table that the shop reads. clerkmap creates the table and writes it."""

    __tablename__ = "clerkmap_users"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    role: Mapped[str | None]


class Order(Base):
    """One ordered item."""

    __tablename__ = "orders"
    __table_args__ = (CheckConstraint("item <> ''"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("clerkmap_users.id"))
    item: Mapped[str]


class Shop:
    """Takes orders from users with a Clerk token."""

    def __init__(self, instance: Instance, url: str) -> None:
        self.engine: Engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
        self.repository = PostgresRepository.open(url)  # first: the shop's tables refer to clerkmap's
        self._resolver = Resolver(instance, self.repository)
        Base.metadata.create_all(self.engine)

    def place(self, session: Session, token: str, item: str) -> Order:
        """Place an order. A rollback of the session undoes the order and, on first sight, the user."""
        connection: psycopg.Connection | None = session.connection().connection.driver_connection
        assert connection is not None
        principal = self._resolver.resolve(token, within=self.repository.within(connection))
        order = Order(user_id=principal.user.id, item=item)
        session.add(order)
        session.flush()
        return order

    def orders_of(self, session: Session, token: str) -> Sequence[str]:
        """Return the items that the caller has ordered."""
        user = self._resolver.resolve(token).user
        return session.scalars(select(Order.item).where(Order.user_id == user.id).order_by(Order.id)).all()

    def close(self) -> None:
        """Close the database connections."""
        self.repository.close()
        self.engine.dispose()
