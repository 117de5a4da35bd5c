"""A replay calls a new hook for everything that is there, in pages, and resumes after a failure."""

import asyncio
from typing import Any

import pytest

from clerkmap import Change, Repository
from clerkmap.core.records import AnyRecord, ClerkMembership, ClerkUser, key_of
from clerkmap.errors import ConfigurationError, HookFailed
from clerkmap.repositories import AsyncPostgresRepository, MemoryRepository, SqliteRepository
from clerkmap.repositories.threaded import threaded
from clerkmap.sync import Progress, Replayed, areplay_hooks, replay_hooks
from clerkmap.sync.replay_hooks import PAGE
from clerkmap.testing.contract_hooks import what
from clerkmap.testing.samples import ACME, ANN, BEA, HERE, THERE, company, left, member, person
from postgres_server import url_of_a_new_schema

HISTORY: list[AnyRecord] = [
    *(company(), company("org_beta"), company(instance=THERE)),
    *(person(), person(BEA, banned=True), person(instance=THERE), ClerkUser.deleted(HERE, "user_gone", observed_at=1)),
    *(member(), member("orgmem_2", user=BEA), left("orgmem_3", user="user_gone")),
]
ALL = ["organization made"] * 3 + ["user made"] * 3 + ["membership made"]


class Recorder:
    """A hook that notes each change, and fails at some calls."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.changes: list[Change] = []
        self.calls = 0
        self.fails_at = fails_at

    def __call__(self, change: Change, transaction: Any) -> None:
        self.calls += 1
        if self.calls == self.fails_at:
            raise ValueError("full")
        self.changes.append(change)

    @property
    def words(self) -> list[str]:
        return [what(change) for change in self.changes]


def many() -> Repository:
    """A repository with more organizations than a page has, and more members of one of them."""
    repository = MemoryRepository()
    people = [f"user_{number}" for number in range(PAGE + 5)]
    repository.put([company(), *(company(f"org_{number}") for number in range(PAGE + 5)), *map(person, people)])
    repository.put([member(f"orgmem_{user}", user=user) for user in people])
    repository.put(
        ClerkMembership.full(
            HERE, "orgmem_1", clerk_user_id="user_1", clerk_organization_id=f"org_{n}", role="org:member", observed_at=1
        )
        for n in range(PAGE + 5)
    )
    return repository


def test_everything_current_is_passed_once() -> None:
    """Organizations, users and members, with their ends; not what is deleted, nor members that are banned."""
    repository, hook = MemoryRepository(), Recorder()
    repository.put(HISTORY)

    assert replay_hooks(repository, hook) == Replayed(organizations=3, users=3, memberships=1)

    assert hook.words == ALL
    place = hook.changes[-1]
    assert place.user is not None
    assert place.organization is not None
    assert (place.user.clerk_id, place.organization.clerk_id) == (ANN, ACME)
    assert place.membership is not None
    assert place.membership.is_current
    assert replay_hooks(MemoryRepository(), hook) == Replayed()


def test_many_rows_come_in_pages() -> None:
    """Each row once, with its progress. The members of small organizations share a transaction."""
    repository, hook = many(), Recorder()
    told: list[Progress] = []
    others: list[object] = []
    repository.listeners.hook(lambda change, tx: others.append(change))

    done = replay_hooks(repository, hook, progress=told.append)

    assert done.to_dict() == {
        "organizations": PAGE + 6,
        "users": PAGE + 5,
        "memberships": 2 * (PAGE + 5),
        "resumed": False,
    }
    assert len(hook.changes) == len({change.after for change in hook.changes}) == 4 * (PAGE + 5) + 1
    assert (told[0].stage, told[0].done, told[0].total) == ("organizations", PAGE, PAGE + 6)
    assert {each.stage for each in told} == {"organizations", "users", "memberships"}
    assert told[-1].done == 2 * (PAGE + 5)
    assert len(told) <= 9
    assert others == []  # other hooks are not called


@pytest.mark.parametrize("fails_at", [1, PAGE + 1, PAGE + 6 + PAGE + 1, 2 * PAGE + 100])
def test_it_resumes_after_a_failure(fails_at: int) -> None:
    """The pages that were done are not repeated, unless it starts anew."""
    repository, hook = many(), Recorder(fails_at=fails_at)
    with pytest.raises(HookFailed):
        replay_hooks(repository, hook, name="members")
    first = len(hook.changes)

    done = replay_hooks(repository, hook, name="members")

    assert done.resumed == (fails_at > PAGE)
    assert {each.after for each in hook.changes} == {each.after for each in _everything(repository)}
    assert len(hook.changes) - first < 4 * (PAGE + 5) or fails_at == 1
    with pytest.raises(HookFailed):
        replay_hooks(repository, Recorder(fails_at=PAGE + 1), name="members")
    anew = Recorder()
    assert not replay_hooks(repository, anew, name="members", anew=True).resumed
    assert len(anew.changes) == 4 * (PAGE + 5) + 1


class Moving(MemoryRepository):
    """Another writer puts records after the first page of members was read, and before it is locked."""

    def __init__(self) -> None:
        super().__init__()
        self.moves: list[AnyRecord] = []
        self.joins: list[AnyRecord] = []  # after the members were counted

    def put_once(self, key: Any, records: Any, *arguments: Any, **options: Any) -> Any:
        if self.moves and any(isinstance(record, ClerkMembership) for record in records):
            moves, self.moves = self.moves, []
            self.put(moves)
        return super().put_once(key, records, *arguments, **options)

    def count_members(self, *arguments: Any, **options: Any) -> int:
        number = super().count_members(*arguments, **options)
        joins, self.joins = self.joins, []
        self.put(joins)
        return number


def _moving(number: int) -> tuple[Moving, list[str]]:
    """Return a repository, and its members in the order of their list."""
    repository, people = Moving(), sorted((f"user_{each}" for each in range(number)), key=key_of)
    repository.put([company(), *map(person, people)])
    repository.put([member(f"orgmem_{each}", user=each) for each in people])
    return repository, people


def _joining(people: list[str]) -> list[AnyRecord]:
    return [*map(person, people), *(member(f"orgmem_{each}", user=each) for each in people)]


def _passed_members(hook: Recorder) -> list[str | None]:
    return [each.user.clerk_id for each in hook.changes if what(each) == "membership made" and each.user]


def test_a_row_that_slides_into_a_page_is_not_skipped() -> None:
    """A member leaves after its page was read: the first member after the page comes with the next page."""
    repository, people = _moving(PAGE + 5)
    repository.moves = [left(f"orgmem_{people[3]}", user=people[3])]
    hook = Recorder()

    replay_hooks(repository, hook)

    assert repository.moves == []
    assert _passed_members(hook) == [each for each in people if each != people[3]]


def test_a_row_that_is_pushed_out_of_a_page_is_not_skipped() -> None:
    """New members take the places of the last ones of a page: those come with the next page."""
    repository, people = _moving(PAGE + 5)
    new = [f"user_new_{each}" for each in range(40)]
    assert sum(key_of(each) < key_of(people[PAGE - 1]) for each in new) > 20
    repository.moves = _joining(new)
    hook = Recorder()

    replay_hooks(repository, hook)

    assert repository.moves == []
    assert {*_passed_members(hook)} >= {*people}


def test_an_organization_that_grows_beyond_a_page_is_replayed_to_its_end() -> None:
    """It was counted before."""
    repository, people = _moving(PAGE - 1)
    repository.joins = _joining([f"user_new_{each}" for each in range(40)])
    hook = Recorder()

    replay_hooks(repository, hook)

    assert {*_passed_members(hook)} >= {*people}


def _everything(repository: Repository) -> list[Change]:
    hook = Recorder()
    replay_hooks(repository, hook)
    return hook.changes


@pytest.mark.parametrize("text", ["[", "[1, 2]", '["users", 1]', "null", '["nothing", null]', "1", '["users"]'])
def test_a_checkpoint_of_another_version_is_ignored(text: str) -> None:
    """Then it starts over."""
    repository, hook = MemoryRepository(), Recorder()
    repository.put([company(), person()])
    with pytest.raises(HookFailed):
        replay_hooks(repository, Recorder(fails_at=1), name="x")
    repository.set_checkpoint(f"replay hooks {key_of('x')}", text)
    assert replay_hooks(repository, hook, name="x") == Replayed(organizations=1, users=1)


def test_the_transaction_is_that_of_the_database(tmp_path: Any) -> None:
    """What the hook wrote for a page is rolled back with its error."""
    with SqliteRepository.open(tmp_path / "app.db") as repository:
        repository.put(HISTORY)

        def keep(change: Change, tx: Any) -> None:
            tx.execute("CREATE TABLE IF NOT EXISTS kept (word TEXT)")
            tx.execute("INSERT INTO kept VALUES (?)", (what(change),))
            if change.is_user and len(tx.execute("SELECT * FROM kept").fetchall()) == 5:
                raise ValueError

        with pytest.raises(HookFailed):
            replay_hooks(repository, keep)
        kept: list[Any] = []

        def look(change: Change, tx: Any) -> None:
            kept[:] = tx.execute("SELECT * FROM kept").fetchall()

        replay_hooks(repository, look)
        assert kept == [("organization made",)] * 3


def test_in_async_code(postgres_schema: str) -> None:
    """The hook may be an async function, and gets the connection."""
    words: list[str] = []

    async def hook(change: Change, connection: Any) -> None:
        await connection.execute("SELECT 1")
        words.append(what(change))

    async def main() -> None:
        async with AsyncPostgresRepository.open(url_of_a_new_schema(postgres_schema)) as repository:
            await repository.put(HISTORY)
            assert await areplay_hooks(repository, hook) == Replayed(organizations=3, users=3, memberships=1)

    asyncio.run(main())
    assert words == ALL


def test_a_hook_must_be_one_of_the_repository() -> None:
    """An async function, and a sync repository in async code, are refused."""

    async def wait(change: Change, tx: object) -> None: ...

    with pytest.raises(ConfigurationError, match="plain functions"):
        replay_hooks(MemoryRepository(), wait)
    with pytest.raises(ConfigurationError, match="in a thread"):
        asyncio.run(areplay_hooks(threaded(MemoryRepository()), Recorder()))
