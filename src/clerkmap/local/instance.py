"""Clerk on localhost as one object: Clerk, its postman, the demo application, your application, and the state."""

import sqlite3
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..repositories.sqlite.connections import data_version
from ..testing import ClerkRefuses
from ..testing.fake_clerk import ORIGIN
from .clerk import LocalClerk
from .delivery import Chaos, Postman, Receiver
from .demo import Demo, instances_in
from .event_stream import Changes
from .forward import Forward, origin_of
from .outcomes import Came
from .serialization import from_plain, to_plain
from .state import StateDamaged, StateFile, StateNotKept


class SeedTaken(Exception):
    """The database has rows of a Clerk with this seed, and the state of that Clerk is missing."""


class Box:
    """Clerk on localhost, without the server.

    Args:
        path: The SQLite file of the demo application.
        state: The state file; None to save nothing.
        seed: The seed of Clerk; by default that of the state, or the first seed without rows in the database.
        forward: The webhook address of your application.
    """

    def __init__(
        self, path: Path, *, state: StateFile | None = None, seed: int | None = None, forward: str | None = None
    ) -> None:
        with ExitStack() as undo:
            if state is not None:
                state.take()
                undo.callback(state.release)
            kept = state.read() if state is not None else None
            self._state = state
            self.clerk: LocalClerk = _new_clerk(seed, path) if kept is None else LocalClerk(_seed_of(kept, seed, state))
            chaos, outcomes = (Chaos(), {}) if kept is None else self._restored(kept)
            self.changes: Changes = Changes()
            self.forward: Forward | None = None if forward is None else Forward(self.clerk, forward, self._record)
            self.party: str = ORIGIN if forward is None else origin_of(forward)
            self.demo: Demo = Demo(self.clerk, path, self._record)
            receivers: list[Receiver] = [self.demo, *([self.forward] if self.forward else [])]
            self.postman: Postman = Postman(self.clerk, receivers, self._try_to_keep, self.changes.tell)
            self.postman.restore(chaos, outcomes)
            self._watch = sqlite3.connect(path, isolation_level=None)
            self._version = data_version(self._watch)
            self.keep()
            undo.pop_all()

    def keep(self) -> None:
        """Save the state. Raises `StateNotKept` if that fails."""
        if self._state is not None:
            more = {"chaos": asdict(self.postman.chaos), "outcomes": to_plain(self.postman.outcomes)}
            self._state.write(self.clerk.saved() | more)

    def _try_to_keep(self) -> None:
        """Save the state, without an error: the next request reports a failure."""
        with suppress(StateNotKept):
            self.keep()

    def look_at_file(self) -> None:
        """Notice writes to the database by another process."""
        version = data_version(self._watch)
        if version != self._version:
            self._version = version
            self.changes.tell()

    async def reset(self) -> None:
        """Delete all users and organizations, and their rows.

        Keys and secrets stay, so that applications go on working.
        """
        try:
            await self.demo.forget()
        except sqlite3.IntegrityError:
            why = "Your own rows in the database refer to these users: delete your rows first"
            raise ClerkRefuses(409, "rows_in_use", why) from None
        self.postman.chaos = Chaos()
        self.postman.outcomes.clear()
        self.clerk.clear()

    async def close(self) -> None:
        """Save the state, and close the files."""
        try:
            self.keep()
        finally:
            if self._state is not None:
                self._state.release()
            self._watch.close()
            await self.demo.close()
            if self.forward is not None:
                await self.forward.close()

    def _record(self, id: str, came: Came) -> None:
        self.postman.record(id, came)
        self.changes.tell()

    def _restored(self, kept: dict[str, Any]) -> tuple[Chaos, dict[str, list[Came]]]:
        assert self._state is not None
        try:
            self.clerk.restore(kept)
            chaos: Chaos = from_plain(Chaos, kept["chaos"], "chaos")
            outcomes: dict[str, list[Came]] = from_plain(dict[str, list[Came]], kept["outcomes"], "outcomes")
        except KeyError as missing:
            raise StateDamaged(
                self._state.path, f"it has no {missing.args[0]!r}, or a reference to it is wrong"
            ) from None
        except (ValueError, TypeError, AttributeError, IndexError, OverflowError, ClerkRefuses) as error:
            raise StateDamaged(self._state.path, str(error)) from None
        return chaos, outcomes


def _new_clerk(seed: int | None, path: Path) -> LocalClerk:
    """Return a Clerk without rows in the database. The same seed would make the ids of those rows again."""
    taken = instances_in(path)
    number = 1 if seed is None else seed
    while (clerk := LocalClerk(number)).frontend_api in taken:
        if seed is not None:
            raise SeedTaken(f"{path} has rows of the seed {seed}, but the state file of this seed is missing")
        number += 1
    return clerk


def _seed_of(kept: dict[str, Any], seed: int | None, state: StateFile | None) -> int:
    known = kept.get("seed")
    assert state is not None
    if type(known) is not int:
        raise StateDamaged(state.path, "it has no seed")
    if seed is not None and seed != known:
        raise StateDamaged(state.path, f"its seed is {known}, and --seed is {seed}")
    return known
