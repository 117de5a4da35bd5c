"""The promises of every repository about handled deliveries: once for each key, in one transaction with the records."""

import threading
from typing import Any

import pytest

from ..core.model import Change
from ..core.records import AnyRecord, key_of
from ..errors import ConfigurationError
from ..ports import Repository
from .samples import ANN, HERE, MakeRepository, by_key, company, found, person

DAY = 86_400
FIRST, SECOND = "1" * 32, "2" * 32


class Interrupted(BaseException):
    """Not an `Exception`: like the end of the process, or the cancellation of a task."""


class DeliveryContract:
    """A part of `RepositoryContract`."""

    def test_a_delivery_is_handled_once(self, make_repository: MakeRepository) -> None:
        """The function is called after the hooks, once for each key. A known key writes and calls nothing."""
        told: list[str] = []

        def hook(change: Change, tx: object) -> None:
            told.append("hook")

        repository = make_repository(ids=by_key, hooks=[hook])

        (change,) = repository.put_once(FIRST, [person()], lambda tx: told.append("handler")) or []
        assert change.made
        assert change.after == found(repository)
        assert told == ["hook", "handler"]
        assert repository.put_once(FIRST, [person(at=2, first_name="Ann")], lambda tx: told.append("never")) is None
        assert found(repository).clerk == person()
        assert repository.put_once(SECOND, [person()], lambda tx: told.append("again")) == []
        assert told == ["hook", "handler", "again"]

    def test_a_delivery_may_have_no_records(self, repository: Repository) -> None:
        """An event that is not stored is handled once all the same."""
        told: list[object] = []

        assert [repository.put_once(FIRST, [], told.append) for _ in range(2)] == [[], None]
        assert len(told) == 1
        assert told[0] is not None

    def test_a_delivery_is_handled_again_on_request(self, repository: Repository) -> None:
        """With `again`, a known key calls the function. A new key becomes known."""
        told: list[int] = []

        assert repository.put_once(FIRST, [person()], lambda tx: told.append(1), again=True) != []
        assert repository.put_once(FIRST, [person()], lambda tx: told.append(2), again=True) == []
        assert repository.put_once(FIRST, [person()], lambda tx: told.append(3)) is None
        assert told == [1, 2]

    def test_a_delivery_without_a_key_is_not_remembered(self, repository: Repository) -> None:
        """Each call is the first."""
        told: list[object] = []
        for _ in range(2):
            assert repository.put_once(None, [], told.append, again=True) == []
            assert repository.put_once(None, [], told.append) == []
        assert len(told) == 4

    @pytest.mark.parametrize("error", [ValueError("no seats left"), Interrupted()], ids=["error", "interrupt"])
    def test_a_handler_that_raises_undoes_everything(self, repository: Repository, error: BaseException) -> None:
        """Its error passes unchanged, and the next attempt does all of it."""
        told: list[object] = []
        repository.listeners.after_commit(told.append)

        def fail(tx: object) -> None:
            raise error

        records: list[AnyRecord] = [person(), company()]
        with pytest.raises(type(error)) as raised:
            repository.put_once(FIRST, records, fail)

        assert raised.value is error
        assert repository.find(HERE, ANN) is None
        assert repository.row("organization", HERE, key_of("org_acme")) is None
        assert told == []
        assert len(repository.put_once(FIRST, records, told.append) or []) == 2
        assert len(told) == 3

    def test_a_handler_must_not_write_through_the_repository(self, repository: Repository) -> None:
        """A write would wait for itself: it is refused at once."""
        with pytest.raises(ConfigurationError, match="use the transaction"):
            repository.put_once(FIRST, [person()], lambda tx: repository.put([company()]))
        with pytest.raises(ConfigurationError, match="use the transaction"):
            repository.put_once(FIRST, [person()], lambda tx: repository.put_once(SECOND, [], lambda tx: None))
        assert repository.find(HERE, ANN) is None
        assert repository.put_once(SECOND, [], lambda tx: None) == []

    def test_a_handler_reads_what_is_written(self, repository: Repository) -> None:
        """It reads the uncommitted records of its delivery through the repository."""
        seen: list[Any] = []

        def look(tx: object) -> None:
            seen.extend([repository.find(HERE, ANN), repository.in_transaction()])

        repository.put_once(FIRST, [person()], look)

        standing, in_transaction = seen
        assert (standing.user, standing.settled, in_transaction) == (found(repository), False, True)

    def test_of_many_at_once_one_is_handled(self, repository: Repository) -> None:
        """Threads with the same delivery call the function until it succeeds once."""
        start = threading.Barrier(8)
        called: list[int] = []
        outcomes: list[object] = []

        def handle(tx: object) -> None:
            called.append(1)
            if len(called) == 1:
                raise ValueError("the first attempt fails")

        def race() -> None:
            start.wait()
            try:
                outcomes.append(repository.put_once(FIRST, [person()], handle))
            except ValueError as error:
                outcomes.append(error)

        threads = [threading.Thread(target=race) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(called) == 2
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType"] * 6 + ["ValueError", "list"]
        assert found(repository).clerk == person()

    def test_a_delivery_is_known_for_ninety_days(self, make_repository: MakeRepository) -> None:
        """Later writes remove older keys."""
        now = [1_000_000.0]
        repository = make_repository(ids=by_key, clock=lambda: now[0])
        told: list[float] = []

        def handled(key: str) -> bool:
            return repository.put_once(key, [], lambda tx: told.append(now[0])) is not None

        assert handled(FIRST)
        now[0] += 89 * DAY
        assert handled(SECOND)
        assert not handled(FIRST)
        now[0] += 2 * DAY
        assert handled("3" * 32)
        assert handled(FIRST)
        assert not handled(SECOND)
