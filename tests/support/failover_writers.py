"""Who goes on writing while `test_postgres_replica` kills the server: threads and a task, and what each was told."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random

from clerkmap import ClerkUser, RepositoryUnavailable
from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository
from clerkmap.testing.samples import person

PEOPLE = 10  # of each writer, who come up again and again


class Writer:
    """Puts one record after the other, and notes which of them were acknowledged, and when."""

    def __init__(self, name: str, seed: str) -> None:
        self.name = name
        self.acknowledged: list[tuple[float, list[ClerkUser]]] = []
        self.refused = 0
        self.error: BaseException | None = None
        self._random = Random(f"{seed}/{name}")
        self._at = 0

    def batch(self) -> list[ClerkUser]:
        """News of one person, or of a few in one transaction."""
        self._at += 1
        numbers = self._random.sample(range(PEOPLE), self._random.choice((1, 1, 3)))
        return [
            person(f"user_{self.name}x{number}", at=self._at, first_name=f"{self.name} {self._at}")
            for number in numbers
        ]

    def write(self, repository: PostgresRepository, done: threading.Event) -> None:
        """On a thread, until told to stop."""
        try:
            while not done.is_set():
                batch = self.batch()
                try:
                    repository.put(batch)
                except RepositoryUnavailable:  # whether it is there, nobody has said
                    self.refused += 1
                else:
                    self.acknowledged.append((time.monotonic(), batch))
        except BaseException as error:
            self.error = error

    async def awrite(self, put: Callable[[list[ClerkUser]], Awaitable[object]], done: threading.Event) -> None:
        """In an event loop, until told to stop."""
        try:
            while not done.is_set():
                batch = self.batch()
                try:
                    await put(batch)
                except RepositoryUnavailable:
                    self.refused += 1
                else:
                    self.acknowledged.append((time.monotonic(), batch))
        except BaseException as error:
            self.error = error

    def since(self, moment: float) -> list[float]:
        """When something was acknowledged after a moment."""
        return [at for at, _ in self.acknowledged if at > moment]


@contextmanager
def writing(conninfo: str, seed: str, *, threads: int, timeout: float) -> Iterator[list[Writer]]:
    """Have them write, all but one on the same repository object: which is opened once, whatever happens."""
    writers = [Writer(str(number), seed) for number in range(threads)]
    in_async = Writer("async", seed)
    done = threading.Event()
    repository = PostgresRepository.open(conninfo, timeout=timeout)
    async_repository = AsyncPostgresRepository.open(conninfo, timeout=timeout)

    async def run() -> None:
        await in_async.awrite(async_repository.put, done)
        await async_repository.close()

    running = [threading.Thread(target=writer.write, args=(repository, done)) for writer in writers]
    running.append(threading.Thread(target=lambda: asyncio.run(run())))
    for thread in running:
        thread.start()
    try:
        yield [*writers, in_async]
    finally:
        done.set()
        for thread in running:
            thread.join()
        repository.close()
    assert [writer.error for writer in (*writers, in_async)] == [None] * (threads + 1)
