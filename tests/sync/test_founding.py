"""An organization is made once, at Clerk and on your side, whoever says it, how often, and wherever a process ends."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from backfill_world import Ending
from clerkmap import ConfigurationError, HookFailed, Organization, threaded
from clerkmap.clerk import ClerkApi
from clerkmap.errors import ApiRefused, ApiUnavailable, OperationUnderWay
from clerkmap.repositories import AsyncPostgresRepository, MemoryRepository, PostgresRepository, SqliteRepository
from clerkmap.sync import acreate_organization, create_organization
from clerkmap.sync.create_organization import HELD, SETTLES
from clerkmap.testing import Clock
from postgres_server import url_of_a_new_schema
from writeback_world import PLACES, WritingWorld, place_of


@pytest.fixture(params=PLACES)
def world(request: pytest.FixtureRequest, tmp_path: Path, postgres_schema: str) -> Any:
    """A Clerk with one person, who is known."""
    world = WritingWorld.of(1, place_of(request.param, tmp_path, postgres_schema), back=None)
    world.clerk.create_user("ada@example.com")
    world.hear()
    yield world
    world.repository.close()


def found(
    world: WritingWorld, idempotency_key: str = "form 7", api: Any = None, repository: Any = None, **said: Any
) -> Any:
    """Make an organization, as its first member asks for it."""
    (ada,) = world.clerk.users.values()
    return create_organization(
        api or world.api,
        repository or world.repository,
        idempotency_key=idempotency_key,
        name=said.pop("name", "Grand Hotel"),
        created_by=ada.id,
        clock=world.clerk.clock,
        **said,
    )


def test_it_is_there_on_both_sides(world: WritingWorld) -> None:
    """With its first member, what you say of it, and a mark that does not tell the operation's name."""
    organization = found(world, slug="grand", public_metadata={"plan": "pro"}, private_metadata={"theirs": 1})
    (there,) = world.clerk.organizations.values()
    assert (there.name, there.slug, there.public_metadata) == ("Grand Hotel", "grand", {"plan": "pro"})
    assert isinstance(organization, Organization)
    assert (organization.clerk_id, organization.name) == (there.id, "Grand Hotel")
    (ada,) = world.clerk.users
    assert [(each.user_id, each.role) for each in world.clerk.memberships.values()] == [(ada, "org:admin")]
    assert (there.private_metadata or {})["theirs"] == 1
    assert "form 7" not in json.dumps(there.private_metadata)


def test_said_again_it_is_the_same(world: WritingWorld) -> None:
    """Before and after the webhooks, which may be shuffled and come twice; another operation makes another one."""
    first = found(world)
    assert found(world).id == first.id
    world.hear(shuffle=True, duplicate=0.5)
    assert found(world).id == first.id
    assert len(world.clerk.organizations) == 1
    assert found(world, "form 8").id != first.id
    assert len(world.clerk.organizations) == 2


def test_a_hook_makes_what_belongs_to_it(tmp_path: Path) -> None:
    """In the transaction that makes your row. One that raises undoes it, and the next attempt uses what Clerk has."""
    made: list[str] = []

    def hotel(change: Any, _: Any) -> None:
        if change.is_organization and not made:
            made.append("refused")
            raise RuntimeError
        if change.is_organization:
            made.append(change.organization.name)

    world = WritingWorld.of(2, back=None)
    world.clerk.create_user("ada@example.com")
    world.hear()
    world.repository = SqliteRepository.open(tmp_path / "app.db", hooks=[hotel])
    with pytest.raises(HookFailed):
        found(world)
    assert found(world).name == "Grand Hotel"
    assert made == ["refused", "Grand Hotel"]
    assert len(world.clerk.organizations) == 1
    world.repository.close()


@pytest.mark.parametrize("afterwards", [False, True])
def test_a_process_may_end_at_any_step(afterwards: bool) -> None:
    """Before or after each question and each write: whoever says it again gets one organization; there is no other."""
    step, is_over = 0, False
    while not is_over:
        world = WritingWorld.of(3, back=None)
        world.clerk.create_user("ada@example.com")
        world.hear()
        ending = Ending(step, KeyboardInterrupt, afterwards)
        names = ("checkpoint", "swap_checkpoint", "row", "put")
        try:
            found(world, api=ending.of(world.api, ("send",)), repository=ending.of(world.repository, names))
            is_over = True
        except KeyboardInterrupt:
            pass
        try:
            organization = found(world)
        except OperationUnderWay:
            world.clerk.clock.advance(HELD / 1000 + 1)
            organization = found(world)
        assert [each.id for each in world.clerk.organizations.values()] == [organization.clerk_id], step
        assert found(world).id == organization.id
        world.hear(shuffle=True)
        assert found(world).id == organization.id
        step += 1
    assert step > 6


