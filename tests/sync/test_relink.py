"""A plan of who is who in two instances: whom it moves, each reason to refuse somebody, and what is asked wrongly."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from clerkmap import ConfigurationError, Reconciler, Repository
from clerkmap.repositories import MemoryRepository
from clerkmap.sync import REASONS, By, Move, Reason, apply_relink, plan_relink
from clerkmap.testing import FakeClerk
from relink_world import ADA, DEV, ELSEWHERE, FINE, NEW, PROD, REPOSITORIES, Person, by_clerk_id, told, whose

MINE = Person(DEV, "ada", "a@example.com", shared="mine")

CASES: list[tuple[str, list[Person], By | Mapping[str, str], Reason | None]] = [
    ("the same external id", [ADA, NEW], "external_id", None),
    ("the same address", [ADA, NEW], "verified_email", None),
    ("its Clerk id", [ADA, Person(PROD, "new-ada", external_id="ada")], "clerk_id", None),
    ("the id of my user", [ADA, Person(PROD, "new-ada", external_id="yours-ada")], "own_id", None),
    ("a mapping", [Person(DEV, "ada"), Person(PROD, "new-ada")], {"ada": "new-ada"}, None),
    ("a mapping ahead of time", [Person(DEV, "ada")], {"ada": "new-ada"}, None),
    ("no external id", [Person(DEV, "ada"), NEW], "external_id", "nothing_to_go_by"),
    ("an empty one", [Person(DEV, "ada", external_id=""), NEW], "external_id", "nothing_to_go_by"),
    ("no address", [Person(DEV, "ada"), NEW], "verified_email", "nothing_to_go_by"),
    ("nobody there", [ADA], "external_id", "not_found"),
    ("capitals of an external id count", [Person(DEV, "ada", external_id="A"), NEW], "external_id", "not_found"),
    ("nobody of the mapping", [NEW], {"ada": "new-ada"}, "not_found"),
    ("deleted there", [ADA, Person(PROD, "new-ada", "ada@example.com", deleted=True)], "verified_email", "not_found"),
    ("not verified in the old", [Person(DEV, "ada", "ada@example.com", False), NEW], "verified_email", "not_verified"),
    ("not verified in the new", [ADA, Person(PROD, "x", "ada@example.com", False)], "verified_email", "not_verified"),
    (
        "verified by a code that everybody knows",
        [Person(DEV, "ada", "a+clerk_test@example.com"), Person(PROD, "x", "A+CLERK_TEST@example.com")],
        "verified_email",
        "not_verified",
    ),
    ("two in the old", [ADA, NEW, Person(DEV, "eve", external_id="1")], "external_id", "ambiguous"),
    ("two in the new", [ADA, NEW, Person(PROD, "eve", external_id="1")], "external_id", "ambiguous"),
    (
        "another who has not verified it",
        [ADA, NEW, Person(PROD, "eve", "ADA@example.com", False)],
        "verified_email",
        "ambiguous",
    ),
    (
        "another in the old who has not",
        [ADA, NEW, Person(DEV, "eve", "ADA@example.com", False)],
        "verified_email",
        "ambiguous",
    ),
    ("two of a mapping to one", [ADA, NEW, Person(DEV, "eve")], {"ada": "new-ada", "eve": "new-ada"}, "ambiguous"),
    (
        "two of one user to two",
        [Person(DEV, "ada", shared="mine"), Person(DEV, "eve", shared="mine")],
        {"ada": "new-1", "eve": "new-2"},
        "ambiguous",
    ),
    ("deleted in the old", [Person(DEV, "ada", deleted=True), NEW], {"ada": "new-ada"}, "deleted"),
    ("deleted in the new", [ADA, Person(PROD, "new-ada", deleted=True)], {"ada": "new-ada"}, "deleted"),
    (
        "my user is there already",
        [
            MINE,
            Person(PROD, "x", "a@example.com"),
            Person(PROD, "y", shared="mine"),
        ],
        "verified_email",
        "user_taken",
    ),
    (
        "and was deleted there",
        [
            MINE,
            Person(PROD, "x", "a@example.com"),
            Person(PROD, "y", shared="mine", deleted=True),
        ],
        "verified_email",
        "user_taken",
    ),
    (
        "the other user has another life",
        [ADA, Person(PROD, "new-ada", external_id="1", shared="mine"), Person(ELSEWHERE, "y", shared="mine")],
        "external_id",
        "life_of_its_own",
    ),
    (
        "a swap",
        [
            Person(DEV, "ada", shared="a"),
            Person(DEV, "eve", shared="e"),
            Person(PROD, "x", shared="a"),
            Person(PROD, "y", shared="e"),
        ],
        {"ada": "y", "eve": "x"},
        "user_taken",
    ),
]


@pytest.mark.parametrize("make", REPOSITORIES)
@pytest.mark.parametrize(("name", "people", "by", "reason"), CASES, ids=[case[0] for case in CASES])
def test_who_is_moved_and_why_not(
    make: Callable[[], Repository], name: str, people: list[Person], by: By | Mapping[str, str], reason: Reason | None
) -> None:
    """One case each, beside somebody who is moved all the same."""
    fine = FINE
    if by == "clerk_id":
        fine = [FINE[0], Person(PROD, "new", external_id="old")]
    if by == "own_id":
        fine = [FINE[0], Person(PROD, "new", external_id="yours-old")]
    mine = {**by, "old": "new"} if isinstance(by, Mapping) else by
    repository = told(make(), [*people, *fine])
    plan = plan_relink(repository, from_=DEV, to=PROD, by=mine)
    assert {each.reason for each in plan.refusals} == ({reason} if reason else set())
    assert len(plan.moves) == (1 if reason else 2)
    assert Move("old", "new", "yours-new", "yours-old") in plan.moves
    for each in people:
        assert whose(repository, each.instance, each.clerk_id) == each.user  # a plan changes nothing
    done = apply_relink(repository, plan)
    assert done == plan
    if not reason:
        assert whose(repository, PROD, "new-ada") == "yours-ada"
    again = plan_relink(repository, from_=DEV, to=PROD, by=mine)
    assert (again.moves, again.already) == ((), len(plan.moves))
    assert apply_relink(repository, plan).moves == ()  # nor does the old plan do anything twice
    repository.close()


def test_every_reason_has_a_case() -> None:
    """But for the one that needs time to pass."""
    assert {case[3] for case in CASES} - {None} == set(REASONS) - {"changed"}


def test_live_webhooks_and_tokens_do_no_harm() -> None:
    """Who is moved stays moved, whatever Clerk says of them later; and a plan taken back is as before."""
    dev, prod = FakeClerk(1), FakeClerk(2)
    repository = MemoryRepository()
    old, new = dev.create_user("ada@example.com"), prod.create_user("ada@example.com")
    receivers = [(clerk, Reconciler(clerk.instance, repository, clock=clerk.clock)) for clerk in (dev, prod)]

    def deliver() -> None:
        for clerk, reconciler in receivers:
            for delivery in clerk.deliveries():
                reconciler.receive(delivery.headers, delivery.body)

    deliver()
    names: dict[str, Any] = {"from_": dev.instance.name, "to": prod.instance.name}
    plan = plan_relink(repository, by="verified_email", **names)
    (move,) = apply_relink(repository, plan).moves
    prod.update_user(new, first_name="Ada")
    deliver()
    assert whose(repository, prod.instance.name, new.id) == whose(repository, dev.instance.name, old.id) == move.after
    assert move.before is not None
    assert repository.user(move.before) is None  # left behind
    repository.relink(prod.instance.name, move.to_clerk_id, move.after, to=move.before)
    assert plan_relink(repository, by="verified_email", **names) == plan


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"from_": DEV, "to": DEV}, "must be different"),
        ({"from_": "dev", "to": PROD}, "clerkmap sync"),
        ({"from_": DEV, "to": "prod"}, "clerkmap sync"),
        ({"by": "email"}, "external_id"),
        ({"by": "mapping"}, "external_id"),
        ({"by": None}, "external_id"),
        ({"by": {"ada": ""}}, "Clerk ids"),
        ({"by": {"ada": "a\x00"}}, "Clerk ids"),
        ({"by": {"ada": "a" * 256}}, "Clerk ids"),
        ({"by": {7: "a"}}, "Clerk ids"),
    ],
)
def test_what_is_asked_wrongly_is_refused(arguments: dict[str, Any], said: str) -> None:
    """Before anything is planned, so that a slip in a name makes nobody."""
    repository = told(MemoryRepository(ids=by_clerk_id), [ADA, NEW])
    asked: dict[str, Any] = {"from_": DEV, "to": PROD, "by": "external_id", **arguments}
    with pytest.raises(ConfigurationError, match=said):
        plan_relink(repository, **asked)


def test_a_plan_tells_how_far_it_is_and_shows_nobody_in_a_log() -> None:
    """Progress goes up to the number of people; no id of Clerk's is in a repr; JSON has all of it."""
    repository = told(MemoryRepository(ids=by_clerk_id), [ADA, *FINE])
    seen = list[tuple[int, int | None]]()
    plan = plan_relink(
        repository, from_=DEV, to=PROD, by="external_id", progress=lambda far: seen.append((far.done, far.total))
    )
    assert seen == [(1, 2), (2, 2)]
    apply_relink(repository, plan, progress=lambda far: seen.append((far.done, far.total)))
    assert seen[2:] == [(1, 1)]
    assert "'ada'" not in repr(plan)
    assert "'new'" not in repr(plan)
    assert plan.to_dict() == {
        "from": DEV,
        "to": PROD,
        "by": "external_id",
        "moves": ({"from_clerk_id": "old", "to_clerk_id": "new", "before": "yours-new", "after": "yours-old"},),
        "already": 0,
        "refusals": ({"from_clerk_id": "ada", "to_clerk_id": None, "reason": "not_found"},),
    }


def test_many_people_are_read_page_by_page() -> None:
    """More than fit into one page, on both sides."""
    people = [Person(name, f"{name[:4]}{n}", external_id=str(n)) for n in range(1_200) for name in (DEV, PROD)]
    repository = told(MemoryRepository(ids=by_clerk_id), people)
    plan = plan_relink(repository, from_=DEV, to=PROD, by="external_id")
    assert len(apply_relink(repository, plan).moves) == 1_200
