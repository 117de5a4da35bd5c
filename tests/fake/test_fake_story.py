"""Whole lives at the made-up Clerk, told by its webhooks in every disorder, end in the state that it is in."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerkmap import Reconciler
from clerkmap.repositories import MemoryRepository
from fake_story import Story

CHOICES = st.randoms(use_true_random=False)
CHANCE = st.integers(0, 1_000_000).map(Random)  # a day of retries is too long to be chosen step by step


def told(seed: int, choose: Random, chance: Random, length: int, drop: float) -> tuple[Story, MemoryRepository]:
    """A story of some length, and a repository that was told of it."""
    story = Story.begin(seed)
    for _ in range(3):
        story.users.append(story.clerk.create_user())
        story.organizations.append(story.clerk.create_organization())
    story.sessions.append(story.clerk.sign_in(story.users[0]))
    story.invitations.append(story.clerk.invite(story.organizations[0], "cid@example.com"))
    for _ in range(length):
        story.act(choose)
    repository = MemoryRepository(clock=story.clerk.clock)
    reconciler = Reconciler(story.clerk.instance, repository, clock=story.clerk.clock)
    story.deliver(reconciler, chance, drop)
    return story, repository


@pytest.mark.slow
@given(st.integers(0, 3), CHOICES, CHANCE, st.integers(0, 40))
def test_what_is_told_in_any_order_ends_in_what_is_so(seed: int, choose: Random, chance: Random, length: int) -> None:
    """Shuffled, twice, late and after failures: every user, organization, membership and session is right."""
    story, repository = told(seed, choose, chance, length, drop=0)
    story.check(repository)


@pytest.mark.slow
@given(st.integers(0, 3), CHOICES, CHANCE, st.integers(0, 40))
def test_what_was_lost_makes_it_older_and_never_wrong(seed: int, choose: Random, chance: Random, length: int) -> None:
    """A third never arrives: what is known is so, was so, or is missing; what was told last is so."""
    story, repository = told(seed, choose, chance, length, drop=0.3)
    story.check(repository)
