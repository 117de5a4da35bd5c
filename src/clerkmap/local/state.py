"""The file in which everything is kept, so that it is there again after a restart, or a power cut.

It is replaced as a whole: at any moment there is the old one or the new one, and never half of either.
"""

import json
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..core.strict_json import fields
from ..testing import ClerkRefuses

VERSION = 1


class StateDamaged(Exception):
    """A file is not what was kept. Its text says what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} cannot be used: {reason}. Nothing was changed. Put back a copy of it, move it away to begin anew, "
            "or name another file with --state"
        )


class StateNotKept(ClerkRefuses):
    """The file cannot be written. What was done is done all the same, and is forgotten when the process ends."""

    def __init__(self, path: Path, error: OSError) -> None:
        said = f"{path} cannot be written ({error.strerror}): what has happened since it was will be forgotten"
        super().__init__(507, "state_not_kept", said)


class StateTaken(Exception):
    """Another process keeps its own there."""


class StateFile:
    """One file of JSON, for one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._written: str | None = None
        self._lock: sqlite3.Connection | None = None

    def take(self) -> None:
        """Be the only one to use it, until `release`, or until the process ends in whichever way."""
        # SQLite locks files alike on every system. Not the file itself: at each writing another one takes its place.
        try:
            self._lock = sqlite3.connect(f"{self.path}.lock", timeout=0, isolation_level=None)
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            self.release()
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise StateDamaged(self.path, f"nothing can be written beside it ({error})") from None
            raise StateTaken(f"{self.path} is in use: another `clerkmap dev` is running") from None

    def release(self) -> None:
        """Let others use it."""
        if self._lock is not None:
            self._lock.close()

    def read(self) -> dict[str, Any] | None:
        """What was kept; None where there is no file yet."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StateDamaged(self.path, f"it cannot be read ({type(error).__name__})") from None
        try:
            kept = fields(json.loads(text))
        except (ValueError, RecursionError):
            raise StateDamaged(self.path, "it is no JSON, or was cut off") from None
        if kept.get("version") != VERSION:
            raise StateDamaged(self.path, f"it is not what version {VERSION} of `clerkmap dev` keeps")
        return kept

    def write(self, kept: dict[str, Any]) -> None:
        """Keep this, unless it is what was kept last. `StateNotKept` if it cannot be written."""
        text = json.dumps({"version": VERSION} | kept, separators=(",", ":"))
        if text == self._written:
            return
        try:
            self._write(text)
        except OSError as error:
            raise StateNotKept(self.path, error) from None
        self._written = text

    def _write(self, text: str) -> None:
        # Beside it, for only within one folder does a file take another's place in one step.
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self.path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
