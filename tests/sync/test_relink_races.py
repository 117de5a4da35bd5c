"""What changes between a plan and its moves: the person concerned is refused, and the others go on."""

from collections.abc import Callable
from typing import Any

import pytest

from clerkmap import Repository
from clerkmap.repositories import MemoryRepository
from clerkmap.sync import By, Reason, apply_relink, plan_relink
from relink_world import ADA, DEV, FINE, NEW, PROD, Person, by_clerk_id, tell, told, whose

# What may happen between the plan and the move of Ada, and what becomes of her.
MEANWHILE: list[tuple[str, Callable[[Repository], Any], Reason | None]] = [
    (
        "the new identity was tied elsewhere",
        lambda repository: repository.relink(PROD, "new-ada", "yours-new-ada", to="yours-eve"),
        "life_of_its_own",
    ),
    ("it was unlinked", lambda repository: repository.unlink(PROD, "new-ada", "yours-new-ada"), "changed"),
    ("the old one was unlinked", lambda repository: repository.unlink(DEV, "ada", "yours-ada"), "changed"),
    ("the old one was deleted", lambda repository: tell(repository, Person(DEV, "ada", deleted=True)), "deleted"),
    ("my user was erased", lambda repository: repository.erase("yours-ada"), "deleted"),
    ("the new one was deleted", lambda repository: tell(repository, Person(PROD, "new-ada", deleted=True)), "deleted"),
    (
        "my user came by another",
        lambda r: r.link(PROD, "other", "yours-ada", shared=True),
        "user_taken",
    ),
    (
        "the other got another",
        lambda r: r.link(DEV, "x", "yours-new-ada", shared=True),
        "life_of_its_own",
    ),
    (
        "somebody moved her already",
        lambda repository: repository.relink(PROD, "new-ada", "yours-new-ada", to="yours-ada"),
        None,
    ),
]


def unlinkable() -> Repository:
    """One whose ids are made anew each time, so that somebody can be unlinked."""
    numbers = iter(range(100))
    given = set[str]()

    def make(record: Any) -> str:
        first = by_clerk_id(record)
        if first in given:
            return f"{first}-{next(numbers)}"
        given.add(first)
        return first

    return MemoryRepository(ids=make)


@pytest.mark.parametrize(("name", "happens", "reason"), MEANWHILE, ids=[row[0] for row in MEANWHILE])
@pytest.mark.parametrize("by", ["external_id", "mapping"])
def test_what_changes_after_the_plan_concerns_one_person_alone(
    name: str, happens: Callable[[Repository], Any], reason: Reason | None, by: str
) -> None:
    """Nobody is moved whom the plan did not mean, and the others go on."""
    eve = Person(DEV, "eve", external_id="none")
    repository = told(unlinkable(), [ADA, NEW, eve, *FINE])
    way: By | dict[str, str] = {"ada": "new-ada", "old": "new"} if by == "mapping" else "external_id"
    plan = plan_relink(repository, from_=DEV, to=PROD, by=way)
    assert len(plan.moves) == 2
    happens(repository)
    before = whose(repository, PROD, "new-ada")
    done = apply_relink(repository, plan)
    assert [each.to_clerk_id for each in done.moves] == ["new"]
    assert whose(repository, PROD, "new-ada") == before
    assert [each.reason for each in done.refusals[len(plan.refusals) :]] == ([reason] if reason else [])
    assert done.already == (0 if reason else 1)


def test_another_external_id_after_the_plan_is_another_person() -> None:
    """A webhook takes away what the plan went by."""
    repository = told(MemoryRepository(ids=by_clerk_id), [ADA, NEW, *FINE])
    plan = plan_relink(repository, from_=DEV, to=PROD, by="external_id")
    clerk_says = Person(PROD, "new-ada", "a-later@example.com", True, "2")
    tell(repository, clerk_says, at=5)
    done = apply_relink(repository, plan)
    assert [each.reason for each in done.refusals] == ["changed"]
    assert whose(repository, PROD, "new-ada") == "yours-new-ada"


class Meddled(MemoryRepository):
    """Something else writes at the last moment, between the look at somebody and the move."""

    def meddle(self, happens: Callable[[Repository], Any]) -> None:
        """From now on, once."""
        self._happens: Callable[[Repository], Any] | None = happens

    def relink(self, *arguments: Any, **named: Any) -> Any:
        self._meddled()
        return super().relink(*arguments, **named)

    def link(self, *arguments: Any, **named: Any) -> Any:
        self._meddled()
        return super().link(*arguments, **named)

    def _meddled(self) -> None:
        happens, self._happens = getattr(self, "_happens", None), None
        if happens is not None:
            happens(self)


@pytest.mark.parametrize(
    ("people", "happens"),
    [
        ([ADA, NEW], lambda repository: repository.relink(PROD, "new-ada", "yours-new-ada", to="yours-eve")),
        ([ADA], lambda repository: tell(repository, NEW)),
    ],
)
def test_at_the_last_moment_the_repository_itself_refuses(
    people: list[Person], happens: Callable[[Repository], Any]
) -> None:
    """Whether it was tied elsewhere, or seen for the first time: it stays there, and the others go on."""
    repository = Meddled(ids=by_clerk_id)
    told(repository, [*people, Person(DEV, "eve"), *FINE])
    plan = plan_relink(repository, from_=DEV, to=PROD, by={"ada": "new-ada", "old": "new"})
    repository.meddle(happens)
    done = apply_relink(repository, plan)
    assert [each.reason for each in done.refusals] == ["changed"]
    assert [each.to_clerk_id for each in done.moves] == ["new"]
    assert whose(repository, PROD, "new-ada") != "yours-ada"
