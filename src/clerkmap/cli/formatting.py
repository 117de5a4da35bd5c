"""How things are shown to a person: marks, times, and how far a long work is. What strangers wrote is made harmless."""

import os
import re
import shutil
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..sync.job import OnProgress, Progress

_MARKS = {True: ("✓", "ok", "green"), False: ("✗", "NO", "red"), None: ("–", "--", "yellow")}  # noqa: RUF001 - the dash is meant
_SPANS = ((86_400, "days"), (3_600, "h"), (60, "min"))


def mark(passed: bool | None) -> str:
    """A tick, a cross, or a dash for what was not looked at."""
    sign, plainer, color = _MARKS[passed]
    try:
        sign.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        sign = plainer
    return click.style(sign, fg=color, bold=True)


def plain(text: object) -> str:
    """A text of a stranger's, in which nothing does anything to the terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in str(text))


def say(text: str, *, err: bool = True, indent: int = 0) -> None:
    """Write a line of prose. In a terminal it is broken between words, and what follows is indented."""
    click.echo(wrapped(text, err=err, indent=indent), err=err)


def wrapped(text: str, *, err: bool = True, indent: int = 0) -> str:
    """The text as the terminal is wide; as it is, where it goes to a program."""
    if not (sys.stderr if err else sys.stdout).isatty():
        return text
    room, lines = max(20, shutil.get_terminal_size().columns), list[str]()
    for line in text.split("\n"):
        lines.append("")
        for word in re.findall(r" *[^ ]+| +$", line):
            if lines[-1].strip() and len(click.unstyle(lines[-1] + word)) > room:
                lines.append(" " * min(indent, room // 2) + word.lstrip())
            else:
                lines[-1] += word
    return "\n".join(lines)


def moment(milliseconds: int | None, now: float | None = None) -> str:
    """A time, and how long ago that was."""
    if milliseconds is None:
        return "never"
    written = datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{written}, {span((time.time() if now is None else now) - milliseconds / 1000)} ago"


def span(seconds: float) -> str:
    """How long something is."""
    for length, word in _SPANS:
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.0f} {word}"
    return f"{seconds:.0f} s"


def many(number: int, what: str) -> str:
    """A number of things."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what if what == 'people' else what + 's'}"


def can_draw() -> bool:
    """Whether there is a terminal that can move its cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def progress() -> "Generator[OnProgress | None]":
    """Draws how far a run is, where there is a terminal to draw on: beside the data, on the stream for talk."""
    if not can_draw():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        drawn = dict[str, TaskID]()

        def tell(so_far: "Progress") -> None:
            if so_far.stage not in drawn:
                drawn[so_far.stage] = bars.add_task(so_far.stage, total=None)
            total = None if so_far.total is None else max(so_far.total, so_far.done)
            bars.update(drawn[so_far.stage], completed=so_far.done, total=total)

        yield tell
