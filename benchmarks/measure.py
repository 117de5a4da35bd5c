"""How everything here is measured.

A time means little on a machine that does other things as well, and the ratio of two times taken minutes apart means
less. So each row takes both of its times in one run, in rounds that alternate (A B A B ...): what disturbs one disturbs
the other, and the ratio is the median of the ratios within each round. The minimum stands next to the median because
it is what the machine can do when it is left alone.
"""

import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple


class Figure(NamedTuple):
    """One side of a row: seconds for one call, or bytes for one user."""

    median: float
    minimum: float


class Aim(NamedTuple):
    """What a row should reach. `ratio` and `limit` are upper bounds, of the ratio and of the median."""

    text: str
    ratio: float = float("inf")
    limit: float = float("inf")


@dataclass(frozen=True)
class Row:
    """One line of the table. `unit` is "s" or "B"; without `theirs` there is nothing to compare with."""

    group: str
    what: str
    ours: Figure
    against: str = ""
    theirs: Figure | None = None
    ratio: float | None = None
    aim: Aim | None = None
    unit: str = "s"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None where there is no aim."""
        if self.aim is None:
            return None
        return self.ours.median <= self.aim.limit and (self.ratio is None or self.ratio <= self.aim.ratio)


class Side(NamedTuple):
    """What is called, and what with: `arguments` makes them anew for each round, outside the time that is taken.

    Anew, because a text remembers its hash: a token used a second time as the same object would be looked up faster
    than any token that comes out of a request.
    """

    call: Callable[[Any], object]
    arguments: Callable[[], Sequence[Any]]


def constant(arguments: Sequence[Any]) -> Callable[[], Sequence[Any]]:
    """The same arguments for every round, where nothing about them is remembered."""
    return lambda: arguments


def compare(ours: Side, theirs: Side, rounds: int, label: str) -> tuple[Figure, Figure, float]:
    """Alternate the two sides, one unmeasured round each first. Both figures, and the median of the ratios."""
    _round(ours)
    _round(theirs)
    pairs = []
    for number in range(rounds):
        progress(f"{label}: round {number + 1} of {rounds}")
        pairs.append((_round(ours), _round(theirs)))
    progress("")
    mine, other = zip(*pairs, strict=True)
    return figure(mine), figure(other), median(a / b for a, b in pairs)


def figure(values: Sequence[float]) -> Figure:
    return Figure(median(values), min(values))


def _round(side: Side) -> float:
    """Seconds per call. Collected garbage would be charged to whoever is running when it is noticed."""
    call, arguments = side.call, side.arguments()
    gc.disable()
    try:
        begin = perf_counter()
        for argument in arguments:
            call(argument)
        return (perf_counter() - begin) / len(arguments)
    finally:
        gc.enable()


def progress(text: str) -> None:
    """A line that overwrites itself, for a person who waits. Nothing where nobody is looking."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
