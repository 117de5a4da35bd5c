"""Whatever fails in front of an application, it is not reached: a fault at every point, one after the other.

A point is a call of anything that is not clerkmap's own: the server's `receive` and `send`, the key source, the
repository, the clocks. Each way in is walked once to count them, and once more for each of them and each kind of fault.
"""

from collections.abc import Callable, Iterator
from typing import cast

import pytest

from adapter_points import FAULTS, HOWS, Points, Walk
from clerkmap.errors import ClerkmapError


def each_fault(walk: Callable[[Points], Walk]) -> Iterator[tuple[Walk, type[BaseException]]]:
    """A walk for each point and each kind of fault."""
    good = walk(Points())
    assert good.raised is None
    assert good.reached
    count = len(good.points.names) - good.points.names.count("start_response")
    for fault in FAULTS:
        for at in range(1, count + 1):
            struck = walk(Points(at, fault))
            assert struck.points.struck is not None
            yield struck, fault


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", ["http", "websocket", "wsgi"])
def test_no_fault_before_an_application_reaches_it(kind: str, how: str) -> None:
    """Of each kind, at each point. What the world or the caller is to blame for is answered, the rest comes out."""
    points = set()
    for walk, fault in each_fault(lambda points: Walk(points, kind, how)):
        where = walk.points.struck
        points.add(where)
        assert not walk.reached, (where, fault)
        if FAULTS[fault] is None:
            assert walk.raised is walk.points.fault, (where, fault)
            assert walk.told == []
        else:
            assert walk.raised is None, (where, fault)
            assert walk.answered == FAULTS[fault], (where, fault)
            assert walk.code == cast(ClerkmapError, walk.points.fault).code
    assert {"clock", "monotonic"} <= points
    assert {name for name in points if name is not None and name.startswith("repository.")} >= {
        "repository.find",
        "repository.poll",
        "repository.put",
    }


@pytest.mark.parametrize("how", HOWS)
def test_a_start_without_keys_is_a_start(how: str) -> None:
    """The application's own lifespan begins whatever the key source does; who stops the process, stops it."""
    struck = []
    for walk, fault in each_fault(lambda points: Walk(points, "lifespan", how)):
        struck.append(walk.points.struck)
        assert walk.reached == issubclass(fault, Exception), (walk.points.struck, fault)
        assert (walk.raised is None) == walk.reached
    assert {"keys.aget", "keys.aget, after waiting"} <= set(struck)


@pytest.mark.parametrize("kind", ["http", "websocket", "wsgi"])
def test_no_fault_while_refusing_reaches_the_application(kind: str) -> None:
    """Nor does a server that fails while it is told the refusal."""
    good = Walk(Points(banned=True), kind, "require=True")
    assert not good.reached
    assert (good.answered, good.code) == (403, "user_banned")
    for at in range(1, len(good.points.names) + 1):
        struck = Walk(Points(at, OSError, banned=True), kind, "require=True")
        assert not struck.reached
        assert struck.raised is struck.points.fault
