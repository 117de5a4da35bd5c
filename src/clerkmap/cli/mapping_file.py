"""A file that says who is who: CSV of two columns, or JSON lines. If a line of it cannot be read, none of it is used.

What it holds is not repeated in an error: only the number of the line.
"""

import csv
from functools import partial
from pathlib import Path
from typing import cast

from ..core.strict_json import read_object
from ..sync.relink import MAX_ID

MOST = 8_000  # bytes in a line: two ids, however they are spelled
HEADER = ["from", "to"]
BOM = b"\xef\xbb\xbf"  # what some programs begin a text with


def read_mapping(path: Path) -> dict[str, str]:
    """From Clerk ids of the old instance to those of the new one. Raises ValueError, which says in which line."""
    mapping: dict[str, str] = {}
    with path.open("rb") as file:
        for number, line in enumerate(iter(partial(file.readline, MOST + 1), b""), 1):
            text = line.removeprefix(BOM) if number == 1 else line
            try:
                pair = _pair(text)
            except (ValueError, csv.Error):
                raise ValueError(f"line {number} is not two ids, as from,to or as an object of from and to") from None
            if pair is None or (number == 1 and pair == HEADER):
                continue
            one, other = pair
            if mapping.setdefault(one, other) != other:
                raise ValueError(f"line {number} says something else of somebody who stands in it already")
    if not mapping:
        raise ValueError("nobody stands in it")
    return mapping


def _pair(line: bytes) -> list[str] | None:
    """What stands in a line. None if it is empty."""
    line = line.strip(b" \t\r\n")
    if not line:
        return None
    if len(line) > MOST:
        raise ValueError
    if line.startswith(b"{"):
        read = read_object(line)
        pair: list[object] = [read.pop(name, None) for name in HEADER]
        if read:
            raise ValueError
    else:
        (row,) = csv.reader([line.decode()], strict=True, skipinitialspace=True)
        pair = [each.strip() for each in row]
    if len(pair) != 2 or not all(isinstance(id, str) and 0 < len(id) <= MAX_ID and id.isprintable() for id in pair):
        raise ValueError
    return cast(list[str], pair)
