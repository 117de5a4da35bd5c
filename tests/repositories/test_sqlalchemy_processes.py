"""Several processes on SQLAlchemy engines: eight race about people never seen before, and two see each other's writes.

`CLERKMAP_SOAK=1` makes both long.
"""

import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clerkmap.testing.samples import ANN, BEA, HERE, person
from freshness_writers import Reader, World, until, write_on_an_engine
from postgres_racers import PROCESSES, Ids, Race, crew, race
from sqlalchemy_ways import WAYS, engine_of, racer, url_of

SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
ROUNDS, SECONDS = (200, 60) if SOAK else (8, 2)
THREADS = 3

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with crew(THREADS) as pool:
        yield pool


def place_of(way: str, schema: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """A URL, and the options of a repository there."""
    url = url_of(way.removeprefix("async "), folder)
    if "postgresql" in way:
        return url, {"schema": schema, "prefix": f"{schema}_"}  # and a channel of its own
    engine = engine_of(url.replace("+aiosqlite", ""))
    engine.connect().close()  # switches the file to its log, for which SQLite does not wait
    engine.dispose()
    return url, {}


@pytest.mark.parametrize("way", WAYS)
def test_webhooks_race_first_requests(
    processes: ProcessPoolExecutor, postgres_schema: str, tmp_path: Path, way: str
) -> None:
    """Eight processes start at once where there are no tables yet: no error, one row in each table, one id."""
    url, place = place_of(way, postgres_schema, tmp_path)
    place.pop("prefix", None)
    orders = Race(url, "uuid7", THREADS, ROUNDS, 1, True, False, way, place.get("schema"))
    told = list(processes.map(race, [orders] * PROCESSES))
    seen = [set[Ids]().union(*each) for each in zip(*told, strict=True)]

    assert [len(each) for each in seen] == [1] * ROUNDS
    assert len(set[Ids]().union(*seen)) == ROUNDS, "two people are one"
    repository = racer(way, url, 1, **place)
    assert (repository.count_users(), repository.count_organizations()) == (ROUNDS, ROUNDS)
    repository.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_change_is_seen_within_a_second(postgres_schema: str, tmp_path: Path, way: str) -> None:
    """While another process writes, no request shows anything that was overwritten more than a second ago."""
    url, place = place_of(way, postgres_schema, tmp_path)
    world = World()
    context = multiprocessing.get_context("spawn")
    theirs, said = context.Pipe(duplex=False)
    repository = racer(way, url, 5, **place)
    reader = Reader(world, world.resolver(repository))
    told: list[object] = []

    def listens() -> bool:
        told.clear()
        repository.poll()  # tells everybody to look again, unless what listens is believed
        return told == []

    repository.listeners.watch(told.append)
    until(listens)
    reader.look()
    writer = context.Process(target=write_on_an_engine, args=(way, url, place, SECONDS, said))
    writer.start()
    said.close()
    while not theirs.poll():
        reader.look()
        time.sleep(0.005)
    commits, rate = theirs.recv()
    until(lambda: reader.shows(commits))
    writer.join()
    repository.close()
    theirs.close()
    assert writer.exitcode == 0
    delay = reader.delay(commits)
    remembered = reader.remembered / reader.asked
    print(f"{way}: {delay * 1000:.0f} ms at {rate:.0f} changes a second; memory answered {remembered:.0%}")
    assert commits
    assert delay - reader.longest_pause < 1.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("way", ["postgresql+psycopg", "sqlite"])
def test_a_fork_shares_no_connection(postgres_schema: str, tmp_path: Path, way: str) -> None:
    """The child of a process that has a pool makes its own connections, and the parent keeps its own."""
    url, place = place_of(way, postgres_schema, tmp_path)
    repository = racer(way, url, 1, **place)
    repository.put([person()])
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if repository.put([person(BEA)]) and repository.find(HERE, ANN) else 1)
        finally:
            os._exit(2)
    for _ in range(20):
        assert repository.find(HERE, ANN) is not None
    assert os.waitpid(child, 0)[1] == 0
    assert repository.find(HERE, BEA) is not None
    repository.close()
