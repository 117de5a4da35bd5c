"""Your ids and roles are written back to Clerk: each once, none lost, and never because Clerk has just said them."""

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from backfill_world import Ending, plenty
from clerkmap import Change, ClerkUser, ConfigurationError, Repository, WriteBack, threaded
from clerkmap.clerk import ClerkApi
from clerkmap.core.records import FROM_TOKEN
from clerkmap.core.times import to_datetime
from clerkmap.errors import ApiKeyRefused, ApiUnavailable, WrongInstance
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.sync import OutboxWorker, adrain, afill_outbox, drain, fill_outbox
from clerkmap.sync.outbox import FIRST_PAUSE, TAKEN, Sent
from clerkmap.testing import FakeClerk
from writeback_world import BACK, PLACES, WritingWorld, place_of


@pytest.fixture(params=PLACES)
def world(request: pytest.FixtureRequest, tmp_path: Path, postgres_schema: str) -> Any:
    """A Clerk without people, and a repository that tells it your ids."""
    world = WritingWorld.of(1, place_of(request.param, tmp_path, postgres_schema))
    yield world
    world.repository.close()


def instance_of(world: WritingWorld) -> str:
    """How the instance is called."""
    return world.clerk.instance.name


def user_of(world: WritingWorld, clerk_id: str) -> Any:
    """Your user behind a Clerk id."""
    standing = world.repository.find(instance_of(world), clerk_id)
    assert standing is not None
    return standing.user


def test_whoever_comes_is_told_your_id(world: WritingWorld) -> None:
    """In the metadata and as external id, and nothing else there is touched."""
    ada = world.clerk.create_user("ada@example.com", public_metadata={"theme": "dark"})
    acme = world.clerk.create_organization("Acme", created_by=ada, public_metadata={"plan": "pro"})
    world.hear()
    assert world.drain().to_dict() == {"written": 2, "known": 0, "gone": 0, "failed": 0}

    user = user_of(world, ada.id)
    assert ada.public_metadata == {"theme": "dark", "userId": user.id}
    assert ada.external_id == user.id
    organization = world.repository.find(instance_of(world), ada.id, acme.id)
    assert organization is not None
    assert organization.organization is not None
    assert acme.public_metadata == {"plan": "pro", "orgId": organization.organization.id}
    assert world.repository.outbox(instance_of(world)) == []


def test_an_echo_changes_nothing(world: WritingWorld) -> None:
    """The webhooks that the write has caused, twice and shuffled, lead to no further one. Nor does a backfill."""
    for number in range(5):
        world.clerk.create_user(f"p{number}@example.com")
    world.hear()
    world.drain()
    written = list(world.counting.writes)
    assert len(written) == 10  # external id and metadata are two questions of Clerk's
    for _ in range(5):
        world.hear(shuffle=True, duplicate=0.5)
        assert world.drain() == Sent()
    assert world.counting.writes == written
    assert world.wrong() == []


def test_who_is_known_from_a_token_is_told_too(world: WritingWorld) -> None:
    """And what Clerk answers fills in the row that the token has made."""
    ada = world.clerk.create_user("ada@example.com", first_name="Ada")
    world.repository.put([ClerkUser.make(FROM_TOKEN, instance_of(world), ada.id, observed_at=1)])
    world.drain()
    assert world.wrong() == []
    assert user_of(world, ada.id).name == "Ada"


def test_many_changes_are_one_write(world: WritingWorld) -> None:
    """The last role counts, and those before it are never sent."""
    ada = world.clerk.create_user("ada@example.com")
    world.hear()
    world.drain()
    world.hear()
    before = len(world.counting.writes)
    for role in ("author", "editor", "admin"):
        world.repository.set_role(user_of(world, ada.id).id, role)
    assert world.drain(after=1.9) == Sent()
    assert world.drain(after=0.1).written == 1
    assert world.counting.writes[before:] == [f"PATCH /users/{ada.id}/metadata"]
    assert (ada.public_metadata or {})["role"] == "admin"

    world.repository.set_role(user_of(world, ada.id).id, None)
    world.drain()
    assert "role" not in (ada.public_metadata or {})


