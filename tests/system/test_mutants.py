"""Mutants of the rule and of SQLite's SQL die: see `mutants.py`. All of them under `CLERKMAP_SOAK=1`, else a dozen."""

import os

import pytest

from mutants import mutated, run
from mutants_table import MUTANTS, Mutant

SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
CHOSEN = MUTANTS if SOAK else MUTANTS[::6]


def test_the_table_is_up_to_date() -> None:
    """Each text stands in the source exactly once, each mutant is Python, and no two are the same."""
    made = [mutated(mutant) for mutant in MUTANTS]
    for mutant, texts in zip(MUTANTS, made, strict=True):
        for file, text in texts.items():
            compile(text, f"{mutant.name}: {file}", "exec")

    assert len({mutant.name for mutant in MUTANTS}) == len({str(texts) for texts in made}) == len(MUTANTS)


@pytest.mark.slow
def test_the_source_as_it_is_lives() -> None:
    """Without a mutant the chosen tests pass: or a death would show nothing."""
    assert run(None).by is None


@pytest.mark.slow
@pytest.mark.parametrize("mutant", CHOSEN, ids=lambda mutant: mutant.name)
def test_a_mutant_dies(mutant: Mutant) -> None:
    """Each small lie is found out by one test at least."""
    assert run(mutant).killed, f"it survived, and {mutant.why}"
