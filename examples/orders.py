"""A shop on SQLAlchemy and PostgreSQL: the order and the user who places it are one commit.

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
    """clerkmap's table, as far as the shop looks at it. It is clerkmap that makes it, and writes it."""

    __tablename__ = "clerkmap_users"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    role: Mapped[str | None]


class Order(Base):
    """What somebody has ordered."""

    __tablename__ = "orders"
    __table_args__ = (CheckConstraint("item <> ''"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("clerkmap_users.id"))
    item: Mapped[str]


class Shop:
    """Takes orders from whoever has a token of Clerk's."""

    def __init__(self, instance: Instance, url: str) -> None:
        self.engine: Engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
        self.repository = PostgresRepository.open(url)  # makes clerkmap's tables, to which the shop's refer
        self._resolver = Resolver(instance, self.repository)
        Base.metadata.create_all(self.engine)

    def place(self, session: Session, token: str, item: str) -> Order:
        """Place an order. If its transaction is undone, nobody has ordered anything, and nobody new is known."""
        connection = session.connection().connection.driver_connection
        assert isinstance(connection, psycopg.Connection)
        principal = self._resolver.resolve(token, within=self.repository.within(connection))
        order = Order(user_id=principal.user.id, item=item)
        session.add(order)
        session.flush()
        return order

    def orders_of(self, session: Session, token: str) -> Sequence[str]:
        """What the caller has ordered."""
        user = self._resolver.resolve(token).user
        return session.scalars(select(Order.item).where(Order.user_id == user.id).order_by(Order.id)).all()

    def close(self) -> None:
        """Let go of the database."""
        self.repository.close()
        self.engine.dispose()