@pytest.mark.parametrize("again", range(6))
def test_a_second_attempt_may_end_anywhere_too(again: int) -> None:
    """The first one ended when Clerk had made it, and the one after that at some step, too."""
    for step in range(12):
        world = WritingWorld.of(4, back=None)
        world.clerk.create_user("ada@example.com")
        world.hear()
        for ends_at in (again, step):
            ending = Ending(ends_at, KeyboardInterrupt, True)
            names = ("checkpoint", "swap_checkpoint", "row", "put")
            try:
                found(world, api=ending.of(world.api, ("send",)), repository=ending.of(world.repository, names))
            except (KeyboardInterrupt, OperationUnderWay):
                world.clerk.clock.advance(HELD / 1000 + 1)
        organization = found(world)
        assert [each.id for each in world.clerk.organizations.values()] == [organization.clerk_id], step


@pytest.mark.parametrize("when", ["cut_before", "cut_within", "cut_after", "server_error", "proxy_error"])
def test_however_the_connection_ends(world: WritingWorld, when: str) -> None:
    """Nobody knows what came of it, and says so. A moment later it is looked for before it is made."""
    with pytest.raises(ApiUnavailable):
        found(world, api=Paused(world, lambda: setattr(world.clerk.faults, when, 1)))
    setattr(world.clerk.faults, when, 0)
    with pytest.raises(OperationUnderWay):
        found(world)
    world.clerk.clock.advance(SETTLES / 1000 + 1)
    organization = found(world)
    assert [each.id for each in world.clerk.organizations.values()] == [organization.clerk_id]


def test_it_is_found_among_many_others(world: WritingWorld) -> None:
    """Also where its creator has left it, and others come and go while the list is read."""
    with pytest.raises(ApiUnavailable):
        found(world, api=Paused(world, lambda: setattr(world.clerk.faults, "cut_after", 1)))
    world.clerk.faults.cut_after = 0
    (there,) = world.clerk.organizations.values()
    (ada,) = world.clerk.users.values()
    world.clerk.remove_member(there, ada)
    others = [world.clerk.create_organization(f"Org {number}") for number in range(1_100)]
    gone = iter(others[-1:-40:-1])
    world.clerk.faults.between_pages = lambda _: world.clerk.delete_organization(next(gone))
    world.clerk.clock.advance(60)
    assert found(world).clerk_id == there.id


@pytest.mark.parametrize("patience", [120, 1000])
def test_an_attempt_that_takes_its_time_is_waited_for(world: WritingWorld, patience: float) -> None:
    """Clerk has asked for patience, or cannot be reached: until the question is given up, nobody else makes it."""
    tried: list[Any] = []

    class Busy(httpx.BaseTransport):
        """Everybody is let in at the last moment, when somebody else has come."""

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST" and not tried:
                world.clerk.clock.advance(patience + 79)
                tried.append(request)
                with pytest.raises(OperationUnderWay):
                    found(world)
            return world.counting.handle_request(request)

    organization = found(world, api=ClerkApi(world.clerk.instance, transport=Busy(), patience=patience))
    assert [each.id for each in world.clerk.organizations.values()] == [organization.clerk_id]


def test_an_answer_without_an_id_is_none(world: WritingWorld) -> None:
    """It may have been made, so it is looked for."""

    class Vague:
        """An API that does not say what it has made."""

        instance, longest, attempt, check = world.clerk.instance, 0, 0, world.api.check

        def send(self, question: Any) -> Any:
            answer = world.api.send(question)
            return {} if question.method == "POST" else answer

    with pytest.raises(ApiUnavailable):
        found(world, api=Vague())
    world.clerk.clock.advance(SETTLES / 1000 + 1)
    assert [each.id for each in world.clerk.organizations.values()] == [found(world).clerk_id]


def test_a_refusal_is_told_and_may_be_mended(world: WritingWorld) -> None:
    """Nothing was made, so it can be said again at once, and otherwise."""
    with pytest.raises(ApiRefused):
        found(world, name="")
    assert not world.clerk.organizations
    assert found(world).name == "Grand Hotel"