def test_a_role_that_goes_and_comes_back_is_not_sent(world: WritingWorld) -> None:
    """What Clerk holds already is not written."""
    ada = world.clerk.create_user("ada@example.com", public_metadata={"role": "author"})
    world.hear()
    world.drain()
    before = len(world.counting.writes)
    for role in ("admin", "author"):
        world.repository.set_role(user_of(world, ada.id).id, role)
    assert world.drain() == Sent(known=1)
    assert world.counting.writes[before:] == []


def test_clerks_limits_are_kept(world: WritingWorld) -> None:
    """However often a role changes, Clerk refuses nothing: it allows ten writes of one person in ten seconds."""
    ada = world.clerk.create_user("ada@example.com")
    world.clerk.faults.rate_limit, world.clerk.faults.limit = True, None
    world.hear()
    world.drain()
    for number in range(200):
        world.repository.set_role(user_of(world, ada.id).id, f"role {number}")
        assert world.drain(after=0.1).failed == 0
        world.hear()
    world.drain()
    assert (ada.public_metadata or {})["role"] == "role 199"
    assert len(world.counting.writes) <= 2 + 20 / 2 + 2
    assert world.wrong() == []


def test_what_changes_while_it_is_sent_is_sent_next(world: WritingWorld) -> None:
    """They stay in the outbox, to be looked at again."""
    ada = world.clerk.create_user("ada@example.com")
    world.hear()
    id = user_of(world, ada.id).id
    changes = iter(["editor", "admin"])

    class Meanwhile:
        """The API, during whose questions somebody changes a role."""

        instance, check = world.clerk.instance, world.api.check

        def send(self, question: Any) -> Any:
            if question.method == "PATCH" and (role := next(changes, None)):
                world.repository.set_role(id, role)
            return world.api.send(question)

    world.drain(api=Meanwhile())
    assert (ada.public_metadata or {}).get("role") is None
    world.drain()
    assert (ada.public_metadata or {})["role"] == "admin"
    assert world.repository.outbox(instance_of(world)) == []


def test_somebody_who_is_gone_is_left_alone(world: WritingWorld) -> None:
    """Clerk's 404 is no error: nothing is left to be written."""
    ada, bea = (world.clerk.create_user(f"{name}@example.com") for name in ("ada", "bea"))
    world.hear()
    world.clerk.delete_user(ada)
    assert world.drain() == Sent(written=1, gone=1)
    world.repository.set_role(user_of(world, bea.id).id, "admin")
    world.clerk.delete_user(bea)
    world.hear()
    assert world.drain() == Sent(gone=1)
    assert world.repository.outbox(instance_of(world)) == []


def test_what_clerk_refuses_is_seen_and_tried_again(world: WritingWorld, caplog: pytest.LogCaptureFixture) -> None:
    """With Clerk's code and less and less often; the others go on. Nothing personal is told."""
    ada, bea = (world.clerk.create_user(f"{name}@example.com") for name in ("ada", "bea"))
    world.hear()
    with world.clerk.silence():  # no two people may have one external id
        cid = world.clerk.create_user("cid@example.com", external_id=user_of(world, ada.id).id)
    with caplog.at_level(logging.WARNING):
        assert world.drain() == Sent(written=1, failed=1)
    (left,) = world.repository.outbox(instance_of(world))
    assert (left.error, left.tries) == ("form_identifier_exists", 1)
    assert left.due_at == to_datetime(int(world.clerk.clock() * 1000)) + FIRST_PAUSE
    assert "form_identifier_exists" in caplog.text
    assert not [said for said in (ada.id, bea.id, "example.com", left.key) if said in caplog.text]

    assert world.drain(after=FIRST_PAUSE.total_seconds() - 1) == Sent()
    assert world.drain() == Sent(failed=1)
    (left,) = world.repository.outbox(instance_of(world))
    assert left.tries == 2
    assert left.due_at == to_datetime(int(world.clerk.clock() * 1000)) + 2 * FIRST_PAUSE
    world.clerk.delete_user(cid)
    assert world.drain(after=3600) == Sent(written=1)
    assert world.wrong() == []


