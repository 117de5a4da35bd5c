"""The texts of searches and the cursors of pages come from strangers: each costs no more than its limit."""

from typing import Any

import pytest

from clerkmap.errors import ConfigurationError
from clerkmap.repositories import SqliteRepository
from clerkmap.repositories.arguments import MOST
from clerkmap.repositories.listing import MAX_CURSOR, MAX_TERM, terms_of
from clerkmap.testing.samples import person
from counting import Count, counted_text, counting_lines

HUGE = 20_000_000


def test_a_long_search_costs_nothing() -> None:
    """A text that is longer than every stored term is not folded, and finds nothing."""
    with SqliteRepository.open(":memory:") as repository:
        repository.put([person(first_name="x" * 1_000)])
        touched = Count()
        with counting_lines() as lines:
            assert repository.users(counted_text("x" * HUGE, touched)).items == ()
        assert (touched.number, lines.number < 300) == (0, True)
        assert len(repository.users("x" * MAX_TERM).items) == 1
        assert repository.users("x" * (MAX_TERM + 1)).items == ()


def test_a_long_cursor_is_not_decoded() -> None:
    """A cursor beyond the limit is refused for its length alone; the longest real one is far below it."""
    with SqliteRepository.open(":memory:") as repository:
        names = ["🙂" * 1_000, "🙂" * 1_001]
        repository.put([person(f"user_{number}", first_name=name) for number, name in enumerate(names)])
        page = repository.users("🙂", limit=1)
        assert page.after is not None
        assert len(page.after) < MAX_CURSOR // 2
        assert len(repository.users("🙂", after=page.after, limit=1).items) == 1
        touched = Count()
        with counting_lines() as lines, pytest.raises(ConfigurationError, match="after must be"):
            repository.users(after=counted_text("x" * HUGE, touched))
        assert (touched.number, lines.number < 100) == (0, True)
        with pytest.raises(ConfigurationError, match="after must be"):
            repository.users(after="x." + "W" * (MAX_CURSOR - 2))


def test_a_page_is_bounded() -> None:
    """A page and a count have at most 10,000 items."""
    with SqliteRepository.open(":memory:") as repository:
        limits: list[Any] = [MOST + 1, 2**63]
        for limit in limits:
            with pytest.raises(ConfigurationError, match="10000"):
                repository.users(limit=limit)
            with pytest.raises(ConfigurationError, match="10000"):
                repository.count_organizations(at_most=limit)


def test_terms_of_hostile_names_are_short() -> None:
    """A name that grows when it is folded is cut afterwards, so that every database can index it."""
    for character in ("ŉ", "ﬃ", "🙂", "\U0010ffff", "\ufdfa", "İ"):
        user = person(first_name=character * 1_000, last_name=character * 1_000, email=character * 1_000)
        assert max(len(term.text) for term in terms_of(user)) <= MAX_TERM