def test_of_many_at_once_one_makes_it(tmp_path: Path) -> None:
    """Threads on one file: the others are told to come again, and get the same."""
    world = WritingWorld.of(5, tmp_path / "app.db", back=None)
    world.clerk.create_user("ada@example.com")
    world.hear()
    ids: list[Any] = []
    refused: list[Exception] = []

    def attempt() -> None:
        try:
            ids.append(found(world).id)
        except OperationUnderWay as error:
            refused.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) + len(refused) == 8
    assert {*ids, found(world).id} == {found(world).id}
    assert len(world.clerk.organizations) == 1
    world.repository.close()


def test_an_answer_that_says_nothing_is_no_answer(world: WritingWorld) -> None:
    """It is there at Clerk, and its row is made the next time."""

    class Mute:
        """An API that has nothing to say of one organization."""

        instance, longest, attempt, check = world.clerk.instance, 1.0, 0, world.api.check

        def send(self, question: Any) -> Any:
            answer = world.api.send(question)
            return {"object": "organization"} if question.path.startswith("/organizations/") else answer

    with pytest.raises(ApiUnavailable):
        found(world, api=Mute())
    assert found(world).clerk_id == next(iter(world.clerk.organizations))
    assert len(world.clerk.organizations) == 1


def test_in_async_code() -> None:
    """The same."""
    world = WritingWorld.of(6, back=None)
    ada = world.clerk.create_user("ada@example.com")
    world.hear()

    async def run() -> Organization:
        async with world.async_api as api:
            repository = threaded(world.repository)
            said: dict[str, Any] = {"idempotency_key": "form 7", "name": "Grand Hotel", "created_by": ada.id}
            first = await acreate_organization(api, repository, **said)
            assert (await acreate_organization(api, repository, **said)).id == first.id
            return first

    assert asyncio.run(run()).name == "Grand Hotel"
    assert len(world.clerk.organizations) == 1


def test_what_makes_no_sense_is_refused(world: WritingWorld) -> None:
    """An operation without a name, and notes that somebody else has written."""
    for idempotency_key in ("", "x" * 256, "\n", 7):
        with pytest.raises(ConfigurationError, match="idempotency_key"):
            found(world, idempotency_key)  # type: ignore[arg-type]

    @dataclass
    class Scribbled:
        """A repository in which somebody else has written."""

        written: str

        def in_transaction(self) -> bool:
            return False

        def checkpoint(self, name: str) -> str:
            return self.written

    for written in ('{"until": "soon"}', "soon", "[" * 60_000, ""):
        with pytest.raises(ConfigurationError, match="another program"):
            found(world, repository=Scribbled(written))


class Paused:
    """An API whose process is paused just before the question that makes something, by whatever `pause` does."""

    def __init__(self, world: WritingWorld, pause: Callable[[], object]) -> None:
        self._api, self._pause = world.api, pause
        self.instance, self.longest, self.attempt = self._api.instance, self._api.longest, self._api.attempt
        self.check = self._api.check

    def send(self, question: Any) -> Any:
        """Pause, and then send."""
        if question.method == "POST":
            self._pause()
        return self._api.send(question)


def test_a_process_that_was_paused_makes_nothing(world: WritingWorld) -> None:
    """It was paused after it took the hold, and another process has made the organization meanwhile."""

    def pause() -> None:
        world.clerk.clock.advance(HELD / 1000 + 1)
        others.append(found(world))

    others: list[Organization] = []
    with pytest.raises(OperationUnderWay, match="paused"):
        found(world, api=Paused(world, pause))
    assert [each.id for each in world.clerk.organizations.values()] == [others[0].clerk_id]
    assert found(world).id == others[0].id


@pytest.mark.parametrize("stands_still", ["wall", "monotonic"])
def test_either_clock_tells_a_pause(world: WritingWorld, stands_still: str) -> None:
    """A machine that sleeps may stop one of the clocks. Once the hold is over, the operation goes on."""
    monotonic = Clock(1000)
    moves = monotonic if stands_still == "wall" else world.clerk.clock
    api = Paused(world, lambda: moves.advance(200))
    with pytest.raises(OperationUnderWay, match="paused"):
        found(world, api=api, monotonic=monotonic)
    assert not world.clerk.organizations
    world.clerk.clock.advance(HELD / 1000 + 1)
    assert found(world).clerk_id == next(iter(world.clerk.organizations))


