"""Files of any length, with anything in them: memory stays flat, and what cannot be read is counted and passed over."""

import io
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_world import World
from clerkmap.errors import ClerkmapError
from clerkmap.repositories import MemoryRepository
from clerkmap.sync.import_file import MAX_CELLS, MAX_ROW, MOST_LINES, backfill_file, rows_of
from clerkmap.testing import FakeClerk
from file_world import export, taken

CLERK = FakeClerk(52)
PERSON = json.dumps(CLERK.shape(CLERK.create_user("ann@example.com"))).encode()


@pytest.fixture
def world() -> World:
    """A Clerk with one person, of whom nobody has been told."""
    return World(CLERK)


NASTY = [
    *(b"{", b"}", b"{]", b"{}}", b'{"id": "user_x"', b'{"id": NaN}', b'{"id": "a", "id": "b"}', b'{"id": 1e999}'),
    *(b'{"object": "user"}', b'{"object": "user", "id": null}', b'{"id": "user_"}', b'{"id": "user_\\ud800"}'),
    *(b'{"id": "user_' + b"x" * 300 + b'"}', b"\xff\xfe", b"\x00", b"null", b"7", b'"text"', b"[", b"[[[", b"<html>"),
    *(
        b'{"a":' * 200 + b"1" + b"}" * 200,
        b'{"a":' * 50_000,
        b'{"object": {"a": 1}}',
        b'{"type": "user.deleted", "data": 1}',
    ),
    b'{"type": "user.deleted", "timestamp": 1790000000000, "data": {"id": "../x"}}',
    b'{"type": "user.created", "timestamp": 99999999999999999999, "data": {"id": "user_x"}}',
    b'{"body_b64": "' + b"e" * 999 + b'"}',
    b'{"a": "' + b"x" * MAX_ROW + b'"}',
]


@pytest.mark.parametrize("nasty", NASTY, ids=range(len(NASTY)))
def test_what_cannot_be_read_is_passed_over(world: World, nasty: bytes) -> None:
    """Among JSON lines, by its line; and who stands before and behind it is read."""
    report = taken(world, PERSON + b"\n" + nasty + b"\n" + PERSON)
    assert (report.listed, report.unreadable_lines) == ({"users": 2}, [2])


def test_in_lists_too(world: World) -> None:
    """As far as one can tell where an element ends."""
    rest = PERSON + b"]"
    for nasty in (
        b'{"id": NaN}',
        b'{"a": "}\\"]"}',
        b"[[7]]",
        b"7",
        b'"{["',
        b"null",
        b'{"a": "' + b"x" * MAX_ROW + b'"}',
    ):
        report = taken(world, b"[" + PERSON + b",\n" + nasty + b",\n" + rest)
        assert (report.listed, report.unreadable_lines) == ({"users": 2}, [2]), nasty[:20]
    for torn in (b"[", b"[" + PERSON, b"[" + PERSON + b",", b"[" + PERSON + b"," + PERSON[:-5], b"[]]x", b"[] x"):
        assert taken(world, torn).unreadable == 1, torn[-20:]


def test_rows_of_a_table_that_are_none(world: World) -> None:
    """Too few columns or too many, quotes that never end, bytes that are no text. Each line of them is told."""
    table = export({"id": "user_ann"})
    good = table.splitlines(keepends=True)[1]
    for nasty in (b"user_x\n", good[:-2] + b",\n", b'"user_x"y' + good, b"\xff" + good, b"org_x" + good[8:]):
        report = taken(world, table + nasty + good)
        assert (report.listed, report.unreadable_lines) == ({"users": 2}, [3]), nasty
    never = taken(world, table + b'"' + good * 3)
    assert (never.listed, never.unreadable_lines) == ({"users": 1}, [3, 4, 5])
    long = taken(world, table + b'"' + b"x" * (MAX_CELLS + 1) + b"\n" + good)
    assert (long.listed, long.unreadable_lines) == ({"users": 2}, [3])
    longer = taken(world, table + b"x" * (MAX_ROW + 1) + b"\n" + good)
    assert (longer.listed, longer.unreadable_lines) == ({"users": 2}, [3])


def test_where_a_piece_ends_makes_no_difference() -> None:
    """Lists cut anywhere, also within what stands behind a backslash."""
    said: list[dict[str, Any]] = [{"a": 'x\\"]}{['}, {"b": [1, {"c": "\\\\"}]}, {"d": "\n"}]
    text = json.dumps(said, indent=1).encode()
    for size in range(1, 12):
        pieces = (text[start : start + size] for start in range(0, len(text), size))
        assert [row.said for row in rows_of(pieces)] == said, size


def test_all_are_counted_and_the_first_thousand_told(world: World) -> None:
    """With a thousand numbers one has enough to look at."""
    report = taken(world, b"{}\n" + b"{\n" * (MOST_LINES + 4))
    assert (report.unreadable, len(report.unreadable_lines)) == (MOST_LINES + 5, MOST_LINES)


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [PERSON, PERSON[:60], *(b"[", b"]", b"{", b"}", b",", b"\n", b'"', b"\\", b"id,a\n", b"user_x,y\n")]
            ),
        ),
        max_size=12,
    )
)
def test_nothing_raises_outside_the_tree(parts: list[bytes]) -> None:
    """Whatever is in a file, it is read or refused."""
    repository = MemoryRepository()
    try:
        report = backfill_file(io.BytesIO(b"".join(parts)), repository, instance=CLERK.instance)
    except ClerkmapError:
        return
    assert sum(report.listed.values()) >= len(repository.records("user", CLERK.instance.name))


class Nobody(MemoryRepository):
    """Keeps nothing, so that only what the reading needs is measured."""

    def put(self, records: Any) -> list[Any]:
        """Nothing of it stays."""
        return []


def endless(count: int, form: str) -> Iterator[bytes]:
    """A file of so many people, made while it is read."""
    if form == "table":
        yield b"id,first_name\n"
    if form == "list":
        yield b"[\n"
    for number in range(count):
        person = b"user_%d,Ann\n" % number if form == "table" else b'{"id": "user_%d"}' % number
        yield person + {"list": b",", "lines": b"\n", "table": b""}[form]
    if form == "list":
        yield b"]\n"


@pytest.mark.slow
@pytest.mark.parametrize("form", ["table", "list", "lines"])
def test_memory_does_not_grow_with_the_file(form: str) -> None:
    """A file of ten thousand takes no more than one of a thousand."""

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            report = backfill_file(endless(count, form), Nobody(), instance=CLERK.instance)
            assert report.partial == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1_000)
    assert peak(10_000) < 1.5 * peak(1_000) + 1_000_000  # the ten thousand alone would be ten times that


def endless_line(start: bytes) -> Iterator[bytes]:
    """A line that is much longer than any may be."""
    yield start
    for _ in range(400):
        yield b"x" * 65_536
    yield b"\n"


@pytest.mark.parametrize("start", [b"{", b"[{", b'["', b"[", b'["a', b"id,a", b'id,"'])
def test_a_line_without_an_end_takes_no_more_than_the_longest(start: bytes) -> None:
    """However much of it there is."""
    tracemalloc.start()
    try:
        with suppress(ClerkmapError):
            assert [row.said for row in rows_of(endless_line(start))] == [None]
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_ROW
    finally:
        tracemalloc.stop()