@pytest.mark.parametrize("when", ["cut_before", "cut_within", "cut_after", "server_error", "proxy_error"])
def test_nothing_is_written_twice_however_the_connection_ends(world: WritingWorld, when: str) -> None:
    """It is asked what Clerk holds before anything is sent again; so it is changed once, and in the end it is right."""
    ada = world.clerk.create_user("ada@example.com")
    world.hear()
    before = len(world.clerk.wire.messages)
    setattr(world.clerk.faults, when, 1)
    with pytest.raises(ApiUnavailable):
        world.drain()
    (left,) = world.repository.outbox(instance_of(world))
    assert left.error == "api_unavailable" or left.tries == 0
    setattr(world.clerk.faults, when, 0)
    for _ in range(5):
        world.drain(after=60)
    assert world.wrong() == []
    changed = [message.type for message in list(world.clerk.wire.messages.values())[before:]]
    assert changed == ["user.updated"] * 2, "Clerk was changed more often than there was something to change"
    assert world.repository.outbox(instance_of(world)) == []
    assert ada.external_id


@pytest.mark.parametrize("afterwards", [False, True])
def test_a_process_may_end_at_any_step(afterwards: bool) -> None:
    """Before or after each question and each write: the next one finishes it, and Clerk is changed no more often."""
    step, is_over = 0, False
    while not is_over:
        world = WritingWorld.of(7)
        ada = world.clerk.create_user("ada@example.com")
        world.clerk.create_organization("Acme", created_by=ada)
        world.hear()
        before = len(world.clerk.wire.messages)
        ending = Ending(step, KeyboardInterrupt, afterwards)
        names = ("outbox", "outbox_entry", "swap_outbox_entry", "row", "record", "put")
        try:
            world.drain(api=ending.of(world.api, ("send",)), repository=ending.of(world.repository, names))
            is_over = True
        except KeyboardInterrupt:
            pass
        world.drain(after=TAKEN.total_seconds() + 1)
        world.hear(shuffle=True)
        world.drain()
        assert world.wrong() == [], step
        messages = [message.type for message in list(world.clerk.wire.messages.values())[before:]]
        assert sorted(messages) == ["organization.updated", "user.updated", "user.updated"], step
        assert world.repository.outbox(instance_of(world)) == [], step
        step += 1
    assert step > 15