def test_an_organization_that_another_attempt_cannot_know_is_named(world: WritingWorld) -> None:
    """Clerk's answer came after another process had taken over: the error tells which organization is too many."""

    class Late(Paused):
        """An API whose answer comes after a pause."""

        def send(self, question: Any) -> Any:
            answer = self._api.send(question)
            if question.method == "POST":
                self._pause()
            return answer

    def pause() -> None:
        """Another process has looked before the organization was to be seen, and made another one."""
        (checkpoint,) = checkpoints
        assert world.repository.swap_checkpoint(
            checkpoint, world.repository.checkpoint(checkpoint), '{"id": "org_other"}'
        )

    checkpoints: list[str] = []
    real = world.repository

    class Noting:
        """The repository, whose notes' names are kept."""

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> bool:
            checkpoints[:] = [name]
            return real.swap_checkpoint(name, before, after)

    with pytest.raises(OperationUnderWay) as caught:
        found(world, api=Late(world, pause), repository=Noting())
    (there,) = world.clerk.organizations
    assert caught.value.organization_id == there
    assert there in str(caught.value)


def test_the_organization_is_named_where_something_fails_afterwards(tmp_path: Path) -> None:
    """A hook raises, or the database is away: the error has a note with Clerk's id."""

    def refuse(change: Any, _: Any) -> None:
        if change.is_organization:
            raise RuntimeError

    world = WritingWorld.of(2, back=None)
    world.clerk.create_user("ada@example.com")
    world.hear()
    world.repository = SqliteRepository.open(tmp_path / "app.db", hooks=[refuse])
    with pytest.raises(HookFailed) as caught:
        found(world)
    (there,) = world.clerk.organizations
    assert any(there in checkpoint for checkpoint in caught.value.__notes__)
    world.repository.close()


def test_it_is_found_without_a_note(world: WritingWorld) -> None:
    """A database that was restored, or moved without its notes: the organization at Clerk bears the mark."""
    first = found(world)
    with world.clerk.silence():
        (ada,) = world.clerk.users.values()
        for number in range(3):
            world.clerk.create_organization(f"Other {number}", created_by=ada)
    other = WritingWorld(world.clerk, MemoryRepository(clock=world.clerk.clock), world.counting)
    assert found(other).clerk_id == first.clerk_id
    assert found(other, "form 8").clerk_id != first.clerk_id
    assert len(world.clerk.organizations) == 5


def a_hook(world: WritingWorld, errors: list[Exception]) -> Callable[..., None]:
    """A hook that makes an organization, which it must not."""

    def hook(change: Any, _: Any) -> None:
        try:
            found(world)
        except ConfigurationError as error:
            errors.append(error)

    return hook


def test_a_transaction_that_is_open_is_refused(world: WritingWorld) -> None:
    """In a hook, whatever the repository: a rollback would forget the organization, and the next call make another."""
    errors: list[Exception] = []
    world.repository.listeners.hook(a_hook(world, errors))
    world.clerk.create_user("bob@example.com")
    (_, bob) = world.clerk.users.values()
    world.clerk.users.pop(bob.id)
    world.repository.put([world.clerk.record(bob)])
    assert ["must not run inside a database transaction" in str(error) for error in errors] == [True]
    assert not world.clerk.organizations


def test_your_own_connection_on_sqlite(tmp_path: Path) -> None:
    """It is refused while your transaction is open, and works where none is."""
    world = WritingWorld.of(2, back=None)
    world.clerk.create_user("ada@example.com")
    connection = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    world.repository = SqliteRepository(connection, migrate=True)
    connection.execute("BEGIN")
    with pytest.raises(ConfigurationError, match="on_commit"):
        found(world)
    connection.execute("ROLLBACK")
    assert not world.clerk.organizations
    assert found(world).name == "Grand Hotel"
    connection.close()


def test_your_own_connection_on_postgres(postgres_schema: str) -> None:
    """The same, in both colours; a connection without autocommit is always in a transaction."""
    url = url_of_a_new_schema(postgres_schema)
    world = WritingWorld.of(2, url, back=None)
    ada = world.clerk.create_user("ada@example.com")
    whole = world.repository
    assert isinstance(whole, PostgresRepository)
    for autocommit in (False, True):
        with psycopg.connect(url, autocommit=autocommit) as connection, connection.transaction():
            world.repository = whole.within(connection)
            with pytest.raises(ConfigurationError, match="on_commit"):
                found(world)
    assert not world.clerk.organizations

    async def run() -> Organization:
        repository = AsyncPostgresRepository.open(url)
        said: dict[str, Any] = {"idempotency_key": "form 7", "name": "Grand Hotel", "created_by": ada.id}
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection, world.async_api as api:
            part = repository.within(connection)
            async with connection.transaction():
                with pytest.raises(ConfigurationError, match="on_commit"):
                    await acreate_organization(api, part, **said)
            made = await acreate_organization(api, part, **said)
        await repository.close()
        return made

    assert asyncio.run(run()).name == "Grand Hotel"
    whole.close()
