"""Mutants of the rule and of the repositories' SQL die: see `mutants.py`. A dozen, and all under `CLERKMAP_SOAK=1`."""

import os

import pytest

from mutants import mutated, replaced, run
from mutants_table import MUTANTS, Mutant

SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
CHOSEN = MUTANTS if SOAK else MUTANTS[::6]
MODULE = """LIMIT = 1


class Ranked:
    def newer(self, old):
        return self.rank > old.rank


def newer(new, old):
    return (
        new.rank > old.rank
    )
"""


def test_the_table_is_up_to_date() -> None:
    """Each text stands in its place exactly once, each mutant is Python, and no two are the same."""
    made = [mutated(mutant) for mutant in MUTANTS]
    for mutant, texts in zip(MUTANTS, made, strict=True):
        for file, text in texts.items():
            compile(text, f"{mutant.name}: {file}", "exec")

    assert len({mutant.name for mutant in MUTANTS}) == len({str(texts) for texts in made}) == len(MUTANTS)


def test_a_text_is_replaced_in_its_place_alone() -> None:
    """In a function, a method or a constant, however its lines are broken."""
    assert replaced(MODULE, "LIMIT", "1", "2") == MODULE.replace("LIMIT = 1", "LIMIT = 2")
    assert replaced(MODULE, "Ranked.newer", "rank >", "rank >=") == MODULE.replace("self.rank >", "self.rank >=")
    assert replaced(MODULE, "newer", "return ( new.rank", "return (0") == MODULE.replace("(\n        new.rank", "(0")
    for place, text in (("newer", "self"), ("older", "rank"), ("Ranked.newer", "rank")):
        with pytest.raises(LookupError):
            replaced(MODULE, place, text, "x")


@pytest.mark.slow
def test_the_source_as_it_is_lives() -> None:
    """Without a mutant their tests pass: or a death would show nothing."""
    assert run(None, dict.fromkeys(test for mutant in CHOSEN for test in mutant.tests)).by is None


@pytest.mark.slow
@pytest.mark.parametrize("mutant", CHOSEN, ids=lambda mutant: mutant.name)
def test_a_mutant_dies(mutant: Mutant) -> None:
    """Each small lie is found out by one test at least, of those that the table names."""
    assert run(mutant).killed, f"it survived, and {mutant.why}"
