"""The pages of the project, and the code in their fences."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import clerkmap.errors
from clerkmap import ClerkmapError

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ERRORS: list[type[ClerkmapError]] = [
    each
    for _name, each in inspect.getmembers(clerkmap.errors, inspect.isclass)
    if issubclass(each, ClerkmapError) and each.__module__ == "clerkmap.errors"
]


def fences(page: Path) -> Iterator[tuple[int, str, str]]:
    """The first line, the language and the code of each fence."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        yield text.count("\n", 0, match.start(2)) + 1, match[1], match[2]
