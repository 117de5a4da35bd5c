"""Whoever is in two instances, and however the run is ended: those are moved who must be, nobody else, and once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clerkmap.sync import By, plan_relink
from relink_world import (
    DEV,
    PROD,
    REPOSITORIES,
    WAYS,
    Cut,
    Interrupted,
    Person,
    expected,
    mappings,
    relink,
    state,
    told,
    whose,
    worlds,
)

BY: st.SearchStrategy[By | dict[str, str]] = st.one_of(st.sampled_from(WAYS), mappings())


@settings(max_examples=400)
@given(worlds(), BY)
def test_those_are_moved_who_must_be_and_nobody_else(people: list[Person], by: By | dict[str, str]) -> None:
    """On every repository: whoever is moved is beyond doubt, all others lead where they led, and again is nothing."""
    new = by.values() if isinstance(by, dict) else ()
    known = {each.clerk_id: each for each in people if each.instance == PROD}
    moved = expected(people, by)
    for make in REPOSITORIES:
        repository = told(make(), people)
        relink(repository, by)
        for each in people:
            if each.instance != PROD:
                assert whose(repository, each.instance, each.clerk_id) == each.user
        for clerk_id in {*known, *new}:
            before = known[clerk_id].user if clerk_id in known else None
            assert whose(repository, PROD, clerk_id) == moved.get(clerk_id, before)
        again = plan_relink(repository, from_=DEV, to=PROD, by=by)
        assert again.moves == ()
        assert again.already >= len(moved)
        repository.close()


@settings(max_examples=200)
@given(worlds(), BY, st.integers(0, 60), st.booleans())
def test_who_is_interrupted_anywhere_and_runs_it_again_comes_to_the_same_end(
    people: list[Person], by: By | dict[str, str], at: int, after: bool
) -> None:
    """Before any call of the repository, or after it: nobody is half moved, and a second run does the rest."""
    mapping = by if isinstance(by, dict) else {}
    for make in REPOSITORIES:
        whole, cut = told(make(), people), told(make(), people)
        relink(whole, by)
        before, end = state(cut, people, mapping), state(whole, people, mapping)
        try:
            relink(Cut(cut, at, after=after), by)
        except Interrupted:
            between = state(cut, people, mapping)
            assert all(user in (before[place], end[place]) for place, user in between.items())
            relink(cut, by)
        assert state(cut, people, mapping) == end
        whole.close()
        cut.close()


@pytest.mark.parametrize("make", REPOSITORIES)
def test_at_every_call_of_one_run(make: type) -> None:
    """The same, one call after the other, of a run that moves three people in all ways there are."""
    people = [Person(DEV, f"dev-{number}") for number in range(3)] + [Person(PROD, f"exam-{n}") for n in range(2)]
    mapping = {f"dev-{number}": f"exam-{number}" for number in range(3)}
    at, was_cut = 0, True
    while was_cut:
        for after in (False, True):
            repository = told(make(), people)
            try:
                relink(Cut(repository, at, after=after), mapping)
                was_cut = False
            except Interrupted:
                relink(repository, mapping)
            assert [whose(repository, PROD, f"exam-{n}") for n in range(3)] == [f"yours-dev-{n}" for n in range(3)]
            repository.close()
        at += 1
    assert at > 20
