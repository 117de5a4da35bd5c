"""Counting the work that clerkmap does: lines of its code that run, and characters of an input that it touches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

import clerkmap

SOURCE = str(Path(clerkmap.__file__).parent)
_TOOL = 4  # of sys.monitoring: none of those that have a name


class Count:
    """A number that grows."""

    def __init__(self) -> None:
        self.number = 0


@contextmanager
def counting_lines() -> Iterator[Count]:
    """Count the lines of clerkmap that run in the block, in any thread."""
    if sys.version_info < (3, 12):
        pytest.skip("lines are counted with sys.monitoring, which is there from Python 3.12 on")
    count, monitoring = Count(), sys.monitoring

    def line(code: CodeType, _line: int) -> Any:
        if not code.co_filename.startswith(SOURCE):
            return monitoring.DISABLE
        count.number += 1
        return None

    monitoring.use_tool_id(_TOOL, "counting")
    try:
        monitoring.register_callback(_TOOL, monitoring.events.LINE, line)
        monitoring.set_events(_TOOL, monitoring.events.LINE)
        yield count
    finally:
        monitoring.set_events(_TOOL, 0)
        monitoring.free_tool_id(_TOOL)
        monitoring.restart_events()


def _counted(kind: type, name: str) -> Callable[..., Any]:
    """A method that counts the characters it is called with, if clerkmap calls it: a cut counts what it gives."""
    plain = getattr(kind, name)

    def method(self: Any, *args: Any, **options: Any) -> Any:
        found = plain(self, *args, **options)
        if sys._getframe(1).f_globals.get("__name__", "").startswith("clerkmap."):
            self.touched.number += (
                len(found) if name == "__getitem__" and isinstance(found, (bytes, str)) else len(self)
            )
        return found

    return method


def _joined(kind: type) -> Callable[..., Any]:
    """What is put behind something else is copied together with it, but for a bytearray, which grows in place."""

    def method(self: Any, other: Any) -> Any:
        if isinstance(other, bytearray):
            self.touched.number += len(self)
            other.extend(bytes(self))
            return other
        self.touched.number += len(other) + len(self)
        return other + kind(self)

    return method


_METHODS = {
    *(
        "__add__",
        "__buffer__",
        "__contains__",
        "__eq__",
        "__format__",
        "__getitem__",
        "__hash__",
        "__iter__",
        "__mod__",
    ),
    *("count", "decode", "encode", "endswith", "find", "index", "isascii", "isdecimal", "isdigit", "isprintable"),
    *("lower", "lstrip", "partition", "replace", "rpartition", "rsplit", "rstrip", "split", "startswith", "strip"),
    *("title", "translate", "upper"),
}


class CountedBytes(bytes):
    """Bytes that count how many of them clerkmap touches."""

    touched: Count
    __radd__ = _joined(bytes)
    vars().update({name: _counted(bytes, name) for name in _METHODS & set(dir(bytes))})


class CountedText(str):
    """Text that counts how many of its characters clerkmap touches."""

    touched: Count
    __radd__ = _joined(str)
    vars().update({name: _counted(str, name) for name in _METHODS & set(dir(str))})


def counted_bytes(value: bytes, count: Count) -> CountedBytes:
    """Bytes that count in this place."""
    made = CountedBytes(value)
    made.touched = count
    return made


def counted_text(value: str, count: Count) -> CountedText:
    """Text that counts in this place."""
    made = CountedText(value)
    made.touched = count
    return made
