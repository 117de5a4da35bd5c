"""The shop on SQLAlchemy: a user and an order are there together, or neither is."""

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from clerkmap.testing import FakeClerk
from examples.orders import Order, Shop, User
from postgres_server import url_of_a_new_schema

CLERK = FakeClerk()


@pytest.fixture
def shop(postgres_schema: str) -> Iterator[Shop]:
    shop = Shop(CLERK.instance, url_of_a_new_schema(postgres_schema))
    yield shop
    shop.close()


def counted(shop: Shop) -> tuple[int | None, int | None]:
    """How many users there are, and how many orders."""
    with Session(shop.engine) as session:
        return tuple(session.scalar(select(func.count()).select_from(table)) for table in (User, Order))  # type: ignore[return-value]


def test_the_order_and_the_user_are_one_commit(shop: Shop) -> None:
    """The first order of somebody never seen."""
    token = CLERK.token(CLERK.create_user())
    with Session(shop.engine) as session:
        order = shop.place(session, token, "a book")
        assert counted(shop) == (0, 0)
        session.commit()
        assert shop.orders_of(session, token) == [order.item] == ["a book"]
    assert counted(shop) == (1, 1)


def test_an_order_that_fails_makes_no_user(shop: Shop) -> None:
    """The database refuses the order: nobody new is known."""
    token = CLERK.token(CLERK.create_user())
    with Session(shop.engine) as session, pytest.raises(IntegrityError):
        shop.place(session, token, "")
    assert counted(shop) == (0, 0)


def test_what_was_undone_is_not_remembered(shop: Shop) -> None:
    """The next order of the same person, in the same process, makes the user after all."""
    token = CLERK.token(CLERK.create_user())
    for ends in ("rollback", "rollback", "commit", "commit"):
        with Session(shop.engine) as session:
            shop.place(session, token, "a book")
            getattr(session, ends)()
    assert counted(shop) == (1, 2)