def test_several_at_once_send_each_once(tmp_path: Path) -> None:
    """Threads on one file: each person is taken by one of them."""
    world = WritingWorld.of(3, tmp_path / "app.db")
    for number in range(40):
        world.clerk.create_user(f"p{number}@example.com")
    world.hear()
    before = len(world.clerk.wire.messages)
    world.clerk.clock.advance(2)
    sent: list[Sent] = []
    threads = [
        threading.Thread(target=lambda: sent.append(drain(world.api, world.repository, clock=world.clerk.clock)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(each.written for each in sent) == 40
    assert len(world.clerk.wire.messages) - before == 80
    assert world.wrong() == []
    world.repository.close()


def test_two_who_write_one_name_do_not_make_it_worse(world: WritingWorld) -> None:
    """Somebody else who writes your name again and again is answered once for each time, and not more often than
    every other second."""
    ada = world.clerk.create_user("ada@example.com")
    world.hear()
    world.drain()
    for _ in range(5):
        world.clerk.merge_metadata(ada, public_metadata={"userId": "theirs"})
        world.hear()
        assert world.drain() == Sent(written=1)
        world.hear()
        assert world.drain() == Sent()
    assert world.wrong() == []


def test_what_clerk_does_not_keep_is_not_sent_for_ever(world: WritingWorld) -> None:
    """A write that is taken and not shown afterwards is put off like one that is refused."""
    world.clerk.create_user("ada@example.com")
    world.hear()

    class Forgetful:
        """An API that answers as if nothing had been written."""

        instance, check = world.clerk.instance, world.api.check

        def send(self, question: Any) -> Any:
            answer = world.api.send(question)
            return answer | {"public_metadata": {}, "external_id": None} if question.method == "PATCH" else answer

    assert world.drain(api=Forgetful()) == Sent(failed=1)
    (left,) = world.repository.outbox(instance_of(world))
    assert left.error == "not_kept"
    assert left.due_at > to_datetime(int(world.clerk.clock() * 1000))


def test_the_key_of_another_instance_writes_nothing(world: WritingWorld) -> None:
    """Nor does one that Clerk does not know; and all stays in the outbox."""
    world.clerk.create_user("ada@example.com")
    world.hear()
    other = FakeClerk(99)
    other.clock.freeze()
    stranger = ClerkApi(world.clerk.instance, transport=other.transport(), budget=plenty())
    with pytest.raises((WrongInstance, ApiKeyRefused)):
        world.drain(api=stranger)
    world.clerk.faults.keys_of = other
    with pytest.raises(WrongInstance):
        world.drain()
    assert not world.counting.writes
    assert len(world.repository.outbox(instance_of(world))) == 1


def test_nobody_is_asked_while_nothing_is_due(world: WritingWorld) -> None:
    """An outbox that is looked at every few seconds costs Clerk nothing."""
    world.drain()
    assert world.counting.all == []


def test_who_was_there_before_is_noted_when_you_ask_for_it(world: WritingWorld, tmp_path: Path) -> None:
    """All of whom Clerk does not hold what it should, and nobody else; once more is nothing more."""
    before = WritingWorld.of(4, tmp_path / "before.db", back=None)
    people = [before.clerk.create_user(f"p{number}@example.com") for number in range(12)]
    before.clerk.create_organization("Acme", created_by=people[0])
    before.clerk.delete_user(people[11])
    before.hear()
    before.repository.close()
    repository = SqliteRepository.open(tmp_path / "before.db", write_back=BACK, clock=before.clerk.clock)
    told: list[int] = []
    for _ in range(2):
        fill_outbox(
            repository, instance=before.clerk.instance, clock=before.clerk.clock, progress=lambda p: told.append(p.done)
        )
        assert len(repository.outbox(before.clerk.instance.name)) == 12
    assert told == [12, 13, 12, 13]
    before.repository = repository
    assert before.drain() == Sent(written=12)
    fill_outbox(repository, instance=before.clerk.instance)
    assert repository.outbox(before.clerk.instance.name) == []
    repository.close()


def test_in_async_code() -> None:
    """The same rule."""
    world = WritingWorld.of(5, back=BACK)
    world.clerk.create_user("ada@example.com")
    world.hear()

    async def run() -> Sent:
        world.clerk.clock.advance(2)
        repository = threaded(world.repository)
        await afill_outbox(repository, instance=world.clerk.instance, clock=world.clerk.clock)
        async with world.async_api as api:
            return await adrain(api, repository, clock=world.clerk.clock)

    assert asyncio.run(run()) == Sent(written=1)
    assert world.wrong() == []


def test_a_worker_sends_what_you_write() -> None:
    """Without being told, and until it is stopped. An error of Clerk's does not end it."""
    clerk = FakeClerk(6)
    repository: Repository = MemoryRepository(write_back=WriteBack(user_id="userId", role="role"))
    ada = clerk.create_user("ada@example.com")
    repository.put([clerk.record(ada)])
    api = ClerkApi(clerk.instance, transport=clerk.transport(), budget=plenty(), patience=0.01)
    clerk.faults.cut_before = 1
    with OutboxWorker(api, repository, every=0.05):
        waited = threading.Event()
        assert not waited.wait(2.3)
        clerk.faults.cut_before = 0
        (standing,) = [repository.find(clerk.instance.name, ada.id)]
        assert standing is not None
        repository.set_role(standing.user.id, "admin")
        for _ in range(400):
            if (ada.public_metadata or {}).get("role") == "admin":
                break
            waited.wait(0.05)
    assert ada.public_metadata == {"userId": standing.user.id, "role": "admin"}
    assert not [thread for thread in threading.enumerate() if thread.name == "clerkmap-outbox"]


def test_a_worker_ends_with_what_it_is_sending() -> None:
    """However many are waiting: they stay in the outbox."""
    clerk = FakeClerk(9)
    repository = MemoryRepository(write_back=WriteBack(user_id="userId"), clock=lambda: time.time() - 10)
    for number in range(200):
        repository.put([clerk.record(clerk.create_user(f"p{number}@example.com"))])
    clerk.faults.latency = 0.05
    with OutboxWorker(ClerkApi(clerk.instance, transport=clerk.transport(), budget=plenty()), repository):
        while len(repository.outbox(clerk.instance.name)) == 200:
            time.sleep(0.01)
    assert len(repository.outbox(clerk.instance.name)) > 150


def test_a_hook_that_raises_is_in_the_way_of_one_alone() -> None:
    """The others are sent, and its error stands in the outbox."""

    def refuse(change: Change, _: Any) -> None:
        if change.altered and change.user is not None and change.user.email == "ada@example.com":
            raise RuntimeError

    world = WritingWorld.of(10)
    world.repository = MemoryRepository(write_back=BACK, clock=world.clerk.clock, hooks=[refuse])
    for name in ("ada", "bea", "cid"):
        world.clerk.create_user(f"{name}@example.com")
    world.hear()
    assert world.drain() == Sent(written=2, failed=1)
    (left,) = world.repository.outbox(instance_of(world))
    assert left.error == "hook_failed"


def test_what_changes_while_it_is_put_off_is_put_off(world: WritingWorld) -> None:
    """With its error, and for no longer than anything else."""
    ada = world.clerk.create_user("ada@example.com")
    world.hear()
    id = user_of(world, ada.id).id
    with world.clerk.silence():
        world.clerk.create_user("cid@example.com", external_id=id)
    roles = iter(["editor", "admin"])

    class Meanwhile:
        """The repository, in which somebody changes a role just after it was looked at."""

        def __getattr__(self, name: str) -> Any:
            return getattr(world.repository, name)

        def outbox_entry(self, *place: Any) -> Any:
            seen = world.repository.outbox_entry(*place)
            if (role := next(roles, None)) is not None:
                world.repository.set_role(id, role)
            return seen

    assert world.drain(repository=Meanwhile()) == Sent(failed=1)
    (left,) = world.repository.outbox(instance_of(world))
    assert left.error == "form_identifier_exists"
    assert left.due_at == to_datetime(int(world.clerk.clock() * 1000)) + FIRST_PAUSE


def test_an_external_id_that_is_taken_leaves_the_metadata_alone(world: WritingWorld) -> None:
    """Two identities of one user cannot both have it at Clerk, and both are told your id."""
    ada, again = (world.clerk.create_user(f"{name}@example.com") for name in ("ada", "again"))
    world.hear()
    id = user_of(world, ada.id).id
    world.repository.relink(instance_of(world), again.id, user_of(world, again.id).id, to=id)
    assert world.drain() == Sent(written=1, failed=1)
    assert [each.public_metadata for each in (ada, again)] == [{"userId": id}] * 2
    (left,) = world.repository.outbox(instance_of(world))
    assert left.error == "form_identifier_exists"


def test_what_makes_no_sense_is_refused() -> None:
    """Names that no metadata has, one name for two things, and an outbox of which nobody said what is written."""
    wrong: list[dict[str, Any]] = [{"user_id": ""}, {"role": 7}, {"organization_id": "x" * 101}, {"user_id": "\n"}]
    for names in [*wrong, {"user_id": "id", "role": "id"}]:
        with pytest.raises(ConfigurationError):
            WriteBack(**names)
    world = WritingWorld.of(8, back=None)
    with pytest.raises(ConfigurationError, match="write_back="):
        world.drain()
    with pytest.raises(ConfigurationError, match="write_back="):
        fill_outbox(world.repository, instance=world.clerk.instance)
    with pytest.raises(ConfigurationError, match="write_back="):
        OutboxWorker(world.api, world.repository)
    asynchronous: Any = threaded(MemoryRepository(write_back=BACK))
    with pytest.raises(ConfigurationError, match="adrain"):
        OutboxWorker(world.api, asynchronous)
    not_one: Any = {"user_id": "userId"}
    with pytest.raises(ConfigurationError, match="WriteBack"):
        MemoryRepository(write_back=not_one)
    with pytest.raises(ConfigurationError, match="every"):
        OutboxWorker(world.api, MemoryRepository(write_back=BACK), every=0)
