"""In a SQLAlchemy session on SQLite, the session's commit and rollback are those of clerkmap's writes, too."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, ForeignKey, String, Table, create_engine, event, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from clerkmap import ConfigurationError, RepositoryUnavailable, Resolver
from clerkmap.repositories import SqliteRepository
from clerkmap.testing import FakeClerk
from clerkmap.testing.samples import ANN, HERE, found, person


class Base(DeclarativeBase):
    pass


# The users are those of clerkmap: the application refers to them.
Table("clerkmap_users", Base.metadata, Column("id", String, primary_key=True))


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("clerkmap_users.id"))


def as_it_comes(path: Path) -> Engine:
    return create_engine(f"sqlite:///{path}")


def with_explicit_begin(path: Path) -> Engine:
    """The way that SQLAlchemy's documentation shows to have Python begin nothing."""
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def without_autocommit(path: Path) -> Engine:
    """Python 3.12's own transactions."""
    return create_engine(f"sqlite:///{path}", connect_args={"autocommit": False})


ENGINES = [as_it_comes, with_explicit_begin]
if hasattr(sqlite3, "LEGACY_TRANSACTION_CONTROL"):
    ENGINES.append(without_autocommit)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
def repository(path: Path) -> Iterator[SqliteRepository]:
    with closing(SqliteRepository.open(path, timeout=0.2)) as repository:
        yield repository


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, path: Path, repository: SqliteRepository) -> Iterator[Engine]:
    engine: Engine = request.param(path)
    Base.metadata.create_all(engine)  # after the repository has made its tables
    yield engine
    engine.dispose()


def within(repository: SqliteRepository, session: Session) -> SqliteRepository:
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, sqlite3.Connection)
    return repository.within(connection)


WRITES: dict[str, Callable[[SqliteRepository], object]] = {
    "put": lambda repository: repository.put([person(at=2)]),
    "set_role": lambda repository: repository.set_role(found(repository).id, "admin"),
    "link": lambda repository: repository.link(HERE, "user_new", "mine"),
    "unlink": lambda repository: repository.unlink(HERE, ANN, found(repository).id),
    "erase": lambda repository: repository.erase(found(repository).id),
    "set_checkpoint": lambda repository: repository.set_checkpoint("n", "text"),
    "swap_checkpoint": lambda repository: repository.swap_checkpoint("n", None, "text"),
}


def state(repository: SqliteRepository) -> object:
    return repository.find(HERE, ANN), repository.find(HERE, "user_new"), repository.checkpoint("n")


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("wrote_before", [False, True])
def test_a_rollback_undoes_it(engine: Engine, repository: SqliteRepository, write: str, wrote_before: bool) -> None:
    """A write is undone with the session, be it the first of the session or a later one; and committed with it."""
    repository.put([person()])
    before = state(repository)
    for ends in (Session.rollback, Session.commit):
        with Session(engine) as session:
            if wrote_before:
                session.add(Order(user_id=found(repository).id))
                session.flush()
            WRITES[write](within(repository, session))
            assert state(repository) == before, "others see nothing yet"
            ends(session)
            assert (state(repository) == before) is (ends is Session.rollback)
            (orders,) = session.execute(text("SELECT count(*) FROM orders")).one()
            assert orders == (wrote_before and ends is Session.commit)


def test_an_order_and_its_user_are_one_commit(engine: Engine, repository: SqliteRepository) -> None:
    """A user who is seen for the first time is committed with the order, or undone with it."""
    clerk = FakeClerk()
    resolver, ada = Resolver(clerk.instance, repository), clerk.create_user()
    user = None
    for ends in (Session.rollback, Session.commit):
        with Session(engine) as session:
            user = resolver.resolve(clerk.token(ada), within=within(repository, session)).user
            session.add(Order(user_id=user.id))
            session.flush()
            ends(session)
        assert (repository.user(user.id) is None) is (ends is Session.rollback)
    assert resolver.resolve(clerk.token(ada)).user == user


def test_a_failed_write_leaves_the_session_as_it_was(engine: Engine, repository: SqliteRepository) -> None:
    """A write that is refused undoes itself alone, and holds no lock."""
    with Session(engine) as session:
        session.execute(text("CREATE UNIQUE INDEX one_name ON clerkmap_identities (username)"))
        session.commit()
        same = [person(username="ann"), person("user_other", username="ann")]
        with pytest.raises(ConfigurationError):
            within(repository, session).put(same)
        session.rollback()
        session.add(Order(user_id="x"))
        session.flush()
        with pytest.raises(ConfigurationError):
            within(repository, session).put(same)
        session.commit()
        assert session.execute(text("SELECT user_id FROM orders")).all() == [("x",)]
    assert repository.find(HERE, ANN) is None
    repository.put([person()])


def test_a_write_beside_an_open_session_says_how_to_be_in_it(engine: Engine, repository: SqliteRepository) -> None:
    """A write on another connection cannot wait for the session that it is called from, and the text says the way."""
    repository.put([person()])
    id = found(repository).id
    with Session(engine) as session:
        session.add(Order(user_id=id))
        session.flush()
        with pytest.raises(RepositoryUnavailable, match=r"write in it with repository.within\(connection\)"):
            repository.set_role(id, "admin")
        assert within(repository, session).set_role(id, "admin").role == "admin"
        session.commit()
    assert found(repository).role == "admin"


def test_the_session_must_be_on_the_same_file(tmp_path: Path, repository: SqliteRepository) -> None:
    """A URL and a path that look alike may be two files: that is found before anything is written."""
    (tmp_path / "instance").mkdir()
    other = create_engine(f"sqlite:///{tmp_path}/instance/app.db")
    with Session(other) as session, pytest.raises(ConfigurationError) as caught:
        within(repository, session)
    other.dispose()
    expected = (
        f"the connection uses {tmp_path}/instance/app.db, and the repository {tmp_path}/app.db: "
        "a transaction must use one file"
    )
    assert expected in str(caught.value)
    linked = tmp_path / "linked.db"
    linked.symlink_to(tmp_path / "app.db")
    with closing(sqlite3.connect(linked)) as connection:
        repository.within(connection).put([person()])
        connection.commit()
    assert found(repository).clerk == person()


def test_tables_of_the_metadata_that_come_first_are_told(path: Path) -> None:
    """`create_all` before `open` makes a stub of clerkmap's table, and the error says which and what to do."""
    engine = as_it_comes(path)
    Base.metadata.create_all(engine)
    engine.dispose()
    with pytest.raises(ConfigurationError, match="open the repository before your create_all") as caught:
        SqliteRepository.open(path)
    assert f"{path} differ from those that clerkmap makes: table clerkmap_users already exists" in str(caught.value)


def test_starting_on_a_connection_that_waits_for_commits_holds_no_lock(path: Path) -> None:
    """The tables are committed when the repository is made, also where Python begins transactions by itself."""
    with closing(sqlite3.connect(path)) as mine, closing(sqlite3.connect(path, timeout=0)) as other:
        repository = SqliteRepository(mine, migrate=True)
        assert not mine.in_transaction
        repository.put([person()])
        mine.rollback()
        assert other.execute("SELECT count(*) FROM clerkmap_users").fetchone() == (0,)
        repository.put([person()])
        mine.commit()
        assert other.execute("SELECT count(*) FROM clerkmap_users").fetchone() == (1,)
